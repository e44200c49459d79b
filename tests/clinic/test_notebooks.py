"""The notebooks of the clinic are what they should be; the page tells of them as they are."""

import json

import nbformat
import pytest

from jupyter_dask_doctor.rules import RULES
from jupyter_dask_doctor.source import parse

from .notebooks import EXAMPLES, all_notebooks
from .table import PAGE, load, page

NOTEBOOKS = all_notebooks()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_is_a_clean_notebook(notebook):
    told = json.loads(notebook.path.read_text(encoding="utf-8"))
    nbformat.validate(told)
    assert told["cells"][0]["cell_type"] == "markdown"
    for cell in told["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert all(parse(source) is not None for _, source in notebook.cells)
    ids = {key for key, _ in notebook.cells}
    named = {*notebook.errors, *([notebook.interrupt.cell] if notebook.interrupt else [])}
    assert named <= ids


@pytest.mark.parametrize("notebook", [n for n in NOTEBOOKS if n.kind != "healthy"], ids=lambda n: n.name)
def test_stands_where_its_rule_is_looked_for(notebook):
    rule = RULES[notebook.cures or notebook.expected.rule]
    wanted = f"{rule.family}/{rule.id}" + ("-cured" if notebook.cures else "")
    assert notebook.name == wanted
    assert notebook.also <= RULES.keys()
    if notebook.expected is not None:
        assert notebook.expected.cell in {None, *(key for key, _ in notebook.cells)}


@pytest.mark.parametrize("rule_id", [r.id for r in RULES.values()])
def test_every_rule_has_a_sick_and_a_cured_notebook(rule_id):
    folder = EXAMPLES / RULES[rule_id].family
    assert (folder / f"{rule_id}.ipynb").exists()
    assert (folder / f"{rule_id}-cured.ipynb").exists()


def test_the_page_is_fresh():
    """`make clinic` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page(load())
