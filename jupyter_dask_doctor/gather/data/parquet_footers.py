"""What the footers of a few local parquet files tell of rows and text; never a file of a remote store."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

#: Footers read for one collection, and the time after which no further one is begun.
MAX_FOOTERS = 8
MAX_SECONDS = 0.2
#: Row groups of one file looked at, rows of text read for its length, and columns of text that are.
MAX_ROW_GROUPS = 1_000
MAX_SAMPLED_ROWS = 1_000
MAX_SAMPLED_COLUMNS = 30
#: Read at a time, so that no more than the first pages of a column come in.
BUFFER = 1 << 16
MAX_KEPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """Of one file."""

    nbytes: int
    n_rows: int
    #: Rows of each row group; of the first thousand.
    row_groups: tuple[int, ...]
    n_row_groups: int
    #: Bytes of text in a row, by column, where the column is text.
    text: Mapping[str, float]
    #: Columns that are written as text.
    text_columns: frozenset[str]


_kept: OrderedDict[tuple[str, int, int], Footer] = OrderedDict()


def footers(paths: Sequence[str]) -> dict[str, Footer]:
    """Of a few of these files, evenly spread; of all of them when they are few. Empty when none can be read."""
    step = max(1, len(paths) / MAX_FOOTERS)
    chosen = [paths[int(place * step)] for place in range(min(MAX_FOOTERS, len(paths)))]
    deadline = perf_counter() + MAX_SECONDS
    found: dict[str, Footer] = {}
    for path in chosen:
        if found and perf_counter() > deadline:
            break
        try:
            found[path] = _footer(path, with_text=len(found) < 2)
        except Exception:  # gone, or not what its name says
            continue
    return found


def _footer(path: str, *, with_text: bool) -> Footer:
    at = os.stat(path)
    key = (path, at.st_mtime_ns, at.st_size)
    known = _kept.get(key)
    if known is not None and (known.text or not with_text or not known.text_columns):
        return known
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
        metadata = file.metadata
        names = _text_columns(file)
        groups = tuple(
            metadata.row_group(i).num_rows for i in range(min(metadata.num_row_groups, MAX_ROW_GROUPS))
        )
        footer = Footer(
            nbytes=at.st_size,
            n_rows=metadata.num_rows,
            row_groups=groups,
            n_row_groups=metadata.num_row_groups,
            text=_lengths(file, names[:MAX_SAMPLED_COLUMNS]) if with_text and metadata.num_rows else {},
            text_columns=frozenset(names),
        )
    _kept[key] = footer
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return footer


def _text_columns(file: Any) -> list[str]:
    import pyarrow as pa

    found = []
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found.append(field.name)
    return found


def _lengths(file: Any, names: list[str]) -> dict[str, float]:
    """Bytes of text in a row, from the first rows: what a footer tells of text is its size as written, which for
    repeated words is that of their numbers."""
    import pyarrow.compute as pc

    if not names:
        return {}
    batches = file.iter_batches(batch_size=MAX_SAMPLED_ROWS, row_groups=[0], columns=names, use_threads=False)
    batch = next(iter(batches), None)
    if batch is None or not batch.num_rows:
        return {}
    found = {}
    for name in names:
        column = batch.column(name)
        if hasattr(column, "dictionary"):
            column = column.cast(column.type.value_type)
        found[name] = (pc.sum(pc.binary_length(column)).as_py() or 0) / batch.num_rows
    return found
