"""A cluster that does not take the doctor's plugin: what its scheduler tells anybody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from .scheduler_view import METRICS, WORKER_FIELDS, clean, number, view_memory, view_metrics


def limited_reply(identity: Mapping[str, Any], states: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What the plugin would say, as far as the scheduler tells without it; its time is the kernel's."""
    shown = [_worker(address, worker) for address, worker in identity["workers"].items()]
    n = identity.get("n_workers", len(shown))
    memory = sorted(row["process"] for row in shown) or [0]
    is_limited = bool(shown) and all(row["memory_limit"] for row in shown)

    def count(state: str) -> int:
        return sum(max(0, by_state.get(state, 0)) for by_state in states.values())

    return {
        "time": time.time(),
        "losses": (),
        "changes": (),
        "workers": {
            "n": n,
            "nthreads": identity.get("total_threads", sum(row["nthreads"] for row in shown)),
            "memory_limit": identity.get("total_memory") if is_limited else None,
            "process": sum(memory),
            "managed": sum(row["managed"] for row in shown),
            "spilled": sum(row["spilled"] for row in shown),
            "quantiles": [memory[0], memory[len(memory) // 2], memory[-1]],
            "busy": sum(min(row["n_executing"], row["nthreads"]) for row in shown),
            "shown": [[row[name] for name in WORKER_FIELDS] for row in shown],
        },
        "tasks": {
            "waiting": count("waiting") + count("queued") + count("no-worker"),
            "processing": count("processing"),
            "memory": count("memory"),
            "erred": count("erred"),
            "finished": 0,
            "scheduler": {
                "queued": count("queued"),
                "unrunnable": count("no-worker"),
                "known": sum(max(0, n) for by_state in states.values() for n in by_state.values()),
                "occupancy": 0.0,
                "memory": None,
                "cpu": None,
                "tick": None,
                "longest_tick": None,
            },
        },
    }


def _worker(address: str, worker: Mapping[str, Any]) -> dict[str, Any]:
    metrics = worker.get("metrics") or {}
    process, spilled, swapped = view_memory(metrics)
    counts = metrics.get("task_counts")
    counts = dict(_counts(counts)) if isinstance(counts, dict) else {}
    managed = int(number(metrics.get("managed_bytes")) or 0)
    resources = worker.get("resources") or {}
    return {
        "address": address,
        "name": clean(worker.get("name", "")),
        "nthreads": worker["nthreads"],
        "memory_limit": worker["memory_limit"],
        "status": worker["status"],
        "process": process,
        "managed": min(process, max(0, managed - swapped)),
        "spilled": spilled,
        "unmanaged_old": 0,
        "n_processing": counts.get("executing", 0) + counts.get("ready", 0),
        "n_executing": counts.get("executing", 0),
        "cpu": number(metrics.get("cpu")) or 0.0,
        "prefixes": (),
        # On a clock that cannot be compared with ours.
        "last_seen": None,
        "first_seen": None,
        "occupancy": 0.0,
        "stored": managed,
        "host": clean(worker.get("host") or ""),
        "has_nanny": bool(worker["nanny"]) if "nanny" in worker else None,
        "resources": [(clean(name), number(n) or 0.0) for name, n in list(resources.items())[:20]],
        "n_long_running": counts.get("long-running", 0),
        # What Dask assumes at first is not known here: no bandwidth rather than a guess.
        **dict(zip(METRICS, view_metrics(metrics, 0.0), strict=True)),
        "bandwidth": None,
    }


def _counts(counts: Mapping[Any, Any]) -> Iterator[tuple[str, int]]:
    for state, n in counts.items():
        yield str(state), int(number(n) or 0)
