"""Numbers into words, alike wherever a person reads them (`src/format.ts` is its twin in the panel)."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

from .report import Unit

KiB = 2**10
MiB = 2**20
GiB = 2**30

#: Longer names are cut.
MAX_NAME = 80

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def nbytes(value: float) -> str:
    """2040109465 → "1.9 GiB"."""
    if not math.isfinite(value):
        return "–"
    unit = 0
    while abs(value) >= 1000 and unit < len(_BYTE_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{_digits(value if unit else _rounded(value))} {_BYTE_UNITS[unit]}"


def seconds(value: float) -> str:
    """0.0312 → "31 ms", 52.4 → "52 s", 200 → "3 min 20 s", 7500 → "2 h 5 min"."""
    if not math.isfinite(value):
        return "–"
    if value < 0:
        return f"-{seconds(-value)}"
    if value < 0.9995:
        return f"{_digits(_rounded(value * 1000))} ms"
    if value < 119.5:
        return f"{_digits(value)} s"
    whole = _rounded(value)
    if whole < 7200:
        head, tail = f"{whole // 60} min", f"{whole % 60} s"
    else:
        head, tail = f"{whole // 3600:,} h", f"{whole % 3600 // 60} min"
    return head if tail.startswith("0 ") else f"{head} {tail}"


def count(value: float, one: str = "", many: str = "") -> str:
    """12345 → "12,345"; 1, "thread" → "1 thread"; 2, "thread" → "2 threads"."""
    said = _digits(_rounded(value)) if math.isfinite(value) else "–"
    return f"{said} {one if said == '1' else many or one + 's'}" if one else said


def share(value: float) -> str:
    """0.45 → "45 %"."""
    return f"{_digits(value * 100)} %"


def times(value: float) -> str:
    """23.2 → "23×"."""
    return f"{_digits(value)}×"


def code(name: str) -> str:
    """A name of the user's, between backticks, on one line and cut to a length that a sentence can bear."""
    said = " ".join(name[: 4 * MAX_NAME].replace("`", "'").split())
    return f"`{said[: MAX_NAME - 1]}…`" if len(said) > MAX_NAME or len(name) > 4 * MAX_NAME else f"`{said}`"


def value(value: float | str, unit: Unit) -> str:
    """A value with its unit. A share of 0.45 is "45 %", a ratio of 23 is "23×"."""
    if isinstance(value, str):
        return value
    if unit == "bytes":
        return nbytes(value)
    if unit == "seconds":
        return seconds(value)
    if unit == "share":
        return share(value)
    if unit == "ratio":
        return times(value)
    if unit == "count":
        return count(value)
    return _digits(value)


def _digits(value: float) -> str:
    """As many digits as a reader wants: 1234.5 → "1,234", 12.34 → "12", 1.94 → "1.9", 0.123 → "0.12"."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{_rounded(value):,}"
    places = 0 if size >= 10 else 1 if size >= 1 else 2
    # As JavaScript rounds: ties away from zero, of the exact binary value.
    text = str(Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: float) -> int:
    if abs(value) >= 2**53:  # whole by nature, and too long for the decimal context
        return int(value)
    return int(Decimal(value).quantize(Decimal(1), ROUND_HALF_UP))
