"""Partitions are too large for the memory of the workers that compute on them.

## Why it matters
Every thread of a worker holds a partition, and what it makes of it, at the same time. When that does not
fit, the worker spills to disk, pauses, or is killed and its work is done again. Dask splits and spills
between partitions, never inside one.

## Anti-pattern
    events = dd.from_pandas(frame, npartitions=4)   # 4 × 3 GiB on workers with 8 GiB and 4 threads

## Best practice
    events = events.repartition(npartitions=120)    # about 100 MiB each

Best of all is to read smaller pieces from the start: `dd.read_csv(path, blocksize="64MB")`,
`dd.read_parquet(path, split_row_groups=True)`, smaller `chunks=`. For an array that is there already:
`x = x.rechunk("auto", block_size_limit=104_857_600)`.

## How it is known
Largest partition × threads per worker × 3, against a worker's memory limit: 3 stands for the partition, a
copy of it and the result. A warning above 0.6 of the limit, where workers begin to spill; critical when a
single partition is more than half of it. Above 1 GiB it is worth knowing on any worker: Dask's own advice
is about 100 MB and below 1 GB. Sizes are measured where partitions are in memory, exact for the chunks of
arrays, and otherwise reckoned from what is known before anything runs: statistics of Parquet files, blocks of text,
the frame that was given to `from_pandas`. Those carry a "≈".

## When it stays quiet
When the size is not known; when partitions are small in themselves (under 16 MiB); when a computation on
this very collection has run and no worker came above 0.6 of its limit: then it fits, whatever the
arithmetic says. What is made from a collection in partitions of about the same size is not told again. One large
partition among small ones belongs to `partition-skew`.

## Fix safety
Needs review. The result stays the same, `npartitions` changes and with it what later code may count on. Where the
call that reads or makes the data can be edited, the pieces are small from the start. Otherwise a cell below cuts
them: data that is read in large pieces is still read so, and only what comes after the cut is smaller. Where the
files have no index of their own, the rows are numbered within each partition: numbers change with the cut.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html
https://docs.dask.org/en/stable/array-best-practices.html#select-a-good-chunk-size
https://distributed.dask.org/en/stable/worker-memory.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ... import words
from ...judging import runs
from ...remedies import cutting, fixes, offers
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, Worker
from ...words import GiB, MiB
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes of the largest partition below which nothing is said.
    partition_nbytes: int = 16 * MiB
    #: Partitions in memory at once, for each thread: the partition, a copy, the result.
    copies: int = 3
    #: Share of a worker's memory limit for a warning (Dask begins to move data to disk at 0.6).
    memory_share: float = 0.6
    #: Share of a worker's memory limit that one partition alone may have before it is critical.
    single_share: float = 0.5
    #: What is made from one that was told is a cause of its own when its partitions are so many times as large.
    grown: float = 1.5
    #: Bytes from which a partition is worth knowing of on any worker (Dask: below 1 GB).
    large_nbytes: int = 1 * GiB


def _measure(
    subject: str, at: Location | None, *, collections: tuple[Collection, ...], **_: object
) -> tuple[Measure, ...]:
    for c in collections:
        if c.name == subject and c.largest is not None:
            return (Measure(label="largest partition", value=c.largest.nbytes, unit="bytes"),)
    return ()


@rule(
    id="oversized-partitions",
    title="Partitions are too large for the workers",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections",),
    yields_to={"chunk-explosion": "subject", "partition-skew": "subject", "killed-worker": "cell"},
    measure=_measure,
)
def oversized_partitions(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    workers: tuple[Worker, ...],
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    room = [w for w in workers if w.memory_limit]
    tightest = min(room, key=lambda w: (w.memory_limit or 0) / max(1, w.nthreads), default=None)
    told: list[Collection] = []
    collections = (*collections, *_asked(computations, collections, code))
    reads = [
        (u, {c.name for c in runs.read_by(u, collections, code)})
        for u in runs.newest(computations, code)
        if u.is_done
    ]
    for c in sorted(collections, key=lambda c: len(c.names)):
        if c.kind not in ("dataframe", "series", "array", "bag"):
            continue
        if c.largest is None or c.largest.nbytes < limit.partition_nbytes:
            continue
        if any(_is_same_cause(c, o, limit) for o in told):
            continue
        largest = c.largest.nbytes
        # A worker cannot run more partitions at once than there are
        threads = min(tightest.nthreads if tightest else 1, c.npartitions or 1)
        needed = largest * threads * limit.copies
        allowed = tightest.memory_limit if tightest and tightest.memory_limit else None
        ran = [u for u, read in reads if c.name in read]
        peak = runs.peak_worker_memory(ran)
        severity: Severity
        if allowed and peak is not None and peak < limit.memory_share * allowed:
            continue  # it has run, and it fitted
        if allowed and largest > limit.single_share * allowed:
            severity = "critical"
        elif allowed and needed > limit.memory_share * allowed:
            severity = "warning"
        elif largest > limit.large_nbytes:
            severity = "info"
        else:
            continue
        told.append(c)
        worst = max(ran, key=lambda u: u.peak_worker_memory or 0, default=None)
        ailing = worst.at if worst else None
        at = ailing or c.at
        target = fixes.TARGET
        if allowed:
            fits = int(limit.memory_share * allowed / (limit.copies * max(1, threads)))
            target = min(target, max(limit.partition_nbytes // 2, fits * 4 // 5))
        n = (c.npartitions or 0) * math.ceil(largest / target)
        cut = cutting.recut(c, n, cluster=cluster, code=code, ailing=ailing)
        cut = cut or offers.cut_all(c, target, cluster=cluster, load=load, code=code, ailing=ailing)
        yield _finding(c, severity, threads, allowed, peak, at, limit, cut)


def _is_same_cause(c: Collection, told: Collection, limit: Thresholds) -> bool:
    """Another name for it, or made from it in partitions of about the same size?"""
    if c.group is not None and c.group == told.group:
        return True
    if c.largest is None or told.largest is None or c.largest.nbytes > limit.grown * told.largest.nbytes:
        return False
    return runs.is_made_from(c, told) or (bool(c.names) and c.names == told.names)


def _asked(
    computations: Sequence[Computation], collections: Sequence[Collection], code: Sequence[Cell]
) -> Iterator[Collection]:
    """What is computed now and that no variable holds yet, under the name of the one that its statement binds."""
    known = {c.name for c in collections}
    for u in computations:
        if u.is_done or u.method != "persist" or len(u.asked) != 1 or u.asked[0].name:
            continue
        name = runs.bound_at(code, u.at)
        if name is not None and name not in known:
            yield replace(u.asked[0], name=name, at=u.at)


def _finding(
    c: Collection,
    severity: Severity,
    threads: int,
    allowed: int | None,
    peak: int | None,
    at: Location | None,
    limit: Thresholds,
    offered: tuple[Fix, ...],
) -> Finding:
    assert c.largest is not None
    largest = c.largest.nbytes
    is_estimated = c.largest.known == "estimated"
    needed = largest * threads * limit.copies
    noun = "Chunks" if c.kind == "array" else "Partitions"
    size = f"{'≈ ' if is_estimated else ''}{words.nbytes(largest)}"
    evidence = [
        Evidence(
            label="largest partition",
            value=largest,
            unit="bytes",
            is_estimated=is_estimated,
            limit=limit.single_share * allowed if allowed else limit.large_nbytes,
        )
    ]
    if allowed:
        evidence.append(
            Evidence(
                label="needed on one worker",
                value=needed,
                unit="bytes",
                limit=limit.memory_share * allowed,
                is_estimated=True,
            )
        )
        evidence.append(Evidence(label="memory limit of a worker", value=allowed, unit="bytes"))
    if peak is not None:
        evidence.append(Evidence(label="peak memory of a worker", value=peak, unit="bytes"))
    if severity == "info":
        message = (
            f"{noun} of {words.code(c.name)} are up to {size}; Dask's advice is about 100 MB, below 1 GB."
        )
        why = "Large partitions leave little room for copies and make a lost task dear to repeat."
    else:
        message = (
            f"{noun} of {words.code(c.name)} are up to {size}: {words.count(threads, 'thread')} at once need "
            f"≈ {words.nbytes(needed)} on workers with {words.nbytes(allowed or 0)}."
        )
        why = (
            "Each thread holds a partition, a copy and its result at the same time. "
            "A worker that has no room for them spills to disk, pauses, or is killed."
        )
    return oversized_partitions.finding(
        severity=severity,
        subject=c.name,
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=at,
        fixes=offered,
        loss_bytes=max(0, needed - int(limit.memory_share * allowed)) if allowed else None,
    )
