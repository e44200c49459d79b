"""Workers that come and go: on real clusters, and as the scheduler's words for it are understood."""

import os
import signal
import time

import pytest
from distributed import Client

from jupyter_dask_doctor.gather.scheduler_changes import DELAY, MAX_CHANGES, MAX_LOST, Changes
from jupyter_dask_doctor.gather.scheduler_plugin import DoctorPlugin


def ours(cluster):
    return cluster.scheduler.plugins[DoctorPlugin.name]


def slow(i):
    time.sleep(0.2)
    return b"x" * 1_000_000


class TestLive:
    def test_more_and_fewer_workers_by_wish(self, follower, make_cluster):
        cluster = make_cluster(n_workers=1)
        with Client(cluster) as client:
            feed = follower.follow(client)
            assert follower.pull(feed).changes == ()
            follower.cells.start(cell_id="more", execution_count=1, source="")
            cluster.scale(3)
            added = follower.until(feed, lambda s: len(s.changes) == 2).changes
            assert [(change.kind, change.n_workers) for change in added] == [("added", 2), ("added", 3)]
            assert {change.name for change in added} == {"1", "2"}
            assert {change.at.cell_id for change in added} == {"more"}
            follower.cells.start(cell_id="fewer", execution_count=2, source="")
            cluster.scale(1)
            changes = follower.until(feed, lambda s: len(s.changes) == 4).changes
            gone = changes[2:]
            assert [(change.kind, change.is_expected) for change in gone] == [("removed", True)] * 2
            assert gone[-1].n_workers == 1
            assert {change.at.cell_id for change in gone} == {"fewer"}
            # The two that came are younger than the one that was there before us, and so they go.
            assert {change.name for change in gone} == {"1", "2"}
            assert all(0 < change.lifetime < 60 for change in gone)
            assert ours(cluster).n_faults == 0

    def test_a_worker_that_dies_with_its_results(self, follower, make_cluster):
        """Its nanny brings it back under the same name at another address."""
        cluster = make_cluster(processes=True)
        with Client(cluster) as client:
            feed = follower.follow(client)
            futures = client.map(slow, range(10))
            sections = follower.until(feed, lambda s: s.load[-1].tasks_finished >= 10)
            victim = max(sections.workers, key=lambda worker: worker.stored)
            held = len(cluster.scheduler.workers[victim.address].has_what)
            assert held > 0
            follower.cells.start(cell_id="dies", execution_count=1, source="")
            os.kill(cluster.scheduler.workers[victim.address].pid, signal.SIGKILL)
            sections = follower.until(feed, lambda s: any(c.kind == "added" for c in s.changes), timeout=40)
            gone = next(change for change in sections.changes if change.kind == "removed")
            back = next(change for change in sections.changes if change.kind == "added")
            assert (gone.address, gone.name, gone.is_expected) == (victim.address, victim.name, False)
            assert (gone.n_workers, back.n_workers) == (1, 2)
            assert (gone.n_lost, gone.prefixes) == (held, ("slow",))
            assert 0.2 * held <= gone.lost_seconds < 0.6 * held
            assert gone.lifetime is None  # it was there before us
            assert gone.at.cell_id == "dies"
            assert (back.name, back.address != victim.address) == (victim.name, True)
            newcomer = next(worker for worker in sections.workers if worker.address == back.address)
            assert newcomer.first_seen >= gone.time
            client.gather(futures)
            assert ours(cluster).n_faults == 0

    def test_a_restart_is_wished(self, follower, make_cluster):
        cluster = make_cluster(processes=True)
        with Client(cluster) as client:
            feed = follower.follow(client)
            follower.until(feed, lambda s: len(s.workers) == 2)
            client.restart(wait_for_workers=False)
            follower.until(feed, lambda s: len([c for c in s.changes if c.kind == "added"]) == 2, timeout=40)
            time.sleep(DELAY + 0.3)
            gone = [change for change in follower.pull(feed).changes if change.kind == "removed"]
            assert [change.is_expected for change in gone] == [True, True]


class State:
    """As much of a scheduler as is asked for."""

    def __init__(self):
        self.workers, self.tasks = {}, {}

    def add(self, address, name):
        self.workers[address] = type("Worker", (), {"address": address, "name": name})


class Prefix:
    def __init__(self, name, durations=None, n=0, average=-1.0):
        self.name, self.all_durations, self.duration_average = name, durations or {}, average
        self.state_counts = {"memory": n}


class Task:
    def __init__(self, prefix):
        self.prefix = prefix


@pytest.fixture
def state():
    return State()


@pytest.fixture
def changes(state):
    return Changes(state)


def lose(state, changes, keys, address="tcp://x:1", is_expected=False):
    changes.removed({"worker": address, "lost-computed-tasks": keys}, is_expected)
    return changes.rows[-1]


class TestWhatWasLost:
    def test_the_mean_is_that_of_all_that_finished(self, state, changes):
        prefix = Prefix("sum", {"compute": 20.0}, n=10, average=500.0)
        state.tasks = {i: Task(prefix) for i in range(3)}
        row = lose(state, changes, set(state.tasks))
        assert (row["n_lost"], row["lost_seconds"], row["prefixes"]) == (3, 6.0, ["sum"])

    @pytest.mark.parametrize("average", [-1.0, float("nan"), float("inf"), None])
    def test_nothing_is_known_of_the_durations(self, state, changes, average):
        state.tasks = {1: Task(Prefix("sum", average=average))}
        assert lose(state, changes, {1})["lost_seconds"] == 0.0

    def test_negative_durations(self, state, changes):
        state.tasks = {1: Task(Prefix("sum", {"compute": -5.0}, n=10))}
        assert lose(state, changes, {1})["lost_seconds"] == 0.0

    def test_many_are_estimated_from_some(self, state, changes):
        prefix = Prefix("sum", {"compute": 10.0}, n=10)
        state.tasks = {i: Task(prefix) for i in range(10 * MAX_LOST)}
        row = lose(state, changes, set(state.tasks))
        assert (row["n_lost"], row["lost_seconds"]) == (10 * MAX_LOST, pytest.approx(10.0 * MAX_LOST))

    def test_tasks_that_are_forgotten(self, state, changes):
        row = lose(state, changes, {"gone"})
        assert (row["n_lost"], row["lost_seconds"], row["prefixes"]) == (1, 0.0, [])

    def test_most_come_first_and_names_are_clean(self, state, changes):
        many, one = Prefix("\ud800<b>"), Prefix("x" * 5_000)
        state.tasks = {**{i: Task(many) for i in range(3)}, "y": Task(one)}
        assert lose(state, changes, set(state.tasks))["prefixes"] == ["?<b>", "x" * 500]


class TestWhoCameAndWent:
    def test_one_that_comes_back_under_its_name(self, state, changes):
        state.add("tcp://x:1", "a")
        changes.added("tcp://x:1")
        del state.workers["tcp://x:1"]
        lose(state, changes, ())
        state.add("tcp://x:2", "a")
        changes.added("tcp://x:2")
        told = [(row["kind"], row["address"], row["name"], row["n_workers"]) for row in changes.rows]
        assert told == [
            ("added", "tcp://x:1", "a", 1),
            ("removed", "tcp://x:1", "a", 0),
            ("added", "tcp://x:2", "a", 1),
        ]
        assert set(changes.first_seen) == set(changes.names) == {"tcp://x:2"}

    def test_one_that_comes_back_at_its_address_is_born_again(self, state, changes):
        state.add("tcp://x:1", "a")
        changes.added("tcp://x:1")
        first = changes.first_seen["tcp://x:1"]
        lose(state, changes, ())
        time.sleep(0.01)
        changes.added("tcp://x:1")
        assert changes.first_seen["tcp://x:1"] > first
        assert lose(state, changes, ())["lifetime"] < 1.0

    def test_one_that_nobody_has_met(self, state, changes):
        row = lose(state, changes, ())
        assert (row["name"], row["lifetime"]) == ("", None)

    def test_one_that_is_gone_before_it_is_asked(self, changes):
        changes.added("tcp://x:9")
        assert not changes.rows

    def test_a_loss_is_told_once_it_is_sure(self, state, changes):
        lose(state, changes, ())
        now = changes.rows[0]["time"]
        assert changes.told(now + DELAY / 2) == []
        assert len(changes.told(now + 2 * DELAY)) == 1

    def test_what_comes_after_waits_for_it(self, state, changes):
        lose(state, changes, ())
        state.add("tcp://x:2", "a")
        changes.added("tcp://x:2")
        now = changes.rows[0]["time"]
        assert changes.told(now + DELAY / 2) == []
        assert [row["kind"] for row in changes.told(now + 2 * DELAY)] == ["removed", "added"]

    def test_a_clock_that_was_set_back_keeps_nothing_back_for_long(self, state, changes):
        lose(state, changes, ())
        now = changes.rows[0]["time"] - 3_600
        assert len(changes.told(now)) == 1

    def test_a_pardon_is_for_the_named_and_the_recent(self, state, changes):
        for address in ("tcp://x:1", "tcp://x:2", "tcp://x:3"):
            lose(state, changes, (), address)
        changes.rows[2]["time"] -= 60
        changes.pardon(["tcp://x:1", "tcp://x:3"])
        assert [row["is_expected"] for row in changes.rows] == [True, False, False]
        changes.pardon(None)
        assert [row["is_expected"] for row in changes.rows] == [True, True, False]

    def test_bounded(self, state, changes):
        for i in range(3 * MAX_CHANGES):
            state.add(f"tcp://x:{i}", i)
            changes.added(f"tcp://x:{i}")
            lose(state, changes, (), f"tcp://x:{i}", is_expected=True)
            del state.workers[f"tcp://x:{i}"]
        assert len(changes.rows) == MAX_CHANGES
        assert changes.n == 6 * MAX_CHANGES
        assert not changes.first_seen
        assert not changes.names
        assert not changes.born
