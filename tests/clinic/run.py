"""Runs one notebook of the clinic in a real kernel, asks the doctor all the while, and says what it told."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager

from tests.kernel.conftest import LOAD, Kernel, Ran

from .notebooks import ROOT, Notebook

#: Seconds between two questions.
PACE = 0.25
#: Seconds that a cell may take. Bounds for a shared machine, no statement on speed.
PATIENCE = 180.0
#: Seconds for which a finding that must be seen before the interrupt is waited for.
HANG = 90.0


@dataclass
class Outcome:
    """What the doctor told of one notebook."""

    notebook: Notebook
    #: Seconds from the start of the ailing cell to the finding, and from the end of that cell (negative: the
    #: cell still ran); None when it was never seen.
    found_after: float | None = None
    found_after_end: float | None = None
    #: (rule, severity, subject, cell, message) of all warnings and worse that nothing explains.
    false_alarms: dict[str, tuple[str, str, str, str | None, str]] = field(default_factory=dict)
    #: What the rule that should have spoken said instead.
    near_misses: dict[str, tuple[str, str, str, str | None, str]] = field(default_factory=dict)
    #: (rule, reason) of rules that failed.
    faults: dict[str, str] = field(default_factory=dict)
    #: What went wrong with the notebook itself.
    trouble: str = ""
    #: Outcome of each rule at the end.
    checks: dict[str, str] = field(default_factory=dict)
    #: The Snapshot as JSON: with the finding for a sick notebook, the last one else.
    snapshot: str | None = None

    @property
    def is_right(self) -> bool:
        is_seen = self.found_after is not None or self.notebook.expected is None
        return is_seen and not self.false_alarms and not self.faults and not self.trouble


@contextmanager
def started(extra_env: dict[str, str] | None = None, *, python: str | None = None) -> Iterator[Kernel]:
    """A kernel with the doctor in it. `python`: the interpreter of another environment to run it in."""
    with tempfile.TemporaryDirectory(prefix="clinic-") as home:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "IPYTHONDIR": home,
            **(extra_env or {}),
        }
        manager = KernelManager() if python is None else _manager(python, Path(home))
        # Not into the clinic's own output: warnings of worker processes that die on purpose.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        manager.start_kernel(env=env, extra_arguments=[LOAD], cwd=home, **quiet)
        kernel = Kernel(manager)
        try:
            yield kernel
        finally:
            kernel.client.stop_channels()
            manager.shutdown_kernel(now=False)
            manager.cleanup_resources()


def _manager(python: str, home: Path) -> KernelManager:
    """Starts kernels of an environment that Jupyter does not know."""
    place = home / "kernels" / "other"
    place.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "other", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    specs = KernelSpecManager(kernel_dirs=[str(home / "kernels")], ensure_native_kernel=False)
    return KernelManager(kernel_name="other", kernel_spec_manager=specs)


class Visit:
    """One notebook in one kernel."""

    def __init__(self, kernel: Kernel, notebook: Notebook, place: Path) -> None:
        self.kernel, self.notebook, self.place = kernel, notebook, place
        self.outcome = Outcome(notebook)
        self.ailing_since = self.ailing_until = self.found_at = 0.0

    def run(self) -> Outcome:
        notebook, kernel = self.notebook, self.kernel
        expected = asdict(notebook.expected) if notebook.expected is not None else None
        begin = "from tests.clinic.recorder import start; start(expected, place)"
        code = f"exec({begin!r}, {{'expected': {expected!r}, 'place': {str(self.place)!r}}})"
        kernel.run(code, silent=True)
        # As the panel does: the doctor may speak of a cell before it runs.
        cells = [{"id": key, "source": source} for key, source in notebook.cells]
        self.take(kernel.ask(cells=cells))
        ailing = notebook.expected.cell if notebook.expected is not None else None
        for key, source in notebook.cells:
            if key == ailing or not self.ailing_since:
                self.ailing_since = time.monotonic()
            if not self.run_cell(key, source):
                break
            if key == ailing:
                self.ailing_until = time.monotonic()
        stop = time.monotonic() + notebook.watch
        while time.monotonic() < stop:
            time.sleep(PACE)
            self.take(kernel.ask())
        if self.found_at:
            self.outcome.found_after = max(0.0, self.found_at - self.ailing_since)
            self.outcome.found_after_end = self.found_at - self.ailing_until if self.ailing_until else None
        self.outcome.snapshot = self.fetch()
        return self.outcome

    def run_cell(self, key: str, source: str) -> bool:
        """False when the notebook cannot go on."""
        kernel, notebook = self.kernel, self.notebook
        began = time.monotonic()
        ran = kernel.begin(source, cell_id=key)
        waiting = threading.Thread(target=self._finish, args=(ran,), daemon=True)
        waiting.start()
        interrupt = notebook.interrupt if notebook.interrupt and notebook.interrupt.cell == key else None
        while waiting.is_alive():
            waiting.join(PACE)
            if not waiting.is_alive():
                break
            self.take(kernel.ask())
            lasted = time.monotonic() - began
            if interrupt is not None:
                due = (
                    lasted > interrupt.after
                    if interrupt.after is not None
                    else bool(self.found_at) or lasted > HANG
                )
                if due:
                    kernel.manager.interrupt_kernel()
                    interrupt = None
            if lasted > PATIENCE:
                self.outcome.trouble = f"cell {key!r} did not end in {PATIENCE:.0f} s"
                return False
        has_failed = ran.reply.get("status") != "ok"
        if has_failed != (key in notebook.errors or _is_interrupted(notebook, key)):
            self.outcome.trouble = f"cell {key!r}: {ran.errors[-2_000:] or ran.reply}"
            return False
        return True

    def _finish(self, ran: Ran) -> None:
        try:
            self.kernel.finish(ran, timeout=PATIENCE + 20)
        except Exception as error:
            ran.errors += repr(error)

    def take(self, reply: dict[str, Any]) -> None:
        report = reply["report"]
        if report is None:
            return
        expected, notebook, outcome = self.notebook.expected, self.notebook, self.outcome
        for finding in report["findings"]:
            cell = finding["at"]["cell_id"] if finding["at"] is not None else None
            told = (finding["rule"], finding["severity"], finding["subject"], cell, finding["message"])
            is_own = expected is not None and finding["rule"] == expected.rule
            if expected is not None and told[:4] == (
                expected.rule,
                expected.severity,
                expected.subject,
                expected.cell,
            ):
                self.found_at = self.found_at or time.monotonic()
            elif is_own:
                outcome.near_misses.setdefault(f"{finding['id']}:{finding['severity']}:{cell}", told)
            elif finding["severity"] != "info" and finding["rule"] not in notebook.also:
                outcome.false_alarms.setdefault(finding["id"], told)
        for check in report["checks"]:
            outcome.checks[check["rule"]] = check["outcome"]
            if check["outcome"] == "error":
                outcome.faults[check["rule"]] = check["reason"]

    def fetch(self) -> str | None:
        seen, last, asked = (self.place / name for name in ("seen.json", "last.json", "asked"))
        if self.notebook.expected is not None:
            return seen.read_text(encoding="utf-8") if seen.exists() else None
        asked.touch()
        stop = time.monotonic() + 10.0
        while not last.exists() and time.monotonic() < stop:
            time.sleep(0.1)
        return last.read_text(encoding="utf-8") if last.exists() else None


def _is_interrupted(notebook: Notebook, key: str) -> bool:
    return notebook.interrupt is not None and notebook.interrupt.cell == key


def visit(notebook: Notebook) -> Outcome:
    """Runs it, from a fresh kernel to the end of the watch."""
    python = os.environ["DASK_DOCTOR_OLD_PYTHON"] if notebook.needs == "old-kernel" else None
    with tempfile.TemporaryDirectory(prefix="clinic-") as place, started(python=python) as kernel:
        try:
            return Visit(kernel, notebook, Path(place)).run()
        except Exception as error:
            return Outcome(notebook, trouble=f"{type(error).__name__}: {error}"[:2_000])
