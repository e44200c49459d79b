"""The kernel's own facts, with real clusters started from this process."""

import gc
import os

import pytest
from distributed import Client

from jupyter_dask_doctor.gather import host
from jupyter_dask_doctor.snapshot import Gap


@pytest.fixture(autouse=True)
def no_others():
    """Clusters of other tests that were closed must not be told of; those that leak would be."""
    gc.collect()


def test_the_machine():
    facts = host.kernel(None, ())
    assert 1 <= facts.n_cpus <= os.cpu_count()
    assert 0 < facts.memory_available <= facts.memory_total
    assert 10 << 20 < facts.process < facts.memory_total
    assert facts.local_runs == ()


def test_clusters_that_were_started_here(make_cluster):
    first, second = make_cluster(n_workers=3), make_cluster(memory_limit="100MiB", threads_per_worker=2)
    with Client(first) as client:
        names = host.holders({"other": first, "_hidden": second, "client": client, "x": 1})
        told = host.kernel(client, names).clusters
        assert [one.address for one in told] == [first.scheduler_address, second.scheduler_address]
        one, two = told
        assert (one.kind, one.name, one.variable) == ("LocalCluster", first.name, "other")
        assert (one.n_workers, one.nthreads) == (3, 3)
        assert (one.has_client, one.is_followed) == (True, True)
        assert (two.n_workers, two.nthreads, two.memory_limit) == (2, 4, 200 << 20)
        assert (two.variable, two.has_client, two.is_followed) == (None, False, False)
    # The client is closed.
    assert not any(one.has_client for one in host.kernel(None, ()).clusters)
    second.close()
    assert [one.address for one in host.kernel(None, ()).clusters] == [first.scheduler_address]


def test_worker_processes(make_cluster):
    cluster = make_cluster(processes=True, n_workers=1, memory_limit=0)
    (one,) = host.kernel(None, host.holders({"cluster": cluster})).clusters
    assert (one.variable, one.n_workers, one.memory_limit) == ("cluster", 1, None)


def test_a_cluster_without_workers(make_cluster):
    make_cluster(n_workers=0)
    (one,) = host.kernel(None, ()).clusters
    assert (one.n_workers, one.nthreads, one.memory_limit) == (0, 0, None)


def test_names_and_adapting(follower, cluster, client, feed):
    facts = follower.pull(feed).cluster
    assert (facts.client_variable, facts.cluster_variable, facts.is_adaptive) == (None, None, False)
    names = host.holders({"c": client, "mine": cluster})
    facts = host.named(facts, client, names)
    assert (facts.client_variable, facts.cluster_variable, facts.is_adaptive) == ("c", "mine", False)
    assert facts.n_wanted == len(cluster.workers) > 0
    cluster.adapt(minimum=1, maximum=2)
    assert host.named(facts, client, names).is_adaptive
    cluster.scale(2)
    # Scaling by hand does not end adapting; stopping it does.
    cluster._adaptive.stop()
    assert not host.named(facts, client, names).is_adaptive


def test_a_gap_stays_one(client):
    gap = Gap(reason="No answer.")
    assert host.named(gap, client, ()) is gap


class _Explosive:
    def __getattribute__(self, name):
        raise AssertionError(f"touched {name}")


def test_strangers_are_left_alone(client):
    assert [name for name, _ in host.holders({"bad": _Explosive(), "c": client, "cls": Client})] == ["c"]


def test_a_name_does_not_keep_its_cluster_alive(cluster):
    class Plain(type(cluster)):
        def __init__(self):
            pass

        def __del__(self):
            pass

    one = Plain()
    names = host.holders({"one": one})
    assert names[0][1]() is one
    del one
    gc.collect()
    assert names[0][1]() is None


def test_a_machine_that_cannot_be_read(monkeypatch):
    import psutil

    def fail():
        raise OSError("no /proc")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    assert "no /proc" in host.kernel(None, ()).reason


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000000\n", (1_000_000, 250_000)), ("max\n", (None, None)), ("", (None, None))]
)
def test_a_containers_limit(monkeypatch, tmp_path, limit, expected):
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text("300000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000\nfile 7\n")
    monkeypatch.setattr(host, "_groups", lambda: [str(tmp_path)])
    monkeypatch.setattr(host.sys, "platform", "linux")
    assert host._container() == expected


def test_no_limit_of_the_old_kind(monkeypatch, tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    monkeypatch.setattr(host, "_groups", lambda: [str(tmp_path)])
    assert host._container() == (None, None)
