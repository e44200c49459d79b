"""Offers that give a frame divisions: by the files' statistics, or by one pass over an index that is in order."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence

from .. import runs, source, words
from ..report import Fix
from ..snapshot import Cell, Collection, Location
from . import creation, fixes
from .creation import Creation

#: Steps after which the divisions of the files no longer hold.
_LOSING = frozenset({"merge", "join", "groupby", "shuffle", "set_index", "sort_values", "map_partitions"})
#: Seconds to read the statistics of one file, here and over a network: a request and a parse.
_FOOTER_LOCAL, _FOOTER_REMOTE = 0.005, 0.1


def offers(
    c: Collection | None,
    code: Sequence[Cell],
    frames: Sequence[Collection],
    *,
    ailing: Location | None,
    loss_seconds: float | None,
) -> tuple[Fix, ...]:
    """What makes the divisions of `c` known. `loss_seconds`: what not knowing them costs; None: it cannot go on."""
    if c is None or c.has_known_divisions is True or not fixes.is_name(c.name):
        return (_advice(c),)
    by_files = _by_files(c, code, frames, ailing=ailing, loss_seconds=loss_seconds)
    by_order = _by_order(c, code, ailing=ailing)
    return tuple(f for f in (by_files, by_order) if f is not None) or (_advice(c),)


def _by_files(
    c: Collection,
    code: Sequence[Cell],
    frames: Sequence[Collection],
    *,
    ailing: Location | None,
    loss_seconds: float | None,
) -> Fix | None:
    """`calculate_divisions=True` in the one call of `read_parquet` that it is made from."""
    if any(o.kind in _LOSING for o in c.operations):
        return None
    if not c.reads or any(r.format != "parquet" for r in c.reads) or c.index is None:
        return None
    if not c.index.name:
        return None  # a range that no file has statistics of
    origins = [x for x in frames if x is c or runs.is_made_from(c, x)]
    cells = [cell for x in origins if (cell := runs.cell_at(code, x.at)) is not None]
    calls = {
        (cell.id, call.lineno, call.col_offset): Creation(cell=cell, call=call)
        for cell in cells
        if (tree := source.parse(cell.source)) is not None
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _called(call) == "read_parquet"
    }
    if len(calls) != 1:
        return None
    (made,) = calls.values()
    if any(k.arg == "calculate_divisions" and _is_true(k.value) for k in made.call.keywords):
        return None  # that was no help
    n_files = sum(r.n_files or 0 for r in c.reads)
    is_remote = any("://" in r.path and not r.path.startswith("file:") for r in c.reads)
    cost = n_files * (_FOOTER_REMOTE if is_remote else _FOOTER_LOCAL)
    n = f"{n_files:,} files" if n_files > 1 else "the files"
    n = "the file" if n_files == 1 else n
    takes = f", ≈ {words.seconds(cost)}" if cost >= 0.1 else ""
    expect = (
        f"the statistics of {n} are read once{takes}; divisions by {words.code(c.index.name)} are known "
        "where the files are in its order"
    )
    title = f"Take the divisions of {words.code(c.name)} from its files"
    if loss_seconds is not None and cost >= loss_seconds:
        return None
    fix = creation.set_options(made, {"calculate_divisions": "True"}, title=title, expect=expect)
    if fix is None:
        return None
    rerun = [made.cell.id, c.at.cell_id if c.at is not None else None, ailing.cell_id if ailing else None]
    return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in rerun if i is not None)))


def _by_order(c: Collection, code: Sequence[Cell], *, ailing: Location | None) -> Fix | None:
    """`set_index(..., sorted=True)` of the index that it has."""
    if c.index is None or not c.index.name or c.is_eager or c.kind != "dataframe":
        return None
    column = _literal(c.index.name)
    text = f"{c.name} = {c.name}.reset_index().set_index({column}, sorted=True)"
    return fixes.rebind(
        c.name,
        text,
        binding=runs.cell_at(code, c.at),
        ailing=ailing,
        title=f"Tell Dask that {words.code(c.name)} is in the order of {words.code(c.index.name)}",
        expect="one pass over the index now, an error if the rows are not in order; divisions are known from then on",
    )


def _advice(c: Collection | None) -> Fix:
    name = c.name if c is not None and fixes.is_name(c.name) else "df"
    times = [x.name for x in c.columns if x.dtype.startswith("datetime64")] if c is not None else []
    column = _literal(times[0]) if len(times) == 1 else '"column"'
    return fixes.advice(
        f"# where the rows are in the order of the column\n{name} = {name}.set_index({column}, sorted=True)",
        title="Make the divisions known",
        expect="one pass over that column now, an error if the rows are not in order",
    )


def _literal(name: str) -> str:
    quoted = repr(name)
    return f'"{name}"' if quoted == f"'{name}'" and '"' not in name else quoted


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
