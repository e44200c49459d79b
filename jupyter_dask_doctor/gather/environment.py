"""Ask worker processes what they are and where they run: few of them, seldom, and never one that is silent."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from ..snapshot import Gap, Versions, WorkerEnvironment
from . import worker_environment
from .questions import Line, forbidden

#: Workers asked, of all that there are.
MAX_ASKED = 8
#: No more questions than that in so many seconds, also when workers come and go, and none to the same worker.
INTERVAL = 30.0
#: Seconds for which the section waits for a worker that was asked; an answer that comes later is taken in.
PATIENCE = 2.0
#: Seconds after which an answer is not waited for any more. Until then its worker is not asked again.
LONGEST = 300.0


class Environments:
    """What the workers of one scheduler told. For the one thread whose loop runs `ask`."""

    def __init__(self, address: str, connection_args: Mapping[str, Any], *, is_in_process: bool) -> None:
        self._line = Line(address, connection_args, is_in_process=is_in_process)
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
        reason = forbidden(versions)
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
        return await self._line.ask(address, worker_environment)


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


def _host(address: str) -> str:
    return address.split("://", 1)[-1].rsplit(":", 1)[0].split("/", 1)[0]


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
