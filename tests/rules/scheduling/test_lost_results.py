"""Results that went with their worker."""

import pytest

from jupyter_dask_doctor.rules.scheduling.lost_results import lost_results
from tests.healthy import (
    T0,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    group,
    name,
    removed,
    run,
    snapshot,
)

HERE = cluster(cluster_variable="cluster", client_variable="client")
CODE = code("df = load().persist()", "cluster.scale(2)\ndf.x.sum().compute()")
MADE = computation(
    id="k0", submitted=T0 + 1, layers=(("read-parquet", 20),), thread_seconds=10.0, at=at("c1", 1)
)
AGAIN = group("read-parquet", n_tasks=20, n_done=30)


def asked(n=0, **changes):
    return removed(n, **{"is_expected": True, "n_workers": 3 - n} | changes)


def sick(*gone, **changes):
    facts = {
        "changes": gone or (removed(),),
        "computations": (MADE, computation()),
        "groups": (AGAIN,),
        "code": CODE,
        "cluster": HERE,
        "collections": (),
    }
    return snapshot(**facts | changes)


def test_a_worker_that_went_by_itself():
    (finding,) = run(lost_results, sick())
    assert finding.id == "lost-results:read-parquet"
    assert finding.severity == "warning"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "1 worker went with 10 results, such as of `read-parquet`, that must be made again: "
        "about 5 s of work."
    )
    assert finding.loss_seconds == 5 / 8
    told = {e.label: e.value for e in finding.evidence}
    assert told["tasks computed again"] == 10


def test_workers_that_were_sent_away():
    (finding,) = run(lost_results, sick(asked(0), asked(1)))
    assert finding.message == (
        "2 workers were sent away, and 20 results, such as of `read-parquet`, went with them: "
        "about 10 s of work is done again."
    )
    assert "`scale` of a LocalCluster" in finding.why
    (fix,) = finding.fixes
    assert apply(fix, CODE)[1] == (
        "client.retire_workers(n=2)  # moves what they hold\ncluster.scale(2)\ndf.x.sum().compute()"
    )


def test_at_rest_it_is_the_cell_that_made_them():
    (finding,) = run(lost_results, sick(removed(at=None, time=T0 + 15)))
    assert finding.at == at("c1", 1)
    (finding,) = run(lost_results, sick(removed(at=None), computations=()))
    assert finding.at is None


def test_what_is_held_may_go_on_disk():
    held = collection(group=name("read-parquet"))
    (finding,) = run(lost_results, sick(collections=(held,), code=code("df = load()", "df.sum().compute()")))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert fix.code.splitlines() == ['df.to_parquet("df.parquet")', 'df = dd.read_parquet("df.parquet")']
    other = collection(group=name("other"))
    (finding,) = run(lost_results, sick(collections=(other,), code=code("x", "y")))
    assert not finding.fixes


@pytest.mark.parametrize(
    "facts",
    [
        sick(removed(n_lost=0, lost_seconds=0.0)),
        sick(removed(lost_seconds=0.9)),
        sick(removed(lost_seconds=-3.0)),
        sick(removed(), computations=(change(MADE, thread_seconds=200.0),)),
        sick(removed(n_workers=0)),  # the last one: the cluster was closed
        sick(removed(time=T0 + 5)),  # an earlier run of the cell
        sick(asked(), groups=()),  # nobody needs them: a restart
        sick(asked(), groups=(group("read-parquet", n_tasks=20, n_done=20),)),
        sick(asked(), groups=(change(AGAIN, prefix="other"),)),
        sick(changes=()),
    ],
)
def test_is_quiet(facts):
    assert not run(lost_results, facts)


def test_what_an_interrupt_ended_is_told_by_another_rule():
    cells = (CODE[0], change(CODE[1], error="KeyboardInterrupt", has_failed=True))
    assert not run(lost_results, sick(code=cells))


def test_limits_can_be_set():
    assert not run(lost_results, sick(), seconds=6.0)
    assert not run(lost_results, sick(), share=0.6)


def test_measures_what_the_last_run_lost():
    facts = sick(removed(), removed(1, time=T0 + 5))
    (measure,) = lost_results.measuring(
        "read-parquet", at("c2", 2), changes=facts.changes, computations=facts.computations, code=facts.code
    )
    assert measure.value == 5


def test_names_stay_names():
    (finding,) = run(lost_results, sick(removed(prefixes=("<b>`x",))))
    assert "`<b>'x`" in finding.message
    (finding,) = run(lost_results, sick(removed(prefixes=())))
    assert finding.subject == "results"
