"""What a cell does inside Dask, seen in a real kernel."""

EXTENSION = "__import__('jupyter_dask_doctor.kernel.extension').kernel.extension"
PHASES = f"{EXTENSION}.monitor().watch.snapshot.phases"


def seen(kernel, cell_id):
    """Kinds, methods and lines of what was seen of this cell, once it is over."""
    of_cell = f"[p for p in {PHASES} if p.at.cell_id == {cell_id!r}]"
    kernel.ask_until(lambda reply: kernel.value(f"bool({of_cell}) and all(p.stop for p in {of_cell})"))
    return kernel.value(f"[(p.kind, p.method, p.at.line) for p in {of_cell}]")


def test_waiting_and_optimizing(kernel):
    kernel.run(
        kernel.CLUSTER + "client = Client(cluster())\nimport time, pandas as pd, dask.dataframe as dd\n"
        "df = dd.from_pandas(pd.DataFrame({'a': range(100)}), npartitions=2)"
    )
    kernel.ask_until(kernel.live)
    kernel.run("%%time\nx = 1\nclient.submit(time.sleep, 1).result()\n", cell_id="waits")
    assert ("waiting", "result", 3) in seen(kernel, "waits")
    kernel.run("%time client.submit(time.sleep, 1, pure=False).result()\n", cell_id="line")
    assert ("waiting", "result", 1) in seen(kernel, "line")
    # Of steps that nobody has seen before: the doctor's own look would make it quicker.
    kernel.run(
        "def work():\n    d = df\n    for i in range(60):\n        d = d.assign(b=d.a + i)\n"
        "    return d.b.sum().compute()\n\nwork()",
        cell_id="optimizes",
    )
    assert ("optimizing", "compute", 7) in seen(kernel, "optimizes")


def test_it_ends_with_the_doctor(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())\nimport time")
    kernel.ask_until(kernel.live)
    kernel.run("client.submit(time.sleep, 1).result()", cell_id="one")
    assert [kind for kind, *_ in seen(kernel, "one")] == ["waiting"]
    threads = "[t.name for t in __import__('threading').enumerate() if t.name.startswith('dask-doctor')]"
    assert "dask-doctor-look" in kernel.value(threads)
    kernel.run("%unload_ext jupyter_dask_doctor")
    kernel.run("time.sleep(0.5)")
    assert kernel.value(threads) == []
