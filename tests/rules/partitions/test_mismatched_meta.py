"""Partitions that are not what their meta says, in memory and in Dask's own errors."""

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.rules.partitions import mismatched_meta
from jupyter_dask_doctor.snapshot import Column
from jupyter_dask_doctor.verify import measures
from tests.healthy import T0, apply, at, change, code, collection, failure, held, run, snapshot

SOURCE = 'df = raw.map_partitions(parse, meta={"user": "int64", "amount": "float64"}).persist()'
TABLE = pd.DataFrame({"user": [1, 2], "amount": [0.5, 1.5]})


def columns(**dtypes):
    return tuple(Column(name=n, dtype=d) for n, d in dtypes.items())


def sick(*, real=None, source=SOURCE, **changes):
    """`df`, whose amounts are text in truth."""
    real = columns(user="int64", amount="str") if real is None else real
    facts = {"columns": columns(user="int64", amount="float64"), "n_columns": 2, "held": held(columns=real)}
    frame = collection(**facts | changes)
    return snapshot(collections=(frame,), code=code(source, "df.amount.sum().compute()"), failures=())


def broken(text, source=SOURCE, work="df.amount.sum().compute()", **changes):
    """A task of the cell "c2" that ended with this error."""
    frame = collection(
        columns=columns(user="int64", amount="float64"), sizes=None, is_persisted=False, group=None
    )
    facts = {
        "collections": (frame,),
        "code": code(source, work),
        "failures": (failure(prefix="parse", exception="ValueError", text=text),),
    }
    return snapshot(**facts | changes)


def dask_says(function):
    """The text of the error that Dask itself raises here."""
    with pytest.raises(ValueError, match=r"\w") as raised:
        function().compute(scheduler="sync")
    return str(raised.value)


def mapped(function, meta):
    return dd.from_pandas(TABLE, npartitions=1).map_partitions(function, meta=meta)


def delayed(meta):
    return dd.from_delayed([dask.delayed(TABLE)], meta=meta)


META = {"user": "int64", "amount": "float64"}


def test_text_where_numbers_are_promised_is_critical():
    (finding,) = run(mismatched_meta, sick())
    assert finding.id == "mismatched-meta:df"
    assert finding.severity == "critical"
    assert finding.message == (
        "The partitions of `df` are not what its meta says: `amount` is `str` instead of `float64`."
    )
    assert finding.at.cell_id == "c1"


@pytest.mark.parametrize(
    ("real", "severity", "said"),
    [
        (columns(user="int64", amount="datetime64[ns]"), "critical", "`amount` is `datetime64[ns]`"),
        (columns(user="int64", amount="object"), "warning", "`amount` is `object` instead of `float64`"),
        (columns(user="bool", amount="float64"), "warning", "`user` is `bool` instead of `int64`"),
        (columns(user="float64", amount="float64"), "info", "`user` is `float64` instead of `int64`"),
        (columns(user="int64"), "critical", "`amount` is missing"),
        (columns(user="int64", amount="float64", tip="float64"), "critical", "`tip` was not expected"),
        (columns(amount="float64", user="int64"), "critical", "stand in another order, `amount` first"),
        (
            columns(a="str", b="str"),
            "critical",
            "`user` and `amount` are missing, `a` and `b` was not expected",
        ),
    ],
)
def test_each_kind_of_difference(real, severity, said):
    (finding,) = run(mismatched_meta, sick(real=real))
    assert finding.severity == severity
    assert said in finding.message


@pytest.mark.parametrize(
    ("promised", "real"),
    [
        ("int64", "int32"),
        ("int64", "Int64"),
        ("float64", "double[pyarrow]"),
        ("str", "string"),
        ("object", "str"),
        ("string", "object"),
        ("category", "object"),
        ("category", "category"),
        ("datetime64[ns]", "datetime64[us]"),
        ("bool", "boolean"),
        ("interval", "interval"),
    ],
)
def test_is_quiet_of_what_is_alike(promised, real):
    assert not run(mismatched_meta, sick(columns=columns(x=promised), n_columns=1, real=columns(x=real)))


@pytest.mark.parametrize("real", ["float64", "datetime64[ns]", "bool"])
def test_an_object_column_promises_nothing(real):
    found = run(mismatched_meta, sick(columns=columns(x="object"), n_columns=1, real=columns(x=real)))
    assert [f.severity for f in found] == ["info"]


def test_many_columns_are_counted():
    names = [f"c{i}" for i in range(9)]
    (finding,) = run(
        mismatched_meta,
        sick(
            columns=columns(**dict.fromkeys(names, "int64")),
            n_columns=9,
            real=columns(**dict.fromkeys(names, "str")),
        ),
    )
    assert "`c2` is `str` instead of `int64` and 6 more." in finding.message


def test_fix_says_what_there_is():
    (finding,) = run(mismatched_meta, sick())
    by_meta, by_type = finding.fixes
    assert apply(by_meta, sick().code)[0] == (
        'df = raw.map_partitions(parse, meta={"user": "int64", "amount": "str"}).persist()'
    )
    assert apply(by_type, sick().code)[1] == 'df = df.astype({"amount": "str"})'
    assert not run(mismatched_meta, sick(columns=columns(user="int64", amount="str")))


def test_fixes_make_meta_true_on_real_dask():
    def parse(part):
        return part.assign(amount=part.amount.astype("str"))

    raw = dd.from_pandas(TABLE, npartitions=1)
    real = mapped(parse, META).compute(scheduler="sync")
    kinds = columns(**{name: str(dtype) for name, dtype in real.dtypes.items()})
    source = SOURCE.replace(".persist()", "")
    (finding,) = run(mismatched_meta, sick(real=kinds, source=source))
    for fix in finding.fixes:
        namespace = {"raw": raw, "parse": parse}
        exec("\n".join(apply(fix, sick(source=source).code)[:-1]), namespace)
        df = namespace["df"]
        after = df.compute(scheduler="sync")
        assert {n: str(d) for n, d in df.dtypes.items()} == {n: str(d) for n, d in after.dtypes.items()}
        assert after.to_dict() == real.to_dict()


def test_fix_of_other_names_is_only_meta():
    (finding,) = run(mismatched_meta, sick(real=columns(amount="float64", user="int64")))
    (fix,) = finding.fixes
    assert 'meta={"amount": "float64", "user": "int64"}' in fix.code


def test_a_series_has_one_column_of_any_name():
    source = "df = s.map(f, meta=('x', 'float64'))"
    facts = {"kind": "series", "columns": columns(x="float64"), "n_columns": 1, "source": source}
    assert not run(mismatched_meta, sick(real=columns(y="float64"), **facts))
    (finding,) = run(mismatched_meta, sick(real=columns(x="str"), **facts))
    assert [fix.code for fix in finding.fixes] == [
        'df = s.map(f, meta=("x", "str"))',
        'df = df.astype("str")',
    ]


def test_what_was_made_from_it_is_not_told_again():
    facts = sick()
    other = change(facts.collections[0], name="copy", names=(*facts.collections[0].names, "getitem-1"))
    assert len(run(mismatched_meta, change(facts, collections=(other, *facts.collections)))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"held": None},
        {"held": held(columns=())},
        {"columns": (), "n_columns": None},
        {"held": held(n=0, columns=columns(user="str"))},
        {"kind": "array"},
        {"kind": "futures"},
        {"columns": columns(user="int64", amount="str")},
    ],
)
def test_is_quiet_without_facts(changes):
    assert not run(mismatched_meta, sick(**changes))


def test_is_quiet_of_names_where_only_the_first_columns_are_known():
    assert not run(mismatched_meta, sick(n_columns=500, real=columns(user="int64", other="str")))


def test_two_columns_of_one_name_are_not_compared():
    twice = (Column(name="x", dtype="int64"), Column(name="x", dtype="str"))
    assert not run(mismatched_meta, sick(columns=twice, real=columns(x="str")))


@pytest.mark.parametrize(
    ("made", "said", "after"),
    [
        (
            lambda: mapped(lambda part: part.rename(columns={"amount": "price"}), META),
            "`amount` is missing, `price` was not expected",
            "df = raw.map_partitions(parse).persist()",
        ),
        (
            lambda: mapped(lambda part: part[["user"]], META),
            "`amount` is missing",
            'df = raw.map_partitions(parse, meta={"user": "int64"}).persist()',
        ),
        (
            lambda: mapped(lambda part: part[["amount", "user"]], META),
            "the columns stand in another order, `amount` first",
            'df = raw.map_partitions(parse, meta={"amount": "float64", "user": "int64"}).persist()',
        ),
    ],
)
def test_errors_that_dask_raises(made, said, after):
    text = dask_says(made)
    for told in (text, f"{ValueError(text)!r}"):
        facts = broken(told)
        (finding,) = run(mismatched_meta, facts)
        assert finding.id == "mismatched-meta:df"
        assert finding.severity == "critical"
        assert f"`df` is not what its meta says: {said}." in finding.message
        assert apply(finding.fixes[0], facts.code)[0] == after


@pytest.mark.parametrize(
    ("meta", "said", "after"),
    [
        (
            {"user": "int64", "amount": "object"},
            "`amount` is `float64` instead of `object`",
            '"amount": "float64"',
        ),
        ({"user": "int64", "price": "float64"}, "`price` is missing, `amount` was not expected", None),
    ],
)
def test_errors_of_from_delayed(meta, said, after):
    source = f"df = dd.from_delayed(parts, meta={meta!r})"
    facts = broken(dask_says(lambda: delayed(meta)), source)
    (finding,) = run(mismatched_meta, facts)
    assert said in finding.message
    if after is None:
        assert not finding.fixes
    else:
        assert after in apply(finding.fixes[0], facts.code)[0]


def test_another_class_than_promised():
    text = dask_says(lambda: dd.from_delayed([dask.delayed(TABLE.user)], meta=META))
    (finding,) = run(mismatched_meta, broken(text, "df = dd.from_delayed(parts, meta=META)"))
    assert "a partition is a `pandas.Series` instead of a `pandas.DataFrame`" in finding.message


def test_dtypes_of_csv_files(tmp_path):
    for i, value in enumerate(("1", "1.5")):
        (tmp_path / f"{i}.csv").write_text(f"user,amount\n1,{value}\n")
    text = dask_says(lambda: dd.read_csv(f"{tmp_path}/*.csv"))
    facts = broken(text, 'df = dd.read_csv("*.csv", dtype={"user": "int32"})')
    (finding,) = run(mismatched_meta, facts)
    assert "`amount` is `float64` instead of `int64`" in finding.message
    assert apply(finding.fixes[0], facts.code)[0] == (
        'df = dd.read_csv("*.csv", dtype={"user": "int32", "amount": "float64"})'
    )
    assert finding.fixes[0].rerun == ("c1", "c2")


def test_an_error_of_what_no_variable_holds():
    text = dask_says(lambda: mapped(lambda part: part[["user"]], META))
    (finding,) = run(mismatched_meta, broken(text, collections=()))
    assert finding.subject == "parse"
    assert "A partition of `parse` is not what its meta says" in finding.message


@pytest.mark.parametrize("text", ["", "division by zero", "Metadata", "columns do not match", "x" * 5_000])
def test_is_quiet_of_other_errors(text):
    assert not run(mismatched_meta, broken(text))


def test_what_failed_before_the_cell_ran_again_is_over():
    text = dask_says(lambda: mapped(lambda part: part[["user"]], META))
    facts = broken(text)
    again = change(facts.code[1], started=T0 + 100, stopped=T0 + 110, execution_count=3)
    assert not run(mismatched_meta, change(facts, code=(facts.code[0], again)))


def test_torn_and_hostile_texts_do_no_harm():
    text = "The columns in the computed data do not match the columns in the provided metadata.\n  Extra: ['<b>', 1, ("
    (finding,) = run(mismatched_meta, broken(text))
    assert "columns or dtypes differ" in finding.message
    hostile = columns(**{'a"); evil("': "int64"})
    (finding,) = run(
        mismatched_meta, sick(columns=hostile, n_columns=1, real=columns(**{'a"); evil("': "str"}))
    )
    for fix in finding.fixes:
        apply(fix, sick().code)


def test_what_is_compared_when_the_cell_runs_again():
    before = measures("mismatched-meta", "df", at(), sick())
    after = measures("mismatched-meta", "df", at(), sick(columns=columns(user="int64", amount="str")))
    assert (before[0].value, after[0].value) == (1, 0)
