"""The cluster as it is and was: its workers, their memory, its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .common import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The scheduler that a client of this notebook is connected to."""

    scheduler_id: str
    address: str
    client_id: str
    #: The class of the cluster object, such as "LocalCluster"; None when the client was given an address.
    kind: str | None
    #: The scheduler's event loop lives in this very process (any LocalCluster).
    is_in_process: bool
    nthreads: int
    #: Sum over the workers; None when a worker has no limit.
    memory_limit: int | None
    #: Of the kernel's side.
    python: tuple[int, int]
    dask: str
    distributed: str
    dashboard_link: str | None = None
    #: Fractions of a worker's memory limit, as Dask's defaults or the cluster's own settings have them.
    memory_target: float = 0.60
    memory_spill: float = 0.70
    memory_pause: float = 0.80
    memory_terminate: float = 0.95
    #: Variables of the notebook that hold the client and its cluster object; None when there is none.
    client_variable: str | None = None
    cluster_variable: str | None = None
    #: The cluster object adds and removes workers by itself (`cluster.adapt()`).
    is_adaptive: bool = False
    #: Workers that the cluster object means to have; None when it does not tell.
    n_wanted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """Memory of one worker at one moment, as its heartbeat told."""

    time: float
    process: int
    managed: int
    spilled: int
    is_paused: bool = False
    n_processing: int = 0
    n_executing: int = 0
    #: Percent of one core that its process used; None when not told.
    cpu: float | None = None
    #: Bytes per second from and to the disks of its machine, by all its processes; None when not told.
    host_disk: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker now, and its memory over the last minutes."""

    address: str
    name: str
    nthreads: int
    #: None when the worker has no limit.
    memory_limit: int | None
    #: "running", "paused", "closing_gracefully", ... as Dask spells it.
    status: str
    process: int
    managed: int
    spilled: int
    #: Process memory that Dask knows nothing of and that has been there for 30 s.
    unmanaged_old: int
    n_processing: int
    n_executing: int
    cpu: float
    #: Oldest first, at most 150, at most 5 minutes.
    samples: tuple[MemorySample, ...] = ()
    #: Prefixes of the tasks that were running when the memory was at its highest in `samples`.
    prefixes_at_peak: tuple[str, ...] = ()
    #: Seconds of work that the scheduler believes lie before it.
    occupancy: float = 0.0
    #: Bytes of task results that it holds, in memory and on disk.
    stored: int = 0
    #: When its heartbeat was heard last, and when it was seen first (after which it may have been there long).
    last_seen: float | None = None
    first_seen: float | None = None
    #: The machine, as the scheduler names it: an address without port, else "".
    host: str = ""
    has_nanny: bool | None = None
    #: What it offers for tasks with `resources=`, as (name, quantity).
    resources: tuple[tuple[str, float], ...] = ()
    #: Tasks that have left its thread pool (`secede`, `worker_client`).
    n_long_running: int = 0
    #: Share of time in which the GIL was held, from 0 to 1; None unless `gilknocker` is installed there.
    gil: float | None = None
    #: Seconds between two ticks of its event loop, 0.02 when all is well; None when not told.
    event_loop_seconds: float | None = None
    #: Bytes per second from other workers, as it has measured; None before it has measured any.
    bandwidth: float | None = None
    #: Bytes per second from and to the disks of its machine (all processes of it); None when not told.
    host_disk_read: float | None = None
    host_disk_write: float | None = None
    #: Memory of its GPU in bytes, where distributed watches one.
    gpu_memory_used: int | None = None
    gpu_memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the whole cluster held and did at one moment."""

    time: float
    n_workers: int
    nthreads: int
    #: Sum over the workers; None when a worker has no limit.
    memory_limit: int | None
    managed: int
    unmanaged: int
    spilled: int
    #: Quantiles of process memory over the workers.
    process_min: int
    process_median: int
    process_max: int
    threads_busy: int
    #: Waiting for inputs, queued, or with no worker to run them.
    tasks_waiting: int
    tasks_processing: int
    tasks_memory: int
    tasks_erred: int
    #: Of `tasks_waiting`: held back by the scheduler until a thread is free, and with no worker that may run them.
    tasks_queued: int = 0
    tasks_unrunnable: int = 0
    #: All tasks that the scheduler knows of, finished ones that are still held included.
    tasks_known: int = 0
    #: Tasks that have come to an end so far, well or not. Never falls while the scheduler lives.
    tasks_finished: int = 0
    #: Process memory of the scheduler, in bytes, and percent of one core. A LocalCluster's is the kernel's own.
    scheduler_memory: int | None = None
    scheduler_cpu: float | None = None
    #: Seconds between two ticks of the scheduler's event loop, 0.02 when all is well, and the longest so far.
    scheduler_tick: float | None = None
    scheduler_longest_tick: float | None = None
    #: Seconds of work that the scheduler believes lie before all workers.
    occupancy: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """The cluster in a pause between two computations, when nothing ran: the last moment of the pause."""

    time: float
    #: Computations and tasks that had ended by then.
    n_computations: int
    tasks_finished: int
    n_workers: int
    #: Sums over the workers.
    process: int
    managed: int
    spilled: int
    #: (address, process memory that Dask knows nothing of), at most 64 workers.
    unmanaged: tuple[tuple[str, int], ...]
    tasks_known: int = 0
    scheduler_memory: int | None = None
    #: How long the pause had lasted by then: memory is told with heartbeats, and so it may be of before.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerChange:
    """A worker that came or went, wished or not."""

    time: float
    kind: Literal["added", "removed"]
    address: str
    name: str
    #: Workers of the cluster afterwards.
    n_workers: int
    #: Only for "removed": it was asked to go; seconds it had been there (None when it was there before us);
    #: results that were lost with it and must be made again, and about how many thread-seconds that takes.
    is_expected: bool = True
    lifetime: float | None = None
    n_lost: int = 0
    lost_seconds: float = 0.0
    #: Prefixes of the lost results, most first, at most 8.
    prefixes: tuple[str, ...] = ()
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLoss:
    """A worker that went away without being asked to."""

    time: float
    address: str
    #: "memory": its nanny restarted it at the terminate limit; "unexpected": it vanished.
    reason: LossReason
    #: Process memory in bytes when it was killed; None when unknown.
    process: int | None
    memory_limit: int | None
    #: Prefixes of the tasks it was running.
    prefixes: tuple[str, ...] = ()
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The scheduler's own settings, and where it listens."""

    #: `worker-saturation`; infinite when queuing is off.
    saturation: float
    #: A task whose worker died so often more than this is given up.
    allowed_failures: int
    #: Seconds; None: never.
    worker_ttl: float | None = None
    no_workers_timeout: float | None = None
    #: Of `distributed.comm`, as the scheduler's process has them: seconds and counts.
    connect_timeout: float | None = None
    tcp_timeout: float | None = None
    comm_retries: int | None = None
    #: Addresses that the scheduler listens on, as in "tcp://0.0.0.0:8786", and those of the dashboard's sockets,
    #: as in "0.0.0.0:8787"; empty when there is none.
    listens: tuple[str, ...] = ()
    dashboard: tuple[str, ...] = ()
    #: Connections need TLS.
    is_encrypted: bool = False
    #: The longest time that a new worker may live before it is closed and replaced; None: no limit.
    lifetime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of all processes of one role that have the same."""

    role: Literal["client", "scheduler", "worker"]
    #: One of them.
    address: str
    n: int
    #: (package or "python", version or None when it is missing there).
    packages: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """What a worker's process told about itself and its machine when asked once. At most 8 workers are asked."""

    address: str
    host: str
    time: float
    has_nanny: bool
    #: Cores that its process may use, and memory of its machine (or of its container, where that is less).
    n_cpus: int
    host_memory: int | None
    #: Fractions of the limit; None: switched off.
    memory_target: float | None
    memory_spill: float | None
    memory_pause: float | None
    memory_terminate: float | None
    #: Bytes that may be spilled; None: no limit.
    max_spill: int | None
    local_directory: str
    disk_free: int | None
    disk_total: int | None
    #: As in "ext4", "tmpfs", "nfs4"; None when it cannot be told.
    file_system: str | None
    #: "glibc", "musl", ...; None when it cannot be told.
    libc: str | None
    #: Of MALLOC_TRIM_THRESHOLD_ and the *_NUM_THREADS variables those that are set, as (name, value).
    variables: tuple[tuple[str, str], ...] = ()
    #: Thread pools of native libraries that are loaded, as in ("openblas", 8).
    pools: tuple[tuple[str, int], ...] = ()
    #: GPUs of the machine that its process could use; 0 also when nothing tells of any.
    n_gpus: int = 0
    cuda_visible_devices: str | None = None


LossReason = Literal["memory", "unexpected"]
