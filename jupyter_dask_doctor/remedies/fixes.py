"""Builds fixes: edits as data. Only real variable names and numbers go into code; nothing is run."""

from __future__ import annotations

import ast
import keyword
import math
import re
import zlib
from collections.abc import Sequence

from .. import source, words
from ..report import Applicability, Edit, Fix
from ..snapshot import Cell, Cluster, Collection, Load, Location, PartitionSizes
from ..words import MiB

#: Dask's own aim for a partition (docs.dask.org/en/stable/dataframe-best-practices.html).
TARGET = 100 * MiB
#: Smaller pieces cost more in overhead than they save.
SMALLEST = 8 * MiB
#: More pieces than this from one partition are a sign that our numbers are wrong.
MOST_PIECES = 1_000

#: Partition counts with which merge loses rows or fails, dask 2024.3.0 to before 2026.6.0 (dask/dask#12427).
LOSSY_COUNTS = frozenset({128, 129, 32768, 32769})


def is_name(name: str) -> bool:
    """May it stand in code as a variable?"""
    return name.isidentifier() and not keyword.iskeyword(name)


def checksum(text: str) -> int:
    """The mark by which an edit recognises the cell it was made for."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def partition_count(n: int, cluster: Cluster) -> int:
    """`n`, or the next count that cannot make `merge` lose rows on the Dask that runs."""
    n = max(1, n)
    if is_lossy(cluster.dask):
        while n in LOSSY_COUNTS:
            n += 1
    return n


def is_lossy(dask: str) -> bool:
    """Does this version of Dask lose rows with these counts?"""
    return (2024, 3, 0) <= version(dask) < (2026, 6, 0)


def version(text: str) -> tuple[int, int, int]:
    """(2026, 8, 0) of "2026.8.0+3.gabc"; zeros where it cannot be read."""
    numbers = re.findall(r"\d+", text.split("+")[0])[:3]
    major, minor, patch = [*(int(n) for n in numbers), 0, 0, 0][:3]
    return major, minor, patch


def insert_below(
    cell: Cell,
    code: str,
    *,
    title: str,
    expect: str,
    rerun: Location | None,
    applicability: Applicability = "unsafe",
) -> Fix:
    """A new cell below `cell`; text to copy when the cell has no id or the code is no Python."""
    if cell.id is None or not _is_python(code):
        return advice(code, title=title, expect=expect)
    return Fix(
        title=title,
        applicability=applicability,
        edits=(Edit(kind="below", cell_id=cell.id, new=code),),
        code=code,
        expect=expect,
        checksums=((cell.id, checksum(cell.source)),),
        rerun=_rerun(rerun),
    )


def replace(
    cell: Cell,
    where: source.Span,
    new: str,
    *,
    title: str,
    expect: str,
    rerun: Location | None = None,
    applicability: Applicability = "unsafe",
) -> Fix | None:
    """A change inside `cell`; None when the cell has no id or would no longer be Python."""
    old = source.text(cell.source, where)
    changed = _changed(cell.source, where, new)
    if cell.id is None or not old or source.parse(changed) is None:
        return None
    edit = Edit(
        kind="replace",
        cell_id=cell.id,
        old=old,
        new=new,
        line=where.line,
        column=where.column,
        end_line=where.end_line,
        end_column=where.end_column,
    )
    return Fix(
        title=title,
        applicability=applicability,
        edits=(edit,),
        code=_whole_lines(changed, where.line, where.end_line + new.count("\n") - old.count("\n")),
        expect=expect,
        checksums=((cell.id, checksum(cell.source)),),
        rerun=_rerun(rerun),
    )


def advice(code: str, *, title: str, expect: str) -> Fix:
    """Shown and copied, never inserted."""
    return Fix(title=title, applicability="display-only", edits=(), code=code, expect=expect)


def rebind(
    name: str,
    code: str,
    *,
    binding: Cell | None,
    ailing: Location | None,
    title: str,
    expect: str,
) -> Fix:
    """Binds `name` anew after the cell that bound it, before the ailing cell runs again.

    When one cell both binds the variable and suffers, a new cell below would come too late: then the
    code goes behind the statement that binds it.
    """
    if binding is None or binding.id is None:
        return advice(code, title=title, expect=expect)
    if ailing is None or ailing.cell_id != binding.id:
        return insert_below(binding, code, title=title, expect=expect, rerun=ailing)
    tree = source.parse(binding.source)
    statements = [s for s in tree.body if source.binds(s, name)] if tree is not None else []
    if not statements:
        return advice(code, title=title, expect=expect)
    where = source.span(binding.source, statements[-1])
    new = f"{source.text(binding.source, where)}\n{code}"
    made = replace(binding, where, new, title=title, expect=expect, rerun=ailing)
    return made or advice(code, title=title, expect=expect)


def pieces(sizes: PartitionSizes, *, ratio: float, nthreads: int = 1) -> dict[int, int]:
    """Into how many pieces each oversized partition goes so that none stands out; empty: cannot tell.

    A piece is about the median, but not below `SMALLEST` nor above `TARGET`, nor above half of what one
    thread has to do when all have the same.
    """
    target = max(SMALLEST, min(TARGET, sizes.median, sizes.total // (2 * max(1, nthreads))))
    floor = max(target * 1.5, sizes.median * min(2.0, ratio))
    if len(sizes.values) == sizes.n and sizes.n <= 200:
        big = {i: n for i, n in enumerate(sizes.values) if n > floor}
    else:
        # Quantiles: which the big ones are is known of the largest only
        if sum(n > floor for n in sizes.values) > max(1, len(sizes.values) // sizes.n):
            return {}
        index = sizes.largest_index
        if index is None or not index.isdecimal():
            return {}
        big = {int(index): sizes.largest}
    return {i: min(MOST_PIECES, max(2, math.ceil(n / target))) for i, n in big.items()}


def split(c: Collection, cut: dict[int, int], *, cluster: Cluster) -> str:
    """Code that cuts some partitions of a frame by rows and leaves the others and the order as they are.

    `repartition(npartitions=N)` alone cannot: with unknown divisions it cuts *every* partition into the same
    number of pieces, and with known ones it goes by index values, which leaves a hot value whole. So the big
    ones are cut without their divisions.
    """
    n = c.npartitions or 0
    cut = dict(sorted(cut.items()))
    if not is_name(c.name) or not cut or not 0 <= min(cut) <= max(cut) < n:
        return ""
    total = n - len(cut) + sum(cut.values())
    last = max(cut)
    cut[last] += partition_count(total, cluster) - total
    parts, position = [], 0
    for i, k in cut.items():
        if i > position:
            parts.append(f"{c.name}.partitions[{position if position else ''}:{i}],")
        one = f"{c.name}.partitions[{i}]"
        if c.has_known_divisions is not False:
            one += ".clear_divisions()"
        parts.append(f"{one}.repartition(npartitions={k}),  # by rows")
        position = i + 1
    if position < n:
        parts.append(f"{c.name}.partitions[{position}:],")
    # A lazy frame would be made once for each slice: a shuffle three times instead of once
    first = "" if c.is_persisted else f"{c.name} = {c.name}.persist()\n"
    tail = ".persist()" if c.is_persisted else ""
    body = "\n".join(f"    {part}" for part in parts)
    return f"import dask.dataframe as dd\n\n{first}{c.name} = dd.concat([\n{body}\n]){tail}"


def repartition(c: Collection, n: int, *, cluster: Cluster) -> str:
    """Code that cuts all partitions of a frame or a bag evenly; empty when it cannot be offered."""
    if not is_name(c.name) or c.kind not in ("dataframe", "series", "bag") or c.is_eager:
        return ""
    tail = ".persist()" if c.is_persisted else ""
    return f"{c.name} = {c.name}.repartition(npartitions={partition_count(n, cluster)}){tail}"


def rechunk(c: Collection, target: int) -> str:
    """Code that gives an array chunks of at most `target` bytes."""
    if not is_name(c.name) or c.kind != "array":
        return ""
    tail = ".persist()" if c.is_persisted else ""
    limit = target // MiB * MiB or max(1, target)
    return f'{c.name} = {c.name}.rechunk("auto", block_size_limit={limit:_}){tail}  # {words.nbytes(limit)}'


def persist(name: str) -> str:
    return f"{name} = {name}.persist()" if is_name(name) else ""


def has_room(nbytes: int, cluster: Cluster, load: Sequence[Load], *, share: float | None = None) -> bool:
    """Will so many more bytes leave the cluster below `share` of its memory (default: the target)?"""
    if cluster.memory_limit is None:
        return True
    used = load[-1].managed + load[-1].unmanaged if load else 0
    return nbytes + used <= (cluster.memory_target if share is None else share) * cluster.memory_limit


def calls(tree: ast.Module, method: str) -> list[ast.Call]:
    """All calls of `something.method(...)`, in the order of the text."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
    ]
    return sorted(found, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))


def after(whole: str, node: ast.expr) -> source.Span:
    """The span of an expression's last character, to put something behind it."""
    where = source.span(whole, node)
    return source.Span(
        line=where.end_line,
        column=where.end_column - 1,
        end_line=where.end_line,
        end_column=where.end_column,
    )


def _rerun(at: Location | None) -> tuple[str, ...]:
    return (at.cell_id,) if at is not None and at.cell_id is not None else ()


def _is_python(code: str) -> bool:
    return bool(code.strip()) and source.parse(code) is not None


def _changed(whole: str, where: source.Span, new: str) -> str:
    rows = source.lines(whole)
    head = rows[where.line - 1][: where.column]
    tail = rows[where.end_line - 1][where.end_column :]
    return "\n".join([*rows[: where.line - 1], f"{head}{new}{tail}", *rows[where.end_line :]])


def _whole_lines(text: str, first: int, last: int) -> str:
    return "\n".join(source.lines(text)[first - 1 : last])
