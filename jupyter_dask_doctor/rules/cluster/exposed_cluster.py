"""The scheduler or its web pages can be reached from the network.

## Why it matters
A Dask scheduler runs the functions that it is sent, by anybody who can connect: with your files, your tokens
and your name. It asks for no password. Without TLS, what travels can be read on the way as well. The web pages
run nothing, but show keys, code and log lines to whoever opens them.

## Anti-pattern
    cluster = LocalCluster(host="0.0.0.0")     # to see the dashboard from another machine

## Best practice
    cluster = LocalCluster(dashboard_address="127.0.0.1:8787")   # and reach it through Jupyter or an SSH tunnel

Where other machines must connect, give them keys: `Security`, or `security=True` for temporary ones.

## How it is known
The addresses on which the scheduler and its web pages listen, as the scheduler tells them. A warning when the
scheduler listens beyond this machine without TLS although every worker is on it. Where workers are on other
machines it has to listen, and whether somebody else can connect is for their network to say: then it is only
worth knowing, and so are web pages on all interfaces, which a plain `LocalCluster()` has.

## When it stays quiet
Loopback addresses, connections within a process, TLS. It cannot see firewalls, containers and proxies, which
may let nobody in.

## Fix safety
Needs review: other machines cannot join any more, and the cluster has to be made anew. TLS is shown, not
inserted: it needs the package `cryptography`.

## References
https://distributed.dask.org/en/stable/tls.html
https://docs.dask.org/en/stable/deploying-python.html
https://github.com/dask/distributed/security/advisories/GHSA-hwqr-f3v9-hwxr
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ... import words
from ...remedies import creation, fixes
from ...remedies.creation import Creation
from ...report import Evidence, Finding, Fix
from ...snapshot import Cell, Cluster, Location, Policy, Worker
from ..registry import rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    #: Workers on other machines that excuse a scheduler which listens to the network.
    remote_workers: int = 1


_ENCRYPTED = frozenset({"tls", "wss", "inproc"})


@rule(
    id="exposed-cluster",
    title="The cluster can be reached from the network",
    severity="warning",
    thresholds=Thresholds(),
    about=("policy",),
    has_stake=False,
)
def exposed_cluster(
    policy: Policy,
    cluster: Cluster,
    limit: Thresholds,
    workers: tuple[Worker, ...] = (),
    code: tuple[Cell, ...] = (),
) -> Iterator[Finding]:
    open_to_all = [] if policy.is_encrypted else [a for a in policy.listens if _is_open(a)]
    pages = [a for a in policy.dashboard if not _is_loopback(_host(a))]
    made = creation.creation(code, cluster) if cluster.is_in_process else None
    at = (
        Location(cell_id=made.cell.id, execution_count=made.cell.execution_count, line=made.call.lineno)
        if made is not None
        else None
    )
    if open_to_all:
        yield _of_scheduler(open_to_all[0], pages, workers, cluster, limit, made, at)
    elif pages:
        yield _of_dashboard(pages[0], made, at)


def _of_scheduler(
    address: str,
    pages: list[str],
    workers: tuple[Worker, ...],
    cluster: Cluster,
    limit: Thresholds,
    made: Creation | None,
    at: Location | None,
) -> Finding:
    remote = [w for w in workers if not _is_here(w, cluster)]
    # Workers of other kinds of cluster are still to come, from elsewhere
    is_needed = len(remote) >= max(1, limit.remote_workers) or (
        not workers and cluster.kind not in ("LocalCluster", "LocalCUDACluster")
    )
    evidence = [
        Evidence(label="scheduler listens on", value=address[:200], unit="text"),
        Evidence(label="workers on other machines", value=len(remote), unit="count"),
    ]
    if pages:
        evidence.append(Evidence(label="web pages on", value=pages[0][:200], unit="text"))
    where = "all network interfaces" if _is_any(_host(address)) else "the network"
    message = f"The scheduler listens on {where} without TLS ({words.code(address)})"
    if not is_needed and len(workers) == 1:
        message += ", though its only worker is on the same machine"
    elif not is_needed and workers:
        message += f", though all {len(workers)} workers are on the same machine"
    return exposed_cluster.finding(
        severity="info" if is_needed else "warning",
        subject="scheduler",
        message=f"{message}.",
        why="Whoever can connect runs code as you: Dask asks for no password.",
        evidence=tuple(evidence),
        at=at,
        fixes=_scheduler_fixes(made, is_needed),
    )


def _of_dashboard(address: str, made: Creation | None, at: Location | None) -> Finding:
    where = "all network interfaces" if _is_any(_host(address)) else "the network"
    return exposed_cluster.finding(
        severity="info",
        subject="dashboard",
        message=f"The dashboard is served to {where} ({words.code(address)}).",
        why="It runs nothing, but shows keys, code and logs to whoever opens it.",
        evidence=(Evidence(label="web pages on", value=address[:200], unit="text"),),
        at=at,
        fixes=_dashboard_fixes(made),
    )


def _scheduler_fixes(made: Creation | None, is_needed: bool) -> tuple[Fix, ...]:
    found = []
    if not is_needed and made is not None and any(k.arg == "host" for k in made.call.keywords):
        fix = creation.set_option(
            made,
            "host",
            '"127.0.0.1"',
            title="Listen on this machine only",
            expect="nobody else can connect; the cluster has to be made anew, and what it holds is lost",
        )
        if fix is not None:
            found.append(fix)
    elif not is_needed:
        found.append(
            fixes.advice(
                'cluster = LocalCluster(host="127.0.0.1")',
                title="Listen on this machine only",
                expect="nobody else can connect",
            )
        )
    found.append(
        fixes.advice(
            "# where the cluster is made; workers and clients need the same keys\n"
            "from distributed.security import Security\n\n"
            "security = Security.temporary()  # needs the package cryptography\n"
            "cluster = LocalCluster(security=security)\n"
            "client = Client(cluster)",
            title="Let only those connect who have a key",
            expect="connections are encrypted, and without the key there is none",
        )
    )
    return tuple(found)


def _dashboard_fixes(made: Creation | None) -> tuple[Fix, ...]:
    title, expect = (
        "Show the dashboard on this machine only",
        "others do not see it; the cluster has to be made anew, and what it holds is lost",
    )
    if made is not None:
        given = next((k.value for k in made.call.keywords if k.arg == "dashboard_address"), None)
        value = f'"127.0.0.1:{_port(given)}"'
        fix = creation.set_option(made, "dashboard_address", value, title=title, expect=expect)
        if fix is not None:
            return (fix,)
    return (
        fixes.advice(
            'cluster = LocalCluster(dashboard_address="127.0.0.1:8787")', title=title, expect=expect
        ),
    )


def _port(given: ast.expr | None) -> int:
    """The port that the call asks for; Dask's own where it says none."""
    text = str(given.value) if isinstance(given, ast.Constant) else ""
    tail = text.rsplit(":", 1)[-1]
    return int(tail) if tail.isascii() and tail.isdecimal() and len(tail) <= 5 else 8787


def _is_open(address: str) -> bool:
    scheme = address.split("://", 1)[0].lower() if "://" in address else "tcp"
    return scheme not in _ENCRYPTED and not _is_loopback(_host(address))


def _is_here(worker: Worker, cluster: Cluster) -> bool:
    if cluster.is_in_process and cluster.kind in ("LocalCluster", "LocalCUDACluster"):
        return True
    host = _host(worker.address)
    return _is_loopback(host) or host == _host(cluster.address)


def _host(address: str) -> str:
    """ "0.0.0.0" of "tcp://0.0.0.0:8786", "::1" of "tcp://[::1]:8786"."""
    rest = address.split("://", 1)[-1].split("/", 1)[0].strip()
    if rest.startswith("["):
        return rest[1:].split("]", 1)[0]
    return rest.rsplit(":", 1)[0] if rest.count(":") == 1 else rest


def _is_loopback(host: str) -> bool:
    host = host.lower()
    return host.startswith(("127.", "::ffff:127.")) or host in ("::1", "localhost")


def _is_any(host: str) -> bool:
    return host in ("", "0.0.0.0", "::", "*")
