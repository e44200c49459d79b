"""Data are loaded far ahead of the work on them, because the scheduler's queue is switched off.

## Why it matters
Tasks without inputs (reading, loading) are mostly faster than the work on what they load. The scheduler
therefore hands them out only as fast as threads become free. With `worker-saturation: inf` it hands out all at
once: the workers load everything first, and the data pile up in memory until they are used.

## Anti-pattern
    dask.config.set({"distributed.scheduler.worker-saturation": "inf"})
    client = Client()

## Best practice
    client = Client()                            # the default: 1.1 tasks for each thread

## How it is known
The scheduler's own setting is above 2 (the default is 1.1), and a group of tasks without inputs, more than
twice as many as there are threads, made data of which much was in memory at once: 5 times what the threads
work on or more, a quarter of all of it or more, and 256 MiB or more, while the results of the tasks that use
them are less than a tenth of it. It is a warning when a worker process rose above the target mark (60 % of its
limit) meanwhile or data were spilled; else worth knowing.

## When it stays quiet
With the queue at work; for data that are to stay, because a variable holds them; when the next step needs all
of them, as a shuffle does, and its results are as large; where the data are small. Groups of up to twice as
many tasks as there are threads are never queued: what piles up of them is at most twice what is in work.

## Fix safety
Needs review: the setting is read when the cluster is made, so the cluster must be made anew. It changes no
result.

## References
https://distributed.dask.org/en/stable/scheduling-policies.html#queuing
https://blog.dask.org/2022/11/15/queuing
https://github.com/dask/distributed/issues/6360
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs, usage
from ...remedies import creation, fixes, settings_code, statements
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, Policy, TaskGroup
from ...words import MiB
from ..registry import NotChecked, rule

KEY = "distributed.scheduler.worker-saturation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Tasks for each thread from which the queue holds nothing back (Dask's default is 1.1).
    saturation: float = 2.0
    #: Data in memory over what the threads can work on at once. With the queue we measured 2 to 2.5.
    ratio: float = 5.0
    #: ... and as a share of all that the tasks loaded.
    share: float = 0.25
    #: ... and in bytes.
    nbytes: int = 256 * MiB
    #: Bytes of the results of the next step, as a share of what it uses, at most: else it needs them all.
    kept: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pile:
    """What one group of tasks without inputs left in memory at once."""

    group: TaskGroup
    peak: int
    #: Of one output, and of all of them.
    each: float
    total: float
    seen: tuple[Load, ...]


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    seen = [_held(s) for s in load if work is not None and _is_within(s, work)]
    return (Measure(label="results held at the peak", value=max(seen), unit="bytes"),) if seen else ()


@rule(
    id="root-overproduction",
    title="Data are loaded far ahead of their use",
    severity="warning",
    thresholds=Thresholds(),
    about=("groups",),
    measure=_measure,
)
def root_overproduction(
    groups: tuple[TaskGroup, ...],
    policy: Policy,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if policy.saturation <= limit.saturation:
        return
    kept = {c.group for c in collections}
    is_unknown = is_found = False
    for work in usage.works(computations, code, load):
        own, nthreads = usage.groups_of(work, groups), max(1, work.nthreads)
        used: dict[str, list[TaskGroup]] = defaultdict(list)
        for g in own:
            for name in g.dependencies:
                used[name].append(g)
        for g in own:
            if g.dependencies or g.n_tasks <= 2 * nthreads or g.name in kept:
                continue
            users = used.get(g.name)
            if not users:
                continue
            if g.sizes is None or g.sizes.n < 1:
                is_unknown = True
                continue
            if g.sizes.total / g.sizes.n * g.n_tasks < limit.nbytes:
                continue
            pile = _pile(g, work, load)
            if pile is None or not _is_reduced(pile, users, limit):
                continue
            if pile.peak < max(limit.nbytes, limit.share * pile.total):
                continue
            if pile.peak < limit.ratio * nthreads * pile.each:
                continue
            is_found = True
            yield _finding(pile, users, work, policy, cluster, code, limit)
    if is_unknown and not is_found:
        raise NotChecked("The queue is off, and the sizes of what was loaded are not known.")


def _is_within(sample: Load, work: usage.Work) -> bool:
    return any(start - 1.0 <= sample.time <= stop + 1.0 for start, stop in work.spans)


def _held(sample: Load) -> int:
    return sample.managed + sample.spilled


def _pile(group: TaskGroup, work: usage.Work, load: Sequence[Load]) -> _Pile | None:
    seen = tuple(s for s in load if _is_within(s, work))
    sizes = group.sizes
    if not seen or sizes is None:
        return None
    before = [_held(s) for s in load if s.time < work.spans[0][0]]
    each = sizes.total / sizes.n
    total = each * group.n_tasks
    peak = max(_held(s) for s in seen) - (before[-1] if before else 0)
    return _Pile(group=group, peak=min(peak, int(total)), each=each, total=total, seen=seen)


def _is_reduced(pile: _Pile, users: Sequence[TaskGroup], limit: Thresholds) -> bool:
    """Are the results of the next step small? Not knowing is no, but for what has not made any."""
    made = 0.0
    for user in users:
        if user.sizes is None or user.sizes.n < 1:
            return False
        made += user.sizes.total / user.sizes.n * user.n_tasks
    return made <= limit.kept * pile.total


def _finding(
    pile: _Pile,
    users: Sequence[TaskGroup],
    work: usage.Work,
    policy: Policy,
    cluster: Cluster,
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding:
    peak = runs.peak_worker_memory(work.computations)
    spilled = max(s.spilled for s in pile.seen)
    mark = 0.0
    if cluster.memory_limit:
        workers = max(1, *(s.n_workers for s in pile.seen))
        mark = cluster.memory_target * cluster.memory_limit / workers
    severity: Severity = "info"
    if spilled or (mark and peak is not None and peak >= mark):
        severity = "warning"
    n = pile.peak / max(1.0, pile.each)
    evidence = [
        Evidence(label="results held at the peak", value=pile.peak, unit="bytes", limit=limit.nbytes),
        Evidence(
            label="over what the threads can work on",
            value=n / max(1, work.nthreads),
            unit="ratio",
            limit=limit.ratio,
        ),
        Evidence(label="worker-saturation", value=f"{policy.saturation:g}", unit="text"),
        Evidence(label="typical result", value=pile.each, unit="bytes"),
    ]
    if peak is not None:
        evidence.append(
            Evidence(label="peak memory of a worker", value=peak, unit="bytes", limit=mark or None)
        )
    if spilled:
        evidence.append(Evidence(label="on disk at the peak", value=spilled, unit="bytes"))
    shown = pile.seen[-150:]
    return root_overproduction.finding(
        severity=severity,
        subject=pile.group.prefix,
        message=f"About {words.count(n)} of {pile.group.n_tasks:,} results of {words.code(pile.group.prefix)} were in "
        f"memory at once, {words.nbytes(pile.peak)}, waiting for {words.code(users[0].prefix)} on "
        f"{words.count(work.nthreads, 'thread')}: `worker-saturation` is {policy.saturation:g}.",
        why="The scheduler hands out all tasks without inputs at once, and they run before the work on what they "
        "load. With the default of 1.1 it holds them back until a thread is free.",
        evidence=tuple(evidence),
        charts=(
            Chart(
                kind="lines",
                title="Results held while it ran",
                unit="bytes",
                x=tuple(s.time for s in shown),
                series=(Series(name="held", values=tuple(float(_held(s)) for s in shown)),),
                limits=(Limit(name="in work at once", value=pile.each * work.nthreads),),
            ),
        ),
        at=work.at,
        fixes=_fixes(pile, work, cluster, code),
        loss_bytes=max(0, int(pile.peak - pile.each * work.nthreads)),
    )


def _fixes(pile: _Pile, work: usage.Work, cluster: Cluster, code: tuple[Cell, ...]) -> tuple[Fix, ...]:
    title = "Let the scheduler hold tasks back again"
    expect = (
        f"results held {words.nbytes(pile.peak)} → about {words.nbytes(2 * pile.each * work.nthreads)}; "
        "the cluster must be made anew"
    )
    place = settings_code.setting(code, KEY)
    if place is not None:
        cell, constant = place
        span = source.span(cell.source, constant)
        made = fixes.replace(cell, span, "1.1", title=title, expect=expect)
        if made is not None:
            return (made,)
    text = settings_code.block({KEY: "1.1"})
    where = creation.creation(code, cluster)
    ahead = statements.ahead_of(where, text, title=title, expect=expect) if where is not None else None
    return (ahead or fixes.advice(f"# before the cluster is made\n{text}", title=title, expect=expect),)
