"""How many bytes an object of the kernel takes, by samples, without running any code of a stranger's class.

Only exact types of Python, NumPy, pandas and pyarrow are weighed: a subclass may answer anything, or never.
"""

from __future__ import annotations

import sys
import types
from itertools import islice
from typing import Any

#: Items of a container that are weighed; the others are taken to be like them.
N_ITEMS = 200
MAX_DEPTH = 5

_PLAIN = frozenset([int, float, complex, bool, str, bytes, bytearray, type(None), range, slice])
_CONTAINERS = frozenset([list, tuple, dict, set, frozenset])


def module_of(kind: type) -> str:
    """Where a class was made; "" when it does not say. Not by attribute: its own class may answer anything."""
    module = type.__dict__["__module__"].__get__(kind)
    return module if type(module) is str else ""


def name_of(kind: type) -> str:
    """As `module_of`, what it is called."""
    return str(type.__dict__["__qualname__"].__get__(kind))[:100]


def type_name(value: object) -> str:
    """As users call it: "numpy.ndarray", "pandas.DataFrame", "list"."""
    module, name = module_of(type(value)), name_of(type(value))
    if module in ("builtins", "__main__", ""):
        return name
    root = module.partition(".")[0]
    return f"{root if root in ('numpy', 'pandas', 'pyarrow') else module[:100]}.{name}"


def is_array(value: object) -> bool:
    """Exactly NumPy's own."""
    kind = type(value)
    return module_of(kind) == "numpy" and name_of(kind) == "ndarray"


def is_frame(value: object) -> bool:
    """A table, a column or an index of pandas, exactly."""
    module = module_of(type(value))
    if not (module == "pandas" or module.startswith("pandas.core.")):
        return False
    return any(hasattr(type(value), name) for name in ("_mgr", "_values")) and hasattr(
        type(value), "to_numpy"
    )


def is_arrow(value: object) -> bool:
    return module_of(type(value)) == "pyarrow.lib" and hasattr(type(value), "nbytes")


def is_data(value: object) -> bool:
    """Of a kind that can be weighed as a whole."""
    return (
        type(value) in _PLAIN
        or type(value) in _CONTAINERS
        or is_array(value)
        or is_frame(value)
        or is_arrow(value)
    )


def weigh(value: Any, depth: int = 0) -> int:
    """Bytes of it and all it holds; 0 for what nobody can weigh. Containers by a sample of their items."""
    kind = type(value)
    if kind in _PLAIN:
        return sys.getsizeof(value)
    if kind in _CONTAINERS:
        own = sys.getsizeof(value)
        if depth >= MAX_DEPTH or not value:
            return own
        n, total = 0, 0
        for item in sample(value):
            n += 1
            total += weigh(item, depth + 1)
        if kind is dict:
            total += sum(weigh(key, depth + 1) for key in islice(value, n))
        return own + (total * len(value) // n if n else 0)
    if is_array(value):
        return int(value.nbytes) + (_pointed_to(value.flat, value.size) if value.dtype.hasobject else 0)
    if is_frame(value):
        return _frame(value)
    if is_arrow(value):
        return int(value.nbytes)
    return 0


def sample(container: Any) -> tuple[Any, ...]:
    """At most `N_ITEMS` items, evenly spread; the first ones of what has no order."""
    if type(container) is dict:
        return tuple(islice(container.values(), N_ITEMS))
    if type(container) in (list, tuple):
        step = max(1, len(container) // N_ITEMS)
        return tuple(container[: N_ITEMS * step : step])
    return tuple(islice(container, N_ITEMS))


def _pointed_to(items: Any, n: int) -> int:
    taken = [weigh(items[i * n // min(n, N_ITEMS)], MAX_DEPTH) for i in range(min(n, N_ITEMS))] if n else []
    return sum(taken) * n // len(taken) if taken else 0


def _frame(frame: Any) -> int:
    total = 0
    for array in arrays_of(frame):
        if is_array(array):
            total += weigh(array)
        elif module_of(type(array)).startswith("pandas."):
            # Of pandas' own; object strings among them hide behind an array of pointers
            inner = getattr(array, "_ndarray", None)
            total += weigh(inner) if is_array(inner) else int(array.nbytes)
    index = getattr(frame, "index", None)
    if index is not None and is_frame(index) and type(index).__name__ != "RangeIndex":
        values = index._values if type(index).__name__ != "MultiIndex" else None
        total += weigh(values) if is_array(values) else int(index.nbytes)
    return total


def arrays_of(frame: Any) -> tuple[Any, ...]:
    """The arrays that hold a table's columns, without making a copy of any."""
    manager = getattr(frame, "_mgr", None)
    arrays = getattr(manager, "arrays", None)
    if arrays is not None:
        return tuple(arrays)
    values = getattr(frame, "_values", None)
    return () if values is None or type(frame).__name__ in ("RangeIndex", "MultiIndex") else (values,)


def state_of(value: object) -> dict[str, Any] | None:
    """The attributes of a stranger's object, without asking the object for them."""
    for cls in type(value).__mro__:
        found = cls.__dict__.get("__dict__")
        if found is not None:
            if type(found) is not types.GetSetDescriptorType:
                return None
            state = found.__get__(value)
            return state if type(state) is dict else None
    return None
