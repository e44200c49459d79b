"""How much memory a byte of a text file comes to, from the first lines of one local file."""

from __future__ import annotations

import io
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .column_weights import is_text

#: Bytes of a file that are read and parsed.
SAMPLE = 1 << 16
MAX_KEPT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSample:
    """What one byte on disk comes to."""

    rows: float
    #: Bytes of text, by column, where it is text.
    text: Mapping[Any, float]


_kept: OrderedDict[tuple[Any, ...], TextSample | None] = OrderedDict()


def sample_file(
    path: str, compression: str | None, parse: Callable[[bytes], Any], *, kind: str
) -> TextSample | None:
    """Of the beginning of a local file; None when it cannot be read or parsed. `kind`: of what `parse` does."""
    try:
        at = os.stat(path)
        key = (path, at.st_mtime_ns, at.st_size, kind)
        if key in _kept:
            return _kept[key]
        found = _sample(path, compression, parse)
    except Exception:  # gone, of another encoding, or not what its name says
        return None
    _kept[key] = found
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return found


def sample_frame(frame: Any, nbytes: float) -> TextSample | None:
    """Of rows that were parsed already, from so many bytes on disk."""
    if not len(frame) or nbytes <= 0:
        return None
    return TextSample(
        rows=len(frame) / nbytes,
        text={
            name: length / nbytes
            for name, length in ((n, text_bytes(frame[n])) for n in frame.columns)
            if length is not None
        },
    )


def text_bytes(column: Any) -> float | None:
    """Bytes of the text in a column; None when it holds something else."""
    if not is_text(column.dtype) and column.dtype != object:
        return None
    total = 0
    for value in column.dropna().tolist():
        if not isinstance(value, str):
            return None
        total += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return float(total)


def _sample(path: str, compression: str | None, parse: Callable[[bytes], Any]) -> TextSample | None:
    with open(path, "rb") as file:
        raw = file.read(SAMPLE)
    if compression is None:
        text, spent = raw, len(raw)
    elif compression == "gzip":
        inflate = zlib.decompressobj(wbits=31)
        text = inflate.decompress(raw, 4 * SAMPLE)
        spent = len(raw) - len(inflate.unconsumed_tail)
    else:
        return None
    end = text.rfind(b"\n") + 1
    if end <= 0:
        return None
    return sample_frame(parse(text[:end]), spent * end / len(text))


def parse_json(text: bytes) -> Any:
    """Lines of JSON, as `read_json` parses them."""
    import pandas as pd

    return pd.read_json(io.BytesIO(text), lines=True)
