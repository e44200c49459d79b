"""Large objects in the graphs of real collections, and the variables that hold them."""

import functools

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.data import embedded, large_objects, weights
from jupyter_dask_doctor.gather.data.collections import profile
from jupyter_dask_doctor.gather.data.embedded import embedded_in
from jupyter_dask_doctor.gather.data.variables import Variables

N = 250_000


def look(value, **variables):
    found = profile({"x": value, **variables}, sizes=lambda group: None, bound_at=lambda name: None)
    return found[0].embedded


def array(seed=0):
    return np.random.default_rng(seed).random(N)


def table():
    return pd.DataFrame({"a": array(), "b": [f"{i:09}" for i in range(N)]})


def ones():
    return da.ones((1000, 1000), chunks=(100, 100))


class Model:
    def __init__(self):
        self.weights = array()
        self.name = "model"

    def predict(self, block):
        return block


def closing_over(value):
    def inner(block):
        return block + len(value)

    return inner


ARGUMENTS = {
    "kwarg of map_blocks": lambda big: ones().map_blocks(lambda block, other: block, other=big),
    "argument of a Delayed": lambda big: dask.delayed(len)(big),
    "in a list": lambda big: dask.delayed(sum)([1, big]),
    "in a dict": lambda big: dask.delayed(dict)({"a": {"b": big}}),
    "a Delayed itself": lambda big: dask.delayed(big),
    "partial": lambda big: ones().map_blocks(functools.partial(lambda block, other: block, other=big)),
    "closure": lambda big: ones().map_blocks(closing_over(big)),
    "default": lambda big: ones().map_blocks(lambda block, other=big: block),
    "bag": lambda big: db.from_sequence(range(4)).map(lambda item, other: item, other=big),
    "partitions": lambda big: frame().map_partitions(lambda part, other: part, big, meta={"a": float}),
    "closure of partitions": lambda big: frame().map_partitions(closing_over(big), meta={"a": float}),
    "from_map": lambda big: dd.from_map(
        lambda i, other: pd.DataFrame({"a": [i]}), range(3), other=big, meta={"a": int}
    ),
}


def frame():
    return dd.from_pandas(pd.DataFrame({"a": [1.0, 2.0, 3.0]}), npartitions=3)


@pytest.mark.parametrize("how", ARGUMENTS)
def test_what_is_handed_to_a_function_is_found_with_its_variable(how):
    big = array()
    (found,) = look(ARGUMENTS[how](big), big=big)
    assert (found.type, found.nbytes, found.variable, found.is_source) == (
        "numpy.ndarray",
        2_000_000,
        "big",
        False,
    )


SOURCES = {
    "from_array": (lambda: array(), lambda big: da.from_array(big, chunks=1000)),
    "from_array in one": (lambda: array(), lambda big: da.from_array(big, chunks=-1)),
    "from_array in single values": (lambda: array(), lambda big: da.from_array(big, chunks=1)),
    "from_pandas": (table, lambda big: dd.from_pandas(big, npartitions=4)),
    "a column of it": (table, lambda big: dd.from_pandas(big, npartitions=4).a + 1),
    "dataframe from_array": (
        lambda: np.ones((N, 2)) * np.arange(2),
        lambda big: dd.from_array(big, columns=["a", "b"]),
    ),
}


@pytest.mark.parametrize("how", SOURCES)
def test_what_a_collection_is_made_from_is_found_although_it_is_a_copy(how):
    make, use = SOURCES[how]
    big = make()
    (found,) = look(use(big), big=big, other=array(7), less=array(8)[:10], name="x")
    assert found.variable == "big"
    assert found.is_source
    assert found.n_times == 1
    expected = weights.weigh(big)
    assert expected * 0.9 <= found.nbytes <= expected * 1.1


def test_two_that_look_alike_leave_it_open():
    big = array()
    x = da.from_array(big, chunks=1000)
    assert look(x, big=big, copy=big.copy())[0].variable is None
    assert look(x, big=big, again=big)[0].variable == "big"
    assert look(x)[0].variable is None


def test_a_sequence_is_a_source():
    (found,) = look(db.from_sequence([f"{i:050}" for i in range(100_000)], npartitions=10))
    assert (found.type, found.is_source, found.n_times) == ("list", True, 1)
    assert 9_000_000 < found.nbytes < 13_000_000


def test_how_often_it_stands_there():
    big = array()
    assert look(ones().map_blocks(closing_over(big)))[0].n_times == 100
    assert look(frame().map_partitions(closing_over(big), meta={"a": float}))[0].n_times == 3
    several = dask.delayed(sum)([dask.delayed(len)(big) for _ in range(20)])
    (found,) = look(several, big=big)
    assert (found.n_times, found.nbytes, found.variable) == (20, 2_000_000, "big")
    # As an argument of map_blocks it is a task of its own
    assert look(ARGUMENTS["kwarg of map_blocks"](big))[0].n_times == 1


def test_many_of_one_kind_are_told_together():
    many = dask.delayed(sum)([dask.delayed(len)(array(i)) for i in range(15)])
    (found,) = look(many)
    assert found.nbytes == 30_000_000
    few = dask.delayed(sum)([dask.delayed(len)(array(i)) for i in range(3)])
    assert [one.nbytes for one in look(few)] == [2_000_000] * 3


def test_a_view_belongs_to_what_it_is_a_view_of():
    big = array()
    (found,) = look(dask.delayed(len)(big[: N - 10]), big=big)
    assert (found.variable, found.nbytes) == ("big", 8 * (N - 10))


def test_an_element_of_a_container_is_named():
    parts = [array(1), array(2)]
    tables = {"a": array(3)}
    assert look(dask.delayed(len)(parts[1]), parts=parts)[0].variable == "parts[1]"
    assert look(dask.delayed(len)(tables["a"]), tables=tables)[0].variable == "tables['a']"


def test_the_values_of_a_frame_belong_to_it():
    df = pd.DataFrame({"a": array()})
    assert look(dask.delayed(len)(df.a.to_numpy()), df=df)[0].variable == "df"


def test_what_an_object_carries():
    model = Model()
    (found,) = look(ones().map_blocks(model.predict), model=model)
    assert (found.type.rpartition(".")[2], found.variable, found.n_times) == ("Model", "model", 100)
    assert 2_000_000 <= found.nbytes < 2_010_000


def test_a_function_of_the_notebook_takes_its_globals_along():
    big = array()
    namespace = {"__name__": "__main__", "big": big, "__builtins__": __builtins__}
    exec("def f(block):\n    return block + big[0]\ng = lambda block: f(block)", namespace)
    for name in ("f", "g"):
        (found,) = look(ones().map_blocks(namespace[name], dtype=float, meta=np.ones(0)), big=big)
        assert found.variable == "big"
    # One of a module stays where it is
    namespace["__name__"] = "os"
    exec("def h(block):\n    return block + big[0]", namespace)
    assert look(ones().map_blocks(namespace["h"], dtype=float, meta=np.ones(0)), big=big) == ()


@pytest.mark.parametrize(
    "value",
    [
        lambda: ones() + 1,
        lambda: (ones() + 1).sum(),
        lambda: ones()[::2],
        lambda: da.ones((60, 60), chunks=1).sum(),
        lambda: frame(),
        lambda: dask.delayed(len)(array()[:1000]),
        lambda: dask.delayed(sum)([dask.delayed(str)(i) for i in range(300)]),
        lambda: db.from_sequence(range(100), npartitions=10).map(str),
    ],
)
def test_there_is_nothing_to_tell_of(value):
    assert look(value()) == ()


class _Explosive:
    """A stranger's object: no code of it must run."""

    def __init__(self):
        self.data = array()

    def __getattr__(self, name):
        raise AssertionError(f"asked for {name}")

    def __sizeof__(self):
        raise AssertionError("weighed")

    def __reduce__(self):
        raise AssertionError("pickled")

    def __iter__(self):
        raise AssertionError("walked through")

    def __len__(self):
        raise AssertionError("counted")

    def __eq__(self, other):
        raise AssertionError("compared")

    __hash__ = None


class _List(list):
    def __iter__(self):
        raise AssertionError("walked through")

    def __len__(self):
        raise AssertionError("counted")

    def __sizeof__(self):
        raise AssertionError("weighed")


class _Array(np.ndarray):
    @property
    def nbytes(self):
        raise AssertionError("asked for its size")


def test_no_code_of_strangers_is_run():
    bad, odd, other = _Explosive(), _List([1, 2]), array().view(_Array)
    graph = {"a": (len, [bad, odd, other]), "b": (lambda x, y=bad: x, odd), "c": {"k": bad}}
    held = Variables({"bad": bad, "odd": odd, "other": other})
    assert [one.variable for one in embedded_in(graph, held)] == ["bad"]


def test_what_holds_itself_is_looked_through_once():
    ring: list = [array()]
    ring.append(ring)

    def recursive(block):
        return recursive, ring

    assert [one.nbytes for one in embedded_in({"a": (recursive, ring)})] == [2_000_000]


def test_an_object_column_is_weighed_by_a_sample():
    df = pd.DataFrame({"a": pd.Series([f"{i:050}" for i in range(N)], dtype=object)})
    nbytes = weights.weigh(df)
    assert N * 90 < nbytes < N * 130


def test_nothing_is_held_by_what_is_remembered():
    import gc
    import weakref

    big = array()
    x = da.ones((5, 5), chunks=1).map_blocks(closing_over(big))
    gone = weakref.ref(big)
    assert look(x, big=big)
    del x, big
    gc.collect()
    assert gone() is None


def test_names_are_joined_anew_each_time(monkeypatch):
    big = array()
    for x in (
        ones().map_blocks(closing_over(big)),
        frame().map_partitions(closing_over(big), meta={"a": float}),
    ):
        assert look(x, big=big)[0].variable == "big"
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "find", lambda *args: pytest.fail("looked for anew"))
            assert look(x, renamed=big)[0].variable == "renamed"
            assert look(x)[0].variable is None


def test_what_takes_too_long_says_so(monkeypatch):
    monkeypatch.setattr(large_objects, "MAX_SECONDS", -1.0)
    many = dask.delayed(sum)([dask.delayed(len)(array(i)[:1000]) for i in range(300)])
    (found,) = profile({"x": many}, sizes=lambda group: None, bound_at=lambda name: None)
    assert "too much" in found.gaps[0]
