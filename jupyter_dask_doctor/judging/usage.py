"""How the cluster's threads were used while a cell ran: several rules ask the same here."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..report import Measure
from ..snapshot import Activity, Cell, Computation, Load, Location, MemorySample, TaskGroup, Worker
from . import runs

#: Two points of the load that lie further apart say nothing of the time between them.
_MAX_STEP = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one run of one cell had the cluster do."""

    #: At least one, in the order in which they were sent.
    computations: tuple[Computation, ...]
    #: When its tasks ran, from the first start to the last stop, merged and ascending.
    spans: tuple[tuple[float, float], ...]
    is_done: bool

    @property
    def at(self) -> Location | None:
        return self.computations[0].at

    @property
    def seconds(self) -> float:
        """How long its tasks ran, by the clock."""
        return sum(stop - start for start, stop in self.spans)

    @property
    def thread_seconds(self) -> float | None:
        """None when it is unknown of one of its computations."""
        known = [c.thread_seconds for c in self.computations if c.thread_seconds is not None]
        return sum(known) if len(known) == len(self.computations) else None

    @property
    def nthreads(self) -> int:
        return max(c.nthreads for c in self.computations)

    @property
    def n_tasks(self) -> int:
        return sum(c.n_tasks for c in self.computations)


def works(computations: Iterable[Computation], code: Sequence[Cell], load: Sequence[Load]) -> list[Work]:
    """The last run of each cell, and computations that no cell is known of, each for itself."""
    now = load[-1].time if load else None
    by_run: dict[object, list[Computation]] = {}
    for c in runs.newest(computations, code):
        at = c.at
        key = c.id if at is None else (at.cell_id, at.execution_count)
        by_run.setdefault(key, []).append(c)
    found = []
    for own in by_run.values():
        spans = [span for c in own if (span := _span(c, now)) is not None]
        if spans:
            own.sort(key=lambda c: c.submitted)
            found.append(
                Work(computations=tuple(own), spans=_merged(spans), is_done=all(c.is_done for c in own))
            )
    return found


def is_alone(work: Work, others: Iterable[Work]) -> bool:
    """Did no other cell have the cluster work at the same time, but for a tenth of the time?"""
    shared = sum(
        max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        for other in others
        if other is not work
        for a in work.spans
        for b in other.spans
    )
    return shared <= 0.1 * work.seconds


def trimmed(work: Work, share: float, seconds: float) -> tuple[tuple[float, float], ...]:
    """Its spans without the first and the last part of each: `share` of it, at the start at least `seconds`."""
    found = []
    for start, stop in work.spans:
        length = stop - start
        first, last = start + max(seconds, share * length), stop - share * length
        if last > first:
            found.append((first, last))
    return tuple(found)


def steps(load: Sequence[Load], spans: Sequence[tuple[float, float]]) -> list[tuple[Load, float]]:
    """The points of the load within spans that do not overlap, each with the seconds up to the next one."""
    found = []
    for start, stop in spans:
        for one, later in itertools.pairwise(_within(load, start, stop)):
            seconds = later.time - one.time
            if 0 < seconds <= _MAX_STEP:
                found.append((one, seconds))
    return found


def samples(worker: Worker, spans: Sequence[tuple[float, float]]) -> list[MemorySample]:
    """Those within spans that do not overlap."""
    return [sample for start, stop in spans for sample in _within(worker.samples, start, stop)]


_T = TypeVar("_T", Load, MemorySample)


def _within(points: Sequence[_T], start: float, stop: float) -> Sequence[_T]:
    """Those of this time; they stand oldest first."""
    if not points or start > points[-1].time or stop < points[0].time:
        return ()
    first = bisect.bisect_left(points, start, key=lambda point: point.time)
    return points[first : bisect.bisect_right(points, stop, first, key=lambda point: point.time)]


def groups_of(work: Work, groups: Iterable[TaskGroup]) -> list[TaskGroup]:
    ids = {c.id for c in work.computations}
    return [g for g in groups if g.computation_id in ids]


def by_computation(groups: Iterable[TaskGroup]) -> dict[str, list[TaskGroup]]:
    """All groups, sorted once for rules that look at each work: `own_groups`."""
    found: dict[str, list[TaskGroup]] = {}
    for g in groups:
        found.setdefault(g.computation_id, []).append(g)
    return found


def own_groups(work: Work, grouped: Mapping[str, list[TaskGroup]]) -> list[TaskGroup]:
    return [g for c in work.computations for g in grouped.get(c.id, ())]


def heaviest(groups: Iterable[TaskGroup], work: Work) -> str:
    """The prefix that most thread-seconds went into; else the one with most tasks."""
    seconds = Counter[str]()
    for g in groups:
        seconds[g.prefix] += max(0.0, g.compute_seconds or 0.0)  # type: ignore[assignment]
    if seconds and seconds.most_common(1)[0][1] > 0:
        return seconds.most_common(1)[0][0]
    tasks = Counter[str]()
    for c in work.computations:
        tasks.update(dict(c.layers))
    return tasks.most_common(1)[0][0] if tasks else "tasks"


def activities(work: Work) -> tuple[Activity, ...] | None:
    """What its computations brought with them, summed up; None when that is not told of any of them.

    Contexts other than "execute" count for all that ran at the time: of computations that ran together only
    those with most are taken.
    """
    if any(c.activity is None for c in work.computations):
        return None
    total: dict[tuple[str, str | None, str], list[float]] = {}
    last: dict[tuple[str, str | None, str], tuple[float, list[float]]] = {}
    for c in work.computations:
        start, stop = c.start or c.submitted, c.stop if c.stop is not None else float("inf")
        for a in c.activity or ():
            key, values = (a.context, a.prefix, a.label), [a.seconds, a.nbytes, a.count]
            sums = total.setdefault(key, [0.0, 0.0, 0.0])
            if key in last and start < last[key][0]:
                before = last[key][1]
                grown = [max(0.0, new - old) for new, old in zip(values, before, strict=True)]
                last[key] = max(stop, last[key][0]), [max(p) for p in zip(values, before, strict=True)]
            else:
                grown = values
                last[key] = stop, values
            for i, value in enumerate(grown):
                sums[i] += max(0.0, value)
    return tuple(
        Activity(context=context, prefix=prefix, label=label, seconds=s, nbytes=int(nbytes), count=int(count))
        for (context, prefix, label), (s, nbytes, count) in total.items()
    )


def _span(c: Computation, now: float | None) -> tuple[float, float] | None:
    if c.start is None:
        return None
    stop = c.stop if c.stop is not None else now if not c.is_done else None
    return (c.start, stop) if stop is not None and stop > c.start else None


def _merged(spans: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    found: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return tuple(found)


def idle_share(work: Work) -> float | None:
    """Share of the threads' time that no task had; None when the work is not known."""
    spent = work.thread_seconds
    if spent is None or work.seconds <= 0 or work.nthreads < 1:
        return None
    return min(1.0, max(0.0, 1 - spent / (work.nthreads * work.seconds)))


def last_done(
    at: Location | None, computations: Iterable[Computation], code: Sequence[Cell], load: Sequence[Load]
) -> Work | None:
    """The last run of the ailing cell; None when there is none, or while it still runs."""
    found = [w for w in works(computations, code, load) if runs.same_cell(w.at, at)]
    return found[-1] if found and found[-1].is_done else None


def time_of_tasks(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    """What rules on lost time compare: how long the last run of the ailing cell had tasks to do."""
    work = last_done(at, computations, code, load)
    return () if work is None else (Measure(label="time of its tasks", value=work.seconds, unit="seconds"),)
