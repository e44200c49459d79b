"""Workers at the edge of their memory."""

import pytest

from jupyter_dask_doctor.rules.memory import worker_memory_pressure
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    MiB,
    apply,
    change,
    code,
    collection,
    computation,
    group,
    run,
    samples,
    sizes,
    snapshot,
    worker,
    workers,
)

RAN = computation()


def full(*shares, n=0, **more):
    return worker(n, samples=samples(*shares, start=RAN.start), prefixes_at_peak=("merge",), **more)


def sick(*shares, **changes):
    strained = full(*(shares or (0.5, 0.85, 0.88, 0.9, 0.6)))
    return snapshot(**{"workers": (strained, *workers(3))} | changes)


def test_names_the_tasks_and_how_many_workers():
    (finding,) = run(worker_memory_pressure, sick())
    assert finding.id == "worker-memory-pressure:merge"
    assert finding.severity == "warning"
    assert finding.message == (
        "1 of 4 workers came to 90 % of their memory while `merge` ran and 1 was paused: 3.6 GiB of 4 GiB."
    )
    assert finding.at == RAN.at


def test_loss_is_the_paused_share_of_the_threads():
    (finding,) = run(worker_memory_pressure, sick(0.5, *[0.85] * 6, 0.5))
    assert finding.loss_seconds == pytest.approx(6 * 2 / 8)


def test_chart_shows_the_marks():
    (finding,) = run(worker_memory_pressure, sick())
    (chart,) = finding.charts
    assert [limit.name for limit in chart.limits] == ["spill", "pause", "limit"]
    assert len(chart.x) == len(chart.series[0].values) == 5


@pytest.mark.parametrize(
    ("shares", "severity"),
    [
        ((0.85, 0.85, 0.85, 0.5), "warning"),
        ((0.85, 0.9, 0.96, 0.5), "critical"),
        ((0.75, 0.75, 0.75, 0.5), "info"),
    ],
)
def test_severity(shares, severity):
    (finding,) = run(worker_memory_pressure, sick(*shares))
    assert finding.severity == severity


def test_a_worker_that_stays_paused_is_critical():
    stuck = full(*[0.85] * 40, status="paused")
    running = change(RAN, stop=None, is_done=False)
    (finding,) = run(worker_memory_pressure, sick(workers=(stuck,), computations=(running,)))
    assert finding.severity == "critical"


def test_a_step_that_only_passes_results_on_is_not_the_culprit():
    caught = full(0.85, 0.88, 0.9, 0.9, 0.6)
    caught = change(caught, prefixes_at_peak=("mean_chunk",))
    ran = (group("random", compute_seconds=39.0), group("mean_chunk", compute_seconds=0.2))
    (finding,) = run(worker_memory_pressure, sick(workers=(caught, *workers(3)), groups=ran))
    assert finding.subject == "random"
    unknown = (group("random", compute_seconds=None), group("mean_chunk", compute_seconds=None))
    (finding,) = run(worker_memory_pressure, sick(workers=(caught, *workers(3)), groups=unknown))
    assert finding.subject == "mean_chunk"


@pytest.mark.parametrize("shares", [(0.5,) * 5, (0.9, 0.9, 0.5, 0.5), (0.69,) * 7, (0.2, 0.4, 0.6, 0.4)])
def test_is_quiet_of_healthy_and_short(shares):
    assert not run(worker_memory_pressure, sick(*shares))


def test_is_quiet_without_a_limit_or_samples():
    assert not run(worker_memory_pressure, sick(workers=(full(0.9, 0.9, 0.9, memory_limit=None), worker(1))))
    assert not run(worker_memory_pressure, sick(workers=workers(3)))


def test_is_quiet_of_an_earlier_run_of_the_cell_that_is_over():
    first, second = code("df = load().persist()", "df.x.sum().compute()")
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(worker_memory_pressure, sick(code=(first, later)))


def test_speaks_of_what_is_held_at_rest():
    held = worker(samples=samples(*[0.85] * 10, start=RAN.stop + 30))
    (finding,) = run(worker_memory_pressure, sick(workers=(held,)))
    assert finding.id == "worker-memory-pressure:workers"
    assert finding.at is None
    assert "with nothing running" in finding.message


def test_is_quiet_at_rest_of_what_was_before_the_end():
    """The last heartbeat may be older than the end of the work."""
    held = worker(samples=samples(*[0.85] * 10, start=RAN.stop - 9))
    short = change(RAN, submitted=RAN.stop - 1.5)
    assert not run(worker_memory_pressure, sick(workers=(held,), computations=(short,)))


def test_fix_cuts_what_the_cell_reads_and_shows_the_cluster():
    big = collection(sizes=sizes(*[600 * MiB] * 10))
    facts = sick(collections=(big,), computations=(change(RAN, reused=(big.group,)),))
    (finding,) = run(worker_memory_pressure, facts)
    insert, advice = finding.fixes
    assert apply(insert, facts.code)[1] == "df = df.repartition(npartitions=60).persist()"
    assert advice.applicability == "display-only"


def test_measures_the_peak_of_the_last_run():
    facts = sick()
    measured = worker_memory_pressure.measuring(
        "merge", RAN.at, workers=facts.workers, computations=facts.computations, code=facts.code
    )
    assert [m.label for m in measured] == ["peak memory of a worker", "paused workers"]
    assert measured[1].value == 3.0


def points(nbytes=52_800):
    """A little array whose chunks the cell turns into large tables."""
    size = Size(nbytes=nbytes, known="exact")
    return collection(name="points", kind="array", npartitions=8, sizes=None, is_persisted=False, group=None,
                      names=("random-1",), nbytes=Size(nbytes=8 * nbytes, known="exact"), largest=size)  # fmt: skip


def test_small_chunks_are_cut_only_when_the_work_on_them_is_what_needs_memory():
    cells = code("points = make()", "points.map_blocks(spacing).mean().compute()")
    facts = sick(collections=(points(),), code=cells)
    (finding,) = run(worker_memory_pressure, facts)
    assert finding.fixes[0].code.startswith('points = points.rechunk("auto", block_size_limit=26_400)')
    assert finding.fixes[0].edits[0].cell_id == "c1"
    (finding,) = run(worker_memory_pressure, sick(collections=(points(200 * MiB),), code=cells))
    assert "block_size_limit=104_857_600" in finding.fixes[0].code
    unrelated = code("points = make()", "other.compute()")
    (finding,) = run(worker_memory_pressure, sick(collections=(points(),), code=unrelated))
    assert finding.fixes[0].applicability == "display-only"
