"""Workers that are asked for their environment: willing, silent, stopped, gone, and refusing."""

import asyncio
import os
import signal
import sys
import time

import dask
import pytest
from distributed import Client

from jupyter_dask_doctor.gather import environment, worker_environment
from jupyter_dask_doctor.gather.environment import Environments
from jupyter_dask_doctor.snapshot import Gap, Versions

PYTHON = ".".join(map(str, sys.version_info[:3]))


def versions(python=PYTHON):
    return (Versions(role="worker", address="tcp://127.0.0.1:1", n=1, packages=(("python", python),)),)


SAME = versions()


@pytest.fixture
def environments(follower):
    """Make one that asks a cluster's workers, directly or through their scheduler."""
    made = []

    def make(cluster, *, is_in_process=True):
        one = Environments(cluster.scheduler_address, {}, is_in_process=is_in_process)
        made.append(one)
        return one

    yield make
    for one in made:
        follower.run(one.close())


@pytest.fixture
def ask(follower):
    """Ask, wait as long as a section waits, and give it."""

    def ask(one, cluster, told=SAME, **options):
        workers = dict.fromkeys(cluster.scheduler.workers, "running")

        async def work():
            one.ask(workers, told, **options)
            await one.settle()

        follower.run(work())
        return one.section()

    return ask


def until(follower, one, condition, timeout=30):
    end = time.monotonic() + timeout
    while not condition(one.section()):
        assert time.monotonic() < end, one.section()
        follower.run(asyncio.sleep(0.1))
    return one.section()


@pytest.mark.parametrize("is_in_process", [True, False])
def test_what_worker_processes_tell(environments, ask, make_cluster, is_in_process):
    cluster = make_cluster(processes=True, memory_limit="600MiB")
    told = ask(environments(cluster, is_in_process=is_in_process), cluster)
    assert {one.address for one in told} == set(cluster.scheduler.workers)
    one = told[0]
    assert (one.host, one.has_nanny) == ("127.0.0.1", True)
    assert one.n_cpus == dask.system.CPU_COUNT
    assert one.host_memory > 600 << 20
    assert (one.memory_target, one.memory_spill, one.memory_pause) == (0.6, 0.7, 0.8)
    assert (one.memory_terminate, one.max_spill) == (0.95, None)
    assert os.path.basename(one.local_directory).startswith("worker-")
    assert 0 < one.disk_free <= one.disk_total
    assert abs(one.time - time.time()) < 60
    variables = dict(one.variables)
    assert variables["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert variables["OMP_NUM_THREADS"] == "1"
    if sys.platform == "linux":
        assert one.file_system
        assert one.libc in ("glibc", "musl")
        # NumPy's, which the nanny's variable holds to one thread.
        assert all(n == 1 for _, n in one.pools)


@pytest.mark.parametrize("protocol", ["tcp", "inproc"])
def test_what_workers_of_this_process_tell(environments, ask, make_cluster, protocol):
    cluster = make_cluster(protocol=protocol)
    (one, _) = ask(environments(cluster), cluster)
    assert (one.has_nanny, one.memory_terminate) == (False, None)
    assert one.libc == worker_environment.libc()


def test_settings_of_the_worker_are_told(environments, ask, make_cluster):
    settings = {"target": False, "spill": False, "pause": 0.9, "terminate": False, "max-spill": "2GiB"}
    with dask.config.set({f"distributed.worker.memory.{name}": value for name, value in settings.items()}):
        cluster = make_cluster(processes=True, n_workers=1)
    (one,) = ask(environments(cluster), cluster)
    assert (one.memory_target, one.memory_spill, one.memory_terminate) == (None, None, None)
    assert (one.memory_pause, one.max_spill) == (0.9, 2 << 30)


@pytest.mark.parametrize("is_in_process", [True, False])
def test_nothing_is_left_in_logs_or_events(environments, ask, make_cluster, capfd, is_in_process):
    cluster = make_cluster(processes=True, n_workers=1, silence_logs=False)
    before = {topic: len(told) for topic, told in cluster.scheduler.get_events().items()}
    assert ask(environments(cluster, is_in_process=is_in_process), cluster)
    assert {topic: len(told) for topic, told in cluster.scheduler.get_events().items()} == before
    with Client(cluster) as client:
        # The user's own call is logged as ever.
        assert list(client.run(len, "ab").values()) == [2]
    text = "".join(capfd.readouterr())
    assert "'len'" in text
    assert text.count("out-of-band") == 1


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a process that can be stopped")
def test_a_worker_that_hangs_is_not_waited_for_nor_asked_again(
    follower, environments, ask, make_cluster, monkeypatch
):
    monkeypatch.setattr(environment, "INTERVAL", 0.0)
    cluster = make_cluster(processes=True)
    with Client(cluster) as client:
        stopped, pid = next(iter(client.run(os.getpid).items()))
    one = environments(cluster, is_in_process=False)
    os.kill(pid, signal.SIGSTOP)
    try:
        told = ask(one, cluster, spilled=1)
        assert [worker.address for worker in told] == [a for a in cluster.scheduler.workers if a != stopped]
        first = one._under_way[stopped]
        ask(one, cluster, spilled=1)
        assert one._under_way[stopped] is first
    finally:
        os.kill(pid, signal.SIGCONT)
    # What comes late is taken in.
    until(follower, one, lambda told: len(told) == 2)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a process that can be stopped")
def test_pulls_go_on_while_a_worker_hangs(follower, make_cluster):
    cluster = make_cluster(processes=True, n_workers=1)
    with Client(cluster) as client:
        (pid,) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGSTOP)
        try:
            feed = follower.follow(client)
            for _ in range(3):
                assert follower.pull(feed).load[-1].n_workers == 1
                assert feed.state == "live"
            assert isinstance(feed.environments(), Gap)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("is_in_process", [True, False])
def test_a_worker_that_is_gone(follower, environments, cluster, is_in_process):
    one = environments(cluster, is_in_process=is_in_process)
    with dask.config.set({"distributed.comm.timeouts.connect": "500ms"}):
        follower.run(_ask(one, {"tcp://127.0.0.1:1": "running"}))
        until(follower, one, lambda told: "did not answer" in told.reason)
    assert "did not answer" in one.section().reason
    # It left: nothing of it is kept.
    follower.run(_ask(one, {}))
    assert one.section() == Gap(reason="No worker was asked yet.")


async def _ask(one, workers, told=SAME, **options):
    one.ask(workers, told, **options)


@pytest.mark.parametrize("is_in_process", [True, False])
def test_a_cluster_that_refuses(environments, ask, make_cluster, is_in_process):
    with dask.config.set({"distributed.worker.blocked-handlers": ["run"]}):
        cluster = make_cluster(processes=True, n_workers=1)
        one = environments(cluster, is_in_process=is_in_process)
        gap = ask(one, cluster)
    assert isinstance(gap, Gap)
    assert "disallowed" in gap.reason
    asked = dict(one._asked_at)
    ask(one, cluster, spilled=1)
    assert one._asked_at == asked, "one that refused is not asked again"


def test_a_scheduler_that_refuses(environments, ask, make_cluster):
    with dask.config.set({"distributed.scheduler.blocked-handlers": ["broadcast"]}):
        cluster = make_cluster()
    gap = ask(environments(cluster, is_in_process=False), cluster)
    assert "disallowed" in gap.reason


@pytest.mark.parametrize(
    "told", [versions("3.6.1"), versions(None), (), Gap(reason="Not known."), versions() + versions("2.7")]
)
def test_another_python_is_sent_nothing(environments, ask, cluster, told):
    one = environments(cluster)
    assert isinstance(ask(one, cluster, told), Gap)
    assert not one._asked_at


def test_few_are_asked_and_seldom(follower, environments, cluster, monkeypatch):
    asked = []

    async def answer(self, address):
        asked.append(address)
        return {}

    monkeypatch.setattr(Environments, "_answer", answer)
    one = environments(cluster)
    workers = {f"tcp://10.0.0.{n}:{port}": "running" for n in range(3) for port in range(1000, 1020)}
    follower.run(_ask(one, workers))
    follower.run(asyncio.sleep(0.05))
    assert len(asked) == environment.MAX_ASKED
    # All hosts are among them, and workers that close are not.
    assert {address[:15] for address in asked} == {f"tcp://10.0.0.{n}:" for n in range(3)}
    others = {f"tcp://10.1.0.1:{port}": "running" for port in range(9)} | {"tcp://10.2.0.1:1": "closing"}
    follower.run(_ask(one, others))
    follower.run(asyncio.sleep(0.05))
    assert len(asked) == environment.MAX_ASKED
    monkeypatch.setattr(environment, "INTERVAL", 0.0)
    follower.run(_ask(one, others))
    follower.run(asyncio.sleep(0.05))
    assert len(asked) == 2 * environment.MAX_ASKED
    assert "tcp://10.2.0.1:1" not in asked


def test_the_disk_is_looked_at_again_while_something_is_spilled(
    follower, environments, ask, cluster, monkeypatch
):
    one = environments(cluster)
    first = ask(one, cluster)
    monkeypatch.setattr(environment, "INTERVAL", 0.0)
    assert ask(one, cluster) == first
    again = ask(one, cluster, spilled=1)
    assert [worker.address for worker in again] == [worker.address for worker in first]
    assert all(b.time > a.time for a, b in zip(first, again, strict=True))


def test_a_feed_asks_by_itself(follower, client, feed):
    follower.run(feed.settle())
    assert {one.address for one in feed.environments()} == {w.address for w in follower.pull(feed).workers}


@pytest.mark.parametrize("look", ["n_cpus", "host_memory", "libc", "n_gpus", "pools", "file_system", "disk"])
def test_a_fact_that_cannot_be_had_hides_no_other(monkeypatch, tmp_path, look):
    def fail(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr(worker_environment, look, fail)
    found = {}
    worker_environment.of_machine(str(tmp_path), found)
    assert found.keys() == {
        "n_cpus", "host_memory", "libc", "n_gpus", "pools", "file_system", "disk"
    } - {look}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells")
def test_the_file_system_of_a_directory():
    assert worker_environment.file_system("/proc/self") == "proc"
    assert worker_environment.disk("/no/such/directory") == worker_environment.disk("/")


@pytest.mark.parametrize(
    ("known", "devices", "expected"),
    [
        (["0000:01:00.0", "0000:02:00.0"], ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"], 2),
        # In a container that may open one of them.
        (["0000:01:00.0", "0000:02:00.0"], ["nvidia1", "nvidiactl"], 1),
        (None, [], 0),
    ],
)
def test_gpus_that_could_be_used(monkeypatch, known, devices, expected):
    def listdir(path):
        if path == "/dev":
            return devices
        if known is None:
            raise FileNotFoundError(path)
        return known

    monkeypatch.setattr(worker_environment.os, "listdir", listdir)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    assert worker_environment.n_gpus() == expected
