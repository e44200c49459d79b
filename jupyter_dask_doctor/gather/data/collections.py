"""The Dask collections that a notebook's variables hold, described without computing anything.

Many attributes of a collection start a job when they are asked for, and some hang for ever (a
`repartition(partition_size=...)` under Python 3.11 with the scheduler in this process). So nothing is
asked of a collection before its expression tree was walked and found harmless; what cannot be told is None.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...snapshot import Collection, CollectionKind
from . import embedded, graphs
from .frames import describe_frame
from .futures import describe_futures, futures_in
from .graphs import describe_graph, kind_of
from .in_memory import BoundAt, Sizes, is_a
from .lock_free import lock_free
from .variables import Variables
from .wrapped import Part, parts_of, store_of

#: Variables looked at in one go, and collections described.
MAX_VARIABLES = 5_000
MAX_COLLECTIONS = 100
#: Items of a list or the like among which collections are looked for.
MAX_ITEMS = 100
MAX_HOLDERS = 20
#: Seconds of one look after which graphs that were not seen before are left to the next one.
MAX_SECONDS = 1.0

_Known = tuple[Collection, frozenset[str], frozenset[str]]


@lock_free()
def profile(
    namespace: Mapping[str, object],
    *,
    sizes: Sizes,
    bound_at: BoundAt,
    outputs: Mapping[str, object] | None = None,
) -> tuple[Collection, ...]:
    """Describe the collections among the variables, in the order of their binding.

    `sizes` gives the measured partition sizes of a task group, `bound_at` the cell that bound a variable.
    Names with a leading underscore (IPython's own `_`, `_7`, ...) are left out. `outputs`: what IPython keeps
    beside them ("Out[7]", "_"); they count as holding a variable's collection, and for themselves where nothing
    else holds one that takes memory. Never computes, never moves data and never raises: a collection that cannot
    be described is told with a gap. Arrays inside of xarray's objects are told for themselves, as `ds["tas"]`.
    """
    try:
        variables = list(namespace.items())[:MAX_VARIABLES]
    except RuntimeError:  # the user's cell changed it just now: the next look will see it
        return ()
    look = _Look(sizes, bound_at, Variables(dict(variables)))
    found: list[_Known] = []
    containers: list[tuple[str, frozenset[str]]] = []
    for name, value in variables:
        if name.startswith("_") or len(found) >= MAX_COLLECTIONS:
            continue
        known = look.describe(name, value)
        if known and namespace.get(name, value) is not value:
            known = [(replace(one, gaps=(_REBOUND, *one.gaps)[:5]), *rest) for one, *rest in known]  # type: ignore[misc]
        found.extend(known)
        if not known and (inside := _inside(value)):
            containers.append((name, inside))
    shown: list[_Known] = []
    for name, value in (outputs or {}).items():
        shown.extend(look.describe(name, value))
    for one, own, holds in shown:
        is_held = any(own & others for _, _, others in found) or any(own & inside for _, inside in containers)
        if one.is_persisted and not is_held and len(found) < MAX_COLLECTIONS:
            found.append((one, own, holds))
    everything = [(one.name, holds) for one, _, holds in (*found, *shown)] + containers
    return tuple(
        replace(
            one,
            held_by=tuple(
                dict.fromkeys(name for name, holds in everything if name != one.name and own & holds)
            )[:MAX_HOLDERS],
        )
        if one.is_persisted
        else one
        for one, own, _ in found
    )


@lock_free()
def describe_asked(
    values: Iterable[object], namespace: Mapping[str, object], *, sizes: Sizes, bound_at: BoundAt
) -> tuple[Collection, ...]:
    """As `profile`, of what a computation was asked for: by the variable that holds it, else without a name."""
    try:
        variables = dict(list(namespace.items())[:MAX_VARIABLES])
    except RuntimeError:  # the user's cell changed it just now
        variables = {}
    look = _Look(sizes, bound_at, Variables(variables))
    names = {id(value): name for name, value in reversed(variables.items()) if not name.startswith("_")}
    return tuple(one for value in values for one, *_ in look.describe(names.get(id(value), ""), value))


_REBOUND = "The variable was bound anew while it was looked at."


class _Look:
    """One look through the variables."""

    def __init__(self, sizes: Sizes, bound_at: BoundAt, variables: Variables) -> None:
        self._sizes = sizes
        self._bound_at = bound_at
        self._variables = variables
        self._deadline = time.thread_time() + MAX_SECONDS

    def describe(self, name: str, value: object) -> list[_Known]:
        """What it is, what it is known by and all that it keeps alive; several for what wraps several."""
        # By type alone, so that no attribute of a stranger's object is ever touched. A module that nobody has
        # imported cannot have made the value.
        kind = _kind(value)
        try:
            if kind is not None:
                one = self._one(name, value)
                return [] if one is None else [_with_names(one, value)]
            return [
                _with_names(self._part(part, name), part.array)
                for part in parts_of(name, value)[:MAX_COLLECTIONS]
            ]
        except Exception as error:
            if kind is None or kind == "futures":
                return []
            reason = f"It could not be looked into ({type(error).__name__})."
            return [(_unknown(name, kind, reason), frozenset(), frozenset())]

    def _one(self, name: str, value: Any) -> Collection | None:
        at = self._bound_at(name)
        if is_a(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
            frame = describe_frame(name, value, sizes=self._sizes, at=at)
            if frame.is_persisted:
                return frame
            try:
                found, gap = embedded.of_frame(value._expr, self._variables, frame.npartitions)
            except Exception as error:  # the inside of another version
                found, gap = (), (f"Large objects in it could not be looked for ({type(error).__name__}).",)
            return replace(frame, embedded=found, gaps=(*frame.gaps, *gap)[:5])
        kind = kind_of(value)
        if kind is not None:
            return describe_graph(
                name,
                value,
                kind,
                sizes=self._sizes,
                at=at,
                variables=self._variables,
                is_in_time=time.thread_time() < self._deadline,
            )
        if _is_planned(value):
            return _unknown(name, "array", "Arrays with query planning are not looked into.")
        return describe_futures(name, value, _count(value), sizes=self._sizes, at=at)

    def _part(self, part: Part, name: str) -> Collection:
        array = describe_graph(
            part.name,
            part.array,
            "array",
            sizes=self._sizes,
            at=self._bound_at(name),
            variables=self._variables,
            is_in_time=time.thread_time() < self._deadline,
        )
        store = store_of(part)
        if store is not None and not array.reads:
            # Of what was cut out of the file since, nobody knows how it is read
            if store.shape == array.shape:
                store = replace(store, npartitions=array.npartitions, asked_chunks=array.chunks)
            array = replace(array, reads=(store,))
        return replace(array, wrapped_by=part.wrapped_by)


def _kind(value: object) -> CollectionKind | None:
    if is_a(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
        names = {cls.__name__ for cls in type(value).__mro__}
        return "dataframe" if "DataFrame" in names else "index" if "Index" in names else "series"
    kind = kind_of(value)
    if kind is not None:
        return kind
    if _is_planned(value):
        return "array"
    return "futures" if _count(value) else None


def _is_planned(value: object) -> bool:
    """An array of Dask's with query planning, an experiment whose inside is another."""
    return is_a(value, "dask.array._array_expr._collection", "Array")


def _count(value: Any) -> int:
    """How many futures it holds, or 0."""
    if is_a(value, "distributed.client", "Future"):
        return 1
    # Exactly these types: a subclass may do anything when it is looked into.
    if type(value) is dict or type(value) is list or type(value) is tuple or type(value) is set:
        items: Iterable[object] = value.values() if isinstance(value, dict) else value
        if is_a(next(iter(items), None), "distributed.client", "Future"):
            return len(value)
    return 0


def _unknown(name: str, kind: CollectionKind, reason: str) -> Collection:
    return Collection(
        name=name,
        kind=kind,
        npartitions=None,
        nbytes=None,
        largest=None,
        is_persisted=False,
        gaps=(reason,),
    )


def _with_names(one: Collection, value: Any) -> _Known:
    if one.kind == "futures":
        keys = frozenset(str(future.key) for future in futures_in(value))
        return one, keys, keys
    own = frozenset([own_name(value)])
    return one, own, own.union(one.names)


def own_name(value: Any) -> str:
    """Of a collection's outermost expression or layer; "" for anything else."""
    if is_a(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
        return str(value._expr._name)
    kind = kind_of(value)
    return "" if kind is None else graphs.own_name(value, kind)


def _inside(value: object) -> frozenset[str]:
    """By what name those collections are known that a plain container holds."""
    kind = type(value)
    if not (kind is list or kind is tuple or kind is dict) or len(value) > MAX_ITEMS:  # type: ignore[arg-type]
        return frozenset()
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value  # type: ignore[assignment]
    own = set()
    for item in tuple(items):
        try:
            own.add(own_name(item))
        except Exception:  # a broken one hides no other
            continue
    return frozenset(own - {""})
