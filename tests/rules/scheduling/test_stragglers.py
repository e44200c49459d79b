"""Tasks that keep all others waiting."""

import pytest

from jupyter_dask_doctor.rules.scheduling import stragglers
from jupyter_dask_doctor.snapshot import CallStack, Spread
from tests.healthy import (
    T0,
    MiB,
    apply,
    at,
    change,
    code,
    collection,
    computation,
    group,
    load,
    name,
    prefix,
    run,
    running,
    scheduling,
    sizes,
    skewed,
    snapshot,
    worker,
    workers,
)

#: 40 tasks of 0.5 s on 8 threads, and one of 17 s.
RAN = computation(start=T0 + 21, stop=T0 + 38, thread_seconds=37.0, n_tasks=41, layers=(("fit", 41),))
FIT = group("fit", n_tasks=41, n_done=41, compute_seconds=37.0, start=T0 + 21, stop=T0 + 38, sizes=None)
LONG = prefix("fit", n_tasks=41, n_done=41, compute_seconds=37.0, max_seconds=17.0)


def loads(until=T0 + 40, tail=1, busy_until=T0 + 23.5, **more):
    times = [T0 + 20.2 + i for i in range(int(until - T0 - 20))]
    return tuple(
        load(
            time=t,
            threads_busy=8 if t < busy_until else tail,
            tasks_processing=9 if t < busy_until else 1,
            **more,
        )
        for t in times
    )


def done(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (FIT,),
        "prefixes": (LONG,),
        "load": loads(),
        "collections": (),
        "code": code("models = read()", "client.gather(client.map(fit, models))"),
        "time": T0 + 40,
    }
    return snapshot(**facts | changes)


TASK = running("fit", 40, seconds=12.0, nbytes_in=0)


def live(**changes):
    facts = {
        "computations": (change(RAN, stop=None, is_done=False, thread_seconds=20.0),),
        "groups": (change(FIT, n_done=40, compute_seconds=20.0, stop=T0 + 23),),
        "prefixes": (change(LONG, n_done=40, compute_seconds=20.0, max_seconds=12.0),),
        "load": loads(until=T0 + 34),
        "scheduling": scheduling(n_running=1, running=(TASK,)),
    }
    return done(**facts | changes)


def test_names_the_task_that_ran_alone_once_it_is_done():
    (finding,) = run(stragglers, done())
    assert finding.id == "stragglers:fit"
    assert finding.severity == "warning"
    assert (
        finding.message
        == "One `fit` took 17 s while 7 of 8 threads stood idle; the other 40 took 500 ms each."
    )
    assert finding.at == at("c2", 2)
    assert 0.875 * 11 < finding.loss_seconds < 0.875 * 17
    assert "explains" in finding.why


def test_names_the_task_while_it_runs():
    (finding,) = run(stragglers, live())
    assert finding.id == "stragglers:fit"
    assert finding.message == (
        "`fit` has run for 12 s on worker `0` while 7 of 8 threads stand idle; the other 40 took 500 ms each."
    )
    (fix,) = finding.fixes
    assert fix.code == f"client.call_stack(keys=[('{name('fit')}', 40)])"


def test_a_worker_that_has_just_come_may_be_slow_with_its_later_tasks():
    later = change(TASK, seconds=10.5)
    facts = live(
        workers=(worker(first_seen=T0 + 20.5), *workers(4)[1:]),
        scheduling=scheduling(n_running=1, running=(later,)),
    )
    assert run(stragglers, facts)


def test_a_key_that_is_a_text_is_told_as_a_text():
    hostile = change(TASK, key="fit'); import os #")
    (finding,) = run(stragglers, live(scheduling=scheduling(n_running=1, running=(hostile,))))
    assert finding.fixes[0].code == 'client.call_stack(keys=["fit\'); import os #"])'


def test_the_spread_of_deep_mode_is_enough():
    spread = Spread(n=41, median=0.5, p95=0.6, longest=17.0)
    (finding,) = run(stragglers, done(groups=(change(FIT, spread=spread),), prefixes=()))
    assert finding.subject == "fit"


def test_a_larger_input_is_told_first():
    reading = group("read", n_tasks=41, sizes=sizes(*[10 * MiB] * 40, 400 * MiB))
    reads = change(FIT, n_done=40, compute_seconds=20.0, dependencies=(reading.name,))
    big = change(TASK, nbytes_in=400 * MiB, is_restricted=True)
    (finding,) = run(
        stragglers, live(groups=(reads, reading), scheduling=scheduling(n_running=1, running=(big,)))
    )
    assert finding.message.endswith(": its input is 400 MiB, theirs 10 MiB.")


def test_an_uneven_input_explains_it_afterwards_and_is_cut():
    c = collection(sizes=skewed(), group=name("read"), name="df")
    reading = group("read", n_tasks=20, sizes=skewed())
    facts = done(
        groups=(change(FIT, dependencies=(reading.name,)), reading),
        collections=(c,),
        computations=(change(RAN, reused=(c.group,)),),
        code=code("df = load().persist()", "df.map_partitions(fit).compute()"),
    )
    (finding,) = run(stragglers, facts)
    assert "one partition (17) has 1.9 GiB, the others 80 MiB" in finding.message
    assert "df.partitions[17]" in "\n".join(apply(finding.fixes[0], facts.code))


def test_a_slow_worker_is_told():
    slow = [running("fit", i, seconds=12.0 + i, nbytes_in=0) for i in range(2)]
    facts = live(
        scheduling=scheduling(n_running=2, running=tuple(slow[::-1])), load=loads(until=T0 + 34, tail=2)
    )
    (finding,) = run(stragglers, facts)
    assert finding.message.endswith(": all that runs on worker `0` is slow.")
    assert finding.fixes[0].code.startswith("client.retire_workers(['tcp://127.0.0.1:4000'])")


@pytest.mark.parametrize(
    ("first", "end"),
    [
        ({"status": "paused"}, ": worker `0` has no memory left."),
        ({"event_loop_seconds": 4.0}, ": worker `0` answers slowly."),
    ],
)
def test_the_worker_explains_it(first, end):
    (finding,) = run(stragglers, live(workers=(worker(**first), *workers(4)[1:])))
    assert finding.message.endswith(end)


def test_a_task_that_may_run_in_one_place_only():
    tied = change(TASK, is_restricted=True)
    (finding,) = run(stragglers, live(scheduling=scheduling(n_running=1, running=(tied,))))
    assert finding.message.endswith(": it may run in one place only.")


def test_call_stacks_are_shown_folded():
    stacks = (CallStack(key=TASK.key, worker=TASK.worker, frames=("File fit.py, line 3", "    loop()")),)
    (finding,) = run(stragglers, live(scheduling=scheduling(n_running=1, running=(TASK,), stacks=stacks)))
    assert finding.details[0].text == "File fit.py, line 3\n    loop()"


@pytest.mark.parametrize(
    "fact",
    [
        {"prefixes": (change(LONG, max_seconds=4.9),)},
        {"prefixes": (change(LONG, max_seconds=None),)},
        {"prefixes": ()},
        {"groups": (change(FIT, n_done=8, n_tasks=8, compute_seconds=20.5),)},  # 7 neighbours
        {"groups": (change(FIT, compute_seconds=200.0),)},  # they took 4.6 s each
        {"groups": (change(FIT, compute_seconds=None),)},
        {"groups": (FIT, change(FIT, computation_id="k0"))},  # it may have been in the other one
        {"groups": ()},
        {"prefixes": (change(LONG, n_done=90),)},  # or in one that nobody knows any more
        {"load": loads(tail=5)},
        {"load": loads(tasks_queued=30)},
        {"load": ()},
        {"load": tuple(change(one, nthreads=0) for one in loads())},
        {"computations": (change(RAN, nthreads=1),)},
        {"computations": (RAN, computation(id="k2", at=at("c1", 1), start=T0 + 21, stop=T0 + 38))},
    ],
)
def test_is_quiet(fact):
    assert not run(stragglers, done(**fact))


@pytest.mark.parametrize(
    "fact",
    [
        {"scheduling": scheduling(n_running=1, running=(change(TASK, seconds=4.9),))},
        {"scheduling": scheduling(n_running=0)},
        {"scheduling": scheduling(n_running=1, running=(change(TASK, seconds=-1.0),))},
        {"scheduling": scheduling(n_running=1, running=(change(TASK, group="other"),))},
        {"groups": (change(FIT, n_done=7, compute_seconds=3.5),)},
        {"groups": (change(FIT, n_done=0, compute_seconds=0.0),)},
        {"load": tuple(change(one, tasks_queued=3) for one in loads(until=T0 + 34))},
        {"load": tuple(change(one, tasks_processing=30) for one in loads(until=T0 + 34))},
        {"workers": (worker(first_seen=T0 + 20.5), *workers(3))},  # it has just come and imports libraries
        {"workers": (worker(first_seen=T0 + 21.9), *workers(3))},
    ],
)
def test_is_quiet_while_it_runs(fact):
    assert not run(stragglers, live(**fact))


@pytest.mark.parametrize(
    "limits", [{"ratio": 40.0}, {"task_seconds": 18.0}, {"neighbours": 41}, {"idle_share": 0.9}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(stragglers, done(), **limits)


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = done().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(stragglers, done(code=(first, later)))


def test_measures_the_time():
    facts = done()
    (measured,) = stragglers.measuring("fit", RAN.at, computations=facts.computations, load=facts.load)
    assert (measured.label, measured.value) == ("time of its tasks", 17.0)
