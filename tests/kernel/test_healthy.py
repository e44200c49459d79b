"""Healthy work of many kinds, in a real kernel on worker processes: the doctor has nothing to complain of."""

import pytest

CLUSTER = """
import dask, dask.array as da, dask.bag as db, dask.dataframe as dd
import numpy as np, pandas as pd
from distributed import Client, LocalCluster, wait, as_completed
cluster = LocalCluster(n_workers=2, threads_per_worker=2, memory_limit="1GiB", dashboard_address="127.0.0.1:0")
client = Client(cluster)
"""

NOTEBOOKS = {
    "dataframe ETL": [
        """
def day(n):
    rng = np.random.default_rng(n)
    return pd.DataFrame({"shop": rng.integers(0, 50, 200_000), "amount": rng.random(200_000), "day": n})
sales = dd.from_map(day, range(16))
""",
        "sales = sales[sales.amount > 0.1].persist()\n_ = wait(sales)",
        "sales.groupby('shop').amount.mean().compute()",
        "sales.groupby('day').amount.agg(['sum', 'max']).compute()",
        "towns = pd.DataFrame({'shop': range(50), 'town': ['a', 'b'] * 25})",
        "sales.merge(towns, on='shop').town.value_counts().compute()",
    ],
    "array statistics": [
        "x = da.random.default_rng(0).normal(size=(4_000, 4_000), chunks=(500, 4_000)).persist()\n_ = wait(x)",
        "x.mean(axis=0).compute(); x.std(axis=1).compute()",
        "((x - x.mean(axis=0)) / x.std(axis=0)).sum().compute()",
        "(x @ x.T)[:10, :10].compute()",
    ],
    "bag of logs": [
        "lines = db.from_sequence([f'{n % 7} GET /{n % 13}' for n in range(20_000)], npartitions=8)",
        "lines.map(str.split).pluck(2).frequencies().topk(3, key=1).compute()",
        "lines.filter(lambda line: line.startswith('3')).count().compute()",
    ],
    "delayed pipeline": [
        """
import time
@dask.delayed
def load(n): time.sleep(0.1); return np.arange(n)
@dask.delayed
def double(x): time.sleep(0.1); return x * 2
total = dask.delayed(sum)([double(load(n)).sum() for n in range(24)])
""",
        "total.compute()",
    ],
    "futures": [
        "def slow(n):\n    import time\n    time.sleep(0.2 + n % 3 * 0.1)\n    return np.ones(10_000 * (1 + n % 2))",
        "futures = client.map(slow, range(24))\nsum(f.result().sum() for f in as_completed(futures))",
        "client.submit(sum, client.gather(futures[0])).result()",
    ],
    "a short last partition, and a filter that leaves little of some": [
        "table = pd.DataFrame({'a': range(2_000_500), 'b': 1.0})",
        "df = dd.from_pandas(table, chunksize=100_000).persist()\n_ = wait(df)",
        "rare = df[df.a > 1_900_000].persist()\n_ = wait(rare)",
        "rare.b.sum().compute()",
    ],
    "the same cell run again and again": [
        "df = dd.from_map(lambda n: pd.DataFrame({'a': range(50_000)}), range(12))"
    ]
    + ["df.a.sum().compute()"] * 4,
    "iteration to convergence": [
        """
w = np.zeros(20)
X = da.random.default_rng(0).normal(size=(200_000, 20), chunks=(25_000, 20)).persist()
for _ in range(5):
    w = w - 0.1 * (X.T @ (X @ w - 1) / len(X)).compute()
"""
    ],
}


@pytest.mark.parametrize("kind", NOTEBOOKS)
def test_nothing_is_complained_of(kernel, kind):
    for n, source in enumerate([CLUSTER, *NOTEBOOKS[kind]]):
        ran = kernel.run(source, cell_id=f"cell-{min(n, 2) if 'again' in kind else n}")
        assert ran.status == "ok", ran.errors
    # Judged after the last cell, with its measures, which come with a later heartbeat.
    kernel.run("import time; time.sleep(1.5)", cell_id="rest")
    # ... and judged it was: these rules only have an outcome once computations and workers were seen.
    seen = {"large-graph", "repeated-compute", "worker-memory-pressure"}
    reply = kernel.ask_until(
        lambda reply: (
            reply["report"]
            and seen <= {c["rule"] for c in reply["report"]["checks"] if c["outcome"] in ("passed", "found")}
        )
    )
    loud = [f for f in reply["report"]["findings"] if f["severity"] != "info"]
    assert not loud, [f["message"] for f in loud]
    faults = [c for c in reply["report"]["checks"] if c["outcome"] == "error"]
    assert not faults
