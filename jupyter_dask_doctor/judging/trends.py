"""A straight line through few noisy points that one or two wild ones cannot bend, and how sure it is.

The estimator of Theil (1950) and Sen (1968): the median of the slopes between all pairs of points, with the
interval that Sen reads off the sorted slopes (`scipy.stats.theilslopes` does the same).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: More points add little to a median and much to the number of pairs: 40 points have 780.
MAX_POINTS = 40
#: Two-sided 95 % of the normal distribution.
_Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The slope, in units of y per unit of x, and the interval in which it lies with 95 %."""

    slope: float
    low: float
    high: float
    #: Points that it was judged from.
    n: int


def theil_sen(x: Sequence[float], y: Sequence[float]) -> Trend | None:
    """The trend of `y` over `x`; None with fewer than two different `x` or with what is not finite.

    With up to five points the interval is the smallest and the largest of all slopes: it is above 0 only when
    every point lies higher than all before it. Raises ValueError when the lengths differ.
    """
    points = _thinned(list(zip(x, y, strict=True)))
    if not all(math.isfinite(a) and math.isfinite(b) for a, b in points):
        return None
    slopes = sorted((d - b) / (c - a) for (a, b), (c, d) in itertools.combinations(points, 2) if c != a)
    if not slopes:
        return None
    n = len(points)
    spread = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)  # of Kendall's S, without ties
    first = max(0, round((len(slopes) - spread) / 2))
    last = min(len(slopes) - 1, round((len(slopes) + spread) / 2))
    return Trend(slope=statistics.median(slopes), low=slopes[first], high=slopes[last], n=n)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MAX_POINTS` of them, evenly, with the first and the last."""
    if len(points) <= MAX_POINTS:
        return points
    step = (len(points) - 1) / (MAX_POINTS - 1)
    return [points[round(i * step)] for i in range(MAX_POINTS)]
