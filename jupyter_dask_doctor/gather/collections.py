"""The Dask collections that a notebook's variables hold, described without computing anything.

Many attributes of a collection start a job when they are asked for, and some hang for ever (a
`repartition(partition_size=...)` under Python 3.11 with the scheduler in this process). So nothing is
asked of a collection before its expression tree was walked and found harmless; what cannot be told is None.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from ..snapshot import Collection, CollectionKind, Known, Location, PartitionSizes, Size

#: Variables looked at in one go, collections described, nodes of one expression walked. A tree with more
#: nodes than that would take longer to walk than the answer is worth.
MAX_VARIABLES = 5_000
MAX_COLLECTIONS = 100
MAX_NODES = 500
MAX_NAMES = 200
#: Of a list or the like: futures looked at, and items among which collections are looked for.
MAX_FUTURES = 1_000
MAX_ITEMS = 100
MAX_HOLDERS = 20

Sizes = Callable[[str], PartitionSizes | None]
BoundAt = Callable[[str], Location | None]

#: Sizes of embedded frames by expression name: reckoning one reads a sample of its objects.
_frame_sizes: dict[str, int] = {}


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
    if _is(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
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
        if _is(item, "dask.dataframe.dask_expr._collection", "FrameBase"):
            own.append(item._expr._name)
        elif _is(item, "dask.array.core", "Array") or _is(item, "dask.bag.core", "Bag"):
            own.append(item.name)
        elif _is(item, "dask.delayed", "Delayed"):
            own.append(item.key)
    return frozenset(map(str, own))


def _describe(name: str, value: object, sizes: Sizes, bound_at: BoundAt) -> Collection | None:
    # By type alone, so that no attribute of a stranger's object is ever touched. A module that nobody has
    # imported cannot have made the value.
    if _is(value, "dask.dataframe.dask_expr._collection", "FrameBase"):
        return _frame(name, value, sizes, bound_at)
    if _is(value, "dask.array.core", "Array"):
        return _array(name, value, sizes, bound_at)
    if _is(value, "dask.bag.core", "Bag"):
        return _layered(name, value, "bag", value.npartitions, sizes, bound_at)  # type: ignore[attr-defined]
    if _is(value, "dask.delayed", "Delayed"):
        return _layered(name, value, "delayed", 1, sizes, bound_at)
    if _is(value, "distributed.client", "Future"):
        return _futures(name, value, 1, sizes, bound_at)
    # Exactly these types: a subclass may do anything when it is looked into.
    if type(value) is dict or type(value) is list or type(value) is tuple or type(value) is set:
        items: Iterable[object] = value.values() if isinstance(value, dict) else value
        if _is(next(iter(items), None), "distributed.client", "Future"):
            return _futures(name, value, len(value), sizes, bound_at)
    return None


def _is(value: object, module: str, cls: str) -> bool:
    kind = getattr(sys.modules.get(module), cls, None)
    # type() and not isinstance(): the latter asks the object for its __class__, which may be anything.
    return isinstance(kind, type) and issubclass(type(value), kind)


def _frame(name: str, frame: Any, sizes: Sizes, bound_at: BoundAt) -> Collection | None:
    expr = frame._expr
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
    if _kind(expr) == "FromGraph" and _is_future(next(iter(expr.operand("layer").values()), None)):
        group = _group(expr.operand("keys"))
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
    nbytes, largest = _sizes_in_memory(measured, npartitions)
    if nbytes is None and _kind(expr) == "FromPandas" and npartitions:
        total = _frame_nbytes(expr)
        nbytes = Size(nbytes=total, known="estimated")
        largest = Size(nbytes=-(-total // npartitions), known="estimated")
    return Collection(
        name=name,
        kind=_frame_kind(frame),
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
        at=bound_at(name),
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
        if _is_future(first):
            group = _group([key])
    measured = None if group is None else sizes(group)
    nbytes, largest = _sizes_in_memory(measured, npartitions)
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
    groups = Counter(_group([future.key]) for future in finished)
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
    if _is_future(value):
        return (value,)
    items = tuple(value.values()) if isinstance(value, dict) else tuple(value)
    return tuple(item for item in items[:MAX_FUTURES] if _is_future(item))


def _sizes_in_memory(
    measured: PartitionSizes | None, npartitions: int | None
) -> tuple[Size | None, Size | None]:
    if measured is None or not measured.n or not npartitions:
        return None, None
    if measured.n >= npartitions:
        return (
            Size(nbytes=measured.total, known="exact"),
            Size(nbytes=measured.largest, known="exact"),
        )
    # Half of the partitions tell enough of the sum, nothing of the largest.
    if measured.n * 2 >= npartitions:
        return Size(nbytes=measured.total * npartitions // measured.n, known="estimated"), None
    return None, None


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


def _frame_kind(frame: Any) -> CollectionKind:
    names = {cls.__name__ for cls in type(frame).__mro__}
    if "DataFrame" in names:
        return "dataframe"
    return "index" if "Index" in names else "series"


def _kind(expr: Any) -> str:
    return type(expr).__name__


def _known(divisions: Any) -> bool:
    return len(divisions) > 0 and divisions[0] is not None


def _is_future(value: object) -> bool:
    return _is(value, "distributed.client", "Future")


def _group(keys: Iterable[Any]) -> str | None:
    from distributed.utils import key_split_group

    first = next(iter(keys), None)
    return None if first is None else str(key_split_group(first))
