"""What fits into one reply, what goes when it does not, and that it says so."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest

from jupyter_dask_doctor import messages
from jupyter_dask_doctor.kernel import data, fitting
from jupyter_dask_doctor.kernel.channel import bare
from jupyter_dask_doctor.kernel.reply import Composer
from jupyter_dask_doctor.messages import REPLY_NBYTES, CollectionInfo, Reply, Status
from jupyter_dask_doctor.report import Chart, Check, Detail, Edit, Evidence, Finding, Fix, Report, Series
from jupyter_dask_doctor.snapshot import (
    Cluster,
    Collection,
    Column,
    Gap,
    Held,
    Load,
    Location,
    PartitionSizes,
    Size,
    Snapshot,
    Worker,
)
from tests.healthy import computation

LIVE = Status(kind="live", message="The scheduler answers.")
SCHEMA = json.loads(Path(messages.__file__).parent.with_name("schema.json").read_text())


def a_load(time, **fact):
    values = {
        "time": float(time),
        "n_workers": 2,
        "nthreads": 4,
        "memory_limit": 2**33,
        "managed": 10**9,
        "unmanaged": 10**8,
        "spilled": 0,
        "process_min": 10**8,
        "process_median": 10**8,
        "process_max": 10**9,
        "threads_busy": 3,
        "tasks_waiting": 0,
        "tasks_processing": 5,
        "tasks_memory": 7,
        "tasks_erred": 0,
    }
    return Load(**values | fact)


def a_worker(i, **fact):
    values = {
        "address": f"tcp://127.0.0.1:{i}",
        "name": str(i),
        "nthreads": 2,
        "memory_limit": 2**32,
        "status": "running",
        "process": i * 10**6,
        "managed": 0,
        "spilled": 0,
        "unmanaged_old": 0,
        "n_processing": 0,
        "n_executing": 0,
        "cpu": 0.0,
    }
    return Worker(**values | fact)


def a_collection(name="df", **fact):
    values = {
        "name": name,
        "kind": "dataframe",
        "npartitions": 200,
        "nbytes": Size(nbytes=10**9, known="exact"),
        "largest": None,
        "is_persisted": True,
        "sizes": PartitionSizes(
            n=200, total=10**9, median=5 * 10**6, p95=10**7, largest=10**8, largest_index="17",
            values=tuple(range(10**6, 10**6 + 200)),
        ),
    }  # fmt: skip
    return Collection(**values | fact)


def a_snapshot(**sections):
    values = {
        "time": 1.0,
        "cluster": Cluster(
            scheduler_id="s", address="tcp://x", client_id="c", kind="LocalCluster", is_in_process=True,
            nthreads=4, memory_limit=2**33, python=(3, 11), dask="2026.8.0", distributed="2026.8.0",
        ),
        "workers": (a_worker(1), a_worker(2)),
        "load": (a_load(1), a_load(2)),
        "prefixes": (), "groups": (), "computations": (), "collections": (), "code": (), "losses": (),
        "failures": (),
    }  # fmt: skip
    return Snapshot(**values | sections)


def a_finding(i=0, **fact):
    values = {
        "id": f"partition-skew:df{i}",
        "rule": "partition-skew",
        "title": "Skew",
        "severity": "warning",
        "message": f"Partition 17 of `df{i}` is large.",
        "why": "One worker does all the work.",
        "subject": f"df{i}",
        "evidence": (Evidence(label="largest", value=1.0e9, unit="bytes", limit=1.0e8),),
    }
    return Finding(**values | fact)


def a_report(*findings, **fact):
    return Report(version="0", time=1.0, findings=findings, checks=(), **fact)


def size(reply):
    return len(json.dumps(reply, ensure_ascii=False).encode())


def test_a_reply_is_what_the_schema_says():
    ready = Composer("s").compose(
        status=LIVE, snapshot=a_snapshot(collections=(a_collection(),)), report=a_report(a_finding())
    )
    schema = {**SCHEMA, "anyOf": [{"$ref": "#/definitions/Reply"}]}
    for reply in (ready.answer(since=0, time=2.0), bare("no-client", "words", session="s")):
        jsonschema.validate(reply, schema)
        assert msgspec.convert(reply, Reply).status.message


def test_sides_of_another_age_understand_what_they_know():
    ready = Composer("s").compose(
        status=LIVE, snapshot=a_snapshot(collections=(a_collection(),), computations=(computation(),))
    )
    reply = json.loads(json.dumps(ready.answer(since=0, time=2.0)))
    assert reply["graphs"]
    # From a kernel whose side does not know of graphs or of columns.
    older = {name: value for name, value in reply.items() if name not in ("graphs", "hidden_jobs")}
    (one,) = older["collections"]
    older["collections"] = [
        {name: one[name] for name in ("name", "kind", "npartitions", "nbytes", "largest", "is_persisted",
                                      "is_eager", "sizes", "at")}
    ]  # fmt: skip
    told = msgspec.convert(older, Reply)
    assert (told.graphs, told.collections[0].name, told.collections[0].columns) == ((), "df", ())
    # And from one that knows of more.
    newer = {**reply, "moons": 3, "collections": [{**one, "colour": "red"}]}
    assert msgspec.convert(newer, Reply).collections[0].name == "df"


def test_since_leaves_out_what_is_known():
    composer = Composer("s")
    first = composer.compose(status=LIVE, snapshot=a_snapshot(), report=a_report(a_finding()))
    reply = first.answer(since=0, time=2.0)
    assert len(reply["memory"]) == 2
    assert reply["report"]["findings"]
    again = first.answer(since=reply["rev"], time=3.0)
    assert again["memory"] == []
    assert again["report"] is None
    assert again["time"] == 3.0
    more = composer.compose(
        status=LIVE,
        snapshot=a_snapshot(load=(a_load(2), a_load(3))),
        report=replace(a_report(a_finding()), time=9.0),
    )
    news = more.answer(since=reply["rev"], time=4.0)
    assert [point["time"] for point in news["memory"]] == [3.0]
    assert news["report"] is None, "the time alone does not make a report new"
    changed = composer.compose(status=LIVE, snapshot=a_snapshot(), report=a_report())
    assert changed.answer(since=more.rev, time=5.0)["report"]["findings"] == []


def test_a_since_from_an_earlier_life_gets_everything():
    ready = Composer("s").compose(status=LIVE, snapshot=a_snapshot(), report=a_report())
    assert ready.answer(since=10**12, time=2.0)["report"] is not None


def test_another_scheduler_opens_a_new_series():
    composer = Composer("s")
    first = composer.compose(status=LIVE, snapshot=a_snapshot(), report=a_report(a_finding()), key="a")
    other = composer.compose(status=LIVE, snapshot=a_snapshot(load=(a_load(1),)), key="b")
    reply = other.answer(since=first.rev, time=2.0)
    assert [point["time"] for point in reply["memory"]] == [1.0]
    assert reply["report"]["findings"] == [], "findings of the old one must go"


def test_gaps_are_empty_lists():
    gap = Gap(reason="no")
    snapshot = a_snapshot(cluster=gap, load=gap, workers=gap, collections=gap)
    reply = Composer("s").compose(status=LIVE, snapshot=snapshot).answer(since=0, time=2.0)
    assert reply["vitals"] is None
    assert reply["workers"] == reply["collections"] == reply["memory"] == []


def test_the_fullest_workers_are_told():
    snapshot = a_snapshot(workers=tuple(a_worker(i) for i in range(40)))
    reply = Composer("s").compose(status=LIVE, snapshot=snapshot).answer(since=0, time=2.0)
    assert [worker["name"] for worker in reply["workers"]] == [str(i) for i in range(39, 27, -1)]
    assert any("28 of 40 workers" in words for words in reply["left_out"])


def test_memory_lines_are_thinned_and_keep_their_peaks():
    load = tuple(a_load(i, process_max=10**12 if i == 501 else 10**9) for i in range(1_000))
    ready = Composer("s").compose(status=LIVE, snapshot=a_snapshot(load=load), report=a_report(a_finding()))
    reply = ready.answer(since=0, time=2.0)
    assert size(reply) < REPLY_NBYTES
    times = [point["time"] for point in reply["memory"]]
    assert 60 < len(times) < 1_000
    assert times == sorted(times)
    assert times[-1] == 999.0
    assert 501.0 in times
    assert any("points of the memory lines" in words for words in reply["left_out"])


def huge(n):
    chart = Chart(
        kind="bars", title="t", unit="bytes", highlight=150,
        series=(Series(name="size", values=tuple(float(i) for i in range(200))),),
        labels=tuple(f"partition {i}" for i in range(200)),
    )  # fmt: skip
    fix = Fix(title="f", applicability="unsafe", edits=(), code="x = 1\n" * 100, expect="e")
    return tuple(a_finding(i, charts=(chart, chart), fixes=(fix,)) for i in range(n))


def test_everything_too_large_at_once_still_fits_and_is_said():
    snapshot = a_snapshot(
        load=tuple(a_load(i) for i in range(5_000)),
        workers=tuple(a_worker(i, name="<script>" * 1_000, address="ü" * 10_000) for i in range(500)),
        collections=tuple(a_collection(f"df{i}" * 100) for i in range(300)),
    )
    report = a_report(*huge(64), notes=("n" * 10_000_000,))
    reply = Composer("s").compose(status=LIVE, snapshot=snapshot, report=report).answer(since=0, time=2.0)
    assert size(reply) <= REPLY_NBYTES
    assert reply["report"]["findings"]
    assert reply["collections"]
    said = " ".join(reply["left_out"])
    for words in ("workers", "collections", "points of charts", "long texts", "memory lines", "findings"):
        assert words in said


def test_all_of_data_and_graph_leaves_room_for_the_rest():
    columns = tuple(Column(name=f"column {i}", dtype="datetime64[ns, Europe/Berlin]") for i in range(200))
    held = Held(n=200, rows=tuple(range(1_000_000, 1_000_200)), columns=columns)
    layers = tuple((f"{'layer' * 15}-{i}", 20) for i in range(20))
    snapshot = a_snapshot(
        load=tuple(a_load(i) for i in range(1_000)),
        workers=tuple(a_worker(i) for i in range(50)),
        collections=tuple(a_collection(f"df{i}", columns=columns, held=held) for i in range(30)),
        computations=tuple(
            computation(id=f"k{i}", layers=layers, at=Location(cell_id=f"c{i}")) for i in range(20)
        ),
    )
    ready = Composer("s").compose(status=LIVE, snapshot=snapshot, report=a_report(*huge(64)))
    reply = ready.answer(since=0, time=2.0)
    assert size(reply) <= REPLY_NBYTES
    assert len(reply["graphs"]) == 8
    assert len(reply["collections"]) > 12
    assert len(reply["memory"]) > 20
    said = " ".join(reply["left_out"])
    for words in ("columns of collections", "sizes of single partitions", "layers of graphs"):
        assert words in said
    alone = Composer("s").compose(status=LIVE, snapshot=snapshot, report=a_report())
    shown = alone.answer(since=0, time=2.0)["collections"]
    assert len(shown) == 30, "what the report does not need is for them"
    assert any(one["columns"] for one in shown)


def test_a_report_that_fits_is_left_alone():
    report = a_report(*huge(3))
    assert fitting.fit_report(report, 36 * 1024) == (report, ())


def test_the_bar_of_the_finding_stays():
    report, left_out = fitting.fit_report(a_report(*huge(20)), 36 * 1024)
    assert left_out
    chart = report.findings[0].charts[0]
    assert len(chart.series[0].values) <= fitting.CHART_POINTS
    assert chart.labels[chart.highlight] == "partition 150"
    assert chart.series[0].values[chart.highlight] == 150.0


def test_code_is_never_cut():
    code = "x = 1\n" * 20_000
    edit = Edit(kind="below", cell_id="c", new=code)
    long = Fix(title="long", applicability="safe", edits=(edit,), code=code, expect="")
    short = Fix(title="short", applicability="safe", edits=(), code="x", expect="")
    report, left_out = fitting.fit_report(a_report(a_finding(fixes=(long, short))), 36 * 1024)
    assert [fix.title for fix in report.findings[0].fixes] == ["short"]
    assert "fixes with very long code" in left_out


def test_ids_that_were_cut_stay_apart():
    report, _ = fitting.fit_report(
        a_report(a_finding(id="r:" + "x" * 10**5 + "1"), a_finding(id="r:" + "x" * 10**5 + "2")), 36 * 1024
    )
    one, other = (finding.id for finding in report.findings)
    assert one != other
    assert len(one) <= fitting.TEXT_LENGTH


def test_one_finding_larger_than_all_room():
    finding = a_finding(title="t" * 100_000)
    report, left_out = fitting.fit_report(
        replace(a_report(finding), checks=(Check(rule="r", title="t", outcome="passed"),)), 36 * 1024
    )
    assert report.findings == ()
    assert left_out


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "</script>", "\U0001f600", "\x1b[31m"])
def test_hostile_names_go_through(name):
    snapshot = a_snapshot(collections=(a_collection(name),))
    reply = Composer("s").compose(status=LIVE, snapshot=snapshot).answer(since=0, time=2.0)
    packed = json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(packed)["collections"][0]["name"] == name.replace("\ud800", "?")


def test_numbers_json_does_not_know():
    import numpy

    snapshot = a_snapshot(
        workers=(a_worker(1, managed=10**30, spilled=numpy.int64(5)),),
        load=(a_load(1, threads_busy=numpy.int64(3)),),
    )
    finding = a_finding(evidence=(Evidence(label="x", value=float("nan"), unit="ratio"),))
    reply = (
        Composer("s")
        .compose(status=LIVE, snapshot=snapshot, report=a_report(finding))
        .answer(since=0, time=1)
    )
    packed = json.loads(json.dumps(reply, allow_nan=False))
    assert packed["workers"][0]["managed"] == pytest.approx(1e30)
    assert packed["workers"][0]["spilled"] == 5
    assert packed["report"]["findings"][0]["evidence"][0]["value"] is None


def test_collections_that_fit_keep_their_sizes():
    info = CollectionInfo(
        name="df", kind="array", npartitions=1, nbytes=None, largest=None, is_persisted=False,
        is_eager=False, sizes=a_collection().sizes, at=None,
    )  # fmt: skip
    assert data.fit_collections([info], 10 * 1024) == ((info,), ())


def test_longer_texts_are_cut_first():
    detail = Detail(title="t" * 9_000, text="x" * 100_000)
    composer = Composer("s")
    few = a_report(a_finding(details=(detail,)))
    (told,) = composer.compose(status=LIVE, report=few).answer(since=0, time=1.0)["report"]["findings"][0][
        "details"
    ]
    assert (len(told["text"]), len(told["title"])) == (4_000, 400)
    many = a_report(*(a_finding(i, details=(detail,) * 9) for i in range(8)))
    reply = composer.compose(status=LIVE, report=many).answer(since=0, time=1.0)
    assert size(reply) <= REPLY_NBYTES
    assert len(reply["report"]["findings"]) == 8, "a finding is worth more than the text that belongs to it"
    assert any("folded texts" in words for words in reply["left_out"])


def test_what_is_past_is_said():
    reply = Composer("s").compose(status=LIVE, report=a_report(is_past=True)).answer(since=0, time=1.0)
    assert reply["report"]["is_past"]
