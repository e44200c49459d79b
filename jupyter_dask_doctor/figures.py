"""Bokeh figures from a report's charts, the same for every surface.

Every name may come from a cluster or a notebook: names are drawn on the canvas or set as text, never as HTML,
and never as TeX. Times are shown in the reader's own time zone and bytes in powers of 1024.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.core.properties import expr, field
from bokeh.embed import json_item
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJSHover,
    CustomJSTickFormatter,
    DataRange1d,
    DatetimeTicker,
    Dodge,
    FixedTicker,
    HoverTool,
    NoOverlap,
    PlainText,
    Range1d,
    Stack,
    VArea,
)
from bokeh.models.annotations import Label
from bokeh.plotting import figure as new_figure

from .report import Chart, Limit, Unit

#: More lines than this say nothing in 280 pixels, and 200 of them keep a browser fully busy.
MAX_SERIES = 16
MAX_VALUES = 2_000
#: Bars that still have room for a label of their own.
MAX_LABELLED = 8
HEIGHT = 150
#: Characters of a name on an axis or in a legend, and in a tooltip.
SHORT, LONG = 14, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours that stand on the theme's own background. Told apart by lightness too, for the colour-blind."""

    text: str
    grid: str
    bar: str
    highlight: str
    limit: str
    #: Dask's dashboard has managed memory in blue, unmanaged in lighter blue, spilled in grey.
    managed: str
    unmanaged: str
    spilled: str
    #: For other series: Okabe and Ito's, which colour-blind readers tell apart.
    cycle: tuple[str, ...]


LIGHT = Palette(
    text="#424242",
    grid="#e0e0e0",
    bar="#8fb8de",
    highlight="#d55e00",
    limit="#b00020",
    managed="#0000ff",
    unmanaged="#9999ff",
    spilled="#808080",
    cycle=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#56b4e9"),
)
DARK = Palette(
    text="#d0d0d0",
    grid="#4a4a4a",
    bar="#4f7ba6",
    highlight="#ff9e4a",
    limit="#ff8a80",
    managed="#5c6cff",
    unmanaged="#b3bbff",
    spilled="#9e9e9e",
    cycle=("#56b4e9", "#e69f00", "#2fc99b", "#e3a0c6", "#f0e442", "#8ab6ff"),
)

# Runs in the browser, where the reader's time zone is known. `unit` is one of ours, never a name.
_WORDS = """
if (number == null || !isFinite(number)) return "";
const cut = (n) => n.toLocaleString(undefined, {maximumFractionDigits: Math.abs(n) < 10 ? 1 : 0});
const a = Math.abs(number);
switch (unit) {
  case "bytes": {
    const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let n = number, i = 0;
    while (Math.abs(n) >= 1024 && i < names.length - 1) { n /= 1024; i += 1; }
    return cut(n) + " " + names[i];
  }
  case "seconds":
    if (a === 0) return "0 s";
    if (a < 0.001) return cut(number * 1e6) + " µs";
    if (a < 1) return cut(number * 1e3) + " ms";
    if (a < 120) return cut(number) + " s";
    if (a < 7200) return cut(number / 60) + " min";
    return cut(number / 3600) + " h";
  case "share": return cut(number * 100) + " %";
  case "ratio": return cut(number) + "×";
  default: return cut(number);
}
"""
_CLOCK = """
const two = (n) => String(n).padStart(2, "0");
const date = new Date(number);
return two(date.getHours()) + ":" + two(date.getMinutes()) + ":" + two(date.getSeconds());
"""


def item(chart: Chart, *, dark: bool = False) -> dict[str, object]:
    """What `Bokeh.embed.embed_item` takes. Raises ValueError as `figure` does."""
    return dict(json_item(figure(chart, dark=dark)))


def figure(chart: Chart, *, dark: bool = False) -> Any:
    """A Bokeh figure, as wide as its place. Raises ValueError for a chart that does not fit together."""
    _check(chart)
    palette = DARK if dark else LIGHT
    fig = new_figure(
        height=HEIGHT,
        min_width=180,
        min_border_right=24,
        sizing_mode="stretch_width",
        x_range=Range1d(start=-0.6, end=len(chart.labels) - 0.4)
        if chart.kind == "bars"
        else DataRange1d(range_padding=0),
        # From zero, or a small change looks like a large one.
        y_range=DataRange1d(start=0, range_padding=0.08, min_interval=1e-9),
        x_axis_type="linear" if chart.kind == "bars" else "datetime",
        tools="",
        toolbar_location=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
    )
    fig.xgrid.grid_line_color = None
    fig.ygrid.grid_line_color = palette.grid
    for axis in (*fig.xaxis, *fig.yaxis):
        axis.axis_line_color = palette.grid
        axis.major_tick_line_color = palette.grid
        axis.major_tick_in = 0
        axis.minor_tick_line_color = None
        axis.major_label_text_color = palette.text
        axis.major_label_text_font_size = "11px"
    fig.yaxis.ticker = BasicTicker(desired_num_ticks=4, **_MANTISSAS.get(chart.unit, {}))
    fig.yaxis.formatter = _ticks(_WORDS, unit=chart.unit)
    names = _names(chart)
    if chart.kind == "bars":
        _bars(fig, chart, names, palette)
    else:
        _over_time(fig, chart, names, palette)
    for limit in chart.limits:
        _limit(fig, chart, limit, palette)
    return fig


#: Ticks at 1, 2, 4, ... KiB, MiB, GiB instead of at 1,000 bytes and its like.
_MANTISSAS: dict[Unit, dict[str, Any]] = {
    "bytes": {"base": 1024, "mantissas": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]}
}


def _check(chart: Chart) -> None:
    n = len(chart.labels if chart.kind == "bars" else chart.x)
    along = "labels" if chart.kind == "bars" else "times"
    if len(chart.series) > MAX_SERIES:
        raise ValueError(f"A chart may have {MAX_SERIES} series, this one has {len(chart.series)}.")
    if n * max(1, len(chart.series)) > MAX_VALUES:
        raise ValueError(f"A chart may have {MAX_VALUES:,} values, this one has {n * len(chart.series):,}.")
    for series in chart.series:
        if len(series.values) != n:
            raise ValueError(f"A series has {len(series.values)} values for {n} {along}.")
    if chart.highlight is not None and not 0 <= chart.highlight < n:
        raise ValueError(f"There is no bar {chart.highlight} to highlight among {n}.")


def _names(chart: Chart) -> tuple[str, ...]:
    """The series' names as columns: each once, and none that Bokeh or we need for something else."""
    taken = {"x", "index", "label", "colour"}
    names = []
    for series in chart.series:
        name, n = series.name, 2
        while name in taken:
            name, n = f"{series.name} ({n})", n + 1
        taken.add(name)
        names.append(name)
    return tuple(names)


def _bars(fig: Any, chart: Chart, names: Sequence[str], palette: Palette) -> None:
    n = len(chart.labels)
    source = ColumnDataSource(
        {
            "x": list(range(n)),
            "label": [plain(label, LONG) for label in chart.labels],
            **{name: list(series.values) for name, series in zip(names, chart.series, strict=True)},
        },
        name="stream",
    )
    width = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        colour: Any = _colour(chart.series[i].name, i, palette) if len(names) > 1 else palette.bar
        if chart.highlight is not None and len(names) == 1:
            source.data["colour"] = [palette.highlight if j == chart.highlight else colour for j in range(n)]
            colour = field("colour")
        fig.vbar(
            x={"field": "x", "transform": Dodge(value=(i - (len(names) - 1) / 2) * width)},
            top=field(name),
            width=width,
            color=colour,
            name=name,
            source=source,
            **_legend(chart, i),
        )
    fig.xaxis.ticker = FixedTicker(ticks=_labelled(chart))
    fig.xaxis.major_label_overrides = {
        i: PlainText(text=plain(chart.labels[i], SHORT)) for i in _labelled(chart)
    }
    if any(len(chart.labels[i]) > 6 for i in _labelled(chart)) and n > 2:
        fig.xaxis.major_label_orientation = 0.5
    _finish(fig, chart, palette, about=("", "@label"))


def _labelled(chart: Chart) -> list[int]:
    """Bars with a label: all of a few; of many the first, the last and the one that it is about."""
    n = len(chart.labels)
    if n <= MAX_LABELLED:
        return list(range(n))
    shown = [] if chart.highlight is None else [chart.highlight]
    # Names closer to each other than a sixth of the width would overlap in a narrow sidebar.
    shown.extend(i for i in (0, n - 1) if all(abs(i - j) > n / 6 for j in shown))
    return sorted(shown)


def _over_time(fig: Any, chart: Chart, names: Sequence[str], palette: Palette) -> None:
    source = ColumnDataSource(
        {
            "x": [time * 1000 for time in chart.x],
            **{name: list(series.values) for name, series in zip(names, chart.series, strict=True)},
        },
        name="stream",
    )
    colours = [_colour(series.name, i, palette) for i, series in enumerate(chart.series)]
    below: list[str] = []
    for i, name in enumerate(names):
        top: Any = field(name)
        if chart.kind == "stack":
            bottom = Stack(fields=list(below))
            below.append(name)
            top = expr(Stack(fields=list(below)))
            fig.varea(
                x=field("x"),
                y1=expr(bottom),
                y2=top,
                color=colours[i],
                alpha=0.8,
                name=name,
                source=source,
                **_legend(chart, i),
            )
        line = {} if chart.kind == "stack" else _legend(chart, i)
        # Also on top of an area: it is what the pointer finds.
        fig.line(x=field("x"), y=top, color=colours[i], line_width=2, name=name, source=source, **line)
    fig.xaxis.ticker = DatetimeTicker(desired_num_ticks=3)
    # In a narrow sidebar there is room for one time, or two: better none than one across the other.
    fig.xaxis.major_label_policy = NoOverlap(min_distance=8)
    fig.xaxis.formatter = _ticks(_CLOCK)
    _finish(fig, chart, palette, about=("", "@x{custom}"))


def _limit(fig: Any, chart: Chart, limit: Limit, palette: Palette) -> None:
    if not math.isfinite(limit.value):
        return
    # A glyph, not an annotation, so that the axis reaches up to it, unless that would flatten all the rest.
    highest = max((v for series in chart.series for v in series.values if math.isfinite(v)), default=0)
    if highest > 0 and limit.value > 10 * highest:
        return
    fig.hspan(y=[limit.value], line_color=palette.limit, line_dash="dashed", level="overlay")
    # Nothing to see, but it makes room for the name above the line.
    fig.hspan(y=[limit.value * 1.2], line_alpha=0)
    # Not upon the one bar that matters.
    is_left = chart.kind != "bars" or chart.highlight is None or chart.highlight >= len(chart.labels) / 2
    fig.add_layout(
        Label(
            x=4 if is_left else len(chart.labels) - 0.4,
            x_units="screen" if is_left else "data",
            text_align="left" if is_left else "right",
            y=limit.value,
            text=PlainText(text=plain(limit.name, 2 * SHORT)),
            text_color=palette.limit,
            text_font_size="10px",
            text_baseline="bottom",
        )
    )


def _finish(fig: Any, chart: Chart, palette: Palette, about: tuple[str, str]) -> None:
    """Tooltips and the legend, which is there only where there is something to tell apart."""
    renderers = [r for r in fig.renderers if r.name is not None and not isinstance(r.glyph, VArea)]
    words = CustomJSHover(args={}, code=_hover(_WORDS, chart.unit))
    fig.add_tools(
        HoverTool(
            renderers=renderers,
            mode="mouse" if chart.kind == "bars" else "vline",
            # `$name` and `@` bring names and values in as text; a name in the template itself would be HTML.
            tooltips=[about, ("", "$name"), ("", "@$name{custom}")],
            formatters={"@$name": words, "@x": CustomJSHover(args={}, code=_hover(_CLOCK, chart.unit))},
        )
    )
    if len(chart.series) > 1:
        legend = fig.legend[0]
        fig.add_layout(legend, "above")
        legend.orientation = "horizontal"
        legend.label_text_color = palette.text
        legend.label_text_font_size = "11px"
        legend.glyph_width = legend.glyph_height = 12
        legend.spacing = 8
        legend.padding = 0
        legend.margin = 0
        legend.background_fill_color = None
        legend.border_line_color = None


def _legend(chart: Chart, i: int) -> dict[str, Any]:
    n = len(chart.series)
    # All names together have room for about 40 characters in 280 pixels.
    return {"legend_label": plain(chart.series[i].name, max(SHORT, 40 // n))} if n > 1 else {}


def _ticks(code: str, *, unit: Unit = "count") -> CustomJSTickFormatter:
    return CustomJSTickFormatter(code=f"const unit = {unit!r}; const number = tick;{code}")


def _hover(code: str, unit: Unit) -> str:
    return f"const unit = {unit!r}; const number = value;{code}"


def _colour(name: str, i: int, palette: Palette) -> str:
    """Dask's own colours for its kinds of memory, whatever else there is."""
    words = name.lower()
    if "unmanaged" in words:
        return palette.unmanaged
    if "managed" in words:
        return palette.managed
    if "spilled" in words:
        return palette.spilled
    return palette.cycle[i % len(palette.cycle)]


def plain(text: str, length: int) -> str:
    """A name on one line, at most `length` characters, which Bokeh does not take for TeX."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)
    if len(text) > length:
        text = text[: length - 6] + "…" + text[-5:]
    # Its delimiters are $$ ... $$, \[ ... \] and \( ... \): a space of no width parts them.
    return re.sub(r"\$(?=\$)|\\(?=[\[\](){}])", "\\g<0>\u200b", text)
