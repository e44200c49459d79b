"""Fewer partitions than threads."""

import pytest

from jupyter_dask_doctor import runner
from jupyter_dask_doctor.rules.partitions import too_few_partitions
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
    load,
    name,
    operation,
    run,
    sizes,
    snapshot,
)

GZIP = Read(
    format="csv",
    path="logs.csv.gz",
    n_files=1,
    nbytes=600_000_000,
    largest=600_000_000,
    npartitions=1,
    compression="gzip",
)
#: One partition, from one file that cannot be cut.
LOGS = lazy(
    name="logs",
    npartitions=1,
    nbytes=None,
    largest=None,
    names=(name("read_csv"),),
    n_tasks=1,
    fused_tasks=1,
    reads=(GZIP,),
)
READ = 'logs = dd.read_csv("logs.csv.gz", blocksize=None)'
WORK = 'logs.map_partitions(parse).groupby("user").size().compute()'
#: 20 s in which one of 8 threads worked.
RAN = computation(n_tasks=4, layers=(("parse", 1),), thread_seconds=20.0, start=T0 + 21, stop=T0 + 41)
GROUPS = (
    group("parse", n_tasks=1, compute_seconds=19.0, sizes=None),
    group("size-chunk", n_tasks=1, compute_seconds=1.0, sizes=None),
)


def sick(**changes):
    facts = {"collections": (LOGS,), "groups": GROUPS, "computations": (RAN,), "code": code(READ, WORK)}
    return snapshot(**facts | changes)


def before(**changes):
    cells = (code(READ)[0], cell("c2", WORK, None, None, None))
    return sick(**{"computations": (), "groups": (), "code": cells} | changes)


def test_says_how_many_there_are_and_who_stood_idle():
    (finding,) = run(too_few_partitions, sick())
    assert finding.id == "too-few-partitions:logs"
    assert finding.severity == "warning"
    assert finding.message == (
        "`logs` has only 1 partition, from one gzip file of 572 MiB: of 8 threads 88 % stood idle for 20 s."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_seconds == pytest.approx(20 - 20 / 8)


def test_says_it_before_the_run_of_the_same_subject_where_it_is_certain():
    (finding,) = run(too_few_partitions, before())
    assert finding.id == "too-few-partitions:logs"
    assert finding.message == (
        "`logs` has only 1 partition, from one gzip file of 572 MiB: "
        "7 of 8 threads will have nothing to do for ≈ 30 s."
    )
    assert finding.at == Location(cell_id="c2", line=1)
    (idle,) = [e for e in finding.evidence if e.label == "idle threads"]
    assert idle.is_estimated


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "parsed = logs.map_partitions(parse)\nby_user = parsed.groupby('user')\nby_user.size().compute()",
            3,
        ),
        ("kept = logs[logs.user > 3].persist()", 1),
        ("import time\nlogs = logs.assign(day=1)\nlogs.day.sum().compute()", 3),
    ],
)
def test_what_is_made_from_it_in_the_cell_counts(text, line):
    cells = (code(READ)[0], cell("c2", text, None, None, None))
    (finding,) = run(too_few_partitions, before(code=cells))
    assert finding.at == Location(cell_id="c2", line=line)


def test_a_row_group_cannot_be_cut_either():
    file = Read(
        format="parquet", path="logs.parquet", n_files=1, nbytes=600_000_000, npartitions=1, n_row_groups=1
    )
    (finding,) = run(too_few_partitions, before(collections=(change(LOGS, reads=(file,)),)))
    assert "from one row group of 572 MiB" in finding.message


@pytest.mark.parametrize(
    "facts",
    [
        {"code": code(READ, WORK)},  # nothing is about to run
        {"code": (code(READ)[0], cell("c2", "print(logs)", None, None, None))},
        {"code": (code(READ)[0], cell("c2", "logs = small\nlogs.sum().compute()", None, None, None))},
        {
            "code": (
                code(READ)[0],
                cell("c2", "for logs in days:\n    pass\nother.compute()", None, None, None),
            )
        },
        {"code": (code(READ)[0], cell("c2", "def later():\n    return logs.compute()", None, None, None))},
        {"collections": (change(LOGS, reads=(change(GZIP, nbytes=90_000_000),)),)},
        {"collections": (change(LOGS, reads=(change(GZIP, nbytes=None),)),)},
        {"collections": (change(LOGS, reads=(change(GZIP, compression=None),)),)},
        {"collections": (change(LOGS, reads=()),)},
        {"collections": (change(LOGS, npartitions=None),)},
        {"collections": (change(LOGS, npartitions=16, reads=(change(GZIP, n_files=16),)),)},
        {"cluster": cluster(is_adaptive=True)},
        {"cluster": cluster(nthreads=1)},
    ],
)
def test_is_quiet_before_a_run_where_it_is_not_certain(facts):
    assert not run(too_few_partitions, before(**facts))


@pytest.mark.parametrize(
    "facts",
    [
        {"computations": (change(RAN, thread_seconds=100.0),)},  # 38 % idle
        {"computations": (change(RAN, stop=T0 + 25, thread_seconds=4.0),)},  # 4 s
        {"computations": (change(RAN, is_done=False, stop=None),), "load": (load(),)},
        {"groups": (group("parse", n_tasks=8, compute_seconds=19.0),)},
        {"groups": ()},
        {"collections": (change(LOGS, npartitions=8),)},
        {"collections": (change(LOGS, kind="delayed"),)},
        {"collections": (change(LOGS, kind="futures"),)},
        {"cluster": cluster(is_adaptive=True)},
    ],
)
def test_is_quiet_when_threads_were_busy_or_the_cause_is_another(facts):
    assert not run(too_few_partitions, sick(**facts))


def test_is_quiet_of_a_result_that_was_made_of_many():
    many = lazy(name="df", npartitions=40, names=(name("read_parquet"),))
    one = change(LOGS, name="one", names=(name("repartitiontofewer"), *many.names), reads=many.reads)
    cells = code("df = load()\none = df.repartition(npartitions=1)", "one.map_partitions(train).compute()")
    assert not run(too_few_partitions, sick(collections=(many, one), code=cells))
    narrowed = change(LOGS, operations=(operation("repartition", n_in=(40,), n_out=1),))
    assert not run(too_few_partitions, sick(collections=(narrowed,)))
    summed = change(LOGS, names=(name("groupby-aggregate"),), reads=())
    assert not run(too_few_partitions, sick(collections=(summed,)))


def test_is_quiet_of_a_partition_that_was_made_of_many_in_an_earlier_cell():
    kept = collection(name="one", npartitions=1, sizes=sizes(MiB), group=name("repartitiontofewer"))
    kept = change(kept, names=(name("fromgraph"), kept.group))
    cells = code("one = load().persist()", "one.map_partitions(fit).compute()")
    made = group("repartitiontofewer", n_tasks=1, computation_id="k0", dependencies=(name("mean"),))
    wide = group("mean", n_tasks=20, computation_id="k0", sizes=None)
    facts = sick(collections=(kept,), code=cells, groups=(*GROUPS, made, wide))
    assert not run(too_few_partitions, facts)
    # what was only read, in one piece, has no such excuse
    read = change(kept, group=name("read_csv"), names=(name("fromgraph"), name("read_csv")))
    facts = sick(
        collections=(read,), code=cells, groups=(*GROUPS, group("read_csv", n_tasks=1, computation_id="k0"))
    )
    assert run(too_few_partitions, facts)


def test_a_repartition_into_too_few_for_these_threads_is_told():
    cut = change(
        LOGS, npartitions=2, names=(name("repartitiontofewer"), name("read_parquet")), reads=(),
        operations=(operation("repartition", n_in=(40,), n_out=2),),
    )  # fmt: skip
    groups = (group("parse", n_tasks=2, compute_seconds=19.0, sizes=None),)
    text = code('logs = dd.read_parquet("logs").repartition(npartitions=2)', WORK)
    facts = sick(collections=(cut,), groups=groups, code=text)
    (fix,) = run(too_few_partitions, facts)[0].fixes
    assert apply(fix, text)[0] == 'logs = dd.read_parquet("logs").repartition(npartitions=16)'


def test_is_quiet_of_a_stage_that_ends_in_few_tasks():
    wide = group("load", n_tasks=40, compute_seconds=15.0, sizes=None)
    assert not run(too_few_partitions, sick(groups=(*GROUPS, wide)))


def test_is_quiet_of_a_small_table_beside_a_large_one():
    df = collection(name="df", sizes=sizes(*[80 * MiB] * 40))
    small = change(LOGS, name="shops", reads=())
    merged = (
        group("blockwisemerge", n_tasks=40, compute_seconds=19.0, sizes=None),
        group("read_csv", n_tasks=1, compute_seconds=0.2, sizes=None),
    )
    cells = code("df = load()\nshops = load()", "df.merge(shops).compute()")
    assert not run(too_few_partitions, sick(collections=(df, small), groups=merged, code=cells))


def test_without_the_time_of_the_threads_it_cannot_be_told():
    with pytest.raises(NotChecked, match="how busy the threads were"):
        run(too_few_partitions, sick(computations=(change(RAN, thread_seconds=None),)))


def test_is_quiet_after_the_cell_ran_again_on_more():
    cells = (code(READ)[0], cell("c2", WORK, 5, T0 + 60, T0 + 70))
    again = change(RAN, id="k2", submitted=T0 + 60.1, start=T0 + 60.2, stop=T0 + 67, thread_seconds=45.0,
                   at=at("c2", 5))  # fmt: skip
    cured = change(LOGS, npartitions=16, names=(name("repartition"), *LOGS.names))
    assert not run(too_few_partitions, sick(collections=(cured,), computations=(RAN, again), code=cells))


def test_fix_of_a_file_that_cannot_be_cut_cuts_what_was_read():
    facts = sick()
    cut, rewritten = run(too_few_partitions, facts)[0].fixes
    assert apply(cut, facts.code)[1] == "logs = logs.repartition(npartitions=16)"
    assert (
        cut.expect
        == "1 → about 16 partitions: work for all 8 threads; what comes before the cut is done as now"
    )
    assert rewritten.applicability == "display-only"
    assert 'to_parquet("logs.parquet")' in rewritten.code


def test_fix_of_a_file_that_can_be_cut_reads_smaller_blocks():
    file = Read(format="csv", path="logs.csv", n_files=1, nbytes=600 * MiB, largest=600 * MiB, npartitions=2)
    two = change(LOGS, npartitions=2, n_tasks=2, reads=(file,))
    groups = (group("parse", n_tasks=2, compute_seconds=19.0, sizes=None),)
    facts = sick(
        collections=(two,), groups=groups, code=code('logs = dd.read_csv("logs.csv", blocksize=300e6)', WORK)
    )
    (finding,) = run(too_few_partitions, facts)
    assert finding.message == "`logs` has only 2 partitions: of 8 threads 88 % stood idle for 20 s."
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[0] == 'logs = dd.read_csv("logs.csv", blocksize="37MiB")'
    assert "2 → about 16 partitions" in fix.expect


def test_fix_of_parquet_reads_its_row_groups_one_by_one():
    file = Read(
        format="parquet", path="logs.parquet", n_files=1, nbytes=600 * MiB, npartitions=1, n_row_groups=64
    )
    facts = sick(
        collections=(change(LOGS, reads=(file,)),), code=code('logs = dd.read_parquet("logs.parquet")', WORK)
    )
    (fix,) = run(too_few_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == 'logs = dd.read_parquet("logs.parquet", split_row_groups=4)'


def test_fix_of_a_frame_of_the_kernel_is_another_count():
    for text, cured in [
        ("logs = dd.from_pandas(frame, npartitions=1)", "logs = dd.from_pandas(frame, npartitions=16)"),
        ("logs = dd.from_pandas(frame, 1)", "logs = dd.from_pandas(frame, 16)"),
    ]:
        facts = sick(collections=(change(LOGS, reads=()),), code=code(text, WORK))
        (fix,) = run(too_few_partitions, facts)[0].fixes
        assert apply(fix, facts.code)[0] == cured


def test_fix_of_what_is_held_needs_room_for_both():
    held = collection(name="logs", npartitions=1, sizes=sizes(9 * GiB))
    facts = sick(
        collections=(held,), code=code("logs = load().persist()", WORK), load=(load(managed=9 * GiB),)
    )
    (fix,) = run(too_few_partitions, facts)[0].fixes
    assert fix.applicability == "display-only"


def test_no_count_with_which_a_merge_loses_rows():
    old = cluster(dask="2025.7.0", nthreads=64)
    facts = sick(cluster=old)
    assert "npartitions=130" in run(too_few_partitions, facts)[0].fixes[0].code


def test_idle_workers_leaves_the_word_to_it():
    points = tuple(load(time=T0 + 21 + i, threads_busy=1, tasks_waiting=3) for i in range(20))
    report = runner.examine(sick(load=points))
    assert [f.rule for f in report.findings if f.severity != "info"] == ["too-few-partitions"]


def test_hostile_names_stay_in_their_place():
    evil = change(
        LOGS, name="`<b>\n`", is_persisted=True, group=name("x"), reads=(change(GZIP, compression="<i>"),)
    )
    ran = change(RAN, reused=(name("x"),))
    (finding,) = run(too_few_partitions, sick(collections=(evil,), computations=(ran,), code=()))
    assert finding.message.startswith("`'<b> '` has only")
    assert not finding.fixes


@pytest.mark.parametrize("nbytes", [-1, 0, 10**30])
def test_absurd_numbers_do_no_harm(nbytes):
    odd = change(
        LOGS, nbytes=Size(nbytes=nbytes, known="estimated"), reads=(change(GZIP, nbytes=nbytes, n_files=0),)
    )
    run(too_few_partitions, sick(collections=(odd,)))
    run(too_few_partitions, before(collections=(odd,)))


def test_measures_the_time_and_the_idle_threads():
    (finding,) = run(too_few_partitions, sick())
    found = {m.label: m.value for m in runner.measure(finding, sick())}
    assert found["time of its tasks"] == pytest.approx(20.0)
    assert found["idle threads"] == pytest.approx(7 / 8)
