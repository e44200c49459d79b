"""Settings of Dask that must be made before the cluster is: where the notebook makes them, and edits of that."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from . import creation, fixes, source
from .report import Fix
from .snapshot import Cell, Cluster, Location


def block(values: Mapping[str, str]) -> str:
    """Code that sets them: names of settings and their values as Python source."""
    rows = "".join(f'    "{name}": {value},\n' for name, value in values.items())
    return f"import dask\n\ndask.config.set({{\n{rows}}})"


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
        statement = creation_statement(made)
        where = source.span(made.cell.source, statement) if statement is not None else None
        if where is not None and where.column == 0:
            new = f"{block(values)}\n{source.text(made.cell.source, where)}"
            fix = fixes.replace(made.cell, where, new, title=title, expect=expect)
            if fix is not None:
                return fix, at
    else:
        at = None
    return fixes.advice(f"# before the cluster is made\n{block(values)}", title=title, expect=expect), at


def creation_statement(made: creation.Creation) -> ast.stmt | None:
    """The statement at the top of its cell in which the call stands."""
    tree = source.parse(made.cell.source)
    for statement in tree.body if tree is not None else ():
        if any(node is made.call for node in ast.walk(statement)):
            return statement
    return None


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
        made += [_between(text, place, (cut.line, cut.column)), new]
        place = (cut.end_line, cut.end_column)
    return "".join([*made, _between(text, place, (where.end_line, where.end_column))])


def _between(text: str, start: tuple[int, int], end: tuple[int, int]) -> str:
    if start == end:
        return ""
    return source.text(text, source.Span(line=start[0], column=start[1], end_line=end[0], end_column=end[1]))


def _at(cell: Cell, line: int) -> Location:
    return Location(cell_id=cell.id, execution_count=cell.execution_count, line=line)
