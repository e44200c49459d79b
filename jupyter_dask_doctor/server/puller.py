"""Asks kernels how they are, once a second, while somebody watches, and tells everybody who does.

One `Puller` per watched kernel, however many tabs watch it. It never disturbs the kernel, and everything that
can go wrong with a kernel becomes a `Trouble` in words. All of this runs on the server's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ..messages import PROTOCOL, CellText, Reply, Request, Trouble, Update
from .control import Control
from .merged import Merged
from .troubles import (
    Problem,
    busy,
    gateway,
    gone,
    left_alone,
    not_started,
    other_language,
    restarting,
    starting,
)

#: Seconds between two questions.
PACE = 1.0
#: ... while a cell runs: then there is news, and somebody waits for it.
BRISK_PACE = 0.4
#: Seconds between two questions to a kernel that has nothing to tell us.
SLOW_PACE = 2.0
#: Seconds to wait for an answer before it counts as a miss; it is waited for all the same.
ANSWER_SECONDS = 3.0
#: Misses before the watchers are told.
MISSES = 2
#: Seconds after which a question is taken for lost and asked again; doubled up to the second number.
LOST_SECONDS = (3.0, 30.0)
#: Seconds that a kernel may say that it is starting. Questions that come too early can be lost, but a kernel
#: that nobody else talks to stays "starting" until somebody asks.
STARTING_SECONDS = 3.0
#: Bytes of cells that are passed on to a kernel.
MAX_CELLS_NBYTES = 256 * 1024


class Watcher(Protocol):
    """Whoever is told. `tell` returns False when it cannot take more now: it will get it later."""

    def tell(self, text: bytes) -> bool: ...


class _Seen:
    """What one watcher has been told."""

    __slots__ = ("is_behind", "rev", "session", "trouble")

    def __init__(self) -> None:
        self.session: str | None = None
        self.rev = 0
        self.trouble: Trouble | None = None
        self.is_behind = True


class Puller:
    """Asks one kernel for all who watch it."""

    def __init__(
        self,
        kernel_id: str,
        kernels: Any,
        log: logging.Logger,
        remember: Callable[[str, Reply], None],
    ) -> None:
        self.kernel_id = kernel_id
        self._kernels = kernels
        self._log = log
        self._remember = remember
        self._watchers: dict[Watcher, _Seen] = {}
        self._merged = Merged()
        self._trouble: Trouble | None = None
        self._control: Control | None = None
        self._manager: Any = None
        self._cells: tuple[CellText, ...] | None = None
        #: The cells as they were when the kernel last confirmed that it had them.
        self._delivered: tuple[CellText, ...] | None = None
        self._misses = 0
        self._asked_at = 0.0
        self._lost_seconds = LOST_SECONDS[0]
        self._task: asyncio.Task[None] | None = None

    # For whoever watches ------------------------------------------------------------------------------

    @property
    def is_watched(self) -> bool:
        return bool(self._watchers)

    def watch(self, watcher: Watcher) -> None:
        """Tell this one too: at once all that is known, then what comes."""
        self._watchers[watcher] = _Seen()
        self._tell()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)

    def send_cells(self, cells: tuple[CellText, ...]) -> None:
        """Pass the notebook's cells on with the next question, again after a restart."""
        self._cells = bounded(cells)

    def restarted(self) -> None:
        """The kernel is a new process: no answer of the old one will come, and its facts are gone."""
        self._merged = Merged()
        self._delivered = None
        if self._control is not None:
            self._control.interrupt(restarting())

    async def close(self) -> None:
        self._watchers.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._disconnect()

    # The loop -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            pace = PACE
            try:
                if await self._pull():
                    pace = BRISK_PACE
            except Problem as problem:
                if problem.kind != "not-answering":
                    self._disconnect()
                if problem.kind in ("no-doctor", "not-python", "gateway"):
                    pace = SLOW_PACE
                self._report(problem)
            except Exception as error:
                self._log.exception("Dask Doctor: a fault while asking kernel %s", self.kernel_id)
                self._disconnect()
                self._report(
                    Problem(
                        "bad-message", f"The doctor's server part failed ({error!r}); see the server's log."
                    )
                )
            self._tell()
            await asyncio.sleep(pace)

    async def _pull(self) -> bool:
        """Ask once and wait for the answer, for at most `ANSWER_SECONDS`. True when a cell runs."""
        manager = await self._find()
        control = self._control
        if control is None or manager is not self._manager:
            self._disconnect()
            self._manager = manager
            self._control = control = Control(manager)
        if not control.is_waiting:
            self._ask(control)
        elif time.monotonic() - self._asked_at > self._lost_seconds:
            self._lost_seconds = min(2 * self._lost_seconds, LOST_SECONDS[1])
            self._ask(control)
        answer = await control.answer(ANSWER_SECONDS)
        if answer is None:
            self._misses += 1
            if self._misses >= MISSES:
                raise busy()
            return False
        self._misses = 0
        self._lost_seconds = LOST_SECONDS[0]
        self._accept(*answer)
        return answer[1].running is not None

    def _ask(self, control: Control) -> None:
        cells = self._cells if self._cells is not self._delivered else None
        control.ask(Request(protocol=PROTOCOL, since=self._merged.rev, cells=cells))
        self._asked_at = time.monotonic()

    def _accept(self, request: Request, reply: Reply) -> None:
        if self._merged.session not in (None, reply.session):
            # Another life of the kernel's side, of which this is only the part after a number of the old one.
            self._merged = Merged()
            self._delivered = None
            if request.since > 0:
                return
        if request.cells is not None:
            self._delivered = request.cells
        self._trouble = None
        if self._merged.accept(reply):
            for seen in self._watchers.values():
                seen.is_behind = True
            self._remember(self.kernel_id, reply)

    async def _find(self) -> Any:
        """The kernel's manager, once there is a kernel that can be asked. Raises `Problem`."""
        if _is_of_gateway(self._kernels, "GatewayMappingKernelManager"):
            raise gateway()
        if self.kernel_id not in self._kernels:
            raise gone()
        manager = self._kernels.get_kernel(self.kernel_id)
        await self._ready(manager)
        if self.kernel_id not in self._kernels:
            raise gone()
        if _is_of_gateway(manager, "GatewayKernelManager") or not any(manager.ports):
            raise gateway()
        language = _language(manager)
        if language not in ("", "python"):
            raise other_language(language)
        if self._is_buffered():
            raise left_alone()
        end = time.monotonic() + STARTING_SECONDS
        while getattr(manager, "execution_state", None) == "starting" and time.monotonic() < end:
            if self._control is None:
                self._report(starting())
                self._tell()
            await asyncio.sleep(0.1)
        return manager

    async def _ready(self, manager: Any) -> None:
        """Wait until a pending kernel has been started; connecting earlier would silently reach nobody."""
        ready = getattr(manager, "ready", None)
        if ready is None:
            return
        future = ready if isinstance(ready, asyncio.Future) else asyncio.wrap_future(ready)
        while not future.done():
            self._report(starting())
            self._tell()
            await asyncio.wait([future], timeout=PACE)
        if future.cancelled() or future.exception() is not None:
            raise not_started()

    def _is_buffered(self) -> bool:
        """The last browser left: the server now keeps all that the kernel says, also about our questions."""
        if self._kernels.kernel_model(self.kernel_id).get("connections", 0):
            return False
        return self.kernel_id in getattr(self._kernels, "_kernel_buffers", ())

    def _disconnect(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        self._misses = 0
        self._lost_seconds = LOST_SECONDS[0]

    # Telling ------------------------------------------------------------------------------------------

    def _report(self, problem: Problem) -> None:
        self._trouble = Trouble(kernel_id=self.kernel_id, kind=problem.kind, message=problem.message)

    def _tell(self) -> None:
        """Give every watcher what it does not know yet. One that is slow gets it all together later."""
        texts: dict[tuple[str | None, int], bytes] = {}
        for watcher, seen in list(self._watchers.items()):
            trouble = self._trouble
            if trouble is not None:
                if seen.trouble != trouble and watcher.tell(msgspec.json.encode(trouble)):
                    seen.trouble = trouble
                    seen.is_behind = True
                continue
            if not seen.is_behind:
                continue
            if seen.session != self._merged.session:
                seen.session, seen.rev = self._merged.session, 0
            key = (seen.session, seen.rev)
            if key not in texts:
                reply = self._merged.since(seen.rev)
                if reply is None:
                    return
                texts[key] = msgspec.json.encode(Update(kernel_id=self.kernel_id, reply=reply))
            if watcher.tell(texts[key]):
                seen.rev, seen.trouble, seen.is_behind = self._merged.rev, None, False


def bounded(cells: tuple[CellText, ...]) -> tuple[CellText, ...]:
    """As many of the cells, in their order, as fit into `MAX_CELLS_NBYTES`."""
    kept: list[CellText] = []
    room = MAX_CELLS_NBYTES
    for cell in cells:
        nbytes = len(cell.source.encode("utf-8", "surrogatepass")) + len(cell.id)
        if nbytes <= room:
            room -= nbytes
            kept.append(cell)
    return tuple(kept)


def _is_of_gateway(manager: object, name: str) -> bool:
    """Without importing the gateway's module, which brings a websocket library, where nobody uses it."""
    module = sys.modules.get("jupyter_server.gateway.managers")
    return module is not None and isinstance(manager, getattr(module, name))


def _language(manager: Any) -> str:
    """What the kernelspec says, in lower case; empty when it does not say."""
    try:
        return str(manager.kernel_spec.language or "").lower()
    except Exception:  # the kernelspec is gone; the kernel itself will tell
        return ""
