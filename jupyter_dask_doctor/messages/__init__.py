"""What kernel, server and browser say to each other. The one definition: `schema.json` and the TypeScript
types are generated from here (`python -m jupyter_dask_doctor.messages`) and a test checks that they are fresh.

The way of a fact: the panel subscribes at the server (or asks the kernel itself where the server cannot), the
server puts a `Request` into a `comm_info_request` on the kernel's control channel, the kernel answers with a
`Reply` that lies ready. Every side tells its `PROTOCOL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..report import Report
from ..snapshot import Location
from .answers import Draw, Info, Manual, RuleInfo
from .cluster import (
    ChangeInfo,
    ClusterInfo,
    MemoryPoint,
    RestTrend,
    Sign,
    SignKind,
    Vitals,
    WorkerInfo,
    WorkerShape,
)
from .data import (
    CollectionInfo,
    ColumnInfo,
    EmbeddedInfo,
    GraphInfo,
    HiddenJobs,
    LayerInfo,
    RowCounts,
    SourceInfo,
    StartKind,
    StartPart,
)
from .past import History, PastSeries, PastTreated, SeenFinding

__all__ = [
    "PROTOCOL",
    "REPLY_NBYTES",
    "TARGET",
    "CellText",
    "ChangeInfo",
    "ClientInfo",
    "ClusterInfo",
    "CollectionInfo",
    "ColumnInfo",
    "Draw",
    "EmbeddedInfo",
    "GraphInfo",
    "HiddenJobs",
    "History",
    "Info",
    "LayerInfo",
    "Manual",
    "MemoryPoint",
    "PastSeries",
    "PastTreated",
    "Reply",
    "Request",
    "RestTrend",
    "RowCounts",
    "RuleInfo",
    "SeenFinding",
    "SendCells",
    "Sign",
    "SignKind",
    "SourceInfo",
    "StartKind",
    "StartPart",
    "Status",
    "StatusKind",
    "Subscribe",
    "ToPanel",
    "ToServer",
    "Trouble",
    "TroubleKind",
    "Unsubscribe",
    "Update",
    "Vitals",
    "WorkerInfo",
    "WorkerShape",
    "schema",
]

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
    #: The newest computations that were asked for first, at most 8, then at most 8 lazy collections, most tasks first.
    graphs: tuple[GraphInfo, ...] = ()
    #: Of cells that are still in the notebook; the dearest first, at most 10.
    hidden_jobs: tuple[HiddenJobs, ...] = ()
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
