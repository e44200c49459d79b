"""What the thread that runs the cells does inside Dask: optimize, build, read metadata, pickle, wait.

A thread of our own looks at its stack ten times in a second while a cell runs. It only reads where the frames
stand, never their variables, and keeps no frame.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from types import FrameType

from ..snapshot import Phase, PhaseKind
from .code import CellLog
from .stack import function, is_cell, is_dasks, module_of, timed_line

#: Seconds between two looks, and the share of a core that looking may take: a deep stack is looked at less often.
PERIOD = 0.1
SHARE = 0.005
#: Frames of one stack: deep expressions are optimized by recursion. A deeper one is not told of.
MAX_FRAMES = 10_000
#: What took less than this is not told, though it counts for `Phases.seconds`.
SHORTEST = 0.2
MAX_PHASES = 200
MAX_RECENT = 1_000
MAX_FAULTS = 5

#: The optimizers' functions, as Dask's modules name them.
_OPTIMIZING = frozenset(
    [
        "optimize",
        "optimize_until",
        "optimize_graph",
        "optimize_blockwise",
        "optimize_blockwise_fusion",
        "optimize_io_fusion",
        "simplify",
        "simplify_once",
        "lower_once",
        "lower_completely",
        "rewrite",
        "rewrite_blockwise",
        "fuse",
        "fuse_roots",
        "fuse_slice",
        "fuse_linear",
        "fuse_linear_task_spec",
        "cull",
        "inline",
        "inline_functions",
        "hold_keys",
        "optimization_function",
    ]
)
#: What `compute` and its like do beside that before the graph goes out.
_PREPARING = frozenset(
    [
        "collections_to_expr",
        "unpack_collections",
        "__dask_graph__",
        "__dask_keys__",
        "__dask_postcompute__",
        "tokenize",
    ]
)
_ENTRIES = frozenset(["compute", "persist", "get", "visualize"])
#: Looks at a collection: what they wait for, if anything, is its optimizing.
_LOOKS = frozenset(["npartitions", "divisions", "known_divisions", "repr", "repr_html", "str", "len"])
#: Importing Dask, and what it does when the interpreter collects garbage: what is done within is nobody's wish.
_UNASKED = frozenset(["<module>", "_gc_callback", "gc_callback"])
#: Functions of Dask's that read names, schemas, statistics or the beginning of files; and modules that only do so.
_METADATA = frozenset(
    [
        "_dataset_info",
        "raw_statistics",
        "sample_statistics",
        "load_statistics",
        "approx_statistics",
        "aggregated_statistics",
        "_pq_length_stats",
        "_collect_pq_statistics",
        "_gather_statistics",
        "_collect_statistics_plan",
        "_plan",
        "read_metadata",
        "_collect_dataset_info",
        "_create_dd_meta",
        "_construct_collection_plan",
        "read_bytes",
        "text_blocks_to_pandas",
        "open_files",
        "get_fs_token_paths",
    ]
)
_FILES = ("fsspec", "s3fs", "gcsfs", "adlfs", "zarr", "h5py", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.fs",
          "pandas.io.parsers", "pandas.io.json", "pandas.io.parquet")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: what is being done, on behalf of which function of Dask's, at which line of the cell."""

    kind: PhaseKind
    method: str | None
    line: int | None


@dataclass(slots=True)
class _Span:
    seen: Seen
    start: float
    #: When it was seen last, and then its end.
    stop: float


class Phases:
    """Looks from `follow` to `stop`. `follow` never waits: it is for the thread that runs the cells, too."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wishes: queue.SimpleQueue[int | bool | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._kept: deque[_Span] = deque(maxlen=MAX_PHASES)
        self._recent: deque[_Span] = deque(maxlen=MAX_RECENT)
        self._open: _Span | None = None
        #: Since when somebody looks, and the last look.
        self._since: float | None = None
        self._followed: int | None = None
        self._last = float("-inf")
        self._faults = 0
        #: Seconds of its own thread that the looks took in all, and how many there were.
        self.spent, self.n_looks = 0.0, 0
        thread = threading.Thread(
            target=Context().run, args=(self._run,), daemon=True, name="dask-doctor-look"
        )
        thread.pydev_do_not_trace = True  # type: ignore[attr-defined]
        thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
        self._thread = thread
        thread.start()

    def follow(self, thread: int | None) -> None:
        """Look at this thread from now on; None: at nothing, for no cell runs."""
        self._followed = thread
        self._wishes.put(thread)

    def stop(self) -> None:
        """End for good."""
        self._wishes.put(False)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def now(self) -> PhaseKind | None:
        """What the thread that is followed does at this moment."""
        thread = self._followed
        seen = None if thread is None else look(thread)
        return None if seen is None else seen.kind

    def told(self, cells: CellLog) -> tuple[Phase, ...]:
        """What was seen, oldest first."""
        with self._lock:
            spans = [(span.seen, span.start, span.stop) for span in self._kept]
            span = self._open
            if span is not None and span.stop - span.start >= SHORTEST:
                spans.append((span.seen, span.start, float("inf")))
        return tuple(_phase(cells, *span) for span in spans[-MAX_PHASES:])

    def seconds(
        self, kind: PhaseKind, start: float, stop: float, *, method: str | None = None
    ) -> float | None:
        """How much of the time between these moments was spent so (on behalf of this function), short phases
        included; None when nobody looked."""
        with self._lock:
            if self._since is None or self._since > start + PERIOD or not self.is_alive:
                return None
            spans = [*self._recent, *(() if self._open is None else (self._open,))]
            if len(self._recent) == MAX_RECENT and self._recent[0].start > start:
                return None
            times = [
                (span.start, span.stop)
                for span in spans
                if span.seen.kind == kind and method in (None, span.seen.method)
            ]
        return sum((max(0.0, min(end, stop) - max(begin, start)) for begin, end in times), 0.0)

    # On the thread that looks.

    def _run(self) -> None:
        thread: int | None = None
        pause: float = PERIOD
        while True:
            try:
                wish = self._wishes.get(timeout=None if thread is None else pause)
            except queue.Empty:
                pass
            else:
                if wish is False:
                    return
                if wish is None or wish != thread:
                    self._turn(None)
                thread = None if wish is None else int(wish)
                if thread is not None and self._since is None:
                    self._since = self._clock()
            if thread is None:
                continue
            began = time.thread_time()
            try:
                self._turn(look(thread))
            except Exception:
                self._faults += 1
                if self._faults >= MAX_FAULTS:
                    return
            spent = time.thread_time() - began
            self.spent += spent
            self.n_looks += 1
            pause = max(PERIOD, spent / SHARE)

    def _turn(self, seen: Seen | None) -> None:
        now = self._clock()
        # Something between two looks: half of the pause belongs to each. Where the interpreter was held for
        # longer, nobody knows what was done then.
        half = min(max(0.0, now - self._last), PERIOD) / 2
        with self._lock:
            self._last = now
            span = self._open
            if span is not None and span.seen == seen:
                span.stop = now
                return
            if span is not None:
                self._open = None
                span.stop = min(span.stop + half, now)
                self._recent.append(span)
                if span.stop - span.start >= SHORTEST:
                    self._kept.append(span)
            if seen is not None:
                self._open = _Span(seen, now - half, now)


def _phase(cells: CellLog, seen: Seen, start: float, stop: float) -> Phase:
    at = cells.at(start)
    return Phase(
        kind=seen.kind,
        start=start,
        stop=None if stop == float("inf") else stop,
        method=seen.method,
        at=at if at is None or seen.line is None else replace(at, line=seen.line),
    )


def look(thread: int) -> Seen | None:
    """What this thread does inside Dask on behalf of a cell; None when it does nothing there."""
    return seen_in(sys._current_frames().get(thread))


def seen_in(frame: FrameType | None) -> Seen | None:
    """As `look`, of the stack that ends in this frame."""
    kind: PhaseKind | None = None
    method: str | None = None
    has_kind = is_preparing = is_sending = False
    found: Seen | None = None
    timed: int | None = None
    for _ in range(MAX_FRAMES):
        if frame is None:
            return found
        module, name = module_of(frame), frame.f_code.co_name
        if is_cell(frame):
            # Inner ones are functions that other cells defined; the outermost is the cell that runs.
            if method is not None:
                what = _judge(
                    kind, method, has_kind=has_kind, is_preparing=is_preparing, is_sending=is_sending
                )
                found = None if what is None else Seen(what, method, timed or frame.f_lineno)
        elif found is not None and module == "IPython.core.interactiveshell":
            return found
        else:
            if is_dasks(module):
                method = function(frame) or method
                is_preparing = is_preparing or name in _PREPARING
                is_sending = is_sending or name == "_graph_to_futures"
            if not has_kind:
                has_kind, kind = _mark(module, name)
            if method is not None and name in _UNASKED and is_dasks(module):
                method, has_kind, kind = None, False, None
            timed = timed_line(frame, timed)
        frame = frame.f_back
    return None


def _judge(
    kind: PhaseKind | None, method: str, *, has_kind: bool, is_preparing: bool, is_sending: bool
) -> PhaseKind | None:
    if is_sending and kind != "waiting":
        return "serializing"  # pickling asks expressions for their names and more
    if has_kind:
        return kind
    if method in _ENTRIES:
        return "optimizing" if is_preparing else None  # else the pieces of a result are put together
    return "optimizing" if method in _LOOKS else "building"


def _mark(module: str, name: str) -> tuple[bool, PhaseKind | None]:
    """Whether this frame decides, and what for: None is something that has no name here."""
    package = module.split(".", 1)[0]
    if package == "distributed":
        if name == "sync" and module == "distributed.utils":
            return True, "waiting"
        if name == "__next__" and module == "distributed.client":  # of `as_completed`
            return True, "waiting"
        if module.startswith("distributed.protocol"):
            return True, "serializing"
    elif package == "dask":
        if name in _OPTIMIZING or module == "dask.optimization":
            return True, "optimizing"
        if name in _METADATA:
            return True, "metadata"
        if module in ("dask.local", "dask.threaded", "dask.multiprocessing"):
            return True, None  # a computation in the kernel itself
    elif module.startswith(_FILES):
        return True, "metadata"
    return False, None
