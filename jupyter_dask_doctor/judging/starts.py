"""How the time between the call of `compute()` and the first task was spent: rules on slow starts ask here."""

from __future__ import annotations

from dataclasses import dataclass

from ..snapshot import Computation


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds of each step of one start. A step that is not known counts for nothing."""

    #: Choosing a better expression, in the kernel.
    optimizing: float
    #: Pickling the graph, in the kernel.
    serializing: float
    #: On the way, and until the scheduler had time for it.
    sending: float
    #: Unpacking, ordering and registering it, in the scheduler.
    scheduling: float
    #: Until the first task began: for a thread, for inputs, for a worker to unpack the task's code.
    waiting: float

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.parts)

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """In the order in which they come."""
        return (
            ("optimizing", self.optimizing),
            ("serializing", self.serializing),
            ("sending", self.sending),
            ("scheduling", self.scheduling),
            ("waiting", self.waiting),
        )


def start_of(c: Computation) -> Start | None:
    """None when nobody saw it being sent, or it has no first task yet."""
    if c.sending is None or c.start is None:
        return None
    serializing = max(0.0, c.sending.serialize_seconds or 0.0)
    scheduling = max(0.0, c.schedule_seconds or 0.0)
    sending = max(0.0, c.submitted - (c.sending.time + serializing))
    # Tasks of a large graph begin while the rest of it is still being registered
    waiting = max(0.0, c.start - max(c.submitted, c.sending.time + serializing) - scheduling)
    return Start(
        optimizing=max(0.0, c.sending.optimize_seconds or 0.0),
        serializing=serializing,
        sending=sending,
        scheduling=scheduling,
        waiting=waiting,
    )


def called(c: Computation) -> float:
    """When it was asked for, as far as was seen."""
    if c.sending is None:
        return c.submitted
    return min(c.submitted, c.sending.time - max(0.0, c.sending.optimize_seconds or 0.0))
