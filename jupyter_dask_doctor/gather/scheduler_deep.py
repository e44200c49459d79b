"""Deep mode: what can only be known by looking at every task as it ends. Off unless the user asks for it.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskGroup

#: Groups whose durations are kept, and prefixes whose retries are counted.
MAX_SPREADS = 4_000
MAX_PREFIXES = 2_000
#: Powers of two of a microsecond: the last is twelve days.
N_BINS = 41

#: Tasks by the power of two of their microseconds, and the longest in seconds.
Histogram = tuple[list[int], float]


class Deep:
    """Counts retries and durations, transition by transition. A fault is the plugin's to count."""

    def __init__(self, scheduler: Scheduler, fault: Callable[[Exception], None]) -> None:
        self._tasks = scheduler.tasks
        self._task_groups = scheduler.task_groups
        self._fault = fault
        #: Runs that failed and were tried again, by prefix.
        self.retried: Counter[str] = Counter()
        #: By identity of the task group: itself, its histogram, its longest.
        self._spreads: dict[int, list[Any]] = {}

    def transition(
        self,
        key: Any,
        start: str,
        finish: str,
        *args: Any,
        stimulus_id: str | None = None,
        startstops: Any = None,
        **kwargs: Any,
    ) -> None:
        """The scheduler's hook for every transition of every task."""
        if start != "processing":
            return
        try:
            if finish == "memory":
                self._ended(key, startstops)
            elif finish == "released" and stimulus_id is not None and stimulus_id.startswith("task-erred"):
                name = self._tasks[key].group.prefix.name
                if name in self.retried or len(self.retried) < MAX_PREFIXES:
                    self.retried[name] += 1
        except Exception as error:
            self._fault(error)

    def _ended(self, key: Any, startstops: Any) -> None:
        seconds = 0.0
        for action in startstops or ():
            if action["action"] == "compute":
                seconds += action["stop"] - action["start"]
        if not 0.0 <= seconds < 1e12:  # a clock was set meanwhile
            return
        tg = self._tasks[key].group
        spread = self._spreads.get(id(tg))
        if spread is None:
            if len(self._spreads) >= MAX_SPREADS:
                self._forget()
            spread = self._spreads[id(tg)] = [tg, [0] * N_BINS, 0.0]
        spread[1][min(int(seconds * 1e6).bit_length(), N_BINS - 1)] += 1
        if seconds > spread[2]:
            spread[2] = seconds

    def _forget(self) -> None:
        """Let go of the groups that the scheduler has forgotten, else of the oldest half."""
        groups = self._task_groups
        kept = {id: row for id, row in self._spreads.items() if groups.get(row[0].name) is row[0]}
        if len(kept) > MAX_SPREADS // 2:
            kept = dict(list(kept.items())[-MAX_SPREADS // 2 :])
        self._spreads = kept

    def histogram(self, tg: TaskGroup) -> list[int] | None:
        """As it is now, to be handed to `spread` later."""
        found = self._spreads.get(id(tg))
        return list(found[1]) if found is not None else None

    def spread(self, tg: TaskGroup, before: list[int] | None) -> list[Any] | None:
        """[n, median, 95 %, longest] in seconds of what ended since `before`, each within a factor 2."""
        found = self._spreads.get(id(tg))
        if found is None:
            return None
        bins = found[1] if before is None else [n - b for n, b in zip(found[1], before, strict=True)]
        n = sum(bins)
        if not n:
            return None
        # Of a group that goes on from earlier calls the longest may have been theirs.
        top = max(i for i, count in enumerate(bins) if count)
        longest = found[2] if before is None else min(found[2], 2.0**top * 1e-6)
        return [n, min(_at(bins, 0.5 * n), longest), min(_at(bins, 0.95 * n), longest), longest]


def _at(bins: list[int], rank: float) -> float:
    """Seconds at which so many have ended: the middle of the bin."""
    seen = 0
    for i, count in enumerate(bins):
        seen += count
        if seen >= rank and count:
            return float(2.0 ** (i - 0.5)) * 1e-6
    return 0.0
