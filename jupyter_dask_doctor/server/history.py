"""What was seen earlier, kept on disk: memory over time, findings, and what became of them.

SQLite in one thread of its own, so that a slow disk never stalls the server. Nothing here raises into the
caller: what cannot be kept is dropped, and the log says so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import msgspec

from ..messages import History, MemoryPoint, Reply
from ..report import Report
from .tables import SCHEMA_VERSION, TABLES, Key, prune, read, write

_T = TypeVar("_T")

#: Bytes in use in the file before the oldest goes. A point takes about 60 bytes: 150 hours at one a second.
MAX_NBYTES = 32 * 1024 * 1024
#: Jobs that may wait for the disk. More are dropped: history is worth less than the server's memory.
MAX_JOBS = 200
#: Writes between two looks at the size.
PRUNE_EVERY = 200
#: Faults in a row after which the disk is left alone until the server starts anew.
MAX_FAULTS = 5


#: The fault of one piece of data, not of the file.
_DATA_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeError, msgspec.MsgspecError)


class _OtherVersion(sqlite3.DatabaseError):
    """The file was written by another version of this module."""


class Archive:
    """The history of all kernels of this server. Methods may be called from any thread and return at once."""

    def __init__(self, path: Path, log: logging.Logger, *, max_nbytes: int = MAX_NBYTES) -> None:
        self._path = path
        self._log = log
        self._max_nbytes = max_nbytes
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_JOBS)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        # The rest belongs to the thread.
        self._db: sqlite3.Connection | None = None
        self._faults = 0
        self._writes = 0

    def add(self, kernel_id: str, reply: Reply) -> None:
        """Remember what is new in a reply. Dropped when the disk lags behind."""
        followed = next((client for client in reply.clients if client.is_followed), None)
        if followed is None or followed.scheduler_id is None:
            return
        if not reply.memory and reply.report is None:
            return
        key = (kernel_id, reply.session, followed.scheduler_id, followed.id)
        points, report, time = reply.memory, reply.report, reply.time
        self._put(lambda: self._guarded(lambda db: self._write(db, key, time, points, report)))

    def read(self, kernel_id: str) -> Future[History]:
        """All that is remembered of a kernel; empty when it is nothing or cannot be read."""
        answer: Future[History] = Future()
        empty = History(kernel_id=kernel_id, series=())

        def job() -> None:
            answer.set_result(self._guarded(lambda db: read(db, kernel_id)) or empty)

        if not self._put(job):
            answer.set_result(empty)
        return answer

    def close(self, timeout: float = 2.0) -> None:
        """Let the thread finish what waits, for at most `timeout` seconds."""
        self._is_closed = True
        thread = self._thread
        if thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._jobs.put(None, timeout=timeout)
        thread.join(timeout)

    def _put(self, job: Callable[[], None]) -> bool:
        if self._is_closed:
            return False
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dask-doctor-history", daemon=True)
                self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    # In the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                self._log.exception("Dask Doctor: a fault of the history")
        self._disconnect()

    def _guarded(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Do the work in one transaction. A broken file is set aside and the work done once more."""
        if self._faults >= MAX_FAULTS:
            return None
        for is_last in (False, True):
            try:
                db = self._connect()
                with db:
                    result = work(db)
                self._faults = 0
                return result
            except _DATA_ERRORS as error:
                self._log.debug("Dask Doctor: the history cannot hold this: %s", error)  # the data's fault
                return None
            except (sqlite3.OperationalError, OSError) as error:  # locked, full, read-only, not there
                self._fault(error)
                return None
            except sqlite3.DatabaseError as error:  # not a database, malformed, other version
                self._disconnect()
                if is_last or not self._set_aside(error):
                    self._fault(error)
                    return None
        return None

    def _fault(self, error: Exception) -> None:
        self._disconnect()
        self._faults += 1
        if self._faults == 1:
            self._log.warning("Dask Doctor: the history in %s cannot be used now: %s", self._path, error)
        if self._faults == MAX_FAULTS:
            self._log.warning("Dask Doctor: keeps no history from now on, after %d faults", MAX_FAULTS)

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # It holds names and messages from notebooks: for its owner alone, from the first byte.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._path, timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA journal_size_limit = 1048576")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
            elif version != SCHEMA_VERSION:
                raise _OtherVersion(f"version {version} instead of {SCHEMA_VERSION}")
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _set_aside(self, error: Exception) -> bool:
        aside = self._path.with_name(self._path.name + ".broken")
        try:
            os.replace(self._path, aside)  # the one set aside before goes: at most two files
        except OSError:
            return False
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")
        self._log.warning(
            "Dask Doctor: the history could not be read (%s); it was moved to %s and a new one begun",
            error,
            aside,
        )
        return True

    def _write(
        self,
        db: sqlite3.Connection,
        key: Key,
        time: float,
        points: Sequence[MemoryPoint],
        report: Report | None,
    ) -> None:
        write(db, key, time, points, report)
        self._writes += 1
        if self._writes % PRUNE_EVERY == 1:
            prune(db, self._max_nbytes)
