"""Hosts whose clocks are hours apart: every time that is told is one of the kernel's."""

import subprocess
import sys
import time

import dask.array as da
import pytest
from distributed import Client

from jupyter_dask_doctor.gather.connection import Connection

HOUR = 3600.0
#: A command of Dask in an environment without this package, whose clock is wrong.
PROGRAM = """
import sys, time
sys.modules["jupyter_dask_doctor"] = None
right, off = time.time, float(sys.argv[2])
time.time = lambda: right() + off
from distributed.cli import dask_scheduler, dask_worker
program = {"scheduler": dask_scheduler, "worker": dask_worker}[sys.argv[1]]
program.main(sys.argv[3:])
"""


@pytest.fixture
def start():
    """Start a scheduler or a worker whose clock is so many seconds ahead."""
    started = []

    def start(kind, ahead, *options):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, kind, str(ahead), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("scheduler", "worker"), [(3 * HOUR, -2 * HOUR), (-5 * HOUR, 0.0)])
def test_every_time_is_the_kernels(follower, start, port, scheduler, worker):
    address = f"tcp://127.0.0.1:{port}"
    start("scheduler", scheduler, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
    options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", "late")
    with Client(address, timeout=30) as client:
        before = time.time()
        feed = follower.follow(client)
        first = start("worker", worker, address, *options)
        client.wait_for_workers(1, timeout=30)
        follower.cells.start(cell_id="work", execution_count=1, source="")
        x = da.ones(8, chunks=2).map_blocks(lambda block: time.sleep(0.2) or block).persist()
        sections = follower.until(feed, lambda s: s.computations and s.computations[-1].is_done, timeout=40)
        follower.cells.stop(failed=False)
        first.kill()
        sections = follower.until(feed, lambda s: any(c.kind == "removed" for c in s.changes), timeout=40)
        sections = follower.until(feed, lambda s: s.losses)
        after = time.time()
        (computation,) = sections.computations
        told = {
            "submitted": computation.submitted,
            "started": computation.start,
            "stopped": computation.stop,
            **{f"{change.kind} {i}": change.time for i, change in enumerate(sections.changes)},
            **{f"load {i}": load.time for i, load in enumerate(sections.load)},
            **{f"rest {i}": rest.time for i, rest in enumerate(sections.rests)},
            "lost": sections.losses[0].time,
        }
        wrong = {name: moment - before for name, moment in told.items() if not before - 2 <= moment <= after}
        assert wrong == {}
        assert computation.at.cell_id == "work"
        assert computation.submitted <= computation.start <= computation.stop
        assert sorted(load.time for load in sections.load) == [load.time for load in sections.load]
        removed = sections.changes[-1]
        assert (removed.kind, removed.name, removed.is_expected) == ("removed", "late", False)
        assert 0 < removed.lifetime < after - before + 2
        del x


def test_workers_are_seen_on_the_kernels_clock(follower, start, port):
    address = f"tcp://127.0.0.1:{port}"
    start("scheduler", HOUR, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
    with Client(address, timeout=30) as client:
        feed = follower.follow(client)
        start("worker", -HOUR, address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard")
        sections = follower.until(feed, lambda s: s.workers, timeout=40)
        (worker,) = sections.workers
        assert abs(worker.last_seen - time.time()) < 5
        assert abs(worker.first_seen - time.time()) < 30
        assert abs(worker.samples[-1].time - time.time()) < 5


class TestTheClockBetween:
    def connection(self):
        return Connection("tcp://127.0.0.1:1", {}, 0.1)

    def test_less_than_a_round_trip_is_no_difference(self):
        line = self.connection()
        line.compared(100.0, 100.2, 100.15)
        assert line.to_kernel(50.0) == 50.0

    def test_the_quickest_answer_tells_best(self):
        line = self.connection()
        line.compared(100.0, 101.0, 200.0)
        line.compared(102.0, 102.1, 202.0)
        assert line.to_kernel(202.0) == pytest.approx(102.05)

    @pytest.mark.parametrize("step", [HOUR, -HOUR, 5.0])
    def test_a_clock_that_is_set(self, step):
        """What was known before is void once a later answer cannot be true at the same time."""
        line = self.connection()
        for i in range(5):
            line.compared(100.0 + i, 100.01 + i, 100.0 + i)
        assert line.to_kernel(104.0) == 104.0
        line.compared(110.0, 110.1, 110.05 + step)
        assert line.to_kernel(110.05 + step) == pytest.approx(110.05)
