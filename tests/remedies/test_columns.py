"""Which columns the cells use."""

import pytest

from jupyter_dask_doctor.remedies.columns import nbytes, used
from jupyter_dask_doctor.snapshot import Column, Size
from tests.healthy import change, code, lazy

FRAME = lazy(
    columns=tuple(
        Column(name=n, dtype="float64", nbytes=Size(nbytes=10, known="exact"))
        for n in ("x", "y", "k", "tax paid")
    ),
    n_columns=4,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("df.x.sum().compute()", ("x",)),
        ('df["y"].sum().compute()\ndf.x.max()', ("x", "y")),
        ('df[["tax paid", "x"]].mean()', ("x", "tax paid")),
        ("df[df.y > 0].x.sum()", ("x", "y")),
        ("df[(df.y > 0) & (df.k == 1)].x.sum()", ("x", "y", "k")),
        ('df.groupby("k").x.sum()', ("x", "k")),
        ('df.groupby(["k", "y"])[["x"]].sum()', ("x", "y", "k")),
        ("df = load()\ndf.x.sum()", ("x",)),
    ],
)
def test_names_the_columns(text, expected):
    assert used(FRAME, code(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "df.sum().compute()",
        "df.dropna().x.sum()",
        "other = df",
        "show(df)",
        "df.merge(right).x",
        "df.groupby(key).x.sum()",
        'df.groupby("k").sum()',
        'df.groupby("nothing").x.sum()',
        "df[df.y > 0].sum()",
        "df[columns].sum()",
        'df[["x", name]].sum()',
        'df[["x", "y", "k", "tax paid"]].sum()',  # all of them
        "df.x.sum(",
        "print(1)",
    ],
)
def test_does_not_guess(text):
    assert used(FRAME, code(text)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "array"},
        {"columns": ()},
        {"n_columns": 300},
        {"columns": (*FRAME.columns[:3], FRAME.columns[0])},
    ],
)
def test_needs_to_know_all_columns(changes):
    assert used(change(FRAME, **changes), code("df.x.sum()")) is None


def test_bytes_of_some():
    assert nbytes(FRAME, ("x", "y")) == Size(nbytes=20, known="exact")
    half = change(FRAME, columns=(FRAME.columns[0], change(FRAME.columns[1], nbytes=None)))
    assert nbytes(half, ("x",)) == Size(nbytes=10, known="exact")
    assert nbytes(half, ("x", "y")) is None
