"""Chunks that do not fit."""

import math

import pytest

from jupyter_dask_doctor.rules.partitions import chunk_explosion
from jupyter_dask_doctor.snapshot import Read, Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    change,
    code,
    computation,
    lazy,
    name,
    operation,
    run,
    snapshot,
    workers,
)

N = 20_000
MAKES = f"x = da.random.random(({N}, {N}), chunks=({N}, 200))"


def array(variable, shape=(N, N), chunks=(N, 200), **changes):
    facts = {
        "name": variable, "kind": "array", "shape": shape, "chunks": chunks, "dtype": "float64",
        "npartitions": math.prod(math.ceil(n / k) for n, k in zip(shape, chunks, strict=True)),
        "nbytes": Size(nbytes=8 * math.prod(shape), known="exact"),
        "largest": Size(nbytes=8 * math.prod(chunks), known="exact"),
        "names": (name(variable),), "columns": (), "n_columns": None, "n_rows": None, "reads": (), "at": at("c1", 1),
    }  # fmt: skip
    return lazy(**facts | changes)


def step(kind="alignment", before=(N, 200), after=(200, 200), n_in=(100, 100), n_out=10_000, **changes):
    facts = {
        "n_in": n_in, "n_out": n_out, "largest_in": 8 * math.prod(before), "largest_out": 8 * math.prod(after),
        "chunks_in": before, "chunks_out": after, "columns": (),
    }  # fmt: skip
    return operation(kind, **facts | changes)


def sum_of(one=None, **changes):
    """`y = x + x.T` on columns."""
    one = one or step()
    facts = {"chunks": one.chunks_out, "npartitions": one.n_out, "operations": (one,), "at": at("c2", 2)}
    return array("y", **facts | changes)


def facts(y=None, text="y = x + x.T", *, makes=MAKES, **changes):
    given = {
        "collections": (array("x"), y or sum_of()),
        "computations": (),
        "groups": (),
        "workers": workers(2, nthreads=2, memory_limit=4 * GiB),
        "code": code(makes, text),
    }
    return snapshot(**given | changes)


def test_speaks_before_anything_runs():
    (finding,) = run(chunk_explosion, facts())
    assert finding.id == "chunk-explosion:y"
    assert finding.severity == "warning"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "`y` goes from 100 chunks to 10,000 of at most 313 KiB: chunks that do not fit each other are cut into "
        "small pieces."
    )
    assert finding.loss_seconds == pytest.approx(9_900 * 0.0006)


def test_all_tasks_count():
    (finding,) = run(chunk_explosion, facts(sum_of(n_tasks=50_000)))
    assert finding.loss_seconds == pytest.approx(49_500 * 0.0006)


@pytest.mark.parametrize(
    "one",
    [
        step(n_in=(250, 250), n_out=1_999),  # few
        step(n_in=(1_001,)),  # nine times
        step(after=(2_000, 2_000)),  # of a good size
        step(largest_out=None),
        step(n_out=None),
        step(n_in=(None,)),
        step(n_in=()),
        step("repartition"),
    ],
)
def test_is_quiet_when_they_are_not_too_many(one):
    assert not run(chunk_explosion, facts(sum_of(one)))


def test_is_quiet_when_the_handling_did_not_count():
    ran = computation(stop=T0 + 620, asked=(sum_of(),))
    assert not run(chunk_explosion, facts(computations=(ran,)))
    short = change(ran, stop=T0 + 40.5)
    (finding,) = run(chunk_explosion, facts(computations=(short,)))
    assert finding.id == "chunk-explosion:y"
    assert finding.of_seconds == pytest.approx(20.0)


def test_what_is_made_from_it_is_no_second_finding():
    mean = sum_of(name="mean", at=at("c3", 3))
    (finding,) = run(chunk_explosion, facts(collections=(array("x"), sum_of(), mean)))
    assert finding.subject == "y"


def test_what_no_variable_holds_is_told_from_what_was_asked():
    asked = computation(asked=(sum_of(name="", at=None),), stop=None)
    (finding,) = run(chunk_explosion, facts(collections=(array("x"),), computations=(asked,)))
    assert finding.subject == "alignment"
    assert finding.at == at("c2", 2)


def test_fix_where_the_array_begins():
    given = facts()
    (finding,) = run(chunk_explosion, given)
    (fix,) = finding.fixes
    assert apply(fix, given.code) == [MAKES.replace("(20000, 200)", "(3334, 3334)"), "y = x + x.T"]
    assert fix.expect == "10,000 → about 36 chunks, each of about 85 MiB"
    assert fix.rerun == ("c1", "c2")


def test_fix_behind_the_array_where_its_beginning_is_not_found():
    given = facts(makes="x = load()")
    (finding,) = run(chunk_explosion, given)
    assert apply(finding.fixes[0], given.code) == ["x = load()", "x = x.rechunk((3334, 3334))", "y = x + x.T"]


def test_fix_of_two_arrays_gives_one_the_chunks_of_the_other():
    a = array("a", chunks=(N, 200))
    b = array("b", chunks=(200, N))
    given = facts(text="y = a + b", makes="a, b = load()", collections=(a, b, sum_of()))
    (finding,) = run(chunk_explosion, given)
    assert apply(finding.fixes[0], given.code)[1] == "b = b.rechunk(a.chunks)"


def test_fix_fits_small_workers():
    given = facts(workers=workers(2, nthreads=2, memory_limit=512 * MiB))
    (finding,) = run(chunk_explosion, given)
    assert "MiB" in finding.fixes[0].expect
    (edit,) = finding.fixes[0].edits
    edge = int(edit.new.split("chunks=(")[1].split(",")[0])
    assert 2 * 3 * 8 * edge * edge <= 0.6 * 512 * MiB


def test_too_many_by_a_rechunk_of_the_users():
    text = "y = x.rechunk((100, 100))"
    one = step("rechunk", after=(100, 100), n_in=(100,), n_out=40_000)
    given = facts(sum_of(one, chunks=(100, 100)), text)
    (finding,) = run(chunk_explosion, given)
    assert "`rechunk` cuts it into small pieces" in finding.message
    (_, after) = apply(finding.fixes[0], given.code)
    assert after == "y = x.rechunk((3334, 3334))"


def test_too_many_by_a_reshape_that_may_not_merge():
    text = "y = x.reshape(-1, merge_chunks=False)"
    one = step("reshape", after=(200,), n_in=(100,), n_out=2_000_000)
    given = facts(sum_of(one, shape=(N * N,), chunks=(200,)), text)
    (finding,) = run(chunk_explosion, given)
    assert apply(finding.fixes[0], given.code)[1] == "y = x.reshape(-1)"


def huge(after=(N, N), **changes):
    """All in one chunk: 3 GiB."""
    return step("rechunk", before=(N, 200), after=after, **{"n_in": (100,), "n_out": 1} | changes)


def test_one_huge_chunk_is_critical():
    text = "y = x.rechunk(-1)"
    given = facts(sum_of(huge(), chunks=(N, N), npartitions=1), text)
    (finding,) = run(chunk_explosion, given)
    assert finding.id == "chunk-explosion:y"
    assert finding.severity == "critical"
    assert finding.message == "In `y` `rechunk` makes chunks of 3 GiB from chunks of 31 MiB."
    (_, after) = apply(finding.fixes[0], given.code)
    assert after == "y = x.rechunk((3334, 3334))"


def test_a_chunk_too_large_for_the_threads_is_a_warning():
    one = huge((N, 4_000), n_out=5)  # 610 MiB; two threads with three copies
    given = facts(sum_of(one, chunks=(N, 4_000)), "y = x.rechunk((20000, 4000))")
    (finding,) = run(chunk_explosion, given)
    assert finding.severity == "warning"
    assert "2 threads at once need ≈ 3.6 GiB" in finding.why
    # The axis that is whole stays whole
    assert apply(finding.fixes[0], given.code)[1] == "y = x.rechunk((20000, 646))"


@pytest.mark.parametrize(
    "one",
    [
        huge((N, 2_500), n_out=8),  # 381 MiB: it fits
        huge((N, 400), n_out=50),  # 61 MiB
        huge((N, 700), n_out=29, largest_in=8 * N * 200),  # three and a half times
        huge(largest_in=None),
        huge(largest_out=None),
    ],
)
def test_a_rechunk_that_fits_is_quiet(one):
    y = sum_of(one, chunks=one.chunks_out)
    assert not run(chunk_explosion, facts(y, "y = x.rechunk(...)"))


def test_is_quiet_when_it_ran_and_fitted():
    one = huge((N, 4_000), n_out=5)
    y = sum_of(one, chunks=(N, 4_000))
    ran = computation(asked=(y,), peak_worker_memory=2 * GiB)
    assert not run(chunk_explosion, facts(y, computations=(ran,)))
    ran = computation(asked=(y,), peak_worker_memory=3 * GiB)
    assert run(chunk_explosion, facts(y, computations=(ran,)))


def test_workers_without_a_limit_are_no_reason():
    one = huge((N, 4_000), n_out=5)
    free = workers(2, memory_limit=None)
    assert not run(chunk_explosion, facts(sum_of(one, chunks=(N, 4_000)), workers=free))
    (finding,) = run(chunk_explosion, facts(sum_of(huge(), chunks=(N, N)), workers=free))
    assert finding.severity == "warning"


OPENS = 'x = da.from_zarr("x.zarr", chunks=(1, 20000))'


def read(**changes):
    facts = {
        "format": "zarr",
        "path": "x.zarr",
        "chunks": (1_000, 1_000),
        "shape": (N, N),
        "asked_chunks": (1, N),
    }
    return Read(**facts | changes)


def stored(**changes):
    return facts(collections=(array("x", chunks=(1, N), reads=(read(**changes),)),), makes=OPENS)


def test_a_store_read_against_its_grain():
    given = stored()
    (finding,) = run(chunk_explosion, given)
    assert finding.id == "chunk-explosion:x"
    assert finding.message == (
        "`x` is read in chunks of (1, 20000) from a zarr store that has (1000, 1000): each of its chunks is read "
        "1,000×."
    )
    assert apply(finding.fixes[0], given.code)[0] == 'x = da.from_zarr("x.zarr", chunks=(3000, 4000))'


def test_what_is_made_from_what_is_read_is_no_second_finding():
    x = array("x", chunks=(1, N), reads=(read(),))
    mean = array("mean", shape=(N,), chunks=(N,), reads=(read(),))
    (finding,) = run(chunk_explosion, facts(collections=(x, mean), makes=OPENS))
    assert finding.subject == "x"


def test_the_store_opened_by_xarray():
    opens = 'x = xr.open_zarr("x.zarr", chunks={"time": 1}).temperature'
    given = facts(collections=(array("x", chunks=(1, N), reads=(read(),)),), makes=opens)
    (finding,) = run(chunk_explosion, given)
    assert apply(finding.fixes[0], given.code)[0] == 'x = xr.open_zarr("x.zarr", chunks={}).temperature'


@pytest.mark.parametrize(
    "changes",
    [
        {"asked_chunks": (1_000, 1_000)},
        {"asked_chunks": (3_000, 20_000)},
        {"asked_chunks": (1_500, 1_500)},  # 1.33 × 1.33
        {"asked_chunks": (N, N)},
        {"asked_chunks": ()},
        {"asked_chunks": (-1, N)},
        {"chunks": ()},
        {"chunks": (0, 0)},
        {"chunks": (1_000,)},
        {"chunks": (1_000_000, 1_000_000), "asked_chunks": (N, N)},  # one chunk, longer than the array
        {"shape": (200, 100)},  # 156 KiB
    ],
)
def test_is_quiet_about_a_store_that_is_read_well(changes):
    assert not run(chunk_explosion, stored(**changes))


def test_measures_chunks():
    (measure, largest) = chunk_explosion.measuring("y", at("c2", 2), collections=(sum_of(),))
    assert (measure.label, measure.value) == ("chunks", 10_000)
    assert largest.unit == "bytes"


def test_hostile_and_absurd_facts():
    y = sum_of(step(n_out=10**9), name="y`<b>" + "x" * 500, shape=(-1, N), largest=None)
    (finding,) = run(chunk_explosion, facts(y))
    assert len(finding.message) < 400
    assert not finding.fixes
    assert not run(chunk_explosion, facts(sum_of(step(n_in=(0,), n_out=0))))


def test_a_healthy_notebook_is_quiet():
    assert not run(chunk_explosion, snapshot())
