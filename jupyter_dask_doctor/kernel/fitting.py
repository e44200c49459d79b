"""Makes a report fit into one reply, and says what was left out.

The order in which things go: points of charts, long texts, fixes with long code, findings beyond the worst.
Code that a click would insert is never cut: a fix goes whole or not at all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import msgspec

from ..report import Chart, Evidence, Finding, Fix, Report, Series

#: Enough to see a shape at the width of a card, and few enough that a dozen charts fit.
CHART_POINTS = 60
#: Characters of a sentence; a longer one holds a key or an exception that grew wild.
TEXT_LENGTH = 400
#: Bytes of code in one fix.
FIX_NBYTES = 4_096

#: Characters of a folded text, such as a call stack, at most and when room is short; and how many a finding has.
DETAIL_LENGTH = 4_000
SHORT_DETAIL = 1_000
MAX_DETAILS = 8

T = TypeVar("T")


def encode(value: object) -> bytes:
    """JSON text of a record, whatever its strings and numbers hold: names come from a cluster or a notebook,
    and half a surrogate pair or a number of 30 digits must not silence the doctor."""
    try:
        return msgspec.json.encode(value, enc_hook=_unknown)
    except (UnicodeEncodeError, OverflowError):
        return msgspec.json.encode(_mend(msgspec.to_builtins(value, enc_hook=_unknown)))


def _unknown(value: object) -> object:
    # A number of numpy's that slipped into a record; anything else is told by its type alone.
    item = getattr(value, "item", None)
    return item() if callable(item) else type(value).__name__


def _mend(value: object) -> object:
    if isinstance(value, dict):
        return {_mend(key): _mend(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mend(one) for one in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and abs(value) >= 2**63:
        return float(value) if abs(value) < 2**1000 else None
    return value


def nbytes(value: object) -> int:
    """Length of the JSON text of a record."""
    return len(encode(value))


def fit_report(report: Report, limit: int) -> tuple[Report, tuple[str, ...]]:
    """The report in at most `limit` bytes of JSON, and what was left out, in words."""
    left_out: list[str] = []
    report = _each(report, lambda finding: _cut_details(finding, DETAIL_LENGTH))
    for words, step in _steps(report):
        if nbytes(report) <= limit:
            break
        smaller = step(report)
        if smaller != report:
            report = smaller
            left_out.append(words)
    while nbytes(report) > limit and report.findings:
        n = len(report.findings)
        report = replace(report, findings=report.findings[: n - max(1, n // 4)])
        words = "the least of the findings"
        if left_out[-1:] != [words]:
            left_out.append(words)
    if nbytes(report) > limit:
        report = replace(report, treated=(), checks=(), notes=())
        left_out.append("the list of checks")
    return report, tuple(left_out)


def _steps(report: Report) -> Iterator[tuple[str, Callable[[Report], Report]]]:
    yield f"points of charts beyond {CHART_POINTS}", lambda r: _each(r, _thin_charts)
    yield (
        "parts of long texts",
        lambda r: replace(
            _each(r, _cut_texts),
            notes=tuple(cut(note) for note in r.notes[:20]),
            treated=tuple(
                replace(
                    one, finding_id=cut_id(one.finding_id), subject=cut(one.subject), message=cut(one.message)
                )
                for one in r.treated
            ),
            checks=tuple(replace(one, reason=cut(one.reason)) for one in r.checks),
        ),
    )
    yield "fixes with very long code", lambda r: _each(r, _drop_long_fixes)
    yield "older results of treatment", lambda r: replace(r, treated=r.treated[-20:])
    worst = {finding.id for finding in report.findings[:5]}
    yield "parts of folded texts", lambda r: _each(r, lambda finding: _cut_details(finding, SHORT_DETAIL))
    yield (
        "folded texts but the first of each of the worst five findings",
        lambda r: _each(
            r, lambda finding: replace(finding, details=finding.details[: 1 if finding.id in worst else 0])
        ),
    )
    yield (
        "charts of all findings but the worst five",
        lambda r: _each(r, lambda finding: finding if finding.id in worst else replace(finding, charts=())),
    )


def cut(text: str, length: int = TEXT_LENGTH) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def cut_id(text: str) -> str:
    """As `cut`, but two long ids that begin alike stay apart."""
    if len(text) <= TEXT_LENGTH:
        return text
    return f"{text[: TEXT_LENGTH - 9]}~{zlib.crc32(text.encode(errors='replace')):08x}"


def thin(items: Sequence[T], n: int, *, keep: Callable[[T], float]) -> tuple[T, ...]:
    """At most `n` of the items, in order: the last one, and of each stretch before it the one that `keep`
    puts highest, so that peaks stay."""
    if len(items) <= n:
        return tuple(items)
    if n < 2:
        return tuple(items[-n:]) if n > 0 else ()
    body = len(items) - 1
    edges = [i * body // (n - 1) for i in range(n)]
    stretches = (items[start:stop] for start, stop in pairwise(edges))
    return (*(max(stretch, key=keep) for stretch in stretches), items[-1])


def _each(report: Report, change: Callable[[Finding], Finding]) -> Report:
    return replace(report, findings=tuple(change(finding) for finding in report.findings))


def _thin_charts(finding: Finding) -> Finding:
    return replace(finding, charts=tuple(_thin_chart(chart) for chart in finding.charts))


def _thin_chart(chart: Chart) -> Chart:
    n = max((len(series.values) for series in chart.series), default=0)
    if n <= CHART_POINTS:
        return chart
    indices = range(n)

    def height(i: int) -> float:
        # The bar that the finding is about must not go.
        if i == chart.highlight:
            return float("inf")
        return max(series.values[i] for series in chart.series if i < len(series.values))

    kept = thin(indices, CHART_POINTS, keep=height)
    if chart.highlight is not None and chart.highlight not in kept:
        kept = tuple(sorted({*kept[:-1], chart.highlight}))
    return replace(
        chart,
        title=cut(chart.title),
        series=tuple(Series(name=cut(one.name), values=_pick(one.values, kept)) for one in chart.series),
        labels=_pick(chart.labels, kept),
        x=_pick(chart.x, kept),
        highlight=kept.index(chart.highlight) if chart.highlight in kept else None,
    )


def _pick(values: Sequence[T], indices: Sequence[int]) -> tuple[T, ...]:
    return tuple(values[i] for i in indices if i < len(values))


def _cut_texts(finding: Finding) -> Finding:
    return replace(
        finding,
        id=cut_id(finding.id),
        subject=cut(finding.subject),
        message=cut(finding.message),
        why=cut(finding.why, 2 * TEXT_LENGTH),
        evidence=tuple(_cut_evidence(one) for one in finding.evidence[:20]),
        fixes=tuple(replace(fix, title=cut(fix.title), expect=cut(fix.expect)) for fix in finding.fixes),
        charts=tuple(
            replace(
                chart,
                title=cut(chart.title),
                labels=tuple(cut(label, 80) for label in chart.labels),
                series=tuple(replace(one, name=cut(one.name, 80)) for one in chart.series),
            )
            for chart in finding.charts
        ),
    )


def _cut_details(finding: Finding, length: int) -> Finding:
    details = finding.details[:MAX_DETAILS]
    if all(len(one.text) <= length and len(one.title) <= TEXT_LENGTH for one in details) and len(
        details
    ) == len(finding.details):
        return finding
    return replace(
        finding,
        details=tuple(replace(one, title=cut(one.title), text=cut(one.text, length)) for one in details),
    )


def _cut_evidence(evidence: Evidence) -> Evidence:
    value = evidence.value
    return replace(evidence, label=cut(evidence.label), value=cut(value) if isinstance(value, str) else value)


def _drop_long_fixes(finding: Finding) -> Finding:
    def is_short(fix: Fix) -> bool:
        return len(fix.code) + sum(len(edit.new) + len(edit.old) for edit in fix.edits) <= FIX_NBYTES

    return replace(finding, fixes=tuple(fix for fix in finding.fixes if is_short(fix)))
