"""Partitions that are not what their meta says.

## Why it matters
Dask plans every step from meta, an empty frame with the columns and dtypes that it expects. Where the
partitions hold something else, plans go wrong: `sum` of numbers that are text joins them into one long word,
columns that are renamed by position get each other's names, filters and joins fail far from the cause.

## Anti-pattern
    def parse(part):
        return part.assign(price=part.price.str.removeprefix("$"))     # still text

    sales = raw.map_partitions(parse, meta={"shop": "int64", "price": "float64"})

## Best practice
    def parse(part):
        return part.assign(price=part.price.str.removeprefix("$").astype("float64"))

Or a `meta=` that says what comes out. `map_partitions` checks names and their order, `from_delayed` dtypes as
well; `from_map` checks nothing unless told `enforce_metadata=True`.

## How it is known
Columns and dtypes of the partitions in the workers' memory, asked for once, against meta. And the errors that
Dask itself raises: "The columns in the computed data do not match the columns in the provided metadata",
"Metadata mismatch found in `from_delayed`", "Mismatched dtypes found in `pd.read_csv`". Other names, another
order, or text where numbers are expected are critical, objects where numbers are expected a warning.

## When it stays quiet
Integers that became floats and booleans that became objects, as missing values make them, and numbers in a
column that meta calls `object` are only worth knowing. Categories, any two kinds of text, text in an object
column, another resolution of times, other widths of numbers, and the name of a series count as alike. What
lies in no worker's memory is not known.

## Fix safety
Needs review: meta then says what the data are, which may not be what they should be. `astype` to the dtype
that the partitions have changes no value.

## References
https://docs.dask.org/en/stable/generated/dask.dataframe.map_partitions.html
https://docs.dask.org/en/stable/dataframe-design.html#metadata
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import source, words
from ...judging import runs, schemas
from ...judging.schemas import Unlike
from ...remedies import fixes, metas
from ...report import Detail, Evidence, Finding, Fix, Measure, Severity
from ...snapshot import Cell, Collection, Column, Location, TaskFailure
from ..registry import rule

_READS = frozenset({"read_csv", "read_table", "read_fwf"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Partitions that must have been looked at.
    npartitions: int = 1
    #: Columns named in a message.
    named: int = 3


def _measure(
    subject: str,
    at: Location | None,
    *,
    collections: tuple[Collection, ...],
    failures: tuple[TaskFailure, ...] = (),
    code: tuple[Cell, ...] = (),
    **_: object,
) -> tuple[Measure, ...]:
    n = len([f for f in _told(failures, code) if runs.same_cell(f.at, at)])
    for c in collections:
        if c.name == subject and c.held is not None:
            found = _compared(c)
            n += len({*found.extra, *found.missing, *found.order, *(name for name, _, _ in found.dtypes)})
    return (Measure(label="columns or tasks unlike their meta", value=n, unit="count"),)


@rule(
    id="mismatched-meta",
    title="Partitions are not what their meta says",
    severity="critical",
    thresholds=Thresholds(),
    about=("collections", "failures"),
    has_stake=False,
    measure=_measure,
)
def mismatched_meta(
    collections: tuple[Collection, ...],
    limit: Thresholds,
    failures: tuple[TaskFailure, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    told: set[str] = set()
    for failure in _told(failures, code):
        subject, cells = _origin(failure, collections, code)
        if subject not in told:
            told.add(subject)
            yield _of_failure(subject, failure, cells, collections, limit)
    groups: set[str | None] = set()
    for c in sorted(collections, key=lambda c: len(c.names)):
        if c.held is None or c.name in told or c.held.n < limit.npartitions or c.group in groups:
            continue
        found = _compared(c)
        if not found.is_by_name and not found.dtypes:
            continue
        if c.group is not None:
            groups.add(c.group)
        yield _of_partitions(c, found, code, limit)


def _told(failures: Sequence[TaskFailure], code: Sequence[Cell]) -> list[TaskFailure]:
    """The first failure of each cell in which Dask says that data are not like their meta."""
    found: dict[object, TaskFailure] = {}
    for f in sorted(failures, key=lambda f: f.time):
        if schemas.said(f.text) is not None and not runs.is_stale(f.at, f.time, code):
            key = (f.at.cell_id, f.at.execution_count) if f.at is not None else f.prefix
            found.setdefault(key, f)
    return list(found.values())


def _compared(c: Collection) -> Unlike:
    if c.held is None or c.kind not in ("dataframe", "series") or not c.held.columns or not c.columns:
        return Unlike()
    if c.kind == "series":
        return schemas.unlike(c.columns, c.held.columns, by_name=False)
    found = schemas.unlike(c.columns, c.held.columns)
    if c.n_columns is not None and c.n_columns > len(c.columns):
        # Only the first of them are known, on either side
        return Unlike(dtypes=found.dtypes)
    return found


def _severity(found: Unlike) -> Severity:
    if found.is_by_name or any(schemas.is_certain(a, b) for _, a, b in found.dtypes):
        return "critical"
    # `object` promises nothing that could be broken
    if any(schemas.distance(a, b) == "other" and schemas.family(a) != "object" for _, a, b in found.dtypes):
        return "warning"
    return "info"


def _how(found: Unlike, limit: Thresholds) -> str:
    """In words: "`price` is `str` instead of `float64`"."""
    if found.type is not None:
        return f"a partition is a {words.code(found.type[1])} instead of a {words.code(found.type[0])}"
    parts = []
    if found.dtypes:
        said = [f"{words.code(n)} is {words.code(b)} instead of {words.code(a)}" for n, a, b in found.dtypes]
        parts.append(_listed(said, limit))
    if found.missing:
        have = "is" if len(found.missing) == 1 else "are"
        parts.append(f"{_listed([words.code(n) for n in found.missing], limit)} {have} missing")
    if found.extra:
        parts.append(f"{_listed([words.code(n) for n in found.extra], limit)} was not expected")
    if found.order:
        parts.append(f"the columns stand in another order, {words.code(found.order[0])} first")
    return ", ".join(parts) or "columns or dtypes differ"


def _listed(parts: Sequence[str], limit: Thresholds) -> str:
    shown, more = list(parts[: limit.named]), len(parts) - limit.named
    if more > 0:
        shown.append(f"{more} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _of_partitions(c: Collection, found: Unlike, code: Sequence[Cell], limit: Thresholds) -> Finding:
    assert c.held is not None
    severity = _severity(found)
    why = "Dask plans each step from meta and never looks: what it plans for numbers is done to text, "
    why += "and what is named by place gets the wrong name."
    if severity == "info":
        why = "Missing values make floats of integers and objects of booleans, and an object column may hold "
        why += "anything: Dask gets along with it."
    evidence = [
        Evidence(label="partitions looked at", value=c.held.n, unit="count", limit=limit.npartitions),
        *(Evidence(label=n, value=f"{a} → {b}", unit="text") for n, a, b in found.dtypes[:5]),
    ]
    if c.held.unlike:
        evidence.append(
            Evidence(label="partitions unlike the first", value=", ".join(c.held.unlike[:5]), unit="text")
        )
    return mismatched_meta.finding(
        severity=severity,
        subject=c.name,
        message=f"The partitions of {words.code(c.name)} are not what its meta says: {_how(found, limit)}.",
        why=why,
        evidence=tuple(evidence),
        at=c.at,
        fixes=tuple(_mend(c, found, code)),
    )


def _mend(c: Collection, found: Unlike, code: Sequence[Cell]) -> Iterator[Fix]:
    assert c.held is not None
    binding = runs.cell_at(code, c.at)
    real: tuple[Column, ...] = c.held.columns
    expect = "meta says what the partitions have; the data stay as they are"
    made = metas.call_with_meta([binding]) if binding is not None else None
    whole = c.n_columns is None or c.n_columns <= len(real)
    if made is not None and whole:
        title = f"Say in `meta=` what {words.code(c.name)} really has"
        fix = metas.real_meta(
            made, real, is_series=c.kind == "series", title=title, expect=expect, ailing=c.at
        )
        if fix is not None:
            yield fix
    if found.is_by_name or not fixes.is_name(c.name) or not found.dtypes:
        return
    title = f"Tell Dask the dtypes that {words.code(c.name)} has"
    if c.kind == "series":
        text = f"{c.name} = {c.name}.astype({metas.quoted(found.dtypes[0][2])})"
    else:
        text = f"{c.name} = {c.name}.astype({metas.literal({n: b for n, _, b in found.dtypes})})"
    yield fixes.rebind(c.name, text, binding=binding, ailing=None, title=title, expect=expect)


def _origin(
    failure: TaskFailure, collections: Sequence[Collection], code: Sequence[Cell]
) -> tuple[str, list[Cell]]:
    """The variable that is not like its meta, and the cells that may have made it, the likeliest first."""
    cell = runs.cell_at(code, failure.at)
    spoken = [c for c in runs.spoken_of(cell, collections) if c.kind in ("dataframe", "series")]
    cells = [cell] if cell is not None else []
    cells += [b for c in spoken if (b := runs.cell_at(code, c.at)) is not None and b not in cells]
    methods = _READS if schemas.is_of_csv(failure.text) else metas.METHODS
    made = metas.one_call(cells, methods) or metas.call_with_meta(cells)
    if made is not None:
        tree = source.parse(made.cell.source)
        for c in spoken:
            for statement in tree.body if tree is not None else ():
                if source.binds(statement, c.name) and metas.holds(statement, made.call):
                    return c.name, cells
    return (spoken[0].name if len(spoken) == 1 else failure.prefix), cells


def _of_failure(
    subject: str,
    failure: TaskFailure,
    cells: Sequence[Cell],
    collections: Sequence[Collection],
    limit: Thresholds,
) -> Finding:
    found = schemas.said(failure.text) or Unlike()
    offered = _mend_failure(found, failure, cells)
    text = failure.text.replace("\\n", "\n")
    what = words.code(subject)
    known = any(c.name == subject for c in collections)
    return mismatched_meta.finding(
        severity="critical",
        subject=subject,
        message=f"{what if known else f'A partition of {what}'} is not what its meta says: {_how(found, limit)}.",
        why="Dask compares what a function returned with what `meta=` or a sample promised, and stops where they "
        "differ. It will fail again each time it is computed.",
        evidence=(
            Evidence(label="error", value=failure.exception, unit="text"),
            Evidence(label="failed task", value=failure.key, unit="text"),
        ),
        details=(Detail(title="What Dask says", text=text[:4_000]),),
        at=failure.at,
        fixes=offered,
    )


def _mend_failure(found: Unlike, failure: TaskFailure, cells: Sequence[Cell]) -> tuple[Fix, ...]:
    if schemas.is_of_csv(failure.text):
        dtypes = {n: b for n, _, b in found.dtypes}
        read = metas.one_call(cells, _READS)
        shown = metas.literal(dtypes)
        title = "Say which dtypes the files have"
        expect = "all files are read with these dtypes; the sample at their beginning is no longer trusted"
        if read is not None and dtypes:
            fix = metas.with_dtype(read, dtypes, title=title, expect=expect, ailing=failure.at)
            if fix is not None:
                return (fix,)
        return (
            (fixes.advice(f"dd.read_csv(..., dtype={shown})", title=title, expect=expect),) if dtypes else ()
        )
    made = metas.call_with_meta(cells)
    if made is None:
        return ()
    fix = metas.mended_meta(
        made,
        found,
        title="Say in `meta=` what the function returns",
        expect="meta says what the partitions have; the data stay as they are",
        ailing=failure.at,
    )
    return (fix,) if fix is not None else ()
