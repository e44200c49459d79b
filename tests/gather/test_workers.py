"""What the plugin's answers said of workers over time: made up answers, one after the other."""

import math

import pytest

from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.limited import limited_reply
from jupyter_dask_doctor.gather.scheduler_view import METRICS, WORKER_FIELDS
from jupyter_dask_doctor.gather.workers import MAX_LOADS, MAX_SAMPLED, MAX_SAMPLES, SLOT, Workers

MiB = 2**20
T0 = 1_700_000_000.0
ROW = {
    "address": "tcp://10.0.0.1:1",
    "name": "a",
    "nthreads": 2,
    "memory_limit": 400 * MiB,
    "status": "running",
    "process": 100 * MiB,
    "managed": 10 * MiB,
    "spilled": 0,
    "unmanaged_old": 80 * MiB,
    "n_processing": 3,
    "n_executing": 1,
    "cpu": 90.0,
    "prefixes": ["sum"],
    "last_seen": T0,
    "first_seen": T0,
    "occupancy": 1.5,
    "stored": 10 * MiB,
    "host": "10.0.0.1",
    "has_nanny": True,
    "resources": [["GPU", 1]],
    "n_long_running": 0,
} | dict.fromkeys(METRICS)
CHANGE = {
    "time": T0,
    "kind": "removed",
    "address": "tcp://10.0.0.1:1",
    "name": "a",
    "n_workers": 1,
    "is_expected": False,
    "lifetime": 30.0,
    "n_lost": 2,
    "lost_seconds": 4.0,
    "prefixes": ["sum"],
}


def reply(time, *rows, tasks=(), scheduler=(), losses=(), changes=()):
    """An answer at so many seconds after `T0`; `rows`: what differs from `ROW`."""
    rows = [ROW | row for row in rows]
    memory = sorted(row["process"] for row in rows) or [0]
    return {
        "time": T0 + time,
        "losses": list(losses),
        "changes": list(changes),
        "workers": {
            "n": len(rows),
            "nthreads": sum(row["nthreads"] for row in rows),
            "memory_limit": None,
            "process": sum(memory),
            "managed": 0,
            "spilled": 0,
            "quantiles": [memory[0], memory[len(memory) // 2], memory[-1]],
            "busy": 0,
            "shown": [[row[name] for name in WORKER_FIELDS] for row in rows],
        },
        "tasks": {"waiting": 0, "processing": 0, "memory": 0, "erred": 0, "finished": 0}
        | dict(tasks)
        | {
            "scheduler": {
                "queued": 0,
                "unrunnable": 0,
                "known": 0,
                "occupancy": 0.0,
                "memory": None,
                "cpu": None,
                "tick": None,
                "longest_tick": None,
            }
            | dict(scheduler)
        },
    }


def same(moment):
    return moment


def taken(*replies, to_kernel=same):
    workers = Workers()
    for one in replies:
        workers.take(one, to_kernel)
    return workers


class TestOneWorker:
    def test_its_facts(self):
        (worker,) = taken(reply(0, {})).workers()
        assert (worker.name, worker.host, worker.has_nanny) == ("a", "10.0.0.1", True)
        assert worker.resources == (("GPU", 1),)
        assert (worker.occupancy, worker.stored, worker.n_processing) == (1.5, 10 * MiB, 3)
        assert (worker.gil, worker.bandwidth, worker.gpu_memory) == (None, None, None)
        assert worker.prefixes_at_peak == ("sum",)
        (sample,) = worker.samples
        assert (sample.n_processing, sample.n_executing, sample.cpu) == (3, 1, 90.0)

    def test_no_limit_is_none(self):
        assert taken(reply(0, {"memory_limit": 0})).workers()[0].memory_limit is None

    def test_its_times_are_the_kernels(self):
        (worker,) = taken(reply(0, {}), to_kernel=lambda moment: moment - 7_200).workers()
        assert (worker.last_seen, worker.first_seen) == (T0 - 7_200, T0 - 7_200)
        assert worker.samples[0].time == T0 - 7_200

    def test_unknown_times_stay_unknown(self):
        (worker,) = taken(reply(0, {"last_seen": None, "first_seen": None}), to_kernel=math.sqrt).workers()
        assert (worker.last_seen, worker.first_seen) == (None, None)

    def test_samples_are_bounded(self):
        workers = taken(*(reply(i * SLOT, {"process": i}) for i in range(2 * MAX_SAMPLES)))
        (worker,) = workers.workers()
        assert len(worker.samples) == MAX_SAMPLES
        assert worker.samples[-1].process == 2 * MAX_SAMPLES - 1


class TestWorkersThatComeBack:
    def test_at_the_same_address_it_is_another_one(self):
        before = [reply(2 * i, {"process": 390 * MiB, "prefixes": ["greedy"]}) for i in range(3)]
        after = reply(8, {"first_seen": T0 + 7})
        (worker,) = taken(*before, after).workers()
        assert [sample.time for sample in worker.samples] == [T0 + 8]
        assert worker.prefixes_at_peak == ("sum",)
        assert worker.first_seen == T0 + 7

    def test_the_same_one_keeps_its_history(self):
        (worker,) = taken(*(reply(2 * i, {}) for i in range(3))).workers()
        assert len(worker.samples) == 3

    def test_under_the_same_name_at_another_address(self):
        gone = [reply(2 * i, {"process": 390 * MiB}) for i in range(3)]
        back = reply(8, {"address": "tcp://10.0.0.1:2", "first_seen": T0 + 7})
        (worker,) = taken(*gone, back).workers()
        assert (worker.name, worker.address) == ("a", "tcp://10.0.0.1:2")
        assert [sample.process for sample in worker.samples] == [100 * MiB]

    def test_two_of_the_same_name(self):
        """Not for long, but a scheduler may not have noticed that the first one is gone."""
        rows = {"process": 390 * MiB}, {"address": "tcp://10.0.0.1:2", "process": 50 * MiB}
        one, other = taken(reply(0, *rows)).workers()
        assert one.name == other.name
        assert [s.process for s in one.samples] == [390 * MiB]
        assert [s.process for s in other.samples] == [50 * MiB]

    def test_one_that_is_missing_for_one_look(self):
        (worker,) = taken(reply(0, {}), reply(2), reply(4, {})).workers()
        assert len(worker.samples) == 1

    def test_many_that_come_and_go_leave_nothing(self):
        workers = Workers()
        for i in range(300):
            workers.take(reply(i, *({"address": f"tcp://x:{i}-{j}"} for j in range(100))), same)
        assert len(workers._samples) <= MAX_SAMPLED
        assert len(workers._since) == 100


class TestTime:
    def test_points_are_in_order_when_the_clocks_are_known_better(self):
        """A later comparison of the clocks moves everything a little."""
        workers = taken(reply(10.0, {}), reply(10.4, {}))
        workers.take(reply(10.5, {}), lambda moment: moment - 0.3)
        times = [load.time for load in workers.loads()]
        assert times == sorted(times)

    def test_a_clock_that_was_set_back_begins_a_new_series(self):
        workers = taken(reply(7_200, {}), reply(7_202, {}))
        workers.take(reply(2, {}), same)
        workers.take(reply(4, {}), same)
        assert [load.time for load in workers.loads()] == [T0 + 2, T0 + 4]
        assert [sample.time for sample in workers.workers()[0].samples] == [T0 + 2, T0 + 4]

    def test_the_series_is_bounded(self):
        workers = taken(*(reply(i) for i in range(MAX_LOADS + 50)))
        assert len(workers.loads()) == MAX_LOADS
        assert workers.loads()[-1].time == T0 + MAX_LOADS + 49


class TestTheWholeCluster:
    def test_what_is_finished_never_falls(self):
        """Restarting a cluster empties the scheduler's counts."""
        told = (0, 50, 100, 0, 10, 30)
        workers = taken(*(reply(2 * i, tasks={"finished": n}) for i, n in enumerate(told)))
        assert [load.tasks_finished for load in workers.loads()] == [0, 50, 100, 100, 110, 130]

    def test_of_the_scheduler(self):
        facts = {"queued": 4, "unrunnable": 1, "known": 9, "occupancy": 2.0, "memory": 7, "cpu": 3.0}
        load = taken(reply(0, scheduler=facts | {"tick": 0.02, "longest_tick": 1.5})).loads()[-1]
        assert (load.tasks_queued, load.tasks_unrunnable, load.tasks_known) == (4, 1, 9)
        assert (load.occupancy, load.scheduler_memory, load.scheduler_cpu) == (2.0, 7, 3.0)
        assert (load.scheduler_tick, load.scheduler_longest_tick) == (0.02, 1.5)


class TestChanges:
    def cells(self):
        cells = CellLog()
        cells.start(cell_id="work", execution_count=1, source="", time=T0 - 5)
        return cells

    def test_where_they_happened(self):
        workers = taken(reply(0, changes=[CHANGE]))
        (change,) = workers.changes(self.cells(), {"sum"})
        assert (change.kind, change.name, change.prefixes) == ("removed", "a", ("sum",))
        assert (change.n_lost, change.lost_seconds, change.lifetime) == (2, 4.0, 30.0)
        assert change.at.cell_id == "work"

    def test_anothers_work_is_not_laid_at_our_cells(self):
        workers = taken(reply(0, changes=[CHANGE]))
        assert workers.changes(self.cells(), {"mine"})[0].at is None

    def test_a_change_without_any_loss_is_laid_at_the_cell_that_ran(self):
        workers = taken(reply(0, changes=[CHANGE | {"prefixes": []}]))
        assert workers.changes(self.cells(), {"mine"})[0].at.cell_id == "work"

    def test_one_that_is_pardoned_later(self):
        workers = taken(reply(0, changes=[CHANGE]), reply(1, changes=[CHANGE | {"is_expected": True}]))
        assert [change.is_expected for change in workers.changes(self.cells(), set())] == [True]

    def test_its_time_is_the_kernels(self):
        workers = taken(reply(0, changes=[CHANGE]), to_kernel=lambda moment: moment + 3_600)
        (change,) = workers.changes(self.cells(), {"sum"})
        assert change.time == T0 + 3_600
        assert change.at.cell_id == "work"  # it has not ended


IDENTITY = {
    "n_workers": 1,
    "total_threads": 2,
    "total_memory": 4 << 30,
    "workers": {
        "tcp://10.0.0.1:1": {
            "name": 0,
            "host": "10.0.0.1",
            "nthreads": 2,
            "memory_limit": 4 << 30,
            "last_seen": T0,
            "status": "running",
            "nanny": None,
            "resources": {"GPU": 1},
            "metrics": {
                "memory": 100 * MiB,
                "managed_bytes": 30 * MiB,
                "spilled_bytes": {"memory": 10 * MiB, "disk": 8 * MiB},
                "task_counts": {"executing": 2, "ready": 5, "long-running": 1},
                "event_loop_interval": 0.02,
                "bandwidth": {"total": 1e8, "workers": {}},
            },
        }
    },
}


def changed(**facts):
    (address, worker), *_ = IDENTITY["workers"].items()
    return IDENTITY | {"workers": {address: worker | facts}}


class TestWithoutThePlugin:
    def worker(self, identity, states=()):
        workers = taken(limited_reply(identity, dict(states)))
        (worker,) = workers.workers()
        return worker, workers.loads()[-1]

    def test_what_the_scheduler_tells_anybody(self):
        states = {"sum": {"waiting": 3, "queued": 2, "no-worker": 1, "memory": 4}}
        worker, load = self.worker(IDENTITY, states)
        assert (worker.process, worker.managed, worker.spilled) == (100 * MiB, 20 * MiB, 8 * MiB)
        assert (worker.n_processing, worker.n_executing, worker.n_long_running) == (7, 2, 1)
        assert (worker.host, worker.has_nanny, worker.resources) == ("10.0.0.1", False, (("GPU", 1),))
        assert (worker.event_loop_seconds, worker.bandwidth) == (0.02, None)
        assert worker.last_seen is None  # on a clock that nobody compared with ours
        assert (load.tasks_waiting, load.tasks_queued, load.tasks_unrunnable) == (6, 2, 1)
        assert (load.tasks_memory, load.tasks_known) == (4, 10)
        assert (load.scheduler_memory, load.scheduler_tick) == (None, None)

    @pytest.mark.parametrize(
        "metrics",
        [
            {},
            None,
            {"memory": -1, "managed_bytes": "x", "spilled_bytes": 3, "task_counts": 7},
            {"memory": float("nan"), "task_counts": {"executing": -4, None: float("inf")}},
        ],
    )
    def test_absurd_or_no_metrics(self, metrics):
        worker, load = self.worker(changed(metrics=metrics))
        assert (worker.process, worker.managed, worker.spilled, worker.cpu) == (0, 0, 0, 0.0)
        assert (worker.n_processing, worker.n_executing) == (0, 0)
        assert load.unmanaged == 0

    def test_negative_counts(self):
        _, load = self.worker(IDENTITY, {"sum": {"waiting": -3, "memory": -1}})
        assert (load.tasks_waiting, load.tasks_memory, load.tasks_known) == (0, 0, 0)

    @pytest.mark.parametrize("name", ["<b>", "\ud800", "x" * 10**5, None, ("a", 1)])
    def test_hostile_names(self, name):
        worker, _ = self.worker(changed(name=name))
        assert len(worker.name.encode()) <= 500

    def test_no_workers(self):
        workers = taken(limited_reply({"workers": {}}, {}))
        assert workers.workers() == ()
        assert workers.loads()[-1].process_max == 0


def test_what_held_the_memory_may_have_ended_when_it_is_told():
    workers = Workers()
    grown = {"process": 300 * MiB, "prefixes": ["swell"]}
    late = {"process": 301 * MiB, "prefixes": []}
    for time, row in ((0, {}), (2 * SLOT, grown), (4 * SLOT, late)):
        workers.take(reply(time, row), lambda moment: moment)
    assert workers.workers()[0].prefixes_at_peak == ("swell",)
    workers.take(reply(6 * SLOT, {"process": 350 * MiB, "prefixes": []}), lambda moment: moment)
    assert workers.workers()[0].prefixes_at_peak == ()
