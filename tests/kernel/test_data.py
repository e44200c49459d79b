"""What the Data section is told of a collection, and what goes when there is no room."""

import dataclasses

import pytest

from jupyter_dask_doctor.kernel import data, fitting
from jupyter_dask_doctor.messages import ColumnInfo, RowCounts, SourceInfo
from jupyter_dask_doctor.snapshot import Column, Gap, HotKey, Read, Size
from tests import healthy
from tests.healthy import GiB, MiB, change


def info(one):
    (told,) = data.collection_infos((one,))
    return told


def test_a_lazy_collection_tells_what_it_reads_and_has():
    told = info(healthy.lazy(gaps=("why",)))
    assert told.reads == (SourceInfo(format="parquet", path="sales", n_files=20, nbytes=20 * 50 * MiB),)
    assert told.columns == (
        ColumnInfo(name="user", dtype="int64"),
        ColumnInfo(name="amount", dtype="float64"),
    )
    assert (told.n_columns, told.n_rows, told.n_tasks, told.n_reads) == (2, 20_000_000, 20, 1)
    assert told.rows is None
    assert told.gaps == ("why",)


def test_rows_of_a_persisted_one_are_summed_up():
    held = healthy.held(rows=10)
    held = change(held, rows=(10,) * 17 + (900,) + (10,) * 2)
    rows = info(healthy.collection(held=held)).rows
    assert rows == RowCounts(n=20, total=1090, median=10, largest=900, largest_index="17", values=held.rows)


def test_rows_are_exact_only_where_somebody_counted_them():
    counted = info(healthy.collection(held=healthy.held(rows=10), n_rows=187, nbytes=None))
    assert (counted.n_rows, counted.has_exact_rows) == (200, True)
    part = info(healthy.collection(held=healthy.held(n=3, rows=10), n_rows=187, nbytes=None))
    assert (part.n_rows, part.has_exact_rows) == (187, False)
    read = Read(format="parquet", path="", n_rows=20_000_000)
    assert not info(healthy.lazy()).has_exact_rows
    assert info(healthy.lazy(reads=(read,))).has_exact_rows
    assert not info(healthy.lazy(reads=(read,), n_rows=1_000)).has_exact_rows, "a filter came after"
    assert info(healthy.lazy(nbytes=Size(nbytes=1, known="exact"))).has_exact_rows


def test_the_number_of_a_partition_is_not_guessed():
    # Only a part of the partitions was asked about, and which is not told.
    rows = info(healthy.collection(held=healthy.held(n=3))).rows
    assert rows.largest_index is None


def test_many_rows_become_quantiles_with_both_ends():
    rows = tuple(range(50_000))
    told = info(healthy.collection(held=healthy.held(rows=0), npartitions=50_000)).rows
    assert told is not None
    told = info(healthy.collection(held=change(healthy.held(), n=50_000, rows=rows), npartitions=50_000)).rows
    assert len(told.values) == data.VALUES
    assert (told.values[0], told.values[-1], told.n) == (0, 49_999, 50_000)
    assert list(told.values) == sorted(told.values)


def test_types_that_workers_found_stand_beside_those_dask_was_told():
    held = healthy.held()
    held = change(
        held,
        columns=(
            Column(name="user", dtype="int64"),
            Column(name="amount", dtype="object", nbytes=Size(nbytes=5, known="estimated")),
        ),
    )
    told = info(healthy.lazy(is_persisted=True, held=held))
    assert [column.real for column in told.columns] == [None, "object"]
    assert told.columns[1].nbytes.nbytes == 5
    assert info(healthy.collection(held=held)).columns[1].dtype == "object", "nothing else is known"


@pytest.mark.parametrize(
    ("workers", "limit"),
    [
        (healthy.workers(2, memory_limit=3 * GiB, nthreads=1), GiB),
        ((healthy.worker(0, memory_limit=6 * GiB), healthy.worker(1, memory_limit=300 * MiB, nthreads=1)), 100 * MiB),
        ((healthy.worker(0, memory_limit=None), healthy.worker(1, memory_limit=300 * MiB, nthreads=1)), 100 * MiB),
    ],
)  # fmt: skip
def test_what_one_partition_may_have(workers, limit):
    assert data.partition_limit(healthy.snapshot(workers=workers)) == pytest.approx(limit, abs=1)


def test_what_one_partition_may_have_without_workers():
    cluster = healthy.cluster(memory_limit=12 * GiB, nthreads=4)
    assert data.partition_limit(healthy.snapshot(workers=(), cluster=cluster)) == GiB
    gap = Gap(reason="no")
    assert data.partition_limit(healthy.snapshot(workers=gap, cluster=cluster)) == GiB
    assert data.partition_limit(healthy.snapshot(workers=gap, cluster=gap)) is None
    assert (
        data.partition_limit(healthy.snapshot(workers=(), cluster=healthy.cluster(memory_limit=None))) is None
    )


@pytest.mark.parametrize(
    ("kind", "dtype", "type", "told"),
    [
        ("dataframe", None, "pandas.DataFrame", None),
        ("dataframe", None, "cudf.DataFrame", None),
        ("dataframe", None, "pandas.Series", "pandas.Series"),
        ("index", None, "pandas.DatetimeIndex", None),
        ("array", "float64", "float64", None),
        ("array", "float64", "object", "object"),
        ("bag", None, "dict", "dict"),
        ("dataframe", None, None, None),
    ],
)
def test_what_partitions_are_is_told_only_where_it_surprises(kind, dtype, type, told):
    held = change(healthy.held(), type=type)
    assert info(healthy.collection(kind=kind, dtype=dtype, held=held)).type == told


# Fitting ----------------------------------------------------------------------------------------------


def rich(i, **changes):
    """A collection of which all is known."""
    columns = tuple(Column(name=f"column {j}", dtype="datetime64[ns, Europe/Berlin]") for j in range(100))
    facts = {
        "name": f"df{i}",
        "sizes": healthy.even(200, (i + 1) * 50 * MiB),
        "held": change(
            healthy.held(n=200, rows=1_000_000),
            hot=HotKey(column="c", value="v" * 60, share=0.9, partition="3", n_rows=10),
        ),
        "columns": columns,
        "n_columns": 100,
        "reads": (Read(format="parquet", path="/" + "p" * 199, n_files=3),) * 5,
        "gaps": ("g" * 200,) * 5,
    }
    return healthy.collection(**facts | changes)


def fitted(collections, limit):
    told, words = data.fit_collections(data.collection_infos(tuple(collections)), limit)
    assert fitting.nbytes(told) <= limit
    return told, words


def test_what_fits_is_left_alone():
    told = data.collection_infos((rich(0),))
    assert data.fit_collections(told, 20_000) == (told, ())


def test_charts_get_fewer_bars_first_and_columns_after_that():
    told, words = fitted([rich(i) for i in range(3)], 20_000)
    assert all(len(one.sizes.values) == data.FEW_VALUES for one in told)
    assert words[0] == "sizes of single partitions of collections"
    told, words = fitted([rich(i) for i in range(6)], 18_000)
    assert {len(one.columns) for one in told} == {data.FEW_COLUMNS}
    assert all(one.sizes.values for one in told)
    assert len(words) == len(set(words))


def test_twenty_rich_collections_are_all_listed():
    told, words = fitted([rich(i, held=None) for i in range(20)], 18_000)
    assert [one.name for one in told] == [f"df{i}" for i in range(20)]
    with_charts = {one.name for one in told if one.sizes.values}
    assert with_charts in ({f"df{i}" for i in range(14, 20)}, set())
    assert words


def test_the_largest_value_stays_when_bars_go():
    one = rich(0, sizes=healthy.skewed(200, MiB, at=17, largest=GiB), held=None)
    (told, *_), _ = fitted([one, *(rich(i, held=None) for i in range(1, 3))], 12_000)
    assert len(told.sizes.values) == data.FEW_VALUES
    assert max(told.sizes.values) == GiB
    assert (told.sizes.n, told.sizes.largest_index) == (200, "17")


def test_what_dask_was_told_wrongly_is_not_what_goes():
    held = change(healthy.held(), columns=(Column(name="column 77", dtype="object"),))
    told = data.collection_infos((rich(0, held=held),))
    assert told[0].columns[0].real is None
    wide = dataclasses.replace(
        told[0],
        columns=tuple(
            dataclasses.replace(column, real="object" if column.name == "column 50" else None)
            for column in told[0].columns
        ),
    )
    (less,), _ = data.fit_collections((wide,), 4_000)
    assert "column 50" in [column.name for column in less.columns]


def test_a_name_without_end_goes_at_last():
    told, words = fitted([rich(0, name="x" * 100_000), rich(1)], 6_000)
    assert len(told) == 2
    assert len(told[0].name) <= data.NAME
    assert "parts of long texts of collections" in words
