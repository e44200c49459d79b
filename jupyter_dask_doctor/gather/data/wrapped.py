"""Dask arrays inside objects of xarray, found without loading what they hold.

Everything is read past xarray's own properties, by their types and the attributes that lie in the object: `.data`,
`.values` and even `repr` may read a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .in_memory import is_a
from .stores import from_encoding, slot

MAX_PARTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A variable of xarray that holds a Dask array: `name` is what a user types to have it."""

    name: str
    array: Any
    wrapped_by: str
    #: The variable of xarray itself, for what it remembers of its file.
    variable: Any


def parts_of(name: str, value: object) -> tuple[Part, ...]:
    """Its parts that are Dask arrays; empty for what is none of xarray's, or holds no array of Dask's."""
    if is_a(value, "xarray.core.dataarray", "DataArray"):
        return tuple(_of_array(name, value))
    if is_a(value, "xarray.core.dataset", "Dataset"):
        return tuple(_of_dataset(name, value))
    if is_a(value, "xarray.core.variable", "Variable"):
        return tuple(_parts(name, value, "xarray.Variable"))
    return ()


def store_of(part: Part) -> Any:
    """The file it was read from, as its variable remembers it."""
    return from_encoding(slot(part.variable, "_encoding"))


def _of_array(name: str, array: object) -> Iterator[Part]:
    yield from _parts(name, slot(array, "_variable"), "xarray.DataArray")
    yield from _named(f"{name}.coords", slot(array, "_coords"), "xarray.DataArray")


def _of_dataset(name: str, dataset: object) -> Iterator[Part]:
    yield from _named(name, slot(dataset, "_variables"), "xarray.Dataset")


def _named(name: str, variables: Any, wrapped_by: str) -> Iterator[Part]:
    if type(variables) is not dict:
        return
    for key, variable in tuple(variables.items())[:MAX_PARTS]:
        if type(key) is str:
            yield from _parts(f"{name}[{json.dumps(key, ensure_ascii=False)}]"[:200], variable, wrapped_by)


def _parts(name: str, variable: Any, wrapped_by: str) -> Iterator[Part]:
    data = slot(variable, "_data")
    if is_a(data, "dask.array.core", "Array"):
        yield Part(name=name, array=data, wrapped_by=wrapped_by, variable=variable)
