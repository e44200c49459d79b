"""Text that is kept as Python objects.

## Why it matters
A column of dtype `object` is a list of pointers to Python strings: about 60 bytes for each value besides its
characters. Sending or spilling it means to pickle them one by one, and whatever is done to them holds the GIL,
so that the threads of a worker wait for each other. Arrow keeps the same text in one block.

## Anti-pattern
    dask.config.set({"dataframe.convert-string": False})
    visits = dd.read_csv("visits-*.csv", dtype={"page": "object"}).persist()

## Best practice
    visits = dd.read_csv("visits-*.csv", dtype={"page": "string[pyarrow]"}).persist()

Dask converts text by itself as it reads, unless `dataframe.convert-string` is off when the frame is made; what
a function in `map_partitions` or `astype(object)` makes later stays as it is.

## How it is known
Dtypes, bytes and a sample of the values of the partitions in the workers' memory, asked for once; before, where
the files' schema tells. It speaks when text in object columns is at least a fifth of a frame's bytes and 64 MiB.
What Arrow would need is reckoned: the characters and 8 bytes for each value, marked "≈". A warning when that
spares 5 % of the cluster's memory, or when pickling takes at least 1 s and 5 % of a computation on the frame;
else only worth knowing.

Measured with pandas 3.1 on 1,000,000 texts of 14 characters: 72 MB as objects and 23 MB in Arrow's form; pickling
0.35 s and 0.02 s, `str.upper` 0.32 s and 0.11 s, `str.contains` 0.31 s and 0.07 s. Grouping by the column is not
faster.

## When it stays quiet
Object columns that hold something else: decimals, dates, lists, or a mixture. Columns that nobody looked into.
Little text beside numbers, and small frames.

## Fix safety
Needs review: missing values become `<NA>` instead of `None` or `nan`. With `convert-string` on, Dask turns
*every* object column that it reads into text, decimals and dates as well: that is offered only where all object
columns are known to hold text.

## References
https://github.com/dask/dask/issues/10139
https://docs.dask.org/en/stable/configuration.html
https://pandas.pydata.org/docs/user_guide/text.html
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import runs, source, words
from ...remedies import fixes, metas, settings_code
from ...report import Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Activity, Cell, Cluster, Collection, Column, Computation, Load, Location
from ...words import MiB
from ..registry import NotChecked, rule

#: Of a short text: the pointer to it, and the object's own 49 bytes (CPython).
_PER_OBJECT = 57
#: Arrow's mark of where a value begins (`large_string`).
_PER_VALUE = 8
_SETTING = "dataframe.convert-string"
_PICKLING = frozenset({"serialize", "deserialize"})
#: More columns are not named in code.
_MAX_COLUMNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Share of a frame's bytes that text in object columns takes.
    share: float = 0.2
    #: Bytes of it below which nothing is said.
    nbytes: int = 64 * MiB
    #: Share of the cluster's memory that is spared, for a warning.
    memory_share: float = 0.05
    #: Thread-seconds of pickling, and their share of a computation, for a warning.
    pickle_seconds: float = 1.0
    pickle_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """The text in object columns of one frame."""

    columns: tuple[Column, ...]
    nbytes: int
    share: float
    #: Bytes that Arrow would not need; None when the rows are not known.
    spared: int | None


def _measure(
    subject: str, at: Location | None, *, collections: tuple[Collection, ...], **_: object
) -> tuple[Measure, ...]:
    for c in collections:
        if c.name == subject:
            held = sum(x.nbytes.nbytes for x in _columns(c) if _is_text(x) and x.nbytes is not None)
            return (Measure(label="text in Python objects", value=held, unit="bytes"),)
    return ()


@rule(
    id="object-strings",
    title="Text is kept as Python objects",
    severity="warning",
    thresholds=Thresholds(),
    about=("collections",),
    measure=_measure,
)
def object_strings(
    collections: tuple[Collection, ...],
    cluster: Cluster,
    limit: Thresholds,
    code: tuple[Cell, ...] = (),
    computations: tuple[Computation, ...] = (),
    load: tuple[Load, ...] = (),
) -> Iterator[Finding]:
    recent = runs.newest(computations, code)
    frames = [c for c in collections if c.kind in ("dataframe", "series")]
    told: list[Collection] = []
    unknown: list[str] = []
    for c in sorted(frames, key=lambda c: (len(c.names), c.name)):
        if any(o.group == c.group and c.group is not None for o in told):
            continue
        if any(runs.is_made_from(c, o) for o in told):
            continue  # one cause: it is read or made there
        text = _text(c)
        if text is None:
            if _is_unknown(c, limit):
                unknown.append(c.name)
            continue
        if text.share < limit.share or text.nbytes < limit.nbytes:
            continue
        told.append(c)
        yield _finding(c, text, _readers(c, recent, collections, code), frames, cluster, load, code, limit)
    if unknown and not told:
        raise NotChecked(f"What the object columns of {words.code(unknown[0])} hold is not known.")


def _columns(c: Collection) -> tuple[Column, ...]:
    """As the partitions have them, else as meta says."""
    return c.held.columns if c.held is not None and c.held.columns else c.columns


def _is_text(column: Column) -> bool:
    return column.dtype == "object" and column.holds == "string"


def _is_unknown(c: Collection, limit: Thresholds) -> bool:
    """Are there large object columns that nobody looked into?"""
    unseen = [x for x in _columns(c) if x.dtype == "object" and x.holds is None and x.nbytes is not None]
    return sum(x.nbytes.nbytes for x in unseen if x.nbytes is not None) >= limit.nbytes


def _text(c: Collection) -> _Text | None:
    columns = _columns(c)
    mine = tuple(x for x in columns if _is_text(x) and x.nbytes is not None)
    if not mine:
        return None
    nbytes = sum(x.nbytes.nbytes for x in mine if x.nbytes is not None)
    every = [x.nbytes.nbytes for x in columns if x.nbytes is not None]
    total = sum(every) if len(every) == len(columns) else None
    if total is None or (c.n_columns or 0) > len(columns):
        total = c.nbytes.nbytes if c.nbytes is not None else None
    if total is None or total <= 0 or nbytes <= 0:
        return None
    rows = _rows(c)
    spared = None
    if rows:
        each = [(x.nbytes.nbytes if x.nbytes is not None else 0) / rows for x in mine]
        spared = int(sum(max(0.0, e - max(0.0, e - _PER_OBJECT) - _PER_VALUE) for e in each) * rows)
    return _Text(columns=mine, nbytes=nbytes, share=min(1.0, nbytes / total), spared=spared)


def _rows(c: Collection) -> int | None:
    if c.held is not None and c.held.rows and c.held.n > 0:
        n = max(c.npartitions or 0, len(c.held.rows))
        return sum(c.held.rows) * n // len(c.held.rows)
    return c.n_rows


def _readers(
    c: Collection, recent: Sequence[Computation], collections: Sequence[Collection], code: Sequence[Cell]
) -> list[Computation]:
    return [k for k in recent if any(x.name == c.name for x in runs.read_by(k, collections, code))]


def _pickling(c: Computation) -> float:
    """Thread-seconds that went into pickling and unpickling of data."""
    return sum(a.seconds for a in c.activity or () if _is_pickling(a))


def _is_pickling(a: Activity) -> bool:
    return a.label in _PICKLING


def _finding(
    c: Collection,
    text: _Text,
    readers: Sequence[Computation],
    frames: Sequence[Collection],
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    limit: Thresholds,
) -> Finding:
    worst = max(readers, key=_pickling, default=None)
    pickling = _pickling(worst) * text.share if worst is not None else 0.0
    of = worst.thread_seconds if worst is not None else None
    costs = pickling >= limit.pickle_seconds and pickling >= limit.pickle_share * (of or 0.0)
    memory = cluster.memory_limit
    fills = text.spared is not None and memory is not None and text.spared >= limit.memory_share * memory
    severity: Severity = "warning" if costs or fills else "info"
    names = [words.code(x.name) for x in text.columns]
    shown = (
        names[0] if len(names) == 1 else f"{', '.join(names[:2])} and {words.count(len(names) - 2, 'other')}"
    )
    shown = f"{names[0]} and {names[1]}" if len(names) == 2 else shown
    about = "" if all(x.nbytes is not None and x.nbytes.known == "exact" for x in text.columns) else "≈ "
    message = (
        f"{words.code(c.name)} keeps the text of {shown} as Python objects: {about}{words.nbytes(text.nbytes)}, "
        f"{words.share(text.share)} of its bytes"
    )
    message += f"; Arrow would need {words.nbytes(text.spared)} less." if text.spared is not None else "."
    evidence = [
        Evidence(
            label="text in Python objects",
            value=text.nbytes,
            unit="bytes",
            limit=limit.nbytes,
            is_estimated=bool(about),
        ),
        Evidence(label="share of all its bytes", value=text.share, unit="share", limit=limit.share),
    ]
    if text.spared is not None:
        at_most = limit.memory_share * memory if memory is not None else None
        evidence.append(
            Evidence(
                label="spared in Arrow's form",
                value=text.spared,
                unit="bytes",
                limit=at_most,
                is_estimated=True,
            )
        )
    if costs:
        evidence.append(
            Evidence(
                label="pickling",
                value=pickling,
                unit="seconds",
                limit=limit.pickle_seconds,
                is_estimated=True,
            )
        )
    ailing = worst.at if worst is not None else None
    return object_strings.finding(
        severity=severity,
        subject=c.name,
        message=message,
        why="Each value is an object of its own, with about 57 bytes besides its characters. Moving and spilling "
        "them means to pickle one after the other, and work on them holds the GIL.",
        evidence=tuple(evidence),
        at=c.at,
        fixes=tuple(_fixes(c, text, frames, cluster, load, code, ailing)),
        loss_seconds=pickling if costs else None,
        of_seconds=of if costs else None,
        loss_bytes=text.spared,
    )


def _fixes(
    c: Collection,
    text: _Text,
    frames: Sequence[Collection],
    cluster: Cluster,
    load: Sequence[Load],
    code: Sequence[Cell],
    ailing: Location | None,
) -> Iterator[Fix]:
    expect = f"≈ {words.nbytes(text.nbytes)} → {words.nbytes(text.nbytes - (text.spared or 0))}"
    if text.spared is None:
        expect = f"{words.nbytes(text.nbytes)} of objects become text in one block"
    turned_on = _by_setting(c, frames, code, expect, ailing)
    if turned_on is not None:
        yield turned_on
    if len(text.columns) > _MAX_COLUMNS or not fixes.is_name(c.name):
        return
    title = f"Keep the text of {words.code(c.name)} in Arrow's form"
    if c.kind == "series":
        change = '.astype("string[pyarrow]")'
    else:
        change = f".astype({metas.literal({x.name: 'string[pyarrow]' for x in text.columns})})"
    binding = runs.cell_at(code, c.at)
    if c.is_persisted and binding is not None:
        made = _before_persist(c, binding, change, title, expect, ailing)
        if made is not None:
            yield made
            return
    tail = ".persist()" if c.is_persisted else ""
    new = f"{c.name} = {c.name}{change}{tail}"
    if c.is_persisted and not fixes.has_room(text.nbytes, cluster, load, share=cluster.memory_pause):
        yield fixes.advice(new, title=title, expect=f"{expect}. Both do not fit in memory at once")
        return
    yield fixes.rebind(c.name, new, binding=binding, ailing=ailing, title=title, expect=expect)


def _by_setting(
    c: Collection, frames: Sequence[Collection], code: Sequence[Cell], expect: str, ailing: Location | None
) -> Fix | None:
    """The notebook turned the conversion off: on again, where it cannot hit anything but text."""
    found = settings_code.setting(code, _SETTING)
    if found is None or found[1].value is not False:
        return None
    objects = [x for f in frames for x in _columns(f) if x.dtype == "object"]
    if not all(_is_text(x) for x in objects):
        return None
    cell, value = found
    fix = fixes.replace(
        cell,
        source.span(cell.source, value),
        "True",
        title="Let Dask keep all text in Arrow's form",
        expect=f"{expect}, for all frames that are read from then on",
    )
    if fix is None:
        return None
    cells = (
        cell.id,
        c.at.cell_id if c.at is not None else None,
        ailing.cell_id if ailing is not None else None,
    )
    return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in cells if i is not None)))


def _before_persist(
    c: Collection, binding: Cell, change: str, title: str, expect: str, ailing: Location | None
) -> Fix | None:
    """`x = read().persist()` → `x = read().astype(...).persist()`."""
    tree = source.parse(binding.source)
    for statement in tree.body if tree is not None else ():
        if not source.binds(statement, c.name) or not isinstance(statement, ast.Assign):
            continue
        call = statement.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.args:
            return None
        if call.func.attr != "persist":
            return None
        where = source.span(binding.source, call.func)
        head = source.text(binding.source, where).removesuffix("persist").rstrip()
        if not head.endswith("."):
            return None
        new = f"{head[:-1]}{change}.persist"
        fix = fixes.replace(binding, where, new, title=title, expect=expect)
        if fix is None or binding.id is None:
            return None
        cells = (binding.id, ailing.cell_id if ailing is not None else None)
        return dataclasses.replace(fix, rerun=tuple(dict.fromkeys(i for i in cells if i is not None)))
    return None
