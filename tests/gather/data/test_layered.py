"""What graphs of arrays, bags and Delayed tell, checked against what a real scheduler got."""

import time

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin

from jupyter_dask_doctor.gather.data import followed, layered
from jupyter_dask_doctor.gather.data.collections import profile


class Received(SchedulerPlugin):
    name = "received"

    def __init__(self):
        self.n = []

    def update_graph(self, scheduler, *, tasks=(), **_):
        self.n.append(len(tasks))


@pytest.fixture(scope="module")
def received():
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster),
    ):
        plugin = Received()
        cluster.scheduler.add_plugin(plugin)
        yield plugin.n


def look(value):
    (found,) = profile({"x": value}, sizes=lambda group: None, bound_at=lambda name: None)
    return found


def ones():
    return da.ones((1000, 1000), chunks=(100, 100))


def numbers(npartitions):
    return db.from_sequence(range(100), npartitions=npartitions)


EXACT = {
    "blockwise": lambda: ones() + 1,
    "reduction": lambda: (ones() + 1).sum(),
    "reduction along an axis": lambda: (ones() + 1).mean(axis=0),
    "slices": lambda: ones()[5:300:2],
    "one slice": lambda: ones()[:50, :50] + 1,
    "from NumPy": lambda: da.from_array(np.ones((300, 300)), chunks=100) + 1,
    "product": lambda: ones().dot(ones()),
    "overlap": lambda: ones().map_overlap(lambda block: block, depth=1),
    "concatenated": lambda: da.concatenate([ones(), ones() + 1])[::2] + 1,
    "rechunked": lambda: ones().rechunk((500, 500), method="tasks"),
    "sent by shuffling": lambda: ones().rechunk((1000, 50), method="p2p"),
    "aligned": lambda: da.ones((500, 500), chunks=(500, 50)) + da.ones((500, 500), chunks=(50, 500)),
    "bag": lambda: numbers(5).map(str).filter(len),
    "frequencies": lambda: numbers(20).map(str).frequencies(),
    "delayed": lambda: dask.delayed(len)([dask.delayed(str)(i) for i in range(20)]),
    "attribute": lambda: dask.delayed("abc").upper(),
    "alone": lambda: dask.delayed(5),
    "larger": lambda: da.ones((60, 60), chunks=1)[::2],
}


@pytest.mark.parametrize("what", EXACT)
# Dask warns of its own rechunking.
@pytest.mark.filterwarnings("ignore::dask.array.PerformanceWarning")
def test_tasks_are_counted_as_the_scheduler_gets_them(received, what):
    value = EXACT[what]()
    told = look(value)
    received.clear()
    value.compute()
    for _ in range(100):
        if received:
            break
        time.sleep(0.02)
    assert told.n_tasks == sum(received)
    assert told.gaps == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: da.ones((60, 60), chunks=1).sum(),
        lambda: numbers(20).map(str).frequencies().repartition(3),
        lambda: numbers(20).sum(),
        lambda: da.linalg.svd(da.ones((1000, 10), chunks=(100, 10)))[1],
    ],
)
def test_where_it_is_reckoned_it_is_near(received, make):
    value = make()
    told = look(value).n_tasks
    received.clear()
    value.compute()
    for _ in range(100):
        if received:
            break
        time.sleep(0.02)
    assert sum(received) / 2 <= told <= sum(received) * 2


def test_nothing_is_built_for_it():
    array = da.ones((300, 300), chunks=1) + 1
    assert look(array).n_tasks == 90_001
    assert not any(layer.is_materialized() for layer in array.dask.layers.values())
    small = (ones() + 1).map_overlap(lambda block: block, depth=1)
    assert look(small).n_tasks
    kinds = {type(layer).__name__: layer for layer in small.dask.layers.values()}
    assert not kinds["ArrayOverlapLayer"].is_materialized()
    assert not kinds["Blockwise"].is_materialized()


def test_steps_layers_and_depth():
    told = look(((ones() + 1) * 2).sum())
    assert (told.n_steps, told.depth) == (8, 8)
    assert [layer.n_tasks for layer in told.layers[:5]] == [100, 100, 100, 100, 25]
    assert {"add", "mul", "sum", "sum-aggregate"} <= {layer.prefix for layer in told.layers}
    wide = look(ones() + da.zeros((1000, 1000), chunks=100))
    assert (wide.n_steps, wide.depth) == (3, 2)


def test_shape_chunks_and_type_of_an_array():
    told = look(da.ones((100, 50), chunks=(30, 50), dtype="float32"))
    assert (told.shape, told.chunks, told.dtype) == ((100, 50), (30, 50), "float32")
    filtered = da.ones((100, 50), chunks=(30, 50))
    told = look(filtered[filtered[:, 0] > 0])
    assert (told.shape, told.chunks) == ((-1, 50), (-1, 50))
    assert (told.nbytes, told.largest) == (None, None)


def test_a_rechunk_is_one_step_with_its_stages():
    (step,) = look(ones().rechunk((1000, 1), method="tasks")).operations
    assert (step.kind, step.n_in, step.n_out) == ("rechunk", (100,), 1000)
    assert (step.chunks_in, step.chunks_out) == ((100, 100), (1000, 1))
    assert (step.largest_in, step.largest_out) == (80_000, 8_000)


def test_a_reshape_takes_its_own_rechunking_with_it():
    (step,) = look(da.ones((100, 100, 10), chunks=(10, 10, 10)).reshape(-1)).operations
    assert (step.kind, step.n_in, len(step.chunks_out)) == ("reshape", (100,), 1)


def test_slicing_is_a_step():
    (step,) = look(ones()[5:300:2]).operations
    assert (step.kind, step.n_in, step.n_out) == ("slicing", (100,), 30)


@pytest.mark.filterwarnings("ignore::dask.array.PerformanceWarning")
def test_chunks_that_do_not_fit_each_other_are_aligned():
    columns = da.ones((1000, 1000), chunks=(1000, 10))
    (step,) = look(columns + columns.T).operations
    assert (step.kind, step.n_in, step.n_out) == ("alignment", (100, 100), 10_000)
    assert (step.chunks_out, step.largest_in, step.largest_out) == ((10, 10), 80_000, 800)


def test_chunks_that_the_user_cut_alike_are_no_alignment():
    rows, columns = da.ones((1000, 1000), chunks=(10, 1000)), da.ones((1000, 1000), chunks=(1000, 10))
    kinds = [step.kind for step in look(rows.rechunk(columns.chunks, method="tasks") + columns).operations]
    assert kinds == ["rechunk"]
    assert look(rows + rows).operations == ()


def inc(x):
    return x + 1


RINGS = {
    "dict": lambda: Delayed("a", {"a": (inc, "b"), "b": (inc, "c"), "c": (inc, "a")}),
    "array": lambda: da.Array(
        {("x", 0): (inc, ("x", 1)), ("x", 1): (inc, ("x", 0))}, "x", chunks=((2, 2),), dtype="f8"
    ),
    "bag": lambda: db.Bag({("b", 0): (list, [("b", 1)]), ("b", 1): (list, [("b", 0)])}, "b", 2),
    "layers": lambda: Delayed(
        "a",
        HighLevelGraph({"l1": {"a": (inc, "b")}, "l2": {"b": (inc, "a")}}, {"l1": {"l2"}, "l2": {"l1"}}),
        layer="l1",
    ),
    "itself": lambda: Delayed("a", {"a": (inc, "a")}),
    "large": lambda: Delayed("k0", {f"k{i}": (inc, f"k{(i + 1) % 40_000}") for i in range(40_000)}),
}


@pytest.mark.parametrize("what", RINGS)
def test_a_ring_is_named(what):
    told = look(RINGS[what]())
    assert len(told.cycle) >= 2
    assert told.cycle[0] == told.cycle[-1]
    assert told.n_tasks is None


def test_a_ring_is_told_with_its_keys_in_order():
    cycle = look(RINGS["dict"]()).cycle
    turned = "abc" * 2
    assert "".join(cycle[:-1]) in turned


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delayed("a", {"a": (inc, "b"), "b": (inc, "c"), "c": 1}),
        # The same key twice is a diamond, not a ring
        lambda: Delayed("a", {"a": (max, "b", "c"), "b": (inc, "d"), "c": (inc, "d"), "d": 1}),
        # A text that is no key of this graph
        lambda: Delayed("a", {"a": (str.upper, "word")}),
        lambda: ones().rechunk((1000, 1), method="tasks"),
        lambda: (ones() + 1).sum(),
    ],
)
def test_what_goes_in_no_ring_has_none(make):
    told = look(make())
    assert told.cycle == ()
    assert told.n_tasks


def test_a_ring_of_many_is_shortened():
    cycle = look(RINGS["large"]()).cycle
    assert len(cycle) == followed.MAX_CYCLE_SHOWN
    assert "…" in cycle


class _Unfriendly:
    """An argument that must not be compared, hashed or shown."""

    def __eq__(self, other):
        raise AssertionError("compared")

    def __repr__(self):
        raise AssertionError("shown")

    __hash__ = None


def test_arguments_are_not_asked_whether_they_are_keys():
    bad = _Unfriendly()
    told = look(Delayed("a", {"a": (inc, bad), "b": [bad, "a"]}))
    assert told.cycle == ()
    assert told.n_tasks == 1
    assert look(ones().map_blocks(lambda block, other: block, bad)).n_tasks


class _Bag(db.Bag):
    def __len__(self):
        raise AssertionError("counted")

    def __repr__(self):
        raise AssertionError("shown")


class _Array(da.Array):
    def __len__(self):
        raise AssertionError("counted")

    def __repr__(self):
        raise AssertionError("shown")

    def __dask_graph__(self):
        raise AssertionError("asked for its graph")

    @property
    def nbytes(self):
        raise AssertionError("asked for its size")


class _Delayed(Delayed):
    __slots__ = ()

    def __dask_graph__(self):
        raise AssertionError("asked for its graph")

    def __getattr__(self, name):
        raise AssertionError(f"asked for {name}")


def test_subclasses_are_read_past_their_own_methods():
    array, bag = ones(), numbers(4)
    assert look(_Array(array.dask, array.name, array.chunks, dtype=array.dtype)).nbytes.nbytes == 8_000_000
    assert look(_Bag(bag.dask, bag.name, bag.npartitions)).npartitions == 4
    assert look(_Delayed("a", {"a": 1})).n_tasks == 1


def test_a_broken_one_is_told_with_the_reason():
    bag, delayed = numbers(4), dask.delayed(inc)(1)
    del bag.dask
    delayed._dask = None
    assert "KeyError" in look(bag).gaps[0]
    assert "TypeError" in look(delayed).gaps[0]


def test_a_layer_of_an_unknown_kind_is_not_built():
    from dask.highlevelgraph import Layer

    class Strange(Layer):
        def _no(self, *args):
            raise AssertionError("built")

        __getitem__ = __iter__ = __len__ = keys = items = values = get_output_keys = _no

        def is_materialized(self):
            return False

    graph = HighLevelGraph({"a": Strange()}, {"a": set()})
    told = look(Delayed("a", graph, layer="a"))
    assert told.n_tasks is None
    assert "only after building" in told.gaps[0]
    assert told.n_steps == 1


def test_what_was_told_once_is_kept_but_not_its_collection(monkeypatch):
    array = ones() + 3
    first = look(array)
    monkeypatch.setattr(layered, "told", lambda *args, **kwargs: pytest.fail("told anew"))
    assert look(array) == first


def test_hand_made_graphs_of_one_name_are_told_apart():
    assert look(Delayed("a", {"a": 1})).n_tasks == 1
    assert look(Delayed("a", {"a": (inc, "b"), "b": 1})).n_tasks == 2
