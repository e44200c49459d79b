"""What rules of graphs say before a cell runs, after it ran and after the cure, in a real notebook."""

import pytest

EXTENSION = "__import__('jupyter_dask_doctor.kernel.extension').kernel.extension"
REPORT = f"{EXTENSION}.monitor().watch.report"
#: However little is at stake, it is told.
SETUP = """
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd

dask.config.set({"dask-doctor.rules": {
    "embedded-data": {"loss-seconds": 0.0, "loss-share": 0.0},
    "large-graph": {"n-tasks": 30, "loss-seconds": 0.0, "loss-share": 0.0},
    "unfused-compute": {"n-tasks": 30, "loss-seconds": 0.0, "loss-share": 0.0},
}})
"""
CELLS = {
    "data": "table = pd.DataFrame({'x': np.arange(2_000_000.0), 'y': 1.0})",
    "frame": (
        "df = dd.from_pandas(table, npartitions=12)\n"
        "for n in range(4):\n    df = df.assign(**{f'z{n}': df.x + n})"
    ),
    "work": "df.compute()",
}
CURED = CELLS | {
    "frame": "df = dd.from_map(lambda i: pd.DataFrame({'x': [float(i)]}), range(3))",
    "data": "table = None",
}
RULES = ("embedded-data", "large-graph", "unfused-compute")


def said(kernel):
    """Rule, subject and ailing cell of each finding of the three rules."""
    return kernel.value(
        f"sorted((f.rule, f.subject, f.at.cell_id) for f in {REPORT}.findings if f.rule in {RULES!r})"
    )


def tell(kernel, cells):
    kernel.ask(cells=[{"id": id, "source": text} for id, text in cells.items()])


@pytest.mark.timeout(180)
def test_the_same_findings_before_and_after_and_none_once_it_is_cured(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="cluster")
    kernel.ask_until(kernel.live)
    kernel.run(SETUP, cell_id="setup")
    for id in ("data", "frame"):
        kernel.run(CELLS[id], cell_id=id)
    expected = [
        ("embedded-data", "table", "work"),
        ("large-graph", "df", "work"),
        ("unfused-compute", "df", "work"),
    ]
    computations = f"[k.is_done for k in {EXTENSION}.monitor().watch.snapshot.computations]"
    tell(kernel, CELLS)
    kernel.ask_until(lambda reply: said(kernel) == expected, timeout=40)
    assert kernel.value(computations) == []
    kernel.run(CELLS["work"], cell_id="work")
    kernel.ask_until(lambda reply: kernel.value(computations) == [True])
    kernel.ask_until(lambda reply: said(kernel) == expected, timeout=40)
    tell(kernel, CURED)
    for id in ("data", "frame", "work"):
        kernel.run(CURED[id], cell_id=id)
    kernel.ask_until(lambda reply: said(kernel) == [], timeout=40)
