"""The part of the doctor that lives on the scheduler: remembers graphs, sizes and losses, answers snapshots.

It travels there by value (see `cluster`), so it needs nothing but the standard library, distributed and its
neighbours `scheduler_…`. It hooks nothing that happens per task, unless a user asks for deep mode: a graph is
noted once when it arrives, and each snapshot looks at a bounded number of its tasks. Faults are caught,
counted, and end the plugin at the fifth.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from .scheduler_changes import Changes
from .scheduler_deep import Deep
from .scheduler_facts import view_policy, view_versions
from .scheduler_graphs import SEND_ROWS, Graphs
from .scheduler_losses import Losses
from .scheduler_metrics import Metrics
from .scheduler_running import Running
from .scheduler_view import MAX_WORKERS, WORKER_FIELDS, clean, view_scheduler, view_tasks, view_workers

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: Raise with every change of what `snapshot` answers: a newer plugin replaces an older one.
VERSION = 2
PREFIX = "dask-doctor-"
HANDLER = "dask_doctor_snapshot"
FACTS_HANDLER = "dask_doctor_facts"
STACKS_HANDLER = "dask_doctor_stacks"

MAX_FAULTS = 5
#: Deep mode ends when nobody has asked for it for so long.
DEEP_SECONDS = 60.0
#: What is seen of the whole cluster at one moment.
PARTS = ("workers", "running", "tasks")
#: Seconds of one snapshot for the sizes of tasks, and for the state of graphs.
WALK_SECONDS = 0.0015
REFRESH_SECONDS = 0.0015


class DoctorPlugin(SchedulerPlugin):
    name = f"{PREFIX}{VERSION}"
    idempotent = True
    # The scheduler calls this for every transition of every task. The method that we would inherit does
    # nothing in a Python frame; this does nothing in C, at a third of the cost.
    transition = "".format  # type: ignore[assignment]

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
            self.graphs.add(client, keys, tasks, stimulus_id)
        except Exception as error:
            self._fault(error)

    def log_event(self, topic: str, msg: Any) -> None:
        if not isinstance(msg, dict):
            return
        try:
            action = msg.get("action")
            if topic == "scheduler":
                if action == "update-graph":
                    self.graphs.heard(msg)
            elif topic == "worker-restart-memory":
                self.losses.killed(msg, self.changes.first_seen.get(str(msg.get("worker"))))
            elif topic == "all":
                if action == "remove-worker":
                    first_seen = self.changes.first_seen.get(str(msg.get("worker")))
                    is_expected = self.losses.removed(msg, first_seen)
                    self.changes.removed(msg, is_expected)
                elif action == "restart-workers":
                    self.losses.pardon(msg.get("workers"))
                    self.changes.pardon(msg.get("workers"))
            elif action == "worker-status-change":
                self.losses.status_changed(topic, msg)
        except Exception as error:
            self._fault(error)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        try:
            self.changes.added(worker)
        except Exception as error:
            self._fault(error)

    def restart(self, scheduler: Scheduler) -> None:
        try:
            self.losses.restarted = time()
        except Exception as error:
            self._fault(error)

    def snapshot(
        self, since: int = 0, rows: int = 0, epoch: float = 0.0, metrics: int = 0, *, is_deep: bool = False
    ) -> dict[str, Any]:
        """Answer what changed after the cursors `since` and `metrics`, and the sizes from row `rows` on.

        The cursors belong to the life of this plugin that `epoch` names, and are zero for another one.
        `is_deep`: from now on look at every task, until nobody has asked for it for a minute.
        """
        try:
            self._deepen(is_deep)
            return self._snapshot(since, rows, metrics, epoch)
        except Exception as error:
            self._fault(error)
            return {"version": VERSION, "fault": repr(error)[:500]}

    def facts(self) -> dict[str, Any]:
        """What changes rarely; empty when it cannot be had."""
        try:
            assert self.scheduler is not None
            began = perf_counter()
            return {
                "scheduler_id": self.scheduler.id,
                "policy": view_policy(self.scheduler),
                "versions": view_versions(self.scheduler),
                "seconds": perf_counter() - began,
            }
        except Exception as error:
            self._fault(error)
            return {}

    async def stacks(self, tasks: list[str]) -> list[list[Any]]:
        """Where running tasks stand in their code; empty when nobody can tell."""
        try:
            return await self.running.stacks(tasks)
        except Exception as error:
            self._fault(error)
            return []

    # -- its life -------------------------------------------------------------------------------------------

    def _start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.epoch = time()
        self.n_faults = 0
        self.graphs = Graphs(scheduler)
        self.deep_until = 0.0
        self.losses = Losses(scheduler)
        self.changes = Changes(scheduler)
        self.running = Running(scheduler)
        self.metrics = Metrics(scheduler)
        #: What was seen of the whole cluster, and when.
        self.views: dict[str, dict[str, Any]] = {}
        self.seen_at = dict.fromkeys(PARTS, -inf)
        for name in list(scheduler.plugins):
            if not name.startswith(PREFIX) or name == self.name:
                continue
            if int(name[len(PREFIX) :]) > VERSION:
                # The newer one of another notebook stays; registration adds us after this, so leave later.
                asyncio.get_running_loop().call_soon(self._leave)
                return
            scheduler.remove_plugin(name)
        scheduler.handlers[HANDLER] = self.snapshot
        scheduler.handlers[FACTS_HANDLER] = self.facts
        scheduler.handlers[STACKS_HANDLER] = self.stacks
        self.graphs.recover()

    def _leave(self) -> None:
        if self.scheduler is not None and self.scheduler.plugins.get(self.name) is self:
            del self.scheduler.plugins[self.name]

    def _fault(self, error: Exception) -> None:
        self.n_faults = getattr(self, "n_faults", 0) + 1
        if self.n_faults < MAX_FAULTS or self.scheduler is None:
            return
        reason = f"{type(error).__name__}: {error}"[:500]

        def snapshot(**asked: Any) -> dict[str, Any]:
            return {"version": VERSION, "off": reason}

        self.scheduler.handlers[HANDLER] = snapshot
        self._leave()
        self._forget()

    def _forget(self) -> None:
        self.__dict__.pop("transition", None)
        if hasattr(self, "changes"):
            self.graphs.clear()
            self.losses.clear()
            self.changes.clear()
            self.running.clear()
            self.metrics.clear()

    def _deepen(self, is_wished: bool) -> None:
        assert self.scheduler is not None
        now = time()
        if is_wished:
            self.deep_until = now + DEEP_SECONDS
            if self.graphs.deep is None:
                self.graphs.deep = Deep(self.scheduler, self._fault)
                self.transition = self.graphs.deep.transition  # type: ignore[assignment]
        elif self.graphs.deep is not None and not 0 <= self.deep_until - now <= DEEP_SECONDS:
            self.graphs.deep = None
            del self.transition

    # -- snapshots ------------------------------------------------------------------------------------------

    def _renew(self, now: float) -> None:
        """Look anew at what was seen too long ago. With many workers that is dear: one part in one snapshot."""
        assert self.scheduler is not None
        is_large = len(self.scheduler.workers) > MAX_WORKERS
        due = [name for name in PARTS if not 0 <= now - self.seen_at[name] < (1.0 if is_large else 0.2)]
        if is_large and len(self.views) == len(PARTS):
            due = sorted(due, key=self.seen_at.__getitem__)[:1]
        for name in due:
            self.seen_at[name] = now
            self.views[name] = self._view(name, self.scheduler)

    def _view(self, name: str, scheduler: Scheduler) -> dict[str, Any]:
        if name == "running":
            return self.running.look(self.graphs)
        if name == "tasks":
            self.metrics.look()
            tasks = view_tasks(scheduler, self.running, self.metrics)
            deep = self.graphs.deep
            retried = {clean(name): n for name, n in deep.retried.items()} if deep is not None else None
            return {**tasks, "retried": retried, "scheduler": view_scheduler(scheduler)}
        workers = view_workers(scheduler, self.changes.first_seen)
        self.losses.seen = {row[0]: dict(zip(WORKER_FIELDS, row, strict=True)) for row in workers["shown"]}
        return workers

    def _snapshot(self, since: int, rows: int, metrics: int, epoch: float) -> dict[str, Any]:
        assert self.scheduler is not None
        began = perf_counter()
        if epoch != self.epoch:
            since = rows = metrics = 0
        now = time()
        self._renew(now)
        self.graphs.walk(min(perf_counter(), began + 0.001) + WALK_SECONDS)
        self.graphs.refresh(min(perf_counter(), began + 0.002) + REFRESH_SECONDS)
        self.losses.look_at_failures(self.graphs)
        graphs, groups, until = self.graphs.changes(since)
        sums, metrics = self.metrics.changes(metrics)
        rows = max(rows, self.graphs.first_row)
        sent = self.graphs.rows[rows - self.graphs.first_row :][:SEND_ROWS]
        return {
            "version": VERSION,
            "scheduler_id": self.scheduler.id,
            "epoch": self.epoch,
            "time": now,
            "since": until,
            "rows": rows + len(sent),
            "metrics": metrics,
            "workers": self.views["workers"],
            "tasks": self.views["tasks"],
            "graphs": graphs,
            "groups": groups,
            "sums": sums,
            "running": self.views["running"],
            "sizes": sent,
            "losses": self.losses.told(now),
            "changes": self.changes.told(now),
            "n_changes": self.changes.n,
            "failures": list(self.losses.failures),
            "n_dropped": self.graphs.n_dropped,
            "n_faults": self.n_faults,
            "seconds": perf_counter() - began,
        }
