"""What is reckoned of computations that have not run: rules that speak before a run ask the same here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..snapshot import Cell, Cluster, Collection, Computation, Location
from . import planned, runs

#: Bytes in a second that one thread reads and works through: fast for reading files, slow for plain arithmetic.
BYTES_PER_SECOND = 200e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A collection that a cell is about to compute or to persist, and where."""

    collection: Collection
    method: planned.Method
    at: Location


def coming(
    code: Sequence[Cell],
    collections: Sequence[Collection],
    computations: Iterable[Computation],
    methods: Sequence[planned.Method] = ("compute", "persist"),
) -> Iterator[Coming]:
    """Each lazy collection once for each cell. What a running cell has sent already is told by its computation."""
    lazy = [c for c in collections if not c.is_persisted]
    computations = tuple(computations)
    for method in methods:
        for plan in planned.planned(code, lazy, method):
            is_sent = any(
                runs.same_cell(k.at, plan.at) and not runs.is_before(k.submitted, plan.cell)
                for k in computations
            )
            if plan.cell.started is not None and is_sent:
                continue
            for c in plan.collections:
                yield Coming(collection=c, method=method, at=plan.at)


def work_seconds(c: Collection, collections: Iterable[Collection], cluster: Cluster) -> float | None:
    """How long all threads would have to do with its data, at the least; None when no size is known.

    The result of a reduction says nothing of what was reduced: then what it is made from does.
    """
    sizes = [r.nbytes for r in c.reads if r.nbytes is not None]
    sizes += [x.nbytes.nbytes for x in collections if x.nbytes is not None and runs.is_made_from(c, x)]
    widest = max((layer.n_tasks for layer in c.layers), default=0)
    if c.nbytes is not None and c.npartitions is not None and 2 * c.npartitions >= widest:
        sizes.append(c.nbytes.nbytes)
    return max(sizes) / BYTES_PER_SECOND / max(1, cluster.nthreads) if sizes else None
