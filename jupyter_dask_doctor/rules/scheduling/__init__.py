"""Who runs what, when, and what keeps the threads from working."""

from .busy_scheduler import busy_scheduler
from .disk_bound import disk_bound
from .failing_tasks import failing_tasks
from .gil_contention import gil_contention
from .idle_workers import idle_workers
from .interrupted_workers import interrupted_workers
from .lost_results import lost_results
from .masked_retries import masked_retries
from .scaling_thrash import scaling_thrash
from .serialization_bound import serialization_bound
from .stalled_computation import stalled_computation
from .stragglers import stragglers
from .tiny_tasks import tiny_tasks
from .transfer_bound import transfer_bound
from .unrunnable_tasks import unrunnable_tasks
from .worker_imbalance import worker_imbalance

__all__ = [
    "busy_scheduler",
    "disk_bound",
    "failing_tasks",
    "gil_contention",
    "idle_workers",
    "interrupted_workers",
    "lost_results",
    "masked_retries",
    "scaling_thrash",
    "serialization_bound",
    "stalled_computation",
    "stragglers",
    "tiny_tasks",
    "transfer_bound",
    "unrunnable_tasks",
    "worker_imbalance",
]
