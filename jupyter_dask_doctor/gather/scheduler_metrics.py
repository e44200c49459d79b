"""Dask's fine performance metrics as the scheduler has summed them up, told as far as they have changed.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any

from .scheduler_view import clean, number

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: Metrics remembered; there is about a dozen for each task prefix.
MAX_METRICS = 10_000
#: Metrics looked at in one snapshot: with more of them, each comes round in a later one.
LOOK_METRICS = 500
SEND_METRICS = 500
UNITS = ("seconds", "bytes", "count")


class Metrics:
    """The sums of one scheduler since its start, each with the moment of its last change."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.seq = 0
        #: In the order of their last change: metric -> [its change, value, what `_told` tells of it].
        self.changed: OrderedDict[tuple[Any, ...], list[Any]] = OrderedDict()
        self._keys: list[tuple[Any, ...]] = []
        self._n_seen = self._at = 0
        sums: Any = getattr(scheduler, "cumulative_worker_metrics", None) or {}
        #: The sums when we came.
        self.first: dict[tuple[Any, ...], Any] = {
            key: number(value) or 0.0 for key, value in islice(sums.items(), MAX_METRICS) if _is_told(key)
        }

    def clear(self) -> None:
        self.changed.clear()
        self.first.clear()
        self._keys.clear()

    def look(self) -> None:
        """Note what has changed."""
        sums: Any = getattr(self.scheduler, "cumulative_worker_metrics", None)
        if sums is None:
            return
        if len(sums) != self._n_seen:
            if len(sums) < self._n_seen:  # somebody has emptied it
                self.clear()
                self._n_seen = self._at = 0
            # All new ones at once, so that what has never been told has never been there.
            room = max(0, MAX_METRICS - len(self._keys))
            for key in [k for k in islice(sums, self._n_seen, None) if _is_told(k)][:room]:
                self._keys.append(key)
                self.seq += 1
                self.changed[key] = [self.seq, sums[key], _told(key)]
            self._n_seen = len(sums)
        keys, changed = self._keys, self.changed
        n = min(len(keys), LOOK_METRICS)
        for key in keys[self._at : self._at + n] + keys[: max(0, self._at + n - len(keys))]:
            value = sums.get(key)
            entry = changed[key]
            if entry[1] != value:
                self.seq += 1
                entry[0], entry[1] = self.seq, value
                changed.move_to_end(key)
        self._at = (self._at + n) % len(keys) if keys else 0

    def changes(self, since: int) -> tuple[list[list[Any]] | None, int]:
        """[context, prefix or None, label, unit, sum, sum when we came] of those that changed after `since`, and
        up to where these go.

        None: this Dask does not tell.
        """
        if getattr(self.scheduler, "cumulative_worker_metrics", None) is None:
            return None, 0
        found = []
        for key, entry in reversed(self.changed.items()):
            if entry[0] <= since:
                break
            found.append((key, entry))
        found.reverse()
        del found[SEND_METRICS:]
        until = found[-1][1][0] if found else max(since, 0)
        first = self.first
        return [[*told, number(value) or 0.0, first.get(key, 0.0)] for key, (_, value, told) in found], until

    def failed(self, prefix: str) -> float | None:
        """Thread-seconds of runs of a prefix that ended in an error; None when this Dask does not tell."""
        sums: Any = getattr(self.scheduler, "cumulative_worker_metrics", None)
        if sums is None:
            return None
        return number(sums.get(("execute", prefix, "failed", "seconds"), 0.0))


def _is_told(key: Any) -> bool:
    """("execute", prefix, label, unit) or (context, ..., label, unit); not the metrics of a mere name."""
    return (
        type(key) is tuple
        and 3 <= len(key) <= 6
        and key[-1] in UNITS
        and all(isinstance(part, str) for part in key)
        # The same seconds again as in the "p2p-..." of "execute".
        and key[:2] != ("p2p", "foreground")
        and not (key[0] == "execute" and len(key) != 4)
    )


def _told(key: tuple[str, ...]) -> tuple[str, str | None, str, str]:
    """(context, prefix or None, label, unit)"""
    if key[0] == "execute":
        return "execute", clean(key[1]), clean(key[2]), key[-1]
    return clean(key[0]), None, clean("-".join(key[1:-1])), key[-1]
