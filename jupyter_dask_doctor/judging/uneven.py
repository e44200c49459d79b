"""What uneven partitions cost: the time for which one thread works alone, and the memory that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..snapshot import Collection, Computation, Location, PartitionSizes, TaskGroup, TaskPrefix, Worker
from . import runs

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
class Stake:
    """What it cost in the last run of one cell."""

    at: Location | None
    loss: float = 0.0
    of: float = 0.0
    #: Highest share of a worker's limit that was in use.
    memory: float = 0.0
    peak: int | None = None


def workings(groups: tuple[TaskGroup, ...]) -> dict[str, dict[str, list[TaskGroup]]]:
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
    group: str, computation_id: str, by_group: dict[str, dict[str, list[TaskGroup]]]
) -> list[TaskGroup]:
    """The groups whose tasks work on the partitions of `group`, one task each: those that take its outputs,
    and those that take theirs in turn with as many tasks. For `compute` puts a layer of aliases between
    what was persisted and the work, and sends the steps of the work one by one."""
    found = {g.name: g for g in by_group.get(group, {}).get(computation_id, ())}
    todo = [g for g in found.values() if g.name != group]
    while todo:
        step = todo.pop()
        for g in by_group.get(step.name, {}).get(computation_id, ()):
            if g.name not in found and g.n_tasks == step.n_tasks:
                found[g.name] = g
                todo.append(g)
    return list(found.values())


def stakes(
    group: str,
    sizes: PartitionSizes,
    computations: tuple[Computation, ...],
    by_group: dict[str, dict[str, list[TaskGroup]]],
    workers: tuple[Worker, ...],
    *,
    is_made_there: bool,
) -> Iterator[Stake]:
    """What it cost in each computation. `is_made_there`: count the making of the partitions as well."""
    room = [w.memory_limit for w in workers if w.memory_limit]
    mine = by_group.get(group, {})
    for c in computations:
        if c.id not in mine and group not in c.reused:
            continue
        lasted = runs.wall(c)
        working = [g for g in _working(group, c.id, by_group) if is_made_there or g.name != group]
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
        yield Stake(at=c.at, loss=loss, of=lasted or 0.0, memory=share, peak=peak)


def worst(found: list[Stake]) -> Stake:
    """The cell that lost most; what several computations of one cell lost counts together."""
    cells: list[Stake] = []
    for one in found:
        for i, other in enumerate(cells):
            if runs.same_cell(one.at, other.at):
                cells[i] = Stake(
                    at=one.at,
                    loss=one.loss + other.loss,
                    of=one.of + other.of,
                    memory=max(one.memory, other.memory),
                    peak=max(filter(None, (one.peak, other.peak)), default=None),
                )
                break
        else:
            cells.append(one)
    return max(cells, key=lambda s: (s.loss, s.memory), default=Stake(at=None))


def longest(
    group: str,
    computations: tuple[Computation, ...],
    by_group: dict[str, dict[str, list[TaskGroup]]],
    prefixes: tuple[TaskPrefix, ...],
) -> float | None:
    """Seconds of the longest task that worked on the partitions of `group`, as far as it was seen."""
    named = {g.prefix for c in computations for g in _working(group, c.id, by_group) if g.name != group}
    known = [p.max_seconds for p in prefixes if p.name in named and p.max_seconds is not None]
    return max(known, default=None)


def rows(c: Collection) -> PartitionSizes | None:
    """Rows per partition, where those of all partitions are known."""
    found = c.held.rows if c.held is not None else ()
    if len(found) != c.npartitions or len(found) < 2:
        return None
    ordered = sorted(found)
    return PartitionSizes(
        n=len(found),
        total=sum(found),
        median=ordered[len(found) // 2],
        p95=ordered[int(0.95 * (len(found) - 1))],
        largest=ordered[-1],
        largest_index=str(found.index(ordered[-1])),
        values=found if len(found) <= 200 else tuple(ordered[:: max(1, len(found) // 200)]),
    )


def is_data(group: TaskGroup) -> bool:
    """Are its outputs the data itself, rather than pieces, sums or marks on the way?"""
    if group.name == group.prefix:  # no token: submit or map, where unlike calls share one name
        return False
    return not any(word in group.prefix.lower() for word in _HELPERS)


def comes_from(group: TaskGroup, told: set[str], by_name: dict[str, TaskGroup]) -> bool:
    """Is it one that was named already, or made from one in at most 20 steps?"""
    seen, todo = {group.name}, [group.name]
    for _ in range(20):
        if told & set(todo):
            return True
        todo = [d for name in todo if name in by_name for d in by_name[name].dependencies if d not in seen]
        seen.update(todo)
    return False
