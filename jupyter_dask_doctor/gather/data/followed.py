"""Tasks of a small graph followed one by one: which are needed, which would be fused, and whether they go in rings.

Dask's own functions for that build every layer, keep what they built, and ask strangers' objects whether they
are keys. Here a key is a string, bytes, number or tuple of these, and nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from .weights import module_of

#: What an optimizer does: "array" joins blockwise layers and fuses chains of tasks, "bag" fuses chains, a Delayed's
#: does nothing but leave out what is not needed.
Fuses = Literal["array", "bag", "nothing"]
Keys = Callable[[], Iterable[Any]]

#: Tasks among which rings are looked for.
MAX_CYCLE = 50_000
MAX_CYCLE_SHOWN = 20
#: How deep a task written as a tuple is looked into.
MAX_NESTED = 8
MAX_ITEMS = 10_000


def ordered(
    dependencies: Mapping[Any, Iterable[Any]], go_on: Callable[[], bool] = lambda: True
) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
    """From the sources to the end, or the first ring that was found: the first one stands again at its end.
    Neither when `go_on` says that time is up."""
    order: list[Any] = []
    state: dict[Any, bool] = {}  # False: on the way, True: done
    for start in dependencies:
        if start in state:
            continue
        path = [start]
        iterators = [iter(tuple(dependencies[start]))]
        state[start] = False
        while path:
            if not go_on():
                return None, ()
            for part in iterators[-1]:
                if part not in dependencies:
                    continue
                known = state.get(part)
                if known is None:
                    state[part] = False
                    path.append(part)
                    iterators.append(iter(tuple(dependencies[part])))
                    break
                if known is False:
                    return None, (*path[path.index(part) :], part)
            else:
                state[path[-1]] = True
                order.append(path.pop())
                iterators.pop()
    return tuple(order), ()


def inputs(task: Any) -> frozenset[Any] | None:
    """The keys a task needs, among others that only look like one when it is a plain tuple; None when nobody
    can tell."""
    if is_node(task):
        needed = task.dependencies
        return needed if isinstance(needed, frozenset) else frozenset(needed)
    found: set[Any] = set()
    _search(task, found, 0)
    return frozenset(found)


def _search(value: Any, found: set[Any], depth: int) -> None:
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) <= 1_000:
            found.add(value)
    elif kind is int or kind is float:
        found.add(value)
    elif kind is tuple:
        if value and callable(value[0]):
            if depth < MAX_NESTED:
                for item in value[1 : MAX_ITEMS + 1]:
                    _search(item, found, depth + 1)
        elif is_key(value):
            found.add(value)
    elif kind is list and depth < MAX_NESTED:
        for item in value[:MAX_ITEMS]:
            _search(item, found, depth + 1)
    elif kind is dict and depth < MAX_NESTED and len(value) <= MAX_ITEMS:
        for item in tuple(value.values()):
            _search(item, found, depth + 1)
    elif is_node(value):
        found |= inputs(value) or frozenset()


def is_node(value: Any) -> bool:
    """A task of Dask's own making; there are some of the shuffle's."""
    kind = type(value)
    return module_of(kind) in _NODES and hasattr(kind, "dependencies")


_NODES = frozenset(
    [
        "dask._task_spec",
        "distributed.shuffle._core",
        "distributed.shuffle._merge",
        "distributed.shuffle._rechunk",
        "distributed.shuffle._shuffle",
    ]
)


def is_key(value: Any) -> bool:
    """A key of Dask's, by its type alone."""
    if type(value) is tuple:
        return 0 < len(value) <= 32 and all(is_key(item) for item in value)
    return type(value) in (str, bytes, int, float)


def cycle(tasks: Mapping[Any, Any], go_on: Callable[[], bool]) -> tuple[str, ...]:
    """A ring among these tasks as text, the first one again at the end; empty when there is none, or time is up."""
    dependencies: dict[Any, frozenset[Any]] = {}
    # Nothing is kept for a task that needs none of the others: many small objects made at once wake Python's
    # collector, and while that works the user's cell stands still.
    for key in tuple(tasks):
        if not go_on():
            return ()
        if not is_key(key):
            continue
        needed = inputs(tasks.get(key))
        if needed and any(k in tasks for k in needed):
            dependencies[key] = frozenset(k for k in needed if k in tasks)
    _, ring = ordered(dependencies, go_on)
    if len(ring) > MAX_CYCLE_SHOWN:
        ring = (*ring[: MAX_CYCLE_SHOWN - 2], "…", ring[-1])
    return tuple(str(key)[:200] for key in ring)


def n_tasks(
    layers: Mapping[str, Any],
    dependencies: Mapping[str, Iterable[str]],
    order: Iterable[str],
    keys: Keys,
    fuses: Fuses,
) -> int | None:
    """Tasks that are left when what nobody needs is left out and chains are fused; None when it cannot be told."""
    from .layered import built, tasks_of

    wanted = list(keys())
    needed: dict[str, set[Any]] = {layer: set() for layer in layers}
    found: dict[str, dict[Any, frozenset[Any]]] = {layer: {} for layer in layers}
    by_layer: dict[str, Mapping[Any, Any] | None] = {}
    for layer, one in layers.items():
        tasks = tasks_of(one)
        by_layer[layer] = built(one) if tasks is None else tasks
    alone: set[Any] = set()
    sources = list(layers)
    _hand_out(wanted, sources, by_layer, needed)
    for layer in reversed(tuple(order)):
        tasks = by_layer[layer]
        below: set[Any] = set()
        if tasks is None:
            if type(layers[layer]).__name__ != "Blockwise":
                return None
            # This makes a smaller layer, and none of its tasks
            _, parts = layers[layer].cull(needed[layer], ())
            for key, inner in parts.items():
                found[layer][key] = frozenset(inner)
                below |= inner
        else:
            todo = list(needed[layer])
            while todo:
                key = todo.pop()
                if key in found[layer]:
                    continue
                parts_of = inputs(tasks[key])
                if parts_of is None:
                    return None
                own = frozenset(parts_of)
                found[layer][key] = own
                if is_node(tasks[key]) and tasks[key].block_fusion:
                    alone.add(key)
                todo.extend(k for k in own if k in tasks)
                below |= own
        _hand_out(below, list(dependencies[layer]), by_layer, needed)
    everything: dict[Any, frozenset[Any]] = {}
    for layer in order:
        everything.update(found[layer])
    for key, parts_of in everything.items():
        # Plain tuples name what only looks like a key
        everything[key] = frozenset(k for k in parts_of if k in everything)
    if fuses == "nothing":
        return len(everything)
    return len(everything) - _fusible(everything, set(wanted), alone)


def _hand_out(
    keys: Iterable[Any],
    layers: list[str],
    tasks: Mapping[str, Mapping[Any, Any] | None],
    needed: dict[str, set[Any]],
) -> None:
    """Notes for each layer the keys that are its own."""
    for key in keys:
        name = key[0] if type(key) is tuple and key else key
        for layer in layers:
            own = tasks[layer]
            if name == layer if own is None else key in own:
                needed[layer].add(key)
                break


def _fusible(dependencies: Mapping[Any, frozenset[Any]], wanted: set[Any], alone: set[Any]) -> int:
    """How many tasks `dask._task_spec.fuse_linear_task_spec` spares, visiting them in this order. `alone`: those
    that it leaves as they are.

    A chain of tasks that are called differently becomes two: one that does it all, and one by the old name.
    """
    users: dict[Any, list[Any]] = {key: [] for key in dependencies}
    for key, parts in dependencies.items():
        for part in parts:
            users[part].append(key)
    called: dict[Any, str] = {}
    seen: set[Any] = set()
    spared = 0
    for key in dependencies:
        if key in seen:
            continue
        seen.add(key)
        parts = dependencies[key]
        if (len(parts) != 1 and len(users[key]) != 1) or key in alone:
            continue
        chain = [key]
        while len(parts) == 1:
            (part,) = parts
            if part in seen:
                break
            seen.add(part)
            if len(users[part]) != 1 or part in wanted or part in alone:
                break
            chain.append(part)
            parts = dependencies[part]
        top = key
        while len(users[top]) == 1 and top not in wanted:
            (user,) = users[top]
            if user in seen:
                break
            seen.add(user)
            if len(dependencies[user]) != 1 or user in alone:
                break
            chain.append(user)
            top = user
        if len(chain) > 1:
            spared += len(chain) - 1 - (len({_called(key, called) for key in chain}) > 1)
    return spared


def _called(key: Any, known: dict[Any, str]) -> str:
    name = key[0] if type(key) is tuple else key
    found = known.get(name)
    if found is None:
        from .layered import prefix

        found = known[name] = prefix(name)
    return found
