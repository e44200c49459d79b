"""Answers the comm_info_request on the kernel's control channel that carries our target name.

The only message that any kernel answers while a cell runs, that flips no state to idle, counts as no
activity, and leaves no trace in the history. Wrapping its handler is not a documented hook of ipykernel
(`control_handlers` has been a public attribute since 6.0): this module alone knows of it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import __version__

if TYPE_CHECKING:
    from ..messages import Request, StatusKind
    from .reply import Plain

MESSAGE = "comm_info_request"
#: As in `messages`, which is not imported before somebody asks: this module is loaded with every kernel.
TARGET = "jupyter_dask_doctor"
#: A request longer than this many cells, or with a longer cell, is not a notebook that anybody edits.
MAX_CELLS = 500
MAX_CELL_LENGTH = 64 * 1024
MAX_TOTAL_LENGTH = 2 * 1024 * 1024

Handler = Callable[[Any, Any, Any], Awaitable[None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it was understood."""

    since: int
    #: Texts of cells by id; None when the request brought none.
    cells: tuple[tuple[str, str], ...] | None
    #: False when the other side speaks another protocol: it gets only our number and our status.
    is_understood: bool
    #: What was wrong with it, in words.
    notes: tuple[str, ...] = ()


class Channel:
    """Holds the wrap on one kernel."""

    def __init__(self, kernel: Any, answer: Callable[[Mapping[str, object]], Plain]) -> None:
        self._kernel = kernel
        self._answer = answer
        self._original: Handler | None = None
        self._handler: Handler | None = None
        #: The last fault of ours while answering, for `%dask_doctor status`.
        self.fault: str | None = None

    def install(self) -> bool:
        """False on a kernel without control handlers; it is then left alone."""
        handlers = getattr(self._kernel, "control_handlers", None)
        if not isinstance(handlers, dict) or not callable(handlers.get(MESSAGE)):
            return False
        original: Handler = handlers[MESSAGE]

        async def comm_info_request(stream: Any, ident: Any, parent: Any) -> None:
            content = self._ours(parent)
            if content is None or self._handler is None:
                result = original(stream, ident, parent)
                if inspect.isawaitable(result):
                    await result
                return
            self._send(stream, ident, parent, content)

        self._original, self._handler = original, comm_info_request
        handlers[MESSAGE] = comm_info_request
        return True

    def uninstall(self) -> None:
        """Puts the original back; when somebody wrapped us meanwhile, only stops answering."""
        handlers = getattr(self._kernel, "control_handlers", None)
        if (
            isinstance(handlers, dict)
            and self._handler is not None
            and handlers.get(MESSAGE) is self._handler
        ):
            handlers[MESSAGE] = self._original
        self._handler = None

    @staticmethod
    def _ours(parent: Any) -> Mapping[str, object] | None:
        content = parent.get("content") if isinstance(parent, dict) else None
        if isinstance(content, dict) and content.get("target_name") == TARGET:
            return content
        return None

    def _send(self, stream: Any, ident: Any, parent: Any, content: Mapping[str, object]) -> None:
        # A handler that raises sends no reply at all, and the asker waits for ever.
        try:
            body = self._answer(content)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"[:500]
            body = bare("off", f"The doctor failed while it answered ({self.fault}).", session="")
        reply: dict[str, object] = {"status": "ok", "comms": {}, "dask_doctor": body}
        self._kernel.session.send(stream, "comm_info_reply", reply, parent, ident)


def bare(kind: StatusKind, message: str, *, session: str) -> Plain:
    """A whole reply that holds nothing but the status."""
    from ..messages import PROTOCOL

    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "session": session,
        "rev": 0,
        "time": time.time(),
        "status": {"kind": kind, "message": message},
        "clients": [],
        "vitals": None,
        "cluster": None,
        "memory": [],
        "workers": [],
        "collections": [],
        "graphs": [],
        "hidden_jobs": [],
        "report": None,
        "running": None,
        "left_out": [],
    }


def understand(content: Mapping[str, object]) -> Asked:
    """Reads the content of a request and never raises: what is wrong with it is told in words."""
    import msgspec

    from ..messages import PROTOCOL, Request

    protocol = content.get("protocol")
    if isinstance(protocol, int) and not isinstance(protocol, bool) and protocol != PROTOCOL:
        return Asked(since=0, cells=None, is_understood=False, notes=(_other_protocol(protocol),))
    try:
        request = msgspec.convert(
            {name: content[name] for name in ("protocol", "since", "cells") if name in content}, Request
        )
    except msgspec.ValidationError as error:
        note = f"the request could not be read ({error}): its `since` and `cells` were passed over"
        return Asked(since=0, cells=None, is_understood=True, notes=(note[:300],))
    cells, notes = _bounded(request)
    return Asked(since=max(0, request.since), cells=cells, is_understood=True, notes=notes)


def _other_protocol(protocol: int) -> str:
    from ..messages import PROTOCOL

    older = "older" if protocol < PROTOCOL else "newer"
    return f"you speak protocol {protocol}, which is {older} than protocol {PROTOCOL} spoken here"[:200]


def _bounded(request: Request) -> tuple[tuple[tuple[str, str], ...] | None, tuple[str, ...]]:
    if request.cells is None:
        return None, ()
    room = MAX_TOTAL_LENGTH
    kept: list[tuple[str, str]] = []
    for cell in request.cells[:MAX_CELLS]:
        length = len(cell.source)
        if length <= MAX_CELL_LENGTH and length <= room and len(cell.id) <= 200:
            room -= length
            kept.append((cell.id, cell.source))
    n, n_kept = len(request.cells), len(kept)
    notes = () if n == n_kept else (f"{n - n_kept} of {n} cells: too many, or too long to be read",)
    return tuple(kept), notes
