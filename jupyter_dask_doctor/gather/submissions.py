"""Note what a client sends, as it sends it: the names that fusion hides, and the line that asked for it.

The scheduler sees a graph after optimizing, without its caller. This wraps the one method of
`distributed.Client` through which every graph goes. It keeps no strong reference to a collection or expression,
for they carry data, and its own faults never reach the caller.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter, thread_time, time
from types import FrameType
from typing import Any

from ..snapshot import Collection
from . import fusion
from .callers import caller, references
from .fusion import Step
from .scheduler_view import MAX_NAME, label

#: Bounds of one look at an expression.
MAX_NODES = 2_000
MAX_SECONDS = 0.005
MAX_NAMES = 500
#: Submissions nobody took are forgotten beyond this number.
MAX_KEPT = 1_000
MAX_FAULTS = 5
#: Submissions that wait for somebody who looks.
MAX_UNSEEN = 20
#: Seconds between two nudges at least, however much is sent; steps whose columns are looked at.
NUDGE = 0.2
MAX_STEPS = 200
MAX_KEYS = 8

_METHOD = "_graph_to_futures"


@dataclass(slots=True, kw_only=True)
class Progress:
    """What becomes known of a submission after it was noted. Written by one thread each."""

    #: Seconds that pickling and handing over took; None while that goes on or when it failed.
    serialize_seconds: float | None = None
    #: Seconds of optimizing before it, as seen; None when nobody looked.
    optimize_seconds: float | None = None
    #: What was asked for, by its own name and as long as somebody else holds it; its description once somebody
    #: has looked.
    refs: tuple[tuple[str, weakref.ref[Any]], ...] = ()
    asked: tuple[Collection, ...] = ()


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
    #: A look at a collection or the making of another one started it; None when unknown.
    is_hidden: bool | None = None
    #: When the one before it was sent by any client of this process; None for the first.
    previous: float | None = None
    #: Columns by which what is persisted was joined, grouped, sorted or shuffled: its caller does not wait, so that
    #: mostly nobody can look at it later.
    key_columns: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress, compare=False)


class Submissions:
    """Listens to all clients of this process from `install` to `uninstall`. Safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: deque[Submission] = deque(maxlen=MAX_KEPT)
        self._lock = threading.Lock()
        self._wrapper: Callable[..., Any] | None = None
        self._original: Callable[..., Any] | None = None
        self._previous: float | None = None
        #: Called when there is something to look at, on the thread that sends: it must not wait.
        self.nudge: Callable[[], None] | None = None
        self._nudged = float("-inf")
        #: Those that nobody looked at yet, newest last.
        self._unseen: deque[Submission] = deque(maxlen=MAX_UNSEEN)
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
            if self._wrapper is not wrapper:
                return original(client, *args, **kwargs)
            progress = Progress()
            try:
                self._note(client, args, kwargs, sys._getframe(1), progress)
            except Exception:
                self._fault()
            began = perf_counter()
            futures = original(client, *args, **kwargs)
            progress.serialize_seconds = perf_counter() - began
            return futures

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

    def unseen(self) -> tuple[Submission, ...]:
        """What was sent since the last call, by any client: the newest, oldest first."""
        with self._lock:
            taken = tuple(self._unseen)
            self._unseen.clear()
        return taken

    def _fault(self) -> None:
        self.n_faults += 1
        if self.n_faults >= MAX_FAULTS:
            self.uninstall()

    def _note(
        self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType, progress: Progress
    ) -> None:
        expr = args[0] if args else kwargs["expr"]
        keys = args[1] if len(args) > 1 else kwargs["keys"]
        now = time()
        call = caller(frame)
        names, steps, nodes = _look(expr, call.written)
        progress.refs = tuple(references(call.asked))
        submission = Submission(
            client_id=client.id,
            time=now,
            n_keys=len(keys),
            label=label(keys),
            names=names,
            steps=steps,
            method=call.method,
            filename=call.filename,
            line=call.line,
            is_hidden=call.is_hidden,
            previous=self._previous,
            key_columns=_key_columns(nodes) if call.method == "persist" else (),
            progress=progress,
        )
        with self._lock:
            self._previous = now
            self._kept.append(submission)
            self._unseen.append(submission)
        if self.nudge is not None and progress.refs and now - self._nudged >= NUDGE:
            self._nudged = now
            self.nudge()


def _key_columns(nodes: Iterable[Any]) -> tuple[str, ...]:
    from .data.frame_steps import operations

    steps = [node for node in nodes if hasattr(node, "_meta")][:MAX_STEPS]
    found = operations(steps, lambda step: None)
    return tuple(dict.fromkeys(column for one in found for column in one.columns))[:MAX_KEYS]


def _look(expr: Any, collections: Iterable[Any]) -> tuple[tuple[str, ...], tuple[Step, ...], list[Any]]:
    """Names, steps, and what the collections are made of, as it was before the optimizer."""
    from dask._expr import Expr

    if not isinstance(expr, Expr):
        return (), (), []
    # Of its own thread's time: on a busy machine a look takes longer, not less.
    deadline = thread_time() + MAX_SECONDS
    # The outermost node only holds together what was asked for; naming it would hash everything anew.
    roots = [part for part in expr.operands if isinstance(part, Expr)] or [expr]
    names: dict[str, None] = {}
    seen: dict[int, Any] = {}
    if not _walk(roots, names, seen, deadline):
        return (), (), []
    before = len(seen)
    # Only dataframes keep an expression; a Delayed would make one up for any attribute.
    written = [getattr(c, "__dict__", {}).get("_expr") for c in collections]
    written = [part for part in written if isinstance(part, Expr)]
    if not _walk(written, names, seen, deadline):
        return (), (), []
    return tuple(names), fusion.steps(roots), list(seen.values())[before:]


def _walk(roots: Iterable[Any], names: dict[str, None], seen: dict[int, Any], deadline: float) -> bool:
    """Adds the names of all that the expressions are made of; False when there is too much of it."""
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if len(seen) > MAX_NODES or thread_time() > deadline:
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
