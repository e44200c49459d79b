"""Ask worker processes what they are and where they run: few of them, seldom, and never one that is silent.

The workers of a scheduler in this process are asked directly, others through their scheduler's `broadcast`. (A
scheduler logs each broadcast that fails, and where it lives in the kernel its log is a cell's output.)
"""

from __future__ import annotations

import asyncio
import functools
import pickle
import sys
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from ..snapshot import Gap, WorkerEnvironment
from . import worker_environment

#: Workers asked, of all that there are.
MAX_ASKED = 8
#: Seconds between two rounds, also when workers came and went.
INTERVAL = 30.0
#: Seconds for which the section waits for a worker that was asked; an answer that comes later is taken in.
PATIENCE = 2.0
#: Seconds after which an answer is not waited for any more. Until then its worker is not asked again.
LONGEST = 300.0


_pickling = threading.Lock()


@functools.cache
def question() -> bytes:
    """The question with its code, so that a worker's environment need not have this package."""
    import cloudpickle  # type: ignore[import-untyped]

    with _pickling:
        is_known = worker_environment.__name__ in cloudpickle.list_registry_pickle_by_value()
        if not is_known:
            cloudpickle.register_pickle_by_value(worker_environment)
        try:
            return bytes(cloudpickle.dumps(worker_environment.Question()))
        finally:
            if not is_known:
                cloudpickle.unregister_pickle_by_value(worker_environment)


class Environments:
    """What the workers of one scheduler told. For the one thread whose loop runs `ask`."""

    def __init__(self, address: str, connection_args: Mapping[str, Any], *, is_in_process: bool) -> None:
        self._address = address
        self._args = dict(connection_args)
        self._is_in_process = is_in_process
        self._told: dict[str, WorkerEnvironment] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, str] = {}
        self._asked_at = float("-inf")
        self._asked: frozenset[str] = frozenset()

    def ask(self, workers: Mapping[str, str], *, spilled: int = 0) -> None:
        """Begin a round if one is due. `workers`: status by address. Never waits."""
        now = time.monotonic()
        for gone in self._told.keys() - workers.keys():
            del self._told[gone]
        for gone in self._refused.keys() - workers.keys():
            del self._refused[gone]
        chosen = _choose(workers, self._told)
        is_due = now - self._asked_at >= INTERVAL and (spilled > 0 or not self._asked >= chosen)
        if not chosen or not (is_due or not self._asked):
            return
        self._asked_at, self._asked = now, chosen
        loop = asyncio.get_running_loop()
        for address in chosen - self._under_way.keys():
            task = self._under_way[address] = loop.create_task(self._take(address))
            task.add_done_callback(functools.partial(self._over, address))

    async def settle(self) -> None:
        """Wait for the answers that are under way, at most `PATIENCE` seconds."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=PATIENCE)

    def section(self) -> tuple[WorkerEnvironment, ...] | Gap:
        """What was told by workers that are still there."""
        if self._told:
            return tuple(self._told.values())
        if self._refused:
            return Gap(reason=next(iter(self._refused.values())))
        if not self._asked:
            return Gap(reason="No worker was asked yet.")
        if time.monotonic() - self._asked_at < PATIENCE:
            return Gap(reason="The workers have not answered yet.")
        return Gap(reason="The workers do not answer when they are asked for their environment.")

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)

    def _over(self, address: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(address, None)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log it

    async def _take(self, address: str) -> None:
        try:
            answer = await asyncio.wait_for(self._answer(address), LONGEST)
        except (OSError, asyncio.TimeoutError) as error:
            # It went away, or will be seen to.
            self._refused[address] = f"A worker did not answer ({type(error).__name__})."
            return
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            self._refused[address] = f"The cluster does not let workers be asked ({text})."
            return
        if "fault" in answer:
            self._refused[address] = f"A worker cannot tell its environment ({answer['fault']})."
            return
        try:
            self._told[address] = _environment(address, answer)
        except (KeyError, TypeError, ValueError) as error:
            self._refused[address] = f"A worker's answer was not understood ({type(error).__name__})."
        else:
            self._refused.pop(address, None)

    async def _answer(self, address: str) -> Mapping[str, Any]:
        if self._is_in_process:
            worker = _own_worker(address)
            if worker is not None:
                # A thread of this very process, which is asked without a message.
                return await worker_environment.tell(worker)
            reply = await self._call(address, "run", function=question())
        else:
            message = {"op": "run", "function": question()}
            replies = await self._call(
                self._address, "broadcast", msg=message, workers=[address], on_error="return_pickle"
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
        line = open_line(address, connection_args=self._args, timeout=PATIENCE)
        try:
            return await getattr(line, name)(**message)
        finally:
            for comm in list(line.comms):
                comm.abort()
            line.comms.clear()
            with suppress(Exception):
                await line.close_rpc()


def _choose(workers: Mapping[str, str], told: Collection[str]) -> frozenset[str]:
    """Those who told before, then one of each host, then the others, by address."""
    alive = [address for address, status in workers.items() if status in ("running", "paused")]
    hosts: set[str] = set()
    first: list[str] = []
    more: list[str] = []
    for address in sorted(alive, key=lambda address: (address not in told, address)):
        host = _host(address)
        (more if host in hosts and address not in told else first).append(address)
        hosts.add(host)
    return frozenset([*first, *more][:MAX_ASKED])


def _own_worker(address: str) -> Any:
    worker = sys.modules.get("distributed.worker")
    instances = getattr(getattr(worker, "Worker", None), "_instances", ())
    for _ in range(5):
        try:
            return next((one for one in tuple(instances) if one.address == address), None)
        except (RuntimeError, ValueError):  # changed while we looked; not yet listening
            continue
    return None


def _host(address: str) -> str:
    return address.split("://", 1)[-1].rsplit(":", 1)[0].split("/", 1)[0]


def _plain(result: object) -> Mapping[str, Any]:
    if not isinstance(result, dict):
        raise RuntimeError("an answer of another kind")
    return result


def _environment(address: str, told: Mapping[str, Any]) -> WorkerEnvironment:
    free, total = told.get("disk") or (None, None)
    return WorkerEnvironment(
        address=address,
        host=_host(address),
        time=time.time(),
        has_nanny=bool(told["has_nanny"]),
        n_cpus=int(told["n_cpus"]),
        host_memory=told.get("host_memory"),
        memory_target=told["memory_target"],
        memory_spill=told["memory_spill"],
        memory_pause=told["memory_pause"],
        memory_terminate=told["memory_terminate"],
        max_spill=told["max_spill"],
        local_directory=told["local_directory"],
        disk_free=free,
        disk_total=total,
        file_system=told.get("file_system"),
        libc=told.get("libc"),
        variables=tuple((str(name), str(value)) for name, value in told["variables"]),
        pools=tuple((str(name), int(n)) for name, n in told.get("pools") or ()),
        n_gpus=int(told.get("n_gpus") or 0),
        cuda_visible_devices=told["cuda_visible_devices"],
    )
