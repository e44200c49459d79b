"""Sizes told before anything runs, against what then lies in a worker's memory."""

import gzip
import os

import dask.array as da
import dask.dataframe as dd
import dask.datasets
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, wait

from jupyter_dask_doctor.gather.data import (
    frames,
    parquet_footers,
    parquet_sources,
    paths,
    text_samples,
    text_sources,
)
from jupyter_dask_doctor.gather.data.frames import describe_frame
from jupyter_dask_doctor.snapshot import PartitionSizes

# Of pandas, about what Dask's own to_parquet does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

N = 20_000
PARTITIONS = 5


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _forget():
    frames._kept.clear()
    parquet_footers._kept.clear()
    text_samples._kept.clear()


def look(frame, sizes=lambda group: None):
    return describe_frame("df", frame, sizes=sizes)


def measured(client, frame):
    """Bytes of each partition in the worker's memory, as the scheduler knows them."""
    persisted = frame.persist()
    wait(persisted)
    keys = list(persisted.expr.operand("keys"))
    return client.run_on_scheduler(
        lambda dask_scheduler, keys: [dask_scheduler.tasks[key].nbytes for key in keys], keys=keys
    )


def check(client, frame, *, has_largest=True):
    found = look(frame)
    truth = measured(client, frame)
    assert found.nbytes is not None, found.gaps
    assert 0.5 <= found.nbytes.nbytes / sum(truth) <= 2
    assert (found.largest is not None) == has_largest
    if found.largest is not None:
        assert 0.5 <= found.largest.nbytes / max(truth) <= 2
    for size in (found.nbytes, found.largest):
        if size is not None and size.known == "exact":
            true = sum(truth) if size is found.nbytes else max(truth)
            # Labels of columns and an index's own tables take some hundred bytes, more or less.
            assert abs(size.nbytes - true) <= max(0.01 * true, 1_000 * len(truth))
    if found.npartitions_optimized is not None:
        assert found.npartitions_optimized == len(truth)
    return found


def _numbers():
    return np.random.default_rng(0)


TABLES = {
    "ints": lambda: pd.DataFrame({name: _numbers().integers(0, 1_000, N) for name in "abcd"}),
    "floats": lambda: pd.DataFrame({name: _numbers().random(N) for name in "abcd"}),
    "narrow": lambda: pd.DataFrame(
        {
            "i": np.arange(N, dtype="i4"),
            "b": _numbers().random(N) > 0.5,
            "f": _numbers().random(N).astype("f4"),
            "d": pd.date_range("2020", periods=N, freq="s"),
        }
    ),
    "short text": lambda: pd.DataFrame({"s": [f"{i % 977}" for i in range(N)], "x": 1.0}),
    "long text": lambda: pd.DataFrame({"s": ["lorem ipsum " * (1 + i % 17) + str(i) for i in range(N)]}),
    "repeated text": lambda: pd.DataFrame(
        {"s": _numbers().choice(["Alexanderplatz station", "Paris", "New York City, Brooklyn"], N), "k": 1}
    ),
    "other letters": lambda: pd.DataFrame({"s": [f"größe µ 中文 {i}" for i in range(N)]}),
    "categories": lambda: pd.DataFrame(
        {"c": pd.Categorical(_numbers().choice(["a", "bb", "ccc"], N)), "x": _numbers().random(N)}
    ),
    "nulls": lambda: pd.DataFrame(
        {
            "s": [None if i % 3 else f"hello world {i}" for i in range(N)],
            "x": [None if i % 2 else 1.5 for i in range(N)],
            "m": pd.array([None if i % 4 == 0 else i for i in range(N)], dtype="Int64"),
        }
    ),
    "dates": lambda: pd.DataFrame(
        {"x": _numbers().random(N)}, index=pd.date_range("2020", periods=N, freq="s", name="when")
    ),
    "text index": lambda: pd.DataFrame(
        {"x": _numbers().random(N)}, index=pd.Index([f"key-{i:08d}" for i in range(N)], name="key")
    ),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Of each table: a frame in the kernel, parquet by two compressions, and text."""
    folder = tmp_path_factory.mktemp("tables")
    made = {}
    for name, make in TABLES.items():
        frame = dd.from_pandas(make(), npartitions=PARTITIONS)
        for compression in ("snappy", "gzip"):
            frame.to_parquet(folder / f"{name}-{compression}", compression=compression)
        frame.to_csv(str(folder / f"{name}-*.csv"), index=False)
        made[name] = str(folder / name)
    return made


def _parquet(tables, name, compression="snappy", **options):
    return dd.read_parquet(f"{tables[name]}-{compression}", **options)


@pytest.mark.parametrize("name", TABLES)
def test_of_a_frame_in_the_kernel(client, name):
    found = check(client, dd.from_pandas(TABLES[name](), npartitions=PARTITIONS))
    assert found.n_rows == N
    is_fixed = name in ("ints", "floats", "narrow", "dates")
    assert found.nbytes.known == ("exact" if is_fixed else "estimated")


@pytest.mark.parametrize("compression", ["snappy", "gzip"])
@pytest.mark.parametrize("name", TABLES)
def test_of_parquet(client, tables, name, compression):
    found = check(client, _parquet(tables, name, compression))
    assert found.n_rows == N
    (read,) = found.reads
    assert (read.format, read.n_files, read.npartitions, read.n_rows) == ("parquet", 5, 5, N)
    folder = f"{tables[name]}-{compression}"
    sizes = [os.stat(os.path.join(folder, file)).st_size for file in os.listdir(folder)]
    assert (read.nbytes, read.largest) == (sum(sizes), max(sizes))


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"text index", "dates"}))
def test_of_csv(client, tables, name):
    text = {"s": "str"} if "s" in TABLES[name]().columns else None
    found = check(client, dd.read_csv(f"{tables[name]}-*.csv", blocksize=200_000, dtype=text))
    assert found.n_rows == pytest.approx(N, rel=0.2)
    assert found.nbytes.known == "estimated"
    (read,) = found.reads
    assert (read.format, read.n_files, read.blocksize, read.compression) == ("csv", 5, 200_000, None)


@pytest.mark.parametrize("blocksize", [None, 100_000])
def test_of_json(client, tmp_path, blocksize):
    TABLES["short text"]().to_json(tmp_path / "t.json", orient="records", lines=True)
    found = check(client, dd.read_json(str(tmp_path / "t.json"), blocksize=blocksize))
    assert [read.format for read in found.reads] == ["json"]
    assert found.reads[0].nbytes == os.stat(tmp_path / "t.json").st_size


@pytest.mark.filterwarnings("ignore:Warning gzip:UserWarning")
def test_of_a_compressed_text_that_cannot_be_cut(client, tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        TABLES["narrow"]().to_csv(file, index=False)
    found = check(client, dd.read_csv(tmp_path / "t.csv.gz", blocksize=None))
    (read,) = found.reads
    assert (read.compression, read.npartitions, read.n_files) == ("gzip", 1, 1)
    assert read.nbytes == os.stat(tmp_path / "t.csv.gz").st_size


@pytest.mark.parametrize("options", [{"split_row_groups": True}, {"blocksize": "40kB"}])
def test_of_row_groups(client, tmp_path, options):
    TABLES["short text"]().to_parquet(tmp_path / "t.parquet", row_group_size=4_000)
    found = check(client, dd.read_parquet(tmp_path / "t.parquet", **options))
    assert found.npartitions >= 1
    assert found.reads[0].n_row_groups == 5
    assert found.n_rows == N


def test_of_files_of_which_few_are_looked_at(client, tmp_path):
    for i in range(30):
        pd.DataFrame({"x": np.ones(1_000 * (1 + i % 3)), "s": "abc"}).to_parquet(tmp_path / f"{i:02}.parquet")
    found = check(client, dd.read_parquet(tmp_path))
    assert len(parquet_footers._kept) <= 8
    assert found.nbytes.known == "estimated"
    assert found.n_rows == pytest.approx(60_000, rel=0.3)
    assert (found.reads[0].n_files, found.reads[0].n_rows) == (30, None)


def test_of_arrows_own_file_system(client, tables):
    frame = dd.read_parquet(os.path.abspath(f"{tables['short text']}-snappy"), filesystem="arrow")
    found = check(client, frame, has_largest=False)
    assert found.reads[0].n_files == PARTITIONS


def test_of_an_array_of_dasks(client):
    array = da.ones((N, 3), chunks=(3_000, 3))
    assert check(client, dd.from_dask_array(array, columns=["a", "b", "c"])).n_rows == N


def test_of_an_array_of_the_kernels(client):
    assert check(client, dd.from_array(np.ones((N, 3)), chunksize=3_000, columns=list("abc"))).n_rows == N


def test_of_invented_data(client):
    check(client, dask.datasets.timeseries(end="2000-01-05", freq="10s"))


STEPS = {
    "columns": lambda narrow, text, kernel: narrow[["i", "d"]],
    "one column": lambda narrow, text, kernel: narrow.f,
    "text alone": lambda narrow, text, kernel: text[["s"]],
    "assign": lambda narrow, text, kernel: narrow.assign(z=narrow.f * 2, y=narrow.i),
    "assign text": lambda narrow, text, kernel: text.assign(t=text.s),
    "elementwise": lambda narrow, text, kernel: text.x + 1,
    "fewer partitions": lambda narrow, text, kernel: text.repartition(npartitions=2),
    "more partitions": lambda narrow, text, kernel: text.repartition(npartitions=8),
    "concat": lambda narrow, text, kernel: dd.concat([text, kernel]),
    "astype": lambda narrow, text, kernel: narrow.astype({"i": "f8"}),
    "drop": lambda narrow, text, kernel: narrow.drop(columns=["d"]),
    "rename": lambda narrow, text, kernel: text.rename(columns={"s": "q"}),
    "reset_index": lambda narrow, text, kernel: text.reset_index(),
    "part of a date": lambda narrow, text, kernel: narrow.d.dt.year,
    "isna": lambda narrow, text, kernel: text.s.isna(),
    "partitions": lambda narrow, text, kernel: text.partitions[1:3],
    "cumsum": lambda narrow, text, kernel: text.x.cumsum(),
    "rolling": lambda narrow, text, kernel: kernel.x.rolling(3).mean(),
    "sample": lambda narrow, text, kernel: text.sample(frac=0.2),
    "index": lambda narrow, text, kernel: kernel.index,
    "to_frame": lambda narrow, text, kernel: (narrow.f + narrow.i).to_frame("u"),
    "several": lambda narrow, text, kernel: text[["s", "x"]].rename(columns={"x": "y"}).assign(w=1),
    "sum": lambda narrow, text, kernel: text.x.sum(),
}
MOVED = {
    "set_index": lambda narrow, text, kernel: narrow.set_index("i", divisions=[0, N // 2, N - 1]),
    "set_index of text": lambda narrow, text, kernel: text.set_index("s", divisions=["0", "500", "999"]),
    "shuffle": lambda narrow, text, kernel: text.shuffle("s"),
}
UNKNOWN = {
    "filter": lambda narrow, text, kernel: text[text.x > 0],
    "query": lambda narrow, text, kernel: text.query("x > 0"),
    "map_partitions": lambda narrow, text, kernel: text.map_partitions(_same, meta=text),
    "merge": lambda narrow, text, kernel: text.merge(kernel, on="s"),
    "groupby": lambda narrow, text, kernel: text.groupby("s").x.sum(),
    "groupby apply": lambda narrow, text, kernel: text.groupby("s").apply(len, meta=("n", "i8")),
    "apply": lambda narrow, text, kernel: text.apply(str, axis=1, meta=("t", "str")),
    "other text": lambda narrow, text, kernel: text.s.str.repeat(3),
    "head": lambda narrow, text, kernel: text.head(3, compute=False),
    "filter of files": lambda narrow, text, kernel: None,
}


def _same(frame):
    return frame


def _step(make, tables):
    kernel = dd.from_pandas(TABLES["short text"](), npartitions=3)
    return make(_parquet(tables, "narrow"), _parquet(tables, "short text"), kernel)


@pytest.mark.parametrize("case", STEPS)
def test_after_steps_that_keep_it_reckonable(client, tables, case):
    check(client, _step(STEPS[case], tables))


@pytest.mark.parametrize("case", MOVED)
def test_rows_that_move_keep_their_sum_and_nobody_knows_where_they_go(client, tables, case):
    check(client, _step(MOVED[case], tables), has_largest=False)


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_reckoned_is_unknown(tables, case):
    frame = _step(UNKNOWN[case], tables)
    if frame is None:
        frame = _parquet(tables, "short text", filters=[("x", ">", 0)])
    found = look(frame)
    assert (found.nbytes, found.largest) == (None, None)


def test_a_filter_has_a_bound(client, tables):
    frame = _parquet(tables, "short text")
    found = look(frame[frame.x > 0])
    largest = max(measured(client, frame))
    assert found.n_rows is None
    assert 0.9 <= found.at_most / largest <= 1.1
    assert look(frame).at_most is None


def test_what_stands_on_memory_follows_what_was_measured(client):
    persisted = dd.from_pandas(TABLES["narrow"](), npartitions=PARTITIONS).persist()
    wait(persisted)
    truth = measured(client, persisted)
    derived = persisted.f + 1
    assert look(derived).nbytes is None
    seen = PartitionSizes(
        n=PARTITIONS,
        total=sum(truth),
        median=truth[0],
        p95=max(truth),
        largest=max(truth),
        largest_index="0",
        values=tuple(truth),
    )
    found = look(derived, lambda group: seen)
    assert found.nbytes.known == "estimated"
    then = measured(client, derived)
    assert 0.5 <= found.nbytes.nbytes / sum(then) <= 2
    assert 0.5 <= found.largest.nbytes / max(then) <= 2


def test_columns_weigh_what_they_weigh(tables):
    found = look(_parquet(tables, "nulls"))
    truth = TABLES["nulls"]().astype({"s": "str"}).memory_usage(index=False)
    assert {column.name for column in found.columns} == set(truth.index)
    for column in found.columns:
        assert 0.5 <= column.nbytes.nbytes / truth[column.name] <= 2


# Harmless


def test_a_remote_store_is_not_touched(monkeypatch, tables):
    frame = _parquet(tables, "narrow")
    csv = dd.read_csv(f"{tables['narrow']}-*.csv", blocksize=200_000)

    def touched(*args, **options):
        raise AssertionError("touched")

    for module in (parquet_sources, text_sources):
        monkeypatch.setattr(module, "is_local", lambda filesystem: False)
    for module, name in ((parquet_footers, "_footer"), (text_samples, "_sample"), (paths.os, "stat")):
        monkeypatch.setattr(module, name, touched)
    found = look(frame)
    assert (found.npartitions, found.nbytes, found.reads[0].nbytes) == (PARTITIONS, None, None)
    assert (found.reads[0].n_files, found.gaps) == (PARTITIONS, ())
    # What Dask keeps of the text are its blocks and ten rows.
    told = look(csv)
    assert told.nbytes.known == "estimated"
    assert told.reads[0].nbytes == sum(
        size for size in map(_size, [f"{tables['narrow']}-{i}.csv" for i in range(5)])
    )


def _size(path):
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END)


def test_files_that_are_gone_or_broken_leave_the_rest(tmp_path):
    for i in range(3):
        pd.DataFrame({"x": np.ones(100)}).to_parquet(tmp_path / f"{i}.parquet")
    frame = dd.read_parquet(tmp_path)
    (tmp_path / "0.parquet").unlink()
    (tmp_path / "1.parquet").write_bytes(b"rubbish")
    found = look(frame)
    assert (found.npartitions, found.reads[0].n_files, found.reads[0].nbytes) == (3, 3, None)
    (tmp_path / "2.parquet").unlink()
    frames._kept.clear()
    assert look(frame).nbytes is None


def test_functions_of_the_users_do_not_parse_for_us(tmp_path):
    calls = []

    def convert(value):
        calls.append(value)
        return float(value)

    pd.DataFrame({"x": np.arange(2_000)}).to_csv(tmp_path / "t.csv", index=False)
    frame = dd.read_csv(tmp_path / "t.csv", converters={"x": convert})
    n = len(calls)
    found = look(frame)
    assert len(calls) == n
    assert found.nbytes is not None


def test_credentials_are_not_shown():
    assert paths.shown("s3://key:secret@bucket/a.parquet?token=1") == "s3://bucket/a.parquet"
    assert paths.shown(["/data/a.csv", "/data/b.csv"]) == "/data/a.csv"
    assert len(paths.shown("x" * 1_000)) == 200


def test_two_columns_of_one_name_have_no_size():
    frame = pd.DataFrame(np.ones((10, 2)), columns=["x", "x"])
    assert look(dd.from_pandas(frame, npartitions=1)).nbytes is None
