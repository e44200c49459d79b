"""Workers that wait for each other's data."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling import transfer_bound
from jupyter_dask_doctor.snapshot import Activity
from tests.healthy import T0, MiB, at, change, code, collection, computation, group, run, snapshot


def moving(network=12.0, deserialize=0.5, nbytes=4096 * MiB):
    return (
        Activity(context="gather-dep", prefix=None, label="network", seconds=network),
        Activity(context="gather-dep", prefix=None, label="deserialize", seconds=deserialize),
        Activity(context="get-data", prefix=None, label="network", seconds=network),
        Activity(context="get-data", prefix=None, label="memory-read", nbytes=nbytes),
        Activity(context="execute", prefix="compare", label="thread-cpu", seconds=6.0),
    )


#: 7.5 s on 8 threads, of which 6 thread-seconds were work.
RAN = computation(thread_seconds=6.0, n_tasks=256, layers=(("compare", 256),), activity=moving())
COMPARE = group("compare", n_tasks=256, compute_seconds=6.0, transfer_seconds=11.0)


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (COMPARE, group("load", n_tasks=16, compute_seconds=0.1, transfer_seconds=0.0)),
        "collections": (),
        "code": code("parts = load()", "dask.compute(pairs)"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_that_waited_and_what_was_moved():
    (finding,) = run(transfer_bound, sick())
    assert finding.id == "transfer-bound:compare"
    assert finding.severity == "warning"
    assert finding.message == (
        "`compare` waited for 4 GiB from other workers: threads stood idle for about 13 s beside 6 s of work."
    )
    assert finding.loss_seconds == pytest.approx(12.5 / 8)
    assert finding.at == at("c2", 2)
    assert finding.fixes[0].applicability == "display-only"


def test_the_groups_tell_where_the_meter_does_not():
    (finding,) = run(transfer_bound, sick(computations=(change(RAN, activity=None),)))
    assert finding.message.startswith(
        "`compare` waited for data from other workers: threads stood idle for about 11 s"
    )


def test_loss_is_what_was_not_hidden_behind_work():
    (finding,) = run(
        transfer_bound, sick(computations=(change(RAN, activity=moving(90.0), thread_seconds=30.0),))
    )
    assert finding.loss_seconds == pytest.approx((8 * 7.5 - 30) / 8)


@pytest.mark.parametrize(
    ("prefix", "kind", "words"),
    [("rechunk-merge", "array", 'x.rechunk("auto")'), ("hash-join", "dataframe", "broadcast=True")],
)
def test_advice_goes_by_what_waited(prefix, kind, words):
    x = collection(name="x", kind=kind)
    facts = sick(
        groups=(change(COMPARE, prefix=prefix),),
        collections=(x,),
        computations=(change(RAN, reused=(x.group,)),),
        code=code("x = load()", "x.compute()"),
    )
    assert words in run(transfer_bound, facts)[0].fixes[0].code


@pytest.mark.parametrize(
    "fact",
    [
        {"activity": moving(2.4)},  # under 3 s
        {"activity": moving(nbytes=99_000_000)},
        {"thread_seconds": 45.0},  # under 30 % of the work
        {"activity": moving(20.0), "thread_seconds": 56.0},  # hidden behind work
        {"n_tasks": 19},
        {"is_done": False, "stop": None},
        {"activity": moving(-5.0, -5.0)},
        {"activity": ()},
        {"start": None},
        {"nthreads": 0, "thread_seconds": 60.0},
        {"stop": T0},
    ],
)
def test_is_quiet(fact):
    assert not run(transfer_bound, sick(computations=(change(RAN, **fact),)))


@pytest.mark.parametrize(
    "limits", [{"ratio": 2.1}, {"least_seconds": 13.0}, {"tasks": 257}, {"loss_seconds": 1.6}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(transfer_bound, sick(), **limits)


def test_is_quiet_when_another_cell_ran_at_the_same_time():
    assert not run(transfer_bound, sick(computations=(RAN, computation(id="k2", at=at("c1", 1)))))


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(transfer_bound, sick(code=(first, later)))


def test_not_checked_when_nothing_tells():
    unknown = tuple(change(g, transfer_seconds=None) for g in sick().groups)
    with pytest.raises(NotChecked):
        run(transfer_bound, sick(computations=(change(RAN, activity=None),), groups=unknown))


def test_measures_time_and_transfers():
    facts = sick()
    measured = transfer_bound.measuring(
        "compare", RAN.at, computations=facts.computations, groups=facts.groups
    )
    assert [(m.label, m.value) for m in measured] == [("time of its tasks", 7.5), ("transfers", 12.5)]


def test_computations_that_ran_together_do_not_count_the_same_transfers_twice():
    twin = change(RAN, id="k9", thread_seconds=0.0)
    facts = sick(computations=(RAN, twin))
    measured = transfer_bound.measuring(
        "compare", RAN.at, computations=facts.computations, groups=facts.groups
    )
    assert measured[1].value == 12.5
