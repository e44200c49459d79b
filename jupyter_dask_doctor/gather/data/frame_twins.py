"""Stand-ins for the steps of an expression that would do too much when they are asked: same shape, no burden.

A frame of the kernel's that was not cut yet would be cut by anyone who asks for its partitions: seconds and minutes
in which nothing else runs. And the optimizer calls a function of the user's on invented data whenever it makes a new
step of it, where no meta was given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .frame_hazards import is_expr

#: Rows of a frame that are cut as they are.
MAX_CUT = 5_000
#: Rows of a stand-in.
MAX_ROWS = 120_000


def twins(steps: Sequence[Any]) -> dict[str, Any]:
    """For the name of each step what to ask in its place: mostly itself. `steps`: sources first."""
    made: dict[str, Any] = {}
    for step in steps:
        parts = [made.get(part._name, part) if is_expr(part) else part for part in step.operands]
        if _is_uncut(step):
            made[step._name] = _cut_small(step, parts)
            continue
        if _calls_for_meta(step):
            parts[type(step)._parameters.index("meta")] = step.__dict__["_meta"]
        is_same = all(new is old for new, old in zip(parts, step.operands, strict=True))
        made[step._name] = step if is_same else type(step)(*parts)
    return made


def starts(n_rows: int, npartitions: int) -> list[int]:
    """Where Dask begins each partition of a frame whose index has no value twice."""
    each, more = divmod(n_rows, npartitions)
    return [place * each + min(place, more) for place in range(npartitions)]


def count(step: Any) -> int:
    """Partitions that a `from_pandas` was asked for, of which it makes fewer when its index has values twice."""
    n_rows = len(step.operand("frame")._data)
    chunk = step.operand("chunksize")
    n = -(-n_rows // int(chunk)) if chunk else step.operand("npartitions") or 1
    return max(1, min(int(n), n_rows))


def is_cut(step: Any) -> bool:
    """Whether a `from_pandas` was asked for its partitions before."""
    cut = getattr(step.operand("frame"), "_division_info", None)
    return cut is not None and (step.operand("npartitions"), step.operand("sort")) in cut


def _is_uncut(step: Any) -> bool:
    if type(step).__name__ != "FromPandas":
        return False
    return len(step.operand("frame")._data) > MAX_CUT and not is_cut(step)


def _cut_small(step: Any, parts: list[Any]) -> Any:
    held = step.operand("frame")
    # Sorted by Dask already, where it has to be.
    frame = getattr(step.__dict__.get("frame"), "_data", held._data)
    n_rows, n = len(frame), count(step)
    firsts = starts(n_rows, n)
    rows = set(firsts)
    if n_rows >= 2 * n:
        rows |= {start - 1 for start in firsts[1:]} | {n_rows - 1}
        # Two of each partition, so that it is cut where the whole is.
        rows |= {
            start + 1 for start, end in zip(firsts, [*firsts[1:], n_rows], strict=True) if end - start < 2
        }
    if len(rows) > MAX_ROWS:
        raise ValueError("too many partitions")
    parts = list(parts)
    for name, value in (
        ("frame", type(held)(frame.iloc[sorted(rows)])),
        ("npartitions", n),
        ("chunksize", None),
    ):
        parts[type(step)._parameters.index(name)] = value
    return type(step)(*parts)


def _calls_for_meta(step: Any) -> bool:
    parameters = type(step)._parameters
    if "meta" not in parameters or "_meta" not in step.__dict__:
        return False
    no_default = getattr(sys.modules.get("dask.dataframe.dask_expr._expr"), "no_default", None)
    meta = step.operand("meta")
    return (meta is None or meta is no_default) and any(callable(item) for item in step.operands)
