"""Native libraries start more threads than the machine has cores.

## Why it matters
BLAS and OpenMP start a pool of threads of their own in every worker process. With a pool as wide as the machine
in each of eight workers, 64 threads fight for eight cores: each waits for a partner that is not running, and
matrix work takes longer than with one thread per task. (Measured with 2 workers on 2 cores, blocks of 1200 × 1200:
the same product took 15 s of CPU with one thread per pool and 22 s with two, and on a machine that was busy besides
3.8 s by the clock and 17 s.)

## Anti-pattern
    os.environ["OMP_NUM_THREADS"] = "8"        # "NumPy shall use all cores"
    cluster = LocalCluster(n_workers=8)

## Best practice
One thread per task: Dask fills the cores with tasks. Dask's nanny sets `OMP_NUM_THREADS`, `MKL_NUM_THREADS` and
`OPENBLAS_NUM_THREADS` to 1 for its worker unless they are set already; workers without a nanny need them set.

## How it is known
Three facts together. Widths: threads per worker × threads of the widest pool that a worker has (or its variables
ask for), over all workers of a machine, at least 1.5 × its cores. Use: while a cell ran, the worker processes used
at least 1.8 × the CPU that their tasks' own threads used, and 2 s more than those: others computed for them (2.5 ×
was measured with pools of two, 1.3 × with pools of one). Want: the tasks' threads were without a core, or waited for
others, for at least 20 % of their time. The loss lies between two bounds, and half way is told, as an estimate: at most
what the tasks' threads waited; at least the time beyond the CPU that can have been of use, which is that of the tasks'
own threads times the width of the pool.

## When it stays quiet
Wide pools that nothing uses; shuffles and transfers, which use CPU beside the tasks; one worker whose pool is as
wide as the machine; workers that live in the kernel's own process, where the CPU of others cannot be told apart;
cells that ran together; too few heartbeats.

## Fix safety
Needs review: workers have to be made anew, and what they hold is lost. Sums of floating point numbers may differ in
the last digit with the number of threads.

## References
https://docs.dask.org/en/stable/array-best-practices.html
https://distributed.dask.org/en/stable/worker.html
https://distributed.dask.org/en/stable/efficiency.html
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import usage
from ...remedies import creation, fixes, statements
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Activity, Cell, Cluster, Computation, Load, Location, Worker, WorkerEnvironment
from ..registry import NotChecked, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Threads of tasks × threads of pools over the cores of a machine (signals: 1.5).
    ratio: float = 1.5
    #: CPU of the worker processes over that of their tasks' own threads; measured: 1.3 with pools of one thread,
    #: 2.5 with pools of two.
    cpu_ratio: float = 1.8
    #: The same in CPU-seconds.
    cpu_seconds: float = 2.0
    #: CPU-seconds of the tasks' own threads; less and it is not computing that they do.
    own_seconds: float = 1.0
    #: Share of the tasks' time in which their threads had no core or waited.
    waiting_share: float = 0.2
    #: Heartbeats with the CPU of workers while the cell ran.
    samples: int = 4
    #: Seconds that it must have cost, and their share of the cell's tasks (rules.md, stake).
    loss_seconds: float = 1.0
    loss_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crowd:
    """The workers of one machine and the threads that they may start."""

    host: str
    n_cpus: int
    nthreads: int
    threads: int
    pool: int
    library: str


_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")
#: What takes CPU beside the tasks, as Dask's fine performance metrics spell it.
_AROUND = frozenset({"serialize", "deserialize", "compress", "decompress", "disk-read", "disk-write"})
#: Beyond these a kernel's own limits would have spoken.
_MOST_THREADS = 4096


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    load: tuple[Load, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    for work in usage.works(computations, code, load):
        if work.at is not None and at is not None and work.at.cell_id == at.cell_id:
            return (Measure(label="tasks of the cell ran for", value=work.seconds, unit="seconds"),)
    return ()


@rule(
    id="thread-oversubscription",
    title="More threads than cores",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    measure=_measure,
)
def thread_oversubscription(
    environments: tuple[WorkerEnvironment, ...],
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    crowds = [c for c in _crowds(environments, workers, cluster) if c.threads >= limit.ratio * c.n_cpus]
    if not crowds:
        return
    crowd = max(crowds, key=lambda c: c.threads / c.n_cpus)
    works = usage.works(computations, code, load)
    unknown = False
    for work in works:
        is_long = work.seconds >= limit.loss_seconds
        activities = usage.activities(work) if is_long else ()
        if activities is None:
            unknown = unknown or work.seconds >= 10 * limit.loss_seconds
            continue
        own = sum(a.seconds for a in activities if a.context == "execute" and a.label == "thread-cpu")
        waited = sum(a.seconds for a in activities if a.context == "execute" and a.label == "thread-noncpu")
        # Cheap questions first: the CPU of a thousand workers is a hundred thousand numbers
        if own < limit.own_seconds or waited < limit.waiting_share * (own + waited):
            continue
        if waited / max(1, work.nthreads) < limit.loss_seconds or not usage.is_alone(work, works):
            continue
        used = _cpu_seconds(work, workers, limit)
        if used is None:
            unknown = unknown or work.seconds >= 10 * limit.loss_seconds
            continue
        if used < limit.cpu_ratio * own or used - own < limit.cpu_seconds:
            continue
        if not _is_native(own, used, activities, crowd):
            continue
        at_once = max(1, min(work.nthreads, sum(c.n_cpus for c in crowds)))
        of_use = min(used, own * crowd.pool)
        most = waited / max(1, work.nthreads)
        least = min(most, max(0.0, work.seconds - of_use / at_once))
        loss = (least + most) / 2
        if loss >= limit.loss_seconds and loss >= limit.loss_share * work.seconds:
            unknown = False
            yield _finding(crowd, work, own, used, waited, loss, cluster, limit, code)
    if unknown:
        raise NotChecked("How much CPU the tasks and their workers used is not known.")


def _crowds(
    environments: Sequence[WorkerEnvironment], workers: Sequence[Worker], cluster: Cluster
) -> list[_Crowd]:
    """Machines with workers in processes of their own whose pools are wider than one thread.

    At most 8 workers were asked: the others of the same machine are taken to be like those.
    """
    asked = {e.address: e for e in environments}
    hosts: dict[str, list[Worker]] = defaultdict(list)
    for w in workers:
        hosts[w.host].append(w)
    found = []
    for host, here in hosts.items():
        told = [(w, asked[w.address]) for w in here if w.address in asked]
        if not told or any(_is_in_kernel(w, e, cluster) for w, e in told):
            continue
        width, library = max(_pool(e) for _, e in told)
        nthreads = sum(max(1, w.nthreads) for w in here)
        n_cpus = max(1, *(e.n_cpus for _, e in told))
        if width > 1:
            found.append(
                _Crowd(
                    host=host,
                    n_cpus=n_cpus,
                    nthreads=nthreads,
                    threads=nthreads * width,
                    pool=width,
                    library=library,
                )
            )
    return found


def _is_in_kernel(worker: Worker, environment: WorkerEnvironment, cluster: Cluster) -> bool:
    return worker.address.startswith("inproc://") or (cluster.is_in_process and not environment.has_nanny)


def _pool(environment: WorkerEnvironment) -> tuple[int, str]:
    """The widest pool of threads, and what it is of."""
    found = [(n, name) for name, n in environment.pools if 0 < n <= _MOST_THREADS]
    if not found:
        found = [
            (int(value), name)
            for name, value in environment.variables
            if name in _VARIABLES and value.isascii() and value.isdecimal() and len(value) <= 4
        ]
    return max(found, default=(1, ""))


def _cpu_seconds(work: usage.Work, workers: Sequence[Worker], limit: Thresholds) -> float | None:
    """CPU of the worker processes while it ran; None with too few heartbeats to tell."""
    total = 0.0
    for w in workers:
        seen = [s for s in usage.samples(w, work.spans) if s.cpu is not None]
        if len(seen) < limit.samples:
            return None
        steps = [(b.time - a.time, b.cpu or 0.0) for a, b in itertools.pairwise(seen)]
        covered = sum(seconds for seconds, _ in steps)
        if covered <= 0:
            return None
        mean = sum(seconds * max(0.0, percent) for seconds, percent in steps) / covered / 100
        total += mean * work.seconds
    return total if workers else None


def _is_native(own: float, used: float, activities: Sequence[Activity], crowd: _Crowd) -> bool:
    """Can it be that pools used the CPU that the tasks' own threads did not?

    Not when that was more than they could, nor when packing, sending and storing took as long as the tasks.
    """
    if used > 2 * own * min(crowd.pool, crowd.n_cpus):
        return False
    around = sum(
        a.seconds for a in activities if a.label in _AROUND or (a.context == "p2p" and a.label != "network")
    )
    return around < own


def _finding(
    crowd: _Crowd,
    work: usage.Work,
    own: float,
    used: float,
    waited: float,
    loss: float,
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...],
) -> Finding:
    pool = f"{crowd.pool} of {words.code(crowd.library)}"
    return thread_oversubscription.finding(
        severity="warning",
        subject="threads",
        message=f"Up to {crowd.threads} threads share {words.count(crowd.n_cpus, 'core')}: each of "
        f"{words.count(crowd.nthreads, 'thread')} that run tasks may start {pool}.",
        why="Native threads that outnumber the cores wait for each other. The workers used "
        f"{words.times(used / own)} the CPU of their tasks' own threads, and those were without a core or waited "
        f"for {words.share(waited / (own + waited))} of their time.",
        evidence=(
            Evidence(
                label="threads that may run",
                value=crowd.threads,
                unit="count",
                limit=limit.ratio * crowd.n_cpus,
            ),
            Evidence(label="cores", value=crowd.n_cpus, unit="count"),
            Evidence(label="CPU of the tasks' own threads", value=own, unit="seconds"),
            Evidence(
                label="CPU of the workers",
                value=used,
                unit="seconds",
                limit=limit.cpu_ratio * own,
                is_estimated=True,
            ),
            Evidence(label="the tasks' threads waited", value=waited, unit="seconds"),
        ),
        at=work.at,
        fixes=(_fix(crowd, cluster, code),),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _fix(crowd: _Crowd, cluster: Cluster, code: tuple[Cell, ...]) -> Fix:
    rows = "".join(
        f'    {name}="1",\n' for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    )
    text = f"import os\n\nos.environ.update(\n{rows})  # of workers made from here on"
    title = "One native thread per task"
    expect = (
        f"up to {crowd.threads} threads → {crowd.nthreads} on {words.count(crowd.n_cpus, 'core')}; "
        "the cluster has to be made anew, and what it holds is lost"
    )
    made = creation.creation(code, cluster) if cluster.is_in_process else None
    fix: Fix | None = None
    if made is not None and not any(k.arg in (None, "env") for k in made.call.keywords):
        fix = statements.ahead_of(made, text, title=title, expect=expect)
    return fix or fixes.advice(
        "# in the environment of the workers, before they start\n"
        "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",
        title=title,
        expect=expect,
    )
