"""Dataframes, series and indices of Dask, described without computing anything.

Many attributes of an expression start a job, read files or call a function of the user's. So nothing is asked of
one before its tree was walked and found harmless (`frame_hazards`), and only as long as the tree is small.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from ...snapshot import Collection, Location
from .frame_hazards import is_expr
from .frame_look import Look
from .in_memory import Sizes, sizes_in_memory
from .lock_free import lock_free

#: Expressions whose description is kept, by name.
MAX_KEPT = 500

_kept: OrderedDict[str, tuple[Collection | None, bool]] = OrderedDict()
_lock = threading.Lock()


def describe_frame(name: str, value: Any, *, sizes: Sizes, at: Location | None = None) -> Collection:
    """Describe a dataframe, series or index of Dask's, or an expression of one.

    Computes nothing and reads no file of a remote store; what cannot be told is None, with a gap that says why.
    Takes milliseconds the first time and microseconds after.
    """
    # Of an expression nothing is asked that it may not have: it would look among the columns of its meta.
    expr = value if is_expr(value) else value._expr
    key = str(expr._name)
    with _lock:
        told, stands_on_memory = _kept.get(key, (None, False))
    if told is None:
        with lock_free():
            look = Look(expr)
            told, stands_on_memory = look.collection(), look.stands_on_memory
        if look.is_final:
            with _lock:
                # Of the expression itself nothing is kept: it may hold data, here or on the cluster.
                _kept[key] = told, stands_on_memory
                while len(_kept) > MAX_KEPT:
                    _kept.popitem(last=False)
    told = replace(told, name=name, at=at)
    if told.group is not None:
        measured = sizes(told.group)
        nbytes, largest = sizes_in_memory(measured, told.npartitions)
        return replace(told, sizes=measured, nbytes=nbytes, largest=largest)
    if not stands_on_memory:
        return told
    with lock_free():
        return _sized(told, Look(expr), sizes)


def _sized(told: Collection, look: Look, sizes: Sizes) -> Collection:
    """With sizes that follow from what lies in memory now."""
    found = look.estimate(sizes, told.npartitions_optimized)
    columns = tuple(replace(column, nbytes=found.columns.get(column.name)) for column in told.columns)
    return replace(
        told,
        nbytes=found.nbytes,
        largest=found.largest,
        at_most=found.at_most,
        n_rows=found.n_rows,
        columns=columns,
    )
