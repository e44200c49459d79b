"""The pauses between computations."""

import time

import pytest
from distributed import Client

from jupyter_dask_doctor.gather.rests import MAX_RESTS, Rests
from tests import healthy

MiB = 2**20
GRAPH = [1, "Client-1", 0.0, 10, 1, 0.1, 4, True, [], [], 1, "x"]


def look(rests, time, *done, workers=(), **load):
    """An answer with these graphs done."""
    facts = {"n_workers": 2, "tasks_waiting": 0, "tasks_processing": 0, "tasks_finished": 0}
    load = healthy.load(**facts | {"time": healthy.T0 + time, "managed": 5, "unmanaged": 7} | load)
    graphs = [[id, *GRAPH[1:]] for id in done]
    rests.take({"graphs": graphs}, load, workers or healthy.workers(2))
    return rests.view()


@pytest.fixture
def rests():
    return Rests()


class TestPauses:
    def test_before_anything_ran(self, rests):
        (rest,) = look(rests, 0)
        assert (rest.n_computations, rest.tasks_finished, rest.seconds) == (0, 0, 0.0)
        assert (rest.process, rest.managed, rest.n_workers) == (12, 5, 2)
        assert rest.unmanaged == tuple((w.address, w.process - w.managed) for w in healthy.workers(2))

    def test_the_last_moment_of_each(self, rests):
        look(rests, 0)
        look(rests, 3, unmanaged=100)
        look(rests, 4, tasks_processing=3)
        look(rests, 5, 1, tasks_finished=10, unmanaged=200)
        look(rests, 9, tasks_finished=10, unmanaged=300)
        first, second = look(rests, 11, tasks_finished=10, tasks_waiting=1)
        assert (first.time, first.seconds, first.process) == (healthy.T0 + 3, 3.0, 105)
        assert (second.time, second.seconds, second.process) == (healthy.T0 + 9, 4.0, 305)
        assert (second.n_computations, second.tasks_finished) == (1, 10)

    def test_work_that_nobody_saw_running(self, rests):
        look(rests, 0)
        look(rests, 1, 1, tasks_finished=10)
        told = look(rests, 2, 2, tasks_finished=20)
        assert [(rest.n_computations, rest.seconds) for rest in told] == [(0, 0.0), (1, 0.0), (2, 0.0)]

    def test_a_graph_that_is_told_of_later(self, rests):
        """It is done a moment after its tasks: still one pause."""
        look(rests, 0, tasks_processing=1)
        look(rests, 1, tasks_finished=10)
        (rest,) = look(rests, 2, 1, tasks_finished=10)
        assert (rest.n_computations, rest.seconds) == (1, 1.0)

    def test_a_graph_is_counted_once(self, rests):
        look(rests, 0, 1)
        look(rests, 1, 1)
        assert look(rests, 2, 1, 2)[-1].n_computations == 2

    @pytest.mark.parametrize("graph", [[1, *GRAPH[1:7], False, *GRAPH[8:]], [1, *GRAPH[1:3], 0, *GRAPH[4:]]])
    def test_a_graph_that_runs_or_is_empty_does_not_count(self, rests, graph):
        rests.take({"graphs": [graph]}, healthy.load(tasks_waiting=0, tasks_processing=0), ())
        assert rests.view()[-1].n_computations == 0

    def test_a_new_plugin_counts_anew_but_we_go_on(self, rests):
        look(rests, 0, 1, 2)
        rests.renew()
        assert look(rests, 1, 1)[-1].n_computations == 3

    @pytest.mark.parametrize("load", [{"tasks_waiting": 1}, {"tasks_processing": 1}, {"n_workers": 0}])
    def test_no_rest(self, rests, load):
        assert look(rests, 0, **load) == ()

    def test_errors_that_are_held_are_not_work(self, rests):
        assert len(look(rests, 0, tasks_erred=5)) == 1

    def test_a_clock_that_was_set_back(self, rests):
        look(rests, 100)
        assert look(rests, 0)[-1].seconds == 0.0


class TestBounds:
    def test_the_oldest_are_thinned(self, rests):
        for i in range(3 * MAX_RESTS):
            told = look(rests, i, tasks_finished=i)
            assert len(told) <= MAX_RESTS
        times = [rest.time for rest in told]
        assert times == sorted(times)
        assert times[-1] == healthy.T0 + 3 * MAX_RESTS - 1
        # The recent ones are all there, and something is left of the first ones.
        assert times[-50:] == [healthy.T0 + 3 * MAX_RESTS - 50 + i for i in range(50)]
        assert times[0] == healthy.T0

    def test_many_workers(self, rests):
        many = [healthy.worker(i, process=(300 + i) * MiB) for i in range(200)]
        (rest,) = look(rests, 0, workers=many)
        assert len(rest.unmanaged) == 64
        assert rest.unmanaged[0] == (many[-1].address, many[-1].process - many[-1].managed)

    def test_more_managed_than_there_is(self, rests):
        (rest,) = look(rests, 0, workers=[healthy.worker(process=1, managed=5)])
        assert rest.unmanaged[0][1] == 0


def test_live(follower, cluster):
    with Client(cluster) as client:
        feed = follower.follow(client)
        (first,) = follower.until(feed, lambda s: s.rests).rests
        assert (first.n_computations, first.tasks_finished) == (0, 0)
        for i in range(2):
            future = client.submit(time.sleep, 1 + i / 10)
            follower.until(feed, lambda s: s.load[-1].tasks_processing)
            future.result()
            follower.until(feed, lambda s, i=i: s.rests[-1].n_computations == i + 1)
        time.sleep(1)
        rests = follower.pull(feed).rests
        assert [(rest.n_computations, rest.tasks_finished) for rest in rests] == [(0, 0), (1, 1), (2, 2)]
        assert rests[-1].seconds > 1
        assert rests[-1].process > 10 * MiB
        assert rests[-1].scheduler_memory > 10 * MiB
        assert {address for address, _ in rests[-1].unmanaged} == set(cluster.scheduler.workers)
