"""Large data of the kernel stands in the graph itself and travels with it, again with each computation.

## Why it matters
What `from_pandas`, `from_array` and arguments of functions are given is part of the graph. Each `compute()`
pickles all of it in the kernel, sends it to the scheduler, which unpacks it, packs it again task by task and
sends it on to the workers. The scheduler does nothing else meanwhile and holds all of it in its memory.

## Anti-pattern
    orders = pd.read_csv("orders.csv")                # the kernel reads 2 GB
    df = dd.from_pandas(orders, npartitions=20)       # and sends 2 GB with each compute()
    df.map_partitions(add_names, names)               # a lookup table of 50 MB in each of 20 tasks

## Best practice
    df = dd.read_csv("orders.csv")                    # the workers read
    names_once = dask.delayed(names)                  # one copy for all tasks
    df.map_partitions(add_names, names_once, meta=named)     # with meta=: nobody can look into it

Where the data can only be made in the kernel, `df = df.persist()` sends it once and keeps it on the workers.

## How it is known
Arrays, frames and bytes of at least 10 MB within the graph: of lazy collections before they are computed, and
of each graph as it was sent. What it costs was measured where optimizing, pickling, the way and the scheduler's
unpacking were seen: without what the tasks themselves take, and no more than 20 s for each GB. Else it is
reckoned at 4 s for each GB and copy, marked "≈". (Measured on a busy machine with 2 cores, Dask 2026.8.0: 4.7 s
per GB for an array, 14 to 19 s for frames, 3.7 s for each copy in a task of its own.) It speaks when that is at
least 1 s in all, and 5 % of what the computations took.

## When it stays quiet
Small lookups; data that is sent once by `persist()` and then read on the workers; data in a graph that nothing
is about to compute; once the cells that sent it ran again without it.

## Fix safety
Needs review. Read by the workers, the rows are in other partitions and each partition counts its index anew; the
file must be where the workers can see it. `persist()` keeps memory as long as the variable lives.
`client.scatter` would spare the scheduler's memory too, but what is scattered is lost with its worker.

## References
https://docs.dask.org/en/stable/best-practices.html#load-data-with-dask
https://docs.dask.org/en/stable/delayed-best-practices.html
https://github.com/dask/distributed/issues/8814
https://github.com/dask/distributed/pull/8815
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ... import source, words
from ...judging import runs, starts
from ...remedies import fixes, loading
from ...report import Chart, Evidence, Finding, Fix, Measure, Series
from ...snapshot import Cell, Cluster, Collection, Computation, Embedded, Load, Location
from ..registry import rule

_TOKEN = re.compile(r"-[0-9a-f]{16,}.*$")
_KEPT = ("dataframe", "series", "array", "bag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Bytes of one constant from which it may speak (Dask's own warning: `admin.large-graph-warning-threshold`).
    nbytes: int = 10_000_000
    #: Seconds that a GB costs on its way through the scheduler, and again for each copy (see the manual).
    seconds_per_gigabyte: float = 4.0
    #: The most of what was measured that is believed to be its fault: frames of text cost as much.
    most_seconds_per_gigabyte: float = 20.0
    #: Seconds that the scheduler needs for each task, whatever it brings (docs: 200 µs to 1 ms).
    task_seconds: float = 0.0005
    #: Seconds that must be lost, and their share of what the computations took.
    loss_seconds: float = 1.0
    loss_share: float = 0.05
    #: Share of the cluster's free memory that data may take for `persist()` to be inserted.
    free_share: float = 0.5


@dataclass(slots=True, kw_only=True)
class _Sent:
    """One constant, and how it was sent and will be."""

    item: Embedded
    #: What the user calls it.
    subject: str
    #: Computations that brought it with them, and where it is about to be sent.
    done: list[Computation] = field(default_factory=list)
    coming: list[Location] = field(default_factory=list)
    #: The collection that it stands in, largest first in size.
    collection: Collection | None = None


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = [c for c in runs.of_cell(runs.newest(computations, code), at) if c.sending is not None]
    if not own:
        return ()
    spent = sum(s.seconds - s.waiting for c in own if (s := starts.start_of(c)) is not None)
    sent = sum(c.sending.nbytes or 0 for c in own if c.sending is not None)
    return (
        Measure(label="before the first task", value=spent, unit="seconds"),
        Measure(label="data in the graphs", value=sent, unit="bytes"),
    )


@rule(
    id="embedded-data",
    title="Large data travels inside the graph",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections", "computations"),
    measure=_measure,
)
def embedded_data(
    computations: tuple[Computation, ...],
    cluster: Cluster,
    limit: Thresholds,
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
    load: tuple[Load, ...] = (),
) -> Iterator[Finding]:
    for sent in _sent(computations, collections, code, limit):
        gigabytes = sent.item.nbytes * max(1, sent.item.n_times) / 1e9
        once = gigabytes * limit.seconds_per_gigabyte
        spent = sum(
            max(once, min(gigabytes * limit.most_seconds_per_gigabyte, _seen(c, limit))) for c in sent.done
        )
        measured = any(c.sending is not None and c.start is not None for c in sent.done)
        lasted = sum(_lasted(c) for c in sent.done)
        if sent.done and all(c.stop is not None for c in sent.done):
            spent = min(spent, lasted)
        loss = spent + once * len(sent.coming)
        if loss < limit.loss_seconds or (not sent.coming and spent < limit.loss_share * lasted):
            continue
        yield _finding(
            sent, loss, measured, lasted, load, limit, _fixes(sent, cluster, collections, code, load, limit)
        )


def _seen(c: Computation, limit: Thresholds) -> float:
    """Seconds of optimizing (the data are hashed and cut), pickling, sending and unpacking; not the tasks' own."""
    start = starts.start_of(c)
    return 0.0 if start is None else start.seconds - start.waiting - c.n_tasks * limit.task_seconds


def _lasted(c: Computation) -> float:
    """From the call to the last task."""
    if c.stop is None:
        return 0.0
    return max(0.0, c.stop - starts.called(c))


def _sent(
    computations: tuple[Computation, ...],
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
    limit: Thresholds,
) -> list[_Sent]:
    """By subject: before and after it is the same finding."""
    found: dict[str, _Sent] = {}

    def note(item: Embedded) -> _Sent:
        subject = item.variable or _TOKEN.sub("", item.layer) or "graph"
        sent = found.setdefault(subject, _Sent(item=item, subject=subject))
        if item.nbytes * item.n_times > sent.item.nbytes * sent.item.n_times:
            sent.item = item
        return sent

    for c in runs.newest(computations, code):
        items = [e for asked in c.asked for e in asked.embedded if e.nbytes >= limit.nbytes]
        if not items and not c.asked and c.sending is not None and (c.sending.nbytes or 0) >= limit.nbytes:
            layer = c.layers[0][0] if c.layers else "graph"
            items = [Embedded(type="data", nbytes=c.sending.nbytes or 0, layer=layer)]
        spoken = runs.spoken_of(runs.cell_at(code, c.at), collections)
        for item in {(e.layer, e.variable): e for e in items}.values():
            # The variable is bound to something else by now: what was sent then will not be sent again
            if spoken and item.is_source and not any(_holds(x, item) for x in spoken):
                continue
            note(item).done.append(c)
    for held in collections:
        items = [e for e in held.embedded if e.nbytes >= limit.nbytes]
        coming = list(_coming(held, code)) if items and not held.is_persisted else []
        for item in items:
            sent = note(item)
            if sent.collection is None or len(held.names) < len(sent.collection.names):
                sent.collection = held
            sent.coming += [at for at in coming if at not in sent.coming]
    return [sent for sent in found.values() if sent.done or sent.coming]


def _holds(c: Collection, item: Embedded) -> bool:
    return any(e.layer == item.layer or (e.variable and e.variable == item.variable) for e in c.embedded)


def _coming(c: Collection, code: Sequence[Cell]) -> Iterator[Location]:
    """Calls of `compute` on it, or on something made from it, in cells that have not run yet.

    What runs now is sent by its own computations, and a `persist()` is what cures.
    """
    for cell in code:
        tree = source.parse(cell.source) if c.name in cell.source else None
        if tree is None or cell.started is not None:
            continue
        for statement in tree.body:
            if source.binds(statement, c.name):
                return  # another one from here on
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and _is_compute_of(node, c.name):
                    yield Location(cell_id=cell.id, execution_count=cell.execution_count, line=node.lineno)


def _is_compute_of(call: ast.Call, name: str) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="dask"), attr="compute"):
            return any((start := source.root(a)) is not None and start.id == name for a in call.args)
        case ast.Attribute(attr="compute"):
            start = source.root(call.func)
            return start is not None and start.id == name
        case _:
            return False


def _finding(
    sent: _Sent,
    loss: float,
    measured: bool,
    lasted: float,
    load: tuple[Load, ...],
    limit: Thresholds,
    offered: tuple[Fix, ...],
) -> Finding:
    item, n_done, n_coming = sent.item, len(sent.done), len(sent.coming)
    name, size = words.code(sent.subject), words.nbytes(item.nbytes)
    layer = words.code(_TOKEN.sub("", item.layer))
    copies = f" in each of {words.count(item.n_times, 'task')}" if item.n_times > 1 else ""
    is_estimated = not measured or bool(n_coming)
    about = "≈ " if is_estimated else ""
    inside = f"inside {layer}" if layer != name else "inside the graph"
    if n_done:
        said = f"was sent with {words.count(n_done, 'computation')}"
        said += f" and is about to be sent {words.count(n_coming, 'time')} more" if n_coming else ""
        at = max(sent.done, key=lambda c: c.submitted).at
    else:
        said = f"will be sent with {words.count(n_coming, 'computation')}"
        at = sent.coming[0]
    total = item.nbytes * item.n_times * (n_done + n_coming)
    evidence = [
        Evidence(label="in the graph", value=item.nbytes, unit="bytes", limit=limit.nbytes),
        Evidence(label="layer that holds it", value=_TOKEN.sub("", item.layer), unit="text"),
        Evidence(label="computations that send it", value=n_done + n_coming, unit="count"),
        Evidence(label="sent in all", value=total, unit="bytes", is_estimated=item.n_times > 1),
        Evidence(
            label="sending and taking in",
            value=loss,
            unit="seconds",
            is_estimated=is_estimated,
            limit=max(limit.loss_seconds, limit.loss_share * lasted),
        ),
    ]
    since = min((c.submitted for c in sent.done), default=None)
    held = [p.scheduler_memory for p in load if p.scheduler_memory and since is not None and p.time >= since]
    if held:
        evidence.append(Evidence(label="most memory of the scheduler since", value=max(held), unit="bytes"))
    return embedded_data.finding(
        severity="warning",
        subject=sent.subject,
        message=f"{name} ({size}) stands {inside}{copies} and {said}: {about}{words.seconds(loss)}.",
        why="Each computation pickles it, sends it to the scheduler and from there to the workers once more, "
        "while nothing else gets on; the scheduler holds it in its memory as long as its tasks live.",
        evidence=tuple(evidence),
        charts=_charts(sent.done),
        at=at,
        fixes=offered,
        loss_seconds=loss,
        of_seconds=max(loss, lasted) if n_done and not n_coming else None,
        loss_bytes=item.nbytes,
    )


def _charts(done: Iterable[Computation]) -> tuple[Chart, ...]:
    """Where the slowest start went."""
    seen = [s for c in done if (s := starts.start_of(c)) is not None]
    if not seen:
        return ()
    slowest = max(seen, key=lambda s: s.seconds)
    return (
        Chart(
            kind="bars",
            title="From compute() to the first task",
            unit="seconds",
            series=(Series(name="seconds", values=tuple(v for _, v in slowest.parts)),),
            labels=tuple(label for label, _ in slowest.parts),
        ),
    )


def _fixes(
    sent: _Sent,
    cluster: Cluster,
    collections: tuple[Collection, ...],
    code: tuple[Cell, ...],
    load: tuple[Load, ...],
    limit: Thresholds,
) -> tuple[Fix, ...]:
    item, times = sent.item, len(sent.done) + len(sent.coming)
    ailing = sent.done[-1].at if sent.done else sent.coming[0]
    size = words.nbytes(item.nbytes)
    if not item.is_source:
        return _for_lookup(sent, code, collections, ailing)
    found = []
    local = cluster.is_in_process and cluster.kind == "LocalCluster"
    c = sent.collection
    made = loading.read_with_dask(
        code,
        loading.Wanted(
            variable=item.variable,
            npartitions=c.npartitions if c is not None else None,
            nbytes=item.nbytes,
            ailing=ailing,
            title="Let the workers read the file",
            expect=f"{size} less in each graph and in the kernel; the workers read it in parallel, "
            "and each partition counts its index anew",
        ),
    )
    if made is not None and local:
        return (made,)
    if made is not None:
        found.append(
            fixes.advice(made.code, title=made.title, expect=f"{made.expect}; all workers must see the file")
        )
    if times > 1 and c is not None and c.kind in _KEPT and fixes.is_name(c.name):
        held = c.nbytes.nbytes if c.nbytes is not None else item.nbytes
        free = None
        if cluster.memory_limit is not None:
            free = cluster.memory_limit - (load[-1].managed + load[-1].unmanaged if load else 0)
        title = f"Send {words.code(c.name)} once and keep it on the workers"
        expect = f"{size} sent once instead of {times} times; {words.nbytes(held)} stay in memory as long as "
        expect += f"{words.code(c.name)} lives"
        text = fixes.persist(c.name)
        if free is None or held < limit.free_share * free:
            return (
                fixes.rebind(
                    c.name, text, binding=runs.cell_at(code, c.at), ailing=ailing, title=title, expect=expect
                ),
                *found,
            )
    if not found:
        found.append(
            fixes.advice(
                "# each task reads or makes its own part\n"
                "def part(i):\n"
                "    ...  # read or make part i\n\n"
                f"df = dd.from_map(part, range({c.npartitions if c is not None and c.npartitions else 'n'}))",
                title="Make the data on the workers",
                expect=f"the graph shrinks by {size}",
            )
        )
    return tuple(found)


def _for_lookup(
    sent: _Sent, code: tuple[Cell, ...], collections: tuple[Collection, ...], ailing: Location | None
) -> tuple[Fix, ...]:
    """Something handed to a function: one copy in the graph instead of one in each task."""
    item, name = sent.item, sent.item.variable
    title = f"Hand {words.code(name)} over once" if name else "Hand the data over once"
    copies = f"{item.n_times:,} copies" if item.n_times > 1 else "a copy in each task"
    expect = f"{copies} of {words.nbytes(item.nbytes)} → one, which the workers pass on to each other"
    if name is not None and item.n_times > 1:
        made = loading.handed_over_once(code, name, collections, title=title, expect=expect, ailing=ailing)
        if made is not None:
            return (made,)
    shown = name if name is not None and fixes.is_name(name) else "data"
    text = (
        f"{shown}_once = dask.delayed({shown})\n"
        "# hand this to delayed functions, and to map_partitions together with meta=\n"
        f"# for client.submit and client.map: client.scatter({shown}, broadcast=True); lost with its workers\n"
        "# best of all: let the function read it from a file itself"
    )
    return (fixes.advice(text, title=title, expect=expect),)
