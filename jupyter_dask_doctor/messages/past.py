"""What the server remembers of a kernel."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import Severity, Treated
from ..snapshot import Location
from .cluster import MemoryPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFinding:
    """A finding of an earlier moment, as the history keeps it."""

    finding_id: str
    rule: str
    severity: Severity
    message: str
    subject: str
    at: Location | None
    #: When it was seen first and last. Kernel's clock.
    first: float
    last: float
    loss_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTreated:
    """A `Treated` and when it was seen first."""

    time: float
    treated: Treated


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSeries:
    """What is remembered of one client of one scheduler in one life of a kernel."""

    session: str
    scheduler_id: str
    client_id: str
    started: float
    #: Oldest first, at most 600, thinned out evenly where there were more.
    memory: tuple[MemoryPoint, ...]
    #: Last seen first, at most 100.
    findings: tuple[SeenFinding, ...]
    #: Last seen first, at most 100.
    treated: tuple[PastTreated, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Answer of `api/history`: the newest series first, at most 10."""

    kernel_id: str
    series: tuple[PastSeries, ...]
