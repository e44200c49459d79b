"""What kernel, server and browser say to each other. The one definition: `schema.json` and the TypeScript
types are generated from here (`python -m jupyter_dask_doctor.messages`) and a test checks that they are fresh.

The way of a fact: the panel subscribes at the server (or asks the kernel itself where the server cannot), the
server puts a `Request` into a `comm_info_request` on the kernel's control channel, the kernel answers with a
`Reply` that lies ready. Every side tells its `PROTOCOL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .report import Chart, Report, Severity, Treated, Unit
from .snapshot import CollectionKind, Location, PartitionSizes, Size

#: Grows when a side that does not know the change would misread the other.
PROTOCOL = 1
#: The target name in a comm_info_request by which the kernel's side knows that it is meant.
TARGET = "jupyter_dask_doctor"
#: A reply is never longer than this, in bytes of JSON.
REPLY_NBYTES = 64 * 1024

StatusKind = Literal[
    "no-distributed",  # nothing in this kernel has imported it yet, or it is not installed
    "old-distributed",  # older than what we understand
    "no-client",
    "connecting",
    "live",
    "limited",  # live, but the cluster refuses our plugin: some things cannot be checked
    "lost",  # the scheduler does not answer or the client was closed
    "off",  # the doctor switched itself off after repeated faults of its own
]

TroubleKind = Literal[
    "no-kernel",  # the notebook has no running kernel
    "not-python",  # the kernel speaks another language
    "no-doctor",  # it answers, but the package is not loaded there
    "not-answering",  # busy in native code, starting, or hung
    "restarting",
    "old-kernel-side",  # protocol older than ours
    "new-kernel-side",
    "bad-message",  # what came could not be read
    "gateway",  # the server cannot reach the kernel itself: the browser must ask
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellText:
    """The text of a code cell as it stands in the notebook."""

    id: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Content of the comm_info_request, beside `target_name`."""

    protocol: int
    #: The `rev` of the last reply seen; 0 asks for everything.
    since: int = 0
    #: The notebook's code cells when they changed; None: as before.
    cells: tuple[CellText, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where the kernel's side stands, in a word for the program and a sentence for the user."""

    kind: StatusKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientInfo:
    """A Dask client of the notebook."""

    id: str
    scheduler_id: str | None
    address: str | None
    #: As Dask spells it: "running", "connecting", "closed", ...
    status: str
    #: The one that `compute()` uses.
    is_default: bool
    #: The one that this reply is about.
    is_followed: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A collection as the Data section lists it."""

    name: str
    kind: CollectionKind
    npartitions: int | None
    nbytes: Size | None
    largest: Size | None
    is_persisted: bool
    is_eager: bool
    sizes: PartitionSizes | None
    at: Location | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """All that the kernel's side has to say, made ready before anybody asks."""

    protocol: int
    #: Of jupyter_dask_doctor in the kernel.
    version: str
    #: Distinguishes one life of the kernel's side from the next; `rev` starts anew with it.
    session: str
    rev: int
    #: Kernel's clock.
    time: float
    status: Status
    clients: tuple[ClientInfo, ...] = ()
    vitals: Vitals | None = None
    cluster: ClusterInfo | None = None
    #: Points newer than `since`, oldest first.
    memory: tuple[MemoryPoint, ...] = ()
    workers: tuple[WorkerInfo, ...] = ()
    collections: tuple[CollectionInfo, ...] = ()
    #: None when it has not changed since `since`, or there is none yet.
    report: Report | None = None
    #: The cell that runs now; None when the kernel is idle.
    running: Location | None = None
    #: What was left out to stay within REPLY_NBYTES, in words.
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Panel to server: follow this kernel from now on, instead of the one before."""

    type: Literal["subscribe"] = "subscribe"
    protocol: int
    kernel_id: str
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Panel to server: stop asking the kernel (hidden, or paused)."""

    type: Literal["unsubscribe"] = "unsubscribe"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCells:
    """Panel to server: the notebook's code cells as they stand."""

    type: Literal["cells"] = "cells"
    kernel_id: str
    cells: tuple[CellText, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Server to panel: what the kernel said."""

    type: Literal["update"] = "update"
    kernel_id: str
    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Server to panel: why there is nothing to show, in a word for the program and a sentence for the user."""

    type: Literal["trouble"] = "trouble"
    kernel_id: str
    kind: TroubleKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """A rule as a list names it."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Answer of `api/info`."""

    #: Of jupyter_dask_doctor in the server.
    version: str
    protocol: int
    #: Version of the BokehJS that the server has to offer.
    bokeh: str
    rules: tuple[RuleInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """Answer of `api/rules/<id>`: a rule's page, as Markdown."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Body of a POST to `api/figure`; the answer is Bokeh's own `json_item`."""

    chart: Chart
    dark: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFinding:
    """A finding of an earlier moment, as the history keeps it."""

    finding_id: str
    rule: str
    severity: Severity
    message: str
    subject: str
    at: Location | None
    #: When it was seen first and last. Kernel's clock.
    first: float
    last: float
    loss_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTreated:
    """A `Treated` and when it was seen first."""

    time: float
    treated: Treated


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSeries:
    """What is remembered of one client of one scheduler in one life of a kernel."""

    session: str
    scheduler_id: str
    client_id: str
    started: float
    #: Oldest first, at most 600, thinned out evenly where there were more.
    memory: tuple[MemoryPoint, ...]
    #: Last seen first, at most 100.
    findings: tuple[SeenFinding, ...]
    #: Last seen first, at most 100.
    treated: tuple[PastTreated, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Answer of `api/history`: the newest series first, at most 10."""

    kernel_id: str
    series: tuple[PastSeries, ...]


ToServer = Subscribe | Unsubscribe | SendCells
ToPanel = Update | Trouble


def _tuples_as_in_draft_07(node: object) -> None:
    """Write `prefixItems`, which draft 07 and the TypeScript generator do not know, as `items`."""
    if isinstance(node, dict):
        if "prefixItems" in node:
            node["items"] = node.pop("prefixItems")
        for value in node.values():
            _tuples_as_in_draft_07(value)


def schema() -> str:
    """JSON schema of everything that crosses a border, as text."""
    import json

    import msgspec

    names = [
        Request,
        Reply,
        Subscribe,
        Unsubscribe,
        SendCells,
        Update,
        Trouble,
        Info,
        Manual,
        Draw,
        History,
    ]
    _, definitions = msgspec.json.schema_components(names)
    for definition in definitions.values():
        # msgspec leaves objects open and fields with defaults optional; what we send is complete.
        if definition.get("type") == "object":
            definition["additionalProperties"] = False
            definition["required"] = list(definition["properties"])
            for prop in definition["properties"].values():
                _tuples_as_in_draft_07(prop)
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Messages",
        "description": f"Protocol {PROTOCOL}. Generated by python -m jupyter_dask_doctor.messages.",
        "anyOf": [{"$ref": f"#/definitions/{name.__name__}"} for name in names],
        "definitions": definitions,
    }
    return json.dumps(document, indent=2).replace("#/$defs/", "#/definitions/") + "\n"


if __name__ == "__main__":
    from pathlib import Path

    Path(__file__).with_name("schema.json").write_text(schema(), encoding="utf-8")
