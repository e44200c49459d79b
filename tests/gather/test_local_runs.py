"""Computations in this process itself, and Dask's registry of callbacks, which belongs to the user."""

import threading
import time

import dask
import dask.array as da
import dask.bag as db
import pytest
from dask.callbacks import Callback
from distributed import Client

from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.local_runs import LocalRuns


@pytest.fixture
def runs():
    before = set(Callback.active)
    runs = LocalRuns(time.time)
    runs.listen()
    yield runs
    runs.stop()
    assert Callback.active == before


def told(runs):
    return runs.told(CellLog())


@pytest.fixture
def x():
    return da.ones(100, chunks=10) + 1


@pytest.mark.parametrize("scheduler", ["threads", "sync", "processes"])
def test_a_run_beside_the_cluster_is_noted(runs, client, x, scheduler):
    x.compute(scheduler=scheduler)
    (run,) = told(runs)
    assert run.n_tasks >= 10
    assert 0 <= run.seconds < 60
    assert abs(run.time - time.time()) < 60


def test_what_goes_to_the_cluster_is_not(runs, client, x):
    assert float(x.sum().compute()) == 200
    assert client.gather(client.map(str, range(3))) == ["0", "1", "2"]
    # Nor what a worker of this process computes by itself.
    client.submit(lambda: x.sum().compute(scheduler="threads")).result()
    client.submit(lambda: x.sum().compute(scheduler="sync")).result()
    assert told(runs) == ()


def test_without_a_client_nothing_is_noted(runs, x):
    x.compute(scheduler="sync")
    assert told(runs) == ()


def test_a_closed_client_is_none(runs, cluster, x):
    Client(cluster).close()
    x.compute(scheduler="sync")
    assert told(runs) == ()


def test_other_threads_are_not_looked_at(runs, client, x):
    thread = threading.Thread(target=lambda: x.compute(scheduler="sync"))
    thread.start()
    thread.join()
    assert told(runs) == ()


def test_a_failed_run_ends_too(runs, client):
    with pytest.raises(ZeroDivisionError):
        db.from_sequence([0], npartitions=1).map(lambda n: 1 / n).compute(scheduler="sync")
    assert told(runs)[0].seconds is not None


def test_what_dask_reads_for_itself_is_not_asked_for(runs, client, x):
    def read_things():
        return x.compute(scheduler="sync")

    # As if Dask had it.
    read_things = type(read_things)(
        read_things.__code__,
        {"__name__": "dask.things", "__builtins__": __builtins__},
        closure=read_things.__closure__,
    )
    read_things()
    assert told(runs) == ()


def test_the_cell_is_told(runs, client, x):
    cells = CellLog()
    cells.start(cell_id="a", execution_count=3, source="x.compute(scheduler='sync')")
    x.compute(scheduler="sync")
    assert runs.told(cells)[0].at.cell_id == "a"


def test_nothing_is_called_per_task(runs):
    assert [(a is not None) for a in runs._registered] == [True, False, False, False, True]


def test_the_users_own_callbacks_work_as_ever(runs, client, x):
    seen = []
    with Callback(pretask=lambda key, dsk, state: seen.append(key)):
        x.compute(scheduler="sync")
    assert len(seen) >= 10
    assert len(told(runs)) == 1
    own = Callback(finish=lambda dsk, state, failed: seen.clear())
    own.register()
    try:
        x.compute(scheduler="sync")
    finally:
        own.unregister()
    assert seen == []
    assert len(told(runs)) == 2


def test_a_registry_that_was_emptied(runs, client, x):
    Callback.active.clear()
    x.compute(scheduler="sync")
    assert told(runs) == ()
    runs.listen()
    runs.listen()
    assert len(Callback.active) == 1
    x.compute(scheduler="sync")
    assert len(told(runs)) == 1


def test_its_own_faults_reach_nobody(client, x, monkeypatch):
    def broken():
        raise RuntimeError("no clock")

    runs = LocalRuns(broken)
    runs.listen()
    try:
        for _ in range(7):
            assert x.compute(scheduler="sync").sum() == 200
        assert told(runs) == ()
        assert runs._faults == 5
    finally:
        runs.stop()


def test_it_stays_away_once_stopped(client, x):
    runs = LocalRuns(time.time)
    runs.listen()
    runs.stop()
    runs.listen()
    assert runs._registered not in Callback.active


def test_a_nested_run_is_part_of_the_outer_one(runs, client):
    @dask.delayed
    def outer():
        return dask.delayed(int)(7).compute(scheduler="sync")

    assert outer().compute(scheduler="sync") == 7
    assert len(told(runs)) == 1
