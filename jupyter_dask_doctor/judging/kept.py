"""What a persisted collection keeps of the cluster's memory: two rules ask the same here."""

from __future__ import annotations

from collections.abc import Sequence

from .. import words
from ..report import Measure
from ..snapshot import Cluster, Collection, Kernel, Load, Location


def room(cluster: Cluster, load: Sequence[Load], kernel: Kernel | None) -> int:
    """Bytes that the workers may take; 0 when nobody knows."""
    memory = cluster.memory_limit
    if memory is None and cluster.is_in_process and kernel is not None:
        memory = kernel.memory_total
    # A worker that is restarted just now will be back
    return max([memory or 0, *(p.memory_limit for p in load if p.memory_limit)])


def nbytes(c: Collection) -> int:
    """What was seen of it in memory, else what it is said to have; 0 when neither is known."""
    return c.sizes.total if c.sizes is not None else c.nbytes.nbytes if c.nbytes is not None else 0


def measure(
    subject: str, at: Location | None, *, collections: tuple[Collection, ...], **_: object
) -> tuple[Measure, ...]:
    """Bytes that the variable still keeps."""
    held = next((c for c in collections if c.name == subject and c.is_persisted), None)
    value = 0 if held is None else nbytes(held)
    return (Measure(label=f"kept by {words.code(subject)}", value=value, unit="bytes"),)
