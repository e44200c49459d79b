"""Dask arrays: their chunks, the steps that cut them anew, and the store they are read from.

Each layer that was once an array carries its chunks and its dtype as a note (`collection_annotations`), so every
step is known by what it did to the chunks, without its tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ...snapshot import Operation, OperationKind, Read
from .layered import Layered, length, prefix, tasks_of
from .stores import read_of

MAX_OPERATIONS = 50
MAX_READS = 10

Chunks = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How an array is cut."""

    #: Chunks in all, the largest length in each dimension (-1: not known), and bytes of the largest chunk.
    n: int
    shape: tuple[int, ...]
    largest: int | None


def shape_of(chunks: Chunks) -> tuple[int, ...]:
    """Lengths of the whole array; -1 where one is not known."""
    return tuple(_length(sum(c)) for c in chunks)


def cut(chunks: Chunks, dtype: Any) -> Cut:
    shape = tuple(_length(max(c, default=0)) if all(n == n for n in c) else -1 for c in chunks)
    itemsize = None if dtype is None or dtype.hasobject else int(dtype.itemsize)
    known = itemsize is not None and all(n >= 0 for n in shape)
    return Cut(
        n=prod(len(c) for c in chunks),
        shape=shape,
        largest=prod(shape) * itemsize if known and itemsize is not None else None,
    )


def _length(n: Any) -> int:
    return int(n) if n == n else -1


def cuts(made: Layered) -> dict[str, Cut]:
    """How each layer is cut that was once an array."""
    found = {}
    for name in made.order or ():
        notes = getattr(made.layers[name], "collection_annotations", None)
        if type(notes) is not dict:
            continue
        chunks, dtype = notes.get("chunks"), notes.get("dtype")
        if type(chunks) is tuple and type(dtype).__module__.startswith("numpy"):
            found[name] = cut(chunks, dtype)
    return found


def operations(made: Layered, known: Mapping[str, Cut]) -> tuple[Operation, ...]:
    """Steps that cut the chunks anew, from the sources to the end.

    What `reshape` and the like rechunk for their own sake belongs to them, and several stages of one rechunk are
    one step. An operation on arrays whose chunks differ is an alignment when Dask had to cut finer than any of its
    inputs was: `x.rechunk(y.chunks) + y`, which looks alike, never is.
    """
    users: dict[str, list[str]] = {}
    for name, needed in made.dependencies.items():
        for part in needed:
            users.setdefault(part, []).append(name)
    told: dict[str, Operation] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for name in made.order or ():
        if len(told) > MAX_OPERATIONS:
            break
        kind = _kind(name, made.layers[name])
        parts = [part for part in sorted(made.dependencies[name]) if part in known]
        if name not in known or not parts:
            continue
        if kind is not None:
            # What it was made from before this step's own rechunking
            before = [_before(part, told, sources, users, kind) for part in parts]
            roots = tuple(dict.fromkeys(root for origin in before for root in origin))
            for part, origin in zip(parts, before, strict=True):
                if origin != (part,):
                    told.pop(part, None)
            sources[name] = roots
            told[name] = _operation(kind, name, roots, known)
            continue
        cut_anew = [
            part for part in parts if part in told and told[part].kind == "rechunk" and len(users[part]) == 1
        ]
        if len(parts) > 1 and cut_anew:
            roots = tuple(dict.fromkeys(root for part in parts for root in sources.get(part, (part,))
                                        if part in cut_anew or root == part))  # fmt: skip
            roots = tuple(root for root in roots if len(known[root].shape) > 0)
            if len(roots) > 1 and known[name].n > max(known[root].n for root in roots):
                for part in cut_anew:
                    del told[part]
                told[name] = _operation("alignment", name, roots, known)
    return tuple(told.values())[:MAX_OPERATIONS]


def _before(
    part: str,
    told: Mapping[str, Operation],
    sources: Mapping[str, tuple[str, ...]],
    users: Mapping[str, list[str]],
    kind: OperationKind,
) -> tuple[str, ...]:
    step = told.get(part)
    if step is None or step.kind != "rechunk" or len(users[part]) != 1 or kind not in ("rechunk", "reshape"):
        return (part,)
    return sources.get(part, (part,))


def _operation(kind: OperationKind, name: str, roots: tuple[str, ...], known: Mapping[str, Cut]) -> Operation:
    into = known[name]
    largest = [known[root].largest for root in roots]
    widest = max(roots, key=lambda root: known[root].largest or 0)
    return Operation(
        kind=kind,
        name=name[:200],
        n_in=tuple(known[root].n for root in roots),
        n_out=into.n,
        largest_in=max((n for n in largest if n is not None), default=None),
        largest_out=into.largest,
        chunks_in=known[widest].shape,
        chunks_out=into.shape,
    )


def _kind(name: str, layer: Any) -> OperationKind | None:
    called = prefix(name)
    if called.startswith("rechunk"):
        return "rechunk"
    if called == "reshape":
        return "reshape"
    if called in ("getitem", "vindex-merge", "shuffle", "take") and type(layer).__name__ != "Blockwise":
        return "slicing"
    return None


def reads(made: Layered, known: Mapping[str, Cut]) -> tuple[Read, ...]:
    """The stores that its first layers read."""
    found: list[Read] = []
    for name in made.order or ():
        if made.dependencies[name] or len(found) >= MAX_READS:
            continue
        for value in _constants(made.layers[name]):
            read = read_of(value)
            if read is not None:
                users = [n for n in made.order or () if name in made.dependencies[n]]
                own = name if name in known else next((n for n in users if n in known), None)
                found.append(read if own is None else _with(read, known[own]))
                break
    return tuple(found)


def _with(read: Read, own: Cut) -> Read:
    return replace(read, npartitions=own.n, asked_chunks=own.shape)


def _constants(layer: Any) -> Iterable[Any]:
    """What stands in a first layer: the store itself, or the arguments of a blockwise function."""
    if type(layer).__name__ == "Blockwise":
        inline = [argument for argument, indices in layer.indices if indices is None]
        return (*_arguments(layer.task, 0), *(item for one in inline for item in _arguments(one, 0)))
    tasks = tasks_of(layer)
    if not tasks or (length(layer) or 0) > 1:
        return ()
    return _arguments(next(iter(tasks.values()), None), 0)


def _arguments(value: Any, depth: int) -> Iterable[Any]:
    if depth > 4:
        return
    kind = type(value)
    if kind.__module__ == "dask._task_spec":
        if kind.__name__ == "DataNode":
            yield value.value
            return
        for item in getattr(value, "args", ()):
            yield from _arguments(item, depth + 1)
    elif kind is dict:
        for item in value.values():
            yield from _arguments(item, depth + 1)
    elif kind is tuple and value and callable(value[0]):
        for item in value[1:]:
            yield from _arguments(item, depth + 1)
    else:
        yield value
