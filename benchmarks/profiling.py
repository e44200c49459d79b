"""How long it takes to describe a notebook's collections, and how long that keeps a running cell waiting.

    python benchmarks/profiling.py [--quick]

Real collections of Dask in a namespace: ten ordinary ones, a dataframe of 50,000 partitions, an array of a million
chunks, and others that are hard on whoever looks at them. Each namespace is described by `profile` in a thread of
its own, as in a kernel, while the main thread computes without a pause, as a cell does. Each in a process of its own.

First: the first look, which walks through graphs and expressions. Second: any later one. CPU is the thread's own time
(with the cell computing beside it, twice as much passes on the clock). Kept waiting: the longest time for which the
main thread did not get the interpreter during the first look; about 5 ms are Python's own way of taking turns. Anyway:
the same for half a second in which nobody looks, so what the machine does by itself. Memory: the most that the first
look took beyond what there was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd

from jupyter_dask_doctor.gather.data.collections import profile

#: Seconds a look may take, by the design.
GOALS = {"ten ordinary": 0.2, "50,000 partitions": 2.0, "1,000,000 chunks": 2.0}


def increment(x: Any) -> Any:
    return x + 1


def ordinary(_: int) -> dict[str, object]:
    """As in a notebook of an hour's work."""
    table = pd.DataFrame({"key": np.arange(200_000) % 100, "value": 1.5, "name": "abcdefgh"})
    df = dd.from_pandas(table, npartitions=40)
    x = da.random.random((4_000, 4_000), chunks=(500, 500))
    bag = db.from_sequence(range(10_000), npartitions=50)
    return {
        "table": table,
        "df": df,
        "cleaned": df[df.value > 1].assign(double=df.value * 2),
        "totals": df.groupby("key").value.sum(),
        "merged": df.merge(df.groupby("key").value.mean().reset_index(), on="key"),
        "x": x,
        "anomaly": x - x.mean(axis=0),
        "turned": x + x.T.rechunk((250, 1_000)),
        "bag": bag.map(increment).filter(bool),
        "counts": bag.frequencies(),
        "model": dask.delayed(sum)([dask.delayed(increment)(i) for i in range(100)]),
    }


def partitions(n: int) -> dict[str, object]:
    df = dd.from_map(lambda i: pd.DataFrame({"a": [i]}), range(n), meta=pd.DataFrame({"a": [1]}))
    return {"df": df, "total": (df.a + 1).sum()}


def chunks(n: int) -> dict[str, object]:
    side = int(n**0.5)
    x = da.ones((side, side), chunks=1)
    return {"x": x, "y": x + 1}


def reduced(n: int) -> dict[str, object]:
    return {"total": chunks(n)["y"].sum()}  # type: ignore[attr-defined]


def copied(n: int) -> dict[str, object]:
    side = int(n**0.5)
    return {"x": da.from_array(np.ones((side, side)), chunks=1)}


def items(n: int) -> dict[str, object]:
    return {"bag": db.from_sequence(range(n), npartitions=n).map(increment)}


def calls(n: int) -> dict[str, object]:
    return {"total": dask.delayed(sum)([dask.delayed(increment)(i) for i in range(n)])}


def ring(n: int) -> dict[str, object]:
    graph = {("x", i): (increment, ("x", (i + 1) % n)) for i in range(n)}
    return {"x": da.Array(graph, "x", chunks=((1,) * n,), dtype="f8")}


CASES: tuple[tuple[str, Callable[[int], dict[str, object]], int], ...] = (
    ("ten ordinary", ordinary, 10),
    ("50,000 partitions", partitions, 50_000),
    ("1,000,000 chunks", chunks, 1_000_000),
    ("... summed up", reduced, 1_000_000),
    ("... cut from one NumPy array", copied, 1_000_000),
    ("a bag of 50,000 partitions", items, 50_000),
    ("3,000 Delayed", calls, 3_000),
    ("a ring of 50,000 tasks", ring, 50_000),
)


def look(namespace: Mapping[str, object]) -> None:
    found = profile(namespace, sizes=lambda group: None, bound_at=lambda name: None)
    assert found


def rest(namespace: Mapping[str, object]) -> None:
    time.sleep(0.5)


def timed(
    namespace: Mapping[str, object], what: Callable[[Mapping[str, object]], None] = look
) -> tuple[float, float]:
    """Seconds of the thread's own work, and the longest time in which the main thread could not go on."""
    took: list[float] = []

    def work() -> None:
        time.sleep(0.02)
        began = time.thread_time()
        what(namespace)
        took.append(time.thread_time() - began)

    thread = threading.Thread(target=work, daemon=True)
    longest = 0.0
    thread.start()
    last = time.perf_counter()
    while not took:
        now = time.perf_counter()
        longest = max(longest, now - last)
        last = now
    thread.join()
    return took[0], longest


def measure(make: Callable[[int], dict[str, object]], n: int, answer: Any) -> None:
    warnings.simplefilter("ignore")
    look({"warm": da.ones(3, chunks=1), "up": dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1)})
    namespace = make(n)
    waited_anyway = timed(namespace, rest)[1]
    first, waited = timed(namespace)
    second = min(timed(namespace)[0] for _ in range(5))
    from jupyter_dask_doctor.gather.data import embedded, graphs

    graphs._kept.clear()
    embedded._kept.clear()
    tracemalloc.start()
    look(namespace)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    answer.send((first, second, waited, waited_anyway, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a hundredth of it: shows that it runs, not the figures"
    )
    options = parser.parse_args()
    print("Describing the collections of a notebook, while a cell computes")
    print(f"  {'':30} {'first':>9} {'second':>10} {'kept waiting':>13} {'anyway':>10} {'memory':>8}")
    context = multiprocessing.get_context("spawn")
    for name, make, n in CASES:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(make, n // 100 if options.quick else n, theirs))
        process.start()
        theirs.close()
        try:
            first, second, waited, anyway, peak = ours.recv()
        finally:
            process.join()
        goal = f"  goal {GOALS[name] * 1e3:,.0f} ms" if name in GOALS else ""
        print(
            f"  {name:30} {first * 1e3:6.1f} ms {second * 1e3:7.2f} ms {waited * 1e3:10.1f} ms {anyway * 1e3:7.1f} ms "
            f"{peak / 2**20:5.1f} MB{goal}",
            flush=True,
        )


if __name__ == "__main__":
    main()
