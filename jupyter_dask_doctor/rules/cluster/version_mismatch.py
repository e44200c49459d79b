"""Processes of one cluster run versions that do not get on with each other.

## Why it matters
Functions and data travel as pickles, messages in a form of their own: both are made by one version and read
by another. Where they differ too much, tasks fail with errors that speak of anything but versions, or
results are not what they should be. Dask warns of any difference; most are harmless.

## Anti-pattern
    client = Client("tcp://scheduler:8786")   # dask 2026.8 here, 2025.7 on the workers
    df.groupby("day").amount.sum().compute()

## Best practice
One environment for the notebook, the scheduler and the workers: the same container image, the same lock
file, or exact pins.

    pip install "dask==2026.8.0" "distributed==2026.8.0"

## How it is known
The versions that the notebook, the scheduler and each worker told when they came together. It speaks where
Python differs in its minor version (pickled functions hold its bytecode), dask or distributed in year or month
(they are released together and tested together), cloudpickle or msgpack in their major version, and, between
notebook and workers, NumPy or pandas in their major version (their pickles name modules that moved).

## When it stays quiet
Another patch release; another tornado, toolz or lz4; NumPy or pandas on the scheduler, which never opens the
data; a package that a process lacks or whose version cannot be read. Where the scheduler's Python is another
one, the doctor cannot work there at all and says so.

## Fix safety
Display-only: environments are changed where they are made.

## References
https://docs.dask.org/en/stable/deployment-considerations.html
https://github.com/dask/distributed/issues/1376
https://github.com/dask/distributed/issues/3767
https://github.com/cloudpipe/cloudpickle
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ... import words
from ...remedies import fixes
from ...report import Evidence, Finding, Fix
from ...snapshot import Versions
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: How many numbers of Python's version must agree; 2: bytecode changes with the minor version.
    python: int = 2
    #: The same of dask and distributed; 2: year and month, a third number is for repairs.
    dask: int = 2
    #: The same of cloudpickle and msgpack; 1: their forms have changed with major versions only.
    pickles: int = 1
    #: The same of NumPy and pandas; 1: modules that pickles name moved with NumPy 2 and pandas 2.
    data: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    package: str
    ours: str
    theirs: str


#: The gravest first.
_PACKAGES = ("python", "distributed", "dask", "cloudpickle", "msgpack", "numpy", "pandas")
#: The scheduler passes data on and never opens it.
_DATA = frozenset({"numpy", "pandas"})
_WHY = {
    "python": "Pickled functions hold the bytecode of the Python that made them, and another one cannot run it.",
    "distributed": "Notebook, scheduler and workers talk in a form of their own that changes between releases.",
    "dask": "Tasks are made by one dask and run by another, where classes and functions may have changed.",
    "cloudpickle": "Functions are pickled by one cloudpickle and read by another.",
    "msgpack": "Messages are packed by one msgpack and unpacked by another.",
    "numpy": "Pickled arrays name modules of NumPy that moved between the two.",
    "pandas": "Pickled frames name modules of pandas that moved between the two.",
}


@rule(
    id="version-mismatch",
    title="Versions do not go together",
    severity="warning",
    thresholds=Thresholds(),
    about=("versions",),
    has_stake=False,
)
def version_mismatch(versions: tuple[Versions, ...], limit: Thresholds) -> Iterator[Finding]:
    ours = next((v for v in versions if v.role == "client"), None) or next(
        (v for v in versions if v.role == "scheduler"), None
    )
    if ours is None:
        return
    others = [v for v in versions if v is not ours and v.role != "client"]
    apart = {v.address: found for v in others if (found := _differences(ours, v, limit))}
    if not apart:
        return
    if ours.role == "client" and _is_alone(others, apart):
        yield _finding("client", ours, others, apart)
        return
    for role in ("scheduler", "worker"):
        if odd := [v for v in others if v.role == role and v.address in apart]:
            yield _finding(
                role, ours, [v for v in others if v.role == role], {v.address: apart[v.address] for v in odd}
            )


def _differences(ours: Versions, theirs: Versions, limit: Thresholds) -> tuple[_Difference, ...]:
    here, there = dict(ours.packages), dict(theirs.packages)
    found = []
    for package in _PACKAGES:
        if package in _DATA and "scheduler" in (ours.role, theirs.role):
            continue
        a, b = _numbers(here.get(package)), _numbers(there.get(package))
        n = _depth(package, limit)
        if a and b and a[:n] != b[:n]:
            found.append(_Difference(package=package, ours=here[package] or "", theirs=there[package] or ""))
    return tuple(found)


def _depth(package: str, limit: Thresholds) -> int:
    if package == "python":
        return limit.python
    if package in ("dask", "distributed"):
        return limit.dask
    return limit.data if package in _DATA else limit.pickles


def _numbers(version: str | None) -> tuple[int, ...]:
    """(2026, 8, 0) of "2026.8.0+3.gabc"; empty when it cannot be read as one."""
    if version is None or not re.match(r"\s*v?\d+(\.\d+)+", version[:100]):
        return ()
    return fixes.version(version[:100])


def _is_alone(others: Sequence[Versions], apart: Mapping[str, tuple[_Difference, ...]]) -> bool:
    """Do scheduler and workers have the same, and only this notebook something else?"""
    if {v.role for v in others} != {"scheduler", "worker"} or any(v.address not in apart for v in others):
        return False
    # The scheduler may lack what only workers differ in
    told = [{d.package: d.theirs for d in found if d.package not in _DATA} for found in apart.values()]
    return all(one == told[0] for one in told)


def _finding(
    subject: str,
    ours: Versions,
    others: Sequence[Versions],
    apart: Mapping[str, tuple[_Difference, ...]],
) -> Finding:
    by_package: dict[str, list[_Difference]] = {}
    for found in apart.values():
        for d in found:
            by_package.setdefault(d.package, []).append(d)
    lead = next(p for p in _PACKAGES if p in by_package)
    first = by_package[lead][0]
    odd = sum(v.n for v in others if v.address in apart)
    n = sum(v.n for v in others)
    name = "Python" if lead == "python" else lead
    here = "This notebook" if ours.role == "client" else "The scheduler"
    if subject == "client":
        message = (
            f"{here} has {name} {_said(first.ours)}, the scheduler and "
            f"{words.count(sum(v.n for v in others if v.role == 'worker'), 'worker')} have {_said(first.theirs)}"
        )
    elif subject == "scheduler":
        message = f"The scheduler has {name} {_said(first.theirs)}, this notebook {_said(first.ours)}"
    else:
        message = (
            f"{odd} of {words.count(n, 'worker')} {'has' if odd == 1 else 'have'} {name} {_said(first.theirs)}, "
            f"{here[0].lower()}{here[1:]} {_said(first.ours)}"
        )
    if len(by_package) > 1:
        rest = ["Python" if p == "python" else p for p in _PACKAGES if p in by_package and p != lead]
        message += f"; {_listed(rest)} {'differs' if len(rest) == 1 else 'differ'} as well"
    evidence = [
        Evidence(label="processes with other versions", value=odd if subject != "client" else 1, unit="count")
    ]
    for package, differences in by_package.items():
        label = "Python" if package == "python" else package
        there = sorted({_said(d.theirs) for d in differences})
        evidence.append(
            Evidence(
                label=f"{label} {'here' if ours.role == 'client' else 'of the scheduler'}",
                value=_said(differences[0].ours),
                unit="text",
            )
        )
        evidence.append(Evidence(label=f"{label} there", value=", ".join(there[:4]), unit="text"))
    return version_mismatch.finding(
        severity="warning",
        subject=subject,
        message=f"{message}.",
        why=f"{_WHY[lead]} It fails with errors that speak of something else.",
        evidence=tuple(evidence[:12]),
        fixes=(_fix(subject, by_package, len(others)),),
    )


def _fix(subject: str, by_package: Mapping[str, Sequence[_Difference]], n: int) -> Fix:
    def wanted(package: str) -> str:
        d = by_package[package][0]
        return _said(d.theirs if subject == "client" else d.ours)

    rows = []
    if "python" in by_package:
        minor = ".".join(wanted("python").split(".")[:2])
        rows.append(f"# an environment with Python {minor}")
    # dask and distributed are released together: one without the other does not install
    packages = [p for p in _PACKAGES if p in by_package and p != "python"]
    if {"dask", "distributed"} & set(packages):
        known = "distributed" if "distributed" in packages else "dask"
        pins = {p: wanted(known) for p in ("dask", "distributed")}
        pins |= {p: wanted(p) for p in packages if p not in pins}
    else:
        pins = {p: wanted(p) for p in packages}
    if pins:
        line = " ".join(f'"{package}=={version}"' for package, version in pins.items())
        rows.append(f"%pip install {line}" if subject == "client" else f"pip install {line}")
    if subject == "client":
        rows.append("# then restart the kernel")
        title = "Give this notebook the versions of the cluster"
    else:
        whose = "the scheduler" if subject == "scheduler" else "these workers"
        rows.insert(0, f"# in the environment of {whose}")
        title = f"Give {whose} the versions of this notebook"
    return fixes.advice("\n".join(rows), title=title, expect="one version of each package everywhere")


def _said(version: str) -> str:
    """Without what follows the numbers, cut: "3.12.3.final.0" → "3.12.3"."""
    found = re.match(r"\s*v?(\d+(?:\.\d+){1,3})", version[:100])
    return found.group(1) if found else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
