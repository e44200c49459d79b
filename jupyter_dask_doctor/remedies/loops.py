"""Loops in a cell that put one step of a dataframe upon the other, and the same as one step."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence

from .. import source, words
from ..report import Fix
from ..snapshot import Cell, Collection, Location
from . import fixes

#: Methods that look at one row at a time, so that they give the same on each partition for itself.
_ROW_BY_ROW = frozenset(
    {"assign", "astype", "fillna", "round", "abs", "clip", "isin", "isna", "notna", "where", "mask", "rename",
     "drop", "lower", "upper", "strip", "replace", "contains", "startswith", "endswith", "len", "between", "add",
     "sub", "mul", "div", "mod", "pow", "format", "range", "items", "keys", "values", "enumerate", "zip", "list",
     "str", "int", "float", "sqrt", "exp", "log", "log1p", "sin", "cos"}
)  # fmt: skip
#: What a partition has not.
_DASK_ONLY = frozenset(
    {"map_partitions", "map_overlap", "repartition", "persist", "compute", "optimize", "to_delayed", "reduction",
     "clear_divisions", "to_parquet", "to_csv", "submit", "from_map", "delayed"}
)  # fmt: skip


def last_loop(code: Sequence[Cell], name: str) -> Cell | None:
    """The cell that ran last of those in which a loop binds the variable, or a column of it, again and again."""
    found = [
        cell
        for cell in code
        if cell.started is not None and name in cell.source and _loops(source.parse(cell.source), name)
    ]
    return max(found, key=lambda cell: cell.started or 0.0, default=None)


def _loops(tree: ast.Module | None, name: str) -> list[ast.For]:
    if tree is None:
        return []
    return [node for node in tree.body if isinstance(node, ast.For) and _rebinds(node, name)]


def joined(cell: Cell, c: Collection, *, rerun: Location | None) -> list[Fix]:
    """Offers for the one loop in the cell that binds the collection's variable again and again."""
    found = _loops(source.parse(cell.source), c.name) if fixes.is_name(c.name) else []
    if len(found) != 1 or found[0].orelse:
        return []
    loop = found[0]
    n = f"{c.n_steps:,}" if c.n_steps else "many"
    made = _as_assign(cell, loop, c.name, n, rerun)
    return [made] if made is not None else _as_function(cell, loop, c.name, n, rerun)


def _rebinds(loop: ast.For, name: str) -> bool:
    return any(
        (isinstance(node, ast.stmt) and source.binds(node, name)) or _column(node, name) is not None
        for node in ast.walk(loop)
    )


def _column(node: ast.AST, name: str) -> tuple[ast.expr, ast.expr] | None:
    """(column, value) of `df[column] = value`."""
    match node:
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=owner), slice=column)], value=value):
            return (column, value) if owner == name else None
    return None


def _assigned(node: ast.stmt, name: str) -> tuple[ast.expr, ast.expr] | None:
    """(column, value) of `df[column] = value` and of `df = df.assign(**{column: value})`."""
    plain = _column(node, name)
    if plain is not None:
        return plain
    match node:
        case ast.Assign(
            targets=[ast.Name(id=target)],
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="assign"),
                args=[],
                keywords=[ast.keyword(arg=None, value=ast.Dict(keys=[ast.expr() as column], values=[value]))],
            ),
        ) if target == name == owner:
            return column, value
    return None


def _as_assign(cell: Cell, loop: ast.For, name: str, n: str, rerun: Location | None) -> Fix | None:
    """`for c in columns: df[f"{c}_x"] = df[c] * 2` as one `assign`."""
    if len(loop.body) != 1:
        return None
    pair = _assigned(loop.body[0], name)
    if pair is None:
        return None
    column, value = pair
    turning = {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
    # A column's name that stays the same is overwritten each time; one that is no text `assign` does not take
    if not _is_text(column) or not turning & {x.id for x in ast.walk(column) if isinstance(x, ast.Name)}:
        return None
    if not all(_is_from_before(use, column, turning) for use in _uses(value, name)):
        return None
    if any(isinstance(x, (ast.NamedExpr, ast.Await, ast.Yield, ast.Lambda)) for x in ast.walk(loop)):
        return None
    text = cell.source
    parts = [source.text(text, source.span(text, node)) for node in (column, value, loop.target, loop.iter)]
    if any("\n" in part or "#" in part for part in parts):
        return None
    new = f"{name} = {name}.assign(**{{{parts[0]}: {parts[1]} for {parts[2]} in {parts[3]}}})"
    return fixes.replace(
        cell,
        source.span(text, loop),
        new,
        title=f"Add the columns of {words.code(name)} in one step",
        expect=f"{n} steps → one and what each column needs; all are made from {name} as it was before",
        rerun=rerun,
    )


def _is_text(column: ast.expr) -> bool:
    match column:
        case ast.JoinedStr() | ast.Name():
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return any(
                isinstance(x, ast.JoinedStr) or (isinstance(x, ast.Constant) and isinstance(x.value, str))
                for x in (left, right)
            )
        case ast.Call(func=ast.Name(id="str")):
            return True
    return False


def _uses(value: ast.expr, name: str) -> Iterator[ast.expr | None]:
    """What of the frame is used: its columns; None for anything else."""
    owners: dict[int, ast.expr] = {}
    for node in ast.walk(value):
        match node:
            case ast.Subscript(value=ast.Name(id=owner) as inner, slice=column) if owner == name:
                owners[id(inner)] = column
            case ast.Attribute(value=ast.Name(id=owner) as inner, attr=attr) if owner == name:
                owners[id(inner)] = ast.Constant(attr)
    for node in ast.walk(value):
        if isinstance(node, ast.Name) and node.id == name:
            yield owners.get(id(node))


def _is_from_before(use: ast.expr | None, column: ast.expr, turning: set[str]) -> bool:
    """Was this column there before the loop, or is it the very one that is made anew?"""
    match use:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name) if name in turning:
            return True
        case ast.expr():
            return ast.dump(use) == ast.dump(column)
    return False


def _as_function(cell: Cell, loop: ast.For, name: str, n: str, rerun: Location | None) -> list[Fix]:
    """The same loop, on each partition for itself: for Dask that is one step."""
    text = cell.source
    where = source.span(text, loop)
    whole = source.text(text, where)
    if where.column or '"""' in whole or "'''" in whole:
        return []
    called = {_called(x) for x in ast.walk(loop) if isinstance(x, ast.Call)}
    plain = _on_one_partition(text, loop, name)
    if plain is not None:
        whole, called = plain, set()
    if called & _DASK_ONLY:
        return []
    steps = f"{name}_steps"
    new = (
        f"def {steps}({name}):\n{textwrap.indent(whole, '    ')}\n    return {name}\n\n\n"
        f"{name} = {name}.map_partitions({steps})"
    )
    title = f"Do the steps of {words.code(name)} on each partition"
    expect = f"{n} steps → 1"
    if plain is None:
        expect += "; right where each step looks at one row at a time"
    if called <= _ROW_BY_ROW:
        made = fixes.replace(cell, where, new, title=title, expect=expect, rerun=rerun)
        return [made] if made is not None else []
    return [fixes.advice(new, title=title, expect=expect)]


def _on_one_partition(text: str, loop: ast.For, name: str) -> str | None:
    """`for f in functions: df = df.map_partitions(f)` with `df = f(df)` in its place."""
    match loop.body:
        case [
            ast.Assign(
                targets=[ast.Name(id=target)],
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="map_partitions"),
                    args=[function, *more],
                    keywords=[],
                ) as call,
            )
        ] if target == owner == name and not any(isinstance(x, ast.Starred) for x in more):
            pass
        case _:
            return None
    said = [source.text(text, source.span(text, node)) for node in (function, *more)]
    if isinstance(function, ast.Lambda):
        said[0] = f"({said[0]})"
    where, inner = source.span(text, loop), source.span(text, call)
    head = source.between(text, (where.line, where.column), (inner.line, inner.column))
    return f"{head}{said[0]}({', '.join([name, *said[1:]])})"


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
