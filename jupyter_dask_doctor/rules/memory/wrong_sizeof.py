"""Objects whose size Dask gets wrong: they count as next to nothing while they fill the workers.

## Why it matters
Dask asks every result for its size. For a class of your own (and of many libraries) the answer is that of the
bare Python object: 56 bytes, whatever hangs on it. Then nothing is spilled, tasks move to where they should
not, the dashboard shows empty workers, and these die of memory that nobody saw.

## Anti-pattern
    class Model:
        def __init__(self, weights):
            self.weights = weights               # 16 MB each, and Dask counts 56 bytes

    models = client.map(fit, range(1_000))

## Best practice
    class Model:
        def __init__(self, weights):
            self.weights = weights

        def __sizeof__(self):
            return object.__sizeof__(self) + self.weights.nbytes

For a class of somebody else's, register a function with `dask.sizeof.sizeof` on every worker.

## How it is known
Results of a type that is neither built in nor of NumPy, pandas or Arrow are held, and count as 1 kB or less
each. Meanwhile memory that Dask does not know of rose with the number of results: the robust slope of the one
over the other (Theil and Sen), at the lower end of its interval, makes 100 MiB or more for those that are
held, and more than 100 times what Dask counts; and that memory is still there. It is worth a warning from 10 %
of the cluster's memory on. What is inside of lists and dictionaries is not seen.

## When it stays quiet
Small objects that are small; one step up (imports) instead of a rise with every object; memory that came
back; fewer than 5 objects; computations too short to be watched while they ran.

## Fix safety
Needs review: the offered `__sizeof__` adds up the attributes of the object, which counts twice what two
objects share.

## References
https://docs.dask.org/en/stable/configuration-reference.html
https://distributed.dask.org/en/stable/worker-memory.html
https://docs.python.org/3/library/sys.html#sys.getsizeof
https://github.com/dask/dask/blob/main/dask/sizeof.py
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs, trends
from ...judging.trends import Trend
from ...remedies import creation, fixes
from ...report import Chart, Evidence, Finding, Fix, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Computation, Load, Location, TaskGroup, Worker
from ...words import MiB
from ..registry import NotChecked, rule

#: Packages whose objects Dask measures well (dask/sizeof.py).
_MEASURED = frozenset({"builtins", "cudf", "cupy", "numpy", "pandas", "pyarrow", "rmm", "scipy"})

#: Groups that are looked at: those of which most is held.
_MAX_JUDGED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes that Dask counts for one object, at most: a bare object has 48 to 56, a small dataclass as well.
    told_nbytes: int = 1_000
    #: Objects that are held.
    held: int = 5
    #: How many times more than that it must be.
    ratio: float = 100.0
    #: Bytes that nobody counted, at the lower end of the interval.
    nbytes: int = 100 * MiB
    #: What a worker process holds at rest when all is well (dask/distributed#6232).
    healthy_nbytes: int = 150 * MiB
    #: Moments at which memory and number were seen while the objects were made.
    samples: int = 4
    #: Share of the cluster's memory from which it is a warning.
    warning_share: float = 0.1


def _measure(
    subject: str, at: Location | None, *, workers: tuple[Worker, ...] = (), **_: object
) -> tuple[Measure, ...]:
    unknown = sum(max(0, w.process - w.managed) for w in workers)
    return (
        (Measure(label="memory that Dask does not know of", value=unknown, unit="bytes"),) if workers else ()
    )


@rule(
    id="wrong-sizeof",
    title="Dask gets the size of objects wrong",
    severity="warning",
    thresholds=Thresholds(),
    about=("groups",),
    measure=_measure,
)
def wrong_sizeof(
    groups: tuple[TaskGroup, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    workers: tuple[Worker, ...] = (),
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    is_unwatched = is_found = False
    for g in heapq.nlargest(_MAX_JUDGED, groups, key=lambda g: g.n_memory):
        kind = next((name for name in g.types if _is_own(name)), None)
        if kind is None or g.n_memory < limit.held or g.sizes is None or g.sizes.n < 1:
            continue
        told = g.sizes.total / g.sizes.n
        if told > limit.told_nbytes or g.start is None:
            continue
        at = next((c.at for c in computations if c.id == g.computation_id), None)
        if runs.is_stale(at, g.start, code):
            continue
        seen = _while_made(g, load)
        if len({s.tasks_memory for s in seen}) < limit.samples:
            is_unwatched = True
            continue
        trend = trends.theil_sen([s.tasks_memory for s in seen], [s.unmanaged for s in seen])
        if trend is None or trend.low < limit.ratio * max(1.0, told):
            continue
        if trend.low * g.n_memory < limit.nbytes:
            continue
        stays = load[-1].unmanaged - seen[0].unmanaged
        if stays < trend.low * g.n_memory / 2:
            continue
        is_found = True
        yield _finding(g, kind, told, trend, seen, at, cluster, code, limit)
    unknown = load[-1].unmanaged - limit.healthy_nbytes * load[-1].n_workers if load else 0
    if is_unwatched and not is_found and unknown >= limit.nbytes:
        raise NotChecked(
            "Objects of unknown types are held, and memory was not watched while they were made."
        )


def _is_own(name: str) -> bool:
    package, dot, _ = name.partition(".")
    return bool(dot) and package not in _MEASURED


def _while_made(group: TaskGroup, load: Sequence[Load]) -> list[Load]:
    """What was seen from a moment before its first task to a moment after its last."""
    start, stop = group.start or 0.0, group.stop if group.stop is not None else float("inf")
    return [s for s in load if start - 1.0 <= s.time <= stop + 1.0]


def _finding(
    group: TaskGroup,
    kind: str,
    told: float,
    trend: Trend,
    seen: Sequence[Load],
    at: Location | None,
    cluster: Cluster,
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding:
    whole = trend.slope * group.n_memory
    severity: Severity = "info"
    if cluster.memory_limit is not None and whole >= limit.warning_share * cluster.memory_limit:
        severity = "warning"
    short = kind.rsplit(".", 1)[-1]
    return wrong_sizeof.finding(
        severity=severity,
        subject=kind,
        message=f"Dask counts {words.nbytes(told)} for each of the {group.n_memory:,} {words.code(short)} objects that "
        f"{words.code(group.prefix)} made, while the workers' memory rose by about {words.nbytes(trend.slope)} with "
        f"each: {words.nbytes(whole)} that it does not know of.",
        why="What Dask takes for small it neither spills nor spreads over the workers: they fill up while its own "
        "numbers, and the dashboard, show them empty.",
        evidence=(
            Evidence(label="size of one object, says Dask", value=told, unit="bytes"),
            Evidence(
                label="rise of memory with each", value=trend.slope, unit="bytes",
                limit=limit.ratio * max(1.0, told), is_estimated=True,
            ),
            Evidence(label="with each, at least", value=trend.low, unit="bytes", is_estimated=True),
            Evidence(label="objects held", value=group.n_memory, unit="count", limit=limit.held),
            Evidence(label="moments compared", value=trend.n, unit="count", limit=limit.samples),
        ),
        charts=(
            Chart(
                kind="lines",
                title="Memory while the objects were made",
                unit="bytes",
                x=tuple(s.time for s in seen[-150:]),
                series=(
                    Series(name="not known to Dask", values=tuple(float(s.unmanaged) for s in seen[-150:])),
                    Series(name="known to Dask", values=tuple(float(s.managed) for s in seen[-150:])),
                ),
            ),
        ),
        at=at,
        fixes=_fixes(kind, at, cluster, code),
        loss_bytes=int(whole),
    )  # fmt: skip


_METHOD = """\


{indent}def __sizeof__(self):
{indent}    # What Dask takes for the size of this object
{indent}    from dask.sizeof import sizeof

{indent}    return object.__sizeof__(self) + sum(sizeof(value) for value in vars(self).values())"""

_REGISTER = """\
def tell_size():
    from dask.sizeof import sizeof
    from {module} import {name}

    @sizeof.register({name})
    def size_of(one):
        return sum(sizeof(value) for value in vars(one).values())


{client}.run(tell_size)  # on the workers that are there now"""


def _fixes(kind: str, at: Location | None, cluster: Cluster, code: Sequence[Cell]) -> tuple[Fix, ...]:
    module, _, name = kind.rpartition(".")
    if not all(fixes.is_name(part) for part in kind.split(".")):
        return ()
    expect = f"Dask counts what hangs on each {words.code(name)}: it is spilled and moved as what it is"
    if module == "__main__":
        made = _method(name, at, code, expect)
        return (made,) if made is not None else ()
    client = cluster.client_variable
    text = _REGISTER.format(
        module=module, name=name, client=client if client and fixes.is_name(client) else "client"
    )
    title = f"Tell Dask the size of {words.code(name)}"
    where = creation.creation(code, cluster)
    if where is None or not client:
        return (fixes.advice(text, title=title, expect=expect),)
    return (fixes.insert_below(where.cell, text, title=title, expect=expect, rerun=at),)


def _method(name: str, at: Location | None, code: Sequence[Cell], expect: str) -> Fix | None:
    """A `__sizeof__` behind the last statement of the class, in the cell that defined it last."""
    ran = sorted((c for c in code if c.started is not None), key=lambda c: -(c.started or 0.0))
    for cell in ran:
        tree = source.parse(cell.source)
        for node in tree.body if tree is not None else ():
            if not isinstance(node, ast.ClassDef) or node.name != name:
                continue
            if "__sizeof__" in cell.source or "slots" in cell.source or not node.body:
                return None
            last = source.span(cell.source, node.body[-1])
            first = source.span(cell.source, node.body[0])
            row = source.lines(cell.source)[first.line - 1]
            indent = row[: len(row) - len(row.lstrip())]
            if not indent:
                return None  # the body stands behind the colon
            new = source.text(cell.source, last) + _METHOD.format(indent=indent)
            return fixes.replace(
                cell, last, new, title=f"Let {words.code(name)} tell its size", expect=expect, rerun=at
            )
    return None
