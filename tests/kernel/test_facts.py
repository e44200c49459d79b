"""What only a kernel knows, in a real one: how cells ended, which variables hold what, what bypasses the cluster."""

EXTENSION = "__import__('jupyter_dask_doctor.kernel.extension').kernel.extension"
SNAPSHOT = f"{EXTENSION}.monitor().watch.snapshot"


def until(kernel, expression, expected):
    """Waits until the expression has that value."""
    kernel.ask_until(lambda reply: kernel.value(expression) == expected)


def test_how_cells_ended(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="good")
    kernel.ask_until(kernel.live)
    kernel.run("1 / 0", cell_id="bad")
    kernel.run("x = = 1", cell_id="typo")
    kernel.run(
        "class Strange(BaseException):\n    __name__ = property(lambda self: 1 / 0)\n"
        "raise Strange('by its arguments alone')",
        cell_id="strange",
    )
    ran = kernel.begin("import time\ntime.sleep(60)", cell_id="stopped")
    kernel.ask_until(lambda reply: reply["running"] and reply["running"]["cell_id"] == "stopped")
    kernel.manager.interrupt_kernel()
    kernel.finish(ran)
    until(
        kernel,
        f"[(c.id, c.error) for c in {SNAPSHOT}.code]",
        [
            ("good", None),
            ("bad", "ZeroDivisionError"),
            ("typo", "SyntaxError"),
            ("strange", "Strange"),
            ("stopped", "KeyboardInterrupt"),
        ],
    )
    said = f"[c.error_text for c in {SNAPSHOT}.code if c.id in ('good', 'bad', 'strange')]"
    until(kernel, said, ["", "division by zero", "by its arguments alone"])


def test_the_names_of_things_and_what_outputs_hold(kernel):
    kernel.run(kernel.CLUSTER + "mine = cluster()\nclient = Client(mine)\nimport dask.array as da")
    kernel.ask_until(kernel.live)
    until(
        kernel,
        f"({SNAPSHOT}.cluster.client_variable, {SNAPSHOT}.cluster.cluster_variable)",
        ("client", "mine"),
    )
    until(kernel, f"[(c.variable, c.is_followed) for c in {SNAPSHOT}.kernel.clusters]", [("mine", True)])
    kernel.run("x = da.ones(1000, chunks=100).persist()\nx", cell_id="shown")
    until(kernel, f"[(c.name, c.held_by) for c in {SNAPSHOT}.collections]", [("x", ("Out[2]", "_"))])
    kernel.run("del x")
    until(
        kernel,
        f"[(c.name, c.held_by, c.at.cell_id) for c in {SNAPSHOT}.collections]",
        [("Out[2]", ("_",), "shown")],
    )
    kernel.run("%reset -f out")
    until(kernel, f"{SNAPSHOT}.collections", ())


def test_runs_that_bypass_the_cluster_until_the_extension_goes(kernel):
    kernel.run(
        kernel.CLUSTER + "client = Client(cluster())\nimport dask.array as da\nx = da.ones(100, chunks=10)"
    )
    kernel.ask_until(kernel.live)
    kernel.run("x.sum().compute(scheduler='threads')", cell_id="local")
    kernel.run("x.sum().compute()", cell_id="cluster")
    until(kernel, f"[run.at.cell_id for run in {SNAPSHOT}.kernel.local_runs]", ["local"])
    count = "len(__import__('dask').callbacks.Callback.active)"
    assert kernel.value(count) == 1
    kernel.run("%reload_ext jupyter_dask_doctor")
    kernel.run("pass")
    assert kernel.value(count) == 1
    kernel.run("%unload_ext jupyter_dask_doctor")
    kernel.run("pass")
    assert kernel.value(count) == 0
