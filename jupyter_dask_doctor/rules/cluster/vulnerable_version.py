"""A version with a known hole is running.

## Why it matters
Dask runs what it is sent, as you: with your files, your tokens and your network. A hole in the scheduler's
web pages or in the way to them is a way to run code in this very kernel.

## Anti-pattern
    pip install "distributed==2025.12.0"      # CVE-2026-23528

## Best practice
    pip install --upgrade "dask[distributed]"

## How it is known
The versions that notebook, scheduler and workers told, held against a table of published advisories for
distributed and jupyter-server-proxy. The table is part of this rule: it knows what was published until
November 2026, and a scanner such as `pip-audit` knows more.

- CVE-2026-23528 (GHSA-c336-7962-wfj2, 2026-01-16): distributed before 2026.1.0 on the scheduler. A link that,
  once clicked, runs code in the kernel by way of the dashboard and jupyter-server-proxy.
- CVE-2021-42343 (GHSA-hwqr-f3v9-hwxr, 2021-10-26): distributed before 2021.10.0 on workers. Those of a
  LocalCluster listen to the network.
- CVE-2024-35225 (GHSA-fvcq-4x64-hqxr, 2024-06-11): jupyter-server-proxy 3 before 3.2.4 and 4 before 4.2.0 beside
  the notebook. A link that, once clicked, runs code in JupyterLab.
- CVE-2024-28179 (GHSA-w3vc-fx9p-wp4v, 2024-03-20): jupyter-server-proxy before 3.2.3, and 4 before 4.1.1, beside
  the notebook. Connections through the proxy without logging in.

## When it stays quiet
Where the scheduler has no web pages at all (of the first one); versions that cannot be read, and versions
with repairs of a distributor behind a "+". Not in the table: CVE-2024-10096, withdrawn because it describes what
Dask is for; CVE-2026-95897 (`from_npy_stack` opens pickles), because there is no version to go to: do not open
stacks of strangers; and advisories of tornado, which let somebody slow down a web page and not more.

## Fix safety
Display-only: environments are changed where they are made, and kernel and cluster start anew.

## References
https://github.com/dask/distributed/security/advisories/GHSA-c336-7962-wfj2
https://github.com/dask/distributed/security/advisories/GHSA-hwqr-f3v9-hwxr
https://github.com/jupyterhub/jupyter-server-proxy/security/advisories/GHSA-fvcq-4x64-hqxr
https://github.com/jupyterhub/jupyter-server-proxy/security/advisories/GHSA-w3vc-fx9p-wp4v
https://raw.githubusercontent.com/pypa/advisory-database/main/vulns/distributed/PYSEC-2026-169.yaml
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ... import words
from ...remedies import fixes
from ...report import Evidence, Finding
from ...snapshot import Policy, Versions
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Advisories older than this year are not told of.
    since_year: int = 2021


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One published advisory, as the package's maintainers confirmed it."""

    id: str
    package: str
    #: Whose version of the package counts.
    role: Literal["client", "scheduler", "worker"]
    #: (first affected, first repaired) versions.
    affected: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...]
    #: Year of publication, and where it is.
    year: int
    reference: str
    #: Completes "With it ...".
    allows: str
    #: Only where the scheduler serves web pages.
    needs_dashboard: bool = False


ADVISORIES = (
    Advisory(
        id="CVE-2026-23528",
        package="distributed",
        role="scheduler",
        affected=(((0, 0, 0), (2026, 1, 0)),),
        year=2026,
        reference="https://github.com/dask/distributed/security/advisories/GHSA-c336-7962-wfj2",
        allows=(
            "a link to the dashboard by way of jupyter-server-proxy, once clicked, runs somebody else's code "
            "in the kernel"
        ),
        needs_dashboard=True,
    ),
    Advisory(
        id="CVE-2021-42343",
        package="distributed",
        role="worker",
        affected=(((0, 0, 0), (2021, 10, 0)),),
        year=2021,
        reference="https://github.com/dask/distributed/security/advisories/GHSA-hwqr-f3v9-hwxr",
        allows="workers of a LocalCluster take orders from the network",
    ),
    Advisory(
        id="CVE-2024-35225",
        package="jupyter-server-proxy",
        role="client",
        affected=(((3, 0, 0), (3, 2, 4)), ((4, 0, 0), (4, 2, 0))),
        year=2024,
        reference="https://github.com/jupyterhub/jupyter-server-proxy/security/advisories/GHSA-fvcq-4x64-hqxr",
        allows="a link, once clicked, runs somebody else's code in JupyterLab",
    ),
    Advisory(
        id="CVE-2024-28179",
        package="jupyter-server-proxy",
        role="client",
        affected=(((0, 0, 0), (3, 2, 3)), ((4, 0, 0), (4, 1, 1))),
        year=2024,
        reference="https://github.com/jupyterhub/jupyter-server-proxy/security/advisories/GHSA-w3vc-fx9p-wp4v",
        allows="others connect to what is served through the proxy without logging in",
    ),
)


@rule(
    id="vulnerable-version",
    title="A version with a known hole is running",
    severity="warning",
    thresholds=Thresholds(),
    about=("versions",),
    has_stake=False,
)
def vulnerable_version(
    versions: tuple[Versions, ...], limit: Thresholds, policy: Policy | None = None
) -> Iterator[Finding]:
    for advisory in ADVISORIES:
        if advisory.year < limit.since_year:
            continue
        if advisory.needs_dashboard and policy is not None and not policy.dashboard:
            continue
        hit = [v for v in versions if v.role == advisory.role and _is_affected(v, advisory)]
        if hit:
            yield _finding(advisory, hit, versions)


def _is_affected(one: Versions, advisory: Advisory) -> bool:
    text = dict(one.packages).get(advisory.package)
    # A distributor's "+something" may hold the repair
    if text is None or not re.fullmatch(r"\d{1,6}(\.\d{1,6}){1,2}(\.?(post|rc|a|b)\d{1,6})?", text):
        return False
    version = fixes.version(text)
    return any(first <= version < repaired for first, repaired in advisory.affected)


def _finding(advisory: Advisory, hit: Sequence[Versions], versions: Sequence[Versions]) -> Finding:
    text = dict(hit[0].packages)[advisory.package] or ""
    n = sum(v.n for v in hit)
    version = fixes.version(text)
    repaired = next(end for first, end in advisory.affected if first <= version < end)
    target = ".".join(str(n) for n in repaired)
    where = {
        "client": "This notebook's environment has",
        "scheduler": "The scheduler runs",
        "worker": f"{words.count(n, 'worker runs', 'workers run')}",
    }[advisory.role]
    own = next((dict(v.packages).get(advisory.package) for v in versions if v.role == "client"), None)
    is_ours = advisory.role == "client" or own == text
    if advisory.package == "distributed":
        line = f'pip install --upgrade "dask>={target}" "distributed>={target}"'
    else:
        line = f'pip install --upgrade "{advisory.package}>={target}"'
    code = (
        f"%{line}\n# then restart the kernel, and Jupyter's server"
        if is_ours
        else f"# in the environment of the {advisory.role}\n{line}"
    )
    return vulnerable_version.finding(
        severity="warning",
        subject=advisory.id,
        message=f"{where} {advisory.package} {text}, which has a known hole ({advisory.id}), repaired in {target}.",
        why=f"With it, {advisory.allows}. The advisory: {advisory.reference}",
        evidence=(
            Evidence(label=f"{advisory.package} of the {advisory.role}", value=text, unit="text"),
            Evidence(label="repaired in", value=target, unit="text"),
            Evidence(label="published", value=str(advisory.year), unit="text"),
        ),
        fixes=(
            fixes.advice(
                code,
                title=f"Upgrade {advisory.package}",
                expect=f"{text} → {target} or later, everywhere alike: cluster and kernel start anew",
            ),
        ),
    )
