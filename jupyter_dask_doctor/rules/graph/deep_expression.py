"""Hundreds of steps stand one upon the other, and optimizing them takes seconds or fails.

## Why it matters
Before anything is sent, Dask walks the whole tree of steps of a dataframe many times over. That grows with the
square of their number: 50 columns added one after the other take 2 s, 100 take 4 s, 200 take 17 s and 300 a
minute, each time that something is computed, and whatever the size of the data. Other chains end before that:
150 filters or 200 calls of `map_partitions`, one upon the other, fail with a RecursionError.

## Anti-pattern
    for lag in range(1, 101):
        df[f"lag_{lag}"] = df["price"] - lag

## Best practice
    df = df.assign(**{f"lag_{lag}": df["price"] - lag for lag in range(1, 101)})

Or do the steps on each partition, in pandas, as a function of your own for `map_partitions`: for Dask that is one
step. `persist()` in the middle of a long chain cuts it as well, where the data fit in memory.

## How it is known
From the number of steps in the trees of the notebook's collections, before anything runs: optimizing takes at
least 45 µs times the square of their number (measured on Dask 2026.8.0: from 45 to 120 µs), and arrays 1 µs. From
then on from what the main thread was seen to do: the seconds in Dask's optimizer, and a cell that ended in a
RecursionError. That one is to be expected from 150 steps of one kind on, `assign` left aside.

## When it stays quiet
Below 60 steps; when less than 2 s are to be expected and none were seen; for collections whose steps have not
been counted and for trees that are wide and not deep, such as one `assign` of 200 columns (20 ms) or `concat` of
200 frames (1 s).

## Fix safety
Needs review: in one `assign` all new columns are made from the frame as it was before; in `map_partitions` each
partition is on its own, so that steps which look at their neighbours (shift, cumsum, groupby) give other results.

## References
https://docs.dask.org/en/stable/dataframe-optimizer.html
https://docs.dask.org/en/stable/best-practices.html#avoid-very-large-graphs
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.assign.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import fixes, loops
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Load, Location, Phase
from ..registry import rule

_FRAMES = frozenset({"dataframe", "series", "index"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Steps below which nothing is said (20 chained assigns, 61 steps, take half a second).
    n_steps: int = 62
    #: Steps of which at least this share must stand one upon the other: a wide tree costs little.
    deep_share: float = 0.25
    #: Seconds of optimizing that make it a warning: expected (as squares of steps tell), or seen.
    loss_seconds: float = 2.0
    #: Microseconds for each square of the number of steps: dataframes (measured 45 to 120) and all others (1.1).
    frame_microseconds: float = 45.0
    layer_microseconds: float = 1.0
    #: Steps of one kind, one upon the other, from which a RecursionError is to be expected (measured: none at 100;
    #: at 150 of filters and at 200 of `map_partitions` and of sums; none at 300 of `assign`).
    same_steps: int = 150


def _measure(
    subject: str, at: Location | None, *, collections: tuple[Collection, ...], **_: object
) -> tuple[Measure, ...]:
    for c in collections:
        if c.name == subject and c.n_steps is not None:
            return (Measure(label="steps", value=c.n_steps, unit="count"),)
    return ()


@rule(
    id="deep-expression",
    title="Too many steps one upon the other",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections",),
    has_stake=False,
    measure=_measure,
)
def deep_expression(
    collections: tuple[Collection, ...],
    limit: Thresholds,
    cluster: Cluster | None = None,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    phases: tuple[Phase, ...] = (),
) -> Iterator[Finding]:
    deep = [c for c in collections if not c.is_persisted and _is_deep(c, limit)]
    told: list[Collection] = []
    # What others are made from has fewer steps than these, and it is what must change
    for c in sorted(deep, key=lambda c: c.n_steps or 0):
        if any(_is_made_from(c, other, code) for other in told):
            continue
        expected = _expected(c, limit)
        family = [c, *(d for d in deep if d is not c and _is_made_from(d, c, code))]
        seen = _seen(family, phases, code)
        failed = _failed(family, code)
        may_fail = _same_steps(c) >= limit.same_steps
        if not failed and not may_fail and max(expected, seen) < limit.loss_seconds:
            continue
        told.append(c)
        # `df[column] = ...` in a loop binds no variable: that cell is the ailing one all the same
        cell = loops.last_loop(code, c.name) or runs.cell_at(code, c.at)
        at = Location(cell_id=cell.id, execution_count=cell.execution_count) if cell is not None else c.at
        yield _finding(c, expected, seen, failed, may_fail, limit, at, _fixes(c, cell, at, cluster, load))


def _is_deep(c: Collection, limit: Thresholds) -> bool:
    if c.n_steps is None or c.n_steps < limit.n_steps:
        return False
    return c.depth is None or c.depth >= limit.deep_share * c.n_steps


def _expected(c: Collection, limit: Thresholds) -> float:
    each = limit.frame_microseconds if c.kind in _FRAMES else limit.layer_microseconds
    return each * 1e-6 * (c.n_steps or 0) ** 2


def _same_steps(c: Collection) -> int:
    """How many steps of the most frequent kind it has, but for those that do no harm."""
    if c.kind not in _FRAMES or not c.names or not c.n_steps:
        return 0
    kinds = Counter(name.rpartition("-")[0] for name in c.names)
    n = max(kinds.values())
    if kinds["assign"] * 2 >= n:
        return 0
    return round(n * c.n_steps / len(c.names))


def _is_made_from(c: Collection, other: Collection, code: Sequence[Cell]) -> bool:
    """By its steps, else (of a very long list of steps only the last are known) by what its cell speaks of."""
    if runs.is_made_from(c, other):
        return True
    if (c.n_steps or 0) < (other.n_steps or 0):
        return False
    return runs.same_cell(c.at, other.at) or bool(runs.spoken_of(runs.cell_at(code, c.at), (other,)))


def _seen(family: Sequence[Collection], phases: Sequence[Phase], code: Sequence[Cell]) -> float:
    """Seconds of optimizing, in the last run of the cells that speak of it."""
    spent = 0.0
    for p in phases:
        cell = runs.cell_at(code, p.at)
        if p.kind != "optimizing" or p.stop is None or cell is None or runs.is_before(p.start, cell):
            continue
        if runs.spoken_of(cell, family) and not any(runs.is_before(p.start, _bound(c, code)) for c in family):
            spent += p.stop - p.start
    return spent


def _bound(c: Collection, code: Sequence[Cell]) -> Cell | None:
    return runs.cell_at(code, c.at)


def _failed(family: Sequence[Collection], code: Sequence[Cell]) -> Location | None:
    """A cell that ended in a RecursionError, since these were bound."""
    for cell in code:
        # The scheduler's own comes as an Exception that quotes it
        is_it = cell.error == "RecursionError" or "maximum recursion depth exceeded" in cell.error_text
        if not is_it or not cell.has_failed or cell.started is None or not runs.spoken_of(cell, family):
            continue
        if not any(runs.is_before(cell.started, _bound(c, code)) for c in family):
            return Location(cell_id=cell.id, execution_count=cell.execution_count)
    return None


def _finding(
    c: Collection,
    expected: float,
    seen: float,
    failed: Location | None,
    may_fail: bool,
    limit: Thresholds,
    at: Location | None,
    offered: tuple[Fix, ...],
) -> Finding:
    name = words.code(c.name)
    steps = words.count(c.n_steps or 0, "step")
    severity: Severity = "critical" if failed is not None else "warning"
    if failed is not None:
        where = f"[{failed.execution_count}]" if failed.execution_count is not None else "its computation"
        message = f"{name} has {steps}, one upon the other: {where} ended in a RecursionError."
    elif seen >= limit.loss_seconds:
        message = f"{name} has {steps}, one upon the other: optimizing them took {words.seconds(seen)}."
    elif may_fail:
        message = f"{name} has {steps}, one upon the other: computing it may end in a RecursionError."
    else:
        message = (
            f"{name} has {steps}, one upon the other: optimizing them takes ≈ {words.seconds(expected)} "
            "each time that it is computed."
        )
    why = (
        "Dask walks all steps many times before it sends anything: twice as many steps take four times as long. "
        "The threads of the cluster wait meanwhile, however small the data are."
    )
    evidence = [Evidence(label="steps", value=c.n_steps or 0, unit="count", limit=limit.n_steps)]
    if seen:
        evidence.append(Evidence(label="optimizing", value=seen, unit="seconds", limit=limit.loss_seconds))
    evidence.append(
        Evidence(
            label="optimizing, as expected",
            value=expected,
            unit="seconds",
            limit=limit.loss_seconds,
            is_estimated=True,
        )
    )
    if c.depth is not None:
        evidence.append(Evidence(label="one upon the other", value=c.depth, unit="count"))
    return deep_expression.finding(
        severity=severity,
        subject=c.name,
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=at or failed,
        fixes=offered,
        loss_seconds=seen or expected,
    )


def _fixes(
    c: Collection, cell: Cell | None, at: Location | None, cluster: Cluster | None, load: Sequence[Load]
) -> tuple[Fix, ...]:
    if not fixes.is_name(c.name):
        return ()
    found: list[Fix] = []
    if cell is not None and c.kind in _FRAMES:
        found += loops.joined(cell, c, rerun=at)
    if cluster is not None and c.nbytes is not None and fixes.has_room(c.nbytes.nbytes, cluster, load):
        found.append(
            fixes.advice(
                fixes.persist(c.name) + "  # in the middle of the chain: what follows starts anew from here",
                title=f"Keep {words.code(c.name)} on the workers half way",
                expect=f"half of the steps each time, a quarter of the time; {words.nbytes(c.nbytes.nbytes)} in memory",
            )
        )
    return tuple(found)
