import sys
import threading
import time

import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.gather import locks

OLD = pytest.mark.skipif(sys.version_info >= (3, 12), reason="cached properties have no lock")


@pytest.fixture(autouse=True)
def _restore():
    yield
    locks.restore()


def wrapped():
    return [prop for prop in locks._properties() if type(getattr(prop, "lock", None)) is locks._Lock]


@OLD
def test_a_free_thread_neither_takes_nor_waits_for_a_lock():
    from dask.dataframe.dask_expr._expr import Expr

    prop = Expr.__dict__["divisions"]
    frame = dd.from_pandas(pd.DataFrame({"a": range(10)}), npartitions=2).assign(b=1)
    found = []

    def look():
        with locks.free():
            found.append(frame._expr.divisions)

    with locks.free():
        pass
    # As the cell's thread holds it while it works on another frame.
    with prop.lock:
        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(10)
    assert found == [(0, 5, 9)]


@OLD
def test_two_threads_that_would_wait_for_each_other():
    """The one that is free asks in the other order."""
    from dask.dataframe.dask_expr._expr import Blockwise, Projection

    with locks.free():
        pass
    first, second = Blockwise.__dict__["_meta"].lock, Projection.__dict__["_meta"].lock
    both, done = threading.Barrier(2), []

    def users():
        with first:
            both.wait()
            with second:
                done.append("user")

    def ours():
        with locks.free(), second:
            both.wait()
            with first:
                done.append("doctor")

    threads = [threading.Thread(target=one, daemon=True) for one in (users, ours)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(done) == ["doctor", "user"]


@OLD
def test_for_others_a_lock_is_a_lock():
    from dask.dataframe.dask_expr._expr import Expr

    with locks.free():
        pass
    lock = Expr.__dict__["divisions"].lock
    order = []

    def other():
        with lock:
            order.append("other")

    with lock, lock:  # as often as one likes
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]


@OLD
def test_all_of_dasks_and_back_again():
    before = [(prop, prop.lock) for prop in locks._properties()]
    assert len(before) > 50
    with locks.free():
        assert len(wrapped()) == len(before)
        with locks.free():
            pass
        assert threading.get_ident() in locks._free
    assert threading.get_ident() not in locks._free
    locks.restore()
    assert all(prop.lock is lock for prop, lock in before)


def test_a_fault_ends_it_too():
    with pytest.raises(ZeroDivisionError), locks.free():
        _ = 1 / 0
    assert threading.get_ident() not in locks._free
