"""Workers and GPUs do not go one to one.

## Why it matters
A process uses the first GPU that it sees. Two workers on one GPU share its memory, and what one fills the other
lacks: tasks fail with out-of-memory errors of the GPU. And a GPU that no worker has is idle, however large.

## Anti-pattern
    cluster = LocalCluster()                     # 8 workers, 4 GPUs: all 8 on the first one
    df = dask_cudf.read_parquet(path)

## Best practice
    from dask_cuda import LocalCUDACluster

    cluster = LocalCUDACluster()                 # one worker for each GPU

## How it is known
The GPUs that workers' processes see and in which order, asked once; what tasks returned (objects of cudf, cupy,
cuml and their like) or that workers offer a resource `GPU`; the memory of each worker's GPU as distributed
watches it. It speaks when workers that use GPUs have the same first one, when a machine has GPUs that are no
worker's first one, and when a GPU is filled to 90 %. Tried on facts only: no GPU was at hand.

## When it stays quiet
Machines with GPUs where nothing that was computed lives on one; short work; workers that were not asked; parts
of a GPU (MIG), which have names of their own.

## Fix safety
Display-only: the package `dask-cuda` may not be there, and what the cluster holds is lost.

## References
https://docs.rapids.ai/api/dask-cuda/stable/
https://docs.dask.org/en/stable/gpu.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import creation, fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import Cell, Cluster, Computation, Location, TaskGroup, Worker, WorkerEnvironment
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Worker processes that have the same first GPU.
    workers_per_gpu: int = 2
    #: GPUs of one machine that are no worker's first one.
    idle_gpus: int = 1
    #: Thread-seconds of tasks that returned something on a GPU.
    seconds: float = 5.0
    #: Share of a GPU's memory in use; its libraries need some for themselves.
    memory: float = 0.9


#: What lives on a GPU, by the package of its type. Not torch or jax: theirs are as often in main memory.
_ON_GPU = frozenset(
    {"cudf", "cuml", "cugraph", "cupy", "cupyx", "cuspatial", "dask_cudf", "pylibcudf", "rmm"}
)


@rule(
    id="gpu-workers",
    title="Workers and GPUs do not go one to one",
    severity="warning",
    thresholds=Thresholds(),
    about=("environments",),
)
def gpu_workers(
    environments: tuple[WorkerEnvironment, ...],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    groups: tuple[TaskGroup, ...] = (),
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if not any(e.n_gpus > 0 for e in environments):
        return
    fresh = {c.id for c in runs.newest(computations, code)}
    used = [g for g in groups if g.computation_id in fresh and _is_on_gpu(g)]
    seconds = sum(max(0.0, g.compute_seconds or 0.0) for g in used)
    offered = any(name.upper() == "GPU" and n > 0 for w in workers for name, n in w.resources)
    if seconds < limit.seconds and not offered:
        return
    made = creation.creation(code, cluster)
    at = (
        Location(cell_id=made.cell.id, execution_count=made.cell.execution_count, line=made.call.lineno)
        if made is not None
        else None
    )
    here = {w.address for w in workers}
    hosts: dict[str, list[WorkerEnvironment]] = defaultdict(list)
    for e in environments:
        if e.address in here and e.n_gpus > 0:
            hosts[e.host].append(e)
    for host, asked in hosts.items():
        yield from _of_machine(host, asked, limit, at)
    yield from _of_memory(workers, limit, used)


def _of_machine(
    host: str, asked: Sequence[WorkerEnvironment], limit: Thresholds, at: Location | None
) -> Iterator[Finding]:
    by_gpu: dict[str, int] = defaultdict(int)
    for e in asked:
        by_gpu[_first(e)] += 1
    n_gpus = max(*(e.n_gpus for e in asked), len(by_gpu))
    crowded, most = max(by_gpu.items(), key=lambda item: item[1])
    evidence = (
        Evidence(label="GPUs of the machine", value=n_gpus, unit="count"),
        Evidence(label="GPUs that workers use", value=len(by_gpu), unit="count"),
        Evidence(label="workers that were asked", value=len(asked), unit="count"),
        Evidence(label="workers on one GPU", value=most, unit="count", limit=limit.workers_per_gpu),
    )
    if most >= max(2, limit.workers_per_gpu):
        yield gpu_workers.finding(
            severity="warning",
            subject="shared GPU",
            message=f"{most} workers of {words.code(host or 'one machine')} use the same GPU ({words.code(crowded)})"
            f"{_idle(n_gpus, len(by_gpu))}.",
            why="They share its memory, and what one fills the others lack.",
            evidence=evidence,
            at=at,
            fixes=(_fix(n_gpus),),
        )
    elif n_gpus - len(by_gpu) >= max(1, limit.idle_gpus):
        yield gpu_workers.finding(
            severity="warning",
            subject="idle GPU",
            message=f"{len(by_gpu)} of {words.count(n_gpus, 'GPU')} of {words.code(host or 'one machine')} "
            f"{'has' if len(by_gpu) == 1 else 'have'} a worker.",
            why="A process uses the first GPU that it sees: the others are idle.",
            evidence=evidence,
            at=at,
            fixes=(_fix(n_gpus),),
        )


def _of_memory(workers: Sequence[Worker], limit: Thresholds, used: Sequence[TaskGroup]) -> Iterator[Finding]:
    full = [
        w
        for w in workers
        if w.gpu_memory and w.gpu_memory_used is not None and w.gpu_memory_used >= limit.memory * w.gpu_memory
    ]
    if not full:
        return
    worst = max(full, key=lambda w: (w.gpu_memory_used or 0) / (w.gpu_memory or 1))
    prefix = max(used, key=lambda g: g.compute_seconds or 0.0).prefix if used else None
    after = f" after {words.code(prefix)}" if prefix else ""
    said = f"{words.nbytes(worst.gpu_memory_used or 0)} of {words.nbytes(worst.gpu_memory or 0)}"
    yield gpu_workers.finding(
        severity="warning",
        subject="memory",
        message=f"The GPU of {words.count(len(full), 'worker')} is nearly full{after}: {said}.",
        why="Dask moves main memory to disk, not that of a GPU: the next allocation there may fail.",
        evidence=(
            Evidence(
                label="memory of the GPU in use",
                value=worst.gpu_memory_used or 0,
                unit="bytes",
                limit=limit.memory * (worst.gpu_memory or 0),
            ),
            Evidence(label="memory of the GPU", value=worst.gpu_memory or 0, unit="bytes"),
        ),
        fixes=(
            fixes.advice(
                "from dask_cuda import LocalCUDACluster\n\n"
                "cluster = LocalCUDACluster(device_memory_limit=0.8)  # what is more goes to main memory",
                title="Let workers move GPU memory to main memory",
                expect="slower where it is short, and no failure",
            ),
        ),
        loss_bytes=max(0, (worst.gpu_memory_used or 0) - int(limit.memory * (worst.gpu_memory or 0))),
    )


def _first(environment: WorkerEnvironment) -> str:
    """The GPU that its process uses unless told otherwise."""
    visible = (environment.cuda_visible_devices or "").split(",")[0].strip()
    return visible or "0"


def _is_on_gpu(group: TaskGroup) -> bool:
    return any(name.split(".", 1)[0] in _ON_GPU for name in group.types)


def _idle(n_gpus: int, n_used: int) -> str:
    if n_gpus <= n_used:
        return ""
    return f", and {words.count(n_gpus - n_used, 'other is', 'others are')} idle"


def _fix(n_gpus: int) -> Fix:
    return fixes.advice(
        "from dask_cuda import LocalCUDACluster  # pip install dask-cuda\n\n"
        "cluster = LocalCUDACluster()\n"
        "client = Client(cluster)",
        title="One worker for each GPU",
        expect=f"{words.count(n_gpus, 'worker')}, each with a GPU of its own",
    )
