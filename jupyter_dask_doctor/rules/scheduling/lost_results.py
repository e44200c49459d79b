"""Results went with their worker and are computed again.

## Why it matters
What a worker holds is held there alone. When it leaves, whatever is still needed of it is computed anew, with
all that it was made from. This also happens with a worker that was sent away: `cluster.scale(n)` of a
LocalCluster closes workers without moving what they hold (measured with distributed 2026.8.0: 8 of 12 results
were computed twice).

## Anti-pattern
    table = table.persist()
    cluster.scale(1)                        # half of the table was on the others

## Best practice
    client.retire_workers(n=3)              # moves what they hold, then closes them
    cluster.scale(1)

What took long to make is safest on disk: `table.to_parquet(...)`, read again from there. Replicas are no help:
Dask's Active Memory Manager drops them by default.

## How it is known
The scheduler's log says which results were lost with a worker; what they took to make is reckoned from the mean
of their kind, so it is an estimate. It speaks from `seconds` of that, and `share` of all that the cell's tasks
ran. For workers that were asked to go, only when tasks were really computed again: after `client.restart()`
nobody needs them.

## When it stays quiet
When the worker was killed while it ran something (`killed-worker`), when an interrupt ended it
(`interrupted-workers`), when adaptive scaling comes and goes all the time (`scaling-thrash`); when the last
worker left; when the cell ran again since.

## Fix safety
Needs review. `retire_workers` moves the results to the workers that stay: they must have room for them.
Code that keeps a collection on disk is shown, not inserted.

## References
https://distributed.dask.org/en/stable/resilience.html
https://distributed.dask.org/en/stable/active_memory_manager.html
https://distributed.dask.org/en/stable/api.html
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import interrupts, runs
from ...remedies import calls, fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Location,
    TaskGroup,
    WorkerChange,
)
from ..registry import rule

_LOADS = {
    "dataframe": '{0}.to_parquet("{0}.parquet")\n{0} = dd.read_parquet("{0}.parquet")',
    "array": '{0}.to_zarr("{0}.zarr")\n{0} = da.from_zarr("{0}.zarr")',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Thread-seconds that making them again takes (rules.md: at least 1 s at stake).
    seconds: float = 1.0
    #: Of all that the tasks of those computations ran.
    share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """What was lost in one cell."""

    at: Location | None
    changes: tuple[WorkerChange, ...]

    @property
    def n(self) -> int:
        return sum(max(0, c.n_lost) for c in self.changes)

    @property
    def seconds(self) -> float:
        return sum(max(0.0, c.lost_seconds) for c in self.changes)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for c in self.changes for p in c.prefixes))


def _measure(
    subject: str,
    at: Location | None,
    *,
    changes: tuple[WorkerChange, ...],
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    found = [x for x in _losses(changes, computations, code) if runs.same_cell(x.at, at)]
    return (Measure(label="work to do again", value=sum(x.seconds for x in found), unit="seconds"),)


@rule(
    id="lost-results",
    title="Results went with their worker",
    severity="warning",
    thresholds=Thresholds(),
    about=("changes",),
    yields_to={"interrupted-workers": "cell", "killed-worker": "cell", "scaling-thrash": "cell"},
    measure=_measure,
)
def lost_results(
    changes: tuple[WorkerChange, ...],
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    for lost in _losses(changes, computations, code):
        again = _computed_again(lost.prefixes, groups)
        if all(c.is_expected for c in lost.changes) and not again:
            continue
        if any(interrupts.interrupted_cell(code, c.time) is not None for c in lost.changes):
            continue
        ran = _ran(lost.prefixes, computations, code)
        if lost.seconds < limit.seconds or lost.seconds < limit.share * ran:
            continue
        yield _finding(lost, again, ran, cluster, limit, collections, code)


def _losses(
    changes: Sequence[WorkerChange], computations: Sequence[Computation], code: Sequence[Cell]
) -> list[_Loss]:
    """By the cell that ran then, or at rest by the cell that had made what was lost; those of its last run."""
    found: list[tuple[Location | None, list[WorkerChange]]] = []
    for change in changes:
        if change.kind != "removed" or change.n_lost <= 0 or change.n_workers <= 0:
            continue
        at = change.at or _made_at(change, computations)
        if runs.is_stale(at, change.time, code):
            continue
        same = next((own for place, own in found if place == at or runs.same_cell(place, at)), None)
        if same is None:
            found.append((at, [change]))
        else:
            same.append(change)
    return [_Loss(at=at, changes=tuple(own)) for at, own in found]


def _made_at(change: WorkerChange, computations: Sequence[Computation]) -> Location | None:
    places = [
        c.at
        for c in computations
        if c.submitted <= change.time and {name for name, _ in c.layers} & {*change.prefixes}
    ]
    return places[-1] if places else None


def _computed_again(prefixes: Sequence[str], groups: Sequence[TaskGroup]) -> int:
    return sum(max(0, g.n_done - g.n_tasks) for g in groups if g.prefix in prefixes and g.n_tasks > 0)


def _ran(prefixes: Sequence[str], computations: Sequence[Computation], code: Sequence[Cell]) -> float:
    recent = runs.newest(computations, code)
    own = [c for c in recent if {name for name, _ in c.layers} & {*prefixes}] or recent
    return sum(max(0.0, c.thread_seconds or 0.0) for c in own)


def _finding(
    lost: _Loss,
    again: int,
    ran: float,
    cluster: Cluster,
    limit: Thresholds,
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> Finding:
    prefix = lost.prefixes[0] if lost.prefixes else None
    n = len(lost.changes)
    asked = all(c.is_expected for c in lost.changes)
    who = words.count(n, "worker")
    how = ("was sent away" if n == 1 else "were sent away") if asked else "went"
    what = words.count(lost.n, "result") + (f", such as of {words.code(prefix)}," if prefix else "")
    went = "went with it" if n == 1 else "went with them"
    if asked:
        message = (
            f"{who} {how}, and {what} {went}: about {words.seconds(lost.seconds)} of work is done again."
        )
    else:
        message = (
            f"{who} {how} with {what} that must be made again: about {words.seconds(lost.seconds)} of work."
        )
    why = (
        "A result is held by one worker alone. When that leaves, it is computed again with all that it needs."
    )
    if asked and cluster.kind == "LocalCluster":
        why += " `scale` of a LocalCluster closes workers without moving what they hold."
    evidence = [
        Evidence(label="results lost", value=lost.n, unit="count"),
        Evidence(
            label="work to do again",
            value=lost.seconds,
            unit="seconds",
            limit=limit.seconds,
            is_estimated=True,
        ),
        Evidence(label="workers gone", value=n, unit="count"),
    ]
    if again:
        evidence.append(Evidence(label="tasks computed again", value=again, unit="count"))
    return lost_results.finding(
        severity="warning",
        subject=prefix or "results",
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=lost.at,
        fixes=_fixes(lost, cluster, collections, code),
        loss_seconds=lost.seconds / max(1, cluster.nthreads),
        of_seconds=ran / max(1, cluster.nthreads) if ran else None,
    )


def _fixes(
    lost: _Loss, cluster: Cluster, collections: Sequence[Collection], code: Sequence[Cell]
) -> tuple[Fix, ...]:
    cell, client, whole = runs.cell_at(code, lost.at), calls.client(cluster), calls.expression(cluster)
    found: list[Fix] = []
    tree = source.parse(cell.source) if cell is not None else None
    if cell is not None and tree is not None and client is not None and whole is not None:
        for statement in tree.body:
            if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
                continue
            call = statement.value
            if ast.unparse(call.func) != f"{whole}.scale" or not call.args:
                continue
            where = source.span(cell.source, statement)
            text = source.text(cell.source, where)
            n = len(lost.changes)
            fix = fixes.replace(
                cell,
                where,
                f"{client}.retire_workers(n={n})  # moves what they hold\n{text}",
                title=f"Let {words.count(n, 'worker')} hand over what they hold first",
                expect=f"{words.count(lost.n, 'result')} are moved instead of computed again, "
                f"{words.seconds(lost.seconds)} of work spared; the others need room for them",
            )
            if fix is not None:
                found.append(fix)
            break
    held = Counter(
        {c: c.nbytes.nbytes for c in collections if c.is_persisted and c.nbytes and c.kind in _LOADS}
    )
    for c, _ in held.most_common(1):
        if fixes.is_name(c.name) and {c.group and c.group.rsplit("-", 1)[0]} & {*lost.prefixes}:
            found.append(
                fixes.advice(
                    _LOADS[c.kind].format(c.name),
                    title=f"Keep {words.code(c.name)} on disk",
                    expect="no worker takes it along; it is read again when it is needed",
                )
            )
    return tuple(found)
