"""The workers of a cluster over time: what each holds now, the last minutes of it, and the losses."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..snapshot import Load, Location, MemorySample, Worker, WorkerChange, WorkerLoss
from .code import CellLog
from .scheduler_view import WORKER_FIELDS

#: Samples per worker: one for every `SLOT` seconds, the highest of the slot.
MAX_SAMPLES = 150
SLOT = 2.0
#: Share of the highest memory that counts as the same height.
NEAR_PEAK = 0.95
#: Workers that keep samples.
MAX_SAMPLED = 64
#: Points of the cluster's load, one a second at most.
MAX_LOADS = 600
#: Seconds: a clock that is behind by more was set back, by less it is only known better now.
CLOCK_SET = 1.0
#: Fields of a worker that are told as they are.
PLAIN = tuple(name for name in WORKER_FIELDS if name not in ("memory_limit", "resources", "prefixes"))


class Workers:
    """What the plugin's answers said of the workers. For one thread at a time."""

    def __init__(self) -> None:
        self._shown: tuple[dict[str, Any], ...] = ()
        #: By address; `_since`: when the worker of that address was seen first.
        self._since: dict[str, float | None] = {}
        self._samples: dict[str, deque[tuple[MemorySample, tuple[str, ...]]]] = {}
        self._loads: deque[Load] = deque(maxlen=MAX_LOADS)
        self._losses: tuple[Mapping[str, Any], ...] = ()
        self._changes: tuple[Mapping[str, Any], ...] = ()
        #: The scheduler forgets its counts when it is restarted; ours go on.
        self._finished = self._finished_before = 0
        self.n = self.n_shown = self.nthreads = 0
        self.memory_limit: int | None = None
        self.process = self.largest = 0

    def take(self, reply: Mapping[str, Any], to_kernel: Callable[[float], float]) -> None:
        """Take in one answer of the plugin, its times turned into the kernel's."""
        workers, tasks, now = reply["workers"], reply["tasks"], to_kernel(reply["time"])
        whole = tasks["scheduler"]
        self._losses = tuple({**loss, "time": to_kernel(loss["time"])} for loss in reply["losses"])
        self._changes = tuple({**row, "time": to_kernel(row["time"])} for row in reply["changes"])
        self.n, self.nthreads, self.memory_limit = workers["n"], workers["nthreads"], workers["memory_limit"]
        self.process, self.largest = workers["process"], workers["quantiles"][2]
        self._shown = tuple(_facts(row, to_kernel) for row in workers["shown"])
        self.n_shown = len(self._shown)
        now = self._in_order(now)
        load = Load(
            time=now,
            n_workers=self.n,
            nthreads=self.nthreads,
            memory_limit=self.memory_limit,
            managed=workers["managed"],
            unmanaged=max(0, workers["process"] - workers["managed"]),
            spilled=workers["spilled"],
            process_min=workers["quantiles"][0],
            process_median=workers["quantiles"][1],
            process_max=workers["quantiles"][2],
            threads_busy=workers["busy"],
            tasks_waiting=tasks["waiting"],
            tasks_processing=tasks["processing"],
            tasks_memory=tasks["memory"],
            tasks_erred=tasks["erred"],
            tasks_queued=whole["queued"],
            tasks_unrunnable=whole["unrunnable"],
            tasks_known=whole["known"],
            tasks_finished=self._count(tasks["finished"]),
            scheduler_memory=whole["memory"],
            scheduler_cpu=whole["cpu"],
            scheduler_tick=whole["tick"],
            scheduler_longest_tick=whole["longest_tick"],
            occupancy=whole["occupancy"],
        )
        # The newest point moves until a second is full, so that the last one is always of now.
        if len(self._loads) > 1 and int(self._loads[-1].time) == int(now):
            self._loads.pop()
        self._loads.append(load)
        self._sample(now)

    def _in_order(self, now: float) -> float:
        """A moment that is not before the last one, unless a clock was set back: that begins a new series."""
        last = self._loads[-1].time if self._loads else now
        if now < last - CLOCK_SET:
            self._loads.clear()
            self._samples.clear()
            return now
        return max(now, last)

    def _count(self, finished: int) -> int:
        # The scheduler forgets its counts when it is restarted from here; ours go on.
        if finished < self._finished:
            self._finished_before += self._finished
        self._finished = finished
        return self._finished_before + finished

    def _sample(self, now: float) -> None:
        shown: Sequence[dict[str, Any]] = self._shown
        # A worker that came back at the same address is another one.
        present = {row["address"]: row["first_seen"] for row in shown}
        for address in list(self._samples):
            if address not in present or self._since.get(address) != present[address]:
                del self._samples[address]
        self._since = present
        if len(shown) > MAX_SAMPLED:
            # Those that have a history keep it; the fullest of the others fill up.
            shown = heapq.nlargest(
                MAX_SAMPLED, shown, key=lambda row: (row["address"] in self._samples, row["process"])
            )
        for row in shown:
            sample = MemorySample(
                time=now,
                process=row["process"],
                managed=row["managed"],
                spilled=row["spilled"],
                is_paused=row["status"] == "paused",
                n_processing=row["n_processing"],
                n_executing=row["n_executing"],
                cpu=row["cpu"],
                host_disk=_sum(row["host_disk_read"], row["host_disk_write"]),
            )
            ring = self._samples.setdefault(row["address"], deque(maxlen=MAX_SAMPLES))
            entry = (sample, tuple(row["prefixes"]))
            if ring and int(ring[-1][0].time / SLOT) == int(now / SLOT):
                # The same heartbeat seen twice: what it ran then may have ended since.
                if ring[-1][0].process >= sample.process and not sample.is_paused:
                    continue
                ring.pop()
            ring.append(entry)

    def workers(self) -> tuple[Worker, ...]:
        return tuple(self._worker(row) for row in self._shown)

    def _worker(self, row: Mapping[str, Any]) -> Worker:
        ring = self._samples.get(row["address"], ())
        return Worker(
            **{name: row[name] for name in PLAIN},
            memory_limit=row["memory_limit"] or None,
            resources=tuple((name, n) for name, n in row["resources"]),
            samples=tuple(sample for sample, _ in ring),
            prefixes_at_peak=_at_peak(ring),
        )

    def loads(self) -> tuple[Load, ...]:
        return tuple(self._loads)

    def changes(self, cells: CellLog, prefixes: set[str]) -> tuple[WorkerChange, ...]:
        """Workers that came and went; `at` is the cell that ran, unless what was lost is none of `prefixes`."""
        return tuple(
            WorkerChange(
                **{**row, "prefixes": tuple(row["prefixes"])},
                at=_location(cells, row, prefixes),
            )
            for row in self._changes
        )

    def losses(self, cells: CellLog, prefixes: set[str]) -> tuple[WorkerLoss, ...]:
        """Workers lost; `at` is the cell that ran, unless the tasks they ran were none of `prefixes`."""
        found = []
        for loss in self._losses:
            found.append(
                WorkerLoss(
                    time=loss["time"],
                    address=loss["address"],
                    reason=loss["reason"],
                    process=loss["process"],
                    memory_limit=loss["memory_limit"],
                    prefixes=tuple(loss["prefixes"]),
                    at=_location(cells, loss, prefixes),
                )
            )
        return tuple(found)


def _facts(row: Sequence[Any], to_kernel: Callable[[float], float]) -> dict[str, Any]:
    """A worker's row by its names, its times turned into the kernel's."""
    facts = dict(zip(WORKER_FIELDS, row, strict=True))
    for name in ("last_seen", "first_seen"):
        if facts[name] is not None:
            facts[name] = to_kernel(facts[name])
    return facts


def _location(cells: CellLog, row: Mapping[str, Any], prefixes: set[str]) -> Location | None:
    is_ours = not row["prefixes"] or not prefixes.isdisjoint(row["prefixes"])
    return cells.at(row["time"]) if is_ours else None


def _at_peak(ring: Iterable[tuple[MemorySample, tuple[str, ...]]]) -> tuple[str, ...]:
    """What ran at the highest sample. A heartbeat may tell of memory that a task held which has just ended: then
    what ran at nearly the same height."""
    highest = max((sample.process for sample, _ in ring), default=0)
    near = [entry for entry in ring if entry[1] and entry[0].process >= NEAR_PEAK * highest]
    return max(near, key=lambda entry: entry[0].process)[1] if near else ()


def _sum(read: float | None, write: float | None) -> float | None:
    return None if read is None or write is None else read + write
