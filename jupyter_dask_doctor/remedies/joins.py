"""Joins in which one key has most of the rows: the small side sent whole, or the key spread by a second one."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import source, words
from ..report import Fix
from ..snapshot import Cell, Collection, Location, Worker
from ..words import MiB
from . import fixes

#: A side of more bytes than this, or than this share of a worker's memory, is not sent to all of them whole.
BROADCAST_NBYTES = 100 * MiB
BROADCAST_SHARE = 0.05
#: More copies of the other side than this cost more than the spread saves.
MOST_SALTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A call of `left.merge(right, ...)` or `dd.merge(left, right, ...)` with two variables and an `on=`."""

    cell: Cell
    call: ast.Call
    left: ast.Name
    right: ast.Name
    #: Columns joined on, and "inner", "left", ...
    on: tuple[str, ...]
    how: str


def join(cell: Cell | None, name: str | None) -> Join | None:
    """The one join in the cell, in the statement that binds `name` where one is given; None where it is not clear."""
    tree = source.parse(cell.source) if cell is not None else None
    if cell is None or tree is None:
        return None
    statements = [s for s in tree.body if name is None or source.binds(s, name)]
    if name is not None:
        statements = statements[-1:]
    found = [j for s in statements for node in ast.walk(s) if (j := _join(cell, node)) is not None]
    return found[0] if len(found) == 1 else None


def _join(cell: Cell, node: ast.AST) -> Join | None:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name() as left, attr="merge"),
            args=[ast.Name() as right],
            keywords=given,
        ):
            pass
        case ast.Call(
            func=ast.Attribute(value=ast.Name(), attr="merge"),
            args=[ast.Name() as left, ast.Name() as right],
            keywords=given,
        ):
            pass
        case _:
            return None
    known = {k.arg: k.value for k in given}
    if None in known or "broadcast" in known:
        return None
    on, how = _texts(known.get("on")), _texts(known["how"]) if "how" in known else ("inner",)
    if len(how) != 1 or not on:
        return None
    return Join(cell=cell, call=node, left=left, right=right, on=on, how=how[0])


def _texts(node: ast.expr | None) -> tuple[str, ...]:
    match node:
        case ast.Constant(value=str(one)):
            return (one,)
        case ast.List(elts=items) if items and all(
            isinstance(i, ast.Constant) and isinstance(i.value, str) for i in items
        ):
            return tuple(str(i.value) for i in items if isinstance(i, ast.Constant))
    return ()


def broadcast(
    one: Join,
    collections: Sequence[Collection],
    workers: Sequence[Worker],
    *,
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """The small side in one partition: Dask then joins it with each partition of the other, and moves no row.

    Only where its size is known to be small, and the kind of join allows it.
    """
    by_name = {c.name: c for c in collections if c.kind == "dataframe"}
    sides = [(one.right, one.left, ("inner", "left")), (one.left, one.right, ("inner", "right"))]
    for small, large, kinds in sides:
        c, other = by_name.get(small.id), by_name.get(large.id)
        if c is None or other is None or one.how not in kinds or c.nbytes is None or c.is_eager:
            continue
        if c.npartitions is None or c.npartitions < 2 or c.nbytes.nbytes > _room(workers):
            continue
        if other.nbytes is not None and other.nbytes.nbytes < 4 * c.nbytes.nbytes:
            continue
        where = source.span(one.cell.source, small)
        about = "≈ " if c.nbytes.known == "estimated" else ""
        made = fixes.replace(
            one.cell,
            where,
            f"{c.name}.repartition(npartitions=1)",
            title=f"Send {words.code(c.name)} whole to each partition of {words.code(other.name)}",
            expect=f"{about}{words.nbytes(c.nbytes.nbytes)} in one partition: the rows of {words.code(other.name)} "
            "stay where they are, however frequent a key is; the order of rows changes",
        )
        if made is not None:
            rerun = [i for i in (one.cell.id, ailing.cell_id if ailing else None) if i is not None]
            return (replace(made, rerun=tuple(dict.fromkeys(rerun))),)
    return ()


def salted(one: Join, collections: Sequence[Collection], ratio: float) -> tuple[Fix, ...]:
    """Code to review: the rows of a frequent key go to several partitions, by a second key that is counted up."""
    if one.how not in ("inner", "left") or not all(map(fixes.is_name, (one.left.id, one.right.id))):
        return ()
    right = next((c for c in collections if c.name == one.right.id), None)
    salts = min(MOST_SALTS, max(2, math.ceil(ratio)))
    on = ", ".join(f'"{column}"' for column in one.on)
    if any('"' in column or "\\" in column or not column.isprintable() for column in one.on):
        return ()
    how = "" if one.how == "inner" else f', how="{one.how}"'
    text = (
        f"n = {salts}  # as many partitions for one key\n\n\n"
        "def counted(part):\n"
        "    return part.assign(salt=np.arange(len(part)) % n)\n\n\n"
        "def copied(part):\n"
        "    rows = np.repeat(np.arange(len(part)), n)\n"
        "    return part.iloc[rows].assign(salt=np.tile(np.arange(n), len(part)))\n\n\n"
        f"joined = {one.left.id}.map_partitions(counted).merge(\n"
        f'    {one.right.id}.map_partitions(copied), on=[{on}, "salt"]{how}\n'
        ').drop(columns="salt")'
    )
    held = right.nbytes.nbytes if right is not None and right.nbytes else None
    size = f" ({words.nbytes(held)} → {words.nbytes(held * salts)})" if held else ""
    expect = f"the rows of one key in up to {salts} partitions; {words.code(one.right.id)} {salts} times as large{size}"
    return (fixes.advice(f"import numpy as np\n\n{text}", title="Spread the frequent key", expect=expect),)


def _room(workers: Sequence[Worker]) -> float:
    room = [w.memory_limit for w in workers if w.memory_limit]
    return min(BROADCAST_NBYTES, BROADCAST_SHARE * min(room)) if room else BROADCAST_NBYTES
