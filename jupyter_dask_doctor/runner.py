"""Runs the rules over a Snapshot and puts what they say into one Report: data in, data out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .config import Settings
from .judging import runs
from .report import Check, Finding, Measure, Outcome, Report, Severity, Treated
from .rules import RULES, Rule
from .rules.registry import NotChecked
from .snapshot import Gap, Snapshot

if TYPE_CHECKING:
    from .verify import Ledger

logger = logging.getLogger(__name__)

#: A report with more is read by nobody, and a reply has 64 KiB.
MAX_FINDINGS = 64
#: Less data than this in all and less time than that is an example to learn from (rules.md, gates).
TEACHING_NBYTES = 100_000_000
TEACHING_SECONDS = 2.0

_RANK: dict[Severity, int] = {"critical": 0, "warning": 1, "info": 2}


def examine(snapshot: Snapshot, *, ledger: Ledger | None = None, settings: Settings | None = None) -> Report:
    """Checks every rule that is not ignored. Never raises for a rule's fault: that becomes its outcome."""
    from . import __version__

    settings = settings or Settings()
    notes = [*snapshot.notes, *settings.notes]
    said: list[Finding] = []
    checks: list[Check] = []
    for rule in RULES.values():
        if rule.id not in settings.ignore:
            check, found = run(rule, snapshot, settings)
            checks.append(check)
            said.extend(found)
    if is_teaching(snapshot):
        said = [f if not RULES[f.rule].has_stake else replace(f, severity="info") for f in said]
    findings = sorted(_one_voice_per_cause(said), key=_order)
    if len(findings) > MAX_FINDINGS:
        notes.append(f"{len(findings) - MAX_FINDINGS} lesser findings were left out.")
        findings = findings[:MAX_FINDINGS]
    findings = [replace(f, measures=measure(f, snapshot)) for f in findings]
    treated: tuple[Treated, ...] = ()
    if ledger is not None:
        try:
            treated = ledger.observe(snapshot, tuple(findings))
        except Exception:
            logger.exception("The comparison with earlier runs failed")
            notes.append("The comparison with earlier runs failed: nothing is said of earlier findings.")
    return Report(
        version=__version__,
        time=snapshot.time,
        findings=tuple(findings),
        checks=tuple(checks),
        treated=treated,
        notes=tuple(notes),
    )


def run(rule: Rule, snapshot: Snapshot, settings: Settings) -> tuple[Check, tuple[Finding, ...]]:
    """One rule: what became of it, and what it found."""

    def check(outcome: Outcome, reason: str = "") -> Check:
        return Check(rule=rule.id, title=rule.title, outcome=outcome, reason=reason)

    given = {name: getattr(snapshot, name) for name in rule.sections}
    for name, section in list(given.items()):
        if isinstance(section, Gap):
            if name not in rule.optional:
                return check("incomplete", section.reason), ()
            del given[name]
    about = [getattr(snapshot, name) for name in rule.about]
    known = [section for section in about if not isinstance(section, Gap)]
    if not known and about:
        return check("incomplete", about[0].reason), ()
    if not any(known):
        return check("inapplicable", f"There is nothing of the kind: {', '.join(rule.about)}."), ()
    try:
        limit = settings.limits.get(rule.id, rule.thresholds)
        found = _distinct(rule(**given, limit=limit))
    except NotChecked as reason:
        return check("incomplete", str(reason)), ()
    except Exception as fault:
        logger.exception("Rule %s failed", rule.id)
        return check("error", f"{type(fault).__name__}: {fault}"[:300]), ()
    return check("found" if found else "passed"), found


def measure(finding: Finding, snapshot: Snapshot) -> tuple[Measure, ...]:
    """What will be compared when the ailing cell runs again; empty when nothing could be measured."""
    from .verify import measures

    try:
        return measures(finding.rule, finding.subject, finding.at, snapshot)
    except Exception:
        logger.exception("Measuring for %s failed", finding.id)
        return ()


def is_teaching(snapshot: Snapshot) -> bool:
    """So little data and time that no loss can matter. Not knowing the data is no."""
    collections, groups, computations = snapshot.collections, snapshot.groups, snapshot.computations
    if isinstance(collections, Gap) or isinstance(groups, Gap) or isinstance(computations, Gap):
        return False
    held = 0
    for c in collections:
        if c.nbytes is None and c.sizes is None:
            return False
        held += max(c.nbytes.nbytes if c.nbytes else 0, c.sizes.total if c.sizes else 0)
    load = snapshot.load if not isinstance(snapshot.load, Gap) else ()
    held = max(held, *(g.sizes.total for g in groups if g.sizes), *(s.managed + s.spilled for s in load), 0)
    lasted = [runs.wall(c) for c in computations]
    if None in lasted or held >= TEACHING_NBYTES:
        return False
    phases = snapshot.phases if not isinstance(snapshot.phases, Gap) else ()
    lasted += [
        p.stop - p.start if p.stop is not None else snapshot.time - p.start
        for p in phases
        if p.kind != "waiting"
    ]
    # An idle worker process has about 150 MB: the peak tells only of much more than that
    peak = runs.peak_memory(computations) or 0
    return sum(filter(None, lasted)) < TEACHING_SECONDS and peak < 20 * TEACHING_NBYTES


def explain(rule_id: str) -> str:
    """The rule's page of the manual, as Markdown. Raises KeyError for a rule that does not exist."""
    from .catalogue import page

    return page(RULES[rule_id])


def catalogue() -> tuple[tuple[str, str, str, Severity], ...]:
    """(id, title, family, worst severity) of every rule."""
    return tuple((r.id, r.title, r.family, r.severity) for r in RULES.values())


def _order(finding: Finding) -> tuple[int, float, float, str]:
    return (_RANK[finding.severity], -(finding.loss_seconds or 0), -(finding.loss_bytes or 0), finding.id)


def _distinct(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """One finding per subject: the worst."""
    best: dict[str, Finding] = {}
    for finding in sorted(found, key=_order):
        best.setdefault(finding.id, finding)
    return tuple(best.values())


def _one_voice_per_cause(findings: list[Finding]) -> Iterator[Finding]:
    """Where two rules saw one cause, one speaks and names the other's evidence (`Rule.yields_to`)."""
    standing = {f.id: f for f in findings}
    # Those that yield to most go first, so that what they say travels all the way
    for finding in sorted(findings, key=lambda f: -len(RULES[f.rule].yields_to)):
        finding = standing[finding.id]
        speaker = _speaker(finding, RULES[finding.rule].yields_to, standing)
        if speaker is not None:
            standing[speaker.id] = _joined(speaker, finding)
            del standing[finding.id]
    yield from standing.values()


def _speaker(
    finding: Finding, yields_to: Mapping[str, str], standing: Mapping[str, Finding]
) -> Finding | None:
    for rule_id, cause in yields_to.items():
        for other in sorted(standing.values(), key=_order):
            if other.rule != rule_id or other.id == finding.id or other.severity == "info":
                continue
            if (
                other.subject == finding.subject
                if cause == "subject"
                else runs.same_cell(other.at, finding.at)
            ):
                return other
    return None


def _joined(speaker: Finding, other: Finding) -> Finding:
    labels = {e.label for e in speaker.evidence}
    more = () if RULES[other.rule].is_symptom else other.fixes
    offers = [f for f in speaker.fixes if f.edits] or [f for f in more if f.edits]
    shown = [f for f in speaker.fixes if not f.edits] or [f for f in more if not f.edits]
    worst = min(speaker.severity, other.severity, key=_RANK.__getitem__)
    return replace(
        speaker,
        severity=worst,
        why=f"{speaker.why} {other.message}".strip(),
        evidence=(*speaker.evidence, *(e for e in other.evidence if e.label not in labels))[:12],
        charts=(*speaker.charts, *other.charts)[:4],
        details=(*speaker.details, *other.details)[:4],
        fixes=(*offers, *shown),
        loss_seconds=max(filter(None, (speaker.loss_seconds, other.loss_seconds)), default=None),
        of_seconds=max(filter(None, (speaker.of_seconds, other.of_seconds)), default=None),
        loss_bytes=max(filter(None, (speaker.loss_bytes, other.loss_bytes)), default=None),
    )
