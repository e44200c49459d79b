"""Bytes that a dataframe's partitions will take in memory, reckoned from its sources through its steps.

A source tells rows and text (`frame_sources`); widths of all else follow from dtypes. Steps that keep rows keep it
reckonable; after a merge, a grouping or a function of the user's nothing is known, and nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...snapshot import Known, Size
from .column_weights import ARROW_OFFSET, OBJECT_HEAD, Weight, Weights, dtypes_of, is_text, overhead
from .frame_hazards import kinds
from .row_steps import joined, weights_after

#: A number or the like that stands alone.
SCALAR = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the weights come to. None: not known."""

    nbytes: Size | None = None
    largest: Size | None = None
    n_rows: int | None = None
    #: Of each column, by its label as text, as far as it is known.
    columns: Mapping[str, Size] = field(default_factory=dict)
    index: Size | None = None
    #: Bytes of the largest partition at most, where a filter keeps nobody knows how much.
    at_most: int | None = None


Source = Callable[[Any], Weights | None]


def is_source(step: Any) -> bool:
    """Whether its rows come from without: from files, from the kernel, from what lies in memory."""
    return not step.dependencies() or "IO" in kinds(step)


def estimate(steps: Sequence[Any], source: Source, npartitions: int | None = None) -> Estimate:
    """Of the last of these steps, each of which stands after all that it is made from.

    `source` tells the weights of a source. `npartitions`: how many partitions there will be once optimized, where
    that is known: of a file of which few columns are wanted several are read at once. Every step must be harmless
    to ask for its partitions (`frame_hazards`).
    """
    known: dict[str, Weights | None] = {}
    for step in steps:
        parts = [known.get(part._name) for part in step.dependencies()]
        known[step._name] = _fitting(step, source(step)) if is_source(step) else weights_after(step, parts)
    weights = known[steps[-1]._name]
    if weights is not None and npartitions is not None:
        weights = joined(weights, npartitions)
    if weights is not None:
        return _sum(weights, steps[-1]._meta)
    if getattr(steps[-1], "ndim", None) == 0 and steps[-1].npartitions == 1:
        size = Size(nbytes=SCALAR, known="estimated")
        return Estimate(nbytes=size, largest=size)
    return Estimate()


def _fitting(step: Any, weights: Weights | None) -> Weights | None:
    """What a source tells, cut as the step itself says."""
    if weights is None or weights.npartitions == step.npartitions:
        return weights
    return replace(weights, npartitions=int(step.npartitions), shares=None)


def _sum(weights: Weights, meta: Any) -> Estimate:
    pairs = dtypes_of(meta)
    dtypes = dict(pairs)
    if len(dtypes) < len(pairs):  # two columns of one name
        return Estimate()
    held = {
        label: _held(weight, dtypes.get(label), weights.n_rows) for label, weight in weights.columns.items()
    }
    index = meta if not hasattr(meta, "index") else meta.index
    of_index = _held(weights.index, getattr(index, "dtype", None), weights.n_rows)
    columns = {
        "" if label is None else str(label): _size(weight.nbytes, weight.is_exact)
        for label, weight in held.items()
        if weight is not None
    }
    n_rows = None if weights.is_bound else round(weights.n_rows)
    everything = [*held.values(), of_index]
    known = [weight for weight in everything if weight is not None]
    if len(known) < len(everything):
        return Estimate(n_rows=n_rows, columns={} if weights.is_bound else columns)
    each = overhead(meta)
    is_exact = all(weight.is_exact for weight in known)
    rows = sum(weight.nbytes for weight in known)
    most = None if weights.shares is None else max(weights.shares, default=0.0) * rows + each
    if weights.is_bound:
        return Estimate(at_most=None if most is None else math.ceil(most))
    return Estimate(
        nbytes=_size(rows + each * weights.npartitions, is_exact),
        largest=None if most is None else _size(most, is_exact),
        n_rows=n_rows,
        columns=columns,
        index=None if of_index is None else _size(of_index.nbytes, of_index.is_exact),
    )


def _held(weight: Weight | None, dtype: Any, n_rows: float) -> Weight | None:
    if weight is None or not weight.is_text:
        return weight
    each = (
        ARROW_OFFSET if is_text(dtype) and getattr(dtype, "storage", "pyarrow") == "pyarrow" else OBJECT_HEAD
    )
    return Weight(nbytes=weight.nbytes + each * n_rows)


def _size(nbytes: float, is_exact: bool) -> Size:
    known: Known = "exact" if is_exact else "estimated"
    return Size(nbytes=round(nbytes), known=known)
