"""A chart as a static SVG: no scripts, nothing fetched, alike in a notebook, a file and a mail."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from itertools import accumulate

from .. import words
from ..report import Chart, Unit
from .sentences import line

WIDTH, HEIGHT = 600, 150
LEFT, TOP, BOTTOM = 70, 12, 20
#: Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072b2", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00")
HIGHLIGHT = "#d55e00"
#: More bars than this cannot be told apart; more points add nothing on 600 pixels.
MAX_VALUES = 400


def svg(chart: Chart) -> str:
    """The drawing with its title; numbers that are not finite are left out."""
    columns = [
        [value if math.isfinite(value) else 0.0 for value in s.values[:MAX_VALUES]] for s in chart.series
    ]
    if chart.kind == "stack":
        columns = [list(column) for column in _stacked(columns)]
    if not any(columns):
        return ""
    levels = [limit.value for limit in chart.limits if math.isfinite(limit.value)]
    top = max([0.0, *levels, *(value for column in columns for value in column)])
    if top <= 0:
        return ""
    draw = _bars if chart.kind == "bars" else _lines
    parts = [
        *draw(chart, columns, top),
        *(
            _level(limit.name, limit.value, top, chart.unit)
            for limit in chart.limits
            if math.isfinite(limit.value)
        ),
        _label(LEFT - 6, TOP + 4, words.value(top, chart.unit), "end"),
        _label(LEFT - 6, HEIGHT - BOTTOM, "0", "end"),
    ]
    title = escape(line(chart.title, 200))
    return (
        f'<figure class="dd-chart"><figcaption>{title}{_legend(chart)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg></figure>'
    )


def _stacked(columns: list[list[float]]) -> Iterable[list[float]]:
    return accumulate(columns, lambda below, column: [a + b for a, b in zip(below, column, strict=False)])


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * max(value, 0.0) / top


def _bars(chart: Chart, columns: list[list[float]], top: float) -> Iterable[str]:
    n_bars = max(map(len, columns))
    step = (WIDTH - LEFT) / n_bars
    width = step / len(columns) * (0.8 if n_bars <= 60 else 1)
    for series, column in enumerate(columns):
        for i, value in enumerate(column):
            colour = HIGHLIGHT if i == chart.highlight else COLOURS[series % len(COLOURS)]
            y = _y(value, top)
            name = chart.labels[i] if i < len(chart.labels) else str(i)
            tip = escape(f"{line(name, 80)}: {words.value(value, chart.unit)}")
            yield (
                f'<rect x="{LEFT + i * step + series * width:.1f}" y="{y:.1f}" width="{max(width, 0.5):.2f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{colour}"><title>{tip}</title></rect>'
            )
    if chart.highlight is not None and 0 <= chart.highlight < min(n_bars, len(chart.labels)):
        middle = LEFT + (chart.highlight + 0.5) * step
        anchor = "end" if middle > WIDTH - 60 else "start" if middle < LEFT + 60 else "middle"
        yield _label(middle, HEIGHT - 6, line(chart.labels[chart.highlight], 40), anchor)


def _lines(chart: Chart, columns: list[list[float]], top: float) -> Iterable[str]:
    times = [x for x in chart.x[:MAX_VALUES] if math.isfinite(x)]
    start, span = (times[0], times[-1] - times[0] or 1.0) if times else (0.0, 1.0)
    below = [0.0] * len(times)
    drawn = []
    for series, column in enumerate(columns):
        colour = COLOURS[series % len(COLOURS)]
        points = [
            f"{LEFT + (WIDTH - LEFT) * (x - start) / span:.1f},{_y(value, top):.1f}"
            for x, value in zip(times, column, strict=False)
        ]
        if chart.kind == "stack":
            floor = [
                f"{LEFT + (WIDTH - LEFT) * (x - start) / span:.1f},{_y(value, top):.1f}"
                for x, value in zip(times, below, strict=False)
            ]
            drawn.append(f'<polygon points="{" ".join(points + floor[::-1])}" fill="{colour}"/>')
            below = column
        else:
            drawn.append(
                f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
    yield from drawn
    yield _label(LEFT, HEIGHT - 6, f"{words.seconds(span)} before" if times else "", "start")
    yield _label(WIDTH, HEIGHT - 6, "newest" if times else "", "end")


def _level(name: str, value: float, top: float, unit: Unit) -> str:
    y = _y(value, top)
    said = f"{line(name, 40)} {words.value(value, unit)}"
    return f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="dd-level"/>' + _label(
        WIDTH, y - 3 if y > TOP + 8 else y + 11, said, "end"
    )


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>' if text else ""


def _legend(chart: Chart) -> str:
    if len(chart.series) < 2:
        return ""
    return "".join(
        f' <span class="dd-key"><i style="background:{COLOURS[i % len(COLOURS)]}"></i>'
        f"{escape(line(series.name, 60))}</span>"
        for i, series in enumerate(chart.series)
    )
