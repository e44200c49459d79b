"""Text in object columns: what it takes, what Arrow would spare, and what else such columns may hold."""

import dask
import dask.dataframe as dd
import pytest

from jupyter_dask_doctor.rules.partitions import object_strings
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Activity, Column, Read, Size
from jupyter_dask_doctor.verify import measures
from tests.healthy import (
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
    held,
    lazy,
    load,
    name,
    run,
    snapshot,
)

ROWS = 20_000_000
SOURCE = 'df = dd.read_csv("*.csv", dtype={"page": "object"}).persist()'
OFF = 'dask.config.set({"dataframe.convert-string": False})'


def column(label="page", dtype="object", holds="string", each=72):
    return Column(name=label, dtype=dtype, nbytes=Size(nbytes=each * ROWS, known="estimated"), holds=holds)


def number(label="user"):
    return column(label, "int64", None, 8)


def sick(*columns, source=SOURCE, frame=None, **changes):
    """`df`: 20,000,000 rows of a number and a text of 15 characters, on workers with 16 GiB in all."""
    columns = columns or (number(), column())
    facts = {"columns": tuple(Column(name=x.name, dtype=x.dtype) for x in columns), "n_columns": len(columns)}
    frame = collection(**facts | {"held": held(columns=columns)} | (frame or {}))
    facts = {
        "collections": (frame,),
        "code": code(source, "df.page.str.upper().compute()"),
        "cluster": cluster(memory_limit=16 * GiB),
    }
    return snapshot(**facts | changes)


def test_text_that_takes_much_of_the_memory():
    (finding,) = run(object_strings, sick())
    assert finding.id == "object-strings:df"
    assert finding.severity == "warning"
    assert finding.message == (
        "`df` keeps the text of `page` as Python objects: ≈ 1.3 GiB, 90 % of its bytes; Arrow would need 935 MiB less."
    )
    assert finding.loss_bytes == 49 * ROWS
    assert finding.at.cell_id == "c1"


def test_several_columns_are_named_together():
    (finding,) = run(object_strings, sick(number(), column("a"), column("b")))
    assert "the text of `a` and `b`" in finding.message
    (finding,) = run(object_strings, sick(number(), *[column(n) for n in "abcd"]))
    assert "the text of `a`, `b` and 2 others" in finding.message


def test_long_texts_are_not_said_to_vanish():
    (finding,) = run(object_strings, sick(number(), column(each=1_000)))
    assert finding.loss_bytes == 49 * ROWS


def test_small_in_a_large_cluster_is_only_worth_knowing():
    (finding,) = run(object_strings, sick(cluster=cluster(memory_limit=64 * GiB)))
    assert finding.severity == "info"


def test_pickling_is_held_against_it():
    pickling = (Activity(context="get-data", prefix=None, label="serialize", seconds=6.0),)
    group = collection().group
    facts = sick(
        cluster=cluster(memory_limit=64 * GiB),
        computations=(computation(reused=(group,), activity=pickling),),
    )
    (finding,) = run(object_strings, facts)
    assert finding.severity == "warning"
    assert finding.loss_seconds == pytest.approx(5.4)
    assert finding.fixes[0].rerun == ("c1", "c2")
    quick = change(
        facts, computations=(computation(reused=(group,), thread_seconds=600.0, activity=pickling),)
    )
    (finding,) = run(object_strings, quick)
    assert finding.severity == "info"


def test_fix_converts_before_it_is_persisted():
    (finding,) = run(object_strings, sick())
    (fix,) = finding.fixes
    assert apply(fix, sick().code)[0] == (
        'df = dd.read_csv("*.csv", dtype={"page": "object"}).astype({"page": "string[pyarrow]"}).persist()'
    )
    assert "≈ 1.3 GiB → 439 MiB" in fix.expect
    cured = sick(number(), column(dtype="string", holds=None, each=23))
    assert not run(object_strings, cured)


def test_fixes_keep_the_text_on_real_dask(tmp_path):
    (tmp_path / "a.csv").write_text("user,page\n1,/home\n2,/shop\n")
    source = f"{OFF}\ndf = dd.read_csv({str(tmp_path / 'a.csv')!r}, dtype={{'page': 'object'}}).persist()"
    facts = sick(source=source)
    (finding,) = run(object_strings, facts)
    assert len(finding.fixes) == 2
    for fix in finding.fixes:
        with dask.config.set({"scheduler": "sync"}), dask.config.set(dict(dask.config.config)):
            namespace = {"dask": dask, "dd": dd}
            exec(apply(fix, facts.code)[0], namespace)
            dask.config.set({"dataframe.convert-string": None})
            df = namespace["df"].compute()
        assert str(df.page.dtype) == "string"
        assert df.page.tolist() == ["/home", "/shop"]


def test_fix_stands_right_behind_brackets_and_on_many_lines():
    source = "df = (\n    load()\n    .persist()\n)"
    (finding,) = run(object_strings, sick(source=source))
    (after, _) = apply(finding.fixes[0], sick(source=source).code)
    assert after == 'df = (\n    load()\n    .astype({"page": "string[pyarrow]"}).persist()\n)'


def test_fix_where_the_persist_is_not_to_be_found():
    (finding,) = run(object_strings, sick(source="df, other = dask.persist(a, b)"))
    assert finding.fixes[0].edits
    assert finding.fixes[0].code == 'df = df.astype({"page": "string[pyarrow]"}).persist()'
    full = sick(source="df, other = dask.persist(a, b)", load=(load(managed=15 * GiB),))
    (finding,) = run(object_strings, full)
    assert not finding.fixes[0].edits


def test_fix_turns_the_setting_on_again():
    facts = sick(source=f"import dask\n{OFF}\n{SOURCE}")
    (finding,) = run(object_strings, facts)
    assert apply(finding.fixes[0], facts.code)[0].splitlines()[1] == OFF.replace("False", "True")


def test_the_setting_stays_off_where_it_would_turn_decimals_into_text():
    for other in (column("price", holds="decimal"), column("price", holds=None)):
        (finding,) = run(object_strings, sick(number(), column(), other, source=f"{OFF}\n{SOURCE}"))
        assert not any("convert-string" in edit.new for fix in finding.fixes for edit in fix.edits)
        assert "True" not in finding.fixes[0].code


def ahead(text="kept = df.persist()", **changes):
    """A frame read from CSV files with its text as objects, and a cell that has not run."""
    read = (Read(format="csv", path="visits", n_files=20),)
    facts = {"columns": (number(), column(holds=None)), "n_columns": 2, "n_rows": ROWS, "reads": read}
    frame = lazy(**facts | {"names": (name("read-csv"),)} | changes)
    (first,) = code('df = dd.read_csv("*.csv", dtype={"page": "object"})')
    return sick(collections=(frame,), code=(first, cell("c2", text, None, None, None)))


def test_speaks_before_text_files_are_persisted():
    facts = ahead()
    (finding,) = run(object_strings, facts)
    assert finding.severity == "warning"
    assert finding.subject == "df"
    assert apply(finding.fixes[0], facts.code)[1] == 'df = df.astype({"page": "string[pyarrow]"})'
    (finding,) = run(object_strings, ahead("df.page.nunique().compute()"))
    assert finding.severity == "info"  # read piece by piece


@pytest.mark.parametrize(
    "changes",
    [
        {"names": (name("read-csv"), name("parse"))},
        {"reads": (Read(format="parquet", path="visits"),)},
        {"reads": ()},
    ],
)
def test_what_functions_and_other_files_make_is_not_known_to_be_text(changes):
    with pytest.raises(NotChecked):
        run(object_strings, ahead(**changes))


def test_a_series():
    frame = {"kind": "series", "held": held(columns=(column(),)), "columns": (column(),), "n_columns": 1}
    (finding,) = run(object_strings, sick(frame=frame, source="df = load().page.persist()"))
    assert finding.fixes[0].code == 'df = load().page.astype("string[pyarrow]").persist()'


def test_one_finding_for_what_was_made_from_it():
    facts = sick()
    (frame,) = facts.collections
    made = lazy(name="part", names=(*frame.names, "getitem-1"), columns=(column(),), n_columns=1)
    same = change(frame, name="alias")
    assert len(run(object_strings, change(facts, collections=(made, same, frame)))) == 1


@pytest.mark.parametrize("holds", ["decimal", "date", "mixed", "mixed-integer", "boolean", "empty", "bytes"])
def test_is_quiet_of_other_objects(holds):
    assert not run(object_strings, sick(number(), column(holds=holds)))


@pytest.mark.parametrize(
    "columns",
    [
        (number(), column(dtype="string", holds=None)),
        (number(), column(dtype="str", holds=None)),
        (number(), column(dtype="category", holds=None)),
        (*[number(f"n{i}") for i in range(40)], column()),
    ],
)
def test_is_quiet_of_other_frames(columns):
    assert not run(object_strings, sick(*columns))


def test_is_quiet_of_little_text():
    small = Column(
        name="page", dtype="object", nbytes=Size(nbytes=63 * MiB, known="estimated"), holds="string"
    )
    assert not run(object_strings, sick(small))


def test_is_quiet_without_bytes():
    assert not run(object_strings, sick(Column(name="page", dtype="object", holds="string")))
    assert not run(object_strings, sick(frame={"held": None, "columns": ()}))
    assert not run(object_strings, sick(frame={"kind": "array"}))


def test_what_nobody_looked_into_is_not_judged():
    with pytest.raises(NotChecked, match="object columns of `df`"):
        run(object_strings, sick(number(), column(holds=None)))


def test_absurd_facts_do_no_harm():
    run(object_strings, sick(column(each=-5), number()))
    (finding,) = run(object_strings, sick(frame={"held": held(rows=0, columns=(column(), number()))}))
    assert finding.loss_bytes is None
    hostile = column('a"]; evil(); x["<b>`')
    (finding,) = run(object_strings, sick(hostile, number()))
    apply(finding.fixes[0], sick().code)


def test_what_is_compared_when_the_cell_runs_again():
    before = measures("object-strings", "df", at(), sick())
    after = measures(
        "object-strings", "df", at(), sick(number(), column(dtype="string", holds=None, each=23))
    )
    assert (before[0].value, after[0].value) == (72 * ROWS, 0)
