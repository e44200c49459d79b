"""Edits that make meta say what the data are: `meta=` and `dtype=` in the call, or `astype` behind it."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from .. import source
from ..judging.schemas import Unlike
from ..report import Fix
from ..snapshot import Cell, Column, Location
from . import creation, statements
from .creation import Creation

#: Calls that take `meta=`.
METHODS = frozenset({"map_partitions", "map_overlap", "from_map", "from_delayed", "apply", "map"})
#: A literal with more columns than this is no longer read.
MAX_COLUMNS = 40


def call_with_meta(cells: Sequence[Cell], methods: frozenset[str] = METHODS) -> Creation | None:
    """The one call of these names with `meta=` in the cells; None when there is none or there are several."""
    found = [one for one in _calls(cells, methods) if any(k.arg == "meta" for k in one.call.keywords)]
    return found[0] if len(found) == 1 else None


def one_call(cells: Sequence[Cell], methods: frozenset[str]) -> Creation | None:
    found = list(_calls(cells, methods))
    return found[0] if len(found) == 1 else None


def real_meta(
    where: Creation,
    columns: Sequence[Column],
    *,
    is_series: bool,
    title: str,
    expect: str,
    ailing: Location | None,
) -> Fix | None:
    """`meta=` with the columns and dtypes as the partitions have them."""
    if not columns or len(columns) > MAX_COLUMNS or any(not c.name and not is_series for c in columns):
        return None
    if is_series:
        value = f"({quoted(columns[0].name)}, {quoted(columns[0].dtype)})" if columns[0].name else ""
    else:
        value = literal({c.name: c.dtype for c in columns})
    if not value:
        return None
    return _set(where, "meta", value, title=title, expect=expect, ailing=ailing)


def mended_meta(
    where: Creation, unlike: Unlike, *, title: str, expect: str, ailing: Location | None
) -> Fix | None:
    """`meta={...}` with what the error told put right; without `meta=` where it did not tell enough."""
    value = next((k.value for k in where.call.keywords if k.arg == "meta"), None)
    given = _dictionary(value)
    if given is not None and not unlike.extra and unlike.type is None:
        real = {column: quoted(dtype) for column, _, dtype in unlike.dtypes}
        kept = {n: real.get(n, text) for n, text in _entries(where.cell, given) if n not in unlike.missing}
        if unlike.order and set(unlike.order) == set(kept):
            kept = {n: kept[n] for n in unlike.order}
        if kept and len(kept) <= MAX_COLUMNS:
            body = ", ".join(f"{quoted(n)}: {text}" for n, text in kept.items())
            return _set(where, "meta", f"{{{body}}}", title=title, expect=expect, ailing=ailing)
    if creation_name(where.call) == "from_delayed":
        return None  # it would ask the first of the objects, with a job of its own
    return statements.without_keyword(
        where.cell,
        where.call,
        "meta",
        title="Let Dask find out what comes out of the function",
        expect="the function is tried on a few made-up rows, and what it returns is the meta",
        rerun=ailing,
    )


def with_dtype(
    where: Creation, dtypes: Mapping[str, str], *, title: str, expect: str, ailing: Location | None
) -> Fix | None:
    """`read_csv(..., dtype={...})`, others that it has already kept."""
    value = next((k.value for k in where.call.keywords if k.arg == "dtype"), None)
    entries = {n: quoted(d) for n, d in dtypes.items()}
    if value is not None:
        given = _dictionary(value)
        if given is None:
            return None
        entries = dict(_entries(where.cell, given)) | entries
    body = ", ".join(f"{quoted(n)}: {text}" for n, text in entries.items())
    return _set(where, "dtype", f"{{{body}}}", title=title, expect=expect, ailing=ailing)


def literal(dtypes: Mapping[str, str]) -> str:
    """`{"user": "int64"}` as code."""
    return "{" + ", ".join(f"{quoted(n)}: {quoted(d)}" for n, d in dtypes.items()) + "}"


def holds(statement: ast.stmt, call: ast.Call) -> bool:
    return any(node is call for node in ast.walk(statement))


def creation_name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _set(
    where: Creation, keyword: str, value: str, *, title: str, expect: str, ailing: Location | None
) -> Fix | None:
    fix = creation.set_options(where, {keyword: value}, title=title, expect=expect)
    if fix is None:
        return None
    rerun = (where.cell.id, ailing.cell_id if ailing is not None else None)
    return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in rerun if i is not None)))


def _calls(cells: Sequence[Cell], methods: frozenset[str]) -> Iterator[Creation]:
    seen: set[str | None] = set()
    for cell in cells:
        if cell.id is not None and cell.id in seen:
            continue
        seen.add(cell.id)
        tree = source.parse(cell.source)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Call) and creation_name(node) in methods:
                yield Creation(cell=cell, call=node)


def _dictionary(node: ast.expr | None) -> ast.Dict | None:
    if not isinstance(node, ast.Dict):
        return None
    plain = all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in node.keys)
    return node if plain else None


def _entries(cell: Cell, node: ast.Dict) -> Iterator[tuple[str, str]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, source.text(cell.source, source.span(cell.source, value))


def quoted(value: str) -> str:
    """As a literal, in double quotes where that is the same."""
    quoted = repr(value)
    return f'"{value}"' if quoted == f"'{value}'" and '"' not in value else quoted
