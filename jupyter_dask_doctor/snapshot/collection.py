"""What the notebook's Dask collections look like, known without computing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .common import Location, PartitionSizes, Size

CollectionKind = Literal["dataframe", "series", "index", "array", "bag", "delayed", "futures"]

#: Steps of a collection that rules speak of. "alignment": chunks of two arrays cut anew to fit each other, or two
#: frames whose divisions differ; "shuffle": any other that moves rows between partitions.
OperationKind = Literal[
    "merge",
    "join",
    "loc",
    "resample",
    "rolling",
    "groupby",
    "set_index",
    "sort_values",
    "shuffle",
    "repartition",
    "rechunk",
    "reshape",
    "slicing",
    "alignment",
    "map_partitions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a dataframe (or the values of a series), without its index."""

    name: str
    #: As pandas spells it: "int64", "object", "string", "category".
    dtype: str
    #: Bytes of it in all partitions; None when unknown.
    nbytes: Size | None = None
    #: What an object column holds, as `pandas.api.types.infer_dtype` calls it: "string", "decimal", "date", "mixed".
    #: Of a sample; None when nobody looked, and for other dtypes.
    holds: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Tasks of one kind that its computation would send."""

    #: Name of the expression or layer, with its token, and what its tasks are called.
    name: str
    prefix: str
    n_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A large constant that stands in the graph itself and travels with it to the scheduler."""

    #: As in "numpy.ndarray".
    type: str
    nbytes: int
    #: The layer it stands in, and in how many of its tasks; 1 when each task has a part of it.
    layer: str
    n_times: int = 1
    #: The variable of the notebook that holds the same object; None when none does.
    variable: str | None = None
    #: It came from `from_pandas`, `from_array` or another reading of what the kernel has; else it was handed
    #: to a function as an argument or is part of one.
    is_source: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Files or the like that a collection is made from."""

    #: "parquet", "csv", "json", "text", "zarr", "hdf5", ...
    format: str
    #: The first of them (or the folder), at most 200 characters, without credentials.
    path: str
    #: None when only reading would tell.
    n_files: int | None = None
    #: Bytes on disk of all and of the largest one; None when not known.
    nbytes: int | None = None
    largest: int | None = None
    #: Pieces it is cut into; row groups of all files, for parquet.
    npartitions: int | None = None
    n_row_groups: int | None = None
    #: As in "gzip": a file that cannot be cut. None when there is none or it can be cut (parquet's own).
    compression: str | None = None
    #: Bytes of text per partition that was asked for; None when none was or it does not apply.
    blocksize: int | None = None
    #: Rows of all files, where the files tell; chunk shape on disk, for arrays.
    n_rows: int | None = None
    chunks: tuple[int, ...] = ()
    #: For arrays: the whole shape on disk, and the largest chunk in each dimension in which it is read.
    shape: tuple[int, ...] = ()
    asked_chunks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step in the tree of a collection."""

    kind: OperationKind
    #: Name of its expression or layer, with the token.
    name: str
    #: Partitions or chunks of each input and of the output; None when asking would start a job.
    n_in: tuple[int | None, ...] = ()
    n_out: int | None = None
    #: Bytes of the largest chunk of the inputs and of the output; None when unknown.
    largest_in: int | None = None
    largest_out: int | None = None
    #: Chunk shapes (the largest length in each dimension) before and after, for arrays.
    chunks_in: tuple[int, ...] = ()
    chunks_out: tuple[int, ...] = ()
    #: The divisions of each input are known; None when asking would start a job.
    known_divisions: tuple[bool | None, ...] = ()
    #: It works on the index rather than on columns (a join, `loc`).
    is_on_index: bool = False
    #: Columns that it joins, groups or sorts by, at most 8, as text.
    columns: tuple[str, ...] = ()
    #: "inner", "left", ... of a merge; the frequency of a resample; else "".
    how: str = ""
    #: Its name before what made it was renamed by the optimizer is that of a function of the user's.
    function: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HotKey:
    """A value that many rows of one partition share."""

    column: str
    #: As text, at most 60 characters.
    value: str
    #: Of the rows looked at in that partition.
    share: float
    #: Index of the partition, and rows looked at.
    partition: str
    n_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the workers told of a persisted collection's partitions, of those that lie in memory. Asked once."""

    #: Partitions that were looked at.
    n: int
    #: Rows of each of them, in the order of partitions; empty for what has no rows.
    rows: tuple[int, ...] = ()
    #: The columns as the first partition that has rows really has them, in order; `nbytes` is an estimate
    #: over all partitions, from samples of those looked at.
    columns: tuple[Column, ...] = ()
    #: Class of the partitions, such as "pandas.DataFrame", or dtype of arrays; None when mixed.
    type: str | None = None
    #: Partitions (indices, at most 20) whose columns or dtypes are not those of the first one.
    unlike: tuple[str, ...] = ()
    hot: HotKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A Dask collection that a variable of the notebook holds. Nothing was computed to know this."""

    #: The variable, or "Out[7]" for one that takes memory and that nothing but a shown output holds. In
    #: `Computation.asked`: the variable that holds it, else "".
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
    #: Columns as its meta has them, in order, at most 200, and how many there are.
    columns: tuple[Column, ...] = ()
    n_columns: int | None = None
    #: Its index as meta has it, the name "" when it has none; None for what has no index, and when unknown.
    index: Column | None = None
    #: Rows; None when unknown. Exact only where the files tell or they were counted in memory.
    n_rows: int | None = None
    #: Bytes of its largest partition at most, where a filter keeps nobody knows how much of it; None otherwise.
    at_most: int | None = None
    #: For arrays: its shape, the largest chunk in each dimension, and its dtype. A length that is not known is -1.
    shape: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    dtype: str | None = None
    #: Tasks that `compute()` would send after its optimizing, and what `.optimize().compute()` would (dataframes);
    #: None when telling would be too costly or start a job.
    n_tasks: int | None = None
    fused_tasks: int | None = None
    #: Partitions (dataframes) that are computed or persisted once it is optimized; fewer than `npartitions` where few
    #: columns of parquet files are wanted, for Dask then reads several files in one task.
    npartitions_optimized: int | None = None
    #: Most tasks first, at most 20.
    layers: tuple[Layer, ...] = ()
    #: Steps in its tree, and how many stand one upon the other at most; None when it was not walked to the end.
    n_steps: int | None = None
    depth: int | None = None
    #: Largest first, at most 10, those of at least 1 MB.
    embedded: tuple[Embedded, ...] = ()
    reads: tuple[Read, ...] = ()
    #: From the sources to the end, at most 50.
    operations: tuple[Operation, ...] = ()
    held: Held | None = None
    #: A cycle in its graph, as keys in order, the first one again at the end; empty when none was found.
    cycle: tuple[str, ...] = ()
    #: The class of what wraps it, such as "xarray.Dataset", and which of its parts this is; None for Dask's own.
    wrapped_by: str | None = None
    #: Why something above is not known, in words, at most 5.
    gaps: tuple[str, ...] = ()
