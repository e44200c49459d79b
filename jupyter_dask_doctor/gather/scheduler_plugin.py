"""The part of the doctor that lives on the scheduler: remembers graphs, sizes and losses, answers snapshots.

It travels there by value (see `cluster`), so it needs nothing but the standard library, distributed and its
neighbours `scheduler_…`. It hooks nothing that happens per task: a graph is noted once when it arrives,
and each snapshot looks at a bounded number of its tasks. Faults are caught, counted, and end the plugin at
the fifth.
"""

from __future__ import annotations

import asyncio
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from .scheduler_graphs import SEND_ROWS, Graphs
from .scheduler_losses import Losses
from .scheduler_view import MAX_WORKERS, view_tasks, view_workers

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: Raise with every change of what `snapshot` answers: a newer plugin replaces an older one.
VERSION = 1
PREFIX = "dask-doctor-"
HANDLER = "dask_doctor_snapshot"

MAX_FAULTS = 5
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
                self.losses.killed(msg)
            elif topic == "all":
                if action == "remove-worker":
                    self.losses.removed(msg)
                elif action == "restart-workers":
                    self.losses.pardon(msg.get("workers"))
            elif action == "worker-status-change":
                self.losses.status_changed(topic, msg)
        except Exception as error:
            self._fault(error)

    def restart(self, scheduler: Scheduler) -> None:
        try:
            self.losses.restarted = time()
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
        self.n_faults = 0
        self.graphs = Graphs(scheduler)
        self.losses = Losses(scheduler)
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
        self.graphs.recover()

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
        if hasattr(self, "losses"):
            self.graphs.clear()
            self.losses.clear()

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
            self.losses.seen = {row[0]: row for row in self.view[1]["shown"]}
        self.graphs.walk(min(perf_counter(), began + 0.001) + WALK_SECONDS)
        self.graphs.refresh(min(perf_counter(), began + 0.002) + REFRESH_SECONDS)
        self.losses.look_at_failures(self.graphs)
        graphs, groups, until = self.graphs.changes(since)
        rows = max(rows, self.graphs.first_row)
        sent = self.graphs.rows[rows - self.graphs.first_row :][:SEND_ROWS]
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
            "losses": self.losses.told(now),
            "failures": list(self.losses.failures),
            "n_dropped": self.graphs.n_dropped,
            "n_faults": self.n_faults,
            "seconds": perf_counter() - began,
        }
