"""How long a snapshot holds a big cluster's scheduler, and how long the rules take to judge it.

    python benchmarks/snapshot.py [--quick]

A real `Scheduler` with 1,000 invented workers of two threads, all of them busy, and 1,000,000 tasks: one
graph that is a single task group of nearly all of them, and 150 graphs of four groups each. 2,000 fine
performance metrics change between any two snapshots, heartbeats come in and tasks finish meanwhile. A real
`Feed` follows it over a real connection; then all rules judge what it knows. Needs about 4 GB and 3 minutes.

The block of the scheduler's loop is its CPU time in our handler with nothing cached, and beside it what packing
the answer takes. The rules' time is that of `runner.examine`, and that of the slowest rules alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import statistics
import time
from typing import Any

from dask._task_spec import Task
from distributed import Client
from distributed.protocol.core import dumps
from distributed.scheduler import Scheduler
from scheduler import NoComm, graph, invent_workers, submit

from jupyter_dask_doctor import doctor, runner
from jupyter_dask_doctor.config import Settings
from jupyter_dask_doctor.gather.cluster import Feed
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.scheduler_plugin import HANDLER, DoctorPlugin
from jupyter_dask_doctor.rules import RULES
from jupyter_dask_doctor.snapshot import Snapshot

LABELS = ("thread-cpu", "thread-noncpu", "executor", "other", "disk-read")
N_PREFIXES = 400
N_GRAPHS = 150


def beat(scheduler: Scheduler) -> None:
    """Heartbeats of all workers: what they run, and what they spent since."""
    now = time.time()
    for ws in scheduler.workers.values():
        ws.last_seen = now
        ws.executing = dict(
            zip(list(ws.processing)[: ws.nthreads], (random.random() * 100, 1.5), strict=False)
        )
    for i in range(N_PREFIXES):
        for name in LABELS:
            scheduler.cumulative_worker_metrics["execute", f"prefix-{i}", name, "seconds"] += random.random()


def finish(scheduler: Scheduler, n: int) -> None:
    """Let some of what runs finish."""
    workers = random.sample(list(scheduler.workers.values()), min(n, len(scheduler.workers)))
    for ws in workers:
        for ts in list(ws.processing)[:1]:
            now = time.time()
            scheduler.handle_task_finished(
                key=ts.key,
                worker=ws.address,
                stimulus_id="task-finished",
                run_id=ts.run_id,
                metadata={},
                nbytes=random.randrange(1_000_000),
                type=b"",
                typename="int",
                startstops=[{"action": "compute", "start": now - 1, "stop": now}],
                thread=1,
            )


async def observe(n_tasks: int, n_snapshots: int) -> tuple[list[float], list[float], int, Snapshot]:
    """Milliseconds of each block, of packing each answer, the bytes of an answer, and the last snapshot."""
    scheduler = await Scheduler(dashboard_address="127.0.0.1:0", host="127.0.0.1", port=0)
    for callback in scheduler.periodic_callbacks.values():
        callback.stop()  # invented workers do not answer
    client = await Client(scheduler.address, asynchronous=True)
    feed = Feed(client)
    await feed.pull()  # the plugin is there from the start
    if feed._environments is not None:
        feed._environments.ask = lambda *args, **kwargs: None  # type: ignore[method-assign]
    invent_workers(scheduler, 1_000)
    # What it sends to the client need not arrive.
    comm, scheduler.client_comms[client.id] = scheduler.client_comms[client.id], NoComm()
    for i in range(N_GRAPHS):
        dsk, keys = graph(f"{i:032x}", max(4, n_tasks // 4_000))
        submit(scheduler, dsk, keys, i, client.id)
    tasks = [Task((f"load-{N_GRAPHS:032x}", i), int) for i in range(n_tasks - len(scheduler.tasks))]
    submit(scheduler, {t.key: t for t in tasks}, {t.key for t in tasks}, N_GRAPHS, client.id)
    print(f"  {len(scheduler.tasks):,} tasks in {len(scheduler.task_groups):,} groups")
    gc.collect()
    gc.freeze()
    plugin: Any = scheduler.plugins[DoctorPlugin.name]
    handler = scheduler.handlers[HANDLER]
    block: list[float] = []
    packing: list[float] = []
    nbytes = 0

    def metered(**cursor: Any) -> Any:
        nonlocal nbytes
        # Nothing from the cache; only that the parts are renewed in turn stays.
        plugin.seen_at = {part: at - 10 for part, at in plugin.seen_at.items()}
        before = time.thread_time()
        reply = handler(**cursor)
        after = time.thread_time()
        frames = dumps(reply)
        packing.append((time.thread_time() - after) * 1e3)
        nbytes = sum(map(len, frames))
        block.append((after - before) * 1e3)
        return reply

    scheduler.handlers[HANDLER] = metered
    for _ in range(n_snapshots):
        beat(scheduler)
        finish(scheduler, 200)
        await feed.pull()
        assert feed.state == "live", feed.reason
    assert plugin.n_faults == 0
    snapshot = doctor.gather(feed, CellLog(), {})
    await feed.close()
    scheduler.client_comms[client.id] = comm
    for invented in (scheduler.workers, scheduler.stream_comms, scheduler.idle, scheduler.running):
        invented.clear()
    await client.close()
    await scheduler.close()
    return block, packing, nbytes, snapshot


def judge(snapshot: Snapshot, n: int) -> tuple[list[float], dict[str, float]]:
    """Milliseconds of each examination, and of each rule alone."""
    took = []
    for _ in range(n):
        before = time.thread_time()
        runner.examine(snapshot)
        took.append((time.thread_time() - before) * 1e3)
    alone = {}
    for rule in RULES.values():
        before = time.thread_time()
        runner.run(rule, snapshot, Settings())
        alone[rule.id] = (time.thread_time() - before) * 1e3
    return took, alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="20,000 tasks: shows that it runs, not the figures"
    )
    options = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    n_tasks, n = (20_000, 20) if options.quick else (1_000_000, 200)
    print(f"A scheduler with 1,000 invented workers, {n} snapshots with nothing cached")
    block, packing, nbytes, snapshot = asyncio.run(observe(n_tasks, n))
    for name, took, goal in (("block", block, "  goal 5 ms"), ("packing", packing, "")):
        took.sort()
        print(
            f"  {name:<8} median {statistics.median(took):.2f} ms, 95 % below {took[int(0.95 * len(took))]:.2f} ms, "
            f"longest {took[-1]:.2f} ms{goal}"
        )
    print(f"  an answer has {nbytes:,} bytes")
    took, alone = judge(snapshot, 20)
    slowest = sorted(alone.items(), key=lambda item: -item[1])[:3]
    print(
        f"All {len(RULES)} rules on what is known of it: median {statistics.median(took):.1f} ms, "
        f"longest {max(took):.1f} ms  goal 50 ms"
    )
    print("  slowest: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in slowest))


if __name__ == "__main__":
    main()
