"""The cluster object's name in the notebook, and calls that can be given an option."""

import pytest

from jupyter_dask_doctor.remedies import calls, creation
from tests.healthy import apply, cell, change, cluster, code

OURS = cluster(cluster_variable="cluster", client_variable="client")


def test_how_to_speak_of_the_cluster():
    assert calls.expression(OURS) == "cluster"
    assert calls.expression(cluster(client_variable="c")) == "c.cluster"
    assert calls.expression(cluster(client_variable="c", kind=None)) is None
    assert calls.expression(cluster(cluster_variable="not a name")) is None
    assert calls.client(OURS) == "client"
    assert calls.client(cluster(client_variable="lambda")) is None


def test_a_method_of_this_cluster():
    cells = code("cluster.adapt(maximum=4)", "other.adapt(maximum=8)", "cluster.adapt(maximum=2)")
    made = calls.method(cells, OURS, "adapt")
    fix = creation.set_options(made, {"interval": '"1s"'}, title="t", expect="e")
    assert apply(fix, cells)[2] == 'cluster.adapt(maximum=2, interval="1s")'
    again = change(cells[0], started=cells[2].started + 60)
    assert calls.method((again, *cells[1:]), OURS, "adapt").cell.id == "c1"
    assert (
        calls.method(code("client.cluster.adapt()"), cluster(client_variable="client"), "adapt") is not None
    )


@pytest.mark.parametrize("text", ["other.adapt()", "adapt()", "cluster.scale(2)", "cluster.adapt("])
def test_no_method_of_this_cluster(text):
    assert calls.method(code(text), OURS, "adapt") is None


def test_no_name_no_method():
    assert calls.method(code("cluster.adapt()"), cluster(), "adapt") is None


def test_the_call_with_a_keyword():
    text = "a = client.submit(f, 1)\nb = client.map(g, x, retries=9)"
    made = calls.with_keyword(cell(text=text), "retries", {"submit", "map"})
    assert made.call.lineno == 2
    assert calls.with_keyword(cell(text=text), "retries", {"compute"}) is None
    assert calls.with_keyword(cell(text=text + "\n" + text), "retries", {"submit", "map"}) is None
    assert calls.one_call(cell(text=text), {"submit"}).call.lineno == 1
    assert calls.one_call(cell(text=text), {"submit", "map"}) is None
