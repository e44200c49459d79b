"""How the notebook speaks of its cluster object, and calls in its cells that an option can be set in."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from .. import source
from ..snapshot import Cell, Cluster
from . import fixes
from .creation import Creation


def expression(cluster: Cluster) -> str | None:
    """The cluster object as code: its variable, or the client's attribute; None when neither is there."""
    if cluster.cluster_variable is not None and fixes.is_name(cluster.cluster_variable):
        return cluster.cluster_variable
    if cluster.kind is not None and cluster.client_variable and fixes.is_name(cluster.client_variable):
        return f"{cluster.client_variable}.cluster"
    return None


def client(cluster: Cluster) -> str | None:
    """The client as code; None when no variable holds it."""
    name = cluster.client_variable
    return name if name is not None and fixes.is_name(name) else None


def method(code: Sequence[Cell], cluster: Cluster, name: str) -> Creation | None:
    """The last call of a method of this cluster, such as `cluster.adapt(...)`, in a cell that ran."""
    owner = expression(cluster)
    ran = sorted((c for c in code if c.started is not None), key=lambda c: c.started or 0.0)
    found = [
        made
        for cell in ran
        for made in _calls(cell)
        if isinstance(made.call.func, ast.Attribute)
        and made.call.func.attr == name
        and owner is not None
        and ast.unparse(made.call.func.value) == owner
    ]
    return found[-1] if found else None


def with_keyword(cell: Cell, keyword: str, methods: Collection[str]) -> Creation | None:
    """The one call in the cell of a method of these names that has this keyword; None when there are several."""
    found = [
        m
        for m in _calls(cell)
        if called(m.call) in methods and any(k.arg == keyword for k in m.call.keywords)
    ]
    return found[0] if len(found) == 1 else None


def one_call(cell: Cell, methods: Collection[str]) -> Creation | None:
    """The one call in the cell of a function or method of these names; None when there are several."""
    found = [m for m in _calls(cell) if called(m.call) in methods]
    return found[0] if len(found) == 1 else None


def called(call: ast.Call) -> str:
    """The name of the function or method that is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _calls(cell: Cell) -> Iterator[Creation]:
    tree = source.parse(cell.source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call):
            yield Creation(cell=cell, call=node)
