"""What is sent to the scheduler, and how often."""

from .embedded_data import embedded_data
from .large_graph import large_graph
from .repeated_compute import repeated_compute
from .unfused_compute import unfused_compute

__all__ = ["embedded_data", "large_graph", "repeated_compute", "unfused_compute"]
