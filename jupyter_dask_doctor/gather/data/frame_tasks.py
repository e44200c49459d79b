"""How many tasks the computation of a dataframe would send, told from its optimized expression.

The optimizer is Dask's own and is run as `compute()` runs it; the tasks of each step are reckoned and not built,
wherever their number follows from partitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...snapshot import Layer
from .. import fusion
from .frame_hazards import kinds, operand

#: Layers told, most tasks first.
MAX_LAYERS = 20
#: Partitions up to which a step that is not known here is built to count its tasks.
MAX_BUILT = 1_000
#: Partitions up to which this is done where tasks grow with them only in proportion.
MAX_BUILT_IN_LINE = 110_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """None: could not be told, because of `gap`."""

    n_tasks: int | None = None
    fused_tasks: int | None = None
    layers: tuple[Layer, ...] = ()
    #: Partitions that the optimized collection has.
    npartitions: int | None = None
    gap: str | None = None


def tasks_of(expr: Any) -> Tasks:
    """What `compute()` and `.optimize().compute()` would send. Runs the optimizer: see `frame_hazards` first."""
    from dask.utils import key_split

    finalize = getattr(expr, "finalize_compute", None)
    lowered = (expr if finalize is None else finalize()).optimize(fuse=False)
    layers: list[Layer] = []
    steps = list(lowered.walk())
    for step in steps:
        n = n_tasks(step)
        if n is None:
            return Tasks(gap=f"its {type(step).__name__} has too many tasks to be counted")
        layers.append(Layer(name=str(step._name), prefix=str(key_split(step._name)), n_tasks=n))
    is_joined = finalize is not None and type(lowered).__name__ == "RepartitionToFewer"
    total = sum(layer.n_tasks for layer in layers)
    counts = {layer.name: layer.n_tasks for layer in layers}
    spared = fusion.spared(fusion.steps([lowered], max_nodes=1_000, max_seconds=0.2), counts)
    return Tasks(
        n_tasks=total,
        fused_tasks=None if spared is None else total - spared,
        npartitions=int((lowered.frame if is_joined else lowered).npartitions),
        layers=tuple(sorted(layers, key=lambda layer: -layer.n_tasks)[:MAX_LAYERS]),
    )


def n_tasks(step: Any) -> int | None:
    """Tasks of one step of a lowered tree; None when only building very many of them would tell."""
    of = kinds(step)
    known: Callable[[Any], int] | None = _KNOWN.get(type(step).__name__)
    if known is not None:
        return known(step)
    if "FromGraph" in of:
        layer = step.operand("layer")
        # Each key is given the name of the expression besides its own.
        own = {(step._name, i) for i in range(len(step.operand("keys")))}
        return len(layer) + len(own.difference(layer)) if isinstance(layer, dict) else None
    if "Blockwise" in of:
        return int(step.npartitions)
    parts = [step, *step.dependencies()]
    if "DelayedsExpr" in of:
        return _n_delayed(step)
    limit = MAX_BUILT_IN_LINE if "RepartitionDivisions" in of else MAX_BUILT
    if sum(part.npartitions for part in parts) > limit:
        return None
    return len(step._layer())


def _tree(step: Any) -> int:
    n, every, total = step.frame.npartitions, step.split_every, 1
    while every is not False and n > every:
        n = math.ceil(n / every)
        total += n
    return total


def _to_more(step: Any) -> int:
    return sum(n if n == 1 else n + 1 for n in step._nsplits)


def _simple_shuffle(step: Any) -> int:
    n_in, n_out = step.frame.npartitions, len(step._partitions)
    return int(n_in + n_in * n_out + n_out)


def _task_shuffle(step: Any) -> int:
    branch = (operand(step, "options") or {}).get("max_branch") or 32
    n_in, n_out = step.frame.npartitions, len(step._partitions)
    if n_out <= branch or n_in <= branch:
        return _simple_shuffle(step)
    stages = math.ceil(math.log(n_in) / math.log(branch))
    splits = math.ceil(n_in ** (1 / stages)) if stages > 1 else n_in
    places = splits**stages
    # Each place is split, handed on and joined again, in each stage; places beyond the input are empty frames.
    full = places * (2 + splits)
    total = stages * full + places - n_in
    if step.npartitions_out == n_in:
        return int(total - full + places + n_out * (1 + splits))
    return int(total + n_in + n_out)


def _hash_join(step: Any) -> int:
    sides = [
        (step.left._name, step.operand("shuffle_left_on"), step.left_index),
        (step.right._name, step.operand("shuffle_right_on"), step.right_index),
    ]
    # A frame that is joined with itself is sent around once.
    n_sent = sum(side.npartitions + 1 for side in (step.left, step.right))
    return int(n_sent // (2 if sides[0] == sides[1] else 1) + len(step._partitions))


def _overlaps(step: Any) -> int:
    n = step.frame.npartitions
    return int(n + (n - 1 if step.before else 0) + (n - 1 if step.after else 0))


def _n_delayed(step: Any) -> int | None:
    # Each of them may bring a graph of its own, and they may share it.
    if len(step.operands) > MAX_BUILT:
        return None
    graphs = [getattr(part, "dask", {}) for part in step.operands]
    if sum(len(graph) for graph in graphs) > 10 * MAX_BUILT:
        return None
    return len(step._layer())


_KNOWN: Mapping[str, Callable[[Any], int]] = {
    "TreeReduce": _tree,
    "P2PShuffle": lambda step: step.frame.npartitions + 1 + len(step._partitions),
    "HashJoinP2P": _hash_join,
    "RepartitionToFewer": lambda step: int(step.npartitions),
    "RepartitionToMore": _to_more,
    "SimpleShuffle": _simple_shuffle,
    "TaskShuffle": _task_shuffle,
    "DiskShuffle": lambda step: 2 + step.frame.npartitions + len(step._partitions),
    "StackPartition": lambda step: sum(frame.npartitions for frame in step._frames),
    "CreateOverlappingPartitions": _overlaps,
    "CumulativeFinalize": lambda step: 2 * step.frame.npartitions - 1,
    "Partitions": lambda step: len(step.partitions),
}
