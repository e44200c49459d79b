"""Every rule on the facts that were seen in real kernels: it speaks in the sick notebook, and only there."""

import gzip
import re

import pytest

from jupyter_dask_doctor.runner import examine

from .notebooks import all_notebooks
from .recorded import path, read

NOTEBOOKS = [n for n in all_notebooks() if n.needs is None or path(n.name).exists()]


def test_recordings_survive_the_way():
    from tests.healthy import policy, snapshot

    from .recorded import decode, encode

    facts = snapshot(policy=policy(saturation=float("inf")))
    assert decode(encode(facts)) == facts


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_tells_nothing_of_the_machine_it_was_made_on(notebook):
    text = gzip.decompress(path(notebook.name).read_bytes()).decode()
    assert not re.search(r"/(?:work|root)/|/home/\w", text)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_judged_again(notebook):
    assert path(notebook.name).exists(), "`python -m tests.clinic --record` makes it"
    report = examine(read(notebook.name))
    assert not [c for c in report.checks if c.outcome == "error"]
    loud = {f.rule for f in report.findings if f.severity != "info"}
    expected = notebook.expected
    if expected is None:
        assert not loud - notebook.also
        return
    assert loud <= {expected.rule, *notebook.also}
    told = [
        (f.severity, f.subject, f.at and f.at.cell_id) for f in report.findings if f.rule == expected.rule
    ]
    assert (expected.severity, expected.subject, expected.cell) in told
