"""What the doctor's thread does in one turn: look for clients, pull from the one it follows, judge, publish.

Lives on the doctor's loop alone; nothing here is safe from another thread but `waiters.append`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import doctor
from ..gather.code import CellLog
from ..messages import CellText, ClientInfo, Status, StatusKind
from ..report import Report
from ..snapshot import Collection, Gap, Snapshot
from .discovery import Discovery, Look
from .reply import Composer, Ready
from .words import describe, held_up, sentence

if TYPE_CHECKING:
    from distributed import Client

    from ..gather.cluster import Feed
    from ..gather.host import Holders
    from ..gather.local_runs import LocalRuns
    from ..gather.phases import Phases
    from ..gather.submissions import Submissions
    from ..verify import Ledger
    from .monitor import CellEvent

#: Seconds between pulls: while a cell runs or tasks exist, while somebody watches, and else.
BUSY, SEEN, QUIET = 0.5, 1.0, 5.0
#: Seconds for which it counts as busy after the last cell or task: metrics come with later heartbeats.
AFTERGLOW = 3.0
#: The share of a core that looking through variables and judging may take, while busy and while quiet.
BUSY_SHARE, QUIET_SHARE = 0.1, 0.005
#: Seconds between two judgements at most, however long one takes: what is shown must not grow stale.
LONGEST = 10.0
#: Seconds by which the thread may come late before the report says so.
LAG = 2.0
MAX_FEEDS = 8


@dataclass(slots=True)
class _Pace:
    """Spaces out a piece of work so that it takes no more than a share of a core."""

    done_at: float = float("-inf")
    seconds: float = 0.0

    def done(self, seconds: float) -> None:
        self.done_at, self.seconds = time.monotonic(), seconds

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self.done_at + LONGEST

    def is_due(self, share: float) -> bool:
        return time.monotonic() >= self.done_at + min(self.seconds / share, LONGEST)


class Watch:
    """Everything known about the clients of one kernel. `wake` asks for another turn, `nudge` does so from any
    thread."""

    def __init__(
        self,
        session: str,
        namespace: Callable[[], Mapping[str, object]],
        wake: Callable[[], None],
        outputs: Callable[[], Mapping[str, object]] = dict,
        nudge: Callable[[], None] | None = None,
    ) -> None:
        self.cells = CellLog()
        self.snapshot: Snapshot | None = None
        self.report: Report | None = None
        self.status = Status(kind="no-client", message="")
        #: Set when the next judgement that rests on a pull begun after their arrival is out.
        self.waiters: deque[concurrent.futures.Future[None]] = deque()
        self._namespace = namespace
        self._outputs = outputs
        self._wake = wake
        self._nudge = nudge
        self._composer = Composer(session)
        self._discovery = Discovery()
        self._submissions: Submissions | None = None
        self._ledger: Ledger | None = None
        self._feeds: dict[str, Feed] = {}
        self.clients: tuple[ClientInfo, ...] = ()
        self._first_seen: dict[str, int] = {}
        self._numbers = itertools.count()
        #: The id of the client that is followed, or was last; with its scheduler's it names one series.
        self._followed: str | None = None
        self._scheduler_id: str | None = None
        self._pull: asyncio.Task[None] | None = None
        self._pulled_at = float("-inf")
        self._served: list[concurrent.futures.Future[None]] = []
        self._busy_at = float("-inf")
        self._collections: tuple[Collection, ...] = ()
        self._names: Holders = ()
        #: What was described once, by the names of expressions and layers.
        self._known: OrderedDict[str, Collection] = OrderedDict()
        #: What listens to computations in the kernel itself, once there is one.
        self.local_runs: LocalRuns | None = None
        #: What looks at the thread that runs the cells.
        self.phases: Phases | None = None
        self._profile_pace, self._judge_pace = _Pace(), _Pace()
        #: Grows with every turn that did its work, so that one with nothing to do does not pass for a success.
        self.n_done = 0
        self._n_judged = 0
        self._judged: object = None
        self._published: object = None

    @property
    def has_clients(self) -> bool:
        return self._followed in self._feeds

    def hear(self, event: CellEvent) -> None:
        """A cell started or stopped."""
        self._busy_at = time.monotonic()
        if event.source is None:
            self.cells.stop(
                failed=event.has_failed,
                error=event.error,
                error_text=event.error_text,
                execution_count=event.execution_count,
                time=event.time,
            )
        else:
            self.cells.start(
                cell_id=event.cell_id,
                execution_count=event.execution_count,
                source=event.source,
                time=event.time,
            )

    def read(self, notebook: tuple[tuple[str, str], ...]) -> None:
        """The notebook's cells as they stand."""
        self.cells.set_notebook(tuple(CellText(id=key, source=source) for key, source in notebook))

    async def step(self, *, is_watched: bool, lag: float) -> Ready | None:
        """One turn. The new reply when there is something new to say."""
        try:
            return await self._step(is_watched=is_watched, lag=lag)
        except Exception:
            self._release(all_of_them=True)
            raise

    async def _step(self, *, is_watched: bool, lag: float) -> Ready | None:
        look = self._discovery.look()
        if look.found in ("nothing", "clients"):
            self._listen()
        feed = await self._follow(look)
        if feed is not None:
            self._look_at_asked(feed)
        is_fresh = self._finish_pull()
        is_busy = self._is_busy()
        self.status = sentence(look, feed, had_client=self._followed is not None)
        if feed is not None:
            self._scheduler_id = feed.scheduler_id
        if feed is not None and feed.state in ("live", "limited"):
            self._judge(feed, is_fresh=is_fresh, is_busy=is_busy, lag=lag)
        if is_fresh:
            self._release()
        if is_fresh or feed is None:
            self.n_done += 1
        if feed is not None:
            self._begin_pull(feed, BUSY if is_busy else SEEN if is_watched else QUIET)
        else:
            self._release(all_of_them=True)
        state = (self.status, self.clients, self.cells.running, self._n_judged, self._followed)
        if state == self._published:
            return None
        self._published = state
        return self._compose()

    def say(self, kind: StatusKind, message: str) -> Ready:
        """A reply with this status, over what was known last."""
        self.status = Status(kind=kind, message=message)
        return self._compose()

    async def close(self) -> None:
        """Lets go of every client. Never raises; takes at most a second for each."""
        await self._stop_pull()
        for client_id in tuple(self._feeds):
            await self._drop(client_id)
        if self._submissions is not None:
            with suppress(Exception):
                self._submissions.uninstall()

    # Following

    def _listen(self) -> None:
        # As soon as distributed is there, so that the first graph is not missed.
        if self._submissions is None:
            from ..gather.submissions import Submissions

            submissions = Submissions()
            submissions.nudge = self._nudge
            submissions.install()
            self._submissions = submissions

    async def _follow(self, look: Look) -> Feed | None:
        clients = {client.id: client for client in look.clients}
        # In the order in which they were first seen; those that are gone are forgotten.
        new = {client_id: next(self._numbers) for client_id in clients if client_id not in self._first_seen}
        self._first_seen = {key: n for key, n in self._first_seen.items() if key in clients} | new
        for gone in self._feeds.keys() - clients.keys():
            await self._drop(gone)
        target = self._choose(look)
        by_age = sorted(look.clients, key=lambda one: self._first_seen[one.id])
        self.clients = tuple(describe(one, default=look.default, followed=target) for one in by_age)
        if target is None:
            return None
        if target.id != self._followed:
            await self._stop_pull()
            self._followed = target.id
            self._collections = ()
            self._names = ()
            self.snapshot = self.report = None
            self._judged = None
            self._profile_pace, self._judge_pace = _Pace(), _Pace()
            self._pulled_at = float("-inf")
        if target.id not in self._feeds:
            from ..gather.cluster import Feed

            while len(self._feeds) >= MAX_FEEDS:
                await self._drop(next(iter(self._feeds)))
            self._feeds[target.id] = Feed(target, self._submissions)
        return self._feeds[target.id]

    def _choose(self, look: Look) -> Client | None:
        if look.default is not None:
            return look.default
        by_age = sorted(look.clients, key=lambda client: self._first_seen[client.id])
        return next((one for one in by_age if one.id == self._followed), by_age[-1] if by_age else None)

    async def _drop(self, client_id: str) -> None:
        if client_id == self._followed:
            await self._stop_pull()
        feed = self._feeds.pop(client_id)
        with suppress(Exception):
            await asyncio.wait_for(feed.close(), 1.0)

    async def _stop_pull(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await pull
        self._release(all_of_them=True)

    # Pulling

    def _is_busy(self) -> bool:
        now = time.monotonic()
        if self.cells.running is not None or self._has_tasks():
            self._busy_at = now
        return now - self._busy_at < AFTERGLOW

    def _has_tasks(self) -> bool:
        load = None if self.snapshot is None else self.snapshot.load
        if load is None or isinstance(load, Gap) or not load:
            return False
        return load[-1].tasks_processing + load[-1].tasks_waiting > 0

    def _begin_pull(self, feed: Feed, interval: float) -> None:
        now = time.monotonic()
        if self._pull is not None or (now - self._pulled_at < interval and not self.waiters):
            return
        self._pulled_at = now
        while self.waiters:
            self._served.append(self.waiters.popleft())
        self._pull = asyncio.get_running_loop().create_task(feed.pull())
        self._pull.add_done_callback(lambda _: self._wake())

    def _finish_pull(self) -> bool:
        pull = self._pull
        if pull is None or not pull.done():
            return False
        self._pull = None
        if not pull.cancelled():
            pull.result()  # a fault of the feed's own is one of ours: it is counted
        return True

    def _release(self, *, all_of_them: bool = False) -> None:
        while all_of_them and self.waiters:
            self._served.append(self.waiters.popleft())
        for waiter in self._served:
            with suppress(concurrent.futures.InvalidStateError):
                waiter.set_result(None)
        self._served.clear()

    # Judging

    def _judge(self, feed: Feed, *, is_fresh: bool, is_busy: bool, lag: float) -> None:
        is_awaited = bool(self._served) and is_fresh
        share = BUSY_SHARE if is_busy else QUIET_SHARE
        has_read = self.cells.version != self._judged
        if not is_awaited and not (is_fresh or has_read):
            return
        if not is_awaited and not self._judge_pace.is_due(share):
            return
        # Before the clock starts: importing them, once, is not what a judgement takes.
        from .. import config, runner
        from ..verify import Ledger

        # The thread's own time: waiting for the user's cell to let go of the interpreter costs nobody anything.
        began = time.thread_time()
        version = self.cells.version
        self._profile(feed, share, is_awaited=is_awaited)
        notes = (held_up(lag),) if lag > LAG else ()
        self.snapshot = doctor.gather(
            feed,
            self.cells,
            {},
            collections=self._collections,
            names=self._names,
            local_runs=() if self.local_runs is None else self.local_runs.told(self.cells),
            phases=None if self.phases is None else self.phases.told(self.cells),
            notes=notes,
        )
        feed.ask_for_held(self.snapshot)
        if self._ledger is None:
            self._ledger = Ledger()
        self.report = runner.examine(self.snapshot, ledger=self._ledger, settings=config.read())
        self._judged = version
        self._n_judged += 1
        self._judge_pace.done(time.thread_time() - began)

    def _profile(self, feed: Feed, share: float, *, is_awaited: bool) -> None:
        from ..gather.data.asked import remember
        from ..gather.data.collections import profile
        from ..gather.host import holders

        if not is_awaited and not self._profile_pace.is_due(share):
            return
        if self._is_pickling() or (self._is_in_the_way() and not self._profile_pace.is_late):
            return
        began = time.thread_time()
        namespace = self._namespace()
        self._collections = profile(
            namespace, sizes=feed.sizes, bound_at=self.cells.bound_at, outputs=self._outputs()
        )
        remember(self._known, self._collections, namespace)
        self._names = holders(namespace)
        self._profile_pace.done(time.thread_time() - began)

    def _look_at_asked(self, feed: Feed) -> None:
        # At every turn: what was asked for is held by the caller alone, and only while it waits.
        if self._submissions is None or self._is_pickling():
            return
        sent = self._submissions.unseen()
        if not sent:
            return
        from ..gather.data.asked import look_at

        look_at(
            sent,
            self._namespace(),
            sizes=feed.sizes,
            cells=self.cells,
            phases=self.phases,
            known=self._known,
        )

    def _is_pickling(self) -> bool:
        # What is pickled must not change meanwhile, and a look at a graph may add to what it remembers.
        return self.phases is not None and self.phases.now() == "serializing"

    def _is_in_the_way(self) -> bool:
        """Somebody builds collections, or optimizes: nothing new is to be seen yet, and both would take longer."""
        return self.phases is not None and self.phases.now() not in (None, "waiting")

    # Publishing

    def _compose(self) -> Ready:
        return self._composer.compose(
            status=self.status,
            clients=self.clients,
            snapshot=self.snapshot,
            report=self.report,
            running=self.cells.running,
            key=(self._followed, self._scheduler_id),
        )
