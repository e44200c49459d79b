"""A step cuts an array into very many small chunks, makes one huge chunk, or reads a store against its grain.

## Why it matters
Two arrays can only be worked on together when their chunks have the same edges. Where they have not, Dask cuts
both along the edges of either: 100 columns of chunks plus 100 rows of chunks make 10,000 little ones, each of
them several tasks. The other way round a `reshape` or `rechunk` can put so much into one chunk that no worker has
room for it. And chunks that cut across those of a zarr or HDF5 store make each stored chunk be read and unpacked
several times.

## Anti-pattern
    x = da.random.random((20_000, 20_000), chunks=(20_000, 200))   # columns
    y = x + x.T                                                    # columns and rows: 100 → 10,000 chunks

## Best practice
    x = da.random.random((20_000, 20_000), chunks=(3_334, 3_334))  # squares: 36 chunks of 85 MiB
    y = x + x.T

## How it is known
Before anything runs, from the chunks of each step in the graph of an array: `rechunk`, `reshape`, slicing, and the
cutting anew that Dask does on its own to fit arrays to each other. Of a store, from the chunks it has on disk and
those it is read in. Too many: ten times those of the input (where Dask itself warns), at least 2,000, the
largest below 16 MiB, and at least a second of handling at 0.6 ms for each task. Too large: four times the largest
of the input, at least 64 MiB, and either more than 1 GiB or, times three for each of a worker's threads, more
than 0.6 of its memory. Against the grain: each stored chunk is read twice or more, and that is 256 MiB more.

## When it stays quiet
One odd chunk at the edge; few chunks; a `rechunk` along one axis, as for an FFT or `map_overlap`, whose chunks fit
in memory, also when there are ten times as many; chunks of a good size, however many; lengths that are not known;
large chunks that ran and fitted.

## Fix safety
Needs review: the array's chunks change, and with them the memory that later steps need; offered
chunks are at most 100 MiB and fit the threads of a worker.

## References
https://docs.dask.org/en/stable/array-chunks.html
https://docs.dask.org/en/stable/array-best-practices.html
https://github.com/dask/dask/issues/8110
https://github.com/dask/dask/issues/5159
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import chunking, fixes
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Collection, Computation, Location, Operation, Read, Worker
from ...words import GiB, MiB
from ..registry import rule

_KINDS = {
    "rechunk": "`rechunk` cuts it",
    "reshape": "`reshape` cuts it",
    "slicing": "slicing cuts it",
    "alignment": "chunks that do not fit each other are cut",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Chunks after the step over those before it (Dask warns at 10) and how many there must be at least.
    ratio: float = 10.0
    n_chunks: int = 2_000
    #: Chunks of this size are not small, however many.
    small_nbytes: int = 16 * MiB
    #: Seconds that one more task costs (docs: 200 µs to 1 ms), and what all of them must cost.
    task_seconds: float = 0.0006
    loss_seconds: float = 1.0
    #: Share of what the computation took that this must be, once it ran.
    loss_share: float = 0.05
    #: The largest chunk after the step over the largest before it, and its bytes below which nothing is said.
    growth: float = 4.0
    huge_floor: int = 64 * MiB
    #: Bytes of one chunk that are too many on any worker (Dask's advice: about 100 MB, below 1 GB).
    huge_nbytes: int = 1 * GiB
    #: Chunks in memory at once for each thread, and the share of a worker's limit they may take.
    copies: int = 3
    memory_share: float = 0.6
    #: Times that each stored chunk is read, and the bytes read again, from which it is told.
    reads: float = 2.0
    read_nbytes: int = 256 * MiB


def _measure(
    subject: str, at: Location | None, *, collections: tuple[Collection, ...], **_: object
) -> tuple[Measure, ...]:
    for c in collections:
        if c.name == subject and c.npartitions is not None:
            largest = (
                (Measure(label="largest chunk", value=c.largest.nbytes, unit="bytes"),) if c.largest else ()
            )
            return (Measure(label="chunks", value=c.npartitions, unit="count"), *largest)
    return ()


@rule(
    id="chunk-explosion",
    title="Chunks that do not fit",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    measure=_measure,
)
def chunk_explosion(
    collections: tuple[Collection, ...],
    workers: tuple[Worker, ...],
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    room = _room(workers)
    arrays = [c for c in collections if c.kind == "array"]
    told: set[str] = set()
    newest = runs.newest(computations, code)
    asked = [(c, u.at) for u in newest for c in u.asked if c.kind == "array"]
    for c, at in [*((c, c.at) for c in arrays), *asked]:
        for step in c.operations:
            if step.name in told or step.kind not in _KINDS:
                continue
            found = _too_many(c, step, at, newest, arrays, room, code, limit) or _too_large(
                c, step, at, newest, room, code, limit
            )
            if found is not None:
                # One array, one finding; what else is in its tree comes with it
                told.update(other.name for other in c.operations)
                yield found
                break
        for read in c.reads:
            place = f"{read.path}:{read.shape}:{read.chunks}:{read.asked_chunks}"
            found = _against_the_grain(c, read, at, room, code, limit) if place not in told else None
            if found is not None:
                told.add(place)
                yield found


def _room(workers: Sequence[Worker]) -> tuple[int, int] | None:
    """(memory limit, threads) of the worker with the least memory for each thread."""
    known = [(w.memory_limit, max(1, w.nthreads)) for w in workers if w.memory_limit]
    return min(known, key=lambda one: one[0] / one[1], default=None)


def _ran(c: Collection, newest: Sequence[Computation], code: Sequence[Cell]) -> list[Computation]:
    """The computations that made it."""
    return [u for u in newest if c in u.asked or c in runs.read_by(u, (c,), code)]


def _target(room: tuple[int, int] | None, limit: Thresholds) -> int:
    if room is None:
        return fixes.TARGET
    memory, threads = room
    return max(MiB, min(fixes.TARGET, int(0.8 * limit.memory_share * memory / (limit.copies * threads))))


def _too_many(
    c: Collection,
    step: Operation,
    at: Location | None,
    newest: Sequence[Computation],
    arrays: Sequence[Collection],
    room: tuple[int, int] | None,
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding | None:
    before = [n for n in step.n_in if n]
    n = step.n_out
    if n is None or not before or n < limit.n_chunks or n < limit.ratio * max(before):
        return None
    if step.largest_out is None or step.largest_out >= limit.small_nbytes:
        return None
    # Of all tasks, those that would not be there with the chunks before
    loss = max(n, c.n_tasks or 0) * (1 - max(before) / n) * limit.task_seconds
    lasted = sum(wall for u in _ran(c, newest, code) if (wall := runs.wall(u)) is not None) or None
    if lasted is not None:
        loss = min(loss, lasted)
    if loss < limit.loss_seconds or (lasted is not None and loss < limit.loss_share * lasted):
        return None
    target = _target(room, limit)
    offered: tuple[Fix, ...] = ()
    if step.kind == "alignment":
        offered = chunking.aligned(c, arrays, target, code)
    elif step.kind == "rechunk":
        offered = chunking.recut(c, step, target, code)
    elif step.kind == "reshape":
        offered = chunking.reshaped(c, step, code)
    if not offered:
        offered = _shown(c, target)
    verb = _KINDS[step.kind]
    name = words.code(c.name or step.kind)
    return chunk_explosion.finding(
        severity="warning",
        subject=c.name or step.kind,
        message=f"{name} goes from {max(before):,} chunks to {n:,} of at most {words.nbytes(step.largest_out)}: {verb} "
        "into small pieces.",
        why="Each chunk is at least one task for every step that follows, at 0.2 to 1 ms of overhead each, and "
        "so little data is worked on in less time than that.",
        evidence=(
            Evidence(label="chunks before", value=max(before), unit="count"),
            Evidence(label="chunks after", value=n, unit="count", limit=limit.n_chunks),
            Evidence(
                label="largest chunk after", value=step.largest_out, unit="bytes", limit=limit.small_nbytes
            ),
            Evidence(
                label="handling them", value=loss, unit="seconds", limit=limit.loss_seconds, is_estimated=True
            ),
        ),
        at=at,
        fixes=offered,
        loss_seconds=loss,
        of_seconds=lasted,
    )


def _shown(c: Collection, target: int) -> tuple[Fix, ...]:
    size = chunking.itemsize(c)
    chunks = chunking.shape_near(c.shape, size, target) if size is not None else None
    if chunks is None or not fixes.is_name(c.name):
        return ()
    n = chunking.count(c.shape, chunks)
    return (
        fixes.advice(
            f"{c.name} = {c.name}.rechunk({chunking.written(chunks)})  # the arrays that it is made from, too",
            title=f"Choose other chunks for {words.code(c.name)}",
            expect=f"{c.npartitions or 0:,} → {n:,} chunks of about {words.nbytes(math.prod(chunks) * size)}"
            if size
            else f"{n:,} chunks",
        ),
    )


def _too_large(
    c: Collection,
    step: Operation,
    at: Location | None,
    newest: Sequence[Computation],
    room: tuple[int, int] | None,
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding | None:
    before, after = step.largest_in, step.largest_out
    if not before or after is None or after < limit.huge_floor or after < limit.growth * before:
        return None
    threads = min(room[1], step.n_out or 1) if room is not None else 1
    needed = after * threads * limit.copies
    is_tight = room is not None and needed > limit.memory_share * room[0]
    if not is_tight and after <= limit.huge_nbytes:
        return None
    ran = _ran(c, newest, code)
    peak = runs.peak_worker_memory(ran)
    if peak is not None and all(u.is_done for u in ran) and room is not None:
        is_tight = peak >= limit.memory_share * room[0]
        if not is_tight:
            return None  # it has run, and it fitted
    severity: Severity = "critical" if room is not None and after * limit.copies > room[0] else "warning"
    target = _target(room, limit)
    offered = chunking.recut(c, step, target, code) if step.kind == "rechunk" else ()
    evidence = [
        Evidence(label="largest chunk before", value=before, unit="bytes"),
        Evidence(label="largest chunk after", value=after, unit="bytes", limit=limit.huge_nbytes),
    ]
    against = ""
    if room is not None:
        against = (
            f" {words.count(threads, 'thread')} at once need ≈ {words.nbytes(needed)} on workers with "
            f"{words.nbytes(room[0])}."
        )
        evidence.append(
            Evidence(
                label="needed on one worker",
                value=needed,
                unit="bytes",
                limit=limit.memory_share * room[0],
                is_estimated=True,
            )
        )
    if peak is not None:
        evidence.append(Evidence(label="peak memory of a worker", value=peak, unit="bytes"))
    how = {"rechunk": "`rechunk`", "reshape": "`reshape`", "slicing": "slicing"}.get(
        step.kind, "an operation"
    )
    return chunk_explosion.finding(
        severity=severity,
        subject=c.name or step.kind,
        message=f"In {words.code(c.name or step.kind)} {how} makes chunks of {words.nbytes(after)} from chunks of "
        f"{words.nbytes(before)}.",
        why=f"A chunk is worked on as a whole, in the memory of one worker.{against} "
        "Where there is no room it spills to disk, pauses, or is killed.",
        evidence=tuple(evidence),
        at=at,
        fixes=offered or _shown(c, target),
        loss_bytes=max(0, needed - int(limit.memory_share * room[0])) if room is not None else after,
    )


def _against_the_grain(
    c: Collection,
    read: Read,
    at: Location | None,
    room: tuple[int, int] | None,
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding | None:
    asked, stored = read.asked_chunks, read.chunks
    if not stored or len(asked) != len(stored) or min(asked) < 1 or min(stored) < 1:
        return None
    shape = read.shape if len(read.shape) == len(stored) else ()
    times = 1.0
    for d, (a, s) in enumerate(zip(asked, stored, strict=True)):
        s = min(s, shape[d]) if shape else s
        if not shape or a < shape[d]:
            times *= (a + s - math.gcd(a, s)) / a
    size = chunking.itemsize(c)
    whole = math.prod(shape) * size if shape and size else c.nbytes.nbytes if c.nbytes else None
    if times < limit.reads or whole is None or whole * (times - 1) < limit.read_nbytes:
        return None
    again = int(whole * (times - 1))
    offered = chunking.as_stored(c, read, shape or c.shape, size or 8, _target(room, limit), code)
    return chunk_explosion.finding(
        severity="warning",
        subject=c.name or "read",
        message=f"{words.code(c.name or read.path)} is read in chunks of {chunking.written(asked)} from a "
        f"{read.format} store that has {chunking.written(stored)}: each of its chunks is read {words.times(times)}.",
        why="A stored chunk can only be read and unpacked as a whole. Chunks that cut across it throw the rest away "
        "and read it again for their neighbours.",
        evidence=(
            Evidence(label="times each stored chunk is read", value=times, unit="ratio", limit=limit.reads),
            Evidence(
                label="read again", value=again, unit="bytes", limit=limit.read_nbytes, is_estimated=True
            ),
        ),
        at=at,
        fixes=offered,
        loss_bytes=again,
    )
