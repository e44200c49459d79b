"""Which columns of a dataframe the notebook's cells use, as far as their text says for certain."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from .. import source
from ..snapshot import Cell, Collection, Size


def used(c: Collection, code: Sequence[Cell]) -> tuple[str, ...] | None:
    """Those that are used anywhere below, in the frame's own order; None unless that is certain and fewer than all.

    Certain is `df.x`, `df["x"]`, `df[["x", "y"]]`, `df[rows].x` and `df.groupby("k").x`. A frame that is handed
    on, printed or bound to another name may be used with all of its columns.
    """
    known = [column.name for column in c.columns]
    if c.kind != "dataframe" or not known or c.n_columns != len(known) or len(set(known)) != len(known):
        return None
    found: set[str] = set()
    for cell in code:
        if c.name not in cell.source:
            continue
        tree = source.parse(cell.source)
        if tree is None:
            return None
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == c.name and isinstance(node.ctx, ast.Load):
                columns = _of(node, parents, frozenset(known))
                if columns is None:
                    return None
                found |= columns
    return tuple(name for name in known if name in found) if 0 < len(found) < len(known) else None


def nbytes(c: Collection, names: Sequence[str]) -> Size | None:
    """Of these columns together; None unless all are known."""
    sizes = [column.nbytes for column in c.columns if column.name in names]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return None
    is_exact = all(size.known == "exact" for size in known)
    return Size(nbytes=sum(size.nbytes for size in known), known="exact" if is_exact else "estimated")


def _of(name: ast.Name, parents: dict[ast.AST, ast.AST], known: frozenset[str]) -> frozenset[str] | None:
    """The columns that one use of the variable needs."""
    first = parents.get(name)
    if (columns := _projection(first, name, known)) is not None:
        return columns
    match first:
        # df[rows].x: what stands in the brackets are uses of their own
        case ast.Subscript(value=value, slice=rows) if value is name and isinstance(
            rows, (ast.Compare, ast.BinOp)
        ):
            return _projection(parents.get(first), first, known)
        case ast.Attribute(value=value, attr="groupby") if value is name:
            call = parents.get(first)
            if isinstance(call, ast.Call) and call.func is first and len(call.args) == 1:
                keys = _strings(call.args[0])
                chosen = _projection(parents.get(call), call, known)
                if keys is not None and keys <= known and chosen is not None:
                    return keys | chosen
    return None


def _projection(node: ast.AST | None, of: ast.AST, known: frozenset[str]) -> frozenset[str] | None:
    """`of.x`, `of["x"]` or `of[["x", "y"]]`."""
    match node:
        case ast.Attribute(value=value, attr=attr) if value is of and attr in known:
            return frozenset({attr})
        case ast.Subscript(value=value, slice=chosen) if value is of:
            names = _strings(chosen)
            return names if names is not None and names <= known else None
        case _:
            return None


def _strings(node: ast.expr) -> frozenset[str] | None:
    match node:
        case ast.Constant(value=str(name)):
            return frozenset({name})
        case ast.List(elts=items) if items:
            names = [item.value for item in items if isinstance(item, ast.Constant)]
            if len(names) == len(items) and all(isinstance(name, str) for name in names):
                return frozenset(str(name) for name in names)
    return None
