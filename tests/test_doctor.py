"""`diagnose` in a script: a real cluster in, a report out, and a clear word when there is none."""

import json
import subprocess
import sys
import threading
import time

import pytest

import jupyter_dask_doctor
from jupyter_dask_doctor import doctor
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.report import Report
from jupyter_dask_doctor.snapshot import Gap

dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")


@pytest.fixture
def client():
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def skewed():
    import numpy
    import pandas

    def part(i):
        return pandas.DataFrame({"x": numpy.zeros(15_000_000 if i == 7 else 10_000)})

    return dd.from_map(part, list(range(8)), meta=part(0))


def outcomes(report):
    return {check.rule: check.outcome for check in report.checks}


def test_finds_what_is_there(client):
    df = skewed().persist()
    distributed.wait(df)
    report = jupyter_dask_doctor.diagnose()
    finding = next(one for one in report.findings if one.rule == "partition-skew")
    assert finding.subject == "df", "the caller's own name for it"
    assert finding.evidence[0].value > 100_000_000


def test_a_healthy_cluster_has_nothing(client):
    assert client.submit(int, 7).result() == 7
    report = jupyter_dask_doctor.diagnose(client, collections={})
    assert report.findings == ()
    assert "error" not in outcomes(report).values()


def test_source_is_looked_at(client):
    source = 'df = df.repartition(partition_size="100MB")\ndf.npartitions'
    with_source = jupyter_dask_doctor.diagnose(client, collections={}, source=source)
    without = jupyter_dask_doctor.diagnose(client, collections={})
    assert outcomes(with_source)["partition-size-deadlock"] != outcomes(without)["partition-size-deadlock"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (lambda df: {"mine": df}, ["mine"]),
        (lambda df: [df, df], ["collection1", "collection2"]),
        (lambda df: df, ["collection"]),
    ],
)
def test_collections_by_name_by_the_few_and_alone(client, given, names):
    assert list(doctor._named(given(skewed()))) == names


def test_the_report_as_text_html_and_json(client, tmp_path):
    report = jupyter_dask_doctor.diagnose(client, collections={})
    bundle = report._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Dask Doctor")
    assert "<" in bundle["text/html"]
    report.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads(report.to_json())["checks"]


def test_json_of_a_report_with_half_a_surrogate():
    report = Report(version="0", time=0.0, findings=(), checks=(), notes=("\ud800",))
    assert json.loads(report.to_json())["notes"] == ["\ud800"]


def test_no_client():
    with pytest.raises(doctor.NoClient, match=r"Client\(\)"):
        jupyter_dask_doctor.diagnose()


def test_a_closed_client(client):
    with distributed.Client(client.scheduler.address, set_as_default=False) as closed:
        pass
    with pytest.raises(doctor.NoClient, match="closed"):
        jupyter_dask_doctor.diagnose(closed)


def test_leaves_no_thread_behind(client):
    jupyter_dask_doctor.diagnose(client, collections={})
    # The worker, here a thread of this process, may still be looking at its machine for a moment.
    stop = time.monotonic() + 5
    while (left := _own_threads()) and time.monotonic() < stop:
        assert left == ["dask-doctor-environment"]
        time.sleep(0.05)
    assert not left


def _own_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dask-doctor")]


def test_a_fault_in_reading_the_cluster_becomes_gaps():
    class Broken:
        client = None

        def sections(self, cells):
            raise RuntimeError("broken")

        def sizes(self, group):
            return None

        def with_held(self, collections):
            return collections

    snapshot = doctor.gather(Broken(), CellLog(), {})
    assert isinstance(snapshot.cluster, Gap)
    assert "broken" in snapshot.workers.reason
    assert snapshot.collections == ()


def test_explain():
    assert "partition" in jupyter_dask_doctor.explain("partition-skew")
    with pytest.raises(KeyError):
        jupyter_dask_doctor.explain("no-such-rule")


def test_importing_costs_nothing_to_speak_of():
    code = (
        "import sys, typing, __future__; before = set(sys.modules)\n"
        "import jupyter_dask_doctor\n"
        "print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['jupyter_dask_doctor']"
