"""A few tasks take far longer than their neighbours, and all others wait for them.

## Why it matters
A computation is over when its last task is. One task of ten minutes among hundreds of a second leaves the
whole cluster idle for ten minutes.

## Anti-pattern
    client.map(fit, models)                   # the largest model comes last and runs alone

## Best practice
    models.sort(key=size, reverse=True)       # long ones first: the short ones fill the gaps
    client.map(fit, models)

Better still, cut the long one: by partition, by period, by parameter.

## How it is known
While it runs: the age of the task as its worker tells it, against the mean of the tasks of its group that are
done. Afterwards: the longest run that Dask has seen of the prefix, where it can only have been in this group;
in deep mode the spread of the group itself. It speaks of a task of 5 s or more that takes 5 times as long as
its neighbours, of which at least 8 are done, when half of the threads or more stand idle and nothing else can
run. The loss is how long it was so, times the share of idle threads.

The cause is asked for first: a larger input than its neighbours have, a slow worker (its other tasks are slow
as well, or its event loop is), a worker that spills or is paused, one whose tasks hold the GIL, a task that
may run in one place only. Only then it is unexplained.

## When it stays quiet
While there is other work for the threads; the first tasks of a worker that has just come, which import
libraries; groups of a few tasks; when the partition sizes explain it (`partition-skew` speaks); when it cannot
be told which run of a cell the long task belongs to.

## Fix safety
Needs review where a collection is cut. Everything else is shown, not inserted: retiring a worker moves what it
holds.

## References
https://github.com/dask/distributed/issues/6600
https://cloud.google.com/dataflow/docs/guides/troubleshoot-batch-stragglers
https://distributed.dask.org/en/stable/priority.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import lateness, runs, usage
from ...judging.lateness import Facts, Straggler, neighbours
from ...remedies import fixes, offers
from ...report import Detail, Evidence, Finding, Fix
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    RunningTask,
    Scheduling,
    TaskGroup,
    TaskPrefix,
    Worker,
)
from ...words import MiB
from ..registry import rule

#: A worker that came so shortly before the task began, which is one of its first, still imports libraries, for
#: so long at most.
_WARM_UP = 3.0
_FIRST = 1.0
_WARM_UP_LASTS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: How many times as long as its neighbours (Dataflow's and Spark's guides: 5 to 10 times).
    ratio: float = 5.0
    #: A task shorter than this is no straggler, in seconds (DataFlint: 5 s).
    task_seconds: float = 5.0
    #: Neighbours that are done: fewer do not tell what is usual.
    neighbours: int = 8
    #: Share of the threads that stand idle meanwhile.
    idle_share: float = 0.5
    #: How many times as much input as its neighbours explains it ...
    input_ratio: float = 4.0
    #: ... if it is at least so many bytes.
    input_nbytes: int = 32 * MiB
    #: Seconds that all threads together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.05


@rule(
    id="stragglers",
    title="A few tasks keep all others waiting",
    severity="warning",
    thresholds=Thresholds(),
    about=("groups",),
    yields_to={
        "spilling": "cell",
        "partition-skew": "cell",
        "killed-worker": "cell",
        "worker-memory-pressure": "cell",
        "stalled-computation": "cell",
    },
    measure=usage.time_of_tasks,
)
def stragglers(
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    prefixes: tuple[TaskPrefix, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    workers: tuple[Worker, ...] = (),
    scheduling: Scheduling | None = None,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    alike: dict[str, list[TaskGroup]] = {}
    for g in groups:
        alike.setdefault(g.prefix, []).append(g)
    facts = Facts(
        cluster=cluster,
        groups=groups,
        alike=alike,
        longest={p.name: (p.max_seconds, p.n_done) for p in prefixes if p.max_seconds is not None},
        workers=workers,
        load=load,
        scheduling=scheduling,
    )
    everything = usage.works(computations, code, load)
    grouped = usage.by_computation(groups)
    for work in everything:
        own = usage.own_groups(work, grouped)
        worst = _done(work, own, facts, limit) if work.is_done else _running(work, own, facts, limit)
        if worst is None or work.nthreads < 2 or not usage.is_alone(work, everything):
            continue
        waited, idle = _waited(work, worst, load, limit)
        loss = waited * idle
        if idle < limit.idle_share or loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        yield _finding(work, worst, idle, loss, facts, limit, collections, code)


def _running(work: usage.Work, own: Sequence[TaskGroup], facts: Facts, limit: Thresholds) -> Straggler | None:
    """The task that has run longest of all that run now, if it is far longer than its neighbours were."""
    scheduling, load = facts.scheduling, facts.load
    if scheduling is None or not load:
        return None
    now = load[-1]
    if now.tasks_queued or _others_ready(now.tasks_processing, scheduling.n_running, now.nthreads):
        return None
    by_name, since = {g.name: g for g in own}, work.spans[0][0]
    found = []
    for task in scheduling.running:
        group = by_name.get(task.group)
        if group is None or _is_warming_up(task, since, facts):
            continue
        typical, n = neighbours(group, facts, task.seconds, is_running=True)
        if n >= limit.neighbours and _is_long(task.seconds, typical, limit):
            found.append(Straggler(group=group, seconds=task.seconds, typical=typical, n=n, task=task))
    if not found:
        return None
    worst = max(found, key=lambda s: s.seconds)
    alike = [s for s in found if s.group.prefix == worst.group.prefix]
    return Straggler(
        group=worst.group,
        seconds=worst.seconds,
        typical=worst.typical,
        n=worst.n,
        task=worst.task,
        n_alike=len(alike),
    )


def _done(work: usage.Work, own: Sequence[TaskGroup], facts: Facts, limit: Thresholds) -> Straggler | None:
    found = []
    for group in own:
        longest = _longest(group, facts, limit)
        if longest is None:
            continue
        typical, n = neighbours(group, facts, longest, is_running=False)
        if n >= limit.neighbours and _is_long(longest, typical, limit):
            found.append(Straggler(group=group, seconds=longest, typical=typical, n=n))
    return max(found, key=lambda s: s.seconds, default=None)


def _longest(group: TaskGroup, facts: Facts, limit: Thresholds) -> float | None:
    """The longest run of a task of this group; None where it may have been in another one."""
    if group.spread is not None:
        return group.spread.longest
    longest, n_done = facts.longest.get(group.prefix, (0.0, 0))
    if longest < limit.task_seconds:
        return None
    alike = facts.alike.get(group.prefix, [])
    # It is as of a heartbeat, so the run itself was rather longer
    able = [g for g in alike if g.compute_seconds is None or g.compute_seconds >= 0.9 * longest]
    if able != [group] or n_done > sum(max(g.n_done, g.n_tasks) for g in alike):
        return None
    return longest


def _is_long(seconds: float, typical: float, limit: Thresholds) -> bool:
    return seconds >= limit.task_seconds and seconds >= limit.ratio * typical >= 0


def _others_ready(n_processing: int, n_running: int, nthreads: int) -> bool:
    """Is there other work for the idle threads? Then nobody waits for the long task."""
    return n_processing - n_running > max(1, (nthreads - n_running) // 2)


def _is_warming_up(task: RunningTask, since: float, facts: Facts) -> bool:
    """Is it the first on a worker that has just come? Then it imports libraries."""
    worker = next((w for w in facts.workers if w.address == task.worker), None)
    if worker is None or worker.first_seen is None or task.seconds > _WARM_UP_LASTS:
        return False
    started = facts.load[-1].time - task.seconds
    return started < min(worker.first_seen + _WARM_UP, max(worker.first_seen, since) + _FIRST)


def _waited(work: usage.Work, s: Straggler, load: Sequence[Load], limit: Thresholds) -> tuple[float, float]:
    """(how long threads stood idle at its end with nothing else to do, the share of them that did)."""
    waited = lost = 0.0
    extra = s.seconds - s.typical
    stop = work.spans[-1][1]
    points = usage.steps(load, [(work.spans[0][0], stop)])
    for one, seconds in reversed(points):
        if one.nthreads <= 0 or one.tasks_queued or waited >= extra:
            break
        idle = 1 - min(one.threads_busy, one.nthreads) / one.nthreads
        if idle < limit.idle_share:
            if waited == 0 and stop - one.time < 2.5:
                continue  # what comes after it, or a heartbeat that is late
            break
        if _others_ready(one.tasks_processing, one.threads_busy, one.nthreads):
            break
        waited += seconds
        lost += idle * seconds
    return (min(waited, extra), lost / waited) if waited > 0 else (0.0, 0.0)


def _finding(
    work: usage.Work,
    s: Straggler,
    idle: float,
    loss: float,
    facts: Facts,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> Finding:
    prefix = words.code(s.group.prefix)
    found = lateness.cause(s, facts, input_ratio=limit.input_ratio, input_nbytes=limit.input_nbytes)
    others = f"the other {words.count(s.n)} took {words.seconds(s.typical)} each"
    stood = f"{words.count(idle * work.nthreads)} of {words.count(work.nthreads, 'thread')}"
    if s.task is not None:
        worker = next((w.name for w in facts.workers if w.address == s.task.worker), s.task.worker)
        long = f"{prefix} has run for {words.seconds(s.seconds)} on worker {words.code(worker)}"
        message = f"{long} while {stood} stand idle; {others}{found.ending}."
    else:
        message = (
            f"One {prefix} took {words.seconds(s.seconds)} while {stood} stood idle; {others}{found.ending}."
        )
    return stragglers.finding(
        severity="warning",
        subject=s.group.prefix,
        message=message,
        why=f"A computation is over when its last task is. {found.why}",
        evidence=(
            Evidence(
                label="longest task",
                value=s.seconds,
                unit="seconds",
                limit=max(limit.task_seconds, limit.ratio * s.typical),
            ),
            Evidence(label="its neighbours", value=s.typical, unit="seconds"),
            Evidence(label="neighbours that are done", value=s.n, unit="count", limit=limit.neighbours),
            Evidence(label="idle threads meanwhile", value=idle, unit="share", limit=limit.idle_share),
            *found.evidence,
        ),
        details=_details(s, facts),
        at=work.at,
        fixes=_fixes(s, work, found.kind, facts, collections, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _details(s: Straggler, facts: Facts) -> tuple[Detail, ...]:
    stacks = facts.scheduling.stacks if facts.scheduling is not None else None
    if s.task is None or not stacks:
        return ()
    own = [stack for stack in stacks if stack.key == s.task.key]
    return tuple(Detail(title="Where it stands", text="\n".join(stack.frames)[:4_000]) for stack in own[:1])


def _fixes(
    s: Straggler,
    work: usage.Work,
    kind: lateness.Kind,
    facts: Facts,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    if kind == "input":
        read = [c for one in work.computations for c in runs.read_by(one, collections, code)]
        uneven = [c for c in read if c.sizes is not None and c.sizes.n >= 8]
        for c in sorted(uneven, key=lambda c: -(c.sizes.largest if c.sizes else 0)):
            if c.sizes is not None and c.sizes.largest >= offers.UNEVEN * max(1, c.sizes.median):
                found = offers.cut_large(
                    c, c.sizes, cluster=facts.cluster, load=facts.load, code=code, ailing=work.at
                )
                if found:
                    return found
    client = facts.cluster.client_variable or "client"
    if s.task is not None and kind == "worker":
        text = f"{client}.retire_workers([{s.task.worker!r}])  # moves what it holds to the others first"
        return (fixes.advice(text, title="Let go of the slow worker", expect="its tasks run elsewhere"),)
    if s.task is not None:
        text = f"{client}.call_stack(keys=[{_literal(s.task.key)}])"
        return (fixes.advice(text, title="See where it stands", expect="the lines of code that run now"),)
    text = (
        "# long ones first, so that the short ones fill the gaps; or cut the long one into several\n"
        "items.sort(key=expected_seconds, reverse=True)"
    )
    saved = max(0.0, s.seconds - s.typical)
    return (
        fixes.advice(text, title="Start the long task first", expect=f"up to {words.seconds(saved)} less"),
    )


def _literal(key: str) -> str:
    """The key as code: a tuple as it is told, all else as a text."""
    try:
        value = ast.literal_eval(key)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return repr(key)
    return key if isinstance(value, tuple) else repr(key)
