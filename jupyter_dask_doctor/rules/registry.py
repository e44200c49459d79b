"""What a rule is, and the list of all of them. A rule's parameters name the sections it needs."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..report import Chart, Detail, Evidence, Finding, Fix, Measure, Severity
from ..snapshot import Location, Snapshot

SECTIONS = frozenset(f.name for f in dataclasses.fields(Snapshot)) - {"time", "notes"}

#: How one cause is recognised in two findings: the same subject, or the same ailing cell.
Cause = Literal["subject", "cell"]


class NotChecked(Exception):
    """Raised by a rule that lacks a fact within a section: its outcome is "incomplete", the text is the reason.

    Only when there is work of the kind and nothing was found: what is known to be wrong is told.
    """


Judge = Callable[..., Iterator[Finding]]
#: Computes what a finding is about once more, from a later snapshot, whether or not the rule still speaks.
#: Gets the subject, the ailing cell and the rule's sections. Where a finding lost time, its first measure in
#: seconds decides whether it is better; else the first one.
Measuring = Callable[..., tuple[Measure, ...]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One judgement: sections in, findings out. Calling it gives the findings; `limit` has its defaults."""

    id: str
    title: str
    #: The worst severity it can give.
    severity: Severity
    #: An instance of the rule's own dataclass of thresholds, with the defaults.
    thresholds: Any
    #: If all of these are empty there is nothing of the kind to look at.
    about: tuple[str, ...]
    #: False for what can never finish or goes wrong: it speaks of tiny examples too.
    has_stake: bool
    #: Rules that speak instead when both found the same cause; they take over this one's evidence.
    yields_to: Mapping[str, Cause]
    #: It tells of an effect: where another rule names the cause, only that one's fixes help.
    is_symptom: bool
    measuring: Measuring | None
    judge: Judge
    sections: tuple[str, ...] = field(default=())
    #: Sections with a default: the rule judges without them as well.
    optional: frozenset[str] = frozenset()

    def __call__(self, **given: Any) -> tuple[Finding, ...]:
        given.setdefault("limit", self.thresholds)
        return tuple(self.judge(**given))

    @property
    def family(self) -> str:
        return self.judge.__module__.rsplit(".", 2)[-2]

    @property
    def manual(self) -> str:
        """The docstring of the rule's file: Markdown."""
        return inspect.cleandoc(sys.modules[self.judge.__module__].__doc__ or "")

    def finding(
        self,
        *,
        severity: Severity,
        subject: str,
        message: str,
        why: str,
        evidence: tuple[Evidence, ...],
        charts: tuple[Chart, ...] = (),
        details: tuple[Detail, ...] = (),
        at: Location | None = None,
        fixes: tuple[Fix, ...] = (),
        loss_seconds: float | None = None,
        of_seconds: float | None = None,
        loss_bytes: int | None = None,
    ) -> Finding:
        """A finding of this rule, with the id that stays the same from run to run."""
        return Finding(
            id=f"{self.id}:{subject}",
            rule=self.id,
            title=self.title,
            severity=severity,
            message=message,
            why=why,
            subject=subject,
            evidence=evidence,
            charts=charts,
            details=details,
            at=at,
            fixes=fixes,
            loss_seconds=loss_seconds,
            of_seconds=of_seconds,
            loss_bytes=loss_bytes,
        )


RULES: dict[str, Rule] = {}


def rule(
    *,
    id: str,
    title: str,
    severity: Severity,
    thresholds: object,
    about: tuple[str, ...],
    has_stake: bool = True,
    yields_to: Mapping[str, Cause] | None = None,
    is_symptom: bool = False,
    measure: Measuring | None = None,
) -> Callable[[Judge], Rule]:
    """Registers a generator of findings as a rule. A mistake in the declaration fails at import."""

    def register(judge: Judge) -> Rule:
        parameters = inspect.signature(judge).parameters
        sections = tuple(name for name in parameters if name != "limit")
        if unknown := (set(sections) | set(about)) - SECTIONS:
            raise TypeError(f"{id}: not a section of the Snapshot: {', '.join(sorted(unknown))}")
        if "limit" not in parameters or id in RULES:
            raise TypeError(f"{id}: needs a parameter `limit` and an id of its own")
        RULES[id] = made = Rule(
            id=id,
            title=title,
            severity=severity,
            thresholds=thresholds,
            about=about,
            has_stake=has_stake,
            yields_to=dict(yields_to or {}),
            is_symptom=is_symptom,
            measuring=measure,
            judge=judge,
            sections=sections,
            optional=frozenset(n for n in sections if parameters[n].default is not inspect.Parameter.empty),
        )
        return made

    return register
