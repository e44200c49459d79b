import gc
import threading
import weakref
from collections import Counter

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._expr import FinalizeCompute
from dask.base import collections_to_expr
from distributed import Client

from jupyter_dask_doctor.gather.fusion import spared
from jupyter_dask_doctor.gather.submissions import Submissions


@pytest.fixture
def submissions():
    submissions = Submissions()
    submissions.install()
    yield submissions
    submissions.uninstall()


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch):
    """What is read is tested here, not how soon: the first look at a kind of expression takes longer."""
    for module in ("submissions", "fusion"):
        monkeypatch.setattr(f"jupyter_dask_doctor.gather.{module}.MAX_SECONDS", 10.0)


@pytest.fixture
def frame():
    data = pd.DataFrame({"a": range(1_000), "b": range(1_000), "k": [i % 7 for i in range(1_000)]})
    return dd.from_pandas(data, npartitions=10)


def one(submissions, client):
    (submission,) = submissions.take(client.id)
    return submission


CHAINS = {
    "assigned": lambda df: df[df.a > 3].assign(c=df.b + 1).assign(d=2),
    "reduced": lambda df: df[df.a > 3].assign(c=df.b + 1).c.sum(),
    "normalised": lambda df: (df.a - df.a.mean()) / df.a.std(),
    "diamond": lambda df: (df.a + df.b) * (df.a - df.b),
    "grouped": lambda df: df.assign(c=1).groupby("k").c.sum(),
    "shuffled": lambda df: df.assign(c=1).shuffle("k").assign(d=1).d.sum(),
    "joined": lambda df: df.assign(c=1).merge(df.assign(d=1), on="k").c.sum(),
    "broadcast": lambda df: (
        df.assign(c=1).merge(df.partitions[:1].repartition(npartitions=1), on="k").c.sum()
    ),
    "cumulated": lambda df: df.assign(c=1).c.cumsum(),
    "repartitioned": lambda df: df.assign(c=1).repartition(npartitions=3).assign(d=1).d.sum(),
    "indexed": lambda df: df.set_index("k", divisions=[0, 2, 4, 6]).a.sum(),
    "bare": lambda df: df,
}


def would_spare(lazy, submission):
    """With the number of tasks of each group as the scheduler makes them of what was sent."""
    sent = FinalizeCompute(collections_to_expr([lazy])).optimize()
    counts = Counter(key[0] if isinstance(key, tuple) else key for key in sent.__dask_graph__())
    return spared(submission.steps, counts)


@pytest.mark.parametrize("chain", CHAINS)
def test_knows_what_fusing_would_spare(submissions, client, frame, chain):
    lazy = CHAINS[chain](frame)
    lazy.compute()
    unfused = len(lazy.optimize(fuse=False).__dask_graph__())
    assert would_spare(lazy, one(submissions, client)) == unfused - len(lazy.optimize().__dask_graph__())


def test_nothing_is_left_to_fuse_in_what_is_fused(submissions, client, frame):
    lazy = CHAINS["assigned"](frame).optimize()
    lazy.compute()
    assert would_spare(lazy, one(submissions, client)) == 0


def test_names_before_fusion_repeat(submissions, client, frame):
    """The same expression has the same names, fused or not; another has others."""
    lazy = CHAINS["reduced"](frame)
    lazy.compute()
    lazy.optimize().compute()
    frame.a.max().compute()
    first, second, third = submissions.take(client.id)
    assert len(set(first.names) & set(second.names)) > 4
    # The table itself and its column are the same indeed.
    other = {name for name in third.names if not name.startswith(("frompandas", "getitem"))}
    assert other
    assert not other & set(first.names)


def test_names_repeat_though_the_optimizer_renames_the_steps(submissions, client, frame):
    """It pushes the choice of columns into each step, so that two uses of a table share none after it."""
    table = frame.assign(c=frame.a + 1)
    table.a.sum().compute()
    first = set(one(submissions, client).names)
    table.c.mean().compute()
    assert table._name in first & set(one(submissions, client).names)
    table.persist()
    assert table._name in one(submissions, client).names


def test_what_is_in_memory_is_no_step(submissions, client, frame):
    held = frame.assign(c=1).persist()
    one(submissions, client)
    held.a.sum().compute()
    assert held._name not in one(submissions, client).names


def test_the_user_does_not_wait_for_partitions_to_be_found(submissions, client, monkeypatch):
    """To find those of a frame in memory Dask sorts its index."""
    from dask.dataframe.dask_expr.io.io import FromPandas

    lazy = dd.from_pandas(pd.DataFrame({"a": range(100)}), npartitions=4, sort=True).assign(b=1).b.sum()
    asked = set()

    def found(self):
        asked.add(threading.get_ident())
        return original(self)

    original = FromPandas.__dict__["_divisions_and_locations"].func
    monkeypatch.setattr(FromPandas, "_divisions_and_locations", property(found))
    expr = FinalizeCompute(collections_to_expr([lazy])).optimize()
    asked.clear()
    client.get(expr, list(expr.__dask_keys__()), sync=False)
    assert len(one(submissions, client).steps) > 2
    # The scheduler, in a thread of this process, has to ask.
    assert threading.get_ident() not in asked


def test_names_the_layers_of_arrays_bags_and_delayed(submissions, client):
    x = da.ones((100, 10), chunks=(10, 10))
    (x + 1).sum().compute()
    db.from_sequence(range(10), npartitions=5).map(abs).sum().compute()
    dask.delayed(abs)(-1).compute()
    array, bag, delayed = submissions.take(client.id)
    assert x.name in array.names
    assert any(name.startswith("from_sequence") for name in bag.names)
    assert any(name.startswith("abs") for name in delayed.names)
    assert {array.steps, bag.steps, delayed.steps} == {()}


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("compute", lambda client, df: df.a.sum().compute()),
        ("compute", lambda client, df: dask.compute(df.a.sum())),
        ("compute", lambda client, df: client.compute(df.a.sum()).result()),
        ("persist", lambda client, df: df.persist()),
        ("head", lambda client, df: df.head(2)),
        ("submit", lambda client, df: client.submit(abs, -1).result()),
        ("map", lambda client, df: client.gather(client.map(abs, [1, 2]))),
    ],
)
def test_knows_what_was_called(submissions, client, frame, method, call):
    call(client, frame)
    assert one(submissions, client).method == method


def hidden(client, df, tmp_path):
    indexed = df.set_index("k")
    yield "npartitions", lambda: indexed.npartitions
    yield "repr", lambda: repr(df.set_index("b"))
    yield "len", lambda: len(df)
    yield "categorize", lambda: df.categorize(columns=["k"])
    yield "set_index", lambda: df.set_index("a", sorted=True)
    yield "to_dask_array", lambda: df.to_dask_array(lengths=True)


@pytest.mark.parametrize("i", range(6))
def test_knows_what_the_user_did_not_ask_to_compute(submissions, client, frame, i, tmp_path):
    method, call = list(hidden(client, frame, tmp_path))[i]
    call()
    told = [(one.method, one.is_hidden) for one in submissions.take(client.id)]
    assert told
    assert set(told) == {(method, True)}


def test_a_job_inside_of_compute_is_hidden_and_the_compute_itself_is_not(submissions, client, frame):
    # Dask remembers divisions that it has computed once, so of a frame that no other test has.
    frame.assign(k=frame.k + 1).set_index("k").compute()
    told = [(one.method, one.is_hidden) for one in submissions.take(client.id)]
    assert told == [("compute", True), ("compute", False)]


@pytest.mark.parametrize(
    "call",
    [
        lambda client, df: df.a.sum().compute(),
        lambda client, df: df.persist(),
        lambda client, df: df.head(2),
        lambda client, df: client.compute(df.a.sum()).result(),
        lambda client, df: client.submit(abs, -1).result(),
        lambda client, df: np.asarray(df.a.values),
        lambda client, df: next(df.iterrows()),
    ],
)
def test_what_the_user_asked_for_is_not_hidden(submissions, client, frame, call):
    call(client, frame)
    assert {one.is_hidden for one in submissions.take(client.id)} == {False}


def referred(submissions, client):
    return [ref() for sent in submissions.take(client.id) for _, ref in sent.progress.refs]


def test_refers_to_what_was_asked_for(submissions, client, frame):
    array, bag = da.ones(4, chunks=2), db.from_sequence([1, 2])
    delayed = dask.delayed(abs)(-1)
    made = frame.assign(c=1)
    for call, expected in (
        (lambda: made.compute(), [made]),
        (lambda: made.persist(), [made]),
        (lambda: made.head(npartitions=2), [made]),
        (lambda: len(made), [made]),
        (lambda: dask.compute(array, bag, delayed, 3), [array, bag, delayed]),
        (lambda: array.compute(), [array]),
        (lambda: client.compute([array, bag]), [array, bag]),
        (lambda: client.persist(array), [array]),
        (lambda: client.submit(abs, -2), []),
    ):
        call()
        told = referred(submissions, client)
        assert [id(one) for one in told] == [id(one) for one in expected]


def test_what_was_asked_for_is_not_kept_alive(submissions, client, frame):
    made = frame.assign(c=frame.a + 1)
    made.compute()
    del made
    gc.collect()
    assert referred(submissions, client) == [None]


def test_measures_what_serializing_takes(submissions, client):
    class Slow:
        def __reduce__(self):
            import time

            time.sleep(0.2)
            return int, (7,)

    assert client.submit(lambda x: 1, Slow()).result() == 1
    assert one(submissions, client).progress.serialize_seconds >= 0.2


def test_a_graph_that_cannot_be_pickled_was_not_sent(submissions, client):
    with pytest.raises(TypeError):
        client.submit(lambda x: 1, threading.Lock(), key="x").result()
    assert one(submissions, client).progress.serialize_seconds is None


def test_finds_the_line_of_the_cell_that_runs(submissions, client, frame):
    """Not that of a function which another cell defined."""
    namespace = {"df": frame}
    helper = compile("\n\n\ndef helper(x):\n    return x.sum().compute()\n", "/tmp/ipykernel_1/1.py", "exec")
    exec(helper, namespace)
    exec(compile("a = 1\nhelper(df.a)\n", "/tmp/ipykernel_1/2.py", "exec"), namespace)
    submission = one(submissions, client)
    assert (submission.filename, submission.line) == ("/tmp/ipykernel_1/2.py", 2)


def test_says_nothing_of_a_line_outside_a_notebook(submissions, client):
    client.submit(abs, -1).result()
    submission = one(submissions, client)
    assert (submission.filename, submission.line) == (None, None)


def test_keeps_no_data_alive(submissions, client):
    data = np.ones(1_000)
    ref = weakref.ref(data)
    da.from_array(data, chunks=100).sum().compute()
    del data
    gc.collect()
    assert ref() is None
    assert one(submissions, client)


def test_each_client_has_its_own(submissions, cluster, client):
    with Client(cluster, set_as_default=False) as other:
        client.submit(abs, -1).result()
        other.submit(abs, -2).result()
        other.submit(abs, -3).result()
        assert len(submissions.take(other.id)) == 2
        assert len(submissions.take(client.id)) == 1
        assert submissions.take(client.id) == ()


def test_uninstalls(client):
    before = Client._graph_to_futures
    submissions = Submissions()
    submissions.install()
    submissions.install()
    assert Client._graph_to_futures is not before
    submissions.uninstall()
    assert Client._graph_to_futures is before
    client.submit(abs, -1).result()
    assert submissions.take(client.id) == ()


def test_a_wrapper_around_ours_survives(submissions, client, monkeypatch):
    ours = Client._graph_to_futures
    calls = []

    def theirs(*args, **kwargs):
        calls.append(1)
        return ours(*args, **kwargs)

    monkeypatch.setattr(Client, "_graph_to_futures", theirs)
    submissions.uninstall()
    assert client.submit(abs, -1).result() == 1
    assert calls
    assert submissions.take(client.id) == ()


def test_its_own_faults_do_not_reach_the_caller(submissions, client, monkeypatch):
    monkeypatch.setattr("jupyter_dask_doctor.gather.submissions._look", lambda expr: 1 / 0)
    for i in range(8):
        assert client.submit(abs, -i).result() == i
    assert submissions.n_faults == 5
    assert not submissions.is_installed


def test_a_refused_call_stays_refused(submissions, client):
    with pytest.raises(TypeError):
        client._graph_to_futures()
    assert client.submit(abs, -1).result() == 1


def test_a_tree_that_is_too_big_is_given_up_on(submissions, client, frame, monkeypatch):
    monkeypatch.setattr("jupyter_dask_doctor.gather.submissions.MAX_NODES", 3)
    CHAINS["assigned"](frame).compute()
    submission = one(submissions, client)
    assert (submission.names, submission.steps, submission.method) == ((), (), "compute")
