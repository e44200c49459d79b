"""Put a question to a worker's process: code that travels by value, and an answer of plain data.

The workers of a scheduler in this process are asked directly, others through their scheduler's `broadcast`. (A
scheduler logs each broadcast that fails, and where it lives in the kernel its log is a cell's output.)
"""

from __future__ import annotations

import functools
import pickle
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from ..snapshot import Gap, Versions

#: Seconds in which a line to a worker or scheduler must stand.
CONNECT = 2.0

_pickling = threading.Lock()


@functools.cache
def pickled(module: ModuleType) -> bytes:
    """The module's `Question` with its code, so that a worker's environment need not have this package."""
    import cloudpickle  # type: ignore[import-untyped]

    with _pickling:
        is_known = module.__name__ in cloudpickle.list_registry_pickle_by_value()
        if not is_known:
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps(module.Question()))
        finally:
            if not is_known:
                cloudpickle.unregister_pickle_by_value(module)


class Line:
    """To the workers of one scheduler. Each method may raise OSError when the other side is gone."""

    def __init__(self, address: str, connection_args: Mapping[str, Any], *, is_in_process: bool) -> None:
        self._address = address
        self._args = dict(connection_args)
        self._is_in_process = is_in_process

    async def ask(self, address: str, module: ModuleType, **details: Any) -> Mapping[str, Any]:
        """What `tell(worker, **details)` of this module answers there. Raises what it raises."""
        if self._is_in_process:
            worker = _own_worker(address)
            if worker is not None:
                # A thread of this very process, which is asked without a message.
                return _plain(await module.tell(worker, **details))
        message: dict[str, Any] = {"function": pickled(module)}
        if details:
            message["kwargs"] = pickle.dumps(details)
        if self._is_in_process:
            reply = await self._call(address, "run", **message)
        else:
            replies = await self._call(
                self._address,
                "broadcast",
                msg={"op": "run", **message},
                workers=[address],
                on_error="return_pickle",
            )
            reply = replies.get(address) if isinstance(replies, dict) else None
        if isinstance(reply, bytes):
            raise pickle.loads(reply)
        if not isinstance(reply, dict) or reply.get("status") != "OK":
            text = reply.get("exception_text") or reply.get("text") if isinstance(reply, dict) else None
            raise RuntimeError(str(text or "no answer")[:300])
        return _plain(reply.get("result"))

    async def _call(self, address: str, name: str, **message: Any) -> Any:
        from distributed import core

        open_line: Any = core.rpc
        line = open_line(address, connection_args=self._args, timeout=CONNECT)
        try:
            return await getattr(line, name)(**message)
        finally:
            for comm in list(line.comms):
                comm.abort()
            line.comms.clear()
            with suppress(Exception):
                await line.close_rpc()


def forbidden(versions: tuple[Versions, ...] | Gap) -> str | None:
    """Why nothing may be sent to the workers: code that one Python pickled crashes another one."""
    if isinstance(versions, Gap):
        return versions.reason
    ours = "{}.{}.".format(*sys.version_info[:2])
    theirs = [dict(one.packages).get("python") for one in versions if one.role == "worker"]
    if not theirs:
        return "The workers' versions are not known yet."
    for python in theirs:
        if not (python or "").startswith(ours):
            short = ".".join((python or "of an unknown version").split(".")[:2])
            return (
                f"A worker runs Python {short} and this kernel {ours[:-1]}, so nothing could be sent to it."
            )
    return None


def _own_worker(address: str) -> Any:
    worker = sys.modules.get("distributed.worker")
    instances = getattr(getattr(worker, "Worker", None), "_instances", ())
    for _ in range(5):
        try:
            return next((one for one in tuple(instances) if one.address == address), None)
        except (RuntimeError, ValueError):  # changed while we looked; not yet listening
            continue
    return None


def _plain(result: object) -> Mapping[str, Any]:
    if not isinstance(result, dict):
        raise RuntimeError("an answer of another kind")
    return result
