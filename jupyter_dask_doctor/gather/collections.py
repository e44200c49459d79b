"""The Dask collections that a notebook's variables hold, described without computing anything.

Many attributes of a collection start a job when they are asked for, and some hang for ever (a
`repartition(partition_size=...)` under Python 3.11 with the scheduler in this process). So nothing is
asked of a collection before its expression tree was walked and found harmless; what cannot be told is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from ..snapshot import Collection, CollectionKind, Known, Size
from .frames import describe_frame
from .in_memory import BoundAt, Sizes, group_of, is_a, is_future, sizes_in_memory

#: Variables looked at in one go, and collections described.
MAX_VARIABLES = 5_000
MAX_COLLECTIONS = 100
MAX_NAMES = 200
#: Of a list or the like: futures looked at, and items among which collections are looked for.
MAX_FUTURES = 1_000
MAX_ITEMS = 100
MAX_HOLDERS = 20


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
    else holds one that takes memory. Never computes, never moves data and never raises: a variable that
    cannot be described is left out.
    """
    try:
        variables = list(namespace.items())[:MAX_VARIABLES]
    except RuntimeError:  # the user's cell changed it just now: the next look will see it
        return ()
    found: list[tuple[Collection, frozenset[str], frozenset[str]]] = []
    containers: list[tuple[str, frozenset[str]]] = []
    for name, value in variables:
        if name.startswith("_") or len(found) >= MAX_COLLECTIONS:
            continue
        try:
            collection = _describe(name, value, sizes, bound_at)
            if collection is not None:
                found.append((collection, *_holds(value, collection)))
            elif inside := _inside(value):
                containers.append((name, inside))
        except Exception:
            continue
    shown = []
    for name, value in (outputs or {}).items():
        try:
            collection = _describe(name, value, sizes, bound_at)
            if collection is not None:
                shown.append((collection, *_holds(value, collection)))
        except Exception:
            continue
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


def _holds(value: Any, collection: Collection) -> tuple[frozenset[str], frozenset[str]]:
    """What a collection that is held in memory is known by, and all that this one keeps alive."""
    if collection.kind == "futures":
        keys = frozenset(str(future.key) for future in _futures_in(value))
        return keys, keys
    if is_a(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
        own = value._expr._name
    else:
        own = value.key if collection.kind == "delayed" else value.name
    return frozenset([str(own)]), frozenset([str(own), *collection.names])


def _inside(value: object) -> frozenset[str]:
    """By what name those collections are known that a plain container holds."""
    kind = type(value)
    if not (kind is list or kind is tuple or kind is dict) or len(value) > MAX_ITEMS:  # type: ignore[arg-type]
        return frozenset()
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value  # type: ignore[assignment]
    own = []
    for item in tuple(items):
        if is_a(item, "dask.dataframe.dask_expr._collection", "FrameBase"):
            own.append(item._expr._name)
        elif is_a(item, "dask.array.core", "Array") or is_a(item, "dask.bag.core", "Bag"):
            own.append(item.name)
        elif is_a(item, "dask.delayed", "Delayed"):
            own.append(item.key)
    return frozenset(map(str, own))


def _describe(name: str, value: object, sizes: Sizes, bound_at: BoundAt) -> Collection | None:
    # By type alone, so that no attribute of a stranger's object is ever touched. A module that nobody has
    # imported cannot have made the value.
    if is_a(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
        return describe_frame(name, value, sizes=sizes, at=bound_at(name))
    if is_a(value, "dask.array.core", "Array"):
        return _array(name, value, sizes, bound_at)
    if is_a(value, "dask.bag.core", "Bag"):
        return _layered(name, value, "bag", value.npartitions, sizes, bound_at)  # type: ignore[attr-defined]
    if is_a(value, "dask.delayed", "Delayed"):
        return _layered(name, value, "delayed", 1, sizes, bound_at)
    if is_a(value, "distributed.client", "Future"):
        return _futures(name, value, 1, sizes, bound_at)
    # Exactly these types: a subclass may do anything when it is looked into.
    if type(value) is dict or type(value) is list or type(value) is tuple or type(value) is set:
        items: Iterable[object] = value.values() if isinstance(value, dict) else value
        if is_a(next(iter(items), None), "distributed.client", "Future"):
            return _futures(name, value, len(value), sizes, bound_at)
    return None


def _array(name: str, array: Any, sizes: Sizes, bound_at: BoundAt) -> Collection:
    layered = _layered(name, array, "array", None, sizes, bound_at)
    chunks = array.chunks
    itemsize = array.dtype.itemsize
    nbytes = largest = None
    counts = [len(c) for c in chunks]
    # A chunk of unknown length is nan; an object array holds pointers, not its data.
    if array.dtype != object and all(c == c for dimension in chunks for c in dimension):
        nbytes = Size(nbytes=int(prod(sum(c) for c in chunks)) * itemsize, known="exact")
        largest = Size(nbytes=int(prod(max(c, default=0) for c in chunks)) * itemsize, known="exact")
    return Collection(
        name=name,
        kind="array",
        npartitions=prod(counts),
        nbytes=nbytes or layered.nbytes,
        largest=largest or layered.largest,
        is_persisted=layered.is_persisted,
        sizes=layered.sizes,
        group=layered.group,
        names=layered.names,
        at=layered.at,
    )


def _layered(
    name: str,
    value: Any,
    kind: CollectionKind,
    npartitions: int | None,
    sizes: Sizes,
    bound_at: BoundAt,
) -> Collection:
    graph = value.__dask_graph__()
    layers = getattr(graph, "layers", None)
    names: tuple[str, ...] = tuple(str(n) for n in list(layers)[:MAX_NAMES]) if layers is not None else ()
    # A Delayed answers to any attribute: with another Delayed.
    own = value.key if kind == "delayed" else value.name
    group = None
    # A persisted array or bag has one layer that maps its keys to futures; looking into any other layer
    # might build it. A persisted Delayed has a plain dict.
    layer = layers.get(own) if layers is not None and len(layers) == 1 else graph if layers is None else None
    if layer is not None and (layers is None or type(layer).__name__ == "MaterializedLayer"):
        key, first = next(iter(layer.items()), (None, None))
        if is_future(first):
            group = group_of([key])
    measured = None if group is None else sizes(group)
    nbytes, largest = sizes_in_memory(measured, npartitions)
    return Collection(
        name=name,
        kind=kind,
        npartitions=npartitions,
        nbytes=nbytes,
        largest=largest,
        is_persisted=group is not None,
        sizes=measured,
        group=group,
        names=names,
        at=bound_at(name),
    )


def _futures(name: str, value: Any, count: int, sizes: Sizes, bound_at: BoundAt) -> Collection:
    futures = _futures_in(value)
    # Pending ones take no memory yet, failed ones none.
    finished = [future for future in futures if future.status == "finished"]
    groups = Counter(group_of([future.key]) for future in finished)
    total = 0
    known: Known | None = "exact" if len(futures) == count else "estimated"
    for group, n in groups.items():
        measured = None if group is None else sizes(group)
        if measured is None or not measured.n:
            known = None
            break
        if measured.n == n:
            total += measured.total
        else:
            # A group's name has no token: others called the same way may be among what was measured.
            total += measured.total * n // measured.n
            known = "estimated"
    if len(futures) < count:
        total = total * count // len(futures)
    return Collection(
        name=name,
        kind="futures",
        npartitions=count,
        nbytes=Size(nbytes=total, known=known) if finished and known is not None else None,
        largest=None,
        is_persisted=True,
        group=next(iter(groups)) if len(groups) == 1 else None,
        at=bound_at(name),
    )


def _futures_in(value: Any) -> tuple[Any, ...]:
    """The futures themselves, at most `MAX_FUTURES`."""
    if is_future(value):
        return (value,)
    items = tuple(value.values()) if isinstance(value, dict) else tuple(value)
    return tuple(item for item in items[:MAX_FUTURES] if is_future(item))
