"""Workers that come and go all the time."""

import pytest

from jupyter_dask_doctor.rules.scheduling.scaling_thrash import scaling_thrash
from tests.healthy import (
    T0,
    added,
    apply,
    at,
    change,
    cluster,
    code,
    load,
    removed,
    run,
    snapshot,
)

HERE = cluster(cluster_variable="cluster", client_variable="client", is_adaptive=True, nthreads=2)
CODE = code("cluster.adapt(maximum=2, interval='100ms', wait_count=1)", "for day in days: work(day)")


def came(time, n_workers=2):
    return added(0, time=T0 + time, n_workers=n_workers, at=at("c2", 2))


def went(time, **changes):
    facts = {"time": T0 + time, "n_workers": 0, "is_expected": True, "lifetime": 2.0, "n_lost": 0}
    return removed(0, **facts | {"lost_seconds": 0.0} | changes)


#: Up and down three times within nine seconds.
BUSY = (came(20), went(22), came(24), went(26), came(28), went(30))


def loads(*waiting):
    """One sample a second from the start of the cell on: tasks that wait while nobody is there."""
    return tuple(
        load(time=T0 + 20 + i, nthreads=0 if w else 2, n_workers=0 if w else 2, tasks_waiting=w, tasks_processing=1)
        for i, w in enumerate(waiting)
    )  # fmt: skip


WAITS = loads(0, 0, 5, 5, 0, 0, 5, 5, 0, 0)


def sick(*changes, **facts):
    facts = {"changes": changes or BUSY, "cluster": HERE, "code": CODE, "load": WAITS} | facts
    return snapshot(**facts)


def test_how_often_and_what_it_costs():
    (finding,) = run(scaling_thrash, sick())
    assert finding.id == "scaling-thrash:cluster"
    assert finding.severity == "warning"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "3 workers came and 3 went within 10 s: `cluster` adapts so fast that 4 s were lost "
        "waiting for workers again."
    )
    assert (finding.loss_seconds, finding.of_seconds) == (4, 9)
    assert finding.charts[0].series[0].values == (2, 0, 2, 0, 2, 0)


def test_lost_results_count():
    lost = (*BUSY[:-1], went(30, n_lost=3, lost_seconds=4.0))
    (finding,) = run(scaling_thrash, sick(*lost))
    assert finding.loss_seconds == 6


def test_the_fix_gives_workers_time():
    (finding,) = run(scaling_thrash, sick())
    (fix,) = finding.fixes
    assert apply(fix, CODE)[0] == 'cluster.adapt(maximum=2, interval="1s", wait_count=60)'
    plain = code("cluster.adapt(maximum=2)", "work()")
    (finding,) = run(scaling_thrash, sick(code=plain))
    assert apply(finding.fixes[0], plain)[0] == "cluster.adapt(maximum=2, wait_count=60)"


def test_where_it_is_not_written_down_it_is_shown():
    (finding,) = run(scaling_thrash, sick(code=code("x = 1", "work()")))
    assert finding.fixes[0].applicability == "display-only"
    assert 'cluster.adapt(minimum=1, maximum=2, interval="1s", wait_count=60)' in finding.fixes[0].code
    (finding,) = run(scaling_thrash, sick(code=(), cluster=cluster(is_adaptive=True)))
    assert (finding.fixes, finding.subject) == ((), "cluster")


@pytest.mark.parametrize(
    "facts",
    [
        sick(changes=()),
        sick(cluster=change(HERE, is_adaptive=False)),  # somebody calls scale()
        sick(*BUSY[:3]),  # up, down, up
        sick(came(20), came(20.1), came(20.2), came(20.3), went(29)),
        sick(*(change(c, lifetime=200.0) if c.kind == "removed" else c for c in BUSY)),
        sick(*(change(c, lifetime=None) if c.kind == "removed" else c for c in BUSY)),
        sick(*(change(c, lifetime=-1.0) if c.kind == "removed" else c for c in BUSY)),
        sick(*(change(c, is_expected=False) if c.kind == "removed" else c for c in BUSY)),  # spot machines
        sick(*(change(c, time=T0 + i * 200.0) for i, c in enumerate(BUSY))),  # once in some minutes
        sick(load=loads(*[0] * 10)),  # nobody waited
        sick(load=loads(5, 5, 0, 0, 0, 0, 0, 0)),  # only for the first ones
        sick(load=loads(*([0] * 90), 5, 0)),  # next to nothing
        sick(load=()),
        # The cell that makes it adapt has run again, or the one that works
        sick(code=(change(CODE[0], started=T0 + 40, stopped=T0 + 41), CODE[1])),
        sick(code=(CODE[0], change(CODE[1], started=T0 + 40, stopped=T0 + 41))),
    ],
)
def test_is_quiet(facts):
    assert not run(scaling_thrash, facts)


def test_limits_can_be_set():
    for limits in (
        {"reversals": 6},
        {"removals": 4},
        {"lifetime_seconds": 1.0},
        {"window_seconds": 5.0},
        {"seconds": 5.0},
        {"share": 0.5},
    ):
        assert not run(scaling_thrash, sick(), **limits)


def test_measures_the_turns():
    facts = sick()
    (measure,) = scaling_thrash.measuring(
        "cluster", at("c2", 2), changes=facts.changes, cluster=facts.cluster, code=facts.code
    )
    assert measure.value == 5
