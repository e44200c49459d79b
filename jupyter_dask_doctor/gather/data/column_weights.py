"""What the rows and columns of a dataframe weigh in memory, as far as their dtypes tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What one more row of text takes besides the text: an offset in Arrow; a pointer and a Python string's head.
ARROW_OFFSET = 8
OBJECT_HEAD = 8 + 49
#: What a block of columns takes besides its values.
BLOCK = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Bytes of one column in all partitions."""

    nbytes: float
    is_exact: bool = False
    #: It is text, and these are the bytes of the text alone, without what its dtype needs to hold it.
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What is known of a frame's rows and columns. A column that is None could not be reckoned."""

    n_rows: float
    #: The rows were counted, and not reckoned.
    is_counted: bool
    npartitions: int
    #: The part of all rows that lies in each partition; None when nobody knows.
    shares: tuple[float, ...] | None
    columns: Mapping[Any, Weight | None]
    #: None: it could not be reckoned.
    index: Weight | None
    #: There are at most so many rows: a filter keeps some of them.
    is_bound: bool = False


def width(dtype: Any) -> float | None:
    """Bytes of one value; None for text, objects and what else has no width."""
    if hasattr(dtype, "categories"):
        n = 0 if dtype.categories is None else len(dtype.categories)
        return 1 if n < 128 else 2 if n < 32_768 else 4
    if hasattr(dtype, "pyarrow_dtype"):
        try:
            return float(dtype.pyarrow_dtype.bit_width) / 8
        except ValueError:
            return None
    if type(dtype).__name__ == "PeriodDtype":
        return 8
    is_object = getattr(dtype, "kind", "O") == "O" and not hasattr(dtype, "numpy_dtype")
    if is_object or is_text(dtype):
        return None
    itemsize = float(getattr(dtype, "itemsize", 8))
    return itemsize + 1 if hasattr(dtype, "numpy_dtype") else itemsize


def is_exact_width(dtype: Any) -> bool:
    """Whether a column of it takes just its width for each row: no mask, no categories, no bits."""
    return getattr(dtype, "kind", "O") in "iufbMmcV" and hasattr(dtype, "str")


def is_text(dtype: Any) -> bool:
    """Whether it is one of pandas' dtypes for strings."""
    if hasattr(dtype, "pyarrow_dtype"):
        return str(dtype.pyarrow_dtype) in ("string", "large_string")
    return type(dtype).__name__ == "StringDtype"


def may_be_text(dtype: Any) -> bool:
    """Whether it is for strings, or for objects that may be some."""
    return is_text(dtype) or str(dtype) == "object"


def by_meta(meta: Any, n_rows: float, *, is_counted: bool) -> dict[Any, Weight | None]:
    """Weights of the columns whose width follows from their dtype; None for others."""
    return {name: fixed(dtype, n_rows, is_counted=is_counted) for name, dtype in dtypes_of(meta)}


def fixed(dtype: Any, n_rows: float, *, is_counted: bool) -> Weight | None:
    """A column's weight as its dtype tells; None when that does not tell."""
    each = width(dtype)
    if each is None:
        return None
    return Weight(nbytes=each * n_rows, is_exact=is_counted and is_exact_width(dtype))


def dtypes_of(meta: Any) -> list[tuple[Any, Any]]:
    """Label and dtype of each column, or of a series; none for an index or a scalar."""
    if not hasattr(meta, "index"):
        return []
    if meta.ndim == 1:
        return [(meta.name, meta.dtype)]
    return list(zip(meta.columns, meta.dtypes, strict=True))


def overhead(meta: Any) -> int:
    """Bytes that a partition of this meta takes without any row, as Dask reckons its size."""
    from dask.sizeof import sizeof

    if getattr(meta, "ndim", 0) != 2:
        return int(sizeof(meta))
    dtypes = list(meta.dtypes)
    # Columns beside one another that have one dtype lie in one block.
    n_blocks = sum(1 for place, dtype in enumerate(dtypes) if not place or dtype != dtypes[place - 1])
    of_categories: int = sum(
        int(dtype.categories.memory_usage())
        for dtype in dtypes
        if getattr(dtype, "categories", None) is not None
    )
    labels = int(sizeof(meta.index)) + int(sizeof(meta.columns))
    return labels + BLOCK * n_blocks + of_categories


def index_weight(index: Any, n_rows: float, *, is_counted: bool) -> Weight | None:
    """Of the index of a meta; a range takes nothing."""
    if type(index).__name__ == "RangeIndex":
        return Weight(nbytes=0, is_exact=is_counted)
    if type(index).__name__ == "MultiIndex":
        return None
    return fixed(index.dtype, n_rows, is_counted=is_counted)
