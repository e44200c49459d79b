"""Files that collections are read from: whether they lie on this machine, how large they are, how to name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

#: Files asked for their size; of more, a few are, evenly spread.
MAX_STATS = 2_000
MAX_PATH = 200


def is_local(filesystem: Any) -> bool:
    """Whether it is this machine's own, by its type: fsspec's or Arrow's."""
    return type(filesystem).__name__ == "LocalFileSystem"


def sizes_of(paths: Sequence[str]) -> dict[str, int]:
    """Bytes of local files; of some of them when they are very many. One that is gone is left out."""
    step = max(1, len(paths) / MAX_STATS)
    found = {}
    for place in range(min(MAX_STATS, len(paths))):
        path = paths[int(place * step)]
        try:
            found[path] = os.stat(path).st_size
        except OSError:
            continue
    return found


def shown(path: Any) -> str:
    """The first path as text, without credentials."""
    while isinstance(path, (list, tuple)):
        path = path[0] if path else ""
    text = str(path)
    if "://" in text:
        parts = urlsplit(text)
        text = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return text[:MAX_PATH]
