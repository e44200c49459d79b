"""Interrupting the kernel ended the workers of its cluster.

## Why it matters
The worker processes of a LocalCluster belong to the kernel's process group: "Interrupt Kernel" interrupts them
as well, and they end. Their nannies take that for a wish and start none anew, and the cluster believes for a
while (15 s, `distributed.deploy.lost-worker-timeout`) that it still has them: `cluster.scale(n)` with the same
n does nothing then. Whatever is computed next waits for ever, and the results that they held are lost.

## Anti-pattern
    cluster = LocalCluster(n_workers=4)
    # a cell that takes too long, interrupted: from now on there are no workers

## Best practice
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    cluster = LocalCluster(n_workers=4, preload=ignore)

## How it is known
All workers left within `together_seconds` of each other when a cell ended with KeyboardInterrupt
(`around_seconds` before or after), none has come since, and the cluster object means to have some. Where no
cell tells of the interrupt (it ran again, or none ran at that time), the doctor waits `silent_seconds`: a nanny
starts a worker that died of anything else anew before that.

## When it stays quiet
As soon as a worker comes; when some workers stayed; after `scale(0)`; on a cluster whose
processes are not the kernel's children.

## Fix safety
Needs review. The new cell starts as many workers as there were: `scale(0)` puts the dead ones away, and only
then `scale(n)` starts others. What they held is computed again. With the preload, tasks go on after an
interrupt until their futures are released; the option takes effect when the cluster's cell runs again.

## References
https://github.com/dask/distributed/issues/1925
https://distributed.dask.org/en/stable/configuration.html
https://docs.dask.org/en/stable/how-to/customize-initialization.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import interrupts, runs
from ...remedies import calls, creation, fixes
from ...report import Evidence, Finding, Fix, Measure
from ...snapshot import Cell, Cluster, Load, Location, Worker, WorkerChange, WorkerLoss
from ..registry import rule

PRELOAD = '"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Seconds between the first and the last worker that went: one signal reaches all. With busy threads it
    #: took 0.5 s on two cores.
    together_seconds: float = interrupts.TOGETHER
    #: Seconds between the end of the interrupted cell and the workers' going.
    around_seconds: float = interrupts.AROUND
    #: Seconds without any worker after which it speaks although no cell tells of an interrupt. A nanny starts
    #: another worker within 1 to 3 s.
    silent_seconds: float = interrupts.SILENT


def _measure(
    subject: str,
    at: Location | None,
    *,
    changes: tuple[WorkerChange, ...],
    workers: tuple[Worker, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    missing = len(_missing(changes, interrupts.TOGETHER)) if not workers else 0
    return (Measure(label="workers missing", value=missing, unit="count"),)


@rule(
    id="interrupted-workers",
    title="Interrupting the kernel ended the workers",
    severity="critical",
    thresholds=Thresholds(),
    about=("changes",),
    has_stake=False,
    measure=_measure,
)
def interrupted_workers(
    changes: tuple[WorkerChange, ...],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    losses: tuple[WorkerLoss, ...] = (),
    load: tuple[Load, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    gone = _missing(changes, limit.together_seconds)
    if not gone or workers or not cluster.is_in_process or not cluster.n_wanted:
        return
    if {x.address for x in losses if x.reason == "memory"} & {c.address for c in gone}:
        return  # another trouble, and their nannies start them anew
    time = gone[-1].time
    cell = interrupts.interrupted_cell(code, time, limit.around_seconds)
    now = load[-1].time if load else time
    if cell is None and now - time < limit.silent_seconds:
        return
    n = len(gone)
    held = sum(max(0, c.n_lost) for c in gone)
    at = Location(cell_id=cell.id, execution_count=cell.execution_count) if cell is not None else gone[-1].at
    name = words.code(cluster.cluster_variable) if cluster.cluster_variable else "the cluster"
    its = "only worker" if n == 1 else f"{n:,} workers"
    if cell is not None:
        message = f"Interrupting the kernel ended the {its} of {name}, and none has come back."
    else:
        message = f"The {its} of {name} ended together, as they do when the kernel is interrupted."
    lost = f" {words.count(held, 'result')} that they held went with them." if held else ""
    yield interrupted_workers.finding(
        severity="critical",
        # As in unrunnable-tasks, whose tasks wait because of this
        subject="workers",
        message=message,
        why="The interrupt reaches the worker processes too, and nobody starts them anew: whatever is "
        f"computed next waits for ever.{lost}",
        evidence=(
            Evidence(label="workers before", value=n, unit="count"),
            Evidence(label="workers now", value=0, unit="count", limit=n),
            Evidence(label="results lost", value=held, unit="count"),
        ),
        at=at,
        fixes=_fixes(n, at, cluster, code),
        loss_seconds=sum(max(0.0, c.lost_seconds) for c in gone) or None,
    )


def _missing(changes: Sequence[WorkerChange], together: float) -> tuple[WorkerChange, ...]:
    """The workers that went together and that none came for."""
    times = interrupts.gone_together(changes, together)
    if not times or changes[-1] not in times[-1]:
        return ()
    return times[-1]


def _fixes(n: int, at: Location | None, cluster: Cluster, code: Sequence[Cell]) -> tuple[Fix, ...]:
    found: list[Fix] = []
    whole = calls.expression(cluster)
    made = creation.creation(code, cluster)
    cell = runs.cell_at(code, at)
    if whole is not None:
        who = calls.client(cluster)
        lines = [
            "import time",
            "",
            f"{whole}.scale(0)",
            f"for _ in range(100):  # until the dead {'one is' if n == 1 else 'ones are'} put away",
            f"    if not {whole}.workers:",
            "        break",
            "    time.sleep(0.1)",
            f"{whole}.scale({n})",
        ]
        if who is not None:
            lines.append(f"{who}.wait_for_workers({n}, timeout=60)")
        text = "\n".join(lines)
        title = f"Start the {words.count(n, 'worker')} anew"
        expect = f"0 → {words.count(n, 'worker')}; lost results are computed again"
        beside = made.cell if made is not None else cell
        if beside is not None:
            found.append(fixes.insert_below(beside, text, title=title, expect=expect, rerun=at))
        else:
            found.append(fixes.advice(text, title=title, expect=expect))
    if made is not None and not any(k.arg == "preload" for k in made.call.keywords):
        fix = creation.set_option(
            made,
            "preload",
            PRELOAD,
            title="Let the workers outlive the next interrupt",
            expect="workers ignore the interrupt; takes effect when the cluster is made anew",
        )
        if fix is not None:
            found.append(fix)
    return tuple(found)
