"""Workers wait for each other's data more than they compute.

## Why it matters
A task starts only when all of its inputs are on its worker. Where moving them takes as long as the work on
them, more workers make it slower, not faster.

## Anti-pattern
    pairs = [compare(a, b) for a in parts for b in parts]    # every worker needs every partition, whole

## Best practice
    small = [summarise(part) for part in parts]              # reduce where the data is ...
    pairs = [compare(a, b) for a in small for b in small]    # ... and move what is small

For collections: filter and select columns before a merge or a shuffle, set the index once, keep the chunks of
arrays that meet aligned, `broadcast=True` for a small side of a merge.

## How it is known
The seconds that workers spent receiving data from each other (Dask's own meter of `gather-dep`, network and
unpacking; where that is not told, the transfers of the task groups), against the thread-seconds of the tasks
themselves. Several transfers go on at once, and some of them behind work, which costs nothing: so only as much
counts as threads stood idle. It speaks when that is 30 % or more of the work and 3 s or more, for 20 tasks and
100 MB or more. The loss is that time, spread over all threads.

## When it stays quiet
Where transfers hide behind work; a handful of tasks; when other cells ran at the same time; while the
computation runs, as the meter comes in late. Where unpacking Python objects is what takes the time,
`serialization-bound` speaks instead.

## Fix safety
Shown, not inserted: which data need not travel is for you to say.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html#joins
https://docs.dask.org/en/stable/array-best-practices.html#orient-your-chunks
https://distributed.dask.org/en/stable/fine-performance-metrics.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, usage
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Activity, Cell, Collection, Computation, Load, Location, TaskGroup
from ..registry import NotChecked, rule

#: What a worker does to get its inputs.
_RECEIVING = frozenset({"network", "deserialize", "decompress"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Thread-seconds of waiting for transfers against thread-seconds of tasks.
    ratio: float = 0.3
    #: Thread-seconds of waiting for transfers.
    least_seconds: float = 3.0
    #: Bytes moved between workers, where that is told.
    least_nbytes: int = 100_000_000
    #: Tasks of the computation.
    tasks: int = 20
    #: Seconds that all threads together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.1


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    if work is None:
        return ()
    seconds = _transfers(usage.activities(work), usage.groups_of(work, groups))
    wall = Measure(label="time of its tasks", value=work.seconds, unit="seconds")
    return (wall,) if seconds is None else (wall, Measure(label="transfers", value=seconds, unit="seconds"))


@rule(
    id="transfer-bound",
    title="Workers wait for each other's data",
    severity="warning",
    thresholds=Thresholds(),
    about=("groups",),
    yields_to={
        "spilling": "cell",
        "partition-skew": "cell",
        "serialization-bound": "cell",
        "tiny-tasks": "cell",
        "killed-worker": "cell",
        "worker-memory-pressure": "cell",
    },
    measure=_measure,
)
def transfer_bound(
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    everything = usage.works(computations, code, load)
    grouped = usage.by_computation(groups)
    is_found = is_untold = False
    for work in everything:
        own = usage.own_groups(work, grouped)
        spent = work.thread_seconds
        if not work.is_done or work.n_tasks < limit.tasks or work.seconds < limit.loss_seconds:
            continue
        if not usage.is_alone(work, everything):
            continue
        told = usage.activities(work)
        seconds = _transfers(told, own)
        if spent is None or seconds is None:
            is_untold = True
            continue
        wall, nthreads = work.seconds, max(1, work.nthreads)
        # Several transfers go on at once, and others behind work: only what threads had no work for was lost
        waited = min(seconds, nthreads * wall - spent)
        moved = _moved(told)
        if waited < limit.least_seconds or waited < limit.ratio * spent:
            continue
        if moved is not None and moved < limit.least_nbytes:
            continue
        loss = waited / nthreads
        if loss < limit.loss_seconds or loss < limit.stake * wall:
            continue
        is_found = True
        yield _finding(work, own, moved, waited, loss, limit, collections, code)
    if is_untold and not is_found:
        raise NotChecked("It is not known how long a computation's transfers took.")


def _transfers(told: tuple[Activity, ...] | None, own: Sequence[TaskGroup]) -> float | None:
    """Seconds that workers spent receiving data; None when nothing tells."""
    if told is not None:
        return sum(max(0.0, a.seconds) for a in told if a.context == "gather-dep" and a.label in _RECEIVING)
    known = [g.transfer_seconds for g in own if g.transfer_seconds is not None]
    return max(0.0, sum(known)) if known else None


def _moved(told: tuple[Activity, ...] | None) -> int | None:
    """Bytes that workers took from memory to send them; None when that is not told."""
    if told is None:
        return None
    return sum(max(0, a.nbytes) for a in told if a.context == "get-data" and a.label == "memory-read")


def _finding(
    work: usage.Work,
    own: Sequence[TaskGroup],
    moved: int | None,
    waited: float,
    loss: float,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> Finding:
    waiting = max(own, key=lambda g: g.transfer_seconds or 0.0, default=None)
    prefix = waiting.prefix if waiting is not None and waiting.transfer_seconds else usage.heaviest(own, work)
    spent = work.thread_seconds or 0.0
    how_much = f"{words.nbytes(moved)} " if moved else "data "
    evidence = [
        Evidence(
            label="threads waited",
            value=waited,
            unit="seconds",
            limit=max(limit.least_seconds, limit.ratio * spent),
        ),
        Evidence(label="work of all threads", value=spent, unit="seconds"),
        Evidence(label="time of its tasks", value=work.seconds, unit="seconds"),
    ]
    if moved:
        evidence.append(Evidence(label="moved between workers", value=moved, unit="bytes"))
    return transfer_bound.finding(
        severity="warning",
        subject=prefix,
        message=f"{words.code(prefix)} waited for {how_much}from other workers: threads stood idle for about "
        f"{words.seconds(waited)} beside {words.seconds(spent)} of work.",
        why="A task starts only when all of its inputs are on its worker. "
        "What is filtered or summed up before it travels travels faster.",
        evidence=tuple(evidence),
        at=work.at,
        fixes=_fixes(prefix, work, collections, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _fixes(
    prefix: str, work: usage.Work, collections: tuple[Collection, ...], code: tuple[Cell, ...]
) -> tuple[Fix, ...]:
    read = [
        c for one in work.computations for c in runs.read_by(one, collections, code) if fixes.is_name(c.name)
    ]
    arrays = [c.name for c in read if c.kind == "array"]
    frames = [c.name for c in read if c.kind in ("dataframe", "series")]
    if arrays and any(word in prefix for word in ("rechunk", "transpose", "add", "sub", "mul", "tensordot")):
        text = (
            f'{arrays[0]} = {arrays[0]}.rechunk("auto")  # chunks alike in all directions, once, at the start'
        )
        title = "Let chunks that meet lie together"
    elif frames and any(word in prefix for word in ("merge", "join", "shuffle", "set-index", "sort")):
        text = (
            f"{frames[0]} = {frames[0]}[[...]]  # only the columns and rows that are needed\n"
            f"{frames[0]}.merge(small, broadcast=True)  # where one side is small"
        )
        title = "Move less"
    else:
        text = (
            "# one small result per partition first, then what needs all of them\n"
            "parts = [summarise(part) for part in parts]"
        )
        title = "Reduce the data where it is"
    return (fixes.advice(text, title=title, expect="fewer bytes between workers"),)
