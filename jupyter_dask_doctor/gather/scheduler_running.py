"""What a scheduler has in hand: the tasks that run and for how long, and those that nobody may run.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from .scheduler_view import clean

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskPrefix, TaskState, WorkerState

    from .scheduler_graphs import Graphs

#: Tasks sent: those that have run longest. With more workers only those are looked at whose oldest are the
#: oldest, at most so many tasks of each.
N_RUNNING = 50
MAX_WORKERS = 100
MAX_PER_WORKER = 128
MAX_KEY = 200
#: Call stacks fetched in one go, frames of each, characters of one frame, and seconds for all of them.
N_STACKS = 8
N_FRAMES = 40
MAX_FRAME = 300
STACK_SECONDS = 1.5
#: Inputs of one running task that are summed.
MAX_INPUTS = 100
#: Blocked tasks looked at, kinds of them sent, and names sent of what one kind asks for.
MAX_BLOCKED = 500
N_BLOCKED = 20
N_NAMES = 20
MAX_PREFIXES = 2_000
#: A worker that was not heard of for so many heartbeats, and so many seconds, is silent.
SILENT_BEATS = 5
SILENT_SECONDS = 5.0


def seconds(value: Any, most: float = math.inf) -> float:
    """A duration that can be believed: neither negative nor without end; `most` where one is told."""
    return min(max(0.0, float(value)), most) if math.isfinite(value) else 0.0


class Running:
    """The tasks in the hands of one scheduler, and how long the longest run of each prefix was."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        #: The longest run that has ended, by prefix, at most `MAX_PREFIXES`.
        self.longest: dict[str, float] = {}
        #: Thread-seconds and good ends by prefix when it was last told of.
        self._told: dict[str, tuple[float, int]] = {}
        #: Where an old scheduler does not tell since when a task is blocked: when it was seen first.
        self._blocked_since: float | None = None
        self._lonely_since: float | None = None
        #: The keys of the running tasks that were told last, by their text.
        self._keys: dict[str, Any] = {}

    def clear(self) -> None:
        self.longest.clear()
        self._told.clear()
        self._keys.clear()

    def look(self, graphs: Graphs) -> dict[str, Any]:
        """The running tasks, longest first, and the blocked ones by kind; bounded."""
        from distributed.core import Status
        from distributed.scheduler import heartbeat_interval

        scheduler, now = self.scheduler, time()
        heartbeat = heartbeat_interval(len(scheduler.workers))
        silent = max(SILENT_SECONDS, SILENT_BEATS * heartbeat)
        n = n_paused = n_silent = 0
        busy: list[tuple[float, int, WorkerState]] = []
        paused = Status.paused
        for ws in scheduler.workers.values():
            if ws.status is paused:
                n_paused += 1
            if now - ws.last_seen > silent:
                n_silent += 1
            executing = ws.executing
            if executing:
                n += min(len(executing), len(ws.processing))
                busy.append((max(executing.values()), len(busy), ws))
        if len(busy) > MAX_WORKERS:
            # Those that have run longest are at the workers whose oldest are the oldest.
            busy = heapq.nlargest(MAX_WORKERS, busy)
        longest, oldest = self._longest(ws for _, _, ws in busy)
        self._remember(oldest)
        self._keys = {clean(ts.key)[:MAX_KEY]: ts.key for _, _, ts in longest}
        return {
            "n": n,
            "heartbeat": heartbeat,
            "n_paused": n_paused,
            "n_silent": n_silent,
            "tasks": [self._row(ts, ran, graphs, now) for ran, _, ts in longest],
            "blocked": self._blocked(graphs),
        }

    def _longest(
        self, workers: Iterable[WorkerState]
    ) -> tuple[list[tuple[float, int, TaskState]], dict[TaskPrefix, float]]:
        """The tasks that have run longest, with a number to tell equals apart; and how long of each prefix."""
        found: list[tuple[float, int, TaskState]] = []
        oldest: dict[TaskPrefix, float] = {}
        for ws in workers:
            for ts, ran in islice(ws.executing.items(), MAX_PER_WORKER):
                # What has ended since the heartbeat is not there any more.
                if ts.processing_on is ws and ran == ran:
                    found.append((ran, len(found), ts))
                    prefix = ts.group.prefix
                    if ran > oldest.get(prefix, 0.0):
                        oldest[prefix] = ran
        return heapq.nlargest(N_RUNNING, found), oldest

    def _remember(self, oldest: dict[TaskPrefix, float]) -> None:
        """Dask's own record of a prefix counts what runs: keep it once it is not of a task that runs now."""
        longest = self.longest
        for prefix in islice(reversed(self.scheduler.task_prefixes.values()), MAX_PREFIXES):
            record = prefix.max_exec_time
            known = max(0.0, oldest.get(prefix, 0.0), longest.get(prefix.name, 0.0))
            if record > known and math.isfinite(record):
                longest[prefix.name] = record
        while len(longest) > MAX_PREFIXES:
            del longest[next(iter(longest))]

    def longest_of(self, prefix: TaskPrefix, compute: float) -> float | None:
        """The longest run of a task of this prefix that has ended, as far as polling tells.

        What ended between two looks took together what the prefix's seconds grew by.
        """
        name, n = prefix.name, prefix.state_counts["memory"]
        before, n_before = self._told.get(name, (0.0, 0))
        if n > n_before and math.isfinite(compute):
            mean = (compute - before) / (n - n_before)
            if mean > self.longest.get(name, 0.0):
                self.longest[name] = mean
            self._told[name] = (compute, n)
            while len(self._told) > MAX_PREFIXES:
                del self._told[next(iter(self._told))]
        return self.longest.get(name)

    def _row(self, ts: TaskState, ran: float, graphs: Graphs, now: float) -> list[Any]:
        group = graphs.by_tg.get(id(ts.group))
        # Nothing has run longer than its graph has been here: a clock was put right meanwhile.
        most = now - group.graph.time if group is not None and group.graph.time > 0 else math.inf
        ws = ts.processing_on
        return [
            clean(ts.key)[:MAX_KEY],
            clean(ts.group.prefix.name),
            clean(ts.group.name),
            ws.address if ws is not None else "",
            seconds(ran, max(0.0, most)),
            sum(max(0, dts.nbytes) for dts in islice(ts.dependencies, MAX_INPUTS)),
            bool(_restrictions(ts)) and not ts.loose_restrictions,
            group.graph.id if group is not None else None,
        ]

    async def stacks(self, tasks: Iterable[str]) -> list[list[Any]]:
        """[task, worker, frames] of running tasks that were told last; those that cannot be had are left out.

        Dask's own `Scheduler.get_call_stack` fails, and is logged, for a task that has just ended.
        """

        async def fetch(text: str) -> list[Any] | None:
            key = self._keys.get(text)
            ts = self.scheduler.tasks.get(key) if key is not None else None
            ws = ts.processing_on if ts is not None else None
            if ws is None:
                return None
            try:
                answer: Any = await self.scheduler.rpc(ws.address).call_stack(keys=[key])
                (lines,) = answer.values()
                return [text, ws.address, [_frame(line) for line in lines[-N_FRAMES:]]]
            except Exception:  # it has ended meanwhile, or its worker has
                return None

        calls = [asyncio.ensure_future(fetch(text)) for text in islice(tasks, N_STACKS)]
        if calls:
            await asyncio.wait(calls, timeout=STACK_SECONDS)
        for call in calls:
            call.cancel()
        told = await asyncio.gather(*calls, return_exceptions=True)
        return [row for row in told if isinstance(row, list)]

    # -- blocked --------------------------------------------------------------------------------------------

    def _blocked(self, graphs: Graphs) -> list[list[Any]]:
        scheduler, now = self.scheduler, monotonic()
        waiting: Any = scheduler.unrunnable
        if not waiting:
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = now
        # kind -> [n, seconds, a task]
        kinds: dict[Any, list[Any]] = {}
        for ts, since in islice(_since(waiting, self._blocked_since), MAX_BLOCKED):
            kind = (ts.group.prefix, *_restrictions(ts)) if _restrictions(ts) else (ts.group.prefix,)
            found = kinds.setdefault(kind, [0, 0.0, ts])
            found[0] += 1
            found[1] = max(found[1], now - since)
        if len(waiting) > MAX_BLOCKED:
            # The others are known only by prefix; where that has one kind, it is theirs.
            by_prefix: dict[Any, list[Any]] = {}
            for kind in kinds:
                by_prefix.setdefault(kind[0], []).append(kind)
            for prefix, same in by_prefix.items():
                if len(same) == 1:
                    kinds[same[0]][0] = max(kinds[same[0]][0], prefix.states["no-worker"])
        if scheduler.workers:
            self._lonely_since = None
        else:
            self._add_queued(kinds, now)
        chosen = heapq.nlargest(N_BLOCKED, kinds.items(), key=lambda item: item[1][1])
        return [_blocked_row(*item, graphs) for item in chosen]

    def _add_queued(self, kinds: dict[Any, list[Any]], now: float) -> None:
        """Without any worker also what is queued waits for one."""
        scheduler = self.scheduler
        since = getattr(scheduler, "_no_workers_since", None)
        if self._lonely_since is None:
            self._lonely_since = now
        waited = now - (since if since is not None else self._lonely_since)
        for ts in islice(scheduler.queued, 1):
            for prefix in islice(reversed(scheduler.task_prefixes.values()), MAX_PREFIXES):
                n = prefix.states["queued"]
                if n:
                    found = kinds.setdefault((prefix,), [0, 0.0, ts if ts.group.prefix is prefix else None])
                    found[0] += n
                    found[1] = max(found[1], waited)


def _since(waiting: Any, otherwise: float | None) -> Iterator[tuple[TaskState, float]]:
    if isinstance(waiting, dict):
        yield from waiting.items()
    else:
        for ts in waiting:
            yield ts, otherwise or monotonic()


def _restrictions(ts: TaskState) -> tuple[Any, ...]:
    """(workers, hosts, resources) that the task asks for, to compare; empty when it asks for nothing."""
    if not (ts.worker_restrictions or ts.host_restrictions or ts.resource_restrictions):
        return ()
    resources = ts.resource_restrictions or {}
    return (
        frozenset(ts.worker_restrictions or ()),
        frozenset(ts.host_restrictions or ()),
        frozenset(resources.items()),
    )


def _blocked_row(kind: tuple[Any, ...], found: list[Any], graphs: Graphs) -> list[Any]:
    prefix, *asked = kind
    workers, hosts, resources = asked or ((), (), ())
    n, waited, ts = found
    group = graphs.by_tg.get(id(ts.group)) if ts is not None else None
    if group is None:
        for tg in islice(prefix.groups, 10):
            group = graphs.by_tg.get(id(tg)) or group
    return [
        clean(prefix.name),
        n,
        seconds(waited),
        _names(workers),
        _names(hosts),
        sorted([clean(name)[:MAX_KEY], float(amount)] for name, amount in islice(resources, N_NAMES)),
        group.graph.id if group is not None else None,
    ]


def _names(values: Iterable[Any]) -> list[str]:
    return sorted(clean(value)[:MAX_KEY] for value in islice(values, N_NAMES))


def _frame(line: object) -> str:
    """A frame as Python shows it: the place, and below it the line of code."""
    place, _, code = clean(line).strip().partition("\n")
    return f"{place}\n    {code.strip()}"[:MAX_FRAME] if code.strip() else place[:MAX_FRAME]
