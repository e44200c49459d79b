"""Keep the doctor's thread out of the locks that Python up to 3.11 puts around cached properties.

There `functools.cached_property` has one lock for all objects of a class. Dask's expressions ask each other for
such properties in any order, so two threads that work on expressions at once may each hold a lock that the other one
waits for, for ever. Python 3.12 has dropped the locks. Here they stay as they are for everybody but the threads that
are `free`: those neither take them nor wait for them, as if they ran under 3.12.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

#: Idents of the threads that take no lock.
_free: set[int] = set()
_wrapped: list[tuple[Any, Any]] = []
#: How many modules there were when the properties were looked up.
_n_modules = 0
_lock = threading.Lock()


class _Lock:
    """In the place of a property's own lock."""

    __slots__ = ("_own",)

    def __init__(self, own: Any) -> None:
        self._own = own

    def __enter__(self) -> bool:
        return threading.get_ident() in _free or bool(self._own.__enter__())

    def __exit__(self, *error: object) -> None:
        if threading.get_ident() not in _free:
            self._own.__exit__(*error)

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        return threading.get_ident() in _free or bool(self._own.acquire(*args, **kwargs))

    def release(self) -> None:
        if threading.get_ident() not in _free:
            self._own.release()


@contextlib.contextmanager
def free() -> Iterator[None]:
    """This thread takes none of the locks of Dask's cached properties meanwhile."""
    own = threading.get_ident()
    if sys.version_info >= (3, 12) or own in _free:
        yield
        return
    _wrap()
    _free.add(own)
    try:
        yield
    finally:
        _free.discard(own)


def restore() -> None:
    """Put every lock back in its place."""
    global _n_modules
    with _lock:
        for prop, own in _wrapped:
            prop.lock = own
        _wrapped.clear()
        _n_modules = 0


def _wrap() -> None:
    global _n_modules
    with _lock:
        if len(sys.modules) == _n_modules:
            return
        _n_modules = len(sys.modules)
        for prop in _properties():
            own = getattr(prop, "lock", None)
            if own is not None and type(own) is not _Lock:
                prop.lock = _Lock(own)
                _wrapped.append((prop, own))


def _properties() -> Iterator[Any]:
    for name, module in tuple(sys.modules.items()):
        if not name.startswith("dask.") or module is None:
            continue
        for value in tuple(vars(module).values()):
            if not isinstance(value, type) or not str(value.__module__).startswith("dask"):
                continue
            for member in tuple(vars(value).values()):
                if isinstance(member, functools.cached_property):
                    yield member
