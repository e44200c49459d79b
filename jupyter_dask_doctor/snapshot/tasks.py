"""What was sent to the scheduler and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from .collection import Collection
from .common import Location, PartitionSizes


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
class Sending:
    """The client's part between the call and the scheduler's taking in: seconds of each step."""

    #: When the client began to send: what came before was optimizing.
    time: float
    #: Since Dask was called, as far as looking ten times in a second tells; None when not seen.
    optimize_seconds: float | None
    #: Pickling, until the graph was handed to the connection.
    serialize_seconds: float | None
    #: Bytes of large constants in it, as `Embedded` counts them; None when nobody could look.
    nbytes: int | None = None


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
    #: A look at a collection (`.npartitions`, `.divisions`, its display) or the making of another one started it,
    #: not a call of `compute` or `persist` itself; None when unknown.
    is_hidden: bool | None = None
    #: What was asked for, as it was when it was sent; empty when nobody could look.
    asked: tuple[Collection, ...] = ()
    #: Columns by which what was persisted had been joined, grouped, sorted or shuffled, at most 8.
    key_columns: tuple[str, ...] = ()
    #: What was done before it came to the scheduler; None when not seen.
    sending: Sending | None = None
    #: Highest process memory of the cluster and of one worker while it ran; None when not seen.
    peak_memory: int | None = None
    peak_worker_memory: int | None = None
    #: What came with the workers' heartbeats while it ran and shortly after. Of "execute" only its own
    #: prefixes; the other contexts count for all that ran at that time. None: this Dask does not tell.
    activity: tuple[Activity, ...] | None = None
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
