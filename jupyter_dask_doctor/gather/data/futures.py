"""Futures that a variable holds, one or a list of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...snapshot import Collection, Known, Location, Size
from .in_memory import Sizes, group_of, is_future

#: Of a list or the like.
MAX_FUTURES = 1_000


def describe_futures(
    name: str, value: Any, count: int, *, sizes: Sizes, at: Location | None = None
) -> Collection:
    """Describe what holds `count` futures, by the first thousand of them."""
    futures = futures_in(value)
    # Pending ones take no memory yet, failed ones none.
    finished = [future for future in futures if future.status == "finished"]
    groups = Counter(group_of([future.key]) for future in finished)
    total = 0
    known: Known | None = "exact" if len(futures) == count else "estimated"
    for group, n in groups.items():
        measured = None if group is None else sizes(group)
        if measured is None or not measured.n:
            known = None
            break
        if measured.n == n:
            total += measured.total
        else:
            # A group's name has no token: others called the same way may be among what was measured.
            total += measured.total * n // measured.n
            known = "estimated"
    if len(futures) < count:
        total = total * count // len(futures)
    return Collection(
        name=name,
        kind="futures",
        npartitions=count,
        nbytes=Size(nbytes=total, known=known) if finished and known is not None else None,
        largest=None,
        is_persisted=True,
        group=next(iter(groups)) if len(groups) == 1 else None,
        at=at,
    )


def futures_in(value: Any) -> tuple[Any, ...]:
    """The futures themselves, at most `MAX_FUTURES`."""
    if is_future(value):
        return (value,)
    items = tuple(value.values()) if isinstance(value, dict) else tuple(value)
    return tuple(item for item in items[:MAX_FUTURES] if is_future(item))
