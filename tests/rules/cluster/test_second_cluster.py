"""More than one cluster alive in one kernel."""

import pytest

from jupyter_dask_doctor.rules.cluster import second_cluster
from tests.healthy import GiB, apply, cell, change, cluster, code, kernel, own_cluster, run, snapshot

OURS = own_cluster(n_workers=2, nthreads=4, memory_limit=8 * GiB)
OLD = own_cluster(
    name="d4e5f6", variable=None, address="tcp://127.0.0.1:2", n_workers=2, nthreads=4, memory_limit=8 * GiB,
    has_client=False, is_followed=False,
)  # fmt: skip
MADE = "cluster = LocalCluster(n_workers=2)\nclient = Client(cluster)"


def sick(*clusters, **changes):
    facts = {
        "kernel": kernel(clusters=clusters or (OLD, OURS)),
        "cluster": cluster(cluster_variable="cluster"),
        "code": code(MADE, "df.x.sum().compute()"),
    }
    return snapshot(**facts | changes)


def test_a_cluster_that_was_left_behind():
    (finding,) = run(second_cluster, sick())
    assert finding.id == "second-cluster:LocalCluster"
    assert finding.severity == "warning"
    assert finding.message == ("An earlier LocalCluster is still alive with 2 workers, and nothing uses it.")
    assert finding.at.cell_id == "c1"


def test_fix_finds_the_object_that_no_variable_holds():
    facts = sick()
    (finding,) = run(second_cluster, facts)
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    inserted = apply(fix, facts.code)[1]
    assert "x.name in ('d4e5f6',)" in inserted
    assert "_left.close()" in inserted


def test_fix_closes_it_by_its_variable():
    facts = sick(change(OLD, variable="first"), OURS)
    (finding,) = run(second_cluster, facts)
    assert finding.subject == "first"
    assert finding.message.startswith("`first` is still alive with 2 workers")
    assert apply(finding.fixes[0], facts.code)[1] == "first.close()"


def test_two_in_use_that_together_are_more_than_the_machine():
    both = change(OLD, variable="other", has_client=True, nthreads=6)
    (finding,) = run(second_cluster, sick(both, OURS))
    assert finding.severity == "warning"
    assert finding.message == "`other` is still alive with 2 workers: together 10 threads on 8 cores."


def test_two_in_use_that_may_take_more_memory_than_there_is():
    both = change(OLD, variable="other", has_client=True, memory_limit=30 * GiB)
    (finding,) = run(second_cluster, sick(both, OURS))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nthreads": 4},
        {"memory_limit": None},
        {"memory_limit": 24 * GiB},
        {"kind": "SLURMCluster", "nthreads": 4_000, "memory_limit": 9_000 * GiB},
    ],
)
def test_two_in_use_that_fit_are_only_worth_knowing(changes):
    (finding,) = run(second_cluster, sick(change(OLD, variable="other", has_client=True, **changes), OURS))
    assert finding.severity == "info"


def test_one_that_alone_is_too_large_is_not_the_others_fault():
    large = change(OURS, nthreads=16, memory_limit=64 * GiB)
    (finding,) = run(second_cluster, sick(change(OLD, has_client=True), large))
    assert finding.severity == "info"


def test_several_of_the_same_kind_are_told_together():
    more = change(OLD, name="0a0b0c", address="tcp://127.0.0.1:3")
    (finding,) = run(second_cluster, sick(OLD, more, OURS))
    assert finding.message == (
        "2 earlier clusters (`LocalCluster`) are still alive with 4 workers, and nothing uses them."
    )
    assert "('d4e5f6', '0a0b0c',)" in finding.fixes[0].code


def test_a_local_one_left_behind_by_work_on_a_remote_one():
    remote = cluster(kind=None, is_in_process=False, address="tcp://10.0.0.1:8786")
    (finding,) = run(second_cluster, sick(OLD, cluster=remote, code=()))
    assert finding.severity == "warning"
    assert finding.at is None
    assert finding.fixes[0].applicability == "display-only"


@pytest.mark.parametrize(
    "clusters",
    [
        (OURS,),
        (change(OLD, n_workers=0), OURS),
        (change(OURS, is_followed=False),),  # known by its address
        (change(OLD, is_followed=True),),
    ],
)
def test_is_quiet(clusters):
    assert not run(second_cluster, sick(*clusters))


def test_is_quiet_without_any():
    assert not run(second_cluster, sick(kernel=kernel(clusters=())))


def test_goes_once_it_is_closed():
    facts = sick()
    assert run(second_cluster, facts)
    assert not run(second_cluster, change(facts, kernel=kernel(clusters=(OURS,))))


def test_absurd_numbers_do_no_harm():
    wild = change(OLD, has_client=True, nthreads=-4, memory_limit=-1, variable="for", name="'; x\n" * 900)
    (finding,) = run(
        second_cluster, sick(wild, OURS, kernel=kernel(clusters=(wild, OURS), n_cpus=0, memory_total=None))
    )
    assert len(finding.fixes[0].code) < 900
    assert apply(finding.fixes[0], (cell("c1", MADE), *code("", "x")[1:]))
