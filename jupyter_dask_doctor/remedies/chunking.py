"""Shapes of chunks that fit: reckoned from the array's shape and the memory there is, and put where it was cut."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Collection, Location, Operation, Read
from . import calls, creation, fixes, statements

#: Functions and methods with a keyword `chunks` that says how an array is cut where it begins.
_BEGINNINGS = frozenset(
    {"open_zarr", "open_dataset", "open_mfdataset", "from_zarr", "from_array", "ones", "zeros", "full", "empty",
     "arange", "linspace", "random", "normal", "standard_normal", "uniform", "integers", "randint", "poisson",
     "exponential", "chunk"}
)  # fmt: skip
#: Those that call a chunk by the names of dimensions.
_NAMED = frozenset({"open_zarr", "open_dataset", "open_mfdataset", "chunk"})


def itemsize(c: Collection) -> int | None:
    """Bytes of one element; None when it cannot be told."""
    if c.largest is None or not c.chunks or min(c.chunks) < 1:
        return None
    return max(1, round(c.largest.nbytes / math.prod(c.chunks)))


def shape_near(
    shape: Sequence[int],
    size: int,
    target: int,
    *,
    units: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> tuple[int, ...] | None:
    """A shape of chunks of at most about `target` bytes, with edges as alike as the array allows.

    `units`: each length is a multiple of these (chunks of a store), `whole`: dimensions that stay uncut. None
    where it cannot be: an unknown length, or a single unit that is larger than the target already.
    """
    if not shape or min(shape) < 1 or size < 1:
        return None
    units = [min(u, n) if u > 0 else 1 for u, n in zip(units or (1,) * len(shape), shape, strict=True)]
    made = [n if d in whole else u for d, (n, u) in enumerate(zip(shape, units, strict=True))]
    if math.prod(made) * size > target:
        return None
    free = [d for d in range(len(shape)) if d not in whole]
    # From the shortest dimension on, so that what one cannot take goes to the others
    for place, d in enumerate(sorted(free, key=lambda d: shape[d])):
        left = len(free) - place
        others = math.prod(made) // made[d] * size
        rest = [made[o] for o in free if o != d and o in sorted(free, key=lambda d: shape[d])[place + 1 :]]
        room = target / (others / max(1, math.prod(rest)))
        edge = room ** (1 / left)
        n = max(1, int(edge // units[d])) * units[d]
        made[d] = min(n, shape[d])
        while made[d] > units[d] and math.prod(made) * size > target:
            made[d] -= units[d]
    # Equal pieces rather than a thin one at the end
    for d in free:
        pieces = math.ceil(shape[d] / made[d])
        made[d] = min(made[d], math.ceil(math.ceil(shape[d] / pieces) / units[d]) * units[d])
    return tuple(made)


def count(shape: Sequence[int], chunks: Sequence[int]) -> int:
    return math.prod(math.ceil(n / max(1, k)) for n, k in zip(shape, chunks, strict=True))


def written(chunks: Sequence[int]) -> str:
    """`(2000, 500)` as code."""
    return f"({', '.join(str(n) for n in chunks)}{',' if len(chunks) == 1 else ''})"


def aligned(
    c: Collection, others: Sequence[Collection], target: int, code: Sequence[Cell]
) -> tuple[Fix, ...]:
    """For an operation of arrays whose chunks do not fit each other: the same chunks for all of them."""
    ailing = runs.cell_at(code, c.at)
    parts = [o for o in _operands(c, ailing, others) if o.shape and o.chunks]
    if not parts or not c.shape:
        return ()
    if len(parts) == 1:
        one = parts[0]
        size = itemsize(one)
        chunks = _alike(one.shape, size, target) if size else None
        if chunks is None:
            return ()
        made = _cut_where_it_begins(one, chunks, code, ailing=c.at)
        text = f"{one.name} = {one.name}.rechunk({written(chunks)})"
    else:
        one, model = parts[-1], parts[0]
        if one.shape != model.shape or not model.largest or model.largest.nbytes > target:
            return ()
        chunks, made = model.chunks, None
        text = f"{one.name} = {one.name}.rechunk({model.name}.chunks)"
    n = count(c.shape, chunks) if len(c.shape) == len(chunks) else count(one.shape, chunks)
    title = f"Give {words.code(one.name)} chunks that fit both sides"
    expect = f"{c.npartitions or 0:,} → about {n:,} chunks, each of {_size(chunks, one)}"
    if made is not None:
        return (_titled(made, title, expect, c.at),)
    binding = runs.cell_at(code, one.at)
    return (fixes.rebind(one.name, text, binding=binding, ailing=c.at, title=title, expect=expect),)


def _alike(shape: Sequence[int], size: int, target: int) -> tuple[int, ...] | None:
    """Chunks that stay the same when dimensions are swapped."""
    if min(shape, default=0) < 1:
        return None
    edge = min(max(1, int((target / size) ** (1 / len(shape)))), max(shape))
    pieces = math.ceil(max(shape) / edge)
    edge = math.ceil(max(shape) / pieces)
    return tuple(min(edge, n) for n in shape)


def _operands(c: Collection, cell: Cell | None, others: Sequence[Collection]) -> Iterator[Collection]:
    """The arrays that stand in the statement which binds `c`, in the order of the text."""
    tree = source.parse(cell.source) if cell is not None else None
    known = {o.name: o for o in others if o.kind == "array" and o.name != c.name and fixes.is_name(o.name)}
    for statement in reversed(tree.body if tree is not None else []):
        if source.binds(statement, c.name):
            names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and n.id in known]
            yield from (known[name] for name in dict.fromkeys(names))
            return


def _cut_where_it_begins(
    c: Collection, chunks: Sequence[int], code: Sequence[Cell], *, ailing: Location | None
) -> Fix | None:
    """The `chunks=` of the one call in the statement that binds the array."""
    cell = runs.cell_at(code, c.at)
    made = calls.with_keyword(cell, "chunks", _BEGINNINGS) if cell is not None else None
    if cell is None or made is None or calls.called(made.call) in _NAMED:
        return None
    tree = source.parse(cell.source)
    binding = [s for s in (tree.body if tree is not None else ()) if source.binds(s, c.name)]
    if not binding or not any(node is made.call for node in ast.walk(binding[-1])):
        return None
    return creation.set_option(made, "chunks", written(chunks), title="", expect="")


def recut(c: Collection, step: Operation, target: int, code: Sequence[Cell]) -> tuple[Fix, ...]:
    """For a `rechunk` of the user's: the same call with chunks that fit."""
    cell, size = runs.cell_at(code, c.at), itemsize(c)
    if not c.shape or size is None or len(step.chunks_out) != len(c.shape):
        return ()
    whole = [d for d, (n, k) in enumerate(zip(c.shape, step.chunks_out, strict=True)) if k >= n]
    if len(whole) == len(c.shape):
        whole = []
    chunks = shape_near(c.shape, size, target, whole=whole) or shape_near(c.shape, size, target)
    if chunks is None or chunks == step.chunks_out:
        return ()
    title = f"Cut {words.code(c.name)} into chunks that fit"
    n = count(c.shape, chunks)
    expect = f"{step.n_out or c.npartitions or 0:,} → {n:,} chunks, each of {_size(chunks, c)}"
    made = calls.one_call(cell, {"rechunk"}) if cell is not None else None
    if cell is not None and made is not None:
        given = made.call.args[:1] or [k.value for k in made.call.keywords if k.arg == "chunks"]
        if given:
            where = source.span(cell.source, given[0])
            fix = fixes.replace(cell, where, written(chunks), title=title, expect=expect, rerun=c.at)
            if fix is not None:
                return (fix,)
    text = f"{c.name} = {c.name}.rechunk({written(chunks)})"
    if not fixes.is_name(c.name):
        return ()
    return (fixes.advice(f"# in place of the rechunk there is now\n{text}", title=title, expect=expect),)


def reshaped(c: Collection, step: Operation, code: Sequence[Cell]) -> tuple[Fix, ...]:
    """For a `reshape` that was told not to merge chunks: let it."""
    cell = runs.cell_at(code, c.at)
    made = calls.with_keyword(cell, "merge_chunks", {"reshape"}) if cell is not None else None
    if cell is None or made is None:
        return ()
    title = f"Let `reshape` keep the chunks of {words.code(c.name)} together"
    before = step.n_in[0] if step.n_in else None
    expect = f"{step.n_out or 0:,} → about {before or 1:,} chunks"
    fix = statements.without_keyword(cell, made.call, "merge_chunks", title=title, expect=expect, rerun=c.at)
    return (fix,) if fix is not None else ()


def as_stored(
    c: Collection, read: Read, shape: Sequence[int], size: int, target: int, code: Sequence[Cell]
) -> tuple[Fix, ...]:
    """Chunks that are whole multiples of those in the store, where it is opened."""
    cell = runs.cell_at(code, c.at)
    made = calls.with_keyword(cell, "chunks", _BEGINNINGS) if cell is not None else None
    chunks = shape_near(shape, size, target, units=read.chunks)
    title = f"Read {words.code(c.name)} in whole chunks of the store"
    if cell is not None and made is not None and calls.called(made.call) in _NAMED:
        expect = f"chunks as they are stored, {written(read.chunks)}: each is read once"
        fix = creation.set_option(made, "chunks", "{}", title=title, expect=expect)
        return (_titled(fix, title, expect, c.at),) if fix is not None else ()
    if chunks is None:
        chunks = tuple(read.chunks)
    expect = f"chunks of {_bytes(chunks, size)}, multiples of {written(read.chunks)}: each is read once"
    fix = None
    if made is not None:
        fix = creation.set_option(made, "chunks", written(chunks), title=title, expect=expect)
    if fix is not None:
        return (_titled(fix, title, expect, c.at),)
    text = f"# where {c.name} is opened\nchunks={written(chunks)}"
    return (fixes.advice(text, title=title, expect=expect),)


def _titled(fix: Fix, title: str, expect: str, rerun: Location | None) -> Fix:
    again = tuple(
        dict.fromkeys(
            (*(e.cell_id for e in fix.edits), *((rerun.cell_id,) if rerun and rerun.cell_id else ()))
        )
    )
    return Fix(
        title=title, applicability=fix.applicability, edits=fix.edits, code=fix.code, expect=expect,
        checksums=fix.checksums, rerun=again,
    )  # fmt: skip


def _size(chunks: Sequence[int], c: Collection) -> str:
    size = itemsize(c)
    return "the same size" if size is None else f"about {_bytes(chunks, size)}"


def _bytes(chunks: Sequence[int], size: int) -> str:
    return words.nbytes(math.prod(chunks) * size)
