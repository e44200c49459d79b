"""Nothing gets finished any more.

## Why it matters
A deadlock, a lock that nobody gives back, a worker that hangs: Dask shows tasks that run, and waits for ever.
No message comes, and the longer one waits the more is lost.

## Anti-pattern
    def outer(x):
        client = get_client()
        return client.submit(inner, x).result()   # keeps its thread while it waits for one

    client.gather(client.map(outer, range(8)))    # as soon as all threads do so, none is left for `inner`

## Best practice
    def outer(x):
        with worker_client() as client:           # gives its thread away while it waits
            return client.submit(inner, x).result()

Better still: send `inner` and `outer` as two steps of one graph.

## How it is known
Tasks are in the hands of workers and none has come to an end for long. How long is long depends on what they do:

- every running task waits for another one, or for a lock (their call stacks, fetched once after 10 s, say so)
  and the workers' CPU is idle: `waiting_seconds`;
- all workers that have tasks are paused for memory: `waiting_seconds`;
- the workers that have tasks were not heard of: `silent_seconds`;
- tasks were handed out and no thread runs one: `handed_seconds`;
- the CPU is idle and nobody knows why: `ratio` times the longest run of these tasks so far, at least
  `idle_seconds`; where too few have ended to tell, `unknown_seconds`;
- the CPU is busy: `busy_seconds`, for a long task is no fault.

## When it stays quiet
While anything comes to an end; for long tasks that compute, or have given their thread away; for the first
long task of a kind, such as one download; when no worker may run the tasks at all (`unrunnable-tasks`).

## Fix safety
The cell that shows call stacks is safe. The cells that run a part of the work in the kernel need review: what
hangs on a worker may hang there too. Code with `worker_client` is shown, not inserted.

## References
https://distributed.dask.org/en/stable/task-launch.html
https://github.com/dask/distributed/issues/5879
https://github.com/dask/distributed/issues/6825
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ... import words
from ...judging import runs
from ...remedies import fixes, reproduce
from ...report import Detail, Evidence, Finding, Fix, Measure
from ...snapshot import (
    CallStack,
    Cell,
    Cluster,
    Collection,
    Computation,
    Load,
    Location,
    Scheduling,
    TaskPrefix,
    Worker,
)
from ..registry import rule

Cause = Literal["nested", "lock", "paused", "silent", "handed", "idle", "busy"]

_FRAMES_OF_A_FUTURE = re.compile(r"distributed/client\.py\W.* in (?:result|gather|_?sync|get|compute)\b")
_FRAMES_OF_A_LOCK = re.compile(
    r"distributed/(?:lock|multi_lock|semaphore|queues|variable|event)\.py\W"
    r"|/threading\.py\W.* in (?:wait|acquire|join)\b"
)
_LINE_OF_A_LOCK = re.compile(r"\.(?:acquire|wait|join)\(|\bwith\b.*lock", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds without an end when every running task waits, or every worker is paused. Twice the time after
    #: which the call stacks are fetched.
    waiting_seconds: float = 20.0
    #: Seconds without a word of the workers that have the tasks. They speak every 0.5 to 6 s; native code that
    #: holds the GIL silences them as well. The scheduler gives a worker up after 300 s (`worker-ttl`).
    silent_seconds: float = 60.0
    #: Seconds in which no thread runs a task although workers have some: they may fetch large inputs.
    handed_seconds: float = 120.0
    #: Times the longest run of these tasks that ended well, when the CPU is idle.
    ratio: float = 20.0
    #: ... and at least so many seconds.
    idle_seconds: float = 60.0
    #: Tasks of the kind that must have ended before their longest run says anything.
    samples: int = 5
    #: Seconds for tasks of which nothing is known and that use no CPU: a download, a query of a data base.
    unknown_seconds: float = 600.0
    #: Seconds for tasks that use the CPU: upstream's design for stopping idle clusters has 1 h
    #: (dask/distributed#6825).
    busy_seconds: float = 3600.0
    #: Percent of a core that a worker's process uses when it does something. An idle one was seen at 2 to 8.
    busy_cpu: float = 20.0


def _measure(
    subject: str,
    at: Location | None,
    *,
    scheduling: Scheduling,
    load: tuple[Load, ...],
    computations: tuple[Computation, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    stalled = _stalled(scheduling, computations, load)
    return (Measure(label="since the last task ended", value=stalled, unit="seconds"),)


@rule(
    id="stalled-computation",
    title="Nothing gets finished any more",
    severity="critical",
    thresholds=Thresholds(),
    about=("workers",),
    has_stake=False,
    yields_to={"worker-memory-pressure": "cell"},
    measure=_measure,
)
def stalled_computation(
    scheduling: Scheduling,
    workers: tuple[Worker, ...],
    prefixes: tuple[TaskPrefix, ...],
    load: tuple[Load, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    if not load or load[-1].tasks_processing <= 0:
        return
    stalled = _stalled(scheduling, computations, load)
    cause, allowed = _cause(scheduling, workers, prefixes, load[-1], limit)
    if stalled < max(1.0, allowed):
        return
    kinds = Counter(t.prefix for t in scheduling.running)
    undone = [c for c in computations if not c.is_done]
    prefix = kinds.most_common(1)[0][0] if kinds else None
    if prefix is None and undone and undone[-1].layers:
        prefix = undone[-1].layers[0][0]
    places = [t.at for t in scheduling.running if t.prefix == prefix] + [c.at for c in reversed(undone)]
    at = next((place for place in places if place is not None), None)
    if (
        at is None
    ):  # what was sent before the doctor was there is known to come from this notebook's kernel only
        at = runs.waiting_at(code, load[-1].time - stalled)
    n_waiting = load[-1].tasks_waiting + max(0, load[-1].tasks_processing - scheduling.n_running)
    yield stalled_computation.finding(
        severity="critical",
        subject=prefix or "workers",
        message=_message(cause, prefix, stalled, scheduling, workers),
        why=_why(cause, prefix, stalled, prefixes),
        evidence=(
            Evidence(
                label="since the last task ended", value=stalled, unit="seconds", limit=max(1.0, allowed)
            ),
            Evidence(label="tasks running", value=scheduling.n_running, unit="count"),
            Evidence(label="tasks waiting", value=n_waiting, unit="count"),
            Evidence(label="CPU of the busiest worker", value=_cpu(workers) / 100, unit="share"),
        ),
        details=_details(scheduling.stacks or ()),
        at=at,
        fixes=_fixes(cause, prefix, at, cluster, collections, code),
        loss_seconds=stalled,
    )


def _stalled(scheduling: Scheduling, computations: Sequence[Computation], load: Sequence[Load]) -> float:
    """Seconds in which there was work in hand and none of it came to an end."""
    if not load:
        return 0.0
    now = load[-1].time
    # Not longer than there has been something to do
    oldest = max((t.seconds for t in scheduling.running), default=0.0)
    if not scheduling.running:
        oldest = max((now - c.submitted for c in computations if not c.is_done), default=0.0)
    since = now - scheduling.last_finished if scheduling.last_finished is not None else oldest
    return max(0.0, min(since, oldest))


def _cause(
    scheduling: Scheduling,
    workers: Sequence[Worker],
    prefixes: Sequence[TaskPrefix],
    load: Load,
    limit: Thresholds,
) -> tuple[Cause, float]:
    """What keeps the tasks from ending, and how long that must have lasted."""
    holders = [w for w in workers if w.n_processing > 0 or w.n_executing > 0]
    if scheduling.n_running == 0 and holders and all(w.status == "paused" for w in holders):
        return "paused", limit.waiting_seconds
    heard = [w.last_seen for w in holders if w.last_seen is not None]
    if heard and len(heard) == len(holders) and load.time - max(heard) >= limit.silent_seconds:
        return "silent", limit.silent_seconds
    if _cpu(workers) >= limit.busy_cpu or any(w.n_long_running > 0 for w in holders):
        # Tasks that have given their thread away are not among those that run, but may do all the work
        return "busy", limit.busy_seconds
    if scheduling.n_running == 0:
        return "handed", limit.handed_seconds
    waits = _waits(scheduling)
    if waits == "nested" and load.tasks_processing + load.tasks_waiting > scheduling.n_running:
        return "nested", limit.waiting_seconds
    if waits is not None:
        return "lock", limit.waiting_seconds
    known = {p.name: p for p in prefixes}
    longest = 0.0
    for name in {t.prefix for t in scheduling.running}:
        prefix = known.get(name)
        if prefix is None or prefix.n_done < limit.samples or prefix.max_seconds is None:
            return "idle", limit.unknown_seconds
        longest = max(longest, prefix.max_seconds)
    return "idle", max(limit.idle_seconds, limit.ratio * longest)


def _cpu(workers: Sequence[Worker]) -> float:
    """Percent of a core that the busiest worker with running tasks used of late."""
    found = []
    for w in workers:
        if w.n_executing > 0 or w.n_processing > 0:
            late = [s.cpu for s in w.samples[-10:] if s.cpu is not None] or [w.cpu]
            found.append(sum(late) / len(late))
    return max(found, default=0.0)


def _waits(scheduling: Scheduling) -> Literal["nested", "lock"] | None:
    """What all running tasks wait for, as far as their call stacks tell; None when one of them does not wait."""
    stacks = scheduling.stacks or ()
    shown = {t.key for t in scheduling.running}
    kinds = [_kind(s) for s in stacks if s.key in shown]
    # Of at most 8 tasks the stacks are fetched, and one that did not come tells nothing
    if not kinds or None in kinds or len(kinds) < min(scheduling.n_running, 8) / 2:
        return None
    return "nested" if "nested" in kinds else "lock"


def _kind(stack: CallStack) -> Literal["nested", "lock"] | None:
    frames = [frame.replace("\\", "/") for frame in stack.frames]
    if any(_FRAMES_OF_A_LOCK.search(f) and "/threading.py" not in f for f in frames):
        return "lock"
    if any(_FRAMES_OF_A_FUTURE.search(frame) for frame in frames):
        return "nested"
    if frames and (_FRAMES_OF_A_LOCK.search(frames[-1]) or _LINE_OF_A_LOCK.search(frames[-1])):
        return "lock"
    return None


def _message(
    cause: Cause,
    prefix: str | None,
    stalled: float,
    scheduling: Scheduling,
    workers: Sequence[Worker],
) -> str:
    span, name, n = words.seconds(stalled), words.code(prefix or "tasks"), scheduling.n_running
    which = (
        f"the task of {name} that runs"
        if n == 1
        else "both running tasks"
        if n == 2
        else f"all {n:,} running tasks"
    )
    if n > 1 and len({t.prefix for t in scheduling.running}) == 1:
        which += f", {name},"
    waits = "waits" if n == 1 else "wait"
    if cause == "nested":
        return (
            f"Nothing has finished for {span}: {which} {waits} for other tasks, for which no thread is left."
        )
    if cause == "lock":
        return f"Nothing has finished for {span}: {which} {waits} for a lock or an event, and nobody works."
    if cause == "paused":
        return f"Nothing has finished for {span}: the workers that have the tasks are paused for memory."
    if cause == "silent":
        holders = sum(w.n_processing > 0 or w.n_executing > 0 for w in workers)
        who = "the worker that has" if holders == 1 else f"the {holders:,} workers that have"
        verb = "was" if holders == 1 else "were"
        return f"Nothing has finished for {span}: {who} the tasks {verb} not heard of."
    if cause == "handed":
        return f"Nothing has finished for {span}: workers have tasks of {name}, and no thread runs one."
    use = "run and use no CPU" if cause == "idle" else "run and use the CPU"
    return f"Nothing has finished for {span}: {words.count(n, 'task')} such as {name} {use}."


def _why(cause: Cause, prefix: str | None, stalled: float, prefixes: Sequence[TaskPrefix]) -> str:
    known = next((p for p in prefixes if p.name == prefix), None)
    told = ""
    if known is not None and known.n_done and known.max_seconds:
        told = f" Before, the longest took {words.seconds(known.max_seconds)}."
    if cause == "nested":
        return (
            "A task that waits with `.result()` or `gather` keeps its thread. When all threads do so, what they "
            "wait for can never start." + told
        )
    if cause == "lock":
        return (
            "What all of them wait for is held by something that does not run. This does not end by itself."
        )
    if cause == "paused":
        return "A paused worker starts no task before its memory has fallen, and what it holds may stay."
    if cause == "silent":
        return "Its process hangs or is gone, or a task holds the GIL in native code all the time."
    if cause == "handed":
        return "Either their inputs do not arrive, or the workers have lost count."
    if cause == "idle":
        return f"They wait for something: a lock, a server, a file system.{told}"
    return f"That may be work, or a loop without an end.{told}"


def _details(stacks: Sequence[CallStack]) -> tuple[Detail, ...]:
    found: dict[tuple[str, ...], Detail] = {}
    for stack in stacks:
        if stack.frames and stack.frames not in found:
            title = f"Where {words.code(stack.key)} stands, on {stack.worker}"
            found[stack.frames] = Detail(title=title[:200], text="\n".join(stack.frames)[-4_000:])
    return tuple(found.values())[:4]


def _fixes(
    cause: Cause,
    prefix: str | None,
    at: Location | None,
    cluster: Cluster,
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> tuple[Fix, ...]:
    found: list[Fix] = []
    if cause == "nested" and prefix is not None:
        name = prefix if fixes.is_name(prefix) else "task"
        found.append(
            fixes.advice(
                "from distributed import worker_client\n\n\n"
                f"def {name}(x):\n"
                "    with worker_client() as client:  # gives its thread away while it waits\n"
                "        return client.submit(inner, x).result()",
                title="Give the thread away while the task waits",
                expect="the tasks that are waited for find a thread",
            )
        )
    found += reproduce.call_stacks(at, cluster, code)
    if cause in ("lock", "idle", "busy", "handed"):
        found += reproduce.here(at, prefix or "", code, collections)
    return tuple(found)
