"""How data is cut."""

from .chunk_explosion import chunk_explosion
from .eager_metadata import eager_metadata
from .lossy_merge import lossy_merge
from .mismatched_meta import mismatched_meta
from .object_strings import object_strings
from .oversized_partitions import oversized_partitions
from .partition_size_deadlock import partition_size_deadlock
from .partition_skew import partition_skew
from .tiny_partitions import tiny_partitions
from .too_few_partitions import too_few_partitions
from .too_many_partitions import too_many_partitions
from .unknown_divisions import unknown_divisions

__all__ = [
    "chunk_explosion",
    "eager_metadata",
    "lossy_merge",
    "mismatched_meta",
    "object_strings",
    "oversized_partitions",
    "partition_size_deadlock",
    "partition_skew",
    "tiny_partitions",
    "too_few_partitions",
    "too_many_partitions",
    "unknown_divisions",
]
