"""Gathers the facts, has them judged, and hands back the report: the same in a kernel and in a script."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextvars import Context
from types import FrameType
from typing import TYPE_CHECKING

from .report import Report
from .snapshot import Cell, Collection, Gap, LocalRun, Phase, Snapshot

if TYPE_CHECKING:
    from distributed import Client

    from .gather.cluster import Feed
    from .gather.code import CellLog
    from .gather.host import Holders

#: Seconds that `diagnose` waits at most for what the cluster has to say.
PATIENCE = 5.0


class NoClient(RuntimeError):
    """There is no Dask client to ask, or it does not answer."""


def gather(
    feed: Feed,
    cells: CellLog,
    namespace: Mapping[str, object],
    *,
    collections: tuple[Collection, ...] | None = None,
    names: Holders | None = None,
    local_runs: tuple[LocalRun, ...] = (),
    phases: tuple[Phase, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Snapshot:
    """All that is known now, from what `feed` pulled last. Never computes, never waits, never raises for a
    section that cannot be had: that becomes a gap.

    `collections`, `names`: looked up before, so that the namespace is not looked through again.
    `local_runs`: what ran in this kernel and not on the cluster. `phases`: what the cells did inside Dask; None
    when nobody looked.
    """
    from .gather import host
    from .gather.data.collections import profile

    if collections is None:
        collections = profile(namespace, sizes=feed.sizes, bound_at=cells.bound_at)
    collections = feed.with_held(collections)
    if names is None:
        names = host.holders(namespace)
    kernel = host.kernel(feed.client, names, local_runs)
    code: tuple[Cell, ...] | Gap = cells.cells() or Gap(reason="No cell of a notebook is known.")
    seen: tuple[Phase, ...] | Gap = Gap(reason="Nobody looked while cells ran.") if phases is None else phases
    now = time.time()
    try:
        sections = feed.sections(cells)
    except Exception as error:
        gap = Gap(
            reason=f"The doctor failed while it read the cluster's state ({type(error).__name__}: {error})."
        )
        return Snapshot(
            time=now,
            cluster=gap,
            workers=gap,
            load=gap,
            prefixes=gap,
            groups=gap,
            computations=gap,
            collections=collections,
            code=code,
            losses=gap,
            failures=gap,
            rests=gap,
            changes=gap,
            scheduling=gap,
            policy=gap,
            versions=gap,
            environments=gap,
            kernel=kernel,
            phases=seen,
            notes=notes,
        )
    return Snapshot(
        time=now,
        cluster=host.named(sections.cluster, feed.client, names),
        workers=sections.workers,
        load=sections.load,
        prefixes=sections.prefixes,
        groups=sections.groups,
        computations=sections.computations,
        collections=collections,
        code=code,
        losses=sections.losses,
        failures=sections.failures,
        rests=sections.rests,
        changes=sections.changes,
        scheduling=sections.scheduling,
        policy=sections.policy,
        versions=sections.versions,
        environments=feed.environments(),
        kernel=kernel,
        phases=seen,
        notes=(*notes, *sections.notes),
    )


def diagnose(
    client: Client | None = None,
    *,
    collections: Mapping[str, object] | Iterable[object] | None = None,
    source: str | None = None,
) -> Report:
    """As `jupyter_dask_doctor.diagnose`."""
    from .kernel import extension

    monitor = extension.monitor()
    # A doctor that switched itself off may still be asked by hand.
    is_plain = client is None and collections is None and source is None
    if monitor is not None and monitor.off is None and is_plain:
        report = monitor.refresh(timeout=PATIENCE)
        if report is not None:
            monitor.shown = report
            return report
    chosen = client if client is not None else _default_client()
    if chosen.status in ("closed", "closing"):
        raise NoClient("The Dask client is closed: make a new one with `Client()`.")
    if collections is None:
        namespace = monitor.namespace() if monitor is not None else _callers_variables()
    else:
        namespace = _named(collections)
    return _in_own_thread(chosen, namespace, source)


def _default_client() -> Client:
    from distributed import default_client

    try:
        client: Client = default_client()  # type: ignore[no-untyped-call]
        return client
    except ValueError:
        raise NoClient(
            "There is no Dask client here: make one with `Client()`, or pass the one to look at."
        ) from None


def _callers_variables() -> dict[str, object]:
    # The nearest frame that is not ours.
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
    return {} if frame is None else {**frame.f_globals, **frame.f_locals}


def _named(collections: Mapping[str, object] | Iterable[object]) -> dict[str, object]:
    if isinstance(collections, Mapping):
        return {str(name): value for name, value in collections.items()}
    # A single collection is iterable itself, and walking through it would compute.
    if not isinstance(collections, (list, tuple, set, frozenset)):
        return {"collection": collections}
    return {f"collection{i}": value for i, value in enumerate(collections, 1)}


def _in_own_thread(client: Client, namespace: Mapping[str, object], source: str | None) -> Report:
    # On a loop of its own: the caller may stand on one already, and a LocalCluster's is the scheduler's.
    outcome: list[Report | Exception] = []

    def work() -> None:
        loop = asyncio.SelectorEventLoop()
        asyncio.set_event_loop(loop)
        try:
            outcome.append(
                loop.run_until_complete(asyncio.wait_for(_once(client, namespace, source), 2 * PATIENCE))
            )
        except Exception as error:
            outcome.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=Context().run, args=(work,), daemon=True, name="dask-doctor-once")
    thread.start()
    thread.join(2 * PATIENCE + 1)
    if not outcome or isinstance(outcome[0], TimeoutError):
        raise NoClient("The scheduler did not answer in time.")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


async def _once(client: Client, namespace: Mapping[str, object], source: str | None) -> Report:
    from . import config, runner
    from .gather.cluster import Feed
    from .gather.code import CellLog

    cells = CellLog()
    if source is not None:
        from .messages import CellText

        cells.set_notebook((CellText(id="source", source=source),))
    feed = Feed(client)
    try:
        stop = time.monotonic() + PATIENCE
        while True:
            await feed.pull()
            if feed.state in ("live", "limited"):
                break
            if time.monotonic() > stop:
                raise NoClient(feed.reason or "The scheduler did not answer.")
            await asyncio.sleep(0.2)
        feed.ask_for_held(gather(feed, cells, namespace))
        await feed.settle()
        return runner.examine(gather(feed, cells, namespace), settings=config.read())
    finally:
        await feed.close()
