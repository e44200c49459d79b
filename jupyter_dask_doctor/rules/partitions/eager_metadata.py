"""Jobs that Dask starts by itself, to find the divisions of a frame.

## Why it matters
`set_index` and `sort_values` cut the data at quantiles that only a job over all partitions can tell. Dask starts
it at the first look: displaying the frame, `.npartitions`, `.divisions`. And it starts it anew for each `compute()`
that needs other columns, because what it remembers goes by the exact expression.

## Anti-pattern
    users = events.set_index("user")
    users                                   # a hidden job
    users.spent.sum().compute()             # another one, then the work
    users.visits.max().compute()            # and one more

## Best practice
    users = events.set_index("user").persist()             # one hidden job, one sort
    users = events.set_index("user", divisions=known)      # none
    users.dtypes                                           # needs no job

## How it is known
Each graph that is sent is noted with the function of Dask's that sent it; those that were sent on the way to
something else are hidden jobs. The loss is their seconds from first to last, less those of the longest one
where the frame was computed as well: one is needed. A warning from 2 s and 5 % of what was computed on the frame.

Measured on Dask 2026.8.0, 20 partitions of 100,000 rows: the display of a `set_index` frame sends 42 tasks, the
sum of one of its columns 61 hidden ones and 102 of its own, and the sum of another column 61 hidden ones again.

## When it stays quiet
The one job that a `set_index` needs; quick ones; frames with divisions given, or persisted; `len(df)`, which asks
for the work it does.

## Fix safety
With `divisions=` or `sorted=True` nothing is found out later: when the data change, the cell that makes the frame
must run again. What is persisted stays in memory as long as its variable lives. Showing `dtypes` changes only what
is shown.

## References
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.known_divisions.html
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.set_index.html
https://docs.dask.org/en/stable/dataframe-best-practices.html#avoid-full-data-shuffling
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs
from ...remedies import fixes, hidden_jobs
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location
from ..registry import rule

#: Looks at a frame, as the functions of Dask's are called.
_LOOKS = {
    "npartitions": "`.npartitions`",
    "divisions": "`.divisions`",
    "known_divisions": "`.known_divisions`",
    "repr": "its display",
    "str": "its display",
    "repr_html": "its display",
    "ipython_display": "its display",
}
#: What asks for the work that it does.
_ASKED = frozenset({"len"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds of hidden jobs that could have been spared.
    loss_seconds: float = 2.0
    #: Share of the seconds of all that was computed on the frame.
    loss_share: float = 0.05
    #: Bytes of files that a thread reads in a second, to foresee a look (a local disk; networks are slower).
    bytes_per_second: float = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Jobs:
    """What was computed on one frame."""

    frame: Collection
    hidden: tuple[Computation, ...]
    #: Computations that were asked for.
    asked: tuple[Computation, ...]

    @property
    def seconds(self) -> float:
        return sum(_seconds(k) for k in self.hidden)

    @property
    def loss(self) -> float:
        """Where it is computed as well, one job is needed."""
        needed = max((_seconds(k) for k in self.hidden), default=0.0) if self.asked else 0.0
        return max(0.0, self.seconds - needed)

    @property
    def of(self) -> float:
        return self.seconds + sum(_seconds(k) for k in self.asked)


def _seconds(c: Computation) -> float:
    return runs.wall(c) or 0.0


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    cell = runs.cell_at(code, at)
    if cell is None or cell.started is None:
        return ()
    own = runs.of_cell(runs.newest(computations, code), at)
    total = sum(_seconds(k) for k in own if _is_hidden(k))
    return (Measure(label="hidden jobs", value=total, unit="seconds"),)


@rule(
    id="eager-metadata",
    title="Hidden jobs find out how a frame is cut",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    measure=_measure,
)
def eager_metadata(
    collections: tuple[Collection, ...],
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
    load: tuple[Load, ...] = (),
) -> Iterator[Finding]:
    recent = runs.newest(computations, code)
    told: set[str] = set()
    for jobs in _by_frame(recent, collections, code):
        if jobs.loss >= limit.loss_seconds and jobs.loss >= limit.loss_share * jobs.of:
            told.add(jobs.frame.name)
            yield _finding(jobs, cluster, limit, collections, load, code)
    for c in collections:
        if c.is_eager and c.name not in told:
            finding = _ahead(c, collections, cluster, limit, code)
            if finding is not None:
                yield finding


def _is_hidden(c: Computation) -> bool:
    return c.is_hidden is True and c.method not in _ASKED


def _by_frame(
    recent: Sequence[Computation], collections: Sequence[Collection], code: Sequence[Cell]
) -> list[_Jobs]:
    eager = sorted((c for c in collections if c.is_eager), key=lambda c: (len(c.names), c.name))
    hidden: dict[str, list[Computation]] = {}
    asked: dict[str, list[Computation]] = {}
    for k in recent:
        frame = _frame(k, eager, code)
        if frame is not None:
            (hidden if _is_hidden(k) else asked).setdefault(frame.name, []).append(k)
    return [
        _Jobs(frame=c, hidden=tuple(hidden[c.name]), asked=tuple(asked.get(c.name, ())))
        for c in eager
        if c.name in hidden
    ]


def _frame(k: Computation, eager: Sequence[Collection], code: Sequence[Cell]) -> Collection | None:
    """The first variable on the way to what was asked for that cannot tell its divisions."""
    for c in eager:
        if any(a.name == c.name or runs.is_made_from(a, c) for a in k.asked):
            return c
    if k.asked:
        return None
    cell = runs.cell_at(code, k.at)
    names = source.names(cell.source) if cell is not None else frozenset()
    spoken = [c for c in eager if c.name in names]
    return spoken[0] if len(spoken) == 1 else None


def _finding(
    jobs: _Jobs,
    cluster: Cluster,
    limit: Thresholds,
    collections: Sequence[Collection],
    load: Sequence[Load],
    code: Sequence[Cell],
) -> Finding:
    n, name = len(jobs.hidden), words.code(jobs.frame.name)
    by_cell = Counter[tuple[str | None, int | None]]()
    for k in jobs.hidden:
        if k.at is not None:
            by_cell[(k.at.cell_id, k.at.execution_count)] += _seconds(k)  # type: ignore[assignment]
    worst = by_cell.most_common(1)[0][0] if by_cell else None
    at = next(
        (k.at for k in jobs.hidden if k.at and (k.at.cell_id, k.at.execution_count) == worst), jobs.frame.at
    )
    if n == 1:
        how = _by(jobs.hidden[0])
        how = f"Showing {name}" if how == "its display" else f"{how} of {name}"
        message = f"{how} ran a hidden job over all of its data: {words.seconds(jobs.seconds)}."
    else:
        ways = Counter(_by(k) for k in jobs.hidden)
        said = ", ".join(
            f"{way} {words.times(times)}" if times > 1 else way for way, times in ways.most_common(3)
        )
        message = (
            f"Dask looked through all of {name} {n} times to find its divisions: {words.seconds(jobs.seconds)} of "
            f"hidden jobs, by {said}."
        )
    return eager_metadata.finding(
        severity="warning",
        subject=jobs.frame.name,
        message=message,
        why="Sorting by a column cuts at quantiles, which only a job over all partitions can tell. Dask starts it at "
        "each look and for each computation that needs other columns.",
        evidence=(
            Evidence(label="hidden jobs", value=n, unit="count"),
            Evidence(label="their time", value=jobs.seconds, unit="seconds"),
            Evidence(
                label="could be spared",
                value=jobs.loss,
                unit="seconds",
                limit=max(limit.loss_seconds, limit.loss_share * jobs.of),
            ),
            Evidence(label="their tasks", value=sum(k.n_tasks for k in jobs.hidden), unit="count"),
        ),
        at=at,
        fixes=tuple(_fixes(jobs, collections, cluster, load, code, at)),
        loss_seconds=jobs.loss,
        of_seconds=jobs.of or None,
    )


def _by(k: Computation) -> str:
    return _LOOKS.get(k.method or "", words.code(k.method) if k.method else "something else")


def _fixes(
    jobs: _Jobs,
    collections: Sequence[Collection],
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    at: Location | None,
) -> Iterator[Fix]:
    c, n = jobs.frame, len(jobs.hidden)
    expect = (
        f"{words.count(n, 'hidden job')} → 1" if jobs.asked or n > 1 else "its one job runs when it is made"
    )
    nbytes = _nbytes(c, collections)
    if c.has_partition_size:
        if nbytes:
            count = fixes.partition_count(math.ceil(nbytes / fixes.TARGET), cluster)
            fix = hidden_jobs.cut_by_count(
                c, code, count, expect=f"no hidden job; ≈ {words.nbytes(nbytes / count)} each", ailing=at
            )
            if fix is not None:
                yield fix
        return
    if len(jobs.hidden) > 1:
        # Rows that had to move came by a shuffle
        moved = any("shuffle" in layer for k in jobs.asked for layer, _ in k.layers)
        kept = hidden_jobs.keep_divisions(
            c, code, is_in_order=bool(jobs.asked) and not moved, expect=expect, ailing=at
        )
        if kept is not None:
            yield kept
    if jobs.asked:
        kept = hidden_jobs.keep_sorted(
            c, nbytes, cluster=cluster, load=load, code=code, expect=expect, ailing=at
        )
        if kept is not None:
            yield kept
    for k in jobs.hidden:
        if k.method in ("repr", "repr_html", "str", "ipython_display"):
            shown = hidden_jobs.show_dtypes(c, runs.cell_at(code, k.at))
            if shown is not None:
                yield shown
                return


def _nbytes(c: Collection, collections: Sequence[Collection]) -> int | None:
    """Sorting changes no bytes: as known of it, else of what it is made from."""
    if c.nbytes is not None:
        return c.nbytes.nbytes
    if any(o.kind in ("merge", "join", "groupby", "map_partitions") for o in c.operations):
        return None
    origins = [o for o in collections if o.nbytes is not None and runs.is_made_from(c, o)]
    best = max(origins, key=lambda o: len(o.names), default=None)
    return best.nbytes.nbytes if best is not None and best.nbytes is not None else None


def _ahead(
    c: Collection,
    collections: Sequence[Collection],
    cluster: Cluster,
    limit: Thresholds,
    code: Sequence[Cell],
) -> Finding | None:
    """A cell that has not run and only looks at the frame."""
    nbytes = sum(r.nbytes or 0 for r in c.reads)
    columns = max(
        (o.n_columns or 1 for o in (c, *collections) if o is c or runs.is_made_from(c, o)), default=1
    )
    # Parquet files give single columns; of text all of it is read
    needed = nbytes / columns if all(r.format == "parquet" for r in c.reads) else nbytes
    seconds = needed / limit.bytes_per_second / max(1, cluster.nthreads)
    if seconds < limit.loss_seconds or c.has_partition_size:
        return None
    for cell in code:
        if cell.started is not None:
            continue
        found = _look(cell, c.name)
        if found is None:
            continue
        how, line = found
        severity: Severity = "warning"
        shown = hidden_jobs.show_dtypes(c, cell)
        name = words.code(c.name)
        what = f"Showing {name}" if how == "its display" else f"{how} of {name}"
        return eager_metadata.finding(
            severity=severity,
            subject=c.name,
            message=f"{what} will run a hidden job over all of its data: ≈ {words.seconds(seconds)}.",
            why="Sorting by a column cuts at quantiles, which only a job over all partitions can tell.",
            evidence=(
                Evidence(label="bytes to read", value=needed, unit="bytes", is_estimated=True),
                Evidence(
                    label="hidden job",
                    value=seconds,
                    unit="seconds",
                    limit=limit.loss_seconds,
                    is_estimated=True,
                ),
            ),
            at=Location(cell_id=cell.id, execution_count=cell.execution_count, line=line),
            fixes=(shown,) if shown is not None else (),
            loss_seconds=seconds,
        )
    return None


def _look(cell: Cell, name: str) -> tuple[str, int] | None:
    if name not in source.names(cell.source):
        return None
    tree = source.parse(cell.source)
    if tree is None or not tree.body or any(source.binds(s, name) for s in tree.body):
        return None
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner == name and attr in _LOOKS:
                return _LOOKS[attr], node.lineno
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name) and last.value.id == name:
        return _LOOKS["repr"], last.lineno
    return None
