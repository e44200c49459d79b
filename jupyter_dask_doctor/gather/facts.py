"""What changes rarely: the scheduler's settings, and the versions of all processes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..snapshot import Gap, Policy, Versions
from .scheduler_facts import packages

#: It is asked for again when workers have come or gone, at most once in so many seconds.
INTERVAL = 10.0


class Facts:
    """What one scheduler told of itself. For one thread at a time."""

    def __init__(self) -> None:
        self.policy: Policy | Gap = Gap(reason="The scheduler was not asked yet.")
        self.versions: tuple[Versions, ...] | Gap = self.policy
        self._asked: float | None = None
        self._n_changes = -1

    def are_due(self, n_changes: int) -> bool:
        """Whether to ask, when so many workers have come or gone."""
        if self._asked is None:
            return True
        return n_changes != self._n_changes and time.monotonic() - self._asked >= INTERVAL

    def take(self, reply: Mapping[str, Any], n_changes: int) -> None:
        """Take in one answer of the plugin, empty when it had none."""
        self._asked, self._n_changes = time.monotonic(), n_changes
        if not reply:
            return
        policy = reply["policy"]
        self.policy = Policy(
            **{**policy, "listens": tuple(policy["listens"]), "dashboard": tuple(policy["dashboard"])}
        )
        self.versions = (_own(), *(_versions(row) for row in reply["versions"]))

    def take_limited(self, versions: Mapping[str, Any]) -> None:
        """Without the plugin only the scheduler tells, as `distributed.versions` has it: not the workers."""
        if self._asked is None and versions:
            self._asked = time.monotonic()
            self.versions = (_own(), _versions(("scheduler", "", 1, packages(versions))))


def _versions(row: Sequence[Any]) -> Versions:
    role, address, n, told = row
    return Versions(
        role=role, address=address, n=n, packages=tuple((name, version) for name, version in told)
    )


def _own() -> Versions:
    from distributed.versions import get_versions

    # The way to the dashboard: only beside the notebook does it tell anything
    own: Any = get_versions(packages=["jupyter-server-proxy"])
    return _versions(("client", "", 1, packages(own)))
