"""The scheduler's memory grows from run to run.

## Why it matters
The scheduler remembers every task whose result somebody still holds, at several kilobytes each. Futures that
are kept in a list, or persisted collections that nobody needs, are never forgotten: it grows until its machine
has no memory left, and with it everything on the cluster ends.

## Anti-pattern
    futures = []
    for hour in hours:
        futures += client.map(check, hour)       # held for ever

## Best practice
    results = []
    for hour in hours:
        results += client.gather(client.map(check, hour))   # the futures are gone, and the tasks with them

Long-lived schedulers should be restarted now and then: some of what they note of each computation stays.

## How it is known
Only the pauses between computations are compared. The number of tasks that the scheduler knows rises with its
whole interval (Theil and Sen: the median of all pairwise slopes) over at least 3 runs, the last runs like the
first ones, to 10,000 or more, and its memory rises with it by 32 MiB or more. Memory that cannot be of tasks
(over 20 kB each) is not counted: a LocalCluster's scheduler lives in the kernel and shares its memory. For a
scheduler of its own it also speaks of memory that grows by 100 MiB and more while the number of tasks does
not. It is a warning when at this pace the machine's free memory lasts less than 8 hours, or a million tasks
are held; else worth knowing.

## When it stays quiet
Fewer tasks; a number that levels off or comes back; a kernel that grows for other reasons; less than 3 runs.

## Fix safety
Needs review: fetching brings the results into the kernel, and what is a future now is a value then.

## References
https://distributed.dask.org/en/stable/memory.html
https://distributed.dask.org/en/stable/manage-computation.html#futures-to-dask-collections
https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.theilslopes.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, trends
from ...remedies import fixes
from ...report import Chart, Evidence, Finding, Fix, Measure, Series, Severity
from ...snapshot import Cell, Cluster, Collection, Computation, Kernel, Load, Location, Rest
from ...words import MiB
from ..registry import NotChecked, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Runs in which it must have grown.
    runs: int = 3
    #: Tasks held: below it a scheduler is small, whatever it does (a task takes about 2 to 5 kB).
    tasks: int = 10_000
    #: Tasks held from which it is a warning in any case.
    warning_tasks: int = 1_000_000
    #: Bytes that its memory rose by together with the tasks.
    nbytes: int = 32 * MiB
    #: More than this for one task is something else's memory.
    task_nbytes: int = 20_000
    #: Bytes that a scheduler of its own must have grown by without more tasks.
    bare_nbytes: int = 100 * MiB
    #: Rise per run of the later half, and of the last run, against the earlier ones: less is a plateau.
    lasting: float = 0.5
    #: Seconds that the free memory lasts, at least, for it to be only worth knowing: a working day.
    horizon_seconds: float = 28_800.0


def _measure(
    subject: str, at: Location | None, *, load: tuple[Load, ...] = (), **_: object
) -> tuple[Measure, ...]:
    return (Measure(label="tasks held", value=load[-1].tasks_known, unit="count"),) if load else ()


@rule(
    id="scheduler-memory-growth",
    title="The scheduler grows from run to run",
    severity="warning",
    thresholds=Thresholds(),
    about=("rests",),
    measure=_measure,
)
def scheduler_memory_growth(
    rests: tuple[Rest, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    collections: tuple[Collection, ...] = (),
    kernel: Kernel | None = None,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if len(rests) < limit.runs + 1 or any(b.time <= a.time for a, b in itertools.pairwise(rests)):
        return
    tasks = [float(r.tasks_known) for r in rests]
    memory = [float(r.scheduler_memory) for r in rests if r.scheduler_memory is not None]
    if len(memory) < len(rests):
        if tasks[-1] >= limit.tasks:
            raise NotChecked("The scheduler does not tell its memory.")
        return
    free = kernel.memory_available if kernel is not None and cluster.is_in_process else None
    last = max(computations, key=lambda c: c.submitted, default=None)
    if _grows(tasks, limit):
        each = trends.theil_sen(tasks, memory)
        if tasks[-1] < limit.tasks or each is None or each.low <= 0 or each.slope > limit.task_nbytes:
            return
        risen = each.slope * (tasks[-1] - min(tasks))
        if risen >= limit.nbytes:
            yield _finding(risen, each.slope, rests, free, last, cluster, collections, code, limit)
    elif not cluster.is_in_process and _grows(memory, limit):
        risen = memory[-1] - memory[0]
        if risen >= limit.bare_nbytes:
            yield _finding(risen, None, rests, free, last, cluster, (), code, limit)


def _grows(values: Sequence[float], limit: Thresholds) -> bool:
    """A rise that goes on."""
    trend = trends.theil_sen(range(len(values)), values)
    if trend is None or trend.low <= 0:
        return False
    middle = len(values) // 2
    early = (values[middle] - values[0]) / middle
    late = (values[-1] - values[middle]) / (len(values) - 1 - middle)
    return late >= limit.lasting * early and values[-1] - values[-2] >= limit.lasting * trend.slope


def _finding(
    risen: float,
    each: float | None,
    rests: Sequence[Rest],
    free: int | None,
    last: Computation | None,
    cluster: Cluster,
    collections: Sequence[Collection],
    code: Sequence[Cell],
    limit: Thresholds,
) -> Finding:
    n, held = len(rests) - 1, rests[-1].tasks_known
    at = last.at if last is not None else None
    holder = max(
        (c for c in collections if c.kind == "futures" and 2 * (c.npartitions or 0) >= held),
        key=lambda c: c.npartitions or 0,
        default=None,
    )
    evidence = [
        Evidence(label="memory of the scheduler", value=rests[-1].scheduler_memory or 0, unit="bytes"),
        Evidence(label="risen", value=risen, unit="bytes", limit=limit.nbytes, is_estimated=True),
        Evidence(label="tasks held", value=held, unit="count", limit=limit.tasks),
        Evidence(label="runs compared", value=n, unit="count", limit=limit.runs),
    ]
    severity: Severity = "warning" if held >= limit.warning_tasks else "info"
    told = ""
    if free is not None:
        pace = trends.theil_sen([r.time for r in rests], [float(r.scheduler_memory or 0) for r in rests])
        if pace is not None and pace.low > 0:
            soon, late = free / pace.high, free / pace.low
            evidence.append(
                Evidence(
                    label="until the memory is used up, at this pace",
                    value=f"{words.seconds(soon)} to {words.seconds(late)}",
                    unit="text",
                    is_estimated=True,
                )
            )
            told = f"; at this pace the machine's free memory lasts {words.seconds(free / pace.slope)}"
            if soon <= limit.horizon_seconds:
                severity = "warning"
    if each is not None:
        evidence.append(Evidence(label="memory of one task", value=each, unit="bytes", is_estimated=True))
        by = f" for {words.code(holder.name)}" if holder is not None else ""
        message = (
            f"The scheduler holds {held:,} tasks of finished runs{by}, in about {words.nbytes(risen)}, and "
            f"more with each of the last {words.count(n, 'run')}{told}."
        )
    else:
        message = (
            f"The scheduler's memory rose by {words.nbytes(risen)} in {words.count(n, 'run')}, and the number of "
            f"tasks it holds did not{told}."
        )
    return scheduler_memory_growth.finding(
        severity=severity,
        subject=holder.name if holder is not None else "scheduler",
        message=message,
        why="As long as somebody holds a future or a persisted collection the scheduler must remember its tasks. "
        "Nothing limits that: when its machine is full, all work of the cluster is lost.",
        evidence=tuple(evidence),
        charts=(
            Chart(
                kind="lines",
                title="Memory of the scheduler in the pauses",
                unit="bytes",
                x=tuple(r.time for r in rests),
                series=(
                    Series(name="scheduler", values=tuple(float(r.scheduler_memory or 0) for r in rests)),
                ),
            ),
        ),
        at=at,
        fixes=_fixes(holder, at, cluster, code),
        loss_bytes=int(risen),
    )


def _fixes(
    holder: Collection | None, at: Location | None, cluster: Cluster, code: Sequence[Cell]
) -> tuple[Fix, ...]:
    if holder is None or not fixes.is_name(holder.name):
        return ()
    name, client = holder.name, cluster.client_variable
    below = runs.cell_at(code, at) or runs.cell_at(code, holder.at)
    size = holder.nbytes.nbytes if holder.nbytes is not None else None
    if size is not None and size <= fixes.TARGET and client is not None and fixes.is_name(client):
        text = f"{name} = {client}.gather({name})"
        title = f"Fetch the results of {words.code(name)} and let the futures go"
        expect = f"{words.nbytes(size)} of results come to the kernel; the scheduler forgets their tasks"
    else:
        text = f"del {name}"
        title = f"Release {words.code(name)}"
        expect = "the scheduler forgets its tasks; later cells cannot use it any more"
    if below is None:
        return (fixes.advice(text, title=title, expect=expect),)
    return (fixes.insert_below(below, text, title=title, expect=expect, rerun=None),)
