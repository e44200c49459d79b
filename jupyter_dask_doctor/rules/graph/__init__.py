"""What is sent to the scheduler, and how often."""

from .large_graph import large_graph
from .repeated_compute import repeated_compute
from .unfused_compute import unfused_compute

__all__ = ["large_graph", "repeated_compute", "unfused_compute"]
