"""Tasks that wait for the disk."""

import pytest

from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.rules.scheduling import disk_bound
from jupyter_dask_doctor.snapshot import Activity, MemorySample
from tests.healthy import T0, MiB, at, change, code, computation, run, snapshot, worker


def spent(wait=30.0, cpu=5.0, prefix="load", *more):
    return (
        Activity(context="execute", prefix=prefix, label="thread-noncpu", seconds=wait),
        Activity(context="execute", prefix=prefix, label="thread-cpu", seconds=cpu),
        Activity(context="execute", prefix="other", label="thread-cpu", seconds=9.0),
        *more,
    )


RAN = computation(start=T0 + 21, stop=T0 + 33, thread_seconds=44.0, activity=spent())


def samples(*rates, **more):
    facts = {"process": 300 * MiB, "managed": 0, "spilled": 0, "n_executing": 2, "cpu": 30.0} | more
    return tuple(
        MemorySample(time=T0 + 21.5 + 2 * i, host_disk=rate, **facts) for i, rate in enumerate(rates)
    )


def resting(*rates):
    return tuple(
        MemorySample(time=T0 + 35 + 2 * i, process=300 * MiB, managed=0, spilled=0, cpu=2.0, host_disk=rate)
        for i, rate in enumerate(rates)
    )


def busy(*rates, n=0, rest=(3e6, 90e6, 0.0), **more):
    seen = samples(*(rates or (120e6, 150e6, 140e6, 20e6, 130e6)), **more)
    return worker(n, host="127.0.0.1", samples=(*seen, *resting(*rest)))


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "workers": (busy(), busy(n=1)),
        "code": code("df = dd.read_parquet('events/')", "df.map_partitions(summary).compute()"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_and_the_rate():
    (finding,) = run(disk_bound, sick())
    assert finding.id == "disk-bound:load"
    assert finding.severity == "warning"
    assert finding.message == "`load` waited for 30 s of its 35 s while the disk moved 129 MiB per second."
    assert finding.loss_seconds == pytest.approx(30 / 8)
    assert finding.at == at("c2", 2)


def test_advice_has_the_notebooks_own_call():
    (fix,) = run(disk_bound, sick())[0].fixes
    assert fix.code.startswith("dd.read_parquet('events/')")
    assert fix.applicability == "display-only"
    chosen = code("df = dd.read_parquet('events/', columns=['a'])", "df.sum().compute()")
    (fix,) = run(disk_bound, sick(code=chosen))[0].fixes
    assert "read_parquet" not in fix.code


@pytest.mark.parametrize(
    "fact",
    [
        {"activity": spent(30.0, 25.0)},  # they compute
        {"activity": spent(2.9, 0.1)},
        {"activity": spent(30.0, 5.0, "rechunk-p2p")},
        {
            "activity": spent(
                30.0, 5.0, "load", Activity(context="execute", prefix="load", label="p2p-disk-write")
            )
        },
        {
            "activity": spent(
                30.0, 5.0, "load", Activity(context="execute", prefix="load", label="disk-read", seconds=7)
            )
        },
        {"activity": ()},
        {"activity": spent(-30.0, -5.0)},
        {"is_done": False, "stop": None},
        {"start": None},
    ],
)
def test_is_quiet(fact):
    assert not run(disk_bound, sick(computations=(change(RAN, **fact),)))


@pytest.mark.parametrize(
    "workers",
    [
        (busy(10e6, 20e6, 10e6, 49e6),),  # a network or a sleep
        (busy(120e6, 120e6),),
        (busy(120e6, 1e6, 120e6, 1e6, 120e6, 1e6),),  # others use the disk now and then
        (busy(None, None, None, None),),
        (busy(rest=(100e6, 90e6, 120e6)),),  # somebody else keeps the disk busy
        (busy(rest=(1e6,)),),
        (busy(cpu=150.0),),  # they compute
        (busy(cpu=None),),
        (busy(n_executing=0),),
        (busy(spilled=1),),
        (busy(is_paused=True),),
        (),
    ],
)
def test_is_quiet_when_one_sign_is_missing(workers):
    assert not run(disk_bound, sick(workers=workers))


@pytest.mark.parametrize(
    "limits",
    [
        {"wait_share": 0.9},
        {"wait_seconds": 31.0},
        {"disk_rate": 200e6},
        {"samples": 5},
        {"loss_seconds": 4.0},
    ],
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(disk_bound, sick(), **limits)


def test_is_quiet_when_another_cell_ran_at_the_same_time():
    other = computation(id="k2", at=at("c1", 1), start=T0 + 21, stop=T0 + 33)
    assert not run(disk_bound, sick(computations=(RAN, other)))


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(disk_bound, sick(code=(first, later)))


def test_not_checked_without_the_meter():
    with pytest.raises(NotChecked):
        run(disk_bound, sick(computations=(change(RAN, activity=None),)))


def test_measures_the_time():
    facts = sick()
    (measured,) = disk_bound.measuring("load", RAN.at, computations=facts.computations)
    assert (measured.label, measured.value) == ("time of its tasks", 12.0)


PRIMES = "def load(n):\n    return sum(all(k % d for d in range(2, k)) for k in range(n))"


def test_is_quiet_of_a_function_in_which_nothing_speaks_of_files():
    """Measured: primes were counted while somebody else's work kept cores and disk busy."""
    assert not run(disk_bound, sick(code=code(PRIMES, "client.map(load, range(9))")))
    reads = PRIMES.replace("return", "open(str(n)).readlines(); return")
    assert run(disk_bound, sick(code=code(reads, "client.map(load, range(9))")))
    assert run(disk_bound, sick(code=code(PRIMES.replace("load", "other"), "df.compute()")))
