"""What handling the pieces of a collection costs beside the work in them: measured after a run, reckoned before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..snapshot import Cell, Collection, Location, Read, TaskGroup
from . import runs, usage
from .usage import Work

#: Of one thread that reads, parses and sums: slower than most, so that overhead is not made too much of.
BYTES_PER_SECOND = 100 * 2**20

_WORDS = re.compile(r"[^a-z]+")
# What a step of a reduction is called: a whole word of its name, or a part of one.
_REDUCING = frozenset(
    {
        "agg",
        "combine",
        "count",
        "finalize",
        "max",
        "mean",
        "min",
        "moment",
        "std",
        "sum",
        "tree",
        "topk",
        "var",
    }
)
_REDUCED = ("aggregat", "groupby", "histogram", "nunique", "quantile", "reduc", "unique", "valuecount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of the tasks that fewer pieces would have spared, in one run of one cell; or predicted for one to come."""

    #: None when it is predicted and no cell is known that will pay.
    at: Location | None
    #: Seconds lost, and of how many.
    loss: float
    of: float
    #: Tasks that there is one of for each piece, all steps together, and those that could be spared.
    n_tasks: int
    n_spared: int
    #: Share of the threads' time that went into tasks, and how long a task took on average; None when predicted.
    busy: float | None = None
    mean: float | None = None
    is_predicted: bool = False
    #: Of the run: its computations, and the threads that it had.
    ids: frozenset[str] = frozenset()
    nthreads: int = 1


def measured(
    c: Collection, n_wanted: int, works: Sequence[Work], read: Sequence[Sequence[Collection]], most: float
) -> Cost | None:
    """What so many pieces cost in the run that lost most by them; None when none worked on all of them.

    `read`: for each work, the collections that it read. The loss is the share of the spared tasks in the time in
    which threads had nothing to do, at most `most` seconds for each. Where fusing alone would spare tasks, those do
    not count: another rule speaks of them.
    """
    pieces = c.npartitions or 0
    found: list[Cost] = []
    for work, own in zip(works, read, strict=True):
        total = work.thread_seconds
        if not has(own, c) or not work.is_done or total is None or work.nthreads < 1:
            continue
        if not usage.is_alone(work, works):
            continue
        n = 0.0
        for u in work.computations:
            mine = sum(k for _, k in u.layers if 2 * k >= pieces)
            if u.fused_tasks is not None and u.n_tasks > 0:
                mine *= min(1.0, u.fused_tasks / u.n_tasks)  # type: ignore[assignment]
            n += mine
        if n < pieces:
            continue  # it did not go through all of them
        spared = n * (1 - n_wanted / pieces)
        idle = max(0.0, work.seconds - total / work.nthreads)
        sent = max(1, work.n_tasks)
        found.append(
            Cost(
                at=work.at,
                loss=min(spared * most, idle * min(1.0, spared / sent)),
                of=work.seconds,
                n_tasks=int(n),
                n_spared=int(spared),
                busy=total / (work.nthreads * work.seconds),
                mean=total / sent,
                ids=frozenset(u.id for u in work.computations),
                nthreads=work.nthreads,
            )
        )
    return max(found, key=lambda cost: cost.loss, default=None)


def with_opening(cost: Cost, read: Read, n_wanted: int, groups: Sequence[TaskGroup], most: float) -> Cost:
    """The same, and what opening each file for itself took of the threads' time; at most `most` seconds for each."""
    n = read.n_files or 0
    own = [
        g
        for g in groups
        if g.computation_id in cost.ids and g.prefix.startswith("read") and 2 * g.n_tasks >= n
    ]
    spent = sum(g.compute_seconds or 0.0 for g in own) - (read.nbytes or 0) / BYTES_PER_SECOND
    n_opened = sum(g.n_tasks for g in own)
    if spent <= 0 or n_wanted >= n:
        return cost
    opening = min(spent, n_opened * most)
    saved = opening * (1 - n_wanted / n) / max(1, cost.nthreads)
    busy = cost.busy
    if busy is not None and cost.of > 0:
        busy = max(0.0, busy - opening / (max(1, cost.nthreads) * cost.of))
    return replace(cost, loss=min(cost.of, cost.loss + saved), busy=busy)


def predicted(
    c: Collection, n_wanted: int, nbytes: int, nthreads: int, at: Location | None, seconds: float
) -> Cost:
    """What computing it once would cost, as far as its own graph and its bytes tell."""
    pieces = c.npartitions or 0
    known = [n for n in (c.n_tasks, c.fused_tasks) if n is not None]
    n = min(known, default=pieces)  # the optimizer may have a task read several pieces
    spared = n * (1 - n_wanted / pieces) if pieces else 0.0
    work = nbytes / (BYTES_PER_SECOND * max(1, nthreads))
    return Cost(
        at=at,
        loss=spared * seconds,
        of=n * seconds + work,
        n_tasks=n,
        n_spared=int(spared),
        is_predicted=True,
    )


def is_reduced(c: Collection, others: Sequence[Collection] = ()) -> bool:
    """Is it the result of a reduction, small by nature?"""
    if any(o.kind == "groupby" for o in c.operations):
        return True
    for name in (*c.names, c.group or ""):
        prefix = name.rsplit("-", 1)[0].lower()
        if not _REDUCING.isdisjoint(_WORDS.split(prefix)) or any(part in prefix for part in _REDUCED):
            return True
    own = c.nbytes.nbytes if c.nbytes else None
    return own is not None and any(
        o.nbytes is not None and o.nbytes.nbytes > 4 * own and runs.is_made_from(c, o) for o in others
    )


def is_recut(c: Collection, others: Sequence[Collection]) -> bool:
    """Is there a collection made from it in much fewer pieces? Then that is what is worked on."""
    for o in others:
        if o is c or o.npartitions is None or c.npartitions is None or 2 * o.npartitions > c.npartitions:
            continue
        cuts = (step for step in o.operations if step.kind in ("repartition", "rechunk"))
        if (runs.is_made_from(o, c) or any(c.npartitions in step.n_in for step in cuts)) and not is_reduced(
            o
        ):
            return True
    return False


def has(own: Sequence[Collection], c: Collection) -> bool:
    """Is it this very one that is among them? To compare all that is known of each takes long."""
    return any(o is c for o in own)


def reads(
    works: Sequence[Work], collections: Sequence[Collection], code: Sequence[Cell]
) -> list[list[Collection]]:
    """For each work the collections that it read."""
    found = []
    for work in works:
        own: list[Collection] = []
        for u in work.computations:
            own += [c for c in runs.read_by(u, collections, code) if not has(own, c)]
        found.append(own)
    return found
