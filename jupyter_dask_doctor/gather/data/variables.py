"""By which of the notebook's variables an object is held, itself or as a copy.

`from_pandas` and `from_array` copy what they are given, so the graph holds another object than the variable does. A
copy is known by its shape, its types and a sample of its values, when only one variable is like that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from math import prod
from typing import Any

from . import weights

MAX_VARIABLES = 5_000
MAX_ITEMS = 100
#: Values that are compared, and columns.
N_VALUES = 64
N_COLUMNS = 50

#: What a table or an array looks like: shape, types, a sample.
Print = tuple[Any, ...]


class Variables:
    """Those of a namespace, as it is now."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self._names: dict[int, str] = {}
        self._shaped: dict[tuple[Any, ...], list[tuple[str, Any]]] = {}
        try:
            items = list(islice(namespace.items(), MAX_VARIABLES))
        except RuntimeError:  # changed just now
            items = []
        for name, value in items:
            if not name.startswith("_"):
                self._note(name, value)
        for name, value in items:
            kind = type(value)
            if name.startswith("_") or not (kind is list or kind is tuple or kind is dict):
                continue
            if len(value) <= MAX_ITEMS:  # type: ignore[arg-type]
                for text, item in _inside(name, value):
                    self._note(text, item)

    def _note(self, name: str, value: Any) -> None:
        self._names.setdefault(id(value), name)
        if weights.is_array(value):
            if value.base is not None:
                self._names.setdefault(id(value.base), name)
        elif weights.is_frame(value):
            for array in weights.arrays_of(value)[:N_COLUMNS]:
                self._names.setdefault(id(array), name)
                if weights.is_array(array) and array.base is not None:
                    self._names.setdefault(id(array.base), name)
        else:
            return
        self._shaped.setdefault((type(value).__name__, value.shape), []).append((name, value))

    def name_of(self, ids: Iterable[int], print_: Print | None = None) -> str | None:
        """Which of them holds one of these objects, else a copy of it; None when none does, or several do."""
        for own in ids:
            if own in self._names:
                return self._names[own]
        if print_ is None:
            return None
        alike = [
            (name, value)
            for name, value in self._shaped.get((print_[0], print_[1]), ())
            if printed(value) == print_
        ]
        # Two names of one object are one
        if not alike or len({id(value) for _, value in alike}) > 1:
            return None
        return alike[0][0]


def _inside(name: str, container: Any) -> Iterable[tuple[str, Any]]:
    if type(container) is dict:
        for key, value in tuple(container.items()):
            if type(key) is str or type(key) is int:
                yield f"{name}[{key!r}]"[:200], value
    else:
        for i, value in enumerate(tuple(container)):
            yield f"{name}[{i}]", value


def printed(value: Any) -> Print | None:
    """What a copy of it would look like; None for what is neither a table nor an array."""
    try:
        if weights.is_array(value):
            return ("ndarray", value.shape, value.dtype.str, _values(value))
        if weights.is_frame(value) and type(value).__name__ in ("DataFrame", "Series"):
            # By column: a copy of a table has its columns in other blocks.
            arrays = [value._mgr.iget_values(i) for i in range(min(N_COLUMNS, prod(value.shape[1:])))]
            columns = getattr(value, "columns", ())[:N_COLUMNS]
            return (
                type(value).__name__,
                value.shape,
                tuple(c for c in columns if type(c) is str),
                tuple((str(a.dtype)[:50], _values(a)) for a in arrays),
            )
    except Exception:  # of a version that has it otherwise
        return None
    return None


def _values(array: Any) -> bytes:
    if not weights.is_array(array) or array.dtype.hasobject or array.size == 0:
        return b""
    n = min(N_VALUES, array.size)
    return b"".join(array.flat[i * array.size // n].tobytes() for i in range(n))
