"""`%dask_doctor`: the report in a cell's output, the manual, the fixes, and the doctor's own state;
`%%dask_doctor`: one cell checked, run and reported on."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from .monitor import words

if TYPE_CHECKING:
    from ..report import Fix, Report

CELL_USAGE = """\
%%dask_doctor                        checks the cell, runs it, reports on it
%%dask_doctor --only-check           checks the cell and does not run it
%%dask_doctor --stop-on critical     does not run it when the check finds that (or: warning)"""
USAGE = f"""\
%dask_doctor                what is wrong, how it is known, and what to change
%dask_doctor explain RULE   the manual's page for a rule
%dask_doctor explain        the list of rules
%dask_doctor fix N          puts the code of the fix for finding N into the next cell (N.2: its second fix)
%dask_doctor status         what is watched, and the doctor's own faults
{CELL_USAGE}"""

CONFIG = "ipython_kernel_config.json"


@magics_class
class DoctorMagics(Magics):
    """Each says in words what it cannot do."""

    @line_cell_magic
    def dask_doctor(self, line: str, cell: str | None = None) -> object:
        """Say why a Dask computation is slow, dies or hangs.

        %dask_doctor [explain [RULE] | fix N | status]
        %%dask_doctor [--only-check | --stop-on critical|warning]
        """
        if cell is not None:
            from . import checked, extension

            __tracebackhide__ = True
            assert self.shell is not None
            return checked.run(self.shell, extension.monitor(), cell, checked.options(line))
        verb, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not verb:
            return self._diagnose()
        if verb == "explain":
            self._explain(rest)
        elif verb == "fix" and rest:
            self._fix(rest)
        elif verb == "status" and not rest:
            print(status())
        else:
            raise UsageError(f"%dask_doctor does not know {line.strip()[:100]!r}.\n{USAGE}")
        return None

    def _diagnose(self) -> Report | None:
        from .. import doctor

        try:
            return doctor.diagnose()
        except doctor.NoClient as error:
            print(error)
        except ImportError:
            print('Dask\'s scheduler is not installed here: `%pip install "dask[distributed]"`.')
        except Exception as error:
            print(f"The doctor failed ({words(error)}); `%dask_doctor status` tells more.")
        return None

    def _explain(self, rule: str) -> None:
        from difflib import get_close_matches

        from .. import runner

        titles = {id_: title for id_, title, *_ in runner.catalogue()}
        if not rule:
            width = max((len(id_) for id_ in titles), default=0)
            print("\n".join(f"{id_:{width}}  {title}" for id_, title in sorted(titles.items())))
            return
        if rule not in titles:
            near = get_close_matches(rule, titles, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`%dask_doctor explain` lists them."
            raise UsageError(f"There is no rule {rule[:60]!r}. {hint}")
        from IPython.display import display

        page = runner.explain(rule)
        display(  # type: ignore[no-untyped-call]
            {"text/plain": page, "text/markdown": page}, raw=True
        )

    def _fix(self, wanted: str) -> None:
        fix = find_fix(_last_report(), wanted)
        assert self.shell is not None
        self.shell.set_next_input(fix.code, replace=False)
        print(f"{fix.title}: the code is in the next cell. Read it, put it where it belongs, run it.")
        if fix.expect:
            print(f"It should change: {fix.expect}")


def find_fix(report: Report | None, wanted: str) -> Fix:
    """The fix meant by "2" (the first one for finding 2) or "2.3". Raises UsageError in words."""
    number, _, which = wanted.partition(".")
    if not number.isdecimal() or (which and not which.isdecimal()):
        raise UsageError(
            f"%dask_doctor fix takes the number of a finding, such as 1 or 1.2, not {wanted[:40]!r}."
        )
    if report is None or not report.findings:
        raise UsageError("There is no finding to fix: `%dask_doctor` says what is known.")
    if not 1 <= int(number) <= len(report.findings):
        raise UsageError(f"There is no finding {number[:10]}: there are {len(report.findings)}.")
    finding = report.findings[int(number) - 1]
    fixes = [fix for fix in finding.fixes if fix.code]
    index = int(which or 1)
    if not fixes:
        raise UsageError(
            f"Finding {number} has no fix: `%dask_doctor explain {finding.rule}` says what helps."
        )
    if not 1 <= index <= len(fixes):
        raise UsageError(f"Finding {number} has {len(fixes)} fix(es), and no number {which[:10]}.")
    return fixes[index - 1]


def _last_report() -> Report | None:
    # The one that was shown: numbers must not shift between reading and choosing.
    from . import extension

    monitor = extension.monitor()
    return None if monitor is None else monitor.shown or monitor.report


def status() -> str:
    """The doctor's own state, as lines of text."""
    from .. import __version__
    from . import extension

    monitor, channel = extension.monitor(), extension.channel()
    lines = [f"jupyter_dask_doctor {__version__}"]
    if monitor is None:
        return "\n".join([*lines, "Not loaded in this kernel: `%load_ext jupyter_dask_doctor`."])
    watch = monitor.watch
    if monitor.off is not None:
        lines.append(monitor.off)
    elif watch is None:
        lines.append("Nothing in this kernel has used Dask's scheduler yet.")
    else:
        lines.append(f"{watch.status.kind}: {watch.status.message}")
        for client in watch.clients:
            marks = ["followed"] * client.is_followed + ["default"] * client.is_default
            lines.append(f"  {client.id} at {client.address}: {', '.join([client.status, *marks])}")
    lines.append(
        f"Thread: {'runs' if monitor.is_running else 'does not run'}, "
        f"at most {monitor.lag:.1f} s late in the last minute"
    )
    lines.append(f"Panel: {'can ask this kernel' if channel is not None else 'cannot ask this kernel'}")
    lines.append(configuration())
    faults = list(monitor.faults)
    lines.append(f"Faults of the doctor's own: {len(faults) or 'none'}")
    for fault in faults[-3:]:
        lines.append(f"  {time.strftime('%H:%M:%S', time.localtime(fault.time))} {fault.text}")
    if channel is not None and channel.fault is not None:
        lines.append(f"  while answering: {channel.fault}")
    if faults:
        lines.append(faults[-1].trace.rstrip())
    return "\n".join(lines)


def configuration(prefix: str | None = None) -> str:
    """Whether new kernels will load the doctor: the one file for that belongs to whichever package wrote it
    last."""
    path = Path(prefix or sys.prefix, "etc", "ipython", CONFIG)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return f"New kernels do not load the doctor by themselves: {path} is missing. `%load_ext` loads it."
    try:
        named = json.loads(text)["InteractiveShellApp"]["extra_extensions"]
    except (ValueError, KeyError, TypeError):
        named = ()
    if "jupyter_dask_doctor" in named:
        return "New kernels load the doctor by themselves."
    return (
        f"New kernels do not load the doctor by themselves: another package has its own settings at {path}. "
        'Add "jupyter_dask_doctor" to InteractiveShellApp.extra_extensions there.'
    )
