"""Binder's `postBuild` in a fresh environment with what `environment.yml` names, from pip instead of conda."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(400)
@pytest.mark.skipif(os.name == "nt", reason="a shell script, as repo2docker runs it")
def test_post_build(tmp_path: Path) -> None:
    prefix, home = tmp_path / "env", tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not re.match("PYTHON|JUPYTER|IPYTHON", name)}
    environ = kept | {"HOME": str(home), "PATH": os.pathsep.join([str(prefix / "bin"), os.environ["PATH"]])}
    subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    named = re.findall(r"^  - (jupyterlab\S*|ipywidgets\S*|msgspec\S*)$", _environment(), re.MULTILINE)
    assert len(named) == 3
    install = [prefix / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", *named]
    subprocess.run(install, check=True, env=environ)

    done = subprocess.run([ROOT / "binder" / "postBuild"], env=environ, capture_output=True, text=True)
    said = re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)

    assert done.returncode == 0, said
    assert re.search(r"jupyter_dask_doctor.*OK", said)
    assert re.search(r"jupyter-dask-doctor v\S+ enabled OK", said)
    overrides = prefix / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    settings = json.loads(overrides.read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "schema" / "plugin.json").read_text(encoding="utf-8"))
    assert settings["jupyter-dask-doctor:plugin"] == {"openOnStart": True}
    assert schema["properties"]["openOnStart"]["type"] == "boolean"


def test_the_environment_has_what_the_package_needs() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[(.*?)\]", pyproject, re.MULTILINE | re.DOTALL)
    needed = {re.split(r"\W", name)[0] for name in re.findall(r'"([^"]+)"', listed)}
    named = set(re.findall(r"^  - ([a-z_]+)", _environment(), re.MULTILINE))
    assert needed - {"jupyter_server"} <= named  # which comes with jupyterlab


def _environment() -> str:
    return (ROOT / "binder" / "environment.yml").read_text(encoding="utf-8")
