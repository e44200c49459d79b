"""Where the notebook makes its cluster, and edits of that call: an option set, or added."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import source
from ..report import Applicability, Fix
from ..snapshot import Cell, Cluster
from . import fixes

#: Classes whose call starts a cluster on this machine and takes the options of LocalCluster.
_CLUSTERS = ("LocalCluster", "LocalCUDACluster")
#: `Client()` makes a LocalCluster of its own, unless it is told where to connect.
_CLIENT = "Client"
_ADDRESSES = frozenset({"address", "scheduler_file", "asynchronous"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A call that made the cluster, and its cell as it ran last."""

    cell: Cell
    call: ast.Call


def creation(code: Sequence[Cell], cluster: Cluster) -> Creation | None:
    """The call that made this cluster: the last one that ran, if there are several that bound its variable.

    None when it stands in no cell, and when it cannot be told which one of two it is.
    """
    ran = sorted((c for c in code if c.started is not None), key=lambda c: c.started or 0.0)
    found = [Creation(cell=c, call=call) for c in ran for call in _calls(c)]
    bound = [x for x in found if _binds(x, cluster.cluster_variable) or _binds(x, cluster.client_variable)]
    if bound:
        return bound[-1]
    return found[0] if len(found) == 1 else None


def set_option(
    where: Creation,
    name: str,
    value: str,
    *,
    title: str,
    expect: str,
    applicability: Applicability = "unsafe",
) -> Fix | None:
    """Sets `name=value` in the call, the value as Python source. None where the edit cannot be sure."""
    return set_options(where, {name: value}, title=title, expect=expect, applicability=applicability)


def set_options(
    where: Creation,
    options: dict[str, str],
    *,
    title: str,
    expect: str,
    applicability: Applicability = "unsafe",
) -> Fix | None:
    """Sets all of the options in one edit of the call; others stay as they are."""
    call, text = where.call, where.cell.source
    if any(k.arg is None for k in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args):
        return None  # `**options` may hold it already
    span = source.span(text, call)
    whole = source.text(text, span)
    # Changed from the end, so that the places before stay true
    missing = dict(options)
    cuts: list[tuple[source.Span, str]] = []
    for k in call.keywords:
        if k.arg in options:
            cuts.append((source.span(text, k), f"{k.arg}={missing.pop(k.arg)}"))
    made = _with(text, span, cuts)
    if missing:
        added = ", ".join(f"{name}={value}" for name, value in missing.items())
        body = made[:-1].rstrip()
        tail = made[len(body) :]
        if body.endswith("(") or body.endswith(","):
            gap = "" if body.endswith("(") else " "
            made = f"{body}{gap}{added}{tail}"
        elif "#" in body.rsplit("\n", 1)[-1]:
            return None  # the last argument may have a comment behind it
        else:
            made = f"{body}, {added}{tail}"
    if made == whole:
        return None
    return fixes.replace(where.cell, span, made, title=title, expect=expect, applicability=applicability)


def _calls(cell: Cell) -> Iterator[ast.Call]:
    tree = source.parse(cell.source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call):
            is_told_where = bool(node.args) or any(k.arg in _ADDRESSES for k in node.keywords)
            if _name(node) in _CLUSTERS or (_name(node) == _CLIENT and not is_told_where):
                yield node


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _binds(one: Creation, variable: str | None) -> bool:
    tree = source.parse(one.cell.source)
    if variable is None or tree is None:
        return False
    return any(
        source.binds(statement, variable) and any(node is one.call for node in ast.walk(statement))
        for statement in ast.walk(tree)
        if isinstance(statement, ast.stmt)
    )


def _with(text: str, span: source.Span, cuts: list[tuple[source.Span, str]]) -> str:
    """What stands in `span`, with pieces of it replaced."""
    made = []
    place = (span.line, span.column)
    for cut, new in cuts:
        made.append(source.between(text, place, (cut.line, cut.column)))
        made.append(new)
        place = (cut.end_line, cut.end_column)
    made.append(source.between(text, place, (span.end_line, span.end_column)))
    return "".join(made)
