"""The same work was done again, by another cell or by the next turn of a loop.

## Why it matters
A lazy collection keeps no results. Each `compute()` reads, filters and joins from the beginning, even when
a cell above did just that a minute ago.

## Anti-pattern
    clean = dd.read_parquet(path).dropna()
    clean.amount.sum().compute()
    clean.amount.mean().compute()    # reads and cleans once more

## Best practice
    clean = dd.read_parquet(path)[["amount"]].dropna().persist()   # once, kept on the workers
    clean.amount.sum().compute()
    clean.amount.mean().compute()

Neighbours can share one run without keeping anything: `dask.compute(clean.amount.sum(),
clean.amount.mean())`.

## How it is known
Names of expressions and layers before fusion: the same name is the same work on the same data. The seconds
are those that worker threads spent on the groups with these names the second time. Where the optimizer has
renamed them, those of the same kind are taken, and where they are fused the share of names that two
computations have in common: of the shorter one, marked "≈". It speaks from 10 s of such work, or from 1 s
when that is 20 % of all that was computed so far.

Which variable holds the repeated work is read from its tree of steps, and, where the optimizer has renamed
those, from the text of both cells.

## When it stays quiet
When the results were in memory and not made again; when the second is the `persist()` itself; when a cell
was simply run again; for futures from `submit` and `map`, whose names say nothing of what they compute.

## Fix safety
Needs review. A persisted collection stays in memory as long as its variable lives. Where the text of all cells
says for certain which columns of a frame they use, only these are kept: a cell that wants another one later needs
the frame of before. It is inserted only where its size is known and below half of the memory that is free. Data
that changes at its source is not read anew.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#persist-intelligently
https://docs.dask.org/en/stable/best-practices.html#avoid-calling-compute-repeatedly
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ... import source, words
from ...judging import runs
from ...remedies import columns, fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, TaskGroup
from ..registry import rule

# Names without a token say nothing of what is computed.
_TOKEN = re.compile(r"[0-9a-f]{16,}")
# Reads that take each column from the files for itself.
_BY_COLUMN = re.compile(r"read[-_]?parquet(-fused)?-[0-9a-f]{16,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Thread-seconds spent again from which it speaks in any case.
    wasted_seconds: float = 10.0
    #: Share of all thread-seconds so far from which it speaks as well ...
    wasted_share: float = 0.20
    #: ... if it is at least so many thread-seconds.
    least_seconds: float = 1.0
    #: Share of the cluster's free memory that the result may take for `persist()` to be inserted.
    free_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repeat:
    """A computation that did again what an earlier one had done."""

    computation: Computation
    first: Computation
    names: frozenset[str]
    seconds: float
    is_estimated: bool


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = runs.of_cell(runs.newest(computations, code), at)
    known = [c.thread_seconds for c in own if c.thread_seconds is not None]
    return (Measure(label="work of all threads", value=sum(known), unit="seconds"),) if known else ()


@rule(
    id="repeated-compute",
    title="The same work was done again",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    yields_to={"eager-metadata": "subject"},
    measure=_measure,
)
def repeated_compute(
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    recent = sorted(runs.newest(computations, code), key=lambda c: c.submitted)
    total = sum(c.thread_seconds or 0.0 for c in recent)
    # Jobs that find out divisions are told by `eager-metadata`; `len` asks for the work it does
    left = _repeats([c for c in recent if not c.is_hidden or c.method == "len"], groups)
    while left:
        kept, mine = _widest(left, collections, code)
        wasted = sum(r.seconds for r in mine)
        left = [r for r in left if r not in mine]
        if wasted < limit.wasted_seconds and (
            wasted < limit.least_seconds or wasted < limit.wasted_share * total
        ):
            continue
        offered = _fixes(kept, mine, groups, cluster, limit, collections, load, code)
        yield _finding(kept, mine, wasted, total, limit, offered)


def _repeats(recent: list[Computation], groups: tuple[TaskGroup, ...]) -> list[_Repeat]:
    seconds: dict[str, dict[str, float]] = {}
    for g in groups:
        seconds.setdefault(g.computation_id, {})[g.name] = g.compute_seconds or 0.0
    found = []
    done: dict[str, Computation] = {}  # by name: who did it first
    for c in recent:
        names = {n for n in {*c.names, *seconds.get(c.id, {})} if _TOKEN.search(n)} - set(c.reused)
        # `to_delayed()` of what is in memory already: its step has a name of its own and does no work
        names -= {f"delayed-{n}" for n in c.reused}
        again = frozenset(n for n in names if n in done)
        # Other columns of the same files: no name of what really read them is the same
        if all(_BY_COLUMN.fullmatch(n) for n in again) and any(
            map(_BY_COLUMN.fullmatch, seconds.get(c.id, ()))
        ):
            again = frozenset(n for n in again if n in seconds[c.id])
        if again and c.method != "persist":
            by_name = [seconds.get(c.id, {}).get(n, 0.0) for n in again]
            first = done[max(again, key=lambda n: (seconds.get(c.id, {}).get(n, 0.0), n))]
            # The optimizer renames a step when it pushes a choice of columns into it: same kind, other token.
            by_kind = min(_of_kinds(x, {_prefix(n) for n in again}, groups) for x in (first, c))
            if any(by_name):
                spent, is_estimated = sum(by_name), False
            elif by_kind:
                spent, is_estimated = by_kind, True
            else:
                common = len(again) / max(1, len(names))
                spent = common * min(c.thread_seconds or 0.0, first.thread_seconds or 0.0)
                is_estimated = True
            found.append(
                _Repeat(computation=c, first=first, names=again, seconds=spent, is_estimated=is_estimated)
            )
        for name in names:
            done.setdefault(name, c)
    return found


def _of_kinds(c: Computation, prefixes: set[str], groups: tuple[TaskGroup, ...]) -> float:
    """Seconds that one computation spent on steps of these kinds."""
    return sum(
        g.compute_seconds or 0.0 for g in groups if g.computation_id == c.id and _prefix(g.name) in prefixes
    )


def _widest(
    left: list[_Repeat], collections: tuple[Collection, ...], code: tuple[Cell, ...]
) -> tuple[Collection | None, list[_Repeat]]:
    """The variable that, once kept, spares most, and the repeats that it spares."""
    best: tuple[tuple[float, int], Collection, list[_Repeat]] | None = None
    shared = {id(r): {c.name for c in _shared(r, collections, code)} for r in left}
    for c in collections:
        own = {n for n in c.names if _TOKEN.search(n)}
        if not own or c.is_persisted or c.kind not in ("dataframe", "series", "array", "bag"):
            continue
        mine = [r for r in left if own <= r.names or c.name in shared[id(r)]]
        rank = (sum(r.seconds for r in mine), len(own))
        if mine and (best is None or rank > best[0]):
            best = rank, c, mine
    if best is not None:
        return best[1], best[2]
    return None, [r for r in left if r.first is left[0].first]


def _shared(r: _Repeat, collections: tuple[Collection, ...], code: tuple[Cell, ...]) -> Iterator[Collection]:
    """Variables that both cells speak of and that hold a step of the repeated work."""
    first, again = runs.cell_at(code, r.first.at), runs.cell_at(code, r.computation.at)
    tree = source.parse(again.source) if again is not None else None
    if first is None or again is None or tree is None:
        return
    steps = {_prefix(name) for name in r.names}
    bound_by_first = set() if first is again else {c.name for c in runs.spoken_of(first, collections)}
    for c in runs.spoken_of(again, collections):
        if not steps & {_prefix(name) for name in c.names}:
            continue
        stored = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Name) and n.id == c.name and isinstance(n.ctx, ast.Store)
        ]
        if first is again:
            # Bound in a loop or a function it is another one each time
            outside = [s for s in tree.body if source.binds(s, c.name)]
            if len(stored) == len(outside) <= 1:
                yield c
        elif not stored and c.name in bound_by_first:
            yield c


def _prefix(name: str) -> str:
    return _TOKEN.split(name)[0].strip("-_")


def _finding(
    kept: Collection | None,
    mine: list[_Repeat],
    wasted: float,
    total: float,
    limit: Thresholds,
    offered: tuple[Fix, ...],
) -> Finding:
    last = max(mine, key=lambda r: r.seconds)
    is_estimated = any(r.is_estimated for r in mine)
    prefix = last.computation.layers[0][0] if last.computation.layers else "graph"
    subject = kept.name if kept is not None else prefix
    runs_of = 1 + len(mine)
    first = _cell(last.first.at)
    again = _cell(last.computation.at)
    where = f" by {first} and again by {again}" if first and again and first != again else ""
    about = "≈ " if is_estimated else ""
    return repeated_compute.finding(
        severity="warning",
        subject=subject,
        message=f"{words.code(subject)} was computed {runs_of} times{where}: "
        f"{about}{words.seconds(wasted)} of work done again.",
        why="A lazy collection keeps no results: each compute() starts from the beginning. "
        "What `persist()` keeps on the workers is made once.",
        evidence=(
            Evidence(label="times computed", value=runs_of, unit="count", limit=1),
            Evidence(
                label="work done again",
                value=wasted,
                unit="seconds",
                is_estimated=is_estimated,
                limit=min(limit.wasted_seconds, max(limit.least_seconds, limit.wasted_share * total)),
            ),
            Evidence(label="all work so far", value=total, unit="seconds"),
        ),
        at=last.computation.at,
        fixes=offered,
        loss_seconds=wasted,
        of_seconds=total or None,
    )


def _cell(at: Location | None) -> str:
    return f"[{at.execution_count}]" if at is not None and at.execution_count is not None else ""


def _fixes(
    kept: Collection | None,
    mine: list[_Repeat],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    ailing = max(mine, key=lambda r: r.seconds).computation.at
    if kept is None or not fixes.is_name(kept.name):
        text = "# one run for several results\na, b = dask.compute(x.sum(), x.mean())"
        return (fixes.advice(text, title="Compute results together", expect="the shared part runs once"),)
    names = columns.used(kept, code)
    held, text = _nbytes(kept, mine, groups, collections), fixes.persist(kept.name)
    told = words.nbytes(held) if held is not None else ""
    if names is not None and (part := columns.nbytes(kept, names)) is not None:
        before = f"{told} → " if held is not None and held > part.nbytes else ""
        held, told = part.nbytes, f"{before}{words.nbytes(part.nbytes)}"
        shown = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
        text = f"{kept.name} = {kept.name}[[{shown}]].persist()"
    title = f"Keep {words.code(kept.name)} on the workers"
    together = _together(mine, code, ailing)
    if held is None:
        expect = "the shared part runs once; its size is not known: see that it fits in memory first"
        return (fixes.advice(text, title=title, expect=expect), *together)
    free = None
    if cluster.memory_limit is not None:
        free = cluster.memory_limit - (load[-1].managed + load[-1].unmanaged if load else 0)
    if free is not None and held >= limit.free_share * free:
        expect = f"it needs {words.nbytes(held)}, too much for the {words.nbytes(max(0, free))} that are free"
        return (
            *together,
            fixes.advice(f"# select columns and rows first\n{text}", title=title, expect=expect),
        )
    about = "" if kept.sizes or kept.nbytes else "≈ "
    expect = f"computed once; {about}{told} stay in memory as long as {words.code(kept.name)} lives"
    if names is not None and "[[" in text:
        expect += f", with the {words.count(len(names), 'column')} of {len(kept.columns)} that the cells use"
    return (
        fixes.rebind(
            kept.name, text, binding=runs.cell_at(code, kept.at), ailing=ailing, title=title, expect=expect
        ),
    )


def _together(mine: list[_Repeat], code: tuple[Cell, ...], ailing: Location | None) -> tuple[Fix, ...]:
    """One run for what neighbours ask, with their own words; nothing is kept."""
    asked = []
    for at in dict.fromkeys([mine[0].first.at, *(r.computation.at for r in mine)]):
        cell = runs.cell_at(code, at)
        tree = source.parse(cell.source) if cell is not None else None
        for call in fixes.calls(tree, "compute") if tree is not None else ():
            if (
                cell is not None
                and isinstance(call.func, ast.Attribute)
                and not call.args
                and not call.keywords
            ):
                asked.append(source.text(cell.source, source.span(cell.source, call.func.value)))
    asked = list(dict.fromkeys(asked))
    if not 2 <= len(asked) <= 8 or any("\n" in text for text in asked):
        return ()
    results = ", ".join("abcdefgh"[: len(asked)])
    return (
        fixes.advice(
            f"{results} = dask.compute({', '.join(asked)})",
            title="Compute the results together",
            expect="the shared part runs once, and nothing is kept",
        ),
    )


def _nbytes(
    c: Collection, mine: list[_Repeat], groups: tuple[TaskGroup, ...], collections: tuple[Collection, ...]
) -> int | None:
    """Of the whole collection: as known, else the larger of what it is made from and what was seen of it."""
    if c.sizes is not None:
        return c.sizes.total
    if c.nbytes is not None:
        return c.nbytes.nbytes
    names = frozenset[str]().union(*(r.names for r in mine))
    seen = [g.sizes.total for g in groups if g.name in names and g.sizes is not None]
    origin = [o.nbytes.nbytes for o in collections if o.nbytes is not None and runs.is_made_from(c, o)]
    return max([*seen, *origin], default=None)
