"""What a worker tells of the partitions of one task group that lie in its memory: travels there by value.

Standard library and what the worker has imported already. It looks only at what is in fast memory, past the order
in which Dask would spill it, and nothing is read back from disk. All is done in a thread of its own, by types
that are exactly those of pandas, numpy, pyarrow and Python: a stranger's object is not touched.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import hashlib
import logging
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from distributed import Worker

#: Seconds after which the answer is not waited for, and seconds of the thread's own time for each part of it.
PATIENCE = 5.0
SECONDS_FOR_PARTS, SECONDS_FOR_BYTES, SECONDS_FOR_HOT = 0.06, 0.04, 0.04
#: Keys of a worker beyond which it is not looked through, partitions told of, columns told of.
MAX_KEYS = 200_000
MAX_PARTS = 1_500
MAX_COLUMNS = 200
MAX_TEXT = 100
MAX_VALUE = 60
#: Partitions and values of one column that bytes are reckoned from, and rows in which a frequent value is sought.
N_SAMPLED, N_VALUES = 4, 500
N_ROWS = 100_000

#: Types whose text, size and equality are Python's own.
_PLAIN = frozenset(
    [str, bytes, int, float, bool, type(None), complex, decimal.Decimal,
     datetime.date, datetime.datetime, datetime.time, datetime.timedelta]
)  # fmt: skip
_NUMBERS = [f"{kind}{bits}Dtype" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
_DTYPES = frozenset(
    ["StringDtype", "DatetimeTZDtype", "PeriodDtype", "IntervalDtype", "BooleanDtype", "ArrowDtype",
     "Float32Dtype", "Float64Dtype", *_NUMBERS]
)  # fmt: skip
_INDICES = frozenset(
    [
        "Index",
        "RangeIndex",
        "DatetimeIndex",
        "TimedeltaIndex",
        "PeriodIndex",
        "IntervalIndex",
        "CategoricalIndex",
    ]
)


class Question:
    """What is pickled for the worker: unpickling it there gives the function to run.

    Running any function is worth a line in the worker's log, and where the kernel started the worker that
    log may be a cell's output. So this one line is kept out.
    """

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return _arrived, ()


def _arrived() -> Any:
    logger = logging.getLogger("distributed.worker")

    def without_us(record: logging.LogRecord) -> bool:
        return record.args != (_tell.__name__,)

    async def _tell(dask_worker: Worker, **details: Any) -> dict[str, Any]:
        logger.removeFilter(without_us)
        return await tell(dask_worker, **details)

    logger.addFilter(without_us)
    return _tell


async def tell(
    worker: Worker, *, group: str, largest: str | None = None, columns: Iterable[str] = ()
) -> dict[str, Any]:
    """As `look`, of this worker. Never raises: what cannot be had is a "fault"."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    found: dict[str, Any] = {}

    def finish() -> None:
        if not over.done():
            over.set_result(None)

    def work() -> None:
        try:
            found.update(look(in_memory(worker.data), group, largest, tuple(columns)))
        except Exception as error:
            found["fault"] = type(error).__name__
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the worker is gone
            return

    threading.Thread(target=work, daemon=True, name="dask-doctor-partitions").start()
    await asyncio.wait([over], timeout=PATIENCE)
    return dict(found) if over.done() else {"fault": "it took too long"}


def in_memory(data: Any) -> dict[Any, Any]:
    """What is not spilled, without touching the order in which it would be."""
    store = data if type(data) is dict else getattr(getattr(data, "fast", None), "d", None)
    if type(store) is not dict:
        raise LookupError
    return store


def look(
    store: Mapping[Any, Any], group: str, largest: str | None = None, columns: Iterable[str] = ()
) -> dict[str, Any]:
    """The partitions of this group, as plain data of some ten kilobytes at most.

    "parts": (index, rows or None, type, digest of its columns and dtypes) of each; "columns": (name, dtype, bytes of
    a row or None, what it holds or None) of the first one that has rows, "first" its index; "hot": (column, value,
    share, rows looked at) of the partition `largest`, for those of `columns` that it has. "is_all": nothing was
    left out.
    """
    began = time.thread_time()
    if len(store) > MAX_KEYS:
        raise OverflowError
    keys = _keys(store, group)
    shapes = [(index, key, *_shape(store.get(key))) for index, key in keys[:MAX_PARTS]]
    schemas = _Schemas()
    first: tuple[str, str] | None = None
    sampled: list[Any] = []
    parts: list[tuple[str, int | None, str, str]] = []
    step = max(1, len(keys) // N_SAMPLED)
    for i, (index, key, rows, kind) in enumerate(shapes):
        if kind == "":  # it was let go or spilled just now
            continue
        digest = ""
        if not parts or time.thread_time() - began < SECONDS_FOR_PARTS:
            value = store.get(key)
            digest = schemas.digest(value)
            if rows and first is None:
                first = index, digest
            if rows and first is not None and digest == first[1] and (not sampled or i % step == 0):
                sampled.append(value)
            del value
        parts.append((index, rows, kind, digest))
    told = list(_columns(sampled[:N_SAMPLED], time.thread_time() + SECONDS_FOR_BYTES))
    sampled.clear()
    hot: list[tuple[str, str, float, int]] = []
    for index, key in keys:
        if index == largest:
            hot = list(_hot(store.get(key), tuple(columns), time.thread_time() + SECONDS_FOR_HOT))
    return {
        "parts": parts,
        "is_all": len(parts) == len(keys),
        "first": None if first is None else first[0],
        "columns": told,
        "hot": hot,
        "seconds": time.thread_time() - began,
    }


def _keys(store: Mapping[Any, Any], group: str) -> list[tuple[str, Any]]:
    found = []
    for key in list(store):  # in one go, for the worker's loop changes it meanwhile
        if type(key) is tuple and len(key) > 1 and type(key[0]) is str and key[0] == group:
            place = key[1:]
            if all(type(i) is int for i in place):
                found.append((place, key))
    found.sort()
    return [(", ".join(map(str, place)), key) for place, key in found]


def _shape(value: Any) -> tuple[int | None, str]:
    """Rows, and class or dtype; without a class when there is nothing."""
    kind = type(value)
    if value is None:
        return None, ""
    pandas, numpy, arrow = (sys.modules.get(name) for name in ("pandas", "numpy", "pyarrow"))
    if pandas is not None:
        if kind is pandas.DataFrame:
            return len(value.index), "pandas.DataFrame"
        if kind is pandas.Series:
            return len(value), "pandas.Series"
        if any(kind is getattr(pandas, name, None) for name in _INDICES):
            return len(value), "pandas.Index"
    if numpy is not None and kind is numpy.ndarray:
        return None, str(value.dtype)[:MAX_TEXT]
    if arrow is not None and kind is arrow.Table:
        return value.num_rows, "pyarrow.Table"
    if kind is list or kind is tuple:
        return len(value), kind.__name__
    return None, _class(kind)


class _Schemas:
    """Digests of columns and dtypes. Most partitions have those of the one before."""

    def __init__(self) -> None:
        self._names: tuple[list[Any], tuple[str, ...]] = [], ()
        self._dtypes: dict[Any, str] = {}
        self._digests: dict[Any, str] = {}

    def digest(self, value: Any) -> str:
        _, kind = _shape(value)
        schema: tuple[Any, ...] = ()
        if kind == "pandas.DataFrame":
            schema = self._labels(value.columns.tolist()), tuple(map(self._dtype, value.dtypes.array))
        elif kind in ("pandas.Series", "pandas.Index"):
            schema = _label(value.name), self._dtype(value.dtype)
        elif kind == "pyarrow.Table":
            schema = tuple(value.schema.names), tuple(map(str, value.schema.types))
        known = self._digests.get(schema)
        if known is None:
            text = repr(schema).encode(errors="replace")
            known = self._digests[schema] = hashlib.md5(text, usedforsecurity=False).hexdigest()[:8]
        return known

    def _labels(self, names: list[Any]) -> tuple[str, ...]:
        before, labels = self._names
        is_plain = set(map(type, names)) <= {str}
        if not is_plain or names != before:
            labels = tuple(map(_label, names))
            if is_plain:
                self._names = names, labels
        return labels

    def _dtype(self, dtype: Any) -> str:
        if not _is_own(dtype):  # its equality may be anybody's
            return _dtype(dtype)
        known = self._dtypes.get(dtype)
        if known is None:
            known = self._dtypes[dtype] = _dtype(dtype)
        return known


def _class(kind: type) -> str:
    # Not by attribute: a class's own class may answer anything.
    name = type.__dict__["__name__"].__get__(kind)
    module = type.__getattribute__(kind, "__dict__").get("__module__")
    text = f"{module.split('.', 1)[0]}.{name}" if type(module) is str and module != "builtins" else name
    return text[:MAX_TEXT]


def _names(frame: Any) -> tuple[str, ...]:
    return tuple(map(_label, frame.columns.tolist()))


def _label(name: Any) -> str:
    if name is None:
        return ""
    if type(name) is tuple:
        return str(tuple(_label(part) for part in name))[:MAX_TEXT]
    return _text(name, MAX_TEXT)


def _text(value: Any, longest: int) -> str:
    """Of what is plain; else a question mark."""
    kind = type(value)
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if kind in _PLAIN or (
        numpy is not None and issubclass(kind, numpy.generic) and kind is not numpy.object_
    ):
        return str(value)[:longest]
    if pandas is not None and (kind in (pandas.Timestamp, pandas.Timedelta) or value is pandas.NA):
        return str(value)[:longest]
    if pandas is not None and value is pandas.NaT:
        return "NaT"
    return "?"


def _dtype(dtype: Any) -> str:
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    kind = type(dtype)
    if numpy is not None and issubclass(kind, numpy.dtype):
        return str(dtype)[:MAX_TEXT]
    if any(kind is getattr(pandas, name, None) for name in _DTYPES):
        return str(dtype)[:MAX_TEXT]
    if pandas is not None and kind is pandas.CategoricalDtype:
        return "category"
    return _class(kind)


def _is_own(dtype: Any) -> bool:
    """Whether values of this dtype are numpy's or pandas' own."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    kind = type(dtype)
    if numpy is not None and issubclass(kind, numpy.dtype):
        return not dtype.hasobject
    return any(kind is getattr(pandas, name, None) for name in _DTYPES)


def _series(value: Any) -> list[Any]:
    """The columns of a frame, or what is one itself."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return []
    if type(value) is pandas.DataFrame:
        return [value.iloc[:, i] for i in range(min(MAX_COLUMNS, value.shape[1]))]
    return [value] if type(value) is pandas.Series or _shape(value)[1] == "pandas.Index" else []


def _columns(frames: list[Any], deadline: float) -> Iterator[tuple[str, str, float | None, str | None]]:
    taken = [_series(frame) for frame in frames]
    for i, column in enumerate(taken[0] if taken else ()):
        row: float | None = None
        holds: str | None = None
        if time.thread_time() < deadline:
            alike = [series[i] for series in taken if i < len(series)]
            rows = sum(map(len, alike))
            row = sum(_nbytes(series) for series in alike) / rows if rows else None
            if _dtype(column.dtype) == "object":
                holds = _holds(_sample(column))
        yield _label(column.name), _dtype(column.dtype), row, holds


def _sample(column: Any, n: int = N_VALUES) -> list[Any]:
    values = column.to_numpy()
    step = max(1, len(values) // n)
    return list(values[::step][:n])


def _nbytes(column: Any) -> float:
    dtype = column.dtype
    if not _is_own(dtype) and _dtype(dtype) not in ("object", "category"):
        return 0.0
    pandas = sys.modules["pandas"]
    flat = column.memory_usage(index=False) if type(column) is pandas.Series else column.memory_usage()
    if _dtype(dtype) != "object":
        return float(flat)
    sample = _sample(column)
    known = [sys.getsizeof(value) for value in sample if type(value) in _PLAIN and value is not None]
    return float(flat) + (sum(known) / len(sample) * len(column) if sample else 0.0)


def _holds(sample: list[Any]) -> str | None:
    kinds = set(map(type, sample))
    if not kinds <= _PLAIN:
        return "mixed"
    infer = getattr(
        getattr(getattr(sys.modules.get("pandas"), "api", None), "types", None), "infer_dtype", None
    )
    return None if infer is None else str(infer(sample, skipna=True))[:MAX_TEXT]


def _hot(value: Any, columns: tuple[str, ...], deadline: float) -> Iterator[tuple[str, str, float, int]]:
    """The most frequent value of each of these columns."""
    pandas = sys.modules.get("pandas")
    if pandas is None or type(value) is not pandas.DataFrame or not len(value):
        return
    names = _names(value)
    for column in columns:
        if time.thread_time() > deadline:
            return
        if column in names:
            series = value.iloc[:, names.index(column)]
        elif column == _label(value.index.name) and value.index.nlevels == 1:
            series = pandas.Series(value.index)
        else:
            continue
        top = _top(series)
        if top is not None:
            yield (column, *top)


def _top(series: Any) -> tuple[str, float, int] | None:
    series = series.iloc[:: -(-len(series) // N_ROWS)]
    n = len(series)
    if _is_own(series.dtype):
        counts = series.value_counts(dropna=False)
        return _text(counts.index[0], MAX_VALUE), int(counts.iloc[0]) / n, n
    if _dtype(series.dtype) == "category":
        codes = series.cat.codes.value_counts()
        code = int(codes.index[0])
        text = "nan" if code < 0 else _text(series.cat.categories[code], MAX_VALUE)
        return text, int(codes.iloc[0]) / n, n
    if _dtype(series.dtype) == "object":
        values = series.tolist()
        if not set(map(type, values)) <= _PLAIN:
            return None
        value, count = Counter(values).most_common(1)[0]
        return _text(value, MAX_VALUE), count / n, n
    return None
