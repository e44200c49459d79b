"""Workers that an interrupt of the kernel ended: the interrupt reaches the processes of a LocalCluster too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..snapshot import Cell, Cluster, WorkerChange, WorkerLoss
from . import runs

#: Seconds between the first and the last worker that went: one signal reaches all. With busy threads it took
#: 0.5 s on two cores.
TOGETHER = 5.0
#: Seconds between the end of the interrupted cell and the workers' going (seen: 0.1 to 1.3 s).
AROUND = 10.0
#: Seconds without any worker from which on they do not come back by themselves. A nanny whose worker died of
#: anything else has another one after 1 to 3 s.
SILENT = 12.0


def gone_together(
    changes: Iterable[WorkerChange], together: float = TOGETHER
) -> tuple[tuple[WorkerChange, ...], ...]:
    """Each time that all workers went at once, oldest first; whether they were asked to go nobody can tell:
    a worker closes in good order for an interrupt as well as for `scale(0)`."""
    found: list[tuple[WorkerChange, ...]] = []
    gone: list[WorkerChange] = []
    for change in sorted(changes, key=lambda c: c.time):
        if change.kind == "added":
            gone = []
            continue
        gone = [*(c for c in gone if change.time - c.time <= together), change]
        if change.n_workers == 0:
            found.append(tuple(gone))
            gone = []
    return tuple(found)


def next_added(changes: Iterable[WorkerChange], time: float) -> float | None:
    """When the first worker came after that."""
    return min((c.time for c in changes if c.kind == "added" and c.time > time), default=None)


def interrupted_cell(code: Sequence[Cell], time: float, around: float = AROUND) -> Cell | None:
    """The cell that ended with an interrupt at about that time."""
    for cell in code:
        if cell.error != "KeyboardInterrupt" or cell.stopped is None or cell.started is None:
            continue
        if max(cell.started, cell.stopped - around) <= time <= cell.stopped + around:
            return cell
    return None


def is_of_interrupt(
    loss: WorkerLoss, cluster: Cluster, changes: Sequence[WorkerChange], code: Sequence[Cell]
) -> bool:
    """Is an interrupt of the kernel what ended this worker? Then that is told, and not that it died."""
    if loss.reason != "unexpected" or not cluster.is_in_process:
        return False
    cell = interrupted_cell(code, loss.time)
    if cell is not None and (loss.at is None or runs.cell_at((cell,), loss.at) is cell):
        return True
    for gone in gone_together(changes):
        if not any(c.address == loss.address and abs(c.time - loss.time) <= TOGETHER for c in gone):
            continue
        came = next_added(changes, gone[-1].time)
        if came is None or came - gone[-1].time >= SILENT:
            return True
    return False
