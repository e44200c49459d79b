"""Calls that shuffle rows by hashed keys, with a number of partitions with which no row is lost."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from .. import source
from ..report import Fix
from ..snapshot import Cell, Location
from . import calls, creation, fixes

#: Methods that take the number of partitions of their result, and under which name.
COUNTS = {
    "merge": "npartitions",
    "join": "npartitions",
    "shuffle": "npartitions",
    "drop_duplicates": "split_out",
}
_SPLIT_OUT = frozenset(
    {"agg", "aggregate", "sum", "mean", "min", "max", "count", "size", "std", "var", "first", "last", "nunique",
     "value_counts", "unique", "median"}
)  # fmt: skip


def other_count(cell: Cell, methods: Sequence[str], n: int, at: Location | None) -> tuple[Fix, ...]:
    """The one call in the cell that shuffles, with another number of partitions."""
    tree = source.parse(cell.source)
    if tree is None:
        return ()
    given = calls.with_keyword(cell, "split_out", _SPLIT_OUT)
    found = [(call, COUNTS[m]) for m in methods for call in fixes.calls(tree, m) if _is_of_a_frame(call)]
    if not methods and given is not None and _is_count(given.call, n):
        found = [(given.call, "split_out")]
    if len(found) != 1:
        return ()
    call, option = found[0]
    wanted = count(n)
    made = creation.set_option(
        creation.Creation(cell=cell, call=call),
        option,
        str(wanted),
        title=f"Make {wanted:,} partitions instead",
        expect=f"{n:,} → {wanted:,} partitions: every row is there",
    )
    return () if made is None else (replace(made, rerun=(at.cell_id,) if at and at.cell_id else made.rerun),)


def _is_count(call: ast.Call, n: int) -> bool:
    return any(
        k.arg == "split_out" and isinstance(k.value, ast.Constant) and k.value.value == n
        for k in call.keywords
    )


def _is_of_a_frame(call: ast.Call) -> bool:
    """Not `", ".join(...)`, `os.path.join(...)` or `pd.merge(...)`."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="pd" | "pandas" | "os" | "np")):
            return False
        case (
            ast.Attribute(value=ast.Constant() | ast.JoinedStr())
            | ast.Attribute(value=ast.Attribute(attr="path"))
        ):
            return False
    return True


def count(n: int) -> int:
    """The next number with which nothing goes wrong."""
    while n in fixes.LOSSY_COUNTS:
        n += 1
    return n


def bound(cell: Cell) -> str | None:
    """The variable that the one shuffling call of the cell makes."""
    tree = source.parse(cell.source)
    found = [
        statement
        for statement in (tree.body if tree is not None else ())
        if any(_is_of_a_frame(call) for m in COUNTS for call in fixes.calls(_module(statement), m))
    ]
    match found:
        case [ast.Assign(targets=[ast.Name(id=name)])]:
            return name
    return None


def _module(statement: ast.stmt) -> ast.Module:
    return ast.Module(body=[statement], type_ignores=[])
