"""Which computations belong to which run of which cell: rules and verification ask the same here."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Sequence

from .. import source
from ..snapshot import Cell, Collection, Computation, Location

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


def bound_at(code: Iterable[Cell], at: Location | None) -> str | None:
    """The variable that the statement at this place binds; None when it binds none or several."""
    cell = cell_at(code, at)
    tree = source.parse(cell.source) if cell is not None else None
    if tree is None or at is None or at.line is None:
        return None
    for statement in tree.body:
        if statement.lineno <= at.line <= (statement.end_lineno or statement.lineno):
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    return name
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


def waiting_at(code: Iterable[Cell], since: float) -> Location | None:
    """The cell that runs now, if it had begun by `since`: it waits for work that came then from nobody knows where."""
    for cell in code:
        if cell.started is not None and cell.stopped is None and cell.started <= since + _SLACK:
            return Location(cell_id=cell.id, execution_count=cell.execution_count)
    return None


def of_cell(computations: Iterable[Computation], at: Location | None) -> tuple[Computation, ...]:
    return tuple(c for c in computations if same_cell(c.at, at))


def wall(computation: Computation) -> float | None:
    """Seconds from its submission to its last task; None while it runs."""
    if computation.stop is None:
        return None
    return max(0.0, computation.stop - min(computation.submitted, computation.start or computation.submitted))


def read_by(
    computation: Computation, collections: Iterable[Collection], code: Iterable[Cell]
) -> tuple[Collection, ...]:
    """The collections that a computation reads.

    Known by name for what is in memory and for arrays. A dataframe's expressions are renamed by the
    optimizer before they are sent: then it is what the cell's text speaks of.
    """
    collections = tuple(collections)
    spoken = {c.name for c in spoken_of(cell_at(code, computation.at), collections)}
    ran = {*computation.names, *computation.reused}
    return tuple(
        c
        for c in collections
        if c.name in spoken or c.group in ran or (c.names and set(c.names) <= set(computation.names))
    )


def spoken_of(cell: Cell | None, collections: Iterable[Collection]) -> tuple[Collection, ...]:
    """The collections whose variables stand in the cell, and those that these are made from."""
    written = source.names(cell.source) if cell is not None else frozenset()
    collections = tuple(collections)
    direct = [c for c in collections if c.name in written]
    if not direct:
        return ()
    return tuple(c for c in collections if c.name in written or any(is_made_from(d, c) for d in direct))


def is_made_from(collection: Collection, other: Collection) -> bool:
    """Do the steps of `other`, or its partitions in memory, stand in this collection's tree?"""
    if other.group is not None:
        return other.group != collection.group and other.group in collection.names
    return bool(other.names) and set(other.names) < set(collection.names)


def peak_worker_memory(computations: Iterable[Computation]) -> int | None:
    peaks = [c.peak_worker_memory for c in computations if c.peak_worker_memory is not None]
    return max(peaks, default=None)


def peak_memory(computations: Iterable[Computation]) -> int | None:
    peaks = [c.peak_memory for c in computations if c.peak_memory is not None]
    return max(peaks, default=None)
