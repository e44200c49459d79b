"""What `read_csv`, `read_table` and `read_json` read, and what their lines come to in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ...snapshot import Read
from .column_weights import Weight, Weights, by_meta, dtypes_of, index_weight, may_be_text
from .frame_hazards import operand
from .paths import is_local, shown, sizes_of
from .text_samples import TextSample, parse_json, sample_file, sample_frame

#: Delayed blocks of JSON that are looked at; with more of them their sizes stay unknown.
MAX_BLOCKS = 20_000

#: A block of a file: the open file, and how many bytes of it or None for all.
Block = tuple[Any, int | None]


def read_csv(step: Any) -> tuple[Read | None, Weights | None]:
    """Of a `from_map` that `read_csv` and its like have made; nothing of any other."""
    function = operand(step, "func")
    if not isinstance(function, partial) or getattr(function.func, "__name__", "") != "_read_csv":
        return None, None
    blocks = [block for block in map(_block, operand(step, "iterables")[0]) if block is not None]
    head, options = function.keywords["head"], function.keywords["kwargs"]
    name = str(getattr(function.keywords["reader"], "__name__", "read_csv")).removeprefix("read_")

    def parse(text: bytes) -> Any:
        return function.keywords["reader"](io.BytesIO(text), **options)

    sample = None
    if _is_plain(options):
        sample = _sampled(blocks, parse, kind=f"{name} {options!r}")
    if sample is None:
        sample = _from_head(head)
    blocksize = function.keywords.get("blocksize")
    return _told(step, name, blocks, sample, blocksize if isinstance(blocksize, int) else None)


def read_json(step: Any) -> tuple[Read | None, Weights | None]:
    """Of a `from_delayed` that `read_json` has made; nothing of any other."""
    parts = operand(step, "delayed_container").operands
    if not parts or len(parts) > MAX_BLOCKS or not str(getattr(parts[0], "key", "")).startswith("read_json_"):
        return None, None
    blocks = [block for part in parts for block in _json_blocks(part)][: len(parts)]
    if len(blocks) != len(parts):
        return None, None
    is_cut = blocks[0][1] is not None
    return _told(
        step, "json", blocks, _sampled(blocks, parse_json, kind="json"), blocks[0][1] if is_cut else None
    )


def _told(
    step: Any, name: str, blocks: Sequence[Block], sample: TextSample | None, blocksize: int | None
) -> tuple[Read | None, Weights | None]:
    if not blocks:
        return None, None
    paths = list(dict.fromkeys(str(file.path) for file, _ in blocks))
    lengths: list[int | None] = [length for _, length in blocks]
    files: dict[str, int] = {}
    if None in lengths:
        if is_local(blocks[0][0].fs):
            files = sizes_of(paths)
        lengths = [files.get(str(file.path)) if length is None else length for file, length in blocks]
    else:
        for (file, _), length in zip(blocks, lengths, strict=True):
            files[str(file.path)] = files.get(str(file.path), 0) + (length or 0)
    is_known = None not in lengths
    read = Read(
        format=name,
        path=shown(paths[0]),
        n_files=len(paths),
        nbytes=sum(files.values()) if is_known else None,
        largest=max(files.values(), default=None) if is_known else None,
        npartitions=len(blocks),
        compression=blocks[0][0].compression,
        blocksize=blocksize,
    )
    if not is_known or sample is None:
        return read, None
    chosen = operand(step, "_partitions")
    sizes = [length or 0 for length in lengths]
    return read, _weights(step, sizes if chosen is None else [sizes[place] for place in chosen], sample)


def _weights(step: Any, sizes: Sequence[int], sample: TextSample) -> Weights | None:
    total = sum(sizes)
    n_rows = total * sample.rows
    meta = step._meta
    columns = by_meta(meta, n_rows, is_counted=False)
    for label, dtype in dtypes_of(meta):
        if columns[label] is None and may_be_text(dtype) and label in sample.text:
            columns[label] = Weight(nbytes=total * sample.text[label], is_text=True)
    return Weights(
        n_rows=n_rows,
        is_counted=False,
        npartitions=len(sizes),
        shares=tuple(size / total for size in sizes) if total else None,
        columns=columns,
        # Read by itself, each block has a range for its index; its meta knows no better.
        index=Weight(nbytes=0)
        if meta.index.name is None
        else index_weight(meta.index, n_rows, is_counted=False),
    )


def _sampled(blocks: Sequence[Block], parse: Callable[[bytes], Any], *, kind: str) -> TextSample | None:
    if not blocks or not is_local(blocks[0][0].fs):
        return None
    file = blocks[0][0]
    return sample_file(str(file.path), file.compression, parse, kind=kind)


def _from_head(head: Any) -> TextSample | None:
    """From the rows that Dask has parsed already to know the dtypes."""
    text = head.to_csv(index=False, header=False)
    return sample_frame(head, len(text.encode("utf-8", "replace")))


def _is_plain(options: Any) -> bool:
    """No function of the user's among them."""
    if isinstance(options, dict):
        return all(map(_is_plain, options.values()))
    if isinstance(options, (list, tuple, set)):
        return len(options) < 1_000 and all(map(_is_plain, options))
    return options is None or not callable(options) or isinstance(options, type)


def _block(task: Any) -> Block | None:
    """The open file and the length in a task that reads a block."""
    arguments = getattr(task, "args", None) or (task if isinstance(task, tuple) else ())
    for place, item in enumerate(arguments):
        if hasattr(type(item), "__fspec_open__") or type(item).__name__ == "OpenFile":
            length = arguments[place + 2] if len(arguments) > place + 2 else None
            return item, int(length) if isinstance(length, (int, float)) and not isinstance(
                length, bool
            ) else None
    return None


def _json_blocks(part: Any) -> Iterator[Block]:
    graph = part.dask
    if len(graph) > 10:
        return
    for task in dict(graph).values():
        block = _block(task)
        if block is not None:
            yield block
            return
