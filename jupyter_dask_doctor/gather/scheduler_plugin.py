"""The part of the doctor that lives on the scheduler: remembers graphs, sizes and losses, answers snapshots.

It travels there by value (see `cluster`), so it needs nothing but the standard library, distributed and its
neighbour `scheduler_view`. It hooks nothing that happens per task: a graph is noted once when it arrives,
and each snapshot looks at a bounded number of its tasks. Faults are caught, counted, and end the plugin at
the fifth.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from itertools import islice
from operator import attrgetter
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.utils import key_split_group as group_name

from .scheduler_view import MAX_NAME, MAX_WORKERS, executing_prefixes, label, view_tasks, view_workers

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskGroup

#: Raise with every change of what `snapshot` answers: a newer plugin replaces an older one.
VERSION = 1
PREFIX = "dask-doctor-"
HANDLER = "dask_doctor_snapshot"

MAX_FAULTS = 5
MAX_GROUPS = 4_000
MAX_GROUPS_PER_GRAPH = 500
#: Sizes kept for kernels that have not fetched them yet.
MAX_ROWS = 20_000
#: In one snapshot: keys and seconds for sizes, seconds for the state of graphs, and what is sent.
WALK_KEYS = 4_000
WALK_SECONDS = 0.0015
REFRESH_SECONDS = 0.0015
SEND_ROWS = 2_000
SEND_RECORDS = 500
#: A worker that vanished is announced after this time: a restart on purpose says so only afterwards.
LOSS_DELAY = 0.7
#: A worker that vanishes this soon after its nanny ended it for memory is the same loss.
SAME_LOSS = 10.0

_group_of = attrgetter("group")


class Graph:
    """One graph as it arrived, or several of a single task each that a client sent in a row."""

    def __init__(self, id: int, client: str, time: float, stimulus_id: str | None, nthreads: int) -> None:
        self.id, self.client, self.time, self.stimulus_id = id, client, time, stimulus_id
        self.nthreads = nthreads
        self.seq = 0
        self.n_tasks = self.n_graphs = 0
        self.n_new: int | None = None
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
            [[name[:MAX_NAME], n] for name, n in self.layers.most_common(20)],
            self.reused,
            len(self.wanted) if self.wanted is not None else None,
            self.label,
        ]


class Group:
    """The tasks of one task group that one graph brought."""

    def __init__(self, id: int, graph: Graph, tg: TaskGroup, n_tasks: int) -> None:
        self.id, self.graph, self.tg, self.n_tasks = id, graph, tg, n_tasks
        self.seq = 0
        self.seen: Any = None
        durations = tg.all_durations
        # Names without a token (`submit`, `map`) go on in the group of earlier calls.
        self.compute, self.transfer = durations.get("compute", 0.0), durations.get("transfer", 0.0)
        self.is_shared = tg.stop > 0

    def has_changed(self) -> bool:
        tg = self.tg
        now = (tg.duration, tg.stop, self.n_tasks)
        if now == self.seen:
            return False
        self.seen = now
        return True

    def row(self) -> list[Any]:
        tg, durations = self.tg, self.tg.all_durations
        return [
            self.id,
            self.graph.id,
            tg.name[:MAX_NAME],
            tg.prefix.name[:MAX_NAME],
            self.n_tasks,
            max(0.0, durations.get("compute", 0.0) - self.compute),
            max(0.0, durations.get("transfer", 0.0) - self.transfer),
            None if self.is_shared else tg.start or None,
            tg.stop if tg.stop > self.graph.time or not self.is_shared else None,
            [name[:MAX_NAME] for name in islice((d.name for d in tg.dependencies), 20)],
        ]


class DoctorPlugin(SchedulerPlugin):
    name = f"{PREFIX}{VERSION}"
    idempotent = True
    # The scheduler calls this for every transition of every task. The method that we would inherit does
    # nothing in a Python frame; this does nothing in C, at a third of the cost.
    transition = "".format  # type: ignore[assignment]

    max_graphs = 200
    #: Keys waiting to be looked at, over all graphs, give or take 10,000: 8 bytes each while their tasks live,
    #: about 100 afterwards.
    max_keys = 250_000

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None

    # -- hooks ----------------------------------------------------------------------------------------------

    async def start(self, scheduler: Scheduler) -> None:
        try:
            self._start(scheduler)
        except Exception as error:
            self._fault(error)

    async def close(self) -> None:
        self._forget()

    def update_graph(
        self,
        scheduler: Scheduler,
        *,
        client: str,
        keys: set[Any],
        tasks: list[Any],
        stimulus_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        try:
            self._add_graph(scheduler, client, keys, tasks, stimulus_id)
        except Exception as error:
            self._fault(error)

    def log_event(self, topic: str, msg: Any) -> None:
        if not isinstance(msg, dict):
            return
        try:
            if topic == "scheduler" or topic == "all":
                self._heard(topic, msg)
            elif topic == "worker-restart-memory":
                self._killed(msg)
            elif msg.get("action") == "worker-status-change":
                self._status_changed(topic, msg)
        except Exception as error:
            self._fault(error)

    def restart(self, scheduler: Scheduler) -> None:
        try:
            self.restarted = time()
        except Exception as error:
            self._fault(error)

    def snapshot(self, since: int = 0, rows: int = 0, epoch: float = 0.0) -> dict[str, Any]:
        """Answer what changed after the cursor `since`, and the sizes from row `rows` on.

        Both cursors belong to the life of this plugin that `epoch` names, and are zero for another one.
        """
        try:
            return self._snapshot(since, rows, epoch)
        except Exception as error:
            self._fault(error)
            return {"version": VERSION, "fault": repr(error)[:500]}

    # -- its life -------------------------------------------------------------------------------------------

    def _start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.epoch = time()
        self.seq = self.n_faults = self.first_row = self.n_dropped = self.n_unbound = 0
        self.restarted = 0.0
        self.graphs: OrderedDict[int, Graph] = OrderedDict()
        self.unfinished: deque[Graph] = deque()
        self.by_stimulus: OrderedDict[str, Graph] = OrderedDict()
        self.by_tg: dict[int, Group] = {}
        self.changed: OrderedDict[tuple[str, int], Graph | Group] = OrderedDict()
        self.rows: list[list[Any]] = []
        self.walked: tuple[int, int] | None = None
        self.ids = iter(range(1, 1 << 62))
        self.losses: deque[dict[str, Any]] = deque(maxlen=100)
        self.failures: deque[list[Any]] = deque(maxlen=100)
        self.retiring: OrderedDict[str, float] = OrderedDict()
        self.workers_seen: dict[str, list[Any]] = {}
        self.last_failure = 0.0
        self.view: tuple[float, dict[str, Any], dict[str, Any]] = (0.0, {}, {})
        for name in list(scheduler.plugins):
            if not name.startswith(PREFIX) or name == self.name:
                continue
            if int(name[len(PREFIX) :]) > VERSION:
                # The newer one of another notebook stays; registration adds us after this, so leave later.
                asyncio.get_running_loop().call_soon(self._leave)
                return
            scheduler.remove_plugin(name)
        scheduler.handlers[HANDLER] = self.snapshot
        self._recover(scheduler)

    def _leave(self) -> None:
        if self.scheduler is not None and self.scheduler.plugins.get(self.name) is self:
            del self.scheduler.plugins[self.name]

    def _fault(self, error: Exception) -> None:
        self.n_faults = getattr(self, "n_faults", 0) + 1
        if self.n_faults < MAX_FAULTS or self.scheduler is None:
            return
        reason = f"{type(error).__name__}: {error}"[:500]

        def snapshot(since: int = 0, rows: int = 0, epoch: float = 0.0) -> dict[str, Any]:
            return {"version": VERSION, "off": reason}

        self.scheduler.handlers[HANDLER] = snapshot
        self._leave()
        self._forget()

    def _forget(self) -> None:
        for held in ("graphs", "unfinished", "by_stimulus", "by_tg", "changed", "rows", "losses", "failures"):
            getattr(self, held, []).clear()

    # -- graphs ---------------------------------------------------------------------------------------------

    def _add_graph(
        self, scheduler: Scheduler, client: str, keys: set[Any], tasks: list[Any], stimulus_id: str | None
    ) -> None:
        now = time()
        last = next(reversed(self.graphs.values()), None)
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
            graph = Graph(next(self.ids), client, now, stimulus_id, scheduler.total_nthreads)
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
                    graph.reused.append(tg.name[:MAX_NAME])
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
        self.graphs[graph.id] = graph
        self.unfinished.append(graph)

    def _add_group(self, graph: Graph, tg: TaskGroup, n: int) -> None:
        group = Group(next(self.ids), graph, tg, n)
        graph.groups[id(tg)] = self.by_tg[id(tg)] = group
        self._touch("group", group)

    def _touch(self, kind: str, record: Graph | Group) -> None:
        self.seq += 1
        record.seq = self.seq
        self.changed[kind, record.id] = record
        self.changed.move_to_end((kind, record.id))

    def _bound(self) -> None:
        while len(self.graphs) > self.max_graphs or (len(self.changed) > MAX_GROUPS and len(self.graphs) > 1):
            graph = self.graphs.popitem(last=False)[1]
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
        n_keys = sum(graph.n_keys for graph in self.graphs.values())
        for graph in list(self.graphs.values()):
            if n_keys <= self.max_keys:
                break
            excess = min(n_keys - self.max_keys, graph.n_keys)
            n_keys -= excess
            self.n_dropped += excess
            todo = graph.later + graph.todo[graph.at :]
            graph.todo, graph.later, graph.at = todo[: len(todo) - excess], [], 0

    def _recover(self, scheduler: Scheduler) -> None:
        """Take over the graphs that came before us, as far as the scheduler remembers them."""
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
                self.by_tg[id(tg)].compute = self.by_tg[id(tg)].transfer = 0.0
                self.by_tg[id(tg)].is_shared = False
        for ts in islice(scheduler.tasks.values(), 20_000):
            group = self.by_tg.get(id(ts.group))
            if group is not None:
                group.graph.todo.append(ts.key)

    # -- events ---------------------------------------------------------------------------------------------

    def _heard(self, topic: str, msg: dict[str, Any]) -> None:
        action = msg.get("action")
        if topic == "scheduler" and action == "update-graph":
            graph = self.by_stimulus.pop(msg.get("stimulus_id") or "", None)
            if graph is not None and msg.get("status") == "OK":
                metrics = msg["metrics"]
                graph.seconds = (graph.seconds or 0.0) + abs(metrics["duration_seconds"])
                if graph.n_graphs == 1:
                    graph.time = metrics["start_timestamp_seconds"]
                self._touch("graph", graph)
        elif topic == "all" and action == "remove-worker":
            self._removed(msg)
        elif topic == "all" and action == "restart-workers":
            self._pardon(msg.get("workers"))

    def _status_changed(self, address: str, msg: dict[str, Any]) -> None:
        if msg.get("status") in ("closing_gracefully", "closing", "closed", "stopping"):
            # Retired by the user or by adaptive scaling: it will vanish, and that is no loss.
            self.retiring[address] = time()
            if len(self.retiring) > 1_000:
                self.retiring.popitem(last=False)
        else:
            self.retiring.pop(address, None)

    def _lose(self, address: str, reason: str, process: int | None, limit: int, prefixes: list[str]) -> None:
        self.seq += 1
        self.losses.append(
            {
                "id": next(self.ids),
                "seq": self.seq,
                "time": time(),
                "address": address,
                "reason": reason,
                "process": process,
                "memory_limit": limit or None,
                "prefixes": prefixes,
            }
        )

    def _killed(self, msg: dict[str, Any]) -> None:
        assert self.scheduler is not None
        address = str(msg.get("worker"))
        ws = self.scheduler.workers.get(address)
        limit = ws.memory_limit if ws is not None else 0
        prefixes = executing_prefixes(ws) if ws is not None else []
        if ws is not None and not prefixes:  # heartbeats are late when memory is short
            prefixes = list(dict.fromkeys(ts.prefix.name for ts in islice(ws.processing, 8)))
        self._lose(address, "memory", msg.get("rss"), limit, prefixes)

    def _removed(self, msg: dict[str, Any]) -> None:
        assert self.scheduler is not None
        address = str(msg.get("worker"))
        was_retiring = self.retiring.pop(address, None) is not None
        seen = self.workers_seen.pop(address, None)
        if msg.get("expected") or was_retiring:
            return
        if self.scheduler.status.name != "running" or time() - self.restarted < 5.0:
            return
        now = time()
        if any(loss["address"] == address and now - loss["time"] < SAME_LOSS for loss in self.losses):
            return
        tasks = [self.scheduler.tasks.get(key) for key in islice(msg.get("processing-tasks") or (), 50)]
        lost = list(dict.fromkeys(ts.prefix.name[:MAX_NAME] for ts in tasks if ts is not None))
        limit, process = (seen[3], seen[5]) if seen is not None else (0, None)
        # What it ran at its last heartbeat, when that is still among what it took with it.
        running = [name for name in seen[12] if name in lost] if seen is not None else []
        self._lose(address, "unexpected", process, limit, running or lost[:8])

    def _pardon(self, workers: Any) -> None:
        """Take back the losses that a restart on purpose caused; it is announced when it is over."""
        named = set(workers) if workers is not None else None
        now = time()
        for loss in list(self.losses):
            if loss["reason"] != "unexpected" or now - loss["time"] > 30.0:
                continue
            if named is None or loss["address"] in named:
                self.losses.remove(loss)

    # -- snapshots ------------------------------------------------------------------------------------------

    def _snapshot(self, since: int, rows: int, epoch: float) -> dict[str, Any]:
        assert self.scheduler is not None
        began = perf_counter()
        if epoch != self.epoch:
            since = rows = 0
        now = time()
        # With many workers their view is the dearest part: not anew in every snapshot.
        if not 0 <= now - self.view[0] < (0.2 if len(self.scheduler.workers) <= MAX_WORKERS else 1.0):
            self.view = (now, view_workers(self.scheduler), view_tasks(self.scheduler))
            self.workers_seen = {row[0]: row for row in self.view[1]["shown"]}
        self._walk(min(perf_counter(), began + 0.001) + WALK_SECONDS)
        self._refresh(min(perf_counter(), began + 0.002) + REFRESH_SECONDS)
        self._look_at_failures()
        graphs, groups, until = self._changes(since)
        rows = max(rows, self.first_row)
        sent = self.rows[rows - self.first_row :][:SEND_ROWS]
        return {
            "version": VERSION,
            "scheduler_id": self.scheduler.id,
            "epoch": self.epoch,
            "time": now,
            "since": until,
            "rows": rows + len(sent),
            "workers": self.view[1],
            "tasks": self.view[2],
            "graphs": graphs,
            "groups": groups,
            "sizes": sent,
            # Few and small: always all of them, so that a pardoned loss goes away.
            "losses": [
                loss for loss in self.losses if loss["reason"] == "memory" or now - loss["time"] > LOSS_DELAY
            ],
            "failures": list(self.failures),
            "n_dropped": self.n_dropped,
            "n_faults": self.n_faults,
            "seconds": perf_counter() - began,
        }

    def _changes(self, since: int) -> tuple[list[list[Any]], list[list[Any]], int]:
        found: list[Graph | Group] = []
        for record in reversed(self.changed.values()):
            if record.seq <= since:
                break
            found.append(record)
        found.reverse()
        del found[SEND_RECORDS:]
        until = found[-1].seq if found else max(since, 0)
        graphs = [record.row() for record in found if isinstance(record, Graph)]
        groups = [record.row() for record in found if isinstance(record, Group)]
        return graphs, groups, until

    def _walk(self, deadline: float) -> None:
        """Note the sizes of tasks that have finished, newest graph first, within the budget."""
        assert self.scheduler is not None
        state = (self.scheduler.transition_counter, self.seq)
        if state == self.walked:
            return  # nothing has happened since everything was looked at
        left = WALK_KEYS
        states = self.scheduler.tasks
        is_through = True
        for graph in reversed(self.graphs.values()):
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

    def _refresh(self, deadline: float) -> None:
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
            else:
                self.unfinished.rotate(-1)
            if perf_counter() > deadline:
                break

    def _is_done(self, graph: Graph, deadline: float) -> bool:
        assert self.scheduler is not None
        if graph.wanted is None:
            return all(group.tg.done for group in graph.groups.values())
        states = self.scheduler.tasks
        while graph.n_finished < len(graph.wanted):
            ts = states.get(graph.wanted[graph.n_finished])
            if ts is not None and ts.state not in ("memory", "erred"):
                return False
            graph.n_finished += 1
            if graph.n_finished % 200 == 0 and perf_counter() > deadline:
                return False
        return True

    def _look_at_failures(self) -> None:
        assert self.scheduler is not None
        newest = self.last_failure
        found = []
        for erred in self.scheduler.erred_tasks:  # newest first, at most 100
            if erred.timestamp <= self.last_failure:
                break
            newest = max(newest, erred.timestamp)
            text = erred.exception_text
            if not text and not erred.erred_on:
                continue  # only a dependent of one that failed
            found.append(erred)
        for erred in reversed(found):
            text = erred.exception_text[:1_500]
            kind = text.split("(", 1)[0].strip() if text else "KilledWorker"
            ts = self.scheduler.tasks.get(erred.key)
            tg_name = ts.group.name if ts is not None else group_name(erred.key)
            prefix, graph_id = tg_name, None
            for group in reversed(self.by_tg.values()):
                if group.tg.name == tg_name:
                    prefix, graph_id = group.tg.prefix.name, group.graph.id
                    break
            self.failures.append(
                [
                    erred.timestamp,
                    prefix[:MAX_NAME],
                    str(erred.key)[:200],
                    kind[:200],
                    text,
                    graph_id,
                    len(erred.erred_on),
                ]
            )
        self.last_failure = newest


def _index(key: Any) -> list[int] | None:
    """Which partition or chunk a key is, as in ("sum-1f…", 3, 0)."""
    if isinstance(key, tuple) and len(key) > 1 and all(type(part) is int for part in key[1:]):
        return list(key[1:])
    return None
