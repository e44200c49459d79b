"""The robust slope."""

import math
import random

import pytest

from jupyter_dask_doctor.judging.trends import MAX_POINTS, theil_sen


def test_a_straight_line_is_known_exactly():
    trend = theil_sen([0, 1, 2, 5], [10, 13, 16, 25])
    assert (trend.slope, trend.low, trend.high, trend.n) == (3, 3, 3, 4)


def test_one_wild_point_does_not_bend_it():
    values = [2.0 * i for i in range(12)]
    values[7] = 10_000.0
    assert theil_sen(range(12), values).slope == pytest.approx(2.0)


def test_one_step_is_no_trend():
    for n in (4, 6, 10, 30):
        trend = theil_sen(range(n), [0.0] * (n // 2) + [100.0] * (n - n // 2))
        assert trend.low <= 0


def test_few_points_must_all_rise():
    assert theil_sen(range(4), [0, 3, 2, 5]).low < 0
    assert theil_sen(range(4), [0, 1, 2, 5]).low > 0


def test_the_interval_holds_the_true_slope_as_often_as_it_says():
    generator = random.Random(7)
    held = 0
    for _ in range(300):
        trend = theil_sen(range(15), [0.5 * i + generator.gauss(0, 3) for i in range(15)])
        held += trend.low <= 0.5 <= trend.high
    assert 0.91 <= held / 300 <= 0.99


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1], [1]), ([3, 3, 3], [1, 2, 3]), ([0, 1, 2], [0, math.nan, 1]), ([0, math.inf], [0, 1])],
)
def test_none_where_there_is_no_line(x, y):
    assert theil_sen(x, y) is None


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="zip"):
        theil_sen([1, 2], [1])


def test_many_points_are_thinned_evenly():
    trend = theil_sen(range(10_000), [float(i) for i in range(10_000)])
    assert trend.n == MAX_POINTS
    assert trend.slope == pytest.approx(1.0)
