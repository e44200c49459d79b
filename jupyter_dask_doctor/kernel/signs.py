"""The signs of how a cluster is, shown whether or not anything is wrong, and the level at which each colours."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from ..messages import Sign, SignKind
from ..report import Unit
from ..snapshot import Computation, Gap, Load, Snapshot

#: Levels, as operators of clusters set them: nearly all work succeeds, starts at once, and leaves room.
SUCCESS = 0.999
FAILURES = 0.001
START = 0.1
MEMORY = 0.70
CPU = 0.50
#: Seconds that count as lately, and computations.
LATELY = 600.0
RECENT = 20
#: Seconds for which nothing ran before waiting tasks are more than a moment's.
REST = 3.0


def signs(snapshot: Snapshot) -> tuple[Sign, ...]:
    """All signs, those that are not known included, in the order in which they are shown."""
    return tuple(_signs(snapshot))


def _signs(snapshot: Snapshot) -> Iterator[Sign]:
    computations = () if isinstance(snapshot.computations, Gap) else snapshot.computations
    load = () if isinstance(snapshot.load, Gap) else snapshot.load
    cluster = snapshot.cluster
    is_in_process = not isinstance(cluster, Gap) and cluster.is_in_process
    yield _sign("worker-memory", _fullest(snapshot), "share", MEMORY)
    yield _sign("memory-kills", _kills(snapshot), "count", 0)
    yield _sign("workers-lost", _lost(snapshot), "count", 0)
    yield _sign("success", _success(snapshot, computations), "share", SUCCESS, is_low_bad=True)
    yield _sign("failure-rate", _failures(snapshot), "share", FAILURES)
    yield _sign("start-delay", _delay(computations), "seconds", START)
    yield _sign("cell-seconds", _cell_seconds(snapshot, computations), "seconds", None)
    yield _sign("bytes-moved", _moved(computations), "bytes", None)
    waiting = load[-1].tasks_waiting if load else None
    yield _sign("waiting", waiting, "count", 0 if _is_at_rest(load) else None)
    # In the kernel's own process the user's cells count as well.
    yield _sign("scheduler-cpu", _cpu(load), "share", None if is_in_process else CPU)


def _sign(
    kind: SignKind, value: float | None, unit: Unit, limit: float | None, *, is_low_bad: bool = False
) -> Sign:
    if value is not None and not math.isfinite(value):
        value = None
    is_out = value is not None and limit is not None and (value < limit if is_low_bad else value > limit)
    return Sign(kind=kind, value=value, unit=unit, limit=limit, is_out=is_out)


def _fullest(snapshot: Snapshot) -> float | None:
    workers = () if isinstance(snapshot.workers, Gap) else snapshot.workers
    return max((one.process / one.memory_limit for one in workers if one.memory_limit), default=None)


def _kills(snapshot: Snapshot) -> float | None:
    if isinstance(snapshot.losses, Gap):
        return None
    return sum(loss.reason == "memory" for loss in snapshot.losses)


def _lost(snapshot: Snapshot) -> float | None:
    if isinstance(snapshot.changes, Gap):
        return None
    return sum(
        one.kind == "removed" and not one.is_expected and snapshot.time - one.time <= LATELY
        for one in snapshot.changes
    )


def _success(snapshot: Snapshot, computations: tuple[Computation, ...]) -> float | None:
    if isinstance(snapshot.failures, Gap):
        return None
    failed = {failure.computation_id for failure in snapshot.failures}
    done = [one.id in failed for one in computations if one.is_done or one.id in failed]
    return 1 - sum(done) / len(done) if done else None


def _failures(snapshot: Snapshot) -> float | None:
    prefixes = () if isinstance(snapshot.prefixes, Gap) else snapshot.prefixes
    failed = sum(one.n_erred for one in prefixes)
    ended = failed + sum(max(one.n_done, one.n_memory) for one in prefixes)
    return failed / ended if ended > 0 else None


def _delay(computations: tuple[Computation, ...]) -> float | None:
    # A negative one comes of clocks that differ.
    waits = [
        max(0.0, one.start - one.submitted - abs(one.schedule_seconds or 0.0))
        for one in computations
        if one.start is not None
    ]
    return statistics.median(waits[-RECENT:]) if waits else None


def _cell_seconds(snapshot: Snapshot, computations: tuple[Computation, ...]) -> float | None:
    cells = () if isinstance(snapshot.code, Gap) else snapshot.code
    working = {one.at.cell_id for one in computations if one.at is not None}
    took = sorted(
        max(0.0, cell.stopped - cell.started)
        for cell in cells
        if cell.id is not None
        and cell.id in working
        and cell.started is not None
        and cell.stopped is not None
    )
    return took[math.ceil(0.95 * len(took)) - 1] if took else None


def _moved(computations: tuple[Computation, ...]) -> float | None:
    newest = next((one for one in reversed(computations) if one.is_done and one.activity is not None), None)
    if newest is None or newest.activity is None:
        return None
    by_label: dict[str, int] = {}
    for item in newest.activity:
        if item.context == "gather-dep":
            by_label[item.label] = by_label.get(item.label, 0) + max(0, item.nbytes)
    # The same bytes count under several labels: on the way, and unpacked.
    return max(by_label.values(), default=0)


def _is_at_rest(load: tuple[Load, ...]) -> bool:
    last = [one for one in load if one.time > load[-1].time - REST]
    return len(last) > 1 and all(one.tasks_processing == 0 and one.threads_busy == 0 for one in last)


def _cpu(load: tuple[Load, ...]) -> float | None:
    told = [one.scheduler_cpu for one in load[-5:] if one.scheduler_cpu is not None]
    return statistics.median(told) / 100 if told else None
