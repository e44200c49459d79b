"""What became of the graphs of one client: computations, task groups, sizes and failures.

Takes in what the scheduler's plugin answers, piece by piece, and keeps the last of each, bounded.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..snapshot import Computation, Location, PartitionSizes, Sending, Spread, TaskFailure, TaskGroup
from .activity import Activities
from .code import CellLog
from .fusion import spared
from .scheduler_metrics import SEND_METRICS
from .scheduler_view import MAX_NAME
from .submissions import Submission

MAX_COMPUTATIONS = 100
#: Sizes kept of one group; more partitions than this are counted and summed only.
MAX_VALUES = 4_096
#: Values of one group that go into a snapshot.
N_VALUES = 200
#: Groups whose sizes are kept, over all computations.
MAX_SIZED = 1_000
#: A submission that no graph was found for is forgotten after so many seconds.
MAX_UNMATCHED = 600.0
#: And one from before the plugin's time is taken for that of a graph that came so many seconds later at most.
MAX_DELAY = 30.0
#: The scheduler's clock and ours agree to this after correction.
CLOCK = 0.05
#: A worker whose clock was set meanwhile tells times that cannot be: durations above this (30 years) and
#: moments that are still to come by this much are not believed.
MAX_SECONDS = 1e9
MAX_AHEAD = 3_600.0

KILLED = (
    "{n} workers died while they ran this task, so Dask gave it up. "
    "Mostly a worker dies because its memory was not enough."
)


class Sizes:
    """Bytes of the finished tasks of one group."""

    def __init__(self) -> None:
        self.n = self.total = 0
        self.values: list[tuple[tuple[int, ...], int]] = []
        self.largest = -1
        self.largest_index: tuple[int, ...] | None = None
        self._made: PartitionSizes | None = None

    def add(self, index: Sequence[int] | None, nbytes: int) -> None:
        self.n += 1
        self.total += nbytes
        self._made = None
        place = tuple(index) if index is not None else None
        if nbytes > self.largest:
            self.largest, self.largest_index = nbytes, place
        if len(self.values) < MAX_VALUES:
            self.values.append((place or (), nbytes))

    def view(self) -> PartitionSizes | None:
        """All of it as one fact; None when nothing was measured."""
        if not self.values:
            return None
        if self._made is None:
            ordered = sorted(value for _, value in self.values)
            n = len(ordered)
            if n <= N_VALUES:
                values = tuple(value for _, value in sorted(self.values))
            else:
                values = tuple(ordered[round(i * (n - 1) / (N_VALUES - 1))] for i in range(N_VALUES))
            index = self.largest_index
            self._made = PartitionSizes(
                n=self.n,
                total=self.total,
                median=int(statistics.median(ordered)),
                p95=ordered[min(n - 1, int(0.95 * n))],
                largest=self.largest,
                largest_index=", ".join(map(str, index)) if index is not None else None,
                values=values,
            )
        return self._made


@dataclass(slots=True)
class _Graph:
    id: int
    client_id: str
    time: float = 0.0
    n_tasks: int = 0
    n_graphs: int = 0
    seconds: float | None = None
    nthreads: int = 0
    is_done: bool = False
    layers: tuple[tuple[str, int], ...] = ()
    reused: tuple[str, ...] = ()
    submission: Submission | None = None
    fused: int | None = None
    groups: dict[int, _Group] = field(default_factory=dict)
    peak: int | None = None
    peak_worker: int | None = None


@dataclass(slots=True)
class _Group:
    id: int
    graph: int
    name: str
    prefix: str
    n_tasks: int
    #: As `scheduler_graphs.ACTIONS` has them.
    seconds: tuple[float | None, ...]
    start: float | None
    stop: float | None
    dependencies: tuple[str, ...]
    n_memory: int
    n_done: int
    types: tuple[str, ...]
    spread: Spread | None


class Tasks:
    """The graphs of one client on one scheduler. For one thread at a time."""

    def __init__(self, scheduler_id: str, client_id: str) -> None:
        self.client_id = client_id
        self._name = scheduler_id[-8:]
        self._graphs: OrderedDict[int, _Graph] = OrderedDict()
        self._others: dict[int, None] = {}
        self._sizes: OrderedDict[int, Sizes] = OrderedDict()
        self._names: OrderedDict[int, str] = OrderedDict()
        self._failures: tuple[Sequence[Any], ...] = ()
        self._unmatched: deque[Submission] = deque(maxlen=1_000)
        self._activities = Activities()
        self.n_dropped = 0
        #: When a task of ours ended last, as far as the groups tell.
        self.last_stop: float | None = None

    def submit(self, submissions: Iterable[Submission]) -> None:
        """Graphs that the client has sent; the scheduler will tell of them."""
        self._unmatched.extend(submissions)

    def take(self, reply: Mapping[str, Any], to_kernel: Callable[[float], float]) -> None:
        """Take in one answer of the plugin, its times turned into the kernel's."""
        now = to_kernel(reply["time"])
        for row in reply["graphs"]:
            self._take_graph(row, to_kernel)
            graph = self._graphs.get(row[0])
            if graph is not None:
                prefixes = [name for name, _ in graph.layers]
                # Of one that runs already when we come, what it does from then on is told.
                is_ours = row[2] >= reply["epoch"] or not graph.is_done
                self._activities.begin(graph.id, prefixes, is_after_start=is_ours)
                if graph.is_done:
                    self._activities.end(graph.id, now)
        sums, heartbeat = reply["sums"], reply["running"]["heartbeat"]
        self._activities.take(sums, now, heartbeat, is_all=len(sums or ()) < SEND_METRICS)
        for row in reply["groups"]:
            self._take_group(row, to_kernel, now)
        for group, index, nbytes in reply["sizes"]:
            self._take_size(group, index, nbytes)
        self._failures = tuple((to_kernel(row[0]), *row[1:]) for row in reply["failures"])
        self.n_dropped = reply["n_dropped"]

    def saw_memory(self, process: int, largest: int) -> None:
        """The process memory of the cluster and of its fullest worker now: it counts for what runs."""
        for graph in self._graphs.values():
            if not graph.is_done:
                graph.peak = max(graph.peak or 0, process)
                graph.peak_worker = max(graph.peak_worker or 0, largest)

    def _take_graph(self, row: Sequence[Any], to_kernel: Callable[[float], float]) -> None:
        id, client, time, n_tasks, n_graphs, seconds, nthreads, is_done, layers, reused, n_keys, label = row
        if client != self.client_id:
            self._others[id] = None
            return
        graph = self._graphs.get(id)
        if graph is None:
            graph = self._graphs[id] = _Graph(id, client)
            while len(self._graphs) > MAX_COMPUTATIONS:
                self._graphs.popitem(last=False)
        graph.time, graph.n_tasks, graph.n_graphs = to_kernel(time), n_tasks, n_graphs
        graph.seconds, graph.nthreads, graph.is_done = seconds, nthreads, is_done
        graph.layers = tuple((str(name), int(n)) for name, n in layers)
        graph.reused = tuple(reused)
        if graph.submission is None:
            graph.submission = self._match(graph, n_keys, label)

    def _match(self, graph: _Graph, n_keys: int | None, label: str | None) -> Submission | None:
        while self._unmatched and self._unmatched[0].time < graph.time - MAX_UNMATCHED:
            self._unmatched.popleft()
        before = [item for item in self._unmatched if item.time <= graph.time + CLOCK]
        if label is None:
            # From before the plugin's time: nothing but the order is known.
            found = next((item for item in before if graph.time - item.time < MAX_DELAY), None)
        else:
            same = [item for item in before if item.label == label]
            if graph.n_graphs == 1:
                same = [item for item in same if item.n_keys == n_keys]
            # The last one: an earlier one of the same name that has no graph failed on its way.
            surely = [item for item in same if item.time <= graph.time]
            found = surely[-1] if surely else next(iter(same), None)
        if found is None:
            return None
        self._unmatched.remove(found)
        return found

    def _take_group(self, row: Sequence[Any], to_kernel: Callable[[float], float], now: float) -> None:
        id, graph_id, name, prefix, n_tasks, seconds, start, stop, dependencies, *rest = row
        n_memory, n_done, types, spread = rest
        self._names[id] = name
        if len(self._names) > 10_000:
            self._names.popitem(last=False)
        graph = self._graphs.get(graph_id)
        if graph is not None:
            group = graph.groups[id] = _Group(
                id,
                graph_id,
                name,
                prefix,
                n_tasks,
                tuple(value if 0 <= value < MAX_SECONDS else None for value in seconds),
                _moment(start, to_kernel, now),
                _moment(stop, to_kernel, now),
                tuple(dependencies),
                n_memory,
                n_done,
                tuple(types),
                _spread(spread),
            )
            if group.stop is not None:
                self.last_stop = max(group.stop, self.last_stop or 0.0)

    def _take_size(self, group: int, index: Sequence[int] | None, nbytes: int) -> None:
        sizes = self._sizes.get(group)
        if sizes is None:
            sizes = self._sizes[group] = Sizes()
            if len(self._sizes) > MAX_SIZED:
                self._sizes.popitem(last=False)
        sizes.add(index, nbytes)

    def sizes(self, group: str) -> PartitionSizes | None:
        """Sizes of the newest group of this name that any were seen of."""
        name = group[:MAX_NAME]
        for id in reversed(self._names):
            if self._names[id] == name and id in self._sizes:
                return self._sizes[id].view()
        return None

    @property
    def prefixes(self) -> set[str]:
        """Of all tasks that this client has sent."""
        return {name for graph in self._graphs.values() for name, _ in graph.layers}

    def computations(self, cells: CellLog) -> tuple[Computation, ...]:
        # Those of one pull come in the order in which they changed.
        graphs = sorted(self._graphs.values(), key=lambda graph: graph.time)
        return tuple(self._computation(graph, cells) for graph in graphs if graph.n_tasks)

    def place(self, graph_id: int | None, cells: CellLog) -> tuple[str | None, Location | None]:
        """The computation and the cell of a graph of ours; None for what is not ours or unknown."""
        graph = self._graphs.get(graph_id) if graph_id is not None else None
        if graph is None:
            return None, None
        sent = graph.submission
        return self._id(graph.id), _at(cells, sent.time if sent is not None else graph.time, sent)

    def _id(self, graph: int) -> str:
        return f"{self._name}-{graph}"

    def _computation(self, graph: _Graph, cells: CellLog) -> Computation:
        sent = graph.submission
        groups = graph.groups.values()
        starts = [group.start for group in groups if group.start is not None]
        stops = [group.stop for group in groups if group.stop is not None]
        began = sent.time if sent is not None else graph.time
        start = min(starts) if starts else (graph.time if stops else None)
        return Computation(
            id=self._id(graph.id),
            client_id=graph.client_id,
            submitted=graph.time,
            n_tasks=graph.n_tasks,
            schedule_seconds=graph.seconds,
            start=max(start, graph.time) if start is not None else None,
            stop=max(stops) if stops and graph.is_done else None,
            is_done=graph.is_done,
            thread_seconds=sum(group.seconds[0] or 0.0 for group in groups) if groups else None,
            nthreads=graph.nthreads,
            layers=graph.layers,
            names=sent.names if sent is not None else (),
            fused_tasks=_fused(graph),
            reused=graph.reused,
            method=sent.method if sent is not None else None,
            is_hidden=sent.is_hidden if sent is not None else None,
            asked=sent.progress.asked if sent is not None else (),
            sending=_sending(sent) if sent is not None else None,
            key_columns=sent.key_columns if sent is not None else (),
            peak_memory=graph.peak,
            peak_worker_memory=graph.peak_worker,
            activity=self._activities.of(graph.id),
            at=_at(cells, began, sent),
        )

    def groups(self) -> tuple[TaskGroup, ...]:
        return tuple(
            TaskGroup(
                name=group.name,
                prefix=group.prefix,
                computation_id=self._id(graph.id),
                n_tasks=group.n_tasks,
                compute_seconds=group.seconds[0],
                transfer_seconds=group.seconds[1],
                disk_read_seconds=group.seconds[2],
                disk_write_seconds=group.seconds[3],
                deserialize_seconds=group.seconds[4],
                start=group.start,
                stop=group.stop,
                dependencies=group.dependencies,
                sizes=sizes.view() if (sizes := self._sizes.get(group.id)) is not None else None,
                n_memory=group.n_memory,
                n_done=group.n_done,
                types=group.types,
                spread=group.spread,
            )
            for graph in self._graphs.values()
            for group in graph.groups.values()
        )

    def failures(self, cells: CellLog) -> tuple[TaskFailure, ...]:
        """Of this client's graphs, and those that nobody knows the graph of."""
        return tuple(self._failure(row, cells) for row in self._failures if row[5] not in self._others)

    def _failure(self, row: Sequence[Any], cells: CellLog) -> TaskFailure:
        time, prefix, key, kind, text, graph_id, n_workers, trace = row
        graph = self._graphs.get(graph_id)
        if graph is not None:
            sent = graph.submission
            at = _at(cells, sent.time if sent is not None else graph.time, sent)
        else:
            at = cells.at(time)
        return TaskFailure(
            time=time,
            prefix=prefix,
            key=key,
            exception=kind,
            text=(text or KILLED.format(n=n_workers if n_workers > 1 else "Several"))[:1_000],
            trace=trace,
            computation_id=self._id(graph_id) if graph is not None else None,
            at=at,
        )


def _fused(graph: _Graph) -> int | None:
    """Tasks that fusing would leave; known once the scheduler has told of all groups."""
    sent = graph.submission
    if graph.fused is None and sent is not None and sent.steps and graph.n_graphs == 1:
        merged = spared(sent.steps, {group.name: group.n_tasks for group in graph.groups.values()})
        graph.fused = None if merged is None else max(1, graph.n_tasks - merged)
    return graph.fused


def _sending(sent: Submission) -> Sending:
    progress = sent.progress
    large = [one.nbytes for collection in progress.asked for one in collection.embedded]
    return Sending(
        time=sent.time,
        optimize_seconds=progress.optimize_seconds,
        serialize_seconds=progress.serialize_seconds,
        nbytes=sum(large) if progress.asked else None,
    )


def _spread(row: Sequence[Any] | None) -> Spread | None:
    if row is None:
        return None
    n, median, p95, longest = row
    return Spread(n=n, median=median, p95=p95, longest=longest)


def _moment(value: float | None, to_kernel: Callable[[float], float], now: float) -> float | None:
    moment = to_kernel(value) if value else None
    return moment if moment is not None and 0 < moment < now + MAX_AHEAD else None


def _at(cells: CellLog, time: float, sent: Submission | None) -> Location | None:
    at = cells.at(time)
    if at is None or sent is None or sent.line is None:
        return at
    return replace(at, line=sent.line)
