"""The README says what is so."""

import re
from pathlib import Path

from jupyter_dask_doctor.runner import catalogue

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_lists_every_rule() -> None:
    table = README.split("<!-- rules: kept by tests/test_readme.py -->")[1].split("<!-- /rules -->")[0]
    rows = table.strip().splitlines()[2:]
    wanted = [
        f"| [`{rule}`](docs/rules/{rule}.md) | {title.rstrip('.')} | {severity} | "
        for rule, title, _, severity in catalogue()
    ]
    assert [row[: len(start)] for row, start in zip(rows, wanted, strict=True)] == wanted


def test_links_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/*.md"),
    ]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = set(
        re.findall(
            r"(?m)(?:^|`)make ([a-z]+)\b", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        )
    )
    assert {"demo", "test", "bench"} <= told
    for target in told:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
