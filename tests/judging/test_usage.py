"""How threads were used while a cell ran."""

import pytest

from jupyter_dask_doctor.judging import usage
from jupyter_dask_doctor.snapshot import Activity
from tests.healthy import T0, at, change, code, computation, group, load, samples, worker

RAN = computation()
CODE = code("df = load()", "df.sum().compute()")


def loads(*times, **more):
    return tuple(load(time=T0 + t, **more) for t in times)


def test_computations_of_one_cell_are_one_work():
    later = change(RAN, id="k2", submitted=T0 + 28.9, start=T0 + 29, stop=T0 + 30)
    (work,) = usage.works((later, RAN), CODE, ())
    assert [c.id for c in work.computations] == ["k1", "k2"]
    assert work.spans == ((T0 + 21, T0 + 28.5), (T0 + 29, T0 + 30))
    assert work.seconds == 8.5
    assert work.thread_seconds == 80.0
    assert usage.idle_share(work) == 0.0


def test_computations_that_ran_together_are_one_span():
    (work,) = usage.works((RAN, change(RAN, id="k2", stop=T0 + 25)), CODE, ())
    assert work.spans == ((T0 + 21, T0 + 28.5),)


def test_two_runs_of_a_cell_are_two_works_while_the_second_goes_on():
    again = change(CODE[1], started=T0 + 50, stopped=None, execution_count=3)
    second = change(RAN, id="k2", submitted=T0 + 51, start=T0 + 51, stop=None, is_done=False, at=at("c2", 3))
    found = usage.works((RAN, second), (CODE[0], again), loads(60))
    assert [w.is_done for w in found] == [True, False]
    assert found[1].seconds == 9.0


@pytest.mark.parametrize(
    "fact", [{"start": None}, {"stop": T0 + 20}, {"stop": None}, {"stop": None, "is_done": False}]
)
def test_what_has_no_time_is_no_work(fact):
    assert usage.works((change(RAN, **fact),), CODE, ()) == []


def test_thread_seconds_are_unknown_when_one_of_them_is():
    (work,) = usage.works((RAN, change(RAN, id="k2", thread_seconds=None)), CODE, ())
    assert work.thread_seconds is None
    assert usage.idle_share(work) is None


def test_alone_is_who_shares_a_tenth_at_most():
    short = change(RAN, id="k2", at=at("c1", 1), start=T0 + 21, stop=T0 + 21.7)
    works = usage.works((RAN, short), CODE, ())
    assert usage.is_alone(works[0], works)
    works = usage.works((RAN, change(short, stop=T0 + 22)), CODE, ())
    assert not usage.is_alone(works[0], works)


def test_steps_are_within_the_spans_and_not_over_gaps():
    points = loads(20, 21.5, 22.5, 23.5, 36, 37)
    found = usage.steps(points, [(T0 + 21, T0 + 40)])
    assert [(one.time - T0, seconds) for one, seconds in found] == [(21.5, 1.0), (22.5, 1.0), (36.0, 1.0)]


def test_trimmed_leaves_out_the_beginning_and_the_end():
    (work,) = usage.works((change(RAN, start=T0 + 20.5, stop=T0 + 30.5),), CODE, ())
    assert usage.trimmed(work, 0.1, 2.0) == ((T0 + 22.5, T0 + 29.5),)
    assert usage.trimmed(work, 0.1, 20.0) == ()


def test_samples_are_those_of_the_spans():
    w = worker(samples=samples(0.1, 0.2, 0.3, start=T0 + 20))
    assert [s.time for s in usage.samples(w, [(T0 + 21, T0 + 21.5)])] == [T0 + 21]


def test_heaviest_goes_by_seconds_and_else_by_tasks():
    (work,) = usage.works((RAN,), CODE, ())
    assert usage.heaviest((group("a", compute_seconds=1.0), group("b", compute_seconds=3.0)), work) == "b"
    assert usage.heaviest((group("a", compute_seconds=None),), work) == "sum-chunk"
    (work,) = usage.works((change(RAN, layers=()),), CODE, ())
    assert usage.heaviest((), work) == "tasks"


def metric(seconds, context="gather-dep"):
    return Activity(
        context=context, prefix=None, label="network", seconds=seconds, nbytes=int(seconds), count=1
    )


def test_activity_of_one_after_the_other_adds_up_and_of_neighbours_in_time_does_not():
    first = change(RAN, activity=(metric(5.0),))
    later = change(RAN, id="k2", start=T0 + 29, stop=T0 + 35, activity=(metric(3.0),))
    (work,) = usage.works((first, later), CODE, ())
    assert [a.seconds for a in usage.activities(work)] == [8.0]
    (work,) = usage.works((first, change(later, start=T0 + 22, stop=T0 + 28)), CODE, ())
    assert [a.seconds for a in usage.activities(work)] == [5.0]
    (work,) = usage.works((first, change(later, activity=None)), CODE, ())
    assert usage.activities(work) is None
