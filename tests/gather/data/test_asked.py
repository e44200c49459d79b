import gc
import threading
import time
from collections import OrderedDict

import dask.array as da
import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.data import asked
from jupyter_dask_doctor.gather.data.asked import look_at, remember
from jupyter_dask_doctor.gather.data.collections import profile
from jupyter_dask_doctor.gather.phases import Phases
from jupyter_dask_doctor.gather.submissions import Submissions


@pytest.fixture
def submissions():
    submissions = Submissions()
    submissions.install()
    yield submissions
    submissions.uninstall()


@pytest.fixture
def frame():
    return dd.from_pandas(pd.DataFrame({"a": range(100), "k": range(100)}), npartitions=4)


def nothing(name):
    return None


def look(submissions, namespace, cells=None, phases=None):
    unseen = submissions.unseen()
    look_at(unseen, namespace, sizes=nothing, cells=cells or CellLog(), phases=phases)
    return unseen


def test_describes_what_is_held(submissions, client, frame):
    made = frame.assign(c=1)
    made.compute()
    (sent,) = look(submissions, {"made": made, "_": frame})
    (one,) = sent.progress.asked
    assert (one.name, one.kind, one.npartitions) == ("made", "dataframe", 4)
    assert made._name in one.names
    assert submissions.unseen() == ()


def test_what_no_variable_holds_has_no_name(submissions, client, frame):
    made = frame.assign(c=1)
    made.compute()
    (sent,) = look(submissions, {})
    assert [one.name for one in sent.progress.asked] == [""]


def test_what_is_gone_is_not_told(submissions, client, frame):
    frame.assign(c=1).compute()
    (sent,) = look(submissions, {})
    assert sent.progress.asked == ()


def test_looks_while_the_caller_waits(submissions, client, frame):
    def slow(part):
        time.sleep(1)
        return part

    thread = threading.Thread(target=lambda: frame.map_partitions(slow, meta=frame._meta).compute())
    thread.start()
    stop = time.monotonic() + 10
    sent = ()
    while not sent and time.monotonic() < stop:
        sent = look(submissions, {})
        time.sleep(0.02)
    assert [one.kind for one in sent[0].progress.asked] == ["dataframe"]
    thread.join()


def test_time_of_the_optimizer(submissions, client, frame):
    """Only that of this very cell and since what was sent before."""
    cells, phases = CellLog(), Phases()
    deep = frame
    for _ in range(60):
        deep = deep.assign(a=deep.a + 1)
    try:
        cells.start(cell_id="c", execution_count=1, source="")
        phases.follow(threading.get_ident())
        time.sleep(0.15)
        exec(
            compile("deep.compute()\ndf.compute()\n", "/tmp/ipykernel_1/1.py", "exec"),
            {"deep": deep, "df": frame},
        )
        time.sleep(0.3)
        first, second = look(submissions, {}, cells, phases)
    finally:
        phases.stop()
    assert first.progress.optimize_seconds > 0.2
    assert second.progress.optimize_seconds < first.progress.optimize_seconds / 2


def test_nobody_looked_at_the_optimizer(submissions, client, frame):
    frame.compute()
    (sent,) = look(submissions, {})
    assert sent.progress.optimize_seconds is None


def test_what_was_described_before_stands_in_for_what_is_gone(submissions, client, frame):
    made, array = frame.assign(c=1), da.ones(4, chunks=2)
    known = OrderedDict()
    namespace = {"made": made, "array": array, "x": 1}
    remember(known, profile(namespace, sizes=nothing, bound_at=nothing), namespace)
    held = made.persist(), array.persist()
    del made, array, namespace
    gc.collect()
    unseen = submissions.unseen()
    look_at(unseen, {}, sizes=nothing, cells=CellLog(), phases=None, known=known)
    assert [one.name for sent in unseen for one in sent.progress.asked] == ["made", "array"]
    assert held


def test_few_descriptions_are_kept(frame, monkeypatch):
    monkeypatch.setattr(asked, "MAX_KNOWN", 3)
    known = OrderedDict()
    namespace = {f"x{i}": da.ones(i, chunks=1) for i in range(1, 6)}
    remember(known, profile(namespace, sizes=nothing, bound_at=nothing), namespace)
    assert [one.name for one in known.values()] == ["x3", "x4", "x5"]


def test_somebody_is_nudged_when_there_is_something_to_see(submissions, client, frame, monkeypatch):
    nudges = []
    submissions.nudge = lambda: nudges.append(1)
    client.submit(abs, -1).result()
    assert nudges == []
    monkeypatch.setattr("jupyter_dask_doctor.gather.submissions.NUDGE", 3600.0)
    for _ in range(3):
        frame.compute()
    assert nudges == [1]


def test_columns_by_which_something_persisted_was_made(submissions, client, frame):
    frame.merge(frame, on="k").groupby("a_x").k.sum().persist()
    frame.merge(frame, on="k").compute()
    persisted, computed = submissions.take(client.id)
    assert sorted(persisted.key_columns) == ["a_x", "k"]
    assert computed.key_columns == ()
