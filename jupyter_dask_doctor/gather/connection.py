"""One line to one scheduler: bare rpc, the doctor's plugin at the other end, and the clock between them."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections import deque
from typing import Any

from . import (
    scheduler_changes,
    scheduler_deep,
    scheduler_facts,
    scheduler_graphs,
    scheduler_losses,
    scheduler_metrics,
    scheduler_plugin,
    scheduler_running,
    scheduler_view,
)
from .scheduler_plugin import FACTS_HANDLER, HANDLER, STACKS_HANDLER, VERSION, DoctorPlugin

#: All that the plugin is made of.
MODULES = (
    scheduler_plugin,
    scheduler_changes,
    scheduler_deep,
    scheduler_facts,
    scheduler_graphs,
    scheduler_losses,
    scheduler_metrics,
    scheduler_running,
    scheduler_view,
)
#: Up to where the last answer went; the next one goes on from there.
CURSOR = ("since", "rows", "metrics", "epoch")
_pickling = threading.Lock()


class Refused(Exception):
    """The scheduler does not run our plugin; the text is a sentence for the user."""


@functools.cache
def plugin_bytes() -> bytes:
    """The plugin with its code, so that the scheduler's environment need not have this package."""
    import cloudpickle  # type: ignore[import-untyped]

    with _pickling:
        known = cloudpickle.list_registry_pickle_by_value()
        modules = [module for module in MODULES if module.__name__ not in known]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps(DoctorPlugin()))
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


class Connection:
    """To the scheduler at one address. Each method may raise OSError when it is gone."""

    def __init__(self, address: str, connection_args: dict[str, Any], timeout: float) -> None:
        from distributed import core

        self.address = address
        open_line: Any = core.rpc
        self._rpc: Any = open_line(address, connection_args=connection_args, timeout=timeout)
        #: Its identity as of the last call of `identify`.
        self.scheduler_id: str | None = None
        #: Of the scheduler's process, as `distributed.versions` tells them; empty before `register`.
        self.versions: dict[str, Any] = {}
        self._has_plugin = False
        self._cursor: dict[str, Any] = dict.fromkeys(CURSOR, 0)
        self._clock: deque[tuple[float, float]] = deque(maxlen=30)

    async def identify(self, n_workers: int = 0) -> dict[str, Any]:
        identity: dict[str, Any] = await self._rpc.identity(n_workers=n_workers)
        self.scheduler_id = identity["id"]
        return identity

    async def register(self) -> None:
        """Put the plugin on the scheduler unless it is there; raises `Refused`."""
        if self._has_plugin:
            return
        versions = self.versions = await self._rpc.versions()
        theirs = str((versions.get("host") or {}).get("python", ""))
        ours = "{}.{}".format(*sys.version_info[:2])
        if not theirs.startswith(f"{ours}."):
            # Code pickled by one Python crashes another one.
            raise Refused(
                f"The scheduler runs Python {'.'.join(theirs.split('.')[:2]) or 'of an unknown version'} "
                f"and this kernel {ours}, so nothing could be sent to it"
            )
        try:
            await self._rpc.register_scheduler_plugin(plugin=plugin_bytes(), name=None, idempotent=True)
        except OSError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise Refused(f"The cluster does not accept plugins ({text})") from None
        self._has_plugin = True

    async def snapshot(self, *, is_deep: bool = False) -> dict[str, Any]:
        """What changed since the last call; raises `Refused` when the plugin is not there any more."""
        before = time.time()
        reply: Any = await getattr(self._rpc, HANDLER)(**self._cursor, is_deep=is_deep)
        after = time.time()
        if not isinstance(reply, dict) or "version" not in reply:
            raise Refused("The cluster does not accept plugins")
        if "off" in reply:
            raise Refused(f"The doctor's part on the scheduler has stopped itself ({reply['off']})")
        if reply["version"] != VERSION:
            raise Refused("Another notebook runs a different version of Dask Doctor on this cluster")
        if "fault" in reply:
            return {}
        self.compared(before, after, reply["time"])
        self._cursor = {name: reply[name] for name in CURSOR}
        return reply

    async def stacks(self, tasks: list[str]) -> Any:
        """Where running tasks stand, as their workers tell: (task, worker, frames)."""
        return await getattr(self._rpc, STACKS_HANDLER)(tasks=tasks)

    async def facts(self) -> dict[str, Any]:
        """What the plugin tells rarely; empty when it cannot."""
        reply: Any = await getattr(self._rpc, FACTS_HANDLER)()
        return reply if isinstance(reply, dict) else {}

    async def prefix_states(self) -> dict[str, dict[str, int]]:
        """How many tasks are in which state, without the plugin."""
        states: dict[str, dict[str, int]] = await self._rpc.get_task_prefix_states()
        return states

    def compared(self, before: float, after: float, theirs: float) -> None:
        """The scheduler's clock showed `theirs` at some moment between these two of ours."""
        trip, offset = after - before, (before + after) / 2 - theirs
        if any(abs(offset - other) > (trip + its_trip) / 2 for its_trip, other in self._clock):
            self._clock.clear()  # both cannot be true: a clock was set
        self._clock.append((trip, offset))

    def to_kernel(self, moment: float) -> float:
        """A time of the scheduler's clock on ours."""
        if not self._clock:
            return moment
        trip, offset = min(self._clock)
        # Less than a round trip cannot be told from none at all.
        return moment if abs(offset) <= trip else moment + offset

    def abort(self) -> None:
        """Drop the line at once; what was under way on it is void."""
        for comm in list(self._rpc.comms):
            comm.abort()
        self._rpc.comms.clear()

    async def close(self) -> None:
        self.abort()
        await self._rpc.close_rpc()
