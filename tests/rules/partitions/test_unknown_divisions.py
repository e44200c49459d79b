"""`loc`, joins and what Dask refuses on an index whose divisions are unknown."""

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.rules.partitions import unknown_divisions
from jupyter_dask_doctor.snapshot import Column, PartitionSizes, Read, Size
from jupyter_dask_doctor.verify import measures
from tests.healthy import (
    T0,
    MiB,
    apply,
    at,
    cell,
    change,
    code,
    computation,
    group,
    lazy,
    name,
    operation,
    run,
    sizes,
    snapshot,
)

READ = name("read_parquet")
LOC = name("try_loc")
JOIN = name("merge")
SOURCES = ('df = dd.read_parquet("trips")', "day = df.loc['2024-03-05']\nday.fare.sum().compute()")


def frame(**changes):
    facts = {"npartitions": 60, "index": Column(name="time", dtype="datetime64[ns]"), "names": (READ,)}
    return lazy(**facts | changes)


def looked(**changes):
    facts = {"name": LOC, "n_in": (60,), "n_out": 60, "known_divisions": (False,), "is_on_index": True}
    return operation("loc", **facts | {"columns": ()} | changes)


def joined(**changes):
    facts = {
        "name": JOIN,
        "n_in": (60, 30),
        "n_out": 60,
        "known_divisions": (False, False),
        "is_on_index": True,
    }
    return operation("join", **facts | {"columns": ()} | changes)


def one_day(found=1):
    """Outputs of `loc`: an empty frame has 1,000 bytes."""
    return sizes(*[9 * MiB] * found, *[1_000] * (60 - found))


def sick(*, step=None, own=None, asked=None, **changes):
    """A day of 60 partitions that took 20 s to read and 10 s to look through, by the cell "c2"."""
    step = step or looked()
    reading = group(
        "read_parquet", name=READ, n_tasks=60, compute_seconds=20.0, sizes=sizes(*[80 * MiB] * 60)
    )
    looking = group(
        "try_loc", name=LOC, n_tasks=60, compute_seconds=10.0, dependencies=(READ,), sizes=one_day()
    )
    asked = asked or frame(name="", names=(READ, step.name), operations=(step,), at=None)
    facts = {
        "collections": (frame(),),
        "code": code(*SOURCES),
        "computations": (computation(asked=(asked,)),),
        "groups": own if own is not None else (reading, looking),
    }
    return snapshot(**facts | changes)


def sick_join(**changes):
    moving = [
        group("hash-join-transfer", name=name("hash-join-transfer", i), compute_seconds=4.0) for i in (1, 2)
    ]
    reading = group("read_parquet", name=READ, n_tasks=60, compute_seconds=12.0)
    other = frame(name="fares", names=(name("read_parquet", 2),), npartitions=30)
    asked = frame(name="both", names=(READ, name("read_parquet", 2), JOIN), operations=(joined(),))
    facts = {
        "step": joined(),
        "own": (reading, *moving),
        "asked": asked,
        "collections": (frame(), other, asked),
        "code": code('df = dd.read_parquet("trips")', "both = df.join(fares)\nboth.fare.sum().compute()"),
    }
    return sick(**facts | changes)


def refused(
    text="Can only resample dataframes with known divisions\nSee https://...",
    source="df.resample('1h').sum()",
    **changes,
):
    first, second = code(SOURCES[0], source)
    failed = change(second, has_failed=True, error="ValueError", error_text=text)
    return sick(**{"code": (first, failed), "computations": (), "groups": ()} | changes)


def test_loc_that_looks_through_all_partitions():
    (finding,) = run(unknown_divisions, sick())
    assert finding.id == "unknown-divisions:df"
    assert finding.severity == "warning"
    assert finding.message == (
        "`df` has unknown divisions: `loc` looked through all of its 60 partitions, "
        "30 s of work where nothing was found."
    )
    assert finding.loss_seconds == pytest.approx(30 * 59 / 60)
    assert finding.at.cell_id == "c2"


def test_what_nobody_saw_being_asked_for_is_known_by_its_tasks():
    facts = sick()
    unseen = change(facts, computations=(change(facts.computations[0], asked=()),))
    assert run(unknown_divisions, unseen) == run(unknown_divisions, facts)


def test_many_lookups_of_one_cell_count_together():
    asked = frame(name="", names=(READ, LOC), operations=(looked(),), at=None)
    each = [computation(id=f"k{i}", asked=(asked,), thread_seconds=2.0) for i in range(12)]
    own = [
        group(p, name=n, computation_id=c.id, n_tasks=60, compute_seconds=1.0, dependencies=d, sizes=s)
        for c in each
        for p, n, d, s in (
            ("read_parquet", READ, (), sizes(*[MiB] * 60)),
            ("try_loc", LOC, (READ,), one_day()),
        )
    ]
    (finding,) = run(unknown_divisions, sick(computations=tuple(each), groups=tuple(own)))
    assert "60 partitions, 12 times, 24 s of work" in finding.message
    assert finding.of_seconds == 24.0


def test_loc_whose_partitions_were_not_seen_one_by_one_is_reckoned_by_rows():
    some = PartitionSizes(
        n=6, total=6 * 8 * MiB, median=8 * MiB, p95=8 * MiB, largest=8 * MiB, largest_index="3"
    )
    reading, looking = sick().groups
    (finding,) = run(unknown_divisions, sick(groups=(reading, change(looking, sizes=some))))
    assert "≈ 26 s" in finding.message
    assert finding.evidence[1].is_estimated


def test_a_join_that_moves_all_rows():
    (finding,) = run(unknown_divisions, sick_join())
    assert finding.id == "unknown-divisions:df"
    assert "joining it on its index moved all rows between workers, 8 s of work." in finding.message
    assert finding.loss_seconds == 8.0


def test_fix_of_a_join_is_for_both_sides():
    facts = sick_join()
    text = 'df = dd.read_parquet("🩺 trips"); fares = dd.read_parquet("fares", columns=["fare"])'
    both = code(text, facts.code[1].source)
    (finding,) = run(unknown_divisions, change(facts, code=both))
    by_files, by_order = finding.fixes
    assert apply(by_files, both)[0] == (
        'df = dd.read_parquet("🩺 trips", calculate_divisions=True); '
        'fares = dd.read_parquet("fares", columns=["fare"], calculate_divisions=True)'
    )
    assert "`df` and `fares`" in by_files.title
    assert by_files.rerun == ("c1", "c2")
    assert apply(by_order, both)[1] == (
        'df = df.reset_index().set_index("time", sorted=True)\n'
        'fares = fares.reset_index().set_index("time", sorted=True)'
    )


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own, under the newest pandas
def test_fixes_make_divisions_known_on_real_dask(tmp_path):
    times = pd.date_range("2026-03-05", periods=80, freq="h", name="time")
    with dask.config.set(scheduler="sync"):
        dd.from_pandas(pd.DataFrame({"fare": range(80)}, index=times), npartitions=4).to_parquet(tmp_path)
        text = f"df = dd.read_parquet({str(tmp_path)!r})"
        facts = sick(code=code(text, SOURCES[1]))
        (finding,) = run(unknown_divisions, facts)
        for fix in finding.fixes:
            namespace = {"dd": dd}
            exec(text, namespace)
            assert not namespace["df"].known_divisions
            exec("\n".join(apply(fix, facts.code)[:-1]), namespace)
            df = namespace["df"]
            assert df.known_divisions
            assert df.fare.sum().compute() == sum(range(80))
            assert len(df.loc["2026-03-06"].compute()) == 24
            assert len(df.resample("1D").sum().compute()) == 4


def test_no_fix_for_one_side_alone():
    facts = sick_join()
    (finding,) = run(unknown_divisions, change(facts, collections=(facts.collections[0],)))
    assert not any(fix.edits for fix in finding.fixes)


def test_of_two_shuffles_half_is_held_against_it():
    asked = frame(
        name="both", names=(READ, JOIN), operations=(joined(), operation("merge", name=name("merge", 7)))
    )
    (finding,) = run(unknown_divisions, sick_join(asked=asked))
    assert finding.loss_seconds == 4.0
    assert "≈ 4 s" in finding.message


def test_a_join_is_foreseen_from_the_bytes_of_both_sides():
    facts = sick_join()
    waiting = cell("c2", "both.fare.sum()\nboth.compute()", None, None, None)
    ahead = change(facts, computations=(), groups=(), code=(facts.code[0], waiting))
    both = change(facts.collections[2], at=at("c1"))
    ahead = change(ahead, collections=(*facts.collections[:2], both))
    (finding,) = run(unknown_divisions, ahead)
    assert finding.id == "unknown-divisions:df"
    assert "moves all rows between workers, ≈ 34 s" in finding.message
    small = [change(c, nbytes=Size(nbytes=MiB, known="exact")) for c in ahead.collections]
    assert not run(unknown_divisions, change(ahead, collections=tuple(small)))
    unsized = [change(c, nbytes=None) for c in ahead.collections]
    assert not run(unknown_divisions, change(ahead, collections=tuple(unsized)))


@pytest.mark.parametrize(
    ("text", "source", "said"),
    [
        (
            "Can only resample dataframes with known divisions\nSee",
            "df.fare.resample('1h').sum()",
            "`resample`",
        ),
        ("Can only rolling dataframes with known divisions\nSee", "x = df.rolling(7).mean()", "`rolling`"),
        (
            "Cannot index with list against unknown division. Try setting divisions using ``ddf.set_index``",
            "df.loc[[1, 2]]",
            "`loc` with a list",
        ),
        (
            "Unable to concatenate DataFrame with unknown division specifying axis=1",
            "dd.concat([df, df], axis=1)",
            "`concat` side by side",
        ),
    ],
)
def test_what_dask_refuses(text, source, said):
    (finding,) = run(unknown_divisions, refused(text, source))
    assert finding.id == "unknown-divisions:df"
    assert finding.message == f"Dask refuses {said}: the divisions of `df` are unknown."
    assert finding.at.line == 1
    assert finding.fixes[0].rerun == ("c1", "c2")


def test_a_refusal_of_an_unknown_frame_has_a_name():
    (finding,) = run(unknown_divisions, refused(source="load().resample('1h').sum()"))
    assert finding.subject == "resample"
    assert "the divisions of the frame are unknown" in finding.message
    assert not finding.fixes[0].edits


def test_fix_takes_divisions_from_the_files():
    (finding,) = run(unknown_divisions, sick())
    by_files, by_order = finding.fixes
    assert apply(by_files, sick().code)[0] == 'df = dd.read_parquet("trips", calculate_divisions=True)'
    assert "the statistics of 20 files are read once, ≈ 100 ms" in by_files.expect
    assert by_files.rerun == ("c1", "c2")
    assert apply(by_order, sick().code)[1] == 'df = df.reset_index().set_index("time", sorted=True)'


def test_fix_finds_the_read_that_another_cell_made():
    raw = frame(name="raw", at=at("c1"))
    derived = frame(names=(READ, name("getitem")), at=at("c2", 2))
    asked = frame(name="", names=(READ, name("getitem"), LOC), operations=(looked(),), at=None)
    facts = sick(
        asked=asked,
        collections=(raw, derived),
        code=code(
            "raw = dd.read_parquet(path)", "df = raw[raw.fare > 0]", "df.loc['2024'].fare.sum().compute()"
        ),
    )
    facts = change(facts, computations=(change(facts.computations[0], at=at("c3", 3), submitted=T0 + 41),))
    (finding,) = run(unknown_divisions, facts)
    assert finding.subject == "df"
    assert apply(finding.fixes[0], facts.code)[0] == "raw = dd.read_parquet(path, calculate_divisions=True)"
    assert finding.fixes[0].rerun == ("c1", "c2", "c3")


@pytest.mark.parametrize(
    "changes",
    [
        {"reads": (Read(format="csv", path="a.csv"),)},
        {"index": Column(name="", dtype="int64")},
        {"index": None},
        {"operations": (operation("shuffle"),)},
        {"reads": (Read(format="parquet", path="s3://trips", n_files=100_000),)},
    ],
)
def test_files_are_not_asked_where_that_is_no_help_or_costs_more(changes):
    (finding,) = run(unknown_divisions, sick(collections=(frame(**changes),)))
    assert not any("calculate_divisions" in fix.code for fix in finding.fixes)


def test_files_are_not_asked_twice():
    known = code('df = dd.read_parquet("trips", calculate_divisions=True)', SOURCES[1])
    (finding,) = run(unknown_divisions, sick(code=known))
    assert [fix.code for fix in finding.fixes] == ['df = df.reset_index().set_index("time", sorted=True)']


def test_without_an_index_to_speak_of_the_only_time_column_is_shown():
    times = (Column(name="when", dtype="datetime64[ns]"), Column(name="fare", dtype="float64"))
    unnamed = frame(index=Column(name="", dtype="int64"), columns=times)
    (finding,) = run(unknown_divisions, sick(collections=(unnamed,)))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert 'df = df.set_index("when", sorted=True)' in fix.code


def test_hostile_names_stay_text():
    odd = frame(index=Column(name='a"); import os; ("', dtype="object"))
    (finding,) = run(unknown_divisions, sick(collections=(odd,)))
    texts = apply(finding.fixes[1], sick().code)
    assert "set_index('a\"); import os; (\"', sorted=True)" in texts[1]


@pytest.mark.parametrize(
    "step",
    [
        looked(known_divisions=(True,)),
        looked(known_divisions=(None,)),
        looked(known_divisions=()),
        looked(is_on_index=False),
        looked(n_in=(7,)),
        looked(n_in=(None,)),
        operation("groupby", known_divisions=(False,), is_on_index=True),
    ],
)
def test_is_quiet_of_healthy_steps(step):
    assert not run(unknown_divisions, sick(asked=frame(name="", names=(READ, step.name), operations=(step,))))


def test_is_quiet_of_a_frame_that_is_only_read():
    assert not run(unknown_divisions, sick(asked=frame()))
    assert not run(unknown_divisions, snapshot(collections=(frame(),)))


def test_is_quiet_when_loc_finds_something_nearly_everywhere():
    reading, looking = sick().groups
    quick = change(looking, sizes=one_day(58))
    assert not run(unknown_divisions, sick(groups=(reading, quick)))


def test_is_quiet_when_it_takes_no_time():
    reading, looking = sick().groups
    quick = (change(reading, compute_seconds=0.6), change(looking, compute_seconds=0.3))
    assert not run(unknown_divisions, sick(groups=quick))
    long = sick(computations=(change(sick().computations[0], thread_seconds=1_000.0),))
    assert not run(unknown_divisions, long)


@pytest.mark.parametrize("own", [(), (group("try_loc", name=LOC, sizes=None),)])
def test_is_quiet_when_nobody_saw_what_it_found(own):
    assert not run(unknown_divisions, sick(own=own))


def test_is_quiet_of_a_join_with_one_partition():
    assert not run(
        unknown_divisions,
        sick_join(step=joined(n_in=(60, 1)), asked=frame(operations=(joined(n_in=(60, 1)),))),
    )


def test_what_ran_before_the_cell_ran_again_is_over():
    facts = sick()
    again = change(facts.code[1], started=T0 + 100, stopped=T0 + 110, execution_count=3)
    assert not run(unknown_divisions, change(facts, code=(facts.code[0], again)))


@pytest.mark.parametrize("text", ["", "division by zero", "unknown divisions"])
def test_is_quiet_of_other_errors(text):
    assert not run(unknown_divisions, refused(text))


def test_is_quiet_of_a_cell_that_came_to_a_good_end():
    facts = refused()
    well = change(facts.code[1], has_failed=False, error=None)
    assert not run(unknown_divisions, change(facts, code=(facts.code[0], well)))


def test_absurd_sizes_do_no_harm():
    reading, looking = sick().groups
    for values in (sizes(0, 0, 0), sizes(-5, 10**18)):
        run(unknown_divisions, sick(groups=(reading, change(looking, sizes=values, n_tasks=0))))


def test_what_is_compared_when_the_cell_runs_again():
    (finding,) = run(unknown_divisions, refused())
    before = measures("unknown-divisions", "df", finding.at, refused())
    assert (before[0].label, before[0].value) == ("refused for want of divisions", 1.0)
    after = measures("unknown-divisions", "df", at("c2", 2), sick())
    assert [(m.label, m.value) for m in after[:2]] == [
        ("refused for want of divisions", 0.0),
        ("work of all threads", 40.0),
    ]
