"""The tables of the history: what is written, read and forgotten. Plain SQL on an open connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ..messages import History, MemoryPoint, PastSeries, PastTreated, SeenFinding
from ..report import Report, Treated
from ..snapshot import Location

#: Kernel, session, scheduler and client: a restart or a reconnect opens a new series.
Key = tuple[str, str, str, str]

#: `PRAGMA user_version`. A file with another one is set aside, not guessed at.
SCHEMA_VERSION = 1
#: Characters kept of any one text.
MAX_TEXT = 1_000

#: How much of it one answer holds. `messages.History` tells the same numbers.
N_SERIES = 10
N_POINTS = 600
N_FINDINGS = 100

_COLUMNS = tuple(MemoryPoint.__dataclass_fields__)

TABLES = f"""
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    kernel_id TEXT NOT NULL,
    session TEXT NOT NULL,
    scheduler_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    started REAL NOT NULL,
    UNIQUE (kernel_id, session, scheduler_id, client_id)
);
CREATE TABLE points (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    {", ".join(f"{name} NUMERIC NOT NULL" for name in _COLUMNS)},
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
CREATE TABLE findings (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    finding_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    subject TEXT NOT NULL,
    at TEXT,
    first REAL NOT NULL,
    last REAL NOT NULL,
    loss_seconds REAL,
    PRIMARY KEY (series, finding_id)
);
CREATE TABLE treated (
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    body TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (series, body)
);
PRAGMA user_version = {SCHEMA_VERSION};
"""


def write(
    db: sqlite3.Connection, key: Key, time: float, points: Sequence[MemoryPoint], report: Report | None
) -> None:
    """Add what is new to the series that `key` names, which begins at `time` when it is not there yet."""
    db.execute(
        "INSERT OR IGNORE INTO series (kernel_id, session, scheduler_id, client_id, started)"
        " VALUES (?, ?, ?, ?, ?)",
        (*key, time),
    )
    (series,) = db.execute(
        "SELECT id FROM series WHERE kernel_id = ? AND session = ? AND scheduler_id = ? AND client_id = ?",
        key,
    ).fetchone()
    db.executemany(
        f"INSERT OR IGNORE INTO points (series, {', '.join(_COLUMNS)}) VALUES (?{', ?' * len(_COLUMNS)})",
        [(series, *(getattr(point, name) for name in _COLUMNS)) for point in points],
    )
    if report is not None:
        _write_report(db, series, report)


def _write_report(db: sqlite3.Connection, series: int, report: Report) -> None:
    for finding in report.findings[:N_FINDINGS]:
        db.execute(
            "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (series, finding_id) DO UPDATE SET severity = excluded.severity,"
            " message = excluded.message, at = excluded.at, last = excluded.last,"
            " loss_seconds = excluded.loss_seconds",
            (
                series,
                finding.id[:MAX_TEXT],
                finding.rule[:MAX_TEXT],
                finding.severity,
                finding.message[:MAX_TEXT],
                finding.subject[:MAX_TEXT],
                None if finding.at is None else msgspec.json.encode(finding.at).decode(),
                report.time,
                report.time,
                finding.loss_seconds,
            ),
        )
    for treated in report.treated[:N_FINDINGS]:
        db.execute(
            "INSERT OR IGNORE INTO treated VALUES (?, ?, ?)",
            (series, msgspec.json.encode(treated).decode(), report.time),
        )


def _used_nbytes(db: sqlite3.Connection) -> int:
    """Bytes in use; the file itself does not shrink, but pages that became free are filled first."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def prune(db: sqlite3.Connection, max_nbytes: int) -> None:
    """Forget the oldest until a tenth is free again: whole series, and of the last one its first half."""
    if _used_nbytes(db) <= max_nbytes:
        return
    for _ in range(1_000):
        if _used_nbytes(db) <= max_nbytes * 0.9:
            return
        ids = [id for (id,) in db.execute("SELECT id FROM series ORDER BY started, id LIMIT 2")]
        if len(ids) > 1:
            db.execute("DELETE FROM series WHERE id = ?", ids[:1])
            continue
        rows = db.execute(
            "DELETE FROM points WHERE time < (SELECT (min(time) + max(time)) / 2 FROM points)"
        ).rowcount
        rows += db.execute("DELETE FROM treated WHERE time < (SELECT max(time) FROM treated)").rowcount
        rows += db.execute("DELETE FROM findings WHERE last < (SELECT max(last) FROM findings)").rowcount
        if rows == 0:
            return


def read(db: sqlite3.Connection, kernel_id: str) -> History:
    rows = db.execute(
        "SELECT id, session, scheduler_id, client_id, started FROM series"
        " WHERE kernel_id = ? ORDER BY started DESC, id DESC LIMIT ?",
        (kernel_id, N_SERIES),
    ).fetchall()
    return History(
        kernel_id=kernel_id,
        series=tuple(
            PastSeries(
                session=session,
                scheduler_id=scheduler_id,
                client_id=client_id,
                started=started,
                memory=_points(db, id),
                findings=_findings(db, id),
                treated=_treated(db, id),
            )
            for id, session, scheduler_id, client_id, started in rows
        ),
    )


def _points(db: sqlite3.Connection, series: int) -> tuple[MemoryPoint, ...]:
    (n,) = db.execute("SELECT count(*) FROM points WHERE series = ?", (series,)).fetchone()
    rows = db.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM"
        " (SELECT *, row_number() OVER (ORDER BY time) AS nr FROM points WHERE series = ?)"
        " WHERE (nr - 1) % ? = 0 ORDER BY time",
        (series, -(-n // N_POINTS) or 1),
    )
    return tuple(MemoryPoint(**dict(zip(_COLUMNS, row, strict=True))) for row in rows)


def _findings(db: sqlite3.Connection, series: int) -> tuple[SeenFinding, ...]:
    rows = db.execute(
        "SELECT finding_id, rule, severity, message, subject, at, first, last, loss_seconds"
        " FROM findings WHERE series = ? ORDER BY last DESC, finding_id LIMIT ?",
        (series, N_FINDINGS),
    )
    return tuple(
        SeenFinding(
            finding_id=finding_id,
            rule=rule,
            severity=severity,
            message=message,
            subject=subject,
            at=None if at is None else msgspec.json.decode(at, type=Location),
            first=first,
            last=last,
            loss_seconds=loss_seconds,
        )
        for finding_id, rule, severity, message, subject, at, first, last, loss_seconds in rows
    )


def _treated(db: sqlite3.Connection, series: int) -> tuple[PastTreated, ...]:
    rows = db.execute(
        "SELECT time, body FROM treated WHERE series = ? ORDER BY time DESC LIMIT ?", (series, N_FINDINGS)
    )
    return tuple(
        PastTreated(time=time, treated=msgspec.json.decode(body, type=Treated)) for time, body in rows
    )
