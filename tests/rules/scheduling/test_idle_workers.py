"""Threads that stand idle while the computation runs."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling import idle_workers
from jupyter_dask_doctor.snapshot import Size
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
    load,
    run,
    snapshot,
)

RAN = computation(start=T0 + 21, stop=T0 + 41, thread_seconds=20.0, n_tasks=40, layers=(("close_day", 40),))
CHAIN = group("close_day", n_tasks=40, compute_seconds=20.0, stop=T0 + 41)


def loads(busy=1, nthreads=8, n=22, start=T0 + 20.5, waiting=20, **more):
    return tuple(
        load(
            time=start + i,
            threads_busy=busy,
            nthreads=nthreads,
            tasks_processing=busy,
            tasks_waiting=waiting,
            **more,
        )
        for i in range(n)
    )


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (CHAIN,),
        "load": loads(),
        "code": code("days = read()", "for day in days: total = close_day(total, day)\ntotal.compute()"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_that_ran_alone():
    (finding,) = run(idle_workers, sick())
    assert finding.id == "idle-workers:close_day"
    assert finding.severity == "warning"
    assert finding.message == (
        "7 of 8 threads stood idle for 20 s: `close_day` and what it needs ran one after the other."
    )
    assert finding.at == at("c2", 2)
    assert 0.87 * 15 <= finding.loss_seconds <= 0.88 * 20


def test_both_measurements_must_say_so():
    assert not run(idle_workers, sick(load=loads(busy=6)))
    assert not run(idle_workers, sick(computations=(change(RAN, thread_seconds=100.0),)))


def few(**changes):
    """Two partitions for eight threads."""
    x = collection(name="x", kind="bag", npartitions=2, sizes=None, nbytes=None, largest=None, names=("bag-1",),
                   group=None, is_persisted=False)  # fmt: skip
    facts = {
        "groups": (group("score", n_tasks=2, compute_seconds=40.0),),
        "computations": (change(RAN, n_tasks=4, thread_seconds=40.0, layers=(("score", 2), ("sum", 2))),),
        "load": loads(busy=2, waiting=1),
        "collections": (x,),
        "code": code("x = read()", "x.map(score).sum().compute()"),
    }
    return sick(**facts | changes)


def test_too_few_pieces_are_cut_into_more():
    facts = few()
    (finding,) = run(idle_workers, facts)
    assert finding.message == "6 of 8 threads stood idle for 20 s: there were only 2 tasks `score`."
    (fix,) = finding.fixes
    assert "x = x.repartition(npartitions=16)" in "\n".join(apply(fix, facts.code))


def test_an_array_is_rechunked():
    size = Size(nbytes=160 * 2**20, known="exact")
    x = collection(name="x", kind="array", npartitions=2, sizes=None, nbytes=size, largest=None, names=("x-1",),
                   group=None, is_persisted=False)  # fmt: skip
    facts = few(collections=(x,))
    (fix,) = run(idle_workers, facts)[0].fixes
    assert 'x.rechunk("auto", block_size_limit=10_485_760)' in "\n".join(apply(fix, facts.code))


def test_one_task_that_does_it_all_is_only_worth_knowing():
    train = group("train", n_tasks=1, compute_seconds=19.0)
    facts = few(groups=(train, group("load", n_tasks=12, compute_seconds=1.0)), load=loads(waiting=1))
    (finding,) = run(idle_workers, facts)
    assert finding.severity == "info"
    assert finding.message.endswith("there was only 1 task `train`.")


def test_a_running_computation_is_judged_as_far_as_it_came():
    running = change(RAN, stop=None, is_done=False, thread_seconds=9.0)
    (finding,) = run(idle_workers, sick(computations=(running,), load=loads(n=12)))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "fact",
    [
        {"computations": (change(RAN, stop=T0 + 25.9, thread_seconds=4.0),)},  # under 5 s
        {"computations": (change(RAN, n_tasks=3),)},
        {"computations": (change(RAN, nthreads=1),)},
        {"computations": (change(RAN, nthreads=0),)},
        {"computations": ()},
        {"load": loads(nthreads=0)},
        {"load": loads(busy=8)},
        {"load": tuple(change(one, tasks_queued=500) for one in loads())},  # work is ready: a slow scheduler
        {"groups": ()},
        {"groups": (change(CHAIN, compute_seconds=None),)},
        {"cluster": cluster(is_adaptive=True)},
    ],
)
def test_is_quiet(fact):
    assert not run(idle_workers, sick(**fact))


@pytest.mark.parametrize(
    "limits", [{"idle_share": 0.9}, {"least_seconds": 21.0}, {"tasks": 41}, {"loss_seconds": 30.0}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(idle_workers, sick(), **limits)


def test_is_quiet_of_the_beginning_and_the_tail():
    """Busy but for the first and the last two of twenty seconds."""
    points = [
        change(one, threads_busy=1 if i < 3 or i > 18 else 8) for i, one in enumerate(loads())
    ]  # fmt: skip
    assert not run(idle_workers, sick(load=tuple(points)))


def test_is_quiet_while_the_last_ones_run_and_nothing_waits():
    running = change(RAN, stop=None, is_done=False, thread_seconds=9.0)
    tail = tuple(change(one, tasks_waiting=9 if i < 3 else 0) for i, one in enumerate(loads(n=12)))
    assert not run(idle_workers, sick(computations=(running,), load=tail))
    assert not run(idle_workers, sick(load=loads(waiting=0)))


def test_is_quiet_where_ready_tasks_find_no_thread():
    """That is another trouble: pinned tasks, paused workers."""
    stuck = tuple(change(one, tasks_processing=40) for one in loads())
    assert not run(idle_workers, sick(load=stuck))


def test_is_quiet_when_another_cell_kept_the_cluster_busy():
    other = computation(id="k2", at=at("c1", 1), start=T0 + 21, stop=T0 + 41, thread_seconds=140.0)
    assert not run(idle_workers, sick(computations=(RAN, other)))


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(idle_workers, sick(code=(first, later)))


def test_not_checked_when_nothing_was_seen_meanwhile():
    with pytest.raises(NotChecked):
        run(idle_workers, sick(load=loads()[-1:]))
    with pytest.raises(NotChecked):
        run(idle_workers, sick(computations=(change(RAN, thread_seconds=None),)))


def test_measures_time_and_idle_threads():
    facts = sick()
    measured = idle_workers.measuring("close_day", RAN.at, computations=facts.computations, load=facts.load)
    assert [(m.label, m.value) for m in measured] == [("time of its tasks", 20.0), ("idle threads", 0.875)]
