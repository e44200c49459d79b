"""What a scheduler lost: workers that went away without being asked to, and tasks that failed.

Travels to the scheduler by value with `scheduler_plugin`: standard library, distributed and its neighbours only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any

from distributed.utils import key_split_group as group_name

from .scheduler_view import clean, executing_prefixes

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

    from .scheduler_graphs import Graphs

#: A worker that vanished is announced after this time: a restart on purpose says so only afterwards.
LOSS_DELAY = 0.7
#: Failures whose traceback is kept: the first of each kind in each graph. Characters kept, the innermost.
MAX_TRACES = 20
MAX_TRACE = 2_000
#: A worker that vanishes this soon after its nanny ended it for memory is the same loss.
SAME_LOSS = 10.0


class Losses:
    """The last losses and failures of one scheduler, bounded."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.losses: deque[dict[str, Any]] = deque(maxlen=100)
        self.failures: deque[list[Any]] = deque(maxlen=100)
        #: When the whole cluster was restarted last.
        self.restarted = 0.0
        #: Workers as the last snapshot saw them: when one has vanished it is too late to ask.
        self.seen: dict[str, dict[str, Any]] = {}
        self._retiring: OrderedDict[str, float] = OrderedDict()
        self._last_failure = 0.0
        #: (prefix, exception, graph) of which a traceback was kept.
        self._traced: OrderedDict[tuple[Any, ...], None] = OrderedDict()

    def clear(self) -> None:
        self.losses.clear()
        self.failures.clear()
        self._traced.clear()
        self.seen.clear()

    def told(self, now: float) -> list[dict[str, Any]]:
        """The losses that are sure by now. Few and small: always all, so that a pardoned one goes away."""
        return [loss for loss in self.losses if loss["reason"] == "memory" or now - loss["time"] > LOSS_DELAY]

    def status_changed(self, address: str, msg: dict[str, Any]) -> None:
        if msg.get("status") in ("closing_gracefully", "closing", "closed", "stopping"):
            # Retired by the user or by adaptive scaling: it will vanish, and that is no loss.
            self._retiring[address] = time()
            if len(self._retiring) > 1_000:
                self._retiring.popitem(last=False)
        else:
            self._retiring.pop(address, None)

    def _lose(self, address: str, reason: str, process: int | None, limit: int, prefixes: list[str]) -> None:
        self.losses.append(
            {
                "time": time(),
                "address": address,
                "reason": reason,
                "process": process,
                "memory_limit": limit or None,
                "prefixes": prefixes,
            }
        )

    def killed(self, msg: dict[str, Any], first_seen: float | None = None) -> None:
        """A nanny ended its worker at the terminate limit; who is at its address is there since `first_seen`."""
        address = str(msg.get("worker"))
        ws = self.scheduler.workers.get(address)
        now = time()
        since = now - SAME_LOSS
        if ws is not None and msg.get("pid") in (None, ws.pid):
            since = max(since, first_seen or 0.0)  # not the one that was there before
        for loss in self.losses:
            if loss["address"] == address and loss["time"] >= since:
                # Its end was heard of before the nanny's word of it.
                loss.update(reason="memory", process=msg.get("rss") or loss["process"])
                return
        limit = ws.memory_limit if ws is not None else 0
        prefixes = executing_prefixes(ws) if ws is not None else []
        if ws is not None and not prefixes:  # heartbeats are late when memory is short
            prefixes = list(dict.fromkeys(ts.prefix.name for ts in islice(ws.processing, 8)))
        self._lose(address, "memory", msg.get("rss"), limit, prefixes)

    def removed(self, msg: dict[str, Any], first_seen: float | None = None) -> bool:
        """A worker has left the scheduler; whether it was asked to. It was there since `first_seen`."""
        address = str(msg.get("worker"))
        was_retiring = self._retiring.pop(address, None) is not None
        seen = self.seen.pop(address, None)
        if msg.get("expected") or was_retiring:
            return True
        now = time()
        if self.scheduler.status.name != "running" or now - self.restarted < 5.0:
            return True
        since = max(now - SAME_LOSS, first_seen or 0.0)
        if any(loss["address"] == address and loss["time"] >= since for loss in self.losses):
            return False
        tasks = [self.scheduler.tasks.get(key) for key in islice(msg.get("processing-tasks") or (), 50)]
        lost = list(dict.fromkeys(clean(ts.prefix.name) for ts in tasks if ts is not None))
        limit, process = (seen["memory_limit"], seen["process"]) if seen is not None else (0, None)
        # What it ran at its last heartbeat, when that is still among what it took with it.
        running = [name for name in seen["prefixes"] if name in lost] if seen is not None else []
        self._lose(address, "unexpected", process, limit, running or lost[:8])
        return False

    def pardon(self, workers: Any) -> None:
        """Take back the losses that a restart on purpose caused; it is announced when it is over."""
        named = set(workers) if workers is not None else None
        now = time()
        for loss in list(self.losses):
            if loss["reason"] != "unexpected" or now - loss["time"] > 30.0:
                continue
            if named is None or loss["address"] in named:
                self.losses.remove(loss)

    def look_at_failures(self, graphs: Graphs) -> None:
        """Note the tasks that failed since the last look."""
        newest = self._last_failure
        found = []
        for erred in self.scheduler.erred_tasks:  # newest first, at most 100
            if erred.timestamp <= self._last_failure:
                break
            newest = max(newest, erred.timestamp)
            text = erred.exception_text
            if not text and not erred.erred_on:
                continue  # only a dependent of one that failed
            found.append(erred)
        for erred in reversed(found):
            text = erred.exception_text[:1_500].encode("utf-8", "replace").decode()
            kind = text.split("(", 1)[0].strip() if text else "KilledWorker"
            ts = self.scheduler.tasks.get(erred.key)
            tg_name = ts.group.name if ts is not None else group_name(erred.key)
            prefix, graph_id = tg_name, None
            for group in reversed(graphs.by_tg.values()):
                if group.tg.name == tg_name:
                    prefix, graph_id = group.tg.prefix.name, group.graph.id
                    break
            self.failures.append(
                [
                    erred.timestamp,
                    clean(prefix),
                    clean(erred.key)[:200],
                    kind[:200],
                    text,
                    graph_id,
                    len(erred.erred_on),
                    self._trace((prefix, kind, graph_id), erred),
                ]
            )
        self._last_failure = newest

    def _trace(self, kind: tuple[Any, ...], erred: Any) -> str:
        """The traceback of a failure, when it is the first of its kind; empty else."""
        if kind in self._traced:
            return ""
        self._traced[kind] = None
        if len(self._traced) > MAX_TRACES:
            self._traced.popitem(last=False)
        traced = [row for row in self.failures if row[7]]
        for row in traced[: max(0, len(traced) - MAX_TRACES + 1)]:
            row[7] = ""
        text = str(getattr(erred, "traceback_text", None) or "")[-MAX_TRACE:]
        return text.encode("utf-8", "replace").decode()
