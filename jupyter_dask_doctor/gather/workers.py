"""The workers of a cluster over time: what each holds now, the last minutes of it, and the losses."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..snapshot import Load, MemorySample, Worker, WorkerLoss
from .code import CellLog

#: Samples per worker: one for every `SLOT` seconds, the highest of the slot.
MAX_SAMPLES = 150
SLOT = 2.0
#: Workers that keep samples.
MAX_SAMPLED = 64
#: Points of the cluster's load, one a second at most.
MAX_LOADS = 600


class Workers:
    """What the plugin's answers said of the workers. For one thread at a time."""

    def __init__(self) -> None:
        self._shown: tuple[Sequence[Any], ...] = ()
        self._samples: dict[str, deque[tuple[MemorySample, tuple[str, ...]]]] = {}
        self._loads: deque[Load] = deque(maxlen=MAX_LOADS)
        self._losses: tuple[Mapping[str, Any], ...] = ()
        self.n = self.n_shown = self.nthreads = 0
        self.memory_limit: int | None = None
        self.process = self.largest = 0

    def take(self, reply: Mapping[str, Any], to_kernel: Callable[[float], float]) -> None:
        """Take in one answer of the plugin, its times turned into the kernel's."""
        workers, tasks, now = reply["workers"], reply["tasks"], to_kernel(reply["time"])
        self._losses = tuple({**loss, "time": to_kernel(loss["time"])} for loss in reply["losses"])
        self.n, self.nthreads, self.memory_limit = workers["n"], workers["nthreads"], workers["memory_limit"]
        self.process, self.largest = workers["process"], workers["quantiles"][2]
        self._shown = tuple(workers["shown"])
        self.n_shown = len(self._shown)
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
        )
        # The newest point moves until a second is full, so that the last one is always of now.
        if len(self._loads) > 1 and int(self._loads[-1].time) == int(now):
            self._loads.pop()
        self._loads.append(load)
        self._sample(now)

    def _sample(self, now: float) -> None:
        shown: Sequence[Sequence[Any]] = self._shown
        addresses = {row[0] for row in shown}
        for gone in [address for address in self._samples if address not in addresses]:
            del self._samples[gone]
        if len(shown) > MAX_SAMPLED:
            # Those that have a history keep it; the fullest of the others fill up.
            shown = heapq.nlargest(MAX_SAMPLED, shown, key=lambda row: (row[0] in self._samples, row[5]))
        for row in shown:
            sample = MemorySample(
                time=now, process=row[5], managed=row[6], spilled=row[7], is_paused=row[4] == "paused"
            )
            ring = self._samples.setdefault(row[0], deque(maxlen=MAX_SAMPLES))
            entry = (sample, tuple(row[12]))
            if ring and int(ring[-1][0].time / SLOT) == int(now / SLOT):
                # The same heartbeat seen twice: what it ran then may have ended since.
                if ring[-1][0].process >= sample.process and not sample.is_paused:
                    continue
                ring.pop()
            ring.append(entry)

    def workers(self) -> tuple[Worker, ...]:
        return tuple(self._worker(row) for row in self._shown)

    def _worker(self, row: Sequence[Any]) -> Worker:
        address, name, nthreads, limit, status, process, managed, spilled, old, *rest = row
        n_processing, n_executing, cpu, _, _ = rest
        ring = self._samples.get(address, ())
        peak = max(ring, key=lambda entry: entry[0].process, default=None)
        return Worker(
            address=address,
            name=name,
            nthreads=nthreads,
            memory_limit=limit or None,
            status=status,
            process=process,
            managed=managed,
            spilled=spilled,
            unmanaged_old=old,
            n_processing=n_processing,
            n_executing=n_executing,
            cpu=cpu,
            samples=tuple(sample for sample, _ in ring),
            prefixes_at_peak=peak[1] if peak is not None else (),
        )

    def loads(self) -> tuple[Load, ...]:
        return tuple(self._loads)

    def losses(self, cells: CellLog, prefixes: set[str]) -> tuple[WorkerLoss, ...]:
        """Workers lost; `at` is the cell that ran, unless the tasks they ran were none of `prefixes`."""
        found = []
        for loss in self._losses:
            running = tuple(loss["prefixes"])
            is_ours = not running or not prefixes.isdisjoint(running)
            found.append(
                WorkerLoss(
                    time=loss["time"],
                    address=loss["address"],
                    reason=loss["reason"],
                    process=loss["process"],
                    memory_limit=loss["memory_limit"],
                    prefixes=running,
                    at=cells.at(loss["time"]) if is_ours else None,
                )
            )
        return tuple(found)
