"""Cells that run a part of the work here."""

import pytest

from jupyter_dask_doctor.remedies import reproduce
from tests.healthy import at, change, cluster, code, collection

FRAME = collection(name="df", npartitions=20)


def here(text, prefix="parse", collections=(FRAME,)):
    cells = code("df = load()", text)
    found = reproduce.here(at("c2", 2), prefix, cells, collections)
    return found[0].code.splitlines()[-1].strip() if found else None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f = client.submit(parse, 'a', sep=',')", "parse('a', sep=',')"),
        ("f = client.submit(parse, 'a', retries=3, key='k', n=1)", "parse('a', n=1)"),
        ("fs = client.map(parse, files)", "parse(next(iter(files)))"),
        ("fs = client.map(parse, files, others)", "parse(next(iter(files)), next(iter(others)))"),
        ("df.compute()", "df.partitions[:2].compute()"),
        ("y = df.x.sum()\ny.compute()", "y.compute()"),
        ("a.compute()\nb.compute()", "b.compute()"),
    ],
)
def test_what_is_run(text, wanted):
    assert here(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "fs = client.map(other, files)",  # a task of another name
        "fs = client.map(lambda x: x, files)",
        "fs = df.map(parse, meta)",  # one task per partition
        "client.submit(parse, *args)",
        "client.submit(parse, 1, **more)",
        "client.submit(parse, 1)\nclient.submit(parse, 2)",  # which of them?
        "dask.compute(a, b)",
        "x.compute(scheduler)",
        "x[\n1].compute()",
        "f(",
        "",
    ],
)
def test_is_quiet_where_it_cannot_be_told(text):
    assert here(text) is None


def test_no_cell_no_code():
    assert reproduce.here(None, "parse", code("a"), ()) == ()
    assert reproduce.call_stacks(None, cluster(client_variable="client"), code("a")) == ()


def test_call_stacks_only_when_the_kernel_is_free():
    cells = code("work()")
    ours = cluster(client_variable="client")
    (fix,) = reproduce.call_stacks(at("c1", 1), ours, cells)
    assert fix.code.startswith("for worker, tasks in client.call_stack().items():")
    assert reproduce.call_stacks(at("c1", 1), ours, (change(cells[0], stopped=None),)) == ()
    assert reproduce.call_stacks(at("c1", 1), cluster(), cells) == ()
