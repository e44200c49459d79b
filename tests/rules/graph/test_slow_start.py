"""Long before the first task."""

import pytest

from jupyter_dask_doctor.judging.starts import start_of
from jupyter_dask_doctor.rules.graph.slow_start import slow_start
from tests.healthy import (
    T0,
    apply,
    at,
    cell,
    change,
    code,
    computation,
    lazy,
    load,
    phase,
    run,
    sending,
    snapshot,
)

SOURCES = ("df = load()", "df.x.sum().compute()")
#: Asked for at 20 s, first task at 28.2 s, last one at 31 s.
SLOW = computation(
    submitted=T0 + 26,
    schedule_seconds=2.0,
    start=T0 + 28.2,
    stop=T0 + 31,
    n_tasks=20_000,
    sending=sending(time=T0 + 24, optimize_seconds=4.0, serialize_seconds=1.5),
)


def sick(**changes):
    facts = {
        "computations": (SLOW,),
        "code": code(*SOURCES),
        "load": (load(time=T0 + 40),),
        "collections": (),
    }
    return snapshot(**facts | changes)


def test_says_where_the_time_went():
    (finding,) = run(slow_start, sick())
    assert finding.id == "slow-start:c2"
    assert finding.severity == "warning"
    assert finding.message == (
        "8 s of 11 s went by before the first of 20,000 tasks ran: 4 s of them optimizing the expression."
    )
    seconds = {e.label: e.value for e in finding.evidence}
    assert seconds["sending"] == pytest.approx(0.5)
    assert seconds["waiting"] == pytest.approx(0.2)
    (chart,) = finding.charts
    assert chart.labels[chart.highlight] == "optimizing"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"serialize_seconds": 5.0}, "pickling the graph"),
        ({"optimize_seconds": 0.1, "serialize_seconds": 0.1}, "taking the graph in at the scheduler"),
    ],
)
def test_names_what_took_longest(changes, expected):
    slow = change(SLOW, sending=change(SLOW.sending, **changes))
    slow = change(slow, schedule_seconds=2.1)
    (finding,) = run(slow_start, sick(computations=(slow,)))
    assert finding.message.endswith(f"{expected}.")


@pytest.mark.parametrize(
    "c",
    [
        change(SLOW, sending=None),
        change(SLOW, start=None, stop=None),
        change(SLOW, stop=T0 + 120),  # the work is long
        change(SLOW, is_hidden=True),
        change(SLOW, sending=sending(time=T0 + 25.5, optimize_seconds=0.5), schedule_seconds=0.4),  # 1.4 s
        # Threads, workers or libraries came late: waiting is no fault of the graph
        change(SLOW, sending=sending(time=T0 + 25.9), schedule_seconds=0.1, start=T0 + 35, stop=T0 + 36),
    ],
)
def test_is_quiet(c):
    assert not run(slow_start, sick(computations=(c,)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "a worker that took its code and inputs in"),
        (
            {"computations": (computation(id="k0", start=T0 + 10, stop=T0 + 29),)},
            "threads that had other work",
        ),
        ({"load": (load(time=T0 + 29, n_workers=0), load(time=T0 + 40))}, "workers that were still to come"),
        (
            {"computations": (computation(id="k0", start=T0 + 10, stop=T0 + 27),)},
            "a worker that took its code and inputs in",
        ),
    ],
)
def test_says_what_the_first_task_waited_for(changes, expected):
    late = change(SLOW, start=T0 + 31, stop=T0 + 34)
    facts = sick(**changes | {"computations": (*changes.get("computations", ()), late)})
    (finding,) = [f for f in run(slow_start, facts) if "8 s of" in f.message]
    assert {e.label: e.value for e in finding.evidence}["waiting for"] == expected


def test_is_quiet_once_the_cell_ran_well_again():
    again = change(SLOW, id="k2", submitted=T0 + 60.3, start=T0 + 60.4, stop=T0 + 70, at=at("c2", 3),
                   sending=sending(time=T0 + 60.2), schedule_seconds=0.05)  # fmt: skip
    cells = (code(*SOURCES)[0], cell("c2", SOURCES[1], 3, T0 + 60, T0 + 70))
    assert not run(slow_start, sick(computations=(SLOW, again), code=cells))


def test_while_it_runs_only_a_long_start_is_a_warning():
    running = change(SLOW, stop=None, is_done=False)
    (finding,) = run(slow_start, sick(computations=(running,), load=(load(time=T0 + 31),)))
    assert finding.severity == "info"
    longer = change(running, sending=sending(time=T0 + 24, optimize_seconds=9.0, serialize_seconds=1.5))
    (finding,) = run(slow_start, sick(computations=(longer,), load=(load(time=T0 + 31),)))
    assert finding.severity == "warning"


OPEN = phase(start=T0 + 20.2, stop=None)


@pytest.mark.parametrize(("now", "severity"), [(25.2, "info"), (31, "warning")])
def test_tells_of_the_optimizer_while_it_works(now, severity):
    (finding,) = run(slow_start, sick(computations=(), phases=(OPEN,), load=(load(time=T0 + now),)))
    assert finding.id == "slow-start:c2"
    assert finding.severity == severity
    assert finding.message.endswith("optimizing the expression, and no task has begun yet.")


def test_steps_of_one_call_count_together():
    both = (phase(start=T0 + 20.2, seconds=6.0), phase("serializing", start=T0 + 26.3, stop=None))
    (finding,) = run(slow_start, sick(computations=(), phases=both, load=(load(time=T0 + 30.2),)))
    assert finding.loss_seconds == pytest.approx(10.0)
    assert "pickling" in finding.message


@pytest.mark.parametrize(
    "phases",
    [
        (change(OPEN, method="npartitions"),),
        (change(OPEN, kind="waiting"),),
        (change(OPEN, kind="metadata"),),
        (change(OPEN, start=T0 + 24),),
        (change(OPEN, stop=T0 + 25),),
        (),
    ],
)
def test_is_quiet_of_other_phases(phases):
    assert not run(slow_start, sick(computations=(), phases=phases, load=(load(time=T0 + 25.2),)))


def test_does_not_know_the_time_without_a_load():
    assert not run(slow_start, sick(computations=(), phases=(OPEN,), load=()))


def test_offers_larger_partitions_where_they_make_the_tasks():
    facts = sick(
        collections=(lazy(npartitions=10_000, n_tasks=20_000),),
    )
    (finding,) = run(slow_start, facts)
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[1] == "df = df.repartition(npartitions=24)"
    assert fix.expect.startswith("10,000 → 24 partitions, about 67 MiB each")


def test_shows_batches_otherwise():
    (finding,) = run(slow_start, sick())
    assert [f.applicability for f in finding.fixes] == ["display-only"]


def test_clocks_that_disagree_make_no_negative_seconds():
    odd = change(SLOW, submitted=T0 + 10, start=T0 + 9, schedule_seconds=-1.0)
    assert all(seconds >= 0 for _, seconds in start_of(odd).parts)


def test_measures_the_start():
    seconds, tasks = slow_start.measuring("c2", SLOW.at, computations=(SLOW,), code=code(*SOURCES))
    assert seconds.value == pytest.approx(8.0)
    assert tasks.value == 20_000
    assert not slow_start.measuring("c2", SLOW.at, computations=(change(SLOW, sending=None),))
