"""Calls edited by `cutting` and `joins`, run on real Dask: as many pieces as were told, the same rows in them."""

import gzip

import dask
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.remedies import cutting, joins
from jupyter_dask_doctor.snapshot import Read, Size
from tests.healthy import MiB, apply, change, cluster, code, lazy, workers

dd = pytest.importorskip("dask.dataframe")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")

# Dask itself does what pandas will no longer do one day
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

N = 200_000


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


def table():
    return pd.DataFrame({"k": np.arange(N), "v": np.random.default_rng(0).random(N).round(3)})


def run(text, **variables):
    variables = {"dd": dd, "da": da, "db": db, **variables}
    exec(compile(text, "<cell>", "exec"), variables)
    return variables["x"]


def recut(text, n, collection, variables):
    """The collection before and after the edit, and how many pieces were promised."""
    cells = code(text)
    (fix,) = cutting.recut(collection, n, cluster=cluster(), code=cells, ailing=None)
    promised = fix.expect.split(" → ")[1].removeprefix("about ").split(" ")[0]
    before, after = run(text, **variables), run(apply(fix, cells)[0], **variables)
    assert before.npartitions == collection.npartitions
    return before, after, int(promised.replace(",", ""))


def of_table(read, npartitions, **changes):
    return lazy(
        name="x", npartitions=npartitions, nbytes=Size(nbytes=N * 16, known="estimated"), reads=(read,) if read else (),
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize(("block", "n"), [('"20kB"', 4), ("None", 6)])
def test_blocks_of_text(tmp_path, block, n):
    path = tmp_path / "x.csv"
    table().to_csv(path, index=False)
    size = path.stat().st_size
    text = f"x = dd.read_csv(path, blocksize={block})"
    now = run(text, path=str(path)).npartitions
    read = Read(format="csv", path="x.csv", n_files=1, nbytes=size, npartitions=now)
    before, after, promised = recut(text, n, of_table(read, now), {"path": str(path)})
    assert after.npartitions == promised
    assert n / 2 <= promised <= 2 * n
    assert after.compute().reset_index(drop=True).equals(before.compute().reset_index(drop=True))


def test_a_compressed_file_is_left_alone(tmp_path):
    path = tmp_path / "x.csv.gz"
    with gzip.open(path, "wt") as file:
        table().to_csv(file, index=False)
    read = Read(
        format="csv", path="x", n_files=1, nbytes=path.stat().st_size, npartitions=1, compression="gzip"
    )
    cells = code("x = dd.read_csv(path, blocksize=None)")
    assert not cutting.recut(of_table(read, 1), 8, cluster=cluster(), code=cells, ailing=None)


@pytest.mark.parametrize("method", ["read_csv", "read_parquet"])
def test_many_files(tmp_path, method):
    for i in range(30):
        part = table().iloc[i * N // 30 : (i + 1) * N // 30]
        if method == "read_csv":
            part.to_csv(tmp_path / f"{i:02}.csv", index=False)
        else:
            part.to_parquet(tmp_path / f"{i:02}.parquet", index=False)
    files = list(tmp_path.iterdir())
    read = Read(
        format=method[5:], path="x", n_files=30, nbytes=sum(f.stat().st_size for f in files), npartitions=30
    )
    text = f'x = dd.{method}(path + "/*")'
    if method == "read_csv":  # no block reaches over the end of a file
        assert not cutting.recut(of_table(read, 30), 3, cluster=cluster(), code=code(text), ailing=None)
        return
    before, after, promised = recut(text, 3, of_table(read, 30), {"path": str(tmp_path)})
    assert after.npartitions <= 2 * promised <= 8
    assert after.compute().reset_index(drop=True).equals(before.compute().reset_index(drop=True))


@pytest.mark.parametrize("n", [4, 20, 400])
def test_row_groups(tmp_path, n):
    path = tmp_path / "x.parquet"
    table().to_parquet(path, row_group_size=N // 40, index=False)
    read = Read(
        format="parquet", path="x", n_files=1, nbytes=path.stat().st_size, npartitions=1, n_row_groups=40
    )
    before, after, promised = recut("x = dd.read_parquet(path)", n, of_table(read, 1), {"path": str(path)})
    assert after.npartitions == promised == min(n, 40)
    assert after.compute().reset_index(drop=True).equals(before.compute().reset_index(drop=True))


@pytest.mark.parametrize(
    "text",
    [
        "x = dd.from_pandas(frame, npartitions=40)",
        "x = dd.from_pandas(frame, 40)",
        "x = dd.from_pandas(frame, npartitions=10).repartition(npartitions=40).assign(w=1)",
    ],
)
@pytest.mark.parametrize("n", [5, 160])
def test_counts(text, n):
    before, after, promised = recut(text, n, of_table(None, 40), {"frame": table()})
    assert after.npartitions == promised == n
    assert after.compute().reset_index(drop=True).equals(before.compute().reset_index(drop=True))


@pytest.mark.parametrize("n", [1, 6, 50, 999])
@pytest.mark.parametrize(
    "text",
    [
        "x = da.ones((600, 400), chunks=(60, 40))",
        "x = da.from_array(values, chunks=(60, 40))",
        "x = da.ones((600, 400)).rechunk((60, 40)).astype('f8')",
    ],
)
def test_chunks(text, n):
    x = lazy(
        name="x", kind="array", npartitions=100, nbytes=Size(nbytes=600 * 400 * 8, known="exact"), shape=(600, 400),
        chunks=(60, 40), reads=(), largest=None,
    )  # fmt: skip
    if n == 50:
        assert not cutting.recut(x, 90, cluster=cluster(), code=code(text), ailing=None)  # not worth it
    before, after, promised = recut(text, n, x, {"values": np.ones((600, 400))})
    assert after.npartitions == promised
    assert n / 2 <= promised <= 4 * n
    assert (after.compute() == before.compute()).all()


def test_items_of_a_bag():
    x = lazy(name="x", kind="bag", npartitions=200, nbytes=None, largest=None, reads=())
    before, after, promised = recut("x = db.from_sequence(range(1_000), npartitions=200)", 8, x, {})
    assert promised == 8
    assert after.compute() == before.compute()
    assert after.npartitions <= 8


def frames():
    chance = np.random.default_rng(1)
    keys = np.where(chance.random(8_000) < 0.8, 0, chance.integers(0, 60, 8_000))
    left = pd.DataFrame({"k": keys, "v": np.arange(8_000)})
    right = pd.DataFrame({"k": range(50), "w": range(50)})
    return left, right


def ordered(frame):
    frame = frame.compute() if hasattr(frame, "dask") else frame
    return frame.sort_values("v").reset_index(drop=True)[["k", "v", "w"]]


@pytest.mark.parametrize("how", ["inner", "left"])
def test_a_side_that_is_sent_whole_gives_the_same_rows_in_even_partitions(how):
    left, right = frames()
    variables = {"a": dd.from_pandas(left, npartitions=16), "b": dd.from_pandas(right, npartitions=4)}
    cells = code(f'x = a.merge(b, on="k", how="{how}")')
    known = (
        lazy(name="a", npartitions=16, nbytes=Size(nbytes=100 * MiB, known="estimated")),
        lazy(name="b", npartitions=4, nbytes=Size(nbytes=MiB, known="estimated")),
    )
    joined = joins.join(cells[0], "x")
    (fix,) = joins.broadcast(joined, known, workers(), ailing=None)
    before, after = run(cells[0].source, **variables), run(apply(fix, cells)[0], **variables)
    assert ordered(after).equals(ordered(left.merge(right, on="k", how=how)))
    long = before.map_partitions(len).compute()
    even = after.map_partitions(len).compute()
    assert long.max() > 6_000
    assert even.max() < 700
    assert even.sum() == long.sum()


@pytest.mark.parametrize("how", ["inner", "left"])
def test_a_key_that_is_spread_gives_the_same_rows_in_more_partitions(how):
    left, right = frames()
    a, b = dd.from_pandas(left, npartitions=16), dd.from_pandas(right, npartitions=4)
    cells = code(f'x = a.merge(b, on="k", how="{how}")')
    (fix,) = joins.salted(joins.join(cells[0], "x"), (), 16.0)
    after = run(f"{fix.code}\nx = joined", a=a, b=b)
    assert ordered(after).equals(ordered(left.merge(right, on="k", how=how)))
    assert after.map_partitions(len).compute().max() < 4_000


def test_chunk_shapes_of_any_array():
    assert cutting.chunks_for((5_000,), (5,), 4) == (1_280,)
    assert cutting.chunks_for((5_000, 1), (10, 1), 4) == (1_280, 1)
    assert cutting.chunks_for((1, 1), (1, 1), 8) == (1, 1)
    assert cutting.chunks_for((10**9, 10**9), (1, 1), 10) == (2**28, 2**28)


def test_what_is_not_told_is_not_edited():
    text = "x = dd.read_csv(path)"
    for read in (None, Read(format="csv", path="x"), Read(format="csv", path="x", n_files=0, nbytes=10)):
        assert not cutting.recut(of_table(read, 40), 4, cluster=cluster(), code=code(text), ailing=None)
    csv = Read(format="csv", path="x", n_files=1, nbytes=10**6)
    for odd in (
        "y = dd.read_csv(path)",
        "x, y = dd.read_csv(path)",
        "x = dd.read_csv(*args)",
        "x = (",
        "x += 1",
    ):
        assert not cutting.recut(of_table(csv, 40), 4, cluster=cluster(), code=code(odd), ailing=None)
    two = change(of_table(csv, 40), reads=(csv, csv))
    assert not cutting.recut(two, 4, cluster=cluster(), code=code(text), ailing=None)
    array = lazy(name="x", kind="array", npartitions=40, shape=(-1, 10), chunks=(5, 10), reads=())
    for changes in ({}, {"shape": (0, 10)}, {"chunks": ()}, {"chunks": (0, 1)}):
        cells = code("x = da.ones(s, chunks=(5, 10))")
        assert not cutting.recut(change(array, **changes), 4, cluster=cluster(), code=cells, ailing=None)
