"""What is told of dataframes, against what Dask then does; and that nothing of the user's is run for it."""

import threading
import time

import dask
import dask.array as da
import dask.dataframe as dd
import dask.datasets
import numpy as np
import pandas as pd
import pytest
from dask.dataframe.dask_expr.io.parquet import _STATS_CACHE
from distributed import Client, LocalCluster, wait

from jupyter_dask_doctor.gather.data import frame_look, frames
from jupyter_dask_doctor.gather.data.frame_tasks import n_tasks
from jupyter_dask_doctor.gather.data.frames import describe_frame

# Of pandas, about what Dask's own to_parquet does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


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


@pytest.fixture(scope="module")
def pdf():
    n = 2_000
    return pd.DataFrame(
        {"k": np.arange(n) % 100, "x": np.linspace(0, 1, n), "s": [f"s{i % 7}" for i in range(n)]}
    )


@pytest.fixture
def a(pdf):
    return dd.from_pandas(pdf, npartitions=10)


@pytest.fixture
def b(pdf):
    return dd.from_pandas(pdf, npartitions=3)


@pytest.fixture
def ts(pdf):
    return dd.from_pandas(pdf.set_index(pd.date_range("2020", periods=len(pdf), freq="h")), npartitions=5)


@pytest.fixture(scope="module")
def table(pdf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    dd.from_pandas(pdf, npartitions=20).to_parquet(folder / "t")
    return str(folder / "t")


@pytest.fixture(scope="module")
def text(pdf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    dd.from_pandas(pdf, npartitions=4).to_csv(str(folder / "*.csv"), index=False)
    return str(folder / "*.csv")


def look(frame, sizes=lambda group: None):
    return describe_frame("df", frame, sizes=sizes)


CASES = {
    "pandas": lambda a, b, ts: a,
    "column": lambda a, b, ts: a.x,
    "filter": lambda a, b, ts: a[a.x > 0.5].x,
    "merge": lambda a, b, ts: a.merge(b, on="k"),
    "broadcast merge": lambda a, b, ts: a.merge(b.repartition(npartitions=1), on="k"),
    "left broadcast": lambda a, b, ts: a.repartition(npartitions=60).merge(
        b, on="k", how="left", broadcast=True
    ),
    "task merge": lambda a, b, ts: a.merge(b, on="k", shuffle_method="tasks"),
    "join": lambda a, b, ts: a.join(b, rsuffix="_r"),
    "merge on index and column": lambda a, b, ts: a.merge(b, left_on="k", right_index=True),
    "merge_asof": lambda a, b, ts: dd.merge_asof(a, b, left_index=True, right_index=True),
    "loc": lambda a, b, ts: a.loc[5:400],
    "loc by unknown divisions": lambda a, b, ts: a.clear_divisions().loc[5:400],
    "resample": lambda a, b, ts: ts.x.resample("D").mean(),
    "rolling": lambda a, b, ts: ts.x.rolling(3).mean(),
    "rolling by time": lambda a, b, ts: ts.x.rolling("3D").mean(),
    "groupby": lambda a, b, ts: a.groupby("k").x.sum(),
    "groupby agg": lambda a, b, ts: a.groupby(["k", "s"]).agg({"x": ["mean", "max"]}),
    "groupby split out": lambda a, b, ts: a.groupby("k").x.sum(split_out=3),
    "groupby apply": lambda a, b, ts: a.groupby("k").apply(len, meta=("n", "i8")),
    "many groups": lambda a, b, ts: a.repartition(npartitions=80).groupby("k").x.mean(),
    "set_index": lambda a, b, ts: a.set_index("k", divisions=[0, 50, 99]),
    "shuffle": lambda a, b, ts: a.shuffle("k"),
    "task shuffle": lambda a, b, ts: a.shuffle("k", shuffle_method="tasks"),
    "staged shuffle": lambda a, b, ts: a.repartition(npartitions=40).shuffle("k", shuffle_method="tasks"),
    "repartition to fewer": lambda a, b, ts: a.repartition(npartitions=4),
    "repartition to more": lambda a, b, ts: a.repartition(npartitions=23),
    "repartition by divisions": lambda a, b, ts: a.repartition(divisions=[0, 1000, 1999]),
    "repartition by time": lambda a, b, ts: ts.repartition(freq="7D"),
    "map_partitions": lambda a, b, ts: a.map_partitions(_same),
    "map_overlap": lambda a, b, ts: a.map_overlap(_same, 1, 1),
    "alignment": lambda a, b, ts: a.x + b.x,
    "concat": lambda a, b, ts: dd.concat([a, b]),
    "concat of columns": lambda a, b, ts: dd.concat([a, b], axis=1),
    "drop_duplicates": lambda a, b, ts: a.drop_duplicates(),
    "nunique": lambda a, b, ts: a.x.nunique(),
    "cumsum": lambda a, b, ts: a.x.cumsum(),
    "shift": lambda a, b, ts: a.x.shift(1),
    "head": lambda a, b, ts: a.head(3, compute=False),
    "partitions": lambda a, b, ts: a.partitions[2:4],
    "sum": lambda a, b, ts: a.x.sum(),
    "two reductions": lambda a, b, ts: a.x - a.x.mean(),
}


def _same(frame):
    return frame


@pytest.mark.parametrize("case", CASES)
def test_tasks_are_as_many_as_dask_makes(client, a, b, ts, case):
    frame = CASES[case](a, b, ts)
    found = look(frame)
    assert found.gaps == ()
    graph = frame.expr.finalize_compute().optimize(fuse=False).__dask_graph__()
    assert found.n_tasks == len(graph)
    fused = frame.optimize(fuse=True).expr.finalize_compute().optimize(fuse=False).__dask_graph__()
    assert found.fused_tasks == len(fused)
    assert found.npartitions == frame.npartitions
    assert found.has_known_divisions == frame.known_divisions
    assert sum(layer.n_tasks for layer in found.layers) <= found.n_tasks
    assert found.layers[0].n_tasks >= found.layers[-1].n_tasks


def test_tasks_are_as_many_as_the_scheduler_is_sent(client, a):
    frame = a.groupby("k").x.mean()
    expected = look(frame).n_tasks
    seen = len(client.get_events("scheduler"))
    frame.compute()
    events = [
        event for _, event in client.get_events("scheduler")[seen:] if event["action"] == "update-graph"
    ]
    assert [event["metrics"]["tasks"] for event in events] == [expected]


@pytest.mark.parametrize("columns", [["x"], ["k", "x", "s"], ["s", "x"]])
def test_of_a_file_of_which_few_columns_are_wanted_several_are_read_at_once(client, table, columns):
    frame = dd.read_parquet(table)[columns]
    found = look(frame)
    persisted = frame.persist()
    assert found.npartitions == 20
    assert found.npartitions_optimized == len(persisted.expr.operand("keys"))
    assert found.n_tasks == len(frame.expr.finalize_compute().optimize(fuse=False).__dask_graph__())
    assert found.largest is not None


@pytest.mark.parametrize(
    ("n_in", "n_out"), [(33, 33), (40, 40), (70, 40), (40, 70), (100, 1_030), (1_100, 1_100), (1_100, 20)]
)
def test_a_staged_shuffle_is_counted_and_not_built(a, n_in, n_out):
    frame = a.repartition(npartitions=n_in).shuffle("k", npartitions=n_out, shuffle_method="tasks")
    (step,) = [
        step for step in frame.expr.optimize(fuse=False).walk() if type(step).__name__ == "TaskShuffle"
    ]
    assert n_tasks(step) == len(step._layer())


def test_columns_and_their_index(pdf):
    found = look(dd.from_pandas(pdf.set_index("k").astype({"s": "category"}), npartitions=2))
    assert [(c.name, c.dtype) for c in found.columns] == [("x", "float64"), ("s", "category")]
    assert (found.n_columns, found.index.name, found.index.dtype) == (2, "k", "int64")
    series = look(dd.from_pandas(pdf.x, npartitions=2))
    assert [(c.name, c.dtype) for c in series.columns] == [("x", "float64")]
    assert (series.kind, series.n_columns) == ("series", 1)


def test_an_index_and_a_scalar(a):
    index, scalar = look(a.index), look(a.x.sum())
    assert (index.kind, index.columns, index.index.dtype) == ("index", (), "int64")
    assert (scalar.kind, scalar.columns, scalar.n_columns, scalar.npartitions) == ("series", (), None, 1)


def test_of_very_many_columns_the_first_are_told():
    found = look(dd.from_pandas(pd.DataFrame(np.zeros((2, 1_000))), npartitions=1))
    assert (len(found.columns), found.n_columns) == (200, 1_000)


STEPS = {
    "merge": ("merge", (10, 3), 10, (True, True), False, ("k",), "inner"),
    "join": ("join", (10, 3), 12, (True, True), True, (), "left"),
    "merge on index and column": ("merge", (10, 3), 10, (True, True), False, ("k",), "inner"),
    "loc": ("loc", (10,), 3, (True,), True, (), ""),
    "loc by unknown divisions": ("loc", (10,), 10, (False,), True, (), ""),
    "resample": ("resample", (5,), 5, (True,), True, (), "D"),
    "rolling": ("rolling", (5,), 5, (True,), False, (), "3"),
    "rolling by time": ("rolling", (5,), 5, (True,), True, (), "3D"),
    "groupby": ("groupby", (10,), 1, (True,), False, ("k",), ""),
    "groupby agg": ("groupby", (10,), 1, (True,), False, ("k", "s"), ""),
    "set_index": ("set_index", (10,), 2, (True,), False, ("k",), ""),
    "shuffle": ("shuffle", (10,), 10, (True,), False, ("k",), ""),
    "repartition to fewer": ("repartition", (10,), 4, (True,), False, (), ""),
    "map_partitions": ("map_partitions", (10,), 10, (True,), False, (), ""),
    "alignment": ("alignment", (10, 3), 12, (True, True), True, (), ""),
    "concat of columns": ("alignment", (10, 3), 12, (True, True), True, (), ""),
}


@pytest.mark.parametrize("case", STEPS)
def test_steps_that_rules_speak_of(a, b, ts, case):
    found = look(CASES[case](a, b, ts))
    (step,) = found.operations
    told = (step.kind, step.n_in, step.n_out, step.known_divisions, step.is_on_index, step.columns, step.how)
    assert told == STEPS[case]


@pytest.mark.parametrize("case", ["pandas", "column", "filter", "shift", "sum", "head"])
def test_plain_steps_are_none_of_them(a, b, ts, case):
    assert look(CASES[case](a, b, ts)).operations == ()


def test_the_functions_of_the_user_are_named(a):
    mapped, grouped = a.map_partitions(_same), a.groupby("k").apply(len, meta=("n", "i8"))
    assert [step.function for step in look(mapped).operations] == ["_same"]
    assert [step.function for step in look(grouped).operations] == ["len"]


def test_steps_come_from_the_sources_to_the_end(a, b):
    found = look(a.merge(b, on="k").groupby("k").x_x.sum().to_frame().shuffle("k"))
    assert [step.kind for step in found.operations] == ["merge", "groupby", "shuffle"]
    assert found.operations[0].name in found.names
    assert (found.n_steps, found.depth) == (7, 6)


def test_a_chain_is_measured(a):
    frame = a.x
    for i in range(70):
        frame = frame + i
    found = look(frame)
    assert (found.n_steps, found.depth) == (72, 72)
    assert found.n_tasks is not None


def test_a_chain_that_is_too_long_to_optimize_says_so(a):
    frame = a.x
    for i in range(120):
        frame = frame + i
    found = look(frame)
    assert (found.n_steps, found.npartitions, found.n_tasks) == (122, 10, None)
    assert found.gaps == ("Its tasks were not counted: optimizing 122 steps takes long.",)


def test_a_chain_that_is_too_long_to_walk_says_so(monkeypatch, a):
    monkeypatch.setattr(frame_look, "MAX_STEPS", 500)
    frame = a.x
    for i in range(600):
        frame = frame + i
    found = look(frame)
    assert (found.n_steps, found.depth, found.npartitions, found.is_eager) == (None, None, None, True)
    assert found.gaps == ("It has more than 500 steps.",)


# Harmless


EAGER = {
    "set_index": lambda a: a.set_index("x"),
    "sort_values": lambda a: a.sort_values("x"),
    "derived": lambda a: a.set_index("x").k + 1,
    "merged": lambda a: a.sort_values("x").merge(a, on="k"),
    "partition size": lambda a: a.repartition(partition_size="1kB"),
    "by partition size": lambda a: a.repartition(partition_size="1kB").groupby("k").x.sum(),
}


@pytest.mark.parametrize("case", EAGER)
def test_nothing_is_computed_and_nothing_hangs(client, a, case):
    frame = EAGER[case](a)
    before = _transitions(client)
    found = []
    thread = threading.Thread(target=lambda: found.append(look(frame)), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert (found[0].is_eager, found[0].npartitions, found[0].n_tasks) == (True, None, None)
    assert "Asking for its partitions would start a job." in found[0].gaps
    assert {step.kind for step in found[0].operations} & {"set_index", "sort_values", "repartition"}
    time.sleep(0.1)
    assert _transitions(client) == before


def _transitions(client):
    seen = None
    while (now := client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)) != seen:
        seen = now
        time.sleep(0.1)
    return seen


def test_inputs_of_an_eager_step_are_told(a):
    (step,) = look(a.set_index("x")).operations
    assert (step.kind, step.n_in, step.n_out, step.columns) == ("set_index", (10,), None, ("x",))


@pytest.mark.parametrize(
    "make",
    [
        lambda a, f: a.map_partitions(f),
        lambda a, f: a[["k", "x"]].map_partitions(f).x.sum(),
        lambda a, f: a.merge(a, on="k").map_partitions(f).groupby("k").x_x.sum(),
        lambda a, f: a.map_overlap(f, 1, 1),
        lambda a, f: a.groupby("k").apply(f),
        lambda a, f: a.groupby("k").x.transform(f),
        lambda a, f: a.x.map(f),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_function_of_the_users_is_called(client, a, make):
    calls = []

    def function(part):
        calls.append(threading.get_ident())
        return part

    frame = make(a, function)
    n = len(calls)
    found = look(frame)
    assert found.n_tasks == len(frame.expr.finalize_compute().optimize(fuse=False).__dask_graph__())
    assert n > 0
    # Dask's own optimizing, on the line before, has called it again.
    assert calls[n:].count(threading.get_ident()) == len(calls) - n
    frames._kept.clear()
    n = len(calls)
    look(frame)
    assert len(calls) == n


def test_from_map_without_meta_calls_nothing(client):
    calls = []

    def function(i, columns=None):
        calls.append(i)
        frame = pd.DataFrame({"a": [i], "b": [2.0]})
        return frame if columns is None else frame[columns]

    frame = dd.from_map(function, range(5))
    derived = frame[["a"]].a.sum()
    before = len(calls), _transitions(client)
    assert look(frame).npartitions == 5
    found = look(derived)
    assert (found.n_tasks, found.npartitions) == (None, 1)
    assert any("from_map" in gap for gap in found.gaps)
    assert (len(calls), _transitions(client)) == before


def test_statistics_of_files_are_not_gathered_for_our_sake(client, table):
    frame = dd.read_parquet(table, filesystem="arrow")
    _STATS_CACHE.clear()
    before = _transitions(client)
    found = look(frame.x.sum())
    assert found.n_tasks is None
    assert any("statistics" in gap for gap in found.gaps)
    assert (_transitions(client), len(_STATS_CACHE)) == (before, 0)
    frame.x.sum().optimize()  # the user's own
    n = len(frame.x.sum().expr.finalize_compute().optimize(fuse=False).__dask_graph__())
    assert look(frame.x.sum()).n_tasks in (n, None)


def test_rows_of_files_are_not_counted_for_our_sake(client, table):
    found = look(dd.read_parquet(table).shape[0])
    assert found.n_tasks is None
    assert any("count the rows" in gap for gap in found.gaps)


def test_a_large_constant_is_not_hashed_again(a):
    found = look(a.map_partitions(_with, np.zeros(2_000_000), meta=a._meta).x.sum())
    assert found.n_tasks is None
    assert any("large constant" in gap for gap in found.gaps)
    assert look(a.map_partitions(_with, np.zeros(2), meta=a._meta).x.sum()).n_tasks is not None


def _with(frame, other):
    return frame


# What is kept


def test_a_second_look_is_remembered(monkeypatch, a):
    first = look(a.groupby("k").x.sum())
    monkeypatch.setattr(frames, "Look", None)
    assert look(a.groupby("k").x.sum()) == first


def test_what_is_remembered_is_bounded(monkeypatch, a):
    monkeypatch.setattr(frames, "MAX_KEPT", 3)
    for i in range(9):
        look(a.x + i)
    assert len(frames._kept) == 3


def test_no_expression_is_held(client, a):
    persisted = a.persist()
    wait(persisted)
    look(persisted)
    look(persisted.x + 1)
    keys = [key for key, _ in persisted.dask.items()]
    assert keys
    del persisted
    end = time.monotonic() + 10
    held = True
    while held and time.monotonic() < end:
        held = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) > 0
        time.sleep(0.1)
    assert not held


# Strangers


class Mine(dd.DataFrame):
    """A subclass of the user's."""

    @property
    def npartitions(self):
        raise AssertionError("touched")

    def __len__(self):
        raise AssertionError("touched")

    def __repr__(self):
        raise AssertionError("touched")


def test_a_subclass_of_the_users_is_described(a):
    found = look(Mine(a.expr))
    assert (found.kind, found.npartitions, found.n_columns) == ("dataframe", 10, 3)


def test_an_expression_alone_is_described(a):
    found = look(a.x.sum().expr)
    assert (found.npartitions, found.n_tasks) == (1, look(a.x.sum()).n_tasks)


def test_what_a_version_of_dask_lacks_leaves_a_gap(monkeypatch, a):
    def missing(*args):
        raise AttributeError("no such thing")

    for name in ("tasks_of", "operations", "estimate"):
        monkeypatch.setattr(frame_look, name, missing)
    found = look(a.groupby("k").x.sum())
    assert (found.npartitions, found.n_tasks, found.operations, found.nbytes) == (1, None, (), None)
    assert set(found.gaps) == {
        "Its steps could not be told (AttributeError).",
        "Its tasks could not be told (AttributeError).",
        "Its size could not be told (AttributeError).",
    }
    monkeypatch.undo()
    assert look(a.groupby("k").x.sum()).n_tasks is not None


def test_an_expression_whose_parts_raise_is_told_with_gaps(monkeypatch, a):
    class Broken(type(a.expr)):
        _meta = property(lambda self: 1 / 0)

    broken = Broken(*a.expr.operands)
    found = look(broken)
    assert (found.kind, found.columns) == ("dataframe", ())
    assert "Its columns could not be told (ZeroDivisionError)." in found.gaps
    monkeypatch.setattr(frame_look, "is_read", lambda step: 1 / 0)
    assert look(a.x + 1).npartitions is None


def test_hostile_names_are_cut(pdf):
    found = look(dd.from_pandas(pdf.rename(columns={"x": "<img src=x>" * 1_000}), npartitions=1))
    assert max(len(column.name) for column in found.columns) == 100


def test_frames_of_other_makings(client):
    array = dd.from_dask_array(da.ones((100, 2), chunks=(10, 2)), columns=["a", "b"])
    assert (look(array).npartitions, look(array).n_columns) == (10, 2)
    delayed = dd.from_delayed([dask.delayed(pd.DataFrame)({"a": [1]}) for _ in range(3)], meta={"a": "i8"})
    found = look(delayed.a.sum())
    assert found.n_tasks == len(delayed.a.sum().expr.finalize_compute().optimize(fuse=False).__dask_graph__())
    assert look(dask.datasets.timeseries(end="2000-01-05")).npartitions == 4
