"""What these rules have somebody do, done to real Dask."""

import os

import dask
import pytest
from distributed import Client, LocalCluster

from jupyter_dask_doctor.rules.cluster import (
    bypassed_client,
    exposed_cluster,
    retry_policy,
    second_cluster,
    thread_oversubscription,
)
from tests.healthy import apply, cell, change, cluster, own_cluster, run
from tests.rules.cluster import test_bypassed_client as bypassed
from tests.rules.cluster import test_exposed_cluster as exposed
from tests.rules.cluster import test_retry_policy as retry
from tests.rules.cluster import test_second_cluster as second
from tests.rules.cluster import test_thread_oversubscription as threads

SMALL = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "400MB", "dashboard_address": "127.0.0.1:0"}
OURS = cluster(cluster_variable="cluster")


def made(**options):
    """The cell that makes a cluster, as text."""
    given = ", ".join(f"{name}={value!r}" for name, value in (SMALL | options).items())
    return f"cluster = LocalCluster({given})"


def execute(*texts, **variables):
    for text in texts:
        exec(compile(text, "<cell>", "exec"), variables)
    return variables


@pytest.fixture
def as_before():
    """Settings and variables of this process as they were."""
    variables = dict(os.environ)
    with dask.config.set({}):
        settings = dict(dask.config.config)
        yield
        dask.config.config.clear()
        dask.config.config.update(settings)
    os.environ.clear()
    os.environ.update(variables)


def test_a_cluster_that_no_variable_holds_is_found_and_closed():
    old, new = LocalCluster(**SMALL), LocalCluster(**SMALL)
    try:
        left = own_cluster(
            name=old.name, variable=None, has_client=False, is_followed=False, address="tcp://x:1"
        )
        facts = second.sick(left, change(second.OURS, name=new.name))
        (finding,) = run(second_cluster, facts)
        execute(finding.fixes[0].code)
        assert old.status.name == "closed"
        assert new.status.name == "running"
    finally:
        old.close()
        new.close()


def test_the_default_is_set_before_the_scheduler_reads_it(as_before):
    dask.config.set({"distributed.scheduler.allowed-failures": 100})
    facts = retry.sick(retry.MANY, cluster=OURS, code=(cell("c1", made()),))
    (finding,) = run(retry_policy, facts)
    ran = execute(*apply(finding.fixes[0], facts.code), LocalCluster=LocalCluster)
    try:
        assert ran["cluster"].scheduler.allowed_failures == 3
    finally:
        ran["cluster"].close()


def test_the_scheduler_listens_on_this_machine_only():
    facts = exposed.sick(cluster=OURS, code=(cell("c1", made(host="0.0.0.0")),))
    (finding,) = run(exposed_cluster, facts)
    ran = execute(*apply(finding.fixes[0], facts.code), LocalCluster=LocalCluster)
    try:
        addresses = [listener.listen_address for listener in ran["cluster"].scheduler.listeners]
        assert addresses
        assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    finally:
        ran["cluster"].close()


def test_a_worker_gets_one_native_thread(as_before):
    os.environ["OMP_NUM_THREADS"] = "8"
    facts = threads.sick(cluster=OURS, code=(cell("c1", made()), cell("c2", "1", 2)))
    (finding,) = run(thread_oversubscription, facts)
    ran = execute(*apply(finding.fixes[0], facts.code), LocalCluster=LocalCluster)
    try:
        with Client(ran["cluster"]) as client:
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
            assert client.submit(lambda: [os.environ[n] for n in names]).result() == ["1", "1", "1"]
    finally:
        ran["cluster"].close()


def test_without_a_scheduler_set_the_client_gets_the_work(as_before):
    pid = "dask.delayed(os.getpid)()"
    cells = (
        cell("c1", 'dask.config.set(scheduler="synchronous")'),
        cell("c2", f"found = {pid}.compute()", 2, threads.T0 + 20, threads.T0 + 30),
    )
    facts = bypassed.sick(code=cells)
    (finding,) = run(bypassed_client, facts)
    with LocalCluster(**SMALL) as local, Client(local):
        before = execute(*(c.source for c in cells), dask=dask, os=os)
        assert before["found"] == os.getpid()
        after = execute(*apply(finding.fixes[0], cells), dask=dask, os=os)
        assert after["found"] != os.getpid()
