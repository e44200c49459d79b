"""Shared work is found between two cells of a real notebook, for each kind of collection, and none where none is."""

import pytest

REPORT = "__import__('jupyter_dask_doctor.kernel.extension').kernel.extension.monitor().watch.report"
SETUP = """
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd

# However little was done again, it is told
dask.config.set({"dask-doctor.rules.repeated-compute": {
    "wasted-seconds": 0.0, "wasted-share": 0.0, "least-seconds": 0.0,
}})


def part(i):
    return pd.DataFrame({"x": np.arange(100.0) + i, "y": np.arange(100.0)})


def make(start):
    return dd.from_map(part, range(start, start + 4))


def add(x):
    return x + 1
"""
#: How each kind is made, from a number that makes it another one.
MADE = {
    "parquet": "make({n}).to_parquet(folder + '/parquet{n}'); {name} = dd.read_parquet(folder + '/parquet{n}')",
    "csv": "make({n}).to_csv(folder + '/csv{n}-*.csv'); {name} = dd.read_csv(folder + '/csv{n}-*.csv')",
    "mapped": "{name} = make({n}).assign(z=1)",
    "array": "{name} = da.random.default_rng({n}).random((400, 400), chunks=(100, 400)) + 1",
    "bag": "{name} = db.from_sequence(range({n}, {n} + 1_000), npartitions=4).map(add)",
}


def of(kind, name):
    return f"{name}.x" if kind in ("parquet", "csv", "mapped") else name


def found(kernel):
    """Subjects of the rule's findings and what it made of its check."""
    return kernel.value(
        f"[f.subject for f in {REPORT}.findings if f.rule == 'repeated-compute'], "
        f"[c.outcome for c in {REPORT}.checks if c.rule == 'repeated-compute']"
    )


def settled(kernel):
    """A report on all that ran: computations of all cells are done and have been looked at."""
    snapshot = REPORT.replace(".report", ".snapshot")
    ask = f"all(k.is_done for k in {snapshot}.computations) and {snapshot}.computations[-1].at.cell_id"
    kernel.ask_until(lambda reply: kernel.value(ask) == "last")
    kernel.ask_until(lambda reply: found(kernel)[1] not in ([], ["incomplete"], ["error"]))


@pytest.mark.timeout(180)
def test_shared_work_of_two_cells_is_found_for_each_kind_and_none_where_there_is_none(kernel, tmp_path):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="cluster")
    kernel.ask_until(kernel.live)
    ran = kernel.run(f"folder = {str(tmp_path)!r}\n{SETUP}", cell_id="setup")
    assert ran.status == "ok", ran.errors
    for i, (kind, made) in enumerate(MADE.items()):
        names = [f"{which}_{kind}" for which in ("shared", "left", "right")]
        shared, left, right = (of(kind, name) for name in names)
        cells = {
            "data": "\n".join(made.format(name=name, n=100 * (3 * i + k)) for k, name in enumerate(names)),
            "sum": f"{shared}.sum().compute()",
            "mean": f"{shared}.mean().compute()",
            "left": f"{left}.sum().compute()",
            "right": f"{right}.sum().compute()",
        }
        if kind == "parquet":
            # Columns of their own: nothing of it is read twice
            cells["columns"] = "left_parquet.y.sum().compute()"
        for id, text in cells.items():
            ran = kernel.run(text, cell_id=f"{kind}-{id}")
            assert ran.status == "ok", ran.errors
    kernel.run("da.ones(10, chunks=5).sum().compute()", cell_id="last")
    settled(kernel)
    subjects, _ = found(kernel)
    assert sorted(subjects) == sorted(f"shared_{kind}" for kind in MADE)
