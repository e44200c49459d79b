"""What `read_parquet` reads: files, rows, bytes in memory, from what Dask has read and a few local footers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...snapshot import Read
from .column_weights import Weight, Weights, dtypes_of, fixed, index_weight, may_be_text
from .frame_hazards import kinds, operand
from .parquet_footers import Footer, footers
from .paths import is_local, shown, sizes_of

#: A part of what is read: the file, and the row groups in it or None for all.
Piece = tuple[str, tuple[int, ...] | None]


def parquet(step: Any) -> tuple[Read | None, Weights | None]:
    """Of a `read_parquet`, once Dask has looked at its files."""
    if operand(step, "_dataset_info_cache") is None:
        return None, None
    info = step._dataset_info
    if "ReadParquetPyarrowFS" in kinds(step):
        filesystem = step.fs
        listed = info.get("all_files") or ()
        sizes = {file.path: int(file.size) for file in listed if file.size is not None}
        partitions: list[list[Piece]] = [[(file.path, None)] for file in listed]
        counted: list[int] | None = None
    else:
        filesystem = info["fs"]
        plan = info["plan"]
        partitions = [] if plan["empty"] else [_pieces(part) for part in plan["parts"]]
        told = [stat.get("num-rows") for stat in plan["statistics"]]
        counted = told if told and None not in told and len(told) == len(partitions) else None
        sizes = {}
    paths = list(dict.fromkeys(path for pieces in partitions for path, _ in pieces))
    if not paths:
        return None, None
    found: Mapping[str, Footer] = {}
    if is_local(filesystem):
        sizes = sizes or sizes_of(paths)
        found = footers(paths)
    read = _read(step, paths, sizes, partitions, found)
    if operand(step, "filters"):
        return read, None
    return read, _weights(step, partitions, sizes, found, counted)


def _pieces(part: Any) -> list[Piece]:
    pieces = []
    for item in part if isinstance(part, list) else [part]:
        path, groups = item["piece"][:2]
        pieces.append((str(path), None if groups is None or None in groups else tuple(groups)))
    return pieces


def _read(
    step: Any,
    paths: Sequence[str],
    sizes: Mapping[str, int],
    partitions: Sequence[Sequence[Piece]],
    found: Mapping[str, Footer],
) -> Read:
    known = len(sizes) == len(paths)
    seen = [footer.n_row_groups for footer in found.values()]
    is_all = len(found) == len(paths)
    return Read(
        format="parquet",
        path=shown(step.operand("path")),
        n_files=len(paths),
        nbytes=sum(sizes.values()) if known else None,
        largest=max(sizes.values()) if known else None,
        npartitions=len(partitions),
        n_row_groups=sum(seen) if is_all else None,
        n_rows=sum(footer.n_rows for footer in found.values()) if is_all else None,
    )


def _weights(
    step: Any,
    partitions: Sequence[Sequence[Piece]],
    sizes: Mapping[str, int],
    found: Mapping[str, Footer],
    counted: Sequence[int] | None,
) -> Weights | None:
    rows, is_counted = _rows(partitions, sizes, found, counted)
    if rows is None:
        return None
    chosen = operand(step, "_partitions")
    if chosen is not None:
        rows = [rows[place] for place in chosen]
    n_rows = sum(rows)
    meta = step._meta
    columns: dict[Any, Weight | None] = {}
    for label, dtype in dtypes_of(meta):
        columns[label] = _column(str(label), dtype, n_rows, is_counted, found)
    frame_index = meta.index if hasattr(meta, "index") else meta
    index = index_weight(frame_index, n_rows, is_counted=is_counted)
    if type(frame_index).__name__ == "RangeIndex" and _has_written_index(step):
        index = Weight(nbytes=8 * n_rows)  # meta does not know of it
    if index is None:
        index = _text(str(frame_index.name), frame_index.dtype, n_rows, found)
    return Weights(
        n_rows=n_rows,
        is_counted=is_counted,
        npartitions=len(rows),
        shares=tuple(n / n_rows for n in rows) if n_rows else None,
        columns=columns,
        index=index,
    )


def _has_written_index(step: Any) -> bool:
    """Dask writes also an index without a name; as whole numbers, most of the time."""
    return "__null_dask_index__" in step._dataset_info["schema"].names


def _column(
    name: str, dtype: Any, n_rows: float, is_counted: bool, found: Mapping[str, Footer]
) -> Weight | None:
    if hasattr(dtype, "categories"):
        # How many there are tells only reading; codes of most take a byte.
        return fixed(dtype, n_rows, is_counted=False)
    return fixed(dtype, n_rows, is_counted=is_counted) or _text(name, dtype, n_rows, found)


def _text(name: str, dtype: Any, n_rows: float, found: Mapping[str, Footer]) -> Weight | None:
    if not may_be_text(dtype):
        return None
    lengths = [footer.text[name] for footer in found.values() if name in footer.text]
    return Weight(nbytes=n_rows * sum(lengths) / len(lengths), is_text=True) if lengths else None


def _rows(
    partitions: Sequence[Sequence[Piece]],
    sizes: Mapping[str, int],
    found: Mapping[str, Footer],
    counted: Sequence[int] | None,
) -> tuple[list[float] | None, bool]:
    """Rows of each partition, and whether they were counted."""
    if counted is not None:
        return [float(n) for n in counted], True
    seen = sum(footer.nbytes for footer in found.values())
    if not seen:
        return None, False
    per_byte = sum(footer.n_rows for footer in found.values()) / seen
    mean = seen / len(found)
    n_pieces: dict[str, int] = {}
    for pieces in partitions:
        for path, groups in pieces:
            n_pieces[path] = n_pieces.get(path, 0) + (1 if groups is None else len(groups))
    is_counted = True
    rows = []
    for pieces in partitions:
        n = 0.0
        for path, groups in pieces:
            footer = found.get(path)
            if footer is None:
                is_counted = False
                part = 1.0 if groups is None else len(groups) / n_pieces[path]
                n += sizes.get(path, mean) * per_byte * part
            elif groups is None:
                n += footer.n_rows
            elif max(groups) < len(footer.row_groups):
                n += sum(footer.row_groups[group] for group in groups)
            else:
                is_counted = False
                n += footer.n_rows * len(groups) / footer.n_row_groups
        rows.append(n)
    return rows, is_counted
