"""Snapshots on disk: what was seen in a real kernel, to be judged again without one."""

from __future__ import annotations

import gzip
import json
import sys
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from jupyter_dask_doctor.snapshot import Gap, Snapshot

HERE = Path(__file__).parent / "recorded"


def encode(snapshot: Snapshot) -> str:
    """As JSON, infinities included."""
    return json.dumps(msgspec.to_builtins(snapshot))


def decode(text: str) -> Snapshot:
    """Raises ValueError for what was written by another version of the Snapshot."""
    told: dict[str, Any] = json.loads(text)
    kinds = typing.get_type_hints(Snapshot)
    given: dict[str, Any] = {}
    for field in fields(Snapshot):
        if field.name not in told:
            continue
        value = told[field.name]
        if isinstance(value, dict) and set(value) == {"reason"}:
            given[field.name] = Gap(**value)
            continue
        options = [kind for kind in typing.get_args(kinds[field.name]) if kind is not Gap]
        is_union = Gap in typing.get_args(kinds[field.name])
        given[field.name] = msgspec.convert(value, options[0] if is_union else kinds[field.name])
    return Snapshot(**given)


def path(name: str) -> Path:
    return HERE / f"{name}.json.gz"


def write(name: str, text: str) -> None:
    """Without the paths of the machine it was made on."""
    for here, there in (
        (sys.prefix, "/python"),
        (sys.base_prefix, "/python"),
        (str(HERE.parents[2]), "/project"),
    ):
        text = text.replace(json.dumps(here)[1:-1], there)
    path(name).parent.mkdir(parents=True, exist_ok=True)
    path(name).write_bytes(gzip.compress(text.encode(), mtime=0))


def read(name: str) -> Snapshot:
    return decode(gzip.decompress(path(name).read_bytes()).decode())
