"""Deep mode: off by default, and what it tells when the user asks for it."""

import math
import time
from types import SimpleNamespace

import dask
import pytest
from distributed.scheduler import TaskGroup, TaskPrefix

from jupyter_dask_doctor.gather.scheduler_deep import MAX_SPREADS, Deep
from jupyter_dask_doctor.gather.scheduler_plugin import DoctorPlugin


def ours(cluster):
    return cluster.scheduler.plugins[DoctorPlugin.name]


def fail_twice(i, failed={}):  # noqa: B006  (a memory of this process)
    failed[i] = failed.get(i, 0) + 1
    if failed[i] <= 2:
        raise ValueError("not yet")
    return i


def pause(seconds):
    time.sleep(seconds)


@pytest.fixture
def deep():
    with dask.config.set({"dask-doctor.deep": True}):
        yield


class TestLive:
    def test_off_by_default(self, follower, cluster, client, feed):
        client.gather(client.map(fail_twice, range(2), retries=5, pure=False))
        sections = follower.until(feed, lambda s: s.prefixes and s.groups)
        assert "transition" not in vars(ours(cluster))
        assert sections.prefixes[0].n_retried is None
        assert sections.groups[0].spread is None

    @pytest.mark.parametrize("value", ["yes", 1, None, [True]])
    def test_only_true_is_true(self, follower, cluster, client, value):
        with dask.config.set({"dask-doctor.deep": value}):
            feed = follower.follow(client)
            follower.pull(feed)
        assert "transition" not in vars(ours(cluster))

    def test_retries_are_counted(self, deep, follower, client, feed):
        client.gather(client.map(fail_twice, range(10, 14), retries=5, pure=False))
        client.gather(client.map(abs, range(5)))
        sections = follower.until(feed, lambda s: {p.name for p in s.prefixes} == {"fail_twice", "abs"})
        told = follower.until(feed, lambda s: any(p.n_retried for p in s.prefixes)).prefixes
        assert {p.name: p.n_retried for p in told} == {"fail_twice": 8, "abs": 0}
        assert all(p.n_erred == 0 for p in sections.prefixes)

    def test_durations_of_a_group(self, deep, follower, client, feed):
        client.gather(client.map(pause, [0.05] * 9 + [0.8], pure=False))
        sections = follower.until(feed, lambda s: s.groups and (g := s.groups[0].spread) and g.n == 10)
        spread = sections.groups[0].spread
        assert 0.025 < spread.median < 0.2
        assert spread.median < spread.p95 <= spread.longest
        assert spread.longest == pytest.approx(0.8, abs=0.3)

    def test_later_calls_of_a_name_without_a_token_count_for_themselves(self, deep, follower, client, feed):
        client.gather(client.map(pause, [0.6] * 2, pure=False))
        first = follower.until(feed, lambda s: s.groups and s.groups[0].spread)
        client.gather(client.map(pause, [0.05] * 8, pure=False))
        sections = follower.until(feed, lambda s: s.groups[-1].spread and s.groups[-1].spread.n == 8)
        assert first.groups[0].spread.median > 0.3
        assert sections.groups[-1].spread.longest < 0.3

    def test_it_ends_when_nobody_asks_any_more(self, follower, cluster, client):
        with dask.config.set({"dask-doctor.deep": True}):
            feed = follower.follow(client)
        doctor = ours(cluster)
        assert "transition" in vars(doctor)
        follower.pull(feed)
        assert "transition" in vars(doctor)
        doctor.deep_until = time.time() - 1
        follower.pull(feed)
        assert "transition" not in vars(doctor)
        client.gather(client.map(abs, range(3)))
        assert follower.until(feed, lambda s: s.prefixes).prefixes[0].n_retried is None
        assert doctor.n_faults == 0

    def test_faults_end_it_and_not_the_work(self, deep, follower, cluster, client, feed):
        doctor = ours(cluster)
        doctor.graphs.deep._spreads = None
        assert client.gather(client.map(abs, range(-20, 0))) == list(range(20, 0, -1))
        assert DoctorPlugin.name not in cluster.scheduler.plugins
        follower.pull(feed)
        assert feed.state == "limited"


@pytest.fixture
def state():
    return SimpleNamespace(tasks={}, task_groups={})


@pytest.fixture
def faults():
    return []


@pytest.fixture
def hook(state, faults):
    return Deep(state, faults.append)


def group(state, name="x-1"):
    made = state.task_groups[name] = TaskGroup(name, TaskPrefix(name.split("-")[0]))
    state.tasks[name] = SimpleNamespace(group=made)
    return made


def run(hook, key, *seconds, action="compute"):
    startstops = [{"action": action, "start": 100.0, "stop": 100.0 + s} for s in seconds]
    hook.transition(key, "processing", "memory", stimulus_id="task-finished", startstops=startstops)


class TestHook:
    def test_within_a_factor_of_two(self, hook, state):
        tg = group(state)
        for seconds in (0.001, 0.01, 0.1, 1.0, 10.0):
            run(hook, "x-1", seconds)
        n, median, p95, longest = hook.spread(tg, None)
        assert (n, longest) == (5, 10.0)
        assert 0.05 <= median <= 0.2
        assert 5 <= p95 <= 10.0

    def test_reading_and_the_like_is_no_run(self, hook, state):
        tg = group(state)
        run(hook, "x-1", 5.0, action="transfer")
        assert hook.spread(tg, None)[3] == 0.0

    @pytest.mark.parametrize("seconds", [-5.0, math.nan, math.inf, 1e300])
    def test_absurd_durations(self, hook, state, faults, seconds):
        tg = group(state)
        run(hook, "x-1", seconds)
        assert hook.spread(tg, None) is None
        run(hook, "x-1", 0.5)
        assert hook.spread(tg, None)[0] == 1
        assert not faults

    @pytest.mark.parametrize("startstops", [None, [], ()])
    def test_a_task_that_tells_nothing(self, hook, state, faults, startstops):
        tg = group(state)
        hook.transition("x-1", "processing", "memory", startstops=startstops)
        assert hook.spread(tg, None)[0] == 1
        assert not faults

    @pytest.mark.parametrize(
        ("start", "finish", "stimulus_id"),
        [
            ("processing", "released", "handle-worker-cleanup-1"),
            ("processing", "erred", "task-erred-1"),
            ("waiting", "released", "task-erred-1"),
            ("processing", "released", None),
        ],
    )
    def test_what_is_no_retry(self, hook, state, faults, start, finish, stimulus_id):
        group(state)
        hook.transition("x-1", start, finish, stimulus_id=stimulus_id)
        assert not hook.retried
        assert not faults

    def test_a_retry(self, hook, state):
        group(state)
        hook.transition("x-1", "processing", "released", stimulus_id="task-erred-1")
        assert hook.retried == {"x": 1}

    def test_a_task_that_is_gone_is_a_fault_that_is_counted(self, hook, faults):
        run(hook, "gone", 1.0)
        assert len(faults) == 1

    def test_bounded(self, hook, state):
        for i in range(MAX_SPREADS + 100):
            tg = group(state, f"x-{i}")
            run(hook, f"x-{i}", 1.0)
        assert len(hook._spreads) <= MAX_SPREADS
        assert hook.spread(tg, None)[0] == 1
        # Those that the scheduler has forgotten go first.
        state.task_groups = hook._task_groups = {tg.name: tg}
        hook._forget()
        assert list(hook._spreads) == [id(tg)]
