"""Notes the computations that Dask runs in the kernel itself while a client is open.

Dask's own callbacks tell of them, a call before and one after each: nothing per task. What distributed's workers
run does not come this way. Only the thread that runs the cells counts, and its own faults never reach the caller.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..snapshot import LocalRun
from .code import CellLog

#: Runs that are kept, the newest.
MAX_RUNS = 100
#: Faults after which it stops listening.
MAX_FAULTS = 5
MAX_FRAMES = 60


class LocalRuns:
    """Listens from the first `listen` to `stop`. Both are for the thread that runs the cells, for Dask's registry
    has no lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._thread = threading.get_ident()
        #: [start, seconds or None, tasks], oldest first.
        self._kept: deque[list[Any]] = deque(maxlen=MAX_RUNS)
        self._open: list[Any] | None = None
        self._faults = 0
        self._registered = (self._start, None, None, None, self._finish)

    def listen(self) -> None:
        """Register with Dask, once it is imported; again if somebody has emptied its registry."""
        module = sys.modules.get("dask.callbacks")
        active = getattr(getattr(module, "Callback", None), "active", None)
        if isinstance(active, set) and self._faults < MAX_FAULTS and self._registered not in active:
            active.add(self._registered)

    def stop(self) -> None:
        """Take everything back."""
        self._faults = MAX_FAULTS
        active = getattr(getattr(sys.modules.get("dask.callbacks"), "Callback", None), "active", None)
        if isinstance(active, set):
            active.discard(self._registered)

    def told(self, cells: CellLog) -> tuple[LocalRun, ...]:
        """What was seen, with the cells that ran then. From any thread."""
        return tuple(
            LocalRun(time=start, seconds=seconds, n_tasks=n, at=cells.at(start))
            for start, seconds, n in self._copy()
        )

    def _copy(self) -> list[tuple[float, float | None, int]]:
        for _ in range(5):
            try:
                return [(run[0], run[1], run[2]) for run in self._kept]
            except RuntimeError:  # another run began
                continue
        return []

    # Called by Dask.

    def _start(self, dsk: Any) -> None:
        try:
            self._open = None
            if threading.get_ident() != self._thread or self._faults >= MAX_FAULTS:
                return
            if _has_client() and _is_asked_for(sys._getframe(1)):
                self._open = [self._clock(), None, len(dsk)]
                self._kept.append(self._open)
        except Exception:
            self._faults += 1

    def _finish(self, dsk: Any, state: Any, has_failed: bool) -> None:
        try:
            if threading.get_ident() == self._thread and self._open is not None:
                run, self._open = self._open, None
                run[1] = max(0.0, self._clock() - run[0])
        except Exception:
            self._faults += 1


def _has_client() -> bool:
    client = getattr(sys.modules.get("distributed.client"), "Client", None)
    return any(one.status == "running" for one in tuple(getattr(client, "_instances", ())))


def _is_asked_for(frame: FrameType | None) -> bool:
    """Whether the user asked for a result. Dask reads the heads of files and the like with a scheduler of its own
    choice while a collection is only being made."""
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        package = str(frame.f_globals.get("__name__", "")).split(".", 1)[0]
        if package not in ("dask", "contextlib"):
            break
        if frame.f_code.co_name.startswith(("read_", "from_")):
            return False
        frame = frame.f_back
    return True
