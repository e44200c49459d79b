"""Note what a client sends, as it sends it: the names that fusion hides, and the line that asked for it.

The scheduler sees a graph after optimizing, without its caller. This wraps the one method of
`distributed.Client` through which every graph goes. It keeps no reference to an expression, for expressions
carry data, and its own faults never reach the caller.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter, time
from types import FrameType
from typing import Any

from . import fusion
from .fusion import Step
from .scheduler_view import MAX_NAME, label

#: Bounds of one look at an expression.
MAX_NODES = 2_000
MAX_SECONDS = 0.005
MAX_NAMES = 500
MAX_FRAMES = 60
#: Submissions nobody took are forgotten beyond this number.
MAX_KEPT = 1_000
MAX_FAULTS = 5

_METHOD = "_graph_to_futures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One graph as a client sent it."""

    client_id: str
    #: When the client began to send, seconds since the epoch.
    time: float
    #: How many keys were asked for, and a name they share with the scheduler's side.
    n_keys: int
    label: str | None
    #: Names of expressions or layers before fusion; empty when there were too many.
    names: tuple[str, ...]
    #: The shape of a dataframe expression, from which `fusion.spared` tells what fusing it would spare.
    steps: tuple[Step, ...]
    #: "compute", "persist", "submit", ...: the function of Dask's that was called; None when unknown.
    method: str | None
    #: The cell's file name as the kernel compiled it, and the line in it, from 1.
    filename: str | None
    line: int | None


class Submissions:
    """Listens to all clients of this process from `install` to `uninstall`. Safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: deque[Submission] = deque(maxlen=MAX_KEPT)
        self._lock = threading.Lock()
        self._wrapper: Callable[..., Any] | None = None
        self._original: Callable[..., Any] | None = None
        self.n_faults = 0

    @property
    def is_installed(self) -> bool:
        return self._wrapper is not None

    def install(self) -> None:
        """Begin to listen; does nothing the second time, nor where distributed has no such method."""
        from distributed import Client

        original = getattr(Client, _METHOD, None)
        if self._wrapper is not None or not callable(original):
            return

        @functools.wraps(original)
        def wrapper(client: Any, *args: Any, **kwargs: Any) -> Any:
            if self._wrapper is wrapper:
                try:
                    self._note(client, args, kwargs, sys._getframe(1))
                except Exception:
                    self._fault()
            return original(client, *args, **kwargs)

        self._wrapper, self._original = wrapper, original
        setattr(Client, _METHOD, wrapper)

    def uninstall(self) -> None:
        """Stop listening. A wrapper that somebody put around ours stays and goes through to the original."""
        from distributed import Client

        wrapper, original = self._wrapper, self._original
        self._wrapper = self._original = None
        if wrapper is not None and getattr(Client, _METHOD, None) is wrapper:
            setattr(Client, _METHOD, original)

    def take(self, client_id: str) -> tuple[Submission, ...]:
        """What this client sent since the last call, oldest first."""
        with self._lock:
            taken = tuple(item for item in self._kept if item.client_id == client_id)
            if taken:
                others = [item for item in self._kept if item.client_id != client_id]
                self._kept.clear()
                self._kept.extend(others)
        return taken

    def _fault(self) -> None:
        self.n_faults += 1
        if self.n_faults >= MAX_FAULTS:
            self.uninstall()

    def _note(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> None:
        expr = args[0] if args else kwargs["expr"]
        keys = args[1] if len(args) > 1 else kwargs["keys"]
        now = time()
        method, filename, line, collections = _caller(frame)
        names, steps = _look(expr, collections)
        submission = Submission(
            client_id=client.id,
            time=now,
            n_keys=len(keys),
            label=label(keys),
            names=names,
            steps=steps,
            method=method,
            filename=filename,
            line=line,
        )
        with self._lock:
            self._kept.append(submission)


def _caller(frame: FrameType | None) -> tuple[str | None, str | None, int | None, list[Any]]:
    """The outermost function of Dask's, the line of the running cell that led to it, and the collections
    that were asked for, as they were before the optimizer renamed what they are made of."""
    method = filename = line = None
    collections: list[Any] = []
    is_inside = True
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        if "ipykernel_" in code.co_filename or code.co_filename.startswith("<ipython-input"):
            # Inner ones are functions that other cells defined; the outermost is the cell that runs.
            filename, line = code.co_filename, frame.f_lineno
            is_inside = False
        elif filename is not None and frame.f_globals.get("__name__") == "IPython.core.interactiveshell":
            break
        elif is_inside:
            module = frame.f_globals.get("__name__") or ""
            if module.split(".", 1)[0] in ("dask", "distributed"):
                method = code.co_name.strip("_")[:100]
                if method in ("compute", "persist"):
                    collections.extend(_asked_for(module, frame))
            elif module != "contextlib":
                is_inside = False
        frame = frame.f_back
    return method, filename, line, collections


def _asked_for(module: str, frame: FrameType) -> Iterable[Any]:
    if module == "dask.base":
        return frame.f_locals.get("collections") or ()
    # A dataframe optimizes itself before `dask.base.persist` sees it.
    return [frame.f_locals["self"]] if "self" in frame.f_locals else ()


def _look(expr: Any, collections: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Step, ...]]:
    from dask._expr import Expr

    if not isinstance(expr, Expr):
        return (), ()
    deadline = perf_counter() + MAX_SECONDS
    # The outermost node only holds together what was asked for; naming it would hash everything anew.
    roots = [part for part in expr.operands if isinstance(part, Expr)] or [expr]
    names: dict[str, None] = {}
    seen: set[int] = set()
    if not _walk(roots, names, seen, deadline):
        return (), ()
    # Only dataframes keep an expression; a Delayed would make one up for any attribute.
    written = [getattr(c, "__dict__", {}).get("_expr") for c in collections]
    written = [part for part in written if isinstance(part, Expr)]
    if not _walk(written, names, seen, deadline):
        return (), ()
    return tuple(names), fusion.steps(roots)


def _walk(roots: Iterable[Any], names: dict[str, None], seen: set[int], deadline: float) -> bool:
    """Adds the names of all that the expressions are made of; False when there is too much of it."""
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if len(seen) > MAX_NODES or perf_counter() > deadline:
            return False
        for name in _names(node):
            names[name[:MAX_NAME]] = None
        if len(names) > MAX_NAMES:
            return False
        stack.extend(_parts(node))
    return True


def _names(node: Any) -> Iterator[str]:
    if "dsk" in type(node)._parameters:
        layers = getattr(node.operand("dsk"), "layers", ())  # a plain dictionary has none
        if len(layers) <= MAX_NAMES:
            yield from map(str, layers)
    elif "layer" in type(node)._parameters and "keys" in type(node)._parameters:
        return  # what was persisted: nothing is done to have it
    else:
        yield node._name


def _parts(node: Any) -> Iterator[Any]:
    from dask._expr import Expr

    for operand in node.operands:
        if isinstance(operand, Expr):
            yield operand
        elif isinstance(operand, (list, tuple)) and len(operand) <= MAX_NODES:
            yield from (part for part in operand if isinstance(part, Expr))
