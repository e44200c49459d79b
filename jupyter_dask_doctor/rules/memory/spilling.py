"""Data are moved to disk and read back while they are used.

## Why it matters
Above 60 % of its memory limit a worker writes results to disk and reads each back when a task needs it. Disk
is 10 to 100 times slower than memory, and while it writes or reads, the worker's event loop stands still.

## Anti-pattern
    x = da.from_zarr("sky.zarr").persist()       # 200 GiB on a cluster with 100 GiB
    x.mean().compute(), x.std().compute()        # each reads half of it from the disk

## Best practice
    x = da.from_zarr("sky.zarr")                 # not held
    dask.compute(x.mean(), x.std())              # one pass over the data: each chunk is freed after use

Hold only what fits: select columns, use smaller dtypes, `del` what is done with. Data that are larger than the
cluster live in Parquet or Zarr.

## How it is known
Dask's meters tell for each kind of task how many bytes it read back from disk, how long that took, and how
long the workers wrote. It speaks when 100 MB or more in 5 or more pieces were read back by one cell, reading
took 5 % or more of the time of its tasks, and reading and writing took each worker 1 s and 5 % of the cell's
time. The loss is reading and writing together, spread over the workers: while the disk is slow for one task,
others of the same worker may still compute.

## When it stays quiet
What was moved to disk once and never read back; shuffles, which write by design; a few small pieces; what an
earlier run of the cell did. When one partition, or the size of all, explains it, those rules speak, and
workers that stood still or died speak for themselves; each with these numbers.

## Fix safety
Needs review: a variable that is released is gone, and later cells that use it fail. Storing data and settings
of the cluster are shown, not inserted.

## References
https://distributed.dask.org/en/stable/worker-memory.html#spilling-data-to-disk
https://distributed.dask.org/en/stable/fine-performance-metrics.html
https://docs.dask.org/en/stable/best-practices.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, usage
from ...remedies import fixes, offers
from ...report import Chart, Evidence, Finding, Fix, Limit, Measure, Series
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, TaskGroup, Worker
from ..registry import NotChecked, rule

#: Reading back: from the disk to an object that a task can use. Writing: the way there.
_READING = frozenset({"disk-read", "decompress", "deserialize"})
_WRITING = frozenset({"disk-write", "compress", "serialize"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Reading back as a share of the time of the tasks and reading together.
    share: float = 0.05
    #: Bytes read back.
    nbytes: int = 100_000_000
    #: Pieces read back.
    reads: int = 5
    #: Seconds that reading and writing took each worker ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the cell took.
    stake: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disk:
    """What one run of a cell did to the disk, over all workers."""

    prefix: str
    read_seconds: float
    write_seconds: float
    #: None when only the seconds are known.
    read_nbytes: int | None
    written_nbytes: int | None
    reads: int | None
    #: Share of what its tasks needed that had to come from disk; None when not told.
    missed: float | None

    @property
    def seconds(self) -> float:
        return self.read_seconds + self.write_seconds


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    workers: tuple[Worker, ...],
    groups: tuple[TaskGroup, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    disk = _disk(work, groups) if work is not None else None
    if disk is None:
        return ()
    return (
        Measure(label="disk, each worker", value=disk.seconds / max(1, len(workers)), unit="seconds"),
        Measure(label="read back from disk", value=disk.read_nbytes or 0, unit="bytes"),
    )


@rule(
    id="spilling",
    title="Data go to disk and back",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    yields_to={
        "killed-worker": "cell",
        "partition-skew": "cell",
        "oversized-partitions": "cell",
        "oversized-persist": "cell",
        "root-overproduction": "cell",
        "worker-memory-pressure": "cell",
    },
    measure=_measure,
)
def spilling(
    computations: tuple[Computation, ...],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    groups: tuple[TaskGroup, ...] = (),
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    is_found = is_untold = False
    for work in usage.works(computations, code, load):
        spilled = max((s.spilled for s in load if _is_within(s, work)), default=0)
        disk = _disk(work, groups)
        if disk is None:
            is_untold = is_untold or spilled >= limit.nbytes
            continue
        if disk.reads is not None and disk.reads < limit.reads:
            continue
        if (spilled if disk.read_nbytes is None else disk.read_nbytes) < limit.nbytes:
            continue
        tasks = max(0.0, work.thread_seconds or 0.0)
        if disk.read_seconds < limit.share * (tasks + disk.read_seconds):
            continue
        loss = disk.seconds / max(1, len(workers))
        if loss < max(limit.loss_seconds, limit.stake * work.seconds):
            continue
        is_found = True
        yield _finding(
            work, disk, spilled, min(loss, work.seconds), workers, cluster, collections, load, code, limit
        )
    if is_untold and not is_found:
        raise NotChecked("Data were moved to disk, and how long reading them back took is not told.")


def _is_within(sample: Load, work: usage.Work) -> bool:
    return any(start <= sample.time <= stop for start, stop in work.spans)


def _disk(work: usage.Work, groups: Sequence[TaskGroup]) -> _Disk | None:
    """None when it is not known."""
    own = usage.groups_of(work, groups)
    told = usage.activities(work)
    if told is None:
        known = [g for g in own if g.disk_read_seconds is not None]
        if not known:
            return None
        return _Disk(
            prefix=max(known, key=lambda g: (g.disk_read_seconds or 0.0, g.prefix)).prefix,
            read_seconds=sum(max(0.0, g.disk_read_seconds or 0.0) for g in known),
            write_seconds=sum(max(0.0, g.disk_write_seconds or 0.0) for g in known),
            read_nbytes=None,
            written_nbytes=None,
            reads=None,
            missed=None,
        )
    # Unpickling counts only where something was read from disk: tasks unpickle also what came by network
    from_disk = {(a.context, a.prefix) for a in told if a.label == "disk-read" and a.context != "p2p"}
    to_disk = {(a.context, a.prefix) for a in told if a.label == "disk-write" and a.context != "p2p"}
    seconds: dict[str, float] = defaultdict(float)
    reading = writing = 0.0
    for a in told:
        where = (a.context, a.prefix)
        if a.label in _READING and where in from_disk and (a.context == "execute" or a.label == "disk-read"):
            reading += a.seconds
            if a.prefix is not None:
                seconds[a.prefix] += a.seconds
        elif a.label in _WRITING and where in to_disk:
            writing += a.seconds
    rows = [a for a in told if a.label == "disk-read" and a.context != "p2p"]
    read = sum(a.nbytes for a in rows)
    needed = read + sum(a.nbytes for a in told if a.label == "memory-read")
    return _Disk(
        prefix=max(seconds, key=lambda p: (seconds[p], p)) if seconds else usage.heaviest(own, work),
        read_seconds=reading,
        write_seconds=writing,
        read_nbytes=read,
        written_nbytes=sum(a.nbytes for a in told if a.label == "disk-write" and a.context != "p2p"),
        reads=sum(a.count for a in rows),
        missed=read / needed if needed else None,
    )


def _finding(
    work: usage.Work,
    disk: _Disk,
    spilled: int,
    loss: float,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding:
    evidence = [
        Evidence(label="reading from disk, all workers", value=disk.read_seconds, unit="seconds"),
        Evidence(label="writing to disk, all workers", value=disk.write_seconds, unit="seconds"),
        Evidence(
            label="reading back, of the time of the tasks",
            value=disk.read_seconds / max(1e-9, disk.read_seconds + (work.thread_seconds or 0.0)),
            unit="share",
            limit=limit.share,
        ),
    ]
    what = ""
    if disk.read_nbytes is not None and disk.written_nbytes is not None:
        evidence.append(Evidence(label="read back", value=disk.read_nbytes, unit="bytes", limit=limit.nbytes))
        evidence.append(Evidence(label="written", value=disk.written_nbytes, unit="bytes"))
        what = f" {words.nbytes(disk.read_nbytes)}"
    if disk.missed is not None:
        evidence.append(
            Evidence(label="of what the tasks needed, read from disk", value=disk.missed, unit="share")
        )
    if spilled:
        evidence.append(Evidence(label="on disk at the peak", value=spilled, unit="bytes"))
    return spilling.finding(
        severity="warning",
        subject=disk.prefix,
        message=f"{words.code(disk.prefix)} had to read{what} back from disk that did not fit in memory: "
        f"reading and writing took each worker about {words.seconds(loss)} of {words.seconds(work.seconds)}.",
        why=f"Above {words.share(cluster.memory_target)} of its limit a worker writes what it holds to disk and "
        "reads it back for each task that needs it. While it does, it answers nobody.",
        evidence=tuple(evidence),
        charts=_chart(work, load, cluster),
        at=work.at,
        fixes=_fixes(work, workers, cluster, collections, load, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
        loss_bytes=disk.read_nbytes,
    )


def _chart(work: usage.Work, load: Sequence[Load], cluster: Cluster) -> tuple[Chart, ...]:
    shown = [s for s in load if _is_within(s, work)][-150:]
    if len(shown) < 3 or not any(s.spilled for s in shown):
        return ()
    held = cluster.memory_target * (cluster.memory_limit or 0)
    marks = (Limit(name="target", value=held),) if held else ()
    return (
        Chart(
            kind="stack",
            title="What the workers held in memory and on disk",
            unit="bytes",
            x=tuple(s.time for s in shown),
            series=(
                Series(name="in memory", values=tuple(float(s.managed) for s in shown)),
                Series(name="on disk", values=tuple(float(s.spilled) for s in shown)),
            ),
            limits=marks,
        ),
    )


def _fixes(
    work: usage.Work,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    read = {c.name for one in work.computations for c in runs.read_by(one, collections, code)}
    held = [c for c in collections if c.is_persisted and c.nbytes is not None and fixes.is_name(c.name)]
    return (
        *_release([c for c in held if c.name not in read], work, code),
        *_store([c for c in held if c.name in read]),
        *offers.more_room(workers, load),
    )


def _release(held: Sequence[Collection], work: usage.Work, code: Sequence[Cell]) -> tuple[Fix, ...]:
    """Lets go of what this cell does not use, behind the cell that bound the last of it."""
    # What else holds it would keep it alive
    loose = [c for c in held if not c.held_by and c.at is not None]
    cells = [runs.cell_at(code, c.at) for c in loose]
    started = [cell for cell in cells if cell is not None and cell.started is not None]
    if not started or work.at is None or any(runs.same_cell(c.at, work.at) for c in loose):
        return ()
    below = max(started, key=lambda cell: cell.started or 0.0)
    names = ", ".join(c.name for c in loose)
    freed = sum(c.nbytes.nbytes for c in loose if c.nbytes is not None)
    return (
        fixes.insert_below(
            below,
            f"del {names}",
            title=f"Release {words.code(names)}",
            expect=f"{words.nbytes(freed)} of memory and disk; later cells cannot use it any more",
            rerun=work.at,
        ),
    )


def _store(read: Sequence[Collection]) -> tuple[Fix, ...]:
    """Data that are read from files when they are needed, instead of held."""
    c = max(read, key=lambda c: c.nbytes.nbytes if c.nbytes else 0, default=None)
    if c is None:
        return ()
    match c.kind:
        case "array":
            text = (
                f'import dask.array as da\n\n{c.name}.to_zarr("{c.name}.zarr")\n'
                f'{c.name} = da.from_zarr("{c.name}.zarr")'
            )
        case "dataframe":
            text = (
                f'import dask.dataframe as dd\n\n{c.name}.to_parquet("{c.name}.parquet")\n'
                f'{c.name} = dd.read_parquet("{c.name}.parquet")'
            )
        case _:
            return ()
    size = c.nbytes.nbytes if c.nbytes else 0
    return (
        fixes.advice(
            text,
            title=f"Keep {words.code(c.name)} in files instead of memory",
            expect=f"{words.nbytes(size)} less to hold; each pass reads once, and only what it needs; "
            "the path must be one that all workers see",
        ),
    )
