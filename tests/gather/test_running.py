"""The scheduler's side of what runs and what was measured, with states that real clusters seldom have."""

import math
import time
from types import SimpleNamespace

import msgpack
import pytest
from distributed.core import Status
from distributed.scheduler import TaskGroup, TaskPrefix, TaskState

from jupyter_dask_doctor.gather.scheduler_graphs import Group
from jupyter_dask_doctor.gather.scheduler_metrics import MAX_METRICS, SEND_METRICS, Metrics
from jupyter_dask_doctor.gather.scheduler_running import MAX_BLOCKED, N_BLOCKED, N_RUNNING, Running

HOSTILE_KEYS = [
    ("load", 3),
    b"\xff\x00",
    7,
    "<script>alert(1)</script>",
    "half \ud800 a character",
    "x" * 100_000,
    ("a" * 10_000, *range(1_000)),
    "ünïcode-日本",
]


def worker(n=0, **changes):
    facts = {
        "address": f"tcp://10.0.0.{n}:1",
        "status": Status.running,
        "last_seen": time.time(),
        "executing": {},
        "processing": {},
        "nthreads": 2,
    }
    return SimpleNamespace(**facts | changes)


def scheduler(*workers, unrunnable=(), queued=(), **more):
    facts = {
        "workers": {ws.address: ws for ws in workers},
        "task_prefixes": {},
        "tasks": {},
        "task_groups": {},
        "unrunnable": unrunnable or {},
        "queued": queued,
    }
    return SimpleNamespace(**facts | more)


NO_GRAPHS = SimpleNamespace(by_tg={})


def task(key="x-1", name="x", on=None, ran=None, state="processing", prefix=None):
    group = TaskGroup(f"{name}-1", TaskPrefix(name) if prefix is None else prefix)
    made = TaskState(key, None, state, group, validate=False)
    made.processing_on = on
    if on is not None:
        on.executing[made] = ran
        on.processing[made] = ran
    return made


def sent(look):
    """As it goes over the wire."""
    return msgpack.unpackb(msgpack.packb(look))


class TestRunning:
    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=lambda key: type(key).__name__)
    def test_any_key_can_be_sent(self, key):
        ws = worker()
        task(key, name="half \udcff", on=ws, ran=3.0)
        (row,) = sent(Running(scheduler(ws)).look(NO_GRAPHS))["tasks"]
        assert len(row[0]) <= 200
        assert row[4] == 3.0

    @pytest.mark.parametrize(
        ("ran", "told"), [(-5.0, 0.0), (0.0, 0.0), (math.inf, 0.0), (1e300, 1e300), (12.5, 12.5)]
    )
    def test_absurd_ages(self, ran, told):
        ws = worker()
        task(on=ws, ran=ran)
        (row,) = Running(scheduler(ws)).look(NO_GRAPHS)["tasks"]
        assert row[4] == told

    def test_no_age_at_all(self):
        ws = worker()
        task(on=ws, ran=math.nan)
        assert Running(scheduler(ws)).look(NO_GRAPHS)["tasks"] == []

    def test_nothing_ran_longer_than_its_graph_is_here(self):
        ws = worker()
        ts = task(on=ws, ran=1e300)
        group = SimpleNamespace(graph=SimpleNamespace(id=4, time=time.time() - 10))
        (row,) = Running(scheduler(ws)).look(SimpleNamespace(by_tg={id(ts.group): group}))["tasks"]
        assert 10 <= row[4] < 20
        assert row[7] == 4

    def test_what_has_ended_since_the_heartbeat(self):
        ws = worker()
        ts = task(on=ws, ran=3.0)
        ts.processing_on = None
        ws.processing.clear()
        look = Running(scheduler(ws)).look(NO_GRAPHS)
        assert (look["n"], look["tasks"]) == (0, [])

    def test_those_that_ran_longest_of_many(self):
        workers = [worker(i) for i in range(250)]
        for i, ws in enumerate(workers):
            for j in range(20):
                task(f"x-{i}-{j}", on=ws, ran=float(i + 1_000 * (j == 0)))
        look = Running(scheduler(*workers)).look(NO_GRAPHS)
        assert look["n"] == 5_000
        assert [row[4] for row in look["tasks"]] == [1_249.0 - i for i in range(N_RUNNING)]

    def test_silent_workers(self):
        workers = [worker(0), worker(1, last_seen=time.time() - 20), worker(2, status=Status.paused)]
        look = Running(scheduler(*workers)).look(NO_GRAPHS)
        assert (look["n_silent"], look["n_paused"]) == (1, 1)

    def test_no_workers(self):
        assert Running(scheduler()).look(NO_GRAPHS)["tasks"] == []


class TestLongest:
    """Dask's own record of a prefix counts what runs as well."""

    def test_a_record_of_what_runs_does_not_count(self):
        ws, prefix = worker(), TaskPrefix("x")
        task(on=ws, ran=60.0, prefix=prefix)
        prefix.add_exec_time(60.0)
        state = scheduler(ws, task_prefixes={"x": prefix})
        running = Running(state)
        running.look(NO_GRAPHS)
        assert running.longest_of(prefix, 0.0) is None
        ws.executing.clear()
        running.look(NO_GRAPHS)
        assert running.longest_of(prefix, 0.0) == 60.0

    def test_the_record_before_stays_known(self):
        ws, prefix = worker(), TaskPrefix("x")
        running = Running(scheduler(ws, task_prefixes={"x": prefix}))
        prefix.add_exec_time(5.0)
        running.look(NO_GRAPHS)
        task(on=ws, ran=60.0, prefix=prefix)
        prefix.add_exec_time(60.0)
        running.look(NO_GRAPHS)
        assert running.longest_of(prefix, 0.0) == 5.0

    def test_quick_ones_are_known_from_the_sums(self):
        prefix = TaskPrefix("x")
        running = Running(scheduler())
        prefix.state_counts["memory"] = 4
        assert running.longest_of(prefix, 2.0) == 0.5
        prefix.state_counts["memory"] = 5
        assert running.longest_of(prefix, 5.0) == 3.0
        prefix.state_counts["memory"] = 9
        assert running.longest_of(prefix, 5.1) == 3.0

    @pytest.mark.parametrize("compute", [math.nan, math.inf, -1.0])
    def test_absurd_sums(self, compute):
        prefix = TaskPrefix("x")
        prefix.state_counts["memory"] = 4
        assert Running(scheduler()).longest_of(prefix, compute) is None

    def test_bounded(self):
        prefixes = {f"p{i}": TaskPrefix(f"p{i}") for i in range(3_000)}
        for prefix in prefixes.values():
            prefix.add_exec_time(1.0)
        running = Running(scheduler(task_prefixes=prefixes))
        running.look(NO_GRAPHS)
        assert len(running.longest) == 2_000
        assert "p2999" in running.longest


class TestBlocked:
    def blocked(self, n, **asked):
        since = time.monotonic() - 30
        found = {}
        prefix = TaskPrefix("train")
        for i in range(n):
            ts = task(f"train-{i}", "train", state="no-worker", prefix=prefix)
            for name, value in asked.items():
                setattr(ts, name, value(i) if callable(value) else value)
            found[ts] = since + i * 1e-6
        prefix.states["no-worker"] = n
        return found

    def test_many_of_one_kind_are_counted_all(self):
        found = self.blocked(MAX_BLOCKED * 4, resource_restrictions={"GPU": 1})
        (row,) = sent(Running(scheduler(worker(), unrunnable=found)).look(NO_GRAPHS))["blocked"]
        assert row[:2] == ["train", MAX_BLOCKED * 4]
        assert row[2] == pytest.approx(30, abs=5)
        assert row[5] == [["GPU", 1.0]]

    def test_many_kinds_are_bounded(self):
        found = self.blocked(100, worker_restrictions=lambda i: {f"half \ud800 {i}"})
        rows = sent(Running(scheduler(worker(), unrunnable=found)).look(NO_GRAPHS))["blocked"]
        assert len(rows) == N_BLOCKED
        assert all(row[1] == 1 and len(row[3]) == 1 for row in rows)

    def test_a_scheduler_that_does_not_tell_since_when(self):
        found = set(self.blocked(3))
        running = Running(scheduler(worker(), unrunnable=found))
        (row,) = running.look(NO_GRAPHS)["blocked"]
        assert (row[1], row[3:6]) == (3, [[], [], []])
        assert 0 <= row[2] < 5

    def test_a_group_forgotten_meanwhile(self):
        found = self.blocked(2)
        group = next(iter(found)).group
        group.prefix.remove_group(group)
        (row,) = Running(scheduler(worker(), unrunnable=found)).look(NO_GRAPHS)["blocked"]
        assert row[6] is None


class TestMetrics:
    def test_what_has_changed_since(self):
        sums = {("execute", "x", "thread-cpu", "seconds"): 1.5, ("gather-dep", "network", "bytes"): 10}
        metrics = Metrics(scheduler(cumulative_worker_metrics=sums))
        metrics.look()
        rows, until = metrics.changes(0)
        assert rows == [
            ["execute", "x", "thread-cpu", "seconds", 1.5, 1.5],
            ["gather-dep", None, "network", "bytes", 10, 10],
        ]
        metrics.look()
        assert metrics.changes(until) == ([], until)
        sums["gather-dep", "network", "bytes"] = 30
        sums["execute", "y", "failed", "seconds"] = 2.0
        metrics.look()
        rows, _ = metrics.changes(until)
        assert sorted(row[4:] for row in rows) == [[2.0, 0.0], [30, 10]]
        assert metrics.failed("y") == 2.0
        assert metrics.failed("x") == 0.0

    def test_the_same_seconds_are_not_told_twice(self):
        sums = {
            ("p2p", "foreground", "p2p-shards", "seconds"): 1.0,
            ("p2p", "background-comms", "idle", "seconds"): 2.0,
        }
        metrics = Metrics(scheduler(cumulative_worker_metrics=sums))
        metrics.look()
        assert [row[2] for row in metrics.changes(0)[0]] == ["background-comms-idle"]

    @pytest.mark.parametrize(
        "key",
        ["latency", ("a", "seconds"), ("execute", "x", 3, "seconds"), ("x", "y", "lightyears"), None, 7, ()],
    )
    def test_other_metrics_are_left_out(self, key):
        metrics = Metrics(scheduler(cumulative_worker_metrics={key: 1.0}))
        metrics.look()
        assert metrics.changes(0) == ([], 0)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -3.0, "much", None])
    def test_absurd_sums(self, value):
        sums = {("execute", "half \ud800", "failed", "seconds"): value}
        metrics = Metrics(scheduler(cumulative_worker_metrics=sums))
        metrics.look()
        rows, _ = metrics.changes(0)
        assert sent(rows)[0][4:] == [0.0, 0.0]
        assert not metrics.failed("half \ud800")

    def test_a_dask_that_does_not_tell(self):
        metrics = Metrics(scheduler())
        metrics.look()
        assert metrics.changes(0) == (None, 0)
        assert metrics.failed("x") is None

    def test_bounded(self):
        sums = {("execute", f"p{i}", "executor", "seconds"): 1.0 for i in range(MAX_METRICS + 10)}
        metrics = Metrics(scheduler(cumulative_worker_metrics=sums))
        metrics.look()
        told, until = [], 0
        while rows := metrics.changes(until)[0]:
            assert len(rows) <= SEND_METRICS
            until = metrics.changes(until)[1]
            told += rows
        assert len({row[1] for row in told}) == len(told) == MAX_METRICS

    def test_all_come_round(self):
        sums = {("execute", f"p{i}", "executor", "seconds"): 1.0 for i in range(1_700)}
        metrics = Metrics(scheduler(cumulative_worker_metrics=sums))
        metrics.look()
        until = metrics.seq
        for key in sums:
            sums[key] = 2.0
        for _ in range(4):
            metrics.look()
        assert metrics.seq == until + 1_700


def test_a_group_of_a_million_is_one_row():
    """Nothing looks at its tasks."""
    tg = TaskGroup("load-1", TaskPrefix("load"))
    tg.states["memory"] = tg._types["int"] = 1_000_000
    group = Group(1, SimpleNamespace(id=1, time=0.0), tg, 1_000_000, None)
    tg._types["int"] += 5
    tg.add_duration("compute", 10.0, 5.0)  # stopped before it started
    tg.add_duration("disk-read", 5.0, 6.5)
    row = sent(group.row(None))
    assert row[4] == 1_000_000
    assert row[5] == [0.0, 0.0, 1.5, 0.0, 0.0]
    assert row[9:] == [1_000_000, 5, ["int"], None]
