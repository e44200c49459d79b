"""A report as plain text for terminals."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from ..report import Evidence, Finding, Fix, Report
from . import sentences

#: Of prose and tables. Code keeps its own lines, so that it can be copied.
WIDTH = 100


def text(report: Report) -> str:
    """The whole report, worst finding first, in lines of at most 100 columns, code excepted."""
    blocks = [[f"Dask Doctor: {sentences.verdict(report)}"]]
    blocks += [list(_finding(number, finding)) for number, finding in enumerate(report.findings, 1)]
    blocks += [list(_treated(report)), list(_checks(report))]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _finding(number: int, finding: Finding) -> Iterator[str]:
    head = f"{number}. {finding.severity}: "
    yield from _prose(sentences.line(finding.message), head, "   ")
    where = [
        sentences.cell(finding.at),
        f"costs {loss}" if (loss := sentences.loss(finding)) else "",
        f"%dask_doctor explain {sentences.line(finding.rule, 60)}",
    ]
    yield from _prose(" · ".join(part for part in where if part), "   ", "   ")
    yield from _prose(sentences.line(finding.why), "   ", "   ")
    yield from _table(finding.evidence)
    for detail in finding.details[: sentences.MAX_DETAILS]:
        yield from _prose(sentences.line(detail.title), "   ", "   ")
        for line in sentences.detail(detail).splitlines():
            yield f"     : {line}".rstrip()
    for fix in finding.fixes:
        yield from _fix(fix, finding)


def _table(evidence: tuple[Evidence, ...]) -> Iterator[str]:
    rows = [
        (sentences.line(item.label, 36), sentences.measured(item), sentences.limit(item)) for item in evidence
    ]
    label_width = max((len(row[0]) for row in rows), default=0)
    value_width = min(24, max((len(row[1]) for row in rows), default=0))
    for label, value, limit in rows:
        row = f"     {label:<{label_width}}  {value:<{value_width}}"
        row += f"  limit {limit}" if limit else ""
        yield from (
            _prose(row.strip(), "     ", " " * (7 + label_width)) if len(row) > WIDTH else [row.rstrip()]
        )


def _fix(fix: Fix, finding: Finding) -> Iterator[str]:
    how = [sentences.APPLICABILITY[fix.applicability], sentences.place(fix, finding.at)]
    title = f"{sentences.line(fix.title)} ({', '.join(part for part in how if part)})"
    yield from _prose(title, "   Fix: ", "        ")
    if fix.expect:
        yield from _prose(sentences.line(fix.expect), "        ", "        ")
    for code in sentences.code(fix.code).splitlines():
        yield f"        | {code}".rstrip()


def _treated(report: Report) -> Iterator[str]:
    for treated in report.treated:
        status = sentences.STATUS[treated.status]
        parts = [sentences.comparison(treated.before, treated.after), sentences.noise(treated)]
        yield from _prose(
            f"{sentences.line(treated.message)} {'; '.join(part for part in parts if part)}",
            f"Ran again, {status}: ",
            "   ",
        )


def _checks(report: Report) -> Iterator[str]:
    if said := sentences.checks(report):
        yield from _prose(said, "", "   ")
    for check in sentences.unchecked(report):
        yield from _prose(
            f"{sentences.line(check.rule, 60)}: {sentences.line(check.reason)}", "Not checked: ", "   "
        )
    for note in report.notes:
        yield from _prose(sentences.line(note), "Note: ", "   ")


def _prose(sentence: str, first: str, rest: str) -> list[str]:
    return wrap(sentence, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False) or (
        [first.rstrip()] if first.strip() else []
    )
