"""The marks at which workers spill, pause and restart."""

import pytest

from jupyter_dask_doctor.rules.memory import memory_thresholds
from tests.healthy import (
    T0,
    GiB,
    apply,
    cluster,
    code,
    computation,
    environment,
    run,
    samples,
    snapshot,
    worker,
    workers,
)

OURS = cluster(cluster_variable="cluster")
SETS = 'dask.config.set({{"distributed.worker.memory.target": {}, "distributed.worker.memory.spill": {}}})'


def marks(target=0.6, spill=0.7, pause=0.8, terminate=0.95, **changes):
    return tuple(
        environment(
            n, memory_target=target, memory_spill=spill, memory_pause=pause, memory_terminate=terminate, **changes
        )
        for n in range(4)
    )  # fmt: skip


def facts(environments, **changes):
    cells = code(SETS.format(0.9, 0.9), "cluster = LocalCluster()")
    return snapshot(**{"environments": environments, "cluster": OURS, "code": cells} | changes)


def test_a_worker_that_pauses_before_it_spills():
    (finding,) = run(memory_thresholds, facts(marks(target=0.9, spill=0.9)))
    assert finding.id == "memory-thresholds:pause"
    assert finding.severity == "warning"
    assert finding.message == (
        "Memory marks of the workers: they pause at 80 % of their memory, before they begin to spill at 90 %."
    )
    assert {e.label: e.limit for e in finding.evidence}["spill mark"] == 0.7
    assert finding.at.cell_id == "c1"


def test_is_critical_when_it_has_happened():
    stuck = worker(status="paused", samples=samples(0.5, *[0.82] * 11, start=T0))
    (finding,) = run(memory_thresholds, facts(marks(target=0.9, spill=0.9), workers=(stuck, *workers(4)[1:])))
    assert finding.severity == "critical"
    assert finding.message.endswith("one has been paused for 10 s.")


@pytest.mark.parametrize(
    "stuck",
    [
        worker(status="paused", samples=samples(0.5, *[0.82] * 10)),  # not for long
        worker(status="running", samples=samples(*[0.82] * 12, 0.5)),  # it went on
        worker(status="paused"),  # nothing is known of it
    ],
)
def test_is_quiet_of_hanging_before_it_hangs(stuck):
    (finding,) = run(memory_thresholds, facts(marks(target=0.9, spill=0.9), workers=(stuck, *workers(4)[1:])))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    ("changed", "mark", "said"),
    [
        (
            {"target": 0.9, "spill": 0.7},
            "target",
            "they spill down to 90 % of their memory and pause at 80 % already",
        ),
        (
            {"target": 60},
            "target",
            "`target` is 60: shares of the limit are wanted, so it is never reached (meant is 0.6?)",
        ),
        (
            {"pause": 0.97},
            "terminate",
            "they are restarted at 95 % of their memory, before they pause at 97 %",
        ),
        (
            {"pause": None, "spill": 0.96},
            "terminate",
            "they are restarted at 95 % of their memory, before they spill at 96 %",
        ),
        (
            {"terminate": 0.75},
            "terminate",
            "they are restarted at 75 % of their memory, before they pause at 80 %",
        ),
        (
            {"target": None, "spill": 0.85, "pause": 0.85},
            "pause",
            "they pause at 85 % of their memory, before they begin to spill at 85 %",
        ),
    ],
)
def test_what_is_out_of_order(changed, mark, said):
    (finding,) = run(memory_thresholds, facts(marks(**changed)))
    assert (finding.subject, finding.severity) == (mark, "warning")
    assert finding.message == f"Memory marks of the workers: {said}."


@pytest.mark.parametrize(
    ("changed", "mark", "said"),
    [
        ({"target": None, "spill": None}, "spill", "they never move data to disk, however full they are"),
        ({"pause": None}, "pause", "they never pause, however full they are"),
        ({"terminate": None}, "terminate", "they are never restarted, however full they are"),
        (
            {"target": None, "spill": None, "pause": None, "terminate": None},
            "spill",
            "they never move data to disk or pause and are never restarted, however full they are",
        ),
        ({"pause": 0.92}, "terminate", "they pause at 92 % of their memory and are restarted at 95 %"),
        ({"spill": 0.78}, "pause", "they spill at 78 % of their memory and pause at 80 %"),
        (
            {"spill": 0.9},
            "pause",
            "they pause at 80 % of their memory, before they spill for anything but results at 90 %",
        ),
    ],
)
def test_off_or_close_is_worth_knowing_until_memory_is_short(changed, mark, said):
    (finding,) = run(memory_thresholds, facts(marks(**changed)))
    assert (finding.subject, finding.severity) == (mark, "info")
    assert finding.message == f"Memory marks of the workers: {said}."
    full = workers(samples=samples(0.3, 0.81, 0.3))
    (finding,) = run(memory_thresholds, facts(marks(**changed), workers=full))
    assert finding.severity == "warning"
    ran = computation(peak_worker_memory=int(3.3 * GiB))
    (finding,) = run(memory_thresholds, facts(marks(**changed), computations=(ran,)))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "environments",
    [
        marks(),
        marks(target=None),  # spilling starts with the memory of the process
        marks(target=0.7, spill=0.7),
        marks(target=0.8, spill=0.85, pause=0.9, terminate=0.95),
        marks(terminate=None, has_nanny=False),
        marks(terminate=0.5, has_nanny=False),
        marks(terminate=0.2, spill=-0.9),  # absurd: what was told is wrong
        marks(pause=0.0),
        marks(spill=float("nan")),
        marks(target=float("inf")),
    ],
)
def test_is_quiet_of_sound_marks(environments):
    assert not run(memory_thresholds, facts(environments))


def test_is_quiet_where_no_mark_applies():
    assert not run(memory_thresholds, facts(marks(target=0.9, spill=0.9), workers=workers(memory_limit=None)))
    assert not run(memory_thresholds, facts(marks(target=0.9, spill=0.9), workers=()))  # those are gone
    assert not run(memory_thresholds, facts(()))


def test_workers_that_differ_are_told_of_apart():
    two = (*marks(target=0.9, spill=0.9)[:2], *marks(terminate=None)[2:])
    found = run(memory_thresholds, facts(two))
    assert {f.subject: f.severity for f in found} == {"pause": "warning", "terminate": "info"}


def test_fix_changes_the_value_where_it_is_set():
    given = facts(marks(target=0.9, spill=0.9))
    (finding,) = run(memory_thresholds, given)
    assert apply(finding.fixes[0], given.code)[0] == SETS.format(0.6, 0.7)
    assert finding.fixes[0].expect.startswith("target 0.6, spill 0.7.")


def test_fix_sets_them_ahead_of_the_cluster():
    given = facts(marks(target=0.9, spill=0.9, pause=0.85), code=code("cluster = LocalCluster()"))
    (finding,) = run(memory_thresholds, given)
    (text,) = apply(finding.fixes[0], given.code)
    assert text.endswith("})\ncluster = LocalCluster()")
    assert '"distributed.worker.memory.pause": 0.8,' in text
    assert "terminate" not in text
    (finding,) = run(memory_thresholds, facts(marks(target=0.9, spill=0.9), code=()))
    assert finding.fixes[0].applicability == "display-only"
    assert finding.at is None


def test_measures_the_workers_that_have_such_marks():
    given = facts(marks(target=0.9, spill=0.9))
    (measured,) = memory_thresholds.measuring(
        "pause", None, environments=given.environments, workers=given.workers
    )
    assert measured.value == 4
    (measured,) = memory_thresholds.measuring("pause", None, environments=marks(), workers=given.workers)
    assert measured.value == 0
