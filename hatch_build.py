"""Builds the labextension when the one that lies there was not made from the sources as they stand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

SOURCES = ("src", "style", "schema", "package.json", "tsconfig.json", "yarn.lock", ".yarnrc.yml")
BUNDLE = Path("jupyter_dask_doctor/labextension")
#: Kept beside the bundle, so that it travels in the sdist and an install from there needs no node.
STAMP = BUNDLE / "sources.sha256"


def labextension(target_name: str, version: str, **kwargs: Any) -> None:
    """Called by hatch-jupyter-builder, for wheels, editable wheels and sdists alike."""
    if STAMP.exists() and STAMP.read_text(encoding="utf-8").strip() == fingerprint():
        return
    # Only needed, and only there, when something is to be built.
    from hatch_jupyter_builder.utils import npm_builder

    npm_builder(target_name, version, build_cmd="build:prod", npm=["jlpm"], **kwargs)
    STAMP.write_text(fingerprint() + "\n", encoding="utf-8")


def fingerprint() -> str:
    """Of the sources and of the bundle itself: a development build is never taken for the real one."""
    digest = hashlib.sha256()
    for root in (*map(Path, SOURCES), BUNDLE):
        files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
        for path in sorted(files, key=Path.as_posix):
            if path == STAMP or "__tests__" in path.parts:
                continue
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.as_posix()} {content}\n".encode())
    return digest.hexdigest()
