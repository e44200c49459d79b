"""Offers for memory that does not come back: trim the workers' processes, or let them begin anew."""

from __future__ import annotations

from collections.abc import Sequence

from ..report import Fix
from ..snapshot import Cell, Cluster, Location, WorkerEnvironment
from . import fixes

_TRIM = """\
import ctypes
import gc


def trim_memory():
    gc.collect()
    return ctypes.CDLL("libc.so.6").malloc_trim(0)


{client}.run(trim_memory)"""

_LIFETIME = """\
# before the cluster is made: each worker is replaced in good time, one after the other
import dask

dask.config.set({{
    "distributed.worker.lifetime.duration": "{minutes} minutes",
    "distributed.worker.lifetime.stagger": "{stagger} minutes",
    "distributed.worker.lifetime.restart": True,
}})"""


def trim(
    below: Cell | None,
    cluster: Cluster,
    environments: Sequence[WorkerEnvironment],
    *,
    rerun: Location | None = None,
) -> tuple[Fix, ...]:
    """A cell in which workers give freed memory back. Only for glibc: no other has `malloc_trim`."""
    if any(e.libc != "glibc" for e in environments):
        return ()
    name = cluster.client_variable
    text = _TRIM.format(client=name if name and fixes.is_name(name) else "client")
    title = "Let the workers give freed memory back"
    expect = "memory that was freed but kept returns to the machine at once; what the code still holds stays"
    if below is None or not environments or not name or not fixes.is_name(name):
        return (fixes.advice(text, title=title, expect=f"{expect}. Works on Linux with glibc"),)
    return (fixes.insert_below(below, text, title=title, expect=expect, rerun=rerun, applicability="safe"),)


def restart(cluster: Cluster, seconds: float | None) -> tuple[Fix, ...]:
    """Workers that begin anew, now or before `seconds` are over; never inserted: what they hold is lost."""
    name = cluster.client_variable
    text = f"{name if name and fixes.is_name(name) else 'client'}.restart()"
    now = fixes.advice(
        text,
        title="Restart the workers",
        expect="they begin with about 150 MiB each; persisted data and futures are lost and made again",
    )
    # Far too early is of no use, and so is what outlives every notebook
    if seconds is None or not 600 <= seconds <= 7 * 86_400:
        return (now,)
    minutes = max(5, int(seconds / 2 / 60))
    plan = fixes.advice(
        _LIFETIME.format(minutes=minutes, stagger=max(1, minutes // 5)),
        title="Replace workers before they are full",
        expect="a worker hands over what it holds and is replaced at half of the time that is left",
    )
    return now, plan
