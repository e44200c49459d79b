"""What workers hold."""

from .killed_worker import killed_worker
from .worker_memory_pressure import worker_memory_pressure

__all__ = ["killed_worker", "worker_memory_pressure"]
