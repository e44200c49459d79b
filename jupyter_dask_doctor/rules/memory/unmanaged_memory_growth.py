"""Memory that Dask does not know of grows from run to run.

## Why it matters
What a task leaves behind in its process (a list, a cache, a library's buffers) is no result: Dask can neither
spill it nor count it. It stays until the worker is restarted, and when it fills the worker to the pause mark
the worker takes no more tasks, for good.

## Anti-pattern
    seen = []

    def parse(path):
        table = pd.read_csv(path)
        seen.append(table)                 # every table stays in the worker's process
        return table.amount.sum()

## Best practice
    def parse(path):
        return pd.read_csv(path).amount.sum()

A cache on a worker needs a bound: `functools.lru_cache(maxsize=16)`. Memory that was freed but not given back
to the machine comes back with `malloc_trim`.

## How it is known
Only the pauses between computations are compared, when nothing runs: process memory of each worker without
the results that Dask knows it holds. For the task prefix with whose runs it rose most, the rises of these
runs are added up, without the first one, which imports libraries. It speaks when the robust slope
(Theil and Sen: median of all pairwise slopes) is above 0 with its whole interval, over at least 3 runs, the
last runs rose like the first ones, and the rise is large and still there. The forecast says after how many
more runs a worker comes to its pause mark, with the interval of the slope. Critical when that may be within
3 runs; only worth knowing when it is further off than 100 runs and unmanaged memory is below 30 % of the limit.

## When it stays quiet
About 150 MiB per process at rest, growth while a computation runs, a rise that levels off, one step up,
memory that came back, workers that were replaced, and results that are still held: what upstream lists as
healthy. Pauses shorter than a heartbeat are not counted.

## Fix safety
The cell that trims is safe: it gives freed memory back and touches no data; what the code still holds stays.
Restarting workers loses what they hold: it is shown, not inserted.

## References
https://distributed.dask.org/en/stable/worker-memory.html#memory-not-released-back-to-the-os
https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.theilslopes.html
https://github.com/dask/distributed/issues/6232
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, trends
from ...judging.trends import Trend
from ...remedies import relief
from ...report import Chart, Evidence, Finding, Limit, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Computation, Location, Rest, Worker, WorkerEnvironment
from ...words import MiB
from ..registry import NotChecked, rule

#: Workers whose trend is reckoned: those that grew most.
_MAX_JUDGED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Runs that must have grown, not counting the first, which imports libraries.
    runs: int = 3
    #: Bytes that one worker must have grown by in these runs: below it is the breathing of a process.
    nbytes: int = 100 * MiB
    #: ... and as a share of its memory limit.
    share: float = 0.05
    #: What a worker process holds at rest when all is well (dask/distributed#6232).
    healthy_nbytes: int = 150 * MiB
    #: Rise per run of the later half, and of the last run, against the earlier ones: less is a plateau.
    lasting: float = 0.5
    #: Unmanaged share of the limit from which it is a warning, however far off the end is.
    warning_share: float = 0.3
    #: Runs ahead within which the end makes it a warning.
    warning_runs: int = 100
    #: Runs ahead within which the end makes it critical.
    critical_runs: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Growth:
    """One worker over the runs of one prefix."""

    worker: Worker
    trend: Trend
    rise: float
    unmanaged: int
    #: Bytes up to the mark at which it stops; None when no end is known.
    room: float | None

    def runs_left(self, pace: float) -> float | None:
        return None if self.room is None else max(0.0, self.room) / pace


def _measure(
    subject: str,
    at: Location | None,
    *,
    rests: tuple[Rest, ...],
    workers: tuple[Worker, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    cell = runs.cell_at(code, at)
    if cell is None or cell.started is None:
        return ()
    before = next((r for r in reversed(rests) if r.time <= cell.started), None)
    if before is None:
        return ()
    then = dict(before.unmanaged)
    stayed = sum(max(0, w.process - w.managed - then[w.address]) for w in workers if w.address in then)
    return (Measure(label="memory that stayed after the run", value=stayed, unit="bytes"),)


@rule(
    id="unmanaged-memory-growth",
    title="Memory grows from run to run",
    severity="critical",
    thresholds=Thresholds(),
    about=("rests",),
    # In the end the workers stand still for good, however short the runs are that lead there
    has_stake=False,
    yields_to={"wrong-sizeof": "cell"},
    measure=_measure,
)
def unmanaged_memory_growth(
    rests: tuple[Rest, ...],
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
    environments: tuple[WorkerEnvironment, ...] = (),
) -> Iterator[Finding]:
    pauses = [r for r in rests if r.seconds >= _heartbeat(r.n_workers)]
    if len(pauses) > limit.runs + 1 and not any(r.unmanaged for r in pauses):
        raise NotChecked("The memory of single workers in the pauses is not known.")
    if len(pauses) < limit.runs + 2 or any(b.time <= a.time for a, b in itertools.pairwise(pauses)):
        return
    between = _between(pauses, computations)
    prefix, steps = _culprit(pauses, between)
    if len(steps) < limit.runs + 1:
        return
    last = _last_of(prefix, computations)
    if last is not None and runs.is_stale(last.at, last.submitted, code):
        return  # the cell ran again, without it
    grown = [
        g
        for w in _fastest(workers, pauses, steps)
        if (g := _growth(w, pauses, steps, workers, cluster, environments, limit)) is not None
    ]
    if grown:
        yield _finding(prefix, steps, grown, pauses, last, workers, cluster, code, environments, limit)


def _heartbeat(n_workers: int) -> float:
    """Seconds between two heartbeats of a worker, as the scheduler sets them."""
    if n_workers <= 10:
        return 0.5
    return 1.0 if n_workers < 50 else 2.0 if n_workers < 200 else 1.0 + n_workers / 200


def _between(pauses: Sequence[Rest], computations: Sequence[Computation]) -> list[set[str]]:
    """Prefixes that ran before each pause and after the one before it."""
    found: list[set[str]] = [set() for _ in pauses]
    times = [pause.time for pause in pauses]
    for c in computations:
        i = bisect.bisect_left(times, c.submitted)
        if i < len(found):
            found[i].update(prefix for prefix, _ in c.layers)
    return found


def _culprit(pauses: Sequence[Rest], between: Sequence[set[str]]) -> tuple[str, list[int]]:
    """The prefix with whose runs memory rose most, and the pauses after these runs; "" when none is known."""
    steps: dict[str, list[int]] = defaultdict(list)
    for i in range(1, len(pauses)):
        if pauses[i].tasks_finished > pauses[i - 1].tasks_finished:
            for prefix in between[i]:
                steps[prefix].append(i)
            steps[""].append(i)
    rises = [0.0] + [_rise(pauses[i - 1], pauses[i]) for i in range(1, len(pauses))]
    # The first run of each imports libraries
    grew = {prefix: sum(rises[i] for i in own[1:]) for prefix, own in steps.items()}
    named = [prefix for prefix in grew if prefix]
    if not named:
        return "", steps[""]
    most = max(grew[prefix] for prefix in named)
    if most <= 0:
        return "", []
    near = [prefix for prefix in named if grew[prefix] >= 0.9 * most]
    # What runs in every computation saw it as well: the one that ran least often explains most
    best = min(near, key=lambda prefix: (len(steps[prefix]), -grew[prefix], prefix))
    return best, steps[best]


def _rise(before: Rest, after: Rest) -> float:
    """Of the workers that were there at both times."""
    then = dict(before.unmanaged)
    return float(sum(nbytes - then[address] for address, nbytes in after.unmanaged if address in then))


def _last_of(prefix: str, computations: Sequence[Computation]) -> Computation | None:
    own = [c for c in computations if not prefix or any(prefix == name for name, _ in c.layers)]
    return max(own, key=lambda c: c.submitted, default=None)


def _fastest(workers: Sequence[Worker], pauses: Sequence[Rest], steps: Sequence[int]) -> list[Worker]:
    first, last = dict(pauses[steps[0]].unmanaged), dict(pauses[-1].unmanaged)
    there = [w for w in workers if w.address in last]
    return sorted(there, key=lambda w: first.get(w.address, 0) - last[w.address])[:_MAX_JUDGED]


def _growth(
    worker: Worker,
    pauses: Sequence[Rest],
    steps: Sequence[int],
    workers: Sequence[Worker],
    cluster: Cluster,
    environments: Sequence[WorkerEnvironment],
    limit: Thresholds,
) -> _Growth | None:
    at = {i: dict(pause.unmanaged).get(worker.address) for i, pause in enumerate(pauses)}
    seen = [i for i in steps if at[i] is not None and at[i - 1] is not None]
    if len(seen) < limit.runs + 1:
        return None
    heights, first = [0.0], seen[1] - 1
    for i in seen[1:]:
        heights.append(heights[-1] + (at[i] or 0) - (at[i - 1] or 0))
    trend = trends.theil_sen(range(len(heights)), heights)
    now = at[len(pauses) - 1]
    if trend is None or trend.low <= 0 or now is None:
        return None
    rise = heights[-1]
    floor = max(limit.nbytes, limit.share * (worker.memory_limit or 0))
    if rise < floor or now < limit.healthy_nbytes + floor:
        return None
    if now - (at[first] or 0) < limit.lasting * rise:
        return None  # it came back
    middle = len(heights) // 2
    early = heights[middle] / middle
    late = (rise - heights[middle]) / (len(heights) - 1 - middle)
    if late < limit.lasting * early or rise - heights[-2] < limit.lasting * trend.slope:
        return None  # it levels off
    end = _end(worker, workers, cluster, environments)
    return _Growth(
        worker=worker, trend=trend, rise=rise, unmanaged=now, room=None if end is None else end - now
    )


def _end(
    worker: Worker,
    workers: Sequence[Worker],
    cluster: Cluster,
    environments: Sequence[WorkerEnvironment],
) -> float | None:
    """Bytes at which it stops: the pause mark, or its part of the machine when it has no limit."""
    if worker.memory_limit:
        return cluster.memory_pause * worker.memory_limit
    host = next((e.host_memory for e in environments if e.address == worker.address), None)
    return None if host is None else host / max(1, sum(w.host == worker.host for w in workers))


def _finding(
    prefix: str,
    steps: Sequence[int],
    grown: Sequence[_Growth],
    pauses: Sequence[Rest],
    last: Computation | None,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    code: tuple[Cell, ...],
    environments: tuple[WorkerEnvironment, ...],
    limit: Thresholds,
) -> Finding:
    worst = min(grown, key=lambda g: (g.room is None, g.runs_left(g.trend.slope) or 0.0, -g.rise))
    trend = worst.trend
    each = words.nbytes(trend.slope)
    name = f" of {words.code(prefix)}" if prefix else ""
    evidence = [
        Evidence(label="rise per run", value=trend.slope, unit="bytes", is_estimated=True),
        Evidence(label="rise per run, at least", value=trend.low, unit="bytes", limit=0),
        Evidence(label="runs compared", value=trend.n - 1, unit="count", limit=limit.runs),
        Evidence(
            label="not known to Dask, at rest",
            value=worst.unmanaged,
            unit="bytes",
            limit=worst.worker.memory_limit,
        ),
        Evidence(label="workers that grow", value=len(grown), unit="count"),
    ]
    message = (
        f"Memory that Dask does not know of stays behind with every run{name}: about {each} per run on "
        f"{len(grown)} of {words.count(len(workers), 'worker')}, {words.nbytes(worst.rise)} on one so far"
    )
    soon, expected = worst.runs_left(trend.high), worst.runs_left(trend.slope)
    severity: Severity = "info"
    ends_in = None
    if soon is not None and expected is not None:
        late = worst.runs_left(trend.low) or 0.0
        pace = statistics.median(pauses[i].time - pauses[i - 1].time for i in steps)
        span, ends_in = _span(soon, late), expected * pace
        message += f"; at this pace a worker stops taking tasks after {span} more"
        evidence += [
            Evidence(label="runs until a worker stops", value=f"{span}", unit="text", is_estimated=True),
            Evidence(label="time until then, at this pace", value=ends_in, unit="seconds", is_estimated=True),
        ]
        share = worst.unmanaged / (worst.worker.memory_limit or 1)
        if expected <= limit.warning_runs or (worst.worker.memory_limit and share >= limit.warning_share):
            severity = "warning"
        if soon <= limit.critical_runs:
            severity = "critical"
    at = last.at if last is not None else None
    return unmanaged_memory_growth.finding(
        severity=severity,
        subject=prefix or "workers",
        message=f"{message}.",
        why="Nothing runs in these pauses, so it is not the work itself: something keeps it in the worker's "
        "process. Dask can neither spill nor free it, and at the pause mark the worker stands still for good.",
        evidence=tuple(evidence),
        charts=(_chart(grown, pauses, cluster),),
        at=at,
        fixes=(
            *relief.trim(runs.cell_at(code, at), cluster, environments, rerun=at),
            *relief.restart(cluster, ends_in),
        ),
        loss_bytes=int(sum(g.rise for g in grown)),
    )


def _span(soon: float, late: float) -> str:
    low, high = int(soon), max(1, round(late))
    return words.count(high, "run") if low >= high else f"{low:,} to {words.count(high, 'run')}"


def _chart(grown: Sequence[_Growth], pauses: Sequence[Rest], cluster: Cluster) -> Chart:
    shown = sorted(grown, key=lambda g: -g.unmanaged)[:3]
    told = [dict(p.unmanaged) for p in pauses]
    allowed = shown[0].worker.memory_limit
    marks = (Limit(name="pause", value=cluster.memory_pause * allowed),) if allowed else ()
    return Chart(
        kind="lines",
        title="Memory that Dask does not know of, in the pauses",
        unit="bytes",
        x=tuple(p.time for p in pauses),
        series=tuple(
            Series(
                name=g.worker.name, values=tuple(float(nbytes.get(g.worker.address, 0)) for nbytes in told)
            )
            for g in shown
        ),
        limits=marks,
    )
