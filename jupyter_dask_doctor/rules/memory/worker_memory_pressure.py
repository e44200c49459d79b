"""Workers run at the edge of their memory.

## Why it matters
A worker moves data to disk at 70 % of its limit, takes no new tasks at 80 % and is restarted at 95 %. A
paused worker's threads are idle while the rest of the cluster waits for the data it holds.

## Anti-pattern
    big = events.merge(users, on="user").persist()   # more than the workers hold

## Best practice
    events = events.repartition(npartitions=400)     # smaller pieces at once
    events.merge(users, on="user").groupby("day").n.sum().compute()   # keep the result, not the way to it

Fewer threads per worker also help: fewer partitions are in work at the same time.

## How it is known
Memory of each worker process from its heartbeats, while a computation ran or now. It speaks when a worker
was paused for 5 s, or stood above the pause mark (0.8 of its limit) on 3 samples. Critical when one reached
the mark at which workers are restarted, or is paused now and has been for 30 s. Above the spill mark on 3
samples it is only worth knowing. The loss is paused thread-seconds divided by the cluster's threads. Short
peaks between two heartbeats are not seen.

## When it stays quiet
One or two samples above the mark; workers without a limit; what an earlier run of the same cell did. When
one partition or the size of all partitions explains it, `partition-skew` or `oversized-partitions` speaks
instead, with these numbers.

## Fix safety
Needs review: another number of partitions; a function that works on a whole partition or chunk, as in
`map_blocks`, sees smaller ones. Settings of the cluster are shown, not inserted.

## References
https://distributed.dask.org/en/stable/worker-memory.html
https://github.com/dask/distributed/issues/2130
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ... import words
from ...judging import runs
from ...remedies import offers
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series, Severity
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    Location,
    MemorySample,
    TaskGroup,
    Worker,
)
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Samples above a mark before it counts (one every 0.5 s on small clusters, up to 6 s on large ones).
    samples: int = 3
    #: Seconds that a worker must have been paused.
    paused_seconds: float = 5.0
    #: Seconds of pause that still goes on before it is critical.
    stuck_seconds: float = 30.0
    #: Share of a computation's seconds below which a prefix that ran at the peak only passed by.
    busy_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strain:
    """How one worker fared in one run of a cell."""

    worker: Worker
    peak: int
    paused_seconds: float
    above_pause: int
    above_spill: int


def _measure(
    subject: str,
    at: Location | None,
    *,
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = runs.of_cell(runs.newest(computations, code), at)
    if not own:
        return ()
    peaks = [s.process for w in workers for s in _within(w, own)]
    peak = max(peaks, default=runs.peak_worker_memory(own))
    paused = sum(_seconds(w, own, lambda s: s.is_paused) for w in workers)
    found = [] if peak is None else [Measure(label="peak memory of a worker", value=peak, unit="bytes")]
    return (*found, Measure(label="paused workers", value=paused, unit="seconds"))


@rule(
    id="worker-memory-pressure",
    title="Workers run at the edge of their memory",
    severity="critical",
    thresholds=Thresholds(),
    about=("workers",),
    yields_to={
        "killed-worker": "cell",
        "partition-skew": "cell",
        "oversized-partitions": "cell",
        "oversized-persist": "cell",
        "wrong-sizeof": "cell",
        "root-overproduction": "cell",
    },
    measure=_measure,
)
def worker_memory_pressure(
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
) -> Iterator[Finding]:
    full = tuple(w for w in workers if _was_full(w, cluster))
    if not full:
        return
    recent = runs.newest(computations, code)
    told: set[str] = set()
    for own in _by_cell(recent):
        strained = [s for w in full if (s := _strain(w, own, cluster, limit)) is not None]
        prefix = _culprit(strained, own, groups, limit) if strained else None
        finding = _finding(strained, own, prefix, workers, cluster, limit, collections, load, code)
        if finding is not None:
            told.update(s.worker.address for s in strained)
            yield finding
    if all(c.is_done for c in recent):
        # At rest: what is held, not what is done
        since = max((c.stop for c in recent if c.stop is not None), default=0.0)
        resting = [
            s
            for w in full
            if w.address not in told and (s := _strain(_since(w, since), (), cluster, limit)) is not None
        ]
        finding = _finding(resting, (), None, workers, cluster, limit, (), load, code)
        if finding is not None:
            yield finding


def _by_cell(computations: Sequence[Computation]) -> list[tuple[Computation, ...]]:
    cells: list[tuple[Computation, ...]] = []
    seen: set[str] = set()
    for c in computations:
        if c.id not in seen:
            cells.append(runs.of_cell(computations, c.at) or (c,))
            seen.update(own.id for own in cells[-1])
    return cells


def _was_full(worker: Worker, cluster: Cluster) -> bool:
    """Did it ever come to the mark? Most never do, and need not be looked at run by run."""
    mark = cluster.memory_spill * (worker.memory_limit or 0)
    return bool(mark) and any(s.process >= mark or s.is_paused for s in worker.samples)


def _since(worker: Worker, time: float) -> Worker:
    """The worker with what was seen of it after `time` only."""
    first = bisect.bisect_right(worker.samples, time, key=lambda s: s.time)
    return replace(worker, samples=worker.samples[first:])


def _within(worker: Worker, computations: Sequence[Computation]) -> list[MemorySample]:
    """Samples taken while any of the computations ran; without computations the last ones."""
    if not computations:
        return list(worker.samples[-10:])
    found: dict[float, MemorySample] = {}
    for c in computations:
        first = bisect.bisect_left(worker.samples, c.submitted, key=lambda s: s.time)
        last = len(worker.samples)
        if c.stop is not None:
            last = bisect.bisect_right(worker.samples, c.stop, key=lambda s: s.time)
        found.update((s.time, s) for s in worker.samples[first:last])
    return [found[time] for time in sorted(found)]


def _seconds(
    worker: Worker, computations: Sequence[Computation], is_so: Callable[[MemorySample], bool]
) -> float:
    """How long it was so: the time up to the next sample counts, at most 10 s."""
    samples = _within(worker, computations)
    pairs = itertools.pairwise(samples)
    return float(sum(min(10.0, later.time - s.time) for s, later in pairs if is_so(s)))


def _strain(
    worker: Worker, computations: Sequence[Computation], cluster: Cluster, limit: Thresholds
) -> _Strain | None:
    samples = _within(worker, computations)
    if not worker.memory_limit or not samples:
        return None
    shares = [s.process / worker.memory_limit for s in samples]
    strain = _Strain(
        worker=worker,
        peak=max(s.process for s in samples),
        paused_seconds=_seconds(worker, computations, lambda s: s.is_paused),
        above_pause=sum(share >= cluster.memory_pause for share in shares),
        above_spill=sum(share >= cluster.memory_spill for share in shares),
    )
    if not computations and shares[-1] < cluster.memory_spill:
        return None  # it has recovered
    is_strained = strain.paused_seconds >= limit.paused_seconds or strain.above_spill >= limit.samples
    return strain if is_strained else None


def _culprit(
    strained: Sequence[_Strain], own: Sequence[Computation], groups: Sequence[TaskGroup], limit: Thresholds
) -> str | None:
    """The prefix that ran at most peaks, unless it is one that only passes results on."""
    often = Counter(p for s in strained for p in s.worker.prefixes_at_peak)
    ids = {c.id for c in own}
    seconds: dict[str, float] = defaultdict(float)
    for g in groups:
        if g.computation_id in ids:
            seconds[g.prefix] += max(0.0, g.compute_seconds or 0.0)
    timed = frozenset(seconds)
    floor = limit.busy_share * sum(seconds.values())
    ranked = sorted(often, key=lambda p: (-often[p], -seconds[p], p))
    busy = [p for p in ranked if p not in timed or seconds[p] >= floor]
    if busy:
        return busy[0]
    if floor > 0:
        return max(seconds, key=lambda p: (seconds[p], p))
    return own[0].layers[0][0] if own and own[0].layers else None


def _finding(
    strained: Sequence[_Strain],
    own: Sequence[Computation],
    prefix: str | None,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> Finding | None:
    if not strained:
        return None
    worst = max(strained, key=lambda s: s.peak / (s.worker.memory_limit or 1))
    allowed = worst.worker.memory_limit or 1
    paused = sum(s.paused_seconds for s in strained)
    is_full = any(
        s.paused_seconds >= limit.paused_seconds or s.above_pause >= limit.samples for s in strained
    )
    severity: Severity = "warning" if is_full else "info"
    is_stuck = any(s.worker.status == "paused" and s.paused_seconds >= limit.stuck_seconds for s in strained)
    if is_full and (worst.peak >= cluster.memory_terminate * allowed or is_stuck):
        severity = "critical"
    at = own[0].at if own else None
    busy = f"while {words.code(prefix)} ran" if prefix else "with nothing running" if not own else "meanwhile"
    told = (
        f" and {words.count(sum(s.paused_seconds > 0 for s in strained), 'was', 'were')} paused"
        if paused
        else ""
    )
    nthreads = max(1, cluster.nthreads)
    loss = sum(s.paused_seconds * s.worker.nthreads for s in strained) / nthreads
    of = sum(filter(None, (runs.wall(c) for c in own)))
    evidence = [
        Evidence(
            label="peak memory of a worker",
            value=worst.peak,
            unit="bytes",
            limit=cluster.memory_pause * allowed,
        ),
        Evidence(label="memory limit of a worker", value=allowed, unit="bytes"),
        Evidence(label="workers above the mark", value=len(strained), unit="count"),
    ]
    if paused:
        evidence.append(
            Evidence(label="paused, all workers", value=paused, unit="seconds", limit=limit.paused_seconds)
        )
    if prefix:
        evidence.append(Evidence(label="running at the peak", value=prefix, unit="text"))
    return worker_memory_pressure.finding(
        severity=severity,
        subject=prefix or "workers",
        message=f"{len(strained)} of {words.count(len(workers), 'worker')} came to "
        f"{words.share(worst.peak / allowed)} of their memory {busy}{told}: "
        f"{words.nbytes(worst.peak)} of {words.nbytes(allowed)}.",
        why=f"Above {words.share(cluster.memory_spill)} a worker writes to disk, above "
        f"{words.share(cluster.memory_pause)} it takes no tasks, at {words.share(cluster.memory_terminate)} "
        "it is restarted and its results are lost.",
        evidence=tuple(evidence),
        charts=(_chart(strained, own, cluster),),
        at=at,
        fixes=_fixes(worst, own, workers, cluster, collections, load, code, at),
        loss_seconds=loss if loss >= 1 else None,
        of_seconds=of if loss >= 1 and of else None,
        loss_bytes=max(0, int(worst.peak - cluster.memory_pause * allowed)),
    )


def _fixes(
    worst: _Strain,
    own: Sequence[Computation],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
    at: Location | None,
) -> tuple[Fix, ...]:
    read = [c for computation in own for c in runs.read_by(computation, collections, code)]
    read.sort(key=lambda c: -(c.largest.nbytes if c.largest else 0))
    found: tuple[Fix, ...] = ()
    if read:
        found = offers.relieve(
            read[0], peak=worst.peak, worker=worst.worker, cluster=cluster, load=load, code=code, ailing=at
        )
    return (*found, *offers.more_room(workers, load))


def _chart(strained: Sequence[_Strain], own: Sequence[Computation], cluster: Cluster) -> Chart:
    shown = sorted(strained, key=lambda s: -s.peak)[:3]
    times = sorted({sample.time for s in shown for sample in _within(s.worker, own)})[-150:]
    allowed = shown[0].worker.memory_limit or 0
    return Chart(
        kind="lines",
        title="Memory of the fullest workers",
        unit="bytes",
        x=tuple(times),
        series=tuple(Series(name=s.worker.name, values=_along(s.worker, times)) for s in shown),
        limits=(
            Limit(name="spill", value=cluster.memory_spill * allowed),
            Limit(name="pause", value=cluster.memory_pause * allowed),
            Limit(name="limit", value=float(allowed)),
        ),
    )


def _along(worker: Worker, times: Sequence[float]) -> tuple[float, ...]:
    """The worker's last known memory at each of the times."""
    values, i, last = [], 0, float(worker.samples[0].process) if worker.samples else 0.0
    for time in times:
        while i < len(worker.samples) and worker.samples[i].time <= time:
            last = float(worker.samples[i].process)
            i += 1
        values.append(last)
    return tuple(values)
