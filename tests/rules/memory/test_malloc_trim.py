"""Freed memory that does not come back."""

import pytest

from jupyter_dask_doctor.rules.memory import malloc_trim
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.runner import examine
from jupyter_dask_doctor.snapshot import Gap, MemorySample
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    change,
    cluster,
    code,
    environment,
    run,
    snapshot,
    worker,
    workers,
)

CODE = code("plates = client.map(load, range(10))", "del plates")


def told(*rows, step=2.0, executing=0):
    """(process, managed) in MiB, one every 2 s; at first, work."""
    return tuple(
        MemorySample(
            time=T0 + i * step,
            process=process * MiB,
            managed=managed * MiB,
            spilled=0,
            n_executing=0 if i >= 3 else executing,
            n_processing=0 if i >= 3 else executing,
        )
        for i, (process, managed) in enumerate(rows)
    )


KEPT = ((200, 100), (900, 800), (1700, 1500), (1690, 10), (1690, 10), (1690, 10), (1690, 10))


def bare(rows=KEPT, n=0, **more):
    return worker(
        n, **{"has_nanny": False, "samples": told(*rows, executing=1), "process": 1690 * MiB} | more
    )


def sick(worker=None, environment_=None, **changes):
    facts = {
        "workers": (bare() if worker is None else worker, *workers(4)[1:]),
        "environments": (environment(variables=()) if environment_ is None else environment_,),
        "cluster": cluster(client_variable="client"),
        "code": CODE,
    }
    return snapshot(**facts | changes)


def test_compares_what_was_released_with_what_came_back():
    (finding,) = run(malloc_trim, sick())
    assert finding.id == "malloc-trim:workers"
    assert finding.severity == "warning"
    assert finding.message == (
        "Dask released 1.5 GiB on worker `0`, and its process gave 10 MiB of that back: it runs without a nanny "
        "and without `MALLOC_TRIM_THRESHOLD_`."
    )
    assert finding.at is None
    assert finding.loss_bytes == 1480 * MiB
    assert finding.charts[0].limits[0].value == pytest.approx(0.8 * 4 * GiB)


@pytest.mark.parametrize(
    "worker",
    [
        bare(has_nanny=True),
        bare(has_nanny=None),
        bare(address="inproc://127.0.0.1/1/2"),
        bare(
            ((200, 100), (900, 800), (1700, 1500), (400, 10), (400, 10), (400, 10), (400, 10))
        ),  # it came back
        bare(
            ((200, 100), (900, 800), (1700, 1500), (1200, 10), (1200, 10), (1200, 10), (1200, 10))
        ),  # a third
        bare(((200, 100), (900, 800), (1700, 1500), (1700, 1500), (1700, 1500), (1700, 1500))),  # still held
        bare(((200, 100), (900, 800), (1700, 1500), (1690, 10), (1690, 10))),  # a moment ago
        bare(((200, 100), (500, 400), (900, 700), (890, 10), (890, 10), (890, 10), (890, 10))),  # under 20 %
        bare(((1690, 10),) * 8),  # never held anything
        bare(samples=()),
        bare(samples=told(*KEPT, step=-2.0)),
    ],
)
def test_is_quiet_of_healthy_workers(worker):
    assert not run(malloc_trim, sick(worker))


@pytest.mark.parametrize(
    "environment",
    [environment(), environment(variables=(), libc="musl"), environment(variables=(), libc=None)],
)
def test_is_quiet_where_the_variable_is_set_or_unknown_to_the_library(environment):
    assert not run(malloc_trim, sick(environment_=environment))


def test_is_quiet_while_it_works():
    rows = told(*KEPT)
    busy = tuple(change(s, n_executing=1) for s in rows)
    assert not run(malloc_trim, sick(bare(samples=busy)))


def test_judges_without_a_limit_by_bytes():
    (finding,) = run(malloc_trim, sick(bare(memory_limit=None)))
    assert finding.charts[0].limits == ()


def test_incomplete_where_the_environment_is_not_known():
    with pytest.raises(NotChecked):
        run(malloc_trim, sick(environment_=environment(3, variables=())))
    report = examine(sick(environments=Gap(reason="No answer.")))
    assert next(c for c in report.checks if c.rule == "malloc-trim").outcome == "incomplete"


def test_hostile_names():
    (finding,) = run(malloc_trim, sick(bare(name="`<b>`" * 50)))
    assert finding.message.count("`") == 4


def test_fixes():
    (finding,) = run(malloc_trim, sick())
    trim, setting = finding.fixes
    assert trim.applicability == "safe"
    assert "malloc_trim(0)" in apply(trim, CODE)[2]
    assert setting.applicability == "display-only"
    assert setting.code == "MALLOC_TRIM_THRESHOLD_=65536 dask worker tcp://127.0.0.1:1 --no-nanny"
