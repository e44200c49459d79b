"""The kernel's process and its machine, the clusters that were started from it, and the names of both."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..snapshot import Cluster, Gap, Kernel, LocalRun, OwnCluster

if TYPE_CHECKING:
    from distributed import Client

#: Variables looked at, and clusters told of.
MAX_VARIABLES = 5_000
MAX_CLUSTERS = 20
#: A container that sets no limit says so with a number near 2**63.
NO_LIMIT = 1 << 60

#: A variable and what it holds, which may be gone by now.
Holders = tuple[tuple[str, "weakref.ref[Any]"], ...]


def holders(namespace: Mapping[str, object]) -> Holders:
    """The variables that hold clients and clusters, oldest first. Looks at types alone."""
    kinds = tuple(
        kind
        for module, name in (("distributed.client", "Client"), ("distributed.deploy.cluster", "Cluster"))
        if isinstance(kind := getattr(sys.modules.get(module), name, None), type)
    )
    if not kinds:
        return ()
    try:
        variables = list(namespace.items())[:MAX_VARIABLES]
    except RuntimeError:  # the user's cell changed it just now: the next look will see it
        return ()
    return tuple(
        (name, weakref.ref(value))
        for name, value in variables
        if not name.startswith("_") and issubclass(type(value), kinds)
    )


def named(cluster: Cluster | Gap, client: Client | None, names: Holders) -> Cluster | Gap:
    """The cluster with what the kernel alone knows of it."""
    if isinstance(cluster, Gap) or client is None:
        return cluster
    own: Any = client.cluster
    return replace(
        cluster,
        client_variable=_name(client, names),
        cluster_variable=None if own is None else _name(own, names),
        is_adaptive=own is not None and _is_adaptive(own),
        n_wanted=None if own is None else _n_wanted(own),
    )


def kernel(client: Client | None, names: Holders, local_runs: tuple[LocalRun, ...] = ()) -> Kernel | Gap:
    """The kernel's process now; `client` is the one that is followed."""
    try:
        import psutil

        process = psutil.Process()
        total, available = _memory(psutil.virtual_memory())
        return Kernel(
            n_cpus=_n_cpus(),
            memory_total=total,
            memory_available=available,
            process=int(process.memory_info().rss),
            clusters=_clusters(client, names),
            local_runs=local_runs,
        )
    except Exception as error:
        return Gap(reason=f"The kernel's own state cannot be read ({type(error).__name__}: {error}).")


def _n_cpus() -> int:
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def _memory(machine: Any) -> tuple[int, int]:
    """Bytes of the machine or of the container, and what of them can be had without anybody paying for it."""
    from distributed.system import MEMORY_LIMIT

    total, available = int(machine.total), int(machine.available)
    limit, used = _container()
    if limit is not None and limit < total:
        total = limit
        if used is not None:
            available = min(available, max(0, limit - used))
    # Dask looks at more than we do, as at a limit of the process.
    total = min(total, int(MEMORY_LIMIT))
    return total, min(available, total)


def _container() -> tuple[int | None, int | None]:
    """The limit of the kernel's control group and what of it is in use, file pages that can be dropped left
    out; None where there is none."""
    if sys.platform != "linux":
        return None, None
    for limit, usage, stat, mark in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file "),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file ",
        ),
    ):
        for group in _groups():
            bound = _number(os.path.join(group, limit))
            if bound is None or bound >= NO_LIMIT:
                continue
            used = _number(os.path.join(group, usage))
            if used is not None:
                used = max(0, used - _marked(os.path.join(group, stat), mark))
            return bound, used
    return None, None


def _groups() -> Iterable[str]:
    root = "/sys/fs/cgroup"
    try:
        with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
            own = next((line[3:].strip() for line in file if line.startswith("0::")), "/")
    except OSError:
        own = "/"
    while own not in ("/", "") and ".." not in own:
        yield root + own
        own = os.path.dirname(own)
    yield root


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(64).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _marked(path: str, mark: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(mark)), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _clusters(client: Client | None, names: Holders) -> tuple[OwnCluster, ...]:
    spec = sys.modules.get("distributed.deploy.spec")
    instances = getattr(getattr(spec, "SpecCluster", None), "_instances", ())
    for _ in range(5):
        try:
            alive = tuple(instances)
            break
        except RuntimeError:  # it belongs to other threads
            continue
    else:
        alive = ()
    with_client = _with_client()
    found = []
    for cluster in alive:
        try:
            if getattr(cluster.status, "name", "") != "running":
                continue
            found.append(_own(cluster, client, with_client, names))
        except Exception:  # somebody's own class, or one that is just going
            continue
    return tuple(sorted(found, key=lambda one: (not one.is_followed, one.address))[:MAX_CLUSTERS])


def _own(cluster: Any, client: Client | None, with_client: set[str], names: Holders) -> OwnCluster:
    address = str(cluster.scheduler_address)
    scheduler = getattr(cluster, "scheduler", None)
    states = getattr(scheduler, "workers", None)
    if isinstance(states, dict):  # it lives here, and its loop must not come between
        workers = [(state.nthreads, state.memory_limit) for state in list(dict.values(states))]
    else:
        told = list(cluster.scheduler_info.get("workers", {}).values())
        workers = [(worker.get("nthreads", 0), worker.get("memory_limit")) for worker in told]
    limits = [int(limit or 0) for _, limit in workers]
    return OwnCluster(
        kind=type(cluster).__name__[:200],
        name=str(getattr(cluster, "name", ""))[:200],
        variable=_name(cluster, names),
        address=address[:200],
        n_workers=len(workers),
        nthreads=sum(int(n) for n, _ in workers),
        memory_limit=sum(limits) if limits and all(limits) else None,
        has_client=address in with_client,
        is_followed=client is not None
        and (client.cluster is cluster or getattr(client.scheduler, "address", None) == address),
    )


def _with_client() -> set[str]:
    instances = getattr(getattr(sys.modules.get("distributed.client"), "Client", None), "_instances", ())
    for _ in range(5):
        try:
            clients = tuple(instances)
            break
        except RuntimeError:
            continue
    else:
        return set()
    return {
        str(getattr(client.scheduler, "address", ""))
        for client in clients
        if client.status == "running" and client.scheduler is not None
    }


def _name(value: object, names: Holders) -> str | None:
    return next((name for name, ref in names if ref() is value), None)


def _n_wanted(cluster: Any) -> int | None:
    # What `scale` changes; it counts workers that are gone and were not asked to go.
    wanted = getattr(cluster, "worker_spec", None)
    return len(wanted) if isinstance(wanted, Mapping) else None


def _is_adaptive(cluster: Any) -> bool:
    adaptive = getattr(cluster, "_adaptive", None)
    # `Adaptive.stop` takes its clock away.
    return adaptive is not None and getattr(adaptive, "periodic_callback", None) is not None
