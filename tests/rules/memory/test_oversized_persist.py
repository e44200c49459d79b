"""More is persisted than the workers hold."""

import pytest

from jupyter_dask_doctor.rules.memory import oversized_persist
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    cluster,
    collection,
    kernel,
    load,
    run,
    sizes,
    snapshot,
)

KEEPS = "x = x.persist()"


def array(nbytes=12 * GiB, **changes):
    facts = {
        "name": "x", "kind": "array", "sizes": None, "is_persisted": False, "group": None, "npartitions": 30,
        "nbytes": Size(nbytes=nbytes, known="exact"), "largest": None,
    }  # fmt: skip
    return collection(**facts | changes)


def waiting(text=KEEPS, id="c2"):
    return cell(id, text, None, None, None)


def facts(x=None, text=KEEPS, **changes):
    """Workers with 16 GiB in all, and a cell that is about to persist 12 GiB."""
    given = {"collections": (x or array(),), "code": (cell("c1", "x = load()"), waiting(text))}
    return snapshot(**given | changes)


def test_speaks_before_the_cell_runs():
    (finding,) = run(oversized_persist, facts())
    assert finding.id == "oversized-persist:x"
    assert finding.severity == "warning"
    assert finding.at == at("c2", None, 1)
    assert finding.message == (
        "Keeping `x` in memory would take 12 GiB: 75 % of the 16 GiB that all workers have."
    )


def test_more_than_there_is_is_critical():
    (finding,) = run(oversized_persist, facts(array(17 * GiB)))
    assert finding.severity == "critical"


def test_what_others_keep_counts():
    other = collection(name="kept", nbytes=Size(nbytes=6 * GiB, known="exact"))
    (finding,) = run(oversized_persist, facts(collections=(array(5 * GiB), other)))
    assert finding.message == (
        "Keeping `x` in memory would take with the 6 GiB kept already 11 GiB: 69 % of the 16 GiB that all workers have."
    )


def test_speaks_of_what_is_kept():
    kept = array(12 * GiB, is_persisted=True, group="g", at=at("c2", 2))
    ran = (cell("c1", "x = load()"), cell("c2", KEEPS, 2))
    (finding,) = run(oversized_persist, facts(kept, code=ran, load=(load(spilled=3 * GiB),)))
    assert finding.message == "Keeping `x` in memory takes 12 GiB: 75 % of the 16 GiB that all workers have."
    assert finding.at.cell_id == "c2"
    assert {e.label: e.value for e in finding.evidence}["written to disk by now"] == 3 * GiB


def test_reckons_from_the_partitions_that_are_there():
    coming = collection(name="x", nbytes=None, npartitions=200, sizes=sizes(*[80 * MiB] * 10))
    (finding,) = run(oversized_persist, facts(coming, code=()))
    assert "takes ≈ 16 GiB" in finding.message
    assert not run(oversized_persist, facts(change(coming, npartitions=201), code=()))  # under a twentieth


def test_three_that_are_only_together_too_much_are_told_of_once():
    kept = [
        collection(name=n, group=n, nbytes=Size(nbytes=4 * GiB + i, known="exact")) for i, n in enumerate("abc")
    ]  # fmt: skip
    (finding,) = run(oversized_persist, facts(collections=kept, code=()))
    assert finding.subject == "c"
    assert "takes with the 8 GiB kept already 12 GiB" in finding.message


def test_the_same_partitions_under_two_names_count_once():
    kept = [collection(name=n, nbytes=Size(nbytes=6 * GiB, known="exact")) for n in ("x", "y")]
    assert not run(oversized_persist, facts(collections=kept, code=()))


@pytest.mark.parametrize(
    "given",
    [
        snapshot(),
        facts(array(int(9.6 * GiB))),  # 60 %
        facts(change(array(), nbytes=None)),
        facts(text="y = x[:100].persist()"),
        facts(text="x.compute()"),
        facts(text="x = x[:100]\nx = x.persist()"),
        facts(array(GiB, is_persisted=True)),
        facts(array(255 * MiB), cluster=cluster(memory_limit=300 * MiB)),
        facts(cluster=cluster(is_adaptive=True)),
        facts(cluster=cluster(memory_limit=None, is_in_process=False)),
        facts(cluster=cluster(memory_limit=None), kernel=kernel(memory_total=None)),
        facts(cluster=cluster(memory_limit=0), load=()),
        facts(cluster=cluster(memory_limit=-1), load=()),
        facts(array(-12 * GiB)),
        facts(collection(name="x", kind="futures", sizes=None, nbytes=Size(nbytes=20 * GiB, known="exact"))),
    ],
)
def test_is_quiet(given):
    assert not run(oversized_persist, given)


def test_is_quiet_of_a_little_more_on_a_full_cluster():
    """What is kept speaks for itself; another 5 % are not what fills it."""
    other = collection(name="kept", nbytes=Size(nbytes=9 * GiB, known="exact"))
    assert not run(oversized_persist, facts(array(GiB), collections=(array(GiB), other)))


def test_without_limits_the_machine_is_the_limit():
    given = facts(array(24 * GiB), cluster=cluster(memory_limit=None), kernel=kernel(memory_total=32 * GiB))
    (finding,) = run(oversized_persist, given)
    assert "75 % of the 32 GiB" in finding.message


def test_is_quiet_once_it_is_lazy_again():
    ran = (cell("c1", "x = load()"), cell("c2", "x.mean().compute()", 3))
    assert not run(oversized_persist, facts(code=ran))


def test_fix_leaves_it_lazy():
    given = facts()
    lazy, disk = run(oversized_persist, given)[0].fixes
    assert apply(lazy, given.code)[1] == "x = x"
    assert disk.code.startswith('x.to_zarr("x.zarr")\n')
    given = facts(text="y = dd.concat([x.persist(), other])")
    assert apply(run(oversized_persist, given)[0].fixes[0], given.code)[1] == "y = dd.concat([x, other])"
    frame = collection(
        name="x", is_persisted=False, sizes=None, nbytes=Size(nbytes=12 * GiB, known="estimated")
    )
    (disk,) = run(oversized_persist, facts(frame, text="x = client.persist(x)"))[0].fixes
    assert disk.code == 'x.to_parquet("x.parquet")\nx = dd.read_parquet("x.parquet")'


def test_measures_what_is_kept():
    kept = array(12 * GiB, is_persisted=True, group="g")
    (measured,) = oversized_persist.measuring("x", at("c2"), collections=(kept, array(name="y")))
    assert measured.value == 12 * GiB


def test_a_worker_that_is_restarted_counts_on():
    before, now = load(memory_limit=16 * GiB), load(memory_limit=8 * GiB)
    given = facts(array(8 * GiB), cluster=cluster(memory_limit=8 * GiB), load=(before, now))
    assert not run(oversized_persist, given)


def test_is_quiet_while_workers_of_other_machines_are_still_coming():
    remote = cluster(is_in_process=False, kind="SLURMCluster")
    coming = (load(time=T0, n_workers=1), load(time=T0 + 50, n_workers=4))
    assert not run(oversized_persist, facts(cluster=remote, load=coming))
    there = (*coming, load(time=T0 + 111, n_workers=4))
    assert run(oversized_persist, facts(cluster=remote, load=there))
    assert run(oversized_persist, facts(load=coming))
    # What is kept already is kept, whoever comes
    kept = array(12 * GiB, is_persisted=True, group="g")
    assert run(oversized_persist, facts(kept, cluster=remote, load=coming))
