"""What changes rarely: a scheduler's settings, where it listens, and the versions of all processes.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

import dask
from dask.utils import parse_timedelta

from .scheduler_view import clean, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed.scheduler import Scheduler

#: Workers whose versions are compared, and sets of versions that are told.
MAX_COMPARED = 2_000
MAX_VERSIONS = 20
MAX_PACKAGES = 60
MAX_LISTENERS = 10


def _seconds(value: Any) -> float | None:
    """A time as settings have it, as in "30s"; None when it is off or cannot be read."""
    try:
        return number(parse_timedelta(value)) if value is not None and value is not False else None
    except Exception:  # whatever stands there, Dask reads it in its own way
        return None


def _setting(key: str) -> float | None:
    return _seconds(dask.config.get(f"distributed.{key}", None))


def _dashboard(scheduler: Scheduler) -> list[str]:
    """The sockets of the scheduler's own web server."""
    sockets = getattr(getattr(scheduler, "http_server", None), "_sockets", {})
    found = []
    for sock in islice(sockets.values(), MAX_LISTENERS):
        try:
            name = sock.getsockname()
        except OSError:
            continue
        if isinstance(name, tuple) and len(name) > 1:
            host = f"[{name[0]}]" if ":" in str(name[0]) else name[0]
            found.append(f"{host}:{name[1]}")
    return found


def view_policy(scheduler: Scheduler) -> dict[str, Any]:
    """The settings in force in the scheduler's process."""
    listens = [
        clean(address)
        for listener in islice(scheduler.listeners, MAX_LISTENERS)
        if (address := getattr(listener, "listen_address", None))
    ]
    saturation = scheduler.WORKER_SATURATION
    retries = dask.config.get("distributed.comm.retry.count", None)
    return {
        "saturation": saturation if saturation == saturation and saturation > 0 else math.inf,
        "allowed_failures": int(scheduler.allowed_failures),
        "worker_ttl": _seconds(scheduler.worker_ttl) or None,
        "no_workers_timeout": _seconds(getattr(scheduler, "no_workers_timeout", None)),
        "connect_timeout": _setting("comm.timeouts.connect"),
        "tcp_timeout": _setting("comm.timeouts.tcp"),
        "comm_retries": retries if type(retries) is int else None,
        "listens": listens,
        "dashboard": _dashboard(scheduler),
        "is_encrypted": bool(listens) and all(a.startswith(("tls://", "wss://")) for a in listens),
        "lifetime": _setting("worker.lifetime.duration"),
    }


def packages(versions: Mapping[str, Any]) -> list[list[str | None]]:
    """Of what `distributed.versions.get_versions` says: (package or "python", version or None)."""
    told = versions.get("packages") if isinstance(versions, dict) else None
    if not isinstance(told, dict):
        return []
    return [
        [clean(name), clean(version)[:100] if version is not None else None]
        for name, version in sorted(islice(told.items(), MAX_PACKAGES), key=lambda item: str(item[0]))
    ]


def view_versions(scheduler: Scheduler) -> list[list[Any]]:
    """(role, one address, how many, packages) of the scheduler and of workers that have the same."""
    from distributed.versions import get_versions

    rows = [["scheduler", scheduler.address, 1, packages(get_versions())]]
    groups: dict[Any, list[Any]] = {}
    for ws in islice(scheduler.workers.values(), MAX_COMPARED):
        told = ws.versions.get("packages") if ws.versions else None
        if not isinstance(told, dict):
            continue
        same = (tuple(told), tuple(map(str, told.values())))
        group = groups.get(same)
        if group is not None:
            group[2] += 1
        elif len(groups) < MAX_VERSIONS:
            groups[same] = ["worker", ws.address, 1, packages(ws.versions)]
    return [*rows, *groups.values()]
