"""What cells are about to compute or keep."""

import pytest

from jupyter_dask_doctor.judging.planned import planned
from tests.healthy import at, cell, collection

X = collection(name="x", at=at("c1"))
Y = collection(name="y", at=at("c1"))


def cells(*texts, ran=1):
    """The first `ran` of them have run."""
    return tuple(
        cell(f"c{i}", text, i) if i <= ran else cell(f"c{i}", text, None, None, None)
        for i, text in enumerate(texts, 1)
    )


def found(*texts, method="compute", ran=1, known=(X, Y)):
    return [
        (plan.cell.id, [c.name for c in plan.collections]) for plan in planned(cells(*texts, ran=ran), known, method)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "x.compute()",
        "r = x.compute()",
        "x = x.compute()",
        "print(x.compute())",
        "r = x.compute().mean()",
        "%time r = x.compute()",
        "dask.compute(x)",
        "from dask import compute\ncompute(x)",
        "for _ in range(3):\n    x.compute()",
        "with timer():\n    x.compute()",
        "try:\n    x.compute()\nexcept ValueError:\n    pass",
        "x.compute(optimize_graph=False)",
        "r = x.compute()\nx = 1",
    ],
)
def test_a_compute_of_the_whole(text):
    assert found("x = load()", text) == [("c2", ["x"])]


@pytest.mark.parametrize(
    "text",
    [
        "x.sum().compute()",
        "x[:10].compute()",
        "x.a.compute()",
        "x = x[x > 1]\nx.compute()",
        "x['a'] = 1\nx.compute()",
        "x.a = 1\nx.compute()",
        "x += 1\nx.compute()",
        "del x\nx.compute()",
        "import x\nx.compute()",
        "for x in parts:\n    x.compute()",
        "for n in range(3):\n    x.compute()\n    x = x + 1",
        "with load() as x:\n    x.compute()",
        "def work(x):\n    return x.compute()",
        "lambda: x.compute()",
        "class A:\n    r = x.compute()",
        "if small:\n    x.compute()",
        "r = x.compute() if small else None",
        "small and x.compute()",
        "while small:\n    x.compute()",
        "[x.compute() for x in parts]",
        "try:\n    pass\nexcept ValueError:\n    x.compute()",
        "x.compute(scheduler='synchronous')",
        "x.compute(**options)",
        "client.compute(x)",
        "compute(x)",
        "other.compute()",
        "# x.compute()",
        "'x.compute()'",
        "x.compute(",
        "x.compute",
        "x.persist()",
    ],
)
def test_is_quiet_of_anything_else(text):
    assert not found("x = load()", text)


def test_several_at_once():
    assert found("x, y = load()", "dask.compute(x, y, x.sum())") == [("c2", ["x", "y"])]
    assert found("x, y = load()", "x, y = client.persist([x, y])", method="persist") == [("c2", ["x", "y"])]


@pytest.mark.parametrize("text", ["x = x.persist()", "x = client.persist(x)", "(x,) = dask.persist(x)"])
def test_persist(text):
    assert found("x = load()", text, method="persist") == [("c2", ["x"])]


def test_is_quiet_of_what_a_cell_in_between_binds_anew():
    assert not found("x = load()", "x = x[x > 1]", "x.compute()")
    assert not found("x = load()", "x = x[", "x.compute()")
    assert found("x = load()", "y = 1", "x.compute()") == [("c3", ["x"])]
    assert found("x = load()", "x.compute()", "x = x[x > 1]") == [("c2", ["x"])]


def test_is_quiet_of_cells_that_have_run_and_of_those_above_the_one_that_binds():
    assert not found("x = load()", "x.compute()", ran=2)
    above = (cell("c0", "x.compute()", None, None, None), cell("c1", "x = load()"))
    assert not list(planned(above, (X,), "compute"))


def test_a_cell_that_runs_now():
    running = (cell("c1", "x = load()"), cell("c2", "x.compute()", 2, stopped=None))
    assert [plan.at.cell_id for plan in planned(running, (X,), "compute")] == ["c2"]
    # It has bound `x` itself, and nobody knows how far it is
    making = (cell("c1", "x = load()\nx = x[x > 1]", 1, stopped=None), *cells("", "x.compute()")[1:])
    assert not list(planned(making, (X,), "compute"))


def test_is_quiet_of_futures_and_of_nothing():
    assert not found("x = load()", "x.compute()", known=(collection(name="x", kind="futures", sizes=None),))
    assert not found("x = load()", "x.compute()", known=())
    assert not list(planned((), (X,), "compute"))


def test_where_the_call_stands():
    (plan,) = planned(cells("x = load()", "import dask\n\nx.compute()"), (X,), "compute")
    assert (plan.at.cell_id, plan.at.line) == ("c2", 3)


def test_all_parts_of_what_holds_several():
    parts = tuple(
        collection(
            name=f'ds["{key}"]', kind="array", is_persisted=False, sizes=None, wrapped_by="xarray.Dataset"
        )
        for key in ("tas", "pr")
    )
    assert found("ds = load()", "ds.compute()", known=parts) == [("c2", ['ds["tas"]', 'ds["pr"]'])]
    assert not found("ds = load()", "other.compute()", known=parts)
