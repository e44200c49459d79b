"""The marks at which workers spill, pause and restart are out of order, switched off, or too close together.

## Why it matters
A worker should first move data to disk (target 0.6, spill 0.7 of its limit), then take no new tasks (pause
0.8), and only as a last resort be restarted (terminate 0.95). Where it pauses before it spills, nothing
brings its memory down again: it stays paused and the computation hangs for ever. Where it is restarted
before it pauses, it loses its results without warning.

## Anti-pattern
    dask.config.set({"distributed.worker.memory.target": 0.9,   # pauses at 0.8, before it spills
                     "distributed.worker.memory.spill": 0.9})
    dask.config.set({"distributed.worker.memory.target": 60})   # meant is 0.60

## Best practice
    dask.config.set({
        "distributed.worker.memory.target": 0.6,
        "distributed.worker.memory.spill": 0.7,
        "distributed.worker.memory.pause": 0.8,
        "distributed.worker.memory.terminate": 0.95,
    })                                                          # before the cluster is made

## How it is known
The marks that are in force in the worker's own process and its nanny's, asked once: the notebook's
`dask.config` may differ. Out of order (target not below pause, pause or spill not below terminate) or beyond
reach (a percentage such as 60) is a warning, and critical when a worker has been paused for 10 s by such an
order. Switched off, less than 0.05 apart, or only spill not below pause, is worth knowing, until a worker has
come to 0.8 of its limit: then it is a warning as well. Measured, with 840 MiB for workers of 800 MiB together:
target and spill at 0.9 left both paused for ever at 0.83, with nothing written; with spill alone at 0.9 the
work came to its end.

## When it stays quiet
Dask's defaults; `target` switched off alone or equal to `spill`; other values in a sound order; workers
without a limit, to which no mark applies (`no-memory-limit` tells of these); `terminate` without a nanny,
where it has no effect.

## Fix safety
Needs review: the values on offer are Dask's own, and the cluster is made anew.

## References
https://distributed.dask.org/en/stable/worker-memory.html#thresholds-configuration
https://jobqueue.dask.org/en/latest/clusters-configuration-setup.html#no-local-storage
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ... import words
from ...remedies import settings_code
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Cluster, Computation, Location, Worker, WorkerEnvironment
from ..registry import rule

Mark = Literal["target", "spill", "pause", "terminate"]

_KEY = "distributed.worker.memory."
#: Dask's own, as in distributed.yaml.
_DEFAULTS: dict[Mark, float] = {"target": 0.6, "spill": 0.7, "pause": 0.8, "terminate": 0.95}
#: Sums of decimal fractions are not exact.
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Two marks that are closer than this leave no time between them (Dask's own are 0.1 and more apart).
    gap: float = 0.05
    #: Share of its limit that a worker must have come to before marks that are off or close are a warning.
    peak_share: float = 0.8
    #: Seconds for which a worker must have been paused, and be it still, before it is critical.
    paused_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What is wrong with the marks: of which one, in words, and which of them should change."""

    mark: Mark
    is_broken: bool
    told: str
    why: str
    #: Workers can pause and never come down again.
    can_hang: bool = False
    change: tuple[Mark, ...] = ()


def _measure(
    subject: str,
    at: Location | None,
    *,
    environments: tuple[WorkerEnvironment, ...],
    workers: tuple[Worker, ...],
    limit: Thresholds | None = None,
    **_: object,
) -> tuple[Measure, ...]:
    thresholds = limit or Thresholds()
    n = sum(_fault(e, thresholds) is not None for e in _limited(environments, workers))
    return (Measure(label="workers with such marks", value=n, unit="count"),)


@rule(
    id="memory-thresholds",
    title="Memory marks of the workers do not protect them",
    severity="critical",
    thresholds=Thresholds(),
    about=("environments",),
    measure=_measure,
)
def memory_thresholds(
    environments: tuple[WorkerEnvironment, ...],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    faults: dict[tuple[bool, Mark], tuple[_Fault, list[WorkerEnvironment]]] = {}
    for e in _limited(environments, workers):
        fault = _fault(e, limit)
        if fault is not None:
            faults.setdefault((fault.is_broken, fault.mark), (fault, []))[1].append(e)
    for fault, having in faults.values():
        yield _finding(fault, having, workers, cluster, limit, computations, code)


def _limited(environments: Sequence[WorkerEnvironment], workers: Sequence[Worker]) -> list[WorkerEnvironment]:
    """Only workers that are there and have a limit: the marks are shares of it."""
    limits = {w.address: w.memory_limit for w in workers}
    return [e for e in environments if limits.get(e.address)]


def _marks(e: WorkerEnvironment) -> dict[Mark, float | None]:
    return {
        "target": e.memory_target,
        "spill": e.memory_spill,
        "pause": e.memory_pause,
        "terminate": e.memory_terminate if e.has_nanny else None,
    }


def _fault(e: WorkerEnvironment, limit: Thresholds) -> _Fault | None:
    """The worst that is wrong with a worker's marks."""
    marks = _marks(e)
    if any(value is not None and not 0 < value < 1_000_000 for value in marks.values()):
        return None  # no such mark exists: what we were told is wrong
    return _beyond(marks) or _disordered(marks) or _off(marks, e.has_nanny) or _close(marks, limit.gap)


def _beyond(marks: dict[Mark, float | None]) -> _Fault | None:
    for mark, value in marks.items():
        if value is not None and value >= 2:
            return _Fault(
                mark=mark,
                is_broken=True,
                told=f"{words.code(mark)} is {value:g}: shares of the limit are wanted, so it is never reached"
                + (f" (meant is {value / 100:g}?)" if value <= 100 else ""),
                why="The marks are shares of a worker's memory limit, between 0 and 1. "
                "One that is never reached is as good as switched off.",
                change=(mark,),
            )
    return None


def _disordered(marks: dict[Mark, float | None]) -> _Fault | None:
    target, spill, pause, terminate = (marks[m] for m in ("target", "spill", "pause", "terminate"))
    spills_late = spill is not None and pause is not None and spill >= pause - _EPSILON
    targets_late = target is not None and pause is not None and target >= pause - _EPSILON
    if spills_late and (targets_late or target is None):
        return _Fault(
            mark="pause",
            is_broken=True,
            can_hang=True,
            told=f"they pause at {words.share(pause or 0)} of their memory, before they begin to spill "
            f"at {words.share(spill or 0)}",
            why="A paused worker takes no tasks until its memory falls, and nothing brings it down: what it "
            "holds would go to disk only at a mark that it never reaches. The computation waits for ever.",
            change=_moved(marks, "target", "spill", "pause"),
        )
    if targets_late:
        return _Fault(
            mark="target",
            is_broken=True,
            can_hang=True,
            told=f"they spill down to {words.share(target or 0)} of their memory and pause "
            f"at {words.share(pause or 0)} already",
            why="A paused worker takes no tasks until its memory falls below the pause mark, and what it holds "
            "goes to disk only above the target mark. The computation waits for ever.",
            change=_moved(marks, "target", "spill", "pause"),
        )
    before: tuple[Mark, ...] = ("pause", "spill", "target")
    for mark in before:
        value = marks[mark]
        if value is not None and terminate is not None and value >= terminate - _EPSILON:
            does = "pause" if mark == "pause" else "spill"
            return _Fault(
                mark="terminate",
                is_broken=True,
                told=f"they are restarted at {words.share(terminate)} of their memory, before they {does} "
                f"at {words.share(value)}",
                why="A worker that is restarted loses all results that it holds, and its tasks begin again. "
                "Spilling and pausing are there so that it does not come to that.",
                change=_moved(marks, mark, "terminate"),
            )
    return None


def _off(marks: dict[Mark, float | None], has_nanny: bool) -> _Fault | None:
    never_spills = marks["target"] is None and marks["spill"] is None
    never_pauses = marks["pause"] is None or marks["pause"] > 1
    never_ends = has_nanny and (marks["terminate"] is None or marks["terminate"] > 1)
    if not (never_spills or never_pauses or never_ends):
        return None
    off: list[Mark] = []
    told = []
    if never_spills:
        off += ["target", "spill"]
        told.append("move data to disk")
    if never_pauses:
        off.append("pause")
        told.append("pause")
    if never_ends:
        off.append("terminate")
    said = f"they never {' or '.join(told)}" if told else ""
    if never_ends:
        said += f"{' and ' if said else 'they '}are never restarted, however full they are"
    return _Fault(
        mark=off[0] if off[0] != "target" else "spill",
        is_broken=False,
        told=said if never_ends else f"{said}, however full they are",
        why="Some clusters want it so, as where workers have no disk of their own. Then nothing but the size of "
        "the data keeps a worker from running out of memory.",
        change=tuple(off),
    )


def _close(marks: dict[Mark, float | None], gap: float) -> _Fault | None:
    spill, pause = marks["spill"], marks["pause"]
    if spill is not None and pause is not None and spill >= pause - _EPSILON:
        return _Fault(
            mark="pause",
            is_broken=False,
            can_hang=True,
            told=f"they pause at {words.share(pause)} of their memory, before they spill for anything but results "
            f"at {words.share(spill)}",
            why=f"Results go to disk from {words.share(marks['target'] or 0)} on. Where tasks leave much other "
            "memory behind, a worker pauses all the same, and nothing brings it down.",
            change=_moved(marks, "spill", "pause"),
        )
    order: tuple[tuple[Mark, Mark], ...] = (("pause", "terminate"), ("spill", "pause"), ("target", "pause"))
    for first, second in order:
        low, high = marks[first], marks[second]
        if low is not None and high is not None and high - low < gap - _EPSILON:
            verbs: dict[Mark, str] = {
                "target": "spill",
                "spill": "spill",
                "pause": "pause",
                "terminate": "are restarted",
            }
            return _Fault(
                mark=second,
                is_broken=False,
                told=f"they {verbs[first]} at {words.share(low)} of their memory and {verbs[second]} at "
                f"{words.share(high)}",
                why="Memory is looked at ten times a second and can grow past both marks in between. "
                "Dask's own marks are 10 % and more apart.",
                change=_moved(marks, first, second),
            )
    return None


def _moved(marks: dict[Mark, float | None], *involved: Mark) -> tuple[Mark, ...]:
    """Of those that are involved the ones that are not as Dask has them."""
    return tuple(m for m in involved if marks[m] is None or abs((marks[m] or 0) - _DEFAULTS[m]) > _EPSILON)


def _finding(
    fault: _Fault,
    having: Sequence[WorkerEnvironment],
    workers: Sequence[Worker],
    cluster: Cluster,
    limit: Thresholds,
    computations: Sequence[Computation],
    code: Sequence[Cell],
) -> Finding:
    addresses = {e.address for e in having}
    concerned = [w for w in workers if w.address in addresses and w.memory_limit]
    shares = [max(w.process, *(s.process for s in w.samples), 0) / (w.memory_limit or 1) for w in concerned]
    peak = max(shares, default=0.0)
    # A computation remembers for longer than a worker's samples do
    smallest = min((w.memory_limit or 1 for w in concerned), default=1)
    peak = max([peak, *(c.peak_worker_memory / smallest for c in computations if c.peak_worker_memory)])
    stuck = max((_paused_for(w) for w in concerned), default=0.0)
    severity: Severity = "warning" if fault.is_broken or peak >= limit.peak_share else "info"
    if fault.can_hang and stuck >= limit.paused_seconds:
        severity = "critical"
    marks = _marks(having[0])
    evidence = [
        Evidence(
            label=f"{mark} mark" if value is not None else f"{mark} mark (Dask: {_DEFAULTS[mark]:g})",
            value="off" if value is None else value,
            unit="text" if value is None else "share" if value < 2 else "ratio",
            limit=_DEFAULTS[mark] if value is not None and mark in fault.change else None,
        )
        for mark, value in marks.items()
        if mark != "terminate" or having[0].has_nanny
    ]
    evidence.append(Evidence(label="fullest worker", value=peak, unit="share", limit=limit.peak_share))
    if stuck:
        evidence.append(
            Evidence(label="paused without an end", value=stuck, unit="seconds", limit=limit.paused_seconds)
        )
    paused = f"; one has been paused for {words.seconds(stuck)}" if severity == "critical" else ""
    fix, at = _fix(fault, cluster, code)
    return memory_thresholds.finding(
        severity=severity,
        subject=fault.mark,
        message=f"Memory marks of the workers: {fault.told}{paused}.",
        why=fault.why,
        evidence=tuple(evidence),
        at=at,
        fixes=(fix,),
    )


def _paused_for(worker: Worker) -> float:
    """Seconds since it was paused, when it is now."""
    if worker.status != "paused" or not worker.samples:
        return 0.0
    since = worker.samples[-1].time
    for sample in reversed(worker.samples):
        if not sample.is_paused:
            break
        since = sample.time
    return max(0.0, worker.samples[-1].time - since)


def _fix(fault: _Fault, cluster: Cluster, code: Sequence[Cell]) -> tuple[Fix, Location | None]:
    values = {mark: _DEFAULTS[mark] for mark in fault.change or tuple(_DEFAULTS)}
    one = words.code(next(iter(values)))
    told = ", ".join(f"{mark} {value:g}" for mark, value in values.items())
    return settings_code.set_before(
        {f"{_KEY}{mark}": f"{value:g}" for mark, value in values.items()},
        code=code,
        cluster=cluster,
        title="Set the marks as Dask has them" if len(values) > 1 else f"Set {one} as Dask has it",
        expect=f"{told}. Holds for a cluster that is made anew: run the cells below again",
    )
