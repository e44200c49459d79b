"""Packing and unpacking objects takes a large part of the time.

## Why it matters
What goes from one worker to another is packed and unpacked. NumPy, pandas and Arrow memory is sent as it is;
lists, dicts and other Python objects go one by one through pickle, which holds the GIL: nothing else runs.

## Anti-pattern
    rows = bag.map(parse)                       # millions of dicts
    rows.groupby("user").map(total).compute()   # all of them from worker to worker

## Best practice
    frame = rows.to_dataframe()                 # columns, sent as memory
    frame.groupby("user").amount.sum().compute()

Text columns: `dtype="string[pyarrow]"` instead of Python strings.

## How it is known
Dask meters what workers spend on packing what others ask for and on unpacking what they get. It speaks when
that is half or more of the time that the workers' processes had, and 2 s or more. The loss is those seconds
spread over the workers' processes. The meter counts for all that ran at that time, so it is only read when no
other cell had the cluster work.

## When it stays quiet
Below that; when metering is off or missing; what goes to the disk and comes back (`spilling`). The first tasks
of a worker, which import libraries while they unpack, are taken off: half a second for each worker.

## Fix safety
Shown, not inserted: another type of data may change what your functions get.

## References
https://distributed.dask.org/en/stable/serialization.html
https://distributed.dask.org/en/stable/fine-performance-metrics.html
https://docs.dask.org/en/stable/dataframe-best-practices.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs, usage
from ...remedies import fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Activity, Cell, Collection, Computation, Load, Location, TaskGroup, Worker
from ..registry import NotChecked, rule

_PACKING = frozenset({"serialize", "deserialize"})
#: What workers do for each other; "memory-monitor" is spilling.
_EXCHANGE = frozenset({"get-data", "gather-dep"})
#: Seconds that the first unpacking of a worker may take to import libraries.
_WARM_UP = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of the time that the workers' processes had (on a machine with eight times as many threads as cores
    #: the meter, which goes by the clock, came to 40 % for plain lists of dicts).
    share: float = 0.5
    #: Seconds of packing and unpacking, all workers together.
    least_seconds: float = 2.0
    #: Tasks of the computation.
    tasks: int = 20
    #: Seconds that all processes together could have saved ...
    loss_seconds: float = 1.0
    #: ... and as a share of what the computation took.
    stake: float = 0.05


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    if work is None:
        return ()
    wall = Measure(label="time of its tasks", value=work.seconds, unit="seconds")
    told = usage.activities(work)
    if told is None:
        return (wall,)
    return (wall, Measure(label="packing and unpacking", value=_packing(told), unit="seconds"))


@rule(
    id="serialization-bound",
    title="Packing and unpacking objects takes the time",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    yields_to={"spilling": "cell", "killed-worker": "cell"},
    measure=_measure,
)
def serialization_bound(
    computations: tuple[Computation, ...],
    groups: tuple[TaskGroup, ...],
    workers: tuple[Worker, ...],
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    everything = usage.works(computations, code, load)
    grouped = usage.by_computation(groups)
    is_found = is_untold = False
    for work in everything:
        if not work.is_done or work.n_tasks < limit.tasks or work.seconds < limit.loss_seconds:
            continue
        if not usage.is_alone(work, everything):
            continue
        told, spent = usage.activities(work), work.thread_seconds
        if told is None or spent is None:
            is_untold = True
            continue
        n_workers = max(1, len(workers))
        packing = _packing(told) - _WARM_UP * n_workers
        # Time on the network is no measure: several wait at once, each for the packing on the other side as well
        share = packing / max(n_workers * work.seconds, packing + spent)
        if packing < limit.least_seconds or share < limit.share:
            continue
        loss = min(packing / n_workers, work.seconds)
        if loss < limit.loss_seconds or loss < limit.stake * work.seconds:
            continue
        is_found = True
        yield _finding(
            work, usage.own_groups(work, grouped), told, packing, share, loss, limit, collections, code
        )
    if is_untold and not is_found:
        raise NotChecked("This Dask does not tell what packing and unpacking took.")


def _packing(told: tuple[Activity, ...]) -> float:
    return sum(max(0.0, a.seconds) for a in told if a.context in _EXCHANGE and a.label in _PACKING)


def _finding(
    work: usage.Work,
    own: Sequence[TaskGroup],
    told: tuple[Activity, ...],
    packing: float,
    share: float,
    loss: float,
    limit: Thresholds,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
) -> Finding:
    # What is sent is what the others take as input
    needed = {name for g in own for name in g.dependencies}
    sent = [g for g in own if g.name in needed] or list(own)
    largest = max(sent, key=lambda g: g.sizes.total if g.sizes else 0, default=None)
    prefix = largest.prefix if largest is not None else usage.heaviest(own, work)
    kinds = ", ".join(largest.types[:2]) if largest is not None else ""
    out = sum(a.seconds for a in told if a.context == "get-data" and a.label == "serialize")
    back = sum(a.seconds for a in told if a.context == "gather-dep" and a.label == "deserialize")
    evidence = [
        Evidence(label="packing and unpacking", value=packing, unit="seconds", limit=limit.least_seconds),
        Evidence(label="share of the workers' time", value=share, unit="share", limit=limit.share),
        Evidence(label="packing", value=out, unit="seconds"),
        Evidence(label="unpacking", value=back, unit="seconds"),
    ]
    if kinds:
        evidence.append(Evidence(label="type of the results", value=kinds[:200], unit="text"))
    made_of = f" ({words.code(kinds)})" if kinds else ""
    return serialization_bound.finding(
        severity="warning",
        subject=prefix,
        message=f"Packing and unpacking results took {words.seconds(packing)}, {words.share(share)} of the "
        f"workers' time: most of them are of {words.code(prefix)}{made_of}.",
        why="Arrays, data frames and Arrow tables are sent as memory; Python objects go through pickle one by one, "
        "and nothing else runs in that process meanwhile.",
        evidence=tuple(evidence),
        at=work.at,
        fixes=_fixes(work, collections, code),
        loss_seconds=loss,
        of_seconds=work.seconds,
    )


def _fixes(work: usage.Work, collections: tuple[Collection, ...], code: tuple[Cell, ...]) -> tuple[Fix, ...]:
    read = [
        c for one in work.computations for c in runs.read_by(one, collections, code) if fixes.is_name(c.name)
    ]
    bags = [c.name for c in read if c.kind == "bag"]
    frames = [c.name for c in read if c.kind == "dataframe"]
    if bags:
        text = f"{bags[0]}.to_dataframe()  # columns instead of objects"
    elif frames:
        text = (
            "# Arrow columns instead of Python objects\n"
            f'{frames[0]} = {frames[0]}.map_partitions(lambda part: part.convert_dtypes(dtype_backend="pyarrow"))'
        )
    else:
        text = "# where the results are made: columns instead of a list of objects\nreturn pandas.DataFrame(rows)"
    return (
        fixes.advice(text, title="Send columns instead of objects", expect="sent as memory, without pickle"),
    )
