"""The facts: what was observed of one cluster and one notebook, frozen, ready to be judged.

A `Snapshot` is made of sections. A section that could not be had is a `Gap` with its reason; a section
that is empty says there is nothing of that kind. All times are seconds since the epoch on the *kernel's*
clock, all sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .cluster import (
    Cluster,
    Load,
    LossReason,
    MemorySample,
    Policy,
    Rest,
    Versions,
    Worker,
    WorkerChange,
    WorkerEnvironment,
    WorkerLoss,
)
from .collection import (
    Collection,
    CollectionKind,
    Column,
    Embedded,
    Held,
    HotKey,
    Layer,
    Operation,
    OperationKind,
    Read,
)
from .common import Gap, Known, Location, PartitionSizes, Size
from .notebook import Cell, Kernel, LocalRun, OwnCluster, Phase, PhaseKind
from .tasks import (
    Activity,
    BlockedTasks,
    CallStack,
    Computation,
    RunningTask,
    Scheduling,
    Sending,
    Spread,
    TaskFailure,
    TaskGroup,
    TaskPrefix,
)

__all__ = [
    "Activity",
    "BlockedTasks",
    "CallStack",
    "Cell",
    "Cluster",
    "Collection",
    "CollectionKind",
    "Column",
    "Computation",
    "Embedded",
    "Gap",
    "Held",
    "HotKey",
    "Kernel",
    "Known",
    "Layer",
    "Load",
    "LocalRun",
    "Location",
    "LossReason",
    "MemorySample",
    "Operation",
    "OperationKind",
    "OwnCluster",
    "PartitionSizes",
    "Phase",
    "PhaseKind",
    "Policy",
    "Read",
    "Rest",
    "RunningTask",
    "Scheduling",
    "Sending",
    "Size",
    "Snapshot",
    "Spread",
    "TaskFailure",
    "TaskGroup",
    "TaskPrefix",
    "Versions",
    "Worker",
    "WorkerChange",
    "WorkerEnvironment",
    "WorkerLoss",
]

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
    #: Oldest first, at most 200, those of at least 0.2 s.
    phases: tuple[Phase, ...] | Gap = _UNSEEN
    #: Anything that was left out of a section to stay within bounds, in words.
    notes: tuple[str, ...] = field(default=())
