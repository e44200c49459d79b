"""A feed against real schedulers: alive, refusing, busy, gone, and back as another one."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time

import dask
import dask.array as da
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from jupyter_dask_doctor.gather.cluster import Feed, check_version
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.snapshot import Gap

#: A scheduler in an environment without this package.
SCHEDULER = """
import sys
sys.modules["jupyter_dask_doctor"] = None
from distributed.cli.dask_scheduler import main
main(["--host", "127.0.0.1", "--port", sys.argv[1], "--no-dashboard", "--no-show"])
"""


@pytest.fixture
def start_scheduler():
    """Start a scheduler process at a port and wait for it."""
    started = []

    def start(port, environment=()):
        process = subprocess.Popen(
            [sys.executable, "-c", SCHEDULER, str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | dict(environment),
        )
        started.append(process)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.1)
        raise AssertionError("the scheduler does not listen")

    yield start
    for process in started:
        process.kill()
        process.wait()


def until_connected(client):
    """A client that is closed while it connects anew leaves its socket behind."""
    end = time.monotonic() + 20
    while client.status != "running":
        assert time.monotonic() < end
        time.sleep(0.05)


def is_live(sections):
    return not isinstance(sections.cluster, Gap) and bool(sections.workers)


def test_the_facts_of_a_local_cluster(follower, cluster, client, feed):
    sections = follower.until(feed, is_live)
    facts = sections.cluster
    assert (feed.state, feed.reason) == ("live", "")
    assert feed.scheduler_id == facts.scheduler_id == cluster.scheduler.id
    assert (facts.client_id, facts.kind, facts.is_in_process) == (client.id, "LocalCluster", True)
    assert facts.nthreads == 2
    assert facts.memory_limit == sum(w.memory_limit for w in sections.workers)
    assert facts.python == sys.version_info[:2]
    assert facts.dashboard_link.startswith("http://127.0.0.1:")
    assert (facts.memory_target, facts.memory_terminate) == (0.6, 0.95)
    assert {w.address for w in sections.workers} == set(cluster.scheduler.workers)
    assert all(w.process > 0 and w.samples and w.status == "running" for w in sections.workers)
    load = sections.load[-1]
    assert (load.n_workers, load.nthreads) == (2, 2)
    assert load.process_min <= load.process_median <= load.process_max
    assert sections.notes == ()


def test_memory_fractions_follow_the_settings(follower, client):
    with dask.config.set({"distributed.worker.memory.pause": 0.5, "distributed.worker.memory.spill": False}):
        feed = follower.follow(client)
    facts = follower.pull(feed).cluster
    assert (facts.memory_pause, facts.memory_spill) == (0.5, 1.0)


def test_held_memory_shows(follower, client, feed):
    before = follower.until(feed, is_live).load[-1]
    x = da.arange(4_000_000, chunks=1_000_000).persist()
    sections = follower.until(feed, lambda s: s.load[-1].managed >= 32_000_000)
    assert sections.load[-1].tasks_memory == 4
    assert before.managed == 0
    assert sum(w.managed for w in sections.workers) == sections.load[-1].managed
    del x


def test_a_worker_that_is_full(follower, make_cluster):
    """What ran when its memory was at its highest."""
    cluster = make_cluster(n_workers=1, processes=True, memory_limit="400MiB")

    def swell():
        held = b"x" * (180 << 20)
        time.sleep(2.5)
        return len(held)

    with Client(cluster) as client:
        feed = follower.follow(client)
        future = client.submit(swell)
        while not future.done():
            follower.pull(feed)
            time.sleep(0.3)
        (worker,) = follower.pull(feed).workers
        assert worker.prefixes_at_peak == ("swell",)
        assert max(sample.process for sample in worker.samples) > 180 << 20
        assert worker.memory_limit == 400 << 20


def test_inproc(follower, make_cluster):
    cluster = make_cluster(protocol="inproc")
    with Client(cluster) as client:
        feed = follower.follow(client)
        assert feed.state == "live", feed.reason
        assert follower.until(feed, is_live).cluster.address.startswith("inproc://")


def test_tls(follower, make_cluster):
    pytest.importorskip("cryptography")
    security = Security.temporary()
    cluster = make_cluster(protocol="tls", security=security)
    with Client(cluster, security=security) as client:
        feed = follower.follow(client)
        assert feed.state == "live", feed.reason


def test_an_asynchronous_client(follower):
    async def work():
        async with (
            LocalCluster(
                n_workers=1,
                processes=False,
                asynchronous=True,
                protocol="tcp",
                dashboard_address="127.0.0.1:0",
            ) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            feed = Feed(client, follower.submissions)
            follower.feeds.append(feed)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(feed.pull(), follower.loop))
            assert feed.state == "live", feed.reason
            assert await client.submit(abs, -1) == 1
            for _ in range(20):
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(feed.pull(), follower.loop))
                if feed.sections(CellLog()).computations:
                    break
                await asyncio.sleep(0.1)
            assert feed.sections(CellLog()).computations[0].n_tasks == 1

    asyncio.run(work())


def test_a_cluster_that_refuses_plugins(follower, make_cluster):
    with dask.config.set({"distributed.scheduler.blocked-handlers": ["register_scheduler_plugin"]}):
        cluster = make_cluster()
    with Client(cluster) as client:
        feed = follower.follow(client)
        sections = follower.pull(feed)
        assert feed.state == "limited"
        assert feed.reason.startswith("The cluster does not accept plugins (")
        for section in (sections.computations, sections.groups, sections.prefixes, sections.losses):
            assert section == Gap(reason=feed.reason)
        assert sections.cluster.nthreads == 2
        assert len(sections.workers) == 2
        assert sections.load[-1].process_max > 0
        assert client.submit(abs, -1).result() == 1


def test_a_closed_client(follower, cluster):
    client = Client(cluster)
    feed = follower.follow(client)
    client.close()
    sections = follower.pull(feed)
    assert (feed.state, feed.reason) == ("lost", "This client is closed.")
    assert sections.cluster.client_id == feed.client_id  # what was known last


def test_a_client_that_nobody_holds(follower, cluster):
    client = Client(cluster)
    feed = follower.follow(client)
    client.close()
    del client
    follower.pull(feed)
    assert feed.state == "lost"


def test_closed_while_pulled(follower, make_cluster):
    """Clients, workers and schedulers that go away in the midst of a pull do no harm."""
    for _ in range(3):
        cluster = make_cluster()
        client = Client(cluster)
        feed = follower.follow(client)
        pulls = [asyncio.run_coroutine_threadsafe(feed.pull(), follower.loop)]
        threading.Timer(0.05, client.close).start()
        while feed.state != "lost" and len(pulls) < 500:
            pulls.append(asyncio.run_coroutine_threadsafe(feed.pull(), follower.loop))
            pulls[-1].result(10)
        cluster.close()
        assert [pull.exception(10) for pull in pulls] == [None] * len(pulls)
        assert feed.state == "lost"


def test_workers_that_die_while_pulled(follower, make_cluster):
    cluster = make_cluster(processes=True)
    with Client(cluster) as client:
        feed = follower.follow(client)
        done = threading.Event()

        def churn():
            for _ in range(3):
                for ws in list(cluster.scheduler.workers.values()):
                    cluster.loop.add_callback(
                        cluster.scheduler.remove_worker, ws.address, stimulus_id="test", close=False
                    )
                time.sleep(0.5)
            done.set()

        thread = threading.Thread(target=churn)
        thread.start()
        while not done.is_set():
            follower.pull(feed)
            assert feed.state == "live", feed.reason
        thread.join()


def test_a_scheduler_that_is_gone_and_another_at_its_address(follower, start_scheduler, port):
    """The scheduler's environment lacks this package; the plugin runs all the same."""
    first = start_scheduler(port)
    with Client(f"tcp://127.0.0.1:{port}", timeout=20) as client:
        feed = follower.follow(client)
        assert feed.state == "live", feed.reason
        facts = follower.pull(feed).cluster
        assert (facts.kind, facts.is_in_process) == (None, False)
        future = client.submit(abs, -1)  # there is no worker: it waits
        sections = follower.until(feed, lambda s: s.computations and s.load[-1].tasks_waiting == 1)
        assert sections.workers == ()
        before = feed.scheduler_id

        first.kill()
        first.wait()
        follower.pull(feed)
        assert feed.state == "lost"
        assert feed.reason.startswith("The scheduler is gone")
        assert feed.scheduler_id == before

        start_scheduler(port)
        sections = follower.until(feed, lambda s: feed.state == "live")
        assert feed.scheduler_id != before
        assert sections.cluster.scheduler_id == feed.scheduler_id
        assert sections.computations == ()
        until_connected(client)
        del future


@pytest.mark.parametrize("is_followed_by_another", [False, True])
def test_another_scheduler_comes_unnoticed(follower, start_scheduler, port, is_followed_by_another):
    """Between two pulls; perhaps another notebook has put the plugin there already."""
    address = f"tcp://127.0.0.1:{port}"
    first = start_scheduler(port)
    with Client(address, timeout=20) as client:
        feed = follower.follow(client)
        x = client.map(abs, range(5))
        before = follower.until(feed, lambda s: s.computations and s.load[-1].tasks_waiting == 5)
        assert before.load[-1].tasks_known == 5
        scheduler_id = feed.scheduler_id
        first.kill()
        first.wait()
        start_scheduler(port)
        if is_followed_by_another:
            with Client(address, timeout=20, set_as_default=False) as other:
                assert follower.follow(other).state == "live"
        sections = follower.until(feed, lambda s: feed.state == "live" and feed.scheduler_id != scheduler_id)
        assert sections.cluster.scheduler_id == feed.scheduler_id
        # Nothing of the old one is left.
        assert (sections.computations, sections.groups, sections.changes) == ((), (), ())
        assert {load.tasks_known for load in sections.load} == {0}
        assert len(sections.load) < 5
        assert not isinstance(sections.policy, Gap)
        versions = [told.address for told in sections.versions if told.role == "scheduler"]
        assert versions == [address]
        until_connected(client)
        del x


def test_another_scheduler_takes_the_plugin_that_the_first_one_refused(follower, start_scheduler, port):
    refusing = {"DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS": "['register_scheduler_plugin']"}
    first = start_scheduler(port, refusing)
    with Client(f"tcp://127.0.0.1:{port}", timeout=20) as client:
        feed = follower.follow(client)
        assert feed.state == "limited"
        first.kill()
        first.wait()
        start_scheduler(port)
        sections = follower.until(feed, lambda s: feed.state == "live")
        assert sections.cluster.scheduler_id == feed.scheduler_id
        assert sections.computations == ()
        until_connected(client)


def test_a_scheduler_too_busy_to_answer(follower, client, feed):
    """A pull gives up in time; the feed is not lost at once, and recovers."""
    thread = threading.Thread(
        target=client.run_on_scheduler, args=(lambda dask_scheduler: time.sleep(3),), daemon=True
    )
    thread.start()
    time.sleep(0.3)
    before = time.monotonic()
    follower.pull(feed)
    assert time.monotonic() - before < 2.9
    assert feed.state == "live"
    assert "has not answered" in feed.reason
    thread.join()
    follower.until(feed, lambda s: feed.reason == "")


def test_several_feeds_on_one_scheduler(follower, cluster, client, feed):
    with Client(cluster, set_as_default=False) as other:
        second = follower.follow(other)
        x = da.ones(100, chunks=10).persist()
        for one in (feed, second, feed):
            follower.until(one, lambda s, one=one: (z := one.sizes(x.name)) is not None and z.n == 10)
        assert len(follower.pull(feed).computations) == 1
        assert follower.pull(second).computations == ()
        assert follower.pull(second).load[-1].tasks_memory == 10


@pytest.mark.parametrize("version", ["2024.2.0", "2025.6.9", "2023.12.1"])
def test_an_old_version_is_named(version):
    assert version in check_version(version)


@pytest.mark.parametrize("version", ["2025.7.0", "2026.8.0", "2027.1", "2025.7.0+5.gabc", "unknown"])
def test_a_version_that_will_do(version):
    assert check_version(version) is None


def test_the_installed_version_will_do():
    assert check_version() is None
