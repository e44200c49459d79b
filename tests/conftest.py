"""Shared by all tests: a real Jupyter server with the extension switched on."""

import pytest
from traitlets.config import Config

pytest_plugins = ("pytest_jupyter.jupyter_server",)


@pytest.fixture
def jp_server_config(tmp_path):
    return Config(
        {
            "ServerApp": {
                "jpserver_extensions": {"jupyter_dask_doctor": True, "jupyter_server_terminals": False},
                # A handler that forgot to ask who is there answers 403 instead of 200.
                "allow_unauthenticated_access": False,
            },
            "DaskDoctorApp": {"history_path": str(tmp_path / "dask-doctor" / "history.sqlite")},
        }
    )
