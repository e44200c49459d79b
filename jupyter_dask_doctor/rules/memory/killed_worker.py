"""A worker died while it ran tasks.

## Why it matters
What the worker held is gone and is made again elsewhere, where it may do the same. A task whose worker died
four times is given up with `KilledWorker`, and the computation fails.

## Anti-pattern
    joined = events.merge(users, on="user")          # partitions of 6 GiB on workers with 4 GiB
    joined.groupby("country").amount.sum().compute()

## Best practice
    events = events.repartition(npartitions=300)     # about 100 MiB each
    joined = events.merge(users, on="user")

When the data cannot be cut, give workers more memory or fewer threads.

## How it is known
The scheduler's log: a nanny restarted its worker at the terminate mark (0.95 of the limit), a worker went
away without being asked, or a task failed with `KilledWorker`. One loss for memory is enough, and so is one
failure; workers that vanished for another reason must be two that ran the same tasks, or one with a
failure. A single vanished worker is a warning. The culprit is the prefix that most of the lost workers were
running; its output size is told when it was seen.

## When it stays quiet
After `client.restart()`, `cluster.scale()` or closing the cluster; when the cell ran again to its end and
nothing died; when interrupting the kernel ended the workers: then `interrupted-workers` speaks.

## Fix safety
Needs review: another number of partitions; a function that works on a whole partition or chunk, as in
`map_blocks`, sees smaller ones. Settings of the cluster are shown, not inserted.

## References
https://distributed.dask.org/en/stable/killed.html
https://distributed.dask.org/en/stable/worker-memory.html
https://github.com/dask/distributed/issues/2130
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import interrupts, runs
from ...remedies import offers
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    Location,
    TaskFailure,
    TaskGroup,
    Worker,
    WorkerChange,
    WorkerLoss,
)
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Workers that vanished without a known reason while they ran the same tasks, to be critical.
    vanished: int = 2


def _measure(
    subject: str,
    at: Location | None,
    *,
    losses: tuple[WorkerLoss, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    fresh = [
        x for x in losses if runs.same_cell(x.at, at) and not runs.is_before(x.time, runs.cell_at(code, at))
    ]
    return (Measure(label="workers lost", value=len(fresh), unit="count"),)


@rule(
    id="killed-worker",
    title="A worker died",
    severity="critical",
    thresholds=Thresholds(),
    about=("losses", "failures"),
    has_stake=False,
    yields_to={"oversized-result": "cell"},
    measure=_measure,
)
def killed_worker(
    losses: tuple[WorkerLoss, ...],
    failures: tuple[TaskFailure, ...],
    cluster: Cluster,
    limit: Thresholds,
    workers: tuple[Worker, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
    computations: tuple[Computation, ...] = (),
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    changes: tuple[WorkerChange, ...] = (),
) -> Iterator[Finding]:
    lost = [
        x
        for x in losses
        if not runs.is_stale(x.at, x.time, code) and not interrupts.is_of_interrupt(x, cluster, changes, code)
    ]
    given_up = [
        f for f in failures if f.exception == "KilledWorker" and not runs.is_stale(f.at, f.time, code)
    ]
    for prefix in _culprits(lost, given_up):
        own = [x for x in lost if prefix in (x.prefixes or ("",))]
        ends = [f for f in given_up if f.prefix == prefix]
        for_memory = [x for x in own if x.reason == "memory"]
        severity: Severity = "warning"
        if for_memory or ends or len(own) >= limit.vanished:
            severity = "critical"
        elif not prefix:
            continue  # one worker without work went away: nobody was harmed
        places = [f.at for f in reversed(ends)] + [x.at for x in reversed(own)]
        at = next((place for place in places if place is not None), None)
        output = _output(prefix, groups)
        offered = _fixes(at, workers, cluster, computations, collections, load, code)
        yield _finding(prefix, severity, own, for_memory, ends, output, at, offered)


def _culprits(losses: Sequence[WorkerLoss], failures: Sequence[TaskFailure]) -> list[str]:
    """One prefix per loss: the one that most of the lost workers were running. "" where none was."""
    often = Counter(p for x in losses for p in x.prefixes)
    often.update(f.prefix for f in failures)
    chosen: dict[str, None] = {f.prefix: None for f in failures}
    for x in losses:
        if not any(p in chosen for p in x.prefixes):
            best = max(x.prefixes, key=lambda p: (often[p], p), default="")
            chosen.setdefault(best)
    return list(chosen)


def _output(prefix: str, groups: tuple[TaskGroup, ...]) -> int | None:
    return max((g.sizes.largest for g in groups if g.prefix == prefix and g.sizes is not None), default=None)


def _finding(
    prefix: str,
    severity: Severity,
    own: Sequence[WorkerLoss],
    for_memory: Sequence[WorkerLoss],
    ends: Sequence[TaskFailure],
    output: int | None,
    at: Location | None,
    offered: tuple[Fix, ...],
) -> Finding:
    evidence = [Evidence(label="workers lost", value=len(own), unit="count", limit=0)]
    worst = max((x for x in for_memory if x.process), key=lambda x: x.process or 0, default=None)
    if worst is not None and worst.process is not None:
        evidence.append(
            Evidence(
                label="memory when it was killed", value=worst.process, unit="bytes", limit=worst.memory_limit
            )
        )
    if ends:
        evidence.append(Evidence(label="tasks given up", value=len(ends), unit="count", limit=0))
    if output is not None:
        evidence.append(Evidence(label="largest output seen", value=output, unit="bytes"))
    running = f" while it ran {words.code(prefix)}" if prefix else ""
    if len(own) > 1:
        running = f" while they ran {words.code(prefix)}" if prefix else ""
    who = words.count(max(1, len(own)), "worker was", "workers were")
    if for_memory:
        message = f"{who} killed{running}: out of memory"
        if worst is not None and worst.process is not None and worst.memory_limit:
            message += f", {words.nbytes(worst.process)} of {words.nbytes(worst.memory_limit)}"
    elif own:
        message = f"{words.count(len(own), 'worker')} vanished{running}"
    else:
        message = f"The workers that ran {words.code(prefix)} died until Dask gave up"
    if ends:
        message += "; the computation failed with KilledWorker"
    why = "What it held must be made again on another worker, which may die of the same."
    if output is not None:
        why += f" One output of {words.code(prefix)} is up to {words.nbytes(output)}."
    return killed_worker.finding(
        severity=severity,
        subject=prefix or "worker",
        message=f"{message}.",
        why=why,
        evidence=tuple(evidence),
        at=at,
        fixes=offered,
        loss_bytes=worst.process if worst is not None else None,
    )


def _fixes(
    at: Location | None,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    computations: tuple[Computation, ...],
    collections: tuple[Collection, ...],
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> tuple[Fix, ...]:
    own = runs.of_cell(computations, at)
    read = [c for one in own for c in runs.read_by(one, collections, code)]
    found: tuple[Fix, ...] = ()
    tightest = min((w for w in workers if w.memory_limit), key=lambda w: w.memory_limit or 0, default=None)
    if read and tightest is not None:
        found = offers.relieve(
            max(read, key=lambda c: c.largest.nbytes if c.largest else 0),
            # It held all that it could
            peak=tightest.memory_limit,
            worker=tightest,
            cluster=cluster,
            load=load,
            code=code,
            ailing=at,
        )
    return (*found, *offers.more_room(workers, load))
