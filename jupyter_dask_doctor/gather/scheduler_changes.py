"""The workers of a scheduler that came and went, wished or not, and what was lost with them.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice, takewhile
from time import time
from typing import TYPE_CHECKING, Any

from .scheduler_view import clean, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed.scheduler import Scheduler

MAX_CHANGES = 200
#: Lost results whose prefixes are looked at, for one worker.
MAX_LOST = 500
#: A worker that vanished is announced after this time: a restart on purpose says so only afterwards.
DELAY = 0.7
#: And takes back what it caused in this time.
PARDONED = 30.0


class Changes:
    """The last workers that came and went, bounded."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        now = time()
        #: When each worker was seen first, its name, and whether it came then.
        self.first_seen: dict[str, float] = {}
        self.names: dict[str, str] = {}
        self.born: set[str] = set()
        for ws in scheduler.workers.values():
            self.first_seen[ws.address], self.names[ws.address] = now, clean(ws.name)
        self.rows: deque[dict[str, Any]] = deque(maxlen=MAX_CHANGES)
        #: Workers that came or went so far.
        self.n = 0

    def clear(self) -> None:
        for held in (self.first_seen, self.names, self.born, self.rows):
            held.clear()

    def told(self, now: float) -> list[dict[str, Any]]:
        """The changes that are sure by now; one that is not keeps those after it back, for their order tells."""
        return list(
            takewhile(lambda row: row["is_expected"] or not 0 <= now - row["time"] <= DELAY, self.rows)
        )

    def added(self, address: str) -> None:
        ws = self.scheduler.workers.get(address)
        if ws is None:
            return
        now = time()
        self.n += 1
        self.first_seen[address], self.names[address] = now, clean(ws.name)
        self.born.add(address)
        self._note(now, "added", address)

    def removed(self, msg: dict[str, Any], is_expected: bool) -> None:
        """A worker has left the scheduler; its tasks are still known."""
        address = str(msg.get("worker"))
        now = time()
        self.n += 1
        row = self._note(now, "removed", address)
        row["is_expected"] = is_expected
        first_seen = self.first_seen.pop(address, None)
        if first_seen is not None and address in self.born:
            row["lifetime"] = max(0.0, now - first_seen)
        self.names.pop(address, None)
        self.born.discard(address)
        self._lose(row, msg.get("lost-computed-tasks") or ())

    def pardon(self, workers: Iterable[str] | None) -> None:
        """These, else all, that vanished of late did so on purpose."""
        named = set(workers) if workers is not None else None
        now = time()
        for row in self.rows:
            if row["kind"] == "removed" and now - row["time"] <= PARDONED:
                row["is_expected"] = row["is_expected"] or named is None or row["address"] in named

    def _note(self, now: float, kind: str, address: str) -> dict[str, Any]:
        row = {
            "time": now,
            "kind": kind,
            "address": address,
            "name": self.names.get(address, ""),
            "n_workers": len(self.scheduler.workers),
            "is_expected": True,
            "lifetime": None,
            "n_lost": 0,
            "lost_seconds": 0.0,
            "prefixes": [],
        }
        self.rows.append(row)
        return row

    def _lose(self, row: dict[str, Any], keys: Iterable[Any]) -> None:
        lost = list(keys) if not hasattr(keys, "__len__") else keys
        n = len(lost)  # type: ignore[arg-type]
        states = self.scheduler.tasks
        found = (states.get(key) for key in islice(lost, MAX_LOST))
        counts = Counter(ts.prefix for ts in found if ts is not None)
        looked = sum(counts.values())
        seconds = 0.0
        for prefix, count in counts.items():
            n_done = prefix.state_counts["memory"]
            # Dask's own average leaps with every single task.
            mean = prefix.all_durations.get("compute", 0.0) / n_done if n_done else prefix.duration_average
            seconds += count * (number(mean) or 0.0)
        row["n_lost"] = n
        row["lost_seconds"] = seconds * n / looked if looked else 0.0
        row["prefixes"] = [clean(prefix.name) for prefix, _ in counts.most_common(8)]
