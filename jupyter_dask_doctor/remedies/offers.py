"""Whole offers that several rules make: cut a collection, give workers more room. Built from `fixes`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Cluster, Collection, Load, Location, PartitionSizes, Worker
from ..words import GiB
from . import fixes

#: From here on a partition counts as larger than its neighbours.
UNEVEN = 4.0
#: Memory in use over the bytes of the partitions in work from which the work itself is what needs it.
AMPLIFIED = 20
#: Pieces of each partition where its size is not known.
BLIND_PARTS = 4


def cut(
    c: Collection,
    target: int,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """Partitions of at most about `target` bytes: only the large ones are cut when they stand out."""
    sizes = c.sizes
    if sizes is not None and sizes.n >= 8 and sizes.largest >= UNEVEN * max(1, sizes.median):
        found = cut_large(c, sizes, cluster=cluster, load=load, code=code, ailing=ailing)
        if found:
            return found
    return cut_all(c, target, cluster=cluster, load=load, code=code, ailing=ailing)


def cut_large(
    c: Collection,
    sizes: PartitionSizes,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """The few large partitions into pieces like the others; the others stay as they are."""
    binding = runs.cell_at(code, c.at)
    if c.kind == "array":
        return cut_all(
            c,
            max(fixes.SMALLEST, min(fixes.TARGET, sizes.median)),
            cluster=cluster,
            load=load,
            code=code,
            ailing=ailing,
        )
    if c.kind not in ("dataframe", "series") or c.npartitions != sizes.n or c.is_eager:
        return ()
    pieces = fixes.pieces(sizes, ratio=UNEVEN, nthreads=cluster.nthreads)
    text = fixes.split(c, pieces, cluster=cluster)
    if not text:
        return ()
    in_order = len(sizes.values) == sizes.n
    large = {i: sizes.values[i] if in_order else sizes.largest for i in pieces}
    moved = sum(large.values())
    needed = moved if c.is_persisted else moved + sizes.total
    piece = max(large[i] // k for i, k in pieces.items())
    which = f"partition {min(pieces)}" if len(pieces) == 1 else f"{len(pieces)} large partitions"
    title = f"Cut {which} of {words.code(c.name)} into smaller ones"
    expect = (
        f"largest partition {words.nbytes(sizes.largest)} → about {words.nbytes(piece)}, "
        f"+{sum(pieces.values()) - len(pieces)} partitions; "
        f"{words.nbytes(needed)} more memory while both are held; "
        "same rows in the same order, divisions become unknown"
    )
    if not fixes.has_room(needed, cluster, load, share=cluster.memory_pause):
        return (fixes.advice(text, title=title, expect=f"{expect}. There is no room for that in memory now"),)
    return (fixes.rebind(c.name, text, binding=binding, ailing=ailing, title=title, expect=expect),)


def cut_all(
    c: Collection,
    target: int,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """All partitions into equally many pieces, the largest into pieces of at most about `target` bytes."""
    largest = c.largest.nbytes if c.largest else c.sizes.largest if c.sizes else 0
    if largest <= target:
        return ()
    if c.kind == "array":
        text = fixes.rechunk(c, target)
        count = ""
    else:
        # A multiple of the present count: then every partition is cut into equally many pieces
        n = fixes.partition_count((c.npartitions or 0) * math.ceil(largest / target), cluster)
        text = fixes.repartition(c, n, cluster=cluster) if c.npartitions else ""
        count = f", {c.npartitions:,} → {n:,} partitions" if c.npartitions else ""
    if not text:
        return ()
    title = f"Cut {words.code(c.name)} into {'chunks' if c.kind == 'array' else 'partitions'} that fit"
    noun = "chunk" if c.kind == "array" else "partition"
    expect = f"largest {noun} {words.nbytes(largest)} → about {words.nbytes(target)}{count}"
    return _rebound(c, text, title, expect, cluster=cluster, load=load, code=code, ailing=ailing)


def glue(
    c: Collection,
    n: int,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """Fewer, larger partitions."""
    n = fixes.partition_count(n, cluster)
    if c.npartitions is None or n >= c.npartitions:
        return ()
    held = c.nbytes.nbytes if c.nbytes else None
    if c.kind == "array":
        text = fixes.rechunk(c, math.ceil(held / n)) if held else ""
    else:
        text = fixes.repartition(c, n, cluster=cluster)
    if not text:
        return ()
    noun = "chunks" if c.kind == "array" else "partitions"
    title = f"Make {words.code(c.name)} of fewer, larger {noun}"
    size = f", about {words.nbytes(held / n)} each" if held else ""
    # What makes the partitions of a lazy one still makes them as they are now
    tasks = "tasks" if c.is_persisted else "tasks behind it"
    times = words.times(c.npartitions / n)
    expect = f"{c.npartitions:,} → {n:,} {noun}{size}; {tasks} shrink by about {times}"
    return _rebound(c, text, title, expect, cluster=cluster, load=load, code=code, ailing=ailing)


def spread(
    c: Collection,
    n: int,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """More partitions, so that there is work for all threads, whatever their size."""
    n = fixes.partition_count(n, cluster)
    if not c.npartitions or n <= c.npartitions:
        return ()
    held = c.nbytes.nbytes if c.nbytes else None
    if c.kind == "array":
        text = fixes.rechunk(c, max(1, held // n)) if held else ""
    else:
        text = fixes.repartition(c, n, cluster=cluster)
    if not text:
        return ()
    noun = "chunks" if c.kind == "array" else "partitions"
    title = f"Cut {words.code(c.name)} into {words.count(n)} {noun}"
    expect = f"{words.count(c.npartitions)} → about {words.count(n)} {noun}: work for all {cluster.nthreads} threads"
    if not c.is_persisted:
        expect += "; what comes before the cut is done as now"
    return _rebound(c, text, title, expect, cluster=cluster, load=load, code=code, ailing=ailing)


def relieve(
    c: Collection,
    *,
    peak: int | None,
    worker: Worker,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """Partitions so small that those in work at once stay below the target mark of `worker`.

    `peak`: its highest memory while it worked on this collection. Partitions that are small in themselves are
    only cut further when the memory in use was many times theirs: then the work on one is what fills it.
    """
    largest = c.largest.nbytes if c.largest else 0
    room = cluster.memory_target * (worker.memory_limit or 0)
    threads = max(1, min(worker.nthreads, c.npartitions or 1))
    if room > 0 and c.largest is None and c.sizes is None and c.npartitions and not c.is_persisted:
        if any(name.startswith("repartition") for name in c.names):
            return ()  # it was cut already and that was no help
        n = fixes.partition_count(BLIND_PARTS * c.npartitions, cluster)
        text = fixes.repartition(c, n, cluster=cluster)
        title = f"Cut {words.code(c.name)} into smaller partitions"
        expect = f"{c.npartitions:,} → {n:,} partitions whose size is not known: less of it in work at once"
        binding = runs.cell_at(code, c.at)
        made = fixes.rebind(c.name, text, binding=binding, ailing=ailing, title=title, expect=expect)
        return (made,) if text else ()
    if largest <= 0 or room <= 0:
        return ()
    parts = max(2, math.ceil((peak or 0) / room))
    target = min(fixes.TARGET, int(room / (3 * threads)), largest // parts)
    if target < fixes.SMALLEST:
        if (peak or 0) >= AMPLIFIED * threads * largest:
            target = largest // parts
        elif largest > fixes.SMALLEST:
            target = fixes.SMALLEST
        else:
            return ()
    return cut(c, target, cluster=cluster, load=load, code=code, ailing=ailing)


def more_room(workers: Sequence[Worker], load: Sequence[Load]) -> tuple[Fix, ...]:
    """For whoever makes the cluster: fewer threads per worker, or more memory. Never inserted."""
    room = [w for w in workers if w.memory_limit]
    if not room:
        return ()
    worker = min(room, key=lambda w: w.memory_limit or 0)
    # One that was killed may not be back yet
    n_workers = max(len(workers), *(sample.n_workers for sample in load), 0)
    limit, threads = worker.memory_limit or 0, worker.nthreads
    if threads > 1:
        kept = max(1, threads // 2)
        title = f"Run workers with {words.count(kept, 'thread')} instead of {threads}"
        room_before, room_after = words.nbytes(limit / threads), words.nbytes(limit / kept)
        expect = f"memory per thread {room_before} → {room_after}, less done at once"
        memory = limit
    else:
        kept, memory = threads, 2 * limit
        title = "Give each worker more memory"
        expect = f"memory per worker {words.nbytes(limit)} → {words.nbytes(memory)}, if the machine has it"
    text = (
        "# where the cluster is made\n"
        f"cluster = LocalCluster(n_workers={n_workers}, threads_per_worker={kept}, "
        f'memory_limit="{memory / GiB:.2f}GiB")'
    )
    return (fixes.advice(text, title=title, expect=expect),)


def _rebound(
    c: Collection,
    text: str,
    title: str,
    expect: str,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    if c.is_persisted:
        held = c.nbytes.nbytes if c.nbytes else c.sizes.total if c.sizes else None
        if held is None or not fixes.has_room(held, cluster, load, share=cluster.memory_pause):
            return (
                fixes.advice(
                    text, title=title, expect=f"{expect}. Both versions do not fit in memory at once"
                ),
            )
        expect += f"; {words.nbytes(held)} more memory while both are held"
    binding = runs.cell_at(code, c.at)
    return (fixes.rebind(c.name, text, binding=binding, ailing=ailing, title=title, expect=expect),)
