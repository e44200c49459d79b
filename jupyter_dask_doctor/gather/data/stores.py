"""Stores that arrays are read from (zarr, HDF5, NetCDF), known by their type and what they hold in memory already.

Nothing is asked of a store that would make it read: what is not in its metadata stays unknown.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ...snapshot import Read
from .weights import state_of

MAX_PATH = 200
#: Wrappers of xarray's one around the other.
MAX_WRAPPERS = 8


def read_of(value: Any) -> Read | None:
    """The store, when `value` is one of a known kind; also inside of xarray's wrappers."""
    for _ in range(MAX_WRAPPERS):
        kind = type(value)
        module = kind.__module__ or ""
        try:
            if module.startswith("zarr.") and kind.__name__ in ("Array", "AsyncArray"):
                return _zarr(value)
            if module.startswith("h5py.") and kind.__name__ == "Dataset":
                return _hdf5(value)
        except Exception:  # closed, or of a version nobody has met
            return None
        if not module.startswith("xarray."):
            return None
        inner = slot(value, "array")
        value = inner if inner is not None else slot(value, "_array")
    return None


def _zarr(array: Any) -> Read:
    metadata = getattr(array, "metadata", None)
    grid = getattr(metadata, "chunk_grid", None)
    chunks = getattr(grid, "chunk_shape", None) or getattr(metadata, "chunks", None)
    if chunks is None:
        chunks = array.chunks
    store = getattr(array, "store", None)
    root = next((r for r in (getattr(store, name, None) for name in ("root", "path", "url")) if r), "")
    return Read(format="zarr", path=shown(f"{root}"), chunks=_ints(chunks), shape=_ints(array.shape))


def _hdf5(data: Any) -> Read:
    name = data.file.filename
    return Read(
        format="hdf5", path=shown(str(name)), chunks=_ints(data.chunks or ()), shape=_ints(data.shape)
    )


def from_encoding(encoding: Any) -> Read | None:
    """Of a variable of xarray, what it remembers of the file it came from."""
    if type(encoding) is not dict:
        return None
    source = encoding.get("source")
    chunks = encoding.get("chunks") or encoding.get("chunksizes")
    if not isinstance(source, str) and not chunks:
        return None
    shape = encoding.get("original_shape")
    is_hdf5 = "chunksizes" in encoding
    text = source if isinstance(source, str) else ""
    return Read(
        format="netcdf" if is_hdf5 else "zarr",
        path=shown(text),
        chunks=_ints(chunks if isinstance(chunks, (tuple, list)) else ()),
        shape=_ints(shape if isinstance(shape, (tuple, list)) else ()),
    )


def shown(path: str) -> str:
    """Without the name and the password that stand in some addresses."""
    if "://" in path:
        try:
            parts = urlsplit(path)
        except ValueError:
            return ""
        path = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return path[:MAX_PATH]


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in tuple(values)[:32] if isinstance(n, int) or type(n).__module__ == "numpy")


def slot(value: Any, name: str) -> Any:
    """An attribute that lies in the object itself; None when there is none."""
    # By the class's own descriptor: these wrappers answer to any attribute.
    for cls in type(value).__mro__:
        found = cls.__dict__.get(name)
        if found is not None and type(found).__name__ == "member_descriptor":
            try:
                return found.__get__(value)
            except AttributeError:
                return None
    state = state_of(value)
    return None if state is None else state.get(name)
