"""Look at what a computation was asked for right after it was sent, while the caller still holds it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from .code import CellLog
from .collections import describe_asked
from .in_memory import Sizes
from .phases import Phases
from .submissions import Submission

#: Seconds of one look after which what is left stays unknown.
MAX_SECONDS = 0.5


def look_at(
    submissions: Iterable[Submission],
    namespace: Mapping[str, object],
    *,
    sizes: Sizes,
    cells: CellLog,
    phases: Phases | None,
) -> None:
    """Note in each submission what it was asked for and how long the optimizer took before it. Never raises for
    a collection that is gone or cannot be described."""
    deadline = time.monotonic() + MAX_SECONDS
    for sent in reversed(tuple(submissions)):  # the newest is the likeliest to be held still
        progress = sent.progress
        since = cells.began(sent.time)
        if phases is not None and since is not None:
            since = max(since, sent.previous or 0.0)
            progress.optimize_seconds = phases.seconds("optimizing", since, sent.time, method=sent.method)
        if time.monotonic() < deadline:
            values = [value for ref in progress.refs if (value := ref()) is not None]
            progress.asked = describe_asked(values, namespace, sizes=sizes, bound_at=cells.bound_at)
            del values
        progress.refs = ()
