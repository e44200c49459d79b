"""What the panel shows of a cluster and its workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..report import Unit

SignKind = Literal[
    "success",  # share of computations that ended without a failed task
    "failure-rate",  # share of tasks that failed
    "cell-seconds",  # 95th percentile of how long cells with Dask's work took
    "start-delay",  # seconds from a graph's being ready to its first task's running
    "worker-memory",  # of the fullest worker, share of its limit
    "memory-kills",  # workers that were ended for their memory
    "workers-lost",  # workers that went without being asked to in the last ten minutes
    "waiting",  # tasks that wait; for what, when nothing runs?
    "bytes-moved",  # between workers, by the newest computation
    "scheduler-cpu",  # share of one core
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One sign of how the cluster is, whether or not anything is wrong."""

    kind: SignKind
    #: None when it is not known.
    value: float | None
    unit: Unit
    #: The level at which it colours; None when there is none.
    limit: float | None
    #: The value is on the bad side of its level.
    is_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What the header shows. Bytes, counts, fractions of the memory limit."""

    n_workers: int
    nthreads: int
    memory_limit: int | None
    managed: int
    unmanaged: int
    spilled: int
    memory_target: float
    memory_pause: float
    threads_busy: int
    tasks_waiting: int
    tasks_processing: int
    tasks_erred: int
    tasks_memory: int
    dashboard_link: str | None
    signs: tuple[Sign, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerShape:
    """Workers that are alike."""

    n: int
    nthreads: int
    memory_limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeInfo:
    """A worker that came or went."""

    time: float
    kind: Literal["added", "removed"]
    name: str
    #: Workers of the cluster afterwards.
    n_workers: int
    is_expected: bool
    #: Results that were lost with it.
    n_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestTrend:
    """How memory that Dask does not know of grows from one computation to the next, judged at rest. Bytes per
    computation, over all workers, with the interval in which it lies with 95 %."""

    slope: float
    low: float
    high: float
    #: Pauses that it was judged from.
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInfo:
    """Settings and environment that matter, as the Cluster section shows them. None: not known."""

    #: Class of the cluster object, and the variable that holds it.
    kind: str | None
    variable: str | None
    address: str
    #: Most workers first, at most 5.
    shapes: tuple[WorkerShape, ...]
    #: Fractions of a worker's limit; None: switched off.
    memory_target: float | None
    memory_spill: float | None
    memory_pause: float | None
    memory_terminate: float | None
    python: str
    dask: str
    distributed: str
    #: A package has not the same version everywhere.
    has_mixed_versions: bool | None
    is_adaptive: bool
    has_nanny: bool | None
    is_encrypted: bool | None
    #: `worker-saturation`; None also when queuing is off, which `has_queuing` tells.
    saturation: float | None
    has_queuing: bool | None
    allowed_failures: int | None
    n_cpus: int | None
    host_memory: int | None
    #: Of the worker with the least free disk.
    local_directory: str | None
    disk_free: int | None
    disk_total: int | None
    file_system: str | None
    scheduler_memory: int | None
    #: The scheduler lives in the kernel, so its memory is the kernel's.
    is_in_process: bool
    rest: RestTrend | None
    #: Bytes that one partition may have: a third of what the smallest worker has for each thread.
    partition_limit: int | None = None
    #: Newest first, at most 10.
    changes: tuple[ChangeInfo, ...] = ()
    #: Why something is not known, in words, at most 5.
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPoint:
    """Memory of the whole cluster at one moment, and of its fullest workers. Bytes."""

    #: The `rev` under which it came, so that `since` can leave out what is known.
    rev: int
    time: float
    managed: int
    unmanaged: int
    spilled: int
    #: Quantiles of process memory over the workers.
    process_min: int
    process_median: int
    process_max: int
    threads_busy: int
    tasks_processing: int
    n_workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker as the Memory section lists it: the fullest first, at most 12."""

    name: str
    address: str
    status: str
    memory_limit: int | None
    process: int
    managed: int
    spilled: int
    peak: int
