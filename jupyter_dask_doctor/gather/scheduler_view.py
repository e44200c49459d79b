"""Read the scheduler's workers and counts into plain data, in bounded time.

Travels to the scheduler by value with `scheduler_plugin`: standard library and distributed only.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from distributed.scheduler import Scheduler, WorkerState

#: Above this many workers only the fullest are sent one by one.
MAX_WORKERS = 200
N_FULLEST = 50
#: Prefixes looked at, and sent.
MAX_PREFIXES = 2_000
N_PREFIXES = 200
#: Longest name that is sent, in characters.
MAX_NAME = 500


def label(keys: Iterable[Any]) -> str | None:
    """A name by which client and scheduler know the same graph: the least of what was asked for."""
    names = {key[0] if isinstance(key, tuple) else key for key in islice(keys, 2_000)}
    return min(map(str, names), default="")[:MAX_NAME] or None


def executing_prefixes(ws: WorkerState) -> list[str]:
    """Prefixes of what a worker runs, as of its last heartbeat, at most 8."""
    return list(dict.fromkeys(ts.prefix.name[:MAX_NAME] for ts in islice(ws.executing, 8)))


def view_worker(ws: WorkerState) -> list[Any]:
    """One worker as a row; `scheduler_plugin`'s reader on the kernel's side knows the order."""
    memory = ws.memory
    return [
        ws.address,
        str(ws.name)[:MAX_NAME],
        ws.nthreads,
        ws.memory_limit,
        ws.status.name,
        memory.process,
        memory.managed,
        memory.spilled,
        memory.unmanaged_old,
        len(ws.processing),
        len(ws.executing),
        float(ws.metrics.get("cpu") or 0.0),
        executing_prefixes(ws),
        ws.last_seen,
    ]


def view_workers(scheduler: Scheduler) -> dict[str, Any]:
    """The workers, with sums over all of them also when there are too many to send."""
    workers = list(scheduler.workers.values())
    process, managed, spilled, limit, busy = [], 0, 0, 0, 0
    is_limited = bool(workers)
    for ws in workers:
        # `ws.memory` is dearer; with 1,000 workers that shows.
        metrics = ws.metrics
        rss = int(metrics.get("memory") or 0)
        on_disk = metrics.get("spilled_bytes") or {}
        disk, swapped = int(on_disk.get("disk") or 0), int(on_disk.get("memory") or 0)
        process.append(rss)
        spilled += disk
        managed += min(rss, max(0, ws.nbytes - swapped))
        limit += ws.memory_limit
        is_limited = is_limited and bool(ws.memory_limit)
        busy += min(len(ws.executing), ws.nthreads)
    if len(workers) > MAX_WORKERS:
        shown = heapq.nlargest(N_FULLEST, workers, key=lambda ws: ws.metrics.get("memory") or 0)
    else:
        shown = workers
    process.sort()
    n = len(process)
    return {
        "n": n,
        "nthreads": scheduler.total_nthreads,
        "memory_limit": limit if is_limited else None,
        "process": sum(process),
        "managed": managed,
        "spilled": spilled,
        "quantiles": [process[0], process[n // 2], process[-1]] if n else [0, 0, 0],
        "busy": busy,
        "shown": [view_worker(ws) for ws in shown],
    }


def view_tasks(scheduler: Scheduler) -> dict[str, Any]:
    """How many tasks are in which state, and the prefixes that cost most, without looking at a task."""
    waiting = processing = memory = erred = 0
    found = []
    for prefix in islice(scheduler.task_prefixes.values(), MAX_PREFIXES):
        states = prefix.states
        waiting += states["waiting"] + states["queued"] + states["no-worker"]
        processing += states["processing"]
        memory += states["memory"]
        erred += states["erred"]
        seconds = prefix.all_durations.get("compute", 0.0)
        found.append((seconds, prefix.name, prefix))
    dearest = heapq.nlargest(N_PREFIXES, found, key=lambda item: item[0])
    return {
        "waiting": waiting,
        "processing": processing,
        "memory": memory,
        "erred": erred,
        "prefixes": [
            [
                name[:MAX_NAME],
                # Forgotten tasks leave `len(prefix)`, each task that finished has been in memory.
                max(len(prefix), prefix.state_counts["memory"]),
                prefix.states["memory"],
                prefix.states["erred"],
                prefix.suspicious,
                max(0, prefix.nbytes_total),
                seconds,
            ]
            for seconds, name, prefix in dearest
        ],
    }
