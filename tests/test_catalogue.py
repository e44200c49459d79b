"""What every rule must bring, and the files that are made from the rules."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest
import yaml

from jupyter_dask_doctor import catalogue, config
from jupyter_dask_doctor.rules import RULES

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (
    "Why it matters", "Anti-pattern", "Best practice", "How it is known", "When it stays quiet", "Fix safety",
    "References",
)  # fmt: skip

each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


@each_rule
def test_the_file_is_the_id(rule):
    module = rule.judge.__module__.split(".")
    assert module[-1] == rule.id.replace("-", "_")
    assert module[-2] == rule.family
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)


@each_rule
def test_the_manual_has_all_its_parts(rule):
    heads = [line[3:] for line in rule.manual.splitlines() if line.startswith("## ")]
    assert tuple(heads) == SECTIONS
    bodies = re.split(r"^## .*$", rule.manual, flags=re.MULTILINE)
    assert all(body.strip() for body in bodies)
    assert re.search(r"^https://\S+$", rule.manual, re.MULTILINE)


@each_rule
def test_every_threshold_is_a_number_with_words(rule):
    rows = list(catalogue.settings(rule))
    assert [name for name, _, _ in rows] == [f.name for f in dataclasses.fields(rule.thresholds)]
    assert all(words for _, _, words in rows)
    assert all(isinstance(getattr(rule.thresholds, name), (int, float)) for name, _, _ in rows)


@each_rule
def test_it_has_tests_loud_and_quiet(rule):
    file = ROOT / "tests" / "rules" / rule.family / f"test_{rule.id.replace('-', '_')}.py"
    text = file.read_text(encoding="utf-8")
    assert "quiet" in text


@each_rule
def test_it_yields_to_rules_that_exist(rule):
    assert set(rule.yields_to) <= set(RULES)
    assert rule.id not in rule.yields_to


@pytest.mark.parametrize("path", catalogue.files(ROOT), ids=lambda path: path.name)
def test_what_is_made_from_the_rules_is_fresh(path):
    """Rewrite with `python -m jupyter_dask_doctor.catalogue`."""
    assert path.read_text(encoding="utf-8") == catalogue.files(ROOT)[path]


def test_no_page_of_a_rule_that_is_gone():
    pages = {path.stem for path in (ROOT / "docs" / "rules").glob("*.md")}
    assert pages == {*RULES, "index"}


def test_the_defaults_are_valid_settings():
    given = yaml.safe_load(catalogue.defaults())["dask-doctor"]
    made = config.settings(given)
    assert not made.notes
    assert dict(made.limits) == {id: r.thresholds for id, r in RULES.items()}


def test_every_file_of_a_rule_is_registered():
    root = ROOT / "jupyter_dask_doctor" / "rules"
    files = {p.stem.replace("_", "-") for p in root.glob("*/*.py") if p.stem != "__init__"}
    assert files == set(RULES)
    for family in {rule.family for rule in RULES.values()}:
        assert importlib.import_module(f"jupyter_dask_doctor.rules.{family}").__doc__


def test_examples_in_pages_are_fenced():
    page = catalogue.page(RULES["partition-skew"])
    assert page.count("```") % 2 == 0
    assert "```python\norders = orders.set_index" in page
