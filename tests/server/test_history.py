import logging
import os
import sqlite3
import stat
import threading

import pytest

from jupyter_dask_doctor.messages import ClientInfo, History, MemoryPoint, Reply, Status
from jupyter_dask_doctor.report import Finding, Measure, Report, Treated
from jupyter_dask_doctor.server import history as keeping
from jupyter_dask_doctor.server import tables
from jupyter_dask_doctor.server.history import Archive
from jupyter_dask_doctor.snapshot import Location

NAMES = [name for name in MemoryPoint.__dataclass_fields__ if name not in ("rev", "time")]
LOG = logging.getLogger("test history")
AT = Location(cell_id="a", execution_count=7)
HOSTILE = "'); DROP TABLE points; --<script>\x00"


def point(rev, **changes):
    return MemoryPoint(**{"rev": rev, "time": 1000.0 + rev, **dict.fromkeys(NAMES, 0)} | changes)


def finding(subject="df", **changes):
    facts = {
        "id": f"partition-skew:{subject}",
        "rule": "partition-skew",
        "title": "Skew",
        "severity": "warning",
        "message": f"{subject} is skewed",
        "why": "",
        "subject": subject,
        "evidence": (),
        "at": AT,
        "loss_seconds": 31.0,
    }
    return Finding(**facts | changes)


TREATED = Treated(
    finding_id="partition-skew:df",
    rule="partition-skew",
    subject="df",
    message="df was skewed",
    status="resolved",
    before=(Measure(label="wall time", value=52.0, unit="seconds"),),
    after=(Measure(label="wall time", value=19.0, unit="seconds"),),
    at=AT,
)


def report(time, *findings, treated=()):
    return Report(version="0", time=time, findings=findings, checks=(), treated=treated)


def reply(*revs, session="one", scheduler_id="s", time=1000.0, **changes):
    client = ClientInfo(
        id="c", scheduler_id=scheduler_id, address=None, status="running", is_default=True, is_followed=True
    )
    facts = {
        "protocol": 1,
        "version": "0",
        "session": session,
        "rev": max(revs, default=1),
        "time": time,
        "status": Status(kind="live", message=""),
        "clients": (client,),
        "memory": tuple(map(point, revs)),
    }
    return Reply(**facts | changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dask-doctor" / "history.sqlite"


@pytest.fixture
def archive(path):
    archive = Archive(path, LOG)
    yield archive
    archive.close()


def read(archive, kernel_id="k"):
    return archive.read(kernel_id).result(20)


def test_what_was_added_is_read(archive):
    archive.add("k", reply(1, 2, report=report(5.0, finding(), treated=(TREATED,))))
    archive.add("k", reply(3))
    (series,) = read(archive).series
    assert (series.session, series.scheduler_id, series.client_id, series.started) == (
        "one",
        "s",
        "c",
        1000.0,
    )
    assert series.memory == (point(1), point(2), point(3))
    (seen,) = series.findings
    assert (seen.finding_id, seen.subject, seen.at, seen.loss_seconds) == (
        "partition-skew:df",
        "df",
        AT,
        31.0,
    )
    (past,) = series.treated
    assert (past.time, past.treated) == (5.0, TREATED)


def test_it_outlives_the_server(path, archive):
    archive.add("k", reply(1))
    archive.close()
    later = Archive(path, LOG)
    assert read(later).series[0].memory == (point(1),)
    later.close()


def test_a_finding_seen_again_is_one_finding(archive):
    archive.add("k", reply(1, report=report(5.0, finding(), treated=(TREATED,))))
    archive.add("k", reply(2, report=report(9.0, finding(message="worse"), treated=(TREATED,))))
    (series,) = read(archive).series
    (seen,) = series.findings
    assert (seen.first, seen.last, seen.message) == (5.0, 9.0, "worse")
    assert [past.time for past in series.treated] == [5.0]


def test_a_restart_or_another_scheduler_opens_a_new_series(archive):
    archive.add("k", reply(1))
    archive.add("k", reply(1, session="two", time=2000.0))
    archive.add("k", reply(1, session="two", scheduler_id="t", time=3000.0))
    archive.add("other", reply(1))
    assert [(s.session, s.scheduler_id) for s in read(archive).series] == [
        ("two", "t"),
        ("two", "s"),
        ("one", "s"),
    ]


def test_without_a_client_there_is_nothing_to_keep(archive, path):
    archive.add("k", reply(1, clients=()))
    archive.add("k", reply())  # nor without anything new
    assert read(archive) == History(kernel_id="k", series=())


def test_points_that_came_together_are_all_kept(archive):
    together = (point(1, time=1.0), point(1, time=2.0), point(1, time=3.0))
    archive.add("k", reply(memory=together))
    archive.add("k", reply(memory=together))  # told again after the server forgot them
    assert read(archive).series[0].memory == together


def test_a_long_line_is_thinned_evenly(archive):
    archive.add("k", reply(*range(1, 3 * tables.N_POINTS + 1)))
    (series,) = read(archive).series
    assert len(series.memory) == tables.N_POINTS
    assert [p.rev for p in series.memory[:3]] == [1, 4, 7]


def test_names_are_only_text(archive):
    archive.add(HOSTILE, reply(1, session=HOSTILE, report=report(1.0, finding(subject=HOSTILE))))
    (series,) = read(archive, HOSTILE).series
    assert series.session == HOSTILE
    assert series.findings[0].subject == HOSTILE


@pytest.mark.parametrize(
    "bad",
    [
        reply(2, memory=(point(2, managed=2**70),)),  # no integer of SQLite's
        reply(2, report=report(float("nan"), finding())),
        reply(2, session="\ud800"),
    ],
    ids=["too large", "no time", "half a character"],
)
def test_what_cannot_be_held_is_dropped_alone(archive, bad, path):
    archive.add("k", reply(1))
    for _ in range(2 * keeping.MAX_FAULTS):
        archive.add("k", bad)
    archive.add("k", reply(3))
    revs = [p.rev for p in read(archive).series[0].memory]
    assert revs == [1, 3]
    assert not path.with_name("history.sqlite.broken").exists()


@pytest.mark.parametrize(
    "content",
    [b"something else altogether" * 100, b"SQLite format 3\x00" + b"\xff" * 200],
    ids=["no database", "half a database"],
)
def test_a_broken_file_is_set_aside_and_a_new_one_begun(path, archive, content, caplog):
    path.parent.mkdir()
    path.write_bytes(content)
    archive.add("k", reply(1))
    assert read(archive).series[0].memory == (point(1),)
    assert path.with_name("history.sqlite.broken").read_bytes() == content
    assert "a new one begun" in caplog.text


def test_a_file_that_breaks_later_is_set_aside_too(path, archive, caplog):
    archive.add("k", reply(*range(1, 2000)))
    read(archive)
    archive.close()
    data = bytearray(path.read_bytes())
    data[4096:-4096] = os.urandom(len(data) - 8192)
    path.write_bytes(data)
    later = Archive(path, LOG)
    later.add("k", reply(5_000))
    later.add("k", reply(5_001))
    read(later)
    later.add("k", reply(5_002))
    assert read(later).series[0].memory[-1] == point(5_002)
    assert "a new one begun" in caplog.text
    later.close()


def test_a_file_of_another_version_is_not_guessed_at(path, archive, caplog):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE points (something TEXT)")
        db.execute("PRAGMA user_version = 99")
    db.close()
    archive.add("k", reply(1))
    assert read(archive).series[0].memory == (point(1),)
    assert "version 99 instead of 1" in caplog.text


def test_where_nothing_can_be_written_nothing_is_kept_and_the_log_says_so_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    archive = Archive(tmp_path / "file" / "history.sqlite", LOG)
    for rev in range(20):
        archive.add("k", reply(rev))
    assert read(archive) == History(kernel_id="k", series=())
    archive.close()
    assert len(caplog.records) == 2
    assert "keeps no history from now on" in caplog.records[1].message


def test_only_its_owner_may_read_it(path, archive):
    archive.add("k", reply(1))
    read(archive)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_stays_small_and_forgets_the_oldest_first(path, monkeypatch):
    monkeypatch.setattr(keeping, "PRUNE_EVERY", 2)
    archive = Archive(path, LOG, max_nbytes=200_000)
    for i in range(40):
        archive.add(f"k{i}", reply(*range(i, i + 200), session=str(i), time=float(i)))
        read(archive)
    kept = [i for i in range(40) if read(archive, f"k{i}").series]
    assert kept
    assert kept == list(range(kept[0], 40))
    assert kept[0] > 5
    archive.close()
    assert path.stat().st_size < 400_000


def test_one_endless_series_forgets_its_beginning(path, monkeypatch):
    monkeypatch.setattr(keeping, "PRUNE_EVERY", 2)
    archive = Archive(path, LOG, max_nbytes=100_000)
    for i in range(40):
        archive.add("k", reply(*range(200 * i, 200 * i + 200)))
        read(archive)
    (series,) = read(archive).series
    assert series.memory[0].rev > 1000
    assert series.memory[-1].rev > 7_900
    archive.close()
    assert path.stat().st_size < 250_000


def test_after_closing_everything_is_quiet(archive):
    archive.close()
    archive.add("k", reply(1))
    assert read(archive) == History(kernel_id="k", series=())


def test_a_slow_disk_drops_news_instead_of_filling_the_memory(archive):
    go = threading.Event()
    archive._put(lambda: go.wait(20))
    accepted = sum(archive._put(lambda: None) for _ in range(1_000))
    go.set()
    assert 0 < accepted <= keeping.MAX_JOBS
