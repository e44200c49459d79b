"""Fewer partitions than threads: the others have nothing to do.

## Why it matters
A partition is worked on by one thread. A collection of two partitions keeps two threads busy, on a cluster of any
size. Most often it is a file that cannot be cut: one large gzip, or Parquet with a single row group.

## Anti-pattern
    logs = dd.read_csv("logs.csv.gz", blocksize=None)     # one file, one partition, one thread
    logs.map_partitions(parse).groupby("user").size().compute()

## Best practice
    logs = dd.read_csv("logs.csv.gz", blocksize=None).repartition(npartitions=16)

Reading it still takes one thread; what follows has work for all. Better still is to write such a file once as
Parquet and to read that. Where a file can be cut: a smaller `blocksize=`, or `split_row_groups=True`.

## How it is known
From a run of 5 s or more: the tasks that took most of the time were as few as the partitions of a collection that
it read, fewer than the threads of the cluster, and the threads stood idle for at least two fifths of the time. The
loss is the idle time that an even spread over all threads would not have had: at least 1 s and 5 % of the run.

Before a run only where it is certain: files that cannot be cut, fewer than threads, of 100 MB or more, that a cell
is about to compute on. Then the loss is reckoned with 20 MB of such a file each second.

## When it stays quiet
Threads that are busy; runs that are over soon; a collection of few partitions that is the result of work on many,
as a reduction or a deliberate `repartition(npartitions=1)`; a small table beside a large one, as in a broadcast
join; clusters that add and remove workers by themselves; when other cells kept the cluster busy.

## Fix safety
Needs review. The rows and their order stay the same; divisions may become unknown, and later code may count on the
number of partitions.

## References
https://docs.dask.org/en/stable/dataframe-best-practices.html
https://docs.dask.org/en/stable/dataframe-parquet.html
https://docs.dask.org/en/stable/generated/dask.dataframe.read_csv.html
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import overhead, runs, usage
from ...remedies import cutting, fixes, offers
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Collection, Computation, Load, Location, Read, TaskGroup
from ..registry import NotChecked, rule

_KINDS = frozenset({"dataframe", "series", "array", "bag"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of the threads' time without a task.
    idle_share: float = 0.4
    #: A run shorter than this is over before it matters, in seconds.
    least_seconds: float = 5.0
    #: Seconds that must be lost, and their share of the run.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Share of the work that tasks as many as threads may have: else it is their end that is narrow.
    wide_share: float = 0.25
    #: Bytes of files that cannot be cut from which it speaks before a run ...
    file_nbytes: int = 100_000_000
    #: ... of which so many are unpacked and read in a second.
    file_speed: float = 20e6
    #: Partitions for each thread that a finer cut gives (Dask: 2 to 3 times the threads).
    partitions_per_thread: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What a run on too few partitions did."""

    at: Location | None
    seconds: float
    loss: float
    idle: float
    nthreads: int
    prefix: str


def _measure(
    subject: str,
    at: Location | None,
    *,
    collections: tuple[Collection, ...],
    computations: tuple[Computation, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    work = usage.last_done(at, computations, code, load)
    if work is None:
        return ()
    idle = usage.idle_share(work)
    seconds = Measure(label="time of its tasks", value=work.seconds, unit="seconds")
    return (seconds,) if idle is None else (seconds, Measure(label="idle threads", value=idle, unit="share"))


@rule(
    id="too-few-partitions",
    title="There are fewer partitions than threads",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections",),
    yields_to={
        "oversized-partitions": "subject",
        "killed-worker": "cell",
        "stalled-computation": "cell",
        "unrunnable-tasks": "cell",
    },
    measure=_measure,
)
def too_few_partitions(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    groups: tuple[TaskGroup, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    few = [
        c
        for c in collections
        if c.kind in _KINDS and 0 < (c.npartitions or 0) < cluster.nthreads and not overhead.is_reduced(c)
    ]
    if cluster.is_adaptive or not few:
        return
    works = usage.works(computations, code, load)
    read = overhead.reads(works, collections, code)
    grouped = usage.by_computation(groups)
    by_name = {g.name: g for g in groups}
    told: set[str] = set()
    seen = {c.name for own in read for c in own}
    is_untold = False
    for work, own in zip(works, read, strict=True):
        if work.seconds < limit.least_seconds or not work.is_done or not usage.is_alone(work, works):
            continue
        mine = [c for c in few if overhead.has(own, c)]
        if not mine:
            continue
        made = _judged(work, usage.own_groups(work, grouped), limit)
        if made is None:
            is_untold |= usage.idle_share(work) is None
            continue
        ran, n_tasks = made
        c = _narrow(mine, n_tasks, own, by_name)
        if c is None or c.name in told:
            continue
        told.add(c.name)
        yield _finding(c, ran, None, limit, _fixes(c, _unsplittable(c), ran.at, cluster, limit, load, code))
    for c in few:
        file = _unsplittable(c)
        if file is None or c.name in told or c.name in seen or c.is_persisted:
            continue
        at = _planned(c, collections, code)
        seconds = (file.nbytes or 0) / limit.file_speed / (c.npartitions or 1)
        loss = seconds * (1 - (c.npartitions or 1) / cluster.nthreads)
        if at is None or (file.nbytes or 0) < limit.file_nbytes or loss < limit.loss_seconds:
            continue
        idle = 1 - (c.npartitions or 1) / cluster.nthreads
        ran = _Run(at=at, seconds=seconds, loss=loss, idle=idle, nthreads=cluster.nthreads, prefix="")
        yield _finding(c, ran, file, limit, _fixes(c, file, at, cluster, limit, load, code))
    if is_untold and not told:
        raise NotChecked("It is not known how busy the threads were while a computation ran.")


def _judged(work: usage.Work, own: Sequence[TaskGroup], limit: Thresholds) -> tuple[_Run, int] | None:
    """The run, and how many tasks there were of the kind that took the time; None when nothing was wrong."""
    idle, total = usage.idle_share(work), work.thread_seconds
    timed = [g for g in own if g.compute_seconds is not None and g.n_tasks > 0]
    if idle is None or total is None or idle < limit.idle_share or not timed:
        return None
    heaviest = max(timed, key=lambda g: (g.compute_seconds or 0.0) / min(g.n_tasks, work.nthreads))
    if heaviest.n_tasks >= work.nthreads:
        return None
    spent = sum(g.compute_seconds or 0.0 for g in timed)
    wide = sum(g.compute_seconds or 0.0 for g in timed if g.n_tasks >= work.nthreads)
    if wide > limit.wide_share * spent:
        return None  # many came before it: a stage that ends in few
    loss = work.seconds - total / work.nthreads
    if loss < limit.loss_seconds or loss < limit.loss_share * work.seconds:
        return None
    ran = _Run(
        at=work.at, seconds=work.seconds, loss=loss, idle=idle, nthreads=work.nthreads, prefix=heaviest.prefix
    )
    return ran, heaviest.n_tasks


def _narrow(
    few: Sequence[Collection], n_tasks: int, own: Sequence[Collection], groups: Mapping[str, TaskGroup]
) -> Collection | None:
    """The collection whose partitions are as few as the tasks; the first of those made from one another."""
    found = [
        c for c in few if c.npartitions == n_tasks and (_is_cut_anew(c) or not _was_more(c, own, groups))
    ]
    return min(found, key=lambda c: len(c.names), default=None)


def _is_cut_anew(c: Collection) -> bool:
    """By a `repartition` into several: a count that is too small for these threads. Into one is meant so."""
    last = c.group or next(iter(c.names), "")
    return (c.npartitions or 0) > 1 and last.startswith("repartition")


def _was_more(c: Collection, own: Sequence[Collection], groups: Mapping[str, TaskGroup]) -> bool:
    """Was it put together from more partitions? Then that was meant, or is a reduction."""
    n = c.npartitions or 0
    if any(runs.is_made_from(c, o) and (o.npartitions or 0) > n for o in own):
        return True
    if any((k or 0) > n for step in c.operations for k in step.n_in):
        return True
    seen: set[str] = set()
    todo = [c.group] if c.group is not None else []
    while todo and len(seen) < 100:
        name = todo.pop()
        group = groups.get(name)
        if name in seen or group is None:
            continue
        seen.add(name)
        if group.n_tasks > n:
            return True
        todo += group.dependencies
    return False


def _unsplittable(c: Collection) -> Read | None:
    """The files that it is read from, where none of them can be cut."""
    if len(c.reads) != 1:
        return None
    read = c.reads[0]
    if read.compression is not None and read.n_files is not None and c.npartitions == read.n_files:
        return read
    if read.format == "parquet" and read.n_row_groups is not None and read.n_row_groups == c.npartitions:
        return read
    return None


def _planned(c: Collection, collections: Sequence[Collection], code: Sequence[Cell]) -> Location | None:
    """The call in a cell that has not ended which will compute on `c`, or on what is made from it."""
    made = {c.name, *(o.name for o in collections if runs.is_made_from(o, c))}
    for cell in code:
        if cell.started is not None and cell.stopped is not None:
            continue
        tree = source.parse(cell.source)
        for statement in tree.body if tree is not None else ():
            if not isinstance(statement, (ast.Expr, ast.Assign)):
                made -= {name for name in made if source.binds(statement, name)}
                continue
            for call in _calls(statement):
                root = source.root(call)
                if root is not None and root.id in made:
                    return Location(cell_id=cell.id, execution_count=cell.execution_count, line=call.lineno)
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    root = source.root(value)
                    made = made | {name} if root is not None and root.id in made else made - {name}
                case _:
                    made -= {name for name in made if source.binds(statement, name)}
    return None


def _calls(statement: ast.stmt) -> Iterator[ast.Call]:
    for node in ast.walk(statement):
        match node:
            case ast.Call(func=ast.Attribute(attr="compute" | "persist")):
                yield node


def _fixes(
    c: Collection,
    file: Read | None,
    at: Location | None,
    cluster: Cluster,
    limit: Thresholds,
    load: Sequence[Load],
    code: Sequence[Cell],
) -> tuple[Fix, ...]:
    n = fixes.partition_count(limit.partitions_per_thread * cluster.nthreads, cluster)
    found = cutting.recut(c, n, cluster=cluster, code=code, ailing=at) if file is None else ()
    found = found or offers.spread(c, n, cluster=cluster, load=load, code=code, ailing=at)
    if file is not None and c.kind == "dataframe" and fixes.is_name(c.name):
        text = (
            "# once\n"
            f'{c.name}.repartition(npartitions={n}).to_parquet("{c.name}.parquet")\n\n'
            "# from then on\n"
            f'{c.name} = dd.read_parquet("{c.name}.parquet")'
        )
        expect = f"{n} partitions that all threads read at once; all workers must see the path"
        found = (*found, fixes.advice(text, title="Write it once in pieces, and read those", expect=expect))
    return found


def _finding(
    c: Collection, ran: _Run, planned: Read | None, limit: Thresholds, offered: tuple[Fix, ...]
) -> Finding:
    noun = "chunk" if c.kind == "array" else "partition"
    n = c.npartitions or 0
    have = words.count(n, noun)
    file = planned or _unsplittable(c)
    of = ""
    if file is not None and file.nbytes:
        what = f"{file.compression} file" if file.compression else "row group"
        count = file.n_files if file.compression else n
        each = "one" if count == 1 else words.count(count or 0)
        plural = "" if count == 1 else "s"
        of = f", from {each} {what}{plural} of {words.nbytes(file.nbytes / max(1, count or 1))}"
    if planned is not None:
        message = (
            f"{words.code(c.name)} has only {have}{of}: {words.count(ran.nthreads - n)} of "
            f"{words.count(ran.nthreads, 'thread')} will have nothing to do for ≈ {words.seconds(ran.seconds)}."
        )
    else:
        message = (
            f"{words.code(c.name)} has only {have}{of}: of {words.count(ran.nthreads, 'thread')} "
            f"{words.share(ran.idle)} stood idle for {words.seconds(ran.seconds)}."
        )
    why = "One thread works on one partition at a time: no more threads can help than there are partitions."
    if file is not None:
        why += " Such a file is read from its beginning to its end, and cannot be cut."
    evidence = [
        Evidence(label=f"{noun}s", value=n, unit="count", limit=ran.nthreads),
        Evidence(label="threads", value=ran.nthreads, unit="count"),
        Evidence(
            label="idle threads",
            value=ran.idle,
            unit="share",
            limit=limit.idle_share,
            is_estimated=planned is not None,
        ),
    ]
    if planned is None:
        evidence.append(Evidence(label="time of its tasks", value=ran.seconds, unit="seconds"))
        evidence.append(Evidence(label="what took it", value=ran.prefix[:80], unit="text"))
    if file is not None and file.nbytes:
        evidence.append(Evidence(label="on disk", value=file.nbytes, unit="bytes"))
    return too_few_partitions.finding(
        severity="warning",
        subject=c.name,
        message=message,
        why=why,
        evidence=tuple(evidence),
        at=ran.at,
        fixes=offered,
        loss_seconds=ran.loss,
        of_seconds=ran.seconds,
    )
