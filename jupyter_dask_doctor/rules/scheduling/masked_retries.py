"""Tasks that came through only after several tries.

## Why it matters
With `retries=` a failed task is run again at once, and when it comes through in the end nothing tells of the
tries before: neither the fault nor the time. Dask makes no pause between two tries, so a server that is busy is
asked all the harder.

## Anti-pattern
    futures = client.map(fetch, urls, retries=10)     # half of the time goes into tries that fail

## Best practice
    def fetch(url):
        return session.get(url, timeout=60)           # mend what fails; wait before the next try
    futures = client.map(fetch, urls, retries=2)

## How it is known
Dask's fine performance metrics tell the thread-seconds of runs that ended in an error, by prefix. It speaks when
they come to `seconds`, to `share` of all that the prefix's tasks ran, and to `stake` of what the cell's tasks
ran, and none of these tasks failed in the end. How many runs failed is known in deep mode alone.

## When it stays quiet
Where tasks failed for good: that is told by `failing-tasks`. Tries that fail at once, without taking time. When
the cell ran again without.

## Fix safety
The cell that prints what the workers logged is safe. `retries=0` needs review: the cell then ends with the first
error, which is what shows it.

## References
https://distributed.dask.org/en/stable/resilience.html
https://distributed.dask.org/en/stable/fine-performance-metrics.html
https://distributed.dask.org/en/stable/api.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import calls, creation, fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Computation, Location, TaskFailure, TaskPrefix
from ..registry import NotChecked, rule

_SENDERS = frozenset({"submit", "map", "compute", "persist", "annotate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Thread-seconds of failed runs (rules.md: at least 1 s at stake).
    seconds: float = 1.0
    #: Of all that the tasks of the prefix ran.
    share: float = 0.05
    #: Of all that the tasks of the cell ran.
    stake: float = 0.05
    #: Tasks of the prefix, to speak of a habit and not of one bad moment.
    tasks: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tries:
    """Thread-seconds of one prefix in one run of a cell."""

    failed: float
    all: float
    n_tasks: int


def _measure(
    subject: str,
    at: Location | None,
    *,
    computations: tuple[Computation, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = runs.of_cell(runs.newest(computations, code), at)
    if not any(c.activity is not None for c in own):
        return ()
    return (Measure(label="failed tries", value=_tries(subject, own).failed, unit="seconds"),)


@rule(
    id="masked-retries",
    title="Tasks came through only after several tries",
    severity="warning",
    thresholds=Thresholds(),
    about=("computations",),
    yields_to={"failing-tasks": "subject"},
    measure=_measure,
)
def masked_retries(
    computations: tuple[Computation, ...],
    prefixes: tuple[TaskPrefix, ...],
    cluster: Cluster,
    limit: Thresholds,
    failures: tuple[TaskFailure, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    recent = runs.newest(computations, code)
    done = [c for c in recent if c.is_done]
    if done and all(c.activity is None for c in done) and any(p.n_done for p in prefixes):
        raise NotChecked("The scheduler does not tell how long failed runs took.")
    for own in _by_cell(recent):
        ran = max(0.0, sum(c.thread_seconds or 0.0 for c in own))
        names = {a.prefix for c in own for a in c.activity or () if a.label == "failed"}
        for prefix in sorted(name for name in names if name is not None):
            tries = _tries(prefix, own)
            ended = any(f.prefix == prefix and runs.same_cell(f.at, own[0].at) for f in failures)
            if ended or tries.n_tasks < limit.tasks or tries.failed < limit.seconds:
                continue
            # What Dask sums up as a task's seconds leaves its failed runs out
            stake = tries.failed / max(ran + tries.failed, tries.all)
            if tries.failed < limit.share * tries.all or stake < limit.stake:
                continue
            yield _finding(prefix, tries, stake, own, prefixes, cluster, limit, code)


def _by_cell(computations: Sequence[Computation]) -> list[tuple[Computation, ...]]:
    cells: list[tuple[Computation, ...]] = []
    for c in computations:
        if not any(c in own for own in cells):
            cells.append(runs.of_cell(computations, c.at) or (c,))
    return cells


def _tries(prefix: str, own: Sequence[Computation]) -> _Tries:
    spent = [
        a
        for c in own
        for a in c.activity or ()
        if a.context == "execute" and a.prefix == prefix and a.seconds > 0
    ]
    return _Tries(
        failed=sum(a.seconds for a in spent if a.label == "failed"),
        all=sum(a.seconds for a in spent),
        n_tasks=sum(n for c in own for name, n in c.layers if name == prefix),
    )


def _finding(
    prefix: str,
    tries: _Tries,
    stake: float,
    own: Sequence[Computation],
    prefixes: Sequence[TaskPrefix],
    cluster: Cluster,
    limit: Thresholds,
    code: Sequence[Cell],
) -> Finding:
    at, nthreads = own[0].at, max(1, *(c.nthreads for c in own))
    share = tries.failed / tries.all
    known = next((p.n_retried for p in prefixes if p.name == prefix), None)
    evidence = [
        Evidence(label="failed tries, all threads", value=tries.failed, unit="seconds", limit=limit.seconds),
        Evidence(label="of what these tasks ran", value=share, unit="share", limit=limit.share),
        Evidence(label="tasks", value=tries.n_tasks, unit="count"),
    ]
    if known:
        evidence.append(Evidence(label="failed tries", value=known, unit="count"))
    walls = [w for c in own if (w := runs.wall(c)) is not None]
    return masked_retries.finding(
        severity="warning",
        subject=prefix,
        message=f"{words.share(share)} of the time of {words.code(prefix)} went into tries that failed: "
        f"{words.seconds(tries.failed)} in {words.count(tries.n_tasks, 'task')}, which all came through in the end.",
        why="Retries hide what is wrong, and Dask makes no pause between two of them. The exceptions stand in the "
        "workers' logs alone.",
        evidence=tuple(evidence),
        at=at,
        fixes=_fixes(at, cluster, code),
        loss_seconds=tries.failed / nthreads,
        of_seconds=sum(walls) if walls else None,
    )


def _fixes(at: Location | None, cluster: Cluster, code: Sequence[Cell]) -> tuple[Fix, ...]:
    cell, client = runs.cell_at(code, at), calls.client(cluster)
    found: list[Fix] = []
    if cell is None:
        return ()
    if client is not None:
        text = (
            f"for worker, lines in {client}.get_worker_logs().items():\n"
            '    failed = [line for _, line in lines if "Compute Failed" in line]\n'
            '    print(worker, f"{len(failed)} failed tries, the last of them:", *failed[-1:], sep="\\n")'
        )
        found.append(
            fixes.insert_below(
                cell,
                text,
                title="Show what the workers logged of the failed tries",
                expect="the exceptions that nobody saw, with their tracebacks",
                rerun=None,
                applicability="safe",
            )
        )
    made = calls.with_keyword(cell, "retries", _SENDERS)
    if made is not None:
        fix = creation.set_option(
            made,
            "retries",
            "0",
            title="Let the first error show",
            expect="the cell ends with the exception instead of trying again",
        )
        if fix is not None:
            found.append(fix)
    return tuple(found)
