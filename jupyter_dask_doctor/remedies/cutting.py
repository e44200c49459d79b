"""Edits of the call that decides how a collection is cut: `blocksize=`, `npartitions=`, `chunks=`, ..."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import replace

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Cluster, Collection, Location, Read
from ..words import KiB, MiB
from . import creation, fixes
from .creation import Creation

#: Readers of text that is cut at line ends, with `blocksize=` in bytes of the file.
_TEXT = frozenset({"read_csv", "read_table", "read_fwf", "read_text"})
#: Steps that leave the cut and about the bytes as they are, between the call and the variable.
_KEEPING = frozenset(
    {"assign", "astype", "clear_divisions", "drop", "fillna", "persist", "rename", "replace", "reset_index", "round"}
)  # fmt: skip
#: Of an array: all others may change its shape.
_KEEPING_SHAPE = frozenset({"astype", "persist"})
#: Calls with `chunks=` whose pieces are made or cut as they are asked for.
_MADE = frozenset({"from_array", "full", "ones", "zeros", "empty", "arange", "rechunk"})
#: Dask looks at the first 256,000 bytes of a file to know its columns: no smaller blocks than that.
_LEAST_BLOCK = 256 * KiB


def recut(
    c: Collection, n: int, *, cluster: Cluster, code: Sequence[Cell], ailing: Location | None
) -> tuple[Fix, ...]:
    """The call that cuts `c`, edited so that it comes in about `n` pieces; empty where that cannot be sure.

    Fewer or more than now. At most one fix; the cell that binds `c` runs again first, then the ailing one.
    """
    cell = runs.cell_at(code, c.at)
    call = (_call(c, cell) or _only_read(c, cell)) if cell is not None else None
    if cell is None or call is None or not c.npartitions or n == c.npartitions:
        return ()
    found = _options(c, call, n, cluster)
    if found is None:
        return ()
    options, after = found
    if not (2 * after <= c.npartitions if n < c.npartitions else after > c.npartitions):
        return ()  # not worth an edit
    if after in fixes.LOSSY_COUNTS and fixes.is_lossy(cluster.dask):
        return ()
    noun = "chunks" if c.kind == "array" else "partitions"
    largest = c.largest.nbytes if c.largest else 0
    held = c.nbytes.nbytes if c.nbytes else 0
    each = held / after if held else largest * c.npartitions / after
    size = f" of about {words.nbytes(each)}" if each else ""
    made = _edited(
        cell,
        call,
        options,
        title=f"Cut {words.code(c.name)} into {words.count(after)} {noun} where it is made",
        expect=f"{c.npartitions:,} → {'about ' if options.keys() != {'npartitions'} else ''}{after:,} {noun}{size}",
    )
    if made is None:
        return ()
    rerun = [i for i in (cell.id, ailing.cell_id if ailing is not None else None) if i is not None]
    return (replace(made, rerun=tuple(dict.fromkeys(rerun))),)


def _edited(cell: Cell, call: ast.Call, options: dict[str, str], *, title: str, expect: str) -> Fix | None:
    place = _positional(call, next(iter(options)))
    if place is not None:
        return fixes.replace(
            cell, source.span(cell.source, place), next(iter(options.values())), title=title, expect=expect
        )
    return creation.set_options(Creation(cell=cell, call=call), options, title=title, expect=expect)


def _call(c: Collection, cell: Cell) -> ast.Call | None:
    """The last call before the variable that cuts the data, if nothing behind it changes its size."""
    tree = source.parse(cell.source)
    bound = [s for s in tree.body if source.binds(s, c.name)] if tree is not None else []
    match bound[-1] if bound else None:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(value=ast.expr() as value):
            node: ast.expr = value
        case _:
            return None
    keeping = _KEEPING_SHAPE if c.kind == "array" else _KEEPING
    while True:
        match node:
            case ast.Call(func=ast.Attribute(value=inner, attr=name)):
                if _cuts(node, name):
                    return node
                if name not in keeping:
                    return None
                node = inner
            case ast.Call(func=ast.Name(id=name)):
                return node if _cuts(node, name) else None
            case _:
                return None


def _only_read(c: Collection, cell: Cell) -> ast.Call | None:
    """The one call in the cell that reads such files, where no variable has what it reads."""
    tree = source.parse(cell.source)
    if tree is None or len(c.reads) != 1 or any(source.binds(s, c.name) for s in tree.body):
        return None
    names = {f"read_{c.reads[0].format}"}
    found = [
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and _name(n) in names and _cuts(n, _name(n))
    ]
    return found[0] if len(found) == 1 and not fixes.is_name(c.name) else None


def _cuts(call: ast.Call, name: str) -> bool:
    given = {k.arg for k in call.keywords}
    if None in given or any(isinstance(a, ast.Starred) for a in call.args):
        return False
    return (
        name in _TEXT
        or name in ("read_parquet", "from_pandas")
        or bool(given & {"blocksize", "npartitions", "chunks"})
        or (name == "rechunk" and bool(call.args))
    )


def _positional(call: ast.Call, option: str) -> ast.expr | None:
    """Where the option stands without its name."""
    name = _name(call)
    if name == "from_pandas" and option == "npartitions" and len(call.args) > 1:
        return call.args[1]
    if name == "rechunk" and option == "chunks" and call.args:
        return call.args[0]
    return None


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _options(c: Collection, call: ast.Call, n: int, cluster: Cluster) -> tuple[dict[str, str], int] | None:
    """What to write into the call, as source, and how many pieces come of it."""
    name = _name(call)
    given = {k.arg: k.value for k in call.keywords}
    read = c.reads[0] if len(c.reads) == 1 else None
    if name in _TEXT:
        return _blocks(read, n)
    if name == "read_parquet":
        return _files(c, read, given, n) if read is not None else None
    if "chunks" in given or name == "rechunk":
        return _chunks(c, name, n)
    if name == "from_pandas" and "chunksize" in given:
        return None
    if name == "from_pandas" or "npartitions" in given:
        count = fixes.partition_count(n, cluster)
        return {"npartitions": str(count)}, count
    return None


def _blocks(read: Read | None, n: int) -> tuple[dict[str, str], int] | None:
    """Every file is cut for itself, and one that is compressed cannot be."""
    if read is None or not read.nbytes or read.compression is not None or not read.n_files:
        return None
    text, block = _size(max(_LEAST_BLOCK, read.nbytes / n))
    each = read.nbytes / read.n_files
    # Dask makes the blocks of a file larger, so that no short one is left at its end
    after = read.n_files * max(1, int(each // block))
    return {"blocksize": f'"{text}"'}, after


def _files(
    c: Collection, read: Read, given: dict[str | None, ast.expr], n: int
) -> tuple[dict[str, str], int] | None:
    """Row groups are the smallest pieces of Parquet. PyArrow's own file system knows none of these options."""
    if "filesystem" in given and not _is(given["filesystem"], "fsspec"):
        return None
    if "split_row_groups" in given and not _is(given["split_row_groups"], "infer", "adaptive"):
        return None
    now = c.npartitions or 0
    if n > now:
        groups = read.n_row_groups or 0
        if groups <= now or "blocksize" in given:
            return None
        each = max(1, groups // n)
        return {"split_row_groups": str(each) if each > 1 else "True"}, math.ceil(groups / each)
    held = c.nbytes.nbytes if c.nbytes else read.nbytes
    if not held or not read.n_files or read.n_files < 2:
        return None
    text, block = _size(held / n)
    return {"aggregate_files": "True", "blocksize": f'"{text}"'}, math.ceil(held / block)


def _is(node: ast.expr, *values: str) -> bool:
    return isinstance(node, ast.Constant) and node.value in values


def _size(nbytes: float) -> tuple[str, int]:
    """As Dask reads it, and what that is: "64MiB", or "512KiB" below 8 MiB."""
    unit, name = (MiB, "MiB") if nbytes >= 8 * MiB else (KiB, "KiB")
    whole = max(1, int(nbytes // unit))
    return f"{whole}{name}", whole * unit


def _chunks(c: Collection, name: str, n: int) -> tuple[dict[str, str], int] | None:
    """Chunks of another shape: whole multiples of those now, or halves of them."""
    now = c.npartitions or 0
    if (
        len(c.shape) != len(c.chunks)
        or not c.shape
        or any(s < 1 for s in c.shape)
        or any(k < 1 for k in c.chunks)
    ):
        return None
    if n > now and name not in _MADE and any(r.chunks for r in c.reads):
        return None  # less than a chunk of the file means to read it several times
    shape = chunks_for(c.shape, c.chunks, n)
    after = math.prod(math.ceil(s / k) for s, k in zip(c.shape, shape, strict=True))
    text = ", ".join(f"{k:_}" if k >= 10_000 else str(k) for k in shape)
    return {"chunks": f"({text},)" if len(shape) == 1 else f"({text})"}, after


def chunks_for(shape: Sequence[int], chunks: Sequence[int], n: int) -> tuple[int, ...]:
    """A chunk shape that gives about `n` chunks: doubled or halved lengths, the most unequal dimension first."""
    found = list(chunks)

    def count() -> int:
        return math.prod(math.ceil(s / k) for s, k in zip(shape, found, strict=True))

    for _ in range(200):
        if count() >= 2 * n:
            i = max(range(len(found)), key=lambda i: shape[i] / found[i])
            if found[i] >= shape[i]:
                break
            found[i] = min(shape[i], 2 * found[i])
        elif count() < n:
            i = max(range(len(found)), key=lambda i: found[i])
            if found[i] <= 1:
                break
            found[i] = math.ceil(found[i] / 2)
        else:
            break
    return tuple(found)
