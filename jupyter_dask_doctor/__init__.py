"""Says why a Dask computation is slow, dies, hangs or gives odd results, proves it, and offers the fix."""

from __future__ import annotations

# Every kernel imports this module, also those that never meet Dask: nothing else is imported before its use.
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from distributed import Client
    from IPython.core.interactiveshell import InteractiveShell

    from .report import Report

__version__ = "0.1.0"
__all__ = ["diagnose", "explain"]


def diagnose(
    client: Client | None = None,
    *,
    collections: Mapping[str, object] | Iterable[object] | None = None,
    source: str | None = None,
) -> Report:
    """Look at a cluster and at the collections of a notebook or script, and say what is wrong.

    `client`: the default one when None. `collections`: by name, or simply a few of them; when None those
    that the notebook's variables hold, or the caller's. `source`: Python text to look at in place of the
    notebook's cells. Computes nothing and moves no data; takes at most about five seconds.

    Raises `doctor.NoClient` when there is no running client, ImportError when distributed is not installed.
    """
    from . import doctor

    return doctor.diagnose(client, collections=collections, source=source)


def explain(rule: str) -> str:
    """The page of the manual for a rule, as Markdown. Raises KeyError for a rule that does not exist."""
    from . import runner

    return runner.explain(rule)


def load_ipython_extension(ip: InteractiveShell) -> None:
    """`%load_ext jupyter_dask_doctor`, or IPython's own configuration where the package is installed."""
    from .kernel import extension

    extension.load(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """`%unload_ext jupyter_dask_doctor`"""
    from .kernel import extension

    extension.unload(ip)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .server.app import DaskDoctorApp

    return [{"module": "jupyter_dask_doctor", "app": DaskDoctorApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyter-dask-doctor"}]
