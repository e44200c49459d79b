"""Tasks that no worker may run.

## Why it matters
Dask does not fail such a task: it waits, without a word, until a worker comes that may run it. When nobody
starts one, the cell hangs for ever (`distributed.scheduler.no-workers-timeout` is off by default).

## Anti-pattern
    cluster = LocalCluster(n_workers=2)                    # no worker offers a GPU
    model = client.submit(train, data, resources={"GPU": 1}).result()

## Best practice
    cluster = LocalCluster(n_workers=2, resources={"GPU": 1})
    model = client.submit(train, data, resources={"GPU": 1}).result()

With `workers=`, `allow_other_workers=True` makes a wish of what is a demand otherwise.

## How it is known
The scheduler's list of tasks that no worker may run, with what they ask for, compared with what the workers
offer. It speaks after 8 s (`seconds`); on a cluster that scales by itself, or whose workers are started
elsewhere, after 60 s (`starting_seconds`), because workers may still be on their way.

## When it stays quiet
While a worker that fits is there (also when it is paused: then its memory is the trouble); when the workers
went because the kernel was interrupted, `interrupted-workers` speaks.

## Fix safety
Needs review. Options of the cluster take effect when its cell runs again, with a new cluster and without what
the old one held. `allow_other_workers=True` and `resources=None` let tasks run where they were not meant to.

## References
https://distributed.dask.org/en/stable/resources.html
https://distributed.dask.org/en/stable/locality.html
https://github.com/dask/distributed/issues/7170
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ... import words
from ...judging import runs
from ...remedies import calls, creation, fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import BlockedTasks, Cell, Cluster, Load, Location, Scheduling, Worker, WorkerChange
from ..registry import rule

#: What takes `workers=`, `resources=` and `allow_other_workers=`, also as `dask.annotate(...)`.
_SENDERS = frozenset({"submit", "map", "compute", "persist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds that the oldest of the tasks must have waited. Workers of a LocalCluster start in 1 to 3 s.
    seconds: float = 8.0
    #: The same where workers are started on other machines, or come and go by themselves.
    starting_seconds: float = 60.0


def _measure(
    subject: str, at: Location | None, *, scheduling: Scheduling, **_: object
) -> tuple[Measure, ...]:
    n = sum(b.n for b in scheduling.blocked if _subject(b) == subject)
    return (Measure(label="tasks that cannot run", value=n, unit="count"),)


@rule(
    id="unrunnable-tasks",
    title="No worker may run these tasks",
    severity="critical",
    thresholds=Thresholds(),
    about=("scheduling",),
    has_stake=False,
    yields_to={"interrupted-workers": "subject"},
    measure=_measure,
)
def unrunnable_tasks(
    scheduling: Scheduling,
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    changes: tuple[WorkerChange, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    n_workers = max(len(workers), load[-1].n_workers if load else 0)
    allowed = limit.seconds
    if cluster.is_adaptive or not cluster.is_in_process:
        allowed = max(allowed, limit.starting_seconds)
    waiting = [b for b in scheduling.blocked if b.n > 0 and b.seconds >= allowed]
    if load:  # what was sent before the doctor was there has no place: then it is the cell that waits
        now = load[-1].time
        waiting = [replace(b, at=b.at or runs.waiting_at(code, now - b.seconds)) for b in waiting]
    without = [b for b in waiting if not (b.workers or b.hosts or b.resources)]
    # What had to wait before may find itself alone only now: the cause of that comes first
    is_lonely = n_workers == 0 and _lonely(load) >= allowed
    if without and is_lonely:
        yield _no_workers(without, cluster, changes, load, code)
    for one in waiting:
        # Of a large cluster not all workers are shown: then the scheduler's word stands alone
        if one in without or n_workers == 0 or (n_workers == len(workers) and _fits(one, workers)):
            continue
        yield _restricted(one, workers, n_workers, cluster, allowed, code)
    if is_lonely:
        # A restriction is the second question where there is nobody at all
        bound = [b for b in waiting if b not in without]
        if bound and not without:
            yield _no_workers(bound, cluster, changes, load, code)


def _lonely(load: Sequence[Load]) -> float:
    """Seconds for which there has been no worker, as far as the samples go back; without an end if always."""
    if not load:
        return math.inf
    alive = [s.time for s in load if s.n_workers > 0]
    return load[-1].time - alive[-1] if alive else math.inf


def _subject(blocked: BlockedTasks) -> str:
    return blocked.prefix if blocked.workers or blocked.hosts or blocked.resources else "workers"


def _fits(blocked: BlockedTasks, workers: Sequence[Worker]) -> bool:
    """Is there a worker, running or not, that may run it?"""
    return any(
        (not blocked.workers or w.address in blocked.workers or w.name in blocked.workers)
        and (not blocked.hosts or w.host in blocked.hosts)
        and all(dict(w.resources).get(name, 0.0) >= n for name, n in blocked.resources)
        for w in workers
    )


def _no_workers(
    waiting: Sequence[BlockedTasks],
    cluster: Cluster,
    changes: Sequence[WorkerChange],
    load: Sequence[Load],
    code: Sequence[Cell],
) -> Finding:
    oldest = max(waiting, key=lambda b: b.seconds)
    n = sum(b.n for b in waiting)
    had = max([s.n_workers for s in load] + [c.n_workers for c in changes], default=0)
    lost = f"all {had} are gone" if had > 1 else "the only one is gone" if had else "none has come"
    whole = calls.expression(cluster)
    cell = runs.cell_at(code, oldest.at)
    offered: tuple[Fix, ...] = ()
    if whole is not None:
        text = f"{whole}.scale({max(1, had)})"
        title = f"Start {words.count(max(1, had), 'worker')}"
        expect = f"0 → {words.count(max(1, had), 'worker')}; the waiting tasks begin to run"
        made = creation.creation(code, cluster)
        beside = made.cell if made is not None else cell
        if beside is not None:
            offered = (fixes.insert_below(beside, text, title=title, expect=expect, rerun=oldest.at),)
        else:
            offered = (fixes.advice(text, title=title, expect=expect),)
    are = "task waits" if n == 1 else "tasks wait"
    return unrunnable_tasks.finding(
        severity="critical",
        subject="workers",
        message=f"The cluster has no workers: {lost}, and {words.count(n)} {are}, such as those of "
        f"{words.code(oldest.prefix)}.",
        why="Without a worker nothing can run. Dask waits for one for ever, unless "
        "`distributed.scheduler.no-workers-timeout` is set.",
        evidence=(
            Evidence(label="workers", value=0, unit="count"),
            Evidence(label="waiting tasks", value=n, unit="count", limit=0),
            Evidence(label="longest wait", value=oldest.seconds, unit="seconds"),
        ),
        at=oldest.at,
        fixes=offered,
        loss_seconds=oldest.seconds,
    )


def _restricted(
    blocked: BlockedTasks,
    workers: Sequence[Worker],
    n_workers: int,
    cluster: Cluster,
    allowed: float,
    code: Sequence[Cell],
) -> Finding:
    asked, offered = _asked(blocked), _offered(blocked, workers)
    who = "the only worker" if n_workers == 1 else f"none of the {n_workers:,} workers"
    does = "does not offer" if n_workers == 1 else "offers"
    if not blocked.resources:
        who = "the only worker" if n_workers == 1 else f"the {n_workers:,} workers"
        does = "is not one of them" if n_workers == 1 else "are others"
    are = "task of" if blocked.n == 1 else "tasks of"
    wait = "waits" if blocked.n == 1 else "wait"
    tail = f"{who} {does}" if not blocked.resources else f"which {who} {does}"
    return unrunnable_tasks.finding(
        severity="critical",
        subject=blocked.prefix,
        message=f"{words.count(blocked.n)} {are} {words.code(blocked.prefix)} {wait} for {asked}, {tail}.",
        why="Dask waits for such a worker for ever, and whoever waits for the result hangs. "
        f"The workers offer {offered}.",
        evidence=(
            Evidence(label="tasks that cannot run", value=blocked.n, unit="count", limit=0),
            Evidence(label="longest wait", value=blocked.seconds, unit="seconds", limit=allowed),
            Evidence(label="asked for", value=asked.replace("`", ""), unit="text"),
            Evidence(label="offered", value=offered.replace("`", ""), unit="text"),
        ),
        at=blocked.at,
        fixes=_fixes(blocked, workers, cluster, code),
        loss_seconds=blocked.seconds,
    )


def _asked(blocked: BlockedTasks) -> str:
    parts = [f"{_number(n)} of the resource {words.code(name)}" for name, n in blocked.resources]
    if blocked.workers:
        parts.append(_among("worker", blocked.workers))
    if blocked.hosts:
        parts.append(_among("host", blocked.hosts))
    return " and ".join(parts)


def _among(kind: str, names: Sequence[str]) -> str:
    shown = ", ".join(words.code(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the {kind} {shown}" if len(names) == 1 else f"one of the {kind}s {shown}{more}"


def _offered(blocked: BlockedTasks, workers: Sequence[Worker]) -> str:
    if blocked.resources:
        best: dict[str, float] = {}
        for w in workers:
            for name, n in w.resources:
                best[name] = max(best.get(name, 0.0), n)
        said = ", ".join(f"{_number(n)} of {words.code(name)}" for name, n in sorted(best.items())[:5])
        return f"at most {said} each" if said else "no resources"
    if blocked.hosts:
        names = sorted({w.host for w in workers})
        return ", ".join(words.code(name) for name in names[:3]) + (" and others" if len(names) > 3 else "")
    names = [w.address for w in workers]
    return ", ".join(words.code(name) for name in names[:3]) + (" and others" if len(names) > 3 else "")


def _number(n: float) -> str:
    return f"{n:g}"


def _fixes(
    blocked: BlockedTasks, workers: Sequence[Worker], cluster: Cluster, code: Sequence[Cell]
) -> tuple[Fix, ...]:
    found: list[Fix | None] = []
    if blocked.resources:
        found.append(_offer_resources(blocked, workers, cluster, code))
    cell = runs.cell_at(code, blocked.at)
    if cell is not None and blocked.resources:
        sent = calls.with_keyword(cell, "resources", _SENDERS)
        if sent is not None:
            title = f"Let {words.code(blocked.prefix)} run on any worker"
            expect = f"{words.count(blocked.n, 'task')} may run; nothing keeps them to workers that offer it"
            found.append(creation.set_option(sent, "resources", "None", title=title, expect=expect))
    if cell is not None and not blocked.resources:
        sent = calls.with_keyword(cell, "workers", _SENDERS | {"annotate"})
        if sent is not None:
            title = f"Let {words.code(blocked.prefix)} run elsewhere while that worker is not there"
            expect = f"{words.count(blocked.n, 'task')} may run on any worker; the named ones are preferred"
            found.append(creation.set_option(sent, "allow_other_workers", "True", title=title, expect=expect))
    return tuple(fix for fix in found if fix is not None)


def _offer_resources(
    blocked: BlockedTasks, workers: Sequence[Worker], cluster: Cluster, code: Sequence[Cell]
) -> Fix:
    """What the workers offer now and what is asked for, where the cluster is made."""
    offers: dict[str, float] = {}
    for name, n in (*(r for w in workers for r in w.resources), *blocked.resources):
        offers[name] = max(offers.get(name, 0.0), n)
    value = "{" + ", ".join(f"{name!r}: {_number(n)}" for name, n in offers.items()) + "}"
    value = value.replace("'", '"') if '"' not in value else value
    title = "Let the workers offer it, where the cluster is made"
    asked = ", ".join(f"{_number(n)} of {name}" for name, n in blocked.resources)
    expect = (
        f"each worker offers {asked}, so {words.count(blocked.n, 'task')} can run; "
        "only true when they have it: Dask just counts"
    )
    made = creation.creation(code, cluster) if cluster.is_in_process else None
    if made is not None:
        fix = creation.set_option(made, "resources", value, title=title, expect=expect)
        if fix is not None:
            return fix
    if cluster.is_in_process:
        return fixes.advice(f"cluster = LocalCluster(resources={value})", title=title, expect=expect)
    # A name may hold anything; into a command line goes only what means nothing to a shell
    plain = {name: n for name, n in offers.items() if name.replace("-", "_").isidentifier()}
    flag = " ".join(f"{name}={_number(n)}" for name, n in plain.items())
    return fixes.advice(
        f'# where workers are started\ndask worker {cluster.address} --resources "{flag}"',
        title="Start workers that offer it",
        expect=expect,
    )
