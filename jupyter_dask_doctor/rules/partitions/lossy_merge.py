"""Rows vanish without an error when this version of Dask shuffles into 129 partitions.

## Why it matters
To bring equal keys together Dask gives each row the number of the partition that it goes to. In the versions
from 2024.3.0 to before 2026.6.0 these numbers are kept in the smallest integer type that seems to hold them, and
for exactly 129 (or 32,769) partitions it is one too small: the last number becomes a negative one, no partition has
it, and its rows are left out. One row in 129 is missing from the result, and nothing says so.

## Anti-pattern
    joined = orders.merge(customers, on="customer")                     # 129 partitions

## Best practice
    joined = orders.merge(customers, on="customer", npartitions=130)    # or dask >= 2026.6.0

## How it is known
From the versions of dask that the workers run, since they reckon the numbers, and the partitions of each merge,
shuffle or grouping in the notebook's collections, before they run; of what ran, from the number of tasks
that put the partitions together. Measured on 2025.7.0 and 2026.3.0 with keys of integers, floats, strings and
categories: 0.8 % of the rows were missing with 129 partitions from `merge` (inner, left, right, outer,
leftsemi, on columns or on the index), `shuffle`, `drop_duplicates`, `nunique`, `value_counts`, `groupby().apply`
and `groupby(...).sum(split_out=129)`, with shuffles by p2p and by disk.

128 and 32,768 partitions stand in the report of the fault too. With them no row was missing in any of these
tests; a shuffle by tasks ended in an OverflowError. So they are only worth knowing.

## When it stays quiet
On other versions; for any other number of partitions; for joins with a frame of one or of very few partitions,
which is sent to all others; for joins of two indexes with known divisions; for `set_index` and
`sort_values`, whose numbers are reckoned in another way.

## Fix safety
Needs review: the number of partitions of the result changes by one or two.

## References
https://github.com/dask/dask/issues/12427
https://github.com/dask/dask/pull/12430
https://docs.dask.org/en/stable/generated/dask.dataframe.DataFrame.merge.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import fixes, shuffling
from ...report import Evidence, Finding, Fix, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Location, Operation, TaskGroup, Versions
from ..registry import NotChecked, rule

#: Counts with which rows were seen to vanish; with the others of `fixes.LOSSY_COUNTS` none were.
_LOSES = frozenset({129, 32769})
#: Steps that send each row to the partition of its hashed key.
_HASHED = frozenset({"merge", "join", "shuffle", "groupby"})
#: What a task group is called that puts a partition together after p2p.
_UNPACKED = frozenset({"hashjoinp2p", "p2pshuffle"})
#: What `set_index` and `sort_values` leave in a graph.
_SORTED = (
    "set_partitions",
    "setpartitions",
    "set_index",
    "setindex",
    "sort_index",
    "sort_values",
    "sortvalues",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: 1: counts that upstream names, but with which no loss was measured, are told as worth knowing; 0: they are not.
    named_counts: int = 1
    #: A join with a frame of fewer partitions than this times log2 of the other's is no shuffle (Dask: 0.5).
    broadcast_bias: float = 0.5


@rule(
    id="lossy-merge",
    title="This version of Dask loses rows here",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    has_stake=False,
)
def lossy_merge(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
    versions: tuple[Versions, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    dask = _affected(versions, cluster)
    if dask is None:
        return
    told: set[str] = set()
    said, unknown = False, False
    newest = runs.newest(computations, code)
    asked = [(c, u.at) for u in newest for c in u.asked]
    # A variable that is bound in the notebook names it best
    for c, at in [*((c, c.at) for c in collections), *asked]:
        for step in c.operations:
            if step.kind not in _HASHED or step.name in told:
                continue
            if step.n_out is None:
                unknown = unknown or step.kind in ("merge", "join")
                continue
            if step.n_out in fixes.LOSSY_COUNTS and _is_shuffled(step, limit):
                told.add(step.name)
                if step.n_out in _LOSES or limit.named_counts:
                    said = True
                    yield _finding(c, step, step.n_out, dask, at, cluster, code)
    for u in newest:
        n = _seen(u, groups)
        if n is None or n not in _LOSES or any(_has(c, n, limit) for c in u.asked):
            continue
        if any(_has(c, n, limit) for c in runs.read_by(u, collections, code)):
            continue  # told already, with its name
        said = True
        yield _ran(u, n, dask, cluster, code)
    if unknown and not said:
        raise NotChecked("The number of partitions of a merge is known only after a part of it is computed.")


def _affected(versions: Sequence[Versions], cluster: Cluster) -> str | None:
    """The version that loses rows: of the workers, who reckon the numbers; else the notebook's own."""
    own = [dict(v.packages).get("dask") for v in versions if v.role == "worker"]
    found = [v for v in own if v] or [cluster.dask]
    return next((v for v in found if fixes.is_lossy(v)), None)


def _is_shuffled(step: Operation, limit: Thresholds) -> bool:
    if step.kind in ("merge", "join"):
        known = [n for n in step.n_in if n is not None]
        if len(known) > 1 and min(known) < max(2.0, math.log2(max(known)) * limit.broadcast_bias):
            return step.how == "outer" and min(known) > 1
        if step.is_on_index and step.known_divisions and all(step.known_divisions):
            return False
    elif step.kind == "groupby" and step.is_on_index and step.known_divisions and all(step.known_divisions):
        return False
    return True


def _has(c: Collection, n: int, limit: Thresholds) -> bool:
    return any(s.kind in _HASHED and s.n_out == n and _is_shuffled(s, limit) for s in c.operations)


def _seen(u: Computation, groups: Sequence[TaskGroup]) -> int | None:
    """Partitions of a hashed shuffle that ran."""
    own = [g for g in groups if g.computation_id == u.id]
    names = {g.prefix for g in own} | {prefix for prefix, _ in u.layers}
    is_sorted = any(part in name for name in names for part in _SORTED)
    counts = [(g.prefix, g.n_tasks) for g in own] or list(u.layers)
    for prefix, n in counts:
        if prefix in _UNPACKED and n in fixes.LOSSY_COUNTS and not (prefix == "p2pshuffle" and is_sorted):
            return n
    return None


def _finding(
    c: Collection,
    step: Operation,
    n: int,
    dask: str,
    at: Location | None,
    cluster: Cluster,
    code: tuple[Cell, ...],
) -> Finding:
    name = words.code(c.name) if c.name else "What is computed"
    on = f" on {', '.join(words.code(column) for column in step.columns[:3])}" if step.columns else ""
    verb = {"merge": "is merged", "join": "is joined", "groupby": "is grouped"}.get(step.kind, "is shuffled")
    cell = runs.cell_at(code, at)
    return _made(
        c.name or step.kind,
        f"{name} {verb}{on} into {n:,} partitions",
        n,
        dask,
        at,
        _fixes(step, n, at, cell, dask, cluster),
        c.n_rows,
    )


def _ran(u: Computation, n: int, dask: str, cluster: Cluster, code: tuple[Cell, ...]) -> Finding:
    cell = runs.cell_at(code, u.at)
    edit = shuffling.other_count(cell, tuple(shuffling.COUNTS), n, u.at) if cell is not None else ()
    name = shuffling.bound(cell) if cell is not None else None
    if name is not None:
        begin = f"{words.code(name)} is shuffled into {n:,} partitions"
    elif u.at is not None and u.at.execution_count is not None:
        begin = f"[{u.at.execution_count}] shuffles rows into {n:,} partitions"
    else:
        begin = f"A computation shuffles rows into {n:,} partitions"
    return _made(name or "shuffle", begin, n, dask, u.at, (*edit, *_upgrade(dask, cluster)), None)


def _made(
    subject: str,
    begin: str,
    n: int,
    dask: str,
    at: Location | None,
    offered: tuple[Fix, ...],
    n_rows: int | None,
) -> Finding:
    loses = n in _LOSES
    severity: Severity = "critical" if loses else "info"
    evidence = [
        Evidence(label="partitions", value=n, unit="count"),
        Evidence(label="dask of the workers", value=dask, unit="text"),
        Evidence(label="repaired in", value="2026.6.0", unit="text"),
    ]
    if loses:
        evidence.append(
            Evidence(label="share of the rows that vanish", value=1 / n, unit="share", is_estimated=True)
        )
        message = f"{begin}: with exactly this number dask {dask} leaves rows out, and no error tells of it."
        why = (
            f"The number of the last partition does not fit in the integer type that Dask chose for it, and its "
            f"rows, about one in {n:,}, go nowhere. Sums, counts and joins are wrong by that much."
        )
    else:
        message = f"{begin}: a number with which dask {dask} is known to go wrong, though not always."
        why = (
            "It is named in the report of rows that vanish (dask/dask#12427). When tried, none did, but a shuffle by "
            "tasks ended in an OverflowError."
        )
    return lossy_merge.finding(
        severity=severity, subject=subject, message=message, why=why, evidence=tuple(evidence), at=at, fixes=offered
    )  # fmt: skip


def _fixes(
    step: Operation, n: int, at: Location | None, cell: Cell | None, dask: str, cluster: Cluster
) -> tuple[Fix, ...]:
    methods = {"merge": ("merge",), "join": ("join",), "shuffle": ("shuffle", "drop_duplicates")}
    edit = shuffling.other_count(cell, methods.get(step.kind, ()), n, at) if cell is not None else ()
    if not edit:
        text = f"df = df.repartition(npartitions={shuffling.count(n)})  # what has {n:,} partitions, before this step"
        expect = f"{n:,} → {shuffling.count(n):,} partitions: every row is there"
        edit = (fixes.advice(text, title=f"Make {shuffling.count(n):,} partitions instead", expect=expect),)
    return (*edit, *_upgrade(dask, cluster))


def _upgrade(dask: str, cluster: Cluster) -> tuple[Fix, ...]:
    line = 'pip install --upgrade "dask>=2026.6.0" "distributed>=2026.6.0"'
    is_own = cluster.dask == dask
    text = f"%{line}\n# then restart the kernel" if is_own else f"# in the environment of the workers\n{line}"
    expect = f"dask {dask} → 2026.6.0 or later, everywhere alike: cluster and kernel start anew"
    return (fixes.advice(text, title="Upgrade Dask", expect=expect),)
