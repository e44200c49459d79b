"""Where the kernel's side stands, in a word for the program and a sentence for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import ClientInfo, Status
from .discovery import MINIMUM, Look

if TYPE_CHECKING:
    from distributed import Client

    from ..gather.cluster import Feed


def sentence(look: Look, feed: Feed | None, *, had_client: bool) -> Status:
    """What `look` showed, and how the feed that is followed fares; each with one next step."""
    if look.found == "not-installed":
        return Status(
            kind="no-distributed",
            message="Dask's scheduler, `distributed`, is not installed in this kernel's environment: "
            '`%pip install "dask[distributed]"`.',
        )
    if look.found == "not-imported":
        return Status(
            kind="no-distributed",
            message="Nothing in this kernel has used Dask's scheduler yet: make a client with `Client()`.",
        )
    if look.found == "too-old":
        return Status(
            kind="old-distributed",
            message=f"This kernel has distributed {look.version[:40]}; the doctor understands "
            f'{MINIMUM[0]}.{MINIMUM[1]} and newer: `%pip install --upgrade "dask[distributed]"`.',
        )
    if look.found == "too-new":
        return Status(
            kind="old-distributed",
            message=f"The doctor does not know its way in distributed {look.version[:40]}: "
            "`%pip install --upgrade jupyter-dask-doctor`.",
        )
    if feed is not None and feed.state == "live":
        return Status(kind="live", message=feed.reason or "The scheduler answers.")
    if feed is not None:
        return Status(kind=feed.state, message=feed.reason or "Connecting to the scheduler.")
    if had_client:
        return Status(
            kind="lost",
            message="The Dask client was closed: what is shown is what was seen last. "
            "Make a new one with `Client()` to go on.",
        )
    return Status(kind="no-client", message="This kernel has no Dask client yet: make one with `Client()`.")


def held_up(lag: float) -> str:
    """A note for a report on times at which the whole process stood still."""
    return (
        f"The kernel's process was held up for {lag:.0f} s by native code that keeps the interpreter's lock: "
        "what happened meanwhile is known less exactly."
    )


def describe(client: Client, *, default: Client | None, followed: Client | None) -> ClientInfo:
    """A client as the panel lists it."""
    return ClientInfo(
        id=client.id,
        scheduler_id=_scheduler_id(client),
        address=_address(client),
        status=str(client.status),
        is_default=client is default,
        is_followed=client is followed,
    )


def _scheduler_id(client: Client) -> str | None:
    identity = getattr(client, "_scheduler_identity", None)
    value = identity.get("id") if isinstance(identity, dict) else None
    return value if isinstance(value, str) else None


def _address(client: Client) -> str | None:
    comm = getattr(client, "scheduler_comm", None)
    scheduler = getattr(client, "scheduler", None)
    address = getattr(scheduler, "address", None) or getattr(comm, "address", None)
    return address if isinstance(address, str) else None
