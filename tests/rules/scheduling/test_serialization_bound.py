"""Packing and unpacking that takes the time."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling import serialization_bound
from jupyter_dask_doctor.snapshot import Activity
from tests.healthy import at, change, code, collection, computation, group, run, sizes, snapshot


def packing(serialize=8.0, deserialize=16.0, network=4.0):
    return (
        Activity(context="get-data", prefix=None, label="serialize", seconds=serialize),
        Activity(context="gather-dep", prefix=None, label="deserialize", seconds=deserialize),
        Activity(context="gather-dep", prefix=None, label="network", seconds=network),
        Activity(context="memory-monitor", prefix=None, label="serialize", seconds=30.0),
    )


RAN = computation(thread_seconds=20.0, n_tasks=100, layers=(("parse", 50), ("total", 50)), activity=packing())
PARSE = group("parse", n_tasks=50, compute_seconds=15.0, types=("builtins.list",), sizes=sizes(*[10**8] * 50))
TOTAL = group("total", n_tasks=50, compute_seconds=5.0, types=("builtins.int",), dependencies=(PARSE.name,))


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (TOTAL, PARSE),
        "collections": (),
        "code": code("rows = load()", "total(rows).compute()"),
    }
    return snapshot(**facts | changes)


def test_names_what_is_sent_and_its_type():
    (finding,) = run(serialization_bound, sick())
    assert finding.id == "serialization-bound:parse"
    assert finding.severity == "warning"
    assert finding.message == (
        "Packing and unpacking results took 22 s, 52 % of the workers' time: "
        "most of them are of `parse` (`builtins.list`)."
    )
    assert finding.loss_seconds == pytest.approx(22 / 4)
    assert finding.at == at("c2", 2)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bag", "rows.to_dataframe()"),
        ("dataframe", 'convert_dtypes(dtype_backend="pyarrow")'),
        ("array", "DataFrame"),
    ],
)
def test_advice_goes_by_what_is_read(kind, words):
    rows = collection(name="rows", kind=kind)
    facts = sick(collections=(rows,), computations=(change(RAN, reused=(rows.group,)),))
    (fix,) = run(serialization_bound, facts)[0].fixes
    assert words in fix.code
    assert fix.applicability == "display-only"


@pytest.mark.parametrize(
    "fact",
    [
        {"activity": packing(1.0, 2.9)},  # 1.9 s without the warm-up
        {"thread_seconds": 200.0},
        {"stop": RAN.stop + 20.0},  # little of the time that they had
        {"activity": ()},
        {"activity": packing(-8.0, -12.0)},
        {"n_tasks": 19},
        {"is_done": False, "stop": None},
        {"start": None},
    ],
)
def test_is_quiet(fact):
    assert not run(serialization_bound, sick(computations=(change(RAN, **fact),)))


def test_is_quiet_of_spilling_alone():
    only = tuple(a for a in packing() if a.context == "memory-monitor")
    assert not run(serialization_bound, sick(computations=(change(RAN, activity=only),)))


@pytest.mark.parametrize(
    "limits", [{"share": 0.53}, {"least_seconds": 23.0}, {"tasks": 101}, {"loss_seconds": 6.0}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(serialization_bound, sick(), **limits)


def test_is_quiet_when_another_cell_ran_at_the_same_time():
    assert not run(serialization_bound, sick(computations=(RAN, computation(id="k2", at=at("c1", 1)))))


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(serialization_bound, sick(code=(first, later)))


def test_not_checked_without_the_meter():
    with pytest.raises(NotChecked):
        run(serialization_bound, sick(computations=(change(RAN, activity=None),)))


def test_measures_time_and_packing():
    facts = sick()
    measured = serialization_bound.measuring("parse", RAN.at, computations=facts.computations)
    assert [(m.label, m.value) for m in measured] == [
        ("time of its tasks", 7.5),
        ("packing and unpacking", 24.0),
    ]
