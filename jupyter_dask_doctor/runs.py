"""Which computations belong to which run of which cell: rules and verification ask the same here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from .snapshot import Cell, Collection, Computation, Location, TaskGroup

#: The kernel writes down a cell's start at nearly the moment its first graph leaves.
_SLACK = 0.25


def cell_at(code: Iterable[Cell], at: Location | None) -> Cell | None:
    """The cell that a location speaks of: by its id, else by the number beside it."""
    if at is None:
        return None
    for cell in code:
        if at.cell_id is not None:
            if cell.id == at.cell_id:
                return cell
        elif at.execution_count is not None and cell.execution_count == at.execution_count:
            return cell
    return None


def same_cell(a: Location | None, b: Location | None) -> bool:
    """Are both in one cell? Not knowing is no."""
    if a is None or b is None:
        return False
    if a.cell_id is not None or b.cell_id is not None:
        return a.cell_id == b.cell_id
    return a.execution_count is not None and a.execution_count == b.execution_count


def is_stale(at: Location | None, time: float, code: Iterable[Cell]) -> bool:
    """Has the cell run again to its end since `time`? Then what was seen at that time is no longer so."""
    cell = cell_at(code, at)
    if cell is None or cell.started is None or cell.stopped is None:
        return False
    return time < cell.started - _SLACK


def newest(computations: Iterable[Computation], code: Sequence[Cell]) -> tuple[Computation, ...]:
    """Only the last run of each cell. While a cell runs again, its run before still counts as well."""
    kept = []
    previous: dict[str, int] = defaultdict(int)
    computations = tuple(computations)
    for c in computations:
        cell = cell_at(code, c.at)
        if (
            cell is not None
            and c.at is not None
            and c.at.execution_count is not None
            and is_before(c.submitted, cell)
        ):
            key = cell.id or ""
            previous[key] = max(previous[key], c.at.execution_count)
    for c in computations:
        cell = cell_at(code, c.at)
        if cell is not None and is_before(c.submitted, cell):
            if cell.started is None or cell.stopped is not None or c.at is None:
                continue
            if c.at.execution_count is None or c.at.execution_count < previous[cell.id or ""]:
                continue
        kept.append(c)
    return tuple(kept)


def is_before(time: float, cell: Cell | None) -> bool:
    """Was that before the last run of this cell began?"""
    return cell is not None and cell.started is not None and time < cell.started - _SLACK


def of_cell(computations: Iterable[Computation], at: Location | None) -> tuple[Computation, ...]:
    return tuple(c for c in computations if same_cell(c.at, at))


def wall(computation: Computation) -> float | None:
    """Seconds from its submission to its last task; None while it runs."""
    if computation.stop is None:
        return None
    return max(0.0, computation.stop - min(computation.submitted, computation.start or computation.submitted))


def uses(collection: Collection, computation: Computation) -> bool:
    """Does the computation read this collection?"""
    own = {collection.group} - {None}
    if own & set(computation.reused) or own & set(computation.names):
        return True
    return bool(collection.names) and set(collection.names) <= set(computation.names)


def consumers(group: str, computation: Computation, groups: Iterable[TaskGroup]) -> tuple[TaskGroup, ...]:
    """The task groups of one computation that take the outputs of `group`."""
    return tuple(g for g in groups if g.computation_id == computation.id and group in g.dependencies)


def peak_worker_memory(computations: Iterable[Computation]) -> int | None:
    peaks = [c.peak_worker_memory for c in computations if c.peak_worker_memory is not None]
    return max(peaks, default=None)


def peak_memory(computations: Iterable[Computation]) -> int | None:
    peaks = [c.peak_memory for c in computations if c.peak_memory is not None]
    return max(peaks, default=None)
