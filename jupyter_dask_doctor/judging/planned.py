"""What cells that have not ended are about to compute or to keep, as far as their text says for certain.

A collection in the namespace is not what is computed when the call is on something made from it, when its
variable is bound anew before, or when nobody knows whether the call is reached. All these are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .. import source
from ..snapshot import Cell, Collection, Location

Method = Literal["compute", "persist"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call of `x.compute()`, `dask.compute(x, y)`, `x.persist()`, `client.persist(x)` or their like."""

    cell: Cell
    call: ast.Call
    #: Those that it is called on, whole and as they are now; there may be others that are not known.
    collections: tuple[Collection, ...]

    @property
    def at(self) -> Location:
        return Location(
            cell_id=self.cell.id, execution_count=self.cell.execution_count, line=self.call.lineno
        )


def planned(code: Sequence[Cell], collections: Sequence[Collection], method: Method) -> Iterator[Planned]:
    """The calls in cells that have not run as they stand, or that run now, in the notebook's order."""
    known: dict[str, list[Collection]] = {}
    for c in collections:
        if c.kind != "futures":
            # `ds["tas"]` is a part of what the variable `ds` holds
            known.setdefault(c.name.split("[")[0] if c.wrapped_by is not None else c.name, []).append(c)
    if not known:
        return
    place = {cell.id: i for i, cell in enumerate(code) if cell.id is not None}
    unsure: set[str] = set()
    for i, cell in enumerate(code):
        if cell.started is not None and cell.stopped is not None:
            continue
        tree = source.parse(cell.source)
        if tree is None:
            # Half written, or another language: what it binds is not known
            unsure |= {name for name in known if name in cell.source}
            continue
        if method in cell.source:
            for call, names in _calls(tree, method):
                meant = [c for n in names if n not in unsure for c in known.get(n, ())]
                # Bound by a cell further down: from top to bottom it is something else here
                meant = [c for c in meant if _place(c, place, i) <= i]
                if meant and len({c.name for c in meant}) == len(meant):
                    yield Planned(cell=cell, call=call, collections=tuple(meant))
        # A cell below runs after this one
        unsure |= {name for statement in tree.body for name in _bound(statement)}


def _place(c: Collection, place: dict[str, int], default: int) -> int:
    if c.at is None or c.at.cell_id is None:
        return default
    return place.get(c.at.cell_id, default)


def _calls(tree: ast.Module, method: Method) -> Iterator[tuple[ast.Call, tuple[str, ...]]]:
    """The calls that are reached for certain, with the variables they are called on as these were before."""
    functions = _functions(tree, method)
    bound: set[str] = set()
    for statement in tree.body:
        own = set(_bound(statement))
        # `x = x.persist()` reads before it binds; a loop may do so in its second turn
        before = bound if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)) else bound | own
        for call in _reached(statement):
            names = _on(call, method, functions)
            if names and not before.intersection(names):
                yield call, names
        bound |= own


def _functions(tree: ast.Module, method: Method) -> set[str]:
    """Names under which `dask.compute` was imported."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("dask", "dask.base")
        for alias in node.names
        if alias.name == method
    }


def _reached(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that are made whenever the statement runs: not in functions, nor where something decides."""
    if isinstance(
        node,
        (
            ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.IfExp, ast.BoolOp, ast.While,
            ast.Match, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Assert,
        ),
    ):  # fmt: skip
        return
    if isinstance(node, ast.Try):
        for statement in node.body:
            yield from _reached(statement)
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _reached(child)


def _on(call: ast.Call, method: Method, functions: set[str]) -> tuple[str, ...]:
    if any(k.arg in ("scheduler", "get") or k.arg is None for k in call.keywords):
        return ()  # not on the cluster, or nobody knows
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=attr) if attr == method:
            if not call.args:
                return (owner,)
            if owner == "dask" or method == "persist":  # dask.persist(x, y), client.persist([x, y])
                return tuple(_names(call.args))
        case ast.Name(id=name) if name in functions:
            return tuple(_names(call.args))
    return ()


def _names(nodes: Sequence[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name):
                yield name
            case ast.List(elts=items) | ast.Tuple(elts=items):
                yield from (item.id for item in items if isinstance(item, ast.Name))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Variables that are bound or changed anywhere in it, and those that an import or a definition binds."""
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                root = source.root(node)
                if root is not None:
                    yield root.id
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name.split(".")[0]
            case ast.Global(names=names):
                yield from names
