from dataclasses import replace
from html.parser import HTMLParser

import pytest

from jupyter_dask_doctor.render.html import document, html
from jupyter_dask_doctor.report import (
    Chart,
    Check,
    Detail,
    Evidence,
    Finding,
    Fix,
    Limit,
    Measure,
    Report,
    Series,
    Treated,
)

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onclick='x' `<b>` ]]>"
CHART = Chart(
    kind="bars",
    title="Bytes per partition",
    unit="bytes",
    series=(Series(name="partitions", values=(80.0, 90.0, 1900.0)),),
    labels=("0", "1", "2"),
    limits=(Limit(name="1 GB", value=1000.0),),
    highlight=2,
)
FINDING = Finding(
    id="partition-skew:orders",
    rule="partition-skew",
    title="Partitions differ widely in size",
    severity="warning",
    message="Partition 2 of `orders` holds 23× the median",
    why="One thread works on it while the others wait.",
    subject="orders",
    evidence=(Evidence(label="largest / median", value=23.2, unit="ratio", limit=4.0),),
    charts=(CHART,),
    fixes=(Fix(title="Cut", applicability="unsafe", edits=(), code="a < b", expect="even"),),
)
REPORT = Report(
    version="0.1.0",
    time=0.0,
    findings=(FINDING,),
    checks=(Check(rule="large-graph", title="", outcome="incomplete", reason="no plugin"),),
)


class Page(HTMLParser):
    """What a browser would see: tags in balance, with their attributes, and text."""

    VOID = ("meta", "br")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_finding_says_what_was_measured_and_what_to_do() -> None:
    page = Page(html(REPORT))
    said = "".join(page.text)
    assert "Dask Doctor: 1 warning" in said
    assert "Partition 2 of orders holds 23× the median" in said
    assert "23×" in said
    assert "a < b" in said
    assert "large-graph: no plugin" in said
    assert page.tags.count("rect") == 3


def test_longer_texts_are_folded_and_keep_their_lines() -> None:
    stack = Detail(title="Call stack of `work`", text='  File "a.py"\n    sleep()')
    source = html(replace(REPORT, findings=(replace(FINDING, details=(stack,)),)))
    assert (
        "<details><summary>Call stack of <code>work</code></summary><pre>  File &quot;a.py&quot;\n" in source
    )


def test_charts_can_be_left_out() -> None:
    assert "svg" not in Page(html(REPORT, charts=False)).tags


def test_hostile_strings_stay_text() -> None:
    """Every string of the report is replaced by an evil one: nothing may come of it but text."""
    treated = Treated(
        finding_id=EVIL,
        rule=EVIL,
        subject=EVIL,
        message=EVIL,
        status="better",
        before=(Measure(label=EVIL, value=2, unit="seconds"),),
        after=(Measure(label=EVIL, value=1, unit="seconds"),),
    )
    chart = Chart(
        kind="bars",
        title=EVIL,
        unit="count",
        series=(Series(name=EVIL, values=(1.0,)), Series(name=EVIL, values=(2.0,))),
        labels=(EVIL,),
        limits=(Limit(name=EVIL, value=1.5),),
        highlight=0,
    )
    lines = replace(chart, kind="lines", labels=(), x=(1.0,))
    finding = replace(
        FINDING,
        id=EVIL,
        rule=EVIL,
        title=EVIL,
        message=EVIL,
        why=EVIL,
        subject=EVIL,
        evidence=(Evidence(label=EVIL, value=EVIL, unit="text"),),
        charts=(chart, lines, replace(lines, kind="stack")),
        details=(Detail(title=EVIL, text=EVIL),),
        fixes=(Fix(title=EVIL, applicability="safe", edits=(), code=EVIL, expect=EVIL),),
    )
    check = Check(rule=EVIL, title=EVIL, outcome="error", reason=EVIL)
    report = replace(REPORT, findings=(finding,), checks=(check,), treated=(treated,), notes=(EVIL,))
    for source in (html(report), document(report)):
        page = Page(source)
        assert not {"script", "img", "b", "iframe", "a"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
        assert "".join(page.text).count("alert(1)") >= 12


def test_the_document_stands_alone() -> None:
    source = document(REPORT)
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert "script" not in page.tags
    assert "http" not in source.replace("http-equiv", "")
    assert any(name == "content" and "default-src 'none'" in (value or "") for name, value in page.attributes)


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (float("nan"),)])
def test_a_chart_of_nothing_is_not_drawn(values: tuple[float, ...]) -> None:
    empty = replace(CHART, series=(Series(name="x", values=values),), limits=())
    assert "svg" not in Page(html(replace(REPORT, findings=(replace(FINDING, charts=(empty,)),)))).tags


def test_a_stack_reaches_the_sum() -> None:
    stack = Chart(
        kind="stack",
        title="Memory",
        unit="bytes",
        series=(
            Series(name="managed", values=(1024.0, 2048.0)),
            Series(name="unmanaged", values=(0.0, 1024.0)),
        ),
        x=(100.0, 160.0),
    )
    page = Page(html(replace(REPORT, findings=(replace(FINDING, charts=(stack,)),))))
    assert page.tags.count("polygon") == 2
    assert "3 KiB" in page.text  # the top of the scale
    assert "60 s before" in page.text


def test_many_values_are_bounded() -> None:
    many = replace(CHART, series=(Series(name="x", values=(1.0,) * 100_000),), highlight=None)
    assert len(html(replace(REPORT, findings=(replace(FINDING, charts=(many,)),)))) < 200_000
