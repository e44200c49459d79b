"""`repartition(partition_size=...)` hangs for ever on this Python with this kind of cluster.

## Why it matters
To cut by size Dask must first measure, and it does so the moment that anybody asks for the number of
partitions: `compute()`, displaying the frame or `.npartitions`. On Python 3.11 and older that measuring job
is started while a lock is held which the scheduler needs as well when it lives in the same process, as in
every `LocalCluster`. Both wait for each other for ever, and interrupting the kernel is all that helps.

## Anti-pattern
    df = df.repartition(partition_size="100MB")

## Best practice
    df = df.repartition(npartitions=24)   # 2.3 GiB / 100 MB

## How it is known
From the text of the cells, before they run, and from the collections of the notebook. Verified on Dask
2025.7.0 and 2026.8.0 with Python 3.11: the same code runs through on Python 3.12 and with a scheduler in a
process of its own.

## When it stays quiet
On Python 3.12 and newer; when the scheduler runs elsewhere; when what is repartitioned is not known to be a
Dask frame; in comments and texts; for `partition_size` in any other call.

## Fix safety
Needs review: the number of partitions is reckoned from what is known of the data now, and stays when the
data grows.

## References
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.repartition.html
https://docs.python.org/3/library/functools.html#functools.cached_property
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ... import source, words
from ...remedies import fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import Cell, Cluster, Collection, Location
from ..registry import rule

_FRAMES = frozenset({"dataframe", "series", "index"})
# What turns a Dask frame into something else.
_LEAVES = frozenset(
    {"compute", "head", "tail", "to_delayed", "to_dask_array", "to_bag", "npartitions", "divisions"}
)
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: The first Python 3 whose `cached_property` holds no lock (the minor version).
    python_minor: int = 12
    #: Partitions for each thread when the size of the data is not known (Dask: 2 to 3 times the threads).
    partitions_per_thread: int = 3


@rule(
    id="partition-size-deadlock",
    title="repartition(partition_size=…) hangs for ever here",
    severity="critical",
    thresholds=Thresholds(),
    about=("code", "collections"),
    has_stake=False,
)
def partition_size_deadlock(
    code: tuple[Cell, ...], collections: tuple[Collection, ...], cluster: Cluster, limit: Thresholds
) -> Iterator[Finding]:
    if not cluster.is_in_process or cluster.python >= (3, limit.python_minor):
        return
    if not any("partition_size" in cell.source for cell in code) and not any(
        c.has_partition_size for c in collections
    ):
        return  # the usual case: nothing is parsed
    trees = [(cell, tree) for cell in code if (tree := source.parse(cell.source)) is not None]
    frames = _frames(trees, collections)
    told: set[str] = set()
    for cell, tree in trees:
        for call in fixes.calls(tree, "repartition"):
            size = next((k for k in call.keywords if k.arg == "partition_size"), None)
            if size is None or (isinstance(size.value, ast.Constant) and size.value.value is None):
                continue
            assert isinstance(call.func, ast.Attribute)
            receiver = call.func.value
            if not _is_frame(receiver, frames):
                continue
            name = _root_name(receiver) or "the frame"
            told.add(name)
            known = next((c for c in collections if c.name == name), None)
            where = source.span(cell.source, call)
            at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=where.line)
            has_run = cell.started is not None
            yield _finding(
                name, at, cluster, has_run, _fixes(cell, size, receiver, known, cluster, at, limit)
            )
    for c in collections:
        if c.has_partition_size and c.name not in told and not _is_made_from(c, collections, told):
            told.add(c.name)
            yield _finding(c.name, c.at, cluster, True, ())


def _finding(
    name: str, at: Location | None, cluster: Cluster, has_run: bool, offers: tuple[Fix, ...]
) -> Finding:
    python = ".".join(map(str, cluster.python))
    when = "computing or displaying it" if has_run else "running this"
    return partition_size_deadlock.finding(
        severity="critical",
        subject=name,
        message=f"{words.code(name)} is cut with `partition_size=`: "
        f"{when} hangs for ever on Python {python} with a "
        f"{cluster.kind or 'scheduler in this process'}.",
        why="Dask measures the data while it holds a lock that the scheduler in this same process waits for. "
        "Nothing fails and nothing goes on: only interrupting the kernel ends it.",
        evidence=(
            Evidence(label="Python", value=python, unit="text"),
            Evidence(label="cluster", value=cluster.kind or cluster.address, unit="text"),
            Evidence(label="dask", value=cluster.dask, unit="text"),
        ),
        at=at,
        fixes=offers,
    )


def _frames(trees: list[tuple[Cell, ast.Module]], collections: tuple[Collection, ...]) -> set[str]:
    """Variables that hold a Dask frame: as observed, or by the text that binds them. Modules as "dd."."""
    frames = {c.name for c in collections if c.kind in _FRAMES}
    others = {c.name for c in collections if c.kind not in _FRAMES}
    for _ in range(2):  # a cell may stand before the one that binds its variable
        for _cell, tree in trees:
            for node in ast.walk(tree):
                match node:
                    case ast.Import(names=names):
                        for alias in names:
                            if alias.name in ("dask.dataframe", "dask_cudf"):
                                frames.add(f"{alias.asname or alias.name.split('.')[0]}.")
                            elif alias.name in ("dask", "dask.datasets"):
                                frames.add(f"{alias.asname or 'dask'}.")
                    case ast.ImportFrom(module="dask", names=names):
                        frames.update(
                            f"{a.asname or a.name}." for a in names if a.name in ("dataframe", "datasets")
                        )
                    case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in others:
                        if _is_frame(value, frames):
                            frames.add(name)
    return frames


def _is_frame(node: ast.expr, frames: set[str]) -> bool:
    """Is it a Dask frame for certain? Unknown is no."""
    match node:
        case ast.Name(id=name):
            return name in frames
        case ast.Subscript(value=value):
            return _is_frame(value, frames)
        case ast.Attribute(value=value, attr=attr):
            return attr not in _LEAVES and _is_frame(value, frames)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=attr)) if f"{module}." in frames:
            return attr.startswith(("read_", "from_", "concat", "merge", "timeseries"))
        case ast.Call(
            func=ast.Attribute(value=ast.Attribute(value=ast.Name(id=top), attr=inner), attr=attr)
        ) if f"{top}." in frames and inner in ("dataframe", "datasets"):
            return attr.startswith(("read_", "from_", "concat", "merge", "timeseries"))
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            return attr not in _LEAVES and _is_frame(value, frames)
        case _:
            return False


def _root_name(node: ast.expr) -> str | None:
    found = source.root(node)
    return found.id if found is not None else None


def _is_made_from(c: Collection, collections: tuple[Collection, ...], told: set[str]) -> bool:
    return any(o.name in told and o.group is not None and o.group in c.names for o in collections)


def _fixes(
    cell: Cell,
    size: ast.keyword,
    receiver: ast.expr,
    known: Collection | None,
    cluster: Cluster,
    at: Location,
    limit: Thresholds,
) -> tuple[Fix, ...]:
    wanted = _nbytes(size.value)
    is_itself = isinstance(receiver, ast.Name) and known is not None and not known.has_partition_size
    if is_itself and known is not None and known.nbytes is not None and wanted:
        n = max(1, math.ceil(known.nbytes.nbytes / wanted))
        about = "≈ " if known.nbytes.known == "estimated" else ""
        held = words.nbytes(known.nbytes.nbytes)
        expect = f"{about}{held} in pieces of {words.nbytes(wanted)}: {n:,} partitions"
    elif is_itself and known is not None and known.npartitions:
        n = max(known.npartitions, limit.partitions_per_thread * cluster.nthreads)
        expect = (
            f"the size of {words.code(known.name)} is not known: {n:,} partitions, at least as many as now"
        )
    else:
        n = limit.partitions_per_thread * max(1, cluster.nthreads)
        each = limit.partitions_per_thread
        expect = f"the size is not known: {each} partitions for each of {cluster.nthreads} threads"
    n = fixes.partition_count(n, cluster)
    made = fixes.replace(
        cell,
        source.span(cell.source, size),
        f"npartitions={n}",
        title=f"Cut into {n:,} partitions instead",
        expect=f"{expect}; no hang",
        rerun=at,
    )
    return (made,) if made is not None else ()


def _nbytes(node: ast.expr) -> int | None:
    """Bytes of `"100MB"`, `"64 MiB"` or `100_000_000`, as Dask reads them; None when it is computed."""
    if not isinstance(node, ast.Constant):
        return None
    value = node.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if value >= 1 else None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    number, prefix, binary = match.groups()
    factor: int = (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
    return int(float(number) * factor) or None
