"""Tasks of a graph written by hand wait for each other in a ring.

## Why it matters
A task whose input needs the task itself can never run. Dask's collections cannot make such a graph, but a dict of
tasks or layers written by hand can. With a cluster the error may name the ring ("Cycle detected between the
following keys"); with layers it may only speak of "lost dependencies", as if a worker had gone, and rings deep in
a larger graph are hard to see in either.

## Anti-pattern
    graph = {"load": (read, "clean"), "clean": (tidy, "load")}
    client.get(graph, "clean")

## Best practice
    graph = {"load": (read, "data.csv"), "clean": (tidy, "load")}

Or let `dask.delayed` make the graph: what does not exist yet cannot be named.

## How it is known
Before anything runs from the graph of a collection in the notebook's variables, where it is small enough to be
followed key by key (dicts and layers; 3,000 tasks), and of a cell that ended in Dask's error from its text, which
lists the keys.

## When it stays quiet
Dataframes; graphs too large to be followed; errors of other kinds.

## Fix safety
Display-only: which of the tasks has the wrong input only its author knows.

## References
https://docs.dask.org/en/stable/custom-graphs.html
https://docs.dask.org/en/stable/spec.html
https://docs.dask.org/en/stable/delayed.html
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs
from ...remedies import fixes
from ...report import Detail, Evidence, Finding
from ...snapshot import Cell, Collection, Location
from ..registry import rule

_DETECTED = "Cycle detected between the following keys"
_ARROW = re.compile(r"^\s*->\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Keys of a ring that are shown in the sentence; the others are in the details.
    n_shown: int = 5


@rule(
    id="cyclic-graph",
    title="Tasks wait for each other in a ring",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections", "code"),
    has_stake=False,
)
def cyclic_graph(
    limit: Thresholds, collections: tuple[Collection, ...] = (), code: tuple[Cell, ...] = ()
) -> Iterator[Finding]:
    told: set[frozenset[str]] = set()
    for c in collections:
        ring = _ring(c.cycle)
        if not ring or frozenset(ring) in told:
            continue
        told.add(frozenset(ring))
        # Where it was computed, it failed
        failed = next(
            (
                cell
                for cell in code
                if cell.has_failed and runs.spoken_of(cell, (c,)) and _is_since(cell, c, code)
            ),
            None,
        )
        yield _finding(c.name, ring, failed, c.at, code, limit)
    for cell in code:
        ring = _said(cell)
        if ring and frozenset(ring) not in told:
            told.add(frozenset(ring))
            yield _finding(min(ring), ring, cell, None, code, limit)


def _ring(cycle: Sequence[str]) -> tuple[str, ...]:
    """Each key once."""
    return tuple(cycle[:-1] if len(cycle) > 1 and cycle[0] == cycle[-1] else cycle)


def _said(cell: Cell) -> tuple[str, ...]:
    """The keys that Dask's error lists."""
    if not cell.has_failed or _DETECTED not in cell.error_text:
        return ()
    return _ring(_ARROW.findall(cell.error_text))


def _is_since(cell: Cell, c: Collection, code: Sequence[Cell]) -> bool:
    """Did the cell run after the variable was bound?"""
    return cell.started is not None and not runs.is_before(cell.started, runs.cell_at(code, c.at))


def _finding(
    subject: str,
    ring: tuple[str, ...],
    failed: Cell | None,
    at: Location | None,
    code: Sequence[Cell],
    limit: Thresholds,
) -> Finding:
    where = dict(_places(ring, code))
    if at is None and failed is not None:
        at = Location(cell_id=failed.id, execution_count=failed.execution_count)
    elif at is None and where:
        cell, line = next(iter(where.values()))
        at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=line)
    path = _path(ring, limit.n_shown)
    name = words.code(subject) if subject not in ring else "A graph"
    end = "can never run" if failed is None else f"cannot run, and {_number(failed)} failed"
    return cyclic_graph.finding(
        severity="critical",
        subject=subject,
        message=f"{name} has tasks that wait for each other in a ring ({path}): it {end}.",
        why="Each of them needs the result of the next, so none can be the first. "
        "What Dask then says may name other causes, such as lost dependencies.",
        evidence=(
            Evidence(label="tasks in the ring", value=len(ring), unit="count"),
            *(
                (Evidence(label="ended in", value=failed.error, unit="text"),)
                if failed and failed.error
                else ()
            ),
        ),
        details=(Detail(title="The ring, and where it is written", text=_written(ring, where)[:4_000]),),
        at=at,
        fixes=(
            fixes.advice(
                _comment(ring, where),
                title="Break the ring at one of its tasks",
                expect="give one of them another input; the others can stay as they are",
            ),
        ),
    )


def _path(ring: Sequence[str], n: int) -> str:
    shown = [words.code(key) for key in ring[:n]]
    if len(ring) > n:
        shown.append("…")
    return " → ".join([*shown, words.code(ring[0])])


def _number(cell: Cell) -> str:
    return f"[{cell.execution_count}]" if cell.execution_count is not None else "its cell"


def _places(ring: Sequence[str], code: Sequence[Cell]) -> Iterator[tuple[str, tuple[Cell, int]]]:
    """Where in the cells a key of the ring is given its task: `"a": (f, "b")` or `graph["a"] = ...`."""
    wanted = dict.fromkeys(ring)
    found: dict[str, tuple[Cell, int]] = {}
    for cell in code:
        tree = source.parse(cell.source) if any(_bare(key) in cell.source for key in ring) else None
        for node in ast.walk(tree) if tree is not None else ():
            keys: Sequence[ast.expr | None] = ()
            match node:
                case ast.Dict(keys=given):
                    keys = given
                case ast.Assign(targets=[ast.Subscript(slice=one)]):
                    keys = (one,)
            for key in keys:
                text = _literal(key)
                if key is not None and text in wanted:
                    found[text] = (cell, key.lineno)
    yield from ((key, found[key]) for key in ring if key in found)


def _bare(key: str) -> str:
    """What of a key stands in the text for certain: of `('x', 0)` the name."""
    inner = re.match(r"\(\s*['\"](.+?)['\"]", key)
    return inner[1] if inner else key


def _literal(node: ast.expr | None) -> str:
    if node is None:
        return ""
    try:
        return str(ast.literal_eval(node))
    except (ValueError, TypeError, MemoryError, RecursionError, SyntaxError):
        return ""


def _written(ring: Sequence[str], where: dict[str, tuple[Cell, int]]) -> str:
    lines = []
    for key, needs in zip(ring, [*ring[1:], ring[0]], strict=True):
        line = f"{_plain(key)} needs {_plain(needs)}"
        if key in where:
            cell, row = where[key]
            text = source.lines(cell.source)[row - 1].strip()[:120]
            line += f"    {_number(cell)} line {row}: {text}"
        lines.append(line)
    return "\n".join(lines)


def _comment(ring: Sequence[str], where: dict[str, tuple[Cell, int]]) -> str:
    rows = _written(ring[:20], where) if len(ring) <= 20 else _written(ring, where)[:2_000]
    return "\n".join(f"# {row}" for row in rows.splitlines())


def _plain(key: str) -> str:
    return " ".join(key[:200].split())
