"""All rules, by family. Importing this room registers them."""

from . import cluster, graph, memory, partitions, scheduling
from .registry import RULES, NotChecked, Rule, rule

__all__ = [
    "RULES",
    "NotChecked",
    "Rule",
    "cluster",
    "graph",
    "memory",
    "partitions",
    "rule",
    "scheduling",
]
