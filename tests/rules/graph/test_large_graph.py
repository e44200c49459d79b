"""Graphs of very many tasks."""

import pytest

from jupyter_dask_doctor.rules.graph import large_graph
from jupyter_dask_doctor.snapshot import Layer, Size
from tests.healthy import (
    T0,
    GiB,
    apply,
    cell,
    change,
    code,
    collection,
    computation,
    lazy,
    name,
    run,
    sending,
    sizes,
    snapshot,
)

RAN = computation(
    n_tasks=100_000,
    schedule_seconds=10.0,
    start=T0 + 32,
    stop=T0 + 80.5,
    thread_seconds=100.0,
    layers=(("assign", 50_000), ("getitem", 40_000), ("sum-chunk", 9_000), ("sum-aggregate", 1_000)),
)


def sick(**changes):
    """100,000 tasks in 60 s."""
    return snapshot(**{"computations": (RAN,)} | changes)


def test_names_the_largest_layers_and_the_cost():
    (finding,) = run(large_graph, sick())
    assert finding.id == "large-graph:assign"
    assert finding.severity == "warning"
    assert finding.message == (
        "One graph has 100,000 tasks; `assign`, `getitem`, `sum-chunk` make 99 % of them: "
        "handling them takes ≈ 30 s of 60 s."
    )
    assert finding.loss_seconds == pytest.approx(10 + 20)
    assert finding.charts[0].labels[0] == "assign"


@pytest.mark.parametrize(
    "changes",
    [
        {"n_tasks": 49_999},
        {"stop": T0 + 900.0, "schedule_seconds": 1.0},  # long tasks: 21 s of 880 s
        {"n_tasks": 60},
    ],
)
def test_is_quiet(changes):
    assert not run(large_graph, sick(computations=(change(RAN, **changes),)))


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = code("df = load().persist()", "df.x.sum().compute()")
    later = change(second, execution_count=3, started=second.started + 100, stopped=second.stopped + 100)
    assert not run(large_graph, sick(code=(first, later)))


@pytest.mark.parametrize(("n_tasks", "severity"), [(100_000, "info"), (1_000_000, "warning")])
def test_while_it_runs(n_tasks, severity):
    running = change(RAN, n_tasks=n_tasks, stop=None, is_done=False, schedule_seconds=9.0)
    (finding,) = run(large_graph, sick(computations=(running,)))
    assert finding.severity == severity
    assert finding.of_seconds is None


def test_fix_makes_fewer_partitions():
    many = collection(
        sizes=sizes(*[2 * 2**20] * 5_000), is_persisted=False, nbytes=Size(nbytes=10 * GiB, known="estimated")
    )
    facts = sick(collections=(many,), computations=(change(RAN, reused=(many.group,)),))
    (finding,) = run(large_graph, facts)
    assert apply(finding.fixes[0], facts.code)[1] == "df = df.repartition(npartitions=103)"
    assert "5,000 → 103 partitions" in finding.fixes[0].expect


def test_otherwise_advice():
    (finding,) = run(large_graph, sick(collections=()))
    assert finding.fixes[0].applicability == "display-only"


def test_measures_the_tasks():
    facts = sick()
    (measure,) = large_graph.measuring("assign", RAN.at, computations=facts.computations, code=facts.code)
    assert measure.value == 100_000


MANY = lazy(
    npartitions=20_000,
    n_tasks=100_000,
    fused_tasks=20_000,
    layers=tuple(
        Layer(name=name(prefix), prefix=prefix, n_tasks=20_000)
        for prefix in ("assign", "getitem", "gt", "mul", "read_parquet")
    ),
)


def planned(text="df.compute()", **changes):
    """`df` is about to be computed."""
    facts = {"computations": (), "collections": (MANY,), "code": unrun(text)}
    return snapshot(**facts | changes)


def unrun(text):
    return (*code("df = load()"), cell("c2", text, None, None, None))


def test_speaks_before_it_runs():
    facts = planned()
    (finding,) = run(large_graph, facts)
    assert finding.id == "large-graph:df"
    assert finding.severity == "warning"
    assert finding.message == (
        "`df` would send 100,000 tasks; `assign`, `getitem`, `gt` make 60 % of them: handling them takes ≈ 20 s."
    )
    assert finding.at.cell_id == "c2"
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[1] == "df = df.repartition(npartitions=24)"
    assert fix.rerun == ("c2",)


def test_where_the_work_is_not_known_it_is_worth_knowing():
    blind = change(MANY, nbytes=None, reads=())
    (finding,) = run(large_graph, planned(collections=(blind,)))
    assert finding.severity == "info"
    (finding,) = run(large_graph, planned(collections=(change(blind, n_tasks=1_000_000),)))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "changes",
    [
        {"collections": (change(MANY, n_tasks=49_999),)},
        {"collections": (change(MANY, n_tasks=None),)},
        {"collections": (change(MANY, is_persisted=True),)},
        {"collections": (change(MANY, nbytes=Size(nbytes=1_000 * GiB, known="estimated")),)},  # long work
        {"code": unrun("df.persist()")},  # fused
        {"code": unrun("df.head()")},
        {"code": unrun("if False:\n    df.compute()")},
        {"code": code("df = load()", "df.compute()")},  # it ran
    ],
)
def test_is_quiet_before(changes):
    assert not run(large_graph, planned(**changes))


def test_what_was_sent_is_told_once():
    running = (*code("df = load()"), cell("c2", "df.compute()", 2, T0 + 20, None))
    assert run(large_graph, planned(code=running))
    sent = change(RAN, stop=None, is_done=False)
    (finding,) = run(large_graph, planned(code=running, computations=(sent,)))
    assert finding.message.startswith("One graph has")
    # It stays the same finding
    asked = change(sent, asked=(MANY,))
    (finding,) = run(large_graph, planned(code=running, computations=(asked,)))
    assert finding.id == "large-graph:df"


def test_a_graph_that_is_taken_in_for_long_is_a_warning_before_the_end():
    running = change(RAN, stop=None, is_done=False)
    (finding,) = run(large_graph, sick(computations=(change(running, schedule_seconds=9.9),)))
    assert finding.severity == "info"
    (finding,) = run(large_graph, sick(computations=(running,)))
    assert finding.severity == "warning"
    # As for a slow start, what the kernel does counts as well
    kernels = change(
        running, schedule_seconds=3.0, start=T0 + 30, sending=sending(time=T0 + 20, optimize_seconds=7.0)
    )
    (finding,) = run(large_graph, sick(computations=(kernels,)))
    assert finding.severity == "warning"


def test_a_small_result_says_nothing_of_the_work():
    total = change(MANY, npartitions=1, nbytes=Size(nbytes=8, known="exact"), reads=())
    (finding,) = run(large_graph, planned(collections=(total,)))
    assert finding.severity == "info"
