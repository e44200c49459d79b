"""A real scheduler with invented workers: what hearts beat is what a test says."""

import time

from distributed.core import Status
from distributed.scheduler import Scheduler, WorkerState

MiB = 2**20
HEARTBEAT = {
    "memory": 100 * MiB,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "cpu": 50.0,
    "event_loop_interval": 0.02,
    "bandwidth": {"total": 100_000_000, "workers": {}, "types": {}},
    "host_disk_io": {"read_bps": 1_000.0, "write_bps": 2_000.0},
}


async def make_scheduler():
    return await Scheduler(dashboard_address="127.0.0.1:0", host="127.0.0.1", port=0)


def invent(scheduler, i=0, **changes):
    """One worker; `changes`: its metrics, else its attributes."""
    metrics = changes.pop("metrics", HEARTBEAT)
    attributes = {name: changes.pop(name) for name in list(changes) if name in ("nbytes", "processing")}
    address = f"tcp://10.0.{i // 250}.{i % 250 + 1}:1234"
    facts = {
        "address": address,
        "status": Status.running,
        "pid": 0,
        "nthreads": 2,
        "memory_limit": 4 << 30,
        "name": i,
        "local_directory": "",
        "nanny": None,
        "server_id": f"w{i}",
        "scheduler": scheduler,
    }
    ws = WorkerState(**facts | changes)
    ws.metrics = metrics
    ws.last_seen = time.time()
    for name, value in attributes.items():
        setattr(ws, name, value)
    scheduler.workers[address] = ws
    scheduler.total_nthreads += ws.nthreads
    return ws


def clear(scheduler):
    scheduler.workers.clear()
    scheduler.total_nthreads = 0


async def stop(scheduler):
    clear(scheduler)
    await scheduler.close()
