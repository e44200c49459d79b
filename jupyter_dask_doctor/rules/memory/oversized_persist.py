"""A `persist()` of more than the workers can hold.

## Why it matters
`persist()` keeps every partition in the workers' memory until the last variable that names it is gone. From
60 % of their memory on, workers write the rest to disk and read it back for each use; above that they pause,
and tasks that need room to work in get their worker killed.

## Anti-pattern
    images = da.from_zarr(path).persist()               # 120 GiB on workers with 64 GiB in all

## Best practice
    thumbs = da.from_zarr(path)[:, ::8, ::8].persist()  # select first
    thumbs.mean(axis=0).compute()

Or write an intermediate result to Parquet or Zarr and read it from there: that costs one pass over the disk
instead of one for each use, and nobody runs out of memory.

## How it is known
Bytes of the collection against the memory limits of all workers together, with what other variables keep
persisted already. Before the cell runs, from its text, where the size is exact (chunks of arrays, partitions
in memory) or reckoned (marked "≈"); while it runs and afterwards from the partitions that are there, once a
twentieth of them are. A warning above 0.6, where workers begin to write to disk; critical above all there is.

## When it stays quiet
Sizes that are not known, or under 256 MiB and a tenth of the memory; `persist()` of anything made from the
collection, as in `x[:100].persist()`; variables that are bound anew before the call; calls in functions and
conditions; workers without a limit on other machines; clusters that grow by themselves, or whose workers
are still coming.

## Fix safety
Needs review: without `persist()` each computation makes the data again.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#persist-intelligently
https://distributed.dask.org/en/stable/manage-computation.html
https://distributed.dask.org/en/stable/worker-memory.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import planned
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Kernel, Load, Location, Size
from ...words import MiB
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes below which nothing is said.
    nbytes: int = 256 * MiB
    #: Share of the memory of all workers below which nothing is said of one collection.
    least_share: float = 0.1
    #: Share of it, all that is kept included, for a warning (Dask begins to write to disk at 0.6).
    memory_share: float = 0.6
    #: Share from which it is critical.
    full_share: float = 1.0
    #: Share of the partitions that must be there before the others are reckoned from them.
    seen_share: float = 0.05
    #: Seconds since the last worker came before a cluster on other machines counts as complete.
    settled_seconds: float = 60.0


def _measure(
    subject: str,
    at: Location | None,
    *,
    collections: tuple[Collection, ...],
    **_: object,
) -> tuple[Measure, ...]:
    kept = sum(size.nbytes for c in _kept(collections) if (size := _size(c, 0.0)) is not None)
    return (Measure(label="kept on the workers", value=kept, unit="bytes"),)


@rule(
    id="oversized-persist",
    title="More is persisted than the workers hold",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections",),
    yields_to={"held-results": "subject"},
    measure=_measure,
)
def oversized_persist(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
    kernel: Kernel | None = None,
    load: tuple[Load, ...] = (),
) -> Iterator[Finding]:
    memory = _memory(cluster, kernel, load)
    if memory is None or cluster.is_adaptive:
        return
    kept = _kept(collections)
    told: set[str] = set()
    lazy = [c for c in collections if not c.is_persisted and c.nbytes is not None]
    if not cluster.is_in_process and _is_growing(load, limit):
        lazy = []  # others may be on their way
    for plan in planned.planned(code, lazy, "persist"):
        told.update(c.name for c in plan.collections)
        held = _sum(kept, limit)
        yield from _judged(plan.collections, held, memory, plan, plan.at, load, limit)
    largest = max(kept, key=lambda c: _sum([c], limit), default=None)
    for c in kept:
        # Where only all of them together are too much, the largest speaks
        if c.name not in told and (c is largest or _sum([c], limit) > limit.memory_share * memory):
            held = _sum([o for o in kept if o is not c], limit)
            yield from _judged((c,), held, memory, None, c.at, load, limit)


def _memory(cluster: Cluster, kernel: Kernel | None, load: Sequence[Load]) -> int | None:
    """Of all workers together: a worker that is restarted just now will be back."""
    if cluster.memory_limit is None:
        total = kernel.memory_total if cluster.is_in_process and kernel is not None else None
        return total if total is not None and total > 0 else None
    return max([cluster.memory_limit, *(p.memory_limit for p in load if p.memory_limit)]) or None


def _is_growing(load: Sequence[Load], limit: Thresholds) -> bool:
    """Did workers come in the last minute? Of a cluster on other machines they come one after the other."""
    recent = [p.n_workers for p in load if load[-1].time - p.time <= limit.settled_seconds]
    return bool(recent) and min(recent) < recent[-1]


def _kept(collections: Sequence[Collection]) -> list[Collection]:
    """What is persisted, the same partitions once."""
    found: dict[str, Collection] = {}
    for c in collections:
        if c.is_persisted and c.kind != "futures":
            found.setdefault(c.group or c.name, c)
    return list(found.values())


def _size(c: Collection, seen_share: float) -> Size | None:
    """As known, else reckoned from the partitions that are there."""
    if c.nbytes is not None:
        return c.nbytes
    if c.sizes is None or not c.npartitions or c.sizes.n < max(3, seen_share * c.npartitions):
        return None
    return Size(nbytes=c.sizes.total * c.npartitions // c.sizes.n, known="estimated")


def _sum(collections: Sequence[Collection], limit: Thresholds) -> int:
    sizes = [_size(c, limit.seen_share) for c in collections]
    return sum(size.nbytes for size in sizes if size is not None)


def _judged(
    wanted: Sequence[Collection],
    held: int,
    memory: int,
    plan: planned.Planned | None,
    at: Location | None,
    load: Sequence[Load],
    limit: Thresholds,
) -> Iterator[Finding]:
    sizes = [(size, c) for c in wanted if (size := _size(c, limit.seen_share)) is not None]
    if not sizes:
        return
    nbytes = sum(size.nbytes for size, _ in sizes)
    largest, one = max(sizes, key=lambda pair: pair[0].nbytes)
    if nbytes < limit.nbytes or nbytes < limit.least_share * memory:
        return
    share = (nbytes + held) / memory
    if share <= limit.memory_share:
        return
    severity: Severity = "critical" if share > limit.full_share else "warning"
    about = "≈ " if any(size.known == "estimated" for size, _ in sizes) else ""
    name = words.code(one.name)
    others = f" with the {words.nbytes(held)} kept already" if held else ""
    will = f"would take{others}" if plan is not None else f"takes{others}"
    noun = name if len(wanted) == 1 else f"{name} and {words.count(len(wanted) - 1, 'other')}"
    spilled = load[-1].spilled if load else 0
    evidence = [
        Evidence(
            label="to be kept" if plan is not None else "kept on the workers",
            value=nbytes,
            unit="bytes",
            is_estimated=bool(about),
        ),
        Evidence(
            label="memory of all workers",
            value=memory,
            unit="bytes",
            limit=(nbytes + held) / limit.memory_share,
        ),
        Evidence(label="share of their memory", value=share, unit="share", limit=limit.memory_share),
    ]
    if held:
        evidence.append(Evidence(label="kept by other variables", value=held, unit="bytes"))
    if plan is None and spilled:
        evidence.append(Evidence(label="written to disk by now", value=spilled, unit="bytes"))
    yield oversized_persist.finding(
        severity=severity,
        subject=one.name,
        message=f"Keeping {noun} in memory {will} {about}{words.nbytes(nbytes + held)}: "
        f"{words.share(share)} of the {words.nbytes(memory)} that all workers have.",
        why="From 60 % of its memory on a worker writes what it keeps to disk and reads it back for each use. "
        "What is left for the work itself is too little: workers pause, or are killed.",
        evidence=tuple(evidence),
        at=at,
        fixes=_fixes(one, largest, plan),
        loss_bytes=max(0, nbytes + held - int(limit.memory_share * memory)),
    )


def _fixes(one: Collection, size: Size, plan: planned.Planned | None) -> tuple[Fix, ...]:
    if not fixes.is_name(one.name):
        return ()
    name, found = words.code(one.name), []
    expect = f"{words.nbytes(size.nbytes)} less in memory; each computation makes {name} again"
    if plan is not None and isinstance(plan.call.func, ast.Attribute) and not plan.call.args:
        where = source.span(plan.cell.source, plan.call)
        made = fixes.replace(
            plan.cell, where, one.name, title=f"Leave {name} lazy", expect=expect, rerun=plan.at
        )
        found += [made] if made is not None else []
    if one.kind == "array":
        text = f'{one.name}.to_zarr("{one.name}.zarr")\n{one.name} = da.from_zarr("{one.name}.zarr")  # needs zarr'
    elif one.kind == "dataframe":
        text = (
            f'{one.name}.to_parquet("{one.name}.parquet")\n{one.name} = dd.read_parquet("{one.name}.parquet")'
        )
    else:
        return tuple(found)
    found.append(
        fixes.advice(
            text,
            title=f"Keep {name} on disk instead",
            expect="written once, partition by partition, and read from there; all workers must see the path",
        )
    )
    return tuple(found)
