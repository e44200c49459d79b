"""What the Graph section is told: which graphs, and where the time before the first task went."""

import pytest

from jupyter_dask_doctor.kernel import fitting, graphs
from jupyter_dask_doctor.snapshot import Gap, Layer
from tests import healthy
from tests.healthy import T0, MiB, at, computation, name


def told(*computations, **sections):
    return graphs.graphs(healthy.snapshot(computations=computations, **sections))


def start(one, **sections):
    (told,) = graphs.graphs(healthy.snapshot(computations=(one,), **sections))
    return {part.kind: part.seconds for part in told.start}


def test_a_computation_tells_what_was_asked_for_and_sent():
    asked = healthy.lazy(name="total", embedded=(healthy.embedded(n_times=3),), depth=4)
    (one,) = told(computation(asked=(asked,), fused_tasks=20))
    assert (one.id, one.names, one.method) == ("k1", ("total",), "compute")
    assert (one.n_tasks, one.fused_tasks, one.depth, one.n_layers) == (60, 20, 4, 2)
    assert [(layer.prefix, layer.n_tasks) for layer in one.layers] == [
        ("sum-chunk", 40),
        ("sum-aggregate", 20),
    ]
    assert [(part.variable, part.nbytes, part.n_times) for part in one.embedded] == [("orders", 200 * MiB, 3)]
    assert (one.run_seconds, one.is_done) == (7.5, True)


def test_each_step_before_the_first_task_has_its_seconds():
    sending = healthy.sending(time=T0 + 20.3, optimize_seconds=0.1, serialize_seconds=0.05)
    # It came at 20.5, was taken in for 0.05 s, and ran at 21.
    assert start(computation(sending=sending)) == {
        "optimizing": 0.1,
        "serializing": 0.05,
        "sending": 0.15,
        "scheduling": 0.05,
        "waiting": 0.45,
    }


def test_the_steps_come_in_their_order():
    (one,) = told(
        computation(sending=healthy.sending()),
        phases=(healthy.phase("building", T0 + 20.0, 0.2), healthy.phase("metadata", T0 + 20.0, 0.1)),
    )
    assert [part.kind for part in one.start] == [
        "metadata", "building", "optimizing", "serializing", "sending", "scheduling", "waiting",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"schedule_seconds": None}, {"scheduling", "waiting"}),
        ({"start": None}, {"waiting"}),
        ({"sending": None}, {"optimizing", "serializing", "sending"}),
        ({"sending": healthy.sending(serialize_seconds=None)}, {"serializing", "sending"}),
        ({"sending": healthy.sending(optimize_seconds=None)}, {"optimizing"}),
    ],
)
def test_a_step_that_nobody_saw_is_left_out(changes, gone):
    facts = {"sending": healthy.sending()}
    every = set(start(computation(**facts)))
    assert every - set(start(computation(**facts | changes))) == gone


def test_clocks_that_disagree_make_no_negative_time():
    parts = start(computation(sending=healthy.sending(time=T0 + 30), start=T0 + 20))
    assert min(parts.values()) == 0.0


def test_phases_tell_where_the_client_did_not():
    phase = healthy.phase("optimizing", T0 + 20.1, 0.3)
    assert start(computation(sending=None), phases=(phase,))["optimizing"] == 0.3
    assert start(computation(sending=healthy.sending()), phases=(phase,))["optimizing"] == 0.1


@pytest.mark.parametrize(
    ("source", "line", "told_line"),
    [
        ("x = 1\n  df.sum().compute()  ", 2, "df.sum().compute()"),
        ("x = 1\ndf.sum().compute()", None, None),
        ("\ndf.sum().compute()\n", None, "df.sum().compute()"),
        ("x = 1", 2, None),
        ("x" * 100_000, 1, "x" * (graphs.NAME - 1) + "…"),
    ],
)
def test_the_line_that_started_it(source, line, told_line):
    cells = healthy.code("x", source)
    (one,) = told(computation(at=at("c2", 2, line=line)), code=cells)
    assert one.code == told_line
    (gone,) = told(computation(at=at("c2", 3, line=line)), code=cells)
    assert gone.code is None, "the cell ran again since, with another text perhaps"


def test_only_phases_of_this_cell_and_since_its_last_graph_count():
    building = healthy.phase("building", T0 + 20.0, 0.2)
    first = computation()
    second = computation(id="k2", submitted=T0 + 25, start=T0 + 26)
    phases = (
        building,
        healthy.phase("building", T0 + 24, 0.5),
        healthy.phase("building", T0 + 24, 0.5, at=at("c1", 1)),
        healthy.phase("building", T0 + 27, 0.5),
        healthy.phase("waiting", T0 + 24.5, 0.5),
    )
    (newer, older) = told(first, second, phases=phases)
    assert {part.kind: part.seconds for part in newer.start}["building"] == 0.5
    assert {part.kind: part.seconds for part in older.start}["building"] == 0.2


def test_a_phase_that_goes_on_counts_until_now():
    phase = healthy.phase("building", T0 + 20.2, stop=None)
    assert start(computation(), phases=(phase,))["building"] == 0.3


def test_the_newest_come_first_and_those_without_a_cell_not_at_all():
    many = [computation(id=f"k{i}", submitted=T0 + i, at=at(f"c{i}", i)) for i in range(20)]
    many.append(computation(id="other", at=None, submitted=T0 + 99))
    assert [one.id for one in told(*many)] == [f"k{i}" for i in range(19, 11, -1)]


def test_a_cell_that_computes_in_a_loop_does_not_push_the_others_out():
    loop = [computation(id=f"k{i}", submitted=T0 + 20 + i, n_tasks=10 + i % 50) for i in range(500)]
    other = computation(id="other", submitted=T0, at=at("c1", 1))
    shown = told(*loop, other)
    assert [one.id for one in shown] == ["k499", "k449", "other"]
    assert [one.n_more for one in shown] == [0, 498, 0]


def test_lazy_collections_come_after_with_most_tasks_first():
    small = healthy.lazy(name="small")
    large = healthy.lazy(
        name="large",
        n_tasks=None,
        layers=(
            Layer(name=name("a"), prefix="a", n_tasks=30),
            Layer(name=name("a", 1), prefix="a", n_tasks=5),
        ),
    )
    unknown = healthy.lazy(name="unknown", n_tasks=None, layers=())
    cyclic = healthy.lazy(name="cyclic", n_tasks=None, layers=(), cycle=("a", "b", "a"))
    shown = told(computation(), collections=(small, unknown, healthy.collection(), large, cyclic))
    assert [one.names for one in shown[1:]] == [("large",), ("small",), ("cyclic",)]
    assert [one.id for one in shown[1:]] == [None] * 3
    assert [(layer.prefix, layer.n_tasks) for layer in shown[1].layers] == [("a", 35)]
    assert shown[3].is_cyclic
    assert shown[1].start == ()


def test_hidden_jobs_of_one_line_are_one():
    line = at("c2", 2, line=3)
    jobs = [
        computation(
            id=f"h{i}", method="npartitions", is_hidden=True, at=line, submitted=T0 + i, stop=T0 + i + 2
        )
        for i in range(3)
    ]
    other = computation(
        id="h9", method=None, is_hidden=True, sending=healthy.sending(time=T0 + 20, optimize_seconds=1.0)
    )
    snapshot = healthy.snapshot(
        computations=(*jobs, other, computation(is_hidden=False), computation(is_hidden=None))
    )
    assert [(job.method, job.n, job.seconds, job.at) for job in graphs.hidden_jobs(snapshot)] == [
        (None, 1, 9.5, at("c2", 2)),
        ("npartitions", 3, 6.0, line),
    ]
    assert {one.id for one in graphs.graphs(snapshot)} == {"k1"}, "they are not told twice"


def test_one_that_runs_counts_until_now():
    one = computation(is_hidden=True, stop=None, is_done=False, submitted=T0 + 30)
    (job,) = graphs.hidden_jobs(healthy.snapshot(computations=(one,)))
    assert job.seconds == 10.0


def test_gaps_are_nothing():
    gap = Gap(reason="no")
    snapshot = healthy.snapshot(computations=gap, collections=gap, phases=gap, code=gap)
    assert graphs.graphs(snapshot) == graphs.hidden_jobs(snapshot) == ()
    assert start(computation(), phases=gap, code=gap)


def wide(i, lazy=False):
    layers = tuple((f"{'layer' * 15}-{j}", 20 - j) for j in range(20))
    if lazy:
        return healthy.lazy(
            name=f"df{i}", layers=tuple(Layer(name=prefix, prefix=prefix, n_tasks=n) for prefix, n in layers)
        )
    return computation(id=f"k{i}", layers=layers, at=at(f"c{i}", i))


def test_what_fits_is_left_alone():
    all_of_it = told(wide(1))
    assert graphs.fit_graphs(all_of_it, 10_000) == (all_of_it, ())


def test_layers_go_before_graphs_and_both_kinds_stay():
    all_of_it = told(*(wide(i) for i in range(8)), collections=tuple(wide(i, lazy=True) for i in range(8)))
    fitted, words = graphs.fit_graphs(all_of_it, 14_000)
    assert fitting.nbytes(fitted) <= 14_000
    assert len(fitted) == 16
    assert {len(one.layers) for one in fitted} == {graphs.FEW_LAYERS}
    fitted, words = graphs.fit_graphs(all_of_it, 3_000)
    assert fitting.nbytes(fitted) <= 3_000
    kinds = [one.id is None for one in fitted]
    assert kinds == sorted(kinds)
    assert {True, False} == set(kinds)
    assert words[-1] == f"{16 - len(fitted)} of 16 graphs"
