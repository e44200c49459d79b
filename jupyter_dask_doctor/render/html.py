"""A report as HTML that stands alone: no scripts, nothing fetched, light or dark as its surroundings are."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ..report import Evidence, Finding, Fix, Report
from . import sentences
from .svg import svg

#: JupyterLab's own colours where it has them, GitHub-like ones where not.
_STYLE = """
.dd-report { color: var(--jp-ui-font-color1, var(--dd-text, #1f2328)); max-width: 60em; line-height: 1.45;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 14px); }
.dd-report h2, .dd-report h3 { font-size: 1.1em; margin: 0.8em 0 0.3em; }
.dd-report h3 { font-size: 1em; }
.dd-report section { border: 1px solid var(--jp-border-color2, var(--dd-line, #d0d7de)); border-radius: 3px;
  border-left-width: 4px; padding: 0.1em 0.9em 0.6em; margin: 0.7em 0; }
.dd-report section.dd-critical { border-left-color: var(--jp-error-color1, #cf222e); }
.dd-report section.dd-warning { border-left-color: var(--jp-warn-color1, #bf8700); }
.dd-report section.dd-info { border-left-color: var(--jp-info-color1, #0969da); }
.dd-report p { margin: 0.3em 0; }
.dd-report .dd-faint { color: var(--jp-ui-font-color2, var(--dd-faint, #59636e)); }
.dd-report table { border-collapse: collapse; margin: 0.4em 0; font-size: inherit; }
.dd-report th, .dd-report td { text-align: left; padding: 0.1em 1.2em 0.1em 0; font-weight: normal; }
.dd-report thead th { color: var(--jp-ui-font-color2, var(--dd-faint, #59636e)); }
.dd-report pre { background: var(--jp-layout-color2, var(--dd-code, #f0f2f4)); color: inherit;
  padding: 0.5em 0.7em; margin: 0.3em 0; overflow-x: auto; }
.dd-report code, .dd-report pre { font-size: 0.93em;
  font-family: var(--jp-code-font-family, ui-monospace, monospace); }
.dd-report summary { cursor: pointer; }
.dd-chart { margin: 0.6em 0; }
.dd-chart svg { width: 100%; max-width: 600px; height: auto; display: block; }
.dd-chart text { font-size: 11px; fill: var(--jp-ui-font-color1, var(--dd-text, #1f2328));
  paint-order: stroke; stroke: var(--jp-layout-color0, var(--dd-paper, #fff)); stroke-width: 3px; }
.dd-chart .dd-level { stroke: var(--jp-error-color1, #cf222e); stroke-dasharray: 4 3; }
.dd-key i { display: inline-block; width: 0.8em; height: 0.8em; margin: 0 0.3em 0 0.8em; }
"""

_PAGE_STYLE = """
body { margin: 2em auto; max-width: 62em; padding: 0 1em; background: #fff; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; }
  .dd-report { --dd-paper: #0d1117; --dd-text: #e6edf3; --dd-faint: #9198a1; --dd-line: #3d444d;
    --dd-code: #1c2128; }
}
"""


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report, *, charts: bool = True) -> str:
    """A fragment for the output of a notebook cell."""
    return f'<style>{_STYLE}</style><div class="dd-report">{"".join(_body(report, charts))}</div>'


def document(report: Report) -> str:
    """A whole page for a file. Its own policy forbids scripts and whatever lies outside the file."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
        f"<title>Dask Doctor: {escape(sentences.verdict(report))}</title><style>{_PAGE_STYLE}</style></head>"
        f"<body>{html(report)}</body></html>\n"
    )


def _body(report: Report, charts: bool) -> Iterator[str]:
    yield f"<h2>Dask Doctor: {escape(sentences.verdict(report))}</h2>"
    for finding in report.findings:
        yield f'<section class="dd-{finding.severity}">{"".join(_finding(finding, charts))}</section>'
    if report.treated:
        yield "<h3>Ran again</h3><ul>"
        for treated in report.treated:
            parts = [sentences.comparison(treated.before, treated.after), sentences.noise(treated)]
            compared = escape("; ".join(part for part in parts if part))
            yield (
                f"<li><strong>{sentences.STATUS[treated.status]}</strong>: "
                f"{_inline(treated.message)} <span class='dd-faint'>{compared}</span></li>"
            )
        yield "</ul>"
    if said := sentences.checks(report):
        yield f'<p class="dd-faint">{escape(said)}</p>'
    if unchecked := list(sentences.unchecked(report)):
        yield "<details><summary>Not checked</summary><ul>"
        for check in unchecked:
            rule = escape(sentences.line(check.rule, 60))
            yield f"<li><code>{rule}</code>: {_inline(check.reason)}</li>"
        yield "</ul></details>"
    for note in report.notes:
        yield f'<p class="dd-faint">{_inline(note)}</p>'


def _finding(finding: Finding, charts: bool) -> Iterator[str]:
    yield f"<h3>{_inline(finding.message)}</h3>"
    where = [
        finding.severity,
        sentences.cell(finding.at),
        f"costs {loss}" if (loss := sentences.loss(finding)) else "",
        sentences.line(finding.rule, 60),
    ]
    yield f'<p class="dd-faint">{escape(" · ".join(part for part in where if part))}</p>'
    yield f"<p>{_inline(finding.why)}</p>"
    if finding.evidence:
        yield _table(finding.evidence)
    if charts:
        yield from map(svg, finding.charts)
    for detail in finding.details[: sentences.MAX_DETAILS]:
        text = escape(sentences.detail(detail))
        yield f"<details><summary>{_inline(detail.title)}</summary><pre>{text}</pre></details>"
    for fix in finding.fixes:
        yield from _fix(fix, finding)


def _table(evidence: tuple[Evidence, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(sentences.line(item.label, 120))}</th>'
        f"<td>{escape(sentences.measured(item))}</td><td>{escape(sentences.limit(item))}</td></tr>"
        for item in evidence
    )
    head = '<tr><th scope="col"></th><th scope="col">measured</th><th scope="col">limit</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _fix(fix: Fix, finding: Finding) -> Iterator[str]:
    how = [sentences.APPLICABILITY[fix.applicability], sentences.place(fix, finding.at)]
    said = escape(", ".join(part for part in how if part))
    yield f'<p><strong>{_inline(fix.title)}</strong> <span class="dd-faint">({said})</span></p>'
    if fix.expect:
        yield f"<p>{_inline(fix.expect)}</p>"
    yield f"<pre>{escape(sentences.code(fix.code))}</pre>"


def _inline(text: str) -> str:
    """A sentence; what stands between backticks as code."""
    parts = sentences.line(text).split("`")
    if len(parts) % 2 == 0:  # an odd backtick is just a character
        parts[-2:] = ["`".join(parts[-2:])]
    return "".join(
        f"<code>{escape(part)}</code>" if i % 2 else escape(part) for i, part in enumerate(parts) if part
    )
