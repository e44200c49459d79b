"""A walk through what tasks and expressions are made of, that finds the large objects in them.

Arguments, partials, closures, defaults, what a notebook's function takes from the notebook. Nothing is pickled,
nothing is computed, and of strangers' objects no code is run.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from . import weights
from .followed import is_key
from .layered import Breath, layered, length, prefix, tasks_of
from .variables import Print, printed

#: Smaller ones are not worth a word, and of what is found the largest.
MIN_NBYTES = 1_000_000
MAX_FOUND = 10
#: An item of a container that is told for itself; smaller ones are part of the container.
OWN_NBYTES = 100_000
#: Tasks of one layer that are looked into, and layers and expressions.
N_TASKS = 2_000
MAX_LAYERS = 20_000
MAX_NODES = 2_000
#: Seconds of one walk.
MAX_SECONDS = 0.5
#: More than so many of one type in steps of one kind are told together.
MAX_ALIKE = 10
MAX_DEPTH = 12


@dataclass(slots=True)
class Found:
    """One object, or the parts of one, in a graph."""

    type: str
    layer: str
    is_source: bool
    #: Of it and of what it is a view of. They stay its own as long as the graph lives.
    ids: frozenset[int]
    #: By which a copy of it is known.
    print: Print | None
    #: Bytes of each part.
    parts: dict[int, int] = field(default_factory=dict)
    #: Bytes of all of them, also of those not looked at.
    nbytes: int = 0
    n_times: int = 1
    most: int | None = None


class Search:
    """One walk; `npartitions` of a dataframe, as many tasks have the arguments of its functions."""

    def __init__(self, npartitions: int | None) -> None:
        self._npartitions = npartitions
        self._breath = Breath(MAX_SECONDS, every=200)
        self._found: dict[int, Found] = {}
        #: In this layer: how often each part was met, by the object it belongs to.
        self._met: dict[int, dict[int, int]] = {}
        self._functions: dict[int, tuple[tuple[int, int], ...]] = {}
        self._path: set[int] = set()
        self._layer = ""
        self._is_source = False
        #: Within a task written as a tuple, where keys look like data.
        self._has_keys = False

    @property
    def is_over(self) -> bool:
        """It was ended before its end."""
        return self._breath.is_over

    def run(self, graph: Any) -> tuple[Found, ...]:
        if hasattr(type(graph), "_parameters"):
            self._expression(graph)
        else:
            self._graph(graph)
        return self._told()

    def _told(self) -> tuple[Found, ...]:
        alike: dict[tuple[str, str, bool], list[Found]] = {}
        for one in self._found.values():
            if one.nbytes:
                alike.setdefault((one.type, prefix(one.layer), one.is_source), []).append(one)
        out = []
        for group in alike.values():
            # The partitions of one source are one; arguments are told one by one unless there are many
            is_parted = group[0].is_source and len({one.layer for one in group}) == 1
            if len(group) == 1 or (len(group) <= MAX_ALIKE and not is_parted):
                out.extend(group)
                continue
            first = group[0]
            out.append(
                Found(
                    type=first.type,
                    layer=first.layer,
                    is_source=first.is_source,
                    ids=frozenset(),
                    print=None,
                    nbytes=sum(one.nbytes for one in group),
                    n_times=max(one.n_times for one in group),
                )
            )
        out = [one for one in out if one.nbytes >= MIN_NBYTES]
        return tuple(sorted(out, key=lambda one: -one.nbytes)[:MAX_FOUND])

    # Graphs

    def _graph(self, graph: Any) -> None:
        made = layered(graph, "graph")
        for name, layer in islice(made.layers.items(), MAX_LAYERS):
            if not self._breath.take():
                return
            self._one_layer(str(name), layer)

    def _one_layer(self, name: str, layer: Any) -> None:
        self._begin(name)
        if type(layer).__name__ == "Blockwise":
            n = length(layer) or 1
            self._look(layer.task, n, 0)
            for constant, indices in layer.indices:
                if indices is None:
                    self._look(constant, n, 0)
            for dep in layer.io_deps.values():
                for part in ("mapping", "values"):
                    inner = getattr(dep, "__dict__", {}).get(part)
                    self._look(inner, 1, 0)
            self._end(1)
            return
        tasks = tasks_of(layer)
        if not tasks:
            return
        step = max(1, len(tasks) // N_TASKS)
        looked_at = 0
        for key, task in islice(tasks.items(), 0, None, step):
            if not self._breath.take():
                break
            looked_at += 1
            # A chunk or the store itself, not an argument of anything
            is_whole = type(key) is tuple or (type(key) is str and key.startswith("original-"))
            node = type(task).__module__ == "dask._task_spec" and type(task).__name__ != "DataNode"
            self._is_source = is_whole and not node and not _is_task(task)
            if name.startswith("from_sequence"):
                self._is_source = True
            self._has_keys = _is_task(task)
            self._look(task, 1, 0)
        self._has_keys = False
        self._end(len(tasks) / max(1, looked_at))

    def _begin(self, name: str) -> None:
        self._layer, self._is_source = name[:200], False
        self._met.clear()

    def _end(self, factor: float) -> None:
        """Sums up what one layer held; `factor`: tasks for each that was looked at."""
        for own, parts in self._met.items():
            one = self._found[own]
            times = max(parts.values())
            if len(parts) > 1:
                # Parts of one thing, or a different one in each task
                total = int(sum(one.parts[part] for part in parts) * factor)
                one.nbytes += total if one.most is None or factor == 1 else min(total, one.most)
                one.n_times = max(one.n_times, times)
            else:
                (part,) = parts
                if one.nbytes == 0:
                    one.nbytes = one.parts[part]
                    one.n_times = max(1, int(times * factor))
                else:
                    one.n_times += max(1, int(times * factor))
            one.parts.clear()
        self._met.clear()

    # Expressions

    def _expression(self, root: Any) -> None:
        stack = [root]
        seen: set[int] = set()
        while stack:
            node = stack.pop()
            if id(node) in seen or len(seen) >= MAX_NODES or not self._breath.take():
                continue
            seen.add(id(node))
            if "dsk" in type(node)._parameters:
                self._graph(node.operand("dsk"))
                continue
            names = {cls.__name__ for cls in type(node).__mro__}
            self._begin(str(node._name))
            self._is_source = type(node).__name__.startswith(("FromPandas", "FromArray"))
            times = (self._npartitions or 1) if "Blockwise" in names else 1
            for operand in node.operands:
                if hasattr(type(operand), "_parameters"):
                    stack.append(operand)
                elif type(operand) in (list, tuple) and any(
                    hasattr(type(item), "_parameters") for item in operand[:MAX_NODES]
                ):
                    stack.extend(i for i in operand[:MAX_NODES] if hasattr(type(i), "_parameters"))
                else:
                    self._look(operand, 1 if self._is_source else times, 0)
            self._end(1)

    # Objects

    def _look(self, value: Any, times: int, depth: int) -> None:
        kind = type(value)
        module = weights.module_of(kind)
        if depth > MAX_DEPTH or value is None:
            return
        if module == "dask._task_spec":
            self._node(value, kind.__name__, times, depth)
        elif weights.is_array(value) or weights.is_frame(value) or weights.is_arrow(value):
            self._leaf(value, times)
        elif kind in (list, tuple, dict, set, frozenset):
            self._container(value, times, depth)
        elif kind in (str, bytes, bytearray):
            if len(value) >= OWN_NBYTES:
                self._leaf(value, times)
        elif kind is types.FunctionType:
            self._function(value, times, depth)
        elif kind is functools.partial:
            self._look(value.func, times, depth + 1)
            self._look(value.args, times, depth + 1)
            self._look(value.keywords, times, depth + 1)
        elif kind is types.MethodType:
            self._look(value.__self__, times, depth + 1)
            self._look(value.__func__, times, depth + 1)
        elif module.startswith("dask.dataframe") and kind.__name__ == "_BackendData":
            self._look(value.__dict__.get("_data"), times, depth + 1)
        elif module == "dask.delayed" and kind.__name__.startswith("Delayed"):
            self._nested(value.__dask_graph__())
        elif not module.startswith(_SKIPPED) and kind is not type:
            self._stranger(value, times)

    def _node(self, node: Any, name: str, times: int, depth: int) -> None:
        if name == "DataNode":
            self._look(node.value, times, depth + 1)
        elif name not in ("Alias", "TaskRef"):
            if isinstance(getattr(node, "func", None), types.BuiltinFunctionType):
                pass
            else:
                self._look(getattr(node, "func", None), times, depth + 1)
            for item in islice(getattr(node, "args", ()), N_TASKS):
                self._look(item, times, depth + 1)
            for item in tuple((getattr(node, "kwargs", None) or {}).values()):
                self._look(item, times, depth + 1)

    def _container(self, value: Any, times: int, depth: int) -> None:
        if not value or id(value) in self._path or not self._breath.take():
            return
        own = 0
        items = weights.sample(value) if len(value) > 1_000 else _items(value)
        self._path.add(id(value))
        for item in items:
            if not weights.is_data(item):
                self._look(item, times, depth + 1)
                continue
            if self._has_keys and type(item) in (list, tuple):
                if not (type(item) is tuple and item and is_key(item)):
                    self._look(item, times, depth + 1)
                continue
            nbytes = weights.weigh(item)
            if nbytes >= OWN_NBYTES or type(item) is tuple:
                self._look(item, times, depth + 1)
            else:
                own += nbytes
        self._path.discard(id(value))
        own = own * len(value) // max(1, len(items))
        if own >= 1_000:
            self._add(value, own, times, (), None)

    def _leaf(self, value: Any, times: int) -> None:
        nbytes = weights.weigh(value)
        is_part = weights.is_array(value) and weights.is_array(value.base) and value.base.nbytes >= MIN_NBYTES
        if nbytes < 1_000 and not is_part:
            return
        bases: list[Any] = []
        base = value
        while weights.is_array(base) and base.base is not None and len(bases) < 5:
            base = base.base
            bases.append(base)
        # What it is a part of, unless that is much larger than all its parts
        self._add(value, nbytes, times, tuple(bases), base if weights.is_array(base) else None)

    def _add(self, value: Any, nbytes: int, times: int, bases: tuple[Any, ...], whole: Any) -> None:
        root = bases[-1] if bases else value
        own = id(root)
        one = self._found.get(own)
        if one is None:
            target = whole if whole is not None else value
            one = self._found[own] = Found(
                type=weights.type_name(value),
                layer=self._layer,
                is_source=self._is_source,
                ids=frozenset(map(id, (value, *bases))),
                print=printed(target),
                most=int(root.nbytes) if weights.is_array(root) else None,
            )
        met = self._met.setdefault(own, {})
        met[id(value)] = met.get(id(value), 0) + times
        one.parts[id(value)] = nbytes

    def _function(self, function: Any, times: int, depth: int) -> None:
        code = function.__code__
        is_by_value = function.__module__ == "__main__" or "<" in (function.__qualname__ or "")
        if not is_by_value and not function.__closure__:
            return  # a reference to its module is all that travels
        if id(function) in self._path:
            return
        self._path.add(id(function))
        for cell in function.__closure__ or ():
            try:
                inner = cell.cell_contents
            except ValueError:
                continue
            self._look(inner, times, depth + 1)
        for default in chain(function.__defaults__ or (), (function.__kwdefaults__ or {}).values()):
            self._look(default, times, depth + 1)
        if function.__module__ == "__main__" and type(function.__globals__) is dict:
            for name in _names(code):
                inner = function.__globals__.get(name)
                if inner is not None and type(inner) is not types.ModuleType:
                    self._look(inner, times, depth + 1)
        self._path.discard(id(function))

    def _nested(self, graph: Any) -> None:
        """A Delayed among the operands of an expression."""
        layer, is_source, met = self._layer, self._is_source, self._met
        self._met = {}
        self._graph(graph)
        self._layer, self._is_source, self._met = layer, is_source, met

    def _stranger(self, value: Any, times: int) -> None:
        state = weights.state_of(value)
        if state:
            nbytes = weights.weigh(state)
            if nbytes >= OWN_NBYTES:
                self._add(value, nbytes, times, (), None)


#: Their objects are handles of something that lies elsewhere.
_SKIPPED = (
    "dask", "distributed", "zarr", "h5py", "fsspec", "s3fs", "gcsfs", "pyarrow", "threading", "_thread", "_io", "io",
    "logging", "numpy.random", "tornado", "asyncio",
)  # fmt: skip


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value.values()) if type(value) is dict else tuple(value)


def _is_task(value: Any) -> bool:
    return type(value) is tuple and bool(value) and callable(value[0])


def _names(code: types.CodeType, depth: int = 0) -> Iterable[str]:
    yield from code.co_names[:200]
    if depth < 3:
        for constant in code.co_consts:
            if type(constant) is types.CodeType:
                yield from _names(constant, depth + 1)
