"""The extension as the Jupyter server knows it: made when the server starts, closed when it stops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode, default

from .history import Archive
from .routes import handlers
from .watch import Watch


class DaskDoctorApp(ExtensionApp):
    """Holds what the handlers share. Configured under `c.DaskDoctorApp`."""

    name = "jupyter_dask_doctor"
    extension_url = "/lab"

    history_path = Unicode(help="The file in which earlier findings and memory are kept.").tag(config=True)

    #: Asks kernels and tells the panels.
    watch: Watch
    #: What was seen earlier.
    archive: Archive
    #: Draws figures, one at a time: Bokeh's models share a document behind the scenes.
    painter: concurrent.futures.ThreadPoolExecutor

    @default("history_path")
    def _default_history_path(self) -> str:
        return str(Path(jupyter_data_dir()) / "dask-doctor" / "history.sqlite")

    def initialize_handlers(self) -> None:
        server: Any = self.serverapp
        self.archive = Archive(Path(self.history_path).expanduser(), self.log)
        self.watch = Watch(server.kernel_manager, server.event_logger, self.log, self.archive.add)
        self.painter = concurrent.futures.ThreadPoolExecutor(1, "dask-doctor-figures")
        # Importing Bokeh takes most of a second, which the first figure would spend on it.
        self.painter.submit(importlib.import_module, "jupyter_dask_doctor.figures")
        self.handlers.extend(handlers())

    async def stop_extension(self) -> None:
        await self.watch.close()
        await asyncio.to_thread(self.archive.close)
        self.painter.shutdown(wait=False, cancel_futures=True)
