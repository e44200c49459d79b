"""Settings of Dask that must be made before the cluster is: where the notebook makes them, and edits of that."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from .. import source
from ..report import Fix
from ..snapshot import Cell, Cluster, Location
from . import creation, fixes, statements


def block(values: Mapping[str, str]) -> str:
    """Code that sets them: names of settings and their values as Python source."""
    rows = "".join(f'    "{name}": {value},\n' for name, value in values.items())
    return f"import dask\n\ndask.config.set({{\n{rows}}})"


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


def is_config(call: ast.Call) -> bool:
    """Is it a call of a function of `dask.config`?"""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return (isinstance(owner, ast.Name) and owner.id == "config") or (
        isinstance(owner, ast.Attribute) and owner.attr == "config"
    )


def set_before(
    values: Mapping[str, str], *, code: Sequence[Cell], cluster: Cluster, title: str, expect: str
) -> tuple[Fix, Location | None]:
    """Sets them ahead of the call that makes the cluster, or where the notebook sets them already.

    Also the place that the fix is about; None when the notebook does not make the cluster. Then the code is
    only shown.
    """
    made = creation.creation(code, cluster)
    found = _set_already(code, tuple(values), made.cell if made is not None else None)
    if found is not None:
        cell, dictionary, places = found
        new = _with_values(cell.source, dictionary, [(places[name], values[name]) for name in values])
        fix = fixes.replace(cell, source.span(cell.source, dictionary), new, title=title, expect=expect)
        if fix is not None:
            return fix, _at(cell, dictionary.lineno)
    if made is not None:
        at = _at(made.cell, made.call.lineno)
        fix = statements.ahead_of(made, block(values), title=title, expect=expect)
        if fix is not None:
            return fix, at
    else:
        at = None
    return fixes.advice(f"# before the cluster is made\n{block(values)}", title=title, expect=expect), at


def _set_already(
    code: Sequence[Cell], names: Sequence[str], before: Cell | None
) -> tuple[Cell, ast.Dict, dict[str, ast.expr]] | None:
    """The last call of `dask.config.set({...})` that names all of them and ran before the cluster was made."""
    ran = sorted((c for c in code if c.started is not None), key=lambda c: -(c.started or 0))
    for cell in ran:
        if before is not None and (cell.started or 0) > (before.started or 0):
            continue
        if not all(name in cell.source for name in names):
            continue  # the usual case: nothing is parsed
        tree = source.parse(cell.source)
        for call in reversed(fixes.calls(tree, "set")) if tree is not None else ():
            dictionary = call.args[0] if call.args else None
            if not isinstance(dictionary, ast.Dict):
                continue
            places = {
                key.value: value
                for key, value in zip(dictionary.keys, dictionary.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
            if all(name in places for name in names):
                return cell, dictionary, {name: places[name] for name in names}
    return None


def _with_values(text: str, outer: ast.Dict, changes: Sequence[tuple[ast.expr, str]]) -> str:
    where = source.span(text, outer)
    place = (where.line, where.column)
    made = []
    for node, new in sorted(changes, key=lambda change: (change[0].lineno, change[0].col_offset)):
        cut = source.span(text, node)
        made += [source.between(text, place, (cut.line, cut.column)), new]
        place = (cut.end_line, cut.end_column)
    return "".join([*made, source.between(text, place, (where.end_line, where.end_column))])


def _at(cell: Cell, line: int) -> Location:
    return Location(cell_id=cell.id, execution_count=cell.execution_count, line=line)


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
