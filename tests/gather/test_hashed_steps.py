"""Steps that bring equal rows together by their hash, and trees that are deeper than what is asked of them."""

import pandas as pd
import pytest

from jupyter_dask_doctor.gather.data.frames import describe_frame

dd = pytest.importorskip("dask.dataframe")


def frame():
    return dd.from_pandas(pd.DataFrame({"k": range(300), "v": 1.0}), npartitions=30)


def described(made):
    return describe_frame("made", made, sizes=lambda group: None)


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (lambda df: df.drop_duplicates("k"), ("k",)),
        (lambda df: df.drop_duplicates(), ()),
        (lambda df: df.drop_duplicates(["k", "v"], split_out=30), ("k", "v")),
        (lambda df: df.k.nunique(), ()),
        (lambda df: df.k.value_counts(), ()),
        (lambda df: df.shuffle("k"), ("k",)),
    ],
)
def test_equal_rows_come_together_in_a_shuffle(make, columns):
    (step,) = described(make(frame())).operations
    assert (step.kind, step.n_in, step.n_out) == ("shuffle", (30,), 30)
    assert step.columns == columns


@pytest.mark.parametrize(
    "make",
    [
        lambda df: df.drop_duplicates("k", split_out=1),
        lambda df: df.k.value_counts(split_out=1),
        lambda df: df.v.sum(),
    ],
)
def test_what_comes_together_in_one_partition_is_no_shuffle(make):
    assert not described(make(frame())).operations


def test_the_steps_of_a_long_chain_are_counted():
    made = frame().v
    for i in range(700):
        made = made + i
    found = described(made)
    assert found.n_steps == found.depth == 702
    assert found.npartitions is None
    assert found.gaps
