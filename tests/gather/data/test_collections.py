"""Collections of a real notebook's kinds, on a real cluster where it matters, and strangers among them."""

import sys
import threading
import time

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, wait

from jupyter_dask_doctor.gather.data.collections import profile
from jupyter_dask_doctor.snapshot import Location, PartitionSizes, Size


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def frame():
    return dd.from_pandas(pd.DataFrame({"a": range(1000), "b": 1.5}), npartitions=4)


def look(sizes=lambda group: None, **variables):
    return profile(variables, sizes=sizes, bound_at=lambda name: None)


def sizes_of(*values: int) -> PartitionSizes:
    ordered = sorted(values)
    return PartitionSizes(
        n=len(values),
        total=sum(values),
        median=ordered[len(values) // 2],
        p95=ordered[-1],
        largest=ordered[-1],
        largest_index=str(values.index(ordered[-1])),
        values=values,
    )


def test_a_frame_from_pandas_has_a_size(frame):
    (found,) = look(df=frame)
    assert (found.name, found.kind, found.npartitions) == ("df", "dataframe", 4)
    assert found.nbytes is not None
    assert found.nbytes.known == "exact"
    assert 16_000 <= found.nbytes.nbytes < 50_000
    assert not found.is_persisted
    assert not found.is_eager


def test_a_series_is_called_one(frame):
    assert look(s=frame.a)[0].kind == "series"


def test_what_cannot_be_known_without_computing_is_unknown(frame):
    (found,) = look(df=frame[frame.a > 3])
    assert found.npartitions == 4
    assert found.nbytes is None
    assert found.largest is None


def test_an_array_is_known_by_its_chunks():
    (found,) = look(x=da.ones((100, 50), chunks=(30, 50)))
    assert found.npartitions == 4
    assert found.nbytes == Size(nbytes=40_000, known="exact")
    assert found.largest == Size(nbytes=12_000, known="exact")


@pytest.mark.parametrize("make", [lambda x: x[x > 0], lambda x: x.astype(object)])
def test_an_array_of_unknown_chunks_or_objects_has_no_size(make):
    (found,) = look(x=make(da.ones(100, chunks=10)))
    assert found.npartitions == 10
    assert found.nbytes is None


def test_bags_and_delayed(client):
    bag, delayed = look(b=db.from_sequence(range(10), npartitions=5), d=dask.delayed(sum)([1, 2]))
    assert (bag.kind, bag.npartitions) == ("bag", 5)
    assert (delayed.kind, delayed.npartitions) == ("delayed", 1)


@pytest.mark.parametrize("kind", ["dataframe", "array", "bag", "delayed"])
def test_a_persisted_collection_is_seen_with_its_measured_sizes(client, frame, kind):
    lazy = {
        "dataframe": frame + 1,
        "array": da.ones((100, 50), chunks=(25, 50)) + 1,
        "bag": db.from_sequence(range(10), npartitions=4).map(str),
        "delayed": dask.delayed(sum)([1, 2]),
    }[kind]
    assert not look(x=lazy)[0].is_persisted
    persisted = lazy.persist()
    wait(persisted)
    (found,) = look(x=persisted)
    assert found.is_persisted
    tasks = client.run_on_scheduler(
        lambda group, dask_scheduler: (
            len(dask_scheduler.task_groups[group]) if group in dask_scheduler.task_groups else 0
        ),
        found.group,
    )
    assert tasks == (1 if kind == "delayed" else 4)

    (found,) = look(sizes=lambda group: sizes_of(1, 2, 90, 3) if group == found.group else None, x=persisted)
    assert found.sizes is not None
    if kind != "array":
        assert found.sizes.largest_index == "2"
    if kind in ("dataframe",):
        assert found.nbytes == Size(nbytes=96, known="exact")
        assert found.largest == Size(nbytes=90, known="exact")


def test_a_half_persisted_frame_is_estimated(client, frame):
    persisted = (frame + 1).persist()
    wait(persisted)
    (found,) = look(sizes=lambda group: sizes_of(10, 20), x=persisted)
    assert found.nbytes == Size(nbytes=60, known="estimated")
    assert found.largest is None
    (found,) = look(sizes=lambda group: sizes_of(10), x=persisted)
    assert found.nbytes is None


def test_what_is_built_on_a_persisted_frame_is_not_persisted(client, frame):
    persisted = frame.persist()
    wait(persisted)
    base, derived = look(x=persisted, y=persisted.a + 1)
    assert base.is_persisted
    assert not derived.is_persisted
    # ... but tells what it is built on.
    assert set(base.names) & set(derived.names)


def test_futures_are_counted(client):
    futures = client.map(str, range(7))
    one, many, table = look(one=futures[0], many=futures, table=dict(enumerate(futures)))
    assert [c.npartitions for c in (one, many, table)] == [1, 7, 7]
    assert {c.kind for c in (one, many, table)} == {"futures"}


@pytest.mark.parametrize(
    "make",
    [
        lambda df: df.set_index("b"),
        lambda df: df.sort_values("b"),
        lambda df: df.set_index("b").a + 1,
        lambda df: df.repartition(partition_size="1kB"),
        lambda df: df.repartition(partition_size="1kB").a.sum(),
    ],
)
def test_nothing_is_computed_and_nothing_hangs(client, frame, make):
    """These start a job when asked for their partitions; by partition size they hang on Python 3.11."""
    df = make(frame)
    seen = None
    while (now := client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)) != seen:
        seen = now
        time.sleep(0.2)
    found = []
    thread = threading.Thread(target=lambda: found.extend(look(df=df)), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert found[0].is_eager
    assert found[0].npartitions is None
    time.sleep(0.1)
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter) == seen


def test_tells_a_pending_partition_size(frame):
    by_size, by_count = look(a=frame.repartition(partition_size="1kB"), b=frame.repartition(npartitions=2))
    assert by_size.has_partition_size
    assert not by_count.has_partition_size
    assert by_count.npartitions == 2


def test_a_very_long_chain_is_not_walked_for_ever(frame):
    df = frame.a
    for _ in range(600):
        df = df + 1
    (found,) = look(df=df)
    assert found.npartitions is None
    assert len(found.names) <= 200


class _Explosive:
    """A stranger's object that must not be touched at all."""

    def __getattribute__(self, name):
        raise AssertionError(f"touched {name}")

    def __repr__(self):
        raise AssertionError("shown")

    def __eq__(self, other):
        raise AssertionError("compared")

    __hash__ = None


class _Liar:
    __class__ = property(lambda self: dd.DataFrame)


def test_strangers_are_left_alone(frame):
    found = look(
        bad=_Explosive(),
        liar=_Liar(),
        bads=[_Explosive()],
        array=np.ones(3),
        text="x" * 10_000_000,
        cls=dd.DataFrame,
        module=sys,
        df=frame,
        nothing=None,
        _hidden=frame,
    )
    assert [c.name for c in found] == ["df"]


def test_a_broken_collection_hides_no_other(frame):
    broken = frame + 1
    broken._expr = None
    bad, good = look(broken=broken, df=frame)
    assert (bad.name, bad.kind, bad.npartitions) == ("broken", "dataframe", None)
    assert "AttributeError" in bad.gaps[0]
    assert (good.name, good.gaps) == ("df", ())


def test_the_binding_cell_is_told(frame):
    at = Location(cell_id="c", execution_count=3)
    (found,) = profile({"df": frame}, sizes=lambda g: None, bound_at=lambda n: at if n == "df" else None)
    assert found.at == at


def test_what_else_holds_a_persisted_frame(client, frame):
    persisted = frame.persist()
    wait(persisted)
    found = look(
        df=persisted,
        alias=persisted,
        derived=persisted.a + 1,
        parts=[frame, persisted],
        other=frame,
    )
    held = {c.name: c.held_by for c in found}
    assert held["df"] == ("alias", "derived", "parts")
    assert held["alias"] == ("df", "derived", "parts")
    # Nothing of theirs takes memory.
    assert (held["derived"], held["other"]) == ((), ())


@pytest.mark.parametrize(
    "lazy",
    [
        lambda: da.ones((100, 50), chunks=(25, 50)) + 1,
        lambda: db.from_sequence(range(10), npartitions=4).map(str),
        lambda: dask.delayed(sum)([1, 2]),
    ],
)
def test_what_else_holds_a_persisted_collection(client, lazy):
    persisted = lazy().persist()
    if isinstance(persisted, da.Array):
        derived = persisted + 1
    elif isinstance(persisted, db.Bag):
        derived = persisted.map(len)
    else:
        derived = dask.delayed(str)(persisted)
    found = look(x=persisted, alias=persisted, derived=derived, apart=da.zeros(3, chunks=1).persist())
    assert found[0].held_by == ("alias", "derived")


def profiled(namespace, outputs, bound_at=lambda name: None):
    return profile(namespace, sizes=lambda group: None, bound_at=bound_at, outputs=outputs)


def test_outputs_hold_what_they_show(client, frame):
    persisted = frame.persist()
    outputs = {"Out[7]": persisted, "Out[3]": 12, "_": persisted, "__": _Explosive(), "___": frame}
    (found,) = profiled({"df": persisted}, outputs)
    assert (found.name, found.held_by) == ("df", ("Out[7]", "_"))
    assert profiled({}, {"Out[3]": frame}) == ()


def test_an_output_that_alone_holds_memory_is_told_for_itself(client, frame):
    persisted = frame.persist()
    at = Location(cell_id="c", execution_count=7)
    found = profiled({}, {"Out[7]": persisted, "_": persisted}, lambda name: at if name == "Out[7]" else None)
    assert [(c.name, c.is_persisted, c.held_by, c.at) for c in found] == [("Out[7]", True, ("_",), at)]
    # In a list it is not alone.
    assert profiled({"parts": [persisted]}, {"Out[7]": persisted}) == ()


def test_futures_are_held_by_whatever_holds_one_of_them(client):
    futures = client.map(str, range(100, 107))
    found = look(many=futures, one=futures[3], other=client.submit(str, 5000), copy=list(futures))
    assert [c.held_by for c in found] == [("one", "copy"), ("many", "copy"), (), ("many", "one")]


def test_the_size_of_futures_comes_from_their_group(client):
    futures = client.map(bytes, range(1000, 1007))
    wait(futures)

    def measured(*values):
        return look(sizes=lambda group: sizes_of(*values) if group == "bytes" and values else None, f=futures)

    (found,) = measured(*range(1000, 1007))
    assert (found.nbytes, found.group) == (Size(nbytes=7021, known="exact"), "bytes")
    # Others that were called alike are among what was measured: only a mean is known.
    (found,) = measured(*[1000] * 20)
    assert found.nbytes == Size(nbytes=7000, known="estimated")
    (found,) = measured()
    assert found.nbytes is None


def test_futures_that_are_not_finished_have_no_size(client):
    failed = client.submit(divmod, 1, 0)
    pending = client.submit(time.sleep, 3)
    wait(failed)
    found = look(sizes=lambda group: sizes_of(100), failed=failed, pending=pending)
    assert [c.nbytes for c in found] == [None, None]
    wait(pending)
    assert look(sizes=lambda group: sizes_of(100), pending=pending)[0].nbytes is not None
