"""Who watches which kernel: begins to ask a kernel with its first watcher and ends with its last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..messages import Reply
from .puller import Puller, Watcher

#: The server's own event for what befalls a kernel.
KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"


class Watch:
    """All pullers of a server."""

    def __init__(
        self, kernels: Any, events: Any, log: logging.Logger, remember: Callable[[str, Reply], None]
    ) -> None:
        self._kernels = kernels
        self._events = events
        self._log = log
        self._remember = remember
        self._pullers: dict[str, Puller] = {}
        self._closing: set[asyncio.Task[None]] = set()
        events.add_listener(schema_id=KERNEL_ACTIONS, listener=self._on_event)

    def watch(self, kernel_id: str, watcher: Watcher) -> Puller:
        puller = self._pullers.get(kernel_id)
        if puller is None:
            puller = Puller(kernel_id, self._kernels, self._log, self._remember)
            self._pullers[kernel_id] = puller
        puller.watch(watcher)
        return puller

    def unwatch(self, puller: Puller, watcher: Watcher) -> None:
        puller.unwatch(watcher)
        if not puller.is_watched and self._pullers.get(puller.kernel_id) is puller:
            del self._pullers[puller.kernel_id]
            task = asyncio.get_running_loop().create_task(puller.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @property
    def watched(self) -> tuple[str, ...]:
        """Ids of the kernels that are asked now."""
        return tuple(self._pullers)

    async def close(self) -> None:
        self._events.remove_listener(schema_id=KERNEL_ACTIONS, listener=self._on_event)
        pullers, self._pullers = list(self._pullers.values()), {}
        await asyncio.gather(*(puller.close() for puller in pullers), *self._closing)

    async def _on_event(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        if data.get("action") == "restart" and data.get("status") == "success":
            puller = self._pullers.get(str(data.get("kernel_id")))
            if puller is not None:
                puller.restarted()
