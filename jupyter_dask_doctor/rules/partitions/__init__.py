"""How data is cut."""

from .oversized_partitions import oversized_partitions
from .partition_size_deadlock import partition_size_deadlock
from .partition_skew import partition_skew

__all__ = ["oversized_partitions", "partition_size_deadlock", "partition_skew"]
