"""Edits that have the workers read what the kernel reads: `pd.read_csv` and `dd.from_pandas` become `dd.read_csv`."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import source
from ..report import Fix
from ..snapshot import Cell, Collection, Location
from . import fixes

#: Keywords of pandas that Dask's function of the same name takes with the same meaning.
_SAME = {
    "read_csv": frozenset({
        "sep", "delimiter", "header", "names", "usecols", "dtype", "parse_dates", "date_format", "na_values",
        "keep_default_na", "encoding", "thousands", "decimal", "quotechar", "quoting", "dayfirst", "true_values",
        "false_values", "skipinitialspace", "storage_options", "comment", "escapechar", "on_bad_lines",
    }),
    "read_parquet": frozenset({"columns", "filters", "storage_options"}),
}  # fmt: skip
#: Bytes of text per partition: smaller ones cost more in overhead than they spare; Dask itself takes at most 64 MB.
_LEAST_BLOCK, _MOST_BLOCK = 1_000_000, 64_000_000
#: Types that their name alone tells.
_PLAIN = frozenset({
    "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "float64", "float32", "bool",
    "datetime64[ns]", "timedelta64[ns]", "object", "string",
})  # fmt: skip
#: What a path may be written as. A call may give a buffer, which nobody else can read.
_PATHS = (ast.Constant, ast.JoinedStr, ast.Name, ast.Attribute, ast.BinOp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read by the workers, and how the offer is told."""

    #: The variable that holds what was read; None when it went straight into Dask.
    variable: str | None
    #: Partitions and bytes of it now.
    npartitions: int | None
    nbytes: int
    ailing: Location | None
    title: str
    expect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A call and the cell and top-level statement that it stands in."""

    cell: Cell
    statement: ast.stmt
    call: ast.Call


def read_with_dask(code: Sequence[Cell], wanted: Wanted) -> Fix | None:
    """`dd.from_pandas(pd.read_csv(path), ...)` → `dd.read_csv(path)`, over a variable or not.

    None where the text does not say for certain what is read, or with an option that Dask does not have.
    """
    frames, pandas = _aliases(code, "dask.dataframe"), _aliases(code, "pandas")
    made = [f for f in _calls(code, "from_pandas", frames) if f.call.args]
    if wanted.variable is None:
        nested = [(f, read) for f in made if (read := _read(f.call.args[0], pandas)) is not None]
        if len(nested) != 1:
            return None
        ((to, read),) = nested
        return _one_edit(to, _dask_call(to.cell, read, to, wanted), wanted)
    variable = wanted.variable
    over = [f for f in made if isinstance(f.call.args[0], ast.Name) and f.call.args[0].id == variable]
    bound = [(cell, s) for cell in code for s in _statements(cell) if source.binds(s, variable)]
    if len(over) != 1 or len(bound) != 1 or not fixes.is_name(variable):
        return None
    (cell, statement), to = bound[0], over[0]
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    read_by_pandas = _read(statement.value, pandas)
    if read_by_pandas is None or not isinstance(statement.targets[0], ast.Name):
        return None
    text = _dask_call(cell, read_by_pandas, to, wanted)
    if _times_named(code, variable) > 2:
        # pandas code elsewhere needs it: only what Dask has is read anew
        return _one_edit(to, text, wanted)
    if code.index(cell) > code.index(to.cell) or _is_late(code, to.call, cell):
        return None
    return _in_two(cell, read_by_pandas, text, to, variable, wanted)


def handed_over_once(
    code: Sequence[Cell],
    variable: str,
    collections: Sequence[Collection] = (),
    *,
    title: str,
    expect: str,
    ailing: Location | None,
) -> Fix | None:
    """`f(x, lookup)` → `f(x, lookup_once)` after `lookup_once = dask.delayed(lookup)`: one copy in the graph.

    For `map_partitions` and for calls of delayed functions, in a statement at the left margin of a cell. Dask cannot
    look into what is delayed, so that `map_partitions` needs `meta=`: it is taken from what the frame is now.
    """
    if not fixes.is_name(variable):
        return None
    places: list[tuple[Cell, ast.stmt, ast.Call, ast.Name]] = [
        (cell, statement, call, name)
        for cell in code
        for statement in _statements(cell)
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and _hands_over(call)
        for name in [*call.args, *(k.value for k in call.keywords)]
        if isinstance(name, ast.Name) and name.id == variable
    ]
    once = f"{variable}_once"
    if len(places) != 1 or any(once in source.names(cell.source) for cell in code):
        return None
    cell, statement, call, name = places[0]
    whole, own, called = (source.span(cell.source, node) for node in (statement, name, call))
    if whole.column or isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return None
    meta = ""
    if isinstance(call.func, ast.Attribute) and not any(k.arg in ("meta", None) for k in call.keywords):
        meta = _meta(statement, call, collections)
        if not meta or source.text(cell.source, called)[-2] in ",(":
            return None
    dask = next(iter(_aliases(code, "dask")), "")
    first = "" if dask else "import dask\n\n"
    head = source.between(cell.source, (whole.line, 0), (own.line, own.column))
    middle = source.between(
        cell.source, (own.end_line, own.end_column), (called.end_line, called.end_column - 1)
    )
    if meta and "#" in middle.rsplit("\n", 1)[-1]:
        return None
    tail = source.between(
        cell.source, (called.end_line, called.end_column - 1), (whole.end_line, whole.end_column)
    )
    new = f"{first}{once} = {dask or 'dask'}.delayed({variable})\n{head}{once}{middle}{meta}{tail}"
    made = fixes.replace(cell, whole, new, title=title, expect=expect, rerun=ailing)
    return _with_rerun(made, cell) if made is not None else None


def _meta(statement: ast.stmt, call: ast.Call, collections: Sequence[Collection]) -> str:
    """`, meta={...}` of the frame that the statement binds; empty where it is not known."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=bound)], value=value) if value is call:
            pass
        case _:
            return ""
    c = next((c for c in collections if c.name == bound and c.kind == "dataframe"), None)
    if c is None or not c.columns or c.n_columns != len(c.columns):
        return ""
    if any(column.dtype not in _PLAIN for column in c.columns):
        return ""
    pairs = ", ".join(f"{json.dumps(x.name, ensure_ascii=False)}: {json.dumps(x.dtype)}" for x in c.columns)
    return f", meta={{{pairs}}}"


def _hands_over(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(attr="map_partitions" | "map_overlap"):
            return True
        case ast.Call(func=ast.Name(id="delayed") | ast.Attribute(attr="delayed")):
            return True
        case _:
            return False


def _aliases(code: Sequence[Cell], module: str) -> tuple[str, ...]:
    """Names under which the notebook imports a module, in order."""
    found: dict[str, None] = {}
    parent, _, last = module.rpartition(".")
    for cell in code:
        for statement in _statements(cell):
            match statement:
                case ast.Import(names=names):
                    for alias in names:
                        if alias.name == module and (alias.asname or "." not in module):
                            found[alias.asname or alias.name] = None
                case ast.ImportFrom(module=origin, names=names) if origin == parent:
                    for alias in names:
                        if alias.name == last:
                            found[alias.asname or alias.name] = None
    return tuple(found)


def _calls(code: Sequence[Cell], method: str, modules: Sequence[str]) -> Iterator[_Found]:
    for cell in code:
        for statement in _statements(cell):
            for node in ast.walk(statement):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attr)) if (
                        attr == method and owner in modules
                    ):
                        yield _Found(cell=cell, statement=statement, call=node)


def _statements(cell: Cell) -> list[ast.stmt]:
    tree = source.parse(cell.source)
    return tree.body if tree is not None else []


def _read(node: ast.expr, pandas: Sequence[str]) -> ast.Call | None:
    """`pd.read_csv(path, ...)` with options that Dask has as well; else None."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=owner), attr=attr), args=[path], keywords=given
        ) if owner in pandas and attr in _SAME:
            known = all(k.arg in _SAME[attr] for k in given)
            return node if known and isinstance(path, _PATHS) else None
        case _:
            return None


def _module(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return ast.unparse(call.func.value)


def _dask_call(cell: Cell, read: ast.Call, to: _Found, wanted: Wanted) -> str:
    """The same reading by Dask, in about as many partitions as there were."""
    assert isinstance(read.func, ast.Attribute)
    nodes: list[ast.expr | ast.keyword] = [*read.args, *read.keywords]
    given = [source.text(cell.source, source.span(cell.source, node)) for node in nodes]
    if read.func.attr == "read_csv" and wanted.npartitions:
        each = math.ceil(wanted.nbytes / wanted.npartitions / 1_000_000) * 1_000_000
        given.append(f"blocksize={min(_MOST_BLOCK, max(_LEAST_BLOCK, each)):_}")
    return f"{_module(to.call)}.{read.func.attr}({', '.join(given)})"


def _times_named(code: Sequence[Cell], variable: str) -> int:
    return sum(
        isinstance(node, ast.Name) and node.id == variable
        for cell in code
        for statement in _statements(cell)
        for node in ast.walk(statement)
    )


def _is_late(code: Sequence[Cell], call: ast.Call, cell: Cell) -> bool:
    """Is Dask's module imported only below this cell?"""
    return _module(call) not in _aliases(code[: code.index(cell) + 1], "dask.dataframe")


def _one_edit(to: _Found, text: str, wanted: Wanted) -> Fix | None:
    made = _replaced(to.cell, source.span(to.cell.source, to.call), text, wanted)
    return _with_rerun(made, to.cell) if made is not None else None


def _in_two(cell: Cell, read: ast.Call, text: str, to: _Found, variable: str, wanted: Wanted) -> Fix | None:
    """The reading becomes Dask's, and `dd.from_pandas(x, ...)` just `x`."""
    first, second = source.span(cell.source, read), source.span(to.cell.source, to.call)
    if cell is to.cell:
        between = source.between(
            cell.source, (first.end_line, first.end_column), (second.line, second.column)
        )
        both = dataclasses.replace(first, end_line=second.end_line, end_column=second.end_column)
        made = _replaced(cell, both, f"{text}{between}{variable}", wanted)
        return _with_rerun(made, cell) if made is not None else None
    made, other = _replaced(cell, first, text, wanted), _replaced(to.cell, second, variable, wanted)
    if made is None or other is None:
        return None
    joined = dataclasses.replace(
        made,
        edits=(*made.edits, *other.edits),
        code=f"{made.code}\n{other.code}",
        checksums=(*made.checksums, *other.checksums),
    )
    return _with_rerun(_with_rerun(joined, to.cell), cell)


def _replaced(cell: Cell, where: source.Span, new: str, wanted: Wanted) -> Fix | None:
    return fixes.replace(cell, where, new, title=wanted.title, expect=wanted.expect, rerun=wanted.ailing)


def _with_rerun(fix: Fix, cell: Cell) -> Fix:
    """That cell runs first."""
    if cell.id is None or cell.id in fix.rerun:
        return fix
    return dataclasses.replace(fix, rerun=(cell.id, *fix.rerun))
