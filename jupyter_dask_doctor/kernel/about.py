"""What a cluster is: settings, environment, and workers that came and went, for the Cluster section."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from ..judging.trends import theil_sen
from ..messages import ChangeInfo, ClusterInfo, RestTrend, WorkerShape
from ..snapshot import Gap, Snapshot, WorkerEnvironment
from .data import partition_limit
from .fitting import cut

MAX_SHAPES, MAX_CHANGES, MAX_GAPS = 5, 10, 5
#: Longest name and path that is sent.
NAME, PATH = 80, 200
#: Pauses that tell a trend at least: before, three make a line of any three numbers.
MIN_RESTS = 4


def about(snapshot: Snapshot) -> ClusterInfo | None:
    """None while nothing is known of the cluster."""
    cluster, policy = snapshot.cluster, snapshot.policy
    if isinstance(cluster, Gap):
        return None
    told = () if isinstance(snapshot.environments, Gap) else snapshot.environments
    one = told[0] if told else None
    tightest = min(
        (each for each in told if each.disk_free is not None),
        key=lambda each: each.disk_free or 0,
        default=one,
    )
    load = () if isinstance(snapshot.load, Gap) else snapshot.load
    is_known = not isinstance(policy, Gap)
    saturation = None if isinstance(policy, Gap) else policy.saturation
    return ClusterInfo(
        kind=None if cluster.kind is None else cut(cluster.kind, NAME),
        variable=None if cluster.cluster_variable is None else cut(cluster.cluster_variable, NAME),
        address=cut(cluster.address, PATH),
        shapes=_shapes(snapshot),
        # As a worker has them; where none was asked, as this kernel's settings do, which hold 1 for off.
        memory_target=_fraction(cluster.memory_target) if one is None else one.memory_target,
        memory_spill=_fraction(cluster.memory_spill) if one is None else one.memory_spill,
        memory_pause=_fraction(cluster.memory_pause) if one is None else one.memory_pause,
        memory_terminate=_fraction(cluster.memory_terminate) if one is None else one.memory_terminate,
        python="{}.{}".format(*cluster.python),
        dask=cut(cluster.dask, NAME),
        distributed=cut(cluster.distributed, NAME),
        has_mixed_versions=_has_mixed_versions(snapshot),
        is_adaptive=cluster.is_adaptive,
        has_nanny=_has_nanny(snapshot, one),
        is_encrypted=None if isinstance(policy, Gap) else policy.is_encrypted,
        saturation=saturation if saturation is not None and math.isfinite(saturation) else None,
        has_queuing=math.isfinite(saturation) if is_known and saturation is not None else None,
        allowed_failures=None if isinstance(policy, Gap) else policy.allowed_failures,
        n_cpus=None if one is None else one.n_cpus,
        host_memory=None if one is None else one.host_memory,
        local_directory=None if tightest is None else cut(tightest.local_directory, PATH),
        disk_free=None if tightest is None else tightest.disk_free,
        disk_total=None if tightest is None else tightest.disk_total,
        file_system=None
        if tightest is None or tightest.file_system is None
        else cut(tightest.file_system, NAME),
        scheduler_memory=load[-1].scheduler_memory if load else None,
        is_in_process=cluster.is_in_process,
        rest=_rest(snapshot),
        partition_limit=partition_limit(snapshot),
        changes=_changes(snapshot),
        gaps=tuple(_gaps(snapshot)),
    )


def _fraction(value: float) -> float | None:
    return value if value < 1 else None


def _shapes(snapshot: Snapshot) -> tuple[WorkerShape, ...]:
    workers = () if isinstance(snapshot.workers, Gap) else snapshot.workers
    alike = Counter((worker.nthreads, worker.memory_limit) for worker in workers)
    return tuple(
        WorkerShape(n=n, nthreads=nthreads, memory_limit=limit)
        for (nthreads, limit), n in alike.most_common(MAX_SHAPES)
    )


def _has_mixed_versions(snapshot: Snapshot) -> bool | None:
    if isinstance(snapshot.versions, Gap) or not snapshot.versions:
        return None
    found: dict[str, set[str]] = {}
    for one in snapshot.versions:
        for name, version in one.packages:
            if version is not None:
                found.setdefault(name, set()).add(version)
    return any(len(versions) > 1 for versions in found.values())


def _has_nanny(snapshot: Snapshot, one: WorkerEnvironment | None) -> bool | None:
    workers = () if isinstance(snapshot.workers, Gap) else snapshot.workers
    told = [worker.has_nanny for worker in workers if worker.has_nanny is not None]
    if told:
        return all(told)
    return None if one is None else one.has_nanny


def _rest(snapshot: Snapshot) -> RestTrend | None:
    rests = () if isinstance(snapshot.rests, Gap) else snapshot.rests
    if not rests:
        return None
    # Where workers came or went, memory did too.
    addresses = {address for address, _ in rests[-1].unmanaged}
    alike = [rest for rest in rests if {address for address, _ in rest.unmanaged} == addresses]
    if len(alike) < MIN_RESTS:
        return None
    found = theil_sen(
        [rest.n_computations for rest in alike], [sum(n for _, n in rest.unmanaged) for rest in alike]
    )
    if found is None:
        return None
    return RestTrend(slope=found.slope, low=found.low, high=found.high, n=found.n)


def _changes(snapshot: Snapshot) -> tuple[ChangeInfo, ...]:
    changes = () if isinstance(snapshot.changes, Gap) else snapshot.changes
    return tuple(
        ChangeInfo(
            time=one.time,
            kind=one.kind,
            name=cut(one.name or one.address, NAME),
            n_workers=one.n_workers,
            is_expected=one.is_expected,
            n_lost=one.n_lost,
        )
        for one in reversed(changes[-MAX_CHANGES:])
    )


def _gaps(snapshot: Snapshot) -> Iterator[str]:
    sections = (snapshot.workers, snapshot.policy, snapshot.versions, snapshot.environments, snapshot.changes)
    reasons = dict.fromkeys(section.reason for section in sections if isinstance(section, Gap))
    for reason in list(reasons)[:MAX_GAPS]:
        yield cut(reason)
