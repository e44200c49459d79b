"""Follow one client's cluster: keep the plugin on its scheduler, pull what it saw, and make sections of it.

Runs on an asyncio loop of our own and speaks bare rpc: a LocalCluster's `client.loop` is its scheduler's.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..snapshot import (
    Cluster,
    Collection,
    Computation,
    Gap,
    Load,
    PartitionSizes,
    Policy,
    Rest,
    Scheduling,
    Snapshot,
    TaskFailure,
    TaskGroup,
    TaskPrefix,
    Versions,
    Worker,
    WorkerChange,
    WorkerEnvironment,
    WorkerLoss,
)
from .code import CellLog
from .connection import Connection, Refused
from .environment import Environments
from .facts import Facts
from .held import Holdings
from .limited import limited_reply
from .rests import Rests
from .scheduler_graphs import SEND_RECORDS, SEND_ROWS
from .scheduler_metrics import SEND_METRICS
from .scheduling import Schedule
from .submissions import Submissions
from .tasks import Tasks
from .workers import Workers

if TYPE_CHECKING:
    from distributed import Client

#: The oldest distributed that is known to work.
OLDEST = (2025, 7)
#: One pull takes at most this long.
TIMEOUT = 2.0
#: Where nobody listens, distributed tries again until this time is over.
CONNECT_TIMEOUT = 1.2
#: So many pulls in a row may go unanswered before the scheduler counts as lost.
MAX_UNANSWERED = 3
#: Without the plugin we ask for less, and less often.
LIMITED_INTERVAL = 2.0
LIMITED_WORKERS = 200

State = Literal["connecting", "live", "limited", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """The sections of a `Snapshot` that a cluster tells."""

    cluster: Cluster | Gap
    workers: tuple[Worker, ...] | Gap
    load: tuple[Load, ...] | Gap
    prefixes: tuple[TaskPrefix, ...] | Gap
    groups: tuple[TaskGroup, ...] | Gap
    computations: tuple[Computation, ...] | Gap
    losses: tuple[WorkerLoss, ...] | Gap
    failures: tuple[TaskFailure, ...] | Gap
    rests: tuple[Rest, ...] | Gap
    changes: tuple[WorkerChange, ...] | Gap
    scheduling: Scheduling | Gap
    policy: Policy | Gap
    versions: tuple[Versions, ...] | Gap
    #: What was left out to stay within bounds, in words.
    notes: tuple[str, ...] = ()


def _missing(gap: Gap) -> Sections:
    return Sections(
        cluster=gap,
        workers=gap,
        load=gap,
        prefixes=gap,
        groups=gap,
        computations=gap,
        losses=gap,
        failures=gap,
        rests=gap,
        changes=gap,
        scheduling=gap,
        policy=gap,
        versions=gap,
    )


def check_version(version: str | None = None) -> str | None:
    """Why this version of distributed (else the installed one) will not do, in words; None if it will."""
    if version is None:
        import distributed

        version = distributed.__version__
    try:
        year, month = (int(part) for part in version.split("+")[0].split(".")[:2])
    except ValueError:
        return None  # built from a checkout: give it the benefit of the doubt
    if (year, month) >= OLDEST:
        return None
    return f"This kernel has distributed {version}; Dask Doctor needs {OLDEST[0]}.{OLDEST[1]} or later."


class Feed:
    """Follows one client. Every method is for the one thread whose loop runs `pull`."""

    def __init__(self, client: Client, submissions: Submissions | None = None) -> None:
        self._client = weakref.ref(client)
        self._submissions = submissions
        self.client_id: str = client.id
        self.scheduler_id: str | None = None
        self.state: State = "connecting"
        #: A sentence for the user; empty while `state` is "live".
        self.reason = "Connecting to the scheduler."
        self._connection: Connection | None = None
        self._refused: str | None = None
        self._unanswered = 0
        self._limited_at = 0.0
        self._prefixes: tuple[TaskPrefix, ...] = ()
        self._cluster: Cluster | None = None
        self._epoch: float | None = None
        self._tasks = Tasks("", self.client_id)
        self._workers = Workers()
        self._schedule = Schedule()
        self._stacks: asyncio.Task[None] | None = None
        self._environments: Environments | None = None
        self._holdings: Holdings | None = None
        #: Seconds that the scheduler's loop spent on the last snapshot.
        self.seconds = 0.0

    async def pull(self) -> None:
        """Take in what is new: one bounded round trip, at most `TIMEOUT` seconds. Never raises."""
        try:
            await asyncio.wait_for(self._pull(), TIMEOUT)
            self._unanswered = 0
        except (asyncio.TimeoutError, TimeoutError):
            self._unanswered += 1
            if self._connection is not None:
                self._connection.abort()
            words = f"The scheduler has not answered for {self._unanswered * TIMEOUT:.0f} s."
            if self._unanswered >= MAX_UNANSWERED:
                self._lose(words)
            else:
                self.reason = words
        except Exception as error:
            await self._disconnect()
            if isinstance(error, OSError):
                self._lose("The scheduler is gone.")
            else:
                text = " ".join(str(error).split())[:300]
                self._lose(f"The scheduler cannot be followed ({type(error).__name__}: {text}).")

    async def close(self) -> None:
        """Let go of the scheduler; the plugin stays for other notebooks. Never raises."""
        await self._disconnect()
        for asking in (self._environments, self._holdings):
            if asking is not None:
                with contextlib.suppress(Exception):
                    await asking.close()

    @property
    def client(self) -> Client | None:
        """The one that is followed, while the notebook keeps it."""
        return self._client()

    async def settle(self) -> None:
        """Wait, a little, for workers that were asked for their environment or for what they hold."""
        for asking in (self._environments, self._holdings):
            if asking is not None:
                await asking.settle()

    def ask_for_held(self, snapshot: Snapshot) -> None:
        """Ask workers for what they hold of persisted collections, those that were not asked for. Never waits."""
        if self._holdings is not None and self._refused is None and self.state == "live":
            self._holdings.ask(snapshot)

    def with_held(self, collections: tuple[Collection, ...]) -> tuple[Collection, ...]:
        """The collections with what workers told of their partitions."""
        return collections if self._holdings is None else self._holdings.with_held(collections)

    def environments(self) -> tuple[WorkerEnvironment, ...] | Gap:
        """What worker processes told of themselves when asked."""
        if self._environments is None:
            return Gap(reason=self.reason)
        if self._refused is not None:
            return Gap(reason=f"{self._refused}.")
        return self._environments.section()

    def sizes(self, group: str) -> PartitionSizes | None:
        """Sizes of the outputs of the newest task group of this name; None when none were seen."""
        return self._tasks.sizes(group)

    # -- pulling --------------------------------------------------------------------------------------------

    async def _pull(self) -> None:
        client = self._client()
        if client is None or client.status in ("closed", "closing"):
            await self._disconnect()
            self._lose("This client is closed.")
            return
        address = getattr(client.scheduler, "address", None)
        if address is None:
            return
        connection = self._connection
        if connection is None or connection.address != address:
            await self._disconnect()
            args = client.security.get_connection_args("client")
            connection = self._connection = Connection(address, args, CONNECT_TIMEOUT)
        if connection.scheduler_id is None:
            identity = await connection.identify()
            self._meet(client, identity)
        if self._refused is None:
            try:
                await connection.register()
                await self._pull_all(connection)
            except Refused as refused:
                self._check(await connection.identify())
                self._refused = str(refused)
        if self._refused is not None:
            await self._pull_limited(connection)

    def _meet(self, client: Client, identity: Mapping[str, Any]) -> None:
        """A line to a scheduler stands: the one from before, or another one at its address."""
        scheduler_id = identity["id"]
        if scheduler_id != self.scheduler_id:
            self.scheduler_id = scheduler_id
            self._refused = None
            for asking in (self._environments, self._holdings):
                if asking is not None:
                    asking.cancel()
            self._environments = self._holdings = None
            self._epoch = None
            self._prefixes = ()
            self._tasks = Tasks(scheduler_id, self.client_id)
            self._workers = Workers()
            self._schedule = Schedule()
            self._rests = Rests()
            self._facts = Facts()
        self._cluster = _cluster(client, identity)
        if self._environments is None or self._holdings is None:
            address, args = str(identity["address"]), client.security.get_connection_args("client")
            is_in_process = self._cluster.is_in_process
            self._environments = Environments(address, args, is_in_process=is_in_process)
            self._holdings = Holdings(address, args, is_in_process=is_in_process)

    def _check(self, identity: Mapping[str, Any]) -> None:
        # Its line opens anew by itself: between two pulls another one may have come to its address.
        if identity["id"] != self.scheduler_id:
            raise ConnectionResetError("another scheduler answers")

    async def _pull_all(self, connection: Connection) -> None:
        for _ in range(3):  # more when there is a backlog
            reply = await connection.snapshot(is_deep=_is_deep())
            if not reply:
                return
            assert self.scheduler_id is not None
            self._check({"id": reply["scheduler_id"]})
            if reply["epoch"] != self._epoch:
                # A fresh plugin counts anew.
                self._epoch = reply["epoch"]
                self._tasks = Tasks(self.scheduler_id, self.client_id)
                self._rests.renew()
            if self._submissions is not None:
                self._tasks.submit(self._submissions.take(self.client_id))
            self._workers.take(reply, connection.to_kernel)
            self._tasks.saw_memory(self._workers.process, self._workers.largest)
            self._tasks.take(reply, connection.to_kernel)
            self._tasks.saw_memory(self._workers.process, self._workers.largest)
            retried = reply["tasks"]["retried"]
            self._prefixes = tuple(
                TaskPrefix(
                    name=name,
                    n_tasks=n,
                    n_memory=memory,
                    n_erred=erred,
                    n_suspicious=suspicious,
                    nbytes=nbytes,
                    compute_seconds=seconds,
                    n_done=done,
                    n_processing=processing,
                    max_seconds=longest,
                    failed_seconds=failed,
                    n_retried=retried.get(name, 0) if retried is not None else None,
                )
                for (
                    name, n, memory, erred, suspicious, nbytes, seconds, done, processing, longest, failed
                ) in reply["tasks"]["prefixes"]
            )  # fmt: skip
            self._schedule.take(reply, connection.to_kernel, self._tasks.last_stop)
            self._rests.take(reply, self._workers.loads()[-1], self._workers.workers())
            self.seconds = reply["seconds"]
            if (
                len(reply["sizes"]) < SEND_ROWS
                and len(reply["graphs"]) + len(reply["groups"]) < SEND_RECORDS
                and len(reply["sums"] or ()) < SEND_METRICS
            ):
                break
        if self._facts.are_due(reply["n_changes"]):
            facts = await connection.facts()
            if facts.get("scheduler_id") in (None, self.scheduler_id):
                self._facts.take(facts, reply["n_changes"])
        overdue = self._schedule.overdue({prefix.name: prefix.max_seconds for prefix in self._prefixes})
        if overdue:
            # Beside the pulls: a worker that hangs may not answer.
            self._stacks = asyncio.ensure_future(self._schedule.fetch(connection.stacks, overdue))
        self.state, self.reason = "live", ""
        if self._environments is not None:
            shown = reply["workers"]["shown"]
            self._environments.ask(
                {row[0]: row[4] for row in shown}, self._facts.versions, spilled=reply["workers"]["spilled"]
            )

    async def _pull_limited(self, connection: Connection) -> None:
        now = time.monotonic()
        if now - self._limited_at >= LIMITED_INTERVAL:
            self._limited_at = now
            identity = await connection.identify(LIMITED_WORKERS)
            self._check(identity)
            states = await connection.prefix_states()
            self._workers.take(limited_reply(identity, states), lambda moment: moment)
            self._facts.take_limited(connection.versions)
        self.state, self.reason = "limited", f"{self._refused}."

    def _lose(self, reason: str) -> None:
        self.state, self.reason = "lost", reason

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        stacks, self._stacks = self._stacks, None
        if stacks is not None:
            stacks.cancel()
            await asyncio.gather(stacks, return_exceptions=True)
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()

    # -- sections -------------------------------------------------------------------------------------------

    def sections(self, cells: CellLog) -> Sections:
        """What is known now. After the scheduler is lost, what was known last."""
        cluster, workers, tasks = self._cluster, self._workers, self._tasks
        if cluster is None:
            gap = Gap(reason=self.reason)
            return _missing(gap)
        cluster = replace(cluster, nthreads=workers.nthreads, memory_limit=workers.memory_limit)
        if self._refused is not None:
            gap = Gap(reason=f"{self._refused}.")
            return replace(
                _missing(gap),
                cluster=cluster,
                workers=workers.workers(),
                load=workers.loads(),
                policy=gap if isinstance(self._facts.policy, Gap) else self._facts.policy,
                versions=gap if isinstance(self._facts.versions, Gap) else self._facts.versions,
            )
        return Sections(
            cluster=cluster,
            workers=workers.workers(),
            load=workers.loads(),
            prefixes=self._prefixes,
            groups=tasks.groups(),
            computations=tasks.computations(cells),
            losses=workers.losses(cells, tasks.prefixes),
            failures=tasks.failures(cells),
            rests=self._rests.view(),
            changes=workers.changes(cells, tasks.prefixes),
            scheduling=self._schedule.view(tasks, cells),
            policy=self._facts.policy,
            versions=self._facts.versions,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self._workers.n > self._workers.n_shown:
            yield (
                f"Only {self._workers.n_shown} of {self._workers.n:,} workers are shown singly: the fullest, "
                "those with most to do, and some of the others."
            )
        if self._tasks.n_dropped:
            yield f"The sizes of {self._tasks.n_dropped:,} tasks were not looked at: too many at once."


def _cluster(client: Client, identity: Mapping[str, Any]) -> Cluster:
    import dask
    import distributed

    return Cluster(
        scheduler_id=identity["id"],
        address=str(identity["address"]),
        client_id=client.id,
        kind=type(client.cluster).__name__ if client.cluster is not None else None,
        is_in_process=any(s.id == identity["id"] for s in list(distributed.Scheduler._instances)),
        nthreads=0,
        memory_limit=None,
        python=(sys.version_info[0], sys.version_info[1]),
        dask=dask.__version__,
        distributed=distributed.__version__,
        dashboard_link=_dashboard_link(client),
        memory_target=_fraction("target"),
        memory_spill=_fraction("spill"),
        memory_pause=_fraction("pause"),
        memory_terminate=_fraction("terminate"),
    )


def _is_deep() -> bool:
    """The user wants every task looked at: setting `dask-doctor.deep`."""
    import dask

    return dask.config.get("dask-doctor.deep", False) is True


def _dashboard_link(client: Client) -> str | None:
    try:
        link = client.dashboard_link
    except Exception:  # depends on the cluster's own code and on settings
        return None
    return str(link)[:500] if link else None


def _fraction(name: str) -> float:
    """As this kernel's settings have it: a worker's own settings are not known here. Off is 1.0: never."""
    import dask

    value = dask.config.get(f"distributed.worker.memory.{name}", None)
    return float(value) if isinstance(value, (int, float)) and value else 1.0
