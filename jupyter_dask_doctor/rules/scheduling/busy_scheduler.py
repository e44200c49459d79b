"""The scheduler cannot hand out tasks as fast as the threads finish them.

## Why it matters
One scheduler serves all threads, and each task costs it 0.2 to 1 ms. With many threads and short tasks they ask
faster than it answers: tasks are ready, threads are free, and both wait. More workers make it worse.

## Anti-pattern
    cluster = LocalCluster(n_workers=8, threads_per_worker=8)
    client.map(poll, sensors)                       # 20 ms each: 3,200 tasks a second are asked for

## Best practice
    client.map(poll_many, partition_all(50, sensors))   # a second each

## How it is known
A computation of at least `tasks` tasks and `seconds` in which `rate` tasks or more ended each second, while
threads were idle for `idle` of the time although the scheduler had tasks ready for any free thread (they were
queued, in at least `ready` of the samples), or the turns of its event loop took `tick` in the middle. Its CPU is
told, but not judged: the scheduler of a LocalCluster shares it with the notebook.

## When it stays quiet
When the tasks themselves are tiny, `tiny-tasks` speaks, and for a graph of very many tasks `large-graph`; few
tasks a second; threads that are busy; tasks that wait for others.

## Fix safety
Needs review. A task of many pieces fails as a whole, and its results come as a list. Another number of
partitions changes what later code sees of them.

## References
https://docs.dask.org/en/stable/best-practices.html
https://distributed.dask.org/en/stable/limitations.html
https://distributed.dask.org/en/stable/efficiency.html
"""

from __future__ import annotations

import ast
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs
from ...remedies import calls, fixes, offers
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location
from ..registry import rule

#: Seconds that a task of several pieces should take ("faster than 100 ms … might not see any speedup",
#: distributed.dask.org, Efficiency).
BATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Tasks that ended each second. At 0.2 to 1 ms per task (docs.dask.org, Best Practices) a scheduler manages
    #: 1,000 to 5,000; on two busy cores 900 were seen.
    rate: float = 300.0
    #: Share of thread-time without a task.
    idle: float = 0.3
    #: Share of the samples in which tasks were ready for any free thread.
    ready: float = 0.5
    #: Seconds between two turns of its event loop, 0.02 when all is well.
    tick: float = 0.1
    #: Samples of its load, once a second or so.
    samples: int = 2
    #: Tasks and seconds of the computation.
    tasks: int = 1000
    seconds: float = 2.0
    #: Seconds lost (rules.md: at least 1 s at stake).
    stake: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How fast one computation went."""

    wall: float
    rate: float
    idle: float
    ready: float
    tick: float | None
    cpu: float | None
    n_samples: int

    @property
    def lost(self) -> float:
        return self.idle * self.wall


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = [p for c in runs.of_cell(runs.newest(computations, code), at) if (p := _pace(c, load)) is not None]
    if not own:
        return ()
    lost = sum(p.lost for p in own)
    return (Measure(label="idle threads, as time of the cell", value=lost, unit="seconds"),)


@rule(
    id="busy-scheduler",
    title="The scheduler cannot keep up",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    yields_to={
        "tiny-tasks": "cell",
        "large-graph": "cell",
        "tiny-partitions": "cell",
        "too-many-partitions": "cell",
    },
    measure=_measure,
)
def busy_scheduler(
    computations: tuple[Computation, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    for c in runs.newest(computations, code):
        pace = _pace(c, load) if c.n_tasks >= limit.tasks else None
        if pace is None or pace.wall < limit.seconds:
            continue
        if pace.rate < limit.rate or pace.idle < limit.idle or pace.n_samples < limit.samples:
            continue
        if pace.ready < limit.ready and (pace.tick is None or pace.tick < limit.tick):
            continue
        if pace.lost >= limit.stake:
            yield _finding(c, pace, cluster, limit, load, collections, code)


def _pace(c: Computation, load: Sequence[Load]) -> _Pace | None:
    """None while it runs, and when too little is known of it."""
    if c.start is None or c.stop is None or c.thread_seconds is None or c.nthreads <= 0:
        return None
    wall = c.stop - c.start
    if wall <= 0:
        return None
    during = [s for s in load if c.start <= s.time <= c.stop and s.tasks_processing > 0]
    ticks = [s.scheduler_tick for s in during if s.scheduler_tick is not None]
    cpus = [s.scheduler_cpu for s in during if s.scheduler_cpu is not None]
    return _Pace(
        wall=wall,
        rate=c.n_tasks / wall,
        idle=min(1.0, max(0.0, 1 - max(0.0, c.thread_seconds) / (c.nthreads * wall))),
        ready=sum(s.tasks_queued > 0 for s in during) / len(during) if during else 0.0,
        tick=statistics.median(ticks) if ticks else None,
        cpu=statistics.median(cpus) if cpus else None,
        n_samples=len(during),
    )


def _finding(
    c: Computation,
    pace: _Pace,
    cluster: Cluster,
    limit: Thresholds,
    load: Sequence[Load],
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> Finding:
    prefix = c.layers[0][0] if c.layers else None
    mean = max(0.0, c.thread_seconds or 0.0) / max(1, c.n_tasks)
    evidence = [
        Evidence(label="tasks per second", value=pace.rate, unit="count", limit=limit.rate),
        Evidence(label="idle threads", value=pace.idle, unit="share", limit=limit.idle),
        Evidence(label="tasks were ready", value=pace.ready, unit="share", limit=limit.ready),
        Evidence(label="a task", value=mean, unit="seconds"),
    ]
    if pace.tick is not None:
        evidence.append(
            Evidence(label="turn of its event loop", value=pace.tick, unit="seconds", limit=limit.tick)
        )
    if pace.cpu is not None:
        label = (
            "CPU of the kernel and the scheduler in it" if cluster.is_in_process else "CPU of the scheduler"
        )
        evidence.append(Evidence(label=label, value=pace.cpu / 100, unit="share"))
    name = words.code(prefix) if prefix else "its tasks"
    could = ""
    if mean > 0:
        threads = words.count(c.nthreads, "thread")
        could = (
            f"At {words.seconds(mean)} a task {threads} could do {words.count(c.nthreads / mean)} a second; "
        )
    return busy_scheduler.finding(
        severity="warning",
        subject=prefix or "scheduler",
        message=f"The scheduler handed out {words.count(pace.rate)} tasks a second, such as {name}, and could not "
        f"keep {words.count(c.nthreads, 'thread')} busy: they were idle for {words.share(pace.idle)} of "
        f"{words.seconds(pace.wall)}.",
        why=could
        + ("The" if not could else "the")
        + " scheduler needs 0.2 to 1 ms for each, whatever the threads do.",
        evidence=tuple(evidence),
        at=c.at,
        fixes=_fixes(c, mean, cluster, load, collections, code),
        loss_seconds=pace.lost,
        of_seconds=pace.wall,
    )


def _fixes(
    c: Computation,
    mean: float,
    cluster: Cluster,
    load: Sequence[Load],
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> tuple[Fix, ...]:
    # Long enough for the scheduler, and still three for each thread
    size = min(
        math.ceil(BATCH_SECONDS / mean) if mean > 0 else c.n_tasks, c.n_tasks // (3 * max(1, c.nthreads))
    )
    if size < 2:
        return ()
    batch = _batch(c, size, cluster, code)
    if batch is not None:
        return (batch,)
    read = sorted(
        (x for x in runs.read_by(c, collections, code) if x.npartitions),
        key=lambda x: -(x.npartitions or 0),
    )
    for x in read[:1]:
        n = max(1, math.ceil((x.npartitions or 0) / size))
        return offers.glue(x, n, cluster=cluster, load=load, code=code, ailing=c.at)
    return ()


def _batch(c: Computation, size: int, cluster: Cluster, code: Sequence[Cell]) -> Fix | None:
    """A cell that sends `client.map(f, xs)` in batches."""
    cell, client = runs.cell_at(code, c.at), calls.client(cluster)
    made = calls.one_call(cell, {"map"}) if cell is not None else None
    if cell is None or client is None or made is None or len(made.call.args) != 2 or made.call.keywords:
        return None
    function, given = made.call.args
    if not isinstance(function, ast.Name) or ast.unparse(made.call.func) != f"{client}.map":
        return None
    name, xs = function.id, source.text(cell.source, source.span(cell.source, given))
    if "\n" in xs:
        return None
    text = (
        "from toolz import partition_all\n\n\n"
        f"def {name}_all(batch):\n"
        f"    return [{name}(x) for x in batch]\n\n\n"
        f"batches = {client}.map({name}_all, list(partition_all({size}, {xs})))\n"
        f"[x for batch in {client}.gather(batches) for x in batch]"
    )
    n = math.ceil(c.n_tasks / size)
    return fixes.insert_below(
        cell,
        text,
        title=f"Send {words.code(name)} in batches of {size:,}",
        expect=f"{c.n_tasks:,} → about {n:,} tasks; the same results in the same order",
        rerun=None,
    )
