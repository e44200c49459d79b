"""Columns and dtypes as texts: when two are alike, and what Dask says when data are not what meta promised."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..snapshot import Column

Family = Literal["integer", "float", "bool", "text", "datetime", "timedelta", "category", "object", "other"]
#: How far apart two dtypes are: not at all, as missing values make them, or another kind of thing.
Distance = Literal["alike", "widened", "other"]

_ARROW = re.compile(r"\[pyarrow\]$")
_INTEGER = re.compile(r"u?int(8|16|32|64)", re.IGNORECASE)
_FLOAT = re.compile(r"(float(16|32|64)|half|float|double)", re.IGNORECASE)
#: Column: found → expected, in a table that Dask draws.
_ROW = re.compile(
    r"^\|\s*(?P<column>\S.*?)\s*\|\s*(?P<found>\S.*?)\s*\|\s*(?P<expected>\S.*?)\s*\|\s*$", re.MULTILINE
)
_LIST = r"(\[[^\n]*\])"
_EXTRA, _MISSING = re.compile(rf"Extra:\s*{_LIST}"), re.compile(rf"Missing:\s*{_LIST}")
_ACTUAL, _EXPECTED = re.compile(rf"Actual:\s*{_LIST}"), re.compile(rf"Expected:\s*{_LIST}")
_COLUMNS = "The columns in the computed data do not match the columns in the provided metadata"
_DTYPES = "Metadata mismatch found"
_CSV = "Mismatched dtypes found in `pd.read_"
#: Column: text, found, expected — of a partition that is no frame at all.
_TYPE = re.compile(r"Expected partition of type `([^`\n]{1,200})` but got `([^`\n]{1,200})`")


def family(dtype: str) -> Family:
    """What kind of values a dtype holds, by its name as pandas spells it."""
    plain = _ARROW.sub("", dtype.strip())
    if _INTEGER.fullmatch(plain):
        return "integer"
    if _FLOAT.fullmatch(plain):
        return "float"
    if plain in ("bool", "boolean"):
        return "bool"
    if plain in ("str", "string", "large_string") or plain.startswith(
        ("string[", "<StringDtype", "StringDtype")
    ):
        return "text"
    if plain.startswith(("datetime64", "timestamp[", "date32", "date64")):
        return "datetime"
    if plain.startswith(("timedelta64", "duration[")):
        return "timedelta"
    if plain.startswith(("category", "dictionary", "CategoricalDtype")):
        return "category"
    return "object" if plain == "object" else "other"


def distance(promised: str, real: str) -> Distance:
    """How far what the partitions hold is from what meta says."""
    a, b = family(promised), family(real)
    if a == b or "category" in (a, b) or {a, b} == {"text", "object"}:
        return "alike" if a != "other" or promised == real else "other"
    # Missing values make floats of integers, and objects of booleans
    if {a, b} in ({"integer", "float"}, {"bool", "object"}):
        return "widened"
    return "other"


def is_certain(promised: str, real: str) -> bool:
    """Are both of a kind of which Dask and pandas make different plans? An object column may hold anything."""
    loose = {"object", "other", "category"}
    a, b = family(promised), family(real)
    numbers = {"integer", "float", "bool"}
    return a != b and not loose & {a, b} and not {a, b} <= numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """How the columns of the data differ from those that meta promises."""

    extra: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    #: The columns as they really stand, where only their order differs.
    order: tuple[str, ...] = ()
    #: (column, promised dtype, real dtype) of those that both have.
    dtypes: tuple[tuple[str, str, str], ...] = ()
    #: Classes, where a partition is something else altogether: promised and real.
    type: tuple[str, str] | None = None

    @property
    def is_by_name(self) -> bool:
        return bool(self.extra or self.missing or self.order or self.type)


def unlike(promised: Sequence[Column], real: Sequence[Column], *, by_name: bool = True) -> Unlike:
    """Compares meta's columns with those of a partition. `by_name`: False for a series, whose name says little."""
    if not by_name:
        pairs = [(a, b) for a, b in zip(promised[:1], real[:1], strict=False)]
        return Unlike(dtypes=_different(pairs))
    wanted, have = {c.name: c for c in promised}, {c.name: c for c in real}
    if len(wanted) != len(promised) or len(have) != len(real):
        return Unlike()  # two of one name: nobody can say which is which
    extra = tuple(name for name in have if name not in wanted)
    missing = tuple(name for name in wanted if name not in have)
    order = tuple(have) if not extra and not missing and list(have) != list(wanted) else ()
    return Unlike(
        extra=extra,
        missing=missing,
        order=order,
        dtypes=_different([(wanted[n], have[n]) for n in wanted if n in have]),
    )


def _different(pairs: Sequence[tuple[Column, Column]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((a.name, a.dtype, b.dtype) for a, b in pairs if distance(a.dtype, b.dtype) != "alike")


def said(text: str) -> Unlike | None:
    """What an exception of Dask's tells of data unlike their meta; None for any other text."""
    # The text may be the exception's repr, and cut anywhere
    text = text[:4_000].replace("\\n", "\n")
    if _COLUMNS in " ".join(text.split()):
        actual, expected = _names(_ACTUAL, text), _names(_EXPECTED, text)
        if actual and sorted(actual) == sorted(expected):
            return Unlike(order=actual)
        return Unlike(extra=_names(_EXTRA, text), missing=_names(_MISSING, text))
    if _DTYPES not in text and _CSV not in text:
        return None
    if (kind := _TYPE.search(text)) is not None:
        return Unlike(type=(kind[1], kind[2]))
    extra: list[str] = []
    missing: list[str] = []
    dtypes: list[tuple[str, str, str]] = []
    for row in _ROW.finditer(text):
        column, real, promised = _unquoted(row["column"]), row["found"], row["expected"]
        if (column, real) == ("Column", "Found"):
            continue
        if promised == "-":
            extra.append(column)
        elif real == "-":
            missing.append(column)
        else:
            dtypes.append((column, promised, real))
    return Unlike(extra=tuple(extra), missing=tuple(missing), dtypes=tuple(dtypes))


def is_of_csv(text: str) -> bool:
    return _CSV in text


def _names(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.search(text)
    if match is None:
        return ()
    try:
        found = ast.literal_eval(match[1].replace("\\'", "'"))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ()
    return tuple(n for n in found if isinstance(n, str)) if isinstance(found, list) else ()


def _unquoted(text: str) -> str:
    text = text.replace("\\'", "'")
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
