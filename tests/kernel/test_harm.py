"""First do no harm: a kernel with the doctor in it is the kernel it was, and hears nothing of the doctor."""

import time


def test_an_injected_fault_never_reaches_a_cell(kernel):
    ran = kernel.run(
        "import jupyter_dask_doctor.doctor as d\n"
        "def boom(*a, **k):\n"
        "    print('printed'); raise RuntimeError('injected <b>')\n" + kernel.CLUSTER
    )
    kernel.run("real, d.gather = d.gather, boom")
    ran = kernel.run(
        "client = Client(cluster())\nimport time\ntime.sleep(3)\nprint(client.submit(int, 7).result())"
    )
    assert ran.status == "ok"
    assert ran.errors == ""
    assert "7" in ran.text
    assert "injected" in kernel.run("%dask_doctor status").text
    kernel.run("d.gather = real")
    reply = kernel.ask_until(lambda reply: kernel.live(reply), timeout=40)
    assert reply["report"] is not None, "one good turn and the doctor is back"


def test_repeated_faults_switch_the_doctor_off(kernel):
    kernel.run(
        "import jupyter_dask_doctor.kernel.monitor as m\n"
        "m.MAX_FAULTS = 3\n"
        "import jupyter_dask_doctor.doctor as d\n"
        "def boom(*a, **k): raise RuntimeError('injected')\n"
        "real, d.gather = d.gather, boom\n" + kernel.CLUSTER + "client = Client(cluster())"
    )
    reply = kernel.ask_until(lambda reply: reply["status"]["kind"] == "off")
    assert "injected" in reply["status"]["message"]
    assert "%reload_ext" in reply["status"]["message"]
    ran = kernel.run("print(client.submit(int, 7).result())")
    assert (ran.text, ran.errors) == ("7\n", "")
    assert (
        kernel.value("[t.name for t in __import__('threading').enumerate() if t.name == 'dask-doctor']") == []
    )
    ran = kernel.run("%dask_doctor")
    assert ran.status == "ok"
    kernel.run("d.gather = real")
    assert kernel.run("%reload_ext jupyter_dask_doctor").status == "ok"
    kernel.ask_until(kernel.live)


def test_hostile_variables(kernel):
    ran = kernel.run(
        "class Meta(type):\n"
        "    def __getattribute__(cls, name): raise RuntimeError('meta')\n"
        "    def __instancecheck__(cls, one): raise RuntimeError('check')\n"
        "class Hostile(metaclass=Meta):\n"
        "    touched = []\n"
        "    def __getattribute__(self, name): __import__('sys').modules['__main__'].touched.append(name)\n"
        "    def __repr__(self): raise RuntimeError('repr')\n"
        "    __class__ = property(lambda self: 1 / 0)\n"
        "    __hash__ = None\n"
        "    def __eq__(self, other): raise RuntimeError('eq')\n"
        "touched = []\n"
        "class Large:\n"
        "    def __repr__(self): touched.append('repr'); return 'x' * 10_000_000\n"
        "hostile, large, many = Hostile(), Large(), {i: i for i in range(10)}\n"
        "globals()[7] = 'a name that is no name'\n"
        "globals()['<script>alert(1)</script>'] = 1\n" + kernel.CLUSTER + "client = Client(cluster())\n"
        "import dask.array as da\n"
        "globals()['<img src=x onerror=alert(1)>'] = da.ones((10, 10), chunks=5)\n"
        "x = da.ones((10, 10), chunks=5)"
    )
    assert ran.status == "ok", ran.errors
    reply = kernel.ask_until(lambda reply: kernel.live(reply) and len(reply["collections"]) == 2)
    assert {one["name"] for one in reply["collections"]} == {"x", "<img src=x onerror=alert(1)>"}
    kernel.run("del globals()[7]")
    assert kernel.value("touched") == []
    ran = kernel.run("%dask_doctor")
    assert "<img" not in ran.shown[0]["text/html"]
    assert kernel.value("len(__import__('jupyter_dask_doctor.kernel.extension').kernel.extension"
                        ".monitor().faults)") == 0  # fmt: skip


def test_html_in_keys_stays_text(kernel):
    kernel.run(
        kernel.CLUSTER + "client = Client(cluster())\n"
        "def f(x): raise ValueError('<script>alert(2)</script>')\n"
        "future = client.submit(f, 1, key='<script>alert(1)</script>-1')\n"
        "from distributed import wait\n"
        "_ = wait(future)"
    )
    kernel.ask_until(lambda reply: reply["vitals"] and reply["vitals"]["tasks_erred"] == 1)
    bundle = kernel.run("%dask_doctor").shown[0]
    assert "<script" not in bundle["text/html"]


def test_interrupt_reaches_the_cell_alone(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    kernel.ask_until(kernel.live)
    ran = kernel.begin("import time\ntime.sleep(60)", cell_id="long")
    kernel.ask_until(lambda reply: reply["running"])
    for _ in range(3):
        kernel.ask()
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in kernel.finish(ran).errors
    before = kernel.ask_until(lambda reply: reply["running"] is None)
    kernel.run("client.submit(int, 7).result()")
    kernel.ask_until(lambda reply: reply["rev"] > before["rev"] and kernel.live(reply))


def test_a_restart_is_another_life(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    first = kernel.ask_until(kernel.live)
    kernel.client.stop_channels()
    kernel.manager.restart_kernel(now=True)
    kernel.connect()
    reply = kernel.ask(since=first["rev"])
    assert reply["session"] != first["session"]
    assert reply["clients"] == []
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    reply = kernel.ask_until(kernel.live)
    assert reply["session"] != first["session"]


def test_a_client_closed_while_it_is_pulled_from(kernel):
    kernel.run(kernel.CLUSTER)
    for _ in range(3):
        ran = kernel.run("client = Client(cluster()); import time; time.sleep(0.6); client.close()")
        assert (ran.status, ran.errors) == ("ok", "")
    kernel.ask_until(lambda reply: reply["status"]["kind"] == "lost")
    assert "Faults of the doctor's own: none" in kernel.run("%dask_doctor status").text


def addresses(reply):
    return {worker["address"] for worker in reply["workers"]}


def test_workers_killed_while_they_are_watched(kernel):
    kernel.run(kernel.CLUSTER + "c = cluster(processes=True, n_workers=2); client = Client(c)")
    first = addresses(
        kernel.ask_until(lambda reply: kernel.live(reply) and reply["vitals"]["n_workers"] == 2, timeout=40)
    )
    ran = kernel.run(
        "import os, signal\n"
        "before = client.run(os.getpid)\n"
        "for pid in before.values(): os.kill(pid, signal.SIGKILL)\n"
    )
    assert ran.status == "ok", ran.errors
    # Their nannies start new ones, sometimes before anybody looks.
    kernel.ask_until(
        lambda reply: kernel.live(reply) and len(addresses(reply)) == 2 and not addresses(reply) & first,
        timeout=40,
    )
    assert "Faults of the doctor's own: none" in kernel.run("%dask_doctor status").text
    assert kernel.run("client.submit(int, 7).result()").shown[0]["text/plain"] == "7"


def test_a_blocked_interpreter_is_told(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    kernel.ask_until(kernel.live)
    ran = kernel.begin("sum(range(150_000_000))")
    time.sleep(0.2)
    kernel.ask()  # waits until the interpreter is free again
    assert kernel.finish(ran).status == "ok"
    lag = kernel.value("__import__('jupyter_dask_doctor.kernel.extension').kernel.extension.monitor().lag")
    assert lag > 0.3


def test_nested_cells_are_one(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())")
    kernel.ask_until(kernel.live)
    ran = kernel.begin("get_ipython().run_cell('1 + 1')\nimport time\ntime.sleep(3)", cell_id="outer")
    reply = kernel.ask_until(lambda reply: reply["running"])
    assert reply["running"] == {"cell_id": "outer", "execution_count": 2, "line": None}
    time.sleep(1)
    assert kernel.ask()["running"]["cell_id"] == "outer", "the inner cell's end is not the outer one's"
    kernel.finish(ran)
    kernel.ask_until(lambda reply: reply["running"] is None)


def test_a_failed_cell_and_one_without_an_id(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster())", cell_id="made")
    kernel.run("1 / 0", cell_id="fails")
    kernel.run("x = 1")
    kernel.ask_until(kernel.live)
    cells = kernel.value(
        "[(c.id, c.execution_count, c.has_failed) for c in __import__('jupyter_dask_doctor.kernel.extension')"
        ".kernel.extension.monitor().watch.cells.cells()]"
    )
    assert cells == [("made", 1, False), ("fails", 2, True), (None, 3, False)]


def test_loading_costs_nothing_to_speak_of(start_kernel):
    # Not how long it takes but what it drags in: that is what takes long.
    kernel = start_kernel(load=False)
    kernel.run("import sys; before = set(sys.modules)\n%load_ext jupyter_dask_doctor")
    loaded = kernel.value(
        "sorted(m for m in set(sys.modules) - before if not m.startswith(('jupyter_dask', 'IPython')))"
    )
    assert loaded == []
    ours = kernel.value("sorted(m for m in sys.modules if m.startswith('jupyter_dask_doctor'))")
    assert ours == ["jupyter_dask_doctor"] + [
        f"jupyter_dask_doctor.kernel{name}" for name in ("", ".channel", ".extension", ".magic", ".monitor")
    ]
    kernel.run("x = 1")
    time.sleep(0.5)
    assert not kernel.value("[m for m in ('dask', 'distributed', 'msgspec') if m in sys.modules]")
