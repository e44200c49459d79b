"""Data that go to disk and back."""

import pytest

from jupyter_dask_doctor.rules.memory import spilling
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.runner import examine
from jupyter_dask_doctor.snapshot import Activity, Gap, Size
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
    run,
    snapshot,
    workers,
)

CODE = code("sky = load().persist()", "sky.std().compute()")


def told(seconds=10.0, nbytes=2_000 * MiB, reads=200, write=8.0, missed=0.8, prefix="var"):
    """What Dask's meters say when most of what tasks need must come from disk."""
    from_memory = int(nbytes / missed) - nbytes if missed else 0
    return (
        Activity(context="execute", prefix=prefix, label="thread-cpu", seconds=20.0),
        Activity(
            context="execute", prefix=prefix, label="disk-read", seconds=seconds, nbytes=nbytes, count=reads
        ),
        Activity(context="execute", prefix=prefix, label="deserialize", seconds=seconds / 10),
        Activity(context="execute", prefix=prefix, label="memory-read", nbytes=from_memory, count=50),
        Activity(context="memory-monitor", prefix=None, label="disk-write", seconds=write, nbytes=nbytes, count=9),
        Activity(context="memory-monitor", prefix=None, label="serialize", seconds=write / 8),
    )  # fmt: skip


def loads(spilled=1_500 * MiB):
    return tuple(load(time=T0 + 20 + i, managed=900 * MiB, spilled=spilled) for i in range(10))


def sick(activity=None, **changes):
    ran = computation(activity=told() if activity is None else activity)
    facts = {"computations": (ran,), "code": CODE, "load": loads(), "collections": ()}
    return snapshot(**facts | changes)


def test_names_the_tasks_and_what_the_disk_took():
    (finding,) = run(spilling, sick())
    assert finding.id == "spilling:var"
    assert finding.severity == "warning"
    assert finding.message == (
        "`var` had to read 2 GiB back from disk that did not fit in memory: reading and writing took each "
        "worker about 5 s of 7.5 s."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_seconds == pytest.approx((11 + 9) / 4)
    assert finding.of_seconds == pytest.approx(7.5)


def test_evidence_and_chart():
    (finding,) = run(spilling, sick())
    values = {e.label: e.value for e in finding.evidence}
    assert values["of what the tasks needed, read from disk"] == pytest.approx(0.8, abs=0.01)
    assert values["reading back, of the time of the tasks"] == pytest.approx(11 / 51)
    assert values["on disk at the peak"] == 1_500 * MiB
    assert [s.name for s in finding.charts[0].series] == ["in memory", "on disk"]


def test_the_loss_is_not_more_than_the_cell_took():
    (finding,) = run(spilling, sick(told(seconds=300.0)))
    assert finding.loss_seconds == pytest.approx(7.5)


def test_works_on_the_seconds_of_groups_where_no_meters_are_told():
    slow = (group("var", disk_read_seconds=8.0, disk_write_seconds=4.0), group("sum", disk_read_seconds=0.0))
    ran = (computation(activity=None),)
    (finding,) = run(spilling, sick(computations=ran, groups=slow))
    assert finding.subject == "var"
    assert "read back from disk" in finding.message
    assert not run(spilling, sick(computations=ran, groups=slow, load=loads(50 * MiB)))


@pytest.mark.parametrize(
    "activity",
    [
        (),
        told(seconds=0.0, nbytes=0, reads=0),  # written once, never read back
        told(seconds=1.5, write=0.5),  # under 5 % of the tasks' time
        told(nbytes=90 * MiB),
        told(reads=4),
        told(seconds=2.5, write=0.0),  # under a second for each worker
        told(seconds=-5.0, write=-3.0),
    ],
)
def test_is_quiet_of_what_costs_nothing(activity):
    assert not run(spilling, sick(activity))


def test_is_quiet_of_shuffles():
    shuffle = tuple(
        change(a, context="p2p", prefix=None) for a in told() if a.label in ("disk-read", "disk-write")
    )
    assert not run(spilling, sick(shuffle))


def test_is_quiet_when_it_is_little_of_a_long_cell():
    long = computation(activity=told(), stop=T0 + 500)
    assert not run(spilling, sick(computations=(long,)))


def test_is_quiet_once_the_cell_ran_again_without_it():
    first, second = CODE
    later = change(second, execution_count=3, started=T0 + 60, stopped=T0 + 70)
    clean = computation(id="k2", submitted=T0 + 61, start=T0 + 61, stop=T0 + 65, at=at("c2", 3), activity=())
    facts = sick(code=(first, later))
    assert not run(spilling, change(facts, computations=(*facts.computations, clean)))


def test_incomplete_when_spilling_was_seen_and_its_cost_is_not_told():
    unknown = sick(computations=(computation(activity=None),))
    with pytest.raises(NotChecked):
        run(spilling, unknown)
    assert not run(spilling, change(unknown, load=(load(),)))


def test_is_quiet_without_workers_or_times():
    assert not run(spilling, sick(computations=()))
    assert not run(spilling, sick(computations=(computation(activity=told(), start=None),)))
    assert not run(spilling, sick(computations=(computation(activity=told(), stop=T0),)))


def test_hostile_names():
    (finding,) = run(spilling, sick(told(prefix="<script>`alert(1)`" * 30)))
    assert finding.message.count("`") == 2
    assert len(finding.message) < 300


def test_workers_that_stand_still_speak_for_it():
    from tests.healthy import samples

    full = tuple(
        change(w, samples=samples(*[0.85] * 8, start=T0 + 21), prefixes_at_peak=("var",)) for w in workers()
    )
    report = examine(change(sick(), workers=full))
    said = {f.rule: f for f in report.findings}
    assert "spilling" not in said
    assert any(e.label == "read back" for e in said["worker-memory-pressure"].evidence)


def test_fix_releases_what_the_cell_does_not_use():
    other = collection(name="old", group="g-old", names=("g-old",), at=at("c1", 1))
    facts = sick(collections=(other,))
    (finding,) = run(spilling, facts)
    release = finding.fixes[0]
    assert release.applicability == "unsafe"
    assert apply(release, CODE)[1] == "del old"
    assert release.rerun == ("c2",)
    kept = sick(collections=(change(other, held_by=("Out[3]",)),))
    (finding,) = run(spilling, kept)
    assert all(not fix.edits for fix in finding.fixes)


def test_fix_keeps_what_is_read_in_files():
    sky = collection(
        name="sky", kind="array", names=("sky-1",), nbytes=Size(nbytes=3_000 * MiB, known="exact")
    )
    (finding,) = run(spilling, sick(collections=(sky,)))
    store = finding.fixes[0]
    assert store.applicability == "display-only"
    assert 'sky = da.from_zarr("sky.zarr")' in store.code


def test_measures_the_last_run():
    facts = sick()
    disk, read = spilling.measuring(
        "var", at("c2", 2), computations=facts.computations, workers=facts.workers, load=facts.load, code=CODE
    )
    assert (disk.value, disk.unit) == (5.0, "seconds")
    assert read.value == 2_000 * MiB


def test_a_missing_section_is_incomplete():
    report = examine(change(sick(), computations=Gap(reason="No answer.")))
    assert next(c for c in report.checks if c.rule == "spilling").outcome == "incomplete"
