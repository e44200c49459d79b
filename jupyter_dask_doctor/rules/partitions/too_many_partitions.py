"""Far more partitions than the data and the threads justify.

## Why it matters
Each partition is a task in every step, and the scheduler handles tasks one after the other, up to a millisecond
each. With thousands of partitions that hold little work the threads wait for it most of the time.

## Anti-pattern
    pairs = db.from_sequence(range(200_000), npartitions=20_000)
    pairs.map(score).mean().compute()      # 10 items in each task

## Best practice
    pairs = db.from_sequence(range(200_000), npartitions=24)

Two or three partitions for each thread use all of them; more are good only as far as partitions would else have
more than about 100 MB, or tasks take more than a few seconds.

## How it is known
From a run: 1,000 partitions or more of one collection, four times as many as what is needed, which is the largest
of three numbers: 3 for each thread, one for each 100 MiB where the size is known, one for each second of measured
work. And the time in which threads had nothing to do, as far as the tasks that fewer partitions would have spared
have a part in it, is at least 1 s and a tenth of the run; at most 5 ms for each task, and only when the threads spent
less than half of their time in tasks. Tasks that fusing alone would spare are not counted (`unfused-compute`).

## When it stays quiet
Before anything ran; fewer partitions; partitions that are known to be tiny (`tiny-partitions` speaks, before the
run as well); threads that are busy; results of reductions; data that is put together again in a variable made
from it; tasks that belong to no collection (`tiny-tasks`).

## Fix safety
Needs review. The results stay the same, later code may count on the number of partitions, and each of them needs
more memory: that of several of those now.

## References
https://docs.dask.org/en/stable/best-practices.html#avoid-very-large-graphs
https://docs.dask.org/en/stable/dataframe-best-practices.html#repartition-to-reduce-overhead
https://distributed.dask.org/en/stable/efficiency.html#use-larger-tasks
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import overhead, runs, usage
from ...judging.overhead import Cost
from ...remedies import cutting, fixes, offers
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location
from ...words import MiB
from ..registry import rule

_KINDS = frozenset({"dataframe", "series", "array", "bag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Fewer partitions than this are not worth a word (rules of thumb for Dask: below 1,000).
    npartitions: int = 1_000
    #: Partitions over those that are needed.
    ratio: float = 4.0
    #: A typical partition below so many bytes is tiny, and `tiny-partitions` speaks.
    tiny_nbytes: int = 10 * MiB
    #: The most that handling one task is believed to cost, in seconds (measured on a busy machine: 5 ms).
    most_task_seconds: float = 0.005
    #: Work in one partition that is worth its tasks, in seconds (Dask's guides: from 0.1 s on).
    work_seconds: float = 1.0
    #: Share of the threads' time that went into tasks from which they count as busy all the same.
    busy_share: float = 0.5
    #: Seconds that must be lost, and their share of the run.
    loss_seconds: float = 1.0
    loss_share: float = 0.10
    #: Partitions for each thread (Dask: 2 to 3 times the threads).
    partitions_per_thread: int = 3


def _measure(
    subject: str,
    at: Location | None,
    *,
    collections: tuple[Collection, ...],
    computations: tuple[Computation, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    seconds = usage.time_of_tasks(subject, at, computations=computations, load=load, code=code)
    n = next((c.npartitions for c in collections if c.name == subject and c.npartitions), None)
    return seconds if n is None else (*seconds, Measure(label="partitions", value=n, unit="count"))


@rule(
    id="too-many-partitions",
    title="There are far too many partitions",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections",),
    yields_to={"chunk-explosion": "subject", "tiny-partitions": "cell", "large-graph": "cell"},
    measure=_measure,
)
def too_many_partitions(
    collections: tuple[Collection, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    many = [c for c in collections if c.kind in _KINDS and (c.npartitions or 0) >= limit.npartitions]
    if not many:
        return
    works = usage.works(computations, code, load)
    read = overhead.reads(works, many, code)
    told: list[Collection] = []
    for c in sorted(many, key=lambda c: len(c.names)):
        if any(c.group == o.group is not None or runs.is_made_from(c, o) or _is_same(c, o) for o in told):
            continue  # another name for it, or made from it: one cause
        typical = _typical(c)
        if typical is not None and typical < limit.tiny_nbytes:
            continue  # that has a rule of its own
        if overhead.is_reduced(c, collections) or overhead.is_recut(c, collections):
            continue
        wanted = _wanted(c, typical, works, read, cluster, limit)
        if (c.npartitions or 0) < limit.ratio * wanted:
            continue
        cost = overhead.measured(c, wanted, works, read, limit.most_task_seconds)
        if cost is None or cost.busy is None or cost.busy >= limit.busy_share:
            continue
        if cost.loss < limit.loss_seconds or cost.loss < limit.loss_share * cost.of:
            continue
        told.append(c)
        edited = cutting.recut(c, wanted, cluster=cluster, code=code, ailing=cost.at)
        offered = edited or offers.glue(c, wanted, cluster=cluster, load=load, code=code, ailing=cost.at)
        yield _finding(c, typical, wanted, cost, offered, limit)


def _is_same(c: Collection, other: Collection) -> bool:
    return bool(c.names) and c.names == other.names


def _typical(c: Collection) -> int | None:
    n = c.npartitions or 0
    if c.sizes is not None and c.sizes.n * 2 >= n:
        return c.sizes.median
    return c.nbytes.nbytes // n if c.nbytes is not None and n else None


def _wanted(
    c: Collection,
    typical: int | None,
    works: Sequence[usage.Work],
    read: Sequence[Sequence[Collection]],
    cluster: Cluster,
    limit: Thresholds,
) -> int:
    """As many partitions as threads, bytes and work ask for."""
    done = [w.thread_seconds or 0.0 for w, own in zip(works, read, strict=True) if overhead.has(own, c)]
    n = max(
        limit.partitions_per_thread * max(1, cluster.nthreads),
        math.ceil((typical or 0) * (c.npartitions or 0) / fixes.TARGET),
        math.ceil(max(done, default=0.0) / limit.work_seconds),
    )
    return min(c.npartitions or 1, fixes.partition_count(n, cluster))


def _finding(
    c: Collection,
    typical: int | None,
    wanted: int,
    cost: Cost,
    offered: tuple[Fix, ...],
    limit: Thresholds,
) -> Finding:
    noun = "chunks" if c.kind == "array" else "partitions"
    n = c.npartitions or 0
    evidence = [
        Evidence(label=noun, value=n, unit="count", limit=max(limit.npartitions, limit.ratio * wanted)),
        Evidence(label=f"{noun} that do", value=wanted, unit="count", is_estimated=True),
        Evidence(label="tasks for them", value=cost.n_tasks, unit="count"),
        Evidence(label="threads in tasks", value=cost.busy or 0.0, unit="share", limit=limit.busy_share),
        Evidence(label="overhead", value=cost.loss, unit="seconds", is_estimated=True),
    ]
    if typical is not None:
        evidence.insert(1, Evidence(label=f"typical {noun[:-1]}", value=typical, unit="bytes"))
    return too_many_partitions.finding(
        severity="warning",
        subject=c.name,
        message=f"{words.code(c.name)} has {words.count(n)} {noun} where about {words.count(wanted)} would do: "
        f"handling them cost about {words.seconds(cost.loss)} of {words.seconds(cost.of)}.",
        why="Each of them is a task in every step, and the scheduler handles tasks one after the other, up to a "
        f"millisecond each. The threads were in tasks for {words.share(cost.busy or 0.0)} of the time.",
        evidence=tuple(evidence),
        at=cost.at,
        fixes=offered,
        loss_seconds=cost.loss,
        of_seconds=cost.of,
    )
