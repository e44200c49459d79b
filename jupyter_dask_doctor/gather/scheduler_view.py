"""Read the scheduler's workers and counts into plain data, in bounded time.

Travels to the scheduler by value with `scheduler_plugin`: standard library and distributed only.
"""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from distributed.scheduler import Scheduler, WorkerState

    from .scheduler_metrics import Metrics
    from .scheduler_running import Running

#: Of a worker's heartbeat, each a number or None.
METRICS = (
    "gil",
    "event_loop_seconds",
    "bandwidth",
    "host_disk_read",
    "host_disk_write",
    "gpu_memory_used",
    "gpu_memory",
)
#: Above this many workers only some are sent one by one: the fullest, those with most to do, and a sample
#: of the others, evenly spaced.
MAX_WORKERS = 200
N_FULLEST = 50
N_LOADED = 25
N_SAMPLE = 25
#: Prefixes looked at, and sent.
MAX_PREFIXES = 2_000
N_PREFIXES = 200
#: Longest name that is sent, in characters.
MAX_NAME = 500
MAX_RESOURCES = 20
#: Nothing that we count or measure comes near.
MOST = 10**18
#: What `view_worker` tells, in its order.
WORKER_FIELDS = (
    "address",
    "name",
    "nthreads",
    "memory_limit",
    "status",
    "process",
    "managed",
    "spilled",
    "unmanaged_old",
    "n_processing",
    "n_executing",
    "cpu",
    "prefixes",
    "last_seen",
    "first_seen",
    "occupancy",
    "stored",
    "host",
    "has_nanny",
    "resources",
    "n_long_running",
    *METRICS,
)


def label(keys: Iterable[Any]) -> str | None:
    """A name by which client and scheduler know the same graph: the least of what was asked for.

    Each of them has the keys in an order of its own: with a part of them they would not find the same one.
    """
    names = {key[0] if isinstance(key, tuple) else key for key in islice(keys, 200_000)}
    return clean(min(map(str, names), default="")) or None


def executing_prefixes(ws: WorkerState) -> list[str]:
    """Prefixes of what a worker runs, as of its last heartbeat, at most 8."""
    return list(dict.fromkeys(clean(ts.prefix.name) for ts in islice(ws.executing, 8)))


def clean(text: object) -> str:
    """A name that any protocol can carry: short, and without halves of characters."""
    name = text if isinstance(text, str) else str(text)
    name = name[:MAX_NAME]
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


def number(value: Any) -> float | None:
    """What counts and measures: None for all that is no number, not finite, absurdly large, or negative."""
    if isinstance(value, (int, float)) and 0 <= value < MOST:
        return value
    return None


def view_metrics(metrics: Mapping[str, Any], unmeasured: float) -> list[float | None]:
    """What `METRICS` names, of a heartbeat; `unmeasured`: the bandwidth that Dask assumes at first."""
    disk, bandwidth = metrics.get("host_disk_io"), metrics.get("bandwidth")
    read = write = speed = None
    if isinstance(disk, dict):
        read, write = number(disk.get("read_bps")), number(disk.get("write_bps"))
    if isinstance(bandwidth, dict):
        speed = number(bandwidth.get("total"))
        if speed == unmeasured and not bandwidth.get("workers"):
            speed = None
    return [
        number(metrics.get("gil_contention")),
        number(metrics.get("event_loop_interval")),
        speed,
        read,
        write,
        number(metrics.get("gpu_memory_used")),
        number(metrics.get("gpu-memory-total")),
    ]


def view_memory(metrics: Mapping[str, Any]) -> tuple[int, int, int]:
    """Bytes of the process, spilled to the disk, and what these take in memory, of a heartbeat."""
    try:
        told = metrics["spilled_bytes"]
        process, disk, swapped = metrics["memory"], told["disk"], told["memory"]
        # All that follows is for what other versions and odd machines tell.
        if (
            type(process) is type(disk) is type(swapped) is int
            and 0 <= process < MOST
            and 0 <= disk < MOST
            and 0 <= swapped < MOST
        ):
            return process, disk, swapped
    except (KeyError, TypeError):
        pass  # of another version
    process = number(metrics.get("memory")) or 0
    spilled = metrics.get("spilled_bytes")
    if not isinstance(spilled, dict):
        return int(process), 0, 0
    return int(process), int(number(spilled.get("disk")) or 0), int(number(spilled.get("memory")) or 0)


def view_worker(ws: WorkerState, first_seen: float | None = None) -> list[Any]:
    """One worker as a row in the order of `WORKER_FIELDS`."""
    metrics = ws.metrics
    process, spilled, swapped = view_memory(metrics)
    return [
        ws.address,
        clean(ws.name),
        ws.nthreads,
        ws.memory_limit,
        ws.status.name,
        process,
        min(process, max(0, ws.nbytes - swapped)),
        spilled,
        max(0, getattr(ws, "_memory_unmanaged_old", 0)),
        len(ws.processing),
        len(ws.executing),
        number(metrics.get("cpu")) or 0.0,
        executing_prefixes(ws),
        ws.last_seen,
        first_seen,
        number(ws.occupancy) or 0.0,
        max(0, ws.nbytes),
        clean(ws.host),
        bool(ws.nanny),
        [[clean(name), number(n) or 0.0] for name, n in islice(ws.resources.items(), MAX_RESOURCES)],
        len(ws.long_running),
        *view_metrics(metrics, ws.bandwidth),
    ]


def choose(workers: list[WorkerState], process: list[int]) -> list[WorkerState]:
    """The workers that are sent one by one; `process`: the memory of each."""
    if len(workers) <= MAX_WORKERS:
        return workers
    n_processing = [len(ws.processing) for ws in workers]
    sample = workers[:: len(workers) // N_SAMPLE][:N_SAMPLE]
    chosen = (*_most(workers, process, N_FULLEST), *_most(workers, n_processing, N_LOADED), *sample)
    return list({ws.address: ws for ws in chosen}.values())


def _most(workers: list[WorkerState], values: list[int], n: int) -> list[WorkerState]:
    """The `n` workers with the largest of these values, of equal ones the first; none that has nothing."""
    # To sort numbers is cheaper than to ask for the largest of objects.
    least = max(1, sorted(values)[-n])
    pairs = [(ws, value) for ws, value in zip(workers, values, strict=True) if value >= least]
    more = [ws for ws, value in pairs if value > least]
    return (more + [ws for ws, value in pairs if value == least])[:n]


def view_workers(scheduler: Scheduler, first_seen: Mapping[str, float] = {}) -> dict[str, Any]:
    """The workers, with sums over all of them also when there are too many to send."""
    workers = list(scheduler.workers.values())
    process, managed, spilled, limit, busy = [], 0, 0, 0, 0
    is_limited = bool(workers)
    for ws in workers:
        rss, disk, swapped = view_memory(ws.metrics)
        process.append(rss)
        spilled += disk
        nbytes = ws.nbytes - swapped
        if nbytes > 0:
            managed += nbytes if nbytes < rss else rss
        if ws.memory_limit:
            limit += ws.memory_limit
        else:
            is_limited = False
        if ws.executing:
            busy += min(len(ws.executing), ws.nthreads)
    shown = choose(workers, process)
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
        "shown": [view_worker(ws, first_seen.get(ws.address)) for ws in shown],
    }


def view_scheduler(scheduler: Scheduler) -> dict[str, Any]:
    """The scheduler's own process, and what it has in hand in all."""
    quantities = scheduler.monitor.quantities
    memory, cpu = quantities.get("memory"), quantities.get("cpu")
    return {
        "queued": len(scheduler.queued),
        "unrunnable": len(scheduler.unrunnable),
        "known": len(scheduler.tasks),
        "occupancy": number(scheduler.total_occupancy) or 0.0,
        "memory": number(memory[-1]) if memory else None,
        "cpu": number(cpu[-1]) if cpu else None,
        "tick": number(getattr(scheduler, "_tick_interval_observed", None)),
        "longest_tick": number(scheduler.digests_max.get("tick-duration")),
    }


def view_tasks(scheduler: Scheduler, running: Running, metrics: Metrics) -> dict[str, Any]:
    """How many tasks are in which state, and the prefixes that cost most, without looking at a task."""
    waiting = processing = memory = erred = finished = 0
    found = []
    for prefix in islice(scheduler.task_prefixes.values(), MAX_PREFIXES):
        states = prefix.states
        waiting += states["waiting"] + states["queued"] + states["no-worker"]
        processing += states["processing"]
        memory += states["memory"]
        erred += states["erred"]
        finished += prefix.state_counts["memory"] + prefix.state_counts["erred"]
        seconds = prefix.all_durations.get("compute", 0.0)
        found.append((seconds, prefix.name, prefix))
    dearest = heapq.nlargest(N_PREFIXES, found, key=lambda item: item[0])
    return {
        "waiting": waiting,
        "processing": processing,
        "memory": memory,
        "erred": erred,
        "finished": finished,
        "prefixes": [
            [
                clean(name),
                # Forgotten tasks leave `len(prefix)`, each task that finished has been in memory.
                max(len(prefix), prefix.state_counts["memory"]),
                prefix.states["memory"],
                prefix.states["erred"],
                prefix.suspicious,
                max(0, prefix.nbytes_total),
                seconds,
                prefix.state_counts["memory"],
                prefix.states["processing"],
                running.longest_of(prefix, seconds),
                metrics.failed(name),
            ]
            for seconds, name, prefix in dearest
        ],
    }
