"""What the panel shows of the notebook's collections and of the graphs that were, or would be, sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..snapshot import CollectionKind, HotKey, Location, PartitionSizes, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """A column of a dataframe."""

    name: str
    dtype: str
    #: The type that the workers found in it, where that is another one than Dask was told.
    real: str | None = None
    #: In all partitions.
    nbytes: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a collection is read from."""

    #: "parquet", "csv", "zarr", ...
    format: str
    path: str
    n_files: int | None = None
    #: On disk.
    nbytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """Rows per partition, of the partitions that workers were asked about."""

    n: int
    total: int
    median: int
    largest: int
    #: None when not all partitions were asked about.
    largest_index: str | None
    #: In the order of partitions when there are `n` of them, else quantiles, ascending.
    values: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """A collection as the Data section lists it."""

    #: As the user would type it.
    name: str
    kind: CollectionKind
    npartitions: int | None
    nbytes: Size | None
    largest: Size | None
    is_persisted: bool
    is_eager: bool
    sizes: PartitionSizes | None
    at: Location | None
    rows: RowCounts | None = None
    n_rows: int | None = None
    #: They were counted, in memory or by the files themselves; else they are an estimate.
    has_exact_rows: bool = False
    #: The first of them, and how many there are.
    columns: tuple[ColumnInfo, ...] = ()
    n_columns: int | None = None
    has_known_divisions: bool | None = None
    #: For arrays: lengths, -1 where one is not known, the largest chunk, and the type of its elements.
    shape: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    dtype: str | None = None
    #: The first of them, and how many there are.
    reads: tuple[SourceInfo, ...] = ()
    n_reads: int = 0
    #: Tasks that `compute()` would send, and how many if they were fused.
    n_tasks: int | None = None
    fused_tasks: int | None = None
    #: What else keeps it alive.
    held_by: tuple[str, ...] = ()
    #: As in "xarray.Dataset"; None for Dask's own.
    wrapped_by: str | None = None
    #: What its partitions really are, where that is not what its kind promises; and those whose columns are not
    #: those of the first.
    type: str | None = None
    unlike: tuple[str, ...] = ()
    hot: HotKey | None = None
    #: Why something is not known, in words.
    gaps: tuple[str, ...] = ()


StartKind = Literal[
    "metadata",  # reading what files say of themselves
    "building",  # calls that make collections
    "optimizing",
    "serializing",  # pickling the graph
    "sending",  # until the scheduler took it in
    "scheduling",  # the scheduler unpacks, orders and registers it
    "waiting",  # for the first task to run
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPart:
    """A step on the way from the cell to its first task."""

    kind: StartKind
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """Tasks whose keys begin alike."""

    prefix: str
    n_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedInfo:
    """Data that travels inside the graph."""

    #: As in "numpy.ndarray".
    type: str
    nbytes: int
    #: In how many tasks it stands.
    n_times: int
    variable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInfo:
    """A graph that was sent, or that a lazy collection would send."""

    #: Of its computation; None for a collection that was not computed yet.
    id: str | None
    #: The variables that it was asked for by.
    names: tuple[str, ...]
    #: The line of the cell that started it; None when not known.
    code: str | None
    at: Location | None
    n_tasks: int | None
    #: If its tasks were fused, as `.optimize()` does it; None when not known.
    fused_tasks: int | None
    #: "compute", "persist", ...
    method: str | None = None
    #: Most tasks first; `n_layers` counts also those that are not here.
    layers: tuple[LayerInfo, ...] = ()
    n_layers: int = 0
    #: Largest first.
    embedded: tuple[EmbeddedInfo, ...] = ()
    #: Steps of the way to its first task that are known, in order.
    start: tuple[StartPart, ...] = ()
    #: From the first task to the last one; None while it runs or when unknown.
    run_seconds: float | None = None
    is_done: bool = False
    #: Steps that stand one upon the other.
    depth: int | None = None
    is_cyclic: bool = False
    #: Further computations of the same cell that are not listed.
    n_more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenJobs:
    """Computations that nobody asked for: a look at a collection, or the making of another one, started them."""

    #: "npartitions", "set_index", ...; None when unknown.
    method: str | None
    #: The line of the cell that started them; None when not known.
    code: str | None
    n: int
    seconds: float
    at: Location | None
