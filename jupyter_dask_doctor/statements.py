"""Edits of single statements and calls that stand in the notebook's cells. Reads text, runs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from . import fixes, source
from .creation import Creation
from .report import Fix
from .snapshot import Cell, Location


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
    head = _between(cell.source, (whole.line, whole.column), start)
    tail = _between(cell.source, stop, (whole.end_line, whole.end_column))
    if "#" in _between(cell.source, start, stop):
        return None  # a comment would go with it
    made = f"{head}{tail}"
    fix = fixes.replace(cell, whole, made, title=title, expect=expect, rerun=rerun)
    return fix if fix is not None and _says_the_same(call, made, name) else None


def setting(code: Sequence[Cell], key: str) -> tuple[Cell, ast.Constant] | None:
    """Where the notebook sets one of Dask's settings to a plain value: the last such place in a cell that ran.

    Sees `dask.config.set({"distributed.scheduler.allowed-failures": 0})` and the same with keywords.
    """
    found: tuple[Cell, ast.Constant] | None = None
    for cell in sorted((c for c in code if c.started is not None), key=lambda c: c.started or 0.0):
        tree = source.parse(cell.source)
        for call in fixes.calls(tree, "set") if tree is not None else ():
            for name, value in _settings(call):
                if _same_key(name, key) and isinstance(value, ast.Constant):
                    found = cell, value
    return found


def settings_block(settings: Mapping[str, str]) -> str:
    """Code that sets them in this process and for workers started from it afterwards."""
    rows = "".join(f'    "{name}": {value},\n' for name, value in settings.items())
    return f"import dask\n\ndask.config.set({{\n{rows}}})"


def is_config(call: ast.Call) -> bool:
    """Is it a call of a function of `dask.config`?"""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return (isinstance(owner, ast.Name) and owner.id == "config") or (
        isinstance(owner, ast.Attribute) and owner.attr == "config"
    )


def _settings(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Of a call of `dask.config.set`: names with dots, and values."""
    if not is_config(call):
        return
    for argument in call.args:
        if isinstance(argument, ast.Dict):
            for name, value in zip(argument.keys, argument.values, strict=True):
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, value
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg.replace("__", "."), keyword.value


def _same_key(one: str, other: str) -> bool:
    """Dask takes hyphens and underscores for the same."""
    return one.replace("_", "-") == other.replace("_", "-")


def _between(text: str, start: tuple[int, int], stop: tuple[int, int]) -> str:
    if start >= stop:
        return ""
    return source.text(
        text, source.Span(line=start[0], column=start[1], end_line=stop[0], end_column=stop[1])
    )


def _says_the_same(call: ast.Call, made: str, name: str) -> bool:
    tree = source.parse(made)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    wanted = ast.Call(func=call.func, args=call.args, keywords=[k for k in call.keywords if k.arg != name])
    return ast.dump(tree.body[0].value) == ast.dump(wanted)
