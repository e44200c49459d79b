"""Turns a snapshot and a report into the reply that lies ready for whoever asks.

All work is done when something new is known, on the doctor's own thread; answering picks ready pieces by
`since` and takes microseconds, because it happens on the kernel's control thread.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from .. import __version__
from ..messages import (
    PROTOCOL,
    REPLY_NBYTES,
    ClientInfo,
    CollectionInfo,
    GraphInfo,
    HiddenJobs,
    MemoryPoint,
    Reply,
    Status,
    Vitals,
    WorkerInfo,
)
from ..report import Report
from ..snapshot import Gap, Load, Location, Snapshot
from .about import about
from .data import collection_infos, fit_collections
from .fitting import cut, encode, fit_report, nbytes, thin
from .graphs import fit_graphs, graphs, hidden_jobs
from .signs import signs

#: Of the 64 KiB: what a report, the graphs and the collections may take. What the others leave of `SHARED_NBYTES`
#: is for the collections. The rest is for the memory lines, the workers and the envelope.
REPORT_NBYTES = 28 * 1024
GRAPHS_NBYTES = 7 * 1024
COLLECTIONS_NBYTES = 12 * 1024
SHARED_NBYTES = 47 * 1024
#: Room for status, vitals, clients and the message around the reply.
ENVELOPE_NBYTES = 3 * 1024
#: Ten minutes at the fastest pace.
POINTS = 1_200
WORKERS = 12
CLIENTS = 8

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A reply in ready pieces, plain data that JSON knows. Swapped whole, never changed."""

    rev: int
    #: Everything but `memory`, `report` and `time`.
    head: Plain
    #: Oldest first.
    points: tuple[Plain, ...]
    report: Plain | None
    #: The `rev` under which the report changed last.
    report_rev: int
    #: Bytes of JSON of head, report, and one point at most.
    head_nbytes: int
    report_nbytes: int
    point_nbytes: int

    def answer(self, *, since: int, time: float, notes: Sequence[str] = ()) -> Plain:
        """The reply for somebody who has seen everything up to `since`."""
        if since > self.rev:
            since = 0  # of an earlier life
        reply = {**self.head, "time": time, "memory": [], "report": None}
        left_out = [*self.head["left_out"], *notes]
        room = REPLY_NBYTES - self.head_nbytes - ENVELOPE_NBYTES
        if self.report is not None and self.report_rev > since:
            reply["report"] = self.report
            room -= self.report_nbytes
        else:
            left_out = [words for words in left_out if not words.startswith(_OF_REPORT)]
        points = [point for point in self.points if point["rev"] > since] if since else self.points
        n = max(0, room // self.point_nbytes)
        if len(points) > n:
            left_out.append(f"{len(points) - n} of {len(points)} points of the memory lines")
            points = thin(points, n, keep=lambda point: point["process_max"])
        reply["memory"] = list(points)
        reply["left_out"] = left_out
        return reply


_OF_REPORT = "of the report: "


@dataclass(slots=True)
class Composer:
    """Keeps what a series of replies shares: the numbering, the memory lines and the last report."""

    session: str
    rev: int = 0
    _points: deque[Plain] = field(default_factory=lambda: deque(maxlen=POINTS))
    _newest: float = 0.0
    _key: object = None
    _report: Plain | None = None
    _report_bytes: bytes = b""
    _report_nbytes: int = 0
    _point_nbytes: int = 1
    _report_rev: int = 0
    _report_left_out: tuple[str, ...] = ()

    def compose(
        self,
        *,
        status: Status,
        clients: Sequence[ClientInfo] = (),
        snapshot: Snapshot | None = None,
        report: Report | None = None,
        running: Location | None = None,
        key: object = None,
    ) -> Ready:
        """The next reply. `key` tells one series of memory points from another: client and scheduler."""
        self.rev += 1
        if key != self._key:
            self._key = key
            self._points.clear()
            self._newest = 0.0
        left_out: list[str] = []
        workers: tuple[WorkerInfo, ...] = ()
        self._set_report(report)
        data = _data(snapshot, self._report_nbytes)
        left_out.extend(data.left_out)
        if snapshot is not None:
            self._add_points(snapshot.load)
            workers, n = _workers(snapshot)
            if n > len(workers):
                left_out.append(f"{n - len(workers)} of {n} workers: the ones with the least memory in use")
        left_out.extend(_OF_REPORT + words for words in self._report_left_out)
        if len(clients) > CLIENTS:
            left_out.append(f"{len(clients) - CLIENTS} of {len(clients)} clients")
        reply = Reply(
            protocol=PROTOCOL,
            version=__version__,
            session=self.session,
            rev=self.rev,
            time=0.0,
            status=replace(status, message=cut(status.message)),
            clients=tuple(sorted(clients, key=lambda one: not one.is_followed)[:CLIENTS]),
            vitals=None if snapshot is None else _vitals(snapshot),
            cluster=None if snapshot is None else about(snapshot),
            workers=workers,
            collections=data.collections,
            graphs=data.graphs,
            hidden_jobs=data.hidden_jobs,
            running=running,
            left_out=tuple(left_out),
        )
        head = _plain(reply)
        for name in ("memory", "report", "time"):
            del head[name]
        return Ready(
            rev=self.rev,
            head=head,
            points=tuple(self._points),
            report=self._report,
            report_rev=self._report_rev,
            head_nbytes=_wire(head),
            report_nbytes=self._report_nbytes,
            point_nbytes=self._point_nbytes,
        )

    def _add_points(self, load: Iterable[Load] | Gap) -> None:
        if isinstance(load, Gap):
            return
        for one in load:
            if one.time > self._newest:
                self._newest = one.time
                point = _plain(_point(one, self.rev))
                self._point_nbytes = max(self._point_nbytes, _wire(point) + 2)
                self._points.append(point)

    def _set_report(self, report: Report | None) -> None:
        if report is None:
            if self._report is not None:
                # Whoever saw the old one must hear that it holds no more, and None means "as before".
                report = Report(version=__version__, time=0.0, findings=(), checks=())
            else:
                return
        fitted, self._report_left_out = fit_report(report, REPORT_NBYTES)
        # The time of a report changes each time; only what it says makes it new.
        said = encode(replace(fitted, time=0.0))
        if said != self._report_bytes:
            self._report_bytes = said
            self._report = _plain(fitted)
            self._report_nbytes = _wire(self._report)
            self._report_rev = self.rev


def _plain(value: object) -> Plain:
    # Through text: that way not-a-number and infinity become null, which the kernel's own packer refuses.
    plain: Plain = msgspec.json.decode(encode(value))
    return plain


def _wire(plain: Plain) -> int:
    # As the kernel's session packs it: with a blank after each comma and colon.
    return len(json.dumps(plain, ensure_ascii=False).encode(errors="replace"))


def _point(load: Load, rev: int) -> MemoryPoint:
    return MemoryPoint(
        rev=rev,
        time=round(load.time, 3),
        managed=load.managed,
        unmanaged=load.unmanaged,
        spilled=load.spilled,
        process_min=load.process_min,
        process_median=load.process_median,
        process_max=load.process_max,
        threads_busy=load.threads_busy,
        tasks_processing=load.tasks_processing,
        n_workers=load.n_workers,
    )


def _vitals(snapshot: Snapshot) -> Vitals | None:
    cluster, load = snapshot.cluster, snapshot.load
    if isinstance(cluster, Gap) or isinstance(load, Gap) or not load:
        return None
    now = load[-1]
    return Vitals(
        n_workers=now.n_workers,
        nthreads=now.nthreads,
        memory_limit=now.memory_limit,
        managed=now.managed,
        unmanaged=now.unmanaged,
        spilled=now.spilled,
        memory_target=cluster.memory_target,
        memory_pause=cluster.memory_pause,
        threads_busy=now.threads_busy,
        tasks_waiting=now.tasks_waiting,
        tasks_processing=now.tasks_processing,
        tasks_erred=now.tasks_erred,
        tasks_memory=now.tasks_memory,
        dashboard_link=cluster.dashboard_link,
        signs=signs(snapshot),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    """What the sections Data and Graph show, in the room that the report leaves."""

    collections: tuple[CollectionInfo, ...] = ()
    graphs: tuple[GraphInfo, ...] = ()
    hidden_jobs: tuple[HiddenJobs, ...] = ()
    left_out: tuple[str, ...] = ()


def _data(snapshot: Snapshot | None, report_nbytes: int) -> _Data:
    if snapshot is None:
        return _Data()
    jobs = hidden_jobs(snapshot)
    drawn, without = fit_graphs(graphs(snapshot), GRAPHS_NBYTES - nbytes(jobs))
    room = SHARED_NBYTES - report_nbytes - nbytes(jobs) - nbytes(drawn)
    listed, less = fit_collections(collection_infos(snapshot.collections), max(COLLECTIONS_NBYTES, room))
    return _Data(collections=listed, graphs=drawn, hidden_jobs=jobs, left_out=(*less, *without))


def _workers(snapshot: Snapshot) -> tuple[tuple[WorkerInfo, ...], int]:
    if isinstance(snapshot.workers, Gap):
        return (), 0
    fullest = sorted(snapshot.workers, key=lambda worker: (-worker.process, worker.name))
    infos = tuple(
        WorkerInfo(
            name=worker.name[:100],
            address=worker.address[:200],
            status=worker.status,
            memory_limit=worker.memory_limit,
            process=worker.process,
            managed=worker.managed,
            spilled=worker.spilled,
            peak=max((worker.process, *(sample.process for sample in worker.samples))),
        )
        for worker in fullest[:WORKERS]
    )
    return infos, len(fullest)
