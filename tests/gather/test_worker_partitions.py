import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from distributed.spill import SpillBuffer

from jupyter_dask_doctor.gather import worker_partitions
from jupyter_dask_doctor.gather.worker_partitions import in_memory, look


def store(*values, group="g"):
    return {(group, i): value for i, value in enumerate(values)}


def table(n=10, **columns):
    return pd.DataFrame({"k": range(n), **columns})


def test_rows_of_each_partition_in_order():
    told = look(
        {("g", 10): table(3), ("g", 9): table(5), ("other", 1): table(7), "g": table(2), ("g", "x"): 1}, "g"
    )
    assert [(index, rows, kind) for index, rows, kind, _ in told["parts"]] == [
        ("9", 5, "pandas.DataFrame"),
        ("10", 3, "pandas.DataFrame"),
    ]
    assert (told["first"], told["is_all"]) == ("9", True)


def test_real_columns_are_those_of_the_first_partition_with_rows():
    told = look(store(table(0), table(4, s=["a", "b", "c", "d"]).astype({"s": object})), "g")
    assert told["first"] == "1"
    assert [(name, dtype, holds) for name, dtype, _, holds in told["columns"]] == [
        ("k", "int64", None),
        ("s", "object", "string"),
    ]


def test_partitions_unlike_each_other_have_other_digests():
    a, b = look(store(table(2), table(2).astype({"k": float})), "g")["parts"]
    assert a[3] != b[3]
    a, b = look(store(table(2), table(9)), "g")["parts"]
    assert a[3] == b[3]
    a, b = look(store(table(2), table(2).rename(columns={"k": "K"})), "g")["parts"]
    assert a[3] != b[3]


@pytest.mark.parametrize(
    ("value", "kind", "rows"),
    [
        (pd.Series([1, 2], name="s"), "pandas.Series", 2),
        (pd.Index([1, 2, 3]), "pandas.Index", 3),
        (pa.table({"a": [1, 2]}), "pyarrow.Table", 2),
        ([1, 2, 3], "list", 3),
        (np.ones((2, 3), dtype="float32"), "float32", None),
        (7, "int", None),
        (decimal.Decimal(1), "decimal.Decimal", None),
    ],
)
def test_kinds(value, kind, rows):
    ((index, n, type_, _),) = look(store(value), "g")["parts"]
    assert (index, n, type_) == ("0", rows, kind)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (pd.Categorical(["a", "b"]), "category"),
        (pd.array([1, None], dtype="Int64"), "Int64"),
        (pd.array([1, 2], dtype="int64[pyarrow]"), "int64[pyarrow]"),
        (pd.array(["a", "b"], dtype="string"), "string"),
        (
            pd.to_datetime(["2020", "2021"]).tz_localize("UTC"),
            str(pd.to_datetime(["2020"]).tz_localize("UTC").dtype),
        ),
        (pd.period_range("2020", periods=2, freq="D"), "period[D]"),
    ],
)
def test_dtypes_as_pandas_spells_them(values, dtype):
    told = look(store(pd.DataFrame({"x": values})), "g")
    assert [column[1] for column in told["columns"]] == [dtype]


def test_bytes_of_a_row_are_near_the_truth():
    n = 5_000
    data = pd.DataFrame(
        {
            "i": np.arange(n),
            "s": [f"name {i}" for i in range(n)],
            "c": pd.Categorical(["a", "b"] * (n // 2)),
        }
    ).astype({"s": object})
    told = look(store(*[data] * 8), "g")["columns"]
    truth = data.memory_usage(index=False, deep=True)
    for name, _, row, _ in told:
        assert truth[name] / n / 1.5 <= row <= truth[name] / n * 1.5


@pytest.mark.parametrize(
    ("values", "text", "share"),
    [
        ([7] * 80 + list(range(20)), "7", 0.81),
        ([None] * 60 + [1.0] * 40, "nan", 0.6),
        (["x"] * 90 + ["y"] * 10, "x", 0.9),
        (pd.Categorical(["a"] * 75 + ["b"] * 25), "a", 0.75),
        (pd.to_datetime(["2020-01-01"] * 100), "2020-01-01 00:00:00", 1.0),
        (pd.Series(["x"] * 90 + ["y"] * 10, dtype=object), "x", 0.9),
    ],
)
def test_the_most_frequent_value(values, text, share):
    data = pd.DataFrame({"k": values, "other": range(100)})
    assert look(store(table(), data), "g", "1", ["k", "absent"])["hot"] == [("k", text, share, 100)]


def test_the_most_frequent_value_of_an_index():
    data = pd.DataFrame({"v": range(4)}, index=pd.Index([1, 1, 1, 2], name="k"))
    assert look(store(data), "g", "0", ["k"])["hot"] == [("k", "1", 0.75, 4)]


def test_of_many_rows_a_sample_is_counted(monkeypatch):
    monkeypatch.setattr(worker_partitions, "N_ROWS", 100)
    ((_, value, share, n),) = look(store(table(1_050, x=[5] * 1_050)), "g", "0", ["x"])["hot"]
    assert (value, share) == ("5", 1.0)
    assert 90 <= n <= 100


touched = []


class Hostile:
    def __getattribute__(self, name):
        touched.append(name)
        raise RuntimeError(name)

    def __hash__(self):
        touched.append("hash")
        raise RuntimeError

    def __eq__(self, other):
        touched.append("eq")
        raise RuntimeError

    def __len__(self):
        touched.append("len")
        raise RuntimeError

    def __repr__(self):
        touched.append("repr")
        raise RuntimeError

    __str__ = __repr__

    def __sizeof__(self):
        touched.append("sizeof")
        raise RuntimeError


def test_strangers_objects_are_not_touched():
    class Frame(pd.DataFrame):
        def __len__(self):
            touched.append("frame")
            return 0

    data = pd.DataFrame({"k": pd.Series([Hostile(), Hostile()], dtype=object), "v": [1, 2]})
    # Pandas itself may touch them while the test makes the table.
    touched.clear()
    told = look(store(data, Hostile(), Frame({"a": [1]}), [Hostile()]), "g", "0", ["k", "v"])
    assert touched == []
    assert told["parts"][0][1:3] == (2, "pandas.DataFrame")
    assert [rows for _, rows, _, _ in told["parts"]] == [2, None, None, 1]
    assert [column[3] for column in told["columns"]] == ["mixed", None]
    assert [hot[0] for hot in told["hot"]] == ["v"]


def test_a_class_with_a_hostile_class():
    class Meta(type):
        def __getattribute__(cls, name):
            raise RuntimeError(name)

    class Strange(metaclass=Meta):
        pass

    ((_, rows, kind, _),) = look(store(Strange()), "g")["parts"]
    assert rows is None
    assert kind.endswith(".Strange")


def test_labels_that_are_no_text():
    data = pd.DataFrame({1: [1], ("a", 2): [2], None: [3]})
    assert [column[0] for column in look(store(data), "g")["columns"]] == ["1", "('a', '2')", ""]


def test_spilled_partitions_stay_on_disk_and_in_their_order(tmp_path):
    size = table(1_000).memory_usage().sum()
    data = SpillBuffer(str(tmp_path), target=int(size * 3.5))
    for i in range(6):
        data["g", i] = table(1_000)
    before = list(data.fast.order), dict(data.cumulative_metrics), set(data.disk)
    assert before[2]
    told = look(in_memory(data), "g", "0", ["k"])
    assert len(told["parts"]) == len(data.fast) < 6
    assert (list(data.fast.order), dict(data.cumulative_metrics), set(data.disk)) == before


def test_a_store_of_an_unknown_kind_is_left_alone():
    class Store(dict):
        pass

    with pytest.raises(LookupError):
        in_memory(Store())
    assert in_memory({}) == {}


def test_bounded(monkeypatch):
    monkeypatch.setattr(worker_partitions, "MAX_PARTS", 5)
    told = look(store(*[table(2)] * 9), "g")
    assert (len(told["parts"]), told["is_all"]) == (5, False)
    wide = pd.DataFrame(np.ones((1, 500)))
    assert len(look(store(wide), "g")["columns"]) == worker_partitions.MAX_COLUMNS
    monkeypatch.setattr(worker_partitions, "MAX_KEYS", 3)
    with pytest.raises(OverflowError):
        look(store(*[1] * 4), "g")


def test_when_time_is_up_rows_are_told_still(monkeypatch):
    monkeypatch.setattr(worker_partitions, "SECONDS_FOR_PARTS", -1.0)
    monkeypatch.setattr(worker_partitions, "SECONDS_FOR_BYTES", -1.0)
    monkeypatch.setattr(worker_partitions, "SECONDS_FOR_HOT", -1.0)
    told = look(store(table(1), table(2)), "g", "0", ["k"])
    assert [rows for _, rows, _, _ in told["parts"]] == [1, 2]
    assert [digest != "" for *_, digest in told["parts"]] == [True, False]
    assert [column[:3] for column in told["columns"]] == [("k", "int64", None)]
    assert told["hot"] == []


def test_nothing_there():
    assert look({}, "g")["parts"] == []
    assert look(store(1), "h")["first"] is None
