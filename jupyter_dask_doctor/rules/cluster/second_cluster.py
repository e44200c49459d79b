"""More than one cluster is alive in this kernel.

## Why it matters
Running the cell that makes the cluster once more starts another one, and the first lives on: its worker
processes hold memory, its results too, and nobody looks at its dashboard. Each believes that it has the whole
machine: with two clusters of default size tasks share cores and may use twice the memory that there is.

## Anti-pattern
    client = Client(LocalCluster())     # and run the cell again

## Best practice
    cluster.close()                     # before the cell that makes it runs again
    cluster = LocalCluster()
    client = Client(cluster)

Or one cell at the top that is run once.

## How it is known
The cluster objects that this kernel made and that are alive. A warning when one with workers has no client of
this kernel any more, or when those on this machine together have more threads than it has cores, or may use
more memory than it has, which the one in use alone would not. Else two clusters are taken for intended, and it
is only worth knowing.

## When it stays quiet
One cluster; clusters that were closed; one without workers.

## Fix safety
Needs review: what the older cluster holds is lost.

## References
https://docs.dask.org/en/stable/deploying-python.html
https://github.com/dask/distributed/issues/2186
https://github.com/dask/dask/issues/4769
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import creation, fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import Cell, Cluster, Kernel, Location, OwnCluster
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Workers that a cluster without a client must have. An idle process takes about 150 MB.
    workers: int = 1
    #: Threads of all clusters on this machine over its cores. Dask's own default gives one cluster 1.
    threads_ratio: float = 1.0
    #: Memory that their workers may use over what the machine has. Dask's own default gives one cluster 1.
    memory_ratio: float = 1.0


@rule(
    id="second-cluster",
    title="More than one cluster is alive",
    severity="warning",
    thresholds=Thresholds(),
    about=("kernel",),
)
def second_cluster(
    kernel: Kernel,
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    ours = [c for c in kernel.clusters if c.is_followed or c.address == cluster.address]
    others = [c for c in kernel.clusters if c not in ours and c.n_workers >= max(1, limit.workers)]
    if not others:
        return
    by_name: dict[str, list[OwnCluster]] = {}
    for other in others:
        by_name.setdefault(other.variable or other.kind, []).append(other)
    made = creation.creation(code, cluster)
    at = (
        Location(cell_id=made.cell.id, execution_count=made.cell.execution_count, line=made.call.lineno)
        if made is not None
        else None
    )
    for name, same in by_name.items():
        yield _finding(name, same, ours, others, kernel, limit, at, code)


def _finding(
    name: str,
    same: Sequence[OwnCluster],
    ours: Sequence[OwnCluster],
    others: Sequence[OwnCluster],
    kernel: Kernel,
    limit: Thresholds,
    at: Location | None,
    code: tuple[Cell, ...],
) -> Finding:
    idle = [c for c in same if not c.has_client]
    local = [c for c in (*ours, *others) if _is_local(c)]
    threads, alone = sum(c.nthreads for c in local), sum(c.nthreads for c in ours if _is_local(c))
    memory = _memory(local)
    too_many = threads > limit.threads_ratio * kernel.n_cpus and alone <= limit.threads_ratio * kernel.n_cpus
    total = kernel.memory_total
    ours_memory = _memory([c for c in ours if _is_local(c)])
    too_much = (
        total is not None
        and memory is not None
        and memory > limit.memory_ratio * total
        and (ours_memory or 0) <= limit.memory_ratio * total
    )
    is_shared = any(_is_local(c) for c in same) and (too_many or too_much)
    evidence = [
        Evidence(label="clusters alive", value=len(ours) + len(others), unit="count", limit=1),
        Evidence(label="workers of the other", value=sum(c.n_workers for c in same), unit="count"),
    ]
    if local:
        evidence.append(
            Evidence(label="threads of all on this machine", value=threads, unit="count", limit=kernel.n_cpus)
        )
    if memory is not None and total is not None:
        evidence.append(Evidence(label="memory that all may use", value=memory, unit="bytes", limit=total))
    who = words.code(same[0].variable) if same[0].variable is not None else f"an earlier {same[0].kind}"
    if len(same) > 1:
        who = f"{len(same)} earlier clusters ({words.code(name)})"
    n = sum(c.n_workers for c in same)
    verb = "is" if len(same) == 1 else "are"
    message = f"{who[0].upper()}{who[1:]} {verb} still alive with {words.count(n, 'worker')}"
    if idle and len(idle) == len(same):
        message += ", and nothing uses it" if len(same) == 1 else ", and nothing uses them"
    elif is_shared:
        message += f": together {threads} threads on {words.count(kernel.n_cpus, 'core')}"
    return second_cluster.finding(
        severity="warning" if idle or is_shared else "info",
        subject=name,
        message=f"{message}.",
        why="Its worker processes keep memory and results, and each cluster counts on the whole machine.",
        evidence=tuple(evidence),
        at=at,
        fixes=(_fix(same, at, code),),
    )


def _is_local(one: OwnCluster) -> bool:
    return one.kind in ("LocalCluster", "LocalCUDACluster")


def _memory(found: Sequence[OwnCluster]) -> int | None:
    """None when a worker has no limit, or there is none to count."""
    known = [c.memory_limit for c in found if c.memory_limit is not None]
    return sum(known) if found and len(known) == len(found) else None


def _fix(same: Sequence[OwnCluster], at: Location | None, code: tuple[Cell, ...]) -> Fix:
    named = [c for c in same if c.variable is not None and fixes.is_name(c.variable)]
    n = sum(c.n_workers for c in same)
    expect = f"{words.count(n, 'worker process', 'worker processes')} fewer; what they hold is lost"
    if len(named) == len(same):
        rows = [f"{c.variable}.close()" for c in named]
        title = f"Close {words.code(named[0].variable or '')}"
        text = "\n".join(rows)
    else:
        title = "Close the earlier cluster" if len(same) == 1 else "Close the earlier clusters"
        names = ", ".join(repr(c.name[:100]) for c in same)
        text = (
            "import gc\n\nfrom distributed.deploy.cluster import Cluster\n\n"
            "# no variable holds it any more\n"
            f"for _left in [x for x in gc.get_objects() if issubclass(type(x), Cluster) and x.name in ({names},)]:\n"
            "    _left.close()"
        )
    cell = runs.cell_at(code, at)
    if cell is None:
        return fixes.advice(text, title=title, expect=expect)
    return fixes.insert_below(cell, text, title=title, expect=expect, rerun=None)
