"""Seconds go by between `compute()` and the first task, in which no worker has anything to do.

## Why it matters
Before the first task runs, the kernel optimizes the expression and pickles it, the scheduler unpacks, orders and
registers every task. None of that runs in parallel, none of it shows on Dask's dashboard, and it is done again
by each `compute()`.

## Anti-pattern
    parts = [dask.delayed(load)(path) for path in paths]        # 20,000 small files
    cleaned = [dask.delayed(clean)(part) for part in parts]
    dask.compute(*cleaned)                                       # half a minute until the first one is read

## Best practice
    def load_all(paths):                                         # one task for 100 files
        return [clean(load(path)) for path in paths]

    batches = [paths[i : i + 100] for i in range(0, len(paths), 100)]
    dask.compute(*(dask.delayed(load_all)(batch) for batch in batches))

## How it is known
The kernel's and the scheduler's clocks at each step: **optimizing** (choosing a better expression),
**serializing** (pickling), **sending** (on the way, and until the scheduler had time), **scheduling** (unpacking
and registering), **waiting** (until a thread began). It speaks when optimizing, serializing, sending and
scheduling take at least 2 s together and 10 % of the time up to the last task. The optimizer is watched while it
works: then it is told before it has ended, as a warning from 10 s on. (Measured on 2 cores with Dask 2026.8.0: the
longest start of seven healthy notebooks took 0.6 s, that of 1,000 futures; 5,000 `delayed` calls took 3 s.)

Waiting counts for nothing by itself: threads may be busy with something else, workers may import their libraries
or may just be coming.

## When it stays quiet
When the start is short beside the work; when another rule names what makes it slow: data or too many tasks in the
graph, a deep expression, a hidden job, tasks that no worker may run.

## Fix safety
Larger partitions need review: they take more memory at once. The other advice is only shown.

## References
https://docs.dask.org/en/stable/phases-of-computation.html
https://docs.dask.org/en/stable/best-practices.html#avoid-very-large-graphs
https://docs.dask.org/en/stable/delayed-best-practices.html#avoid-too-many-tasks
https://github.com/dask/distributed/issues/2181
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, starts
from ...remedies import fixes, offers
from ...report import Chart, Evidence, Finding, Fix, Measure, Series
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, Phase
from ..registry import rule

_DOING = {
    "optimizing": "optimizing the expression",
    "serializing": "pickling the graph",
    "sending": "sending the graph and waiting for the scheduler",
    "scheduling": "taking the graph in at the scheduler",
}
_WHY = {
    "optimizing": "The optimizer works in the kernel, on one core: each step of the expression, and for arrays and "
    "`delayed` each task, is looked at again by each compute().",
    "serializing": "The kernel pickles the whole graph on one core, with all that its functions carry with them.",
    "sending": "The graph was long on its way, or the scheduler was busy with something else.",
    "scheduling": "The scheduler unpacks, orders and registers one task after the other. "
    "More workers do not make that faster.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds before the first task from which it speaks, waiting for threads and workers left out (see the manual).
    seconds: float = 2.0
    #: Share of the time from the call to the last task.
    share: float = 0.1
    #: Seconds from which it is a warning before the end, when the share is not known yet.
    long_seconds: float = 10.0
    #: Seconds of waiting from which it is told what the first task waited for.
    waiting_seconds: float = 1.0
    #: Tasks of the graph from which larger partitions are offered.
    n_tasks: int = 5_000
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
    seen = [start for c in own if (start := starts.start_of(c)) is not None]
    if not seen or len(seen) < len(own):
        return ()
    worst = max(seen, key=_lost)
    return (
        Measure(label="before the first task", value=_lost(worst), unit="seconds"),
        Measure(label="tasks", value=max(c.n_tasks for c in own), unit="count"),
    )


@rule(
    id="slow-start",
    title="Long before the first task",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations", "phases"),
    yields_to={
        "deep-expression": "cell",
        "eager-metadata": "cell",
        "embedded-data": "cell",
        "large-graph": "cell",
        "unrunnable-tasks": "cell",
    },
    is_symptom=True,
    measure=_measure,
)
def slow_start(
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    phases: tuple[Phase, ...] = (),
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    now = load[-1].time if load else None
    told = None
    if phases and phases[-1].stop is None and now is not None:
        told = _still(phases, now, limit)
    if told is not None:
        yield told
    for c in runs.newest(computations, code):
        start = starts.start_of(c)
        if start is None or c.is_hidden:
            continue
        lost = _lost(start)
        if lost < limit.seconds:
            continue
        stop = c.stop if c.stop is not None else now
        lasted = None if stop is None else max(lost, stop - starts.called(c))
        if lasted is None or lost < limit.share * lasted:
            continue
        waited = _waited_for(c, start, computations, load, limit)
        yield _finding(
            c, start, lasted, waited, limit, _fixes(c, start, cluster, limit, collections, load, code)
        )


def _lost(start: starts.Start) -> float:
    """What no worker, thread or other work is to blame for."""
    return start.seconds - start.waiting


def _waited_for(
    c: Computation,
    start: starts.Start,
    computations: Sequence[Computation],
    load: Sequence[Load],
    limit: Thresholds,
) -> str:
    """What the first task waited for once its graph was there; empty when that was not long."""
    if c.start is None or start.waiting < limit.waiting_seconds:
        return ""
    since = c.start - start.waiting
    if any(p.n_workers == 0 for p in load if since <= p.time <= c.start):
        return "workers that were still to come"
    for k in computations:
        if k is not c and k.start is not None and k.start < c.start and (k.stop is None or k.stop > since):
            return "threads that had other work"
    return "a worker that took its code and inputs in"


def _still(phases: Sequence[Phase], now: float, limit: Thresholds) -> Finding | None:
    """The optimizer, or pickling, is at work since long."""
    last = phases[-1]
    if last.kind not in ("optimizing", "serializing") or last.method not in ("compute", "persist", None):
        return None
    # What came before it in the same call, without a break
    begun = last.start
    for p in reversed(phases[:-1]):
        if p.stop is None or begun - p.stop > 1.0 or p.method != last.method:
            break
        if not runs.same_cell(p.at, last.at) or p.kind not in ("optimizing", "serializing"):
            break
        begun = p.start
    seconds = now - begun
    if seconds < limit.seconds:
        return None
    return slow_start.finding(
        severity="warning" if seconds >= limit.long_seconds else "info",
        subject=_subject(last.at, None),
        message=f"{_place(last.at)} has spent {words.seconds(seconds)} {_DOING[last.kind]}, "
        "and no task has begun yet.",
        why=_WHY[last.kind],
        evidence=(Evidence(label=f"{last.kind} so far", value=seconds, unit="seconds", limit=limit.seconds),),
        at=last.at,
        fixes=_advice(last.kind),
        loss_seconds=seconds,
    )


def _subject(at: Location | None, c: Computation | None) -> str:
    """The same before and after: what the notebook calls the cell, else what the graph is made of."""
    if at is not None and at.cell_id is not None:
        return at.cell_id
    return c.layers[0][0] if c is not None and c.layers else "graph"


def _place(at: Location | None) -> str:
    return f"[{at.execution_count}]" if at is not None and at.execution_count is not None else "The cell"


def _finding(
    c: Computation,
    start: starts.Start,
    lasted: float,
    waited: str,
    limit: Thresholds,
    offered: tuple[Fix, ...],
) -> Finding:
    lost = _lost(start)
    parts = [part for part in start.parts if part[0] != "waiting"]
    most, seconds = max(parts, key=lambda part: part[1])
    evidence = [
        Evidence(
            label="before the first task",
            value=lost,
            unit="seconds",
            limit=max(limit.seconds, limit.share * lasted),
        ),
        *(Evidence(label=label, value=value, unit="seconds") for label, value in start.parts),
        Evidence(label="tasks", value=c.n_tasks, unit="count"),
    ]
    if waited:
        evidence.append(Evidence(label="waiting for", value=waited, unit="text"))
    if c.sending is not None and c.sending.nbytes:
        evidence.append(Evidence(label="data in the graph", value=c.sending.nbytes, unit="bytes"))
    return slow_start.finding(
        # While it runs on nobody knows what share it will be
        severity="warning" if c.stop is not None or lost >= limit.long_seconds else "info",
        subject=_subject(c.at, c),
        message=f"{words.seconds(lost)} of {words.seconds(lasted)} went by before the first of "
        f"{words.count(c.n_tasks, 'task')} ran: {words.seconds(seconds)} of them {_DOING[most]}.",
        why=_WHY[most],
        evidence=tuple(evidence),
        charts=(
            Chart(
                kind="bars",
                title="From compute() to the first task",
                unit="seconds",
                series=(Series(name="seconds", values=tuple(value for _, value in start.parts)),),
                labels=tuple(label for label, _ in start.parts),
                highlight=[label for label, _ in start.parts].index(most),
            ),
        ),
        at=c.at,
        fixes=offered,
        loss_seconds=lost,
        of_seconds=lasted,
    )


def _fixes(
    c: Computation,
    start: starts.Start,
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    most = max((part for part in start.parts if part[0] != "waiting"), key=lambda part: part[1])[0]
    if c.n_tasks >= limit.n_tasks and most != "serializing":
        read = [x for x in runs.read_by(c, collections, code) if x.npartitions and x.nbytes]
        for x in sorted(read, key=lambda x: -(x.npartitions or 0)):
            held = x.nbytes.nbytes if x.nbytes else 0
            n = max(math.ceil(held / fixes.TARGET), limit.partitions_per_thread * max(1, cluster.nthreads))
            if x.npartitions and n * 2 <= x.npartitions:
                return offers.glue(x, n, cluster=cluster, load=load, code=code, ailing=c.at)
    return _advice(most)


def _advice(most: str) -> tuple[Fix, ...]:
    if most == "serializing":
        text = (
            "# what makes the graph heavy to pickle?\n"
            "import cloudpickle\n\n"
            "len(cloudpickle.dumps(function))  # a function carries the variables that it uses\n"
            "# large ones: dask.delayed(variable), or let the function read them from a file"
        )
        return (fixes.advice(text, title="Find what is heavy to pickle", expect="a graph of a few kB"),)
    text = (
        "# one task for a batch, not one for each item\n"
        "def work_on(batch):\n"
        "    return [work(item) for item in batch]\n\n"
        "batches = [items[i : i + 100] for i in range(0, len(items), 100)]\n"
        "results = dask.compute(*(dask.delayed(work_on)(batch) for batch in batches))"
    )
    expect = "100 times fewer tasks to optimize, pickle and register"
    return (fixes.advice(text, title="Send fewer, larger tasks", expect=expect),)
