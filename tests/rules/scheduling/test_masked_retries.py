"""Tasks that came through only after several tries."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling.masked_retries import masked_retries
from jupyter_dask_doctor.snapshot import Activity
from tests.healthy import (
    T0,
    apply,
    at,
    change,
    cluster,
    code,
    computation,
    failure,
    prefix,
    run,
    snapshot,
)

CODE = code("urls = names()", "client.gather(client.map(fetch, urls, retries=10))")


def spent(failed=6.0, ran=4.0, name="fetch"):
    return (
        Activity(context="execute", prefix=name, label="thread-noncpu", seconds=ran),
        Activity(context="execute", prefix=name, label="failed", seconds=failed),
        Activity(context="gather-dep", prefix=None, label="failed", seconds=50.0),
    )


def sent(failed=6.0, ran=4.0, n=40, **changes):
    facts = {"activity": spent(failed, ran), "layers": (("fetch", n),), "thread_seconds": ran}
    return computation(**facts | changes)


def sick(*computations, **changes):
    facts = {
        "computations": computations or (sent(),),
        "prefixes": (prefix("fetch"),),
        "code": CODE,
        "cluster": cluster(client_variable="client"),
    }
    return snapshot(**facts | changes)


def test_says_what_the_tries_cost():
    (finding,) = run(masked_retries, sick())
    assert finding.id == "masked-retries:fetch"
    assert finding.severity == "warning"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "60 % of the time of `fetch` went into tries that failed: 6 s in 40 tasks, "
        "which all came through in the end."
    )
    assert finding.loss_seconds == 6 / 8
    assert finding.of_seconds == 8


def test_counts_them_in_deep_mode():
    (finding,) = run(masked_retries, sick(prefixes=(prefix("fetch", n_retried=33),)))
    assert {e.label: e.value for e in finding.evidence}["failed tries"] == 33


def test_several_graphs_of_one_cell_count_together():
    (finding,) = run(masked_retries, sick(sent(0.6, 1.0, 3), sent(0.6, 1.0, 3, id="k2")))
    assert "1.2 s in 6 tasks" in finding.message


@pytest.mark.parametrize(
    "facts",
    [
        sick(sent(failed=0.0)),
        sick(sent(failed=0.9, ran=1.0)),
        sick(sent(failed=4.0, ran=100.0)),
        sick(sent(failed=6.0, thread_seconds=200.0)),  # little of what the cell did
        sick(sent(n=3)),
        sick(sent(failed=-6.0)),
        sick(sent(layers=())),
        sick(failures=(failure(prefix="fetch", exception="ValueError"),)),  # some failed for good
        sick(sent(submitted=T0 + 1)),  # an earlier run of the cell
        sick(sent(activity=())),
    ],
)
def test_is_quiet(facts):
    assert not run(masked_retries, facts)


def test_a_scheduler_that_does_not_tell():
    with pytest.raises(NotChecked):
        run(masked_retries, sick(sent(activity=None)))
    # Nothing has run, or nothing has ended yet
    assert not run(masked_retries, sick(sent(activity=None, is_done=False)))
    assert not run(masked_retries, sick(sent(activity=None), prefixes=()))


def test_limits_can_be_set():
    assert not run(masked_retries, sick(), seconds=7.0)
    assert not run(masked_retries, sick(), share=0.7)
    assert not run(masked_retries, sick(), stake=0.7)
    assert not run(masked_retries, sick(), tasks=41)


def test_fixes():
    (finding,) = run(masked_retries, sick())
    logs, show = finding.fixes
    assert "client.get_worker_logs()" in apply(logs, CODE)[2]
    assert logs.applicability == "safe"
    assert apply(show, CODE)[1] == "client.gather(client.map(fetch, urls, retries=0))"
    assert show.applicability == "unsafe"


def test_without_names_there_is_nothing_to_offer():
    cells = (CODE[0], change(CODE[1], source="work()"))
    (finding,) = run(masked_retries, sick(cluster=cluster(), code=cells))
    assert finding.fixes == ()
    assert run(masked_retries, sick(sent(at=None)))[0].fixes == ()


def test_measures_the_last_run():
    facts = sick(sent(), sent(2.0, id="k0", submitted=T0 + 1))
    (measure,) = masked_retries.measuring(
        "fetch", at("c2", 2), computations=facts.computations, code=facts.code
    )
    assert measure.value == 6
    assert masked_retries.measuring("fetch", at("c2", 2), computations=(sent(activity=None),)) == ()
