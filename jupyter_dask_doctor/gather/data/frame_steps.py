"""The steps of a dataframe's expression that rules speak of: merges, groupings, shuffles, what needs divisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...snapshot import Operation, OperationKind
from .frame_hazards import kinds, operand

MAX_OPERATIONS = 50
MAX_COLUMNS = 8
MAX_TEXT = 100

#: By the names of classes, most special first.
_KINDS: Mapping[str, OperationKind] = {
    "MergeAsof": "merge",
    "Merge": "merge",
    "JoinRecursive": "join",
    "ResampleReduction": "resample",
    "RollingReduction": "rolling",
    "SetIndex": "set_index",
    "SetIndexBlockwise": "set_index",
    "SortValues": "sort_values",
    "GroupByBase": "groupby",
    "LocBase": "loc",
    "LocUnknown": "loc",
    "Loc": "loc",
    "LocAlign": "loc",
    "RearrangeByColumn": "shuffle",
    "ShuffleBase": "shuffle",
    "Repartition": "repartition",
    "MaybeAlignPartitions": "alignment",
    "MapPartitions": "map_partitions",
    "MapOverlap": "map_partitions",
}


def operations(nodes: Sequence[Any], twin: Callable[[Any], Any]) -> tuple[Operation, ...]:
    """Of nodes in order, from the sources to the end. `twin`: what to ask for the partitions of a
    node; None when it must not be asked."""
    found = []
    for node in nodes:
        kind = _kind(node)
        if kind is not None:
            found.append(_operation(node, kind, twin))
    return tuple(found[:MAX_OPERATIONS])


def _kind(node: Any) -> OperationKind | None:
    of = kinds(node)
    if "IO" in of:
        return None
    if "MapPartitions" in of and type(node).__name__ not in ("MapPartitions", "MapOverlap"):
        return None  # `shift` and the like, which only borrow from it
    for name, kind in _KINDS.items():
        if name in of:
            is_join = kind == "merge" and _is_on_index(node) and "MergeAsof" not in of
            return "join" if is_join else kind
    split_out = operand(node, "split_out")
    if {"Unique", "ValueCounts"} & of and (
        split_out is True or (isinstance(split_out, int) and split_out > 1)
    ):
        return "shuffle"  # equal rows come together by their hash
    return "alignment" if "Concat" in of and _concat_aligns(node) else None


def _operation(node: Any, kind: OperationKind, twin: Callable[[Any], Any]) -> Operation:
    frames = [part for part in node.dependencies() if getattr(part, "ndim", 0) > 0]
    if kind in ("resample", "rolling", "map_partitions", "repartition", "loc", "groupby"):
        frames = frames[:1]
    inputs = [
        (None, None) if asked is None else (asked.npartitions, bool(asked.known_divisions))
        for asked in map(twin, frames)
    ]
    own = twin(node)
    function = operand(node, "func") if kind in ("map_partitions", "groupby") else None
    return Operation(
        kind=kind,
        name=str(node._name),
        n_in=tuple(n for n, _ in inputs),
        n_out=None if own is None else own.npartitions,
        known_divisions=tuple(known for _, known in inputs),
        is_on_index=kind in ("join", "resample", "alignment") or _works_on_index(node, kind),
        columns=tuple(dict.fromkeys(_columns(node, kind)))[:MAX_COLUMNS],
        how=_how(node, kind),
        function=_function_name(function),
    )


def _is_on_index(node: Any) -> bool:
    return bool(operand(node, "left_index")) and bool(operand(node, "right_index"))


def _concat_aligns(node: Any) -> bool:
    """Frames beside one another, or one after the other by their divisions."""
    return bool(operand(node, "axis") == 1)


def _works_on_index(node: Any, kind: OperationKind) -> bool:
    if kind == "merge":
        return _is_on_index(node)
    if kind == "loc":  # with labels, rather than with a mask
        return not {"Loc", "LocAlign"} & {type(node).__name__}
    if kind == "rolling":  # by time, rather than by a number of rows
        return not isinstance(operand(node, "window"), int)
    return kind == "groupby" and not any(_columns(node, "groupby"))


def _columns(node: Any, kind: OperationKind) -> Iterator[str]:
    if kind == "merge":
        for side in ("left_on", "right_on"):
            yield from _labels(operand(node, side))
    elif kind == "groupby":
        # What is grouped by stands behind the parameters.
        for item in getattr(node, "by", ()) or ():
            yield from _labels(item)
    elif kind == "set_index":
        yield from _labels(
            operand(node, "_other") if "_other" in type(node)._parameters else operand(node, "other")
        )
    elif kind == "sort_values":
        yield from _labels(operand(node, "by"))
    elif kind == "shuffle":
        name = "subset" if "Unique" in kinds(node) else "partitioning_index"
        yield from _labels(operand(node, name))


def _labels(value: Any) -> Iterator[str]:
    if value is None:
        return
    if hasattr(type(value), "_parameters"):
        name = getattr(value._meta, "name", None)
        if name is not None:
            yield str(name)[:MAX_TEXT]
        return
    for label in value if isinstance(value, (list, tuple)) else [value]:
        if hasattr(type(label), "_parameters"):
            yield from _labels(label)
        elif isinstance(label, (str, int, float)):
            yield str(label)[:MAX_TEXT]


def _how(node: Any, kind: OperationKind) -> str:
    name = {"merge": "how", "join": "how", "resample": "rule", "rolling": "window"}.get(kind)
    value = None if name is None else operand(node, name)
    return "" if value is None else str(value)[:MAX_TEXT]


def _function_name(function: Any) -> str | None:
    if function is None or not callable(function):
        return None
    from dask.utils import funcname

    return str(funcname(function))[:MAX_TEXT]
