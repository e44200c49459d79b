"""What the scheduler has in hand, as the kernel knows it: what runs, what is blocked, and when a task ended last."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from ..snapshot import BlockedTasks, CallStack, RunningTask, Scheduling
from .code import CellLog
from .scheduler_running import N_STACKS
from .tasks import Tasks

#: Call stacks are fetched when nothing has ended for so many seconds: a fetch costs the scheduler as much as
#: 40 tasks (measured), so it must be rare, and Dask's own heartbeats may be 6 s apart.
STALL_SECONDS = 10.0
#: ... and a task runs so many times as long as the longest of its prefix that has ended.
STALL_RATIO = 5.0
#: Frames kept of each.
MAX_FRAMES = 20
#: Seconds that all of them may take together.
STACK_TIMEOUT = 2.0

#: Frames of these lead to the task's own code and say nothing.
_MACHINERY = (
    "/threading.py",
    "/concurrent/futures/thread.py",
    "/distributed/_concurrent_futures_thread.py",
    "/distributed/threadpoolexecutor.py",
    "/distributed/utils.py",
    "/distributed/worker.py",
    "/dask/_task_spec.py",
    "/dask/utils.py",
    "/contextlib.py",
)


class Schedule:
    """What the plugin's answers said is in hand. For one thread at a time."""

    def __init__(self) -> None:
        self._reply: Mapping[str, Any] = {}
        self._n_finished: int | None = None
        self._now = 0.0
        self.last_finished: float | None = None
        #: None: not fetched since a task ended last.
        self.stacks: tuple[CallStack, ...] | None = None
        self._has_asked = False

    def take(self, reply: Mapping[str, Any], to_kernel: Callable[[float], float], stop: float | None) -> None:
        """Take in one answer of the plugin. `stop`: when a task of ours ended last, as far as groups tell."""
        self._reply, self._now = reply["running"], to_kernel(reply["time"])
        n = reply["tasks"]["finished"]
        if self._n_finished is None:
            self.last_finished = min(stop, self._now) if stop is not None else None
        elif n != self._n_finished:
            self.last_finished = self._now
            self.stacks, self._has_asked = None, False
        self._n_finished = n

    def overdue(self, longest: Mapping[str, float | None]) -> list[str]:
        """The tasks whose call stacks are to be fetched now, by the text of their keys: once in each stall.

        `longest`: seconds of the longest run that has ended, by prefix.
        """
        if self._has_asked or not self._reply:
            return []
        if self.last_finished is not None and self._now - self.last_finished < STALL_SECONDS:
            return []
        found = []
        for key, prefix, _, _, seconds, *_ in self._reply["tasks"]:
            known = longest.get(prefix) or 0.0
            if seconds >= max(STALL_SECONDS, STALL_RATIO * known):
                found.append(key)
        self._has_asked = bool(found)
        return found[:N_STACKS]

    async def fetch(self, stacks: Callable[[list[str]], Awaitable[Any]], tasks: list[str]) -> None:
        """Fetch the call stacks of these tasks; those that cannot be had in time are left out. Never raises."""
        n_finished = self._n_finished
        try:
            told = await asyncio.wait_for(stacks(tasks), STACK_TIMEOUT)
            found = tuple(
                CallStack(key=key, worker=worker, frames=_inner(frames)) for key, worker, frames in told
            )
        except Exception:  # the scheduler is gone or busy: a stall is told without them
            return
        if found and n_finished == self._n_finished:
            self.stacks = found

    def view(self, tasks: Tasks, cells: CellLog) -> Scheduling:
        """All of it as one fact."""
        reply = self._reply
        return Scheduling(
            last_finished=self.last_finished,
            n_running=reply.get("n", 0),
            running=tuple(self._running(tasks, cells)),
            blocked=tuple(self._blocked(tasks, cells)),
            stacks=self.stacks,
            n_paused=reply.get("n_paused", 0),
            n_silent=reply.get("n_silent", 0),
        )

    def _running(self, tasks: Tasks, cells: CellLog) -> Iterator[RunningTask]:
        rows = self._reply.get("tasks", ())
        for key, prefix, group, worker, seconds, nbytes, is_restricted, graph in rows:
            id, at = tasks.place(graph, cells)
            yield RunningTask(
                key=key,
                prefix=prefix,
                group=group,
                worker=worker,
                seconds=seconds,
                nbytes_in=nbytes,
                is_restricted=is_restricted,
                computation_id=id,
                at=at,
            )

    def _blocked(self, tasks: Tasks, cells: CellLog) -> Iterator[BlockedTasks]:
        for prefix, n, seconds, workers, hosts, resources, graph in self._reply.get("blocked", ()):
            id, at = tasks.place(graph, cells)
            yield BlockedTasks(
                prefix=prefix,
                n=n,
                seconds=seconds,
                workers=tuple(workers),
                hosts=tuple(hosts),
                resources=tuple((name, amount) for name, amount in resources if math.isfinite(amount)),
                computation_id=id,
                at=at,
            )


def _inner(frames: Sequence[str]) -> tuple[str, ...]:
    """The innermost frames, without those that only lead into the task."""
    at = 0
    while at < len(frames) - 1 and any(part in frames[at].replace("\\", "/") for part in _MACHINERY):
        at += 1
    return tuple(frames[at:][-MAX_FRAMES:])
