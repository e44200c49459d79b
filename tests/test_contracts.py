"""What is generated is fresh, what is said twice is said alike, and no file tells where it was made."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jupyter_dask_doctor
from jupyter_dask_doctor import messages

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jupyter_dask_doctor"
JSON2TS = ROOT / "node_modules" / ".bin" / "json2ts"


def test_the_schema_is_fresh() -> None:
    committed = (PACKAGE / "schema.json").read_text(encoding="utf-8")
    assert committed == messages.schema(), "run: python -m jupyter_dask_doctor.messages"


@pytest.mark.skipif(not JSON2TS.exists(), reason="node_modules is not installed")
def test_the_types_of_the_browser_are_fresh(tmp_path: Path) -> None:
    fresh = tmp_path / "_schema.ts"
    node = shutil.which("node") or "node"
    subprocess.run([node, JSON2TS, PACKAGE / "schema.json", fresh], cwd=ROOT, check=True, timeout=60)
    committed = (ROOT / "src" / "_schema.ts").read_text(encoding="utf-8")
    assert committed == fresh.read_text(encoding="utf-8"), "run: jlpm build:schema"


def test_both_sides_have_one_version_and_one_protocol() -> None:
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == jupyter_dask_doctor.__version__
    told = [
        int(match)
        for path in (ROOT / "src").rglob("*.ts")
        for match in re.findall(r"\bPROTOCOL(?::\s*\w+)?\s*=\s*(\d+)", path.read_text(encoding="utf-8"))
    ]
    assert told == [messages.PROTOCOL]


@pytest.mark.parametrize("module", ["jupyter_dask_doctor", "jupyter_dask_doctor.render.text"])
def test_what_every_kernel_imports_brings_nothing_heavy(module: str) -> None:
    heavy = ["bokeh", "dask", "distributed", "jupyter_server", "pandas", "numpy", "tornado"]
    program = f"import sys, {module}; print(sorted(set(sys.modules) & set({heavy!r})))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_server_side_does_not_load_dask() -> None:
    program = "import jupyter_dask_doctor.server.app, sys; print({'dask', 'distributed'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_no_file_tells_where_it_was_made() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    # A path of a build machine, the download host of a package index, a user's home.
    traces = re.compile(
        rb"/work/|/root/|/home/\w|file:///(?:opt|work|root|tmp)|//pypi|//files\.pythonhosted|//registry\.|//npm"
    )
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix == ".png" or path == Path(__file__) or not path.is_file():
            continue
        found += [f"{name}: {match.group().decode()}" for match in traces.finditer(path.read_bytes())]
    assert found == []


def test_the_locks_hold_names_versions_and_hashes_only() -> None:
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; [^/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line)
    assert "://" not in (ROOT / "yarn.lock").read_text(encoding="utf-8")
