"""What dataframes are made from: files, a frame of the kernel's, what lies in memory. Nothing is computed.

Local files may be looked at, a few of them; of a remote store only what Dask has read and kept already.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ...snapshot import PartitionSizes, Read
from . import text_sources
from .column_weights import ARROW_OFFSET, Weight, Weights, by_meta, fixed, index_weight, may_be_text, overhead
from .frame_hazards import kinds, operand
from .frame_twins import count, is_cut, starts
from .parquet_sources import parquet
from .text_samples import text_bytes

#: Values of a column that are looked at for the length of its text.
MAX_VALUES = 2_000
#: Partitions whose measured sizes come in their order.
MAX_IN_ORDER = 200

Found = tuple[Read | None, Weights | None]


def source(step: Any) -> Found:
    """The files that a step without inputs reads, and what its rows weigh, as far as either is known."""
    of = kinds(step)
    if "FromPandas" in of:
        return None, _from_pandas(step)
    if "ReadParquet" in of:
        return parquet(step)
    if "FromMap" in of:
        return text_sources.read_csv(step)
    if "FromDelayed" in of:
        return text_sources.read_json(step)
    if "FromArray" in of:
        return None, _from_array(step)
    if "FromGraph" in of:
        return None, _from_dask_array(step)
    if "Timeseries" in of:
        return None, _timeseries(step)
    return None, None


def persisted(step: Any, measured: PartitionSizes | None) -> Weights | None:
    """What lies in memory, of which the sizes of partitions were measured; None unless widths tell its rows."""
    npartitions = len(step.operand("keys"))
    if measured is None or measured.n < npartitions or not npartitions:
        return None
    meta = step._meta
    columns = by_meta(meta, 1, is_counted=False)
    index = index_weight(meta.index if hasattr(meta, "index") else meta, 1, is_counted=False)
    each = [*columns.values(), index]
    if None in each or not columns:
        return None
    own = overhead(meta)
    width = sum(weight.nbytes for weight in each if weight is not None)
    n_rows = max(0, measured.total - npartitions * own) / width if width else 0.0
    values = measured.values if len(measured.values) == npartitions <= MAX_IN_ORDER else ()
    return Weights(
        n_rows=n_rows,
        is_counted=False,
        npartitions=npartitions,
        shares=_shares([max(0, value - own) for value in values]) if values else None,
        columns=by_meta(meta, n_rows, is_counted=False),
        index=index and Weight(nbytes=index.nbytes * n_rows),
    )


def _from_pandas(step: Any) -> Weights:
    frame = step.operand("frame")._data
    n_rows = len(frame)
    is_series = frame.ndim == 1
    dtypes = {frame.name: frame.dtype} if is_series else dict(zip(frame.columns, frame.dtypes, strict=True))
    wanted = dtypes if is_series else set(step.columns)
    columns: dict[Any, Weight | None] = {}
    for label, dtype in dtypes.items():
        if label in wanted:
            weight = fixed(dtype, n_rows, is_counted=True)
            columns[label] = weight or _text(frame if is_series else frame[label])
    n = count(step) if type(step).__name__ == "FromPandas" and not is_cut(step) else 0
    locations = [*starts(n_rows, n), n_rows] if n else step._locations()
    rows = [end - start for start, end in pairwise(locations)]
    chosen = operand(step, "_partitions")
    kept = rows if chosen is None else [rows[place] for place in chosen]
    weights = Weights(
        n_rows=n_rows,
        is_counted=True,
        npartitions=len(rows),
        shares=_shares(rows),
        columns=columns,
        index=index_weight(frame.index, n_rows, is_counted=True) or _text(frame.index.to_series()),
    )
    return weights if chosen is None else scaled(weights, kept)


def _text(column: Any) -> Weight | None:
    """Text in memory, from values here and there."""
    n = len(column)
    if not n or column.ndim > 1:  # two of one name
        return None if n else Weight(nbytes=0, is_text=True)
    if getattr(column.dtype, "storage", "") == "pyarrow":
        return Weight(nbytes=max(0, column.memory_usage(index=False) - ARROW_OFFSET * n), is_text=True)
    # Not at even distances: data often has a rhythm of its own.
    places = range(n) if n <= MAX_VALUES else random.Random(0).sample(range(n), MAX_VALUES)
    values = column.iloc[list(places)]
    length = text_bytes(values)
    return None if length is None else Weight(nbytes=length * n / len(values), is_text=True)


def _shares(rows: Sequence[float]) -> tuple[float, ...] | None:
    total = sum(rows)
    return tuple(n / total for n in rows) if total else None


def scaled(weights: Weights, rows: Sequence[float]) -> Weights:
    """The same for some of the partitions, of so many rows each."""
    n_rows = sum(rows)
    share = n_rows / weights.n_rows if weights.n_rows else 0.0

    def less(weight: Weight | None) -> Weight | None:
        return weight and Weight(
            nbytes=weight.nbytes * share, is_exact=weight.is_exact, is_text=weight.is_text
        )

    return Weights(
        n_rows=n_rows,
        is_counted=weights.is_counted,
        npartitions=len(rows),
        shares=_shares(rows),
        columns={label: less(weight) for label, weight in weights.columns.items()},
        index=less(weights.index),
    )


def _from_array(step: Any) -> Weights | None:
    n_rows, each = len(step.operand("frame")), step.chunksize
    rows = [min(each, n_rows - start) for start in range(0, n_rows, each)]
    return Weights(
        n_rows=n_rows,
        is_counted=True,
        npartitions=len(rows),
        shares=_shares(rows),
        columns=by_meta(step._meta, n_rows, is_counted=True),
        index=Weight(nbytes=0, is_exact=True),
    )


def _from_dask_array(step: Any) -> Weights | None:
    """Of an array of Dask's, whose rows are numbered: its divisions are their numbers."""
    divisions = step.operand("divisions")
    prefix = str(step.operand("name_prefix"))
    if not prefix.startswith("from-dask-array") or not all(isinstance(value, int) for value in divisions):
        return None
    bounds = [*divisions[:-1], divisions[-1] + 1]
    rows = [end - start for start, end in pairwise(bounds)]
    meta = step._meta
    return Weights(
        n_rows=sum(rows),
        is_counted=True,
        npartitions=len(rows),
        shares=_shares(rows),
        columns=by_meta(meta, sum(rows), is_counted=True),
        index=index_weight(meta.index, sum(rows), is_counted=True),
    )


def _timeseries(step: Any) -> Weights | None:
    """Dask's own invented data: names of about five letters."""
    import pandas as pd

    each = pd.Timedelta(step.operand("partition_freq")) / pd.Timedelta(step.operand("freq"))
    n = int(step.npartitions)
    columns = by_meta(step._meta, n * each, is_counted=False)
    for label, dtype in step._meta.dtypes.items():
        if columns[label] is None and may_be_text(dtype):
            columns[label] = Weight(nbytes=5.5 * n * each, is_text=True)
    return Weights(
        n_rows=n * each,
        is_counted=False,
        npartitions=n,
        shares=(1 / n,) * n,
        columns=columns,
        index=Weight(nbytes=8 * n * each),
    )
