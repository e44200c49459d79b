"""Arrays, bags and Delayed objects of Dask, described without computing and without building a task.

What a graph tells is told once and kept by the collection's name, for looks come every second; what changes (the
variable, what lies in memory) is joined on each time. A user's subclass is read past its own methods: it may have
overridden any of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod
from typing import Any, Literal

from ...snapshot import Collection, Location, Operation, Read, Size
from . import arrays, embedded, layered, weights
from .in_memory import Sizes, group_of, is_a, is_future, sizes_in_memory
from .large_objects import Found
from .variables import Variables

MAX_NAMES = 200
MAX_GAPS = 5
#: Graphs that are remembered. What is kept of one has no reference to it, and takes a few kB.
MAX_KEPT = 400

GraphKind = Literal["array", "bag", "delayed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the graph of a collection tells for as long as it exists."""

    told: layered.Told
    operations: tuple[Operation, ...] = ()
    reads: tuple[Read, ...] = ()
    found: tuple[Found, ...] = ()


_kept: dict[tuple[Any, ...], Facts] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a collection holds, read past methods that a subclass may have overridden."""

    own: str
    graph: Any
    npartitions: int
    chunks: arrays.Chunks = ()
    dtype: Any = None
    #: What `compute()` asks for, where it is one key.
    key: Any = None


def kind_of(value: object) -> GraphKind | None:
    """By its type alone; None for what is none of them."""
    if is_a(value, "dask.array.core", "Array"):
        return "array"
    if is_a(value, "dask.bag.core", "Bag"):
        return "bag"
    # What a reduction of a bag gives is a Delayed in all but name
    if is_a(value, "dask.delayed", "Delayed") or is_a(value, "dask.bag.core", "Item"):
        return "delayed"
    return None


def own_name(value: Any, kind: GraphKind) -> str:
    """By which name it is known in a graph."""
    return _parts(value, kind).own


def describe_graph(
    name: str,
    value: Any,
    kind: GraphKind,
    *,
    sizes: Sizes,
    at: Location | None = None,
    variables: Variables | None = None,
    is_in_time: bool = True,
) -> Collection:
    """Describe an array, a bag or a Delayed. Raises what a broken one raises.

    `is_in_time`: False leaves out what has to be looked for in a graph that was not seen before.
    """
    parts = _parts(value, kind)
    group = _group(parts)
    measured = None if group is None else sizes(group)
    nbytes, largest = sizes_in_memory(measured, parts.npartitions)
    layers = getattr(parts.graph, "layers", None) or {}
    made = Collection(
        name=name,
        kind=kind,
        npartitions=parts.npartitions,
        nbytes=nbytes,
        largest=largest,
        is_persisted=group is not None,
        sizes=measured,
        group=group,
        names=tuple(str(n) for n in islice(layers, MAX_NAMES)),
        at=at,
    )
    if kind == "array":
        made = replace(made, **_of_array(parts, made))
    try:
        known = _facts(value, kind, parts, is_in_time=is_in_time)
    except Exception as error:  # hand-made, or of a version whose inside is another
        return replace(made, gaps=(f"Its graph could not be looked into ({type(error).__name__}).",))
    if known is None:
        return replace(made, gaps=("There was too much to look into at once: its graph comes next.",))
    told = known.told
    return replace(
        made,
        n_tasks=told.n_tasks,
        layers=told.layers,
        n_steps=told.n_steps,
        depth=told.depth,
        cycle=told.cycle,
        operations=known.operations,
        reads=known.reads,
        embedded=embedded.named(known.found, variables),
        gaps=tuple(told.gaps[:MAX_GAPS]),
    )


def _parts(value: Any, kind: GraphKind) -> _Parts:
    if kind == "array":
        cls = sys.modules["dask.array.core"].Array
        chunks = cls.chunks.__get__(value)
        return _Parts(
            own=str(cls.name.__get__(value)),
            graph=cls.dask.__get__(value),
            npartitions=prod(len(c) for c in chunks),
            chunks=chunks,
            dtype=cls.dtype.__get__(value),
        )
    if kind == "bag":
        state = weights.state_of(value) or {}
        return _Parts(own=str(state["name"]), graph=state["dask"], npartitions=int(state["npartitions"]))
    if is_a(value, "dask.bag.core", "Item"):
        state = weights.state_of(value) or {}
        return _Parts(own=str(state["key"]), graph=state["dask"], npartitions=1, key=state["key"])
    cls = sys.modules["dask.delayed"].Delayed
    # Dask's own kinds of Delayed make up a graph when asked; a stranger's is asked for nothing
    is_own = type(value).__module__ == "dask.delayed"
    graph = value.__dask_graph__() if is_own else cls._dask.__get__(value)
    key = cls._key.__get__(value)
    return _Parts(own=str(key), graph=graph, npartitions=1, key=key)


def _of_array(parts: _Parts, made: Collection) -> dict[str, Any]:
    cut = arrays.cut(parts.chunks, parts.dtype)
    shape = arrays.shape_of(parts.chunks)
    out: dict[str, Any] = {"shape": shape, "chunks": cut.shape, "dtype": str(parts.dtype)[:100]}
    # A chunk of unknown length is nan; an object array holds pointers, not its data.
    if cut.largest is not None and all(n >= 0 for n in shape):
        out["nbytes"] = Size(nbytes=prod(shape) * int(parts.dtype.itemsize), known="exact")
        out["largest"] = Size(nbytes=cut.largest, known="exact")
    return out


def _group(parts: _Parts) -> str | None:
    """The task group that holds it, when it is persisted."""
    layers = getattr(parts.graph, "layers", None)
    # A persisted array or bag has one layer that maps its keys to futures; looking into any other layer
    # might build it. A persisted Delayed has a plain dict.
    only = parts.graph if layers is None else None
    layer = layers.get(parts.own) if layers is not None and len(layers) == 1 else only
    tasks = None if layer is None else layered.tasks_of(layer)
    if not tasks:
        return None
    key, first = next(iter(tasks.items()))
    if type(first).__module__ == "dask._task_spec" and type(first).__name__ == "DataNode":
        first = first.value
    return group_of([key]) if is_future(first) else None


def _facts(value: Any, kind: GraphKind, parts: _Parts, *, is_in_time: bool) -> Facts | None:
    token = _token(value, kind, parts)
    known = _kept.get(token)
    if known is not None or not is_in_time:
        return known
    made = layered.layered(parts.graph, parts.own)
    is_item = is_a(value, "dask.bag.core", "Item")
    fuses: Literal["array", "bag", "nothing"] = "bag" if is_item else "nothing" if kind == "delayed" else kind
    told = layered.told(made, parts.own, lambda: _keys(kind, parts), fuses=fuses)
    operations: tuple[Operation, ...] = ()
    reads: tuple[Read, ...] = ()
    if kind == "array" and made.order is not None:
        cuts = arrays.cuts(made)
        operations = arrays.operations(made, cuts)
        reads = arrays.reads(made, cuts)
    if told.n_tasks is not None and kind != "delayed" and parts.npartitions > 1:
        told.n_tasks += 1  # what puts the partitions together
    found, gaps = embedded.find(parts.graph)
    told.gaps.extend(gaps)
    known = Facts(told=told, operations=operations, reads=reads, found=found)
    while len(_kept) >= MAX_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[token] = known
    return known


def _token(value: Any, kind: GraphKind, parts: _Parts) -> tuple[Any, ...]:
    """A name says what is behind it, but for graphs written by hand: so their parts are told apart as well."""
    layers = getattr(parts.graph, "layers", None)
    if layers is None:
        return kind, parts.own, id(parts.graph), len(parts.graph)
    if kind == "delayed" and type(value).__name__ in ("DelayedLeaf", "DelayedAttr"):
        return kind, parts.own, id(value), len(layers)
    return kind, parts.own, len(layers), tuple(map(id, islice(layers.values(), 20)))


def _keys(kind: GraphKind, parts: _Parts) -> Iterable[Any]:
    if kind == "delayed":
        return [parts.key]
    if kind == "bag":
        return [(parts.own, i) for i in range(parts.npartitions)]
    return [(parts.own, *index) for index in product(*(range(len(c)) for c in parts.chunks))]
