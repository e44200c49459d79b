"""The notebooks of the clinic: which are sick and of what, which are cured, which are healthy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

Kind = Literal["sick", "cured", "healthy"]
#: Seconds for which a notebook is watched after its last cell: metrics come with later heartbeats.
WATCH = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The finding that a sick notebook must lead to."""

    rule: str
    severity: str
    subject: str
    #: Id of the ailing cell; None when the finding names none.
    cell: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """The kernel is interrupted in this cell: after some seconds, or (None) once the finding was seen."""

    cell: str
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """One notebook of the clinic."""

    path: Path
    #: "memory/spilling", "memory/spilling-cured", "healthy/dataframe-etl".
    name: str
    kind: Kind
    #: (id, source) of its code cells.
    cells: tuple[tuple[str, str], ...]
    expected: Expected | None = None
    #: The rule whose sick notebook this one is the cured version of.
    cures: str | None = None
    #: Other rules that rightly speak as well.
    also: frozenset[str] = frozenset()
    watch: float = WATCH
    #: Cells that end in an exception.
    errors: frozenset[str] = frozenset()
    interrupt: Interrupt | None = None
    #: What it cannot do without and is not everywhere.
    needs: str | None = None


def read(path: Path) -> Notebook:
    """Raises ValueError, KeyError or OSError for what is no notebook of the clinic."""
    text: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    told = dict(text["metadata"]["dask_doctor"])
    cells = tuple(
        (cell["id"], "".join(cell["source"])) for cell in text["cells"] if cell["cell_type"] == "code"
    )
    common: dict[str, Any] = {
        "path": path,
        "name": str(path.relative_to(EXAMPLES).with_suffix("")),
        "cells": cells,
        "also": frozenset(told.pop("also", ())),
        "watch": float(told.pop("watch", WATCH)),
        "errors": frozenset(told.pop("errors", ())),
        "needs": told.pop("needs", None),
    }
    if (interrupt := told.pop("interrupt", None)) is not None:
        common["interrupt"] = Interrupt(cell=interrupt["cell"], after=interrupt.get("after"))
    if told.pop("healthy", False):
        made = Notebook(kind="healthy", **common)
    elif (cures := told.pop("cures", None)) is not None:
        made = Notebook(kind="cured", cures=cures, **common)
    else:
        expected = Expected(**{name: told.pop(name) for name in ("rule", "severity", "subject", "cell")})
        made = Notebook(kind="sick", expected=expected, **common)
    if told:
        raise ValueError(f"{path}: not understood: {', '.join(told)}")
    return made


def all_notebooks() -> tuple[Notebook, ...]:
    return tuple(
        read(path) for path in sorted(EXAMPLES.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts
    )
