"""Workers come and go all the time.

## Why it matters
A new worker takes one to several seconds on one machine and minutes in a cloud, imports everything anew, and
holds nothing. One that goes hands over its results or loses them. When adaptive scaling takes workers away in
every short pause, each piece of work begins with waiting for them.

## Anti-pattern
    cluster.adapt(minimum=0, maximum=20, interval="100ms", wait_count=1)

## Best practice
    cluster.adapt(minimum=2, maximum=20, wait_count=60)     # a worker goes after a minute without work

## How it is known
The scheduler's log of workers, on a cluster that adapts: within `window_seconds` the number of workers turned from
rising to falling or back at least `reversals` times, and at least `removals` workers went that had lived less
than `lifetime_seconds`. It speaks when the waiting for workers that had been there before, and what must be
computed again, come to `seconds` and to `share` of the time in which there was work.

## When it stays quiet
On clusters that do not adapt: whoever calls `scale()` knows what happens. Workers that were lost, and those
that took their place, do not count. The first rise costs nothing that could be spared.

## Fix safety
Needs review: workers that wait for work cost what they cost. The cell takes effect when it runs again; Dask then
replaces the former way to adapt.

## References
https://docs.dask.org/en/stable/adaptive.html
https://distributed.dask.org/en/stable/api.html
https://github.com/dask/distributed/issues/6880
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import calls, creation, fixes
from ...report import Chart, Evidence, Finding, Fix, Measure, Series
from ...snapshot import Cell, Cluster, Load, Location, WorkerChange
from ..registry import rule

#: Seconds without work after which a worker may go, as offered.
PATIENCE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Turns from more workers to fewer or back, within the window.
    reversals: int = 3
    window_seconds: float = 300.0
    #: Workers that went after a short life, and how short that is.
    removals: int = 2
    lifetime_seconds: float = 120.0
    #: Seconds lost by it (rules.md: at least 1 s and 5 % at stake).
    seconds: float = 1.0
    #: Of the time in which there was work.
    share: float = 0.05


def _measure(
    subject: str,
    at: Location | None,
    *,
    changes: tuple[WorkerChange, ...],
    cluster: Cluster,
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    recent = _recent(changes, cluster, Thresholds().window_seconds, code)
    return (Measure(label="turns of the number of workers", value=_reversals(recent), unit="count"),)


@rule(
    id="scaling-thrash",
    title="Workers come and go all the time",
    severity="warning",
    thresholds=Thresholds(),
    about=("changes",),
    measure=_measure,
)
def scaling_thrash(
    changes: tuple[WorkerChange, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if not cluster.is_adaptive:
        return
    made = calls.method(code, cluster, "adapt")
    recent = _recent(changes, cluster, limit.window_seconds, code)
    turns = _reversals(recent)
    gone = [c for c in recent if c.kind == "removed"]
    short = [c for c in gone if c.lifetime is not None and 0 <= c.lifetime < limit.lifetime_seconds]
    if turns < limit.reversals or len(short) < limit.removals:
        return
    waited, worked = _waited(load, gone[0].time)
    again = sum(max(0.0, c.lost_seconds) for c in gone) / max(
        1, cluster.nthreads, *(s.nthreads for s in load)
    )
    lost = waited + again
    if lost < limit.seconds or lost < limit.share * worked:
        return
    places = Counter(
        c.at for c in recent if c.at is not None and (made is None or c.at.cell_id != made.cell.id)
    )
    at = places.most_common(1)[0][0] if places else None
    whole = calls.expression(cluster) or "the cluster"
    span = recent[-1].time - recent[0].time
    typical = sorted(c.lifetime or 0.0 for c in short)[len(short) // 2]
    came = sum(c.kind == "added" for c in recent)
    yield scaling_thrash.finding(
        severity="warning",
        subject=cluster.cluster_variable or "cluster",
        message=f"{words.count(came, 'worker')} came and {len(gone):,} went within {words.seconds(span)}: "
        f"{words.code(whole)} adapts so fast that {words.seconds(lost)} were lost waiting for workers again.",
        why=f"They lived about {words.seconds(typical)}. Each new one must start and import everything, and what "
        "the former held was moved or lost.",
        evidence=(
            Evidence(
                label="turns of the number of workers", value=turns, unit="count", limit=limit.reversals
            ),
            Evidence(
                label="typical life of a worker", value=typical, unit="seconds", limit=limit.lifetime_seconds
            ),
            Evidence(label="time lost", value=lost, unit="seconds", limit=limit.seconds, is_estimated=True),
            Evidence(label="results lost", value=sum(max(0, c.n_lost) for c in gone), unit="count"),
        ),
        charts=(_chart(recent),),
        at=at,
        fixes=_fixes(made, cluster, typical, max(1, *(c.n_workers for c in recent))),
        loss_seconds=lost,
        of_seconds=worked or None,
    )


def _recent(
    changes: Sequence[WorkerChange], cluster: Cluster, window: float, code: Sequence[Cell]
) -> list[WorkerChange]:
    """Changes by wish in the window before the last one, since the cell that makes the cluster adapt ran last."""
    wished: list[WorkerChange] = []
    n_replaced = 0
    for change in sorted(changes, key=lambda c: c.time):
        if change.kind == "removed" and not change.is_expected:
            n_replaced += 1
        elif change.kind == "added" and n_replaced:
            n_replaced -= 1
        else:
            wished.append(change)
    made = calls.method(code, cluster, "adapt")
    since = made.cell.started if made is not None and made.cell.started is not None else -math.inf
    if wished:
        since = max(since, wished[-1].time - window)
    return [c for c in wished if c.time >= since and not runs.is_stale(c.at, c.time, code)]


def _reversals(changes: Sequence[WorkerChange]) -> int:
    return sum(a.kind != b.kind for a, b in itertools.pairwise(changes))


def _waited(load: Sequence[Load], since: float) -> tuple[float, float]:
    """Seconds of waiting for workers that had been there before, and seconds in which there was work."""
    peak = max((s.nthreads for s in load), default=0)
    waited = worked = 0.0
    for s, later in itertools.pairwise(load):
        span = max(0.0, min(later.time - s.time, 10.0))
        if s.tasks_waiting + s.tasks_processing <= 0:
            continue
        worked += span
        # What waits beyond the threads that are there would run on those that went
        wanted = min(peak, s.tasks_waiting + s.tasks_processing)
        if s.time >= since and wanted > s.nthreads:
            waited += span * (wanted - s.nthreads) / wanted
    return waited, worked


def _chart(changes: Sequence[WorkerChange]) -> Chart:
    shown = changes[-100:]
    return Chart(
        kind="lines",
        title="Workers",
        unit="count",
        x=tuple(c.time for c in shown),
        series=(Series(name="workers", values=tuple(float(c.n_workers) for c in shown)),),
    )


def _fixes(made: creation.Creation | None, cluster: Cluster, typical: float, most: int) -> tuple[Fix, ...]:
    title = "Let idle workers wait for a minute before they go"
    life = words.seconds(typical)
    expect = f"workers live on over pauses of up to {words.seconds(PATIENCE)}, instead of {life} in all"
    options = {"wait_count": str(PATIENCE)}
    if made is not None:
        if any(k.arg == "interval" for k in made.call.keywords):
            options["interval"] = '"1s"'
        fix = creation.set_options(made, options, title=title, expect=expect)
        if fix is not None:
            return (fix,)
    whole = calls.expression(cluster)
    if whole is None:
        return ()
    text = f'{whole}.adapt(minimum=1, maximum={most}, interval="1s", wait_count={PATIENCE})'
    return (fixes.advice(text, title=title, expect=expect),)
