"""The graphs that were sent, and those that lazy collections would send: tasks per layer, data inside, and where
the time went between the cell and its first task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..messages import EmbeddedInfo, GraphInfo, HiddenJobs, LayerInfo, StartKind, StartPart
from ..snapshot import Cell, Collection, Computation, Embedded, Gap, Location, Phase, Snapshot
from .fitting import cut, nbytes

#: Computations and lazy collections that are listed, and how many of one run of a cell.
GRAPHS, OF_ONE_CELL = 8, 2
HIDDEN = 10
#: Layers and large constants of one graph, at most, and when room is short.
LAYERS, FEW_LAYERS = 12, 5
EMBEDDED, FEW_EMBEDDED = 5, 2
NAMES, NAME = 4, 80
#: Phases that come before Dask is called for good.
BEFORE: tuple[StartKind, ...] = ("metadata", "building")
ORDER: tuple[StartKind, ...] = (
    *BEFORE,
    "optimizing",
    "serializing",
    "sending",
    "scheduling",
    "waiting",
)


def graphs(snapshot: Snapshot) -> tuple[GraphInfo, ...]:
    """The newest computations that cells asked for first, then the lazy collections, most tasks first."""
    return (*_computed(snapshot), *_lazy(snapshot))


def hidden_jobs(snapshot: Snapshot) -> tuple[HiddenJobs, ...]:
    """Computations that nobody asked for, those of one line together, the dearest first."""
    found: dict[tuple[Location | None, str | None], list[float]] = defaultdict(list)
    for one in _computations(snapshot):
        if one.is_hidden:
            found[one.at, one.method].append(_seconds(one, snapshot.time))
    jobs = [
        HiddenJobs(
            method=None if method is None else cut(method, NAME),
            n=len(seconds),
            code=_line(at, snapshot),
            seconds=round(sum(seconds), 3),
            at=at,
        )
        for (at, method), seconds in found.items()
    ]
    return tuple(sorted(jobs, key=lambda one: -one.seconds)[:HIDDEN])


def _computations(snapshot: Snapshot) -> tuple[Computation, ...]:
    return () if isinstance(snapshot.computations, Gap) else snapshot.computations


def _seconds(one: Computation, now: float) -> float:
    """From the call to the last task; what runs still, until now."""
    begun = one.submitted
    if one.sending is not None:
        begun = min(begun, one.sending.time - (one.sending.optimize_seconds or 0.0))
    end = one.stop if one.stop is not None else (one.submitted if one.is_done else now)
    return max(0.0, end - begun)


# What was sent ----------------------------------------------------------------------------------------


def _computed(snapshot: Snapshot) -> Iterator[GraphInfo]:
    of_cell: dict[object, list[Computation]] = defaultdict(list)
    for one in _computations(snapshot):
        if one.at is not None and not one.is_hidden:
            of_cell[_cell(one.at)].append(one)
    shown: list[tuple[Computation, int]] = []
    for together in of_cell.values():
        # Of a cell that computes in a loop the largest graphs are enough.
        kept = sorted(together, key=lambda one: (-one.n_tasks, -one.submitted))[:OF_ONE_CELL]
        first = min(kept, key=lambda one: one.submitted)
        shown.extend((one, len(together) - len(kept) if one is first else 0) for one in kept)
    shown.sort(key=lambda pair: -pair[0].submitted)
    for one, n_more in shown[:GRAPHS]:
        yield _sent(one, snapshot, n_more)


def _cell(at: Location | None) -> object:
    return None if at is None else (at.cell_id, at.execution_count)


def _sent(one: Computation, snapshot: Snapshot, n_more: int) -> GraphInfo:
    layers = _merged(one.layers)
    depths = [each.depth for each in one.asked if each.depth is not None]
    done = one.stop if one.is_done else None
    return GraphInfo(
        id=one.id,
        names=_names(one.asked),
        code=_line(one.at, snapshot),
        at=one.at,
        n_tasks=one.n_tasks,
        fused_tasks=one.fused_tasks,
        method=None if one.method is None else cut(one.method, NAME),
        layers=layers[:LAYERS],
        n_layers=len(layers),
        embedded=_embedded(part for each in one.asked for part in each.embedded),
        start=_start(one, snapshot),
        run_seconds=None if done is None or one.start is None else round(max(0.0, done - one.start), 3),
        is_done=one.is_done,
        depth=max(depths, default=None),
        is_cyclic=any(each.cycle for each in one.asked),
        n_more=n_more,
    )


def _line(at: Location | None, snapshot: Snapshot) -> str | None:
    """What stands in the line, or in the cell where that has but one."""
    if at is None or isinstance(snapshot.code, Gap):
        return None
    for cell in snapshot.code:
        if cell.id != at.cell_id or cell.execution_count != at.execution_count:
            continue
        lines = cell.source.splitlines()
        if at.line is None:
            told = [line for line in lines if line.strip()]
            return cut(told[0].strip(), NAME) if len(told) == 1 else None
        line = lines[at.line - 1].strip() if 0 < at.line <= len(lines) else ""
        return cut(line, NAME) or None
    return None


def _names(asked: Iterable[Collection]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cut(one.name, NAME) for one in asked if one.name))[:NAMES]


def _start(one: Computation, snapshot: Snapshot) -> tuple[StartPart, ...]:
    """Steps between the cell and its first task; one that nobody saw is left out, never guessed."""
    parts: dict[StartKind, float] = {}
    sending = one.sending
    begun = one.submitted
    if sending is not None:
        begun = sending.time - (sending.optimize_seconds or 0.0)
        if sending.optimize_seconds is not None:
            parts["optimizing"] = sending.optimize_seconds
        sent = sending.time
        if sending.serialize_seconds is not None:
            parts["serializing"] = sending.serialize_seconds
            sent += sending.serialize_seconds
            parts["sending"] = one.submitted - sent
    if one.schedule_seconds is not None:
        parts["scheduling"] = one.schedule_seconds
        if one.start is not None:
            parts["waiting"] = one.start - one.submitted - one.schedule_seconds
    for kind, seconds in _phases(one, snapshot, begun):
        # Told better by the client itself, where it did.
        if kind not in parts or kind in BEFORE:
            parts[kind] = parts.get(kind, 0.0) + seconds
    return tuple(
        StartPart(kind=kind, seconds=round(max(0.0, parts[kind]), 3)) for kind in ORDER if kind in parts
    )


def _phases(one: Computation, snapshot: Snapshot, begun: float) -> Iterator[tuple[StartKind, float]]:
    """What the cell did inside Dask since it began, or since its graph before this one."""
    if isinstance(snapshot.phases, Gap) or one.at is None:
        return
    since = max(
        (
            each.submitted
            for each in _computations(snapshot)
            if each.submitted < one.submitted and _cell(each.at) == _cell(one.at)
        ),
        default=_started(one, snapshot),
    )
    for phase in snapshot.phases:
        if phase.kind == "waiting" or _cell(phase.at) != _cell(one.at):
            continue
        until = one.submitted if phase.kind not in BEFORE else min(begun, one.submitted)
        seconds = _overlap(phase, since, until, snapshot.time)
        if seconds > 0:
            yield phase.kind, seconds


def _started(one: Computation, snapshot: Snapshot) -> float:
    cells: Sequence[Cell] = () if isinstance(snapshot.code, Gap) else snapshot.code
    assert one.at is not None
    for cell in cells:
        if cell.id == one.at.cell_id and cell.started is not None and cell.started <= one.submitted:
            return cell.started
    return float("-inf")


def _overlap(phase: Phase, since: float, until: float, now: float) -> float:
    stop = now if phase.stop is None else phase.stop
    return max(0.0, min(stop, until) - max(phase.start, since))


# What would be sent -----------------------------------------------------------------------------------


def _lazy(snapshot: Snapshot) -> Iterator[GraphInfo]:
    if isinstance(snapshot.collections, Gap):
        return
    lazy = [
        one
        for one in snapshot.collections
        if not one.is_persisted and one.kind != "futures" and (one.n_tasks or one.layers or one.cycle)
    ]
    for one in sorted(lazy, key=lambda one: -_n_tasks(one))[:GRAPHS]:
        layers = _merged((layer.prefix, layer.n_tasks) for layer in one.layers)
        yield GraphInfo(
            id=None,
            names=(cut(one.name, NAME),),
            code=None,
            at=one.at,
            n_tasks=one.n_tasks,
            fused_tasks=one.fused_tasks,
            layers=layers[:LAYERS],
            n_layers=len(layers),
            embedded=_embedded(one.embedded),
            depth=one.depth,
            is_cyclic=bool(one.cycle),
        )


def _n_tasks(one: Collection) -> int:
    return one.n_tasks if one.n_tasks is not None else sum(layer.n_tasks for layer in one.layers)


def _merged(layers: Iterable[tuple[str, int]]) -> tuple[LayerInfo, ...]:
    tasks: dict[str, int] = defaultdict(int)
    for prefix, n in layers:
        tasks[prefix] += n
    ordered = sorted(tasks.items(), key=lambda item: -item[1])
    return tuple(LayerInfo(prefix=cut(prefix, NAME), n_tasks=n) for prefix, n in ordered)


def _embedded(parts: Iterable[Embedded]) -> tuple[EmbeddedInfo, ...]:
    ordered = sorted(dict.fromkeys(parts), key=lambda one: -one.nbytes)
    return tuple(
        EmbeddedInfo(
            type=cut(one.type, NAME),
            nbytes=one.nbytes,
            n_times=one.n_times,
            variable=None if one.variable is None else cut(one.variable, NAME),
        )
        for one in ordered[:EMBEDDED]
    )


# Fitting ----------------------------------------------------------------------------------------------


def fit_graphs(told: Sequence[GraphInfo], limit: int) -> tuple[tuple[GraphInfo, ...], tuple[str, ...]]:
    """The graphs in at most `limit` bytes of JSON, and what was left out, in words."""
    fitted = tuple(told)
    left_out: list[str] = []
    if nbytes(fitted) > limit:
        fitted = tuple(
            replace(one, layers=one.layers[:FEW_LAYERS], embedded=one.embedded[:FEW_EMBEDDED])
            for one in fitted
        )
        left_out.append("layers of graphs beyond the largest")
    if nbytes(fitted) > limit:
        fitted = tuple(
            replace(
                one,
                names=tuple(cut(name, NAME // 2) for name in one.names[:1]),
                layers=tuple(replace(layer, prefix=cut(layer.prefix, NAME // 2)) for layer in one.layers),
            )
            for one in fitted
        )
    n = len(fitted)
    while fitted and nbytes(fitted) > limit:
        # Of computations and of what would be computed some stay.
        halves = [[one for one in fitted if one.id is not None], [one for one in fitted if one.id is None]]
        longer = max(halves, key=len)
        longer.pop()
        fitted = (*halves[0], *halves[1])
    if len(fitted) < n:
        left_out.append(f"{n - len(fitted)} of {n} graphs")
    return fitted, tuple(left_out)
