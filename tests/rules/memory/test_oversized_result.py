"""A `compute()` whose result nobody has room for."""

import pytest

from jupyter_dask_doctor.rules.memory import oversized_result
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
    loss,
    run,
    snapshot,
    worker,
    workers,
)

ASKS = "table = x.compute()"


def array(nbytes=3 * GiB, **changes):
    facts = {
        "name": "x", "kind": "array", "sizes": None, "is_persisted": False, "group": None, "npartitions": 30,
        "nbytes": Size(nbytes=nbytes, known="exact"), "largest": None,
    }  # fmt: skip
    return collection(**facts | changes)


def waiting(text=ASKS, **changes):
    return cell("c2", text, **{"n": None, "started": None, "stopped": None} | changes)


def facts(x=None, text=ASKS, **changes):
    """Workers with 4 GiB, a kernel with 12 GiB free, and a cell that is about to compute `x`."""
    given = {"collections": (x or array(),), "code": (cell("c1", "x = load()"), waiting(text))}
    return snapshot(**given | changes)


def test_speaks_before_the_cell_runs():
    (finding,) = run(oversized_result, facts())
    assert finding.id == "oversized-result:x"
    assert finding.severity == "critical"
    assert finding.at == at("c2", None, 1)
    assert finding.message == (
        "`compute()` makes all 3 GiB of `x` into one result: the worker that puts it together needs 6 GiB, "
        "of a limit of 4 GiB, and 12 GiB are free in the kernel."
    )


def test_the_kernel_alone():
    roomy = workers(memory_limit=64 * GiB)
    (finding,) = run(oversized_result, facts(array(7 * GiB), workers=roomy))
    assert finding.severity == "critical"
    assert finding.message.endswith("one result: 12 GiB are free in the kernel.")
    (finding,) = run(oversized_result, facts(array(4 * GiB), workers=roomy))
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    ("nbytes", "severity"),
    [(1.91 * GiB, "critical"), (1.85 * GiB, "warning"), (1.61 * GiB, "warning")],
)
def test_severity_by_the_marks_of_a_worker(nbytes, severity):
    (finding,) = run(oversized_result, facts(array(int(nbytes)), kernel=kernel(memory_available=None)))
    assert finding.severity == severity


@pytest.mark.parametrize(
    "given",
    [
        snapshot(),
        facts(array(int(1.59 * GiB))),
        facts(array(int(1.9 * GiB), npartitions=1)),  # nothing has to be put together
        facts(array(60 * MiB), workers=(worker(memory_limit=100 * MiB),)),  # small in itself
        facts(change(array(), nbytes=None)),
        facts(text="x.sum().compute()"),
        facts(text="x = x[:100]\nx.compute()"),
        facts(array(2 * GiB), workers=workers(memory_limit=None)),
        facts(array(2 * GiB), workers=()),
        facts(
            array(1 * GiB - 1), workers=workers(memory_limit=64 * GiB), kernel=kernel(memory_available=GiB)
        ),
        facts(array(900 * GiB, kind="futures")),
        facts(array(-5 * GiB)),
        facts(kernel=kernel(memory_available=0), workers=workers(memory_limit=None)),
    ],
)
def test_is_quiet(given):
    assert not run(oversized_result, given)


def test_speaks_while_the_cell_runs_and_is_quiet_after_it_ran_well():
    running = waiting(n=2, started=T0 + 20)
    assert run(oversized_result, facts(code=(cell("c1", "x = load()"), running)))
    over = change(running, stopped=T0 + 30)
    assert not run(oversized_result, facts(code=(cell("c1", "x = load()"), over)))


def test_stays_after_the_cell_failed_for_want_of_memory():
    failed = waiting(n=2, started=T0 + 20, stopped=T0 + 30, has_failed=True, error="KilledWorker")
    (finding,) = run(oversized_result, facts(code=(cell("c1", "x = load()"), failed)))
    assert finding.at.cell_id == "c2"
    killed = change(failed, error=None)
    assert run(oversized_result, facts(code=(cell("c1", "x = load()"), killed), losses=(loss(time=T0 + 25),)))


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ("KeyError", ()),
        (None, (loss(time=T0 + 5),)),
        (None, (loss(time=T0 + 25, reason="unexpected"),)),
    ],
)
def test_is_quiet_after_it_failed_for_another_reason(error, lost):
    failed = waiting(n=2, started=T0 + 20, stopped=T0 + 30, has_failed=True, error=error)
    assert not run(oversized_result, facts(code=(cell("c1", "x = load()"), failed), losses=lost))


def test_several_results_are_put_together_each_for_itself():
    some = tuple(array(int(1.5 * GiB), name=name) for name in "xy")
    given = facts(collections=some, text="dask.compute(x, y)", kernel=kernel(memory_available=8 * GiB))
    (finding,) = run(oversized_result, given)
    assert finding.severity == "warning"  # 3 GiB for a kernel that has 8, but 3 of 4 GiB on a worker
    assert "makes all 3 GiB of" in finding.message


def test_estimates_are_marked():
    frame = collection(
        name="x", is_persisted=False, nbytes=Size(nbytes=3 * GiB, known="estimated"), sizes=None
    )
    (finding,) = run(oversized_result, facts(frame))
    assert "all ≈ 3 GiB of `x`" in finding.message
    assert "needs ≈ 6 GiB" in finding.message


def test_fixes_look_at_the_first_rows_or_write():
    frame = collection(name="x", nbytes=Size(nbytes=3 * GiB, known="exact"))
    given = facts(frame)
    head, write = run(oversized_result, given)[0].fixes
    assert apply(head, given.code)[1] == "table = x.head(1_000)"
    assert write.code == 'x.to_parquet("x.parquet")'
    reduce, zarr = run(oversized_result, facts())[0].fixes
    assert reduce.applicability == zarr.applicability == "display-only"
    assert reduce.code.startswith("x.mean(axis=0).compute()")


def test_hostile_names_are_not_written_into_code():
    assert not run(oversized_result, facts(array(name="<b>")))  # no text can call it
    given = facts(array(), cluster=cluster(memory_limit=None))
    assert run(oversized_result, given)


def test_measures_whether_the_run_ended_for_want_of_memory():
    failed = waiting(n=2, started=T0 + 20, stopped=T0 + 30, has_failed=True, error="KilledWorker")
    (measured,) = oversized_result.measuring("x", at("c2", 2), code=(failed,))
    assert measured.value == 1
    (measured,) = oversized_result.measuring(
        "x", at("c2", 2), code=(change(failed, has_failed=False, error=None),)
    )
    assert measured.value == 0
    assert not oversized_result.measuring("x", at("c2", 2), code=(waiting(),))
