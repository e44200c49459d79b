"""Tasks wait for the disk that they read from or write to.

## Why it matters
A thread that waits for storage does nothing else. When all of them wait for the same disk, more workers wait
just as long.

## Anti-pattern
    df = dd.read_parquet("events/")            # forty columns from the disk, two are used
    df.map_partitions(summary).compute()

## Best practice
    df = dd.read_parquet("events/", columns=["user", "amount"])
    df.map_partitions(summary).compute()

For arrays: chunks that are multiples of the chunks in the file. For both: files on a local disk, not behind a
network.

## How it is known
A judgement from several signs, none of which is enough alone: Dask's meter says that 60 % or more of the time
of one kind of task went by without CPU, 3 s or more; the disks of the workers' machine moved 50 MB or more per
second on most samples meanwhile, and three times as much as at rest; the processes themselves used little CPU;
and nothing was spilled or shuffled to the disk. The loss is the time without CPU, spread over all threads: an
upper bound.

## When it stays quiet
When any of these signs is missing, when several cells had the cluster work at once, or when the task is a function of
the notebook in which nothing speaks of files: then somebody else keeps the disk busy. Storage behind a
network is not seen as a disk: such waiting is not told. When workers spill, the memory rules speak.

## Fix safety
Shown, not inserted: which columns or rows are needed is for you to say.

## References
https://docs.dask.org/en/stable/dataframe-parquet.html
https://docs.dask.org/en/stable/array-best-practices.html
https://distributed.dask.org/en/stable/fine-performance-metrics.html
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import usage
from ...remedies import fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import Activity, Cell, Computation, Load, Worker
from ..registry import NotChecked, rule

#: Of the time without CPU: more than this spent on spilled data is another rule's matter.
_SPILL_SHARE = 0.2
#: Parts of names in functions that read or write files.
_OF_FILES = (
    "open", "read", "load", "write", "save", "dump", "store", "file", "path", "map", "parquet", "csv", "zarr",
    "json", "sql", "connect", "fetch", "get", "put", "copy", "disk", "io", "sync",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of a kind of task's time that went by without CPU.
    wait_share: float = 0.6
    #: Thread-seconds that went by so.
    wait_seconds: float = 3.0
    #: Bytes per second of the machine's disks (half of what a slow solid-state disk can do).
    disk_rate: float = 50e6
    #: Share of the samples with at least that rate.
    samples_share: float = 0.6
    #: Samples that show it (one every 2 s).
    samples: int = 3
    #: Samples taken while nothing ran, and how many times more the disks moved than in the quieter ones of these.
    rest_samples: int = 2
    rest_ratio: float = 3.0
    #: Percent of a core for each thread at work, above which the process computes.
    cpu: float = 50.0
    #: Seconds that all threads together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.1


@rule(
    id="disk-bound",
    title="Tasks wait for the disk",
    severity="warning",
    thresholds=Thresholds(),
    about=("workers",),
    yields_to={
        "spilling": "cell",
        "gil-contention": "cell",
        "worker-memory-pressure": "cell",
        "killed-worker": "cell",
    },
    measure=usage.time_of_tasks,
)
def disk_bound(
    workers: tuple[Worker, ...],
    computations: tuple[Computation, ...],
    limit: Thresholds,
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    everything = usage.works(computations, code, load)
    is_found = is_untold = False
    for work in everything:
        if not work.is_done or work.seconds < limit.loss_seconds or not usage.is_alone(work, everything):
            continue
        told = usage.activities(work)
        if told is None:
            is_untold = True
            continue
        waited = _waited(told, limit)
        if waited is None:
            continue
        prefix, wait, whole = waited
        if _only_computes(prefix, code):
            continue
        rate = _rate(workers, work, limit)
        if rate is None or not _has_time(workers, work, limit):
            continue
        loss = wait / max(1, work.nthreads)
        if loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        is_found = True
        yield _finding(work, prefix, wait, whole, rate, loss, limit, code)
    if is_untold and not is_found:
        raise NotChecked("This Dask does not tell how much of the time was spent waiting.")


def _waited(told: tuple[Activity, ...], limit: Thresholds) -> tuple[str, float, float] | None:
    """(prefix, seconds without CPU, seconds in all) of the kind of task that waited longest."""
    seconds: dict[str, Counter[str]] = defaultdict(Counter)
    for a in told:
        if a.context == "execute" and a.prefix is not None:
            seconds[a.prefix][a.label] += max(0.0, a.seconds)  # type: ignore[assignment]
    spilled = sum(
        max(0.0, a.seconds)
        for a in told
        if a.label in ("disk-read", "disk-write") and a.context in ("execute", "memory-monitor", "get-data")
    )
    found = []
    for prefix, parts in seconds.items():
        if any(label.startswith("p2p") for label in parts) or "p2p" in prefix:
            continue  # a shuffle writes to the disk by design
        wait, cpu = parts["thread-noncpu"], parts["thread-cpu"]
        if wait >= limit.wait_seconds and wait >= limit.wait_share * (wait + cpu):
            found.append((prefix, float(wait), float(wait + cpu)))
    worst = max(found, key=lambda row: row[1], default=None)
    return None if worst is None or spilled > _SPILL_SHARE * worst[1] else worst


def _only_computes(prefix: str, code: Sequence[Cell]) -> bool:
    """Is it a function of the notebook in which nothing speaks of files?

    Then it was without a core, and the disk was busy for somebody else.
    """
    found = [
        node
        for cell in code
        for node in ast.walk(source.parse(cell.source) or ast.Module(body=[], type_ignores=[]))
        if isinstance(node, ast.FunctionDef) and node.name.replace("_", "-") == prefix.replace("_", "-")
    ]
    said = [
        part.lower()
        for function in found
        for node in ast.walk(function)
        for part in (
            node.id if isinstance(node, ast.Name) else "",
            node.attr if isinstance(node, ast.Attribute) else "",
            node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "",
        )
    ]
    return bool(found) and not any(word in part for part in said for word in _OF_FILES)


def _rate(workers: Sequence[Worker], work: usage.Work, limit: Thresholds) -> float | None:
    """Bytes per second of the busiest machine's disks, if they were busy for most of the time."""
    rates = []
    for worker in {w.host: w for w in workers}.values():
        known = [s.host_disk for s in usage.samples(worker, work.spans) if s.host_disk is not None]
        busy = [rate for rate in known if rate >= limit.disk_rate]
        if len(busy) < limit.samples or len(busy) < limit.samples_share * len(known):
            continue
        rate = statistics.median(busy)
        # At rest the same disks must be quiet, else it is somebody else who keeps them busy
        rest = sorted(
            s.host_disk
            for s in worker.samples
            if s.host_disk is not None and not s.n_executing and not s.n_processing
        )
        if len(rest) >= limit.rest_samples and rest[len(rest) // 4] * limit.rest_ratio <= rate:
            rates.append(rate)
    return max(rates, default=None)


def _has_time(workers: Sequence[Worker], work: usage.Work, limit: Thresholds) -> bool:
    """Did the processes use little CPU for the threads that were at work, and spill nothing?"""
    cpu = threads = 0.0
    for w in workers:
        for s in usage.samples(w, work.spans):
            if s.spilled or s.is_paused:
                return False
            if s.cpu is not None and s.n_executing:
                cpu += s.cpu
                threads += s.n_executing
    return threads > 0 and cpu <= limit.cpu * threads


def _finding(
    work: usage.Work,
    prefix: str,
    wait: float,
    whole: float,
    rate: float,
    loss: float,
    limit: Thresholds,
    code: tuple[Cell, ...],
) -> Finding:
    return disk_bound.finding(
        severity="warning",
        subject=prefix,
        message=f"{words.code(prefix)} waited for {words.seconds(wait)} of its {words.seconds(whole)} while the disk "
        f"moved {words.nbytes(rate)} per second.",
        why="A thread that waits for storage does nothing else, and more workers wait for the same disk. "
        "Less to read is what helps: fewer columns, whole chunks, each file once.",
        evidence=(
            Evidence(
                label="time without CPU",
                value=wait,
                unit="seconds",
                limit=max(limit.wait_seconds, limit.wait_share * whole),
            ),
            Evidence(label="time of these tasks", value=whole, unit="seconds"),
            Evidence(label="disk, per second", value=rate, unit="bytes", limit=limit.disk_rate),
        ),
        at=work.at,
        fixes=_fixes(work, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _fixes(work: usage.Work, code: tuple[Cell, ...]) -> tuple[Fix, ...]:
    read = _reading(code)
    if read is not None:
        text = f"{read}\n# with columns=[...] for those that are used, filters=[...] for the rows"
        return (fixes.advice(text, title="Read less", expect="fewer bytes from the disk"),)
    text = "# read each file once, from beginning to end, and only what is used\nlarge = path.read_bytes()"
    return (fixes.advice(text, title="Read less, and in larger pieces", expect="fewer bytes from the disk"),)


def _reading(code: tuple[Cell, ...]) -> str | None:
    """The notebook's own call of `read_parquet`, if it says nothing of columns."""
    for cell in code:
        tree = source.parse(cell.source)
        for call in fixes.calls(tree, "read_parquet") if tree is not None else ():
            if not any(k.arg in ("columns", None) for k in call.keywords):
                return ast.unparse(call)[:200]
    return None
