"""The code of a fix, run on real Dask: the same rows in the same order, and nothing that stands out."""

import itertools

import dask
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.remedies import fixes
from tests.healthy import cluster, collection, sizes

dd = pytest.importorskip("dask.dataframe")
da = pytest.importorskip("dask.array")

ROWS = [100, 100, 2300, 100, 100, 900, 100, 100, 100, 100, 100, 2000]


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


def table(index=None):
    n = sum(ROWS)
    made = pd.DataFrame(
        {"k": np.arange(n), "v": np.random.default_rng(0).random(n), "s": ["x", "yy"] * (n // 2)}
    )
    return made if index is None else made.set_index(pd.Index(index, name="i"))


def by_rows(frame):
    """Cut as `ROWS` says; divisions unknown."""
    edges = np.cumsum([0, *ROWS])
    parts = [frame.iloc[a:b] for a, b in itertools.pairwise(edges)]
    return dd.from_map(lambda i: parts[i], range(len(parts)), meta=frame.iloc[:0])


def known():
    edges = np.cumsum([0, *ROWS]).tolist()
    edges[-1] -= 1
    return dd.from_pandas(table(), npartitions=1).repartition(divisions=edges)


def hot_value():
    """An index in which single values are frequent: no division goes through one."""
    return dd.from_pandas(table(np.repeat(np.arange(len(ROWS)), ROWS)), npartitions=len(ROWS), sort=True)


def run(code, **variables):
    exec(compile(code, "<cell>", "exec"), variables)
    return variables["df"]


def lengths(frame):
    return frame.map_partitions(len).compute().tolist()


@pytest.mark.parametrize("make", [lambda: by_rows(table()), known, hot_value, lambda: known().v])
@pytest.mark.parametrize("is_persisted", [True, False])
def test_split_keeps_every_row_in_order_and_leaves_no_large_partition(make, is_persisted):
    df = make()
    measured = lengths(df)
    assert measured == ROWS
    scale = 2**20  # a row counts as a MiB
    seen = collection(sizes=sizes(*[n * scale for n in measured]), has_known_divisions=df.known_divisions,
                      is_persisted=is_persisted)  # fmt: skip
    cut = fixes.pieces(seen.sizes, ratio=4.0)
    assert set(cut) == {2, 5, 11}
    after = run(fixes.split(seen, cut, cluster=cluster()), df=df)
    before = df.compute()
    if isinstance(before, pd.Series):
        pd.testing.assert_series_equal(after.compute(), before)
    else:
        pd.testing.assert_frame_equal(after.compute(), before)
    assert max(lengths(after)) <= 1.5 * 100
    assert after.npartitions == len(ROWS) - 3 + sum(cut.values())


def test_a_plain_repartition_does_not_cure_skew():
    """Why the fix is what it is: the ratio stays when every partition is cut alike, or a hot value is kept whole."""
    evenly = lengths(by_rows(table()).repartition(npartitions=3 * len(ROWS)))
    assert max(evenly) / np.median(evenly) > 20
    assert max(lengths(hot_value().repartition(npartitions=3 * len(ROWS)))) == 2300


def test_a_slice_of_a_lazy_shuffle_is_a_shuffle_of_its_own():
    """Why a lazy frame is kept before it is cut."""
    lazy = by_rows(table()).shuffle("k", npartitions=8)
    cut = dd.concat([lazy.partitions[:3], lazy.partitions[3].repartition(npartitions=3), lazy.partitions[4:]])
    shuffles = {e._name for e in cut.optimize(fuse=False).walk() if "Shuffle" in type(e).__name__}
    assert len(shuffles) == 3


def test_repartition_cuts_every_partition_into_equally_many():
    df = dd.from_map(lambda i: table().iloc[i * 500 : (i + 1) * 500], range(12), meta=table().iloc[:0])
    seen = collection(npartitions=12, is_persisted=False)
    after = run(fixes.repartition(seen, 60, cluster=cluster()), df=df)
    assert set(lengths(after)) == {100}


def test_rechunk_stays_below_the_limit():
    seen = collection(kind="array", is_persisted=False)
    array = da.random.default_rng(0).random((1000, 1000), chunks=(1000, 1000))
    after = run(fixes.rechunk(seen, 2**20), df=array)
    assert max(np.prod(c) for c in np.array(np.meshgrid(*after.chunks)).reshape(2, -1).T) * 8 <= 1.25 * 2**20
    assert after.npartitions > 4
