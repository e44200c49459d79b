"""`.compute()` sends a dataframe's steps one by one although they could go as one task per partition.

## Why it matters
Dask dataframes join ("fuse") neighbouring steps into one task when they are optimized for `persist()` or by
`optimize()`, but `compute()` leaves that out. Then every step of every partition is a task of its own, with
0.2 to 1 ms of overhead and, often, a copy in memory.

## Anti-pattern
    (df[df.amount > 0].assign(tax=df.amount * 0.2).amount.sum()).compute()

## Best practice
    (df[df.amount > 0].assign(tax=df.amount * 0.2).amount.sum()).optimize().compute()

## How it is known
The tasks that the scheduler got, against those that the same expression would send when fused, counted
without running it. It speaks from 500 tasks on when fusing would halve them at least, and when what it
saves is at least 1 s and 5 % of what the computation took. What it saves is reckoned: of the time in which
threads had nothing to do, the share of tasks that fusing takes away, at most 5 ms for each of them; where
the work of the threads is not known, 0.6 ms for each. On Dask 2026.8.0 a chain on 300 small partitions went
from 4,500 tasks to 600 and ran 2.8 to 4.9 times as fast.

Before a cell runs that calls `compute()` on a variable, both counts are known from the variable, 0.6 ms are saved
for each task less, and the work is reckoned from the bytes of what it reads, at 200 MB/s for each thread; where
these are not known it is only worth knowing.

## When it stays quiet
For `persist()`, which fuses; for arrays, bags and delayed, which are fused already; for graphs that stay
alike; for computations whose tasks are long.

## Fix safety
Needs review. The result is the same. A fused task runs on one worker from its first step to its last, so it
may hold a step's input and output together; the progress bar shows fewer, longer tasks.

## References
https://docs.dask.org/en/stable/dataframe-optimizer.html
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.optimize.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ... import source, words
from ...judging import forecast, runs
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Location
from ..registry import rule

_FRAMES = frozenset({"dataframe", "series", "index"})
_WHY = (
    "`compute()` does not join the steps of a dataframe into one task per partition; "
    "`optimize()` does. Each task more costs the scheduler up to 1 ms."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Tasks from which it may speak.
    n_tasks: int = 500
    #: Tasks sent over tasks when fused.
    ratio: float = 2.0
    #: Seconds that one task less saves when the work is not known (docs: 200 µs to 1 ms of overhead each) ...
    task_seconds: float = 0.0006
    #: ... and the most that is believed (measured on a busy machine with 2 cores: 5 ms).
    most_task_seconds: float = 0.005
    #: Seconds that must be saved for a warning, and their share of what the computation took.
    loss_seconds: float = 1.0
    loss_share: float = 0.05


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = runs.of_cell(runs.newest(computations, code), at)
    lasted = [runs.wall(c) for c in own]
    if not own or None in lasted:
        return ()
    return (
        Measure(label="computing", value=sum(filter(None, lasted)), unit="seconds"),
        Measure(label="tasks", value=sum(c.n_tasks for c in own), unit="count"),
    )


@rule(
    id="unfused-compute",
    title="compute() sends an unfused graph",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations", "collections"),
    measure=_measure,
)
def unfused_compute(
    computations: tuple[Computation, ...],
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
    cluster: Cluster | None = None,
) -> Iterator[Finding]:
    if cluster is not None:
        for plan in forecast.coming(code, collections, computations, ("compute",)):
            yield from _coming(plan, collections, code, cluster, limit)
    for c in runs.newest(computations, code):
        if c.fused_tasks is None or c.method not in ("compute", None):
            continue
        if c.n_tasks < limit.n_tasks or c.n_tasks < limit.ratio * max(1, c.fused_tasks):
            continue
        lasted = runs.wall(c)
        if lasted is None:
            continue  # what is at stake is not known yet
        saved = _saved(c, lasted, limit)
        if saved < limit.loss_seconds or saved < limit.loss_share * lasted:
            continue
        cell = runs.cell_at(code, c.at)
        call = _call(cell, c.at, collections) if cell is not None else None
        shown = source.root(call.func) if call is not None else None
        subject = shown.id if shown is not None else c.layers[0][0] if c.layers else "graph"
        yield unfused_compute.finding(
            severity="warning",
            subject=subject,
            message=f"{words.code(subject)} was computed with {words.count(c.n_tasks, 'task')}; "
            f"fused it is {c.fused_tasks:,}.",
            why=_WHY,
            evidence=(
                Evidence(
                    label="tasks sent", value=c.n_tasks, unit="count", limit=limit.ratio * c.fused_tasks
                ),
                Evidence(label="tasks when fused", value=c.fused_tasks, unit="count"),
                Evidence(
                    label="saved by fusing",
                    value=saved,
                    unit="seconds",
                    is_estimated=True,
                    limit=max(limit.loss_seconds, limit.loss_share * lasted),
                ),
            ),
            at=c.at,
            fixes=_fixes(cell, call, c.at, c.n_tasks, c.fused_tasks),
            loss_seconds=saved,
            of_seconds=lasted,
        )


def _coming(
    plan: forecast.Coming,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
    cluster: Cluster,
    limit: Thresholds,
) -> Iterator[Finding]:
    """Of what is about to be computed."""
    c = plan.collection
    n, fused = c.n_tasks, c.fused_tasks
    if n is None or fused is None or n < limit.n_tasks or n < limit.ratio * max(1, fused):
        return
    saved = (n - fused) * limit.task_seconds
    work = forecast.work_seconds(c, collections, cluster)
    if saved < limit.loss_seconds:
        return
    lasted = None if work is None else n * limit.task_seconds + work
    if lasted is not None and saved < limit.loss_share * lasted:
        return
    cell = runs.cell_at(code, plan.at)
    call = _call(cell, plan.at, collections) if cell is not None else None
    yield unfused_compute.finding(
        severity="info" if lasted is None else "warning",
        subject=c.name,
        message=f"{words.code(c.name)} would be computed with {words.count(n, 'task')}; fused it is {fused:,}.",
        why=_WHY,
        evidence=(
            Evidence(
                label="tasks to be sent",
                value=n,
                unit="count",
                limit=limit.ratio * max(1, fused),
                is_estimated=True,
            ),
            Evidence(label="tasks when fused", value=fused, unit="count", is_estimated=True),
            Evidence(
                label="saved by fusing",
                value=saved,
                unit="seconds",
                is_estimated=True,
                limit=max(limit.loss_seconds, limit.loss_share * (lasted or 0.0)),
            ),
        ),
        at=plan.at,
        fixes=_fixes(cell, call, plan.at, n, fused),
        loss_seconds=saved,
        of_seconds=lasted,
    )


def _saved(c: Computation, lasted: float, limit: Thresholds) -> float:
    """Seconds that fusing would save: its share of the time in which threads had nothing to do."""
    fewer = c.n_tasks - (c.fused_tasks or 0)
    if c.thread_seconds is None:
        return min(fewer * limit.task_seconds, lasted * fewer / c.n_tasks)
    idle = max(0.0, lasted - c.thread_seconds / max(1, c.nthreads))
    return min(fewer * limit.most_task_seconds, idle * fewer / c.n_tasks)


def _call(cell: Cell, at: Location | None, collections: tuple[Collection, ...]) -> ast.Call | None:
    """The one `.compute()` that was meant, or None."""
    tree = source.parse(cell.source)
    if tree is None:
        return None
    modules = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    } | {"dask", "dd", "da", "db", "client"}
    others = {c.name for c in collections if c.kind not in _FRAMES}
    found = []
    for call in fixes.calls(tree, "compute"):
        assert isinstance(call.func, ast.Attribute)
        start = source.root(call.func)
        is_module = isinstance(call.func.value, ast.Name) and call.func.value.id in modules
        if is_module or (start is not None and start.id in others) or _is_optimized(call.func.value):
            continue
        found.append(call)
    if len(found) > 1 and at is not None and at.line is not None:
        found = [call for call in found if call.lineno <= (at.line or 0) <= (call.end_lineno or call.lineno)]
    return found[0] if len(found) == 1 else None


def _is_optimized(receiver: ast.expr) -> bool:
    match receiver:
        case ast.Call(func=ast.Attribute(attr="optimize")):
            return True
        case _:
            return False


def _fixes(
    cell: Cell | None, call: ast.Call | None, at: Location | None, n_tasks: int, fused_tasks: int
) -> tuple[Fix, ...]:
    title = "Fuse before computing"
    expect = f"{n_tasks:,} → {fused_tasks:,} tasks, the same result"
    if cell is not None and call is not None:
        whole = source.span(cell.source, call.func)
        # The word itself: what stands before it may be in brackets
        where = source.Span(
            line=whole.end_line,
            column=whole.end_column - len("compute"),
            end_line=whole.end_line,
            end_column=whole.end_column,
        )
        made = fixes.replace(cell, where, "optimize().compute", title=title, expect=expect, rerun=at)
        if made is not None and made.edits[0].old == "compute":
            return (made,)
    return (fixes.advice("x.optimize().compute()  # instead of x.compute()", title=title, expect=expect),)
