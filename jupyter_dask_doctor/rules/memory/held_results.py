"""Results that nothing uses any more still fill the workers' memory.

## Why it matters
What was persisted, and every future, stays on the workers for as long as the notebook can still name it: by a
variable, by something lazy that is built on it, or by an output that IPython remembers (`Out[7]`, `_`). Work
that comes later has so much less room, and is written to disk and read back instead.

## Anti-pattern
    raw = raw.persist()
    clean = raw[raw.ok].persist()      # from here on only `clean` is used, and `raw` stays
    clean.persist()                    # shown: `Out[3]` keeps it as well

## Best practice
    clean = raw[raw.ok].persist()
    wait(clean)
    del raw

## How it is known
Bytes that a variable or an output keeps on the workers, and which computations and cells have used it since.
It speaks when that is 30 % of the memory of all workers (of several such results together) and three cells
have computed something since without any of them. It is a warning when memory was short in that time: the
workers were above 60 % of their limits together, or wrote to disk. Else it is only worth knowing.

## When it stays quiet
When a cell that has not run yet names the variable, or one that holds it; when a later computation read it,
by whatever name; when a later cell names it at all; when nothing was computed since.

## Fix safety
Needs review: a variable that is deleted must be computed again when it is wanted after all.

## References
https://distributed.dask.org/en/stable/memory.html
https://distributed.dask.org/en/stable/manage-computation.html
https://ipython.readthedocs.io/en/stable/interactive/magics.html#magic-xdel
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import kept, runs
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Kernel, Load, TaskGroup
from ...words import MiB
from ..registry import rule

_OUTPUT = re.compile(r"Out\[\d+\]|_+\d*")
_NUMBERED = re.compile(r"Out\[(\d+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of the memory of all workers that unused results must take together.
    memory_share: float = 0.3
    #: Bytes below which nothing is said.
    nbytes: int = 64 * MiB
    #: Cells that must have computed something since the last use.
    cells: int = 3
    #: Share of their memory that the workers must have used since for a warning (Dask spills from 0.6 on).
    used_share: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unused:
    """A result, when it was used last, and the cells that have computed something since."""

    collection: Collection
    nbytes: int
    since: float
    later: int


@rule(
    id="held-results",
    title="Unused results fill the workers' memory",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    # Where memory is not short it is only worth knowing, and what was kept for nothing says why
    yields_to={"unused-persist": "subject"},
    measure=kept.measure,
)
def held_results(
    collections: tuple[Collection, ...],
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...],
    cluster: Cluster,
    limit: Thresholds,
    groups: tuple[TaskGroup, ...] = (),
    load: tuple[Load, ...] = (),
    kernel: Kernel | None = None,
) -> Iterator[Finding]:
    memory = kept.room(cluster, load, kernel)
    if memory <= 0:
        return
    held: dict[str, Collection] = {}
    for c in collections:
        if c.is_persisted and c.nbytes is not None and c.nbytes.nbytes > 0:
            held.setdefault(c.group or c.name, c)
    if sum(c.nbytes.nbytes for c in held.values() if c.nbytes) < limit.memory_share * memory:
        return
    unused = [u for c in held.values() if (u := _unused(c, computations, code, groups, limit)) is not None]
    unused.sort(key=lambda u: -u.nbytes)
    total = sum(u.nbytes for u in unused)
    if total >= limit.nbytes and total >= limit.memory_share * memory:
        yield _finding(unused, total, memory, code, load, limit)


def _unused(
    c: Collection,
    computations: Sequence[Computation],
    code: Sequence[Cell],
    groups: Sequence[TaskGroup],
    limit: Thresholds,
) -> _Unused | None:
    names = {c.name, *(name for name in c.held_by if fixes.is_name(name))}
    reading = {g.computation_id for g in groups if c.group is not None and c.group in g.dependencies}
    binding = runs.cell_at(code, c.at)
    used = [0.0 if binding is None else binding.stopped or binding.started or 0.0]
    for cell in code:
        if not names.intersection(_used(cell.source)) and not _speaks_of_output(cell, c):
            continue
        if cell.started is None:
            return None  # it is about to be used
        used.append(cell.stopped or cell.started)
        if cell.stopped is None:
            return None
    for k in computations:
        made_it = c.group is not None and any(g.name == c.group and g.computation_id == k.id for g in groups)
        if made_it or k.id in reading or (c.group is not None and c.group in {*k.reused, *k.names}):
            used.append(max(k.submitted, k.stop or k.submitted))
    since = max(used)
    if since <= 0:
        return None  # nobody knows where it comes from
    later = {
        (k.at.cell_id, k.at.execution_count) if k.at is not None else k.id
        for k in computations
        if k.submitted > since
    }
    if len(later) < limit.cells or c.nbytes is None:
        return None
    return _Unused(collection=c, nbytes=c.nbytes.nbytes, since=since, later=len(later))


@functools.lru_cache(maxsize=512)
def _used(text: str) -> frozenset[str]:
    """The variables that a cell names, but for those that it only deletes."""
    tree = source.parse(text)
    nodes = ast.walk(tree) if tree is not None else ()
    return frozenset(n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Del))


def _speaks_of_output(cell: Cell, c: Collection) -> bool:
    """`Out[7]`, `_7` or `_` in a cell may mean what an output keeps."""
    if fixes.is_name(c.name) and not any(_OUTPUT.fullmatch(name) for name in c.held_by):
        return False
    number = re.search(r"\d+", c.name)
    return bool({"Out", f"_{number[0]}" if number else "_"} & _used(cell.source))


def _finding(
    unused: Sequence[_Unused],
    total: int,
    memory: int,
    code: Sequence[Cell],
    load: Sequence[Load],
    limit: Thresholds,
) -> Finding:
    c = unused[0].collection
    later = min(u.later for u in unused)
    since = max(u.since for u in unused)
    points = [p for p in load if p.time >= since]
    used = max((p.managed + p.unmanaged for p in points), default=0) / memory
    spilled = max((p.spilled for p in points), default=0)
    is_short = used >= limit.used_share or spilled >= limit.nbytes
    severity: Severity = "warning" if is_short else "info"
    others = f" (with {words.count(len(unused) - 1, 'other')})" if len(unused) > 1 else ""
    evidence = [
        Evidence(
            label="kept on the workers and not used",
            value=total,
            unit="bytes",
            limit=limit.memory_share * memory,
            is_estimated=any(
                u.collection.nbytes is not None and u.collection.nbytes.known == "estimated" for u in unused
            ),
        ),
        Evidence(label="memory of all workers", value=memory, unit="bytes"),
        Evidence(
            label="cells that computed something since",
            value=later,
            unit="count",
            limit=limit.cells,
        ),
    ]
    if points:
        evidence.append(
            Evidence(
                label="most of their memory in use since", value=used, unit="share", limit=limit.used_share
            )
        )
    if spilled:
        evidence.append(Evidence(label="written to disk", value=spilled, unit="bytes"))
    holders = [name for name in c.held_by if name != c.name]
    if holders:
        shown = ", ".join(words.code(name) for name in holders[:5])
        evidence.append(Evidence(label="also kept by", value=shown, unit="text"))
    return held_results.finding(
        severity=severity,
        subject=c.name,
        message=f"{words.code(c.name)}{others} keeps {words.nbytes(total)} on the workers, "
        f"{words.share(total / memory)} of their memory, and the last {words.count(later, 'cell')} that computed "
        "something did not use it.",
        why="What a variable, or an output that IPython remembers, can still name stays on the workers. "
        "Later work has so much less room: it is written to disk, or workers pause.",
        evidence=tuple(evidence),
        at=c.at,
        fixes=_fixes(unused, total, code),
        loss_bytes=total,
    )


def _fixes(unused: Sequence[_Unused], total: int, code: Sequence[Cell]) -> tuple[Fix, ...]:
    variables: dict[str, None] = {}
    shown: dict[str, None] = {}
    for u in unused:
        for name in (u.collection.name, *u.collection.held_by):
            if output := _NUMBERED.fullmatch(name):
                shown[f"_{output[1]}"] = None
            elif fixes.is_name(name) and not _OUTPUT.fullmatch(name):
                variables[name] = None
    if shown:
        # Also out of `_`, `__` and the last result; says so and goes on when a name is gone already
        text = "\n".join(f"%xdel {name}" for name in (*variables, *shown))
    else:
        text = f"del {', '.join(variables)}" if variables else ""
    if not text:
        return ()
    told = ", ".join(words.code(name) for name in variables) or words.code(unused[0].collection.name)
    title = f"Let go of {told}"
    also = f"; {words.count(len(shown), 'output')} forgotten" if shown and variables else ""
    expect = f"{words.nbytes(total)} free on the workers{also}"
    # After the last cell that needs it: below the one that ran last of those that name it
    names = {*variables}
    naming = [cell for cell in code if cell.started is not None and names & source.names(cell.source)]
    last = max(naming, key=lambda cell: cell.started or 0.0, default=None)
    last = last or runs.cell_at(code, unused[0].collection.at)
    if last is None:
        return (fixes.advice(text, title=title, expect=expect),)
    return (fixes.insert_below(last, text, title=title, expect=expect, rerun=None),)
