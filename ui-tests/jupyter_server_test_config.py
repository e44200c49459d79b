"""The server that browser tests talk to. It asks for no token: never use it for anything else."""

import os

from jupyterlab.galata import configure_jupyter_server

configure_jupyter_server(c)  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.ip = "127.0.0.1"  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.port = int(os.environ.get("UI_TEST_PORT", "8998"))  # type: ignore[name-defined]  # noqa: F821
c.ServerApp.port_retries = 0  # type: ignore[name-defined]  # noqa: F821
# Containers and CI run as root.
c.ServerApp.allow_root = True  # type: ignore[name-defined]  # noqa: F821
