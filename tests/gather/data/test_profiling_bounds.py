"""What is hard on whoever looks at it: huge graphs, variables that change meanwhile, another inside of Dask's."""

import gc
import subprocess
import sys
import threading
import tracemalloc

import dask
import dask.array as da
import dask.bag as db
import dask.blockwise
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.data import (
    collections,
    embedded,
    followed,
    graphs,
    large_objects,
    layered,
    variables,
)
from jupyter_dask_doctor.gather.data.collections import profile


def look(bound_at=lambda name: None, **names):
    return profile(names, sizes=lambda group: None, bound_at=bound_at)


def huge_array():
    return da.ones((1000, 1000), chunks=1) + 1


def huge_frame():
    return dd.from_map(lambda i: pd.DataFrame({"a": [i]}), range(50_000), meta=pd.DataFrame({"a": [1]}))


HUGE = {
    "array": (huge_array, 1_000_000),
    "copied array": (lambda: da.from_array(np.ones((500, 500)), chunks=1), 250_000),
    "frame": (huge_frame, 50_000),
    "bag": (lambda: db.from_sequence(range(50_000), npartitions=50_000).map(str), 50_000),
}


@pytest.mark.parametrize("what", HUGE)
def test_memory_is_bounded(what):
    make, npartitions = HUGE[what]
    value = make()
    look(warm=da.ones(3, chunks=1), frame=dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1))
    graphs._kept.clear()
    embedded._kept.clear()
    gc.collect()
    tracemalloc.start()
    try:
        (found,) = look(x=value)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.npartitions == npartitions
    assert found.n_tasks is None or found.n_tasks >= npartitions
    assert peak < 64 * 2**20
    # A million tasks built would stay in the user's object
    assert kept < 2**20


def test_a_huge_array_is_not_built():
    x = huge_array()
    (found,) = look(x=x)
    assert (found.n_tasks, found.chunks, found.gaps) == (1_000_001, (1, 1), ())
    assert not any(layer.is_materialized() for layer in x.dask.layers.values())


def test_rings_are_not_looked_for_in_huge_graphs(monkeypatch):
    monkeypatch.setattr(followed, "MAX_CYCLE", 100)
    monkeypatch.setattr(followed, "cycle", lambda *args: pytest.fail("walked"))
    assert look(x=da.ones(1000, chunks=1)[::2])[0].n_tasks == 1001


def test_what_there_is_no_time_for_comes_with_the_next_look(monkeypatch):
    x = da.ones(7, chunks=1) * 3
    with monkeypatch.context() as patch:
        patch.setattr(collections, "MAX_SECONDS", -1.0)
        (found,) = look(x=x)
        assert (found.npartitions, found.nbytes.nbytes, found.n_tasks) == (7, 56, None)
        assert "comes next" in found.gaps[0]
    (found,) = look(x=x)
    assert (found.n_tasks, found.gaps) == (8, ())


def test_a_ring_is_given_up_with_the_reason(monkeypatch):
    class NoTime(layered.Breath):
        def __init__(self, seconds, every=500):
            super().__init__(-1.0, every=1)

    monkeypatch.setattr(layered, "Breath", NoTime)
    (found,) = look(x=da.ones(50, chunks=1)[::2])
    assert "ring is not known" in found.gaps[0]


def test_a_variable_that_is_bound_anew_meanwhile_says_so():
    names = {"x": da.ones(3, chunks=1), "y": da.ones(3, chunks=1)}

    def rebind(name):
        if name == "x":
            names["x"] = 1

    x, y = profile(names, sizes=lambda group: None, bound_at=rebind)
    assert "bound anew" in x.gaps[0]
    assert y.gaps == ()


def test_a_variable_that_is_deleted_meanwhile_harms_nothing():
    names = {"x": da.ones(3, chunks=1), "y": da.ones(3, chunks=1)}
    found = profile(names, sizes=lambda group: None, bound_at=lambda name: names.pop(name, None) and None)
    assert [c.name for c in found] == ["x", "y"]


def test_a_graph_that_changes_meanwhile_is_incomplete(monkeypatch):
    graph = {("x", i): i for i in range(100)}
    array = da.Array(graph, "x", chunks=((1,) * 100,), dtype="f8")
    tasks = next(iter(array.dask.layers.values())).mapping

    def is_task(task):
        tasks["x", len(tasks)] = 1
        return False

    monkeypatch.setattr(large_objects, "_is_task", is_task)
    (found,) = look(x=array)
    assert found.npartitions == 100
    assert "RuntimeError" in found.gaps[0]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (dask.blockwise, "optimize_blockwise"),
        (dask.blockwise, "fuse_roots"),
        (dask.blockwise.Blockwise, "cull"),
        (dask.blockwise.Blockwise, "dims"),
    ],
)
def test_a_dask_without_what_is_used_leaves_a_gap_and_no_fault(monkeypatch, owner, name):
    x = da.ones((50, 50), chunks=10) + da.zeros((50, 50), chunks=10)
    monkeypatch.delattr(owner, name)
    (found,) = look(x=x)
    assert (found.npartitions, found.nbytes.nbytes) == (25, 20_000)
    assert found.n_tasks is not None or found.gaps


def test_large_objects_that_cannot_be_looked_for_leave_a_gap(monkeypatch):
    monkeypatch.setattr(large_objects.Search, "_expression", lambda *args: 1 / 0)
    (found,) = look(df=dd.from_pandas(pd.DataFrame({"a": [1, 2, 3]}), npartitions=3))
    assert found.npartitions == 3
    assert "ZeroDivisionError" in found.gaps[-1]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(graphs, "MAX_KEPT", 5)
    monkeypatch.setattr(embedded, "MAX_KEPT", 5)
    for n in range(1, 20):
        look(x=da.ones(n, chunks=1), df=dd.from_pandas(pd.DataFrame({"a": [n]}), npartitions=1))
    assert len(graphs._kept) <= 5
    assert len(embedded._kept) <= 5


def test_many_variables_and_collections_are_bounded():
    many = {f"x{i}": da.ones(i + 1, chunks=1) for i in range(collections.MAX_COLLECTIONS + 20)}
    assert len(look(**many)) == collections.MAX_COLLECTIONS
    names = {f"n{i}": i for i in range(variables.MAX_VARIABLES + 20)}
    assert look(**names, late=da.ones(3)) == ()


def test_namespaces_that_change_size_meanwhile(recwarn):
    """As with a cell running beside it."""
    names: dict[str, object] = {f"x{i}": da.ones(3, chunks=1) for i in range(20)}
    stop = threading.Event()

    def cell():
        i = 0
        while not stop.is_set():
            names[f"y{i % 50}"] = i
            names.pop(f"y{(i + 25) % 50}", None)
            i += 1

    thread = threading.Thread(target=cell, daemon=True)
    thread.start()
    try:
        for _ in range(20):
            assert len(profile(names, sizes=lambda group: None, bound_at=lambda name: None)) in (0, 20)
    finally:
        stop.set()
        thread.join()


def test_nothing_is_computed(monkeypatch):
    monkeypatch.setattr(dask.base, "compute", lambda *args, **kwargs: pytest.fail("computed"))
    monkeypatch.setattr(dask.threaded, "get", lambda *args, **kwargs: pytest.fail("computed"))
    x = da.ones((100, 100), chunks=10)
    found = look(
        a=x[x > 0],
        b=x.rechunk(5),
        c=dask.delayed(len)(x),
        d=db.from_sequence(range(9)).frequencies(),
        e=huge_frame().a,
    )
    assert len(found) == 5


def test_arrays_with_query_planning_say_that_they_are_not_looked_into():
    code = (
        "import dask; dask.config.set({'array.query-planning': True})\n"
        "import dask.array as da\n"
        "from jupyter_dask_doctor.gather.data.collections import profile\n"
        "(x,) = profile({'x': da.ones(3)}, sizes=lambda g: None, bound_at=lambda n: None)\n"
        "print(x.kind, x.npartitions, x.gaps)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("array None ('Arrays with query planning")
