"""The doctor's own thread in a kernel: finds clients, follows one, has it judged, keeps a reply ready.

It shares no lock with the user's cell. The main thread only appends to a queue when a cell starts or stops;
the control thread only reads `ready`. Faults of the doctor's own are kept and counted, never shown in a cell;
after several in a row it switches itself off.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import sys
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .channel import Asked, bare, understand

if TYPE_CHECKING:
    from ..gather.local_runs import LocalRuns
    from ..gather.phases import Phases
    from ..messages import StatusKind
    from ..report import Report
    from .reply import Plain, Ready
    from .watch import Watch

#: Seconds between two looks for clients, while something happens and while nothing does.
LOOK = 0.25
#: Faults of our own in a row after which the doctor leaves the kernel alone. With the waits between them
#: (0.5, 1, 2, 4, 8 s) that takes a quarter of a minute.
MAX_FAULTS = 6
#: Seconds after the last request during which somebody is taken to be watching.
WATCHED = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvent:
    """A cell that started, or the one that ran has stopped (`source` is None)."""

    time: float
    cell_id: str | None
    execution_count: int | None
    source: str | None
    has_failed: bool = False
    #: The class of the exception it ended with.
    error: str | None = None
    #: What it says, at most 300 characters.
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the doctor's own, kept for `%dask_doctor status`."""

    time: float
    text: str
    trace: str


class Monitor:
    """One per kernel. `namespace` gives the notebook's variables, `outputs` what the shell keeps of its outputs;
    they are called on the doctor's thread."""

    def __init__(
        self,
        namespace: Callable[[], Mapping[str, object]],
        outputs: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self.namespace = namespace
        self.outputs = outputs
        self.session = uuid.uuid4().hex[:12]
        self.faults: deque[Fault] = deque(maxlen=20)
        #: Why the doctor switched itself off; None while it works.
        self.off: str | None = None
        #: Longest time in seconds for which the thread was kept from running, in the last minute.
        self.lag = 0.0
        self.ready: Ready | None = None
        self.watch: Watch | None = None
        #: The report that a cell showed last, by which the user counts findings.
        self.shown: Report | None = None
        self._events: deque[CellEvent] = deque(maxlen=2_000)
        self._notebook: tuple[tuple[str, str], ...] | None = None
        self._asked_at = float("-inf")
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._stopping = False
        self._in_a_row = 0
        self._local_runs: LocalRuns | None = None
        #: What looks at the thread that runs the cells, and that thread while a cell runs.
        self._phases: Phases | None = None
        self._cell_thread: int | None = None

    # On the main thread.

    def cell_started(self, *, cell_id: str | None, execution_count: int | None, source: str) -> None:
        self._events.append(
            CellEvent(time=time.time(), cell_id=cell_id, execution_count=execution_count, source=source)
        )
        self._listen()
        self._look(threading.get_ident())
        self.start()
        self.wake()

    def cell_stopped(
        self, *, execution_count: int | None, failed: bool, error: str | None = None, error_text: str = ""
    ) -> None:
        self._events.append(
            CellEvent(
                time=time.time(),
                cell_id=None,
                execution_count=execution_count,
                source=None,
                has_failed=failed,
                error=error,
                error_text=error_text,
            )
        )
        self._listen()
        self._look(None)
        self.wake()

    def _look(self, thread: int | None) -> None:
        # Once Dask is there the doctor's thread makes what looks, also in the midst of the cell that imported it.
        self._cell_thread = thread
        if self._phases is not None:
            self._phases.follow(None if self.off is not None else thread)

    def _listen(self) -> None:
        # Where Dask is in use already; to know when it is not costs a look at a dictionary.
        if "dask.callbacks" not in sys.modules or self._stopping:
            return
        if self.off is not None:
            if self._local_runs is not None:
                self._local_runs.stop()
            return
        if self._local_runs is None:
            from ..gather.local_runs import LocalRuns

            self._local_runs = LocalRuns(time.time)
        self._local_runs.listen()

    def refresh(self, timeout: float) -> Report | None:
        """A report on what is so now; when the cluster does not answer in `timeout` seconds the last one, which
        says so. None when no client is followed. From any thread but the doctor's own."""
        watch = self.watch
        if watch is None or not watch.has_clients or not self.is_running:
            return None
        fresh: concurrent.futures.Future[None] = concurrent.futures.Future()
        watch.waiters.append(fresh)
        self.wake()
        try:
            fresh.result(timeout)
        except concurrent.futures.TimeoutError:
            return _as_it_was(watch.report, f"The scheduler has not answered for {timeout:.0f} s.")
        if watch.status.kind in ("lost", "connecting"):
            return _as_it_was(watch.report, watch.status.message)
        return watch.report

    # On any thread.

    @property
    def report(self) -> Report | None:
        """The last one."""
        return None if self.watch is None else self.watch.report

    @property
    def is_running(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    @property
    def is_watched(self) -> bool:
        """Somebody asked a moment ago."""
        return time.monotonic() - self._asked_at < WATCHED

    def start(self) -> None:
        """Starts the thread, once."""
        if self._thread is not None or self._stopping:
            return
        with self._starting:
            if self.is_running:
                return  # the other thread was faster
            # In an empty context: ipykernel keeps the parent of a message in a context variable, and a thread
            # that inherited a cell's would speak for that cell for ever.
            thread = threading.Thread(
                target=Context().run, args=(self._run,), daemon=True, name="dask-doctor"
            )
            # A debugger that halts the user's code must not count us among the user's threads.
            thread.pydev_do_not_trace = True  # type: ignore[attr-defined]
            thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
            self._thread = thread
            thread.start()
            atexit.register(self.stop)

    def stop(self, timeout: float = 2.0) -> None:
        """Ends the thread and lets go of every client. Waits for that at most `timeout` seconds."""
        self._stopping = True
        if self._local_runs is not None:
            self._local_runs.stop()
        if self._phases is not None:
            self._phases.stop()
        atexit.unregister(self.stop)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self.wake()
        thread.join(timeout)

    def wake(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with suppress(RuntimeError):  # the loop was closed just now
                loop.call_soon_threadsafe(wake.set)

    def answer(self, content: Mapping[str, object]) -> Plain:
        """The reply to a request, from what lies ready. On the kernel's control thread."""
        asked = understand(content)
        was_watched, self._asked_at = self.is_watched, time.monotonic()
        self.start()
        if asked.cells is not None:
            self._notebook = asked.cells
        if asked.cells is not None or not was_watched:
            self.wake()
        return self._reply(asked)

    def _reply(self, asked: Asked) -> Plain:
        ready = self.ready
        if ready is None:
            # The first question has only just woken the thread.
            kind: StatusKind = "connecting" if "distributed.client" in sys.modules else "no-distributed"
            reply = bare(kind, "The doctor is waking up in this kernel.", session=self.session)
            if self.off is not None:
                reply["status"] = {"kind": "off", "message": self.off}
            reply["left_out"] = list(asked.notes)
            return reply
        if not asked.is_understood:
            # The rest may mean something else to the other side.
            reply = bare("no-client", "", session=self.session)
            reply.update(rev=ready.rev, status=ready.head["status"], left_out=list(asked.notes))
            return reply
        return ready.answer(since=asked.since, time=time.time(), notes=asked.notes)

    # On the doctor's thread.

    def _run(self) -> None:
        # The selector loop everywhere: Windows' default one cannot wait for Dask's sockets.
        loop = asyncio.SelectorEventLoop()
        asyncio.set_event_loop(loop)
        # Without a handler the logging module writes to stderr, which is the output of whatever cell runs.
        logging.getLogger("jupyter_dask_doctor").addHandler(logging.NullHandler())
        # For the same reason asyncio must not log.
        loop.set_exception_handler(self._loop_fault)
        try:
            loop.run_until_complete(self._main())
        except BaseException as error:
            self._note(error)
            self.off = f"The doctor's thread ended ({words(error)})."
        finally:
            self._loop = None
            if self._phases is not None:
                self._phases.stop()
            with suppress(Exception):
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.run_until_complete(asyncio.sleep(0))
                loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _main(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        while not self._stopping:
            pause = LOOK
            try:
                if await self._tick():
                    self._in_a_row = 0
            except Exception as error:
                self._note(error)
                self._in_a_row += 1
                if self._in_a_row >= MAX_FAULTS:
                    await self._switch_off(error)
                    return
                pause = min(30.0, 0.5 * 2 ** (self._in_a_row - 1))
            await self._sleep(pause)
        if self.watch is not None:
            await self.watch.close()

    async def _tick(self) -> bool:
        """False when there was nothing to do that could have failed."""
        watch = self.watch
        if watch is None:
            if "distributed.client" not in sys.modules and self._asked_at < 0:
                return True  # nothing to see, and nobody to tell: import nothing
            from .watch import Watch

            assert self._wake is not None
            watch = self.watch = Watch(self.session, self.namespace, self._wake.set, self.outputs, self.wake)
        watch.local_runs = self._local_runs
        if self._phases is None and "dask.base" in sys.modules:
            from ..gather.phases import Phases

            self._phases = Phases(time.time)
            self._phases.follow(self._cell_thread)
        watch.phases = self._phases
        while self._events:
            watch.hear(self._events.popleft())
        notebook, self._notebook = self._notebook, None
        if notebook is not None:
            watch.read(notebook)
        n_done = watch.n_done
        ready = await watch.step(is_watched=self.is_watched, lag=self.lag)
        if ready is not None:
            self.ready = ready
        return watch.n_done > n_done

    async def _sleep(self, pause: float) -> None:
        assert self._wake is not None
        began = time.monotonic()
        is_backing_off = self._in_a_row > 0
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._pause_over(is_backing_off), pause)
        late = time.monotonic() - began - pause
        self.lag = max(late, self.lag * 0.995)

    async def _pause_over(self, is_backing_off: bool) -> None:
        assert self._wake is not None
        while True:
            await self._wake.wait()
            self._wake.clear()
            # After a fault the wait is not cut short, but for the end.
            if not is_backing_off or self._stopping:
                return

    async def _switch_off(self, error: Exception) -> None:
        self.off = (
            f"The doctor switched itself off after {self._in_a_row} faults of its own in a row, the last one "
            f"{words(error)}. Your work is not affected. "
            "`%reload_ext jupyter_dask_doctor` starts it anew, `%dask_doctor status` shows the faults."
        )
        watch = self.watch
        self.ready = None
        if watch is not None:
            with suppress(Exception):
                self.ready = watch.say("off", self.off)
            with suppress(Exception):
                await watch.close()

    def _loop_fault(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._note(error)

    def _note(self, error: BaseException) -> None:
        with suppress(Exception):
            trace = "".join(traceback.format_exception(error))[-4_000:]
            self.faults.append(Fault(time=time.time(), text=words(error), trace=trace))


def _as_it_was(report: Report | None, why: str) -> Report | None:
    return (
        None
        if report is None
        else replace(report, notes=(*report.notes, f"This is what was seen last: {why}"), is_past=True)
    )


def words(error: BaseException) -> str:
    try:
        text = str(error)[:300]
    except Exception:
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}"
