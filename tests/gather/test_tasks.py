import threading
import time

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.tasks import MAX_VALUES, N_VALUES, Sizes


def is_done(sections, n=1):
    found = sections.computations
    return len(found) >= n and all(c.is_done for c in found)


def slow(x, seconds=0.3):
    time.sleep(seconds)
    return x


def test_a_skewed_persisted_frame(follower, client, feed):
    """Which partition is the largest, and every size, in the order of partitions."""

    def grow(part, partition_info=None):
        n = 50_000 if partition_info["number"] == 3 else 100
        return pd.DataFrame({"x": np.arange(n)})

    lazy = dd.from_pandas(pd.DataFrame({"x": range(80)}), npartitions=8).map_partitions(grow, meta={"x": int})
    kept = lazy.persist()
    sections = follower.until(feed, lambda s: is_done(s) and any(g.sizes for g in s.groups))
    keys = {key[0] for key in client.futures_of(kept)[0].client.futures if isinstance(key, tuple)}
    (name,) = keys
    sizes = feed.sizes(name)
    assert (sizes.n, sizes.largest_index) == (8, "3")
    assert sizes.values[3] == sizes.largest > 50_000 * 8
    assert max(sizes.values[:3] + sizes.values[4:]) < 10_000
    assert sizes.total == sum(sizes.values)
    (group,) = (g for g in sections.groups if g.name == name)
    assert group.sizes == sizes


def test_even_chunks_have_even_sizes(follower, client, feed):
    x = da.ones((40, 30), chunks=(10, 10)).persist()
    sections = follower.until(feed, lambda s: (g := feed.sizes(x.name)) is not None and g.n == 12)
    sizes = feed.sizes(x.name)
    assert sizes.median == sizes.largest == sizes.p95
    assert sizes.largest_index.count(",") == 1
    assert [c.n_tasks for c in sections.computations] == [12]


def test_sizes_of_what_nobody_saw(feed):
    assert feed.sizes("nothing-here") is None


def test_a_compute_chain(follower, client, feed):
    df = dd.from_pandas(pd.DataFrame({"a": range(1_000), "b": range(1_000)}), npartitions=10)
    lazy = df[df.a > 3].assign(c=df.b + 1).c.sum()
    began = time.time()
    lazy.compute()
    ended = time.time()
    sections = follower.until(feed, is_done)
    (done,) = sections.computations
    assert done.n_tasks == len(lazy.optimize(fuse=False).__dask_graph__())
    assert done.fused_tasks == len(lazy.optimize().__dask_graph__())
    assert (done.method, done.reused, done.nthreads) == ("compute", (), 2)
    assert sum(n for _, n in done.layers) == done.n_tasks
    assert began - 0.1 <= done.submitted <= done.start <= done.stop <= ended + 0.1
    assert 0 < done.schedule_seconds < 5
    groups = [g for g in sections.groups if g.computation_id == done.id]
    assert sum(g.n_tasks for g in groups) == done.n_tasks
    assert done.thread_seconds == pytest.approx(sum(g.compute_seconds for g in groups))
    last = next(g for g in groups if g.prefix == "sum-tree")
    assert set(last.dependencies) < {g.name for g in groups}


def test_seconds_of_threads_are_those_of_the_tasks(follower, client, feed):
    dask.compute(*(dask.delayed(slow)(i) for i in range(4)))
    (done,) = follower.until(feed, is_done).computations
    assert done.thread_seconds == pytest.approx(1.2, abs=0.4)
    assert done.stop - done.start == pytest.approx(0.6, abs=0.4)


def test_the_same_work_twice_is_two_computations_of_equal_names(follower, client, feed):
    x = da.ones((100,), chunks=10)
    x.sum().compute()
    x.sum().compute()
    first, second = follower.until(feed, lambda s: is_done(s, 2)).computations
    assert first.id != second.id
    assert first.names == second.names
    assert first.n_tasks == second.n_tasks


def test_inputs_that_were_let_go_are_done(follower, client, feed):
    first = client.map(slow, range(4), seconds=0.01)
    second = client.map(slow, first, seconds=0.01)
    del first
    client.gather(second)
    time.sleep(0.3)
    # The first ones are released by now; the scheduler keeps them for the sake of the second ones.
    sections = follower.pull(feed)
    assert [c.is_done for c in sections.computations] == [True, True]


def test_what_was_persisted_is_reused(follower, client, feed):
    x = da.ones((100,), chunks=10).persist()
    follower.until(feed, is_done)
    x.sum().compute()
    first, second = follower.until(feed, lambda s: is_done(s, 2)).computations
    assert (first.method, first.reused) == ("persist", ())
    assert second.reused == (x.name,)
    sections = follower.pull(feed)
    assert [g.computation_id for g in sections.groups if g.name == x.name] == [first.id]
    assert feed.sizes(x.name).n == 10


def test_the_cell_that_ran(follower, client, feed):
    follower.cells.start(cell_id="one", execution_count=1, source="x.compute()")
    da.ones(10, chunks=5).sum().compute()
    follower.cells.stop(failed=False)
    follower.cells.start(cell_id="two", execution_count=2, source="y.compute()")
    da.zeros(10, chunks=5).sum().compute()
    follower.cells.stop(failed=False)
    first, second = follower.until(feed, lambda s: is_done(s, 2)).computations
    assert (first.at.cell_id, second.at.cell_id) == ("one", "two")


def test_what_came_before_the_plugin(follower, client):
    follower.cells.start(cell_id="one", execution_count=1, source="x = x.persist()")
    x = da.ones(100, chunks=10).persist()
    x.sum().compute()
    follower.cells.stop(failed=False)
    feed = follower.follow(client)
    first, second = follower.until(feed, lambda s: is_done(s, 2)).computations
    assert (first.n_tasks, first.method, first.at.cell_id) == (10, "persist", "one")
    assert second.start >= first.submitted
    follower.until(feed, lambda s: feed.sizes(x.name) is not None)
    assert feed.sizes(x.name).n == 10


def test_a_loop_of_submits_is_one_computation(follower, client, feed):
    futures = [client.submit(slow, i, 0.01, pure=False) for i in range(50)]
    client.gather(futures)
    sections = follower.until(feed, is_done)
    assert sum(c.n_tasks for c in sections.computations) == 50
    assert len(sections.computations) < 10
    assert {c.method for c in sections.computations} == {"submit"}


def test_while_it_runs(follower, client, feed):
    futures = [client.submit(slow, i, 3, pure=False) for i in range(2)]
    sections = follower.until(feed, lambda s: s.load and s.load[-1].threads_busy == 2)
    (running, *_) = sections.computations
    assert not running.is_done
    assert running.stop is None
    assert running.peak_memory > running.peak_worker_memory > 0 or len(sections.workers) == 1
    assert sections.load[-1].tasks_processing == 2
    del futures
    follower.until(feed, is_done)


def test_a_failure_and_its_cell(follower, client, feed):
    follower.cells.start(cell_id="bad", execution_count=1, source="1 / 0")
    lazy = dask.delayed(divmod)(dask.delayed(lambda: 1 / 0)(), 2)
    with pytest.raises(ZeroDivisionError):
        lazy.compute()
    follower.cells.stop(failed=True)
    sections = follower.until(feed, lambda s: s.failures)
    (failure,) = sections.failures  # and none for the task that waited for it
    assert failure.exception == "ZeroDivisionError"
    assert "division by zero" in failure.text
    assert "1 / 0" in failure.trace
    assert failure.prefix == "lambda"
    assert failure.at.cell_id == "bad"
    assert failure.computation_id == sections.computations[0].id


def test_nothing_failed(follower, client, feed):
    client.submit(abs, -1).result()
    assert follower.until(feed, is_done).failures == ()


def test_hostile_keys_stay_text(follower, client, feed):
    evil = "<script>alert(1)</script>"

    def fail():
        raise ValueError("<img src=x onerror=alert(1)>" * 1_000)

    fail.__name__ = evil
    future = client.submit(fail, key=f"{evil}-1")
    kept = client.persist(dask.delayed(abs)(-1, dask_key_name=("<b>" * 5_000, 0)))
    client.submit(abs, -1, key="{0.__class__}%s{" + "x" * 100).result()
    with pytest.raises(ValueError, match="img"):
        future.result()
    sections = follower.until(feed, lambda s: s.failures and is_done(s, 3))
    (failure,) = sections.failures
    assert failure.key == f"{evil}-1"
    assert len(failure.text) == 1_000
    assert all(len(g.name) <= 500 for g in sections.groups)
    assert feed.sizes("<b>" * 5_000).n == 1
    assert feed.state == "live"
    del kept


def test_graphs_of_other_clients_are_not_ours(follower, cluster, client, feed):
    from distributed import Client

    with Client(cluster, set_as_default=False) as other:
        theirs = follower.follow(other)
        other.submit(abs, -1).result()
        client.gather(client.map(slow, range(4), seconds=0))
        (mine,) = follower.until(feed, is_done).computations
        (his,) = follower.until(theirs, is_done).computations
        assert (mine.client_id, mine.n_tasks) == (client.id, 4)
        assert (his.client_id, his.n_tasks) == (other.id, 1)
        assert mine.nthreads == his.nthreads == 2


def test_a_big_graph_is_looked_at_piece_by_piece(follower, client, feed):
    x = da.ones(3_000, chunks=1).persist()
    sections = follower.until(feed, lambda s: is_done(s) and feed.sizes(x.name).n == 3_000, timeout=60)
    sizes = feed.sizes(x.name)
    assert (sizes.total, sizes.median, len(sizes.values)) == (3_000 * 8, 8, N_VALUES)
    assert sections.computations[0].layers == (("ones_like", 3_000),)


def test_computing_goes_on_while_pulled_from_all_sides(follower, client, feed):
    stop = threading.Event()

    def pull():
        while not stop.is_set():
            follower.pull(feed)

    puller = threading.Thread(target=pull)
    puller.start()
    try:
        for i in range(5):
            assert da.full(1_000, i, chunks=10).sum().compute() == i * 1_000
    finally:
        stop.set()
        puller.join()
    assert len(follower.until(feed, lambda s: is_done(s, 5)).computations) == 5


class TestSizes:
    def test_none_seen(self):
        assert Sizes().view() is None

    def test_quantiles_when_there_are_many(self):
        sizes = Sizes()
        for i in range(1_000):
            sizes.add([i], 1_000 - i)
        seen = sizes.view()
        assert (seen.n, seen.largest, seen.largest_index) == (1_000, 1_000, "0")
        assert len(seen.values) == N_VALUES
        assert list(seen.values) == sorted(seen.values)
        assert (seen.values[0], seen.values[-1]) == (1, 1_000)

    def test_bounded(self):
        sizes = Sizes()
        for i in range(MAX_VALUES + 10):
            sizes.add(None, i)
        seen = sizes.view()
        assert (seen.n, len(sizes.values)) == (MAX_VALUES + 10, MAX_VALUES)
        assert (seen.largest, seen.largest_index) == (MAX_VALUES + 9, None)
