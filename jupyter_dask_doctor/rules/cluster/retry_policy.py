"""Settings hide faults, or make much of little ones.

## Why it matters
Dask forgives a task whose worker died three times, waits 30 s for a connection, and repeats nothing by itself
when a connection breaks. With other values a single lost worker ends a computation, a worker that is busy for
two seconds is taken for dead, or a task that kills every worker it meets goes on killing.

## Anti-pattern
    dask.config.set({"distributed.scheduler.allowed-failures": 100})   # "it kept failing"
    dask.config.set({"distributed.comm.timeouts.connect": "1s"})

## Best practice
The defaults, and the cause of the fault mended: smaller partitions for workers that run out of memory. On busy
or slow networks longer timeouts, not shorter ones.

## How it is known
The scheduler's own settings. A warning for what does harm by itself: timeouts of connections under 3 s, the
pause of an event loop that Dask itself finds worth a warning only then. A warning as well for what did harm
here: many failures allowed while workers were lost, none allowed while a task was given up, a short time to
live while workers vanished. The same settings without any harm are only worth knowing.

## When it stays quiet
Defaults, and anything near them; how often a single call may be repeated (`retries=`), which is a choice of the
call.

## Fix safety
Needs review: they are settings for the whole cluster, and it has to be made anew.

## References
https://docs.dask.org/en/stable/configuration.html
https://distributed.dask.org/en/stable/resilience.html
https://distributed.dask.org/en/stable/killed.html
https://github.com/dask/distributed/blob/main/distributed/distributed.yaml
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs
from ...remedies import creation, fixes, settings_code, statements
from ...report import Evidence, Finding, Fix, Unit
from ...snapshot import Cell, Cluster, Location, Policy, TaskFailure, WorkerLoss
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Deaths of workers that a task may cause; more than this hide that it is the task's fault. Dask: 3.
    allowed_failures: int = 10
    #: Seconds; a shorter timeout of a connection takes a busy process for a dead one. Dask: 30; its own limit for
    #: the pause of an event loop is 3 (`distributed.admin.tick.limit`).
    timeout: float = 3.0
    #: Seconds; with a shorter time to live a worker that holds the GIL is restarted. Dask: 300.
    worker_ttl: float = 30.0
    #: Seconds; with a shorter one tasks fail while workers are still starting. Dask: never.
    no_workers: float = 30.0
    #: Repetitions of what goes over a connection, each up to 20 s later; more hide that it is broken. Dask: 0.
    comm_retries: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    key: str
    value: float
    unit: Unit
    limit: float
    #: Dask's default, as Python source.
    default: str
    #: Completes "`key` is X: ...".
    effect: str
    why: str
    is_harmful: bool


@rule(
    id="retry-policy",
    title="Settings hide faults or make much of little ones",
    severity="warning",
    thresholds=Thresholds(),
    about=("policy",),
    has_stake=False,
)
def retry_policy(
    policy: Policy,
    cluster: Cluster,
    limit: Thresholds,
    losses: tuple[WorkerLoss, ...] = (),
    failures: tuple[TaskFailure, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    lost = [x for x in losses if not runs.is_stale(x.at, x.time, code)]
    given_up = [
        f for f in failures if f.exception == "KilledWorker" and not runs.is_stale(f.at, f.time, code)
    ]
    for setting in _settings(policy, limit, lost, given_up):
        yield _finding(setting, cluster, code, lost, given_up)


def _settings(
    policy: Policy, limit: Thresholds, lost: Sequence[WorkerLoss], given_up: Sequence[TaskFailure]
) -> Iterator[_Setting]:
    allowed = policy.allowed_failures
    if allowed > limit.allowed_failures:
        yield _Setting(
            key="distributed.scheduler.allowed-failures",
            value=allowed,
            unit="count",
            limit=limit.allowed_failures,
            default="3",
            effect=f"a task may kill {words.count(allowed, 'worker')} before it is given up",
            why="What kills workers, mostly memory, goes on for long before it is told.",
            is_harmful=bool(lost),
        )
    elif allowed <= 0:
        yield _Setting(
            key="distributed.scheduler.allowed-failures",
            value=allowed,
            unit="count",
            limit=1,
            default="3",
            effect="the first worker that is lost ends the computation that it worked on",
            why="Workers are lost without any fault of the task too: the machine is taken away, the network fails.",
            is_harmful=bool(given_up),
        )
    timeouts = (("connect", policy.connect_timeout), ("tcp", policy.tcp_timeout))
    for name, seconds in timeouts:
        if seconds is not None and 0 < seconds < limit.timeout:
            yield _Setting(
                key=f"distributed.comm.timeouts.{name}",
                value=seconds,
                unit="seconds",
                limit=limit.timeout,
                default='"30s"',
                effect="a process that is busy for longer is taken for dead",
                why="Starting, unpickling and tasks that hold the GIL keep a process from answering for seconds.",
                is_harmful=True,
            )
    if policy.worker_ttl is not None and 0 < policy.worker_ttl < limit.worker_ttl:
        yield _Setting(
            key="distributed.scheduler.worker-ttl",
            value=policy.worker_ttl,
            unit="seconds",
            limit=limit.worker_ttl,
            default='"5 minutes"',
            effect="a worker that says nothing for longer is restarted",
            why="A task that holds the GIL keeps its worker from telling that it lives.",
            is_harmful=any(x.reason == "unexpected" for x in lost),
        )
    if policy.no_workers_timeout is not None and 0 < policy.no_workers_timeout < limit.no_workers:
        yield _Setting(
            key="distributed.scheduler.no-workers-timeout",
            value=policy.no_workers_timeout,
            unit="seconds",
            limit=limit.no_workers,
            default="None",
            effect="tasks fail when no worker is there for longer",
            why="Workers take that long to start or to come back.",
            is_harmful=False,
        )
    if policy.comm_retries is not None and policy.comm_retries > limit.comm_retries:
        yield _Setting(
            key="distributed.comm.retry.count",
            value=policy.comm_retries,
            unit="count",
            limit=limit.comm_retries,
            default="0",
            effect="a broken connection is tried again for minutes before it is told",
            why="Each attempt waits for up to 20 s after the one before.",
            is_harmful=False,
        )


def _finding(
    setting: _Setting,
    cluster: Cluster,
    code: tuple[Cell, ...],
    lost: Sequence[WorkerLoss],
    given_up: Sequence[TaskFailure],
) -> Finding:
    found = settings_code.setting(code, setting.key)
    made = creation.creation(code, cluster) if cluster.is_in_process else None
    at = None
    if found is not None:
        cell, node = found
        at = Location(cell_id=cell.id, execution_count=cell.execution_count, line=node.lineno)
    elif made is not None:
        at = Location(cell_id=made.cell.id, execution_count=made.cell.execution_count, line=made.call.lineno)
    said = words.value(setting.value, setting.unit)
    evidence = [
        Evidence(label=setting.key, value=float(setting.value), unit=setting.unit, limit=setting.limit)
    ]
    if lost:
        evidence.append(Evidence(label="workers lost", value=len(lost), unit="count"))
    if given_up:
        evidence.append(Evidence(label="tasks given up", value=len(given_up), unit="count"))
    return retry_policy.finding(
        severity="warning" if setting.is_harmful else "info",
        subject=setting.key,
        message=f"{words.code(setting.key)} is {said}: {setting.effect}.",
        why=f"{setting.why} Dask's default is {setting.default.strip(chr(34))}.",
        evidence=tuple(evidence),
        at=at,
        fixes=(_fix(setting, found, made),),
    )


def _fix(setting: _Setting, found: tuple[Cell, ast.Constant] | None, made: creation.Creation | None) -> Fix:
    title = f"Back to Dask's default of {words.code(setting.key)}"
    expect = f"{setting.default.strip(chr(34))}; the cluster has to be made anew, and what it holds is lost"
    block = settings_code.block({setting.key: setting.default})
    fix: Fix | None = None
    if found is not None:
        cell, node = found
        fix = fixes.replace(cell, source.span(cell.source, node), setting.default, title=title, expect=expect)
    elif made is not None and not any(k.arg in (None, "scheduler_kwargs") for k in made.call.keywords):
        fix = statements.ahead_of(made, block, title=title, expect=expect)
    return fix or fixes.advice(
        f"# before the cluster is made, in the process of its scheduler\n{block}", title=title, expect=expect
    )
