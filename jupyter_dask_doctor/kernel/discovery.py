"""Finds the Dask clients of this process without importing Dask and without touching them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from distributed import Client

#: The oldest release whose scheduler state and client hooks we know.
MINIMUM = (2025, 7)

Found = Literal["not-installed", "not-imported", "too-old", "too-new", "nothing", "clients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the process showed."""

    found: Found
    #: In no order; closed ones and those that Dask's own workers made are left out.
    clients: tuple[Client, ...] = ()
    #: The one that `compute()` uses, if it is among `clients`.
    default: Client | None = None
    #: Of distributed, as it tells it; empty when it is not imported.
    version: str = ""


@dataclass(slots=True)
class Discovery:
    """Looks for clients. One look costs a microsecond before distributed is imported, about ten after."""

    _is_installed: bool | None = field(default=None, init=False)

    def look(self) -> Look:
        """Never raises, also while another thread is just importing distributed."""
        package = sys.modules.get("distributed")
        if getattr(getattr(package, "__spec__", None), "_initializing", False):
            return Look(found="not-imported")
        module = sys.modules.get("distributed.client")
        client_class = getattr(module, "Client", None)
        instances = getattr(client_class, "_instances", None)
        if module is None or client_class is None:
            return Look(found="not-imported" if self._installed() else "not-installed")
        version = str(getattr(package, "__version__", ""))
        if is_too_old(version):
            return Look(found="too-old", version=version)
        if instances is None:
            return Look(found="too-new", version=version)
        clients = tuple(client for client in _members(instances) if _is_users(client))
        if not clients:
            return Look(found="nothing", version=version)
        return Look(found="clients", clients=clients, default=_default(module, clients), version=version)

    def _installed(self) -> bool:
        # Asked once: a search on a slow file system may take a while, and an installation that comes later
        # shows itself by the import.
        if self._is_installed is None:
            import importlib.util

            try:
                self._is_installed = importlib.util.find_spec("distributed") is not None
            except (ImportError, ValueError):
                self._is_installed = False
        return self._is_installed


def is_too_old(version: str) -> bool:
    """A version that cannot be read (a development build) gets the benefit of the doubt."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) < MINIMUM


def _members(instances: Any) -> tuple[Any, ...]:
    # The collection belongs to other threads, which may add to it while we walk.
    for _ in range(5):
        try:
            return tuple(instances)
        except RuntimeError:
            continue
    return ()


def _is_users(client: Client) -> bool:
    if client.status in ("closed", "closing"):
        return False
    # With `processes=False` the workers live here too, and tasks that call get_client() make clients.
    return not str(client.id).startswith("Client-worker-")


def _default(module: Any, clients: tuple[Client, ...]) -> Client | None:
    # As `distributed.client._get_global_client`, which also deletes closed ones on the way: from a second
    # thread that could make the user's own call fail.
    registered = getattr(module, "_global_clients", None)
    if registered is None:
        return None
    for key in sorted(_members(registered), reverse=True):
        client: Client | None = registered.get(key)
        if client is not None and any(client is one for one in clients):
            return client
    return None
