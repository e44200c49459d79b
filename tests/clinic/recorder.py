"""Runs inside the clinic's kernel, beside the notebook: writes down the snapshot on which the doctor spoke.

Started by `run.py` with `execute` in a namespace of its own, so that the notebook has no variable of it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any


def start(expected: dict[str, Any] | None, place: str) -> None:
    """Keeps `place`/seen.json: the first snapshot with the whole finding, `place`/last.json on demand."""
    threading.Thread(target=_follow, args=(expected, Path(place)), daemon=True, name="clinic").start()


def _follow(expected: dict[str, Any] | None, place: Path) -> None:
    from jupyter_dask_doctor.kernel import extension
    from tests.clinic.recorded import encode

    seen, asked = False, place / "asked"
    while True:
        time.sleep(0.1)
        monitor = extension.monitor()
        watch = None if monitor is None else monitor.watch
        if watch is None:
            continue
        report, snapshot = watch.report, watch.snapshot
        if snapshot is None or report is None or report.time != snapshot.time:
            continue  # the doctor's thread is between the two
        if not seen and expected is not None and any(_is(f, expected) for f in report.findings):
            seen = True
            _put(place / "seen.json", encode(snapshot))
        if asked.exists():
            asked.unlink()
            _put(place / "last.json", encode(snapshot))


def _is(finding: Any, expected: dict[str, Any]) -> bool:
    return bool(
        finding.rule == expected["rule"]
        and finding.severity == expected["severity"]
        and finding.subject == expected["subject"]
        and (None if finding.at is None else finding.at.cell_id) == expected["cell"]
    )


def _put(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(path)
