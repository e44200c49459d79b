"""What was done while a computation ran, as differences of sums that only grow."""

import math
import time

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.activity import MAX_METERS, MAX_ROWS, Activities
from jupyter_dask_doctor.snapshot import Activity

BEAT = 0.5


def execute(prefix, seconds, label="thread-cpu", unit="seconds", first=0.0):
    return ["execute", prefix, label, unit, seconds, first]


def network(seconds, unit="seconds", first=0.0):
    return ["gather-dep", None, "network", unit, seconds, first]


class Log:
    """Answers one after another, half a second apart."""

    def __init__(self):
        self.activities = Activities()
        self.now = 1_000.0

    def answer(self, *rows, new=(), done=(), is_all=True, known=True):
        self.now += BEAT
        for id, *prefixes in new:
            self.activities.begin(id, prefixes, is_after_start=known)
        for id in done:
            self.activities.end(id, self.now)
        self.activities.take(rows, self.now, BEAT, is_all=is_all)
        return self

    def seconds(self, id):
        told = self.activities.of(id)
        return None if told is None else {(a.context, a.prefix, a.label): a.seconds for a in told}


@pytest.fixture
def log():
    return Log().answer()


def test_the_growth_from_its_coming_to_two_heartbeats_after_its_end(log):
    log.answer(execute("x", 5.0), network(1.0))
    log.answer(execute("x", 6.0), network(1.5), new=[(1, "x")])
    log.answer(execute("x", 8.0), network(2.0), done=[1])
    log.answer(execute("x", 9.0))
    assert log.seconds(1) == {("execute", "x", "thread-cpu"): 4.0, ("gather-dep", None, "network"): 1.0}
    log.answer(execute("x", 9.5))
    log.answer(execute("x", 20.0), network(20.0))
    log.answer(execute("x", 30.0), network(30.0))
    assert log.seconds(1) == {("execute", "x", "thread-cpu"): 15.0, ("gather-dep", None, "network"): 19.0}


def test_only_its_own_prefixes_execute(log):
    log.answer(execute("x", 1.0), execute("y", 7.0), new=[(1, "x")])
    assert log.seconds(1) == {("execute", "x", "thread-cpu"): 1.0}


def test_the_next_one_of_the_same_prefix_ends_it(log):
    log.answer(execute("x", 1.0), new=[(1, "x")])
    log.answer(execute("x", 2.0), new=[(2, "x")])
    log.answer(execute("x", 5.0), network(3.0))
    assert log.seconds(1)["execute", "x", "thread-cpu"] == 1.0
    assert log.seconds(2)["execute", "x", "thread-cpu"] == 4.0
    # The others count for all that ran.
    assert log.seconds(1)["gather-dep", None, "network"] == 3.0


def test_one_that_grows_while_it_runs(log):
    log.answer(execute("y", 4.0))
    log.answer(execute("x", 1.0), new=[(1, "x")])
    log.answer(execute("y", 6.0), new=[(1, "x", "y")])
    assert log.seconds(1) == {("execute", "y", "thread-cpu"): 2.0, ("execute", "x", "thread-cpu"): 1.0}


def test_what_was_before_our_time_is_not_known():
    log = Log().answer(execute("x", 5.0, first=5.0), new=[(1, "x")], known=False)
    log.answer(execute("x", 6.0))
    assert log.seconds(1) is None
    assert log.seconds(99) is None


def test_what_came_with_the_first_answer_counts_from_the_plugins_start():
    log = Log().answer(execute("x", 9.0, first=5.0), network(2.0, first=1.5), new=[(1, "x")])
    assert log.seconds(1) == {("execute", "x", "thread-cpu"): 4.0, ("gather-dep", None, "network"): 0.5}


def test_a_first_answer_in_pieces():
    log = Log()
    log.answer(execute("x", 9.0, first=5.0), new=[(1, "x")], is_all=False)
    log.answer(network(3.0, first=2.0), execute("x", 9.5, first=5.0))
    assert log.seconds(1) == {("execute", "x", "thread-cpu"): 4.5, ("gather-dep", None, "network"): 1.0}


def test_units_stand_side_by_side(log):
    log.answer(network(2.0), network(5_000, "bytes"), network(3, "count"), new=[(1, "x")])
    (told,) = log.activities.of(1)
    assert told == Activity(
        context="gather-dep", prefix=None, label="network", seconds=2.0, nbytes=5_000, count=3
    )


@pytest.mark.parametrize("value", [-3.0, math.nan, math.inf, 0.0])
def test_absurd_growth_is_none(log, value):
    log.answer(execute("x", value), new=[(1, "x")])
    assert log.seconds(1) == {}


def test_sums_that_fall_are_no_growth(log):
    log.answer(execute("x", 9.0))
    log.answer(execute("x", 1.0), new=[(1, "x")])
    assert log.seconds(1) == {}


def test_a_dask_that_does_not_tell():
    activities = Activities()
    activities.begin(1, ["x"], is_after_start=True)
    activities.take(None, 1.0, BEAT, is_all=True)
    assert activities.is_told is False
    assert activities.of(1) is None


def test_bounded(log):
    log.answer(*[execute(f"p{i}", float(i)) for i in range(500)], new=[(0, *(f"p{i}" for i in range(500)))])
    told = log.activities.of(0)
    assert len(told) == MAX_ROWS
    assert told[0].seconds == 499.0
    for i in range(MAX_METERS + 5):
        log.answer(new=[(i + 1, "x")])
    assert log.seconds(1) is None
    assert log.seconds(MAX_METERS + 5) is not None


def pause(i, seconds=0.2):
    time.sleep(seconds)
    return i


def fail_once(i, failed={}):  # noqa: B006  (a memory of this process)
    if i not in failed:
        failed[i] = True
        time.sleep(0.1)
        raise ValueError("not yet")
    return i


class TestLive:
    def test_the_seconds_of_threads(self, follower, client, feed):
        dask.compute(*(dask.delayed(pause)(i) for i in range(6)))
        sections = follower.until(
            feed, lambda s: s.computations and s.computations[0].is_done and s.computations[0].activity
        )
        own = [a for a in sections.computations[0].activity if a.prefix == "pause"]
        assert sum(a.seconds for a in own) == pytest.approx(1.2, abs=0.5)
        assert {"thread-noncpu", "thread-cpu"} <= {a.label for a in own}

    def test_the_second_run_counts_for_itself(self, follower, client, feed):
        for _ in range(2):
            dask.compute(*(dask.delayed(pause)(i) for i in range(6)))
            time.sleep(1.2)
            follower.pull(feed)
        follower.until(feed, lambda s: len(s.computations) == 2)
        time.sleep(1.0)
        for computation in follower.pull(feed).computations:
            own = sum(a.seconds for a in computation.activity if a.prefix == "pause")
            assert own == pytest.approx(1.2, abs=0.5)

    def test_a_shuffle_is_not_told_twice(self, follower, client, feed):
        df = dd.from_pandas(pd.DataFrame({"k": range(500), "v": 1.0}), npartitions=5)
        df.shuffle("k", shuffle_method="p2p").v.sum().compute()
        sections = follower.until(
            feed, lambda s: any(a.context == "p2p" for c in s.computations for a in c.activity or ())
        )
        (done,) = sections.computations
        assert all(a.label.startswith("background-") for a in done.activity if a.context == "p2p")
        assert any(a.label.startswith("p2p-") for a in done.activity if a.context == "execute")

    def test_failed_seconds_of_a_prefix(self, follower, client, feed):
        client.gather(client.map(fail_once, range(3), retries=2, pure=False))
        sections = follower.until(
            feed, lambda s: any(p.name == "fail_once" and p.failed_seconds for p in s.prefixes)
        )
        (prefix,) = (p for p in sections.prefixes if p.name == "fail_once")
        assert prefix.failed_seconds == pytest.approx(0.3, abs=0.25)
        assert prefix.n_retried is None  # only in deep mode

    def test_a_plugin_that_came_anew_counts_anew(self, follower, cluster, client, feed):
        from jupyter_dask_doctor.gather.scheduler_plugin import DoctorPlugin

        dask.compute(dask.delayed(pause)(1))
        follower.until(feed, lambda s: s.computations and s.computations[0].activity)
        client.unregister_scheduler_plugin(DoctorPlugin.name)
        other = follower.follow(client)  # its plugin's epoch is another one
        follower.until(feed, lambda s: s.computations and s.computations[0].is_done)
        sections = follower.pull(feed)
        assert sections.computations[0].activity is None
        assert other.state == feed.state == "live"
