"""The plugin on real schedulers: what it hears, what it costs, and how it takes its leave."""

import os
import pickletools
import signal
import time

import dask
import dask.array as da
import pytest
from distributed import Client, SchedulerPlugin
from distributed.scheduler import KilledWorker

from jupyter_dask_doctor.gather import scheduler_graphs as graphs
from jupyter_dask_doctor.gather import scheduler_plugin as plugin
from jupyter_dask_doctor.gather.connection import plugin_bytes
from jupyter_dask_doctor.gather.scheduler_losses import LOSS_DELAY
from jupyter_dask_doctor.gather.scheduler_plugin import DoctorPlugin

NAME = DoctorPlugin.name


def ours(cluster):
    return cluster.scheduler.plugins[NAME]


def gorge(limit):
    """Take more memory than a worker may have."""
    held = []
    while True:
        held.append(b"x" * (10 << 20))
        time.sleep(0.005)


@pytest.fixture
def processes(make_cluster):
    return make_cluster(processes=True, memory_limit="300MiB")


class TestLosses:
    def test_a_worker_killed_for_memory(self, follower, processes):
        with Client(processes) as client:
            feed = follower.follow(client)
            follower.cells.start(cell_id="greedy", execution_count=3, source="")
            future = client.submit(gorge, 1)
            sections = follower.until(feed, lambda s: s.losses, timeout=30)
            loss = sections.losses[0]
            assert (loss.reason, loss.prefixes, loss.at.cell_id) == ("memory", ("gorge",), "greedy")
            assert loss.memory_limit == 300 << 20
            assert loss.process > 0.9 * loss.memory_limit
            with pytest.raises(KilledWorker):
                future.result(timeout=60)
            follower.cells.stop(failed=True)
            sections = follower.until(feed, lambda s: s.failures)
            # One loss for each kill: the worker that vanishes afterwards is the same one.
            assert {(loss.reason, loss.prefixes) for loss in sections.losses} == {("memory", ("gorge",))}
            assert len({loss.address for loss in sections.losses}) == len(sections.losses) == 4
            (failure,) = sections.failures
            assert (failure.exception, failure.prefix) == ("KilledWorker", "gorge")
            assert "memory" in failure.text
            (prefix,) = (p for p in sections.prefixes if p.name == "gorge")
            assert prefix.n_suspicious == 4

    def test_the_nannys_word_may_come_after_the_end(self, follower, cluster, client):
        feed = follower.follow(client)
        future = client.submit(time.sleep, 0.1)
        future.result()
        gone = {"action": "remove-worker", "worker": "tcp://x:1", "processing-tasks": {future.key}}
        ours(cluster).log_event("all", gone | {"expected": False})
        killed = {"action": "worker-restart-memory", "worker": "tcp://x:1", "rss": 290 << 20}
        ours(cluster).log_event("worker-restart-memory", killed)
        (loss,) = follower.until(feed, lambda s: s.losses).losses
        assert (loss.reason, loss.prefixes, loss.process) == ("memory", ("sleep",), 290 << 20)

    def test_one_that_dies_again_at_the_same_address(self, follower, cluster, client):
        """As with `dask worker --worker-port`: whoever was there before is another one."""
        feed = follower.follow(client)
        doctor, (ws, *_) = ours(cluster), cluster.scheduler.workers.values()

        def die(pid):
            told = {"worker": ws.address, "pid": pid, "rss": 290 << 20}
            doctor.log_event("worker-restart-memory", {"action": "worker-restart-memory"} | told)
            gone = {"action": "remove-worker", "worker": ws.address, "expected": False}
            doctor.log_event("all", gone | {"processing-tasks": set()})

        die(ws.pid)
        doctor.add_worker(cluster.scheduler, ws.address)
        die(ws.pid)
        sections = follower.until(feed, lambda s: len(s.changes) == 3)
        assert [loss.reason for loss in sections.losses] == ["memory", "memory"]
        assert [change.kind for change in sections.changes] == ["removed", "added", "removed"]
        assert doctor.n_faults == 0

    def test_a_worker_that_vanishes(self, follower, processes):
        with Client(processes) as client:
            feed = follower.follow(client)
            future = client.submit(time.sleep, 2)
            sections = follower.until(feed, lambda s: any(w.n_executing for w in s.workers))
            victim = next(w.address for w in sections.workers if w.n_executing)
            os.kill(processes.scheduler.workers[victim].pid, signal.SIGKILL)
            (loss,) = follower.until(feed, lambda s: s.losses).losses
            assert (loss.reason, loss.address, loss.prefixes) == ("unexpected", victim, ("sleep",))
            del future

    def test_a_restart_is_no_loss(self, follower, processes):
        with Client(processes) as client:
            feed = follower.follow(client)
            before = set(processes.scheduler.workers)
            # Waiting for the workers inside the call can hang in Dask itself.
            client.restart(wait_for_workers=False)
            follower.until(feed, lambda s: not before & {w.address for w in s.workers}, timeout=40)
            time.sleep(LOSS_DELAY + 0.5)
            assert follower.pull(feed).losses == ()
            assert ours(processes).n_faults == 0

    def test_fewer_workers_by_wish_are_no_loss(self, follower, make_cluster):
        cluster = make_cluster(processes=True, n_workers=3)
        with Client(cluster) as client:
            feed = follower.follow(client)
            cluster.scale(2)
            follower.until(feed, lambda s: len(s.workers) == 2)
            client.retire_workers(list(cluster.scheduler.workers)[:1])
            follower.until(feed, lambda s: len(s.workers) == 1)
            time.sleep(LOSS_DELAY + 0.5)
            assert follower.pull(feed).losses == ()
            assert ours(cluster).n_faults == 0


class TestManners:
    def test_hooks_no_transition(self):
        """A hook for each transition costs 5 % of the scheduler's time: what stands there runs in C."""
        assert type(DoctorPlugin.transition).__name__ == "builtin_function_or_method"
        assert DoctorPlugin().transition("key", "a", "b", stimulus_id="x", worker={}) == ""

    def test_travels_by_value(self):
        """Nothing in it is looked up by the name of our package."""
        found = set()
        strings = []
        for op, arg, _ in pickletools.genops(plugin_bytes()):
            if isinstance(arg, str):
                strings.append(arg)
            if op.name == "STACK_GLOBAL":
                found.add(strings[-2].split(".")[0])
        assert "jupyter_dask_doctor" not in found

    def test_registers_once(self, follower, cluster, client, feed):
        first = ours(cluster)
        with Client(cluster, set_as_default=False) as other:
            assert follower.follow(other).state == feed.state == "live"
            assert ours(cluster) is first

    def test_replaces_an_older_one(self, follower, cluster, client):
        class Old(SchedulerPlugin):
            name = f"{plugin.PREFIX}0"

        client.register_plugin(Old())
        feed = follower.follow(client)
        assert feed.state == "live"
        assert [name for name in cluster.scheduler.plugins if name.startswith(plugin.PREFIX)] == [NAME]

    def test_leaves_a_newer_one_alone(self, follower, cluster, client):
        class New(SchedulerPlugin):
            name = f"{plugin.PREFIX}{plugin.VERSION + 1}"

            async def start(self, scheduler):
                scheduler.handlers[plugin.HANDLER] = lambda **cursor: {"version": plugin.VERSION + 1}

        client.register_plugin(New())
        feed = follower.follow(client)
        assert feed.state == "limited"
        assert "different version" in feed.reason
        end = time.monotonic() + 5
        while NAME in cluster.scheduler.plugins:
            follower.pull(feed)
            assert time.monotonic() < end
        assert New.name in cluster.scheduler.plugins

    def test_ends_itself_after_repeated_faults(self, follower, cluster, client, feed):
        ours(cluster).graphs.changed = None  # every snapshot and every graph now fails
        for i in range(4):
            assert client.submit(abs, -i).result() == i
            follower.pull(feed)
        assert NAME not in cluster.scheduler.plugins
        sections = follower.pull(feed)
        assert feed.state == "limited"
        assert "stopped itself" in feed.reason
        assert "stopped itself" in sections.computations.reason
        assert len(sections.workers) == 2
        assert da.ones(10, chunks=5).sum().compute() == 10

    def test_a_fault_or_two_are_forgiven(self, follower, cluster, client, feed):
        held, ours(cluster).graphs.changed = ours(cluster).graphs.changed, None
        client.submit(abs, -1).result()
        follower.pull(feed)
        ours(cluster).graphs.changed = held
        client.submit(abs, -2).result()
        follower.until(feed, lambda s: s.computations)
        assert feed.state == "live"
        assert 0 < ours(cluster).n_faults < plugin.MAX_FAULTS

    def test_a_snapshot_is_bounded(self, follower, cluster, client, feed):
        x = da.ones(3_000, chunks=1).persist()
        follower.until(feed, lambda s: s.computations and s.computations[-1].is_done, timeout=60)
        snapshot = cluster.scheduler.handlers[plugin.HANDLER]
        reply = snapshot()  # as a kernel that comes later asks
        assert len(reply["sizes"]) <= graphs.SEND_ROWS
        assert len(reply["graphs"]) + len(reply["groups"]) <= graphs.SEND_RECORDS
        rows = reply["rows"]
        while reply["sizes"]:
            reply = snapshot(reply["since"], reply["rows"], reply["epoch"])
            assert reply["rows"] >= rows
            rows = reply["rows"]
        assert rows == 3_000
        assert snapshot(reply["since"], rows, reply["epoch"])["groups"] == []
        assert len(x.chunks[0]) == 3_000

    def test_many_graphs_are_bounded(self, cluster, client, feed):
        doctor = ours(cluster)
        doctor.graphs.max_graphs = 10
        for i in range(15):
            dask.compute(da.full(4, i, chunks=2).sum())
        assert len(doctor.graphs.all) == 10
        assert len(doctor.graphs.unfinished) <= 10
        kept = {id(group) for graph in doctor.graphs.all.values() for group in graph.groups.values()}
        assert {id(group) for group in doctor.graphs.by_tg.values()} <= kept
        assert len(doctor.graphs.changed) == 10 + len(kept)
        assert doctor.n_faults == 0

    def test_keys_are_bounded(self, follower, cluster, client, feed):
        doctor = ours(cluster)
        doctor.graphs.max_keys = 1_000
        futures = [client.map(abs, range(i * 4_000, (i + 1) * 4_000)) for i in range(3)]
        follower.until(feed, lambda s: doctor.graphs.n_dropped)
        assert sum(graph.n_keys for graph in doctor.graphs.all.values()) <= 1_000
        assert "too many at once" in follower.pull(feed).notes[0]
        assert doctor.n_faults == 0
        del futures

    def test_forgets_with_the_scheduler(self, follower, make_cluster):
        cluster = make_cluster()
        with Client(cluster) as client:
            follower.follow(client)
            client.submit(abs, -1).result()
            doctor = ours(cluster)
            assert doctor.graphs.all
        cluster.close()
        assert not doctor.graphs.all
