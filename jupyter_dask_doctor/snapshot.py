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


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """Memory of one worker at one moment, as its heartbeat told."""

    time: float
    process: int
    managed: int
    spilled: int
    is_paused: bool = False


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
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A Dask collection that a variable of the notebook holds. Nothing was computed to know this."""

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
    computation_id: str | None = None
    at: Location | None = None


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
    #: Anything that was left out of a section to stay within bounds, in words.
    notes: tuple[str, ...] = field(default=())
