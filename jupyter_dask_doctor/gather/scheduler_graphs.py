"""The graphs that a scheduler was given: which task groups they brought, and the sizes that came of them.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from itertools import islice
from operator import attrgetter
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from .scheduler_view import clean, label

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskGroup

    from .scheduler_deep import Deep

MAX_GROUPS = 4_000
MAX_GROUPS_PER_GRAPH = 500
#: Sizes kept for kernels that have not fetched them yet.
MAX_ROWS = 20_000
#: Keys looked at in one snapshot, and what is sent.
WALK_KEYS = 4_000
SEND_ROWS = 2_000
SEND_RECORDS = 250

#: Whose seconds are told of a group, in this order.
ACTIONS = ("compute", "transfer", "disk-read", "disk-write", "deserialize")
#: Groups of graphs that are done are looked at again so many at a time: what is held may be let go of.
LOOK_AGAIN = 200

_group_of = attrgetter("group")


def n_done(tg: TaskGroup) -> int:
    """How often tasks of a group have come to a good end."""
    return sum(tg._types.values())


class Graph:
    """One graph as it arrived, or several of a single task each that a client sent in a row."""

    def __init__(self, id: int, client: str, time: float, stimulus_id: str | None, nthreads: int) -> None:
        self.id, self.client, self.time, self.stimulus_id = id, client, time, stimulus_id
        self.nthreads = nthreads
        self.seq = 0
        self.n_tasks = self.n_graphs = 0
        self.seconds: float | None = None
        self.layers: Counter[str] = Counter()
        #: Own groups by identity, and the names of those that were there before and have nothing left to run.
        self.groups: dict[int, Group] = {}
        self.reused: list[str] = []
        #: What the client asked for, up to where it is finished; None when that was before our time.
        self.wanted: list[Any] | None = []
        self.label: str | None = None
        self.n_finished = 0
        self.is_done = False
        self.todo: list[Any] = []
        self.later: list[Any] = []
        self.at = 0

    @property
    def n_keys(self) -> int:
        return len(self.todo) - self.at + len(self.later)

    def row(self) -> list[Any]:
        return [
            self.id,
            self.client,
            self.time,
            self.n_tasks,
            self.n_graphs,
            self.seconds,
            self.nthreads,
            self.is_done,
            [[clean(name), n] for name, n in self.layers.most_common(20)],
            self.reused,
            len(self.wanted) if self.wanted is not None else None,
            self.label,
        ]


class Group:
    """The tasks of one task group that one graph brought."""

    def __init__(self, id: int, graph: Graph, tg: TaskGroup, n_tasks: int, deep: Deep | None) -> None:
        self.id, self.graph, self.tg, self.n_tasks = id, graph, tg, n_tasks
        self.seq = 0
        self.seen: Any = None
        durations = tg.all_durations
        # Names without a token (`submit`, `map`) go on in the group of earlier calls.
        self.before = [durations.get(action, 0.0) for action in ACTIONS]
        self.n_before = n_done(tg)
        self.bins_before = deep.histogram(tg) if deep is not None else None
        self.is_shared = tg.stop > 0

    def forget_before(self) -> None:
        """All that the task group did was for this graph."""
        self.before, self.n_before, self.is_shared = [0.0] * len(ACTIONS), 0, False

    def has_changed(self) -> bool:
        tg = self.tg
        now = (tg.duration, tg.stop, self.n_tasks, tg.states["memory"])
        if now == self.seen:
            return False
        self.seen = now
        return True

    def row(self, deep: Deep | None) -> list[Any]:
        tg, durations = self.tg, self.tg.all_durations
        return [
            self.id,
            self.graph.id,
            clean(tg.name),
            clean(tg.prefix.name),
            self.n_tasks,
            [max(0.0, durations.get(a, 0.0) - b) for a, b in zip(ACTIONS, self.before, strict=True)],
            None if self.is_shared else tg.start or None,
            tg.stop if tg.stop > self.graph.time or not self.is_shared else None,
            [clean(name) for name in islice((d.name for d in tg.dependencies), 20)],
            tg.states["memory"],
            max(0, n_done(tg) - self.n_before),
            [clean(name) for name in islice(tg.types, 5)],
            deep.spread(tg, self.bins_before) if deep is not None else None,
        ]


class Graphs:
    """The last graphs of all clients of one scheduler, bounded."""

    max_graphs = 200
    #: Keys waiting to be looked at, over all graphs, give or take 10,000: 8 bytes each while their tasks live,
    #: about 100 afterwards.
    max_keys = 250_000

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        #: In deep mode: looks at every task.
        self.deep: Deep | None = None
        self.seq = self.first_row = self.n_dropped = self.n_unbound = 0
        self.all: OrderedDict[int, Graph] = OrderedDict()
        self.unfinished: deque[Graph] = deque()
        #: Groups of graphs that are done, as long as the scheduler knows any of their tasks.
        self.held: deque[Group] = deque(maxlen=MAX_GROUPS)
        self.by_stimulus: OrderedDict[str, Graph] = OrderedDict()
        #: The newest `Group` of each task group, by identity.
        self.by_tg: dict[int, Group] = {}
        #: Graphs and groups in the order of their last change.
        self.changed: OrderedDict[tuple[str, int], Graph | Group] = OrderedDict()
        #: (group, index, nbytes) of tasks that finished; the first of them is number `first_row`.
        self.rows: list[list[Any]] = []
        self.walked: tuple[int, int] | None = None
        self.ids = iter(range(1, 1 << 62))

    def clear(self) -> None:
        for held in (
            self.all, self.unfinished, self.held, self.by_stimulus, self.by_tg, self.changed, self.rows
        ):  # fmt: skip
            held.clear()

    def add(self, client: str, keys: set[Any], tasks: list[Any], stimulus_id: str | None) -> None:
        last = next(reversed(self.all.values()), None)
        scheduler = self.scheduler
        states = scheduler.tasks
        if (
            len(tasks) == 1
            and last is not None
            and last.n_graphs == last.n_tasks
            and last.client == client
            and last.wanted is not None
            and not last.is_done
            and last.n_tasks < 10_000
            and id(states[tasks[0]].group) in last.groups
        ):
            graph = last  # one more `submit` of a loop
        else:
            graph = Graph(next(self.ids), client, time(), stimulus_id, scheduler.total_nthreads)
            graph.label = label(keys)
            self._keep(graph)
        graph.n_graphs += 1
        graph.n_tasks += len(tasks)
        if graph.todo:
            graph.todo += tasks
        else:
            graph.todo, graph.at = list(tasks), 0
        if graph.wanted is not None:
            graph.wanted.extend(keys)
        for tg, n in Counter(map(_group_of, map(states.__getitem__, tasks))).items():
            graph.layers[tg.prefix.name] += n
            known = graph.groups.get(id(tg))
            if known is not None:
                known.n_tasks += n
            elif tg.states["released"] == 0:
                # New tasks are all still released at this moment.
                if len(graph.reused) < 100:
                    graph.reused.append(clean(tg.name))
            elif len(graph.groups) < MAX_GROUPS_PER_GRAPH:
                self._add_group(graph, tg, n)
        if stimulus_id is not None:
            self.by_stimulus[stimulus_id] = graph
            if len(self.by_stimulus) > 100:
                self.by_stimulus.popitem(last=False)
        self._touch("graph", graph)
        self.n_unbound += len(tasks)
        if graph is not last or self.n_unbound > 10_000:
            self._bound()

    def _keep(self, graph: Graph) -> None:
        self.all[graph.id] = graph
        self.unfinished.append(graph)

    def _add_group(self, graph: Graph, tg: TaskGroup, n: int) -> None:
        group = Group(next(self.ids), graph, tg, n, self.deep)
        graph.groups[id(tg)] = self.by_tg[id(tg)] = group
        self._touch("group", group)

    def _touch(self, kind: str, record: Graph | Group) -> None:
        self.seq += 1
        record.seq = self.seq
        self.changed[kind, record.id] = record
        self.changed.move_to_end((kind, record.id))

    def _bound(self) -> None:
        while len(self.all) > self.max_graphs or (len(self.changed) > MAX_GROUPS and len(self.all) > 1):
            graph = self.all.popitem(last=False)[1]
            self.changed.pop(("graph", graph.id), None)
            for identity, group in graph.groups.items():
                self.changed.pop(("group", group.id), None)
                if self.by_tg.get(identity) is group:
                    del self.by_tg[identity]
            if graph in self.unfinished:
                self.unfinished.remove(graph)
        if self.n_unbound <= 10_000:
            return
        self.n_unbound = 0
        n_keys = sum(graph.n_keys for graph in self.all.values())
        for graph in list(self.all.values()):
            if n_keys <= self.max_keys:
                break
            excess = min(n_keys - self.max_keys, graph.n_keys)
            n_keys -= excess
            self.n_dropped += excess
            todo = graph.later + graph.todo[graph.at :]
            graph.todo, graph.later, graph.at = todo[: len(todo) - excess], [], 0

    def recover(self) -> None:
        """Take over the graphs that came before us, as far as the scheduler remembers them."""
        scheduler = self.scheduler
        found = []
        for client in islice(scheduler.clients, 50):
            for _, msg in scheduler.get_events(client):
                if (
                    isinstance(msg, dict)
                    and msg.get("action") == "update-graph"
                    and msg.get("status") == "OK"
                ):
                    metrics = msg["metrics"]
                    found.append((metrics["start_timestamp_seconds"], client, metrics, msg["stimulus_id"]))
        found.sort(key=lambda item: item[0])
        graphs = []
        for began, client, metrics, stimulus_id in found[-100:]:
            graph = Graph(next(self.ids), client, began, stimulus_id, scheduler.total_nthreads)
            graph.n_graphs, graph.n_tasks, graph.wanted = 1, metrics["tasks"], None
            graph.seconds = abs(metrics["duration_seconds"])
            graphs.append(graph)
        if not graphs:
            # Tasks that nobody told us of, such as those of a client that has gone.
            graphs.append(Graph(next(self.ids), "", 0.0, None, scheduler.total_nthreads))
        for graph in graphs:
            self._keep(graph)
            self._touch("graph", graph)
        spans: Any = scheduler.extensions.get("spans")
        retained = (
            {
                tg: None
                for span in list(spans.spans.values())[-500:]  # oldest first
                for tg in span.groups
            }
            if spans is not None
            else dict.fromkeys(scheduler.task_groups.values())
        )
        for tg in islice(reversed(retained), MAX_GROUPS // 2):
            # A group began after its graph came; what has not begun belongs to the last one.
            later = [g for g in graphs if tg.start == 0.0 or g.time <= tg.start]
            if later and len(later[-1].groups) < MAX_GROUPS_PER_GRAPH:
                later[-1].layers[tg.prefix.name] += len(tg)
                self._add_group(later[-1], tg, len(tg))
                self.by_tg[id(tg)].forget_before()
        for ts in islice(scheduler.tasks.values(), 20_000):
            group = self.by_tg.get(id(ts.group))
            if group is not None:
                group.graph.todo.append(ts.key)

    def heard(self, msg: dict[str, Any]) -> None:
        """The scheduler is through with taking in a graph."""
        graph = self.by_stimulus.pop(msg.get("stimulus_id") or "", None)
        if graph is not None and msg.get("status") == "OK":
            metrics = msg["metrics"]
            # Some versions subtract the wrong way round.
            graph.seconds = (graph.seconds or 0.0) + abs(metrics["duration_seconds"])
            if graph.n_graphs == 1:
                graph.time = metrics["start_timestamp_seconds"]
            self._touch("graph", graph)

    def changes(self, since: int) -> tuple[list[list[Any]], list[list[Any]], int]:
        """Graphs and groups that changed after `since`, and up to where these go."""
        found: list[Graph | Group] = []
        for record in reversed(self.changed.values()):
            if record.seq <= since:
                break
            found.append(record)
        found.reverse()
        del found[SEND_RECORDS:]
        until = found[-1].seq if found else max(since, 0)
        graphs = [record.row() for record in found if isinstance(record, Graph)]
        groups = [record.row(self.deep) for record in found if isinstance(record, Group)]
        return graphs, groups, until

    def walk(self, deadline: float) -> None:
        """Note the sizes of tasks that have finished, newest graph first, within the budget."""
        state = (self.scheduler.transition_counter, self.seq)
        if state == self.walked:
            return  # nothing has happened since everything was looked at
        left = WALK_KEYS
        states = self.scheduler.tasks
        is_through = True
        for graph in reversed(self.all.values()):
            if not graph.todo and not graph.later:
                continue
            if graph.at >= len(graph.todo):
                graph.todo, graph.later, graph.at = graph.later, [], 0
            while graph.at < len(graph.todo) and left > 0:
                # In small helpings, so that a slow machine keeps to its time.
                helping = graph.todo[graph.at : graph.at + 200]
                graph.at += len(helping)
                left -= len(helping)
                groups, later = graph.groups, graph.later
                for key in helping:
                    ts = states.get(key)
                    if ts is None:
                        continue
                    group = groups.get(id(ts.group))
                    if group is None:
                        continue  # of an earlier graph, and noted there
                    nbytes = ts.nbytes
                    if nbytes >= 0:
                        self.rows.append([group.id, _index(key), nbytes])
                    elif not graph.is_done:
                        later.append(key)
                if perf_counter() > deadline:
                    left = 0
            if graph.at < len(graph.todo):
                is_through = False
                break
            if graph.is_done and not graph.later:
                graph.todo, graph.at = [], 0
        self.walked = state if is_through else None
        if len(self.rows) > MAX_ROWS:
            excess = len(self.rows) - MAX_ROWS // 2
            del self.rows[:excess]
            self.first_row += excess

    def refresh(self, deadline: float) -> None:
        """Bring the durations and ends of unfinished graphs up to date, within the budget."""
        for _ in range(len(self.unfinished)):
            graph = self.unfinished[0]
            is_done = self._is_done(graph, deadline)
            for group in graph.groups.values():
                if group.has_changed():
                    self._touch("group", group)
            if is_done:
                self.unfinished.popleft()
                graph.is_done = True
                self._touch("graph", graph)
                self.held.extend(graph.groups.values())
            else:
                self.unfinished.rotate(-1)
            if perf_counter() > deadline:
                return
        self._look_again()

    def _look_again(self) -> None:
        """What was held may have been let go of, or lost and made again."""
        task_groups = self.scheduler.task_groups
        for _ in range(min(len(self.held), LOOK_AGAIN)):
            group = self.held.popleft()
            if ("group", group.id) not in self.changed:
                continue  # forgotten with its graph
            if group.has_changed():
                self._touch("group", group)
            if task_groups.get(group.tg.name) is group.tg:
                self.held.append(group)

    def _is_done(self, graph: Graph, deadline: float) -> bool:
        if graph.wanted is None:
            return all(group.tg.done for group in graph.groups.values())
        states = self.scheduler.tasks
        while graph.n_finished < len(graph.wanted):
            ts = states.get(graph.wanted[graph.n_finished])
            # What nobody wants any more, and only later tasks remember, is over as well.
            is_let_go = ts is not None and ts.state == "released" and not ts.who_wants
            if ts is not None and ts.state not in ("memory", "erred") and not is_let_go:
                return False
            graph.n_finished += 1
            if graph.n_finished % 200 == 0 and perf_counter() > deadline:
                return False
        return True


def _index(key: Any) -> list[int] | None:
    """Which partition or chunk a key is, as in ("sum-1f…", 3, 0)."""
    if isinstance(key, tuple) and len(key) > 1 and all(type(part) is int for part in key[1:]):
        return list(key[1:])
    return None
