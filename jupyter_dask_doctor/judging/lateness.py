"""Why one task takes longer than its neighbours: the causes that facts can show, before the symptom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .. import words
from ..report import Evidence
from ..snapshot import Cluster, Load, RunningTask, Scheduling, TaskGroup, Worker

Kind = Literal["input", "memory", "worker", "gil", "loop", "place", "disk", "unexplained"]

#: Seconds between two ticks of a worker's event loop from which it counts as slow; 0.02 when all is well.
_SLOW_LOOP = 1.0
#: Share of time in which the GIL is held from which tasks of one process wait for each other.
_HELD_GIL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler:
    group: TaskGroup
    #: How long it ran or has run; what its neighbours took, and how many those are.
    seconds: float
    typical: float
    n: int
    #: None once it is done: then it is not known any more which one it was.
    task: RunningTask | None = None
    n_alike: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    cluster: Cluster
    groups: tuple[TaskGroup, ...]
    #: Groups by prefix; the longest run of a task by prefix, and how many of it are done.
    alike: dict[str, list[TaskGroup]]
    longest: dict[str, tuple[float, int]]
    workers: tuple[Worker, ...]
    load: tuple[Load, ...]
    scheduling: Scheduling | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a task is late."""

    kind: Kind
    #: The end of a sentence that names the task; empty when nothing explains it.
    ending: str
    #: A sentence.
    why: str
    evidence: tuple[Evidence, ...] = ()


def neighbours(group: TaskGroup, facts: Facts, longest: float, *, is_running: bool) -> tuple[float, int]:
    """(seconds that the others of its group took in the mean or median, how many those are)."""
    if group.spread is not None:
        return group.spread.median, group.spread.n - (not is_running)
    if group.compute_seconds is None:
        return 0.0, 0
    n = group.n_done or (0 if is_running else group.n_tasks)
    if is_running:
        return (group.compute_seconds / n, n) if n else (0.0, 0)
    return max(0.0, group.compute_seconds - longest) / max(1, n - 1), n - 1


def cause(s: Straggler, facts: Facts, *, input_ratio: float, input_nbytes: int) -> Cause:
    """The first one that the facts show. `input_ratio`, `input_nbytes`: from where on an input explains it."""
    task = s.task
    if task is not None:
        usual = _usual_input(task, facts)
        if usual is not None and task.nbytes_in >= max(input_nbytes, input_ratio * usual):
            return Cause(
                kind="input",
                ending=f": its input is {words.nbytes(task.nbytes_in)}, theirs {words.nbytes(usual)}",
                why="It has more to do than the others.",
                evidence=(
                    Evidence(
                        label="its input", value=task.nbytes_in, unit="bytes", limit=input_ratio * usual
                    ),
                ),
            )
        worker = next((w for w in facts.workers if w.address == task.worker), None)
        if worker is not None and (told := _of_worker(task, worker, s, facts)) is not None:
            return told
        if task.is_restricted:
            return Cause(
                kind="place",
                ending=": it may run in one place only",
                why="Tasks with `workers=` or `resources=` wait for what they name.",
            )
    else:
        inputs = [g.sizes for g in facts.groups if g.name in s.group.dependencies]
        sizes = [x for x in (*inputs, s.group.sizes) if x is not None and x.n >= 8]
        uneven = [x for x in sizes if x.largest >= max(input_nbytes, input_ratio * max(1, x.median))]
        if uneven:
            x = max(uneven, key=lambda x: x.largest)
            which = f" ({x.largest_index})" if x.largest_index else ""
            return Cause(
                kind="input",
                ending=f": one partition{which} has {words.nbytes(x.largest)}, the others {words.nbytes(x.median)}",
                why="It had more to do than the others.",
                evidence=(Evidence(label="largest partition", value=x.largest, unit="bytes"),),
            )
        read = s.group.disk_read_seconds or 0.0
        if read >= 0.25 * s.seconds:
            return Cause(
                kind="disk",
                ending=f", and {words.seconds(read)} went into reading back what had been moved to disk",
                why="A worker with too little memory waits for its disk.",
                evidence=(Evidence(label="read back from disk", value=read, unit="seconds"),),
            )
        why = "Neither uneven data nor full memory explains it; where it ran is not known any more."
        return Cause(kind="unexplained", ending="", why=why)
    why = "No larger input, slow worker or full memory explains this one."
    return Cause(kind="unexplained", ending="", why=why)


def _usual_input(task: RunningTask, facts: Facts) -> float | None:
    """Bytes that one of its neighbours takes in; None when that is not known."""
    if facts.scheduling is not None:
        others = sorted(
            r.nbytes_in for r in facts.scheduling.running if r.group == task.group and r.key != task.key
        )
        if len(others) >= 4:
            return float(others[len(others) // 2])
    names = next((g.dependencies for g in facts.groups if g.name == task.group), ())
    known = [g for g in facts.groups if g.name in names]
    group = next((g for g in facts.groups if g.name == task.group), None)
    if group is None or not known or len({g.name for g in known}) < len(names) or group.n_tasks < 1:
        return None
    if any(g.sizes is None for g in known):
        return None
    # As many inputs each as there are of them
    return sum(g.sizes.median * max(1.0, g.n_tasks / group.n_tasks) for g in known if g.sizes is not None)


def _of_worker(task: RunningTask, worker: Worker, s: Straggler, facts: Facts) -> Cause | None:
    name = words.code(worker.name)
    if worker.status == "paused" or worker.spilled > 0.25 * max(1, worker.managed):
        return Cause(
            kind="memory",
            ending=f": worker {name} has no memory left",
            why="It moves data to disk and waits for it to come back.",
            evidence=(Evidence(label="moved to its disk", value=worker.spilled, unit="bytes"),),
        )
    here = [r for r in facts.scheduling.running if r.worker == worker.address] if facts.scheduling else []
    slow = [r for r in here if _is_slow(r, facts)]
    others = [w.event_loop_seconds for w in facts.workers if w is not worker and w.event_loop_seconds]
    loop = worker.event_loop_seconds or 0.0
    is_alone = len(slow) == s.n_alike and len(facts.workers) >= 3
    if len(slow) >= 2 and len(slow) == len(here) and is_alone:
        return Cause(
            kind="worker",
            ending=f": all that runs on worker {name} is slow",
            why="Its machine has less to give than the others, or something else runs there.",
            evidence=(Evidence(label="slow tasks on that worker", value=len(slow), unit="count"),),
        )
    if worker.gil is not None and worker.gil >= _HELD_GIL and len(here) > 1:
        return Cause(
            kind="gil",
            ending=f": the tasks on worker {name} wait for each other's GIL",
            why="Python runs the code of one thread at a time in each process.",
            evidence=(Evidence(label="GIL held", value=worker.gil, unit="share", limit=_HELD_GIL),),
        )
    if loop >= _SLOW_LOOP and (not others or max(others) < 0.5 * loop):
        return Cause(
            kind="loop",
            ending=f": worker {name} answers slowly",
            why="Something holds up its process: its machine is short of time, or code that does not release the GIL.",
            evidence=(Evidence(label="its event loop", value=loop, unit="seconds", limit=_SLOW_LOOP),),
        )
    return None


def _is_slow(task: RunningTask, facts: Facts) -> bool:
    group = next((g for g in facts.groups if g.name == task.group), None)
    if group is None:
        return False
    typical, n = neighbours(group, facts, task.seconds, is_running=True)
    return n >= 4 and task.seconds >= 3 * typical and task.seconds >= 1.0
