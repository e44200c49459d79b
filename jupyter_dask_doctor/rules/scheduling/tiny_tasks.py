"""Thousands of tasks that are over before they are worth sending.

## Why it matters
Each task costs the scheduler and the network about a millisecond, whatever it does. Where the work of a task
takes less than that, threads wait for the next one, and more workers make it no faster.

## Anti-pattern
    client.gather(client.map(parse, lines))          # 50,000 lines, 0.1 ms each

## Best practice
    from toolz import partition_all

    batches = list(partition_all(1_000, lines))
    client.gather(client.map(lambda lines: [parse(x) for x in lines], batches))

For collections: fewer, larger partitions, or one `map_partitions` instead of many small steps.

## How it is known
Thread-seconds of each task group, divided by its tasks: a mean, right also for tasks that are long forgotten.
It speaks of 1,000 tasks or more of one kind that take less than 10 ms each, when the threads of the cluster
spent less than half of the time in tasks and the overhead, reckoned at 1 ms per task, is at least 1 s and
5 % of what the computation took. The loss is that overhead, but never more than the time that the work alone,
spread over all threads, would not have needed.

## When it stays quiet
Fewer tasks, or tasks as long as the docs ask for; threads that are busy all the same; a graph whose small
steps Dask could fuse (`unfused-compute` speaks) or that is large as a whole (`large-graph` speaks).

## Fix safety
Needs review. Batches of futures give lists instead of single results: the edit puts them together again in the
same order, but a failure now concerns a whole batch. Another number of partitions may matter to later code.

## References
https://docs.dask.org/en/stable/best-practices.html#avoid-very-large-graphs
https://docs.dask.org/en/stable/delayed-best-practices.html#avoid-too-many-tasks
https://distributed.dask.org/en/stable/efficiency.html#use-larger-tasks
"""

from __future__ import annotations

import ast
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs, usage
from ...remedies import fixes, offers
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, TaskGroup
from ..registry import rule

#: What a task should last at least (docs.dask.org/en/stable/best-practices.html).
_AIM_SECONDS = 0.1
#: Batches per thread, so that they spread evenly.
_PER_THREAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: A task that takes less than so many seconds is tiny (Ray warns below 10 ms; Dask's guides ask for 100 ms).
    task_seconds: float = 0.010
    #: Fewer tasks of one kind than this are not worth a word.
    tasks: int = 1_000
    #: What the scheduler and the network need for one task, in seconds (Dask's guides: 0.2 to 1 ms).
    overhead_seconds: float = 0.001
    #: Share of the threads' time that went into tasks from which they count as busy all the same.
    busy_share: float = 0.5
    #: The overhead must be at least so many seconds ...
    least_seconds: float = 1.0
    #: ... and this share of what the computation took.
    stake: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiny:
    """The tasks of one prefix in one run of a cell."""

    prefix: str
    n: int
    seconds: float

    @property
    def mean(self) -> float:
        return self.seconds / self.n


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    code: tuple[Cell, ...] = (),
    load: tuple[Load, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    if work is None:
        return ()
    return (
        Measure(label="time of its tasks", value=work.seconds, unit="seconds"),
        Measure(label="tasks", value=work.n_tasks, unit="count"),
    )


@rule(
    id="tiny-tasks",
    title="Tasks are too small",
    severity="warning",
    thresholds=Thresholds(),
    about=("groups",),
    yields_to={
        "unfused-compute": "cell",
        "large-graph": "cell",
        "tiny-partitions": "cell",
        "too-many-partitions": "cell",
    },
    measure=_measure,
)
def tiny_tasks(
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    everything = usage.works(computations, code, load)
    grouped = usage.by_computation(groups)
    for work in everything:
        total = work.thread_seconds
        if not work.is_done or total is None or work.nthreads < 1 or not usage.is_alone(work, everything):
            continue
        tiny = _tiny(usage.own_groups(work, grouped), limit)
        if not tiny:
            continue
        wall = work.seconds
        busy = total / (work.nthreads * wall)
        n = sum(t.n for t in tiny)
        # What the work alone would have taken cannot be lost
        loss = min(n * limit.overhead_seconds, wall - total / work.nthreads)
        if busy >= limit.busy_share or loss < limit.least_seconds or loss < limit.stake * wall:
            continue
        most = max(tiny, key=lambda t: t.n)
        took = words.seconds(most.mean) if most.mean >= 0.001 else "less than 1 ms"
        yield tiny_tasks.finding(
            severity="warning",
            subject=most.prefix,
            message=f"{words.count(most.n)} tasks {words.code(most.prefix)} took {took} each: "
            f"sending them cost about {words.seconds(loss)} of {words.seconds(wall)}.",
            why="Whatever a task does, sending it, watching it and telling of its end takes about a millisecond. "
            f"The threads were in tasks for {words.share(busy)} of the time.",
            evidence=(
                Evidence(label="tasks of this kind", value=most.n, unit="count", limit=limit.tasks),
                Evidence(label="mean of a task", value=most.mean, unit="seconds", limit=limit.task_seconds),
                Evidence(label="threads in tasks", value=busy, unit="share", limit=limit.busy_share),
                Evidence(label="overhead", value=loss, unit="seconds", is_estimated=True),
            ),
            at=work.at,
            fixes=_fixes(most, work, cluster, collections, load, code),
            loss_seconds=loss,
            of_seconds=wall,
        )


def _tiny(groups: Sequence[TaskGroup], limit: Thresholds) -> list[_Tiny]:
    n: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for g in groups:
        if g.compute_seconds is None or g.compute_seconds < 0 or g.n_tasks < 1:
            continue  # unknown is not tiny
        n[g.prefix] += g.n_tasks
        seconds[g.prefix] += g.compute_seconds
    found = [_Tiny(prefix=p, n=n[p], seconds=seconds[p]) for p in n]
    return [t for t in found if t.n >= limit.tasks and t.mean < limit.task_seconds]


def _fixes(
    most: _Tiny,
    work: usage.Work,
    cluster: Cluster,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    nthreads = max(1, work.nthreads)
    # As many as make a task long enough, but enough for all threads
    n = max(_PER_THREAD * nthreads, math.ceil(most.seconds / _AIM_SECONDS))
    size = math.ceil(most.n / n)
    if size < 2:
        return ()
    cell = runs.cell_at(code, work.at)
    batched = _batched(cell, size, n) if cell is not None else None
    if batched is not None:
        return (batched,)
    read = [c for one in work.computations for c in runs.read_by(one, collections, code)]
    read = [c for c in read if (c.npartitions or 0) >= 2 * n and not c.is_eager]
    if read:
        largest = max(read, key=lambda c: c.npartitions or 0)
        found = offers.glue(largest, n, cluster=cluster, load=load, code=code, ailing=work.at)
        if found:
            return found
    text = (
        "from toolz import partition_all\n\n"
        f"batches = list(partition_all({size}, items))  # {n} tasks instead of {most.n}\n"
        "futures = client.map(lambda batch: [function(item) for item in batch], batches)"
    )
    expect = f"{words.count(most.n)} → {words.count(n)} tasks of about {words.seconds(most.seconds / n)}"
    return (fixes.advice(text, title="Do many items in one task", expect=expect),)


def _batched(cell: Cell, size: int, n: int) -> Fix | None:
    """`client.gather(client.map(f, items))` over batches: the same list in the same order."""
    tree = source.parse(cell.source)
    for statement in tree.body if tree is not None else ():
        for node in ast.walk(statement):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=client), attr="gather"),
                    args=[
                        ast.Call(
                            func=ast.Attribute(value=ast.Name(id=mapper), attr="map"),
                            args=[ast.Name(id=function), items],
                            keywords=[],
                        )
                    ],
                    keywords=[],
                ) if client == mapper and not isinstance(items, ast.Starred):
                    return _replaced(cell, statement, node, (client, function, items), size, n)
    return None


def _replaced(
    cell: Cell,
    statement: ast.stmt,
    gather: ast.Call,
    names: tuple[str, str, ast.expr],
    size: int,
    n: int,
) -> Fix | None:
    client, function, items = names
    text = cell.source
    whole, inner = source.span(text, statement), source.span(text, gather)
    given = source.text(text, source.span(text, items))
    head = source.Span(line=whole.line, column=whole.column, end_line=inner.line, end_column=inner.column)
    tail = source.Span(
        line=inner.end_line, column=inner.end_column, end_line=whole.end_line, end_column=whole.end_column
    )
    before = source.text(text, head) if head.line < head.end_line or head.column < head.end_column else ""
    after = source.text(text, tail) if tail.line < tail.end_line or tail.column < tail.end_column else ""
    new = (
        "from toolz import partition_all\n\n"
        f"batches = list(partition_all({size}, {given}))\n"
        f"{before}[\n"
        "    result\n"
        f"    for batch in {client}.gather({client}.map(lambda batch: [{function}(x) for x in batch], batches))\n"
        "    for result in batch\n"
        f"]{after}"
    )
    return fixes.replace(
        cell,
        whole,
        new,
        title=f"Do {words.count(size)} items in one task",
        expect=f"about {words.count(n)} tasks; the same results in the same order",
        rerun=Location(cell_id=cell.id),
    )
