"""Dataframes, series and indices of Dask, described without computing anything."""

from __future__ import annotations

from typing import Any

from ..snapshot import Collection, CollectionKind, Location, Size
from .in_memory import Sizes, group_of, is_future, sizes_in_memory

#: Nodes of one expression walked. A tree with more of them would take longer to walk than the answer is worth.
MAX_NODES = 500
MAX_NAMES = 200

#: Sizes of embedded frames by expression name: reckoning one reads a sample of its objects.
_frame_sizes: dict[str, int] = {}


def describe_frame(name: str, value: Any, *, sizes: Sizes, at: Location | None = None) -> Collection:
    """Describe a dataframe, series or index of Dask's, or an expression of one.

    Computes nothing and reads no file of a remote store; what cannot be told is None, with a gap that says why.
    """
    expr = getattr(value, "_expr", value)
    nodes = []
    for node in expr.walk():
        nodes.append(node)
        if len(nodes) > MAX_NODES:
            break
    too_large = len(nodes) > MAX_NODES
    by_size = any(has_partition_size(node) for node in nodes)
    eager = too_large or any(is_eager(node) for node in nodes)
    names = tuple(node._name for node in nodes[:MAX_NAMES])

    group = None
    npartitions = None
    known = None
    if _kind(expr) == "FromGraph" and is_future(next(iter(expr.operand("layer").values()), None)):
        group = group_of(expr.operand("keys"))
        npartitions = len(expr.operand("keys"))
        known = _known(expr.operand("divisions"))
    elif not eager and all(is_read(node) for node in nodes):
        npartitions = int(expr.npartitions)
        # Divisions of anything but a plain chain may need the optimizer: only what is there already.
        divisions = expr.__dict__.get("divisions")
        known = None if divisions is None else _known(divisions)
    if group is not None:
        names = (*names, group)

    measured = None if group is None else sizes(group)
    nbytes, largest = sizes_in_memory(measured, npartitions)
    if nbytes is None and _kind(expr) == "FromPandas" and npartitions:
        total = _frame_nbytes(expr)
        nbytes = Size(nbytes=total, known="estimated")
        largest = Size(nbytes=-(-total // npartitions), known="estimated")
    return Collection(
        name=name,
        kind=_frame_kind(expr),
        npartitions=npartitions,
        nbytes=nbytes,
        largest=largest,
        is_persisted=group is not None,
        sizes=measured,
        group=group,
        names=names,
        has_partition_size=by_size,
        is_eager=eager,
        has_known_divisions=known,
        at=at,
    )


def is_eager(node: Any) -> bool:
    """Whether this node makes `.npartitions`, `.divisions`, `repr` and display start a job."""
    names = {cls.__name__ for cls in type(node).__mro__}
    if "BaseSetIndexSortValues" in names and getattr(node, "user_divisions", None) is None:
        return True
    return has_partition_size(node)


def has_partition_size(node: Any) -> bool:
    """Whether this node is a `repartition(partition_size=...)` that is not yet carried out."""
    names = {cls.__name__ for cls in type(node).__mro__}
    return (
        "Repartition" in names
        and "partition_size" in node._parameters
        and node.operand("partition_size") is not None
    )


def is_read(node: Any) -> bool:
    """Whether what the node needs from a file system was read already, by a call of the user's own."""
    return not hasattr(type(node), "_dataset_info") or "divisions" in node.__dict__


def _frame_nbytes(expr: Any) -> int:
    key = expr._name
    if key not in _frame_sizes:
        from dask.sizeof import sizeof

        # The operand wraps the frame, and the size of the wrapper is wrong.
        frame = expr.operand("frame")._data
        if len(_frame_sizes) > 256:
            _frame_sizes.clear()
        _frame_sizes[key] = int(sizeof(frame))
    return _frame_sizes[key]


def _frame_kind(expr: Any) -> CollectionKind:
    # Of meta and not of the collection: an expression has none, and users make subclasses.
    ndim = getattr(expr._meta, "ndim", 1)
    if ndim == 2:
        return "dataframe"
    return "index" if type(expr._meta).__name__.endswith("Index") else "series"


def _kind(expr: Any) -> str:
    return type(expr).__name__


def _known(divisions: Any) -> bool:
    return len(divisions) > 0 and divisions[0] is not None
