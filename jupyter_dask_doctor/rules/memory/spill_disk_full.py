"""Workers have no room left to write to when memory is short, or write to a place that is no disk.

## Why it matters
A worker that cannot write to its disk keeps what it holds in memory. Nothing raises an error: it writes a line
to its log, comes to 80 % of its limit, and takes no tasks from then on. As nothing brings its memory down, the
computation waits for ever. A directory on `tmpfs` is memory by another name, so moving data there frees none.

## Anti-pattern
    dask.config.set({"distributed.worker.memory.max-spill": "1 GB"})   # per worker, then nothing more
    cluster = LocalCluster(local_directory="/dev/shm")                 # memory, not a disk

## Best practice
    cluster = LocalCluster(local_directory="/scratch/me")              # a large, fast disk of this machine

Better still is to need less: smaller results, `del` what is done with, Parquet or Zarr for what is large.

## How it is known
Bytes that each worker has written, from its heartbeats; how much it may write (`max-spill`), and the free space
and kind of file system of its directory, asked once and reckoned on from what was written since (marked "≈").
It speaks when a worker has written 0.9 of what it may, or so much that its next partition does not fit; when
less is free than 1.2 times what the workers there still hold in memory; when 256 MiB and a tenth of their
limits lie on `tmpfs`. It is critical when such a worker stands above its pause mark, and for the limit of
`max-spill` only worth knowing while the worker is below its spill mark. A directory on a network file system
is worth knowing.

## When it stays quiet
While nothing much was written (under 256 MiB, or a tenth of the limits where that is less); on a file system
whose kind or free space nobody told.

## Fix safety
Needs review: the number on offer is 0.8 of the free space, shared by the workers. A directory is only shown,
as nobody but you knows a disk with room.

## References
https://distributed.dask.org/en/stable/worker-memory.html#spilling-data-to-disk
https://github.com/dask/distributed/issues/4061
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...remedies import creation, fixes, settings_code
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Location, Worker, WorkerEnvironment
from ...words import GiB, MiB
from ..registry import NotChecked, rule

_MEMORY = frozenset({"tmpfs", "ramfs"})
_NETWORK = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre",
        "nfs", "nfs3", "nfs4", "orangefs", "panfs", "smb3", "smbfs",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of `max-spill` that a worker must have written.
    limit_share: float = 0.9
    #: Bytes that the workers of one disk must have written ...
    nbytes: int = 256 * MiB
    #: ... or, where that is less, the share of their limits.
    least_share: float = 0.1
    #: Free space below so many times what is still in memory is too little.
    room: float = 1.2
    #: Share of the free space that is shared out by the fix.
    offer_share: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disk:
    """Workers that write to one file system."""

    places: tuple[tuple[Worker, WorkerEnvironment], ...]

    @property
    def workers(self) -> list[Worker]:
        return [w for w, _ in self.places]

    @property
    def spilled(self) -> int:
        return sum(max(0, w.spilled) for w in self.workers)

    @property
    def limits(self) -> int:
        return sum(w.memory_limit or 0 for w in self.workers)

    @property
    def free(self) -> int | None:
        """What is free now: what was told, less what was written since."""
        told = [(e.time, e.disk_free) for _, e in self.places if e.disk_free is not None]
        if not told:
            return None
        asked, free = max(told)
        return free - sum(max(0, w.spilled) - _spilled_at(w, asked) for w in self.workers)

    def has_written(self, limit: Thresholds) -> bool:
        least = limit.nbytes if self.limits <= 0 else min(limit.nbytes, int(limit.least_share * self.limits))
        return self.spilled > 0 and self.spilled >= least


def _measure(
    subject: str,
    at: Location | None,
    *,
    workers: tuple[Worker, ...],
    environments: tuple[WorkerEnvironment, ...],
    **_: object,
) -> tuple[Measure, ...]:
    shares = [w.spilled / e.max_spill for w, e in _places(workers, environments) if e.max_spill]
    if subject == "max-spill":
        return (Measure(label="written, of what may be", value=max(shares, default=0.0), unit="share"),)
    return (Measure(label="written to disk", value=sum(w.spilled for w in workers), unit="bytes"),)


@rule(
    id="spill-disk-full",
    title="No room to move data out of memory",
    severity="critical",
    thresholds=Thresholds(),
    about=("workers",),
    measure=_measure,
)
def spill_disk_full(
    workers: tuple[Worker, ...],
    environments: tuple[WorkerEnvironment, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    places = _places(workers, environments)
    if not places and sum(w.spilled for w in workers) >= limit.nbytes:
        raise NotChecked("The workers that write to disk did not tell where.")
    disks: dict[tuple[object, ...], list[tuple[Worker, WorkerEnvironment]]] = defaultdict(list)
    for w, e in places:
        disks[e.host, e.file_system, e.disk_total].append((w, e))
    made = creation.creation(code, cluster)
    at = None
    if made is not None:
        cell = made.cell
        at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=made.call.lineno)
    for pairs in disks.values():
        disk = _Disk(places=tuple(pairs))
        found = list(_place(disk, cluster, at, limit))
        yield from found
        if all(f.severity == "info" for f in found):
            # Where the disk itself is full, nobody gains by being allowed more of it
            yield from _allowed(disk, cluster, collections, code, limit)


def _places(
    workers: Sequence[Worker], environments: Sequence[WorkerEnvironment]
) -> list[tuple[Worker, WorkerEnvironment]]:
    told = {e.address: e for e in environments}
    return [(w, told[w.address]) for w in workers if w.address in told]


def _spilled_at(worker: Worker, time: float) -> int:
    """What it had written by then; nothing where nobody looked."""
    before = [s.spilled for s in worker.samples if s.time <= time]
    return max(0, before[-1]) if before else 0


def _share(worker: Worker) -> float:
    return worker.process / worker.memory_limit if worker.memory_limit else 0.0


def _is_full(worker: Worker, e: WorkerEnvironment) -> bool:
    """Does it take no tasks, as nothing brings its memory down?"""
    return worker.status == "paused" or (e.memory_pause is not None and _share(worker) >= e.memory_pause)


def _allowed(
    disk: _Disk,
    cluster: Cluster,
    collections: Sequence[Collection],
    code: Sequence[Cell],
    limit: Thresholds,
) -> Iterator[Finding]:
    """What may be written by settings has been written."""
    pieces = [c.largest.nbytes for c in collections if c.is_persisted and c.largest is not None]
    piece = max(pieces, default=0)
    full = []
    for w, e in disk.places:
        if not e.max_spill or e.max_spill <= 0 or w.spilled <= 0:
            continue
        is_next_too_large = 0 < piece < e.max_spill / 2 and w.spilled + piece > e.max_spill
        if w.spilled >= limit.limit_share * e.max_spill or is_next_too_large:
            full.append((w, e))
    if not full:
        return
    w, e = max(full, key=lambda pair: _share(pair[0]))
    allowed = e.max_spill or 0
    severity: Severity = "warning"
    if any(_is_full(*pair) for pair in full):
        severity = "critical"
    elif not any(_share(a) >= (b.memory_spill or b.memory_target or 1) for a, b in full):
        severity = "info"
    n = words.count(len(full), "worker")
    has = "has" if len(full) == 1 else "have"
    fix, at = _more_room(disk, e, cluster, code, limit)
    yield spill_disk_full.finding(
        severity=severity,
        subject="max-spill",
        message=f"{n} {has} written all that `max-spill` allows, {words.nbytes(allowed)} each: "
        f"the fullest is at {words.share(_share(w))} of its memory and cannot move more to disk.",
        why="Beyond that data stay in memory, and only the worker's log tells. "
        "A worker that comes to its pause mark this way takes no tasks any more, and nothing brings it down.",
        evidence=(
            Evidence(
                label="written by one worker",
                value=max(a.spilled for a, _ in full),
                unit="bytes",
                limit=limit.limit_share * allowed,
            ),
            Evidence(label="max-spill", value=allowed, unit="bytes"),
            Evidence(label="fullest worker", value=_share(w), unit="share", limit=e.memory_pause),
            Evidence(label="paused workers", value=sum(a.status == "paused" for a, _ in full), unit="count"),
            *_free(disk),
        ),
        at=at,
        fixes=(fix,) if fix is not None else (),
        loss_bytes=sum(max(0, a.managed) for a, _ in full),
    )


def _more_room(
    disk: _Disk, e: WorkerEnvironment, cluster: Cluster, code: Sequence[Cell], limit: Thresholds
) -> tuple[Fix | None, Location | None]:
    free = disk.free
    value, told = "False", "no limit but the disk"
    if free is not None:
        # All workers of the cluster may share the disk, not only those that were asked
        n = max(1, len(disk.workers))
        each = int(limit.offer_share * free / n) + (e.max_spill or 0)
        if each < 1.5 * (e.max_spill or 0):
            return None, None  # the disk itself has no room
        value = f'"{each / GiB:.0f} GiB"' if each >= 10 * GiB else f'"{each // MiB} MiB"'
        told = f"{words.nbytes(e.max_spill or 0)} → {words.nbytes(each)} for each worker, {words.nbytes(free)} are free"
    return settings_code.set_before(
        {"distributed.worker.memory.max-spill": value},
        code=code,
        cluster=cluster,
        title="Let workers write more to disk",
        expect=f"{told}. Holds for a cluster that is made anew: run the cells below again",
    )


def _place(disk: _Disk, cluster: Cluster, at: Location | None, limit: Thresholds) -> Iterator[Finding]:
    """The file system itself: no room, no disk, or not of this machine."""
    e = disk.places[0][1]
    directory, kind = words.code(e.local_directory), e.file_system or ""
    free = disk.free
    held = sum(max(0, w.managed) for w in disk.workers)
    has_written = disk.has_written(limit)
    n = words.count(len(disk.workers), "worker")
    severity: Severity
    if kind in _MEMORY and has_written and disk.spilled >= limit.least_share * disk.limits:
        is_critical = any(_is_full(*pair) for pair in disk.places)
        yield spill_disk_full.finding(
            severity="critical" if is_critical else "warning",
            subject="local-directory",
            message=f"{n} moved {words.nbytes(disk.spilled)} out of memory to {directory}, which is memory: "
            f"a `{kind}`, no disk.",
            why=f"What lies on `{kind}` counts against the memory of the machine as before. "
            "Moving it there costs time and frees nothing.",
            evidence=(
                Evidence(
                    label="written", value=disk.spilled, unit="bytes", limit=limit.least_share * disk.limits
                ),
                Evidence(label="file system", value=kind, unit="text"),
                *_free(disk),
            ),
            at=at,
            fixes=_elsewhere(cluster),
            loss_bytes=disk.spilled,
        )
    elif free is not None and has_written and free < limit.room * held:
        severity = "critical" if any(_is_full(*pair) for pair in disk.places) else "warning"
        yield spill_disk_full.finding(
            severity=severity,
            subject="local-directory",
            message=f"{n} still hold {words.nbytes(held)} in memory and write to a disk with "
            f"≈ {words.nbytes(max(0, free))} left: {directory}.",
            why="When the disk is full, data stay in memory, and only the worker's log tells. "
            "A worker that comes to its pause mark this way takes no tasks any more.",
            evidence=(
                Evidence(
                    label="free on the disk",
                    value=max(0, free),
                    unit="bytes",
                    limit=limit.room * held,
                    is_estimated=True,
                ),
                Evidence(label="written", value=disk.spilled, unit="bytes"),
                Evidence(label="held in memory", value=held, unit="bytes"),
            ),
            at=at,
            fixes=_elsewhere(cluster),
            loss_bytes=max(0, int(limit.room * held) - max(0, free)),
        )
    elif kind in _NETWORK:
        yield spill_disk_full.finding(
            severity="info",
            subject="local-directory",
            message=f"The directory of {n}, {directory}, is on a network file system (`{kind}`).",
            why="When memory is short, workers write there and read back. "
            "That is many times slower than a disk of the machine, and others share it.",
            evidence=(
                Evidence(label="file system", value=kind, unit="text"),
                Evidence(label="written", value=disk.spilled, unit="bytes"),
            ),
            at=at,
            fixes=_elsewhere(cluster),
        )


def _free(disk: _Disk) -> tuple[Evidence, ...]:
    free = disk.free
    if free is None:
        return ()
    return (Evidence(label="free on the disk", value=max(0, free), unit="bytes", is_estimated=True),)


def _elsewhere(cluster: Cluster) -> tuple[Fix, ...]:
    text = (
        '# where the cluster is made\ncluster = LocalCluster(local_directory="/a/large/disk")  # with your options'
        if cluster.is_in_process
        else f"# where the workers are started\ndask worker {cluster.address} --local-directory /a/large/disk"
    )
    return (
        fixes.advice(
            text,
            title="Have workers write to another disk",
            expect="a disk of the machine with room for what is to be moved out of memory",
        ),
    )
