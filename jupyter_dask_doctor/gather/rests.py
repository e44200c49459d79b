"""The cluster in the pauses between computations: what memory was left when nothing ran."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from ..snapshot import Load, Rest, Worker

MAX_RESTS = 200
#: Workers whose memory is kept for each of them.
MAX_WORKERS = 64
MAX_DONE = 2_000


class Rests:
    """One rest for each pause in which nothing ran for anybody. For one thread at a time."""

    def __init__(self) -> None:
        self._rests: list[Rest] = []
        self._done: OrderedDict[Any, None] = OrderedDict()
        self._n_computations = 0
        self._began: float | None = None

    def renew(self) -> None:
        """The plugin is another one: it counts graphs anew."""
        self._done.clear()

    def take(self, reply: Mapping[str, Any], load: Load, workers: Sequence[Worker]) -> None:
        """Take in one answer of the plugin, of which `load` and `workers` were made."""
        for row in reply["graphs"]:
            id, n_tasks, is_done = row[0], row[3], row[7]
            if is_done and n_tasks and id not in self._done:
                self._done[id] = None
                self._n_computations += 1
        while len(self._done) > MAX_DONE:
            self._done.popitem(last=False)
        if load.tasks_waiting or load.tasks_processing or not load.n_workers:
            self._began = None
            return
        last = self._rests[-1] if self._rests else None
        # What ran between two looks may not have been seen but for its end.
        is_same = self._began is not None and last is not None and last.tasks_finished == load.tasks_finished
        if self._began is None or not is_same or load.time < self._began:
            self._began = load.time
        unmanaged = ((w.address, max(0, w.process - w.managed)) for w in workers)
        rest = Rest(
            time=load.time,
            seconds=load.time - self._began,
            n_computations=self._n_computations,
            tasks_finished=load.tasks_finished,
            n_workers=load.n_workers,
            process=load.managed + load.unmanaged,
            managed=load.managed,
            spilled=load.spilled,
            unmanaged=tuple(heapq.nlargest(MAX_WORKERS, unmanaged, key=lambda item: item[1])),
            tasks_known=load.tasks_known,
            scheduler_memory=load.scheduler_memory,
        )
        if is_same:
            self._rests[-1] = rest
        else:
            self._rests.append(rest)
        if len(self._rests) > MAX_RESTS:
            # Every other of the older half goes.
            half = MAX_RESTS // 2
            self._rests = self._rests[:half:2] + self._rests[half:]

    def view(self) -> tuple[Rest, ...]:
        """Oldest first; the last one may be going on."""
        return tuple(self._rests)
