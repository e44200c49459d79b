"""`%%dask_doctor` in real kernels: before the run, the run itself, after it."""

import sys

import pytest

from jupyter_dask_doctor.kernel.checked import Options, options

LAZY = (
    "import dask.dataframe as dd, pandas\n"
    "df = dd.from_pandas(pandas.DataFrame({'x': range(100)}), npartitions=4)\n"
)
#: Hangs for ever on this Python when it is computed, and the doctor knows before.
DEADLOCK = "df.repartition(partition_size='100MB').compute()"
old_python = pytest.mark.skipif(sys.version_info >= (3, 12), reason="needs what only Python 3.11 does wrong")


@pytest.fixture
def client(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())\n" + LAZY, cell_id="setup")
    kernel.ask_until(kernel.live)
    return kernel


def test_the_cell_runs_and_is_reported_on(client):
    ran = client.run("%%dask_doctor\ny = 1\ntotal = df.x.sum().compute()\ntotal + y", cell_id="work")
    assert ran.status == "ok"
    before, after = ran.text.splitlines()[:2]
    assert before.startswith("Dask Doctor, before the run: nothing wrong")
    assert after.startswith("Dask Doctor, after the run: nothing wrong")
    assert "tasks · " in after
    assert ran.shown[-1]["text/plain"] == "np.int64(4951)"
    assert client.value("(int(total), y)") == (4950, 1)


@old_python
def test_what_is_found_before_stops_it_where_asked(client):
    ran = client.run(f"%%dask_doctor --stop-on critical\nstarted = True\n{DEADLOCK}", cell_id="work")
    assert ran.status == "error"
    assert "NotRun" in ran.errors
    assert "1 critical" in ran.text
    assert "hangs" in ran.shown[0]["text/plain"]
    assert client.value("'started' in dir()") is False
    # Its numbers are those of what was shown.
    assert client.run("%dask_doctor fix 1").reply["payload"][0]["source"] == "set_next_input"


@old_python
def test_only_the_check(client):
    ran = client.run(f"%%dask_doctor --only-check\nstarted = True\n{DEADLOCK}", cell_id="work")
    assert ran.status == "ok"
    assert "1 critical" in ran.text
    assert "after the run" not in ran.text
    assert client.value("'started' in dir()") is False


def test_a_finding_after_the_run(client):
    client.run(
        "import numpy\ndef part(i): return pandas.DataFrame({'x': numpy.zeros(15_000_000 if i == 7 else 10_000)})"
    )
    ran = client.run(
        "%%dask_doctor\nfrom distributed import wait\n"
        "big = dd.from_map(part, list(range(8)), meta=part(0)).persist()\nwait(big);",
        cell_id="work",
    )
    assert ran.status == "ok"
    assert "after the run: " in ran.text
    assert "`big`" in ran.shown[-1]["text/plain"]


def test_an_error_of_the_cell_is_its_own(client):
    ran = client.run("%%dask_doctor\nx = 1\n1 / 0", cell_id="work")
    assert ran.status == "error"
    assert "ZeroDivisionError" in ran.errors
    assert "after the run" in ran.text
    trace = "\n".join(ran.reply["traceback"])
    assert "line 3" in trace  # as the cell has it
    assert "checked.py" not in trace
    assert client.run("x", cell_id="next").shown[0]["text/plain"] == "1"


def test_half_written_and_await(client):
    assert "SyntaxError" in client.run("%%dask_doctor\nx = (", cell_id="work").errors
    assert "await" in client.run("%%dask_doctor\nimport asyncio\nawait asyncio.sleep(0)").errors


def test_magics_within_and_a_silent_end(client):
    ran = client.run("%%dask_doctor\n%matplotlib --list\n41 + 1;", cell_id="work")
    assert ran.status == "ok"
    assert not ran.shown


def test_without_a_cluster(kernel):
    ran = kernel.run("%%dask_doctor\n20 + 22")
    assert ran.status == "ok"
    assert ran.shown[-1]["text/plain"] == "42"
    assert "before the run: " in ran.text


@pytest.mark.parametrize("line", ["--stop", "--stop-on info", "now", "--only-check --stop-on critical"])
def test_options_that_do_not_exist(client, line):
    ran = client.run(f"%%dask_doctor {line}\nran = True")
    assert "UsageError" in ran.errors
    assert client.value("'ran' in dir()") is False


def test_options():
    assert options("") == Options()
    assert options(" --stop-on  warning ") == Options(stop_on="warning")
