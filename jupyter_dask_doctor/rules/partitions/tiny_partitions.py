"""Data is cut into many tiny partitions.

## Why it matters
Each partition is a task in every step, and a task costs the scheduler and the network about a millisecond,
whatever it does. On a partition of a few hundred kilobytes the work itself takes less than that: threads wait for
the next task, and more workers make it no faster. Many small files add the time to open each of them.

## Anti-pattern
    events = dd.read_csv("events.csv", blocksize="64KB")      # 2 GB: 31,000 partitions

## Best practice
    events = dd.read_csv("events.csv", blocksize="64MB")      # 31 partitions

Of many small Parquet files: `dd.read_parquet(folder, aggregate_files=True, blocksize="100MiB")`. Of anything else:
`events.repartition(npartitions=N)` right behind the reading, with N so that a partition has about 100 MB and each
thread has two or three. For arrays: larger `chunks=` where the array is made.

## How it is known
Partitions whose typical size is below 10 MiB, more than 100 of them: the median of those in memory, else what is
reckoned from files, blocks and chunks. Or files: more than 100, below 3 MB each, and a partition for each of them.

After a run on all of them it speaks when the time in which threads had nothing to do, as far as the tasks that
fewer partitions would have spared have a part in it, is at least 1 s and 5 % of the run; at most 5 ms for each task,
and only when tasks took less than 50 ms on average and the threads were in them for less than 70 % of the time.
Tasks that fusing alone would spare are not counted (`unfused-compute`). Of small files the time counts as well that
it took to open them: that of the reading tasks, less a second for each 100 MiB.

Before a run it is reckoned for computing it once, with 1 ms for each task and 100 MiB each second and thread for
the work (marked "≈"); then it must be three tenths of the time.

## When it stays quiet
Fewer partitions; larger ones; sizes that are not known; results of reductions, which are small by nature; data
that is put together again in a variable made from it; runs in which the threads were busy all the same. What
computes for long on little data is well cut into many pieces. A graph that is large as a whole belongs to
`large-graph`, partitions of unknown size to `too-many-partitions`.

## Fix safety
Needs review. The rows stay the same, the number of partitions changes, and each needs more memory: about 100 MiB,
less where threads would have nothing to do. Where the files have no index of their own, the rows are numbered
within each partition: numbers change with the cut.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#repartition-to-reduce-overhead
https://docs.dask.org/en/stable/array-best-practices.html#select-a-good-chunk-size
https://docs.dask.org/en/stable/dataframe-parquet.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import overhead, planned, runs, usage
from ...judging.overhead import Cost
from ...remedies import cutting, fixes, offers
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, Read, TaskGroup
from ...words import MiB
from ..registry import NotChecked, rule

_KINDS = frozenset({"dataframe", "series", "array", "bag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: A partition of less than so many bytes is tiny (Dask aims at about 100 MB).
    partition_nbytes: int = 10 * MiB
    #: So many partitions, or files, are not worth a word (DataFlint: more than 100 files).
    npartitions: int = 100
    #: A file of fewer bytes is small (DataFlint: 3 MB).
    file_nbytes: int = 3_000_000
    #: The most that opening a file is believed to take, in seconds (on another machine's disk: 0.05 to 0.1 s).
    open_seconds: float = 0.1
    #: What handling one task is taken to cost before a run, in seconds (Dask's guides: 0.2 to 1 ms) ...
    task_seconds: float = 0.001
    #: ... and the most that is believed after one (measured on a busy machine with 2 cores: 5 ms).
    most_task_seconds: float = 0.005
    #: Tasks that take longer on average are worth their handling (Dask's guides: from 0.1 s on).
    work_seconds: float = 0.05
    #: Share of the threads' time that went into tasks from which they count as busy all the same.
    busy_share: float = 0.7
    #: Seconds that must be lost, and their share of the run; the share before a run, which is only reckoned.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    predicted_share: float = 0.30
    #: A graph of so many tasks has a rule of its own (`large-graph`).
    large_tasks: int = 50_000
    #: Partitions for each thread that a coarser cut keeps at least (Dask: 2 to 3 times the threads).
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
    id="tiny-partitions",
    title="Partitions are too small",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections",),
    # Where memory is short, threads wait for the disk and not for the scheduler.
    yields_to={
        "chunk-explosion": "subject",
        "large-graph": "cell",
        "oversized-persist": "cell",
        "spilling": "cell",
        "worker-memory-pressure": "cell",
    },
    measure=_measure,
)
def tiny_partitions(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    many = [c for c in collections if c.kind in _KINDS and (c.npartitions or 0) > limit.npartitions]
    unheld = _unheld(runs.newest(computations, code), collections, limit)
    if not many and not unheld:
        return
    works = usage.works(computations, code, load)
    read = overhead.reads(works, many, code)
    for u, one in unheld:
        for work, own in zip(works, read, strict=True):
            if u in work.computations:
                own.append(one)
    many += [one for _, one in unheld]
    plans = [
        *planned.planned(code, many, "compute"),
        *planned.planned(code, many, "persist"),
    ]
    told: list[Collection] = []
    unsized: str | None = None
    for c in sorted(many, key=lambda c: len(c.names)):
        if any(c.group == o.group is not None or runs.is_made_from(c, o) or _is_same(c, o) for o in told):
            continue  # another name for it, or made from it: one cause
        if overhead.is_reduced(c, collections) or overhead.is_recut(c, collections):
            continue
        typical, files = _typical(c), _small_files(c, limit)
        if files is None and (typical is None or typical >= limit.partition_nbytes):
            if typical is None:
                cost = overhead.measured(c, 1, works, read, limit.most_task_seconds)
                unsized = c.name if cost is not None and _counts(cost, limit) else unsized
            continue
        wanted = _wanted(c, cluster, limit)
        cost = overhead.measured(c, wanted, works, read, limit.most_task_seconds)
        if cost is not None and files is not None:
            cost = overhead.with_opening(cost, files, wanted, groups, limit.open_seconds)
        is_to_come = not any(overhead.has(own, c) for own in read) or any(
            c is one and not u.is_done for u, one in unheld
        )
        if cost is None and is_to_come and not _is_large(c, collections, computations, code, limit):
            at = next((p.at for p in plans if c in p.collections), None)
            at = next((u.at for u, one in unheld if one is c and not u.is_done), at)
            nbytes = (typical or 0) * (c.npartitions or 0) or (files.nbytes if files else None) or 0
            cost = overhead.predicted(c, wanted, nbytes, cluster.nthreads, at, limit.task_seconds)
        if cost is None or not _counts(cost, limit):
            continue
        told.append(c)
        offered = _fixes(c, wanted, cost, cluster, load, code)
        yield _finding(c, typical, files, cost, offered, limit)
    if unsized is not None and not told:
        raise NotChecked(f"How large the partitions of {words.code(unsized)} are is not known.")


def _is_large(
    c: Collection,
    collections: Sequence[Collection],
    computations: Sequence[Computation],
    code: Sequence[Cell],
    limit: Thresholds,
) -> bool:
    """Will it be, or is it now, computed with a graph that is large as a whole?"""
    for o in collections:
        if (o.n_tasks or 0) >= limit.large_tasks and (o is c or runs.is_made_from(o, c)):
            return True
    running = (u for u in computations if not u.is_done and u.n_tasks >= limit.large_tasks)
    return any(c in runs.read_by(u, (c,), code) for u in running)


def _unheld(
    computations: Sequence[Computation], collections: Sequence[Collection], limit: Thresholds
) -> list[tuple[Computation, Collection]]:
    """Many small files that a computation reads and that no variable stands for, under the name of their folder."""
    held = {read.path for c in collections for read in c.reads}
    found = []
    for u in computations:
        for read in (read for c in u.asked for read in c.reads):
            tail = read.path.rstrip("/").rsplit("/", 1)[-1]
            if read.path in held or not tail or not read.npartitions:
                continue
            files = Collection(
                name=f"{tail}/" if fixes.is_name(tail) else tail,
                kind="dataframe",
                npartitions=read.npartitions,
                nbytes=None,
                largest=None,
                is_persisted=False,
                names=(f"read_{read.format}",),
                at=u.at,
                reads=(read,),
                n_tasks=u.n_tasks,
                fused_tasks=u.fused_tasks,
            )
            if read.npartitions > limit.npartitions and _small_files(files, limit) is not None:
                held.add(read.path)
                found.append((u, files))
    return found


def _is_same(c: Collection, other: Collection) -> bool:
    return bool(c.names) and c.names == other.names and c.reads == other.reads


def _typical(c: Collection) -> int | None:
    """Bytes of a partition in the middle, or of all on average; None when not known."""
    n = c.npartitions or 0
    if c.sizes is not None and c.sizes.n * 2 >= n:
        return c.sizes.median
    return c.nbytes.nbytes // n if c.nbytes is not None and n else None


def _small_files(c: Collection, limit: Thresholds) -> Read | None:
    """The files that it is read from, when they are many, small, and a partition each."""
    for read in c.reads:
        n, nbytes = read.n_files or 0, read.nbytes
        if n <= limit.npartitions or nbytes is None or nbytes / n >= limit.file_nbytes:
            continue
        if (c.npartitions or 0) * 2 > n and not c.is_persisted:
            return read
    return None


def _wanted(c: Collection, cluster: Cluster, limit: Thresholds) -> int:
    held = (_typical(c) or 0) * (c.npartitions or 0)
    least = limit.partitions_per_thread * max(1, cluster.nthreads)
    return min(c.npartitions or 1, fixes.partition_count(max(math.ceil(held / fixes.TARGET), least), cluster))


def _counts(cost: Cost, limit: Thresholds) -> bool:
    if cost.busy is not None and cost.busy >= limit.busy_share:
        return False
    if cost.mean is not None and cost.mean >= limit.work_seconds:
        return False  # little data, but much to do with it
    share = limit.predicted_share if cost.is_predicted else limit.loss_share
    return cost.loss >= limit.loss_seconds and cost.loss >= share * cost.of


def _fixes(
    c: Collection, n: int, cost: Cost, cluster: Cluster, load: Sequence[Load], code: Sequence[Cell]
) -> tuple[Fix, ...]:
    if n * 2 > (c.npartitions or 0):
        return ()
    edited = cutting.recut(c, n, cluster=cluster, code=code, ailing=cost.at)
    return edited or offers.glue(c, n, cluster=cluster, load=load, code=code, ailing=cost.at)


def _finding(
    c: Collection,
    typical: int | None,
    files: Read | None,
    cost: Cost,
    offered: tuple[Fix, ...],
    limit: Thresholds,
) -> Finding:
    noun = "chunks" if c.kind == "array" else "partitions"
    n = words.count(c.npartitions or 0)
    is_estimated = c.sizes is None and (c.nbytes is None or c.nbytes.known == "estimated")
    about = "≈ " if is_estimated else "about "
    if typical is not None:
        what = f"{words.code(c.name)} is cut into {n} {noun} of {about}{words.nbytes(typical)}"
    else:
        assert files is not None
        each = (files.nbytes or 0) / (files.n_files or 1)
        what = (
            f"{words.code(c.name)} is read from {words.count(files.n_files or 0)} files of about "
            f"{words.nbytes(each)}, in {n} {noun}"
        )
    lost = words.seconds(cost.loss)
    if cost.is_predicted:
        message = f"{what}: handling them takes ≈ {lost} each time it is computed."
    else:
        message = f"{what}: handling them cost about {lost} of {words.seconds(cost.of)}."
    evidence = [
        Evidence(label=noun, value=c.npartitions or 0, unit="count", limit=limit.npartitions),
    ]
    if typical is not None:
        evidence.append(
            Evidence(
                label=f"typical {noun[:-1]}",
                value=typical,
                unit="bytes",
                limit=limit.partition_nbytes,
                is_estimated=is_estimated,
            )
        )
    if files is not None and files.n_files:
        each = (files.nbytes or 0) / files.n_files
        evidence.append(Evidence(label="files", value=files.n_files, unit="count", limit=limit.npartitions))
        evidence.append(Evidence(label="mean of a file", value=each, unit="bytes", limit=limit.file_nbytes))
    evidence.append(
        Evidence(label="tasks for them", value=cost.n_tasks, unit="count", is_estimated=cost.is_predicted)
    )
    if cost.busy is not None:
        evidence.append(
            Evidence(label="threads in tasks", value=cost.busy, unit="share", limit=limit.busy_share)
        )
    if cost.mean is not None:
        evidence.append(
            Evidence(label="mean of a task", value=cost.mean, unit="seconds", limit=limit.work_seconds)
        )
    evidence.append(Evidence(label="overhead", value=cost.loss, unit="seconds", is_estimated=True))
    return tiny_partitions.finding(
        severity="warning",
        subject=c.name,
        message=message,
        why="Each partition is a task in every step, and a task costs about a millisecond, whatever it does. "
        "The work on so little data takes less than that.",
        evidence=tuple(evidence),
        charts=_charts(c, limit),
        at=cost.at or c.at,
        fixes=offered,
        loss_seconds=cost.loss,
        of_seconds=cost.of,
    )


def _charts(c: Collection, limit: Thresholds) -> tuple[Chart, ...]:
    if c.sizes is None or len(c.sizes.values) < 2:
        return ()
    return (
        Chart(
            kind="bars",
            title=f"Bytes per partition of {words.code(c.name)}, ascending",
            unit="bytes",
            series=(Series(name="bytes", values=tuple(float(v) for v in sorted(c.sizes.values))),),
            limits=(Limit(name="tiny below", value=float(limit.partition_nbytes)),),
        ),
    )
