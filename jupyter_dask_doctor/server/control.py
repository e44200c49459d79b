"""Questions to one kernel: a `comm_info_request` on its control channel, and the reply that belongs to it.

A kernel answers it while a cell runs, without becoming "idle" or "busy" and without counting as activity, so
nothing is culled too early or kept alive too long. Never send anything else from here.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from jupyter_client.session import Session
from zmq.eventloop.zmqstream import ZMQStream

from ..messages import PROTOCOL, TARGET, Reply, Request
from .troubles import Problem, no_doctor, other_protocol, too_long, unreadable

#: A reply longer than this, in bytes, is not read. The kernel's side keeps itself to `messages.REPLY_NBYTES`.
MAX_REPLY_NBYTES = 256 * 1024
#: Questions that may be open at one time: a kernel that was in native code answers them all at once.
MAX_ASKED = 16


class Control:
    """A connection to the control channel of one life of one kernel, with a session of its own."""

    def __init__(self, manager: Any) -> None:
        own = manager.session
        self._session = Session(config=own.config, key=own.key, signature_scheme=own.signature_scheme)
        self._asked: dict[str, Request] = {}
        self._arrived: asyncio.Queue[list[bytes] | Problem] = asyncio.Queue(MAX_ASKED)
        self._stream: ZMQStream = manager.connect_control()
        self._stream.on_recv(self._put)

    @property
    def is_waiting(self) -> bool:
        """A question was sent and not answered yet."""
        return bool(self._asked)

    def ask(self, request: Request) -> None:
        """Send a question; `answer` has the next reply to any of those sent."""
        content = {"target_name": TARGET, **msgspec.to_builtins(request)}
        sent: Any = self._session.send(self._stream, "comm_info_request", content)
        while len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[sent["header"]["msg_id"]] = request

    async def answer(self, timeout: float) -> tuple[Request, Reply] | None:
        """A request and its reply, or None when none came for `timeout` seconds. Raises `Problem`."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                arrived = await asyncio.wait_for(self._arrived.get(), left)
            except asyncio.TimeoutError:
                break
            if isinstance(arrived, Problem):
                self._asked.clear()
                raise arrived
            content, msg_id = self._unpack(arrived)
            request = self._asked.get(msg_id)
            if request is not None:
                # What was asked before has nothing newer to tell.
                self._asked.clear()
                return request, read_reply(content)
        return None

    def interrupt(self, problem: Problem) -> None:
        """End the waiting for an answer that cannot come any more."""
        self._put(problem)

    def close(self) -> None:
        if not self._stream.closed():
            self._stream.on_recv(None)
            self._stream.close(linger=0)

    def _put(self, arrived: list[bytes] | Problem) -> None:
        if self._arrived.full():
            self._arrived.get_nowait()
        self._arrived.put_nowait(arrived)

    def _unpack(self, frames: list[bytes]) -> tuple[object, str]:
        """Content of a message and the id of the one that it answers."""
        nbytes = sum(map(len, frames))
        if nbytes > MAX_REPLY_NBYTES:
            self._asked.clear()
            raise too_long(nbytes, MAX_REPLY_NBYTES)
        try:
            _, rest = self._session.feed_identities(frames)
            message = self._session.deserialize(rest)
            return message["content"], message["parent_header"]["msg_id"]
        except Exception as error:
            self._asked.clear()
            raise unreadable(error) from error


def read_reply(content: object) -> Reply:
    """The reply in the content of a comm_info_reply. Raises `Problem` when there is none to be understood."""
    if not isinstance(content, dict):
        raise unreadable("no content")
    body = content.get("dask_doctor")
    if body is None:
        raise no_doctor()
    protocol = body.get("protocol") if isinstance(body, dict) else None
    if not isinstance(protocol, int):
        error = body.get("error") if isinstance(body, dict) else None
        raise unreadable(error if isinstance(error, str) else "no protocol number")
    if protocol != PROTOCOL:
        raise other_protocol(str(body.get("version")), is_older=protocol < PROTOCOL)
    try:
        return msgspec.convert(body, Reply)
    except msgspec.ValidationError as error:
        raise unreadable(error) from error
