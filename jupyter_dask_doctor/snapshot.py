"""The facts: what was observed of one cluster and one notebook, frozen, ready to be judged.

A `Snapshot` is made of sections. A section that could not be had is a `Gap` with its reason; a section
that is empty says there is nothing of that kind. All times are seconds since the epoch on the *kernel's*
clock, all sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: How a size is known: taken from what is in memory (or exact by definition, as for array chunks), or
#: reckoned from something else. What is not known at all is None, never a guess.
Known = Literal["measured", "estimated"]

CollectionKind = Literal["dataframe", "series", "index", "array", "bag", "delayed", "futures"]

LossReason = Literal["memory", "unexpected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Why a section is missing."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where in the notebook. Lines count from 1, columns are characters from 0."""

    #: The notebook's id of the cell; None when the front end did not send one.
    cell_id: str | None = None
    #: The `[7]` beside the cell, None when it has not run.
    execution_count: int | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A number of bytes and how it is known."""

    nbytes: int
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSizes:
    """Bytes of the finished outputs of one task group, one value per partition or chunk."""

    #: How many partitions were measured.
    n: int
    total: int
    median: int
    p95: int
    largest: int
    #: Which partition is the largest, as its key's index: "17" or "3, 0"; None when the key has none.
    largest_index: str | None
    #: In the order of partitions when there are at most 200 of them, else 200 quantiles, ascending.
    values: tuple[int, ...] = ()


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
class TaskPrefix:
    """All tasks whose keys begin alike, over the life of the scheduler."""

    name: str
    n_tasks: int
    n_memory: int
    n_erred: int
    #: Times a worker died while running a task of this prefix.
    n_suspicious: int
    nbytes: int
    compute_seconds: float
    #: Tasks that came to a good end so far, also those that are forgotten, and those at workers now.
    n_done: int = 0
    n_processing: int = 0
    #: The longest run of a task that has ended, as far as polling tells (at least that long; those that run
    #: now do not count); None when none was seen.
    max_seconds: float | None = None
    #: Thread-seconds of runs that ended in an error, retried ones included; None when not told.
    failed_seconds: float | None = None
    #: Runs that failed and were tried again. Only in deep mode, else None.
    n_retried: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How long the tasks of one group took, in seconds. Only in deep mode; each value is right within a factor 2."""

    n: int
    median: float
    p95: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """The tasks of one layer in one computation."""

    name: str
    prefix: str
    computation_id: str
    n_tasks: int
    #: None when the group was gone before anybody looked.
    compute_seconds: float | None
    transfer_seconds: float | None
    #: When the first task started and the last one finished; None when unknown.
    start: float | None
    stop: float | None
    #: Names of the groups this one takes its input from.
    dependencies: tuple[str, ...] = ()
    #: Sizes of the outputs seen; None when none was seen.
    sizes: PartitionSizes | None = None
    #: Outputs that are in memory now, and how often its tasks have come to a good end.
    n_memory: int = 0
    n_done: int = 0
    #: Type names of the outputs, as in "pandas.DataFrame", at most 5.
    types: tuple[str, ...] = ()
    #: Thread-seconds of reading from and writing to the disk (spilling) and of unpickling; None when unknown.
    disk_read_seconds: float | None = None
    disk_write_seconds: float | None = None
    deserialize_seconds: float | None = None
    spread: Spread | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the workers' threads and loops spent on one kind of work: Dask's fine performance metrics."""

    #: "execute", "gather-dep", "get-data", "memory-monitor", "p2p", ... as Dask spells it.
    context: str
    #: Only for "execute".
    prefix: str | None
    #: "thread-cpu", "thread-noncpu", "disk-read", "serialize", "network", ... as Dask spells it.
    label: str
    seconds: float = 0.0
    nbytes: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """One graph as the scheduler got it, and what became of it."""

    id: str
    client_id: str
    #: When the scheduler began to take the graph in.
    submitted: float
    n_tasks: int
    #: Seconds the scheduler took to unpack, order and register the graph; None when unknown.
    schedule_seconds: float | None
    #: When the first task started and the last one finished; `stop` is None while it runs or when unknown.
    start: float | None
    stop: float | None
    is_done: bool
    #: Sum of the time in which worker threads ran its tasks; None when unknown.
    thread_seconds: float | None
    #: Threads of the cluster when it was submitted.
    nthreads: int
    #: (prefix, tasks), most tasks first, at most 20.
    layers: tuple[tuple[str, int], ...]
    #: Names of expressions or layers before fusion; empty when unknown.
    names: tuple[str, ...] = ()
    #: Tasks the same expression would send if it were fused; None when unknown or not a dataframe.
    fused_tasks: int | None = None
    #: Groups that were persisted before this graph came: they cost nothing again.
    reused: tuple[str, ...] = ()
    #: "compute", "persist" or another word for how it was asked for; None when unknown.
    method: str | None = None
    #: Highest process memory of the cluster and of one worker while it ran; None when not seen.
    peak_memory: int | None = None
    peak_worker_memory: int | None = None
    #: What came with the workers' heartbeats while it ran and shortly after. Of "execute" only its own
    #: prefixes; the other contexts count for all that ran at that time. None: this Dask does not tell.
    activity: tuple[Activity, ...] | None = None
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A Dask collection that a variable of the notebook holds. Nothing was computed to know this."""

    #: The variable, or "Out[7]" for one that takes memory and that nothing but a shown output holds.
    name: str
    kind: CollectionKind
    #: None when asking would start a job.
    npartitions: int | None
    #: Of all partitions together; None when unknown.
    nbytes: Size | None
    #: The largest partition; None when unknown.
    largest: Size | None
    #: Its partitions are held in the cluster's memory, or are being brought there.
    is_persisted: bool
    #: Of partitions in memory, once some were seen.
    sizes: PartitionSizes | None = None
    #: The task group that holds its partitions, and the names of all its layers or expressions.
    group: str | None = None
    names: tuple[str, ...] = ()
    #: Somewhere in it stands `repartition(partition_size=...)`, not yet carried out.
    has_partition_size: bool = False
    #: `.npartitions`, `repr` or display would start a job.
    is_eager: bool = False
    has_known_divisions: bool | None = None
    #: What else keeps it alive: other variables, "Out[7]", "_". For futures: of any of them.
    held_by: tuple[str, ...] = ()
    #: The cell that bound the variable last.
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A code cell: its text as it ran last, or as it stands in the notebook when it has not run."""

    id: str | None
    execution_count: int | None
    source: str
    #: None when it has not run; `stopped` is None while it runs.
    started: float | None = None
    stopped: float | None = None
    has_failed: bool = False
    #: The class of the exception it ended with, such as "KeyboardInterrupt".
    error: str | None = None


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
class TaskFailure:
    """A task that ended in an error."""

    time: float
    prefix: str
    #: The task's key as text, cut at 200 characters.
    key: str
    #: The class of the exception, such as "KilledWorker", and its text, cut at 1,000 characters.
    exception: str
    text: str
    #: The end of its traceback, at most 2,000 characters; only of the first failure of its kind in a computation.
    trace: str = ""
    computation_id: str | None = None
    at: Location | None = None


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
class RunningTask:
    """A task that a thread runs now, as of its worker's last heartbeat."""

    key: str
    prefix: str
    #: Name of its task group.
    group: str
    #: Address of the worker.
    worker: str
    #: How long it has run.
    seconds: float
    #: Bytes of its inputs.
    nbytes_in: int = 0
    #: It may run only on named workers or hosts, or where a resource is.
    is_restricted: bool = False
    computation_id: str | None = None
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedTasks:
    """Tasks of one prefix that no worker may run, all for the same reason."""

    prefix: str
    n: int
    #: How long the oldest of them has waited.
    seconds: float
    #: What they ask for: all empty means that there is no worker at all, or none that takes tasks (all paused).
    workers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    resources: tuple[tuple[str, float], ...] = ()
    computation_id: str | None = None
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStack:
    """Where a running task stands in its code."""

    key: str
    worker: str
    #: Innermost last, at most 20 frames, each as Python shows it: place and line of code.
    frames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """What the scheduler has in hand now."""

    #: When a task came to an end last (also in an error); None when none has since we look.
    last_finished: float | None
    #: Threads that run a task, and the tasks that have run longest, longest first, at most 50.
    n_running: int
    running: tuple[RunningTask, ...] = ()
    #: At most 20 kinds.
    blocked: tuple[BlockedTasks, ...] = ()
    #: Fetched once when nothing has finished for long; None when never fetched.
    stacks: tuple[CallStack, ...] | None = None
    #: Workers of the whole cluster that are paused, and that have not been heard of for several heartbeats.
    n_paused: int = 0
    n_silent: int = 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCluster:
    """A cluster that was started from this kernel and is alive."""

    #: Its class, such as "LocalCluster".
    kind: str
    name: str
    #: A variable of the notebook that holds it; None when there is none.
    variable: str | None
    address: str
    n_workers: int
    nthreads: int
    memory_limit: int | None
    #: A client of this kernel that is open is connected to it, and it is the one that this Snapshot is about.
    has_client: bool
    is_followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """A computation that Dask ran in the kernel itself, not on the cluster, while a client was open."""

    time: float
    #: None while it runs.
    seconds: float | None
    n_tasks: int
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's process and its machine."""

    #: Cores that it may use; bytes of the machine (or of the container) and what of it is free.
    n_cpus: int
    memory_total: int | None
    memory_available: int | None
    #: Process memory of the kernel.
    process: int | None = None
    clusters: tuple[OwnCluster, ...] = ()
    #: Oldest first, at most 100.
    local_runs: tuple[LocalRun, ...] = ()


_UNSEEN = Gap(reason="Nothing was asked yet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is known at one moment. Rules name the sections they need as parameters."""

    time: float
    cluster: Cluster | Gap
    workers: tuple[Worker, ...] | Gap
    #: Oldest first, at most 10 minutes.
    load: tuple[Load, ...] | Gap
    prefixes: tuple[TaskPrefix, ...] | Gap
    groups: tuple[TaskGroup, ...] | Gap
    computations: tuple[Computation, ...] | Gap
    collections: tuple[Collection, ...] | Gap
    code: tuple[Cell, ...] | Gap
    losses: tuple[WorkerLoss, ...] | Gap
    failures: tuple[TaskFailure, ...] | Gap
    #: Oldest first, at most 200.
    rests: tuple[Rest, ...] | Gap = _UNSEEN
    #: Oldest first, at most 200.
    changes: tuple[WorkerChange, ...] | Gap = _UNSEEN
    scheduling: Scheduling | Gap = _UNSEEN
    policy: Policy | Gap = _UNSEEN
    versions: tuple[Versions, ...] | Gap = _UNSEEN
    environments: tuple[WorkerEnvironment, ...] | Gap = _UNSEEN
    kernel: Kernel | Gap = _UNSEEN
    #: Anything that was left out of a section to stay within bounds, in words.
    notes: tuple[str, ...] = field(default=())
