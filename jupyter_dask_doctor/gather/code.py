"""Which cells ran when, and what their text says: the join between a notebook and its computations."""

from __future__ import annotations

import ast
import re
import threading
import time as _time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..messages import CellText
from ..snapshot import Cell, Location
from ..source import parse

#: Cells remembered; the oldest runs are forgotten first.
MAX_CELLS = 500
#: Characters of one cell that are looked at: the rest of a longer one is not kept.
MAX_SOURCE = 64 * 1024
#: Runs remembered for `at`, over all cells.
MAX_RUNS = 5_000

_OUTPUT = re.compile(r"Out\[(\d{1,9})\]")


@dataclass(slots=True)
class _Run:
    cell: Cell
    #: Names that the cell binds at its top level; read from the text only when somebody asks.
    names: frozenset[str] | None = None


@dataclass(slots=True)
class _Entry:
    notebook: str | None = None
    run: _Run | None = None


class CellLog:
    """The cells of one notebook: what ran, when, and the text as it stands. Safe to use from any thread.

    Bounded: at most `MAX_CELLS` cells of at most `MAX_SOURCE` characters, and `MAX_RUNS` runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._order: tuple[str, ...] = ()
        #: (start, stop or None, location), oldest first.
        self._runs: list[tuple[float, float | None, Location]] = []
        self._running: Cell | None = None
        #: Grows with every change, so that a reader knows whether to look again.
        self.version = 0

    @property
    def running(self) -> Location | None:
        """The cell that runs now."""
        cell = self._running
        return None if cell is None else _location(cell)

    def start(
        self, *, cell_id: str | None, execution_count: int | None, source: str, time: float | None = None
    ) -> None:
        """A cell begins to run."""
        now = _time.time() if time is None else time
        cell = Cell(id=cell_id, execution_count=execution_count, source=source[:MAX_SOURCE], started=now)
        with self._lock:
            self._close(now, failed=True)
            self._running = cell
            self._remember(cell)
            self._runs.append((now, None, _location(cell)))
            del self._runs[:-MAX_RUNS]
            self.version += 1

    def stop(
        self,
        *,
        failed: bool,
        error: str | None = None,
        error_text: str = "",
        execution_count: int | None = None,
        time: float | None = None,
    ) -> None:
        """The cell that ran has ended, `error`: with an exception of this class, that says `error_text`."""
        with self._lock:
            if self._running is not None and execution_count is not None:
                self._running = replace(self._running, execution_count=execution_count)
            now = _time.time() if time is None else time
            self._close(now, failed=failed, error=error, error_text=error_text)
            self.version += 1

    def set_notebook(self, cells: Sequence[CellText]) -> None:
        """The code cells of the notebook as they stand, in their order."""
        with self._lock:
            for entry in self._entries.values():
                entry.notebook = None
            self._order = tuple(cell.id for cell in cells[:MAX_CELLS])
            for cell in cells[:MAX_CELLS]:
                entry = self._entries.setdefault(cell.id, _Entry())
                entry.notebook = cell.source[:MAX_SOURCE]
            self.version += 1

    def cells(self) -> tuple[Cell, ...]:
        """The newest text of each cell: as it ran last, or as it stands when it has not run as it stands.

        In the notebook's order once the panel told it: a cell that ran and was deleted since is left out.
        """
        with self._lock:
            ids = self._order or tuple(self._entries)
            return tuple(cell for key in ids if (cell := _newest(key, self._entries.get(key))) is not None)

    def ran(self) -> tuple[Cell, ...]:
        """The last run of each cell, in the order of their starts."""
        with self._lock:
            runs = [entry.run.cell for entry in self._entries.values() if entry.run is not None]
        return tuple(sorted(runs, key=lambda cell: cell.started or 0.0))

    def at(self, time: float) -> Location | None:
        """The cell that ran at that moment; for a moment between two cells the one before, for what a
        cell sets off may reach the scheduler just after it ended."""
        with self._lock:
            for start, stop, location in reversed(self._runs):
                if start <= time:
                    # Work that comes long after a cell ended was not started by it (a widget, a thread).
                    return location if stop is None or time <= stop + 1.0 else None
        return None

    def began(self, time: float) -> float | None:
        """When the cell that ran at that moment began to."""
        with self._lock:
            for start, stop, _ in reversed(self._runs):
                if start <= time:
                    return start if stop is None or time <= stop + 1.0 else None
        return None

    def bound_at(self, name: str) -> Location | None:
        """The executed cell that bound the variable last, by its text; None when no text tells. Of "Out[7]" the
        cell of that number."""
        with self._lock:
            runs = [entry.run for entry in self._entries.values() if entry.run is not None]
        output = _OUTPUT.fullmatch(name)
        if output is not None:
            shown = (run.cell for run in runs if run.cell.execution_count == int(output[1]))
            return next((_location(cell) for cell in shown), None)
        best: Cell | None = None
        for run in runs:
            if run.names is None:
                run.names = frozenset(_bound_names(run.cell.source))
            if name in run.names and (best is None or (run.cell.started or 0) > (best.started or 0)):
                best = run.cell
        return None if best is None else _location(best)

    def _close(self, now: float, *, failed: bool, error: str | None = None, error_text: str = "") -> None:
        cell, self._running = self._running, None
        if cell is None:
            return
        cell = replace(cell, stopped=now, has_failed=failed, error=error, error_text=error_text)
        self._remember(cell)
        for index in range(len(self._runs) - 1, -1, -1):
            start, stop, _ = self._runs[index]
            if start == cell.started and stop is None:
                self._runs[index] = (start, now, _location(cell))
                break

    def _remember(self, cell: Cell) -> None:
        # From a front end that sends no ids, every run stands for itself.
        key = f"#{cell.started}" if cell.id is None else cell.id
        entry = self._entries.setdefault(key, _Entry())
        old = entry.run
        names = old.names if old is not None and old.cell.source == cell.source else None
        entry.run = _Run(cell, names)
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_CELLS:
            self._entries.popitem(last=False)


def _bound_names(source: str) -> Iterator[str]:
    tree = parse(source)
    if tree is None:
        return
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        pending.extend(ast.iter_child_nodes(node))


def _newest(key: str, entry: _Entry | None) -> Cell | None:
    if entry is None:
        return None
    run = entry.run.cell if entry.run is not None else None
    if run is not None and entry.notebook in (None, run.source):
        return run
    if entry.notebook is None:
        return run
    count = run.execution_count if run is not None else None
    return Cell(id=key, execution_count=count, source=entry.notebook)


def _location(cell: Cell) -> Location:
    return Location(cell_id=cell.id, execution_count=cell.execution_count)
