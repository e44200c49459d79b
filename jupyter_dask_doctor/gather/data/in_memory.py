"""What of a collection lies in the cluster's memory, and by which name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from ...snapshot import Location, PartitionSizes, Size

#: The measured partition sizes of a task group; the cell that bound a variable.
Sizes = Callable[[str], PartitionSizes | None]
BoundAt = Callable[[str], Location | None]


def is_a(value: object, module: str, cls: str) -> bool:
    """Whether it is an instance of a class, told without touching the object and without importing anything."""
    kind = getattr(sys.modules.get(module), cls, None)
    # type() and not isinstance(): the latter asks the object for its __class__, which may be anything.
    return isinstance(kind, type) and issubclass(type(value), kind)


def is_future(value: object) -> bool:
    return is_a(value, "distributed.client", "Future")


def group_of(keys: Iterable[Any]) -> str | None:
    """The task group of the first of these keys."""
    from distributed.utils import key_split_group

    first = next(iter(keys), None)
    return None if first is None else str(key_split_group(first))


def sizes_in_memory(
    measured: PartitionSizes | None, npartitions: int | None
) -> tuple[Size | None, Size | None]:
    """Bytes of all partitions and of the largest, as far as those measured tell."""
    if measured is None or not measured.n or not npartitions:
        return None, None
    if measured.n >= npartitions:
        return (
            Size(nbytes=measured.total, known="exact"),
            Size(nbytes=measured.largest, known="exact"),
        )
    # Half of the partitions tell enough of the sum, nothing of the largest.
    if measured.n * 2 >= npartitions:
        return Size(nbytes=measured.total * npartitions // measured.n, known="estimated"), None
    return None, None
