"""A look at an expression neither waits for the user's thread nor makes it wait."""

import contextlib
import functools
import threading

import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.data import frames, lock_free
from jupyter_dask_doctor.gather.data.frames import describe_frame

HAS_LOCKS = hasattr(functools.cached_property(len), "lock")


@pytest.fixture
def frame():
    frames._kept.clear()
    a = dd.from_pandas(pd.DataFrame({"k": range(100), "x": 1.0}), npartitions=5)
    return a.merge(a.assign(z=a.x + 1), on="k")[["k", "z"]].groupby("k").z.sum()


def look(frame):
    return describe_frame("df", frame, sizes=lambda group: None)


@contextlib.contextmanager
def elsewhere(function):
    """Run something in a thread; what it returned once it is done."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    yield found, thread


@pytest.mark.skipif(not HAS_LOCKS, reason="this Python has no such locks")
def test_a_look_passes_by_what_another_thread_holds(frame):
    look(frame)
    other = frame + 1
    with contextlib.ExitStack() as held:
        for cached in lock_free.cached_properties():
            held.enter_context(cached.lock)
        with elsewhere(lambda: look(other)) as (found, thread):
            thread.join(20)
            assert not thread.is_alive()
    assert found[0].n_tasks > 0


@pytest.mark.skipif(not HAS_LOCKS, reason="this Python has no such locks")
def test_other_threads_lock_as_before(frame):
    look(frame)
    cached = next(lock_free.cached_properties())

    def enters():
        with cached.lock:
            return True

    with cached.lock, elsewhere(enters) as (found, thread):
        thread.join(0.2)
        assert thread.is_alive()
    thread.join(20)
    assert found == [True]


def test_frames_are_made_while_others_are_looked_at(frame):
    """Two threads that read trees of the same classes in different order have waited here for ever."""
    stop = threading.Event()
    n = [0]

    def looks():
        while not stop.is_set():
            frames._kept.clear()
            look(box[0])
            n[0] += 1
        return n[0]

    box = [frame]
    source = dd.from_pandas(pd.DataFrame({"k": range(100), "x": 1.0, "y": 2.0}), npartitions=5)
    done = threading.Event()

    def makes():
        for i in range(15):
            one = source.assign(z=source.x + i)
            one = one[one.z > 1][["k", "z"]].assign(w=i)
            joined = one.merge(source, on="k")[["k", "w", "y"]]
            box[0] = joined[joined.y > 0].assign(q=joined.w + 1).groupby("k").q.sum()
            box[0].optimize()
        done.set()

    with elsewhere(looks) as (_, looking), elsewhere(makes) as (_, making):
        done.wait(60)
        stop.set()
        looking.join(20)
        making.join(20)
        assert done.is_set()
        assert not looking.is_alive()
    assert n[0] > 0
