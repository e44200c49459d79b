"""Look at what a computation was asked for right after it was sent, while the caller still holds it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from ...snapshot import Collection
from ..code import CellLog
from ..phases import Phases
from ..submissions import Submission
from .collections import describe_asked, own_name
from .in_memory import Sizes

#: Seconds of one look after which what is left stays unknown.
MAX_SECONDS = 0.5
#: Descriptions that are kept of what was described once.
MAX_KNOWN = 200


def look_at(
    submissions: Iterable[Submission],
    namespace: Mapping[str, object],
    *,
    sizes: Sizes,
    cells: CellLog,
    phases: Phases | None,
    known: Mapping[str, Collection] | None = None,
) -> None:
    """Note in each submission what it was asked for and how long the optimizer took before it. Never raises for
    a collection that is gone or cannot be described.

    `known`: collections that were described before, by their own names: they stand in for those that are gone.
    """
    deadline = time.thread_time() + MAX_SECONDS
    for sent in reversed(tuple(submissions)):  # the newest is the likeliest to be held still
        progress = sent.progress
        since = cells.began(sent.time)
        if phases is not None and since is not None:
            since = max(since, sent.previous or 0.0)
            progress.optimize_seconds = phases.seconds("optimizing", since, sent.time, method=sent.method)
        asked: list[Collection] = []
        for name, ref in progress.refs:
            value = ref()
            if value is not None and time.thread_time() < deadline:
                asked.extend(describe_asked([value], namespace, sizes=sizes, bound_at=cells.bound_at))
            elif known is not None and name in known:
                asked.append(known[name])
            del value
        progress.asked, progress.refs = tuple(asked), ()


def remember(
    known: OrderedDict[str, Collection], collections: Iterable[Collection], namespace: Mapping[str, object]
) -> None:
    """Keep what was described by the names of the expressions and layers, the newest `MAX_KNOWN`."""
    for one in collections:
        try:
            name = own_name(namespace.get(one.name))
        except Exception:  # of a broken one
            continue
        if name:
            known[name] = one
            known.move_to_end(name)
    while len(known) > MAX_KNOWN:
        known.popitem(last=False)
