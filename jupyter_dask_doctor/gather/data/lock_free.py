"""Lets a thread of ours read expressions of Dask's while the user's thread makes others, and neither waits for ever.

Up to Python 3.11 a `functools.cached_property` has one lock for all objects of a class. Reading the meta or the
divisions of a new expression holds the locks of its class while it asks for those below it; two threads that read
trees in which two classes stand upon one another in different order wait for each other for ever. So here such a lock
is passed by, for the thread that looks and as long as it looks, as Python does since 3.12: at worst a value is
reckoned twice. All other threads lock as before.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_thread = threading.local()
_wrapping = threading.Lock()


class _Lock:
    """A lock that is not there for a thread that looks."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __enter__(self) -> bool:
        return True if getattr(_thread, "looks", 0) else bool(self._inner.acquire())

    def __exit__(self, *_: object) -> None:
        if not getattr(_thread, "looks", 0):
            self._inner.release()


@contextmanager
def lock_free() -> Iterator[None]:
    """While inside, this thread takes no lock of a cached property of an expression's."""
    _wrap()
    _thread.looks = getattr(_thread, "looks", 0) + 1
    try:
        yield
    finally:
        _thread.looks -= 1


def cached_properties() -> Iterator[functools.cached_property[Any]]:
    """Those of all classes of expressions there are, the user's own among them."""
    from dask._expr import Expr

    todo: list[type] = [Expr]
    # A frame in the graph, which keeps its own hash.
    held = getattr(sys.modules.get("dask.dataframe.dask_expr._util"), "_BackendData", None)
    if held is not None:
        todo.append(held)
    seen: set[type] = set()
    while todo:
        cls = todo.pop()
        if cls in seen:
            continue
        seen.add(cls)
        todo.extend(type.__subclasses__(cls))
        for value in tuple(vars(cls).values()):
            if isinstance(value, functools.cached_property):
                yield value


def _wrap() -> None:
    if not hasattr(functools.cached_property(len), "lock"):
        return  # of a Python that has none
    with _wrapping:
        for cached in cached_properties():
            lock = getattr(cached, "lock", None)
            if lock is not None and type(lock) is not _Lock:
                # Who is inside holds the inner lock and gives that back; who comes next waits for it.
                cached.lock = _Lock(lock)  # type: ignore[attr-defined]
