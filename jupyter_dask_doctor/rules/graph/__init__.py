"""What is sent to the scheduler, and how often."""

from .cyclic_graph import cyclic_graph
from .deep_expression import deep_expression
from .embedded_data import embedded_data
from .large_graph import large_graph
from .repeated_compute import repeated_compute
from .slow_start import slow_start
from .unfused_compute import unfused_compute
from .unused_persist import unused_persist

__all__ = [
    "cyclic_graph",
    "deep_expression",
    "embedded_data",
    "large_graph",
    "repeated_compute",
    "slow_start",
    "unfused_compute",
    "unused_persist",
]
