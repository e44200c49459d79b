import json
import math

import pytest
from bokeh.models import HoverTool, Label, Legend
from bokeh.models.glyphs import HSpan

from jupyter_dask_doctor import figures
from jupyter_dask_doctor.report import Chart, Limit, Series

GiB = 1024**3
HOSTILE = '"><img src=x onerror="alert(1)"><script>alert(1)</script>'


def bars(*values, **changes):
    facts = {
        "kind": "bars",
        "title": "Sizes",
        "unit": "bytes",
        "series": (Series(name="size", values=tuple(values)),),
        "labels": tuple(map(str, range(len(values)))),
    }
    return Chart(**facts | changes)


def over_time(kind, *names, n=5, **changes):
    facts = {
        "kind": kind,
        "title": "Memory",
        "unit": "bytes",
        "series": tuple(Series(name=name, values=tuple(float(i) for i in range(n))) for name in names),
        "x": tuple(1_700_000_000.0 + i for i in range(n)),
    }
    return Chart(**facts | changes)


def stream(figure):
    return figure.select_one({"name": "stream"})


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "chart",
    [
        bars(1, 2, 3, highlight=1, limits=(Limit(name="median", value=2),)),
        bars(),
        over_time("lines", "fullest", "median"),
        over_time("stack", "managed", "unmanaged", "spilled"),
        over_time("lines", "nothing yet", n=0),
    ],
    ids=["bars", "no bars", "lines", "stack", "no points"],
)
def test_an_item_is_plain_json_for_the_browser(chart, dark):
    item = json.loads(json.dumps(figures.item(chart, dark=dark)))
    assert {"doc", "root_id", "version"} <= set(item)


def test_lines_can_be_streamed_by_the_names_of_their_series():
    figure = figures.figure(over_time("lines", "fullest", "median", n=2))
    data = stream(figure).data
    assert data == {
        "x": [1_700_000_000_000.0, 1_700_000_001_000.0],  # ms, as browsers count
        "fullest": [0.0, 1.0],
        "median": [0.0, 1.0],
    }


def test_a_stack_piles_its_series_up():
    figure = figures.figure(over_time("stack", "managed", "unmanaged", "spilled"))
    (top,) = [r for r in figure.renderers if r.name == "spilled" and hasattr(r.glyph, "y2")]
    assert top.glyph.y2["expr"].fields == ["managed", "unmanaged", "spilled"]
    assert top.glyph.y1["expr"].fields == ["managed", "unmanaged"]


def test_memory_has_dasks_colours_whatever_the_order():
    one = figures.figure(over_time("stack", "managed", "unmanaged", "spilled"))
    other = figures.figure(over_time("stack", "spilled", "unmanaged", "managed"))

    def colours(figure):
        return {r.name: r.glyph.fill_color for r in figure.renderers if hasattr(r.glyph, "y2")}

    assert colours(one) == colours(other)
    assert colours(one) == {
        "managed": figures.LIGHT.managed,
        "unmanaged": figures.LIGHT.unmanaged,
        "spilled": figures.LIGHT.spilled,
    }


def test_only_the_bar_that_it_is_about_stands_out():
    colours = stream(figures.figure(bars(1, 9, 1, highlight=1))).data["colour"]
    assert colours == [figures.LIGHT.bar, figures.LIGHT.highlight, figures.LIGHT.bar]


def test_no_bar_stands_out_when_none_is_meant():
    assert "colour" not in stream(figures.figure(bars(1, 9, 1))).data


def test_many_bars_label_only_what_has_room():
    axis = figures.figure(bars(*range(100), highlight=3)).xaxis[0]
    assert axis.ticker.ticks == [3, 99]  # 0 would touch 3


def test_few_bars_all_have_labels():
    axis = figures.figure(bars(1, 2, 3, labels=("a", "b", "c"))).xaxis[0]
    assert [axis.major_label_overrides[i].text for i in axis.ticker.ticks] == ["a", "b", "c"]


def spans(figure):
    return [r.glyph for r in figure.renderers if isinstance(r.glyph, HSpan) and r.glyph.line_alpha != 0]


def test_a_limit_is_a_named_line():
    figure = figures.figure(bars(1, 2, limits=(Limit(name="80 % pause", value=3.0),)))
    assert len(spans(figure)) == 1
    (label,) = [x for x in figure.center if isinstance(x, Label)]
    assert (label.text.text, label.y) == ("80 % pause", 3.0)


@pytest.mark.parametrize("value", [1000.0, math.nan, math.inf])
def test_a_limit_that_would_flatten_everything_is_left_out(value):
    assert not spans(figures.figure(bars(1, 2, limits=(Limit(name="far", value=value),))))


def test_a_legend_only_where_there_is_something_to_tell_apart():
    assert not figures.figure(over_time("lines", "one")).select(Legend)
    (legend,) = figures.figure(over_time("lines", "one", "two")).select(Legend)
    assert [x.label.value for x in legend.items] == ["one", "two"]


def test_it_lies_on_the_themes_own_background():
    light, dark = (figures.figure(bars(1), dark=dark) for dark in (False, True))
    for figure in (light, dark):
        assert figure.background_fill_color is None
        assert figure.border_fill_color is None
        assert figure.toolbar_location is None
        assert figure.sizing_mode == "stretch_width"
    assert light.yaxis[0].major_label_text_color != dark.yaxis[0].major_label_text_color


@pytest.mark.parametrize(
    "chart",
    [
        over_time("lines", HOSTILE, "$$x^2$$"),
        over_time("stack", HOSTILE, "@{x}{safe}"),
        bars(1, 2, labels=(HOSTILE, "a"), limits=(Limit(name=HOSTILE, value=1),)),
    ],
    ids=["lines", "stack", "bars"],
)
def test_no_name_gets_into_a_template_or_code(chart):
    figure = figures.figure(chart)
    (hover,) = figure.select(HoverTool)
    templates = [text for row in hover.tooltips for text in row]
    assert not any("<" in text or "safe" in text for text in templates)
    codes = [m.code for m in figure.references() if hasattr(m, "code")]
    assert codes
    assert not any("img" in code for code in codes)


@pytest.mark.parametrize("name", ["x", "index", "label", "colour"])
def test_a_name_that_we_need_ourselves_is_told_apart(name):
    data = stream(figures.figure(over_time("lines", name, n=2))).data
    assert data[f"{name} (2)"] == [0.0, 1.0]
    assert data["x"][0] > 1e12


def test_two_series_of_one_name_are_both_there():
    assert {"a", "a (2)"} <= set(stream(figures.figure(over_time("lines", "a", "a"))).data)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("orders", "orders"),
        ("a\nb\x00c", "a b c"),
        ("x" * 40, "xxxxxxxx…xxxxx"),
        ("$5", "$5"),
        ("C:\\data", "C:\\data"),
    ],
)
def test_names_are_drawn_on_one_short_line(text, drawn):
    assert figures.plain(text, 14) == drawn


@pytest.mark.parametrize("text", [r"$$\frac12$$", r"\[x\]", r"\(x\)"])
def test_nothing_is_taken_for_tex(text):
    assert not any(mark in figures.plain(text, 80) for mark in ("$$", r"\[", r"\]", r"\(", r"\)"))


@pytest.mark.parametrize(
    ("chart", "told"),
    [
        (bars(1, 2, labels=("a",)), "2 values for 1 labels"),
        (over_time("lines", "a", x=(1.0,)), "5 values for 1 times"),
        (bars(1, 2, highlight=2), "no bar 2"),
        (bars(1, 2, highlight=-1), "no bar -1"),
        (over_time("lines", *map(str, range(17))), "16 series"),
        (over_time("lines", "a", n=2_001), "2,000 values"),
    ],
)
def test_what_does_not_fit_together_is_refused(chart, told):
    with pytest.raises(ValueError, match=told):
        figures.figure(chart)


def test_times_leave_each_other_room() -> None:
    lines = Chart(
        kind="lines", title="t", unit="bytes", series=(Series(name="a", values=(1.0, 2.0)),), x=(0.0, 60.0)
    )
    assert figures.figure(lines).xaxis[0].major_label_policy.min_distance >= 5
