"""Answers of the server's own addresses, and what it is asked there."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """A rule as a list names it."""

    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Answer of `api/info`."""

    #: Of jupyter_dask_doctor in the server.
    version: str
    protocol: int
    #: Version of the BokehJS that the server has to offer.
    bokeh: str
    rules: tuple[RuleInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manual:
    """Answer of `api/rules/<id>`: a rule's page, as Markdown."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Body of a POST to `api/figure`; the answer is Bokeh's own `json_item`."""

    chart: Chart
    dark: bool = False
