"""Settings of Dask, found in the notebook and changed, or put ahead of the cluster."""

from jupyter_dask_doctor.remedies.settings_code import set_before
from tests.healthy import apply, cell, cluster, code

OURS = cluster(cluster_variable="cluster", client_variable="client")
MAX_SPILL = {"distributed.worker.memory.max-spill": "False"}


def offered(*sources, values=MAX_SPILL, known=OURS):
    cells = code(*sources)
    fix, at = set_before(values, code=cells, cluster=known, title="t", expect="e")
    return (apply(fix, cells) if fix.edits else fix.code), at


def test_puts_them_ahead_of_the_cluster():
    made, at = offered("import dask\nn = 2\ncluster = LocalCluster(n)\nclient = Client(cluster)")
    assert made == [
        "import dask\nn = 2\nimport dask\n\ndask.config.set({\n"
        '    "distributed.worker.memory.max-spill": False,\n'
        "})\ncluster = LocalCluster(n)\nclient = Client(cluster)"
    ]
    assert (at.cell_id, at.line) == ("c1", 3)


def test_changes_them_where_they_are_set():
    made, at = offered(
        'dask.config.set({"a": "ü", "distributed.worker.memory.max-spill": "1 GB", "b": 2})',
        "cluster = LocalCluster(2)",
    )
    assert made[0] == 'dask.config.set({"a": "ü", "distributed.worker.memory.max-spill": False, "b": 2})'
    assert made[1] == "cluster = LocalCluster(2)"
    assert at.cell_id == "c1"


def test_changes_several_at_once():
    made, _ = offered(
        'dask.config.set({\n    "distributed.worker.memory.pause": 0.5,\n'
        '    "distributed.worker.memory.spill": 0.9,\n})\n'
        "cluster = LocalCluster(2)",
        values={"distributed.worker.memory.spill": "0.7", "distributed.worker.memory.pause": "0.8"},
    )
    assert made == [
        'dask.config.set({\n    "distributed.worker.memory.pause": 0.8,\n'
        '    "distributed.worker.memory.spill": 0.7,\n})\n'
        "cluster = LocalCluster(2)"
    ]


def test_what_was_set_after_the_cluster_was_made_had_no_effect():
    made, at = offered(
        "cluster = LocalCluster(2)", 'dask.config.set({"distributed.worker.memory.max-spill": "1 GB"})'
    )
    assert made[0].startswith("import dask\n\ndask.config.set({")
    assert at.cell_id == "c1"


def test_only_shows_them_where_the_cluster_is_not_made_here():
    text, at = offered("client = Client('tcp://10.0.0.1:8786')")
    assert text.startswith("# before the cluster is made\nimport dask\n")
    assert at is None


def test_a_call_within_a_block_is_left_alone():
    text, at = offered("if True:\n    pass\nwith LocalCluster() as cluster:\n    work()")
    assert isinstance(text, list)
    assert text[0].index("dask.config.set") < text[0].index("with LocalCluster()")
    assert at.line == 3


def test_a_cell_that_has_not_run_set_nothing():
    never = cell("c0", 'dask.config.set({"distributed.worker.memory.max-spill": 1})', None, None, None)
    cells = (never, *code("cluster = LocalCluster(2)"))
    fix, at = set_before(MAX_SPILL, code=cells, cluster=OURS, title="t", expect="e")
    assert at.cell_id == "c1"
    assert fix.edits[0].cell_id == "c1"
