"""The panel's socket: it says which kernel to follow, and is told how it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ..messages import PROTOCOL, SendCells, Subscribe, Trouble, Unsubscribe

if TYPE_CHECKING:
    from .app import DaskDoctorApp
    from .puller import Puller

#: By the word in a message's `type`.
MESSAGES: dict[str, type[Subscribe | Unsubscribe | SendCells]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "cells": SendCells,
}


class _Tag(msgspec.Struct):
    type: str


class PanelSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One per open panel. It follows one kernel at a time.

    Listening needs "read" on "dask_doctor" and on "kernels": what comes tells of the kernel's variables and
    cells, but asking for it runs nothing there and changes nothing. Sending the notebook's cells changes what
    everybody who follows the kernel is told, so that needs "write" on "dask_doctor".
    """

    auth_resource = "dask_doctor"

    _puller: Puller | None = None
    _writing: asyncio.Future[None] | None = None
    _may_write = False

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        if not (await self._may("read", "dask_doctor") and await self._may("read", "kernels")):
            raise web.HTTPError(403)
        self._may_write = await self._may("write", "dask_doctor")
        await super().get(*args, **kwargs)

    async def _may(self, action: str, resource: str) -> bool:
        return bool(
            await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, resource))
        )

    @property
    def doctor(self) -> DaskDoctorApp:
        app: DaskDoctorApp = self.settings["jupyter_dask_doctor"]
        return app

    def on_message(self, message: str | bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=MESSAGES[msgspec.json.decode(message, type=_Tag).type])
        except (msgspec.DecodeError, KeyError, UnicodeError) as error:
            self._refuse(f"The panel sent what the server does not understand ({str(error)[:200]}).")
            return
        if isinstance(said, Subscribe):
            self._subscribe(said)
        elif isinstance(said, Unsubscribe):
            self._unsubscribe()
        elif self._puller is not None and self._puller.kernel_id == said.kernel_id and self._may_write:
            self._puller.send_cells(said.cells)

    def tell(self, text: bytes) -> bool:
        """False while the last text is still on its way: a slow browser must not fill our memory."""
        if self._writing is not None and not self._writing.done():
            return False
        try:
            self._writing = asyncio.ensure_future(self.write_message(text.decode()))
        except WebSocketClosedError:
            return False
        # Closed while it was written: on_close says the rest.
        self._writing.add_done_callback(lambda writing: writing.cancelled() or writing.exception())
        return True

    def on_close(self) -> None:
        self._unsubscribe()

    def _subscribe(self, said: Subscribe) -> None:
        self._unsubscribe()
        if said.protocol != PROTOCOL:
            self._refuse("This page's panel and the Jupyter server are of different versions.")
            return
        # A number without its session says nothing, so `since` is not believed: all that is known is told.
        self._puller = self.doctor.watch.watch(said.kernel_id, self)

    def _unsubscribe(self) -> None:
        if self._puller is not None:
            self.doctor.watch.unwatch(self._puller, self)
            self._puller = None

    def _refuse(self, message: str) -> None:
        kernel_id = "" if self._puller is None else self._puller.kernel_id
        self.tell(
            msgspec.json.encode(
                Trouble(kernel_id=kernel_id, kind="bad-message", message=f"{message} Reload the page.")
            )
        )
