"""A computation ran in the kernel although a cluster is connected.

## Why it matters
With `scheduler="threads"`, `"processes"` or `"sync"` Dask does the work in this kernel and leaves the cluster
out: its memory, its cores and its dashboard. `"sync"` uses one core; threads in one process wait for each other
wherever Python itself is at work.

## Anti-pattern
    client = Client(cluster)
    totals = df.groupby("shop").amount.sum().compute(scheduler="threads")

## Best practice
    totals = df.groupby("shop").amount.sum().compute()

## How it is known
Computations that Dask ran in the kernel while a client was open, with their seconds, and how the cell asked for
it. A cell counts from 2 s and 4 tasks on. The loss is the time that the cluster's threads, no more than there
are tasks and, for a cluster on this machine, cores, would have spared. Threads of the kernel count for all its
cores, unless its CPU stayed near one core all the while: then Python's lock let one run at a time. A warning
when that comes to 1 s and 5 % of the cell; else it is only worth knowing.

## When it stays quiet
Short runs and few tasks, as in `scheduler="sync"` to debug one partition; what ran before the client was there;
an earlier run of the same cell.

## Fix safety
Needs review: functions and data travel to other processes then, which what lives in the kernel alone, such as an
open connection, does not bear.

## References
https://docs.dask.org/en/stable/scheduling.html
https://docs.dask.org/en/stable/scheduler-overview.html
https://github.com/radio-astro-tools/spectral-cube/issues/921
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ... import source, words
from ...judging import runs
from ...remedies import fixes, settings_code, statements
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Kernel, Load, LocalRun, Location
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds that a cell's computations ran in the kernel.
    seconds: float = 2.0
    #: Tasks that they had; fewer gain nothing from a cluster.
    tasks: int = 4
    #: Seconds that the cluster would have spared, and their share of the cell, to be a warning (rules.md, stake).
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Cores that the kernel used with several threads at work, to take them for held up by Python's lock.
    #: Less is waiting for something else.
    locked_from: float = 0.8
    locked_to: float = 1.4


#: As `dask.base.named_schedulers` spells them.
_KINDS = {
    "sync": "sync",
    "synchronous": "sync",
    "single-threaded": "sync",
    "threads": "threads",
    "threading": "threads",
    "processes": "processes",
    "multiprocessing": "processes",
}


def _measure(
    subject: str, at: Location | None, *, kernel: Kernel, code: tuple[Cell, ...] = (), **_: object
) -> tuple[Measure, ...]:
    fresh = [r for r in _fresh(kernel.local_runs, code) if runs.same_cell(r.at, at)]
    return (Measure(label="in the kernel", value=sum(r.seconds or 0.0 for r in fresh), unit="seconds"),)


@rule(
    id="bypassed-client",
    title="The cluster was left out",
    severity="warning",
    thresholds=Thresholds(),
    about=("kernel",),
    measure=_measure,
)
def bypassed_client(
    kernel: Kernel,
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    by_cell: list[list[LocalRun]] = []
    for run in _fresh(kernel.local_runs, code):
        same = next((own for own in by_cell if runs.same_cell(own[0].at, run.at)), None)
        if same is None:
            by_cell.append([run])
        else:
            same.append(run)
    now = load[-1].time if load else None
    for own in by_cell:
        seconds = sum(_seconds(r, now) for r in own)
        n_tasks = sum(max(0, r.n_tasks) for r in own)
        if seconds >= limit.seconds and n_tasks >= limit.tasks:
            yield _finding(own, seconds, kernel, cluster, limit, load, code)


def _fresh(found: Sequence[LocalRun], code: tuple[Cell, ...]) -> list[LocalRun]:
    return [r for r in found if not runs.is_stale(r.at, r.time, code)]


def _seconds(run: LocalRun, now: float | None) -> float:
    """How long it ran, or has run by now."""
    if run.seconds is not None:
        return max(0.0, run.seconds)
    return max(0.0, now - run.time) if now is not None else 0.0


def _finding(
    own: Sequence[LocalRun],
    seconds: float,
    kernel: Kernel,
    cluster: Cluster,
    limit: Thresholds,
    load: tuple[Load, ...],
    code: tuple[Cell, ...],
) -> Finding:
    at = own[0].at
    cell = runs.cell_at(code, at)
    call = _call(cell) if cell is not None else None
    setting = settings_code.setting(code, "scheduler") if call is None else None
    asked = _asked(call) if call is not None else setting[1].value if setting is not None else None
    kind = _KINDS.get(asked.lower(), "local") if isinstance(asked, str) else "local"
    now = load[-1].time if load else None
    loss = 0.0
    for run in own:
        gain = _gain(run, kind, kernel, cluster, limit, load)
        loss += _seconds(run, now) * gain
    n_tasks = sum(max(0, r.n_tasks) for r in own)
    wall = _wall(cell)
    is_costly = loss >= limit.loss_seconds and (wall is None or loss >= limit.loss_share * wall)
    how = f" ({words.code(f'scheduler={asked!r}')})" if kind != "local" else ""
    evidence = [
        Evidence(label="in the kernel", value=seconds, unit="seconds", limit=limit.seconds),
        Evidence(label="tasks", value=n_tasks, unit="count", limit=limit.tasks),
        Evidence(label="threads of the cluster", value=cluster.nthreads, unit="count"),
    ]
    if loss:
        evidence.append(
            Evidence(
                label="the cluster would have spared about", value=loss, unit="seconds", is_estimated=True
            )
        )
    return bypassed_client.finding(
        severity="warning" if is_costly else "info",
        subject=kind,
        message=f"{words.count(len(own), 'computation')} of {words.count(n_tasks, 'task')} ran in this kernel{how} "
        f"for {words.seconds(seconds)}, not on the cluster with its {words.count(cluster.nthreads, 'thread')}.",
        why="What runs in the kernel leaves the cluster's cores and memory out, and its dashboard does not show it.",
        evidence=tuple(evidence),
        at=at,
        fixes=_fixes(cell, call, setting, at) if kind != "local" else (),
        loss_seconds=loss if is_costly else None,
        of_seconds=wall if is_costly else None,
    )


def _gain(
    run: LocalRun, kind: str, kernel: Kernel, cluster: Cluster, limit: Thresholds, load: tuple[Load, ...]
) -> float:
    """Share of its time that the cluster would have spared, were its tasks alike."""
    there = min(max(1, cluster.nthreads), max(1, run.n_tasks))
    if cluster.is_in_process:
        there = min(there, max(1, kernel.n_cpus))
    here = 1.0 if kind == "sync" else float(max(1, min(kernel.n_cpus, run.n_tasks)))
    if kind == "threads" and cluster.is_in_process:
        used = _cores(run, load)
        if used is not None and limit.locked_from <= used <= limit.locked_to:
            here = min(here, max(1.0, used))
    if kind == "local":
        return 0.0  # how it ran is not known
    return max(0.0, 1.0 - here / there)


def _cores(run: LocalRun, load: Sequence[Load]) -> float | None:
    """Cores that the kernel used while it ran: a scheduler in this process tells of this process."""
    stop = run.time + run.seconds if run.seconds is not None else float("inf")
    # A sample tells of the time before it
    seen = [s.scheduler_cpu for s in load if run.time + 0.5 <= s.time <= stop and s.scheduler_cpu is not None]
    return sum(seen) / len(seen) / 100 if len(seen) >= 2 else None


def _wall(cell: Cell | None) -> float | None:
    if cell is None or cell.started is None or cell.stopped is None:
        return None
    return max(0.0, cell.stopped - cell.started)


def _call(cell: Cell) -> ast.Call | None:
    """The call in a cell that asks for a scheduler in this process."""
    tree = source.parse(cell.source)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and not settings_code.is_config(node) and _asked(node) is not None:
            return node
    return None


def _asked(call: ast.Call) -> str | None:
    value = next((k.value for k in call.keywords if k.arg == "scheduler"), None)
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.lower() in _KINDS:
        return value.value
    return None


def _fixes(
    cell: Cell | None,
    call: ast.Call | None,
    setting: tuple[Cell, ast.Constant] | None,
    at: Location | None,
) -> tuple[Fix, ...]:
    expect = "runs on the cluster; functions and data must bear the way to other processes"
    fix: Fix | None = None
    if cell is not None and call is not None:
        title = "Let the cluster compute it"
        fix = statements.without_keyword(cell, call, "scheduler", title=title, expect=expect, rerun=at)
        return (fix,) if fix is not None else ()
    if setting is not None:
        place, node = setting
        title = "Let the cluster compute: no scheduler set"
        fix = fixes.replace(
            place, source.span(place.source, node), "None", title=title, expect=expect, rerun=at
        )
        if fix is not None and place.id is not None and place.id not in fix.rerun:
            fix = replace(fix, rerun=(place.id, *fix.rerun))
    return (fix,) if fix is not None else ()
