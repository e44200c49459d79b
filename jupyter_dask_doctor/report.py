"""The judgement: findings, what was checked, and what became of earlier findings.

Plain data for every surface: the panel, the magic, the HTML report. Numbers stay numbers here and become
words in the view. Every text may hold names from a cluster or a notebook: a view must treat it as hostile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from typing import Literal

from .snapshot import Location

Severity = Literal["info", "warning", "critical"]
Outcome = Literal["passed", "found", "inapplicable", "incomplete", "error"]
Applicability = Literal["safe", "unsafe", "display-only"]
Unit = Literal["bytes", "seconds", "count", "ratio", "share", "text"]
TreatedStatus = Literal["resolved", "better", "no-change", "worse"]
ChartKind = Literal["bars", "lines", "stack"]
EditKind = Literal["below", "above", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A measured value with its unit and the limit it crossed."""

    label: str
    value: float | str
    unit: Unit
    #: In the same unit; None when the value is only told for context.
    limit: float | None = None
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, or one set of bars."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A level drawn across a chart."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What a chart shows. `figures.py` draws it; without Bokeh the numbers stand in a table."""

    #: "bars": one bar per label; "lines": values over `x`, seconds since the epoch; "stack": the same, stacked.
    kind: ChartKind
    title: str
    unit: Unit
    series: tuple[Series, ...]
    #: For "bars": a name per bar.
    labels: tuple[str, ...] = ()
    #: For "lines" and "stack": a time per value.
    x: tuple[float, ...] = ()
    limits: tuple[Limit, ...] = ()
    #: The bar that the finding is about.
    highlight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A new code cell below or above another one, or a change inside one."""

    kind: EditKind
    #: The cell to change, or the neighbour of the new one.
    cell_id: str
    #: The new cell's source, or the text that takes the place of `old`.
    new: str
    #: Only for "replace": the text that must stand there, or the fix is refused.
    old: str = ""
    #: Only for "replace": lines count from 1, columns are characters (code points) from 0.
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A change to the notebook on offer. Nothing happens before the user's click."""

    title: str
    applicability: Applicability
    #: Empty for display-only fixes, which carry `code` to read and copy.
    edits: tuple[Edit, ...]
    code: str
    #: What it should change: "largest partition 1.9 GiB → about 100 MiB, +18 tasks".
    expect: str
    #: `zlib.crc32` of the UTF-8 source of each cell the edits lean on, as (cell id, checksum). A cell that
    #: differs now has changed since it was judged: refuse.
    checksums: tuple[tuple[str, int], ...] = ()
    #: The cells to run, in order, after the edits to see whether it helped (an inserted cell runs first).
    rerun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A longer text that belongs to a finding, shown folded: a call stack, a traceback."""

    title: str
    #: Plain text, at most 4,000 characters.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What is compared between two runs of a cell. Less is better."""

    label: str
    value: float
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault found by a rule."""

    #: `rule:subject`, without any measured value, so that it stays the same from run to run.
    id: str
    rule: str
    #: The rule's title, the same for every finding of the rule.
    title: str
    severity: Severity
    #: One sentence with the user's own names and numbers: the card's heading.
    message: str
    #: Two sentences on why it matters here.
    why: str
    subject: str
    evidence: tuple[Evidence, ...]
    charts: tuple[Chart, ...] = ()
    details: tuple[Detail, ...] = ()
    #: The ailing cell.
    at: Location | None = None
    fixes: tuple[Fix, ...] = ()
    #: Estimated thread-seconds or seconds of waiting that this costs, of `of_seconds` the cell took.
    loss_seconds: float | None = None
    of_seconds: float | None = None
    loss_bytes: int | None = None
    #: What to measure again when the ailing cell runs again.
    measures: tuple[Measure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What became of one rule."""

    rule: str
    title: str
    outcome: Outcome
    #: Why it was not checked, or how it failed; empty otherwise.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """An earlier finding whose cell ran again."""

    finding_id: str
    rule: str
    subject: str
    #: The finding's sentence as it was before.
    message: str
    status: TreatedStatus
    #: The same labels in the same order on both sides.
    before: tuple[Measure, ...]
    after: tuple[Measure, ...]
    at: Location | None = None
    #: Spread between earlier runs of the cell, as a share; None when it ran only once before.
    noise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of one run of the doctor."""

    #: Of jupyter_dask_doctor.
    version: str
    time: float
    #: Worst first: severity, then measured loss.
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    treated: tuple[Treated, ...] = ()
    #: What was left out, in words.
    notes: tuple[str, ...] = ()
    #: The cluster is gone or does not answer: this is what was seen last.
    is_past: bool = False

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from .render import html, text

        return {"text/plain": text.text(self), "text/html": html.html(self)}

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a page that stands alone. Raises OSError when it cannot be written."""
        from .render import html

        with open(path, "w", encoding="utf-8", errors="xmlcharrefreplace") as file:
            file.write(html.document(self))

    def to_json(self) -> str:
        """All of it as JSON, as described by `schema.json`."""
        import msgspec

        try:
            return msgspec.json.encode(self).decode()
        except UnicodeEncodeError:  # half a surrogate pair in somebody's key
            return json.dumps(msgspec.to_builtins(self))
