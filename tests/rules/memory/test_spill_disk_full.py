"""No room to move data out of memory."""

import pytest

from jupyter_dask_doctor.rules.memory import spill_disk_full
from jupyter_dask_doctor.rules.registry import NotChecked
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    change,
    cluster,
    code,
    collection,
    environment,
    run,
    samples,
    sizes,
    snapshot,
    worker,
    workers,
)

OURS = cluster(cluster_variable="cluster")
CELLS = code('dask.config.set({"distributed.worker.memory.max-spill": "1 GiB"})', "cluster = LocalCluster()")


def places(**changes):
    return tuple(environment(n, **changes) for n in range(4))


def writing(share=0.75, spilled=GiB, **changes):
    """The first of four workers with 4 GiB holds much and has written `spilled`."""
    first = worker(process=int(share * 4 * GiB), managed=2 * GiB, spilled=spilled, **changes)
    return (first, *workers(4)[1:])


def allowed(share=0.75, spilled=GiB, **changes):
    """It may write 1 GiB."""
    given = {
        "workers": writing(share, spilled),
        "environments": places(max_spill=GiB),
        "cluster": OURS,
        "code": CELLS,
    }
    return snapshot(**{"collections": ()} | given | changes)


def full(**changes):
    """All four have written 2 GiB to a disk that had 9 GiB, and hold 1 GiB each."""
    some = workers(process=int(2.6 * GiB), managed=GiB, spilled=2 * GiB)
    given = {
        "workers": some,
        "environments": places(disk_free=9 * GiB, disk_total=100 * GiB),
        "cluster": OURS,
        "code": CELLS,
    }
    return snapshot(**given | changes)


def on(kind, spilled=GiB, **changes):
    there = places(file_system=kind, local_directory="/x")
    return snapshot(workers=writing(0.5, spilled), environments=there, cluster=OURS, **changes)


def test_all_that_may_be_written():
    (finding,) = run(spill_disk_full, allowed())
    assert finding.id == "spill-disk-full:max-spill"
    assert finding.severity == "warning"
    assert finding.message == (
        "1 worker has written all that `max-spill` allows, 1 GiB each: the fullest is at 75 % of its memory and "
        "cannot move more to disk."
    )
    assert finding.at.cell_id == "c1"


@pytest.mark.parametrize(
    ("some", "severity"),
    [
        (writing(0.81), "critical"),
        (writing(0.5, status="paused"), "critical"),
        (writing(0.71), "warning"),
        (writing(0.69), "info"),
    ],
)
def test_severity_by_the_marks(some, severity):
    (finding,) = run(spill_disk_full, allowed(workers=some))
    assert finding.severity == severity


def test_the_next_partition_does_not_fit():
    held = collection(sizes=sizes(*[300 * MiB] * 8))
    (finding,) = run(spill_disk_full, allowed(spilled=800 * MiB, collections=(held,)))
    assert finding.severity == "warning"
    assert not run(spill_disk_full, allowed(spilled=700 * MiB, collections=(held,)))


def test_a_disk_with_little_room():
    (finding,) = run(spill_disk_full, full())
    assert finding.id == "spill-disk-full:local-directory"
    assert finding.severity == "warning"
    assert finding.message == (
        "4 workers still hold 4 GiB in memory and write to a disk with ≈ 1 GiB left: "
        "`/tmp/dask-scratch-space/worker-0`."
    )
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert "local_directory=" in fix.code


def test_what_was_written_before_somebody_asked_is_not_counted_twice():
    already = workers(
        process=int(2.6 * GiB), managed=GiB, spilled=2 * GiB,
        samples=tuple(change(s, spilled=2 * GiB) for s in samples(0.6, 0.6, start=T0)),
    )  # fmt: skip
    assert not run(spill_disk_full, full(workers=already))


def test_is_critical_when_a_worker_takes_no_tasks_any_more():
    some = full().workers
    (finding,) = run(spill_disk_full, full(workers=(change(some[0], status="paused"), *some[1:])))
    assert finding.severity == "critical"


def test_memory_by_another_name():
    (finding,) = run(spill_disk_full, on("tmpfs", 2 * GiB))
    assert finding.severity == "warning"
    assert (
        finding.message == "4 workers moved 2 GiB out of memory to `/x`, which is memory: a `tmpfs`, no disk."
    )


def test_a_network_file_system_is_worth_knowing():
    (finding,) = run(spill_disk_full, on("nfs4", 0))
    assert finding.severity == "info"
    assert "network file system (`nfs4`)" in finding.message


@pytest.mark.parametrize(
    "given",
    [
        snapshot(),
        allowed(spilled=900 * MiB),
        allowed(spilled=0),
        allowed(spilled=-GiB),
        allowed(environments=places()),  # any amount may be written
        allowed(environments=places(max_spill=-1)),
        allowed(
            spilled=100 * MiB, collections=(collection(sizes=sizes(*[950 * MiB] * 8)),)
        ),  # larger than allowed
        full(environments=places(disk_free=14 * GiB)),
        full(environments=places(disk_free=None)),
        full(workers=workers(process=3 * GiB, managed=3 * GiB, spilled=0)),  # nothing was written
        full(workers=workers(process=3 * GiB, managed=3 * GiB, spilled=60 * MiB)),
        full(workers=workers(process=GiB, managed=100 * MiB, spilled=2 * GiB)),
        on("tmpfs", 0),
        on("tmpfs", 250 * MiB),
        on("ext4", 2 * GiB),
        on(None, 2 * GiB),
        on("overlay", 2 * GiB),
        snapshot(environments=()),
        snapshot(environments=places(address="tcp://gone")),
    ],
)
def test_is_quiet(given):
    assert not run(spill_disk_full, given)


def test_says_when_the_workers_did_not_tell():
    with pytest.raises(NotChecked):
        run(spill_disk_full, allowed(environments=()))


def test_hosts_are_told_apart():
    two = tuple(
        environment(n, host=f"10.0.0.{n // 2}", disk_free=9 * GiB if n < 2 else 90 * GiB) for n in range(4)
    )  # fmt: skip
    given = full(environments=two, workers=workers(process=3 * GiB, managed=3 * GiB, spilled=2 * GiB))
    (finding,) = run(spill_disk_full, given)
    assert finding.message.startswith("2 workers still hold 6 GiB")


def test_fix_lets_them_write_more_where_there_is_room():
    given = allowed()
    (finding,) = run(spill_disk_full, given)
    (fix,) = finding.fixes
    assert apply(fix, given.code)[0] == 'dask.config.set({"distributed.worker.memory.max-spill": "41 GiB"})'
    assert fix.expect.startswith("1 GiB → 41 GiB for each worker, 199 GiB are free.")


def test_where_the_disk_is_full_nobody_is_allowed_more_of_it():
    (finding,) = run(
        spill_disk_full, allowed(environments=places(max_spill=GiB, disk_free=2 * GiB, disk_total=9 * GiB))
    )
    assert finding.subject == "local-directory"
    assert finding.severity == "warning"
    # No more than there is already, even where little is held in memory
    light = writing(0.85)
    light = (change(light[0], managed=100 * MiB), *(change(w, managed=0) for w in light[1:]))
    (finding,) = run(
        spill_disk_full, allowed(workers=light, environments=places(max_spill=GiB, disk_free=2 * GiB))
    )
    assert finding.subject == "max-spill"
    assert not finding.fixes


def test_measures_what_was_written():
    given = allowed(spilled=GiB // 2)
    facts = {"workers": given.workers, "environments": given.environments}
    (measured,) = spill_disk_full.measuring("max-spill", None, **facts)
    assert measured.value == 0.5
    (measured,) = spill_disk_full.measuring("local-directory", None, **facts)
    assert measured.value == GiB // 2
