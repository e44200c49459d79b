"""Edits of single statements and calls that stand in the notebook's cells. Reads text, runs nothing."""

from __future__ import annotations

import ast

from .. import source
from ..report import Fix
from ..snapshot import Cell, Location
from . import fixes
from .creation import Creation


def ahead_of(where: Creation, code: str, *, title: str, expect: str) -> Fix | None:
    """Lines ahead of the statement that makes the cluster. None where that statement shares its line."""
    cell = where.cell
    tree = source.parse(cell.source)
    statement = next(
        (s for s in tree.body if any(n is where.call for n in ast.walk(s))) if tree is not None else iter(()),
        None,
    )
    if statement is None:
        return None
    span = source.span(cell.source, statement)
    rows = source.lines(cell.source)
    # A line magic such as `%time` in front of it, or a neighbour behind a semicolon
    if span.column or rows[span.line - 1][: span.column].strip():
        return None
    text = source.text(cell.source, span)
    return fixes.replace(cell, span, f"{code}\n{text}", title=title, expect=expect)


def without_keyword(
    cell: Cell, call: ast.Call, name: str, *, title: str, expect: str, rerun: Location | None = None
) -> Fix | None:
    """The call without one of its keywords: `x.compute(scheduler="sync")` → `x.compute()`."""
    given: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    given.sort(key=lambda node: (node.lineno, node.col_offset))
    place = next((i for i, n in enumerate(given) if isinstance(n, ast.keyword) and n.arg == name), None)
    if place is None:
        return None
    own, whole = source.span(cell.source, given[place]), source.span(cell.source, call)
    start, stop = (own.line, own.column), (own.end_line, own.end_column)
    if place > 0:
        before = source.span(cell.source, given[place - 1])
        start = (before.end_line, before.end_column)
    elif len(given) > 1:
        after = source.span(cell.source, given[1])
        stop = (after.line, after.column)
    head = source.between(cell.source, (whole.line, whole.column), start)
    tail = source.between(cell.source, stop, (whole.end_line, whole.end_column))
    if "#" in source.between(cell.source, start, stop):
        return None  # a comment would go with it
    made = f"{head}{tail}"
    fix = fixes.replace(cell, whole, made, title=title, expect=expect, rerun=rerun)
    return fix if fix is not None and _says_the_same(call, made, name) else None


def _says_the_same(call: ast.Call, made: str, name: str) -> bool:
    tree = source.parse(made)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    wanted = ast.Call(func=call.func, args=call.args, keywords=[k for k in call.keywords if k.arg != name])
    return ast.dump(tree.body[0].value) == ast.dump(wanted)
