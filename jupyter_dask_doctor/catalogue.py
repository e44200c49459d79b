"""Pages and defaults made from the rules: `python -m jupyter_dask_doctor.catalogue` rewrites them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

from .rules import RULES, Rule

_HEAD = "Generated from the rules by `python -m jupyter_dask_doctor.catalogue`."


def page(rule: Rule) -> str:
    """The rule's page of the manual, as Markdown."""
    title, _, body = rule.manual.partition("\n")
    rows = [f"| `{name}` | {value} | {words} |" for name, value, words in settings(rule)]
    return "\n".join(
        [
            f"# {rule.id}",
            "",
            f"**{title.strip()}** Family {rule.family}, at worst {rule.severity}.",
            "",
            _indented_as_code(body.strip()),
            "",
            "## Settings",
            "",
            f"Through `dask.config`, key `dask-doctor.rules.{rule.id}.<name>`.",
            "",
            "| name | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def settings(rule: Rule) -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of each threshold; the meaning is its `#:` comment."""
    said: list[str] = []
    words: dict[str, str] = {}
    for line in inspect.getsource(type(rule.thresholds)).splitlines():
        line = line.strip()
        if line.startswith("#:"):
            said.append(line[2:].strip())
        elif ":" in line and line.split(":")[0].isidentifier():
            words[line.split(":")[0]] = " ".join(said)
            said = []
    before = ""
    for f in dataclasses.fields(rule.thresholds):
        # A field without words of its own goes with the one above
        before = words.get(f.name) or before
        yield f.name, str(getattr(rule.thresholds, f.name)), before


def index() -> str:
    """The table of all rules, as Markdown."""
    rows = [
        f"| [{r.id}]({r.id}.md) | {r.family} | {r.manual.partition(chr(10))[0].strip()} | {r.severity} |"
        for r in RULES.values()
    ]
    head = ["# Rules", "", _HEAD, "", "| rule | family | what it sees | at worst |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def defaults() -> str:
    """The settings file with all defaults, as YAML."""
    lines = [
        f"# Defaults. {_HEAD}",
        "dask-doctor:",
        "  # Look at every task: retries are counted and durations told group by group. Costs the scheduler about",
        "  # 5 % more time for each task.",
        "  deep: false",
        "  # Ids of rules that are not checked.",
        "  ignore: []",
        "  rules:",
    ]
    for rule in RULES.values():
        lines.append(f"    {rule.id}:  # {rule.title}")
        for name, value, words in settings(rule):
            lines.append(f"      # {words}")
            lines.append(f"      {name.replace('_', '-')}: {value}")
    return "\n".join([*lines, ""])


def files(root: Path) -> dict[Path, str]:
    """What belongs where, below the root of the project."""
    made = {root / "docs" / "rules" / f"{r.id}.md": page(r) for r in RULES.values()}
    made[root / "docs" / "rules" / "index.md"] = index()
    made[root / "jupyter_dask_doctor" / "dask_doctor.yaml"] = defaults()
    return made


def _indented_as_code(body: str) -> str:
    """Indented examples as fenced ones: they get colours."""
    out: list[str] = []
    is_code = False
    for line in body.splitlines():
        indented = line.startswith("    ")
        if indented and not is_code:
            out.append("```python")
        elif is_code and line and not indented:
            while out and not out[-1]:
                out.pop()
            out += ["```", ""]
        is_code = indented or (is_code and not line)
        out.append(line[4:] if indented else line)
    if is_code:
        out.append("```")
    return "\n".join(out)


if __name__ == "__main__":
    for path, text in files(Path(__file__).resolve().parents[1]).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
