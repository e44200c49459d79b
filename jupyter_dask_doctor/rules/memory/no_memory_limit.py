"""Workers have no memory limit, or limits that add up to more than the machine has.

## Why it matters
All that protects a worker is measured against its limit: at 60 % it moves data to disk, at 80 % it takes no
new tasks, at 95 % it is restarted. Without a limit, or with one that the machine cannot give, none of this
happens in time. The operating system then ends a process of its choice, often the notebook's kernel, with
all variables, and nobody tells why.

## Anti-pattern
    cluster = LocalCluster(n_workers=4, memory_limit=0)        # "so that workers are not killed"
    cluster = LocalCluster(n_workers=4, memory_limit="16GiB")  # on a machine with 32 GiB

## Best practice
    cluster = LocalCluster(n_workers=4)                        # a quarter of the machine for each
    cluster = LocalCluster(n_workers=4, memory_limit="6GiB")   # room for the kernel as well

## How it is known
Limits as the scheduler has them, and the memory of the machine (or of its container) as a worker there
told, or the kernel for a cluster of its own. Limits count as too high when they add up to 1.2 times what
the machine has. It is a warning when something is at stake: the workers have used half of the machine's
memory, or a collection of the notebook is larger than that. Else it is only worth knowing.

## When it stays quiet
Limits that add up to the machine's memory, as Dask's own default does. Several workers of a cluster that is
not on this machine are never added up: each may have a container of its own.

## Fix safety
Needs review: the cluster is made anew, and all that it holds is lost. The limit on offer leaves a fifth of
the machine to the kernel and everything else.

## References
https://distributed.dask.org/en/stable/worker-memory.html
https://docs.dask.org/en/stable/deploying-python.html#reference
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...remedies import creation, fixes
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Kernel, Location, Worker, WorkerEnvironment
from ...words import GiB, MiB
from ..registry import NotChecked, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Limits in sum over the machine's memory from which they are too high. Dask's default is 1.
    over: float = 1.2
    #: Share of the machine's memory that must be used, or that a collection must have, for a warning. Dask
    #: begins to move data to disk at 0.6 of a limit.
    stake_share: float = 0.5
    #: Share of the machine's memory that the limits on offer add up to.
    offer_share: float = 0.8


def _measure(
    subject: str,
    at: Location | None,
    *,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    environments: tuple[WorkerEnvironment, ...] = (),
    kernel: Kernel | None = None,
    **_: object,
) -> tuple[Measure, ...]:
    allowed = sum(w.memory_limit or 0 for w in workers)
    memory = _memory(workers[0], cluster, environments, kernel) if workers else None
    is_over = (
        cluster.is_in_process and memory is not None and allowed > no_memory_limit.thresholds.over * memory
    )
    open_ended = sum(w.memory_limit is None for w in workers)
    return (
        Measure(
            label="workers whose limit does not hold",
            value=len(workers) if is_over else open_ended,
            unit="count",
        ),
    )


@rule(
    id="no-memory-limit",
    title="Nothing limits the memory of the workers",
    severity="warning",
    thresholds=Thresholds(),
    about=("workers",),
    measure=_measure,
)
def no_memory_limit(
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    environments: tuple[WorkerEnvironment, ...] = (),
    kernel: Kernel | None = None,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    open_ended = [w for w in workers if w.memory_limit is None]
    memory = _memory((open_ended or workers)[0], cluster, environments, kernel)
    if open_ended:
        yield _finding(open_ended, workers, memory, cluster, limit, collections, code)
    elif cluster.is_in_process:
        # One machine for certain: what it has is what they share
        if memory is None:
            raise NotChecked("The memory of this machine is not known.")
        if sum(w.memory_limit or 0 for w in workers) >= limit.over * memory:
            yield _finding((), workers, memory, cluster, limit, collections, code)


def _memory(
    worker: Worker, cluster: Cluster, environments: Sequence[WorkerEnvironment], kernel: Kernel | None
) -> int | None:
    """Bytes of the machine that the worker is on, as far as anybody told."""
    told = [e for e in environments if e.address == worker.address]
    told += [e for e in environments if worker.host and e.host == worker.host]
    known = next((e.host_memory for e in told if e.host_memory), None)
    if known is None and cluster.is_in_process and kernel is not None:
        known = kernel.memory_total
    return known or None


def _peak(worker: Worker) -> int:
    return max(worker.process, *(s.process for s in worker.samples), 0)


def _finding(
    open_ended: Sequence[Worker],
    workers: Sequence[Worker],
    memory: int | None,
    cluster: Cluster,
    limit: Thresholds,
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> Finding:
    # Of a cluster on many machines only one worker's use can be held against the memory of its machine
    used = sum(map(_peak, workers)) if cluster.is_in_process else max(map(_peak, workers))
    sized = [(c.nbytes.nbytes, c) for c in collections if c.nbytes is not None]
    largest, big = max(sized, key=lambda pair: pair[0], default=(0, None))
    is_gpu = "CUDA" in (cluster.kind or "")
    at_stake = memory is not None and max(used, largest) >= limit.stake_share * memory
    severity: Severity = "warning" if at_stake and not is_gpu else "info"
    allowed = sum(w.memory_limit or 0 for w in workers)
    machine = f"the {words.nbytes(memory)} of the machine" if memory else "the machine's memory"
    if open_ended:
        n, total = len(open_ended), len(workers)
        if total == 1:
            who = "The worker has no memory limit"
        elif n == total:
            who = f"None of the {total} workers has a memory limit"
        else:
            who = f"{n} of {total} workers {'has' if n == 1 else 'have'} no memory limit"
        message = f"{who}: nothing stops them before {machine} {'is' if memory is None else 'are'} used up."
        evidence = [Evidence(label="workers without a limit", value=len(open_ended), unit="count", limit=0)]
    else:
        message = (
            f"The limits of {words.count(len(workers), 'worker')} add up to {words.nbytes(allowed)}: "
            f"{words.times(allowed / (memory or 1))} what the machine has, {words.nbytes(memory or 0)}."
        )
        evidence = [
            Evidence(
                label="limits of all workers", value=allowed, unit="bytes", limit=limit.over * (memory or 0)
            )
        ]
    if memory:
        evidence.append(Evidence(label="memory of the machine", value=memory, unit="bytes"))
    evidence.append(
        Evidence(
            label="most memory used by workers",
            value=used,
            unit="bytes",
            limit=limit.stake_share * memory if memory and used >= limit.stake_share * memory else None,
        )
    )
    if big is not None and big.nbytes is not None and memory and largest >= limit.stake_share * memory:
        evidence.append(
            Evidence(
                label=f"size of {words.code(big.name)}",
                value=largest,
                unit="bytes",
                limit=limit.stake_share * memory,
                is_estimated=big.nbytes.known == "estimated",
            )
        )
    made = creation.creation(code, cluster)
    at = None
    if made is not None:
        cell = made.cell
        at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=made.call.lineno)
    return no_memory_limit.finding(
        severity=severity,
        subject="workers",
        message=message,
        why="Spilling to disk, pausing and restarting are all measured against a worker's limit. "
        "Without one that holds the operating system ends a process when memory runs out, often the kernel.",
        evidence=tuple(evidence),
        at=at,
        fixes=_fixes(made, workers, memory, cluster, limit),
        loss_bytes=max(0, allowed - memory) if memory and not open_ended else None,
    )


def _fixes(
    made: creation.Creation | None,
    workers: Sequence[Worker],
    memory: int | None,
    cluster: Cluster,
    limit: Thresholds,
) -> tuple[Fix, ...]:
    if memory is None:
        return ()
    share = len(workers) if cluster.is_in_process else 1
    each = int(limit.offer_share * memory / max(1, share))
    if each < 64 * MiB:
        return ()  # a worker's process alone needs more
    text = f'"{each / GiB:.1f}GiB"' if each >= 2 * GiB else f'"{each // MiB}MiB"'
    title = f"Give each worker a limit of {words.nbytes(each)}"
    left = "" if share == 1 else f", {words.nbytes(share * each)} in all"
    expect = (
        f"{words.count(share, 'worker')} × {words.nbytes(each)}{left} of {words.nbytes(memory)}: data goes to disk "
        f"from {words.share(cluster.memory_target)} of that on. Makes the cluster anew: run the cells below again"
    )
    fix = creation.set_option(made, "memory_limit", text, title=title, expect=expect) if made else None
    if fix is None:
        shown = (
            f"# where the cluster is made\ncluster = LocalCluster(n_workers={share}, memory_limit={text})"
            if cluster.is_in_process
            else f"# where the workers are started\ndask worker {cluster.address} --memory-limit {text}"
        )
        fix = fixes.advice(shown, title=title, expect=expect)
    return (fix,)
