"""Cells that run a part of the ailing work where a person can look at it: here in the kernel, one task at a time."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from .. import source, words
from ..judging import runs
from ..report import Fix
from ..snapshot import Cell, Cluster, Collection, Location
from . import calls, fixes

#: What `submit` and `map` keep for themselves; all other keywords are the function's.
_OF_THE_CLIENT = frozenset(
    {
        "actor", "actors", "allow_other_workers", "batch_size", "fifo_timeout", "key", "priority", "pure",
        "resources", "retries", "workers",
    }
)  # fmt: skip
#: Longer code of the user's is not repeated in a new cell.
MAX_CODE = 500


def here(
    at: Location | None, prefix: str, code: Sequence[Cell], collections: Sequence[Collection] = ()
) -> tuple[Fix, ...]:
    """The ailing cell's work on the kernel's own thread, or one task of it; nothing where it cannot be told."""
    cell = runs.cell_at(code, at)
    tree = source.parse(cell.source) if cell is not None else None
    if cell is None or tree is None:
        return ()
    call = _one_task(cell, prefix, collections)
    if call is not None:
        text = f"# one task of it, here in the kernel: `%debug` shows where it failed\n{call}"
        title = f"Run one task of {words.code(prefix)} here"
        expect = "the same error or the same wait, in this notebook, with all that Python tells"
        return (fixes.insert_below(cell, text, title=title, expect=expect, rerun=None),)
    whole = _computed(cell, tree, collections)
    if whole is None:
        return ()
    text = f'import dask\n\nwith dask.config.set(scheduler="synchronous"):  # one task after the other\n    {whole}'
    title = "Run it here, one task after the other"
    expect = "the kernel does all of it on one thread; the same error, and `%debug` shows where"
    return (fixes.insert_below(cell, text, title=title, expect=expect, rerun=None),)


def call_stacks(at: Location | None, cluster: Cluster, code: Sequence[Cell]) -> tuple[Fix, ...]:
    """A cell that prints where every running task stands; nothing while the kernel is busy with the cell."""
    cell, client = runs.cell_at(code, at), calls.client(cluster)
    if client is None or cell is None or cell.stopped is None:
        return ()
    text = (
        f"for worker, tasks in {client}.call_stack().items():\n"
        "    for key, frames in tasks.items():\n"
        '        print(worker, key, *frames, sep="\\n")'
    )
    return (
        fixes.insert_below(
            cell,
            text,
            title="Show where every running task stands",
            expect="the call stacks of all running tasks; nothing is stopped",
            rerun=None,
            applicability="safe",
        ),
    )


def _one_task(cell: Cell, prefix: str, collections: Sequence[Collection]) -> str | None:
    """`f(x)` of `client.submit(f, x)`, and `f(next(iter(xs)))` of `client.map(f, xs)`."""
    made = calls.one_call(cell, {"submit", "map"})
    if made is None or len(made.call.args) < 2 or not isinstance(made.call.func, ast.Attribute):
        return None
    owner = made.call.func.value
    if not isinstance(owner, ast.Name) or any(c.name == owner.id for c in collections):
        return None  # `bag.map(f)` sends one task per partition
    function, *given = made.call.args
    name = function.id if isinstance(function, ast.Name) else None
    if name is None or name != prefix or any(isinstance(a, ast.Starred) for a in given):
        return None
    texts = [source.text(cell.source, source.span(cell.source, a)) for a in given]
    if calls.called(made.call) == "map":
        texts = [f"next(iter({text}))" for text in texts]
    for k in made.call.keywords:
        if k.arg is None:
            return None
        if k.arg not in _OF_THE_CLIENT:
            texts.append(source.text(cell.source, source.span(cell.source, k)))
    whole = f"{name}({', '.join(texts)})"
    return whole if len(whole) <= MAX_CODE and "\n" not in whole else None


def _computed(cell: Cell, tree: ast.Module, collections: Sequence[Collection]) -> str | None:
    """The last `x.compute()` of the cell; of a frame that a variable holds, on its first two partitions."""
    computed = [c for c in fixes.calls(tree, "compute") if source.root(c) is not None and not c.args]
    if not computed or not isinstance(computed[-1].func, ast.Attribute):
        return None
    owner = computed[-1].func.value
    name = owner.id if isinstance(owner, ast.Name) else None
    known = next((c for c in collections if c.name == name), None)
    if name == "dask":
        return None
    text = source.text(cell.source, source.span(cell.source, owner))
    is_frame = known is not None and known.kind in ("dataframe", "series") and not known.is_eager
    if is_frame and known is not None and (known.npartitions or 0) > 2:
        text = f"{text}.partitions[:2]"
    whole = f"{text}.compute()"
    return whole if len(whole) <= MAX_CODE and "\n" not in whole else None
