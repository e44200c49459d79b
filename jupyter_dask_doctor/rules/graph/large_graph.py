"""The graph has so many tasks that handling them takes a real part of the time.

## Why it matters
Each task costs the scheduler 0.2 to 1 ms, one after the other, before and beside the work itself. A hundred
thousand tasks are 20 s to 100 s in which adding workers does not help.

## Anti-pattern
    df = dd.read_parquet(path).repartition(npartitions=20_000)   # 40 GB: 2 MB each
    df.groupby("user").amount.sum().compute()

## Best practice
    df = df.repartition(npartitions=400)   # about 100 MB each

Where a chain of steps makes the tasks, one `map_partitions` with a function of its own does them in one; a
`persist()` at the boundary of a stage keeps later graphs small.

## How it is known
The tasks that the scheduler took in with one graph, the seconds it needed for that, and 0.2 ms for each
task: the lower end of what Dask's documentation gives. It speaks from 50,000 tasks on, when that is at
least 1 s and 5 % of what the computation took.

Before a cell runs that calls `compute()` or `persist()` on a variable, the tasks that the optimizer will leave
are counted, and the work is reckoned from the bytes of what it reads, at 200 MB/s for each thread. Where these
are not known, and while a computation runs, its length is not known either: then it is only worth knowing,
below a million tasks and a start of 10 s.

## When it stays quiet
When the tasks are long enough that their handling does not count, however many they are.

## Fix safety
Needs review. Larger partitions need more memory at once; the offered number keeps them at about 100 MiB.

## References
https://docs.dask.org/en/stable/best-practices.html#avoid-very-large-graphs
https://distributed.dask.org/en/stable/limitations.html
https://github.com/dask/distributed/issues/3691
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ... import words
from ...judging import forecast, runs, starts
from ...remedies import fixes, offers
from ...report import Chart, Evidence, Finding, Fix, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location
from ..registry import rule

_WHY = (
    "The scheduler handles tasks one after the other, 0.2 to 1 ms each. More workers do not make that faster."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Tasks of one graph from which it may speak.
    n_tasks: int = 50_000
    #: Tasks from which it is a warning even before the computation has ended (distributed#3691).
    many_tasks: int = 1_000_000
    #: Seconds that the scheduler needs for one task at least (docs: 200 µs to 1 ms).
    task_seconds: float = 0.0002
    #: Seconds that must be lost for a warning, and their share of what the computation took.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Seconds from the call to the first task, waiting left out, for a warning before the end of the computation.
    long_seconds: float = 10.0
    #: Partitions for each thread that a coarser cut keeps at least (docs: 2 to 3 times the threads).
    partitions_per_thread: int = 3


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = runs.of_cell(runs.newest(computations, code), at)
    return (Measure(label="tasks", value=max(c.n_tasks for c in own), unit="count"),) if own else ()


@rule(
    id="large-graph",
    title="The graph has very many tasks",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations", "collections"),
    measure=_measure,
)
def large_graph(
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    for c in runs.newest(computations, code):
        if c.n_tasks < limit.n_tasks:
            continue
        loss = (c.schedule_seconds or 0.0) + c.n_tasks * limit.task_seconds
        lasted = runs.wall(c)
        severity: Severity = "warning"
        if lasted is None:
            start = starts.start_of(c)
            begun = start.seconds - start.waiting if start is not None else c.schedule_seconds or 0.0
            is_long = begun >= limit.long_seconds
            severity = "warning" if c.n_tasks >= limit.many_tasks or is_long else "info"
        elif loss < limit.loss_seconds or loss < limit.loss_share * lasted:
            continue
        else:
            loss = min(loss, lasted)
        read = runs.read_by(c, collections, code)
        offered = _fixes(read, c.at, cluster, limit, load, code)
        yield _finding(c, severity, loss, lasted, limit, offered, _subject(c, collections))
    for plan in forecast.coming(code, collections, computations):
        yield from _coming(plan, collections, cluster, limit, load, code)


def _coming(
    plan: forecast.Coming,
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> Iterator[Finding]:
    """Of what is about to be sent."""
    c = plan.collection
    # `persist()` fuses the steps of a dataframe, `compute()` does not
    n = c.fused_tasks if plan.method == "persist" and c.fused_tasks is not None else c.n_tasks
    if n is None or n < limit.n_tasks:
        return
    loss = n * limit.task_seconds
    work = forecast.work_seconds(c, collections, cluster)
    severity: Severity = "warning" if n >= limit.many_tasks else "info"
    if work is not None:
        if loss < limit.loss_seconds or loss < limit.loss_share * (loss + work):
            return
        severity = "warning"
    layers = tuple((layer.prefix, layer.n_tasks) for layer in c.layers)
    made = _made(layers, n) if n == c.n_tasks else ""
    evidence = [
        Evidence(label="tasks", value=n, unit="count", limit=limit.n_tasks, is_estimated=True),
        Evidence(
            label="handling them", value=loss, unit="seconds", is_estimated=True, limit=limit.loss_seconds
        ),
    ]
    if work is not None:
        evidence.append(Evidence(label="work itself", value=work, unit="seconds", is_estimated=True))
    read = [x for x in collections if x is c or runs.is_made_from(c, x)]
    yield large_graph.finding(
        severity=severity,
        subject=c.name,
        message=f"{words.code(c.name)} would send {words.count(n, 'task')}{made}: "
        f"handling them takes ≈ {words.seconds(loss)}.",
        why=_WHY,
        evidence=tuple(evidence),
        charts=_charts(layers),
        at=plan.at,
        fixes=_fixes(read, plan.at, cluster, limit, load, code),
        loss_seconds=loss,
        of_seconds=loss + work if work is not None else None,
    )


def _subject(c: Computation, collections: tuple[Collection, ...]) -> str:
    """The variable that was asked for, as before the run; else what most of the tasks are called."""
    named = [x.name for x in c.asked if x.name]
    if not named and c.method == "persist":
        named = [x.name for x in collections if x.is_persisted and runs.same_cell(x.at, c.at)]
    if len(named) == 1:
        return named[0]
    return c.layers[0][0] if c.layers else "graph"


def _made(layers: tuple[tuple[str, int], ...], n: int) -> str:
    """Which layers most of the tasks are of."""
    most = ", ".join(words.code(name) for name, _ in layers[:3])
    share = sum(k for _, k in layers[:3]) / max(1, n)
    return f"; {most} make {words.share(min(1.0, share))} of them" if most else ""


def _charts(layers: tuple[tuple[str, int], ...]) -> tuple[Chart, ...]:
    return (
        Chart(
            kind="bars",
            title="Tasks per layer",
            unit="count",
            series=(Series(name="tasks", values=tuple(float(n) for _, n in layers)),),
            labels=tuple(name for name, _ in layers),
            highlight=0 if layers else None,
        ),
    )


def _finding(
    c: Computation,
    severity: Severity,
    loss: float,
    lasted: float | None,
    limit: Thresholds,
    offered: tuple[Fix, ...],
    subject: str,
) -> Finding:
    of = f" of {words.seconds(lasted)}" if lasted is not None else ""
    evidence = [
        Evidence(label="tasks", value=c.n_tasks, unit="count", limit=limit.n_tasks),
        Evidence(
            label="handling them",
            value=loss,
            unit="seconds",
            is_estimated=True,
            limit=max(limit.loss_seconds, limit.loss_share * (lasted or 0)),
        ),
    ]
    if c.schedule_seconds is not None:
        evidence.append(Evidence(label="taking the graph in", value=c.schedule_seconds, unit="seconds"))
    if c.thread_seconds is not None and c.n_tasks:
        evidence.append(
            Evidence(label="typical work of a task", value=c.thread_seconds / c.n_tasks, unit="seconds")
        )
    made = _made(c.layers, c.n_tasks)
    return large_graph.finding(
        severity=severity,
        subject=subject,
        message=f"One graph has {words.count(c.n_tasks, 'task')}{made}: "
        f"handling them takes ≈ {words.seconds(loss)}{of}.",
        why=_WHY,
        evidence=tuple(evidence),
        charts=_charts(c.layers),
        at=c.at,
        fixes=offered,
        loss_seconds=loss,
        of_seconds=lasted,
    )


def _fixes(
    read: Iterable[Collection],
    ailing: Location | None,
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    read = [x for x in read if x.npartitions and x.nbytes]
    for x in sorted(read, key=lambda x: -(x.npartitions or 0)):
        held = x.nbytes.nbytes if x.nbytes else 0
        n = max(math.ceil(held / fixes.TARGET), limit.partitions_per_thread * max(1, cluster.nthreads))
        # Gluing a few neighbours together is not worth a new cell
        if x.npartitions and n * 2 <= x.npartitions:
            return offers.glue(x, n, cluster=cluster, load=load, code=code, ailing=ailing)
    text = (
        "# several steps in one task for each partition\n"
        "def steps(part):\n"
        "    ...  # all that is done to one partition\n"
        "    return part\n\n"
        "result = df.map_partitions(steps)"
    )
    return (
        fixes.advice(
            text, title="Do several steps in one task", expect="one task for each partition and chain"
        ),
    )
