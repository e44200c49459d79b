"""Settings, addresses and versions: what changes rarely is asked rarely."""

import asyncio
import math
import subprocess
import sys

import dask
import distributed
import msgpack
import pytest
from distributed import Client
from distributed.security import Security

from jupyter_dask_doctor.gather import scheduler_facts
from jupyter_dask_doctor.gather.facts import INTERVAL, Facts
from jupyter_dask_doctor.snapshot import Gap

from .invented import invent, make_scheduler, stop


class TestLive:
    def test_the_settings_in_force(self, follower, make_cluster):
        settings = {
            "distributed.scheduler.worker-saturation": "inf",
            "distributed.scheduler.allowed-failures": 7,
            "distributed.scheduler.worker-ttl": "90s",
            "distributed.scheduler.no-workers-timeout": "2 minutes",
            "distributed.comm.timeouts.connect": "17s",
            "distributed.comm.timeouts.tcp": "40s",
            "distributed.comm.retry.count": 3,
            "distributed.worker.lifetime.duration": "1 hour",
        }
        with dask.config.set(settings):
            cluster = make_cluster(n_workers=0)
            with Client(cluster) as client:
                policy = follower.pull(follower.follow(client)).policy
        assert (policy.saturation, policy.allowed_failures) == (math.inf, 7)
        assert (policy.worker_ttl, policy.no_workers_timeout, policy.lifetime) == (90, 120, 3_600)
        assert (policy.connect_timeout, policy.tcp_timeout, policy.comm_retries) == (17, 40, 3)

    def test_where_it_listens(self, follower, cluster, client, feed):
        policy = follower.pull(feed).policy
        assert policy.listens == (cluster.scheduler_address,)
        assert policy.dashboard == (f"127.0.0.1:{cluster.scheduler.http_server.port}",)
        assert not policy.is_encrypted
        assert policy.saturation == cluster.scheduler.WORKER_SATURATION
        assert policy.lifetime is None

    def test_on_all_interfaces(self, follower, make_cluster):
        cluster = make_cluster(n_workers=0, host="0.0.0.0", dashboard_address="0.0.0.0:0")
        with Client(cluster) as client:
            policy = follower.pull(follower.follow(client)).policy
        port = cluster.scheduler.http_server.port
        assert policy.dashboard == (f"0.0.0.0:{port}",)
        assert [address.rpartition(":")[0] for address in policy.listens] == ["tcp://0.0.0.0"]

    def test_tls(self, follower, make_cluster):
        pytest.importorskip("cryptography")
        security = Security.temporary()
        cluster = make_cluster(protocol="tls", security=security)
        with Client(cluster, security=security) as client:
            assert follower.pull(follower.follow(client)).policy.is_encrypted

    def test_inproc(self, follower, make_cluster):
        with Client(make_cluster(protocol="inproc", n_workers=0)) as client:
            policy = follower.pull(follower.follow(client)).policy
        assert policy.listens[0].startswith("inproc://")
        assert not policy.is_encrypted

    def test_versions_of_all(self, follower, client, feed):
        versions = follower.pull(feed).versions
        assert [(told.role, told.n) for told in versions] == [("client", 1), ("scheduler", 1), ("worker", 2)]
        assert len({told.packages for told in versions[1:]}) == 1
        # Of the notebook's environment one more is told, the way to the dashboard
        beside = {"jupyter-server-proxy"}
        assert {p for p in versions[0].packages if p[0] not in beside} == set(versions[1].packages)
        assert beside <= set(dict(versions[0].packages))
        packages = dict(versions[0].packages)
        assert packages["distributed"] == distributed.__version__
        assert packages["python"].startswith("{}.{}.{}".format(*sys.version_info[:3]))
        assert {"dask", "msgpack", "cloudpickle", "tornado", "toolz", "numpy", "pandas", "lz4"} <= set(
            packages
        )
        assert list(packages) == sorted(packages)

    def test_they_are_asked_again_when_workers_came(self, follower, make_cluster, monkeypatch):
        monkeypatch.setattr("jupyter_dask_doctor.gather.facts.INTERVAL", 1.0)
        cluster = make_cluster(n_workers=0)
        with Client(cluster) as client:
            feed = follower.follow(client)
            assert [told.role for told in follower.pull(feed).versions] == ["client", "scheduler"]
            cluster.scale(2)
            versions = follower.until(feed, lambda s: len(s.versions) == 3).versions
            assert (versions[2].role, versions[2].n) == ("worker", 2)

    def test_a_cluster_that_refuses_plugins(self, follower, make_cluster):
        with dask.config.set({"distributed.scheduler.blocked-handlers": ["register_scheduler_plugin"]}):
            cluster = make_cluster()
        with Client(cluster) as client:
            sections = follower.pull(follower.follow(client))
        assert [told.role for told in sections.versions] == ["client", "scheduler"]
        assert set(sections.versions[0].packages) > set(sections.versions[1].packages)
        for section in (sections.policy, sections.rests, sections.changes, sections.scheduling):
            assert isinstance(section, Gap)
            assert "does not accept plugins" in section.reason

    def test_the_scheduler_does_without_a_web_server(self, follower, port):
        """And tells what it can."""
        program = "from distributed.cli.dask_scheduler import main; main()"
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        process = subprocess.Popen([sys.executable, "-c", program, *options], stderr=subprocess.DEVNULL)
        try:
            with Client(f"tcp://127.0.0.1:{port}", timeout=30) as client:
                policy = follower.until(
                    follower.follow(client), lambda s: not isinstance(s.policy, Gap)
                ).policy
            assert policy.listens == (f"tcp://127.0.0.1:{port}",)
        finally:
            process.kill()
            process.wait()


class TestWhenToAsk:
    def test_once_and_again_after_a_while(self, monkeypatch):
        now = 100.0
        monkeypatch.setattr("jupyter_dask_doctor.gather.facts.time.monotonic", lambda: now)
        facts = Facts()
        assert facts.are_due(0)
        facts.take({}, 0)
        assert not facts.are_due(0)
        assert not facts.are_due(5)
        now += INTERVAL
        assert not facts.are_due(0)
        assert facts.are_due(5)

    def test_no_answer_is_a_gap(self):
        facts = Facts()
        facts.take({}, 0)
        assert isinstance(facts.policy, Gap)
        assert isinstance(facts.versions, Gap)


@pytest.fixture(scope="module")
def scheduler():
    loop = asyncio.new_event_loop()
    scheduler = loop.run_until_complete(make_scheduler())
    yield scheduler
    loop.run_until_complete(stop(scheduler))
    loop.close()


class TestVersions:
    def view(self, scheduler, *told):
        scheduler.workers.clear()
        for i, versions in enumerate(told):
            invent(scheduler, i, versions=versions)
        rows = scheduler_facts.view_versions(scheduler)
        msgpack.packb(rows)
        facts = Facts()
        policy = scheduler_facts.view_policy(scheduler)
        msgpack.packb(policy)
        facts.take({"policy": policy, "versions": rows}, 0)
        assert facts.policy.saturation > 0
        return [one for one in facts.versions if one.role == "worker"]

    def test_equal_ones_are_told_once(self, scheduler):
        one, other = {"packages": {"dask": "1", "lz4": None}}, {"packages": {"dask": "2", "lz4": None}}
        first, second = self.view(scheduler, one, other, dict(one), one)
        assert (first.n, second.n) == (3, 1)
        assert first.packages == (("dask", "1"), ("lz4", None))
        assert second.address == "tcp://10.0.0.2:1234"

    @pytest.mark.parametrize("versions", [{}, None, {"host": {}}, {"packages": None}, {"packages": "all"}])
    def test_workers_that_tell_nothing(self, scheduler, versions):
        assert self.view(scheduler, versions) == []

    def test_hostile_ones(self, scheduler):
        (told,) = self.view(
            scheduler, {"packages": {"\ud800": "<script>" * 100, "dask": 7, "x" * 10**5: None}}
        )
        assert all(len(name) <= 500 and len(version or "") <= 100 for name, version in told.packages)
        assert dict(told.packages)["dask"] == "7"

    def test_bounded(self, scheduler):
        many = [{"packages": {"dask": str(i)} | {f"p{j}": "1" for j in range(500)}} for i in range(50)]
        told = self.view(scheduler, *many)
        assert len(told) == scheduler_facts.MAX_VERSIONS
        assert all(len(one.packages) == scheduler_facts.MAX_PACKAGES for one in told)


@pytest.mark.parametrize("value", ["soon", -5, float("nan"), [], "", False, True, {"a": 1}])
def test_settings_that_cannot_be_read(scheduler, value):
    with dask.config.set({"distributed.comm.timeouts.connect": value, "distributed.comm.retry.count": value}):
        policy = scheduler_facts.view_policy(scheduler)
    assert policy["connect_timeout"] is None
    assert policy["comm_retries"] in (None, -5)
