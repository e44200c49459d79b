"""Offers against jobs that Dask starts by itself to find the divisions of a frame."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Cluster, Collection, Load, Location
from . import calls, creation, fixes
from .creation import Creation

_SORTS = frozenset({"set_index", "sort_values"})


def keep_divisions(
    c: Collection, code: Sequence[Cell], *, is_in_order: bool, expect: str, ailing: Location | None
) -> Fix | None:
    """`set_index("user")` with its divisions found once, where the frame is made. `is_in_order`: no row had to move."""
    made = _sort(c, code)
    if (
        made is None
        or calls.called(made.call) != "set_index"
        or not isinstance(made.call.func, ast.Attribute)
    ):
        return None
    if any(k.arg in ("divisions", "sorted", "npartitions", None) for k in made.call.keywords):
        return None
    if len(made.call.args) != 1 or not _is_plain(made.call.func.value):
        return None
    name = words.code(c.name)
    if is_in_order:
        value, title = {"sorted": "True"}, f"Tell Dask that {name} is in order already"
        expect = f"{expect}; an error if the rows are not in order"
    else:
        once = source.text(made.cell.source, source.span(made.cell.source, made.call))
        if "\n" in once or "#" in once:
            return None
        value = {"divisions": f"list({once}.divisions)"}
        title = f"Find the divisions of {name} once and keep them"
    fix = creation.set_options(made, value, title=title, expect=expect)
    return _rerun(fix, made.cell, ailing)


def keep_sorted(
    c: Collection,
    nbytes: int | None,
    *,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    expect: str,
    ailing: Location | None,
) -> Fix | None:
    """The sorted frame kept on the workers, where it fits."""
    text = fixes.persist(c.name)
    if not text:
        return None
    title = f"Keep {words.code(c.name)} on the workers"
    if nbytes is None:
        expect = f"{expect}; its size is not known: see that it fits in memory first"
        return fixes.advice(text, title=title, expect=expect)
    held = words.nbytes(nbytes)
    if not fixes.has_room(nbytes, cluster, load):
        return fixes.advice(
            text, title=title, expect=f"{expect}. There is no room for its {held} in memory now"
        )
    expect = f"{expect}, and it is sorted once; ≈ {held} stay in memory as long as {words.code(c.name)} lives"
    return fixes.rebind(
        c.name, text, binding=runs.cell_at(code, c.at), ailing=ailing, title=title, expect=expect
    )


def show_dtypes(c: Collection, cell: Cell | None) -> Fix | None:
    """The last line of a cell that shows the frame shows its columns instead."""
    tree = source.parse(cell.source) if cell is not None else None
    if cell is None or tree is None or not tree.body:
        return None
    last = tree.body[-1]
    if not isinstance(last, ast.Expr) or not isinstance(last.value, ast.Name) or last.value.id != c.name:
        return None
    return fixes.replace(
        cell,
        source.span(cell.source, last.value),
        f"{c.name}.dtypes",
        title=f"Show the columns of {words.code(c.name)} only",
        expect="no job: names and dtypes are known without one",
        rerun=Location(cell_id=cell.id),
        applicability="safe",
    )


def cut_by_count(
    c: Collection, code: Sequence[Cell], n: int, *, expect: str, ailing: Location | None
) -> Fix | None:
    """`repartition(partition_size=...)` with a count in its place."""
    binding = runs.cell_at(code, c.at)
    made = calls.with_keyword(binding, "partition_size", {"repartition"}) if binding is not None else None
    size = (
        next((k for k in made.call.keywords if k.arg == "partition_size"), None) if made is not None else None
    )
    if binding is None or size is None:
        return None
    fix = fixes.replace(
        binding,
        source.span(binding.source, size),
        f"npartitions={n}",
        title=f"Cut {words.code(c.name)} into {n:,} partitions instead",
        expect=expect,
    )
    return _rerun(fix, binding, ailing)


def _sort(c: Collection, code: Sequence[Cell]) -> Creation | None:
    """The call that sorts it, in the one statement that binds it."""
    binding = runs.cell_at(code, c.at)
    tree = source.parse(binding.source) if binding is not None else None
    statements = [s for s in tree.body if source.binds(s, c.name)] if tree is not None else []
    if binding is None or len(statements) != 1:
        return None
    found = [n for n in ast.walk(statements[0]) if isinstance(n, ast.Call) and calls.called(n) in _SORTS]
    return Creation(cell=binding, call=found[0]) if len(found) == 1 else None


def _is_plain(node: ast.expr) -> bool:
    """May it stand twice in the text and mean the same, at no cost?"""
    match node:
        case ast.Name():
            return True
        case ast.Attribute(value=value):
            return _is_plain(value)
        case ast.Subscript(value=value):
            return _is_plain(value) and not any(isinstance(n, ast.Call) for n in ast.walk(node))
        case _:
            return False


def _rerun(fix: Fix | None, cell: Cell, ailing: Location | None) -> Fix | None:
    if fix is None:
        return None
    cells = (cell.id, ailing.cell_id if ailing is not None else None)
    return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in cells if i is not None)))
