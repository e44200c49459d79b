"""Freed memory is not given back to the machine, because a worker without a nanny lacks the setting for it.

## Why it matters
The C library of Linux keeps freed memory in its own hands as soon as a program has freed large pieces. A nanny
starts its worker with `MALLOC_TRIM_THRESHOLD_`, which prevents most of that; a worker that was started without
one does not have it. To Dask that memory is in use: the worker spills and pauses although it holds nothing.

## Anti-pattern
    dask worker tcp://scheduler:8786 --no-nanny

## Best practice
    MALLOC_TRIM_THRESHOLD_=65536 dask worker tcp://scheduler:8786 --no-nanny

It must be set before the process starts. Better still: let the nanny start the worker.

## How it is known
Only for workers without a nanny, on glibc, whose environment (asked once) lacks the variable, and only by what
happened: the results that Dask holds on the worker fell by 100 MiB and 20 % of its limit or more, 5 s or more
have passed with nothing running, and the process gave back less than a quarter of that.

## When it stays quiet
Nothing was released; memory came back; the variable is set; another C library (macOS, Windows, Alpine); the
first seconds after the release. Workers in the kernel's own process (`processes=False`) are never judged: what
they released may live on as a variable of the notebook.

## Fix safety
The cell that trims is safe: it gives freed memory back and touches no data. The variable belongs where the
worker is started: it is shown, not inserted.

## References
https://distributed.dask.org/en/stable/worker-memory.html#automatically-trim-memory
https://distributed.dask.org/en/stable/worker-memory.html#memory-not-released-back-to-the-os
https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...remedies import fixes, relief
from ...report import Chart, Evidence, Finding, Limit, Series
from ...snapshot import Cell, Cluster, MemorySample, Worker, WorkerEnvironment
from ...words import MiB
from ..registry import NotChecked, rule

VARIABLE = "MALLOC_TRIM_THRESHOLD_"
#: What a nanny sets (distributed.yaml, `nanny.pre-spawn-environ`).
_VALUE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes that Dask released on one worker ...
    nbytes: int = 100 * MiB
    #: ... and as a share of its memory limit.
    share: float = 0.2
    #: Part of that which the process must have given back.
    returned: float = 0.25
    #: Seconds of rest after which it should have: the memory of a process is told with each heartbeat.
    seconds: float = 5.0
    #: Samples in that time.
    samples: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A worker that released results and stayed as large as it was."""

    worker: Worker
    released: int
    returned: int

    @property
    def nbytes(self) -> int:
        return self.released - self.returned


@rule(
    id="malloc-trim",
    title="Freed memory does not come back",
    severity="warning",
    thresholds=Thresholds(),
    about=("workers",),
)
def malloc_trim(
    workers: tuple[Worker, ...],
    environments: tuple[WorkerEnvironment, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    # A worker in the kernel shares its memory with the notebook's own variables
    bare = [w for w in workers if w.has_nanny is False and not w.address.startswith("inproc://")]
    known = {e.address: e for e in environments}
    kept = [k for w in bare if (k := _kept(w, limit)) is not None]
    found = [k for k in kept if (e := known.get(k.worker.address)) is not None and _lacks(e)]
    if found:
        yield _finding(found, workers, cluster, environments, code, limit)
    elif any(k.worker.address not in known for k in kept):
        raise NotChecked("Memory stayed after it was freed, and the worker's environment is not known.")


def _lacks(environment: WorkerEnvironment) -> bool:
    return environment.libc == "glibc" and VARIABLE not in dict(environment.variables)


def _kept(worker: Worker, limit: Thresholds) -> _Kept | None:
    """What happened between the moment at which most was held and the rest at the end."""
    rest = _rest(worker.samples)
    if len(rest) < limit.samples or rest[-1].time - rest[0].time < limit.seconds:
        return None
    before = worker.samples[: len(worker.samples) - len(rest)]
    fullest = max(before, key=lambda s: s.managed, default=None)
    if fullest is None:
        return None
    released = fullest.managed - max(s.managed for s in rest)
    if released < max(limit.nbytes, limit.share * (worker.memory_limit or 0)):
        return None
    returned = max(0, fullest.process - min(s.process for s in rest))
    if returned >= limit.returned * released:
        return None
    return _Kept(worker=worker, released=released, returned=returned)


def _rest(samples: Sequence[MemorySample]) -> list[MemorySample]:
    """The samples at the end in which nothing ran and what Dask holds stayed as it is now."""
    found: list[MemorySample] = []
    for sample in reversed(samples):
        if sample.n_executing or sample.n_processing or sample.managed > samples[-1].managed + 16 * MiB:
            break
        found.append(sample)
    return found[::-1]


def _finding(
    found: Sequence[_Kept],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    environments: tuple[WorkerEnvironment, ...],
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> Finding:
    worst = max(found, key=lambda k: k.nbytes)
    worker = worst.worker
    ran = [c for c in code if c.started is not None]
    shown = worker.samples[-150:]
    return malloc_trim.finding(
        severity="warning",
        subject="workers",
        message=f"Dask released {words.nbytes(worst.released)} on worker {words.code(worker.name)}, and its "
        f"process gave {words.nbytes(worst.returned)} of that back: it runs without a nanny and without `{VARIABLE}`.",
        why="The C library keeps what was freed, and to Dask it is in use: the worker spills and pauses although it "
        "holds little. The variable, which a nanny would set, makes freed memory go back.",
        evidence=(
            Evidence(label="released by Dask", value=worst.released, unit="bytes", limit=limit.nbytes),
            Evidence(
                label="given back", value=worst.returned, unit="bytes", limit=limit.returned * worst.released
            ),
            Evidence(
                label="process memory now", value=worker.process, unit="bytes", limit=worker.memory_limit
            ),
            Evidence(label="results held now", value=worker.managed, unit="bytes"),
            Evidence(label="such workers", value=len(found), unit="count"),
        ),
        charts=(
            Chart(
                kind="lines",
                title="The process, and what Dask holds in it",
                unit="bytes",
                x=tuple(s.time for s in shown),
                series=(
                    Series(name="process", values=tuple(float(s.process) for s in shown)),
                    Series(name="results", values=tuple(float(s.managed) for s in shown)),
                ),
                limits=(
                    (Limit(name="pause", value=cluster.memory_pause * worker.memory_limit),)
                    if worker.memory_limit
                    else ()
                ),
            ),
        ),
        fixes=(
            *relief.trim(
                max(ran, key=lambda c: c.started or 0.0, default=None),
                cluster,
                [e for e in environments if e.address == worker.address],
            ),
            fixes.advice(
                f"{VARIABLE}={_VALUE} dask worker {cluster.address} --no-nanny",
                title=f"Start such workers with `{VARIABLE}`",
                expect="freed memory goes back by itself; a worker that is started by a nanny has it already",
            ),
        ),
        loss_bytes=sum(k.nbytes for k in found),
    )
