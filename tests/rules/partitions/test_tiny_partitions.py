"""Many partitions with little in each."""

import pytest

from jupyter_dask_doctor import runner
from jupyter_dask_doctor.config import Settings
from jupyter_dask_doctor.rules import RULES
from jupyter_dask_doctor.rules.partitions import tiny_partitions
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Location, Read, Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    cluster,
    code,
    collection,
    computation,
    group,
    lazy,
    name,
    operation,
    run,
    sizes,
    snapshot,
)

CSV = Read(format="csv", path="events.csv", n_files=1, nbytes=640 * MiB, largest=640 * MiB, npartitions=2_000)
#: 2,000 partitions of 320 KiB, read from one file of text.
EVENTS = lazy(
    name="events",
    npartitions=2_000,
    nbytes=Size(nbytes=640 * MiB, known="estimated"),
    largest=Size(nbytes=MiB, known="estimated"),
    names=(name("read_csv"),),
    n_tasks=2_000,
    fused_tasks=2_000,
    reads=(CSV,),
)
READ = 'events = dd.read_csv("events.csv", blocksize="320KiB")'
WORK = 'events.groupby("user").amount.sum().compute()'
#: 6 s with 8 threads that worked for 4 s in all.
RAN = computation(
    n_tasks=4_300,
    layers=(("read_csv", 2_000), ("groupby-chunk", 2_000), ("groupby-combine", 300)),
    thread_seconds=4.0,
    start=T0 + 21,
    stop=T0 + 26.5,
    names=(),
)


def sick(**changes):
    facts = {
        "collections": (EVENTS,),
        "groups": (),
        "computations": (RAN,),
        "code": code(READ, WORK),
    }
    return snapshot(**facts | changes)


def before(**changes):
    """The same before the work has run."""
    cells = (code(READ)[0], cell("c2", WORK, None, None, None))
    return sick(**{"computations": (), "code": cells} | changes)


def test_says_what_the_pieces_cost():
    (finding,) = run(tiny_partitions, sick())
    assert finding.id == "tiny-partitions:events"
    assert finding.severity == "warning"
    assert finding.message == (
        "`events` is cut into 2,000 partitions of ≈ 328 KiB: handling them cost about 4.6 s of 5.5 s."
    )
    assert finding.at == at("c2", 2)
    # of the idle time the part of those tasks that 24 partitions would spare
    assert finding.loss_seconds == pytest.approx((5.5 - 4 / 8) * 4_000 * (1 - 24 / 2_000) / 4_300)
    assert finding.of_seconds == pytest.approx(5.5)


def test_says_it_before_the_run_of_the_same_subject():
    (finding,) = run(tiny_partitions, before())
    assert finding.id == "tiny-partitions:events"
    assert finding.severity == "warning"
    assert finding.message == (
        "`events` is cut into 2,000 partitions of ≈ 328 KiB: handling them takes ≈ 2 s each time it is computed."
    )
    assert finding.at == at("c1", 1)
    (overhead,) = [e for e in finding.evidence if e.label == "overhead"]
    assert overhead.is_estimated


def test_a_planned_compute_is_where_it_will_be_paid():
    cells = (code(READ)[0], cell("c2", "frame = events.compute()", None, None, None))
    (finding,) = run(tiny_partitions, before(code=cells))
    assert finding.at == Location(cell_id="c2", line=1)


def test_the_loss_is_never_more_than_the_time_in_which_threads_had_nothing_to_do():
    (finding,) = run(tiny_partitions, sick(computations=(change(RAN, thread_seconds=20.0),)))
    assert finding.loss_seconds == pytest.approx((5.5 - 20 / 8) * 4_000 * (1 - 24 / 2_000) / 4_300)


def test_the_loss_is_never_more_than_what_handling_tasks_can_take():
    (finding,) = run(tiny_partitions, sick(computations=(change(RAN, stop=T0 + 121.0),)))
    assert finding.loss_seconds == pytest.approx(4_000 * (1 - 24 / 2_000) * 0.005)


def test_what_fusing_alone_would_spare_is_told_by_another_rule():
    (finding,) = run(tiny_partitions, sick(computations=(change(RAN, fused_tasks=2_150),)))
    assert finding.loss_seconds == pytest.approx((5.5 - 4 / 8) * 2_000 * (1 - 24 / 2_000) / 4_300)


@pytest.mark.parametrize(
    "ran",
    [
        change(RAN, thread_seconds=31.0),  # the threads were busy for more than 70 % of the time
        change(RAN, thread_seconds=220.0, stop=T0 + 71.0),  # 51 ms each: little data, much work
        change(RAN, fused_tasks=2_160, stop=T0 + 22.5),  # 0.6 s
        change(RAN, stop=T0 + 521.0),  # 20 s of 500
        change(RAN, thread_seconds=None),
        change(RAN, layers=(("sum", 60),), n_tasks=60),  # only a few of them were read
    ],
)
def test_is_quiet_when_a_run_lost_little_by_it(ran):
    assert not run(tiny_partitions, sick(computations=(ran,)))


@pytest.mark.parametrize(
    "events",
    [
        change(EVENTS, npartitions=100),
        change(EVENTS, nbytes=Size(nbytes=2_000 * 11 * MiB, known="estimated")),
        change(EVENTS, npartitions=None),
        change(EVENTS, kind="delayed"),
        change(EVENTS, kind="futures"),
        change(EVENTS, names=(name("sum"), *EVENTS.names)),
        change(EVENTS, names=(name("mean_agg-aggregate"),)),
        change(EVENTS, operations=(operation("groupby"),)),
    ],
)
def test_is_quiet_before_and_after(events):
    assert not run(tiny_partitions, before(collections=(events,)))
    assert not run(tiny_partitions, sick(collections=(events,)))


def test_is_quiet_before_when_it_would_cost_less_than_a_second():
    fewer = change(EVENTS, npartitions=900, n_tasks=900, fused_tasks=900)
    assert not run(tiny_partitions, before(collections=(fewer,)))


def test_is_quiet_of_what_runs_longer_than_its_handling_takes():
    # 9 MiB in each of 2,000: 18 GB for 8 threads
    heavy = change(EVENTS, nbytes=Size(nbytes=2_000 * 9 * MiB, known="estimated"), reads=())
    assert not run(tiny_partitions, before(collections=(heavy,)))


def test_a_graph_that_is_large_as_a_whole_has_a_rule_of_its_own():
    assert not run(tiny_partitions, before(collections=(change(EVENTS, n_tasks=60_000, fused_tasks=None),)))
    total = change(EVENTS, name="total", npartitions=1, names=(name("sum"), *EVENTS.names), n_tasks=60_000)
    assert not run(tiny_partitions, before(collections=(EVENTS, total)))
    assert run(tiny_partitions, before(collections=(EVENTS, change(total, n_tasks=40_000))))
    running = change(RAN, n_tasks=60_000, is_done=False, start=None, stop=None)
    assert not run(tiny_partitions, sick(computations=(running,)))


def test_words_that_only_look_like_reductions_do_not_silence_it():
    mine = change(EVENTS, names=(name("load_summary"), name("rechunk-merge")))
    assert run(tiny_partitions, before(collections=(mine,)))


def test_is_quiet_of_what_was_put_together_again():
    together = change(
        EVENTS, name="frame", npartitions=8, names=(name("repartitiontofewer"), *EVENTS.names), n_tasks=2_008
    )
    assert not run(tiny_partitions, before(collections=(EVENTS, together)))
    assert not run(tiny_partitions, sick(collections=(EVENTS, together)))


def test_what_is_made_from_it_is_not_told_again():
    more = change(EVENTS, name="more", names=(name("assign"), *EVENTS.names))
    (finding,) = run(tiny_partitions, sick(collections=(more, EVENTS)))
    assert finding.subject == "events"
    (finding,) = run(tiny_partitions, sick(collections=(EVENTS, change(EVENTS, name="again"))))
    assert finding.subject == "events"


def test_the_small_output_of_a_large_input_is_no_fault():
    large = change(EVENTS, name="x", nbytes=Size(nbytes=200 * GiB, known="exact"), reads=())
    small = change(EVENTS, name="small", names=(name("shrunk"), *EVENTS.names), reads=())
    assert not run(tiny_partitions, before(collections=(large, small)))


def test_partitions_in_memory_are_told_as_measured():
    held = collection(name="events", sizes=sizes(*[200_000] * 2_000), npartitions=2_000)
    ran = change(RAN, reused=(held.group,))
    (finding,) = run(tiny_partitions, sick(collections=(held,), computations=(ran,)))
    assert "of about 195 KiB" in finding.message
    assert finding.charts
    (fix,) = finding.fixes
    assert fix.code == "events = events.repartition(npartitions=24).persist()"


def test_many_small_files_speak_where_the_size_in_memory_is_not_known():
    files = Read(format="csv", path="days", n_files=2_000, nbytes=2_000 * 80_000, npartitions=2_000)
    many = change(EVENTS, nbytes=None, largest=None, reads=(files,))
    (finding,) = run(tiny_partitions, before(collections=(many,)))
    assert finding.message == (
        "`events` is read from 2,000 files of about 78 KiB, in 2,000 partitions: "
        "handling them takes ≈ 2 s each time it is computed."
    )
    # a blocksize cannot join files
    assert apply(finding.fixes[0], before().code)[1] == "events = events.repartition(npartitions=24)"
    larger = change(many, reads=(change(files, nbytes=2_000 * 3_000_000),))
    with pytest.raises(NotChecked, match="`events`"):
        run(tiny_partitions, sick(collections=(larger,)))
    assert not run(tiny_partitions, before(collections=(larger,)))


def test_opening_each_file_counts_and_is_no_work():
    files = Read(format="parquet", path="days", n_files=2_000, nbytes=2_000 * 5_000, npartitions=2_000)
    many = change(EVENTS, reads=(files,))
    reading = group("read_parquet", n_tasks=2_000, compute_seconds=30.0, sizes=None)
    ran = change(RAN, thread_seconds=34.0)  # busy for 77 % of the time, but with opening files
    (finding,) = run(tiny_partitions, sick(collections=(many,), computations=(ran,), groups=(reading,)))
    idle = 5.5 - 34 / 8
    opening = (30 - 10_000_000 / (100 * MiB)) / 8
    share = 1 - 24 / 2_000
    assert finding.loss_seconds == pytest.approx(idle * 4_000 * share / 4_300 + opening * share)
    # not of one large file, nor without the time of the reading
    assert not run(tiny_partitions, sick(computations=(ran,), groups=(reading,)))
    assert not run(tiny_partitions, sick(collections=(many,), computations=(ran,), groups=()))
    parsing = change(reading, prefix="parse")
    assert not run(tiny_partitions, sick(collections=(many,), computations=(ran,), groups=(parsing,)))


def test_fix_asks_for_larger_blocks_where_it_is_read():
    facts = sick()
    (fix,) = run(tiny_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == 'events = dd.read_csv("events.csv", blocksize="26MiB")'
    assert fix.expect == "2,000 → about 24 partitions of about 27 MiB"
    assert fix.rerun == ("c1", "c2")
    cured = change(EVENTS, npartitions=24, n_tasks=24, fused_tasks=24)
    assert not run(tiny_partitions, before(collections=(cured,)))


def test_fix_keeps_to_about_100_mib():
    more = change(
        EVENTS, nbytes=Size(nbytes=16 * GiB, known="estimated"), reads=(change(CSV, nbytes=16 * GiB),)
    )
    facts = sick(collections=(more,))
    (fix,) = run(tiny_partitions, facts)[0].fixes
    assert 'blocksize="99MiB"' in fix.code
    assert fix.expect == "2,000 → about 165 partitions of about 99 MiB"


def test_fix_joins_parquet_files():
    read = Read(format="parquet", path="days", n_files=2_000, nbytes=2_000 * 90_000, npartitions=2_000)
    facts = sick(
        collections=(change(EVENTS, reads=(read,)),),
        code=code('events = dd.read_parquet("days", columns=["user"])', WORK),
    )
    (fix,) = run(tiny_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == (
        'events = dd.read_parquet("days", columns=["user"], aggregate_files=True, blocksize="26MiB")'
    )


@pytest.mark.parametrize(
    "text",
    [
        'events = dd.read_parquet("days", filesystem="arrow")',  # knows no aggregate_files
        'events = dd.read_parquet("days", split_row_groups=1)',
        'events = dd.read_parquet("days", **options)',
        'events = dd.read_parquet("days").query("x > 1")',
        "events = load()",
        "events, users = load()",
        "events = (",
    ],
)
def test_fix_is_a_cell_of_its_own_where_the_call_cannot_be_edited(text):
    read = Read(format="parquet", path="days", n_files=2_000, nbytes=2_000 * 90_000, npartitions=2_000)
    facts = sick(collections=(change(EVENTS, reads=(read,)),), code=code(text, WORK))
    (fix,) = run(tiny_partitions, facts)[0].fixes
    assert fix.edits[0].kind == "below"
    assert fix.code == "events = events.repartition(npartitions=24)"


def test_fix_of_an_array_is_a_chunk_shape():
    x = lazy(
        name="x", kind="array", npartitions=2_500, nbytes=Size(nbytes=200_000_000, known="exact"), shape=(5_000, 5_000),
        chunks=(100, 100), dtype="float64", reads=(), columns=(), names=(name("random_sample"),), n_tasks=2_500,
        fused_tasks=None,
    )  # fmt: skip
    facts = before(
        collections=(x,),
        code=(
            cell("c1", "x = da.random.random((5_000, 5_000), chunks=(100, 100))"),
            cell("c2", "x.mean().compute()", None, None, None),
        ),
    )
    (finding,) = run(tiny_partitions, facts)
    assert "2,500 chunks of about 78 KiB" in finding.message
    assert apply(finding.fixes[0], facts.code)[0] == (
        "x = da.random.random((5_000, 5_000), chunks=(1600, 800))"
    )
    assert finding.fixes[0].expect == "2,500 → about 28 chunks of about 6.8 MiB"


def test_no_count_with_which_a_merge_loses_rows():
    old = cluster(dask="2025.7.0", nthreads=43)  # 3 × 43 = 129
    facts = sick(cluster=old, code=code("events = load()", WORK))
    (fix,) = run(tiny_partitions, facts)[0].fixes
    assert fix.code == "events = events.repartition(npartitions=130)"


def test_no_blocks_that_come_to_such_a_count():
    more = change(
        EVENTS,
        nbytes=Size(nbytes=128 * 100 * MiB, known="estimated"),
        reads=(change(CSV, nbytes=128 * 100 * MiB),),
    )
    (new,) = run(tiny_partitions, sick(collections=(more,)))[0].fixes
    assert "2,000 → about 128 partitions" in new.expect
    old = sick(collections=(more,), cluster=cluster(dask="2025.7.0"))
    (fix,) = run(tiny_partitions, old)[0].fixes
    assert fix.code != new.code
    assert "128" not in fix.expect
    assert "129" not in fix.expect


def test_is_quiet_while_nobody_knows_what_the_threads_did_and_after_the_cell_ran_again():
    running = change(RAN, is_done=False, stop=None, thread_seconds=None)
    assert not run(tiny_partitions, sick(computations=(running,)))
    cells = (code(READ)[0], cell("c2", WORK, 5, T0 + 60, T0 + 62))
    again = change(RAN, id="k2", submitted=T0 + 60.1, start=T0 + 60.2, stop=T0 + 61, thread_seconds=6.0,
                   layers=(("read_csv", 24),), n_tasks=24, at=at("c2", 5))  # fmt: skip
    cured = change(EVENTS, npartitions=24, n_tasks=24)
    assert not run(tiny_partitions, sick(collections=(cured,), computations=(RAN, again), code=cells))


def test_one_voice_with_tiny_tasks_and_large_graph():
    tiny = (
        group("read_csv", n_tasks=2_000, compute_seconds=2.0, sizes=None),
        group("groupby-chunk", n_tasks=2_000, compute_seconds=2.0, sizes=None),
    )
    report = runner.examine(sick(groups=tiny))
    assert [f.rule for f in report.findings if f.severity != "info"] == ["tiny-partitions"]
    many = change(
        RAN, n_tasks=60_000, layers=(("read_csv", 2_000), ("groupby-chunk", 58_000)), thread_seconds=4.0
    )
    report = runner.examine(sick(groups=tiny, computations=(many,)))
    assert [f.rule for f in report.findings if f.severity != "info"] == ["large-graph"]


FILES = Read(format="parquet", path="/data/tills", n_files=2_000, nbytes=2_000 * 5_000, npartitions=2_000)
LINE = 'dd.read_parquet("/data/tills").amount.sum().compute()'


def unheld(**changes):
    """A cell that reads and computes in one line."""
    asked = change(EVENTS, name="", npartitions=1, names=(name("sum"),), reads=(FILES,), at=None)
    cells = (*code("import dask"), cell("c2", LINE, 2, T0 + 20, T0 + 30))
    facts = {"collections": (), "computations": (change(RAN, asked=(asked,)),), "code": cells}
    return sick(**facts | changes)


def test_files_that_no_variable_stands_for_are_told_under_their_own_name():
    facts = unheld()
    (finding,) = run(tiny_partitions, facts)
    assert finding.id == "tiny-partitions:tills/"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "`tills/` is read from 2,000 files of about 4.9 KiB, in 2,000 partitions: "
        "handling them cost about 4.6 s of 5.5 s."
    )
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[1] == (
        'dd.read_parquet("/data/tills", aggregate_files=True, blocksize="406KiB").amount.sum().compute()'
    )
    assert fix.rerun == ("c2",)


def test_while_they_are_read_it_is_reckoned():
    facts = unheld()
    running = change(facts.computations[0], is_done=False, stop=None, thread_seconds=None)
    (finding,) = run(tiny_partitions, unheld(computations=(running,)))
    assert finding.id == "tiny-partitions:tills/"
    assert "takes ≈" in finding.message


def test_files_of_a_variable_are_told_once_and_large_or_few_ones_not_at_all():
    held_too = change(EVENTS, reads=(FILES,))
    (finding,) = run(tiny_partitions, unheld(collections=(held_too,), code=code("events = load()", WORK)))
    assert finding.subject == "events"
    asked = unheld().computations[0].asked[0]
    for read in (
        change(FILES, nbytes=2_000 * 4_000_000),
        change(FILES, n_files=90),
        change(FILES, npartitions=20),
        change(FILES, nbytes=None),
        change(FILES, path="/"),
    ):
        ran = change(RAN, asked=(change(asked, reads=(read,)),))
        assert not run(tiny_partitions, unheld(computations=(ran,)))


def test_hostile_names_stay_in_their_place():
    evil = change(EVENTS, name="`</script>\n", at=None)
    (finding,) = run(tiny_partitions, before(collections=(evil,)))
    assert finding.message.startswith("`'</script>` is cut")
    assert not finding.fixes


@pytest.mark.parametrize("n", [0, -5, 10**12])
def test_absurd_numbers_do_no_harm(n):
    odd = change(EVENTS, npartitions=n, n_tasks=n, nbytes=Size(nbytes=n, known="estimated"))
    run(tiny_partitions, before(collections=(odd,)))
    run(tiny_partitions, sick(collections=(odd,)))


def test_limits_can_be_set():
    settings = Settings(
        limits={"tiny-partitions": change(RULES["tiny-partitions"].thresholds, npartitions=5_000)}
    )
    _, found = runner.run(RULES["tiny-partitions"], before(), settings)
    assert not found


def test_measures_the_time_and_the_partitions():
    (finding,) = run(tiny_partitions, sick())
    found = {m.label: m.value for m in runner.measure(finding, sick())}
    assert found["time of its tasks"] == pytest.approx(5.5)
    assert found["partitions"] == 2_000
