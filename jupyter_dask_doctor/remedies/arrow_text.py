"""Offers that keep text in Arrow's form instead of Python objects: where it is read, or by Dask's own setting."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Cluster, Collection, Column, Load, Location
from . import fixes, metas, settings_code

_SETTING = "dataframe.convert-string"
#: More columns are not named in code.
_MAX_COLUMNS = 20


def offers(
    c: Collection,
    columns: Sequence[Column],
    *,
    nbytes: int,
    spared: int | None,
    has_only_text: bool,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> tuple[Fix, ...]:
    """Arrow's form for these columns. `has_only_text`: no object column of the notebook holds anything else, so that
    the setting, which makes text of all of them, does no harm."""
    expect = f"≈ {words.nbytes(nbytes)} → {words.nbytes(nbytes - (spared or 0))}"
    if spared is None:
        expect = f"{words.nbytes(nbytes)} of objects become text in one block"
    found = [_by_setting(c, code, expect, ailing) if has_only_text else None]
    if len(columns) <= _MAX_COLUMNS and fixes.is_name(c.name):
        found.append(_by_type(c, columns, nbytes, expect, cluster, load, code, ailing))
    return tuple(f for f in found if f is not None)


def _by_type(
    c: Collection,
    columns: Sequence[Column],
    nbytes: int,
    expect: str,
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> Fix:
    title = f"Keep the text of {words.code(c.name)} in Arrow's form"
    if c.kind == "series":
        change = '.astype("string[pyarrow]")'
    else:
        change = f".astype({metas.literal({x.name: 'string[pyarrow]' for x in columns})})"
    binding = runs.cell_at(code, c.at)
    if c.is_persisted and binding is not None:
        made = _before_persist(c, binding, change, title, expect, ailing)
        if made is not None:
            return made
    tail = ".persist()" if c.is_persisted else ""
    new = f"{c.name} = {c.name}{change}{tail}"
    if c.is_persisted and not fixes.has_room(nbytes, cluster, load, share=cluster.memory_pause):
        return fixes.advice(new, title=title, expect=f"{expect}. Both do not fit in memory at once")
    return fixes.rebind(c.name, new, binding=binding, ailing=ailing, title=title, expect=expect)


def _by_setting(c: Collection, code: Sequence[Cell], expect: str, ailing: Location | None) -> Fix | None:
    """The notebook turned the conversion off: on again, where it cannot hit anything but text."""
    found = settings_code.setting(code, _SETTING)
    if found is None or found[1].value is not False:
        return None
    cell, value = found
    fix = fixes.replace(
        cell,
        source.span(cell.source, value),
        "True",
        title="Let Dask keep all text in Arrow's form",
        expect=f"{expect}, for all frames that are read from then on",
    )
    if fix is None:
        return None
    cells = (
        cell.id,
        c.at.cell_id if c.at is not None else None,
        ailing.cell_id if ailing is not None else None,
    )
    return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in cells if i is not None)))


def _before_persist(
    c: Collection, binding: Cell, change: str, title: str, expect: str, ailing: Location | None
) -> Fix | None:
    """`x = read().persist()` → `x = read().astype(...).persist()`."""
    tree = source.parse(binding.source)
    for statement in tree.body if tree is not None else ():
        if not source.binds(statement, c.name) or not isinstance(statement, ast.Assign):
            continue
        call = statement.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.args:
            return None
        if call.func.attr != "persist":
            return None
        where = source.span(binding.source, call.func)
        head = source.text(binding.source, where).removesuffix("persist").rstrip()
        if not head.endswith("."):
            return None
        new = f"{head[:-1]}{change}.persist"
        fix = fixes.replace(binding, where, new, title=title, expect=expect)
        if fix is None or binding.id is None:
            return None
        cells = (binding.id, ailing.cell_id if ailing is not None else None)
        return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in cells if i is not None)))
    return None
