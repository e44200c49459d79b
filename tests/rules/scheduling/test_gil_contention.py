"""Threads that take turns."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling import gil_contention
from jupyter_dask_doctor.snapshot import Activity, Gap, MemorySample
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    change,
    cluster,
    code,
    computation,
    environment,
    group,
    kernel,
    run,
    snapshot,
    worker,
)

RAN = computation(
    start=T0 + 21, stop=T0 + 33, thread_seconds=47.0, n_tasks=60, layers=(("count", 60),), nthreads=4,
    activity=(
        Activity(context="execute", prefix="count", label="thread-cpu", seconds=12.0),
        Activity(context="execute", prefix="count", label="thread-noncpu", seconds=35.0),
    ),
)  # fmt: skip
COUNT = group("count", n_tasks=60, compute_seconds=47.0, stop=T0 + 33)
MAKE = (
    'cluster = LocalCluster(n_workers=1, threads_per_worker=4, memory_limit="4GiB")\nclient = Client(cluster)'
)


def samples(*cpu, executing=4):
    return tuple(
        MemorySample(
            time=T0 + 21.5 + 2 * i, process=300 * MiB, managed=0, spilled=0, n_executing=executing, cpu=p
        )
        for i, p in enumerate(cpu)
    )


def busy(*cpu, n=0, executing=4, **more):
    facts = {
        "nthreads": 4,
        "host": "127.0.0.1",
        "samples": samples(*(cpu or (98.0, 101.0, 103.0, 99.0, 60.0))),
    }
    if executing != 4:
        facts["samples"] = samples(*(cpu or (98.0, 101.0, 103.0, 99.0, 60.0)), executing=executing)
    return worker(n, **facts | more)


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (COUNT,),
        "workers": (busy(),),
        "environments": (environment(),),
        "cluster": cluster(cluster_variable="cluster", client_variable="client", nthreads=4),
        "code": code(MAKE, "client.gather(client.map(count, range(60)))"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_and_the_core_they_share():
    (finding,) = run(gil_contention, sick())
    assert finding.id == "gil-contention:count"
    assert finding.severity == "warning"
    assert finding.message == (
        "4 threads of worker `0` shared one core while `count` ran: 100 % of a core for all of them together."
    )
    assert finding.loss_seconds == pytest.approx(12 * 0.75)
    assert {e.label: e.value for e in finding.evidence}[
        "share of a task's time without CPU"
    ] == pytest.approx(35 / 47)
    assert finding.at == at("c2", 2)


def test_fix_makes_processes_with_the_same_memory_in_all():
    facts = sick()
    (fix,) = run(gil_contention, facts)[0].fixes
    assert apply(fix, facts.code)[0] == (
        'cluster = LocalCluster(n_workers=4, threads_per_worker=1, memory_limit="1024MiB")\nclient = Client(cluster)'
    )
    assert fix.expect == "1 process → 4, 1 GiB of memory each; the new cluster begins empty"


def test_fix_of_a_cluster_of_threads_makes_processes():
    facts = sick(code=code("client = Client(processes=False)", "client.gather(client.map(count, range(60)))"))
    (fix,) = run(gil_contention, facts)[0].fixes
    assert apply(fix, facts.code)[0] == (
        'client = Client(processes=True, n_workers=4, threads_per_worker=1, memory_limit="1024MiB")'
    )


def test_fix_is_shown_only_where_processes_would_have_too_little_memory():
    (finding,) = run(gil_contention, sick(workers=(busy(memory_limit=1 * GiB),)))
    assert finding.fixes[0].applicability == "display-only"


def test_the_machine_bounds_what_can_be_won():
    (finding,) = run(gil_contention, sick(environments=(environment(n_cpus=2),)))
    assert finding.loss_seconds == pytest.approx(12 * 0.5)


def test_the_kernel_knows_the_machine_of_a_local_cluster():
    assert run(gil_contention, sick(environments=()))
    with pytest.raises(NotChecked):
        run(gil_contention, sick(environments=(), kernel=kernel(n_cpus=0)))
    with pytest.raises(NotChecked):
        run(gil_contention, sick(environments=(), cluster=cluster(is_in_process=False)))


@pytest.mark.parametrize(
    "fact",
    [
        {"workers": (busy(nthreads=1),)},
        {"workers": (busy(executing=1),)},
        {"workers": (busy(180.0, 190.0, 200.0, 195.0),)},  # native code
        {"workers": (busy(20.0, 30.0, 25.0, 15.0),)},  # waits for something
        {"workers": (busy(100.0, 100.0, 100.0, 30.0, 160.0, 40.0),)},  # by chance
        {"workers": (busy(100.0, 100.0),)},
        {"workers": (busy(None, None, None, None),)},
        {"workers": ()},
        {"environments": (environment(n_cpus=1),)},  # no core to spare
        {"workers": tuple(busy(n=n) for n in range(8))},  # all eight cores in use
        {"computations": ()},
        {"computations": (change(RAN, start=None),)},
    ],
)
def test_is_quiet(fact):
    assert not run(gil_contention, sick(**fact))


def test_is_quiet_where_the_gil_is_measured_and_free():
    still = change(RAN, stop=None, is_done=False)
    assert not run(gil_contention, sick(computations=(still,), workers=(busy(gil=0.1),)))
    (finding,) = run(gil_contention, sick(computations=(still,), workers=(busy(gil=0.9),)))
    assert finding.evidence[-1].label == "GIL held now"


@pytest.mark.parametrize(
    "limits", [{"threads": 5}, {"samples": 5}, {"cpu_from": 100.0}, {"loss_seconds": 9.5}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(gil_contention, sick(), **limits)


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(gil_contention, sick(code=(first, later)))


def test_missing_sections_are_no_reason_to_fail():
    facts = sick(environments=Gap(reason="not asked"))
    given = {k: getattr(facts, k) for k in gil_contention.sections if k not in ("environments",)}
    assert gil_contention(**given)


def test_measures_the_time():
    facts = sick()
    (measured,) = gil_contention.measuring("count", RAN.at, computations=facts.computations)
    assert (measured.label, measured.value) == ("time of its tasks", 12.0)
