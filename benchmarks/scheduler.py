"""What the doctor costs a Dask cluster, as ratios to a cluster without it, measured in one run.

    python benchmarks/scheduler.py [--quick]

1. The scheduler alone: a real `Scheduler` object with invented workers that finish each task at once, so that
   nothing but the scheduler's own time per task is seen. Bare, with our plugin and two snapshots a second,
   with the same in deep mode, and for comparison with Dask's task-stream plugin, and with a plugin whose
   hook looks at nothing but what is large or slow.
2. A real LocalCluster whose scheduler shares this process: CPU of this process for each task, with and
   without a `Feed` that pulls twice a second of it and a record of submissions.
3. How long a snapshot holds the scheduler's loop with 1,000 invented workers and many tasks.

Rounds of all variants are interleaved, in changing order; a ratio is the median of the ratios of each round.
All times are CPU times, for other programs disturb the clock on the wall.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dask._task_spec import Task
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.diagnostics.task_stream import TaskStreamPlugin
from distributed.scheduler import Scheduler

from jupyter_dask_doctor.gather.cluster import Feed
from jupyter_dask_doctor.gather.connection import CURSOR
from jupyter_dask_doctor.gather.scheduler_plugin import HANDLER, DoctorPlugin
from jupyter_dask_doctor.gather.submissions import Submissions

#: Two snapshots a second, while a scheduler-only run takes in tasks as fast as it can.
INTERVAL = 0.5


class NoComm:
    """A line to a worker or client that does not exist."""

    def send(self, *messages: Any) -> None: ...
    def abort(self) -> None: ...
    async def close(self, **kwargs: Any) -> None: ...
    def closed(self) -> bool:
        return False


class Glance(SchedulerPlugin):
    """The least that a hook can do which looks only at what is large or slow."""

    name = "glance"

    def __init__(self) -> None:
        self.found: list[Any] = []

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if finish == "memory" and start == "processing":
            last = kwargs["startstops"][-1]
            if kwargs["nbytes"] > 100_000_000 or last["stop"] - last["start"] > 10:
                self.found.append(key)


def invent_workers(scheduler: Scheduler, n: int) -> None:
    from distributed.core import Status
    from distributed.scheduler import WorkerState

    for i in range(n):
        address = f"tcp://10.0.{i // 250}.{i % 250 + 1}:1234"
        ws = WorkerState(
            address=address,
            status=Status.running,
            pid=0,
            nthreads=2,
            memory_limit=4 << 30,
            name=i,
            local_directory="",
            nanny=None,
            server_id=f"w{i}",
            scheduler=scheduler,
        )
        ws.metrics = {"memory": (100 + i) << 20, "spilled_bytes": {"memory": 0, "disk": 0}, "cpu": 50.0}
        ws.last_seen = time.time()
        scheduler.workers[address] = ws
        scheduler.stream_comms[address] = NoComm()
        scheduler.aliases[i] = address
        scheduler.running.add(ws)
        scheduler.total_nthreads += ws.nthreads
        scheduler.total_memory += ws.memory_limit
        # Else it fails on each task, and what a failure costs would be taken for the scheduler's own time.
        scheduler.extensions["stealing"].add_worker(scheduler=scheduler, worker=address)
        scheduler.check_idle_saturated(ws)


def graph(name: str, n: int) -> tuple[dict[Any, Task], set[Any]]:
    """`n` tasks: three in a row for each partition, and one that takes all of them."""
    width = max(1, n // 3)
    tasks: list[Task] = []
    for i in range(width):
        a = Task((f"load-{name}", i), int)
        b = Task((f"map-{name}", i), int, a.ref())
        tasks += [a, b, Task((f"sum-{name}", i), int, b.ref())]
    last = Task(f"total-{name}", max, *(Task.ref(task) for task in tasks[2::3]))
    tasks.append(last)
    return {task.key: task for task in tasks}, {last.key}


def submit(scheduler: Scheduler, dsk: dict[Any, Task], keys: set[Any], i: int, client: str = "bench") -> None:
    stimulus_id = f"update-graph-{i}"
    start = time.time()
    metrics = scheduler._create_taskstate_from_graph(
        start=start,
        dsk=dsk,
        keys=keys,
        ordered={key: j for j, key in enumerate(dsk)},
        client=client,
        annotations_by_type={},
        global_annotations=None,
        stimulus_id=stimulus_id,
        submitting_task=None,
        span_metadata={"collections": []},
    )
    metrics |= {"start_timestamp_seconds": start, "duration_seconds": time.time() - start}
    event = {"action": "update-graph", "stimulus_id": stimulus_id, "metrics": metrics, "status": "OK"}
    scheduler.log_event(["scheduler", client], event)


def finish_all(scheduler: Scheduler, between: Callable[[], None]) -> None:
    """Play the workers: everything that is processing finishes, until nothing is."""
    while True:
        batch = [(ts.key, ws.address, ts.run_id) for ws in scheduler.workers.values() for ts in ws.processing]
        if not batch:
            return
        for key, address, run_id in batch:
            now = time.time()
            scheduler.handle_task_finished(
                key=key,
                worker=address,
                stimulus_id="task-finished",
                run_id=run_id,
                metadata={},
                nbytes=1_000_000,
                type=b"",
                typename="int",
                startstops=[{"action": "compute", "start": now, "stop": now + 0.001}],
                thread=1,
            )
        between()


async def new_scheduler(n_workers: int) -> Scheduler:
    scheduler = await Scheduler(dashboard_address="127.0.0.1:0", host="127.0.0.1", port=0)
    invent_workers(scheduler, n_workers)
    scheduler.client_comms["bench"] = NoComm()
    return scheduler


def beat(scheduler: Scheduler) -> None:
    """What heartbeats tell: what runs, and what was spent."""
    for ws in scheduler.workers.values():
        ws.executing = dict.fromkeys(list(ws.processing)[: ws.nthreads], 1.5)
        for label in ("thread-cpu", "thread-noncpu", "executor", "other"):
            for prefix in scheduler.task_prefixes:
                scheduler.cumulative_worker_metrics["execute", prefix, label, "seconds"] += 0.1


async def scheduler_alone(rounds: int, n: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {
        name: [] for name in ("bare", "doctor", "deep", "task stream", "glance")
    }
    schedulers = {name: await new_scheduler(8) for name in seconds}
    cursors: dict[str, dict[str, Any]] = {"doctor": {}, "deep": {}}
    for name in cursors:
        await schedulers[name].register_scheduler_plugin(DoctorPlugin(), idempotent=True)
    schedulers["deep"].handlers[HANDLER](is_deep=True)
    schedulers["task stream"].add_plugin(TaskStreamPlugin(schedulers["task stream"]))
    schedulers["glance"].add_plugin(Glance())
    due = dict.fromkeys(seconds, 0.0)

    def tick(name: str) -> None:
        # On the clock of this thread's CPU, so that a busy machine does not let more of them in. The time
        # of each variant is counted apart, over all its rounds.
        now = time.thread_time() - idle[name]
        if now < due[name]:
            return
        due[name] = now + INTERVAL
        beat(schedulers[name])
        if name in cursors:
            reply = schedulers[name].handlers[HANDLER](**cursors[name], is_deep=name == "deep")
            assert "fault" not in reply, reply
            cursors[name] = {field: reply[field] for field in CURSOR}

    idle = dict.fromkeys(seconds, 0.0)
    left = dict.fromkeys(seconds, 0.0)

    for i in range(rounds + 1):
        names = list(seconds)
        random.shuffle(names)
        for name in names:
            scheduler = schedulers[name]
            dsk, keys = graph(f"{name[0]}{i:031x}", n)
            gc.collect()
            gc.disable()
            before = time.thread_time()
            idle[name] += before - left[name]
            submit(scheduler, dsk, keys, i)
            finish_all(scheduler, partial(tick, name))
            scheduler.client_releases_keys(keys=keys, client="bench", stimulus_id="release")
            left[name] = time.thread_time()
            took = left[name] - before
            gc.enable()
            assert not scheduler.tasks
            if i:  # the first warms up
                seconds[name].append(took / len(dsk))
    for scheduler in schedulers.values():
        await stop(scheduler)
    return seconds


async def stop(scheduler: Scheduler) -> None:
    for invented in (scheduler.workers, scheduler.stream_comms, scheduler.client_comms, scheduler.idle):
        invented.clear()
    await scheduler.close()


async def snapshots(n_workers: int, n_tasks: int) -> list[float]:
    """Milliseconds that each snapshot holds the loop while a big graph runs on many workers."""
    scheduler = await new_scheduler(n_workers)
    await scheduler.register_scheduler_plugin(DoctorPlugin(), idempotent=True)
    dsk, keys = graph(f"{1:032x}", n_tasks)
    submit(scheduler, dsk, keys, 1)
    handler = scheduler.handlers[HANDLER]
    cursor: dict[str, Any] = {}
    took = []

    def snapshot() -> None:
        nonlocal cursor
        # Nothing from the cache; only that the parts are renewed in turn stays.
        plugin.seen_at = {part: at - 10 for part, at in plugin.seen_at.items()}
        before = time.thread_time()
        reply = handler(**cursor)
        took.append((time.thread_time() - before) * 1e3)
        cursor = {name: reply[name] for name in CURSOR}

    plugin: Any = scheduler.plugins[DoctorPlugin.name]
    finish_all(scheduler, snapshot)
    for _ in range(20):
        snapshot()
    scheduler.client_releases_keys(keys=keys, client="bench", stimulus_id="release")
    await stop(scheduler)
    return took


def whole_process(rounds: int, n: int) -> tuple[list[float], list[float], list[float]]:
    """CPU seconds of this process per task: client, scheduler, and the doctor's thread.

    Without the doctor, with it, and the part of the latter that ran in the doctor's own thread, in snapshots
    and in notes of submissions: the difference of the first two drowns in the noise of a busy machine.
    """
    without: list[float] = []
    with_us: list[float] = []
    own: list[float] = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def work(i: int) -> float:
            before = time.process_time()
            futures = client.map(abs, range(i * n, (i + 1) * n), key=f"abs-{i:032x}", batch_size=None)
            client.gather(client.submit(len, futures))
            del futures
            while cluster.scheduler.tasks:
                time.sleep(0.005)
            return (time.process_time() - before) / n

        def observed(i: int) -> float:
            submissions = Submissions()
            submissions.install()
            feed = Feed(client, submissions)

            async def follow() -> None:
                due = 0.0
                while True:
                    # On the clock of this process' CPU, as on a machine of its own.
                    if time.process_time() >= due:
                        due = time.process_time() + INTERVAL
                        await feed.pull()
                    await asyncio.sleep(0.1)

            task = asyncio.run_coroutine_threadsafe(follow(), loop)
            time.sleep(1.0)
            spent = 0.0
            snapshot = cluster.scheduler.handlers[HANDLER]

            def metered(*args: Any, _call: Any, **kwargs: Any) -> Any:
                nonlocal spent
                before = time.thread_time()
                try:
                    return _call(*args, **kwargs)
                finally:
                    spent += time.thread_time() - before

            plugin: Any = cluster.scheduler.plugins[DoctorPlugin.name]
            cluster.scheduler.handlers[HANDLER] = lambda **cursor: metered(_call=snapshot, **cursor)
            plugin.update_graph = partial(metered, _call=plugin.update_graph)
            submissions._note = partial(metered, _call=submissions._note)  # type: ignore[method-assign]

            async def thread_seconds() -> float:
                return time.thread_time()

            before = asyncio.run_coroutine_threadsafe(thread_seconds(), loop).result()
            took = work(i)
            after = asyncio.run_coroutine_threadsafe(thread_seconds(), loop).result()
            own.append((after - before + spent) / n)
            task.cancel()
            assert feed.state == "live", feed.reason
            asyncio.run_coroutine_threadsafe(feed.close(), loop).result()
            submissions.uninstall()
            client.unregister_scheduler_plugin(DoctorPlugin.name)
            return took

        for i in range(2):
            work(i)
        for i in range(2, 2 + rounds):
            pair = [lambda i=i: without.append(work(2 * i)), lambda i=i: with_us.append(observed(2 * i + 1))]
            random.shuffle(pair)
            for run in pair:
                time.sleep(0.2)
                run()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    return without, with_us, own


def paired(base: list[float], other: list[float]) -> tuple[float, float, float]:
    """Median of the ratios of each round, and its quartiles."""
    ratios = [b / a for a, b in zip(base, other, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: shows that it runs, not the figures"
    )
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--tasks", type=int, default=6_000)
    options = parser.parse_args()
    rounds, n = (3, 1_500) if options.quick else (options.rounds, options.tasks)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    alone = asyncio.run(scheduler_alone(rounds, n))
    print(f"Scheduler alone, {n:,} tasks a round, {rounds} rounds (median [quartiles])")
    print(f"  bare          {statistics.median(alone['bare']) * 1e6:7.1f} us per task   1.000 x")
    for name, goal in (("doctor", "  goal 1.03"), ("deep", ""), ("task stream", ""), ("glance", "")):
        middle, low, high = paired(alone["bare"], alone[name])
        mean = statistics.median(alone[name]) * 1e6
        print(f"  {name:<12}  {mean:7.1f} us per task   {middle:.3f} x [{low:.3f}, {high:.3f}]{goal}")

    pairs = 3 if options.quick else max(3, rounds // 3)
    without, with_us, own = whole_process(pairs, n)
    middle, low, high = paired(without, with_us)
    print(f"LocalCluster, CPU of its process per task, {pairs} rounds")
    print(f"  without       {statistics.median(without) * 1e6:7.1f} us per task   1.000 x")
    print(
        f"  with us       {statistics.median(with_us) * 1e6:7.1f} us per task   {middle:.3f} x "
        f"[{low:.3f}, {high:.3f}]  goal 1.01"
    )

    share = statistics.median(b / a for a, b in zip(without, own, strict=True))
    print(f"  of it ours    {statistics.median(own) * 1e6:7.1f} us per task   {1 + share:.3f} x   goal 1.01")

    n_tasks = 20_000 if options.quick else 100_000
    took = asyncio.run(snapshots(1_000, n_tasks))
    took.sort()
    print(f"Snapshot with 1,000 invented workers and {n_tasks:,} tasks, nothing cached, {len(took)} of them")
    print(
        f"  median {statistics.median(took):.1f} ms, 95 % below {took[int(0.95 * len(took))]:.1f} ms  goal 5 ms"
    )


if __name__ == "__main__":
    main()
