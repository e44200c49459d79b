"""One worker has a queue of tasks while others have nothing to do.

## Why it matters
Tasks that wait behind one worker's threads could run on the others. Dask moves them by itself unless it must
not, or believes that moving their data costs more than waiting.

## Anti-pattern
    futures = client.map(score, parts, workers=["node-1"])   # all on one machine

## Best practice
    futures = client.map(score, parts)                       # wherever a thread is free

Data that was scattered or read on one worker draws its tasks there: scatter with several pieces, or read with
Dask, so that it is spread from the beginning.

## How it is known
Tasks at each worker from its heartbeats: more than its threads can run, while half of the cluster's threads
had none, on 3 samples and for 4 s. The worker's queue must be 4 times the median worker's and 4 tasks longer
than its threads take. The loss is the time in which idle threads could have run what waited, spread over all
threads.

Then the cause: tasks that may run in one place only, or a worker that holds most of the data.

## When it stays quiet
The tail of a computation, when nothing waits; one worker; a few samples; workers that are paused or come and
go; tasks that are over in milliseconds; when a large partition explains it (`partition-skew` speaks).

## Fix safety
Needs review. A task that was pinned for a reason, such as a file on one machine's disk, cannot run elsewhere.
`client.rebalance()` copies data between workers; Dask's docs advise against it while computations run, so it
goes into a cell of its own, and only where the others have room.

## References
https://distributed.dask.org/en/stable/locality.html
https://distributed.dask.org/en/stable/work-stealing.html
https://github.com/dask/distributed/issues/6573
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs, usage
from ...remedies import fixes
from ...report import Chart, Evidence, Finding, Fix, Series
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    Location,
    Scheduling,
    TaskGroup,
    Worker,
)
from ..registry import rule

#: Calls of a client or a collection that take `workers=`.
_PINNING = frozenset({"submit", "map", "compute", "persist", "scatter"})
#: Seconds for which there is one sample of each worker, and that a sample counts at most.
_SLOT = 2.0
_MAX_STEP = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: How many times the median worker's tasks the fullest one has.
    ratio: float = 4.0
    #: Tasks that wait there for a thread.
    waiting: int = 4
    #: Share of all threads that have no task meanwhile.
    idle_share: float = 0.4
    #: Samples that show it, and the seconds for which they do.
    samples: int = 3
    seconds: float = 4.0
    #: Tasks shorter than this are over before a sample can tell, in seconds; Dask does not move them either.
    task_seconds: float = 0.05
    #: Share of all stored bytes on one worker that explains it.
    stored_share: float = 0.6
    #: Seconds that all threads together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uneven:
    """The time in which one worker had a queue and others nothing."""

    worker: Worker
    n_samples: int
    seconds: float
    #: Longest queue behind its threads, and threads without a task at that moment.
    waiting: int
    idle: int
    #: Thread-seconds that idle threads could have taken over.
    lost: float


@rule(
    id="worker-imbalance",
    title="One worker is busy while others are idle",
    severity="warning",
    thresholds=Thresholds(),
    about=("workers",),
    yields_to={
        "spilling": "cell",
        "partition-skew": "cell",
        "killed-worker": "cell",
        "worker-memory-pressure": "cell",
    },
    measure=usage.time_of_tasks,
)
def worker_imbalance(
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...] = (),
    scheduling: Scheduling | None = None,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    able = [w for w in workers if w.nthreads > 0 and w.status == "running"]
    # Where nobody ever had a queue there is no need to look run by run
    if len(able) < 2 or not any(
        s.n_processing - w.nthreads >= limit.waiting for w in able for s in w.samples
    ):
        return
    grouped = usage.by_computation(groups)
    for work in usage.works(computations, code, load):
        if work.seconds < limit.seconds:
            continue
        own = usage.own_groups(work, grouped)
        uneven = _uneven(able, work, limit)
        if uneven is None or uneven.n_samples < limit.samples or uneven.seconds < limit.seconds:
            continue
        prefix = usage.heaviest(own, work)
        if _mean(own, prefix) < limit.task_seconds:
            continue
        loss = uneven.lost / max(1, work.nthreads)
        if loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        if not work.is_done and _is_one_partition(work, collections, code):
            continue  # what the large partition costs is known at the end, and then named as the cause
        yield _finding(prefix, uneven, loss, work, able, cluster, limit, scheduling, collections, load, code)


def _is_one_partition(work: usage.Work, collections: Sequence[Collection], code: Sequence[Cell]) -> bool:
    """Does one partition hold most of the data that it reads?"""
    read = {c.name: c for one in work.computations for c in runs.read_by(one, collections, code)}
    return any(c.sizes is not None and 2 * c.sizes.largest > c.sizes.total for c in read.values())


def _uneven(workers: Sequence[Worker], work: usage.Work, limit: Thresholds) -> _Uneven | None:
    """All moments at which one and the same worker had a queue; None when there was none."""
    # One sample for every slot of time, of each worker another moment of it
    by_slot: dict[int, dict[str, tuple[Worker, int]]] = {}
    for w in workers:
        for s in usage.samples(w, work.spans):
            by_slot.setdefault(int(s.time / _SLOT), {})[w.address] = w, s.n_processing
    by_time = {slot * _SLOT: list(rows.values()) for slot, rows in by_slot.items()}
    times = sorted(by_time)
    found: dict[str, list[tuple[Worker, float, int, int]]] = {}
    for i, time in enumerate(times):
        moment = by_time[time]
        if len(moment) < len(workers):
            continue  # some were not there, or were seen at another time
        following = times[i + 1] if i + 1 < len(times) else time + _SLOT
        seconds = min(_MAX_STEP, following - time)
        fullest, n = max(moment, key=lambda pair: pair[1] - pair[0].nthreads)
        waiting = n - fullest.nthreads
        idle = sum(max(0, w.nthreads - k) for w, k in moment)
        total = sum(w.nthreads for w, _ in moment)
        median = statistics.median(k for _, k in moment)
        if len(moment) == 2:
            median = min(k for _, k in moment)
        if (
            waiting >= limit.waiting
            and idle >= limit.idle_share * total
            and n >= limit.ratio * max(1, median)
            and seconds > 0
        ):
            found.setdefault(fullest.address, []).append((fullest, seconds, waiting, idle))
    if not found:
        return None
    moments = max(found.values(), key=lambda rows: sum(row[1] for row in rows))
    longest = max(moments, key=lambda row: row[2])
    return _Uneven(
        worker=longest[0],
        n_samples=len(moments),
        seconds=sum(row[1] for row in moments),
        waiting=longest[2],
        idle=longest[3],
        lost=sum(row[1] * min(row[3], row[2]) for row in moments),
    )


def _mean(own: Sequence[TaskGroup], prefix: str) -> float:
    """Mean seconds of a task; without end when none is done yet, as then they are long."""
    alike = [g for g in own if g.prefix == prefix and g.compute_seconds]
    n = sum(g.n_done or g.n_tasks for g in alike)
    return sum(g.compute_seconds or 0.0 for g in alike) / n if n else float("inf")


def _finding(
    prefix: str,
    uneven: _Uneven,
    loss: float,
    work: usage.Work,
    workers: Sequence[Worker],
    cluster: Cluster,
    limit: Thresholds,
    scheduling: Scheduling | None,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> Finding:
    worker = uneven.worker
    total = sum(w.nthreads for w in workers)
    stored = sum(w.stored for w in workers)
    share = worker.stored / stored if stored > 0 else 0.0
    cell = runs.cell_at(code, work.at)
    pinned = _pins(cell) if cell is not None else []
    is_pinned = bool(pinned) or _is_restricted(worker, scheduling)
    holds = share >= limit.stored_share and len(workers) * share >= 2 * limit.stored_share
    if is_pinned:
        cause = "its tasks may run in one place only"
    elif holds:
        cause = f"it holds {words.share(share)} of the data"
    else:
        cause = "Dask did not move its tasks elsewhere"
    return worker_imbalance.finding(
        severity="warning",
        subject=prefix,
        message=f"{words.count(uneven.waiting, 'task')} {words.code(prefix)} waited for worker "
        f"{words.code(worker.name)} while {uneven.idle} of {words.count(total, 'thread')} had nothing to do for "
        f"{words.seconds(uneven.seconds)}: {cause}.",
        why="What waits behind one worker's threads could run on the others. Dask moves tasks by itself unless "
        "it must not, or believes that moving their data takes longer than waiting.",
        evidence=(
            Evidence(label="tasks in its queue", value=uneven.waiting, unit="count", limit=limit.waiting),
            Evidence(
                label="idle threads meanwhile",
                value=uneven.idle / total,
                unit="share",
                limit=limit.idle_share,
            ),
            Evidence(label="so for", value=uneven.seconds, unit="seconds", limit=limit.seconds),
            Evidence(
                label="data on that worker",
                value=share,
                unit="share",
                limit=limit.stored_share if holds else None,
            ),
        ),
        charts=(_chart(workers, worker, work),),
        at=work.at,
        fixes=_fixes(is_pinned, pinned, holds, worker, work, workers, cluster, collections, load, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _is_restricted(worker: Worker, scheduling: Scheduling | None) -> bool:
    here = [r for r in scheduling.running if r.worker == worker.address] if scheduling is not None else []
    return bool(here) and all(r.is_restricted for r in here)


def _pins(cell: Cell) -> list[tuple[ast.Call, ast.keyword]]:
    """Calls in the cell that say `workers=`."""
    tree = source.parse(cell.source)
    return [
        (node, k)
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _PINNING
        for k in node.keywords
        if k.arg == "workers" and not (isinstance(k.value, ast.Constant) and k.value.value is None)
    ]


def _chart(workers: Sequence[Worker], fullest: Worker, work: usage.Work) -> Chart:
    shown = sorted(
        workers, key=lambda w: -max((s.n_processing for s in usage.samples(w, work.spans)), default=0)
    )
    shown = shown[:20]
    return Chart(
        kind="bars",
        title="Most tasks at a worker",
        unit="count",
        labels=tuple(w.name for w in shown),
        series=(
            Series(
                name="tasks",
                values=tuple(
                    float(max((s.n_processing for s in usage.samples(w, work.spans)), default=0))
                    for w in shown
                ),
            ),
        ),
        highlight=next((i for i, w in enumerate(shown) if w.address == fullest.address), None),
    )


def _fixes(
    is_pinned: bool,
    pinned: Sequence[tuple[ast.Call, ast.keyword]],
    holds: bool,
    worker: Worker,
    work: usage.Work,
    workers: Sequence[Worker],
    cluster: Cluster,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    cell = runs.cell_at(code, work.at)
    if is_pinned:
        if cell is not None and len(pinned) == 1:
            made = _without(cell, *pinned[0])
            if made is not None:
                return (made,)
        text = "# without workers=, or with allow_other_workers=True: only a wish then\nfuture = client.submit(f, x)"
        return (fixes.advice(text, title="Let the tasks run anywhere", expect="work for all threads"),)
    client = cluster.client_variable or "client"
    if not holds or not fixes.is_name(client):
        text = "# more, smaller pieces: Dask spreads them as threads become free\nx = x.repartition(npartitions=N)"
        return (fixes.advice(text, title="Cut the work finer", expect="queues even out"),)
    share = worker.stored // max(1, len(workers))
    has_room = all(
        w.memory_limit is None or w.process + share <= cluster.memory_target * w.memory_limit
        for w in workers
        if w is not worker
    )
    expect = (
        f"about {words.nbytes(worker.stored - share)} go from worker {words.code(worker.name)} to the others"
    )
    text = f"{client}.rebalance()"
    title = "Spread the data over all workers"
    is_at_rest = bool(load) and load[-1].threads_busy == 0 and load[-1].tasks_processing == 0
    read = [
        c
        for one in work.computations
        for c in runs.read_by(one, collections, code)
        if c.is_persisted or c.kind == "futures"
    ]
    binding = runs.cell_at(code, read[0].at) if read else None
    if not has_room or not is_at_rest or binding is None or runs.same_cell(read[0].at, work.at):
        why = "" if has_room else ". The others have no room for it now"
        note = f"# when nothing runs\n{text}"
        return (fixes.advice(note, title=title, expect=expect + why),)
    return (fixes.insert_below(binding, text, title=title, expect=expect, rerun=work.at),)


def _without(cell: Cell, call: ast.Call, keyword: ast.keyword) -> Fix | None:
    """The call without `workers=` and what only goes with it."""
    gone = [k for k in call.keywords if k is keyword or k.arg == "allow_other_workers"]
    kept: list[ast.expr | ast.keyword] = [*call.args, *(k for k in call.keywords if k not in gone)]
    text = cell.source
    function = source.text(text, source.span(text, call.func))
    inner = ", ".join(source.text(text, source.span(text, node)) for node in kept)
    if "#" in source.text(text, source.span(text, call)):
        return None  # a comment would be lost
    return fixes.replace(
        cell,
        source.span(text, call),
        f"{function}({inner})",
        title="Let the tasks run anywhere",
        expect="tasks go wherever a thread is free; keep it if they need what only that worker has",
        rerun=Location(cell_id=cell.id),
    )
