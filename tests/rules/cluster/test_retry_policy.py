"""Settings that hide faults, or make much of little ones."""

import pytest
from dask import config
from distributed import scheduler

from jupyter_dask_doctor.rules.cluster import retry_policy
from tests.healthy import apply, change, cluster, code, failure, loss, policy, run, snapshot

OURS = cluster(cluster_variable="cluster")
MADE = "cluster = LocalCluster(n_workers=4)\nclient = Client(cluster)"
TINY = policy(connect_timeout=1.0)
MANY = policy(allowed_failures=100)
NONE = policy(allowed_failures=0)


def sick(found, **changes):
    return snapshot(
        **{"policy": found, "cluster": OURS, "code": code(MADE, "df.x.sum().compute()")} | changes
    )


def test_a_tiny_timeout_does_harm_by_itself():
    (finding,) = run(retry_policy, sick(TINY))
    assert finding.id == "retry-policy:distributed.comm.timeouts.connect"
    assert finding.severity == "warning"
    assert finding.message == (
        "`distributed.comm.timeouts.connect` is 1 s: a process that is busy for longer is taken for dead."
    )
    assert finding.at.cell_id == "c1"


def test_fix_puts_the_default_ahead_of_the_cluster():
    facts = sick(TINY)
    (finding,) = run(retry_policy, facts)
    assert finding.fixes[0].applicability == "unsafe"
    assert apply(finding.fixes[0], facts.code)[0] == (
        'import dask\n\ndask.config.set({\n    "distributed.comm.timeouts.connect": "30s",\n})\n' + MADE
    )


def test_fix_changes_the_value_where_it_was_set():
    text = 'dask.config.set({"distributed.comm.timeouts.connect": "1s", "a": 1})'
    facts = sick(TINY, code=code(text, MADE))
    (finding,) = run(retry_policy, facts)
    assert finding.at.cell_id == "c1"
    assert apply(finding.fixes[0], facts.code)[0] == text.replace('"1s"', '"30s"')


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": cluster(kind=None, is_in_process=False)},
        {"code": code('cluster = LocalCluster(scheduler_kwargs={"allowed_failures": 0})')},
        {"code": ()},
    ],
)
def test_fix_is_shown_where_it_cannot_be_placed(changes):
    (finding,) = run(retry_policy, sick(NONE, **changes))
    assert finding.fixes[0].applicability == "display-only"
    assert '"distributed.scheduler.allowed-failures": 3' in finding.fixes[0].code


@pytest.mark.parametrize(
    ("found", "changes", "severity"),
    [
        (MANY, {}, "info"),
        (MANY, {"losses": (loss(),)}, "warning"),
        (NONE, {}, "info"),
        (NONE, {"losses": (loss(),)}, "info"),
        (NONE, {"failures": (failure(),)}, "warning"),
        (policy(worker_ttl=5.0), {}, "info"),
        (policy(worker_ttl=5.0), {"losses": (loss(),)}, "info"),
        (policy(worker_ttl=5.0), {"losses": (loss(reason="unexpected"),)}, "warning"),
        (policy(no_workers_timeout=5.0), {}, "info"),
        (policy(comm_retries=50), {}, "info"),
        (policy(tcp_timeout=2.0), {}, "warning"),
    ],
)
def test_harm_decides(found, changes, severity):
    (finding,) = run(retry_policy, sick(found, **changes))
    assert finding.severity == severity


def test_each_setting_for_itself():
    found = run(retry_policy, sick(change(TINY, tcp_timeout=2.0, allowed_failures=100)))
    assert [f.subject for f in found] == [
        "distributed.scheduler.allowed-failures",
        "distributed.comm.timeouts.connect",
        "distributed.comm.timeouts.tcp",
    ]


def test_what_an_earlier_run_lost_is_no_harm_now():
    (finding,) = run(retry_policy, sick(MANY, losses=(loss(time=loss().time - 60),)))
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"allowed_failures": 10},
        {"allowed_failures": 1},
        {"connect_timeout": 3.0, "tcp_timeout": 3.0},
        {"connect_timeout": 600.0},
        {"connect_timeout": None, "tcp_timeout": None, "comm_retries": None, "worker_ttl": None},
        {"connect_timeout": 0.0, "tcp_timeout": -1.0, "worker_ttl": 0.0, "no_workers_timeout": 0.0},
        {"worker_ttl": 30.0},
        {"no_workers_timeout": 30.0},
        {"comm_retries": 10},
    ],
)
def test_is_quiet(changes):
    assert not run(retry_policy, sick(policy(**changes)))


def test_dask_itself_is_quiet():
    def get(name):
        return config.get(f"distributed.{name}")

    found = policy(
        allowed_failures=get("scheduler.allowed-failures"),
        worker_ttl=scheduler.parse_timedelta(get("scheduler.worker-ttl")),
        no_workers_timeout=get("scheduler.no-workers-timeout"),
        connect_timeout=scheduler.parse_timedelta(get("comm.timeouts.connect")),
        tcp_timeout=scheduler.parse_timedelta(get("comm.timeouts.tcp")),
        comm_retries=get("comm.retry.count"),
    )
    assert not run(retry_policy, sick(found))


def test_every_key_is_one_of_dasks_and_its_default_is_told():
    wild = policy(
        allowed_failures=100, connect_timeout=1.0, tcp_timeout=1.0, worker_ttl=1.0, no_workers_timeout=1.0,
        comm_retries=99,
    )  # fmt: skip
    found = run(retry_policy, sick(wild, code=()))
    assert len(found) == 6
    for finding in found:
        default = config.get(finding.subject)
        assert f"default is {default}." in finding.why
