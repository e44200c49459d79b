"""Clients are found in a real kernel, whatever distributed is or is not installed there."""

import textwrap

import pytest

from jupyter_dask_doctor.kernel.discovery import is_too_old


def ids(reply):
    return [client["id"] for client in reply["clients"]]


def followed(reply):
    return [client["id"] for client in reply["clients"] if client["is_followed"]]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2025.7.0", False),
        ("2026.8.0+3.gabc", False),
        ("2025.6.9", True),
        ("2024.2.0", True),
        ("1.28.1", True),
        ("unknown", False),
        ("", False),
    ],
)
def test_versions(version, expected):
    assert is_too_old(version) is expected


def test_distributed_is_missing(start_kernel, tmp_path):
    # What an environment without it looks like: nobody finds it.
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import sys
        class Hide:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("distributed", "dask"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Hide())
        """)
    )
    kernel = start_kernel(env={"PYTHONPATH": f"{tmp_path}:{_root()}"})
    reply = kernel.ask_until(lambda reply: "not installed" in reply["status"]["message"])
    assert reply["status"]["kind"] == "no-distributed"
    assert "%pip install" in reply["status"]["message"]
    assert "not installed" in kernel.run("%dask_doctor").text


@pytest.mark.parametrize(
    ("version", "instances", "said"),
    [("2024.2.0", "_instances", "2025.7"), ("2099.1.0", "_others", "--upgrade jupyter-dask-doctor")],
)
def test_distributed_is_too_old_or_too_new(start_kernel, tmp_path, version, instances, said):
    # Not a real release but as much of one as is looked at.
    package = tmp_path / "distributed"
    package.mkdir()
    (package / "__init__.py").write_text(f"__version__ = {version!r}\nfrom .client import Client\n")
    (package / "client.py").write_text(
        f"import weakref\nclass Client:\n    {instances} = weakref.WeakSet()\n"
        f"    def __init__(self): Client.{instances}.add(self)\n"
    )
    kernel = start_kernel(env={"PYTHONPATH": f"{tmp_path}:{_root()}"})
    assert kernel.run("from distributed import Client; client = Client()").status == "ok"
    reply = kernel.ask_until(lambda reply: reply["status"]["kind"] == "old-distributed")
    assert version in reply["status"]["message"]
    assert said in reply["status"]["message"]
    assert kernel.value("[f.text for f in __import__('jupyter_dask_doctor.kernel.extension').kernel.extension"
                        ".monitor().faults]") == []  # fmt: skip


def test_a_client_is_seen_while_its_cell_still_runs(kernel):
    ran = kernel.begin(
        kernel.CLUSTER + "client = Client(cluster())\nimport time; time.sleep(8)", cell_id="made"
    )
    reply = kernel.ask_until(kernel.live)
    assert reply["running"]["cell_id"] == "made", "the cell was over before the client was seen"
    assert reply["vitals"]["n_workers"] == 1
    assert len(reply["clients"]) == 1
    assert reply["clients"][0]["is_default"]
    assert kernel.finish(ran).status == "ok"
    assert kernel.ask_until(lambda reply: reply["running"] is None)


def test_several_clients_and_a_closed_one(kernel):
    kernel.run(kernel.CLUSTER + "one = Client(cluster()); a = one.id")
    kernel.ask_until(kernel.live)
    kernel.run("two = Client(cluster()); b = two.id")
    a, b = kernel.value("(a, b)")
    reply = kernel.ask_until(lambda reply: followed(reply) == [b] and kernel.live(reply))
    assert ids(reply) == [b, a], "the followed one comes first"
    assert [client["is_default"] for client in reply["clients"]] == [True, False]
    kernel.run("two.close()")
    reply = kernel.ask_until(lambda reply: followed(reply) == [a] and kernel.live(reply))
    assert ids(reply) == [a]
    kernel.run("one.close()")
    reply = kernel.ask_until(lambda reply: reply["status"]["kind"] == "lost")
    assert "closed" in reply["status"]["message"]
    assert reply["vitals"], "what was seen last is still told"
    kernel.run("three = Client(cluster())")
    kernel.ask_until(kernel.live)


def test_a_client_that_is_not_the_default(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster(), set_as_default=False)")
    reply = kernel.ask_until(kernel.live)
    assert not reply["clients"][0]["is_default"]
    assert reply["clients"][0]["is_followed"]


def test_an_async_client(kernel):
    kernel.run(
        kernel.CLUSTER + "c = await cluster(asynchronous=True)\nclient = await Client(c, asynchronous=True)",
    )
    reply = kernel.ask_until(kernel.live)
    assert reply["vitals"]["n_workers"] == 1
    # Its loop is the kernel's own: a cell that blocks it silences the scheduler, not the doctor.
    ran = kernel.begin("import time; time.sleep(4); done = 1", cell_id="blocks")
    reply = kernel.ask_until(lambda reply: (reply["running"] or {}).get("cell_id") == "blocks")
    assert kernel.finish(ran).status == "ok"
    kernel.ask_until(kernel.live)
    assert kernel.run("await client.close(); await c.close()").status == "ok"


def test_clients_of_workers_in_this_process_are_not_the_users(kernel):
    kernel.run(kernel.CLUSTER + "client = Client(cluster(threads_per_worker=2))")
    kernel.ask_until(kernel.live)
    ran = kernel.run(
        "from distributed import get_client\n"
        "def f(x):\n"
        "    import time; get_client().submit(int, x).result(); time.sleep(2); return x\n"
        "future = client.submit(f, 1)\n"
    )
    assert ran.status == "ok"
    kernel.ask_until(lambda reply: reply["vitals"]["tasks_memory"] >= 1)
    assert ids(kernel.ask()) == [kernel.value("client.id")]


def test_a_scheduler_that_comes_back_is_another_series(start_kernel):
    kernel = start_kernel()
    kernel.run(
        "import subprocess, sys, socket, time\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]; s.close()\n"
        "def scheduler():\n"
        "    return subprocess.Popen([sys.executable, '-m', 'distributed.cli.dask_scheduler', '--host',\n"
        "        '127.0.0.1', '--port', str(port), '--no-dashboard'], stderr=subprocess.DEVNULL)\n"
        "p = scheduler()\n"
        "from distributed import Client\n"
        "client = Client(f'tcp://127.0.0.1:{port}', timeout='30s')\n"
    )
    first = kernel.ask_until(lambda reply: reply["status"]["kind"] == "live")
    kernel.run("p.kill(); p.wait()")
    kernel.ask_until(lambda reply: reply["status"]["kind"] in ("lost", "connecting"))
    kernel.run("p = scheduler()")
    scheduler_id = first["clients"][0]["scheduler_id"]

    def is_another(reply):
        return reply["status"]["kind"] == "live" and reply["clients"][0]["scheduler_id"] != scheduler_id

    assert scheduler_id
    kernel.ask_until(is_another, timeout=40)
    kernel.run("client.close(); p.kill(); p.wait()")


def test_a_cluster_that_refuses_plugins(kernel):
    # As operators lock a scheduler down: Dask itself has no other switch against pickled code any more.
    kernel.run(
        "import dask\n"
        "dask.config.set({'distributed.scheduler.blocked-handlers': ['register_scheduler_plugin']})\n"
        + kernel.CLUSTER
        + "client = Client(cluster())"
    )
    reply = kernel.ask_until(lambda reply: reply["status"]["kind"] == "limited" and reply["vitals"])
    assert reply["status"]["message"]
    assert reply["vitals"]["n_workers"] == 1


def _root():
    from pathlib import Path

    return Path(__file__).parents[2]


def test_two_notebooks_on_one_scheduler(start_kernel):
    one, other = start_kernel(), start_kernel()
    one.run(one.CLUSTER + "client = Client(cluster())")
    address = one.value("client.scheduler.address")
    other.run(f"from distributed import Client; client = Client({address!r})")
    first, second = one.ask_until(one.live), other.ask_until(other.live)
    assert first["clients"][0]["scheduler_id"] == second["clients"][0]["scheduler_id"]
    assert ids(first) != ids(second)
    assert len(ids(first)) == len(ids(second)) == 1
    one.run("client.cluster.close()")
    other.ask_until(lambda reply: reply["status"]["kind"] in ("lost", "connecting"))
    assert "seen last" in other.run("%dask_doctor").shown[0]["text/plain"]
