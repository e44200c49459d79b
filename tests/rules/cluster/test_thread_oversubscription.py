"""Native threads that outnumber the cores."""

from dataclasses import replace

import pytest

from jupyter_dask_doctor.rules.cluster import thread_oversubscription
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Activity, MemorySample
from tests.healthy import (
    T0,
    apply,
    at,
    change,
    cluster,
    code,
    computation,
    environment,
    run,
    snapshot,
    workers,
)

MADE = "cluster = LocalCluster(n_workers=4)"


def beats(percent, n=9, start=T0 + 20.5):
    return tuple(MemorySample(time=start + i, process=1, managed=1, spilled=0, cpu=percent) for i in range(n))


def activity(cpu=10.0, waited=30.0):
    return (
        Activity(context="execute", prefix="matmul", label="thread-cpu", seconds=cpu),
        Activity(context="execute", prefix="matmul", label="thread-noncpu", seconds=waited),
        Activity(context="gather-dep", prefix=None, label="network", seconds=90.0),
    )


#: 7.5 s with 8 threads on 8 cores.
RAN = computation(activity=activity())


def sick(percent=80.0, ran=RAN, pools=(("openblas", 8),), **changes):
    """4 workers with 2 threads each, which used 0.8 of a core: 24 s of CPU."""
    facts = {
        "workers": workers(4, host="127.0.0.1", samples=beats(percent)),
        "environments": tuple(environment(n, pools=pools) for n in range(4)),
        "computations": (ran,),
        "cluster": cluster(cluster_variable="cluster"),
        "code": code(MADE, "(x @ x).sum().compute()"),
    }
    return snapshot(**facts | changes)


def test_counts_the_threads_and_the_cores():
    (finding,) = run(thread_oversubscription, sick())
    assert finding.id == "thread-oversubscription:threads"
    assert finding.severity == "warning"
    assert finding.message == (
        "Up to 64 threads share 8 cores: each of 8 threads that run tasks may start 8 of `openblas`."
    )
    assert finding.at == at("c2", 2)


def test_loss_is_half_way_between_what_the_cpu_does_not_account_for_and_what_was_waited():
    (finding,) = run(thread_oversubscription, sick())
    assert finding.of_seconds == 7.5
    assert finding.loss_seconds == pytest.approx(30 / 8)
    narrow = sick(pools=(("openblas", 2),), ran=change(RAN, activity=activity(10.0, 50.0)))
    (finding,) = run(thread_oversubscription, narrow)
    assert finding.loss_seconds == pytest.approx((7.5 - 2 * 10 / 8 + 50 / 8) / 2)


def test_fix_is_made_ahead_of_the_cluster():
    facts = sick()
    (finding,) = run(thread_oversubscription, facts)
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    text = apply(fix, facts.code)[0]
    assert text.startswith("import os\n\nos.environ.update(\n    OMP_NUM_THREADS")
    assert text.endswith(f"\n{MADE}")


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": cluster(is_in_process=False, kind=None)},
        {"code": code('cluster = LocalCluster(env={"OMP_NUM_THREADS": "8"})', "x")},
    ],
)
def test_fix_is_shown_where_it_cannot_be_placed(changes):
    (finding,) = run(thread_oversubscription, sick(**changes))
    assert finding.fixes[0].applicability == "display-only"


def test_variables_tell_where_no_library_was_loaded_yet():
    told = tuple(environment(n, pools=(), variables=(("OPENBLAS_NUM_THREADS", "16"),)) for n in range(4))
    (finding,) = run(thread_oversubscription, sick(environments=told))
    assert "may start 16 of `OPENBLAS_NUM_THREADS`" in finding.message


def test_workers_that_were_not_asked_are_like_their_neighbours():
    (finding,) = run(thread_oversubscription, sick(environments=(environment(0, pools=(("mkl", 8),)),)))
    assert "Up to 64 threads" in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"pools": (("openblas", 1),)},
        {"pools": ()},  # the nanny's variables: 1
        {"percent": 35.0},  # the tasks' own threads did all of it
        {"percent": 55.0},  # and what goes over the network needs some as well
        {"percent": 0.0},
        {"ran": change(RAN, activity=activity(cpu=10.0, waited=2.0))},  # hardly anybody waited
        {"ran": change(RAN, activity=activity(cpu=0.0))},
        {"ran": change(RAN, activity=())},
        {"ran": change(RAN, activity=activity(cpu=0.9, waited=6.0))},
        # A shuffle: measured 0.14 s of the tasks' own, 3.6 s of the workers
        {"percent": 40.0, "pools": (("openblas", 2),), "ran": change(RAN, activity=activity(1.5, 40.0))},
        {"ran": change(RAN, activity=(*activity(), replace(activity()[0], label="serialize")))},
        {"ran": change(RAN, activity=(*activity(), replace(activity()[0], context="p2p", label="disk")))},
        {"ran": change(RAN, stop=RAN.start + 1.1)},
        {"ran": change(RAN, stop=RAN.start - 5)},
        {"environments": tuple(environment(n, n_cpus=64, pools=(("openblas", 8),)) for n in range(4))},
        {"environments": tuple(environment(n, has_nanny=False, pools=(("openblas", 8),)) for n in range(4))},
        {"environments": tuple(environment(n, pools=(("x", 0), ("y", -3), ("z", 10**9))) for n in range(4))},
        {"environments": ()},
        {"workers": ()},
        {"workers": workers(4, host="127.0.0.1", samples=beats(80.0, 2))},
        {"workers": workers(4, host="127.0.0.1", samples=beats(None))},
    ],
)
def test_is_quiet(changes):
    assert not run(thread_oversubscription, sick(**changes))


def test_one_worker_with_a_pool_as_wide_as_the_machine_is_healthy():
    one = workers(1, nthreads=1, host="127.0.0.1", samples=beats(700.0))
    assert not run(thread_oversubscription, sick(workers=one))


def test_is_quiet_of_cells_that_ran_together():
    other = computation(id="k2", at=at("c1", 1), activity=activity())
    assert not run(thread_oversubscription, sick(computations=(RAN, other)))


def test_long_work_of_which_nothing_is_told_is_not_checked():
    long = change(RAN, stop=RAN.start + 30, activity=None)
    with pytest.raises(NotChecked):
        run(thread_oversubscription, sick(ran=long))


def test_an_earlier_run_is_forgotten_once_the_cell_ran_again():
    first, second = code(MADE, "(x @ x).sum().compute()")
    again = change(second, execution_count=3, started=T0 + 60, stopped=T0 + 61)
    assert not run(thread_oversubscription, sick(code=(first, again)))


def test_measures_how_long_the_tasks_of_the_cell_ran():
    facts = sick()
    (measure,) = thread_oversubscription.measuring(
        "threads", at("c2", 2), computations=facts.computations, code=facts.code, load=facts.load
    )
    assert measure.value == 7.5
