"""What the steps of a dataframe make of its rows and columns: which they keep, move or bring together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from .column_weights import Weight, Weights, by_meta, dtypes_of, fixed, index_weight, width
from .frame_hazards import kinds, operand


def weights_after(step: Any, parts: Sequence[Weights | None]) -> Weights | None:
    """Of a step that is made from parts of these weights; None when nobody knows."""
    of = kinds(step)
    first = parts[0]
    if "Concat" in of:
        return _concat(step, parts)
    if first is None or getattr(step, "ndim", 0) == 0:
        return None
    if "Projection" in of:
        return _kept(step, first)
    if "Index" in of and "Elemwise" in of:
        return replace(first, columns={})
    if "Partitions" in of:
        return _partitions(step, first)
    if "Repartition" in of:
        return _repartitioned(step, first)
    if of & _FILTERS:
        return _refit(step, replace(first, is_bound=True), parts)
    if of & _HEADS:
        return None
    if "Sample" in of and isinstance(operand(step, "frac"), float):
        share = operand(step, "frac")
        return _scaled(first, share)
    if of & _SHUFFLES:
        moved = _refit(step, replace(first, shares=None), parts)
        return None if moved is None else replace(moved, npartitions=int(step.npartitions))
    if "MapPartitions" in of and type(step).__name__ in ("MapPartitions", "MapOverlap"):
        return None
    if "Elemwise" in of or of & _KEEPERS:
        return _refit(step, first, parts)
    return None


_FILTERS = frozenset(
    {"Filter", "Query", "DropnaFrame", "DropnaSeries", "LocUnknown", "DropDuplicatesBlockwise"}
)
_HEADS = frozenset({"Head", "Tail"})
_SHUFFLES = frozenset({"BaseSetIndexSortValues", "ShuffleBase"})
_KEEPERS = frozenset(
    {
        "CumulativeAggregations",
        "RollingReduction",
        "UFuncElemwise",
        "SetIndexBlockwise",
        "MapOverlap",
        "SortIndexBlockwise",
    }
)


def _kept(step: Any, first: Weights) -> Weights:
    wanted = operand(step, "columns")
    labels = wanted if isinstance(wanted, list) else [wanted]
    return replace(first, columns={label: first.columns.get(label) for label in labels})


def _refit(step: Any, first: Weights, parts: Sequence[Weights | None]) -> Weights | None:
    """The columns as this step has them: widths follow from dtypes; text is what it was where it is handed on."""
    meta = step._meta
    pairs = dtypes_of(meta)
    given = _assigned(step, parts)
    before = list(first.columns.items())
    # A renaming keeps their order.
    in_order = len(before) == len(pairs) and "Assign" not in kinds(step)
    hands_on = bool(kinds(step) & _HANDS_ON)
    columns: dict[Any, Weight | None] = {}
    for place, (label, dtype) in enumerate(pairs):
        weight = fixed(dtype, first.n_rows, is_counted=first.is_counted)
        old = given[label] if label in given else first.columns.get(label)
        if label not in given and label not in first.columns and in_order:
            old = before[place][1]
        if old is not None:
            is_same_text = weight is None and old.is_text and (hands_on or label in given)
            is_same_category = weight is not None and not old.is_text and hasattr(dtype, "categories")
            weight = old if is_same_text or is_same_category else weight
        columns[label] = weight
    return replace(first, columns=columns, index=_index(step, first))


_HANDS_ON = frozenset(
    {
        "Assign",
        "RenameFrame",
        "RenameSeries",
        "Fillna",
        "AsType",
        "ArrowStringConversion",
        "Drop",
        "AddPrefix",
        "AddPrefixSeries",
        "ResetIndex",
        "ToFrame",
        "ClearDivisions",
        "SetDivisions",
        "SetIndexBlockwise",
        "SortIndexBlockwise",
        "BaseSetIndexSortValues",
        "ShuffleBase",
        "Filter",
        "Query",
        "DropnaFrame",
        "DropnaSeries",
        "LocUnknown",
        "_DeepCopy",
        "AssignIndex",
    }
)


def _index(step: Any, first: Weights) -> Weight | None:
    of = kinds(step)
    index = getattr(step._meta, "index", None)
    if index is None:
        return first.index
    if not of & {"SetIndexBlockwise", "SetIndex", "SetPartition", "ResetIndex"}:
        # Where meta has a range, the true one may be what was written to a file.
        is_same = type(index).__name__ == "RangeIndex" or width(index.dtype) is None
        return first.index if is_same else index_weight(index, first.n_rows, is_counted=first.is_counted)
    return index_weight(index, first.n_rows, is_counted=first.is_counted) or _old_index(step, first)


def _old_index(step: Any, first: Weights) -> Weight | None:
    if kinds(step) & {"SetIndexBlockwise", "SetIndex", "SetPartition"}:
        label = operand(step, "_other" if "_other" in type(step)._parameters else "other")
        return first.columns.get(label) if isinstance(label, (str, int)) else None
    return first.index


def _assigned(step: Any, parts: Sequence[Weights | None]) -> dict[Any, Weight | None]:
    """New columns of an `assign`, as the series that they are made from have them."""
    if "Assign" not in kinds(step):
        return {}
    by_name = {part._name: weights for part, weights in zip(step.dependencies(), parts, strict=True)}
    found: dict[Any, Weight | None] = {}
    rest = step.operands[1:]
    for label, value in zip(rest[::2], rest[1::2], strict=False):
        weights = by_name.get(getattr(value, "_name", None))
        found[label] = None if weights is None else next(iter(weights.columns.values()), None)
    return found


def _concat(step: Any, parts: Sequence[Weights | None]) -> Weights | None:
    if operand(step, "axis") != 0 or any(part is None for part in parts):
        return None
    frames = [part for part in parts if part is not None]
    if len(frames) != len(getattr(step, "_frames", frames)):  # the same one twice
        return None
    n_rows = sum(frame.n_rows for frame in frames)
    is_counted = all(frame.is_counted for frame in frames)
    columns = by_meta(step._meta, n_rows, is_counted=is_counted)
    for label, weight in columns.items():
        texts = [frame.columns.get(label) for frame in frames]
        if weight is None and all(text is not None and text.is_text for text in texts):
            columns[label] = Weight(
                nbytes=sum(text.nbytes for text in texts if text is not None), is_text=True
            )
    shares = None
    if n_rows and all(frame.shares is not None for frame in frames):
        shares = tuple(share * frame.n_rows / n_rows for frame in frames for share in frame.shares or ())
    npartitions = int(step.npartitions)
    return Weights(
        n_rows=n_rows,
        is_counted=is_counted,
        npartitions=npartitions,
        shares=shares if shares is not None and len(shares) == npartitions else None,
        columns=columns,
        index=_added([frame.index for frame in frames]),
        is_bound=any(frame.is_bound for frame in frames),
    )


def _added(weights: Sequence[Weight | None]) -> Weight | None:
    known = [weight for weight in weights if weight is not None]
    if len(known) < len(weights):
        return None
    return Weight(
        nbytes=sum(weight.nbytes for weight in known), is_text=any(weight.is_text for weight in known)
    )


def _partitions(step: Any, first: Weights) -> Weights | None:
    chosen = operand(step, "partitions")
    if first.shares is None:
        return None
    shares = [first.shares[place] for place in chosen]
    part = sum(shares)
    kept = _scaled(first, part)
    return replace(
        kept,
        is_counted=False,
        npartitions=len(shares),
        shares=tuple(share / part for share in shares) if part else None,
    )


def _scaled(first: Weights, share: float) -> Weights:
    def less(weight: Weight | None) -> Weight | None:
        return None if weight is None else replace(weight, nbytes=weight.nbytes * share, is_exact=False)

    return replace(
        first,
        n_rows=first.n_rows * share,
        is_counted=False,
        columns={label: less(weight) for label, weight in first.columns.items()},
        index=less(first.index),
    )


def _repartitioned(step: Any, first: Weights) -> Weights | None:
    n = int(step.npartitions)
    before = first.npartitions
    shares = first.shares
    if operand(step, "new_partitions") is None or shares is None:
        shares = None  # by divisions: only the index would tell
    elif n < before:
        return joined(first, n)
    elif n > before:
        each, more = divmod(n, before)
        counts = [each] * (before - 1) + [each + more]
        shares = tuple(
            share / count for share, count in zip(shares, counts, strict=True) for _ in range(count)
        )
    return replace(first, npartitions=n, shares=shares)


def joined(weights: Weights, n: int) -> Weights:
    """Neighbours brought together, as Dask does it."""
    if n >= weights.npartitions:
        return weights
    shares = None
    if weights.shares is not None:
        bounds = [int(place * (weights.npartitions / n)) for place in range(n)] + [weights.npartitions]
        sums = [0.0, *accumulate(weights.shares)]
        shares = tuple(sums[end] - sums[start] for start, end in pairwise(bounds))
    return replace(weights, npartitions=n, shares=shares)
