import asyncio
import logging
import sys
import time
from dataclasses import replace

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, wait

from jupyter_dask_doctor import doctor
from jupyter_dask_doctor.gather import held as module
from jupyter_dask_doctor.gather.held import Holdings, key_columns, merged
from tests.healthy import collection, computation, group, lazy, operation, snapshot, versions


def told(parts, **facts):
    parts = [(index, rows, "pandas.DataFrame", digest) for index, rows, digest in parts]
    first = next((index for index, rows, *_ in parts if rows), None)
    return {"parts": parts, "first": first, "columns": [], "hot": [], "is_all": True} | facts


def test_what_several_workers_tell_is_put_in_order():
    held = merged([told([("1", 5, "a"), ("10", 3, "a")]), told([("2", 4, "a"), ("10", 3, "a")])])
    assert (held.n, held.rows, held.unlike, held.type) == (3, (5, 4, 3), (), "pandas.DataFrame")


def test_partitions_unlike_the_first_with_rows():
    held = merged([told([("0", 0, "empty"), ("1", 5, "a"), ("2", 5, "b"), ("3", 0, "c"), ("4", 1, "")])])
    assert held.unlike == ("2",)


def test_chunks_of_two_dimensions():
    parts = [("1, 0", None, "float64", "x"), ("0, 1", None, "int64", "x"), ("0, 0", None, "float64", "x")]
    held = merged([told([]) | {"parts": parts}])
    assert (held.n, held.rows, held.type, held.unlike) == (3, (), None, ("0, 1",))


def test_nobody_tells():
    assert merged([]) is None
    assert merged([{"fault": "LookupError"}, told([])]) is None


def test_bytes_of_columns_are_those_of_all_rows():
    columns = [("k", "int64", 8.0, None), ("s", "object", None, "string")]
    held = merged([told([("0", 10, "a"), ("1", 30, "a")], columns=columns)], npartitions=4)
    k, s = held.columns
    assert (k.nbytes.nbytes, k.nbytes.known) == (640, "estimated")
    assert (s.nbytes, s.holds) == (None, "string")


def test_the_value_with_the_largest_share():
    hot = [("a", "1", 0.2, 100), ("b", "x", 0.9, 100)]
    held = merged([told([("0", 100, "a")], hot=hot), told([("1", 100, "a")])], largest="0")
    assert (held.hot.column, held.hot.value, held.hot.share, held.hot.partition) == ("b", "x", 0.9, "0")


def test_columns_that_bring_rows_together():
    one = collection(name="m", group="p2p-1", names=("fromgraph-1", "p2p-1"))
    made = lazy(
        name="", operations=(operation(kind="merge", columns=("k",)), operation(kind="loc", columns=("z",)))
    )
    used = lazy(
        name="g", names=("sum-1", "fromgraph-1"), operations=(operation(kind="groupby", columns=("u",)),)
    )
    other = lazy(name="h", names=("sum-2",), operations=(operation(kind="groupby", columns=("w",)),))
    facts = snapshot(
        collections=(one, used, other),
        computations=(computation(id="1", asked=(made,)), computation(id="2", asked=(other,))),
        groups=(group(name="p2p-1", computation_id="1"), group(name="sum-2", computation_id="2")),
    )
    assert key_columns(one, facts) == {"k", "u"}


@pytest.fixture
def look(follower, feed, client):
    """What is told of these variables once the workers have answered."""

    def look(namespace, condition=lambda collections: all(one.held for one in collections)):
        stop = time.monotonic() + 20
        while True:
            follower.pull(feed)
            facts = doctor.gather(feed, follower.cells, namespace)
            if condition(facts.collections):
                return facts.collections
            assert time.monotonic() < stop, facts.collections

            async def ask(facts=facts):
                feed.ask_for_held(facts)
                await feed.settle()

            follower.run(ask())
            time.sleep(0.1)

    return look


def frame(n=2_000, npartitions=8):
    rng = np.random.default_rng(0)
    k = np.where(rng.random(n) < 0.8, 7, rng.integers(0, 100, n))
    data = pd.DataFrame({"k": k, "s": [f"name {i}" for i in range(n)], "v": rng.random(n)})
    return dd.from_pandas(data, npartitions=npartitions)


def test_rows_columns_and_the_hot_key_of_a_real_frame(client, look):
    df = frame().shuffle("k", npartitions=8).persist()
    wait(df)
    made = df.groupby("k").v.sum()
    (one, _) = look({"df": df, "made": made}, lambda found: found[0].held and found[0].held.hot)
    parts = dask.compute(df.to_delayed())[0]
    assert one.held.rows == tuple(map(len, parts))
    assert one.n_rows == 2_000
    assert [(c.name, c.dtype) for c in one.held.columns] == [(n, str(d)) for n, d in parts[0].dtypes.items()]
    assert (one.held.hot.column, one.held.hot.value) == ("k", "7")
    assert one.held.hot.partition == one.sizes.largest_index
    assert one.held.hot.share > 0.9
    truth = sum(part.memory_usage(index=False, deep=True) for part in parts)
    for column in one.held.columns:
        assert truth[column.name] / 2 <= column.nbytes.nbytes <= truth[column.name] * 2


def test_what_is_lazy_or_not_whole_is_not_asked_for(client, look, monkeypatch):
    asked = []
    monkeypatch.setattr(Holdings, "_take", lambda self, one, *_: asked.append(one.name) or asyncio.sleep(0))
    slow = frame().map_partitions(lambda part: time.sleep(1) or part, meta=frame()._meta).persist()
    look({"lazy": frame(), "slow": slow}, lambda found: True)
    assert asked == []
    wait(slow)
    look({"slow": slow}, lambda found: bool(asked))
    assert asked == ["slow"]


def test_partitions_unlike_their_meta(client, look):
    def differ(part, partition_info=None):
        return part.astype({"v": "float32"}) if partition_info["number"] == 3 else part

    df = frame().map_partitions(differ, meta=frame()._meta, enforce_metadata=False).persist()
    (one,) = look({"df": df})
    assert one.held.unlike == ("3",)
    assert {c.name: c.dtype for c in one.held.columns}["v"] == "float64"


def test_arrays(client, look):
    x = da.ones((40, 40), chunks=(20, 10), dtype="float32").persist()
    (one,) = look({"x": x})
    assert (one.held.n, one.held.type, one.held.rows, one.n_rows) == (8, "float32", (), None)


def test_each_group_is_asked_for_once(client, look, monkeypatch):
    n = []
    original = Holdings._take
    monkeypatch.setattr(Holdings, "_take", lambda self, *args: n.append(1) or original(self, *args))
    df = frame().persist()
    look({"df": df})
    for _ in range(3):
        look({"df": df, "same": df}, lambda found: True)
    assert len(n) == 1


def test_is_asked_again_when_other_columns_matter(client, look, monkeypatch):
    monkeypatch.setattr(module, "RECHECK", 0.0)
    df = frame().persist()
    (one,) = look({"df": df})
    assert one.held.hot is None
    found = look({"df": df, "made": df.groupby("k").v.sum()}, lambda found: found[0].held.hot)
    assert found[0].held.hot.column == "k"


def test_few_groups_in_a_minute(client, look, monkeypatch):
    n = []
    monkeypatch.setattr(Holdings, "_take", lambda self, one, *_: n.append(1) or asyncio.sleep(0))
    frames = {f"df{i}": frame(100 + i, 2).persist() for i in range(module.MAX_GROUPS + 3)}
    wait(list(frames.values()))
    look(frames, lambda found: len(n) >= module.MAX_GROUPS)
    for _ in range(3):
        look(frames, lambda found: True)
    assert len(n) == module.MAX_GROUPS


def test_asking_is_not_heard_in_the_kernel(client, look, caplog, capfd):
    caplog.set_level(logging.INFO)
    df = frame().persist()
    look({"df": df})
    assert "doctor" not in caplog.text
    assert "_tell" not in caplog.text
    assert "_tell" not in "".join(capfd.readouterr())


def test_workers_in_processes(follower, make_cluster):
    with Client(make_cluster(processes=True)) as client:
        feed = follower.follow(client)
        df = frame().persist()
        wait(df)
        stop = time.monotonic() + 30
        while True:
            follower.pull(feed)
            facts = doctor.gather(feed, follower.cells, {"df": df})
            if facts.collections[0].held:
                break
            assert time.monotonic() < stop

            async def ask(facts=facts):
                feed.ask_for_held(facts)
                await feed.settle()

            follower.run(ask())
            time.sleep(0.2)
        assert facts.collections[0].n_rows == 2_000


def test_a_worker_that_is_gone_and_one_that_refuses(follower, client, look, monkeypatch):
    from jupyter_dask_doctor.gather import worker_partitions

    calls = []

    def refuse(data):
        calls.append(1)
        raise LookupError

    monkeypatch.setattr(worker_partitions, "in_memory", refuse)
    df = frame().persist()
    wait(df)
    (one,) = look({"df": df}, lambda found: len(calls) >= 2)
    assert one.held is None

    async def ask():
        holdings = Holdings("tcp://127.0.0.1:9", {}, is_in_process=True)
        workers = tuple(replace(w, address="tcp://127.0.0.1:9") for w in snapshot().workers[:1])
        held = replace(one, held=None)
        ours = {"python": "{}.{}.0".format(*sys.version_info[:2])}
        facts = snapshot(workers=workers, collections=(held,), versions=(versions(packages=ours),))
        holdings.ask(facts)
        assert holdings._under_way
        await asyncio.gather(*holdings._under_way)
        assert holdings.with_held((held,)) == (held,)
        await holdings.close()

    follower.run(ask())
