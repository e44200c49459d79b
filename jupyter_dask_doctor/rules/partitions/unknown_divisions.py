"""Work on the index of a frame whose divisions are unknown.

## Why it matters
Divisions say which index values lie in which partition. Without them Dask must look for `df.loc["2024-03"]` in
every partition, moves all rows between the workers to join two frames on their index, and refuses `resample`,
`rolling`, `loc` with a list and `concat(axis=1)` altogether.

## Anti-pattern
    trips = dd.read_parquet("trips")                     # its index is the time
    trips.loc["2024-03-05"].fare.sum().compute()         # reads all files for one day

## Best practice
    trips = dd.read_parquet("trips", calculate_divisions=True)
    trips.loc["2024-03-05"].fare.sum().compute()         # reads one file

Data in order of a column get divisions by `df.set_index("time", sorted=True)`, with one pass over that column.

## How it is known
From the steps of what was asked for, and the seconds of their tasks. Of `loc`: the thread-seconds of the tasks
that made the partitions and looked through them, times the share of partitions in which nothing was found
(where their sizes were not seen one by one, the share of rows, marked "≈"). Of a join: the thread-seconds of
the tasks that move rows; before it runs, the bytes of both sides at 100 MB/s, marked "≈". A warning from 1 s and
5 % of what the cell computed. Of what Dask refuses: the error that the cell ended with.

Measured on Dask 2026.8.0 with 40 files of 4,000,000 rows in all and two threads: one day by `loc` 0.47 s
instead of 0.10 s, in 40 partitions instead of 1; a join on the index 3.5 s instead of 0.8 s.

## When it stays quiet
Unknown divisions alone are normal; `loc` with a mask, joins on columns, or with a side of one partition;
fewer than 8 partitions; `loc` that finds something in most partitions; what takes less than a second.

## Fix safety
`calculate_divisions=True` reads the statistics of all files when the frame is made, and helps where they
were written with this index and are in its order; otherwise divisions stay unknown. `set_index(..., sorted=True)`
reads the index once; it raises an error where the rows are not in order. Both need review: later steps
plan otherwise once divisions are known.

## References
https://docs.dask.org/en/stable/dataframe-design.html#partitions
https://docs.dask.org/en/stable/generated/dask.dataframe.read_parquet.html
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.set_index.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import index_work, runs
from ...judging.index_work import Case
from ...remedies import divisions
from ...report import Evidence, Finding, Measure, Severity
from ...snapshot import Cell, Collection, Computation, Location, TaskGroup
from ..registry import rule

_FRAMES = ("dataframe", "series", "index")
#: What Dask says when it refuses (dask.dataframe, 2025.7 and 2026.8), and how the call is named.
_REFUSALS = (
    ("can only resample dataframes with known divisions", "resample"),
    ("can only rolling dataframes with known divisions", "rolling"),
    ("cannot index with list against unknown division", "loc"),
    ("unable to concatenate dataframe with unknown division specifying axis=1", "concat"),
    ("cannot repartition on divisions with unknown divisions", "repartition"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Fewer partitions than this are looked through in no time.
    npartitions: int = 8
    #: Thread-seconds lost, measured or foreseen, below which nothing is said.
    loss_seconds: float = 1.0
    #: Share of all that the cell computed.
    loss_share: float = 0.05
    #: Bytes that a thread moves in a second, to foresee a join (distributed's own first guess of a bandwidth).
    bytes_per_second: float = 100e6


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    cell = runs.cell_at(code, at)
    found = []
    if cell is not None and cell.started is not None:
        refused = _refused(cell) is not None
        found.append(Measure(label="refused for want of divisions", value=float(refused), unit="count"))
    own = runs.of_cell(runs.newest(computations, code), at)
    known = [c.thread_seconds for c in own if c.thread_seconds is not None]
    if known:
        found.append(Measure(label="work of all threads", value=sum(known), unit="seconds"))
    return tuple(found)


@rule(
    id="unknown-divisions",
    title="Work on an index whose divisions are unknown",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations", "code"),
    measure=_measure,
)
def unknown_divisions(
    code: tuple[Cell, ...],
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    computations: tuple[Computation, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
) -> Iterator[Finding]:
    frames = [c for c in collections if c.kind in _FRAMES]
    told: set[str] = set()
    for cell in code:
        method = _refused(cell)
        if method is not None:
            finding = _refusal(cell, method, frames, code)
            told.add(finding.subject)
            yield finding
    for case in index_work.worst(
        [
            *index_work.done(computations, groups, frames, code),
            *index_work.ahead(code, frames, limit.bytes_per_second),
        ]
    ):
        if case.frame not in told and _matters(case, limit):
            yield _finding(case, limit, code, frames)


def _matters(case: Case, limit: Thresholds) -> bool:
    if case.npartitions < limit.npartitions or case.loss is None:
        return False
    return case.loss >= limit.loss_seconds and case.loss >= limit.loss_share * (case.of or 0.0)


def _finding(case: Case, limit: Thresholds, code: Sequence[Cell], frames: Sequence[Collection]) -> Finding:
    n, loss = case.npartitions, case.loss or 0.0
    about = "≈ " if case.is_estimated else ""
    name = words.code(case.frame)
    times = f", {words.count(case.n, 'time')}" if case.n > 1 else ""
    if case.operation.kind == "loc":
        message = (
            f"{name} has unknown divisions: `loc` looked through all of its {n:,} partitions{times}, "
            f"{about}{words.seconds(loss)} of work where nothing was found."
        )
        why = "Divisions say in which partition an index value lies. With them only the partitions that hold "
        why += "the rows are read."
    else:
        how = "moves" if case.is_ahead else "moved"
        message = (
            f"{name} has unknown divisions: joining it on its index {how} all rows between workers{times}, "
            f"{about}{words.seconds(loss)} of work."
        )
        why = "With known divisions on both sides each partition is joined with those of the other side that "
        why += "hold the same index values: nothing is shuffled."
    label = "looking where nothing is" if case.operation.kind == "loc" else "moving rows"
    evidence = [
        Evidence(label="partitions", value=n, unit="count", limit=limit.npartitions),
        Evidence(
            label=label,
            value=loss,
            unit="seconds",
            limit=max(limit.loss_seconds, limit.loss_share * (case.of or 0.0)),
            is_estimated=case.is_estimated,
        ),
    ]
    if case.of is not None:
        evidence.append(Evidence(label="all work of the cell", value=case.of, unit="seconds"))
    severity: Severity = "warning"
    return unknown_divisions.finding(
        severity=severity,
        subject=case.frame,
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=case.at,
        fixes=divisions.offers(case.lacking, code, frames, ailing=case.at, loss_seconds=loss),
        loss_seconds=loss,
        of_seconds=case.of,
    )


def _refused(cell: Cell) -> str | None:
    """The method that Dask refused in the cell's last run, for want of divisions."""
    if not cell.has_failed or not cell.error_text:
        return None
    said = " ".join(cell.error_text.lower().split())
    return next((method for text, method in _REFUSALS if text in said), None)


def _refusal(cell: Cell, method: str, frames: Sequence[Collection], code: Sequence[Cell]) -> Finding:
    name, line = _receiver(cell, method, frames)
    known = next((c for c in frames if c.name == name), None)
    at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=line)
    called = "`loc` with a list" if method == "loc" else f"`{method}`"
    called = "`concat` side by side" if method == "concat" else called
    who = words.code(name) if name else "the frame"
    evidence = [Evidence(label="error", value=cell.error or "error", unit="text")]
    if known is not None and known.npartitions:
        evidence.append(Evidence(label="partitions", value=known.npartitions, unit="count"))
    return unknown_divisions.finding(
        severity="warning",
        subject=name or method,
        message=f"Dask refuses {called}: the divisions of {who} are unknown.",
        why="Rows that belong together may lie in any two partitions as long as nobody knows which index values "
        "each of them holds.",
        evidence=tuple(evidence),
        at=at,
        fixes=divisions.offers(
            (known,) if known is not None else (), code, frames, ailing=at, loss_seconds=None
        ),
    )


def _receiver(cell: Cell, method: str, frames: Sequence[Collection]) -> tuple[str, int | None]:
    """The variable that the refused method was called on, and the line; the first one that lacks divisions."""
    lacking = {c.name for c in frames if c.has_known_divisions is not True}
    tree = source.parse(cell.source)
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.Attribute) or node.attr != method:
            continue
        root = source.root(node)
        if root is not None and root.id in lacking:
            found.append((root.id, node.lineno))
    if method == "concat" and tree is not None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in lacking:
                found.append((node.id, node.lineno))
    if found:
        return min(found, key=lambda pair: pair[1])
    return "", None
