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
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from ..snapshot import Gap, Versions, WorkerEnvironment
from . import worker_environment

#: Workers asked, of all that there are.
MAX_ASKED = 8
#: No more questions than that in so many seconds, also when workers come and go, and none to the same worker.
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
        #: Why a worker did not tell, in words; those that will not tell another time either.
        self._failed: dict[str, str] = {}
        self._refused: set[str] = set()
        #: When each was asked last, and how often in vain.
        self._asked_at: dict[str, float] = {}
        self._n_failed: dict[str, int] = {}
        #: Moments of the last questions.
        self._recent: deque[float] = deque(maxlen=MAX_ASKED)
        self._reason = "No worker was asked yet."

    def ask(
        self, workers: Mapping[str, str], versions: tuple[Versions, ...] | Gap, *, spilled: int = 0
    ) -> None:
        """Ask those that are due. `workers`: status by address. Never waits."""
        for gone in self._asked_at.keys() - workers.keys():
            del self._asked_at[gone]
            for record in (self._told, self._failed, self._n_failed):
                record.pop(gone, None)
            self._refused.discard(gone)
        reason = _forbidden(versions)
        if reason is not None:
            self._reason = reason
            return
        now = time.monotonic()
        for address in _choose(workers, self._told):
            if address in self._under_way or address in self._refused:
                continue
            if now < self._due(address, spilled):
                continue
            if len(self._recent) == MAX_ASKED and now - self._recent[0] < INTERVAL:
                return
            self._recent.append(now)
            self._asked_at[address] = now
            task = asyncio.get_running_loop().create_task(self._take(address))
            self._under_way[address] = task
            task.add_done_callback(functools.partial(self._over, address))

    def _due(self, address: str, spilled: int) -> float:
        last = self._asked_at.get(address)
        if last is None:
            return float("-inf")
        if address in self._told and not self._n_failed.get(address):
            return last + INTERVAL if spilled else float("inf")
        # One that is silent is asked ever more seldom.
        return last + INTERVAL * 2.0 ** min(self._n_failed.get(address, 0), 6)

    async def settle(self) -> None:
        """Wait for the answers that are under way, at most `PATIENCE` seconds."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=PATIENCE)

    def section(self) -> tuple[WorkerEnvironment, ...] | Gap:
        """What was told by workers that are still there."""
        if self._told:
            return tuple(self._told.values())
        if self._failed:
            return Gap(reason=next(iter(self._failed.values())))
        if not self._asked_at:
            return Gap(reason=self._reason)
        if time.monotonic() - max(self._asked_at.values()) < PATIENCE:
            return Gap(reason="The workers have not answered yet.")
        return Gap(reason="The workers do not answer when they are asked for their environment.")

    def cancel(self) -> None:
        """Wait for no answer any more."""
        for task in self._under_way.values():
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        self.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)

    def _over(self, address: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(address, None)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not log it

    async def _take(self, address: str) -> None:
        try:
            answer = await asyncio.wait_for(self._answer(address), LONGEST)
            if "fault" in answer:
                raise RuntimeError(answer["fault"])
            told = _environment(address, answer)
        except (OSError, asyncio.TimeoutError) as error:
            # It went away, or hangs, or is busy: another time.
            self._n_failed[address] = self._n_failed.get(address, 0) + 1
            self._failed[address] = f"A worker did not answer ({type(error).__name__})."
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            self._failed[address] = f"The workers cannot be asked ({text or type(error).__name__})."
            self._refused.add(address)
        else:
            self._told[address] = told
            self._failed.pop(address, None)
            self._n_failed.pop(address, None)

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


def _forbidden(versions: tuple[Versions, ...] | Gap) -> str | None:
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
