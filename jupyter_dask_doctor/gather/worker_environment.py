"""What a worker's process tells of itself and its machine when asked: travels there by value.

Standard library, dask and distributed only. Nothing here computes, imports a library of the user's, or holds
up the worker's event loop: what may wait (a disk that does not answer) is done in a thread of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Worker

#: Seconds after which what is not known yet is not waited for.
PATIENCE = 1.5
#: Longest text that is sent.
MAX_TEXT = 500

VARIABLES = (
    "MALLOC_TRIM_THRESHOLD_",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

#: Native libraries with threads of their own: how the file is named, what it is called, and which of its
#: functions tells how many it would use.
_OPENBLAS = tuple(
    f"{prefix}openblas_get_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)
_LIBRARIES = (
    ("openblas", "openblas", _OPENBLAS),
    ("libmkl_rt", "mkl", ("MKL_Get_Max_Threads",)),
    ("libblis", "blis", ("bli_thread_get_num_threads",)),
    ("libgomp", "openmp", ("omp_get_max_threads",)),
    ("libiomp", "openmp", ("omp_get_max_threads",)),
    ("libomp", "openmp", ("omp_get_max_threads",)),
)


class Question:
    """What is pickled for the worker: unpickling it there gives the function to run.

    Running any function is worth a line in the worker's log, and where the kernel started the worker that
    log may be a cell's output. So this one line is kept out.
    """

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return _arrived, ()


def _arrived() -> Any:
    logger = logging.getLogger("distributed.worker")

    def without_us(record: logging.LogRecord) -> bool:
        return record.args != (_tell.__name__,)

    async def _tell(dask_worker: Worker) -> dict[str, Any]:
        logger.removeFilter(without_us)
        return await tell(dask_worker)

    logger.addFilter(without_us)
    return _tell


async def tell(worker: Worker) -> dict[str, Any]:
    """The facts as plain data; a fact that cannot be had is missing. Never raises."""
    try:
        facts = _of_worker(worker)
    except Exception as error:
        return {"fault": f"{type(error).__name__}: {error}"[:MAX_TEXT]}
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    found: dict[str, Any] = {}

    def finish() -> None:
        if not over.done():
            over.set_result(None)

    def work() -> None:
        of_machine(facts["local_directory"], found)
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the worker is gone
            return

    threading.Thread(target=work, daemon=True, name="dask-doctor-environment").start()
    await asyncio.wait([over], timeout=PATIENCE)
    return {**facts, **dict(found)}


def _of_worker(worker: Worker) -> dict[str, Any]:
    import dask

    memory: Any = worker.memory_manager
    has_nanny = worker.nanny is not None
    # The nanny that started the process gave it its settings. Nobody else ends a worker that is full.
    terminate = dask.config.get("distributed.worker.memory.terminate", None) if has_nanny else None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {
        "has_nanny": has_nanny,
        "memory_target": _fraction(getattr(memory, "memory_target_fraction", None)),
        "memory_spill": _fraction(getattr(memory, "memory_spill_fraction", None)),
        "memory_pause": _fraction(getattr(memory, "memory_pause_fraction", None)),
        "memory_terminate": _fraction(terminate),
        "max_spill": int(getattr(memory, "max_spill", None) or 0) or None,
        "local_directory": str(worker.local_directory)[:MAX_TEXT],
        "variables": [(name, os.environ[name][:MAX_TEXT]) for name in VARIABLES if name in os.environ],
        "cuda_visible_devices": None if visible is None else visible[:MAX_TEXT],
    }


def _fraction(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value else None


def of_machine(directory: str, found: dict[str, Any]) -> None:
    """Fill `found` with what the machine tells, quickest first. Never raises."""
    for name, look in (
        ("n_cpus", n_cpus),
        ("host_memory", host_memory),
        ("libc", libc),
        ("n_gpus", n_gpus),
        ("pools", pools),
        ("file_system", lambda: file_system(directory)),
        ("disk", lambda: disk(directory)),
    ):
        try:
            found[name] = look()
        except Exception:
            continue


def n_cpus() -> int:
    """Cores that this process may use."""
    from dask.system import cpu_count

    return int(cpu_count())


def host_memory() -> int:
    """Bytes of the machine, or of the container."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def libc() -> str | None:
    if sys.platform != "linux":
        return None
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[0] or None
    except (OSError, ValueError, IndexError):
        musl = any(name.startswith("ld-musl") for name in os.listdir("/lib"))
        return "musl" if musl else None


def disk(directory: str) -> tuple[int, int]:
    """Bytes that are free and in all, where the directory is or will be."""
    import shutil

    while directory and not os.path.isdir(directory) and os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
    usage = shutil.disk_usage(directory or ".")
    return usage.free, usage.total


def file_system(directory: str) -> str | None:
    """The type of the mount that holds the directory."""
    path = os.path.realpath(directory)
    best, kind = "", None
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            fields = line.split(" ")
            if len(fields) < 3:
                continue
            point = fields[1].replace("\\040", " ").rstrip("/")
            if (path == point or path.startswith(f"{point}/")) and len(point) >= len(best):
                best, kind = point, fields[2]
    return kind[:50] if kind else None


def n_gpus() -> int:
    """GPUs of NVIDIA's that this process could open; 0 also where nothing tells of any."""
    try:
        known = len(os.listdir("/proc/driver/nvidia/gpus"))
        # A container sees all of its host's, and may open those that have a device of their own.
        devices = sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))
        if known and devices:
            return min(known, devices)
    except OSError:
        known = 0
    if "pynvml" in sys.modules:
        from distributed.diagnostics import nvml

        return int(nvml.device_get_count())  # type: ignore[no-untyped-call]
    return known


def pools() -> list[tuple[str, int]]:
    """Native libraries that are loaded and the threads each would use, the widest of each kind."""
    found: dict[str, int] = {}
    if not os.path.exists("/proc/self/maps"):
        from threadpoolctl import threadpool_info  # type: ignore[import-not-found]

        for pool in threadpool_info():
            name = str(pool.get("internal_api") or pool.get("user_api"))[:50]
            found[name] = max(int(pool.get("num_threads") or 1), found.get(name, 0))
        return sorted(found.items())
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = {line[line.index("/") :].strip() for line in maps if ".so" in line and "/" in line}
    for path in sorted(paths):
        for mark, name, calls in _LIBRARIES:
            if mark in os.path.basename(path):
                n = _n_threads(path, calls)
                if n is not None:
                    found[name] = max(n, found.get(name, 0))
    return sorted(found.items())


def _n_threads(path: str, calls: tuple[str, ...]) -> int | None:
    """As the library itself says; None when it has no such call."""
    import ctypes

    # Only if it is there already: nothing is loaded by looking.
    library = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0) | os.RTLD_LAZY)
    for call in calls:
        get = getattr(library, call, None)
        if get is not None:
            get.restype, get.argtypes = ctypes.c_int, []
            return max(1, int(get()))
    return None
