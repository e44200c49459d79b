"""Tasks that wait for a worker that nobody starts."""

import pytest

from jupyter_dask_doctor.rules.scheduling.unrunnable_tasks import unrunnable_tasks
from tests.healthy import (
    added,
    apply,
    at,
    blocked,
    change,
    cluster,
    code,
    load,
    run,
    scheduling,
    snapshot,
    worker,
    workers,
)

HERE = cluster(cluster_variable="cluster", client_variable="client")
CODE = code(
    "cluster = LocalCluster(n_workers=4)\nclient = Client(cluster)",
    'client.submit(train, resources={"GPU": 1}).result()',
)


def sick(*waiting, **changes):
    waiting = waiting or (blocked(),)
    facts = {"scheduling": scheduling(blocked=waiting), "cluster": HERE, "code": CODE}
    return snapshot(**facts | changes)


def no_workers(*waiting, **changes):
    waiting = waiting or (blocked(resources=()),)
    return sick(*waiting, **{"workers": (), "load": (load(n_workers=0),)} | changes)


def test_names_the_resource_and_what_is_offered():
    (finding,) = run(unrunnable_tasks, sick())
    assert finding.id == "unrunnable-tasks:train"
    assert finding.severity == "critical"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "4 tasks of `train` wait for 1 of the resource `GPU`, which none of the 4 workers offers."
    )
    assert "The workers offer no resources." in finding.why
    assert finding.loss_seconds == 60


def test_too_little_of_a_resource():
    some = workers(resources=(("GPU", 1.0), ("MEM", 4.0)))
    (finding,) = run(unrunnable_tasks, sick(blocked(resources=(("GPU", 2.0),)), workers=some))
    assert "2 of the resource `GPU`" in finding.message
    assert "at most 1 of `GPU`, 4 of `MEM` each" in finding.why
    assert 'resources={"GPU": 2, "MEM": 4}' in finding.fixes[0].code


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"workers": ("tcp://10.0.0.9:1",)},
            "4 tasks of `train` wait for the worker `tcp://10.0.0.9:1`, the 4 workers are others.",
        ),
        (
            {"hosts": ("a", "b")},
            "4 tasks of `train` wait for one of the hosts `a`, `b`, the 4 workers are others.",
        ),
        (
            {"n": 1, "hosts": tuple("abcd")},
            "1 task of `train` waits for one of the hosts `a`, `b`, `c` and 1 more, the 4 workers are others.",
        ),
    ],
)
def test_names_the_restriction(facts, message):
    (finding,) = run(unrunnable_tasks, sick(blocked(**{"resources": ()} | facts)))
    assert finding.message == message


def test_one_worker_is_spoken_of_as_one():
    facts = sick(workers=workers(1), load=(load(n_workers=1),))
    (finding,) = run(unrunnable_tasks, facts)
    assert finding.message.endswith("which the only worker does not offer.")
    facts = change(facts, scheduling=scheduling(blocked=(blocked(resources=(), workers=("tcp://b:1",)),)))
    (finding,) = run(unrunnable_tasks, facts)
    assert finding.message.endswith("the only worker is not one of them.")


def test_no_workers_at_all():
    (finding,) = run(unrunnable_tasks, no_workers(changes=(added(0), added(1))))
    assert finding.id == "unrunnable-tasks:workers"
    assert finding.message == (
        "The cluster has no workers: all 2 are gone, and 4 tasks wait, such as those of `train`."
    )
    (fix,) = finding.fixes
    assert apply(fix, CODE)[1] == "cluster.scale(2)"
    assert fix.rerun == ("c2",)


def test_no_worker_ever_came():
    (finding,) = run(unrunnable_tasks, no_workers(changes=(), code=()))
    assert "none has come" in finding.message
    assert finding.fixes[0].applicability == "display-only"
    assert finding.fixes[0].code == "cluster.scale(1)"


def test_where_nobody_is_there_the_restriction_is_the_second_question():
    (finding,) = run(unrunnable_tasks, no_workers(blocked()))
    assert finding.subject == "workers"


def test_fixes_where_the_cluster_is_made_or_where_it_is_asked_for():
    (finding,) = run(unrunnable_tasks, sick())
    offer, let = finding.fixes
    assert (
        apply(offer, CODE)[0].splitlines()[0] == 'cluster = LocalCluster(n_workers=4, resources={"GPU": 1})'
    )
    assert apply(let, CODE)[1] == "client.submit(train, resources=None).result()"
    assert {offer.applicability, let.applicability} == {"unsafe"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "client.map(f, x, workers=[there])",
            "client.map(f, x, workers=[there], allow_other_workers=True)",
        ),
        (
            "with dask.annotate(workers='a'):\n    y = x + 1",
            "with dask.annotate(workers='a', allow_other_workers=True):\n    y = x + 1",
        ),
    ],
)
def test_a_demand_for_a_worker_becomes_a_wish(before, after):
    cells = code("cluster = LocalCluster()", before)
    (finding,) = run(unrunnable_tasks, sick(blocked(resources=(), workers=("tcp://gone:1",)), code=cells))
    (fix,) = finding.fixes
    assert apply(fix, cells)[1] == after


def test_elsewhere_the_command_is_shown():
    far = cluster(is_in_process=False, kind=None)
    names = (("GPU", 1.0), ("$(rm)", 1.0))
    (finding,) = run(unrunnable_tasks, sick(blocked(resources=names), cluster=far, code=CODE[1:]))
    assert finding.fixes[0].applicability == "display-only"
    assert 'dask worker tcp://127.0.0.1:1 --resources "GPU=1"' in finding.fixes[0].code


@pytest.mark.parametrize(
    "facts",
    [
        sick(scheduling=scheduling()),
        sick(blocked(seconds=7.9)),
        sick(blocked(n=0)),
        sick(blocked(seconds=-5.0)),
        sick(blocked(seconds=59.0), cluster=cluster(is_in_process=False)),  # one may be on its way
        sick(blocked(seconds=59.0), cluster=cluster(is_adaptive=True)),
        # They came, or are there but paused
        sick(workers=(worker(resources=(("GPU", 1.0),)),), load=(load(n_workers=1),)),
        sick(blocked(resources=(), hosts=("h",)), workers=workers(host="h", status="paused")),
        sick(blocked(resources=(), workers=(worker(2).address,)), workers=workers(status="paused")),
        sick(blocked(resources=(), workers=("2",))),
        sick(blocked(resources=()), workers=workers(status="paused")),
        no_workers(blocked(resources=(), seconds=7.0)),
        # They went a moment ago: something else speaks of that first
        no_workers(load=(load(n_workers=2), load(time=load().time + 7, n_workers=0))),
        no_workers(blocked(), load=(load(n_workers=2), load(time=load().time + 7, n_workers=0))),
    ],
)
def test_is_quiet(facts):
    assert not run(unrunnable_tasks, facts)


def test_without_a_place_it_is_the_cell_that_waits():
    busy = (CODE[0], change(CODE[1], started=load().time - 70, stopped=None))
    (finding,) = run(unrunnable_tasks, sick(blocked(at=None), code=busy))
    assert finding.at == at("c2", 2)
    (finding,) = run(unrunnable_tasks, sick(blocked(at=None)))
    assert finding.at is None


def test_of_many_workers_not_all_are_shown():
    facts = sick(workers=workers(2, resources=(("GPU", 1.0),)), load=(load(n_workers=500),))
    (finding,) = run(unrunnable_tasks, facts)
    assert "none of the 500 workers" in finding.message


def test_waits_as_long_as_it_is_told_to():
    assert not run(unrunnable_tasks, sick(), seconds=61.0)
    assert run(unrunnable_tasks, sick(blocked(seconds=2.0)), seconds=1.0)


def test_measures_the_tasks_that_still_wait():
    facts = sick(blocked(), blocked("other"))
    (measure,) = unrunnable_tasks.measuring("train", at("c2", 2), scheduling=facts.scheduling)
    assert measure.value == 4


def test_names_stay_names():
    (finding,) = run(unrunnable_tasks, sick(blocked("<b>`x`", resources=(("a'\"<i>", 1.0),))))
    assert "`<b>'x'`" in finding.message
    assert all("\n" not in e.value for e in finding.evidence if isinstance(e.value, str))
