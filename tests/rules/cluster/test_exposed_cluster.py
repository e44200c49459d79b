"""Schedulers and dashboards that the network can reach."""

import pytest

from jupyter_dask_doctor.rules.cluster import exposed_cluster
from tests.healthy import apply, change, cluster, code, policy, run, snapshot, worker, workers

OPEN = policy(listens=("tcp://0.0.0.0:8786",))
MADE = 'cluster = LocalCluster(n_workers=4, host="0.0.0.0")\nclient = Client(cluster)'
OURS = cluster(cluster_variable="cluster")


def sick(**changes):
    facts = {"policy": OPEN, "cluster": OURS, "code": code(MADE, "df.x.sum().compute()")}
    return snapshot(**facts | changes)


def test_a_scheduler_open_to_all_for_workers_that_are_here():
    (finding,) = run(exposed_cluster, sick())
    assert finding.id == "exposed-cluster:scheduler"
    assert finding.severity == "warning"
    assert finding.message == (
        "The scheduler listens on all network interfaces without TLS (`tcp://0.0.0.0:8786`), "
        "though all 4 workers are on the same machine."
    )
    assert finding.at.cell_id == "c1"


def test_fix_closes_it_in_the_cell_that_made_it():
    facts = sick()
    (finding,) = run(exposed_cluster, facts)
    close, lock = finding.fixes
    assert close.applicability == "unsafe"
    assert apply(close, facts.code)[0] == (
        'cluster = LocalCluster(n_workers=4, host="127.0.0.1")\nclient = Client(cluster)'
    )
    assert lock.applicability == "display-only"
    assert "Security.temporary()" in lock.code


def test_fix_is_shown_where_the_cell_does_not_say_host():
    made = code('cluster = LocalCluster(interface="eth0")')
    (finding,) = run(exposed_cluster, sick(code=made))
    assert [f.applicability for f in finding.fixes] == ["display-only"] * 2


def test_workers_elsewhere_need_a_scheduler_that_listens():
    there = tuple(
        change(w, address=f"tcp://10.0.0.{i}:4000", host=f"10.0.0.{i}") for i, w in enumerate(workers(), 5)
    )
    remote = cluster(kind=None, is_in_process=False, address="tcp://10.0.0.1:8786")
    facts = sick(workers=there, cluster=remote, policy=policy(listens=("tcp://10.0.0.1:8786",)))
    (finding,) = run(exposed_cluster, facts)
    assert finding.severity == "info"
    assert finding.message == "The scheduler listens on the network without TLS (`tcp://10.0.0.1:8786`)."
    assert [f.applicability for f in finding.fixes] == ["display-only"]


def test_a_remote_scheduler_without_workers_is_not_blamed():
    remote = cluster(kind=None, is_in_process=False, address="tcp://10.0.0.1:8786")
    (finding,) = run(exposed_cluster, sick(workers=(), cluster=remote))
    assert finding.severity == "info"


def test_a_batch_system_whose_workers_are_still_to_come():
    """Its scheduler lives in the kernel, and listens for workers on other machines."""
    waiting = cluster(kind="SLURMCluster", address="tcp://10.0.0.1:8786")
    (finding,) = run(exposed_cluster, sick(workers=(), cluster=waiting))
    assert finding.severity == "info"
    (finding,) = run(exposed_cluster, sick(workers=()))
    assert finding.severity == "warning"
    assert "workers are" not in finding.message


def test_all_on_one_machine_that_is_not_ours():
    remote = cluster(kind=None, is_in_process=False, address="tcp://10.0.0.1:8786")
    here = (worker(address="tcp://10.0.0.1:4000"),)
    (finding,) = run(exposed_cluster, sick(workers=here, cluster=remote))
    assert finding.severity == "warning"
    assert "though its only worker is on the same machine" in finding.message


def test_the_dashboard_alone_is_worth_knowing_and_no_more():
    plain = code("cluster = LocalCluster()")
    facts = sick(policy=policy(dashboard=("0.0.0.0:8787",)), code=plain)
    (finding,) = run(exposed_cluster, facts)
    assert finding.id == "exposed-cluster:dashboard"
    assert finding.severity == "info"
    assert apply(finding.fixes[0], plain) == ['cluster = LocalCluster(dashboard_address="127.0.0.1:8787")']


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('cluster = LocalCluster(dashboard_address=":9000")', "127.0.0.1:9000"),
        ('cluster = LocalCluster(dashboard_address="0.0.0.0:0")', "127.0.0.1:0"),
        ("cluster = LocalCluster(dashboard_address=where)", "127.0.0.1:8787"),
    ],
)
def test_the_dashboard_keeps_its_port(before, after):
    facts = sick(policy=policy(dashboard=("0.0.0.0:9000",)), code=code(before))
    (finding,) = run(exposed_cluster, facts)
    assert f'dashboard_address="{after}"' in apply(finding.fixes[0], facts.code)[0]


def test_one_finding_tells_of_both():
    (finding,) = run(exposed_cluster, sick(policy=change(OPEN, dashboard=("0.0.0.0:8787",))))
    assert finding.subject == "scheduler"
    assert "0.0.0.0:8787" in [e.value for e in finding.evidence]


@pytest.mark.parametrize(
    "address",
    ["tcp://[::]:8786", "tcp://:8786", "tcp://192.168.1.4:8786", "ws://0.0.0.0:80", "ucx://10.1.1.1:7"],
)
def test_speaks_of(address):
    (finding,) = run(exposed_cluster, sick(policy=policy(listens=(address,))))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "found",
    [
        policy(),
        policy(listens=("tcp://[::1]:8786", "tcp://127.0.1.1:8786", "tcp://localhost:8786")),
        policy(listens=("inproc://192.168.1.4/12/1",)),
        policy(listens=("tls://0.0.0.0:8786",)),
        policy(listens=("tcp://0.0.0.0:8786",), is_encrypted=True),
        policy(listens=(), dashboard=()),
        policy(dashboard=("[::1]:8787", "localhost:8787")),
    ],
)
def test_is_quiet(found):
    assert not run(exposed_cluster, sick(policy=found))


def test_an_address_with_markup_stays_a_name():
    (finding,) = run(exposed_cluster, sick(policy=policy(listens=("tcp://<b>`x`\n" + "y" * 9_000,))))
    assert "\n" not in finding.message
    assert len(finding.message) < 400
