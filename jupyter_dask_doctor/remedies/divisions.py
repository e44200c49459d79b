"""Offers that give a frame divisions: by the files' statistics, or by one pass over an index that is in order."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Collection, Location
from . import calls, creation, fixes
from .creation import Creation

#: Steps after which the divisions of the files no longer hold.
_LOSING = frozenset({"merge", "join", "groupby", "shuffle", "set_index", "sort_values", "map_partitions"})
#: Seconds to read the statistics of one file, here and over a network: a request and a parse.
_FOOTER_LOCAL, _FOOTER_REMOTE = 0.005, 0.1


def offers(
    lacking: Sequence[Collection],
    code: Sequence[Cell],
    frames: Sequence[Collection],
    *,
    ailing: Location | None,
    loss_seconds: float | None,
) -> tuple[Fix, ...]:
    """What makes the divisions of all of them known. `loss_seconds`: what that costs now; None: it cannot go on."""
    if not lacking or any(c.has_known_divisions is True or not fixes.is_name(c.name) for c in lacking):
        return (_advice(lacking),)
    by_files = _by_files(lacking, code, frames, ailing=ailing, loss_seconds=loss_seconds)
    by_order = _by_order(lacking, code, ailing=ailing)
    return tuple(f for f in (by_files, by_order) if f is not None) or (_advice(lacking),)


def _by_files(
    lacking: Sequence[Collection],
    code: Sequence[Cell],
    frames: Sequence[Collection],
    *,
    ailing: Location | None,
    loss_seconds: float | None,
) -> Fix | None:
    """`calculate_divisions=True` in the calls of `read_parquet` that they are made from."""
    reads: dict[tuple[str | None, int, int], Creation] = {}
    for c in lacking:
        made = _read(c, code, frames)
        if made is None:
            return None
        reads[(made.cell.id, made.call.lineno, made.call.col_offset)] = made
    files = {(r.path, r.n_files or 0) for c in lacking for r in c.reads}
    n_files = sum(n for _, n in files)
    is_remote = any("://" in path and not path.startswith("file:") for path, _ in files)
    cost = n_files * (_FOOTER_REMOTE if is_remote else _FOOTER_LOCAL)
    if loss_seconds is not None and cost >= loss_seconds:
        return None
    takes = f", ≈ {words.seconds(cost)}" if cost >= 0.1 else ""
    which = words.count(n_files, "file") if n_files else "all files"
    index = next(c.index.name for c in lacking if c.index is not None)
    expect = (
        f"the statistics of {which} are read once{takes}; divisions by {words.code(index)} are known where the "
        "files are in its order"
    )
    parts = []
    for made in reads.values():
        fix = creation.set_options(
            made,
            {"calculate_divisions": "True"},
            title=f"Take the divisions of {_named(lacking)} from the files",
            expect=expect,
        )
        if fix is None:
            return None
        parts.append(fix)
    edits = sorted((e for f in parts for e in f.edits), key=lambda e: (e.line, e.column), reverse=True)
    bound = [c.at.cell_id for c in lacking if c.at is not None]
    rerun = [
        *(made.cell.id for made in reads.values()),
        *bound,
        ailing.cell_id if ailing is not None else None,
    ]
    return dataclasses.replace(
        parts[0],
        edits=tuple(edits),
        code="\n".join(dict.fromkeys(f.code for f in parts)),
        checksums=tuple(dict.fromkeys(mark for f in parts for mark in f.checksums)),
        rerun=tuple(dict.fromkeys(i for i in rerun if i is not None)),
    )


def _read(c: Collection, code: Sequence[Cell], frames: Sequence[Collection]) -> Creation | None:
    """The one call that reads its files, where asking those for divisions can help."""
    if any(o.kind in _LOSING for o in c.operations):
        return None
    if not c.reads or any(r.format != "parquet" for r in c.reads):
        return None
    if c.index is None or not c.index.name:
        return None  # a range that no file has statistics of
    found: dict[tuple[str | None, int, int], Creation] = {}
    for x in frames:
        cell = runs.cell_at(code, x.at) if x is c or runs.is_made_from(c, x) else None
        tree = source.parse(cell.source) if cell is not None else None
        for statement in tree.body if tree is not None else ():
            if cell is None or not source.binds(statement, x.name):
                continue
            for call in ast.walk(statement):
                if isinstance(call, ast.Call) and calls.called(call) == "read_parquet":
                    found[(cell.id, call.lineno, call.col_offset)] = Creation(cell=cell, call=call)
    if len(found) != 1:
        return None
    (made,) = found.values()
    if any(k.arg == "calculate_divisions" and _is_true(k.value) for k in made.call.keywords):
        return None  # that was no help
    return made


def _by_order(lacking: Sequence[Collection], code: Sequence[Cell], *, ailing: Location | None) -> Fix | None:
    """`set_index(..., sorted=True)` of the index that each has."""
    rows = []
    for c in lacking:
        if c.index is None or not c.index.name or c.is_eager or c.kind != "dataframe":
            return None
        rows.append(f"{c.name} = {c.name}.reset_index().set_index({_literal(c.index.name)}, sorted=True)")
    order = {cell.id: i for i, cell in enumerate(code)}
    last = max(lacking, key=lambda c: order.get(c.at.cell_id, -1) if c.at is not None else -1)
    if len(rows) > 1 and ailing is not None and last.at is not None and ailing.cell_id == last.at.cell_id:
        return None  # one cell binds and joins them: no place between
    return fixes.rebind(
        last.name,
        "\n".join(rows),
        binding=runs.cell_at(code, last.at),
        ailing=ailing,
        title=f"Tell Dask that {_named(lacking)} {'is' if len(rows) == 1 else 'are'} in the order of the index",
        expect="one pass over the index now, an error if the rows are not in order; divisions are known from then on",
    )


def _named(lacking: Sequence[Collection]) -> str:
    names = [words.code(c.name) for c in lacking]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _advice(lacking: Sequence[Collection]) -> Fix:
    c = lacking[0] if len(lacking) == 1 else None
    name = c.name if c is not None and fixes.is_name(c.name) else "df"
    times = [x.name for x in c.columns if x.dtype.startswith("datetime64")] if c is not None else []
    column = _literal(times[0]) if len(times) == 1 else '"column"'
    return fixes.advice(
        f"# where the rows are in the order of the column\n{name} = {name}.set_index({column}, sorted=True)",
        title="Make the divisions known",
        expect="one pass over that column now, an error if the rows are not in order",
    )


def _literal(name: str) -> str:
    quoted = repr(name)
    return f'"{name}"' if quoted == f"'{name}'" and '"' not in name else quoted


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
