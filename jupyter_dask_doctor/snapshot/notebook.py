"""The notebook's side: its cells, its kernel and the kernel's machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .common import Location


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
    #: What that exception says, cut at 300 characters; empty when nobody could look.
    error_text: str = ""


PhaseKind = Literal[
    "optimizing",  # the optimizer, at `compute`, `persist`, `optimize` or a look at divisions
    "building",  # a call that makes a collection: `merge`, `rechunk`, slicing, ...
    "metadata",  # reading what files say of themselves: names, schemas, statistics
    "serializing",  # pickling the graph for the scheduler
    "waiting",  # for the cluster
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What the notebook's main thread did inside Dask, without a break. Seen by looking ten times in a second."""

    kind: PhaseKind
    start: float
    #: None while it goes on.
    stop: float | None
    #: The function of Dask's that the cell called: "compute", "npartitions", "merge"; None when unknown.
    method: str | None = None
    #: The cell that runs, with the line that is being worked on.
    at: Location | None = None


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
