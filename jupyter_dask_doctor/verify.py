"""Remembers what was measured of a finding, and compares when its cell has run again."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace

from .judging import runs
from .report import Finding, Measure, Treated, TreatedStatus
from .rules import RULES
from .snapshot import Cell, Computation, Gap, Location, Snapshot

#: Findings that are remembered; the oldest go first.
MAX_CASES = 256
#: Comparisons that stay in the report; the oldest go first.
MAX_TREATED = 32
#: Runs of one cell from which the noise is known.
MAX_RUNS = 10
#: Cells whose runs are remembered.
MAX_CELLS = 500
#: A change below this is no change even for a cell that ran only once before (Lighthouse: 10 %).
LEAST_CHANGE = 0.10
#: ... nor is a change of so few seconds.
LEAST_SECONDS = 0.2
#: Seconds after the end of a cell for which its measures are waited for.
SETTLE_SECONDS = 3.0


@dataclass(slots=True)
class _Case:
    """A finding, and its measures in the run that showed it."""

    finding: Finding
    #: When that run of the ailing cell began, on the kernel's clock.
    started: float
    before: tuple[Measure, ...]
    #: Of each cell that the finding's fixes lean on, and of the ailing one: its text at that time.
    texts: dict[str, str]
    #: What the notebook's cells held: a text that is new since may be the fix.
    known_texts: frozenset[int]


@dataclass(slots=True)
class Ledger:
    """One per notebook and cluster: gets each Snapshot with its findings, says what became of them."""

    _cases: OrderedDict[str, _Case] = field(default_factory=OrderedDict)
    _treated: OrderedDict[str, Treated] = field(default_factory=OrderedDict)
    #: Seconds of each run, by cell id: (started, seconds).
    _runs: OrderedDict[str, deque[tuple[float, float]]] = field(default_factory=OrderedDict)

    def observe(self, snapshot: Snapshot, findings: tuple[Finding, ...]) -> tuple[Treated, ...]:
        """Compares what has run again, remembers the rest. Newest comparison last."""
        if isinstance(snapshot.code, Gap):
            return tuple(self._treated.values())
        present = {f.id: f for f in findings}
        for id, case in list(self._cases.items()):
            cell = runs.cell_at(snapshot.code, case.finding.at)
            if cell is not None and _has_ended(cell, case.started, snapshot):
                self._compare(case, cell, present.get(id), snapshot)
                del self._cases[id]
        self._remember_runs(snapshot)
        for finding in findings:
            self._open(finding, snapshot)
        return tuple(self._treated.values())

    def _open(self, finding: Finding, snapshot: Snapshot) -> None:
        code = snapshot.code if not isinstance(snapshot.code, Gap) else ()
        cell = runs.cell_at(code, finding.at)
        if cell is None or cell.started is None or not finding.measures:
            return
        case = self._cases.get(finding.id)
        if case is not None and not runs.same_cell(case.finding.at, finding.at):
            case = None  # another cell suffers most from it now
        if case is not None and cell.started > case.started:
            return  # it runs again just now: what it was before must stay
        texts = {c.id: c.source for c in code if c.id in {cell.id, *_cells_of(finding)} and c.id is not None}
        known = case.known_texts if case is not None else frozenset(hash(c.source.strip()) for c in code)
        if case is not None:
            texts = case.texts | {k: v for k, v in texts.items() if k not in case.texts}
        self._cases[finding.id] = _Case(
            finding=finding, started=cell.started, before=finding.measures, texts=texts, known_texts=known
        )
        self._cases.move_to_end(finding.id)
        while len(self._cases) > MAX_CASES:
            self._cases.popitem(last=False)

    def _compare(self, case: _Case, cell: Cell, now: Finding | None, snapshot: Snapshot) -> None:
        old = case.finding
        before, after = _alike(case.before, measures(old.rule, old.subject, old.at, snapshot))
        if not after:
            return
        noise = self._noise(cell)
        deciding = _deciding(old, before)
        is_gone = now is None or now.severity == "info"
        status = _status(before[deciding], after[deciding], is_gone=is_gone, noise=noise)
        code = snapshot.code if not isinstance(snapshot.code, Gap) else ()
        if not _was_changed(case, code):
            return  # the cell was only run once more: that is noise, not an outcome
        self._treated[old.id] = Treated(
            finding_id=old.id,
            rule=old.rule,
            subject=old.subject,
            message=old.message,
            status=status,
            before=before,
            after=after,
            at=replace(old.at, execution_count=cell.execution_count) if old.at is not None else None,
            noise=noise,
        )
        self._treated.move_to_end(old.id)
        while len(self._treated) > MAX_TREATED:
            self._treated.popitem(last=False)

    def _remember_runs(self, snapshot: Snapshot) -> None:
        for cell in snapshot.code if not isinstance(snapshot.code, Gap) else ():
            if cell.id is None or cell.started is None or cell.stopped is None or cell.has_failed:
                continue
            seen = self._runs.setdefault(cell.id, deque(maxlen=MAX_RUNS))
            if not seen or seen[-1][0] != cell.started:
                seen.append((cell.started, cell.stopped - cell.started))
                self._runs.move_to_end(cell.id)
        while len(self._runs) > MAX_CELLS:
            self._runs.popitem(last=False)

    def _noise(self, cell: Cell) -> float | None:
        """Spread of the seconds of the runs before this one, as a share of their middle."""
        seconds = [s for started, s in self._runs.get(cell.id or "", ()) if started != cell.started]
        if len(seconds) < 2:
            return None
        middle = sorted(seconds)[len(seconds) // 2]
        return (max(seconds) - min(seconds)) / middle if middle > 0 else None


def measures(rule_id: str, subject: str, at: Location | None, snapshot: Snapshot) -> tuple[Measure, ...]:
    """What is compared of a finding, whether or not its rule still speaks: the rule's own, then the cell's."""
    rule = RULES.get(rule_id)
    own: tuple[Measure, ...] = ()
    if rule is not None and rule.measuring is not None:
        given = {name: getattr(snapshot, name) for name in rule.sections}
        missing = {name for name, section in given.items() if isinstance(section, Gap)}
        if not missing - rule.optional:
            own = rule.measuring(subject, at, **{n: s for n, s in given.items() if n not in missing})
    general = cell_measures(at, snapshot)
    labels = {m.label for m in own}
    return (*own, *(m for m in general if m.label not in labels))


def cell_measures(at: Location | None, snapshot: Snapshot) -> tuple[Measure, ...]:
    """Seconds and memory of the last run of a cell; empty while it runs."""
    if isinstance(snapshot.code, Gap):
        return ()
    cell = runs.cell_at(snapshot.code, at)
    if cell is None or cell.started is None or cell.stopped is None:
        return ()
    found = [Measure(label="cell", value=max(0.0, cell.stopped - cell.started), unit="seconds")]
    own = _computations(cell, at, snapshot)
    if (peak := runs.peak_memory(own)) is not None:
        found.append(Measure(label="peak memory", value=peak, unit="bytes"))
    if (peak := runs.peak_worker_memory(own)) is not None:
        found.append(Measure(label="peak memory of a worker", value=peak, unit="bytes"))
    return tuple(found)


def _computations(cell: Cell, at: Location | None, snapshot: Snapshot) -> tuple[Computation, ...]:
    if isinstance(snapshot.computations, Gap):
        return ()
    own = runs.of_cell(snapshot.computations, at)
    return tuple(c for c in own if not runs.is_before(c.submitted, cell))


def _has_ended(cell: Cell, started: float, snapshot: Snapshot) -> bool:
    """Has it run once more, to its end, with all that it sent? A run that failed is not compared."""
    if cell.started is None or cell.started <= started or cell.stopped is None or cell.has_failed:
        return False
    at = Location(cell_id=cell.id, execution_count=cell.execution_count)
    own = _computations(cell, at, snapshot)
    if not all(c.is_done for c in own):
        return False
    # What the scheduler tells comes a moment after the cell has ended, or, of a very short run, not at all.
    is_told = bool(own) and all(c.stop is not None and c.thread_seconds is not None for c in own)
    return is_told or snapshot.time - cell.stopped >= SETTLE_SECONDS


def _alike(
    before: tuple[Measure, ...], after: tuple[Measure, ...]
) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
    """The measures that both sides have, in the order of the first."""
    later = {m.label: m for m in after}
    both = tuple(m for m in before if m.label in later)
    return both, tuple(later[m.label] for m in both)


def _deciding(finding: Finding, before: tuple[Measure, ...]) -> int:
    """Where time was lost, time decides; else the rule's own measure, which comes first."""
    if finding.loss_seconds is None:
        return 0
    return next((i for i, m in enumerate(before) if m.unit == "seconds"), 0)


def _status(before: Measure, after: Measure, *, is_gone: bool, noise: float | None) -> TreatedStatus:
    band = max(LEAST_CHANGE, noise or 0.0) * before.value
    if before.unit == "seconds":
        band = max(band, LEAST_SECONDS)
    change = after.value - before.value
    if change < -band:
        return "resolved" if is_gone else "better"
    return "worse" if change > band else "no-change"


def _cells_of(finding: Finding) -> set[str]:
    return {edit.cell_id for fix in finding.fixes for edit in fix.edits}


def _was_changed(case: _Case, code: tuple[Cell, ...]) -> bool:
    """Was something in the notebook changed and run since: the fix, or what the user made of it?"""
    for cell in code:
        if cell.started is None or cell.started <= case.started:
            continue
        if cell.id in case.texts:
            if case.texts[cell.id] != cell.source:
                return True
        elif hash(cell.source.strip()) not in case.known_texts:
            return True
    return False
