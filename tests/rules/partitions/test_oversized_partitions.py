"""Partitions against the memory of workers."""

import pytest

from jupyter_dask_doctor.rules.partitions import oversized_partitions
from jupyter_dask_doctor.snapshot import Read, Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    code,
    collection,
    computation,
    load,
    name,
    run,
    sizes,
    snapshot,
    worker,
    workers,
)

LARGE = collection(
    name="events",
    is_persisted=False,
    group=None,
    sizes=None,
    npartitions=12,
    names=(name("frompandas"),),
    nbytes=Size(nbytes=12 * 700 * MiB, known="estimated"),
    largest=Size(nbytes=700 * MiB, known="estimated"),
)


def sick(**changes):
    """12 partitions of 700 MiB on workers with 2 threads and 4 GiB; nothing has run."""
    facts = {
        "collections": (LARGE,),
        "groups": (),
        "computations": (),
        "code": code("events = load()", "events.x.sum().compute()"),
    }
    return snapshot(**facts | changes)


def of(nbytes, **changes):
    return (change(LARGE, largest=Size(nbytes=int(nbytes), known="estimated"), **changes),)


def test_speaks_before_anything_runs_and_says_that_it_reckons():
    (finding,) = run(oversized_partitions, sick())
    assert finding.id == "oversized-partitions:events"
    assert finding.severity == "warning"
    assert finding.message == (
        "Partitions of `events` are up to ≈ 700 MiB: 2 threads at once need ≈ 4.1 GiB on workers with 4 GiB."
    )
    assert finding.evidence[0].is_estimated


def test_one_partition_of_half_a_worker_is_critical():
    (finding,) = run(oversized_partitions, sick(collections=of(2.1 * GiB)))
    assert finding.severity == "critical"


def test_a_measured_size_is_told_without_doubt():
    measured = change(LARGE, largest=Size(nbytes=700 * MiB, known="exact"))
    (finding,) = run(oversized_partitions, sick(collections=(measured,)))
    assert "≈ 700" not in finding.message


def test_above_a_gibibyte_it_is_worth_knowing_even_where_it_fits():
    roomy = workers(memory_limit=64 * GiB)
    (finding,) = run(oversized_partitions, sick(collections=of(1.2 * GiB), workers=roomy))
    assert finding.severity == "info"


def test_without_a_limit_only_the_size_itself_counts():
    assert not run(oversized_partitions, sick(workers=workers(memory_limit=None)))
    assert run(oversized_partitions, sick(collections=of(1.2 * GiB), workers=workers(memory_limit=None)))


@pytest.mark.parametrize(
    "collections",
    [
        of(400 * MiB),  # 3 × 2 × 400 MiB = 2.3 GiB of 4
        of(700 * MiB, npartitions=1),  # one thread can be busy with it
        of(700 * MiB, kind="delayed"),
        of(700 * MiB, kind="futures"),
        (change(LARGE, largest=None),),
        of(15 * MiB),
    ],
)
def test_is_quiet(collections):
    assert not run(oversized_partitions, sick(collections=collections))


def test_is_quiet_of_small_partitions_even_on_the_smallest_worker():
    tiny = workers(memory_limit=64 * MiB)
    assert not run(oversized_partitions, sick(collections=of(15 * MiB), workers=tiny))


def test_is_quiet_when_it_has_run_and_fitted():
    ran = computation(peak_worker_memory=2 * GiB)
    assert not run(oversized_partitions, sick(computations=(ran,)))
    full = computation(peak_worker_memory=3 * GiB)
    (finding,) = run(oversized_partitions, sick(computations=(full,)))
    assert finding.at == full.at


def test_the_tightest_worker_decides():
    mixed = (*workers(memory_limit=64 * GiB), worker(9, memory_limit=2 * GiB))
    (finding,) = run(oversized_partitions, sick(workers=mixed))
    assert finding.message.endswith("on workers with 2 GiB.")


def test_one_finding_for_two_names():
    held = collection(name="a", sizes=sizes(*[700 * MiB] * 12))
    (finding,) = run(oversized_partitions, sick(collections=(held, change(held, name="b"))))
    assert finding.subject == "a"


def test_what_is_made_from_it_is_told_again_only_when_it_has_grown():
    more = change(LARGE, name="more", names=(name("assign"), *LARGE.names))
    (finding,) = run(oversized_partitions, sick(collections=(more, LARGE)))
    assert finding.subject == "events"
    grown = change(more, largest=Size(nbytes=1_100 * MiB, known="estimated"))
    assert len(run(oversized_partitions, sick(collections=(LARGE, grown)))) == 2
    (finding,) = run(oversized_partitions, sick(collections=(LARGE, change(LARGE, name="again"))))
    assert finding.subject == "events"


def test_fix_cuts_every_partition_into_equally_many():
    (finding,) = run(oversized_partitions, sick())
    (fix,) = finding.fixes
    assert apply(fix, sick().code)[1] == "events = events.repartition(npartitions=84)"  # 7 × 12
    assert "12 → 84 partitions" in fix.expect
    cut = of(100 * MiB, npartitions=84)
    assert not run(oversized_partitions, sick(collections=cut))


def test_fix_of_an_array():
    x = change(LARGE, name="x", kind="array", largest=Size(nbytes=700 * MiB, known="exact"))
    (finding,) = run(oversized_partitions, sick(collections=(x,)))
    assert finding.fixes[0].code == 'x = x.rechunk("auto", block_size_limit=104_857_600)  # 100 MiB'


def test_fix_of_what_is_held_needs_room_for_both():
    held = collection(name="events", sizes=sizes(*[700 * MiB] * 12))
    (finding,) = run(oversized_partitions, sick(collections=(held,), load=(load(managed=9 * GiB),)))
    assert finding.fixes[0].applicability == "display-only"
    (finding,) = run(oversized_partitions, sick(collections=(held,)))
    assert finding.fixes[0].code.endswith(".persist()")


def test_no_fix_where_asking_for_partitions_would_start_a_job():
    (finding,) = run(oversized_partitions, sick(collections=(change(LARGE, is_eager=True),)))
    assert not finding.fixes


CSV = Read(
    format="csv", path="e.csv", n_files=1, nbytes=6 * GiB, largest=6 * GiB, npartitions=12, blocksize=GiB // 2
)


def test_fix_asks_for_smaller_blocks_where_the_file_is_read():
    events = change(LARGE, reads=(CSV,))
    facts = sick(
        collections=(events,),
        code=code('events = dd.read_csv("e.csv", blocksize="512MB")', "events.x.sum().compute()"),
    )
    (fix,) = run(oversized_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == 'events = dd.read_csv("e.csv", blocksize="73MiB")'
    assert fix.expect == "12 → about 84 partitions of about 100 MiB"
    assert fix.rerun == ("c1",)


def test_fix_of_parquet_reads_fewer_row_groups_at_once():
    read = Read(format="parquet", path="e", n_files=12, nbytes=6 * GiB, npartitions=12, n_row_groups=240)
    facts = sick(
        collections=(change(LARGE, reads=(read,)),),
        code=code('events = dd.read_parquet("e")', "events.x.sum()"),
    )
    (fix,) = run(oversized_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == 'events = dd.read_parquet("e", split_row_groups=2)'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('events = dd.read_csv("e.csv.gz", blocksize=None)', change(CSV, compression="gzip")),
        (
            'events = dd.read_parquet("e")',
            Read(format="parquet", path="e", n_files=12, npartitions=12, n_row_groups=12),
        ),
        ('events = dd.read_csv("e.csv")[["x"]]', CSV),
        ('events = dd.concat([dd.read_csv("e.csv")])', CSV),
    ],
)
def test_what_cannot_be_read_in_smaller_pieces_is_cut_behind_the_reading(text, read):
    facts = sick(collections=(change(LARGE, reads=(read,)),), code=code(text, "events.x.sum().compute()"))
    (fix,) = run(oversized_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[1] == "events = events.repartition(npartitions=84)"


def test_fix_of_an_array_is_a_chunk_shape_where_it_is_made():
    x = change(
        LARGE, name="x", kind="array", npartitions=4, shape=(20_000, 20_000), chunks=(10_000, 10_000), dtype="float64",
        largest=Size(nbytes=800_000_000, known="exact"), nbytes=Size(nbytes=3_200_000_000, known="exact"), names=(),
    )  # fmt: skip
    facts = sick(
        collections=(x,), code=code("x = da.ones((20_000, 20_000), chunks=10_000)", "x.mean().compute()")
    )
    (fix,) = run(oversized_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == "x = da.ones((20_000, 20_000), chunks=(2500, 5000))"
    assert fix.expect == "4 → about 32 chunks of about 95 MiB"


def test_chunks_smaller_than_those_of_the_file_are_not_asked_of_it():
    x = change(
        LARGE, name="x", kind="array", npartitions=4, shape=(20_000, 20_000), chunks=(10_000, 10_000), dtype="float64",
        largest=Size(nbytes=800_000_000, known="exact"), nbytes=Size(nbytes=3_200_000_000, known="exact"), names=(),
        reads=(Read(format="zarr", path="x", chunks=(10_000, 10_000)),),
    )  # fmt: skip
    facts = sick(collections=(x,), code=code('x = da.from_zarr("x", chunks=10_000)', "x.mean().compute()"))
    (fix,) = run(oversized_partitions, facts)[0].fixes
    assert fix.code.startswith('x = x.rechunk("auto"')


def test_what_is_being_persisted_now_has_the_name_that_it_will_have():
    asked = change(LARGE, name="", at=None)
    cells = (*code("import dask"), cell("c2", "events = load().persist()", 2, T0 + 20, None))
    running = computation(is_done=False, stop=None, method="persist", asked=(asked,), at=at("c2", 2, 1))
    (finding,) = run(oversized_partitions, sick(collections=(), computations=(running,), code=cells))
    assert finding.id == "oversized-partitions:events"
    assert finding.at == at("c2", 2, 1)
    done = change(running, is_done=True, stop=T0 + 30)
    assert not run(oversized_partitions, sick(collections=(), computations=(done,), code=cells))
    nameless = (*code("import dask"), cell("c2", "load().persist()", 2, T0 + 20, None))
    assert not run(oversized_partitions, sick(collections=(), computations=(running,), code=nameless))
