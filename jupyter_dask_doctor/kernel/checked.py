"""`%%dask_doctor`: checks a cell before it runs, runs it, and reports on it afterwards."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from IPython.core.error import UsageError

from .. import source, words
from ..judging import runs
from ..render.sentences import verdict
from ..report import Finding, Report
from ..snapshot import Gap, Location
from .magic import CELL_USAGE
from .monitor import words as in_words

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .monitor import Monitor

#: Seconds that the cell waits at most for the check before it, and for the report after it.
PATIENCE = 3.0
#: The workers tell of what they did with their next heartbeat: twice a second on a small cluster.
HEARTBEAT = 0.8

Stop = Literal["critical", "warning"]


class NotRun(Exception):
    """The cell was not run, as `--stop-on` asked for. So that "run all cells" stops here as well."""

    def _render_traceback_(self) -> list[str]:
        # What was found stands above; where in our code it was raised tells nobody anything.
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    only_check: bool = False
    stop_on: Stop | None = None


def options(line: str) -> Options:
    """What stands behind `%%dask_doctor`. Raises UsageError in words."""
    match line.split():
        case []:
            return Options()
        case ["--only-check"]:
            return Options(only_check=True)
        case ["--stop-on", "critical" | "warning" as severity]:
            return Options(stop_on="critical" if severity == "critical" else "warning")
    raise UsageError(f"%%dask_doctor does not know {line.strip()[:100]!r}.\n{CELL_USAGE}")


def run(shell: InteractiveShell, monitor: Monitor | None, cell: str, asked: Options) -> object:
    """Checks, runs and reports. Returns the value of the cell's last expression; raises what the cell raises,
    and `NotRun`. The doctor's own faults end in a line of text."""
    __tracebackhide__ = True  # IPython leaves such frames out of what it shows
    # Before anything else: a cell that is no Python is told at once, as IPython tells it.
    tree, name = _compiled(shell, cell)
    here = _here(monitor)
    found = _said(lambda: _check(monitor, cell, here))
    if asked.only_check:
        return None
    grave = {"critical"} if asked.stop_on == "critical" else {"critical", "warning"}
    if asked.stop_on is not None and any(finding.severity in grave for finding in found):
        raise NotRun(f"The check found something {asked.stop_on} or worse; the reasons stand above.")
    error: BaseException | None = None
    try:
        return _execute(shell, tree, name, is_silent=_is_silent(cell))
    except BaseException as raised:
        error = raised
        raise
    finally:
        _said(lambda: _report(monitor, cell, here, error))


def _compiled(shell: InteractiveShell, cell: str) -> tuple[ast.Module, str]:
    # One line more in front, for the one with the magic: then a traceback's lines are the cell's.
    text = "\n" + shell.transform_cell(cell)  # type: ignore[no-untyped-call]
    name = shell.compile.cache(text)
    parsed = shell.compile.ast_parse(text, filename=name)
    tree: ast.Module = shell.transform_ast(parsed)  # type: ignore[no-untyped-call]
    if any(isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith)) for node in _top(tree)):
        raise UsageError("%%dask_doctor cannot run a cell with `await` outside a function.")
    return tree, name


def _top(tree: ast.Module) -> list[ast.AST]:
    found: list[ast.AST] = []
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))
    return found


def _execute(shell: InteractiveShell, tree: ast.Module, name: str, *, is_silent: bool) -> object:
    __tracebackhide__ = True
    *body, last = tree.body or [ast.Pass()]
    value = last.value if isinstance(last, ast.Expr) else None
    if value is None:
        body = tree.body
    variables: dict[str, Any] = shell.user_ns
    if body:
        exec(compile(ast.Module(body=body, type_ignores=[]), name, "exec"), shell.user_global_ns, variables)
    if value is None:
        return None
    shown = eval(compile(ast.Expression(value), name, "eval"), shell.user_global_ns, variables)
    return None if is_silent else shown


def _is_silent(cell: str) -> bool:
    """As IPython has it: a semicolon at the end keeps the value from being shown."""
    rows = [row for row in cell.splitlines() if row.strip() and not row.lstrip().startswith("#")]
    return bool(rows) and rows[-1].split("#")[0].rstrip().endswith(";")


def _here(monitor: Monitor | None) -> Callable[[], Location | None]:
    """The cell that runs, as soon as the doctor's thread has heard of it."""
    seen: list[Location] = []

    def where() -> Location | None:
        watch = None if monitor is None else monitor.watch
        if not seen and watch is not None and watch.cells.running is not None:
            seen.append(watch.cells.running)
        return seen[0] if seen else None

    return where


def _check(monitor: Monitor | None, cell: str, here: Callable[[], Location | None]) -> tuple[Finding, ...]:
    began = time.monotonic()
    report = _asked(monitor)
    if monitor is None or report is None:
        print(f"Dask Doctor, before the run: {_why_not(monitor)}")
        return ()
    about = _about(report, cell, here())
    took = words.seconds(time.monotonic() - began)
    print(f"Dask Doctor, before the run: {verdict(about)} (checked in {took})")
    if about.findings:
        monitor.shown = about
        _show(about)
    return about.findings


def _report(
    monitor: Monitor | None, cell: str, here: Callable[[], Location | None], error: BaseException | None
) -> tuple[Finding, ...]:
    if monitor is None:
        return ()
    at = here()
    # The cell still runs as IPython sees it; its work is done.
    kind = type.__getattribute__(type(error), "__name__")[:200] if error is not None else None
    monitor.cell_stopped(execution_count=None, failed=error is not None, error=kind)
    report = _asked(monitor)
    if report is not None and _work(monitor, at):
        time.sleep(HEARTBEAT)
        report = _asked(monitor)
    if report is None:
        print(f"Dask Doctor, after the run: {_why_not(monitor)}")
        return ()
    about = _about(report, cell, at or here())
    print(" · ".join([f"Dask Doctor, after the run: {verdict(about)}", *_work(monitor, at or here())]))
    others = sum(finding.severity != "info" for finding in report.findings) - sum(
        finding.severity != "info" for finding in about.findings
    )
    if others:
        print(f"{words.count(others, 'finding')} about other cells or the cluster: `%dask_doctor`")
    if about.findings or about.treated:
        monitor.shown = about
        _show(about)
    return about.findings


def _asked(monitor: Monitor | None) -> Report | None:
    return None if monitor is None or monitor.off is not None else monitor.refresh(PATIENCE)


def _why_not(monitor: Monitor | None) -> str:
    if monitor is None:
        return "it is not loaded in this kernel (`%load_ext jupyter_dask_doctor`)."
    if monitor.off is not None:
        return monitor.off
    watch = monitor.watch
    return watch.status.message if watch is not None else "no cluster is known yet."


def _about(report: Report, cell: str, at: Location | None) -> Report:
    """What the report says of this cell, and of collections whose variables stand in it."""
    named = source.names(cell)
    kept = tuple(f for f in report.findings if runs.same_cell(f.at, at) or f.subject in named)
    treated = tuple(t for t in report.treated if runs.same_cell(t.at, at))
    return replace(report, findings=kept, treated=treated)


def _work(monitor: Monitor, at: Location | None) -> Sequence[str]:
    """What the cell had the cluster do, in words; empty when nothing."""
    snapshot = None if monitor.watch is None else monitor.watch.snapshot
    if snapshot is None or isinstance(snapshot.computations, Gap):
        return ()
    code = () if isinstance(snapshot.code, Gap) else snapshot.code
    own = runs.of_cell(runs.newest(snapshot.computations, code), at)
    if not own:
        return ()
    said = [words.count(sum(c.n_tasks for c in own), "task")]
    lasted = [seconds for c in own if (seconds := runs.wall(c)) is not None]
    if lasted:
        said.append(words.seconds(sum(lasted)))
    peak = runs.peak_worker_memory(own)
    if peak is not None:
        said.append(f"at most {words.nbytes(peak)} on a worker")
    return said


def _show(report: Report) -> None:
    from IPython.display import display

    display(report)  # type: ignore[no-untyped-call]


def _said(work: Callable[[], tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """The doctor's own faults are none of the cell's."""
    try:
        return work()
    except Exception as fault:
        print(f"The doctor failed ({in_words(fault)}); `%dask_doctor status` tells more.")
        return ()
