import sys
import threading
import time

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from jupyter_dask_doctor.gather import phases as module
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.phases import Phases, look


@pytest.fixture
def phases():
    phases = Phases()
    yield phases
    phases.stop()
    phases._thread.join(5)
    assert not phases.is_alive


def run(source, namespace, filename="/tmp/ipykernel_1/1.py"):
    exec(compile(source, filename, "exec"), namespace)


def watched(phases, source, namespace, cells=None):
    """What was seen of a cell that runs in this very thread."""
    cells = cells or CellLog()
    cells.start(cell_id="c", execution_count=1, source=source)
    phases.follow(threading.get_ident())
    try:
        run(source, namespace)
    finally:
        time.sleep(0.25)
        phases.follow(None)
        cells.stop(failed=False)
    time.sleep(0.1)
    return phases.told(cells)


def test_waiting_for_the_cluster(phases, client):
    seen = watched(phases, "x = 1\nclient.submit(time.sleep, 1).result()\n", {"client": client, "time": time})
    (phase,) = seen
    assert (phase.kind, phase.method) == ("waiting", "result")
    assert (phase.at.cell_id, phase.at.line) == ("c", 2)
    assert phase.stop is not None
    assert 0.5 < phase.stop - phase.start < 5


def test_a_phase_that_goes_on_has_no_end(phases, client):
    cells = CellLog()
    cells.start(cell_id="c", execution_count=1, source="")
    namespace = {"client": client, "time": time}
    thread = threading.Thread(target=run, args=("client.submit(time.sleep, 2).result()", namespace))
    thread.start()
    phases.follow(thread.ident)
    until(lambda: phases.told(cells))
    (phase,) = phases.told(cells)
    assert (phase.kind, phase.stop) == ("waiting", None)
    thread.join()
    until(lambda: phases.told(cells)[0].stop is not None)


def until(condition, timeout=20):
    stop = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.05)


class Paused(Exception):
    pass


def seen_at(source, namespace, target, name, monkeypatch):
    """What a look tells at the moment when this function is called by a cell."""
    original = getattr(target, name)
    found = []

    def look_and_go_on(*args, **kwargs):
        found.append(look(threading.get_ident()))
        return original(*args, **kwargs)

    # Under the name that the stack of an undisturbed kernel shows.
    look_and_go_on.__code__ = look_and_go_on.__code__.replace(co_name="unnamed")
    monkeypatch.setattr(target, name, look_and_go_on)
    run(source, namespace)
    return found


@pytest.fixture
def frame():
    return dd.from_pandas(pd.DataFrame({"a": range(100), "k": range(100)}), npartitions=4)


def test_optimizing_for_compute(client, frame, monkeypatch):
    from dask._expr import Expr

    found = seen_at("\n\ndf.a.sum().compute()", {"df": frame}, Expr, "lower_once", monkeypatch)
    assert {(seen.kind, seen.method, seen.line) for seen in found} == {("optimizing", "compute", 3)}


def test_optimizing_for_a_look_at_the_divisions(client, frame, monkeypatch):
    from dask.dataframe.dask_expr import _shuffle

    found = seen_at(
        "df.set_index('k').npartitions", {"df": frame}, _shuffle, "_calculate_divisions", monkeypatch
    )
    assert [(seen.kind, seen.method) for seen in found] == [("optimizing", "npartitions")]


def test_building(client, frame, monkeypatch):
    found = seen_at("df.merge(df, on='k')", {"df": frame}, pd.DataFrame, "merge", monkeypatch)
    assert {(seen.kind, seen.method) for seen in found} == {("building", "merge")}


def test_reading_the_schema_of_files(client, monkeypatch, tmp_path):
    from dask.dataframe.io.parquet.arrow import ArrowDatasetEngine

    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "1.parquet")
    found = seen_at(
        "dd.read_parquet(path).npartitions",
        {"dd": dd, "path": str(tmp_path)},
        ArrowDatasetEngine,
        "_collect_dataset_info",
        monkeypatch,
    )
    assert {seen.kind for seen in found} == {"metadata"}


def test_reading_the_head_of_a_file(client, monkeypatch, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    import dask.bytes.core

    found = seen_at(
        "dd.read_csv(path)",
        {"dd": dd, "path": str(tmp_path / "x.csv")},
        dask.bytes.core,
        "get_fs_token_paths",
        monkeypatch,
    )
    assert {(seen.kind, seen.method) for seen in found} == {("metadata", "read_csv")}


def test_serializing(client, monkeypatch):
    found = seen_at(
        "x.sum().compute()",
        {"x": da.from_array(np.ones(100), chunks=10)},
        sys.modules["distributed.client"],
        "serialize",
        monkeypatch,
    )
    assert {(seen.kind, seen.method) for seen in found} == {("serializing", "compute")}


def test_what_is_no_phase(client, frame):
    looked = {"look": lambda: look(threading.get_ident()), "df": frame}
    for source in (
        "seen = look()",
        "import time\nseen = look()",
        "from concurrent.futures import ThreadPoolExecutor\nseen = look()",
    ):
        run(source, looked)
        assert looked["seen"] is None
    # Not from a cell.
    run("seen = look()", looked, "/srv/script.py")
    assert looked["seen"] is None


@pytest.mark.parametrize("name", ["<module>", "_gc_callback"])
def test_what_nobody_asked_for_is_no_phase(name):
    """Importing Dask, and what it does when the interpreter collects garbage."""
    code = "def work(): return look()\ndef outer(): return work()"
    exec(
        compile(code, "x.py", "exec"),
        dasks := {"__name__": "dask.x", "look": lambda: look(threading.get_ident())},
    )
    outer = dasks["outer"]
    assert at_work(outer).method == "outer"
    outer.__code__ = outer.__code__.replace(co_name=name)
    assert at_work(outer) is None


def at_work(function):
    namespace = {"function": function}
    run("seen = function()", namespace)
    return namespace["seen"]


def test_a_computation_in_the_kernel_itself_is_no_phase(client):
    found = []
    x = da.ones(4, chunks=2).map_blocks(lambda b: found.append(look(threading.get_ident())) or b, dtype=float)
    run("x.compute(scheduler='synchronous')", {"x": x})
    assert found
    assert set(found) == {None}


def test_a_function_of_the_users_inside_dask_is_building(client, frame):
    """Dask calls it to learn what it makes."""
    found = []

    def own(part):
        found.append(look(threading.get_ident()))
        return part

    run("df.map_partitions(own)", {"df": frame, "own": own})
    assert [(seen.kind, seen.method) for seen in found] == [("building", "map_partitions")]


def test_the_line_is_that_of_the_cell_that_runs(client, frame):
    found = []

    def own(part):
        found.append(look(threading.get_ident()))
        return part

    namespace = {"df": frame, "own": own}
    run("\n\n\ndef helper():\n    return df.map_partitions(own)\n", namespace)
    run("x = 1\nhelper()", namespace, "/tmp/ipykernel_1/2.py")
    assert [seen.line for seen in found] == [2]


def test_the_line_below_a_magic_that_times_the_cell(client, frame):
    found = []

    def own(part):
        found.append(look(threading.get_ident()))
        return part

    namespace = {"df": frame, "own": own, "run": run}
    namespace["namespace"] = namespace
    run("run('x = 1\\ndf.map_partitions(own)', namespace, '<timed exec>')", namespace)
    assert [seen.line for seen in found] == [3]


def test_a_deep_stack(client, monkeypatch):
    """It is walked to its outer end, and given up on beyond the bound."""

    def dive(n):
        return look(threading.get_ident()) if n == 0 else dive(n - 1)

    namespace = {"dive": dive, "df": None}
    # As if Dask's own optimizer called itself.
    exec(
        compile("def optimize(n): return dive(n)", "x.py", "exec"),
        dasks := {"__name__": "dask._expr", "dive": dive},
    )
    namespace["optimize"] = dasks["optimize"]
    run("seen = optimize(800)", namespace)
    assert namespace["seen"].kind == "optimizing"
    monkeypatch.setattr(module, "MAX_FRAMES", 100)
    run("seen = optimize(800)", namespace)
    assert namespace["seen"] is None


def test_seconds_count_short_phases_too(phases, client):
    now = time.time()
    assert phases.seconds("waiting", now, now + 1) is None
    source = (
        "for _ in range(4):\n    client.submit(time.sleep, 0.3, pure=False).result()\n    time.sleep(0.25)"
    )
    watched(phases, source, {"client": client, "time": time})
    told = phases.seconds("waiting", now + 0.2, time.time())
    assert 0.3 < told < 4
    assert phases.seconds("optimizing", now + 0.2, time.time()) == 0.0
    assert phases.seconds("waiting", now - 60, time.time()) is None


def test_bounded(phases, monkeypatch):
    kinds = ["building", "optimizing"]
    for i in range(3_000):
        phases._turn(module.Seen(kinds[i % 2], "merge", 1))
        phases._turn(None)
    assert len(phases._recent) == module.MAX_RECENT
    assert phases.told(CellLog()) == ()


def test_own_faults_end_it_quietly(phases, monkeypatch, capfd):
    monkeypatch.setattr(module, "look", lambda thread: 1 / 0)
    phases.follow(threading.get_ident())
    until(lambda: not phases.is_alive)
    assert capfd.readouterr() == ("", "")
    assert phases.told(CellLog()) == ()


def test_a_thread_that_is_gone(phases):
    phases.follow(2**60)
    time.sleep(0.3)
    assert phases.is_alive
    assert phases.told(CellLog()) == ()
