"""Something was persisted that is used once, or never: keeping it saved nothing.

## Why it matters
`persist()` makes all of a collection and keeps all of it on the workers. That pays from the second use on. What
is never used was made for nothing; what is used once could have been made on the way, with only the columns and
rows that the use needs, partition by partition, without filling memory.

## Anti-pattern
    raw = dd.read_parquet(path).persist()      # all 40 columns, 12 GiB
    raw.groupby("shop").amount.sum().compute() # the only use: 2 columns

## Best practice
    raw = dd.read_parquet(path)
    raw.groupby("shop").amount.sum().compute() # reads 2 columns, keeps nothing

## How it is known
The task group that holds a variable's partitions, and which graphs and groups have taken their input from it since.
It speaks when there was at most one such use, when three other cells have computed something since, and when it
keeps at least 64 MiB and 5 % of the workers' memory. Never used, it is a warning when making it took 1 s and
5 % of all work so far. Used once, it is a warning when memory was short meanwhile (60 % in use, or 64 MiB on
disk), else only worth knowing.

## When it stays quiet
A persist that was just made; a variable that a cell which has not run yet still names, or something made from
it; one handed to a function that may have used it (`client.gather`, `futures_of`); a persist in a loop or a
function; one that keeps a shuffle, a sort or a rechunk for its use. Results that were used well and then
forgotten are told by `held-results`, which speaks for both where memory is short.

## Fix safety
Safe where nothing else names the variable: no result changes. Else it needs review: each later use makes
the data again.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#persist-intelligently
https://distributed.dask.org/en/stable/manage-computation.html
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import kept, runs
from ...remedies import fixes
from ...report import Applicability, Evidence, Finding, Fix, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Kernel, Load, Location, TaskGroup
from ...words import MiB
from ..registry import rule

#: Steps that are dear and hold all data back: worth keeping even for one use.
_DEAR = re.compile(r"shuffle|set-?_?index|sort|p2p|rechunk", re.IGNORECASE)
#: Functions that a persisted collection is handed to without being used.
_WAITING = frozenset({"wait", "progress", "print", "display", "type", "id", "persist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Uses up to which keeping it saved nothing.
    uses: int = 1
    #: Bytes below which nothing is said, and their share of the memory of all workers.
    nbytes: int = 64 * MiB
    memory_share: float = 0.05
    #: Cells that must have computed something since the last use: a persist that was just made will be used.
    cells: int = 3
    #: Thread-seconds spent for nothing for a warning, and their share of all so far.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Share of the workers' memory in use that counts as short (Dask writes to disk from 0.6 on).
    used_share: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A persisted variable that was used at most once."""

    collection: Collection
    nbytes: int
    cell: Cell
    call: ast.Call
    #: The computations that made it and the one that read it, if any.
    made: tuple[Computation, ...]
    use: Location | None
    is_used: bool
    #: Since when nothing has touched it, and the cells that computed something since.
    since: float
    later: int


@rule(
    id="unused-persist",
    title="Persisted and used once at most",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    yields_to={"held-results": "subject", "oversized-persist": "subject"},
    measure=kept.measure,
)
def unused_persist(
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
    total = sum(c.thread_seconds or 0.0 for c in computations)
    seen: set[str] = set()
    for c in collections:
        nbytes = kept.nbytes(c)
        if not c.is_persisted or c.kind == "futures" or c.group is None or c.group in seen:
            continue
        seen.add(c.group)
        if nbytes < limit.nbytes or nbytes < limit.memory_share * memory:
            continue
        found = _kept(c, nbytes, collections, computations, code, groups, limit)
        if found is not None:
            yield _finding(found, memory, total, load, code, limit)


def _kept(
    c: Collection,
    nbytes: int,
    collections: Sequence[Collection],
    computations: Sequence[Computation],
    code: Sequence[Cell],
    groups: Sequence[TaskGroup],
    limit: Thresholds,
) -> _Kept | None:
    """None when it is of use, or when nobody can tell."""
    cell = runs.cell_at(code, c.at)
    call = _persist_of(cell, c.name) if cell is not None else None
    if cell is None or call is None or cell.started is None or cell.stopped is None:
        return None
    makers = {g.computation_id for g in groups if g.name == c.group}
    readers = {g.computation_id for g in groups if c.group in g.dependencies}
    made = tuple(k for k in computations if k.id in makers and k.method in ("persist", None))
    used = [
        k
        for k in computations
        if k.id not in makers and (k.id in readers or c.group in {*k.reused, *k.names})
    ]
    if used and any(_DEAR.search(name) for k in made for name in (*k.names, *(p for p, _ in k.layers))):
        return None
    since = [cell.stopped, *(max(k.submitted, k.stop or k.submitted) for k in used)]
    dependents = {x.name for x in collections if c.group in x.names and x.name != c.name}
    unknown = 0
    for other in code:
        named = source.names(other.source) & {c.name, *c.held_by, *dependents}
        if other is cell or not named:
            continue
        if other.started is None or other.stopped is None:
            return None  # it is about to be used
        if other.started < cell.started:
            continue
        since.append(other.stopped)
        place = Location(cell_id=other.id, execution_count=other.execution_count)
        is_seen = any(runs.same_cell(k.at, place) for k in used)
        if not is_seen and c.name in named and _may_use(other, c.name):
            unknown += 1
    if len(used) + unknown > limit.uses:
        return None
    later = {
        (k.at.cell_id, k.at.execution_count) if k.at is not None else k.id
        for k in computations
        if k.submitted > max(since)
    }
    if len(later) < limit.cells:
        return None
    return _Kept(
        collection=c, nbytes=nbytes, cell=cell, call=call, made=made, use=used[0].at if used else None,
        is_used=bool(used or unknown), since=max(since), later=len(later),
    )  # fmt: skip


def _persist_of(cell: Cell, name: str) -> ast.Call | None:
    """The one call of persist in the statement at the top of the cell that binds the variable."""
    tree = source.parse(cell.source)
    bound = [s for s in tree.body if source.binds(s, name)] if tree is not None else []
    if not bound:
        return None
    found = [
        n
        for n in ast.walk(bound[-1])
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "persist"
    ]
    return found[0] if len(found) == 1 else None


def _may_use(cell: Cell, name: str) -> bool:
    """Is it handed to a function that may use it without a graph, or is its content asked for?"""
    tree = source.parse(cell.source)
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {
            n.id
            for argument in (*node.args, *(k.value for k in node.keywords))
            for n in ast.walk(argument)
            if isinstance(n, ast.Name)
        }
        if name in given and called not in _WAITING:
            return True
    return False


def _finding(
    kept: _Kept,
    memory: int,
    total: float,
    load: Sequence[Load],
    code: Sequence[Cell],
    limit: Thresholds,
) -> Finding:
    c, name = kept.collection, words.code(kept.collection.name)
    spent = sum(k.thread_seconds or 0.0 for k in kept.made)
    points = [p for p in load if p.time >= (kept.cell.started or 0.0)]
    used = max((p.managed + p.unmanaged for p in points), default=0) / memory if memory else 0.0
    spilled = max((p.spilled for p in points), default=0)
    is_short = used >= limit.used_share or spilled >= limit.nbytes
    is_lost = not kept.is_used and spent >= limit.loss_seconds and spent >= limit.loss_share * total
    severity: Severity = "warning" if is_short or is_lost else "info"
    work = f", {words.seconds(spent)} of work" if spent and not kept.is_used else ""
    taken = f"{name} was persisted ({words.nbytes(kept.nbytes)} on the workers{work})"
    by = f" by [{n}]" if kept.use is not None and (n := kept.use.execution_count) is not None else ""
    if kept.is_used:
        said = f"{taken} and used only once{by}: keeping it saved nothing."
    else:
        said = f"{taken} and nothing has used it since."
    evidence = [
        Evidence(label="kept on the workers", value=kept.nbytes, unit="bytes", limit=limit.nbytes),
        Evidence(label="times used", value=int(kept.is_used), unit="count", limit=limit.uses + 1),
        Evidence(
            label="cells that computed something since", value=kept.later, unit="count", limit=limit.cells
        ),
    ]
    if memory:
        evidence.append(
            Evidence(
                label="share of the workers' memory",
                value=kept.nbytes / memory,
                unit="share",
                limit=limit.memory_share,
            )
        )
    if spent:
        evidence.append(Evidence(label="work to make it", value=spent, unit="seconds"))
    if spilled:
        evidence.append(Evidence(label="written to disk meanwhile", value=spilled, unit="bytes"))
    return unused_persist.finding(
        severity=severity,
        subject=c.name,
        message=said,
        why="Keeping a collection pays from the second use on. Without `persist()` a use makes only the columns "
        "and rows that it needs, one partition after the other, and nothing stays in memory.",
        evidence=tuple(evidence),
        at=c.at,
        fixes=_fixes(kept, code),
        loss_seconds=spent if is_lost else None,
        of_seconds=(total or None) if is_lost else None,
        loss_bytes=kept.nbytes,
    )


def _fixes(kept: _Kept, code: Sequence[Cell]) -> tuple[Fix, ...]:
    c, cell, call = kept.collection, kept.cell, kept.call
    name = words.code(c.name)
    title = f"Leave {name} lazy"
    expect = f"{words.nbytes(kept.nbytes)} less in memory"
    expect += "; its one use makes what it needs" if kept.is_used else "; it is made when something uses it"
    elsewhere = any(c.name in source.names(o.source) for o in code if o is not cell)
    applicability: Applicability = "unsafe" if elsewhere or kept.is_used else "safe"
    assert isinstance(call.func, ast.Attribute)
    if call.args and not call.keywords and len(call.args) == 1 and isinstance(call.args[0], ast.Name):
        where, new = source.span(cell.source, call), call.args[0].id  # client.persist(x)
    elif not call.args and not call.keywords:
        whole, owner = source.span(cell.source, call), source.span(cell.source, call.func.value)
        where = source.Span(
            line=owner.end_line,
            column=owner.end_column,
            end_line=whole.end_line,
            end_column=whole.end_column,
        )
        new = ""
        if "#" in source.text(cell.source, where):
            return ()  # a comment would go with it
        closing = source.text(cell.source, where).partition(".")[0]
        new = closing.rstrip() if closing.strip() else ""  # brackets around what it is called on
    else:
        return ()
    made = fixes.replace(
        cell, where, new, title=title, expect=expect, rerun=c.at, applicability=applicability
    )
    return (made,) if made is not None else ()
