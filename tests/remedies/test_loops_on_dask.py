"""Loops that become one step give the same columns on real Dask, and a short tree."""

import dask
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.remedies import loops
from tests.healthy import apply, at, cell, lazy

dd = pytest.importorskip("dask.dataframe")


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


def run(code):
    pdf = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0) % 7 - 3})
    names = {"df": dd.from_pandas(pdf, npartitions=4), "np": np}
    exec(compile(code, "<cell>", "exec"), names)
    return names["df"]


@pytest.mark.parametrize(
    "loop",
    [
        'for i in range(30):\n    df[f"x{i}"] = df["a"] * i',
        'for c in ["a", "b"]:\n    df[c + "_abs"] = df[c].abs()',
        'for c in ["a", "b"]:\n    df[c] = df[c].clip(0, 5)',
        'for i, c in enumerate(["a", "b"]):\n    df = df.assign(**{f"{c}{i}": df.a + i})',
        'for i in range(1, 20):\n    df[f"x{i}"] = df.a + i\n    df[f"y{i}"] = df[f"x{i}"] * 2',
        "for i in range(20):\n    df = df[df.a > i]",
        "for i in range(20):\n    df = df.map_partitions(lambda d, k: d + k, i)",
    ],
)
def test_the_same_comes_out(loop):
    given = cell("c1", loop, 1)
    before = run(loop)
    n = len(list(before.expr.walk()))
    (fix,) = loops.joined(given, lazy(name="df", n_steps=n), rerun=at())
    (text,) = apply(fix, [given])
    after = run(text)
    pd.testing.assert_frame_equal(after.compute(), before.compute())
    assert len(list(after.expr.walk())) <= n


def test_a_hundred_columns_are_one_step_above_what_each_needs():
    loop = 'for i in range(100):\n    df[f"x{i}"] = df["a"] * i'
    (fix,) = loops.joined(cell("c1", loop, 1), lazy(name="df"), rerun=at())
    (text,) = apply(fix, [cell("c1", loop, 1)])
    assert len(list(run(text).expr.walk())) == 103
    assert len(list(run(loop).expr.walk())) == 301
