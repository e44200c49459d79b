"""Who called Dask, from where and for what, read off the stack of a thread that sends a graph."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from .stack import function, is_cell, is_dasks, module_of, timed_line

MAX_FRAMES = 60
#: Collections of one call that are referred to.
MAX_ASKED = 20

#: Functions of Dask's that start a job though the user asked for something else: a look at a collection, or
#: the making of another one.
_HIDDEN = frozenset(
    [
        "npartitions",
        "divisions",
        "_divisions",
        "known_divisions",
        "_get_divisions",
        "_calculate_divisions",
        "_compute_partition_stats",
        "__len__",
        "__repr__",
        "__str__",
        "_repr_html_",
        "set_index",
        "sort_values",
        "categorize",
        "repartition",
        "to_dask_array",
        "_lower",
        "_meta",
    ]
)


@dataclass(slots=True)
class Call:
    """How Dask was called. It holds collections, so it is to be let go at once."""

    #: The outermost function of Dask's.
    method: str | None = None
    #: The line of the running cell that led to it.
    filename: str | None = None
    line: int | None = None
    is_hidden: bool | None = None
    #: The collections that were asked for, as they were before the optimizer renamed what they are made of.
    written: list[Any] = field(default_factory=list)
    #: The collections that the outermost function was called with.
    asked: list[Any] = field(default_factory=list)


def caller(frame: FrameType | None) -> Call:
    call = Call()
    timed: int | None = None
    is_inside = True
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        module = module_of(frame)
        if is_cell(frame):
            # Inner ones are functions that other cells defined; the outermost is the cell that runs.
            call.filename, call.line = frame.f_code.co_filename, timed or frame.f_lineno
            is_inside = False
        elif call.filename is not None and module == "IPython.core.interactiveshell":
            break
        elif is_inside and is_dasks(module):
            name = frame.f_code.co_name
            call.method = function(frame) or call.method
            call.is_hidden = bool(call.is_hidden) or name in _HIDDEN
            found = list(_asked_for(module, frame))
            if call.method in ("compute", "persist"):
                call.written.extend(found)
            call.asked = found or call.asked
        elif module not in ("contextlib", "functools"):
            is_inside = False
        timed = timed_line(frame, timed)
        frame = frame.f_back
    return call


def references(collections: Iterable[Any]) -> Iterator[tuple[str, weakref.ref[Any]]]:
    for one in list(collections)[:MAX_ASKED]:
        # By its type: a Delayed answers to any attribute.
        if hasattr(type(one), "__dask_graph__"):
            try:
                yield _own_name(one), weakref.ref(one)
            except (TypeError, AttributeError):
                continue


def _own_name(one: Any) -> str:
    if hasattr(type(one), "_expr") or "_expr" in getattr(one, "__dict__", {}):
        return str(one._expr._name)
    return str(one.key if hasattr(type(one), "key") else getattr(one, "name", ""))


def _asked_for(module: str, frame: FrameType) -> Iterable[Any]:
    """The collections that this function of Dask's was called with."""
    found = frame.f_locals
    if frame.f_code.co_name in ("compute", "persist") and module in ("dask.base", "distributed.client"):
        several = found.get("collections")
        if type(several) is list or type(several) is tuple:
            return several
    # A dataframe optimizes itself before `dask.base.persist` sees it.
    one = found.get("self")
    return [one] if hasattr(type(one), "__dask_graph__") and hasattr(type(one), "compute") else ()
