"""What several sections share: gaps, places, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a size is known: taken from what is in memory (or exact by definition, as for array chunks), or
#: reckoned from something else. What is not known at all is None, never a guess.
Known = Literal["exact", "estimated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Why a section is missing."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where in the notebook. Lines count from 1, columns are characters from 0."""

    #: The notebook's id of the cell; None when the front end did not send one.
    cell_id: str | None = None
    #: The `[7]` beside the cell, None when it has not run.
    execution_count: int | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A number of bytes and how it is known."""

    nbytes: int
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSizes:
    """Bytes of the finished outputs of one task group, one value per partition or chunk."""

    #: How many partitions were measured.
    n: int
    total: int
    median: int
    p95: int
    largest: int
    #: Which partition is the largest, as its key's index: "17" or "3, 0"; None when the key has none.
    largest_index: str | None
    #: In the order of partitions when there are at most 200 of them, else 200 quantiles, ascending.
    values: tuple[int, ...] = ()
