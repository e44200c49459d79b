"""The threads of a worker take turns instead of running at once.

## Why it matters
Python runs the code of one thread at a time in each process. NumPy, pandas and Arrow let go of that lock (the
GIL) while they compute; loops, string methods, `apply` and parsing in Python do not. Four threads in one
process are then as fast as one.

## Anti-pattern
    client = Client(n_workers=1, threads_per_worker=8)
    client.map(parse_in_python, files)

## Best practice
    client = Client(n_workers=8, threads_per_worker=1)     # a process each
    client.map(parse_in_python, files)

Or code that needs no such loops: vector operations, `string[pyarrow]` columns.

## How it is known
Where `gilknocker` is installed on the workers, Dask measures how often the GIL is held. Where it is not, from
the CPU of the worker's process: with two threads or more at work it used about one core (85 to 115 %), on 60 %
of the samples and on 3 at least, while its machine had a core to spare. Waiting for a disk or a network can
look like that for a moment, not all the time. The loss is what the same threads would save on cores of their
own, as many as the machine has for each worker.

## When it stays quiet
Workers of one thread; processes well below or above one core; machines whose cores are all in use; when it is
not known how many cores there are. Where `gilknocker` says that the GIL is free.

## Fix safety
Needs review: more processes with the same memory in all, so each has less, and what is shared between threads
is copied. The cell that makes the cluster must run again: what the old one held is lost.

## References
https://distributed.dask.org/en/stable/efficiency.html#adjust-between-threads-and-processes
https://docs.dask.org/en/stable/best-practices.html#processes-and-threads
https://github.com/milesgranger/gilknocker
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import usage
from ...remedies import creation, fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import (
    Cell,
    Cluster,
    Computation,
    Kernel,
    Load,
    MemorySample,
    TaskGroup,
    Worker,
    WorkerEnvironment,
)
from ...words import MiB
from ..registry import NotChecked, rule

#: A process of its own needs about 150 MiB before it holds anything.
_LEAST_MEMORY = 400 * MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Percent of one core that the process of a worker uses when its threads take turns: from here ...
    cpu_from: float = 85.0
    #: ... to here.
    cpu_to: float = 115.0
    #: Threads that run a task at the same time.
    threads: int = 2
    #: Share of a worker's samples that show it.
    samples_share: float = 0.6
    #: Samples that show it (one every 2 s).
    samples: int = 3
    #: Percent of a core that its machine must have to spare.
    spare_cpu: float = 50.0
    #: Share of time in which the GIL is held, where `gilknocker` tells: contention from here.
    gil_share: float = 0.5
    #: Seconds that could have been saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """A worker whose threads took turns."""

    worker: Worker
    n_samples: int
    #: Mean percent of one core, and mean of the threads that ran a task.
    cpu: float
    threads: float
    #: How much faster they could be, and the seconds that would save.
    faster: float
    saved: float


@rule(
    id="gil-contention",
    title="Threads take turns instead of running at once",
    severity="warning",
    thresholds=Thresholds(),
    about=("workers",),
    measure=usage.time_of_tasks,
)
def gil_contention(
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    environments: tuple[WorkerEnvironment, ...] = (),
    kernel: Kernel | None = None,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    # Most never look like that, and need not be looked at run by run
    suspects = [w for w in workers if sum(_is_alike(s, limit) for s in w.samples) >= limit.samples]
    if not suspects:
        return
    cores = _cores(workers, environments, cluster, kernel)
    is_found = is_untold = False
    grouped = usage.by_computation(groups)
    for work in usage.works(computations, code, load):
        if work.seconds < limit.loss_seconds:
            continue
        taking = []
        for worker in suspects:
            alike = _alike(worker, work, limit)
            if not alike or _is_free(worker, work, limit):
                continue
            n_cpus = cores.get(worker.host)
            if n_cpus is None:
                is_untold = True
                continue
            turns = _turns(worker, alike, work, workers, n_cpus, limit)
            if turns is not None:
                taking.append(turns)
        if not taking:
            continue
        loss = max(t.saved for t in taking)
        if loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        is_found = True
        yield _finding(work, usage.own_groups(work, grouped), taking, loss, workers, cluster, limit, code)
    if is_untold and not is_found:
        raise NotChecked("It is not known how many cores the workers' machines have.")


def _cores(
    workers: Sequence[Worker],
    environments: Sequence[WorkerEnvironment],
    cluster: Cluster,
    kernel: Kernel | None,
) -> dict[str, int]:
    """By host: the cores that a worker may use there."""
    found = {}
    hosts = {w.address: w.host for w in workers}
    for e in environments:
        if e.n_cpus > 0:
            found[hosts.get(e.address, e.host)] = e.n_cpus
    if kernel is not None and kernel.n_cpus > 0 and cluster.is_in_process:
        for host in hosts.values():
            found.setdefault(host, kernel.n_cpus)
    return found


def _alike(worker: Worker, work: usage.Work, limit: Thresholds) -> list[MemorySample]:
    """Samples in which several threads worked and the process used about one core, if most were like that."""
    if worker.nthreads < limit.threads:
        return []
    # The last sample may be of a moment at which only the end was left
    busy = [
        s for s in usage.samples(worker, work.spans) if s.n_executing >= limit.threads and s.cpu is not None
    ]
    alike = [s for s in busy if _is_alike(s, limit)]
    if len(alike) < limit.samples or len(alike) < limit.samples_share * len(busy):
        return []
    return alike


def _is_alike(sample: MemorySample, limit: Thresholds) -> bool:
    return (
        sample.cpu is not None
        and sample.n_executing >= limit.threads
        and limit.cpu_from <= sample.cpu <= limit.cpu_to
    )


def _is_free(worker: Worker, work: usage.Work, limit: Thresholds) -> bool:
    """Where it is measured, while the threads still work: is the GIL held less than contention needs?"""
    return worker.gil is not None and not work.is_done and worker.gil < limit.gil_share


def _turns(
    worker: Worker,
    alike: Sequence[MemorySample],
    work: usage.Work,
    workers: Sequence[Worker],
    n_cpus: int,
    limit: Thresholds,
) -> _Turns | None:
    neighbours = [w for w in workers if w.host == worker.host]
    used = sum(_mean_cpu(w, work) for w in neighbours)
    if used > 100.0 * n_cpus - limit.spare_cpu:
        return None  # its machine has no core to spare
    threads = sum(s.n_executing for s in alike) / len(alike)
    faster = min(threads, n_cpus / max(1, len(neighbours)))
    if faster <= 1:
        return None
    busy = [s for s in usage.samples(worker, work.spans) if s.n_executing >= limit.threads]
    all_of = max(1, len(usage.samples(worker, work.spans)))
    seconds = work.seconds * len(busy) / all_of
    return _Turns(
        worker=worker,
        n_samples=len(alike),
        cpu=sum(s.cpu or 0.0 for s in alike) / len(alike),
        threads=threads,
        faster=faster,
        saved=seconds * (1 - 1 / faster),
    )


def _mean_cpu(worker: Worker, work: usage.Work) -> float:
    known = [s.cpu for s in usage.samples(worker, work.spans) if s.cpu is not None]
    return sum(known) / len(known) if known else worker.cpu


def _finding(
    work: usage.Work,
    own: Sequence[TaskGroup],
    taking: Sequence[_Turns],
    loss: float,
    workers: Sequence[Worker],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...],
) -> Finding:
    prefix, noncpu = _prefix(work, own)
    worst = max(taking, key=lambda t: t.saved)
    threads = words.count(worst.threads, "thread")
    on = f"worker {words.code(worst.worker.name)}" if len(taking) == 1 else f"each of {len(taking)} workers"
    evidence = [
        Evidence(label="cores used by the process", value=worst.cpu / 100, unit="count", limit=1.0),
        Evidence(label="threads at work", value=worst.threads, unit="count", limit=float(limit.threads)),
        Evidence(
            label="samples that show it", value=worst.n_samples, unit="count", limit=float(limit.samples)
        ),
    ]
    if noncpu is not None:
        evidence.append(Evidence(label="share of a task's time without CPU", value=noncpu, unit="share"))
    if worst.worker.gil is not None:
        evidence.append(
            Evidence(label="GIL held now", value=worst.worker.gil, unit="share", limit=limit.gil_share)
        )
    return gil_contention.finding(
        severity="warning",
        subject=prefix,
        message=f"{threads} of {on} shared one core while {words.code(prefix)} ran: "
        f"{words.share(worst.cpu / 100)} of a core for all of them together.",
        why="Python runs the code of one thread at a time in each process. "
        f"On cores of their own they would be up to {words.times(worst.faster)} as fast.",
        evidence=tuple(evidence),
        at=work.at,
        fixes=_fixes(work, workers, cluster, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _prefix(work: usage.Work, own: Sequence[TaskGroup]) -> tuple[str, float | None]:
    """The tasks that took most of the time, and their share of time without CPU."""
    heaviest = usage.heaviest(own, work)
    seconds: dict[str, Counter[str]] = defaultdict(Counter)
    for a in usage.activities(work) or ():
        if a.context == "execute" and a.prefix is not None:
            seconds[a.prefix][a.label] += max(0.0, a.seconds)  # type: ignore[assignment]
    parts = seconds.get(heaviest, Counter())
    both = parts["thread-cpu"] + parts["thread-noncpu"]
    return heaviest, parts["thread-noncpu"] / both if both > 0 else None


def _fixes(
    work: usage.Work, workers: Sequence[Worker], cluster: Cluster, code: tuple[Cell, ...]
) -> tuple[Fix, ...]:
    n = sum(w.nthreads for w in workers)
    options = {"n_workers": str(n), "threads_per_worker": "1"}
    limits = [w.memory_limit for w in workers if w.memory_limit]
    each = sum(limits) // n if len(limits) == len(workers) and n else None
    if each is not None:
        options["memory_limit"] = f'"{each // MiB}MiB"'
    title = f"Run {words.count(n, 'process', 'processes')} of one thread each"
    before = words.count(len(workers), "process", "processes")
    memory = f", {words.nbytes(each)} of memory each" if each is not None else ""
    expect = f"{before} → {n}{memory}; the new cluster begins empty"
    call = ", ".join(f"{name}={value}" for name, value in options.items())
    text = f"# where the cluster is made\ncluster = LocalCluster({call})"
    made = creation.creation(code, cluster)
    if made is not None and any(k.arg == "processes" for k in made.call.keywords):
        options["processes"] = "True"  # it may say False, and then all of them are threads of this kernel
    fix = None
    if made is not None and (each is None or each >= _LEAST_MEMORY):
        fix = creation.set_options(made, options, title=title, expect=expect)
    return (fix or fixes.advice(text, title=title, expect=expect),)
