"""How many tasks a dataframe computation would spare by fusing its steps, told without building anything.

Only the shape of the expression is read where the user waits for `compute()`: asking a step for its partitions
can sort millions of rows. How many tasks each step has tells the scheduler later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Any

#: Larger trees are left alone, and so is one that takes longer than this to read.
MAX_NODES = 200
MAX_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One expression of a lowered tree; its name is that of its task group."""

    name: str
    #: It works on one partition at a time, so it may be fused with its neighbours.
    is_blockwise: bool
    #: (name, whether this step would use the same partition of it everywhere if it has only one).
    inputs: tuple[tuple[str, bool], ...]


class _Single:
    """Stands for an input that has one partition, in `Blockwise._broadcast_dep`."""

    npartitions = 1

    def __init__(self, expr: Any) -> None:
        self.ndim = expr.ndim


def steps(
    roots: Iterable[Any], *, max_nodes: int = MAX_NODES, max_seconds: float | None = None
) -> tuple[Step, ...]:
    """The shape of dataframe expressions as they are sent; empty when they are none, or too large."""
    module = sys.modules.get("dask.dataframe.dask_expr._expr")
    if module is None:
        return ()
    todo = [root for root in roots if isinstance(root, module.Expr)]
    found: dict[str, Step] = {}
    deadline = thread_time() + (MAX_SECONDS if max_seconds is None else max_seconds)
    while todo:
        node = todo.pop()
        if node._name in found:
            continue
        if len(found) >= max_nodes or thread_time() > deadline:
            return ()
        parts = node.dependencies()
        is_blockwise = bool(module.is_valid_blockwise_op(node))
        # With one input it has as many partitions as that, so there is nothing to use everywhere.
        several = is_blockwise and len(parts) > 1
        inputs = tuple((part._name, several and bool(node._broadcast_dep(_Single(part)))) for part in parts)
        found[node._name] = Step(name=node._name, is_blockwise=is_blockwise, inputs=inputs)
        todo.extend(parts)
    return tuple(found.values())


def spared(tree: Iterable[Step], counts: Mapping[str, int]) -> int | None:
    """Tasks that `optimize(fuse=True)` would merge into others, by its own rules.

    `counts` has the number of tasks of each group; None when one is missing, or there is no tree. Follows
    `dask.dataframe.dask_expr._expr.optimize_blockwise_fusion`: a group of blockwise expressions with the same
    number of partitions, of which only the outermost is used elsewhere, becomes one task each.
    """
    by_name = {step.name: step for step in tree}
    wide = {name for name, step in by_name.items() if step.is_blockwise}
    if not by_name or not wide <= counts.keys():
        return None
    users: dict[str, set[str]] = {}
    for step in by_name.values():
        for part, _ in step.inputs:
            users.setdefault(part, set()).add(step.name)
    todo = [name for name in by_name if name in wide and not users.get(name, set()) & wide]
    done: set[str] = set()
    merged = 0
    while todo:
        root = todo.pop()
        if root in done:
            continue
        group: set[str] = set()
        front = [root]
        while front:
            name = front.pop()
            if name in group:
                continue
            group.add(name)
            for part, is_broadcast in by_name[name].inputs:
                if part not in wide:
                    continue
                fits = counts[part] == counts[root] or (is_broadcast and counts[part] == 1)
                if fits and not users[part] - group - set(front):
                    front.append(part)
                elif part not in done:
                    todo.append(part)
        done |= group
        merged += sum(counts[name] for name in group) - counts[root]
    return merged
