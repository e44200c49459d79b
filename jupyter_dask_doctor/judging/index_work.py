"""What work on an index of unknown divisions cost, or will cost: by `loc`, by joins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import source
from ..snapshot import Cell, Collection, Computation, Location, Operation, TaskGroup
from . import planned, runs, usage

_JOINS = ("join", "merge")
#: Parts of the names of tasks that bring rows to the partition they belong to.
_MOVES = ("hash-join-transfer", "shuffle-transfer", "shuffle-split", "split-shuffle", "shuffle-barrier")
#: What its tasks are called where `loc` has to look through all partitions.
_LOOKING = ("try_loc", "try-loc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Work on the index of one frame, in one cell."""

    #: The frame that lacks divisions, and all that lack them, so far as they are known.
    frame: str
    lacking: tuple[Collection, ...]
    operation: Operation
    at: Location | None
    #: Thread-seconds; None when only that it happens is known.
    loss: float | None
    of: float | None
    #: Times it was done.
    n: int = 1
    is_estimated: bool = False
    #: Not yet done.
    is_ahead: bool = False

    @property
    def npartitions(self) -> int:
        """Of the sides that lack divisions."""
        unknown = zip(self.operation.n_in, self.operation.known_divisions, strict=False)
        return max((n for n, known in unknown if known is False and n), default=0)


def _is_unknown(operation: Operation) -> bool:
    return operation.is_on_index and False in operation.known_divisions


def worst(cases: Sequence[Case]) -> list[Case]:
    """By frame: what it lost most by; what several computations of one cell lost counts together."""
    joined: dict[object, Case] = {}
    for case in cases:
        cell = (case.at.cell_id, case.at.execution_count) if case.at is not None else None
        key = (case.frame, case.operation.kind == "loc", cell, case.is_ahead)
        other = joined.get(key)
        if other is None:
            joined[key] = case
            continue
        joined[key] = Case(
            frame=case.frame,
            lacking=case.lacking,
            operation=case.operation,
            at=case.at,
            loss=(case.loss or 0.0) + (other.loss or 0.0),
            of=max(case.of or 0.0, other.of or 0.0) or None,
            n=case.n + other.n,
            is_estimated=case.is_estimated or other.is_estimated,
            is_ahead=case.is_ahead,
        )
    best: dict[str, Case] = {}
    for case in sorted(joined.values(), key=lambda c: (c.is_ahead, -(c.loss or 0.0))):
        best.setdefault(case.frame, case)
    return list(best.values())


def done(
    computations: Sequence[Computation],
    groups: Sequence[TaskGroup],
    frames: Sequence[Collection],
    code: Sequence[Cell],
) -> Iterator[Case]:
    """What was computed, each cell's last run."""
    recent = runs.newest(computations, code)
    grouped = usage.by_computation(groups)
    for c in recent:
        own = grouped.get(c.id, [])
        steps: dict[str, tuple[Operation, Collection | None]] = {
            o.name: (o, asked) for asked in c.asked for o in asked.operations if _is_unknown(o)
        }
        if not c.asked:
            steps |= {o.name: (o, None) for o in _by_tasks(own)}
        if not steps:
            continue
        spent = [x.thread_seconds or 0.0 for x in recent if runs.same_cell(x.at, c.at)] or [
            c.thread_seconds or 0.0
        ]
        joins = [o for o, _ in steps.values() if o.kind in _JOINS]
        shuffles = [
            o
            for asked in c.asked
            for o in asked.operations
            if o.kind in (*_JOINS, "set_index", "sort_values", "shuffle")
            and not (o.n_out == 1 or 1 in o.n_in)
        ]
        for operation, asked in steps.values():
            if operation.kind == "loc":
                loss, is_estimated = _looked_through(operation, own)
            elif operation.kind in _JOINS and 1 not in operation.n_in:
                moved = sum(g.compute_seconds or 0.0 for g in own if any(word in g.prefix for word in _MOVES))
                n = max(1, len({o.name for o in shuffles}), len(joins))
                loss, is_estimated = moved / n, n > 1
            else:
                continue
            if not loss:
                continue
            frame, lacking = _frame(operation, asked, frames, code, c.at)
            yield Case(
                frame=frame,
                lacking=lacking,
                operation=operation,
                at=c.at or (asked.at if asked is not None else None),
                loss=loss,
                of=sum(spent) or None,
                is_estimated=is_estimated,
            )


def _by_tasks(own: Sequence[TaskGroup]) -> Iterator[Operation]:
    """Nobody saw what was asked for: only `loc` without divisions is done by tasks of this name."""
    for g in own:
        if g.prefix.endswith(_LOOKING):
            yield Operation(
                kind="loc",
                name=g.name,
                n_in=(g.n_tasks,),
                n_out=g.n_tasks,
                known_divisions=(False,),
                is_on_index=True,
            )


def _looked_through(operation: Operation, own: Sequence[TaskGroup]) -> tuple[float | None, bool]:
    """Thread-seconds spent on partitions in which nothing was found, and whether that is reckoned."""
    by_name = {g.name: g for g in own}
    step = by_name.get(operation.name)
    if step is None:
        step = next((g for g in own if g.prefix.endswith(_LOOKING)), None)
    if step is None or step.sizes is None or step.sizes.n < 1:
        return None, False
    total, seen, todo = 0.0, {step.name}, [step]
    while todo:
        group = todo.pop()
        total += group.compute_seconds or 0.0
        for name in group.dependencies:
            if name in by_name and name not in seen:
                seen.add(name)
                todo.append(by_name[name])
    sizes = step.sizes
    least = min(sizes.values, default=0)
    n_tasks = max(1, step.n_tasks)
    if len(sizes.values) >= sizes.n >= n_tasks and sizes.largest > least:
        # Of a partition without a match only the empty frame is left, always the same few bytes
        useful = sum(v > least for v in sizes.values) / len(sizes.values)
        return max(0.0, total * (1 - useful)), False
    inputs = [by_name[n].sizes for n in step.dependencies if n in by_name]
    whole = sum(s.total / s.n for s in inputs if s is not None and s.n)
    if whole <= 0:
        return None, False
    useful = min(1.0, sizes.total / sizes.n / whole + 2 / n_tasks)
    return max(0.0, total * (1 - useful)), True


def ahead(code: Sequence[Cell], frames: Sequence[Collection], bytes_per_second: float) -> Iterator[Case]:
    """Joins in cells that have not run: `loc` shows only afterwards how much of it was in vain."""
    lazy = [c for c in frames if not c.is_persisted and any(_is_unknown(o) for o in c.operations)]
    for plan in (*planned.planned(code, lazy, "compute"), *planned.planned(code, lazy, "persist")):
        for c in plan.collections:
            for o in c.operations:
                if not _is_unknown(o) or o.kind not in _JOINS or 1 in o.n_in:
                    continue
                sides = [x for x in frames if x.nbytes is not None and x is not c and _is_side(x, c, o)]
                tops = [
                    x for x in sides if not any(y is not x and set(x.names) < set(y.names) for y in sides)
                ]
                if len(tops) < len(o.n_in):
                    continue
                moved = sum(x.nbytes.nbytes for x in tops if x.nbytes is not None)
                frame, lacking = _frame(o, c, frames, code, plan.at)
                yield Case(
                    frame=frame,
                    lacking=lacking,
                    operation=o,
                    at=plan.at,
                    loss=moved / bytes_per_second,
                    of=None,
                    is_estimated=True,
                    is_ahead=True,
                )


def _tops(sides: Sequence[Collection]) -> list[Collection]:
    """Those that no other of them is made from."""
    return [x for x in sides if not any(y is not x and set(x.names) < set(y.names) for y in sides)]


def _is_side(x: Collection, whole: Collection, operation: Operation) -> bool:
    """Does `operation` of `whole` take it in?"""
    return operation.name not in x.names and runs.is_made_from(whole, x)


def _frame(
    operation: Operation,
    asked: Collection | None,
    frames: Sequence[Collection],
    code: Sequence[Cell],
    at: Location | None,
) -> tuple[str, tuple[Collection, ...]]:
    """The variable that holds the frame without divisions, what comes last before the step; then all of them."""
    lacking = [c for c in frames if c.has_known_divisions is not True]
    before = _tops([c for c in lacking if _is_side(c, asked, operation)]) if asked is not None else []
    if before:
        best = max(before, key=lambda c: (len(c.names), c.nbytes.nbytes if c.nbytes else 0))
        unknown = sum(known is False for known in operation.known_divisions)
        # Where another side is not known, what can be done for one is of no use
        return best.name, tuple(before) if len(before) >= unknown else ()
    # Its tree was not kept: what the text says
    cell = runs.cell_at(code, at)
    names = source.names(cell.source) if cell is not None else frozenset()
    own = asked.name if asked is not None else ""
    spoken = [c for c in lacking if c.name in names and c.name != own and operation.name not in c.names]
    if len(spoken) == 1:
        return spoken[0].name, tuple(spoken) if operation.kind == "loc" else ()
    return own or operation.kind, ()
