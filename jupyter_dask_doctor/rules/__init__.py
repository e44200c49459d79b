"""All rules, by family. Importing this room registers them."""

from . import graph, memory, partitions
from .registry import RULES, Rule, rule

__all__ = ["RULES", "Rule", "graph", "memory", "partitions", "rule"]
