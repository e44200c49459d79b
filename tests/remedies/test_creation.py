"""The call that made the cluster, found in the notebook and changed."""

import pytest

from jupyter_dask_doctor.remedies.creation import creation, set_options
from tests.healthy import apply, cell, change, cluster, code

OURS = cluster(cluster_variable="cluster", client_variable="client")


def changed(*sources, options=None, known=OURS):
    cells = code(*sources)
    found = creation(cells, known)
    if found is None:
        return None
    fix = set_options(found, options or {"memory_limit": '"4GiB"'}, title="t", expect="e")
    return apply(fix, cells) if fix is not None else None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cluster = LocalCluster()", 'cluster = LocalCluster(memory_limit="4GiB")'),
        ("cluster = LocalCluster(2)", 'cluster = LocalCluster(2, memory_limit="4GiB")'),
        (
            "cluster = LocalCluster(n_workers=(2))",
            'cluster = LocalCluster(n_workers=(2), memory_limit="4GiB")',
        ),
        ("client = Client(n_workers=2)", 'client = Client(n_workers=2, memory_limit="4GiB")'),
        (
            "client = Client(LocalCluster(n_workers=2))",
            'client = Client(LocalCluster(n_workers=2, memory_limit="4GiB"))',
        ),
        (
            "cluster = dd.LocalCluster(memory_limit=0, n_workers=2)",
            'cluster = dd.LocalCluster(memory_limit="4GiB", n_workers=2)',
        ),
        (
            "é = 'ü'; cluster = LocalCluster(name='ü')",
            "é = 'ü'; cluster = LocalCluster(name='ü', memory_limit=\"4GiB\")",
        ),
        ("%time cluster = LocalCluster()", '%time cluster = LocalCluster(memory_limit="4GiB")'),
        (
            "cluster = LocalCluster(\n    n_workers=2,\n    processes=True,\n)",
            'cluster = LocalCluster(\n    n_workers=2,\n    processes=True, memory_limit="4GiB"\n)',
        ),
        (
            "with LocalCluster() as cluster:\n    pass",
            'with LocalCluster(memory_limit="4GiB") as cluster:\n    pass',
        ),
    ],
)
def test_sets_an_option(before, after):
    assert changed(before) == [after]


def test_several_options_at_once():
    made = changed(
        "cluster = LocalCluster(threads_per_worker=8, n_workers=1, name='a')",
        options={"n_workers": "4", "memory_limit": '"2GiB"', "threads_per_worker": "2"},
    )
    assert made == [
        "cluster = LocalCluster(threads_per_worker=2, n_workers=4, name='a', memory_limit=\"2GiB\")"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "df = load()",
        "client = Client('tcp://10.0.0.1:8786')",
        "client = Client(address=there)",
        "client = Client(scheduler_file='s.json')",
        "cluster = LocalCluster(**options)",
        "cluster = LocalCluster(*options)",
        "cluster = LocalCluster(n_workers=2  # two\n)",
        "cluster = LocalCluster(",
        'cluster = LocalCluster(memory_limit="4GiB")',
    ],
)
def test_is_quiet_where_it_cannot_be_sure(text):
    assert changed(text) is None


def test_the_one_that_bound_the_variable_and_ran_last():
    cells = code("cluster = LocalCluster(1)", "other = LocalCluster(2)", "cluster = LocalCluster(3)")
    assert creation(cells, OURS).cell.id == "c3"
    assert creation(cells[:2], OURS).cell.id == "c1"
    again = change(cells[0], started=cells[2].started + 60)
    assert creation((again, *cells[1:]), OURS).cell.id == "c1"


def test_two_that_nobody_can_tell_apart():
    assert creation(code("a = LocalCluster(1)", "b = LocalCluster(2)"), OURS) is None
    assert creation(code("LocalCluster(1)"), OURS).cell.id == "c1"


def test_a_cell_that_has_not_run_made_nothing():
    assert creation((cell(text="cluster = LocalCluster()", started=None, stopped=None),), OURS) is None
