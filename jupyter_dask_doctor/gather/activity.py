"""What the workers did while each computation ran: differences of Dask's fine performance metrics.

The scheduler has only sums since its start. What a computation did is what they grew by from its submission
to about two heartbeats after its end, for metrics come with the next heartbeat of each worker.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..snapshot import Activity

#: Heartbeats after its end in which the metrics of a computation come.
BEATS = 2.0
#: Computations measured; the oldest are forgotten first.
MAX_METERS = 100
#: Rows of one computation, those of most seconds.
MAX_ROWS = 200

#: (label, unit) -> sum, of one prefix; (context, label, unit) -> sum, of all other contexts.
_Sums = dict[Any, float]


@dataclass(slots=True)
class _Meter:
    #: Sums when it began, by prefix; under None those of the other contexts.
    before: dict[str | None, _Sums] = field(default_factory=dict)
    #: What they grew by, once no more is added.
    grown: dict[str | None, _Sums] = field(default_factory=dict)
    ended: float | None = None


class Activities:
    """The metrics of one scheduler as far as told, and what they grew by. For one thread at a time."""

    def __init__(self) -> None:
        #: False where this Dask does not tell; None before it is known.
        self.is_told: bool | None = None
        #: What was there before the first answer has been taken in.
        self.is_level = False
        self._now: dict[str | None, _Sums] = {None: {}}
        #: When the plugin began to look.
        self._first: dict[str | None, _Sums] = {None: {}}
        self._meters: OrderedDict[int, _Meter] = OrderedDict()
        self._unknown: dict[int, None] = {}

    def begin(self, id: int, prefixes: Iterable[str], *, is_after_start: bool) -> None:
        """A computation has come, or has grown. Call before `take` of the same answer."""
        meter = self._meters.get(id)
        if meter is None:
            if id in self._unknown or (not self.is_level and not is_after_start):
                # From before our time: nobody knows the sums of then, nor those of its later rows.
                self._unknown[id] = None
                while len(self._unknown) > MAX_METERS:
                    del self._unknown[next(iter(self._unknown))]
                return
            meter = self._meters[id] = _Meter()
            while len(self._meters) > MAX_METERS:
                self._meters.popitem(last=False)
        for name in (None, *prefixes):
            if name in meter.before or name in meter.grown:
                continue
            if name is not None:
                self._end_others(id, name)
            meter.before[name] = dict((self._now if self.is_level else self._first).get(name, {}))

    def _end_others(self, id: int, prefix: str) -> None:
        for other_id, other in self._meters.items():
            if other_id != id and prefix in other.before:
                other.grown[prefix] = self._growth(other, prefix)
                del other.before[prefix]

    def end(self, id: int, now: float) -> None:
        """A computation is done; what comes soon after still belongs to it."""
        meter = self._meters.get(id)
        if meter is not None and meter.ended is None:
            meter.ended = now

    def take(
        self, rows: Sequence[Sequence[Any]] | None, now: float, heartbeat: float, *, is_all: bool
    ) -> None:
        """Take in the sums that have changed. `heartbeat`: seconds between two of one worker."""
        self.is_told = rows is not None
        for context, prefix, label, unit, value, first in rows or ():
            key = (label, unit) if prefix is not None else (context, label, unit)
            self._now.setdefault(prefix, {})[key] = value
            if not self.is_level:
                self._first.setdefault(prefix, {})[key] = first
        if is_all and not self.is_level:
            self.is_level = True
            for meter in self._meters.values():
                for name, sums in meter.before.items():
                    sums.update(self._first.get(name, {}))
            self._first = {None: {}}
        for meter in self._meters.values():
            if meter.before and meter.ended is not None and now > meter.ended + BEATS * heartbeat:
                for name in list(meter.before):
                    meter.grown[name] = self._growth(meter, name)
                meter.before.clear()

    def _growth(self, meter: _Meter, name: str | None) -> _Sums:
        before = meter.before[name]
        grown = {key: value - before.get(key, 0.0) for key, value in self._now.get(name, {}).items()}
        return {key: value for key, value in grown.items() if value > 0 and math.isfinite(value)}

    def of(self, id: int) -> tuple[Activity, ...] | None:
        """What was done while this computation ran, most seconds first; None when it is not known."""
        meter = self._meters.get(id)
        if meter is None or not self.is_told:
            return None
        found: dict[tuple[str, str | None, str], dict[str, float]] = {}
        for name in (*meter.grown, *meter.before):
            sums = meter.grown[name] if name in meter.grown else self._growth(meter, name)
            for key, value in sums.items():
                context, label, unit = ("execute", *key) if name is not None else key
                found.setdefault((context, name, label), {})[unit] = value
        rows = [
            Activity(
                context=context,
                prefix=prefix,
                label=label,
                seconds=units.get("seconds", 0.0),
                nbytes=int(units.get("bytes", 0)),
                count=int(units.get("count", 0)),
            )
            for (context, prefix, label), units in found.items()
        ]
        rows.sort(key=lambda row: (row.seconds, row.nbytes), reverse=True)
        return tuple(rows[:MAX_ROWS])
