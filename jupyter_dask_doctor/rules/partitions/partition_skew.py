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
ones it cuts by index values, which leaves a frequent value in one piece. After a `merge` or `groupby` the
cause is a frequent key: join it on its own, or add a random second key and aggregate twice.

## How it is known
The bytes of the finished partitions, as the workers told the scheduler. It speaks when the largest of at
least 8 partitions has at least 4 times the median *and* at least 64 MiB or 10 % of a worker's memory. The
loss is reckoned: `(largest / total) × W − W / threads` seconds, where `W` are the measured thread-seconds
of the tasks that took these partitions as input, or, without a variable, made them from others: the time
that one thread needs for its share, less the time that an even split would take; never more than the
computation lasted. It is a warning when that is at least 1 s and 5 % of the computation, or when a worker's
memory came within 20 % of its limit meanwhile; critical when the memory did and the ratio is at least 10.
Without either it is only worth knowing.

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
first: three slices of a lazy shuffle would run it three times.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#repartition-to-reduce-overhead
https://github.com/dask/dask/issues/8769
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ... import runs, words
from ...remedies import offers
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series, Severity
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    Location,
    PartitionSizes,
    TaskGroup,
    Worker,
)
from ...words import MiB
from ..registry import rule

# Helper tasks whose outputs are uneven, or tiny, by nature.
_HELPERS = (
    "aggregate",
    "barrier",
    "chunk",
    "combine",
    "concatenate",
    "finalize",
    "getitem",
    "split",
    "transfer",
    "tree",
    "repartitiontofewer",
    "p2p",
)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stake:
    """What it cost in the last run of one cell."""

    at: Location | None
    loss: float = 0.0
    of: float = 0.0
    #: Highest share of a worker's limit that was in use.
    memory: float = 0.0
    peak: int | None = None


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
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    recent = runs.newest(computations, code)
    workings = _workings(groups)
    told: set[str] = set()  # names of task groups
    for c in sorted(collections, key=lambda c: len(c.names)):
        if c.group is None or c.sizes is None or not _is_skewed(c.sizes, workers, limit):
            continue
        if c.group in told or any(group in c.names for group in told):
            continue  # another name for it, or made from it: one cause
        told.add(c.group)
        # A cut of what is there helps those that read it, not the one that made it
        stake = _worst([*_stakes(c.group, c.sizes, recent, workings, workers, is_made_there=False)])
        cut = offers.cut_large(c, c.sizes, cluster=cluster, load=load, code=code, ailing=stake.at)
        yield _finding(c.name, words.code(c.name), c.sizes, limit, workers, stake, cut, at=stake.at or c.at)
    ids = {c.id for c in recent}
    by_name = {g.name: g for g in groups}
    for g in groups:
        if g.computation_id not in ids or g.sizes is None or not _is_data(g):
            continue
        if not _is_skewed(g.sizes, workers, limit) or _comes_from(g, told, by_name):
            continue
        if not any(x.name != g.name for x in workings.get(g.name, {}).get(g.computation_id, ())):
            continue  # nothing there works on it: it was asked for, and is a collection's if it still matters
        stake = _worst([*_stakes(g.name, g.sizes, recent, workings, workers, is_made_there=True)])
        if not (_costs(stake, limit) or stake.memory >= limit.memory_share):
            continue  # what is on its way to something else is only worth a word when it costs
        told.add(g.name)
        at = stake.at or next((c.at for c in recent if c.id == g.computation_id), None)
        yield _finding(
            g.prefix, f"the {words.code(g.prefix)} tasks", g.sizes, limit, workers, stake, (), at=at
        )


def _is_skewed(sizes: PartitionSizes, workers: tuple[Worker, ...], limit: Thresholds) -> bool:
    if sizes.n < limit.npartitions or sizes.largest_index is None:
        return False
    room = [w.memory_limit for w in workers if w.memory_limit]
    floor = min(limit.partition_nbytes, limit.limit_share * min(room)) if room else limit.partition_nbytes
    return sizes.largest >= floor and sizes.largest >= limit.ratio * max(1, sizes.median)


def _is_data(group: TaskGroup) -> bool:
    if group.name == group.prefix:  # no token: submit or map, where unlike calls share one name
        return False
    return not any(word in group.prefix.lower() for word in _HELPERS)


def _comes_from(group: TaskGroup, told: set[str], by_name: dict[str, TaskGroup]) -> bool:
    """Is it one that was named already, or made from one in at most 20 steps?"""
    seen, todo = {group.name}, [group.name]
    for _ in range(20):
        if told & set(todo):
            return True
        todo = [d for name in todo if name in by_name for d in by_name[name].dependencies if d not in seen]
        seen.update(todo)
    return False


def _workings(groups: tuple[TaskGroup, ...]) -> dict[str, dict[str, list[TaskGroup]]]:
    """By the name of a task group and by computation: the groups that take its outputs as input.

    A group that is made from others is its own worker too: in a merge the large output is the long task.
    One that makes data out of nothing is not: no cut of what was read makes reading shorter.
    """
    found: dict[str, dict[str, list[TaskGroup]]] = {}
    for g in groups:
        for name in {*g.dependencies, *([g.name] if g.dependencies else ())}:
            found.setdefault(name, {}).setdefault(g.computation_id, []).append(g)
    return found


def _working(
    group: str, computation_id: str, workings: dict[str, dict[str, list[TaskGroup]]]
) -> list[TaskGroup]:
    """The groups whose tasks work on the partitions of `group`, one task each: those that take its outputs,
    and those that take theirs in turn with as many tasks. For `compute` puts a layer of aliases between
    what was persisted and the work, and sends the steps of the work one by one."""
    found = {g.name: g for g in workings.get(group, {}).get(computation_id, ())}
    todo = [g for g in found.values() if g.name != group]
    while todo:
        step = todo.pop()
        for g in workings.get(step.name, {}).get(computation_id, ()):
            if g.name not in found and g.n_tasks == step.n_tasks:
                found[g.name] = g
                todo.append(g)
    return list(found.values())


def _stakes(
    group: str,
    sizes: PartitionSizes,
    computations: tuple[Computation, ...],
    workings: dict[str, dict[str, list[TaskGroup]]],
    workers: tuple[Worker, ...],
    *,
    is_made_there: bool,
) -> Iterator[_Stake]:
    """What it cost in each computation. `is_made_there`: count the making of the partitions as well."""
    room = [w.memory_limit for w in workers if w.memory_limit]
    mine = workings.get(group, {})
    for c in computations:
        if c.id not in mine and group not in c.reused:
            continue
        lasted = runs.wall(c)
        working = [g for g in _working(group, c.id, workings) if is_made_there or g.name != group]
        known = [g.compute_seconds for g in working if g.compute_seconds is not None]
        work = sum(known) if known else c.thread_seconds if group in c.reused else None
        if not working and work is None:
            continue
        loss = 0.0
        if work is not None and lasted is not None and sizes.total > 0:
            even = work / max(1, c.nthreads)
            loss = max(0.0, min(lasted, work * sizes.largest / sizes.total) - even)
        peak = c.peak_worker_memory
        share = peak / min(room) if peak is not None and room else 0.0
        yield _Stake(at=c.at, loss=loss, of=lasted or 0.0, memory=share, peak=peak)


def _costs(stake: _Stake, limit: Thresholds) -> bool:
    return stake.loss >= limit.loss_seconds and stake.loss >= limit.loss_share * stake.of


def _worst(stakes: list[_Stake]) -> _Stake:
    """The cell that lost most; what several computations of one cell lost counts together."""
    cells: list[_Stake] = []
    for one in stakes:
        for i, other in enumerate(cells):
            if runs.same_cell(one.at, other.at):
                cells[i] = _Stake(
                    at=one.at,
                    loss=one.loss + other.loss,
                    of=one.of + other.of,
                    memory=max(one.memory, other.memory),
                    peak=max(filter(None, (one.peak, other.peak)), default=None),
                )
                break
        else:
            cells.append(one)
    return max(cells, key=lambda s: (s.loss, s.memory), default=_Stake(at=None))


def _finding(
    subject: str,
    shown: str,
    sizes: PartitionSizes,
    limit: Thresholds,
    workers: tuple[Worker, ...],
    stake: _Stake,
    offered: tuple[Fix, ...],
    at: Location | None,
) -> Finding:
    ratio = sizes.largest / max(1, sizes.median)
    costs = _costs(stake, limit)
    is_full = stake.memory >= limit.memory_share
    severity: Severity = "warning" if costs or is_full else "info"
    if is_full and ratio >= limit.severe_ratio:
        severity = "critical"
    evidence = [
        Evidence(label="largest partition", value=sizes.largest, unit="bytes"),
        Evidence(label="median partition", value=sizes.median, unit="bytes"),
        Evidence(label="largest over median", value=round(ratio, 1), unit="ratio", limit=limit.ratio),
        Evidence(label="share of all data", value=sizes.largest / max(1, sizes.total), unit="share"),
    ]
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
        held = f"{words.share(sizes.largest / sizes.total)} of the data in {sizes.n} partitions"
    else:
        held = f"{words.times(ratio)} the median"
    why = "The computation lasts as long as its largest partition: "
    why += "meanwhile the other threads have nothing to do."
    if costs:
        why += f" One thread worked about {words.seconds(stake.loss)} longer than an even split would take."
    return partition_skew.finding(
        severity=severity,
        subject=subject,
        message=f"Partition {sizes.largest_index} of {shown} holds {held}: "
        f"{words.nbytes(sizes.largest)}, median {words.nbytes(sizes.median)}.",
        why=why,
        evidence=tuple(evidence),
        charts=(_chart(shown, sizes),),
        at=at,
        fixes=offered,
        loss_seconds=stake.loss if costs else None,
        of_seconds=stake.of if costs else None,
    )


def _chart(shown: str, sizes: PartitionSizes) -> Chart:
    in_order = len(sizes.values) == sizes.n
    index = sizes.largest_index or ""
    return Chart(
        kind="bars",
        title=f"Bytes per partition of {shown}" if in_order else f"Bytes per partition of {shown}, ascending",
        unit="bytes",
        series=(Series(name="bytes", values=tuple(float(v) for v in sizes.values)),),
        labels=tuple(str(i) for i in range(len(sizes.values))) if in_order else (),
        limits=(Limit(name="median", value=float(sizes.median)),),
        highlight=int(index) if in_order and index.isdecimal() else None,
    )
