"""Edits of single statements and calls."""

import ast

import pytest

from jupyter_dask_doctor import source
from jupyter_dask_doctor.remedies import fixes
from jupyter_dask_doctor.remedies.creation import creation
from jupyter_dask_doctor.remedies.settings_code import block as settings_block
from jupyter_dask_doctor.remedies.settings_code import setting
from jupyter_dask_doctor.remedies.statements import ahead_of, without_keyword
from tests.healthy import apply, change, cluster, code


def dropped(text):
    (cell,) = cells = code(text)
    call = fixes.calls(source.parse(text), "compute")[-1]
    fix = without_keyword(cell, call, "scheduler", title="t", expect="e")
    return apply(fix, cells)[0] if fix is not None else None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('x.compute(scheduler="sync")', "x.compute()"),
        ('é = x.compute( scheduler="sync" )', "é = x.compute(  )"),
        ('x.compute(scheduler="sync", num_workers=2)', "x.compute(num_workers=2)"),
        ('x.compute(num_workers=2, scheduler="sync")', "x.compute(num_workers=2)"),
        ('dask.compute(ü, y, scheduler="threads")', "dask.compute(ü, y)"),
        ('x.compute(\n    retries=2,\n    scheduler="sync",\n)', "x.compute(\n    retries=2,\n)"),
        ('print(x.sum().compute(scheduler="sync"), 2)', "print(x.sum().compute(), 2)"),
        ('%time x.compute(scheduler="sync")', "%time x.compute()"),
    ],
)
def test_a_keyword_goes_and_nothing_else(before, after):
    assert dropped(before) == after


@pytest.mark.parametrize(
    "text", ["x.compute()", "x.compute(**given)", 'x.compute(a,  # why\n    scheduler="sync")']
)
def test_a_keyword_stays_where_it_cannot_be_told(text):
    assert dropped(text) is None


def put_ahead(text):
    cells = code(text)
    found = creation(cells, cluster(cluster_variable="cluster"))
    fix = ahead_of(found, "a = 1", title="t", expect="e")
    return apply(fix, cells)[0] if fix is not None else None


def test_lines_go_ahead_of_the_statement():
    assert put_ahead("x = 1\ncluster = LocalCluster(\n    n_workers=2,\n)\ny = 2") == (
        "x = 1\na = 1\ncluster = LocalCluster(\n    n_workers=2,\n)\ny = 2"
    )
    assert put_ahead("with LocalCluster() as cluster:\n    work()") == (
        "a = 1\nwith LocalCluster() as cluster:\n    work()"
    )


@pytest.mark.parametrize("text", ["x = 1; cluster = LocalCluster()", "%time cluster = LocalCluster()"])
def test_a_statement_that_shares_its_line_is_left_alone(text):
    assert put_ahead(text) is None


@pytest.mark.parametrize(
    "text",
    [
        'dask.config.set({"distributed.scheduler.allowed-failures": 0})',
        'config.set({"a": 1, "distributed.scheduler.allowed_failures": 0})',
        "with dask.config.set(distributed__scheduler__allowed_failures=0):\n    pass",
    ],
)
def test_a_setting_is_found(text):
    cell, value = setting(code("x = 1", text), "distributed.scheduler.allowed-failures")
    assert cell.id == "c2"
    assert value.value == 0


def test_the_last_setting_counts():
    text = 'dask.config.set({"a.b": %d})'
    cell, value = setting(code(text % 1, text % 2, "b"), "a.b")
    assert (cell.id, value.value) == ("c2", 2)


@pytest.mark.parametrize(
    "text",
    [
        "x.set({'a.b': 1})",
        "dask.config.set({'a.b': n})",
        "dask.config.set(given)",
        "dask.config.set({**more})",
        "dask.config.set(**more)",
        "dask.config.get('a.b')",
        "not python: dask.config.set({'a.b': 1})",
    ],
)
def test_a_setting_that_is_not_plain_is_not_found(text):
    assert setting(code(text), "a.b") is None


def test_a_cell_that_has_not_run_sets_nothing():
    (cell,) = code("dask.config.set({'a.b': 1})")
    assert setting((change(cell, started=None),), "a.b") is None


def test_the_block_is_python():
    assert ast.parse(settings_block({"a.b": "3", "c": '"30s"'}))
