"""Threads stand idle while the computation runs.

## Why it matters
A cluster of eight threads on which one works takes eight times as long as it must. More workers do not help:
there is nothing for them to do.

## Anti-pattern
    total = 0
    for day in days:
        total = add(total, load(day))       # each step waits for the one before

## Best practice
    total = sum_all([load(day) for day in days])    # all days at once, one step at the end

For collections: at least as many partitions as threads, better two or three times as many, also after a
`repartition` or a reduction on the way.

## How it is known
Two measurements must agree. The first: how many threads ran a task, once a second, from 1 s (and a tenth of
the time) after the first task began until a tenth of the time before the last one ended. The second: the
thread-seconds of the computation against its threads times its duration. It speaks when both say that half or
more of the threads stood idle, for a computation of 5 s or more of at least 4 tasks. The loss is the idle
time beyond that of the finest possible cut, which nobody can promise: it is an upper bound.

What was in the way is read from the groups of tasks that ran: fewer tasks than threads, or tasks that waited
for the results of others.

## When it stays quiet
At the beginning and at the tail of a computation, when nothing waits any more; a single task or three (where one
task among others takes the time it is only worth knowing); clusters that add and remove workers
by themselves, as they shrink when there is little to do; when other cells kept the cluster busy. Where the
cause has a rule of its own, that one speaks: a straggler, an uneven load, a large partition, full memory,
transfers, tasks that nobody may run.

## Fix safety
Needs review: another number of partitions may matter to later code.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html
https://docs.dask.org/en/stable/delayed-best-practices.html#compute-on-lots-of-computation-at-once
https://distributed.dask.org/en/stable/efficiency.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, usage
from ...remedies import fixes
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, TaskGroup
from ..registry import NotChecked, rule

#: Partitions per thread that even out tasks of unlike length (docs.dask.org/en/stable/best-practices.html).
_PER_THREAD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of the threads' time without a task (DataFlint speaks above 50 % idle cores).
    idle_share: float = 0.5
    #: A computation shorter than this is over before it matters, in seconds.
    least_seconds: float = 5.0
    #: Points in time at which the threads were looked at.
    points: int = 4
    #: A computation of fewer tasks has nothing to spread.
    tasks: int = 4
    #: Seconds that all threads together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """What the threads had no work for: the group that ran, and why it did not spread."""

    group: TaskGroup
    #: Tasks of its kind.
    n: int
    #: Fewer tasks than threads; else its tasks waited for others.
    is_few: bool


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    if work is None:
        return ()
    idle = usage.idle_share(work)
    seconds = Measure(label="time of its tasks", value=work.seconds, unit="seconds")
    return (seconds,) if idle is None else (seconds, Measure(label="idle threads", value=idle, unit="share"))


@rule(
    id="idle-workers",
    title="Threads stand idle",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    is_symptom=True,
    yields_to={
        "busy-scheduler": "cell",
        "lost-results": "cell",
        "scaling-thrash": "cell",
        "stragglers": "cell",
        "worker-imbalance": "cell",
        "partition-skew": "cell",
        "killed-worker": "cell",
        "worker-memory-pressure": "cell",
        "spilling": "cell",
        "unrunnable-tasks": "cell",
        "stalled-computation": "cell",
        "serialization-bound": "cell",
        "transfer-bound": "cell",
        "tiny-tasks": "cell",
        "large-graph": "cell",
        "tiny-partitions": "cell",
        "too-many-partitions": "cell",
        "too-few-partitions": "cell",
    },
    measure=_measure,
)
def idle_workers(
    computations: tuple[Computation, ...],
    load: tuple[Load, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if cluster.is_adaptive:
        return  # it gives back what it does not need
    everything = usage.works(computations, code, load)
    grouped = usage.by_computation(groups)
    is_untold = is_found = False
    for work in everything:
        if work.seconds < limit.least_seconds or work.n_tasks < limit.tasks or work.nthreads < 2:
            continue
        if not usage.is_alone(work, everything):
            continue
        own = usage.own_groups(work, grouped)
        idle = usage.idle_share(work)
        if idle is not None and idle < limit.idle_share:
            continue
        points = _body(usage.steps(load, usage.trimmed(work, 0.1, 1.0)), work, own)
        if idle is None or points is None:
            is_untold |= work.is_done
            continue
        if len(points) < limit.points:
            continue
        room = sum(one.nthreads * seconds for one, seconds in points)
        busy = sum(min(one.threads_busy, one.nthreads) * seconds for one, seconds in points)
        watched = sum(seconds for _, seconds in points)
        if any(one.nthreads <= 0 for one, _ in points):
            continue
        idle = min(idle, 1 - busy / room)
        if idle < limit.idle_share:
            continue
        cause = _cause(own, work, points)
        if cause is None:
            continue
        loss = idle * watched
        if loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        is_found = True
        yield _finding(work, cause, idle, loss, points, cluster, limit, collections, code)
    if is_untold and not is_found:
        raise NotChecked("It is not known how many threads were busy while a computation ran.")


def _body(
    points: list[tuple[Load, float]], work: usage.Work, own: Sequence[TaskGroup]
) -> list[tuple[Load, float]] | None:
    """The points without the tail, in which nothing waits any more; None when there is none at all.

    Where there never were enough tasks for all threads the tail is all there is.
    """
    if not points:
        return None
    if work.is_done and sum(g.n_tasks for g in own) < work.nthreads:
        return points
    waiting = [i for i, (one, _) in enumerate(points) if one.tasks_waiting > 0]
    return points[: waiting[-1] + 1] if waiting else []


def _cause(own: Sequence[TaskGroup], work: usage.Work, points: Sequence[tuple[Load, float]]) -> _Cause | None:
    """The group that most of the time was spent on, if it left threads without work; None: cannot tell."""
    timed = [g for g in own if g.compute_seconds is not None and g.n_tasks > 0]
    if not timed:
        return None
    # Ready tasks that nobody ran are another trouble: pinned, paused, or a scheduler that is too busy
    ready = sum(
        seconds
        for one, seconds in points
        if one.tasks_queued > 0 or one.tasks_processing - one.threads_busy >= one.nthreads
    )
    if ready > 0.5 * sum(seconds for _, seconds in points):
        return None
    longest = max(timed, key=lambda g: (g.compute_seconds or 0.0) / min(g.n_tasks, work.nthreads))
    of_kind = sum(g.n_tasks for g in timed if g.prefix == longest.prefix)
    return _Cause(group=longest, n=of_kind, is_few=of_kind < work.nthreads)


def _finding(
    work: usage.Work,
    cause: _Cause,
    idle: float,
    loss: float,
    points: Sequence[tuple[Load, float]],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> Finding:
    prefix = cause.group.prefix
    n = sum(count for c in work.computations for name, count in c.layers if name == prefix)
    n = n or cause.group.n_tasks
    if cause.is_few:
        were = "was" if n == 1 else "were"
        because = f"there {were} only {words.count(n, 'task')} {words.code(prefix)}"
    else:
        because = f"{words.code(prefix)} and what it needs ran one after the other"
    stood = idle * work.nthreads
    # One task that does it all may be what the work is: worth knowing, no fault
    severity: Severity = "info" if cause.n == 1 else "warning"
    return idle_workers.finding(
        severity=severity,
        subject=prefix,
        message=f"{words.count(stood)} of {words.count(work.nthreads, 'thread')} stood idle for "
        f"{words.seconds(work.seconds)}: {because}.",
        why="Only what does not wait for something else can run at the same time. "
        "More workers would stand idle as well.",
        evidence=(
            Evidence(label="idle threads", value=idle, unit="share", limit=limit.idle_share),
            Evidence(
                label="time of its tasks", value=work.seconds, unit="seconds", limit=limit.least_seconds
            ),
            Evidence(label="work of all threads", value=work.thread_seconds or 0.0, unit="seconds"),
            Evidence(label=f"tasks {prefix[:40]}", value=n, unit="count", limit=work.nthreads)
            if cause.is_few
            else Evidence(label="tasks in a row", value=prefix[:80], unit="text"),
        ),
        charts=(
            Chart(
                kind="lines",
                title="Threads that ran a task",
                unit="count",
                x=tuple(one.time for one, _ in points),
                series=(Series(name="busy", values=tuple(float(one.threads_busy) for one, _ in points)),),
                limits=(Limit(name="threads", value=float(work.nthreads)),),
            ),
        ),
        at=work.at,
        fixes=_fixes(cause, work, cluster, collections, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _fixes(
    cause: _Cause,
    work: usage.Work,
    cluster: Cluster,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    n = fixes.partition_count(_PER_THREAD * work.nthreads, cluster)
    read = [c for one in work.computations for c in runs.read_by(one, collections, code)]
    few = [c for c in read if c.npartitions is not None and 0 < c.npartitions < work.nthreads]
    if cause.is_few and few:
        c = min(few, key=lambda c: c.npartitions or 0)
        if c.kind == "array" and c.nbytes is not None:
            text = fixes.rechunk(c, max(1, c.nbytes.nbytes // n))
        else:
            text = fixes.repartition(c, n, cluster=cluster)
        if text:
            noun = "chunks" if c.kind == "array" else "partitions"
            return (
                fixes.rebind(
                    c.name,
                    text,
                    binding=runs.cell_at(code, c.at),
                    ailing=work.at,
                    title=f"Cut {words.code(c.name)} into {words.count(n)} {noun}",
                    expect=f"{c.npartitions} → about {n} {noun}: work for all {work.nthreads} threads",
                ),
            )
    if cause.is_few:
        text = f"# where the data is read or made: at least one piece for each thread\nnpartitions={n}"
        return (fixes.advice(text, title="Cut the work into more pieces", expect="work for all threads"),)
    text = (
        "# each step of its own, joined at the end\n"
        "parts = [step(item) for item in items]\n"
        "result = dask.delayed(join)(parts).compute()"
    )
    return (
        fixes.advice(text, title="Let steps that need not wait run at once", expect="work for all threads"),
    )
