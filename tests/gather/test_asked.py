import threading
import time

import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.gather.asked import look_at
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.phases import Phases, is_at_rest
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
    (asked,) = sent.progress.asked
    assert (asked.name, asked.kind, asked.npartitions) == ("made", "dataframe", 4)
    assert made._name in asked.names
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


def at_rest_within(source, namespace):
    """What is told of this thread while a cell runs the function `rest` somewhere."""
    found = []
    namespace["rest"] = lambda *args, **kwargs: found.append(is_at_rest(threading.get_ident())) or args[0]
    exec(compile(source, "/tmp/ipykernel_1/1.py", "exec"), namespace)
    return set(found)


def test_who_builds_or_optimizes_is_not_disturbed(frame):
    assert at_rest_within("rest(1)", {}) == {True}
    assert at_rest_within("df.map_partitions(rest)", {"df": frame}) == {False}
    source = (
        "import functools\nclass X:\n    @functools.cached_property\n    def y(self): return rest(1)\nX().y"
    )
    assert at_rest_within(source, {"__name__": "x"}) == {False}
    assert is_at_rest(None)
    assert is_at_rest(2**60)
