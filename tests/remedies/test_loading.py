"""Edits that have the workers read: what comes out is the same, run by Dask itself."""

import dask
import pandas as pd
import pytest

from jupyter_dask_doctor.remedies.loading import Wanted, handed_over_once, read_with_dask
from jupyter_dask_doctor.snapshot import Column
from tests.healthy import apply, at, change, code, lazy


@pytest.fixture
def folder(tmp_path):
    """Two files of each kind."""
    for i in range(2):
        part = pd.DataFrame(
            {"k": range(i * 50, i * 50 + 50), "x": [float(i)] * 50, "day": ["2024-01-01"] * 50}
        )
        part.to_csv(tmp_path / f"{i}.csv", index=False)
        (tmp_path / "parquet").mkdir(exist_ok=True)
        part.to_parquet(tmp_path / "parquet" / f"{i}.parquet")
    return str(tmp_path)


def wanted(variable="orders"):
    return Wanted(variable=variable, npartitions=2, nbytes=1_000, ailing=at("c9", 9), title="t", expect="e")


def executed(sources, folder):
    space = {"folder": folder}
    with dask.config.set(scheduler="synchronous"):
        for text in sources:
            exec(text, space)
    return space["result"]


IMPORTS = "import pandas as pd\nimport dask.dataframe as dd"


@pytest.mark.parametrize(
    ("sources", "variable"),
    [
        ((IMPORTS, 'orders = pd.read_csv(f"{folder}/0.csv")', "df = dd.from_pandas(orders, npartitions=2)"), "orders"),
        ((IMPORTS, 'df = dd.from_pandas(pd.read_parquet(folder + "/parquet"), npartitions=2)', ""), None),
        (
            (
                IMPORTS,
                'orders = pd.read_csv(\n    f"{folder}/1.csv",\n    usecols=["k", "x"],  # two\n'
                '    dtype={"x": float},\n)\n',
                "df = dd.from_pandas(orders, npartitions=2)",
            ),
            "orders",
        ),
        (
            (IMPORTS, 'path = folder + "/parquet"\norders = pd.read_parquet(path, columns=["k", "x"])\n'
             "df = dd.from_pandas(orders, 2)", ""),
            "orders",
        ),
    ],
)  # fmt: skip
def test_gives_the_same(sources, variable, folder):
    cells = code(*sources, "result = df.groupby('k').x.sum().sum().compute(), len(df)")
    fix = read_with_dask(cells, wanted(variable))
    after = apply(fix, cells)
    assert after != list(cells)
    assert not any("from_pandas" in text for text in after)
    assert executed(after, folder) == executed([c.source for c in cells], folder)


@pytest.mark.parametrize(
    "sources",
    [
        (IMPORTS, "orders = pd.read_csv(path, index_col=0)", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(path, **options)", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(*paths)", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(io.StringIO(text))", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(path).dropna()", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(path)", "orders = orders[1:]", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders, b = pd.read_csv(path), 1", "df = dd.from_pandas(orders, 2)"),
        (
            IMPORTS,
            "orders = pd.read_csv(path)",
            "a = dd.from_pandas(orders, 2)\nb = dd.from_pandas(orders, 9)",
        ),
        (IMPORTS, "df = dd.from_pandas(orders, 2)", "orders = pd.read_csv(path)"),
        (
            "import pandas as pd\norders = pd.read_csv(path)",
            "import dask.dataframe as dd\ndd.from_pandas(orders, 2)",
        ),
        ("orders = pd.read_csv(path)", "df = dd.from_pandas(orders, 2)"),
        (IMPORTS, "orders = pd.read_csv(path", "df = dd.from_pandas(orders, 2)"),
    ],
)
def test_changes_nothing_where_it_is_not_sure(sources):
    assert read_with_dask(code(*sources), wanted()) is None


def test_characters_of_any_width_keep_their_place():
    cells = code(
        IMPORTS, 'ü = "é🙂"; orders = pd.read_csv("ö.csv"); n = "é🙂"', "df = dd.from_pandas(orders, 2)"
    )
    after = apply(read_with_dask(cells, wanted()), cells)
    assert after[1] == 'ü = "é🙂"; orders = dd.read_csv("ö.csv", blocksize=1_000_000); n = "é🙂"'


LOOKUP = """\
import dask
import dask.dataframe as dd
import pandas as pd
names = pd.DataFrame({"k": range(50), "v": 2.0})
df = dd.from_map(lambda i: pd.DataFrame({"k": range(50)}), range(3))
def add(part, names):
    return part.merge(names, on="k")
META = {"k": "int64", "v": "float64"}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "result = df.map_partitions(add, names, meta=META).v.sum().compute()",
            "result = df.map_partitions(add, names_once, meta=META).v.sum().compute()",
        ),
        (
            "result = df.map_partitions(add, names=names, meta=META).v.sum().compute()",
            "result = df.map_partitions(add, names=names_once, meta=META).v.sum().compute()",
        ),
        (
            "result = dask.compute(*[dask.delayed(add)(p, names) for p in df.partitions])[0].v.sum()",
            "result = dask.compute(*[dask.delayed(add)(p, names_once) for p in df.partitions])[0].v.sum()",
        ),
    ],
)
def test_a_lookup_is_handed_over_once(text, expected, folder):
    cells = code(LOOKUP, text)
    fix = handed_over_once(cells, "names", title="t", expect="e", ailing=at("c2", 2))
    after = apply(fix, cells)
    assert after[1] == f"names_once = dask.delayed(names)\n{expected}"
    assert executed(after, folder) == executed([c.source for c in cells], folder)


@pytest.mark.parametrize(
    "text",
    [
        "out = df.map_partitions(add, names)",  # Dask could not look into it
        "if ready:\n    out = df.map_partitions(add, names)\nelse:\n    out = df.map_partitions(add, names)",
        "def f():\n    return df.map_partitions(add, names)",
        "out = client.map(add, parts, names=names)",
        "a = 1; out = df.map_partitions(add, names)",
        "names_once = 1\nout = df.map_partitions(add, names)",
        "out = df.map_partitions(add, other)",
    ],
)
def test_is_not_handed_over_where_the_place_is_not_plain(text):
    assert handed_over_once(code(LOOKUP, text), "names", title="t", expect="e", ailing=None) is None


def test_says_what_comes_out_where_dask_cannot_look(folder):
    cells = code(LOOKUP, "out = df.map_partitions(add, names)", "result = out.v.sum().compute()")
    out = lazy(
        name="out", columns=(Column(name="k", dtype="int64"), Column(name="v", dtype="float64")), n_columns=2
    )
    fix = handed_over_once(cells, "names", (out,), title="t", expect="e", ailing=None)
    after = apply(fix, cells)
    assert after[1].endswith('out = df.map_partitions(add, names_once, meta={"k": "int64", "v": "float64"})')
    assert executed(after, folder) == executed([c.source for c in cells], folder)
    odd = change(out, columns=(Column(name="k", dtype="category"),), n_columns=1)
    assert handed_over_once(cells, "names", (odd,), title="t", expect="e", ailing=None) is None


def test_brings_the_import():
    cells = code("names = load()", "out = df.map_partitions(add, names, meta=m)")
    fix = handed_over_once(cells, "names", title="t", expect="e", ailing=at("c9", 9))
    assert fix.rerun == ("c2", "c9")
    assert apply(fix, cells)[1].startswith("import dask\n\nnames_once = dask.delayed(names)\n")
