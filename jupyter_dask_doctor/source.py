"""Reads the text of a cell as Python: magics put aside, positions in characters. Executes nothing."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass

from . import syntax

#: Longer texts are not looked at: `ast` needs about 100 times their size.
MAX_LENGTH = 64 * 1024

# Cell magics whose body is Python that runs in the notebook's namespace.
_PYTHON_CELL_MAGICS = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun", "dask_doctor"})
# Line magics that are followed by Python.
_PYTHON_LINE_MAGIC = re.compile(r"%(?:time|timeit|prun|memit|dask_doctor)(?=\s)")
_SHELL_ASSIGN = re.compile(r"^(\s*[\w, ]+=\s*)[!%]")
_NEWLINE = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a piece of source stands: lines from 1, columns in characters (code points) from 0."""

    line: int
    column: int
    end_line: int
    end_column: int


def lines(source: str) -> list[str]:
    return _NEWLINE.split(source)


def parse(source: str) -> ast.Module | None:
    """The cell's syntax tree with true positions, or None when it is not (yet) Python. Shared: do not change it."""
    try:
        return _parsed(source)
    except syntax.Later:
        return None  # and not remembered as such


@functools.lru_cache(maxsize=512)
def _parsed(source: str) -> ast.Module | None:
    if len(source) > MAX_LENGTH:
        return None
    for text in (source, _without_magics(source)):
        if text is None:
            return None
        try:
            return syntax.tree(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def names(source: str) -> frozenset[str]:
    """All variables that stand in the cell, read or bound; none when it is not Python."""
    tree = parse(source)
    return frozenset() if tree is None else _names(source)


@functools.lru_cache(maxsize=512)
def _names(source: str) -> frozenset[str]:
    tree = parse(source)
    return (
        frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) if tree else frozenset()
    )


def span(source: str, node: ast.expr | ast.stmt | ast.keyword) -> Span:
    """Where a node stands. `ast` counts UTF-8 bytes; an edit counts characters."""
    rows = lines(source)
    end_line = node.end_lineno or node.lineno
    return Span(
        line=node.lineno,
        column=_characters(rows, node.lineno, node.col_offset),
        end_line=end_line,
        end_column=_characters(rows, end_line, node.end_col_offset or 0),
    )


def between(source: str, start: tuple[int, int], stop: tuple[int, int]) -> str:
    """What stands from one (line, column) up to another; empty when the second does not come after the first."""
    if start >= stop:
        return ""
    return text(source, Span(line=start[0], column=start[1], end_line=stop[0], end_column=stop[1]))


def text(source: str, where: Span) -> str:
    """What stands there now."""
    rows = lines(source)[where.line - 1 : where.end_line]
    if not rows:
        return ""
    rows[-1] = rows[-1][: where.end_column]
    rows[0] = rows[0][where.column :]
    return "\n".join(rows)


def root(node: ast.expr) -> ast.Name | None:
    """The variable at the left end of `x.a[1].b()`, or None."""
    while True:
        match node:
            case ast.Name():
                return node
            case ast.Attribute(value=value) | ast.Subscript(value=value):
                node = value
            case ast.Call(func=ast.Attribute() as function):
                node = function
            case _:
                return None


def binds(statement: ast.stmt, name: str) -> bool:
    """Does this statement assign the variable?"""
    targets: list[ast.expr]
    match statement:
        case ast.Assign(targets=found):
            targets = list(found)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            targets = [target]
        case ast.AugAssign(target=target):
            targets = [target]
        case _:
            return False
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for target in targets
        for node in ast.walk(target)
    )


def _characters(rows: list[str], line: int, column: int) -> int:
    if not 1 <= line <= len(rows):
        return 0
    return len(rows[line - 1].encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))


def _without_magics(source: str) -> str | None:
    """The same text with what only IPython understands replaced by something of the same length."""
    rows = lines(source)
    first = next((i for i, row in enumerate(rows) if row.strip()), None)
    if first is None:
        return None
    if rows[first].startswith("%%"):
        if rows[first][2:].split(maxsplit=1)[:1] not in [[name] for name in _PYTHON_CELL_MAGICS]:
            return None  # another language, or a file
        rows[first] = ""
    return "\n".join(_plain(row) for row in rows)


def _plain(row: str) -> str:
    stripped = row.lstrip()
    indent = row[: len(row) - len(stripped)]
    if magic := _PYTHON_LINE_MAGIC.match(stripped):
        # `0; ` in front of the statement: it parses, and the columns stay
        return f"{indent}0{' ' * (magic.end() - 2)};{stripped[magic.end() :]}"
    if stripped.startswith(("%", "!", "?")) or (stripped.rstrip().endswith("?") and "#" not in stripped):
        return f"{indent}pass"
    if assigned := _SHELL_ASSIGN.match(row):
        return f"{assigned.group(1)}None"
    return row
