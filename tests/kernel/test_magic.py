"""`%dask_doctor` in a kernel and in plain IPython."""

import os
import subprocess
import sys

import pytest
from IPython.core.error import UsageError

from jupyter_dask_doctor.kernel.magic import configuration, find_fix
from jupyter_dask_doctor.report import Finding, Fix, Report

SKEWED = (
    "import numpy, pandas, dask.dataframe as dd\n"
    "from distributed import wait\n"
    "def part(i): return pandas.DataFrame({'x': numpy.zeros(15_000_000 if i == 7 else 10_000)})\n"
    "df = dd.from_map(part, list(range(8)), meta=part(0)).persist()\n"
    "_ = wait(df)\n"
)


def test_report_fix_and_manual_in_a_kernel(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="a")
    kernel.run(SKEWED, cell_id="b")
    ran = kernel.run("%dask_doctor", cell_id="c")
    assert ran.status == "ok"
    bundle = ran.shown[0]
    assert "`df`" in bundle["text/plain"]
    assert "<code>df</code>" in bundle["text/html"]
    finding = next(one for one in kernel.ask()["report"]["findings"] if one["rule"] == "partition-skew")
    assert finding["at"]["cell_id"] == "b"
    ran = kernel.run("%dask_doctor fix 1")
    (payload,) = ran.reply["payload"]
    assert payload["source"] == "set_next_input"
    assert payload["text"] == finding["fixes"][0]["code"]
    ran = kernel.run("%dask_doctor explain partition-skew")
    assert "text/markdown" in ran.shown[0]
    assert "partition-skew" in kernel.run("%dask_doctor explain").text
    assert "Did you mean partition-skew" in kernel.run("%dask_doctor explain partition-skw").errors


def test_a_finding_comes_while_the_cell_runs(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="a")
    ran = kernel.begin(SKEWED + "import time\ntime.sleep(6)", cell_id="b")
    reply = kernel.ask_until(lambda reply: reply["report"] and reply["report"]["findings"])
    assert reply["running"] == {"cell_id": "b", "execution_count": 2, "line": None}
    assert kernel.finish(ran).status == "ok"


def test_text_of_the_panel_speaks_before_the_cell_runs(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    kernel.ask_until(kernel.live)
    kernel.run("import dask.dataframe as dd, pandas\ndf = dd.from_pandas(pandas.DataFrame({'x': [1]}), 1)")
    cells = [{"id": "planned", "source": "df.repartition(partition_size='100MB').compute()"}]
    kernel.ask(cells=cells)

    def rule(reply):
        found = reply["report"]["findings"] if reply["report"] else []
        return [one for one in found if one["rule"] == "partition-size-deadlock"]

    if sys.version_info < (3, 12):
        (finding,) = rule(kernel.ask_until(rule))
        assert finding["at"]["cell_id"] == "planned"


def test_without_a_client(kernel):
    ran = kernel.run("import distributed\n%dask_doctor")
    assert ran.status == "ok"
    assert "Client()" in ran.text
    assert "no finding" in kernel.run("%dask_doctor fix 1").errors


@pytest.mark.parametrize("line", ["frobnicate", "fix", "status now"])
def test_what_it_does_not_know(kernel, line):
    errors = kernel.run(f"%dask_doctor {line}").errors
    assert "UsageError" in errors
    assert "explain RULE" in errors


def test_status(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    kernel.ask_until(kernel.live)
    text = kernel.run("%dask_doctor status").text
    assert "live" in text
    assert "followed, default" in text
    assert "Panel: can ask this kernel" in text
    assert "Faults of the doctor's own: none" in text


def test_in_plain_ipython(kernel_env, tmp_path):
    # As a person in a terminal: no kernel, no channel, text.
    script = tmp_path / "session.ipy"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    from distributed import Client, LocalCluster\n"
        "    client = Client(LocalCluster(n_workers=1, threads_per_worker=2, processes=False, protocol='tcp',\n"
        "                                 dashboard_address='127.0.0.1:0'))\n"
        "    import dask.array as da\n"
        "    x = da.ones((10, 10), chunks=5).persist()\n"
        "    report = get_ipython().run_line_magic('dask_doctor', '')\n"
        "    print('REPORT', type(report).__name__, report.findings)\n"
        "    print(get_ipython().display_formatter.format(report)[0]['text/plain'])\n"
        "    get_ipython().run_line_magic('dask_doctor', 'status')\n"
        "    get_ipython().run_line_magic('dask_doctor', 'explain large-graph')\n"
        "    get_ipython().run_line_magic('unload_ext', 'jupyter_dask_doctor')\n"
        "    client.cluster.close(); client.close()\n"
    )
    command = [sys.executable, "-m", "IPython", "--InteractiveShellApp.extra_extensions=jupyter_dask_doctor"]
    done = subprocess.run(
        [*command, "--no-banner", str(script)],
        env={**os.environ, **kernel_env},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "REPORT Report ()" in done.stdout
    assert "Dask Doctor: nothing wrong" in done.stdout
    assert "Panel: cannot ask this kernel" in done.stdout
    assert "Anti-pattern" in done.stdout


def a_report(*n_fixes):
    def fix(name):
        return Fix(title=name, applicability="safe", edits=(), code=name, expect="")

    findings = tuple(
        Finding(
            id=str(i), rule="r", title="t", severity="info", message="m", why="w", subject="s", evidence=(),
            fixes=tuple(fix(f"{i}.{j}") for j in range(1, n + 1)),
        )
        for i, n in enumerate(n_fixes, 1)
    )  # fmt: skip
    return Report(version="0", time=0.0, findings=findings, checks=())


@pytest.mark.parametrize(("wanted", "code"), [("1", "1.1"), ("1.2", "1.2"), ("3", "3.1")])
def test_which_fix(wanted, code):
    assert find_fix(a_report(2, 0, 1), wanted).code == code


@pytest.mark.parametrize("wanted", ["0", "2", "4", "1.3", "1.0", "-1", "x", "1.x", "1.2.3", "²"])
def test_no_such_fix(wanted):
    with pytest.raises(UsageError):
        find_fix(a_report(2, 0, 1), wanted)


def test_the_configuration_file_of_another_package(tmp_path):
    folder = tmp_path / "etc" / "ipython"
    assert "missing" in configuration(str(tmp_path))
    folder.mkdir(parents=True)
    file = folder / "ipython_kernel_config.json"
    for text in ('{"InteractiveShellApp": {"extra_extensions": ["other"]}}', "[]", "{", '{"x": 1}'):
        file.write_text(text)
        assert "another package" in configuration(str(tmp_path))
    from pathlib import Path

    file.write_text((Path(__file__).parents[2] / "ipython-config" / file.name).read_text())
    assert configuration(str(tmp_path)) == "New kernels load the doctor by themselves."
