"""What IPython loads: hears of cells, answers on the control channel, brings the magic.

Loaded with every kernel, so it imports little and starts nothing: the doctor's thread begins with the first
cell or the first question.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import IPython

from .channel import Channel
from .monitor import Monitor

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell


#: Outputs that are looked at, the newest.
MAX_OUTPUTS = 200


@dataclass(slots=True)
class _Loaded:
    shell: InteractiveShell
    monitor: Monitor
    hearer: Hearer
    channel: Channel | None


_loaded: _Loaded | None = None


def load(ip: InteractiveShell) -> None:
    """Loads once; a second time starts anew."""
    global _loaded
    unload(ip)
    monitor = Monitor(lambda: variables(ip), lambda: outputs(ip))
    hearer = Hearer(ip, monitor)
    ip.events.register("pre_run_cell", hearer.started)
    ip.events.register("post_run_cell", hearer.stopped)
    channel = None
    kernel = getattr(ip, "kernel", None)
    if kernel is not None:
        channel = Channel(kernel, monitor.answer)
        if not channel.install():
            channel = None
    from .magic import DoctorMagics

    ip.register_magics(DoctorMagics)
    _loaded = _Loaded(ip, monitor, hearer, channel)


def unload(ip: InteractiveShell) -> None:
    """Takes everything back and ends the thread."""
    global _loaded
    loaded, _loaded = _loaded, None
    if loaded is None:
        return
    loaded.shell.events.unregister("pre_run_cell", loaded.hearer.started)
    loaded.shell.events.unregister("post_run_cell", loaded.hearer.stopped)
    if loaded.channel is not None:
        loaded.channel.uninstall()
    for magics in loaded.shell.magics_manager.magics.values():
        magics.pop("dask_doctor", None)
    loaded.monitor.stop()


def monitor() -> Monitor | None:
    """Of this process; None where the extension is not loaded."""
    return None if _loaded is None else _loaded.monitor


def channel() -> Channel | None:
    """Of this process; None without a kernel, or where the extension is not loaded."""
    return None if _loaded is None else _loaded.channel


def variables(ip: InteractiveShell) -> Mapping[str, object]:
    """The user's own variables at this moment."""
    hidden = ip.user_ns_hidden
    # One copy, which no other thread can come between; then only types are looked at.
    return {
        name: value
        for name, value in ip.user_ns.copy().items()
        if type(name) is str and not name.startswith("_") and name not in hidden
    }


def outputs(ip: InteractiveShell) -> Mapping[str, object]:
    """What the shell keeps alive for `Out[7]` (and `_7` with it), `_`, `__` and `___`, newest first."""
    names = ip.user_ns.copy()
    kept = names.get("_oh")
    found: dict[str, object] = {}
    if type(kept) is dict:
        for count, value in reversed(kept.copy().items()):
            if type(count) is int and len(found) < MAX_OUTPUTS:
                found[f"Out[{count}]"] = value
    for name in ("_", "__", "___"):
        if name in names:
            found[name] = names[name]
    return found


class Hearer:
    """Tells the monitor which cell runs. Never raises: IPython would print the traceback into the cell."""

    def __init__(self, ip: InteractiveShell, monitor: Monitor) -> None:
        self._ip = ip
        self._monitor = monitor
        #: The one that loads extensions also runs cells.
        self._thread = threading.get_ident()
        self._outer: ExecutionInfo | None = None
        self._message: object = None
        self._count: int | None = None
        #: By how much the shell's count is ahead of the cell's own while `pre_run_cell` runs: 1 since IPython
        #: counts a cell before it runs (9.8 or so), else 0. Learned from the first cell that ends.
        self._ahead = 1 if IPython.version_info[:2] >= (9, 8) else 0

    def started(self, info: ExecutionInfo) -> None:
        try:
            # Subshells run code in threads of their own, beside the cell.
            if threading.get_ident() != self._thread:
                return
            message, cell_id = self._parent()
            # A cell may run others inside it (`%run`, `run_cell`): to the reader it is one.
            if self._outer is not None and self._message == message:
                return
            self._outer, self._message = info, message
            self._count = self._ip.execution_count if info.store_history else None
            source = info.raw_cell
            self._monitor.cell_started(
                cell_id=_cell_id(info.cell_id) or _cell_id(cell_id),
                execution_count=None if self._count is None else self._count - self._ahead,
                source=source if isinstance(source, str) else "",
            )
        except Exception:
            return

    def stopped(self, result: ExecutionResult) -> None:
        try:
            if self._outer is None or result.info is not self._outer:
                return
            self._outer = None
            count = result.execution_count if self._count is not None else None
            if count is not None and self._count is not None:
                self._ahead = self._count - count
            error = result.error_in_exec or result.error_before_exec
            self._monitor.cell_stopped(
                execution_count=count,
                failed=not result.success,
                error=None if error is None else _class_name(error),
                error_text="" if error is None else _said(error),
            )
        except Exception:
            return

    def _parent(self) -> tuple[object, object]:
        """The id of the message that the kernel works on, and the cell it names."""
        get_parent = getattr(self._ip, "get_parent", None)
        parent: Any = get_parent() if callable(get_parent) else None
        if not isinstance(parent, dict):
            return None, None
        header, metadata = parent.get("header"), parent.get("metadata")
        message = header.get("msg_id") if isinstance(header, dict) else None
        cell_id = metadata.get("cellId") if isinstance(metadata, dict) else None
        return message, cell_id


def _class_name(error: BaseException) -> str | None:
    # With type() alone: no attribute of a stranger's object is touched.
    name = type.__getattribute__(type(error), "__name__")
    return name[:200] if isinstance(name, str) else None


def _said(error: BaseException) -> str:
    # Not `str(error)`: that may be a stranger's method.
    args = BaseException.__dict__["args"].__get__(error)
    said = args[0] if type(args) is tuple and args else None
    return said[:300] if type(said) is str else ""


def _cell_id(value: object) -> str | None:
    # A notebook's ids have at most 64 characters; a front end may send anything.
    return value if isinstance(value, str) and 0 < len(value) <= 200 else None
