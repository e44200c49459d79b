"""What text and html both say of a report, and strings from outside made harmless to read."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from .. import words
from ..report import Check, Detail, Edit, Evidence, Finding, Fix, Measure, Report, Treated
from ..snapshot import Location

#: Longer texts are cut: an exception or a repr can be 10 MB.
MAX_LINE = 600
MAX_CODE = 20_000
#: Of a folded text, and folded texts of one finding.
MAX_DETAIL = 4_000
MAX_DETAILS = 8

APPLICABILITY = {"safe": "safe", "unsafe": "needs review", "display-only": "to read and copy"}
STATUS = {"resolved": "resolved", "better": "better", "no-change": "no change", "worse": "worse"}


def line(text: str, length: int = MAX_LINE) -> str:
    """On one line, cut to a length, without characters that move the cursor or hide what is there."""
    # Cut before cleaning, so that a huge text costs no more than a long one.
    cut = " ".join("".join(_harmless(char) for char in text[: 4 * length]).split())
    return f"{cut[: length - 1]}…" if len(cut) > length or len(text) > 4 * length else cut


def code(text: str) -> str:
    """As it is, lines and indentation kept, without characters that a terminal obeys or that hide code."""
    kept = "".join(char if char in "\n\t" else _harmless(char) for char in text[:MAX_CODE]).strip("\n")
    return f"{kept}\n# … {len(text) - MAX_CODE:,} more characters" if len(text) > MAX_CODE else kept


def detail(detail: Detail) -> str:
    """A folded text, such as a call stack, as it is, cut to a length."""
    return code(detail.text[:MAX_DETAIL] + ("…" if len(detail.text) > MAX_DETAIL else ""))


def _harmless(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    # Direction marks, zero-width characters, lone surrogates: they make text look like what it is not.
    return "" if category in ("Cf", "Cs", "Co", "Cn") else char


def verdict(report: Report) -> str:
    """One line: how many findings of which severity, and what they cost together. Of what is past it never
    says that nothing is wrong."""
    counts = Counter(finding.severity for finding in report.findings)
    parts: list[str] = []
    grave = [
        words.count(counts["critical"], "critical", "critical") if counts["critical"] else "",
        words.count(counts["warning"], "warning") if counts["warning"] else "",
    ]
    if any(grave):
        parts.append(", ".join(part for part in grave if part))
    else:
        ran = sum(check.outcome in ("passed", "found") for check in report.checks)
        if report.is_past:
            parts.append(f"nothing was found, {words.count(ran, 'check')} had run")
        else:
            parts.append(f"nothing wrong, {words.count(ran, 'check')} ran" if ran else "nothing to judge yet")
    if counts["info"]:
        parts.append(words.count(counts["info"], "note"))
    lost, of = _loss(report.findings)
    if lost:
        parts.append(f"≈ {words.seconds(lost)} of {words.seconds(of)} lost")
    return ("seen last: " if report.is_past else "") + " · ".join(parts)


def _loss(findings: tuple[Finding, ...]) -> tuple[float, float]:
    """Seconds lost, of how many. Findings of one cell share its time: they cost no more than it took."""
    cells: dict[str | None, tuple[float, float]] = {}
    for finding in findings:
        if finding.severity == "info" or finding.loss_seconds is None or finding.of_seconds is None:
            continue
        key = finding.at.cell_id if finding.at else None
        lost, of = cells.get(key, (0.0, 0.0))
        cells[key] = (lost + finding.loss_seconds, max(of, finding.of_seconds))
    return sum(min(lost, of) for lost, of in cells.values()), sum(of for _, of in cells.values())


def cell(at: Location | None) -> str:
    """ "cell [7], line 3"; empty when nobody knows."""
    if at is None or (at.execution_count is None and at.line is None):
        return ""
    name = "cell" if at.execution_count is None else f"cell [{at.execution_count}]"
    return name if at.line is None else f"{name}, line {at.line}"


def loss(finding: Finding) -> str:
    """ "≈ 31 s of 52 s"; empty when it was not reckoned."""
    if finding.loss_seconds is not None:
        of = "" if finding.of_seconds is None else f" of {words.seconds(finding.of_seconds)}"
        return f"≈ {words.seconds(finding.loss_seconds)}{of}"
    return "" if finding.loss_bytes is None else f"≈ {words.nbytes(finding.loss_bytes)}"


def measured(evidence: Evidence) -> str:
    """The value, with a mark when it is an estimate."""
    said = line(words.value(evidence.value, evidence.unit), 200)
    return f"≈ {said}" if evidence.is_estimated else said


def limit(evidence: Evidence) -> str:
    """The limit it crossed; empty when there is none."""
    return "" if evidence.limit is None else words.value(evidence.limit, evidence.unit)


def place(fix: Fix, at: Location | None) -> str:
    """Where the fix goes: "a new cell below [7]"."""
    return "; ".join(_place(edit, at) for edit in fix.edits)


def _place(edit: Edit, at: Location | None) -> str:
    known = at is not None and at.cell_id == edit.cell_id and at.execution_count is not None
    name = f"[{at.execution_count}]" if at is not None and known else "the cell"
    if edit.kind == "replace":
        return f"changes {name}, line {edit.line}"
    return f"a new cell {edit.kind} {name}"


def comparison(before: tuple[Measure, ...], after: tuple[Measure, ...]) -> str:
    """ "run time 52 s → 19 s, peak memory 3.8 GiB → 1.2 GiB"."""
    return ", ".join(
        f"{line(old.label, 80)} {words.value(old.value, old.unit)} → {words.value(new.value, new.unit)}"
        for old, new in zip(before, after, strict=False)
        if old.label == new.label
    )


def noise(treated: Treated) -> str:
    """How far the runs before lay apart; empty when there was only one."""
    return "" if treated.noise is None else f"earlier runs differed by {words.value(treated.noise, 'share')}"


def checks(report: Report) -> str:
    """ "6 checks passed, 2 found something, 1 had nothing to look at"."""
    outcomes = Counter(check.outcome for check in report.checks)
    said = {"passed": "passed", "found": "found something", "inapplicable": "had nothing to look at"}
    parts = [f"{outcomes[outcome]} {text}" for outcome, text in said.items() if outcomes[outcome]]  # type: ignore[index]
    return f"{words.count(len(report.checks), 'check')}: {', '.join(parts)}" if parts else ""


def unchecked(report: Report) -> Iterator[Check]:
    """The rules that could not judge."""
    return (check for check in report.checks if check.outcome in ("incomplete", "error"))
