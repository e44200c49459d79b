"""One partition holds many times more than the others.

## Why it matters
A computation is done when its largest partition is done. While one thread works on that partition the
others have nothing left to do, and the worker that holds it needs memory for it at once. More workers do
not help.

## Anti-pattern
    orders = orders.set_index("shop")              # one shop has 90 % of the orders
    orders.map_partitions(score).sum().compute()   # one thread does 90 % of the work

## Best practice
    orders = dd.concat([
        orders.partitions[:17],
        orders.partitions[17].clear_divisions().repartition(npartitions=19),
        orders.partitions[18:],
    ])

Only the large partition is cut, by rows; the order of rows stays. `orders.repartition(npartitions=N)` does
not cure it: with unknown divisions it cuts *every* partition into the same number of pieces, with known
ones it cuts by index values, which leaves a frequent value in one piece.

After a `merge` the cause is a frequent key: all its rows go to one partition. Where the other side is small, join
with it whole, and no row moves:

    orders.merge(shops.repartition(npartitions=1), on="shop")

Where both sides are large, spread the key by a second one that is counted up, with as many copies of the other
side. After a `groupby(...).apply(...)` on a frequent key, aggregate twice.

## How it is known
The bytes of the finished partitions, as the workers told the scheduler, and of what is held in memory the rows and
the value that most rows of the largest partition share. It speaks when the largest of at
least 8 partitions has at least 4 times the median *and* at least 64 MiB or 10 % of a worker's memory. The
loss is reckoned: `(largest / total) × W − W / threads` seconds, where `W` are the measured thread-seconds
of the tasks that took these partitions as input, or, without a variable, made them from others: the time
that one thread needs for its share, less the time that an even split would take; never more than the
computation lasted. It is a warning when that is at least 1 s and 5 % of the computation, or when a worker's
memory came within 20 % of its limit meanwhile; critical when the memory did and the ratio is at least 10.
Without either it is only worth knowing. Where only rows are uneven, or the bytes are few, it speaks only of a loss, and
only when a task was seen to take half as long as that.

## When it stays quiet
Fewer than 8 partitions; a short last partition; small data; results of reductions, joins' transfers and
other helper tasks, which are uneven by nature; futures from `submit` and `map`, where unlike calls share
one name; data whose size was not seen. A frame made from a skewed one is not named again. Do not follow it
when the uneven cut has a meaning, such as one file per partition that is written back, or when the
partition is never computed on.

## Fix safety
Needs review. The rows and their order stay the same, but divisions become unknown (a later `loc` or a join
on the index is slower) and `npartitions` changes. While both versions are held the data of the cut
partitions is in memory twice. It is not inserted when there is no room for that. A lazy frame is persisted
first: three slices of a lazy shuffle would run it three times. A join with a side in one partition gives the same
rows in another order; it is offered where that side has less than 100 MiB and a twentieth of a worker's memory,
and a quarter of the other side at most. The code that spreads a key is only shown.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#repartition-to-reduce-overhead
https://github.com/dask/dask/issues/8769
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ... import words
from ...judging import runs, uneven
from ...judging.uneven import Stake
from ...remedies import joins, offers
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series, Severity, Unit
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    HotKey,
    Load,
    Location,
    PartitionSizes,
    TaskGroup,
    TaskPrefix,
    Worker,
)
from ...words import MiB
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Fewer partitions than this are too few to speak of a typical one (Dr. Elephant: 10 tasks).
    npartitions: int = 8
    #: Largest over median from which it speaks (spark-advisor: 5; Dr. Elephant: 3.2 severe).
    ratio: float = 4.0
    #: Largest over median from which it is critical when memory is in danger too (DataFlint: 10).
    severe_ratio: float = 10.0
    #: Bytes: a largest partition below this matters to nobody (Dr. Elephant: 100 MB) ...
    partition_nbytes: int = 64 * MiB
    #: ... unless it is this share of a worker's memory limit.
    limit_share: float = 0.10
    #: Seconds that must be lost for a warning, and their share of what the computation took.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Share of a worker's memory limit from which its memory counts as in danger.
    memory_share: float = 0.80
    #: Share of the rows of a partition from which a value counts as its hot key.
    hot_share: float = 0.5
    #: Of rows that are uneven while the bytes are even: how much of the time that one thread would need for
    #: its share the longest task must really have taken.
    seen_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Skew:
    """Uneven partitions of one collection or of one kind of tasks."""

    name: str
    #: As a sentence names it.
    shown: str
    sizes: PartitionSizes
    #: Rows instead of bytes; None when not known.
    rows: PartitionSizes | None = None
    hot: HotKey | None = None
    #: `sizes` are the rows: the bytes are even.
    is_rows: bool = False


def _measure(
    subject: str,
    at: Location | None,
    *,
    collections: tuple[Collection, ...],
    groups: tuple[TaskGroup, ...],
    **_: object,
) -> tuple[Measure, ...]:
    for c in collections:
        if c.name == subject and c.sizes is not None:
            return (Measure(label="largest partition", value=c.sizes.largest, unit="bytes"),)
    seen = [g.sizes.largest for g in groups if g.prefix == subject and g.sizes is not None]
    return (Measure(label="largest partition", value=seen[-1], unit="bytes"),) if seen else ()


@rule(
    id="partition-skew",
    title="One partition holds most of the data",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections", "groups"),
    yields_to={"killed-worker": "cell"},
    measure=_measure,
)
def partition_skew(
    collections: tuple[Collection, ...],
    groups: tuple[TaskGroup, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    workers: tuple[Worker, ...],
    limit: Thresholds,
    prefixes: tuple[TaskPrefix, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    recent = runs.newest(computations, code)
    workings = uneven.workings(groups)
    told: set[str] = set()  # names of task groups
    for c in sorted(collections, key=lambda c: len(c.names)):
        if c.group is None or c.sizes is None or c.sizes.n < limit.npartitions:
            continue
        if c.group in told or any(group in c.names for group in told):
            continue  # another name for it, or made from it: one cause
        rows = uneven.rows(c)
        if _is_skewed(c.sizes, workers, limit):
            # A cut of what is there helps those that read it, not the one that made it
            stake = uneven.worst(
                [*uneven.stakes(c.group, c.sizes, recent, workings, workers, is_made_there=False)]
            )
            skew = _Skew(
                name=c.name, shown=words.code(c.name), sizes=c.sizes, rows=rows, hot=_hot(c, c.sizes, limit)
            )
        elif rows is not None and rows.largest >= limit.ratio * max(1, rows.median):
            # Bytes are even, or few: only what was seen to take long is worth a word
            stake = uneven.worst(
                [*uneven.stakes(c.group, rows, recent, workings, workers, is_made_there=False)]
            )
            seen = uneven.longest(c.group, recent, workings, prefixes)
            if not _costs(stake, limit) or seen is None or seen < limit.seen_share * stake.loss:
                continue
            skew = _Skew(
                name=c.name,
                shown=words.code(c.name),
                sizes=rows,
                rows=rows,
                hot=_hot(c, rows, limit),
                is_rows=True,
            )
        else:
            continue
        told.add(c.group)
        offered = _fixes(c, skew, collections, cluster, workers, load, code, stake.at)
        yield _finding(skew, limit, workers, stake, offered, at=stake.at or c.at)
    ids = {c.id for c in recent}
    by_name = {g.name: g for g in groups}
    for g in groups:
        if g.computation_id not in ids or g.sizes is None or not uneven.is_data(g):
            continue
        if not _is_skewed(g.sizes, workers, limit) or uneven.comes_from(g, told, by_name):
            continue
        if not any(x.name != g.name for x in workings.get(g.name, {}).get(g.computation_id, ())):
            continue  # nothing there works on it: it was asked for, and is a collection's if it still matters
        stake = uneven.worst([*uneven.stakes(g.name, g.sizes, recent, workings, workers, is_made_there=True)])
        if not (_costs(stake, limit) or stake.memory >= limit.memory_share):
            continue  # what is on its way to something else is only worth a word when it costs
        told.add(g.name)
        at = stake.at or next((c.at for c in recent if c.id == g.computation_id), None)
        skew = _Skew(name=g.prefix, shown=f"the {words.code(g.prefix)} tasks", sizes=g.sizes)
        joined = (
            joins.join(runs.cell_at(code, at), None) if "merge" in g.prefix or "join" in g.prefix else None
        )
        offered = _join_fixes(joined, skew, collections, workers, at)
        yield _finding(skew, limit, workers, stake, offered, at=at)


def _hot(c: Collection, sizes: PartitionSizes, limit: Thresholds) -> HotKey | None:
    """The value that fills the large partition."""
    hot = c.held.hot if c.held is not None else None
    if hot is None or hot.share < limit.hot_share or hot.partition != sizes.largest_index:
        return None
    return hot


def _is_skewed(sizes: PartitionSizes, workers: tuple[Worker, ...], limit: Thresholds) -> bool:
    if sizes.n < limit.npartitions or sizes.largest_index is None:
        return False
    room = [w.memory_limit for w in workers if w.memory_limit]
    floor = min(limit.partition_nbytes, limit.limit_share * min(room)) if room else limit.partition_nbytes
    return sizes.largest >= floor and sizes.largest >= limit.ratio * max(1, sizes.median)


def _costs(stake: Stake, limit: Thresholds) -> bool:
    return stake.loss >= limit.loss_seconds and stake.loss >= limit.loss_share * stake.of


def _fixes(
    c: Collection,
    skew: _Skew,
    collections: tuple[Collection, ...],
    cluster: Cluster,
    workers: tuple[Worker, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    # Rows instead of bytes are cut where both are told in the same order
    sizes = c.sizes
    if sizes is None or (skew.is_rows and len(skew.sizes.values) != skew.sizes.n):
        return ()
    if skew.is_rows:
        each = sizes.total / max(1, skew.sizes.total)
        sizes = PartitionSizes(
            n=skew.sizes.n,
            total=sizes.total,
            median=int(skew.sizes.median * each),
            p95=int(skew.sizes.p95 * each),
            largest=int(skew.sizes.largest * each),
            largest_index=skew.sizes.largest_index,
            values=tuple(int(v * each) for v in skew.sizes.values),
        )
    cut = offers.cut_large(c, sizes, cluster=cluster, load=load, code=code, ailing=ailing)
    joined = joins.join(runs.cell_at(code, c.at), c.name)
    if joined is None or (skew.hot is not None and skew.hot.column not in joined.on):
        return cut
    # The join made it uneven: done in another way there is nothing to cut
    return (*_join_fixes(joined, skew, collections, workers, ailing), *cut)


def _join_fixes(
    joined: joins.Join | None,
    skew: _Skew,
    collections: tuple[Collection, ...],
    workers: tuple[Worker, ...],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    if joined is None:
        return ()
    ratio = skew.sizes.largest / max(1, skew.sizes.median)
    whole = joins.broadcast(joined, collections, workers, ailing=ailing)
    return whole or joins.salted(joined, collections, ratio)


def _finding(
    skew: _Skew,
    limit: Thresholds,
    workers: tuple[Worker, ...],
    stake: Stake,
    offered: tuple[Fix, ...],
    at: Location | None,
) -> Finding:
    sizes, shown, hot = skew.sizes, skew.shown, skew.hot
    unit: Unit = "count" if skew.is_rows else "bytes"
    ratio = sizes.largest / max(1, sizes.median)
    costs = _costs(stake, limit)
    is_full = stake.memory >= limit.memory_share
    severity: Severity = "warning" if costs or is_full else "info"
    if is_full and ratio >= limit.severe_ratio:
        severity = "critical"
    evidence = [
        Evidence(
            label=f"largest partition{', rows' if skew.is_rows else ''}", value=sizes.largest, unit=unit
        ),
        Evidence(label=f"median partition{', rows' if skew.is_rows else ''}", value=sizes.median, unit=unit),
        Evidence(label="largest over median", value=round(ratio, 1), unit="ratio", limit=limit.ratio),
        Evidence(
            label="share of all rows" if skew.is_rows else "share of all data",
            value=sizes.largest / max(1, sizes.total),
            unit="share",
        ),
    ]
    index = sizes.largest_index or ""
    place = int(index) if index.isdecimal() else None
    rows = (
        skew.rows
        if not skew.is_rows and skew.rows is not None and len(skew.rows.values) == skew.rows.n
        else None
    )
    own_rows = rows.values[place] if rows is not None and place is not None and place < rows.n else None
    if rows is not None and own_rows is not None:
        evidence.append(Evidence(label="its rows", value=own_rows, unit="count"))
        evidence.append(Evidence(label="rows of the median", value=rows.median, unit="count"))
    if hot is not None:
        evidence.append(Evidence(label=f"rows with one {hot.column[:40]}", value=hot.share, unit="share"))
    if costs:
        evidence.append(
            Evidence(
                label="waiting for one thread",
                value=stake.loss,
                unit="seconds",
                is_estimated=True,
                limit=max(limit.loss_seconds, limit.loss_share * stake.of),
            )
        )
    if stake.peak is not None and is_full:
        room = min(w.memory_limit for w in workers if w.memory_limit)
        evidence.append(
            Evidence(
                label="peak memory of a worker",
                value=stake.peak,
                unit="bytes",
                limit=limit.memory_share * room,
            )
        )
    if sizes.median * 20 < sizes.total / sizes.n:
        of = "rows" if skew.is_rows else "data"
        held = f"{words.share(sizes.largest / sizes.total)} of the {of} in {sizes.n} partitions"
    else:
        held = f"{words.times(ratio)} the median"
    amount = [words.value(n, unit) for n in (sizes.largest, sizes.median)]
    why = "The computation lasts as long as its largest partition: "
    why += "meanwhile the other threads have nothing to do."
    if costs:
        why += f" One thread worked about {words.seconds(stake.loss)} longer than an even split would take."
    if hot is not None:
        why += (
            f" {words.share(hot.share)} of its rows have {words.code(hot.value)} in {words.code(hot.column)}: "
            "all rows of one value come into one partition."
        )
    elif rows is not None and own_rows is not None and own_rows < 2 * rows.median:
        why += " It has hardly more rows than the others: its rows are larger."
    return partition_skew.finding(
        severity=severity,
        subject=skew.name,
        message=f"Partition {sizes.largest_index} of {shown} holds {held}: "
        f"{amount[0]}{' rows' if skew.is_rows else ''}, median {amount[1]}.",
        why=why,
        evidence=tuple(evidence),
        charts=tuple(
            _chart(shown, s, u)
            for s, u in ((sizes, unit), (rows, "count" if rows is not None else unit))
            if s is not None
        ),
        at=at,
        fixes=offered,
        loss_seconds=stake.loss if costs else None,
        of_seconds=stake.of if costs else None,
    )


def _chart(shown: str, sizes: PartitionSizes, unit: Unit) -> Chart:
    in_order = len(sizes.values) == sizes.n
    index = sizes.largest_index or ""
    name = "rows" if unit == "count" else "bytes"
    title = f"{name.capitalize()} per partition of {shown}"
    return Chart(
        kind="bars",
        title=title if in_order else f"{title}, ascending",
        unit=unit,
        series=(Series(name=name, values=tuple(float(v) for v in sizes.values)),),
        labels=tuple(str(i) for i in range(len(sizes.values))) if in_order else (),
        limits=(Limit(name="median", value=float(sizes.median)),),
        highlight=int(index) if in_order and index.isdecimal() else None,
    )
