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
Dtypes, bytes and a sample of the values of the partitions in the workers' memory, asked for once; before, what is
read from CSV files as `object`, with the bytes that a sample of the files lets expect. It speaks when text in
object columns is at least a fifth of a frame's bytes and 64 MiB. What Arrow would need is reckoned: the characters
and 8 bytes for each value, marked "≈". A warning when that spares 5 % of the cluster's memory, of a frame that is
persisted or about to be, or when pickling takes at least 1 s and 5 % of a computation on the frame; else only worth
knowing.

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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import words
from ...judging import planned, runs
from ...remedies import arrow_text
from ...report import Evidence, Finding, Measure, Severity
from ...snapshot import Activity, Cell, Cluster, Collection, Column, Computation, Load, Location
from ...words import MiB
from ..registry import NotChecked, rule

#: Of a short text: the pointer to it, and the object's own 49 bytes (CPython).
_PER_OBJECT = 57
#: Arrow's mark of where a value begins (`large_string`).
_PER_VALUE = 8
_PICKLING = frozenset({"serialize", "deserialize"})
#: Steps that make no values of their own.
_READING = ("read-csv", "read_csv", "readcsv", "getitem", "projection")


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
            held = sum(x.nbytes.nbytes for x in _columns(c) if _is_text(x, c) and x.nbytes is not None)
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
    kept = {c.name for c in collections if c.is_persisted}
    kept |= {c.name for p in planned.planned(code, collections, "persist") for c in p.collections}
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
        readers = _readers(c, recent, collections, code)
        yield _finding(c, text, readers, c.name in kept, frames, cluster, load, code, limit)
    if unknown and not told:
        raise NotChecked(f"What the object columns of {words.code(unknown[0])} hold is not known.")


def _columns(c: Collection) -> tuple[Column, ...]:
    """As the partitions have them, else as meta says."""
    return c.held.columns if c.held is not None and c.held.columns else c.columns


def _is_text(column: Column, c: Collection) -> bool:
    if column.dtype != "object":
        return False
    return column.holds == "string" or (column.holds is None and c.held is None and _is_as_read(c))


def _is_as_read(c: Collection) -> bool:
    """Straight from text files: whatever is no number there is text."""
    if not c.reads or any(r.format != "csv" for r in c.reads):
        return False
    return all(name.lower().startswith(_READING) for name in c.names)


def _is_unknown(c: Collection, limit: Thresholds) -> bool:
    """Are there large object columns that nobody looked into?"""
    unseen = [x for x in _columns(c) if x.dtype == "object" and x.holds is None and x.nbytes is not None]
    return sum(x.nbytes.nbytes for x in unseen if x.nbytes is not None) >= limit.nbytes


def _text(c: Collection) -> _Text | None:
    columns = _columns(c)
    mine = tuple(x for x in columns if _is_text(x, c) and x.nbytes is not None)
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
    is_kept: bool,
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
    # What is read piece by piece fills no memory
    fills = is_kept and text.spared is not None and memory is not None
    fills = fills and (text.spared or 0) >= limit.memory_share * (memory or 0)
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
        fixes=arrow_text.offers(
            c,
            text.columns,
            nbytes=text.nbytes,
            spared=text.spared,
            has_only_text=all(_is_text(x, f) for f in frames for x in _columns(f) if x.dtype == "object"),
            cluster=cluster,
            load=load,
            code=code,
            ailing=ailing,
        ),
        loss_seconds=pickling if costs else None,
        of_seconds=of if costs else None,
        loss_bytes=text.spared,
    )
