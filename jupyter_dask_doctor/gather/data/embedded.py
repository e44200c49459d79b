"""Large objects of the kernel that stand in a graph itself, and the variables that hold them.

They travel with the graph to the scheduler and with their tasks to the workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...snapshot import Embedded
from .large_objects import Found, Search
from .variables import Variables


def embedded_in(
    graph: Any, variables: Variables | None = None, npartitions: int | None = None
) -> tuple[Embedded, ...]:
    """Objects of at least 1 MB in a graph (dict, HighLevelGraph) or an expression, largest first.

    `variables`: those of the notebook, to name who holds them. `npartitions` of a dataframe: as many tasks have the
    arguments of its functions. Takes at most half a second; what would take longer is left out.
    """
    return named(find(graph, npartitions)[0], variables)


def named(found: Iterable[Found], variables: Variables | None) -> tuple[Embedded, ...]:
    """What was found, with the names of the variables that hold it now."""
    return tuple(
        Embedded(
            type=one.type,
            nbytes=one.nbytes,
            layer=one.layer,
            n_times=one.n_times,
            variable=None if variables is None else variables.name_of(one.ids, one.print),
            is_source=one.is_source,
        )
        for one in found
    )


def find(graph: Any, npartitions: int | None = None) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """As `embedded_in`, before the variables are named, and why there may be more. Holds no reference to any
    object."""
    search = Search(npartitions)
    found = search.run(graph)
    return found, (_TOO_LONG,) if search.is_over else ()


_TOO_LONG = "Not everything in its graph was looked through for large objects: there is too much of it."

#: By the name of an expression, which says what is in it.
_kept: dict[tuple[str, int | None], tuple[tuple[Found, ...], tuple[str, ...]]] = {}
MAX_KEPT = 400


def of_frame(
    expr: Any, variables: Variables | None, npartitions: int | None
) -> tuple[tuple[Embedded, ...], tuple[str, ...]]:
    """As `embedded_in` for the expression of a dataframe, and why there may be more; looked for once."""
    key = (str(expr._name), npartitions)
    known = _kept.get(key)
    if known is None:
        known = find(expr, npartitions)
        while len(_kept) >= MAX_KEPT:
            _kept.pop(next(iter(_kept)), None)
        _kept[key] = known
    found, gaps = known
    return named(found, variables), gaps
