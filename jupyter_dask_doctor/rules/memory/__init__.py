"""What workers hold."""

from .held_results import held_results
from .killed_worker import killed_worker
from .malloc_trim import malloc_trim
from .memory_thresholds import memory_thresholds
from .no_memory_limit import no_memory_limit
from .oversized_persist import oversized_persist
from .oversized_result import oversized_result
from .root_overproduction import root_overproduction
from .scheduler_memory_growth import scheduler_memory_growth
from .spill_disk_full import spill_disk_full
from .spilling import spilling
from .unmanaged_memory_growth import unmanaged_memory_growth
from .worker_memory_pressure import worker_memory_pressure
from .wrong_sizeof import wrong_sizeof

__all__ = [
    "held_results",
    "killed_worker",
    "malloc_trim",
    "memory_thresholds",
    "no_memory_limit",
    "oversized_persist",
    "oversized_result",
    "root_overproduction",
    "scheduler_memory_growth",
    "spill_disk_full",
    "spilling",
    "unmanaged_memory_growth",
    "worker_memory_pressure",
    "wrong_sizeof",
]
