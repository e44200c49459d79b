"""What runs, what is blocked and since when: real clusters, and answers that no cluster should give."""

import asyncio
import math
import time

import pytest
from distributed import Client, Event
from distributed.core import Status

from jupyter_dask_doctor.gather import scheduling
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.scheduling import Schedule
from jupyter_dask_doctor.gather.tasks import Tasks


def wait(i, name):
    Event(name).wait(60)
    return i


def quick(i):
    return i


def as_it_is(moment):
    return moment


def of(sections, prefix):
    return [task for task in sections.scheduling.running if task.prefix == prefix]


class TestRunning:
    def test_what_runs_and_for_how_long(self, follower, cluster, client, feed):
        follower.cells.start(cell_id="work", execution_count=3, source="wait")
        big = client.submit(bytes, 3_000_000)
        futures = [client.submit(wait, big, "running", pure=False) for _ in range(2)]
        sections = follower.until(feed, lambda s: len(of(s, "wait")) == 2)
        first, second = of(sections, "wait")
        assert first.seconds >= second.seconds >= 0
        longer = follower.until(feed, lambda s: of(s, "wait") and of(s, "wait")[0].seconds > 1)
        assert of(longer, "wait")[0].seconds < 20
        assert sections.scheduling.n_running == 2
        assert {task.worker for task in (first, second)} == {w.address for w in sections.workers}
        assert {task.key for task in (first, second)} == {future.key for future in futures}
        assert first.nbytes_in >= 3_000_000
        assert (first.group, first.is_restricted, first.at.cell_id) == ("wait", False, "work")
        assert first.computation_id in {c.id for c in sections.computations}
        (prefix,) = (p for p in sections.prefixes if p.name == "wait")
        assert (prefix.n_processing, prefix.n_done, prefix.max_seconds) == (2, 0, None)
        Event("running").set()
        client.gather(futures)
        sections = follower.until(feed, lambda s: s.scheduling.n_running == 0)
        assert sections.scheduling.running == ()
        (prefix,) = (p for p in sections.prefixes if p.name == "wait")
        assert (prefix.n_processing, prefix.n_done) == (0, 2)
        assert 1 < prefix.max_seconds < 30

    def test_where_it_must_run(self, follower, cluster, client, feed):
        (address, _) = cluster.scheduler.workers
        future = client.submit(wait, 1, "pinned", workers=[address], pure=False)
        loose = client.submit(wait, 2, "pinned", workers=[address], allow_other_workers=True, pure=False)
        sections = follower.until(feed, lambda s: len(of(s, "wait")) == 2)
        assert {task.key: task.is_restricted for task in of(sections, "wait")} == {
            future.key: True,
            loose.key: False,
        }
        Event("pinned").set()
        client.gather([future, loose])

    def test_when_a_task_ended_last(self, follower, client, feed):
        assert feed.sections(follower.cells).scheduling.last_finished is None
        before = time.time()
        client.submit(quick, 1).result()
        sections = follower.until(feed, lambda s: s.scheduling.last_finished)
        assert before - 0.1 <= sections.scheduling.last_finished <= time.time() + 0.1
        again = follower.pull(feed)
        assert again.scheduling.last_finished == sections.scheduling.last_finished

    def test_it_is_known_of_before_us(self, follower, client):
        client.submit(quick, 1).result()
        ended = time.time()
        feed = follower.follow(client)
        sections = follower.until(feed, lambda s: s.computations)
        assert sections.scheduling.last_finished == pytest.approx(ended, abs=2)

    def test_paused_workers(self, follower, make_cluster):
        cluster = make_cluster(memory_limit=0)  # else its memory would set it going again
        with Client(cluster) as client:
            feed = follower.follow(client)
            assert feed.sections(follower.cells).scheduling.n_paused == 0

            async def pause():
                cluster.workers[0].status = Status.paused

            client.sync(pause)
            sections = follower.until(feed, lambda s: s.scheduling.n_paused == 1)
            assert sections.scheduling.n_silent == 0


class TestBlocked:
    def test_by_what_they_ask_for(self, follower, client, feed):
        follower.cells.start(cell_id="gpu", execution_count=1, source="train")
        futures = [client.submit(quick, i, resources={"GPU": 1}, pure=False) for i in range(3)]
        other = client.submit(quick, 9, workers=["tcp://10.9.9.9:1"], pure=False)
        sections = follower.until(feed, lambda s: len(s.scheduling.blocked) == 2)
        gpu, pinned = sorted(sections.scheduling.blocked, key=lambda kind: -kind.n)
        assert (gpu.prefix, gpu.n, gpu.resources, gpu.workers) == ("quick", 3, (("GPU", 1.0),), ())
        assert (pinned.n, pinned.workers, pinned.resources) == (1, ("tcp://10.9.9.9:1",), ())
        assert gpu.at.cell_id == "gpu"
        later = follower.until(feed, lambda s: s.scheduling.blocked[0].seconds > 1)
        assert max(kind.seconds for kind in later.scheduling.blocked) < 30
        del futures, other
        follower.until(feed, lambda s: not s.scheduling.blocked)

    def test_without_any_worker(self, follower, make_cluster):
        cluster = make_cluster(n_workers=0)
        with Client(cluster) as client:
            feed = follower.follow(client)
            futures = client.map(quick, range(30))
            sections = follower.until(feed, lambda s: s.scheduling.blocked)
            (kind,) = sections.scheduling.blocked
            assert (kind.prefix, kind.n) == ("quick", 30)
            assert kind.workers == kind.hosts == kind.resources == ()
            assert kind.computation_id == sections.computations[0].id
            later = follower.until(feed, lambda s: s.scheduling.blocked[0].seconds > 0.5)
            assert later.scheduling.blocked[0].seconds < 30
            del futures

    def test_nothing_is(self, follower, client, feed):
        client.gather(client.map(quick, range(50)))
        assert follower.pull(feed).scheduling.blocked == ()


class TestStacks:
    @pytest.fixture
    def impatient(self, monkeypatch):
        monkeypatch.setattr(scheduling, "STALL_SECONDS", 1.0)

    def test_once_in_a_stall(self, follower, client, feed, impatient):
        asked = []
        fetch = feed._schedule.fetch

        async def counted(*args):
            asked.append(args)
            await fetch(*args)

        feed._schedule.fetch = counted
        futures = [client.submit(wait, i, "stall", pure=False) for i in range(2)]
        sections = follower.until(feed, lambda s: s.scheduling.stacks)
        for _ in range(3):
            follower.pull(feed)
        assert len(asked) == 1
        assert {stack.key for stack in sections.scheduling.stacks} == {future.key for future in futures}
        for stack in sections.scheduling.stacks:
            assert 0 < len(stack.frames) <= scheduling.MAX_FRAMES
            assert "in wait\n    Event(name).wait(60)" in stack.frames[0]
            assert stack.worker in {w.address for w in sections.workers}
        Event("stall").set()
        client.gather(futures)
        sections = follower.until(feed, lambda s: s.scheduling.n_running == 0)
        assert sections.scheduling.stacks is None

    def test_not_while_tasks_finish(self, follower, client, feed, impatient):
        futures = [client.submit(wait, 0, "slow", pure=False)]
        for i in range(10):
            client.submit(quick, i, pure=False).result()
            time.sleep(0.2)
            assert follower.pull(feed).scheduling.stacks is None
        Event("slow").set()
        client.gather(futures)

    def test_a_task_that_has_just_ended_is_nobodys_fault(self, follower, cluster, client, feed, caplog):
        client.submit(quick, 1).result()

        async def stacks():
            return await feed._connection.stacks(["no-such-task", "quick"])

        assert len(follower.run(stacks())) == 0
        assert not caplog.records


def reply(tasks=(), finished=0, time=1_000.0, blocked=()):
    running = {"n": len(tasks), "n_paused": 0, "n_silent": 0, "tasks": tasks, "blocked": blocked}
    return {"time": time, "tasks": {"finished": finished}, "running": running}


def row(key="x", seconds=100.0, prefix="wait"):
    return [key, prefix, prefix, "tcp://a:1", seconds, 0, False, None]


class TestWhenToAsk:
    """Against answers made by hand: no cluster waits for so long."""

    def schedule(self, *replies):
        made = Schedule()
        for one in replies:
            made.take(one, as_it_is, None)
        return made

    def test_nothing_ended_and_one_is_overdue(self):
        made = self.schedule(reply([row(seconds=11)], time=1_000))
        assert made.overdue({"wait": 2.0}) == ["x"]
        assert made.overdue({"wait": 2.0}) == []  # once

    @pytest.mark.parametrize(
        ("seconds", "longest"),
        [(9.9, None), (9.9, 0.1), (11, 2.3), (100, 21), (-5, None), (math.nan, None)],
    )
    def test_quiet_about_what_is_usual(self, seconds, longest):
        made = self.schedule(reply([row(seconds=seconds)]))
        assert made.overdue({"wait": longest}) == []
        assert not made.stacks

    def test_quiet_when_something_ended_just_now(self):
        made = self.schedule(reply([row()], finished=1), reply([row()], finished=2, time=1_001))
        assert made.overdue({}) == []
        made.take(reply([row()], finished=2, time=1_012), as_it_is, None)
        assert made.overdue({}) == ["x"]

    def test_anew_after_one_has_ended(self):
        made = self.schedule(reply([row()]))
        assert made.overdue({}) == ["x"]
        made.take(reply([row()], finished=1, time=1_010), as_it_is, None)
        assert made.overdue({}) == []
        made.take(reply([row()], finished=1, time=1_030), as_it_is, None)
        assert made.overdue({}) == ["x"]

    def test_few_at_once(self):
        made = self.schedule(reply([row(key=str(i)) for i in range(50)]))
        assert made.overdue({}) == [str(i) for i in range(8)]

    @pytest.mark.parametrize("answer", [OSError("gone"), asyncio.TimeoutError(), None, [["x"]], 7])
    def test_a_fault_gives_none(self, answer):
        made = self.schedule(reply([row()]))

        async def stacks(tasks):
            if isinstance(answer, Exception):
                raise answer
            return answer

        asyncio.run(made.fetch(stacks, ["x"]))
        assert made.stacks is None

    def test_an_answer_that_comes_when_all_is_well_again(self):
        made = self.schedule(reply([row()]))

        async def stacks(tasks):
            made.take(reply([], finished=1, time=1_001), as_it_is, None)
            return [["x", "tcp://a:1", ["here"]]]

        asyncio.run(made.fetch(stacks, ["x"]))
        assert made.stacks is None

    def test_the_way_into_the_task_is_left_out(self):
        made = self.schedule(reply([row()]))
        way = [
            'File "/opt/distributed/worker.py", line 1, in run',
            'File "/lib/threading.py", line 9, in run',
        ]
        own = [f'File "/somewhere/nb.py", line {i}, in f' for i in range(30)]

        async def stacks(tasks):
            return [["x", "tcp://a:1", way + own], ["y", "tcp://a:1", way]]

        asyncio.run(made.fetch(stacks, ["x"]))
        first, second = made.stacks
        assert first.frames == tuple(own[-20:])
        assert second.frames == (way[-1],)

    def test_hostile_rows_become_facts(self):
        evil = "<img src=x onerror=alert(1)>"
        made = self.schedule(
            reply(
                [row(key=evil, prefix=evil)], blocked=[[evil, 2, 3.0, [evil], [], [["GPU", math.nan]], None]]
            )
        )
        view = made.view(Tasks("s", "c"), CellLog())
        assert view.running[0].key == evil
        assert (view.blocked[0].workers, view.blocked[0].resources) == ((evil,), ())
        assert (view.running[0].computation_id, view.running[0].at) == (None, None)
