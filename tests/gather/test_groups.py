"""What groups tell of what they hold and did: real clusters, and answers that no cluster should give."""

import math
import time

import dask.array as da
import numpy as np
import pytest
from distributed import wait

from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.tasks import Tasks

NOW = 2_000.0


def make(i):
    time.sleep(0.02)
    return np.ones(10)


def group(sections, name):
    return next(g for g in reversed(sections.groups) if g.name == name)


class TestLive:
    def test_what_is_held_and_let_go_of(self, follower, client, feed):
        x = da.ones(80, chunks=10).persist()
        name = x.name
        told = group(follower.until(feed, lambda s: s.groups and s.groups[-1].n_memory == 8), name)
        assert (told.n_done, told.types) == (8, ("numpy.ndarray",))
        assert told.disk_read_seconds == told.disk_write_seconds == 0.0
        assert told.spread is None
        follower.until(feed, lambda s: s.computations[0].is_done)
        del x
        told = group(follower.until(feed, lambda s: group(s, name).n_memory == 0), name)
        assert told.n_done == 8

    def test_what_was_lost_is_made_again(self, follower, cluster, client, feed):
        futures = client.map(make, range(12), key="make-0123")
        wait(futures)
        follower.until(feed, lambda s: s.groups and s.groups[0].n_done == 12)
        worker = cluster.workers[0]
        lost = len(cluster.scheduler.workers[worker.address].has_what)
        assert lost

        async def leave():
            await cluster.scheduler.remove_worker(worker.address, stimulus_id="test")

        client.sync(leave)
        sections = follower.until(feed, lambda s: s.groups[0].n_done == 12 + lost, timeout=40)
        assert sections.groups[0].n_memory == 12
        assert sections.prefixes[0].n_done == 12 + lost


def answer(groups=(), graphs=(), sizes=(), **more):
    facts = {
        "time": NOW,
        "epoch": 1_000.0,
        "graphs": [[1, "c", 1_990.0, 8, 1, 0.1, 4, False, [["x", 8]], [], 1, None], *graphs],
        "groups": list(groups),
        "sizes": list(sizes),
        "failures": [],
        "n_dropped": 0,
        "sums": [],
        "running": {"heartbeat": 0.5},
    }
    return facts | more


def row(id=1, graph=1, name="x-1", n=8, seconds=(1.0, 0.0, 0.0, 0.0, 0.0), start=1_991.0, stop=1_995.0):
    return [id, graph, name, "x", n, list(seconds), start, stop, [], 0, n, ["int"], None]


def taken(*answers):
    tasks = Tasks("scheduler", "c")
    for one in answers:
        tasks.take(one, lambda moment: moment)
    return tasks


class TestAbsurd:
    def test_a_plain_one(self):
        (told,) = taken(answer([row()])).groups()
        assert (told.start, told.stop, told.compute_seconds, told.n_done) == (1_991.0, 1_995.0, 1.0, 8)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e300])
    def test_durations(self, value):
        tasks = taken(answer([row(seconds=[value] * 5)]))
        (told,) = tasks.groups()
        assert told.compute_seconds is told.transfer_seconds is told.disk_read_seconds is None
        assert tasks.computations(CellLog())[0].thread_seconds == 0.0

    @pytest.mark.parametrize("value", [math.nan, math.inf, -5.0, 1e300, 0, None, NOW + 90_000])
    def test_moments(self, value):
        tasks = taken(answer([row(start=value, stop=value)]))
        (told,) = tasks.groups()
        assert told.start is told.stop is None
        assert tasks.last_stop is None

    def test_a_group_of_a_million(self):
        tasks = taken(answer([row(n=1_000_000)], sizes=[[1, [i], 10] for i in range(10_000)]))
        (told,) = tasks.groups()
        assert (told.n_tasks, told.n_done, told.sizes.n) == (1_000_000, 1_000_000, 10_000)
        assert len(told.sizes.values) == 200

    def test_a_group_whose_graph_is_forgotten(self):
        tasks = taken(answer([row(graph=77)]), answer([row(graph=77)]))
        assert tasks.groups() == ()

    def test_hostile_names_stay_text(self):
        evil = "<script>alert(1)</script>{0.__class__}"
        (told,) = taken(answer([row(name=evil)])).groups()
        assert told.name == evil

    @pytest.mark.parametrize("id", [None, 1, 77])
    def test_the_place_of_a_graph(self, id):
        cells = CellLog()
        cells.start(cell_id="work", execution_count=1, source="x", time=1_980.0)
        place = taken(answer()).place(id, cells)
        assert (place[1].cell_id if place[1] else None) == ("work" if id == 1 else None)
        assert (place[0] is None) == (id != 1)

    def test_a_dask_without_metrics(self):
        tasks = taken(answer([row()], sums=None))
        assert tasks.computations(CellLog())[0].activity is None
