"""The wheel in a fresh environment, with nothing but pip: what it brings is found, by server and kernel."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from jupyter_dask_doctor import __version__
from jupyter_dask_doctor.messages import PROTOCOL, TARGET

ROOT = Path(__file__).parents[1]
BIN = "Scripts" if os.name == "nt" else "bin"
LABEXTENSION = "share/jupyter/labextensions/jupyter-dask-doctor"

pytestmark = pytest.mark.timeout(300)

#: Run with the fresh environment's own Python: a kernel as any front end starts it, and our question to it.
PROBE = """
import json, sys, time
from jupyter_client.manager import start_new_kernel

kernel, client = start_new_kernel(startup_timeout=60)
try:
    for _ in range(20):
        question = client.session.msg("comm_info_request", json.loads(sys.argv[1]))
        client.control_channel.send(question)
        asked = question["header"]["msg_id"]
        while (reply := client.get_control_msg(timeout=30))["parent_header"].get("msg_id") != asked:
            pass
        # At first it has just woken up and has not looked around yet.
        if reply["content"].get("dask_doctor", {}).get("status", {}).get("kind") == sys.argv[2]:
            break
        time.sleep(0.5)
    print(json.dumps(reply["content"]))
finally:
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
"""


def _run(*command: object, **kwargs: Any) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The build's own tools are those of this environment; the bundle is built only when it is not fresh.
    environ = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    _run(*pip, "--wheel-dir", folder, ".", cwd=ROOT, env=environ)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("fresh") / "env"
    _run(sys.executable, "-m", "venv", prefix)
    _run(prefix / BIN / "python", "-m", "pip", "install", "--quiet", "--no-compile", wheel, "ipykernel")
    return prefix


@pytest.fixture(scope="module")
def environ(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """As a user has it who never configured anything."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not re.match("PYTHON|JUPYTER|IPYTHON", name)}
    path = os.pathsep.join([str(prefix / BIN), os.environ["PATH"]])
    return kept | {"HOME": str(home), "PATH": path, "JUPYTER_RUNTIME_DIR": str(home / "runtime")}


def test_the_wheel_carries_what_it_should(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        data = f"jupyter_dask_doctor-{__version__}.data/data/"
        for wanted in (
            "jupyter_dask_doctor/schema.json",
            f"jupyter_dask_doctor-{__version__}.dist-info/licenses/LICENSE",
            f"{data}{LABEXTENSION}/package.json",
            f"{data}{LABEXTENSION}/static/style.js",
            f"{data}{LABEXTENSION}/install.json",
            f"{data}etc/jupyter/jupyter_server_config.d/jupyter_dask_doctor.json",
            f"{data}etc/ipython/ipython_kernel_config.json",
        ):
            assert wanted in names
        assert not [name for name in names if name.startswith(("jupyter_dask_doctor/labextension", "tests"))]
        assert not [name for name in names if name.endswith(".map")]
        here = str(ROOT).encode()
        assert not [name for name in names if here in archive.read(name)]


def test_it_gets_along_with_what_is_there(prefix: Path, environ: dict[str, str]) -> None:
    _run(prefix / BIN / "python", "-m", "pip", "check", env=environ)


def test_the_browser_part_lies_where_jupyterlab_looks(prefix: Path) -> None:
    told = json.loads((prefix / LABEXTENSION / "package.json").read_text(encoding="utf-8"))
    assert told["version"] == __version__
    assert (prefix / LABEXTENSION / told["jupyterlab"]["_build"]["load"]).is_file()
    assert list((prefix / LABEXTENSION / "schemas" / "jupyter-dask-doctor").glob("plugin.json"))


@pytest.fixture
def server(prefix: Path, environ: dict[str, str], tmp_path: Path) -> Iterator[dict[str, Any]]:
    options = ["--no-browser", "--ServerApp.port=0", f"--ServerApp.root_dir={tmp_path}", "--allow-root"]
    command = [str(prefix / BIN / "jupyter"), "server", *options]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        runtime, deadline = Path(environ["JUPYTER_RUNTIME_DIR"]), time.monotonic() + 60
        while not (found := list(runtime.glob(f"jpserver-{process.pid}.json"))):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield json.loads(found[0].read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait(30)


def test_the_server_part_is_enabled(server: dict[str, Any]) -> None:
    address = f"http://127.0.0.1:{server['port']}{server['base_url']}dask-doctor/api/info"
    with urlopen(
        Request(address, headers={"Authorization": f"token {server['token']}"}), timeout=30
    ) as answer:
        info = json.load(answer)
    assert (info["version"], info["protocol"]) == (__version__, PROTOCOL)


def test_a_kernel_answers_without_a_line_of_configuration(prefix: Path, environ: dict[str, str]) -> None:
    question = json.dumps({"target_name": TARGET, "protocol": PROTOCOL, "since": 0, "cells": None})
    command = [prefix / BIN / "python", "-c", PROBE, question, "no-distributed"]
    answer = json.loads(_run(*command, env=environ).splitlines()[-1])
    assert (answer["status"], answer["comms"]) == ("ok", {})
    reply = answer["dask_doctor"]
    assert (reply["version"], reply["protocol"]) == (__version__, PROTOCOL)
    # There is no Dask in this environment, and that is said, not stumbled over.
    assert reply["status"]["kind"] == "no-distributed"
