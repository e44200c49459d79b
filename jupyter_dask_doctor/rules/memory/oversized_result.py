"""A `compute()` whose result is too large for one worker, or for the kernel.

## Why it matters
`compute()` puts all partitions together into one pandas object or NumPy array. That happens in one task on
one worker, which holds the pieces and the whole at the same time; then the whole is sent to the notebook's
kernel. A worker that has no room is killed, four times in a row, and the computation fails. A kernel that
has no room dies with all variables.

## Anti-pattern
    trips = trips.compute()                      # 40 GiB, on workers with 8 GiB
    trips.groupby("zone").fare.mean()

## Best practice
    trips.groupby("zone").fare.mean().compute()  # reduce first, on the workers
    trips.head(1000)                             # or look at a few rows
    trips.to_parquet("trips.parquet")            # or write each partition where it is

## How it is known
From the text of cells that have not run yet, or run now: a `compute()` of a collection as a whole, whose size
is exact (chunks of arrays, partitions in memory) or reckoned (marked "≈"). Twice the result against the
memory limit of the largest worker: a warning from the pause mark (0.8), critical from the mark at which
workers are restarted (0.95). Measured: on workers with 500 MiB a result of 229 MiB already ended in
`KilledWorker`, whether array or frame. And the result against the kernel's free memory: a warning from a
quarter of it, critical from half. After the cell has run it only speaks when it failed for want of memory.

## When it stays quiet
Sizes that are not known; `compute()` on anything made from the collection, as in `x.sum().compute()`;
variables that are bound anew before the call; calls in functions and conditions; results under 64 MiB; a
cell that has run well.

## Fix safety
Needs review: `.head()` gives the first rows of a frame only, and a slice is not the whole.

## References
https://docs.dask.org/en/stable/best-practices.html
https://docs.dask.org/en/stable/dataframe-best-practices.html
https://distributed.dask.org/en/stable/killed.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import planned, runs
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Kernel, Location, Worker, WorkerLoss
from ...words import GiB, MiB
from ..registry import rule

_MEMORY_ERRORS = frozenset({"KilledWorker", "MemoryError", "ArrayMemoryError", "_ArrayMemoryError"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes of a result below which nothing is said.
    result_nbytes: int = 64 * MiB
    #: Times the result that the worker which puts it together needs: the pieces and the whole.
    copies: int = 2
    #: Share of the largest worker's limit for a warning, where Dask pauses a worker, ...
    worker_share: float = 0.8
    #: ... and where it is critical: there it is restarted.
    kill_share: float = 0.95
    #: Bytes below which a result is not held against the kernel's memory.
    kernel_nbytes: int = 1 * GiB
    #: Share of the kernel's free memory for a warning ...
    kernel_share: float = 0.25
    #: ... and where it is critical.
    fatal_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A call, and what its result is."""

    cell: Cell
    call: ast.Call
    at: Location
    collections: tuple[Collection, ...]

    @property
    def nbytes(self) -> int:
        return sum(c.nbytes.nbytes for c in self.collections if c.nbytes is not None)

    @property
    def largest(self) -> Collection:
        return max(self.collections, key=lambda c: c.nbytes.nbytes if c.nbytes is not None else 0)


def _measure(
    subject: str, at: Location | None, *, code: tuple[Cell, ...], **_: object
) -> tuple[Measure, ...]:
    cell = runs.cell_at(code, at)
    if cell is None or cell.started is None:
        return ()
    failed = cell.has_failed and cell.error in _MEMORY_ERRORS
    return (Measure(label="runs that ended for want of memory", value=float(failed), unit="count"),)


@rule(
    id="oversized-result",
    title="The result is too large to be computed",
    severity="critical",
    thresholds=Thresholds(),
    about=("code", "collections"),
    has_stake=False,
    measure=_measure,
)
def oversized_result(
    code: tuple[Cell, ...],
    collections: tuple[Collection, ...],
    cluster: Cluster,
    workers: tuple[Worker, ...],
    limit: Thresholds,
    kernel: Kernel | None = None,
    losses: tuple[WorkerLoss, ...] = (),
) -> Iterator[Finding]:
    sized = [
        c for c in collections if c.nbytes is not None and c.kind in ("dataframe", "series", "index", "array")
    ]
    for case in _cases(code, sized, losses):
        finding = _judged(case, cluster, workers, kernel, limit)
        if finding is not None:
            yield finding


def _cases(
    code: Sequence[Cell], collections: Sequence[Collection], losses: Sequence[WorkerLoss]
) -> Iterator[_Case]:
    # A cell that failed for want of memory stands as if it had not run: it will fail again
    as_if = tuple(_unrun(cell) if _has_failed_so(cell, losses) else cell for cell in code)
    for plan in planned.planned(as_if, collections, "compute"):
        cell = runs.cell_at(code, plan.at) or plan.cell
        yield _Case(cell=cell, call=plan.call, at=plan.at, collections=plan.collections)


def _unrun(cell: Cell) -> Cell:
    return Cell(id=cell.id, execution_count=cell.execution_count, source=cell.source)


def _has_failed_so(cell: Cell, losses: Sequence[WorkerLoss]) -> bool:
    if cell.started is None or cell.stopped is None or not cell.has_failed:
        return False
    if cell.error in _MEMORY_ERRORS:
        return True
    return any(loss.reason == "memory" and cell.started <= loss.time <= cell.stopped for loss in losses)


def _judged(
    case: _Case, cluster: Cluster, workers: Sequence[Worker], kernel: Kernel | None, limit: Thresholds
) -> Finding | None:
    nbytes, one = case.nbytes, case.largest
    if nbytes < limit.result_nbytes or one.nbytes is None:
        return None
    # Several results are put together each for itself, perhaps by different workers
    largest = one.nbytes.nbytes
    needed = largest * (limit.copies if (one.npartitions or 0) > 1 else 1)
    limits = [w.memory_limit for w in workers if w.memory_limit]
    allowed = max(limits, default=0) if len(limits) == len(workers) else 0
    free = kernel.memory_available if kernel is not None else None
    by_worker, by_kernel = needed / allowed if allowed > 0 else 0.0, 0.0
    if free is not None and free > 0 and nbytes >= limit.kernel_nbytes:
        by_kernel = nbytes / free
    severity: Severity
    if by_worker >= limit.kill_share or by_kernel >= limit.fatal_share:
        severity = "critical"
    elif by_worker >= limit.worker_share or by_kernel >= limit.kernel_share:
        severity = "warning"
    else:
        return None
    about = (
        "≈ " if any(c.nbytes is not None and c.nbytes.known == "estimated" for c in case.collections) else ""
    )
    name = words.code(one.name)
    said = []
    if by_worker >= limit.worker_share:
        said.append(
            f"the worker that puts it together needs {about}{words.nbytes(needed)}, of a limit of "
            f"{words.nbytes(allowed)}"
        )
    if by_kernel >= limit.kernel_share:
        said.append(f"{words.nbytes(free or 0)} are free in the kernel")
    evidence = [
        Evidence(label="size of the result", value=nbytes, unit="bytes", is_estimated=bool(about)),
    ]
    if allowed:
        evidence.append(
            Evidence(
                label="needed on one worker",
                value=needed,
                unit="bytes",
                limit=limit.worker_share * allowed,
                is_estimated=True,
            )
        )
        evidence.append(Evidence(label="memory limit of a worker", value=allowed, unit="bytes"))
    if free is not None:
        evidence.append(
            Evidence(
                label="free memory of the kernel's machine",
                value=free,
                unit="bytes",
                limit=nbytes / limit.kernel_share if by_kernel >= limit.kernel_share else None,
            )
        )
    return oversized_result.finding(
        severity=severity,
        subject=one.name,
        message=f"`compute()` makes all {about}{words.nbytes(nbytes)} of {name} into one result: "
        f"{', and '.join(said)}.",
        why="One task on one worker holds all pieces and the whole at once, before the whole comes to the kernel. "
        "A worker without room for it is killed again and again, until the computation fails.",
        evidence=tuple(evidence),
        at=case.at,
        fixes=_fixes(case),
        loss_bytes=max(0, needed - int(limit.worker_share * allowed)) if allowed else nbytes,
    )


def _fixes(case: _Case) -> tuple[Fix, ...]:
    one, cell = case.largest, case.cell
    if not fixes.is_name(one.name):
        return ()
    found: list[Fix] = []
    is_alone = isinstance(case.call.func, ast.Attribute) and not case.call.args
    if one.kind in ("dataframe", "series") and is_alone:
        made = fixes.replace(
            cell,
            source.span(cell.source, case.call),
            f"{one.name}.head(1_000)",
            title=f"Look at the first rows of {words.code(one.name)}",
            expect="1,000 rows of the first partition instead of all; only the first partition is computed",
            rerun=case.at,
        )
        found += [made] if made is not None else []
    if one.kind == "array":
        found.append(
            fixes.advice(
                f"{one.name}.mean(axis=0).compute()  # or the reduction you are after",
                title=f"Reduce {words.code(one.name)} on the workers first",
                expect="only what is left comes to the kernel",
            )
        )
    text = (
        f'{one.name}.to_zarr("{one.name}.zarr")  # needs the package zarr'
        if one.kind == "array"
        else f'{one.name}.to_frame().to_parquet("{one.name}.parquet")'
        if one.kind in ("series", "index")
        else f'{one.name}.to_parquet("{one.name}.parquet")'
    )
    found.append(
        fixes.advice(
            text,
            title=f"Write {words.code(one.name)} instead",
            expect="each worker writes its own partitions: nothing is put together anywhere",
        )
    )
    return tuple(found)
