"""Memory that grows from run to run."""

import pytest

from jupyter_dask_doctor.rules.memory import unmanaged_memory_growth
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Location
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    cluster,
    computation,
    environment,
    rest,
    run,
    snapshot,
    workers,
)

ADDRESSES = [w.address for w in workers()]


def pauses(*heights, base=150 * MiB, addresses=ADDRESSES[:2], **more):
    """One pause after each run, `heights` in MiB above the base on each of the workers."""
    return tuple(
        rest(
            i,
            seconds=2.0,
            unmanaged=tuple((a, base + int(h * MiB)) for a in addresses)
            + tuple((a, base) for a in ADDRESSES if a not in addresses),
            **more,
        )
        for i, h in enumerate(heights)
    )


def ran(n=6, prefix="parse", cell_id="c2"):
    """A computation before each pause."""
    return tuple(
        computation(
            id=f"k{i}",
            submitted=T0 + 25 + 10 * i,
            start=T0 + 25 + 10 * i,
            stop=T0 + 27 + 10 * i,
            layers=((prefix, 40),),
            at=at(cell_id, i + 2),
        )
        for i in range(n)
    )


#: The cell ran once and sent all computations from a loop.
CODE = (cell(), cell("c2", "for path in paths: parse(path)", 2, T0 + 20, T0 + 82))
GROWING = (0, 90, 150, 210, 270, 330)


def sick(*heights, **changes):
    facts = {
        "rests": pauses(*(heights or GROWING)),
        "computations": ran(),
        "code": CODE,
        "cluster": cluster(client_variable="client"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_the_pace_and_the_end():
    (finding,) = run(unmanaged_memory_growth, sick())
    assert finding.id == "unmanaged-memory-growth:parse"
    assert finding.severity == "warning"
    assert finding.message == (
        "Memory that Dask does not know of stays behind with every run of `parse`: about 60 MiB per run on 2 of "
        "4 workers, 240 MiB on one so far; at this pace a worker stops taking tasks after 46 to 47 runs more."
    )
    assert finding.at == ran()[-1].at
    assert finding.loss_bytes == 2 * 240 * MiB


def test_the_forecast_has_its_error_in_runs_and_the_pace_in_time():
    (finding,) = run(unmanaged_memory_growth, sick(0, 90, 140, 210, 260, 330))
    told = {e.label: e for e in finding.evidence}
    assert told["rise per run"].value > told["rise per run, at least"].value > 0
    assert told["runs until a worker stops"].value == "39 to 56 runs"
    assert told["time until then, at this pace"].value == pytest.approx(10 * 46.6, rel=0.02)


def test_chart_shows_the_pauses_and_the_mark():
    (finding,) = run(unmanaged_memory_growth, sick())
    (chart,) = finding.charts
    assert chart.limits[0].name == "pause"
    assert chart.series[0].values == tuple(float((150 + h) * MiB) for h in GROWING)


def test_critical_when_the_end_is_near():
    near = pauses(*GROWING, base=int(2.75 * GiB))
    (finding,) = run(unmanaged_memory_growth, sick(rests=near))
    assert finding.severity == "critical"


def test_worth_knowing_only_when_the_end_is_far():
    wide = tuple(change(w, memory_limit=64 * GiB) for w in workers())
    facts = sick(workers=wide, rests=pauses(*[40 * h for h in range(7)]))
    assert not run(unmanaged_memory_growth, facts)  # under 5 % of the limit
    (finding,) = run(unmanaged_memory_growth, facts, share=0.0)
    assert finding.severity == "info"


def test_without_a_limit_the_machine_is_the_end():
    free = tuple(change(w, memory_limit=None) for w in workers())
    (finding,) = run(unmanaged_memory_growth, sick(workers=free))
    assert finding.severity == "info"
    assert "after 128 to 129 runs more" in finding.message
    unknown = sick(workers=free, environments=())
    (finding,) = run(unmanaged_memory_growth, unknown)
    assert finding.severity == "info"
    assert "at this pace" not in finding.message


def test_the_prefix_with_whose_runs_it_rose():
    mixed = [change(c, layers=(("sum", 3), *(c.layers if i % 2 else ()))) for i, c in enumerate(ran(10))]
    heights = (0, 60, 60, 120, 120, 180, 180, 240, 240, 300)
    (finding,) = run(unmanaged_memory_growth, sick(*heights, computations=tuple(mixed)))
    assert finding.subject == "parse"


def test_works_without_computations():
    (finding,) = run(unmanaged_memory_growth, sick(computations=()))
    assert finding.subject == "workers"
    assert finding.at is None


@pytest.mark.parametrize(
    "heights",
    [
        (0, 90, 92, 91, 93, 92),  # imports of the first run
        (0, 90, 150, 210),  # too few runs
        (0, 90, 190, 250, 285, 300),  # a plateau
        (0, 90, 150, 210, 270, 272),  # it has stopped
        (0, 90, 90, 290, 290, 290),  # one step
        (0, 90, 150, 110, 180, 140),  # up and down
        (0, 90, 150, 210, 270, 100),  # it came back
        (0, 90, 110, 130, 150, 170),  # less than counts
        (0, 0, 0, 0, 0, 0),
        (0, 500, 400, 300, 200, 100),
    ],
)
def test_is_quiet_of_healthy_memory(heights):
    assert not run(unmanaged_memory_growth, sick(*heights))


def test_is_quiet_below_what_a_process_has_at_rest():
    assert not run(unmanaged_memory_growth, sick(rests=pauses(*[h / 2 for h in GROWING], base=20 * MiB)))


def test_is_quiet_of_pauses_shorter_than_a_heartbeat():
    short = tuple(change(r, seconds=0.2) for r in pauses(*GROWING))
    assert not run(unmanaged_memory_growth, sick(rests=short))
    many = tuple(change(r, n_workers=500) for r in pauses(*GROWING))
    assert not run(unmanaged_memory_growth, sick(rests=many))


def test_is_quiet_of_workers_that_were_replaced():
    moved = tuple(
        change(r, unmanaged=((f"tcp://127.0.0.1:{6000 + i}", 500 * MiB),))
        for i, r in enumerate(pauses(*GROWING))
    )
    assert not run(unmanaged_memory_growth, sick(rests=moved))
    assert not run(unmanaged_memory_growth, sick(workers=()))


def test_is_quiet_once_the_cell_ran_again_without_it():
    again = (cell(), cell("c2", "for path in paths: read(path)", 9, T0 + 100, T0 + 120))
    later = pauses(*GROWING, 332)
    clean = computation(id="k9", submitted=T0 + 101, layers=(("read", 40),), at=at("c2", 9))
    assert not run(unmanaged_memory_growth, sick(code=again, rests=later, computations=(*ran(), clean)))


def test_is_quiet_of_absurd_facts():
    assert not run(unmanaged_memory_growth, sick(rests=()))
    backwards = tuple(change(r, time=T0) for r in pauses(*GROWING))
    assert not run(unmanaged_memory_growth, sick(rests=backwards))
    still = tuple(change(r, tasks_finished=60) for r in pauses(*GROWING))
    assert not run(unmanaged_memory_growth, sick(rests=still))


def test_incomplete_without_the_memory_of_single_workers():
    with pytest.raises(NotChecked):
        run(unmanaged_memory_growth, sick(rests=tuple(change(r, unmanaged=()) for r in pauses(*GROWING))))


def test_hostile_names_stay_names():
    bad = "<img src=x onerror=alert(1)>`" * 20
    (finding,) = run(unmanaged_memory_growth, sick(computations=ran(prefix=bad)))
    assert len(finding.message) < 400
    assert finding.message.count("`") == 2


def test_fix_trims_below_the_cell_where_that_can_be():
    (finding,) = run(unmanaged_memory_growth, sick())
    trim, restart = finding.fixes[:2]
    assert trim.applicability == "safe"
    assert "client.run(trim_memory)" in apply(trim, CODE)[2]
    assert restart.applicability == "display-only"
    musl = tuple(environment(n, libc="musl") for n in range(4))
    (finding,) = run(unmanaged_memory_growth, sick(environments=musl))
    assert all("trim" not in fix.code for fix in finding.fixes)
    (finding,) = run(unmanaged_memory_growth, sick(environments=()))
    assert finding.fixes[0].applicability == "display-only"


def test_fix_replaces_workers_in_time_when_there_is_time():
    slow = tuple(change(r, time=T0 + 30 + 120 * i) for i, r in enumerate(pauses(*GROWING)))
    late = tuple(change(c, submitted=T0 + 25 + 120 * i) for i, c in enumerate(ran()))
    (finding,) = run(unmanaged_memory_growth, sick(rests=slow, computations=late))
    assert '"distributed.worker.lifetime.duration": "46 minutes"' in finding.fixes[2].code


def test_measures_what_stayed_after_the_run():
    facts = sick(rests=pauses(0, 90, 150))
    grown = tuple(change(w, process=(100 + 150 + 200) * MiB) for w in workers(2))
    where = Location(cell_id="c2", execution_count=2)
    (measured,) = unmanaged_memory_growth.measuring(
        "parse", where, rests=facts.rests, workers=grown, code=(cell("c2", "", 2, T0 + 52, T0 + 53),)
    )
    assert measured.value == 2 * 50 * MiB
