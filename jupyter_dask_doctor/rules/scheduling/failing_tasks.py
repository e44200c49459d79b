"""Tasks end in an error.

## Why it matters
One failed task fails all that depends on it, and the cell stops at the first of them: how many others failed,
and whether for the same reason, it does not say. With `as_completed` and `try` nobody hears of them at all.

## Anti-pattern
    futures = client.map(parse, files)
    rows = client.gather(futures, errors="skip")      # one file in ten is missing now

## Best practice
    failed = [f for f in futures if f.status == "error"]
    client.recreate_error_locally(failed[0])          # the same error here, for `%debug`

## How it is known
Tasks that the scheduler has marked as failed by themselves, not because of another one, against all tasks of
their prefix that the cell sent: above `share` it is a warning, above `critical_share` critical when the cell
itself failed or at least `failures` did. The scheduler remembers the last 100 failures, so there may be more.

## When it stays quiet
For `KilledWorker`, which `killed-worker` explains; when the cell ran again without failures; for errors that
were gone after another try (`masked-retries`).

## Fix safety
The cells that run a failed task here, and those that look at the workers, need review: they run code of yours.
More tries (`retries=`) are offered for errors of networks alone, and change nothing where the error stays.

## References
https://docs.dask.org/en/stable/how-to/debug.html
https://distributed.dask.org/en/stable/resilience.html
https://distributed.dask.org/en/stable/api.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import runs
from ...remedies import calls, creation, fixes, reproduce
from ...report import Detail, Evidence, Finding, Fix, Measure
from ...snapshot import (
    Cell,
    Cluster,
    Collection,
    Computation,
    Location,
    TaskFailure,
    TaskPrefix,
)
from ..registry import rule

#: Errors that another try may mend.
_PASSING = re.compile(
    r"(?:Connection|Timeout|BrokenPipe|Network|Http|HTTP|SSL|Throttl|Unavailable|SlowDown)\w*"
)
_MODULE = re.compile(r"No module named ['\"]([\w.]+)['\"]")
_PATH = re.compile(r"No such file or directory: ['\"]([^'\"\\]+)['\"]")
_SENDERS = frozenset({"submit", "map", "compute", "persist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Failed of all tasks of the prefix (a vital: job success rate 99.9 %).
    share: float = 0.001
    #: ... from which on it is critical.
    critical_share: float = 0.05
    #: Failed tasks that are critical although the cell went on.
    failures: int = 2


def _measure(
    subject: str,
    at: Location | None,
    *,
    failures: tuple[TaskFailure, ...],
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    own = [f for f in _fresh(failures, code) if f.prefix == subject and runs.same_cell(f.at, at)]
    return (Measure(label="failed tasks", value=len(own), unit="count"),)


@rule(
    id="failing-tasks",
    title="Tasks end in an error",
    severity="critical",
    thresholds=Thresholds(),
    about=("failures",),
    has_stake=False,
    yields_to={"killed-worker": "cell", "mismatched-meta": "cell"},
    measure=_measure,
)
def failing_tasks(
    failures: tuple[TaskFailure, ...],
    prefixes: tuple[TaskPrefix, ...],
    cluster: Cluster,
    limit: Thresholds,
    computations: tuple[Computation, ...] = (),
    collections: tuple[Collection, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    fresh = _fresh(failures, code)
    recent = runs.newest(computations, code) if fresh else ()
    for prefix in dict.fromkeys(f.prefix for f in fresh):
        own = sorted((f for f in fresh if f.prefix == prefix), key=lambda f: f.time)
        total = max(_total(prefix, own[0], prefixes, recent), len(own))
        share = len(own) / total
        if share < limit.share:
            continue
        cell = runs.cell_at(code, own[0].at)
        is_fatal = (cell is not None and cell.has_failed) or len(own) >= limit.failures
        is_critical = share >= limit.critical_share and is_fatal
        yield _finding(prefix, own, total, is_critical, cluster, limit, collections, code)


def _fresh(failures: Sequence[TaskFailure], code: Sequence[Cell]) -> list[TaskFailure]:
    return [f for f in failures if f.exception != "KilledWorker" and not runs.is_stale(f.at, f.time, code)]


def _total(
    prefix: str,
    first: TaskFailure,
    prefixes: Sequence[TaskPrefix],
    recent: Sequence[Computation],
) -> int:
    """Tasks of the prefix that the cell sent in its last run; over the scheduler's life when that is unknown."""
    sent = sum(n for c in runs.of_cell(recent, first.at) for name, n in c.layers if name == prefix)
    if sent > 0:
        return sent
    known = next((p for p in prefixes if p.name == prefix), None)
    return max(0, known.n_done) + max(0, known.n_erred) if known is not None else 0


def _finding(
    prefix: str,
    own: Sequence[TaskFailure],
    total: int,
    is_critical: bool,
    cluster: Cluster,
    limit: Thresholds,
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> Finding:
    first, n = own[0], len(own)
    kinds = Counter(f.exception for f in own)
    # So many the scheduler remembers: there may have been more
    n_said = f"At least {n:,}" if n >= 100 else f"{n:,}"
    which = "the only task" if total == 1 else f"{n_said} of {words.count(total, 'task')}"
    which = which[0].upper() + which[1:]
    others = f" and {words.count(len(kinds) - 1, 'other error')}" if len(kinds) > 1 else ""
    told = ", ".join(f"{words.code(kind)} {words.times(count)}" for kind, count in kinds.most_common(5))
    return failing_tasks.finding(
        severity="critical" if is_critical else "warning",
        subject=prefix,
        message=f"{which} of {words.code(prefix)} failed, with {words.code(first.exception)}{others}: "
        f"{_text(first)}.",
        why="Whatever depends on a failed task fails with it."
        + (f" The errors are {told}." if len(kinds) > 1 else ""),
        evidence=(
            Evidence(label="failed tasks", value=n, unit="count", limit=0),
            Evidence(label="of all tasks of the kind", value=n / total, unit="share", limit=limit.share),
            Evidence(label="first failed task", value=first.key, unit="text"),
        ),
        details=tuple(_details(own)),
        at=first.at,
        fixes=_fixes(prefix, own, cluster, collections, code),
    )


def _text(failure: TaskFailure) -> str:
    """What the exception says, on one line: `ValueError('bad row')` → "bad row"."""
    text = " ".join(failure.text.split())
    if text.startswith(failure.exception + "("):
        text = text[len(failure.exception) + 1 :].removesuffix(")").removesuffix(",").strip()
        if len(text) > 2 and text[0] in "'\"" and text[-1] == text[0]:
            text = text[1:-1]
    return words.code(text) if text else "it says nothing"


def _details(own: Sequence[TaskFailure]) -> Iterator[Detail]:
    """The first of each class of exceptions."""
    seen: set[str] = set()
    for failure in own:
        if failure.exception in seen or len(seen) >= 3:
            continue
        seen.add(failure.exception)
        which = "First" if len(seen) == 1 else "Another"
        text = f"{failure.trace.rstrip()}\n{failure.text}" if failure.trace else failure.text
        yield Detail(title=f"{which} exception, in {words.code(failure.key)}"[:200], text=text[-4_000:])


def _fixes(
    prefix: str,
    own: Sequence[TaskFailure],
    cluster: Cluster,
    collections: Sequence[Collection],
    code: Sequence[Cell],
) -> tuple[Fix, ...]:
    first = own[0]
    cell = runs.cell_at(code, first.at)
    found = [*_by_class(own, cluster, cell)]
    held = next(
        (
            c
            for c in collections
            if c.kind == "futures" and fixes.is_name(c.name) and (c.group or "").startswith(prefix)
        ),
        None,
    )
    client = calls.client(cluster)
    if held is not None and client is not None and cell is not None:
        text = (
            f'failed = [f for f in {held.name} if f.status == "error"]\n'
            f"{client}.recreate_error_locally(failed[0])"
        )
        title = f"Raise the error of {words.code(prefix)} here"
        expect = (
            "the failed task runs once more in the kernel, with its own inputs: `%debug` shows where it fails"
        )
        found.append(fixes.insert_below(cell, text, title=title, expect=expect, rerun=None))
    else:
        found += reproduce.here(first.at, prefix, code, collections)
    return tuple(found)


def _by_class(own: Sequence[TaskFailure], cluster: Cluster, cell: Cell | None) -> Iterator[Fix]:
    first, client = own[0], calls.client(cluster)
    if cell is None:
        return
    module, path = _MODULE.search(first.text), _PATH.search(first.text)
    if (
        first.exception in ("ModuleNotFoundError", "ImportError")
        and module is not None
        and client is not None
    ):
        name = module.group(1).split(".")[0]
        text = (
            "from importlib.util import find_spec\n\n"
            f"{client}.run(lambda: find_spec({name!r}) is not None)  # where is it installed?"
        )
        title = f"Ask all workers whether they have {words.code(name)}"
        yield fixes.insert_below(
            cell, text, title=title, expect="True or False for each worker", rerun=None, applicability="safe"
        )
    elif first.exception == "FileNotFoundError" and path is not None and client is not None:
        text = f"import os\n\n{client}.run(os.path.exists, {path.group(1)!r})  # who can see it?"
        title = "Ask all workers whether they see that file"
        yield fixes.insert_below(
            cell, text, title=title, expect="True or False for each worker", rerun=None, applicability="safe"
        )
    elif all(_PASSING.match(f.exception) for f in own):
        made = calls.one_call(cell, _SENDERS)
        if made is None or any(k.arg == "retries" for k in made.call.keywords):
            return
        fix = creation.set_option(
            made,
            "retries",
            "3",
            title="Try each task again when the network fails",
            expect="up to 3 more tries of each task, at once and without a pause",
        )
        if fix is not None:
            yield fix
