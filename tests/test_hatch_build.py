"""A bundle that was not made from the sources as they stand is not packed."""

from pathlib import Path

import pytest

import hatch_build


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "src/index.ts",
        "src/__tests__/index.spec.ts",
        "package.json",
        hatch_build.BUNDLE / "static/1.js",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(name), encoding="utf-8")
    hatch_build.STAMP.write_text(hatch_build.fingerprint() + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The build commands that ran."""
    from hatch_jupyter_builder import utils

    commands: list[str] = []
    monkeypatch.setattr(utils, "npm_builder", lambda *_, build_cmd, **__: commands.append(build_cmd))
    return commands


def test_what_is_fresh_is_not_built_again(project: Path, built: list[str]) -> None:
    (project / "src/__tests__/index.spec.ts").write_text("a test is no part of the bundle", encoding="utf-8")
    (project / "src/index.ts").touch()
    hatch_build.labextension("wheel", "standard")
    assert built == []


@pytest.mark.parametrize("changed", ["src/index.ts", "package.json", hatch_build.BUNDLE / "static/1.js"])
def test_what_is_not_fresh_is_built_once(changed: str, project: Path, built: list[str]) -> None:
    (project / changed).write_text("changed", encoding="utf-8")
    hatch_build.labextension("wheel", "standard")
    hatch_build.labextension("sdist", "standard")
    assert built == ["build:prod"]


def test_a_missing_bundle_is_built(project: Path, built: list[str]) -> None:
    hatch_build.STAMP.unlink()
    hatch_build.labextension("wheel", "editable")
    assert built == ["build:prod"]
