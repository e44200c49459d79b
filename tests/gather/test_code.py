import pytest

from jupyter_dask_doctor.gather.code import MAX_CELLS, MAX_SOURCE, CellLog
from jupyter_dask_doctor.messages import CellText


def log(*runs: tuple[str, str]) -> CellLog:
    """A log in which cell after cell ran for ten seconds, ten seconds apart."""
    cells = CellLog()
    for n, (cell_id, source) in enumerate(runs):
        cells.start(cell_id=cell_id, execution_count=n + 1, source=source, time=20.0 * n)
        cells.stop(failed=False, time=20.0 * n + 10)
    return cells


def test_a_moment_inside_a_cell_belongs_to_it():
    location = log(("a", "1"), ("b", "2")).at(25.0)
    assert location is not None
    assert (location.cell_id, location.execution_count) == ("b", 2)


@pytest.mark.parametrize("time", [-1.0, 15.0, 40.0])
def test_a_moment_between_cells_belongs_to_none(time):
    assert log(("a", "1"), ("b", "2")).at(time) is None


def test_what_reaches_the_scheduler_just_after_a_cell_belongs_to_it():
    location = log(("a", "1")).at(10.5)
    assert location is not None
    assert location.cell_id == "a"


def test_a_running_cell_is_told_until_it_stops():
    cells = CellLog()
    cells.start(cell_id="a", execution_count=1, source="x", time=1.0)
    assert cells.running is not None
    assert cells.cells()[0].stopped is None
    cells.stop(failed=True, time=2.0)
    assert cells.running is None
    assert cells.cells()[0].has_failed


def test_a_cell_whose_end_was_missed_ends_when_the_next_begins():
    cells = CellLog()
    cells.start(cell_id="a", execution_count=1, source="x", time=1.0)
    cells.start(cell_id="b", execution_count=2, source="y", time=5.0)
    first, second = cells.ran()
    assert (first.stopped, second.stopped) == (5.0, None)


@pytest.mark.parametrize(
    "source",
    [
        "df = 1",
        "a, (df, *c) = f()",
        "for df in x: pass",
        "with f() as df: pass",
        "if a:\n    df = 1",
        "%time df = f()",
        "%%time\ndf = f()",
        "!ls\ndf = 1",
        "files = !ls\ndf = 1",
        "(df := 3)",
    ],
)
def test_sees_that_a_cell_binds_a_name(source):
    location = log(("a", source), ("b", "print(df)")).bound_at("df")
    assert location is not None
    assert location.cell_id == "a"


@pytest.mark.parametrize(
    "source",
    [
        "df.x = 1",
        "print(df)",
        "def f():\n    df = 1",
        "f(df=1)",
        "'df = 1'",
        "%%bash\ndf = 1",
        "df = = 1",
        "# df = 1",
    ],
)
def test_sees_that_a_cell_does_not_bind_a_name(source):
    assert log(("a", source)).bound_at("df") is None


def test_the_last_binding_counts():
    location = log(("a", "df = 1"), ("b", "df = 2"), ("c", "df")).bound_at("df")
    assert location is not None
    assert location.cell_id == "b"
    again = log(("a", "df = 1"), ("b", "df = 2"), ("a", "df = 1")).bound_at("df")
    assert again is not None
    assert (again.cell_id, again.execution_count) == ("a", 3)


def test_the_text_of_the_notebook_comes_before_the_run():
    cells = log(("a", "old"))
    cells.set_notebook([CellText(id="b", source="never ran"), CellText(id="a", source="new")])
    first, second = cells.cells()
    assert (first.source, first.started) == ("never ran", None)
    assert (second.source, second.started, second.execution_count) == ("new", None, 1)


def test_a_cell_that_ran_as_it_stands_keeps_its_run():
    cells = log(("a", "same"))
    cells.set_notebook([CellText(id="a", source="same")])
    assert cells.cells()[0].started == 0.0


def test_a_deleted_cell_is_left_out():
    cells = log(("a", "x"), ("b", "y"))
    cells.set_notebook([CellText(id="b", source="y")])
    assert [cell.id for cell in cells.cells()] == ["b"]


def test_is_bounded():
    cells = CellLog()
    for n in range(MAX_CELLS + 50):
        cells.start(cell_id=str(n), execution_count=n, source="x" * (MAX_SOURCE + 5), time=float(n))
    kept = cells.cells()
    assert len(kept) == MAX_CELLS
    assert {len(cell.source) for cell in kept} == {MAX_SOURCE}


def test_runs_without_cell_ids_stand_for_themselves():
    cells = CellLog()
    for n in range(3):
        cells.start(cell_id=None, execution_count=n, source="x", time=float(n))
    assert len(cells.cells()) == 3


def test_how_a_cell_ended_is_told():
    cells = CellLog()
    cells.start(cell_id="a", execution_count=1, source="work()", time=1.0)
    cells.stop(failed=True, error="ValueError", error_text="no divisions", time=2.0)
    (ended,) = cells.cells()
    assert (ended.has_failed, ended.error, ended.error_text) == (True, "ValueError", "no divisions")
    cells.start(cell_id="a", execution_count=2, source="work()", time=3.0)
    cells.stop(failed=False, time=4.0)
    assert cells.cells()[0].error is None


def test_an_output_was_bound_by_the_cell_of_its_number():
    cells = CellLog()
    for number, cell_id in enumerate("abc", 1):
        cells.start(cell_id=cell_id, execution_count=number, source="x", time=float(number))
        cells.stop(failed=False, time=number + 0.5)
    assert cells.bound_at("Out[2]").cell_id == "b"
    assert cells.bound_at("Out[9]") is None
    assert cells.bound_at("Out[2] ") is None
