"""What of a dataframe expression must not be touched: what starts a job, reads files, calls the user's functions."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: A constant beyond this stands in the tree: each rewriting would hash it anew.
MAX_CONSTANT = 10_000_000
MAX_ITEMS = 100
MAX_CLASSES = 1_000

_classes: dict[type, frozenset[str]] = {}


def kinds(node: Any) -> frozenset[str]:
    """Names of its class and of all that this one is made from. By name: what a version lacks is no error."""
    cls = type(node)
    found = _classes.get(cls)
    if found is None:
        if len(_classes) > MAX_CLASSES:
            _classes.clear()
        found = _classes[cls] = frozenset(base.__name__ for base in cls.__mro__)
    return found


def operand(node: Any, name: str) -> Any:
    """What it was made with; None where this kind of expression has no such parameter."""
    return node.operand(name) if name in type(node)._parameters else None


def is_eager(node: Any) -> bool:
    """Whether this node makes `.npartitions`, `.divisions`, `repr` and display start a job."""
    if "BaseSetIndexSortValues" in kinds(node) and operand(node, "user_divisions") is None:
        return True
    return has_partition_size(node)


def has_partition_size(node: Any) -> bool:
    """Whether this node is a `repartition(partition_size=...)` that is not yet carried out."""
    return "Repartition" in kinds(node) and operand(node, "partition_size") is not None


def is_read(node: Any) -> bool:
    """Whether what the node needs was read from files, or looked up in a frame, by a call of the user's own."""
    if "FromPandasDivisions" in kinds(node):
        return bool(getattr(node.operand("frame"), "_division_info", None))
    if not hasattr(type(node), "_dataset_info"):
        return True
    if operand(node, "_dataset_info_cache") is None:
        return False
    if "ReadParquetPyarrowFS" in kinds(node) and operand(node, "calculate_divisions"):
        return "_division_from_stats" in node.__dict__ or "divisions" in node.__dict__
    return True


def why_not_rewritten(nodes: Sequence[Any]) -> str | None:
    """Why the optimizer must not be run on a tree of these nodes; None when it may.

    It computes nothing of its own accord, but some steps read footers of files or hash what they are made with,
    each time that the optimizer makes a new one of them.
    """
    lengths = any(_asks_length(node) for node in nodes)
    for node in nodes:
        of = kinds(node)
        if "ReadParquetPyarrowFS" in of and not _are_statistics_known(node):
            return "optimizing would read statistics of its files"
        if lengths and "ReadParquetFSSpec" in of and not _has_lengths(node):
            return "optimizing would count the rows of its files"
        if "FromMap" in of and operand(node, "user_meta") is _no_default() and len(nodes) > 2:
            return "optimizing would call the function of its from_map again, which was given no meta"
        if "FromPandas" not in of and any(_is_large(item) for item in _constants(node)):
            return "a large constant in it would be hashed again"
    return None


def _asks_length(node: Any) -> bool:
    of = kinds(node)
    return bool(of & {"Len", "Lengths", "Size"}) and "GroupByBase" not in of


def _no_default() -> Any:
    return getattr(sys.modules.get("dask.dataframe.dask_expr._expr"), "no_default", object)


def is_expr(value: Any) -> bool:
    """Whether it is an expression, of any of Dask's kinds."""
    return hasattr(type(value), "_parameters")


def _are_statistics_known(node: Any) -> bool:
    if operand(node, "_dataset_info_cache") is None or len(node._dataset_info.get("all_files", ())) > 1_000:
        return False
    return bool(node.all_statistics_known())


def _has_lengths(node: Any) -> bool:
    info = operand(node, "_dataset_info_cache")
    return info is not None and bool(info.get("plan", {}).get("statistics"))


def _constants(node: Any) -> Iterable[Any]:
    for item in node.operands:
        if is_expr(item):
            continue
        yield item
        if isinstance(item, Mapping):
            yield from list(item.values())[:MAX_ITEMS]
        elif isinstance(item, (list, tuple)):
            yield from item[:MAX_ITEMS]
        elif callable(item):
            yield from _carried(item)


def _carried(function: Any) -> Iterable[Any]:
    if isinstance(function, functools.partial):
        yield from function.args[:MAX_ITEMS]
        yield from list(function.keywords.values())[:MAX_ITEMS]
        function = function.func
    for cell in (getattr(function, "__closure__", None) or ())[:MAX_ITEMS]:
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue


def _is_large(value: Any) -> bool:
    if isinstance(value, (bytes, str, bytearray)):
        return len(value) > MAX_CONSTANT
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return bool(value.nbytes > MAX_CONSTANT)
    if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
        return bool(value.size * 8 > MAX_CONSTANT)
    return False
