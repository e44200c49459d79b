"""The notebook's collections as the Data section lists them, in as many bytes as there are for them.

The order in which things go: sizes and rows of single partitions (first fewer of them, then those of all but
the largest collections), columns beyond the first, long texts, collections beyond the first.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..messages import CollectionInfo, ColumnInfo, RowCounts, SourceInfo
from ..snapshot import Cluster, Collection, Column, Gap, Held, PartitionSizes, Read, Snapshot, Worker
from .fitting import cut, nbytes

#: Share of a worker's memory per thread that one partition may have: Dask's best practices want two or three
#: of them to fit for each core. https://docs.dask.org/en/stable/best-practices.html
SHARE = 1 / 3
#: Values of a chart: more is sent only while there is room, since a narrow panel has no pixel for each.
VALUES, FEW_VALUES = 200, 40
#: Columns of one collection, at most, and when room is short; files read; holders and reasons.
COLUMNS, FEW_COLUMNS = 60, 8
READS, HOLDERS, UNLIKE, GAPS = 3, 5, 10, 5
#: Characters of a name, a path, a sentence; when room is short.
NAME, PATH, SENTENCE = 80, 200, 300
SHORT = 40
#: How the class of the partitions ends.
PROMISED = {"dataframe": ".DataFrame", "series": ".Series", "index": "Index"}
#: Collections that keep their charts when not all can.
WITH_CHARTS = 6


def partition_limit(snapshot: Snapshot) -> int | None:
    """Bytes that one partition may have on the worker with the least memory per thread; None without limits."""
    workers: tuple[Worker, ...] = () if isinstance(snapshot.workers, Gap) else snapshot.workers
    each = [
        one.memory_limit / max(1, one.nthreads) * SHARE for one in workers if one.memory_limit is not None
    ]
    if each:
        return int(min(each))
    cluster: Cluster | Gap = snapshot.cluster
    if isinstance(cluster, Gap) or cluster.memory_limit is None or not cluster.nthreads:
        return None
    return int(cluster.memory_limit / cluster.nthreads * SHARE)


def collection_infos(collections: tuple[Collection, ...] | Gap) -> tuple[CollectionInfo, ...]:
    """In the order in which the notebook's variables were found."""
    return () if isinstance(collections, Gap) else tuple(_info(one) for one in collections)


def _info(one: Collection) -> CollectionInfo:
    held = one.held
    rows = None if held is None else _rows(held, one.npartitions)
    counted = rows.total if rows is not None and rows.n == one.npartitions else None
    return CollectionInfo(
        name=one.name,
        kind=one.kind,
        npartitions=one.npartitions,
        nbytes=one.nbytes,
        largest=one.largest,
        is_persisted=one.is_persisted,
        is_eager=one.is_eager,
        sizes=one.sizes,
        at=one.at,
        rows=rows,
        n_rows=one.n_rows if counted is None else counted,
        has_exact_rows=counted is not None or _is_told(one),
        columns=_columns(one.columns, () if held is None else held.columns),
        n_columns=len(one.columns) if one.n_columns is None and one.columns else one.n_columns,
        has_known_divisions=one.has_known_divisions,
        shape=one.shape,
        chunks=one.chunks,
        dtype=None if one.dtype is None else cut(one.dtype, NAME),
        reads=tuple(_source(read) for read in one.reads[:READS]),
        n_reads=len(one.reads),
        n_tasks=one.n_tasks,
        fused_tasks=one.fused_tasks,
        held_by=tuple(cut(name, NAME) for name in one.held_by[:HOLDERS]),
        wrapped_by=None if one.wrapped_by is None else cut(one.wrapped_by, NAME),
        type=_type(one),
        unlike=() if held is None else tuple(cut(index, SHORT) for index in held.unlike[:UNLIKE]),
        hot=None if held is None else held.hot,
        gaps=tuple(cut(gap, SENTENCE) for gap in one.gaps[:GAPS]),
    )


def _is_told(one: Collection) -> bool:
    """The files, or what the kernel has in memory, tell the number of rows."""
    of_files = one.n_rows is not None and [read.n_rows for read in one.reads] == [one.n_rows]
    return of_files or (one.nbytes is not None and one.nbytes.known == "exact")


def _type(one: Collection) -> str | None:
    real = None if one.held is None else one.held.type
    if real is None or real == one.dtype or real.endswith(PROMISED.get(one.kind, "\0")):
        return None
    return cut(real, NAME)


def _columns(told: Sequence[Column], real: Sequence[Column]) -> tuple[ColumnInfo, ...]:
    found = {column.name: column for column in real}
    return tuple(
        ColumnInfo(
            name=cut(column.name, NAME),
            dtype=cut(column.dtype, NAME),
            real=_other(column, found.get(column.name)),
            nbytes=column.nbytes or (found[column.name].nbytes if column.name in found else None),
        )
        for column in (told or real)[:COLUMNS]
    )


def _other(column: Column, real: Column | None) -> str | None:
    return None if real is None or real.dtype == column.dtype else cut(real.dtype, NAME)


def _source(read: Read) -> SourceInfo:
    return SourceInfo(
        format=cut(read.format, SHORT), path=cut(read.path, PATH), n_files=read.n_files, nbytes=read.nbytes
    )


def _rows(held: Held, npartitions: int | None) -> RowCounts | None:
    rows = held.rows
    if not rows:
        return None
    largest = max(rows)
    return RowCounts(
        n=len(rows),
        total=sum(rows),
        median=int(statistics.median(rows)),
        largest=largest,
        largest_index=str(rows.index(largest)) if len(rows) == npartitions else None,
        values=_quantiles(rows, VALUES),
    )


def _quantiles(values: tuple[int, ...], n: int) -> tuple[int, ...]:
    """The values themselves when there are at most `n`, else so many quantiles, ascending."""
    if len(values) <= n:
        return values
    ordered = sorted(values)
    return tuple(ordered[round(i * (len(ordered) - 1) / (n - 1))] for i in range(n))


# Fitting ----------------------------------------------------------------------------------------------


def fit_collections(
    collections: Sequence[CollectionInfo], limit: int
) -> tuple[tuple[CollectionInfo, ...], tuple[str, ...]]:
    """The collections in at most `limit` bytes of JSON, and what was left out, in words."""
    fitted = tuple(collections)
    left_out: list[str] = []
    for words, step in _steps(fitted):
        if nbytes(fitted) <= limit:
            break
        smaller = tuple(step(one) for one in fitted)
        if smaller != fitted:
            fitted = smaller
            if words not in left_out:
                left_out.append(words)
    n = len(fitted)
    while fitted and nbytes(fitted) > limit:
        fitted = fitted[: len(fitted) * 3 // 4]
    if len(fitted) < n:
        left_out.append(f"{n - len(fitted)} of {n} collections")
    return fitted, tuple(left_out)


def _steps(
    collections: Sequence[CollectionInfo],
) -> Iterator[tuple[str, Callable[[CollectionInfo], CollectionInfo]]]:
    sizes = "sizes of single partitions of collections"
    largest = {cut(one.name, NAME) for one in sorted(collections, key=_size, reverse=True)[:WITH_CHARTS]}
    yield sizes, lambda one: _with_values(one, FEW_VALUES)
    yield f"columns of collections beyond {FEW_COLUMNS}", _few_columns
    yield "parts of long texts of collections", _short_texts
    yield sizes, lambda one: one if one.name in largest else _with_values(one, 0)
    yield "columns of collections", lambda one: one if one.name in largest else replace(one, columns=())
    yield sizes, lambda one: _with_values(one, 0)
    yield (
        "details of collections",
        lambda one: replace(one, columns=(), reads=(), held_by=(), unlike=(), hot=None, gaps=one.gaps[:1]),
    )


def _size(one: CollectionInfo) -> float:
    size = -1 if one.nbytes is None else one.nbytes.nbytes
    return math.inf if one.hot is not None else size


def _with_values(one: CollectionInfo, n: int) -> CollectionInfo:
    sizes: PartitionSizes | None = one.sizes
    rows = one.rows
    return replace(
        one,
        sizes=sizes and replace(sizes, values=_quantiles(sizes.values, n) if n else ()),
        rows=rows and replace(rows, values=_quantiles(rows.values, n) if n else ()),
    )


def _few_columns(one: CollectionInfo) -> CollectionInfo:
    # Those that are not what Dask was told come first: they are what a reader would look for.
    kept = sorted(one.columns, key=lambda column: column.real is None)[:FEW_COLUMNS]
    return replace(one, columns=tuple(column for column in one.columns if column in kept))


def _short_texts(one: CollectionInfo) -> CollectionInfo:
    return replace(
        one,
        name=cut(one.name, NAME),
        dtype=one.dtype and cut(one.dtype, SHORT),
        columns=tuple(
            replace(
                column,
                name=cut(column.name, SHORT),
                dtype=cut(column.dtype, SHORT),
                real=column.real and cut(column.real, SHORT),
            )
            for column in one.columns
        ),
        reads=tuple(replace(read, path=cut(read.path, NAME)) for read in one.reads[:1]),
        gaps=tuple(cut(gap, NAME) for gap in one.gaps[:2]),
        hot=one.hot and replace(one.hot, column=cut(one.hot.column, SHORT), value=cut(one.hot.value, SHORT)),
    )
