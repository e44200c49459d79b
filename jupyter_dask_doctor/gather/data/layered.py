"""What the layers of an array's, a bag's or a Delayed's graph tell, without building any of their tasks.

Such a graph is a `HighLevelGraph` (or a plain dict, written by hand). A blockwise layer knows how many tasks it
stands for before they are made; asking it for one of them would make them all, and keep them in the user's object.
So everything is told by layer. Only of graphs small enough are the tasks followed one by one (`followed.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import Any

from ...snapshot import Layer
from . import followed
from .in_memory import is_a

#: Layers of one graph. Larger ones are hand-made from a hundred thousand Delayed; what is not asked for the sum
#: is left out.
MAX_LAYERS = 200_000
#: Layers up to which steps are sorted, and up to which Dask's own fusing of layers is tried.
MAX_SORTED = 20_000
MAX_FUSED = 200
#: Raw tasks up to which they are followed one by one.
MAX_FOLLOWED = 3_000
#: Chunks up to which a layer that does not know its length is built to be counted.
MAX_BUILT = 2_000
MAX_SHOWN = 20
#: Of a layer's tasks that are looked at to know whether it works one to one.
N_SAMPLES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """A graph's layers. Names are as Dask has them; `order` goes from the sources to the end."""

    layers: Mapping[str, Any]
    dependencies: Mapping[str, frozenset[str]]
    #: None when there were too many of them, or they stand in a ring.
    order: tuple[str, ...] | None
    #: A ring of layers, the first one again at the end.
    ring: tuple[str, ...] = ()


@dataclass(slots=True)
class Told:
    """What could be told. `gaps`: why something could not."""

    n_tasks: int | None = None
    layers: tuple[Layer, ...] = ()
    n_steps: int | None = None
    depth: int | None = None
    cycle: tuple[str, ...] = ()
    gaps: list[str] = field(default_factory=list)


class Breath:
    """Lets the user's cell run between two slices of a long walk, and ends it after `seconds` of work: waiting for
    that cell to let go of the interpreter is none."""

    def __init__(self, seconds: float, every: int = 500) -> None:
        self._deadline = time.thread_time() + seconds
        self._every = every
        self._n = 0
        self.is_over = False

    def take(self) -> bool:
        """Whether there is time left; to be asked at each step."""
        self._n += 1
        if self._n % self._every == 0:
            time.sleep(0)
            self.is_over = self.is_over or time.thread_time() > self._deadline
        return not self.is_over


def layered(graph: Any, name: str) -> Layered:
    """The layers of a graph as a collection holds it; a plain dict is one layer called `name`."""
    layers = getattr(graph, "layers", None) if _is_high_level(graph) else None
    if layers is None:
        return Layered(layers={name: graph}, dependencies={name: frozenset()}, order=(name,))
    if len(layers) > MAX_LAYERS:
        return Layered(layers=layers, dependencies={}, order=None)
    dependencies: dict[str, frozenset[str]] = {}
    breath = Breath(2.0)
    for layer in layers:
        breath.take()
        dependencies[layer] = frozenset(d for d in graph.dependencies.get(layer, ()) if d in layers)
    order, ring = followed.ordered(dependencies)
    return Layered(layers=layers, dependencies=dependencies, order=order, ring=ring)


def told(made: Layered, name: str, keys: followed.Keys, *, fuses: followed.Fuses) -> Told:
    """Everything but what is special to arrays. `keys`: what `compute()` would ask for; `fuses`: what the
    collection's optimizer does.

    `n_tasks` is the number of tasks that the scheduler would get, where the graph has at most 3,000: cut down to
    what `keys` need, with chains fused as the optimizer fuses them. Of larger graphs it is the sum over the layers,
    where layers that work one to one upon each other count once; what is never needed is counted too.
    """
    out = Told()
    if made.ring:
        out.cycle = tuple(_text(n) for n in made.ring)
        out.gaps.append("Its layers depend on each other in a ring.")
        return out
    if made.order is None:
        out.gaps.append(f"It has more than {MAX_LAYERS:,} layers.")
        out.n_tasks = None
        return out
    counts = {}
    for layer in made.order:
        counts[layer] = length(made.layers[layer])
    unknown = [layer for layer, n in counts.items() if n is None]
    out.layers = tuple(
        Layer(name=_text(layer), prefix=prefix(layer), n_tasks=n)
        for layer, n in sorted(
            ((layer, n) for layer, n in counts.items() if n is not None), key=lambda item: -item[1]
        )[:MAX_SHOWN]
    )
    out.n_steps = len(made.order)
    depths: dict[str, int] = {}
    for layer in made.order:
        depths[layer] = 1 + max((depths[d] for d in made.dependencies[layer]), default=0)
    out.depth = max(depths.values(), default=0)
    if unknown:
        out.gaps.append(
            f"How many tasks its step {prefix(unknown[0])} has would be known only after building them."
        )
        return out
    total = sum(n for n in counts.values() if n is not None)
    fused = _fused_layers(made, name, fuses)
    small = fused if fused is not None else made
    n_fused = sum(length(layer) or 0 for layer in small.layers.values())
    out.cycle = _cycle(made, total, out.gaps)
    if out.cycle:
        return out
    if n_fused <= MAX_FOLLOWED:
        out.n_tasks = followed.n_tasks(small.layers, small.dependencies, small.order or (), keys, fuses)
    if out.n_tasks is None:
        out.n_tasks = n_fused - _chained(small, fuses)
    return out


def length(layer: Any) -> int | None:
    """How many tasks a layer stands for; None when they would have to be built to know."""
    kind = type(layer)
    if kind is dict:
        return len(layer)
    if is_a(layer, "dask.highlevelgraph", "MaterializedLayer"):
        return len(layer.mapping)
    if is_a(layer, "dask.blockwise", "Blockwise"):
        if layer.output_blocks:
            return len(layer.output_blocks)
        return int(prod(layer.dims[i] for i in layer.output_indices))
    # A subclass of nobody knows what: only what is there already
    there = getattr(layer, "__dict__", {}).get("_cached_dict")
    if type(there) is dict:
        return len(there)
    made = built(layer)
    if made is not None:
        return len(made)
    if _is_p2p(layer):
        # One transfer per chunk, a barrier, one task per new chunk; more where it falls into parts
        return int(prod(map(len, layer.chunks_input)) + 1 + prod(map(len, layer.chunks)))
    if _is_overlap(layer):
        # A chunk, its parts from each neighbour and what puts them together
        return int(prod(layer.numblocks) * (1 + prod(3 if _overlaps(layer, i) else 1
                                                     for i in range(len(layer.numblocks)))))  # fmt: skip
    return None


def built(layer: Any) -> Mapping[Any, Any] | None:
    """The tasks of a layer of few chunks that has to be built to be known, without keeping them in the layer."""
    if _is_p2p(layer):
        n = prod(map(len, layer.chunks_input)) + prod(map(len, layer.chunks))
    elif _is_overlap(layer):
        n = prod(layer.numblocks)
    else:
        return None
    if n > MAX_BUILT:
        return None
    made = layer._construct_graph()
    return made if type(made) is dict else None


def _is_p2p(layer: Any) -> bool:
    return type(layer).__name__ == "P2PRechunkLayer" and type(layer).__module__.startswith("distributed.")


def _is_overlap(layer: Any) -> bool:
    return type(layer).__name__ == "ArrayOverlapLayer" and type(layer).__module__ == "dask.layers"


def _overlaps(layer: Any, axis: int) -> bool:
    depth = layer.axes.get(axis, 0)
    return layer.numblocks[axis] > 1 and (any(depth) if isinstance(depth, tuple) else bool(depth))


def prefix(layer: Any) -> str:
    """What its tasks are called."""
    from dask.utils import key_split

    return str(key_split(layer))[:100]


def tasks_of(layer: Any) -> Mapping[Any, Any] | None:
    """The tasks of a layer that has them as a plain dict already."""
    if type(layer) is dict:
        return layer
    if is_a(layer, "dask.highlevelgraph", "MaterializedLayer"):
        mapping = layer.mapping
        return mapping if type(mapping) is dict else None
    return None


def _fused_layers(made: Layered, name: str, fuses: followed.Fuses) -> Layered | None:
    """As Dask's array optimizer joins blockwise layers; nothing is built by that."""
    if fuses != "array" or made.order is None or len(made.order) > MAX_FUSED or name not in made.layers:
        return None
    try:
        from dask.blockwise import fuse_roots, optimize_blockwise
    except ImportError:  # of a version that has them elsewhere: the sum over the layers then
        return None
    from dask.highlevelgraph import HighLevelGraph

    graph = HighLevelGraph(dict(made.layers), {k: set(v) for k, v in made.dependencies.items()})
    try:
        joined = optimize_blockwise(graph, keys=[(name,)])  # type: ignore[no-untyped-call]
        graph = fuse_roots(joined, keys=[(name,)])
    except Exception:  # hand-made layers may be anything
        return None
    dependencies = {k: frozenset(graph.dependencies[k]) for k in graph.layers}
    order, ring = followed.ordered(dependencies)
    if ring:
        return None
    return Layered(layers=graph.layers, dependencies=dependencies, order=order)


def _chained(made: Layered, fuses: followed.Fuses) -> int:
    """Tasks that fusing of chains spares, and those nobody needs, as far as it can be told by layer."""
    if fuses == "nothing":
        return 0
    users: dict[str, int] = {}
    for parts in made.dependencies.values():
        for part in parts:
            users[part] = users.get(part, 0) + 1
    below: dict[str, str] = {}
    for layer, parts in made.dependencies.items():
        if len(parts) == 1:
            (part,) = parts
            fits = (length(made.layers[part]) or 0) >= (length(made.layers[layer]) or 0)
            if users[part] == 1 and fits and _is_one_to_one(made.layers[layer]):
                below[layer] = part
    spared = 0
    for layer in set(below) - set(below.values()):
        chain = [layer]
        while chain[-1] in below:
            chain.append(below[chain[-1]])
        spared += sum(length(made.layers[part]) or 0 for part in chain[1:])
        # Of tasks called differently two are left: see `followed`
        if len({prefix(part) for part in chain}) > 1:
            spared -= length(made.layers[layer]) or 0
    return spared


def _is_one_to_one(layer: Any) -> bool:
    """Whether each of its tasks has one input, another one each; told by some of them."""
    if is_a(layer, "dask.blockwise", "Blockwise"):
        names = [(arg, ind) for arg, ind in layer.indices if ind is not None and arg not in layer.io_deps]
        return len(names) == 1 and sorted(names[0][1]) == sorted(layer.output_indices)
    tasks = tasks_of(layer)
    if not tasks:
        return False
    seen: set[Any] = set()
    n = 0
    for task in islice(tasks.values(), N_SAMPLES):
        inputs = followed.inputs(task)
        if inputs is None or len(inputs) != 1:
            return False
        seen.update(inputs)
        n += 1
    return len(seen) == n


def _cycle(made: Layered, total: int, gaps: list[str]) -> tuple[str, ...]:
    """A ring of tasks. Only within one layer: those of layers were looked for before."""
    todo = 0
    breath = Breath(1.0)
    for layer in made.order or ():
        tasks = tasks_of(made.layers[layer])
        if not tasks or len(tasks) < 1:
            continue
        todo += len(tasks)
        if todo > followed.MAX_CYCLE:
            return ()
        found = followed.cycle(tasks, breath.take)
        if found:
            return found
        if breath.is_over:
            gaps.append("Whether its tasks depend on each other in a ring is not known: it has too many.")
            return ()
    return ()


def _is_high_level(graph: Any) -> bool:
    return is_a(graph, "dask.highlevelgraph", "HighLevelGraph")


def _text(name: Any) -> str:
    return str(name)[:200] if isinstance(name, (str, bytes, int, float, tuple)) else type(name).__name__
