"""What workers hold."""

from .killed_worker import killed_worker
from .no_memory_limit import no_memory_limit
from .worker_memory_pressure import worker_memory_pressure

__all__ = ["killed_worker", "no_memory_limit", "worker_memory_pressure"]
