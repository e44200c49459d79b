"""What a kernel has said so far, put together, so that whoever comes later gets all of it at once."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ..messages import MemoryPoint, Reply
from ..report import Report

#: Points of the memory lines that are kept: five minutes at two a second.
MAX_POINTS = 600


class Merged:
    """The newest reply of one session, with the memory points and the report that earlier ones brought."""

    def __init__(self) -> None:
        self._last: Reply | None = None
        self._points: deque[MemoryPoint] = deque(maxlen=MAX_POINTS)
        self._report: Report | None = None
        self._report_rev = 0

    @property
    def session(self) -> str | None:
        return None if self._last is None else self._last.session

    @property
    def rev(self) -> int:
        """What to ask since: 0 when nothing is known."""
        return 0 if self._last is None else self._last.rev

    def accept(self, reply: Reply) -> bool:
        """Take in a reply of the same session, or the whole first one of a new session.

        False when it says the same as the one before.
        """
        last = self._last
        if last is None or _series(last) != _series(reply):
            self._points.clear()
            self._report = None
        known = self._points[-1].rev if self._points else 0
        news = [point for point in reply.memory if point.rev > known]
        self._points.extend(news)
        if reply.report is not None:
            self._report, self._report_rev = reply.report, reply.rev
        # Kept without what is kept beside it.
        self._last = replace(reply, memory=(), report=None)
        return (
            last is None
            or bool(news)
            or reply.report is not None
            or replace(self._last, time=0.0, rev=0) != replace(last, time=0.0, rev=0)
        )

    def since(self, rev: int) -> Reply | None:
        """What somebody does not know who has seen everything of this session up to `rev`."""
        if self._last is None:
            return None
        return replace(
            self._last,
            memory=tuple(point for point in self._points if point.rev > rev),
            report=self._report if self._report_rev > rev else None,
        )


def _series(reply: Reply) -> tuple[object, ...]:
    """What a line of memory belongs to: another client, scheduler or session begins a new one."""
    followed = next((client for client in reply.clients if client.is_followed), None)
    return (reply.session, followed and followed.id, followed and followed.scheduler_id)
