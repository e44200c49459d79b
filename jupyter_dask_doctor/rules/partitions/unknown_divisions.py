"""Work on the index of a frame whose divisions are unknown.

## Why it matters
Divisions say which index values lie in which partition. Without them Dask must look for `df.loc["2024-03"]` in
every partition, moves all rows between the workers to join two frames on their index, and refuses `resample`,
`rolling`, `loc` with a list and `concat(axis=1)` altogether.

## Anti-pattern
    trips = dd.read_parquet("trips")                     # its index is the time
    trips.loc["2024-03-05"].fare.sum().compute()         # reads all files for one day

## Best practice
    trips = dd.read_parquet("trips", calculate_divisions=True)
    trips.loc["2024-03-05"].fare.sum().compute()         # reads one file

Data in order of a column get divisions by `df.set_index("time", sorted=True)`, with one pass over that column.

## How it is known
From the steps of what was asked for, and the seconds of their tasks. Of `loc`: the thread-seconds of the tasks
that made the partitions and looked through them, times the share of partitions in which nothing was found
(where their sizes were not seen one by one, the share of rows, marked "≈"). Of a join: the thread-seconds of
the tasks that move rows; before it runs, the bytes of both sides at 100 MB/s, marked "≈". A warning from 1 s and
5 % of what the cell computed. Of what Dask refuses: the error that the cell ended with.

Measured on Dask 2026.8.0 with 40 files of 4,000,000 rows in all and two threads: one day by `loc` 0.47 s
instead of 0.10 s, in 40 partitions instead of 1; a join on the index 3.5 s instead of 0.8 s.

## When it stays quiet
Unknown divisions alone are normal; `loc` with a mask, joins on columns, or with a side of one partition;
fewer than 8 partitions; `loc` that finds something in most partitions; what takes less than a second.

## Fix safety
`calculate_divisions=True` reads the statistics of all files when the frame is made, and helps where they
were written with this index and are in its order; otherwise divisions stay unknown. `set_index(..., sorted=True)`
reads the index once; it raises an error where the rows are not in order. Both need review: later steps
plan otherwise once divisions are known.

## References
https://docs.dask.org/en/stable/dataframe-design.html#partitions
https://docs.dask.org/en/stable/generated/dask.dataframe.read_parquet.html
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.set_index.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import planned, runs, source, words
from ...remedies import divisions
from ...report import Evidence, Finding, Measure, Severity
from ...snapshot import Cell, Collection, Computation, Location, Operation, TaskGroup
from ..registry import rule

_FRAMES = ("dataframe", "series", "index")
_JOINS = ("join", "merge")
#: Parts of the names of tasks that bring rows to the partition they belong to.
_MOVES = ("hash-join-transfer", "shuffle-transfer", "shuffle-split", "split-shuffle", "shuffle-barrier")
#: What its tasks are called where `loc` has to look through all partitions.
_LOOKING = ("try_loc", "try-loc")
#: What Dask says when it refuses (dask.dataframe, 2025.7 and 2026.8), and how the call is named.
_REFUSALS = (
    ("can only resample dataframes with known divisions", "resample"),
    ("can only rolling dataframes with known divisions", "rolling"),
    ("cannot index with list against unknown division", "loc"),
    ("unable to concatenate dataframe with unknown division specifying axis=1", "concat"),
    ("cannot repartition on divisions with unknown divisions", "repartition"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Fewer partitions than this are looked through in no time.
    npartitions: int = 8
    #: Thread-seconds lost, measured or foreseen, below which nothing is said.
    loss_seconds: float = 1.0
    #: Share of all that the cell computed.
    loss_share: float = 0.05
    #: Share of partitions in which `loc` finds something from which looking through all is no loss.
    useful_share: float = 0.5
    #: Bytes that a thread moves in a second, to foresee a join (distributed's own first guess of a bandwidth).
    bytes_per_second: float = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Work on the index of one frame, in one cell."""

    #: The frame that lacks divisions, and what is known of it.
    frame: str
    known: Collection | None
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


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    cell = runs.cell_at(code, at)
    found = []
    if cell is not None and cell.started is not None:
        refused = _refused(cell) is not None
        found.append(Measure(label="refused for want of divisions", value=float(refused), unit="count"))
    own = runs.of_cell(runs.newest(computations, code), at)
    known = [c.thread_seconds for c in own if c.thread_seconds is not None]
    if known:
        found.append(Measure(label="work of all threads", value=sum(known), unit="seconds"))
    return tuple(found)


@rule(
    id="unknown-divisions",
    title="Work on an index whose divisions are unknown",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations", "code"),
    measure=_measure,
)
def unknown_divisions(
    code: tuple[Cell, ...],
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    computations: tuple[Computation, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
) -> Iterator[Finding]:
    frames = [c for c in collections if c.kind in _FRAMES]
    told: set[str] = set()
    for cell in code:
        method = _refused(cell)
        if method is not None:
            finding = _refusal(cell, method, frames, code)
            told.add(finding.subject)
            yield finding
    for case in _worst([*_done(computations, groups, frames, code), *_ahead(code, frames, limit)]):
        if case.frame not in told and _matters(case, limit):
            yield _finding(case, limit, code, frames)


def _is_unknown(operation: Operation) -> bool:
    return operation.is_on_index and False in operation.known_divisions


def _matters(case: _Case, limit: Thresholds) -> bool:
    if case.npartitions < limit.npartitions or case.loss is None:
        return False
    return case.loss >= limit.loss_seconds and case.loss >= limit.loss_share * (case.of or 0.0)


def _worst(cases: Sequence[_Case]) -> list[_Case]:
    """By frame: what it lost most by; what several computations of one cell lost counts together."""
    joined: dict[object, _Case] = {}
    for case in cases:
        cell = (case.at.cell_id, case.at.execution_count) if case.at is not None else None
        key = (case.frame, case.operation.kind == "loc", cell, case.is_ahead)
        other = joined.get(key)
        if other is None:
            joined[key] = case
            continue
        joined[key] = _Case(
            frame=case.frame,
            known=case.known,
            operation=case.operation,
            at=case.at,
            loss=(case.loss or 0.0) + (other.loss or 0.0),
            of=max(case.of or 0.0, other.of or 0.0) or None,
            n=case.n + other.n,
            is_estimated=case.is_estimated or other.is_estimated,
            is_ahead=case.is_ahead,
        )
    best: dict[str, _Case] = {}
    for case in sorted(joined.values(), key=lambda c: (c.is_ahead, -(c.loss or 0.0))):
        best.setdefault(case.frame, case)
    return list(best.values())


def _done(
    computations: Sequence[Computation],
    groups: Sequence[TaskGroup],
    frames: Sequence[Collection],
    code: Sequence[Cell],
) -> Iterator[_Case]:
    """What was computed, each cell's last run."""
    recent = runs.newest(computations, code)
    for c in recent:
        own = [g for g in groups if g.computation_id == c.id]
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
            frame, known = _frame(operation, asked, frames, code, c.at)
            if operation.kind == "loc":
                loss, is_estimated = _looked_through(operation, own)
            elif operation.kind in _JOINS and 1 not in operation.n_in:
                moved = sum(g.compute_seconds or 0.0 for g in own if any(word in g.prefix for word in _MOVES))
                n = max(1, len({o.name for o in shuffles}), len(joins))
                loss, is_estimated = moved / n, n > 1
            else:
                continue
            yield _Case(
                frame=frame,
                known=known,
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


def _ahead(code: Sequence[Cell], frames: Sequence[Collection], limit: Thresholds) -> Iterator[_Case]:
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
                frame, known = _frame(o, c, frames, code, plan.at)
                yield _Case(
                    frame=frame,
                    known=known,
                    operation=o,
                    at=plan.at,
                    loss=moved / limit.bytes_per_second,
                    of=None,
                    is_estimated=True,
                    is_ahead=True,
                )


def _is_side(x: Collection, whole: Collection, operation: Operation) -> bool:
    """Does `operation` of `whole` take it in?"""
    return operation.name not in x.names and runs.is_made_from(whole, x)


def _frame(
    operation: Operation,
    asked: Collection | None,
    frames: Sequence[Collection],
    code: Sequence[Cell],
    at: Location | None,
) -> tuple[str, Collection | None]:
    """The variable that holds the frame without divisions: what comes last before the step."""
    lacking = [c for c in frames if c.has_known_divisions is not True]
    before = [c for c in lacking if _is_side(c, asked, operation)] if asked is not None else []
    if before:
        best = max(before, key=lambda c: (len(c.names), c.nbytes.nbytes if c.nbytes else 0))
        return best.name, best
    # Its tree was not kept: what the text says
    cell = runs.cell_at(code, at)
    names = source.names(cell.source) if cell is not None else frozenset()
    own = asked.name if asked is not None else ""
    spoken = [c for c in lacking if c.name in names and c.name != own and operation.name not in c.names]
    if len(spoken) == 1:
        return spoken[0].name, spoken[0]
    return own or operation.kind, next((c for c in frames if c.name == own), None)


def _finding(case: _Case, limit: Thresholds, code: Sequence[Cell], frames: Sequence[Collection]) -> Finding:
    n, loss = case.npartitions, case.loss or 0.0
    about = "≈ " if case.is_estimated else ""
    name = words.code(case.frame)
    times = f", {words.count(case.n, 'time')}" if case.n > 1 else ""
    if case.operation.kind == "loc":
        message = (
            f"{name} has unknown divisions: `loc` looked through all of its {n:,} partitions{times}, "
            f"{about}{words.seconds(loss)} of work where nothing was found."
        )
        why = "Divisions say in which partition an index value lies. With them only the partitions that hold "
        why += "the rows are read."
    else:
        how = "moves" if case.is_ahead else "moved"
        message = (
            f"{name} has unknown divisions: joining it on its index {how} all rows between workers{times}, "
            f"{about}{words.seconds(loss)} of work."
        )
        why = "With known divisions on both sides each partition is joined with those of the other side that "
        why += "hold the same index values: nothing is shuffled."
    label = "looking where nothing is" if case.operation.kind == "loc" else "moving rows"
    evidence = [
        Evidence(label="partitions", value=n, unit="count", limit=limit.npartitions),
        Evidence(
            label=label,
            value=loss,
            unit="seconds",
            limit=max(limit.loss_seconds, limit.loss_share * (case.of or 0.0)),
            is_estimated=case.is_estimated,
        ),
    ]
    if case.of is not None:
        evidence.append(Evidence(label="all work of the cell", value=case.of, unit="seconds"))
    severity: Severity = "warning"
    return unknown_divisions.finding(
        severity=severity,
        subject=case.frame,
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=case.at,
        fixes=divisions.offers(case.known, code, frames, ailing=case.at, loss_seconds=loss),
        loss_seconds=loss,
        of_seconds=case.of,
    )


def _refused(cell: Cell) -> str | None:
    """The method that Dask refused in the cell's last run, for want of divisions."""
    if not cell.has_failed or not cell.error_text:
        return None
    said = " ".join(cell.error_text.lower().split())
    return next((method for text, method in _REFUSALS if text in said), None)


def _refusal(cell: Cell, method: str, frames: Sequence[Collection], code: Sequence[Cell]) -> Finding:
    name, line = _receiver(cell, method, frames)
    known = next((c for c in frames if c.name == name), None)
    at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=line)
    called = "`loc` with a list" if method == "loc" else f"`{method}`"
    called = "`concat` side by side" if method == "concat" else called
    who = words.code(name) if name else "the frame"
    evidence = [Evidence(label="error", value=cell.error or "error", unit="text")]
    if known is not None and known.npartitions:
        evidence.append(Evidence(label="partitions", value=known.npartitions, unit="count"))
    return unknown_divisions.finding(
        severity="warning",
        subject=name or method,
        message=f"Dask refuses {called}: the divisions of {who} are unknown.",
        why="Rows that belong together may lie in any two partitions as long as nobody knows which index values "
        "each of them holds.",
        evidence=tuple(evidence),
        at=at,
        fixes=divisions.offers(known, code, frames, ailing=at, loss_seconds=None),
    )


def _receiver(cell: Cell, method: str, frames: Sequence[Collection]) -> tuple[str, int | None]:
    """The variable that the refused method was called on, and the line; the first one that lacks divisions."""
    lacking = {c.name for c in frames if c.has_known_divisions is not True}
    tree = source.parse(cell.source)
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.Attribute) or node.attr != method:
            continue
        root = source.root(node)
        if root is not None and root.id in lacking:
            found.append((root.id, node.lineno))
    if method == "concat" and tree is not None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in lacking:
                found.append((node.id, node.lineno))
    if found:
        return min(found, key=lambda pair: pair[1])
    return "", None
