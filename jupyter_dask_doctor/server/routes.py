"""What the panel may ask over HTTP. Thin: the work is done elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from .. import __version__
from ..messages import PROTOCOL, Draw, History, Info, Manual, RuleInfo
from .socket import PanelSocket

if TYPE_CHECKING:
    from .app import DaskDoctorApp

#: Bytes of a chart to draw.
MAX_CHART_NBYTES = 256 * 1024
#: Seconds in which the disk must have answered.
HISTORY_SECONDS = 5.0
#: The parts of BokehJS that a page may have, so that no path can lead elsewhere.
BOKEH_FILES = frozenset(
    f"bokeh{part}.min.js" for part in ("", "-api", "-gl", "-mathjax", "-tables", "-widgets")
)


class Refusal(web.HTTPError):
    """An answer with a code and a sentence. The sentence may hold names, and so % signs."""

    def __init__(self, code: int, text: object) -> None:
        self.text = str(text)[:500]
        super().__init__(code, self.text)


class DoctorHandler(APIHandler):
    """Wants the same right everywhere. Never counts as the user being active: panels ask by themselves."""

    auth_resource = "dask_doctor"
    _track_activity = False

    @property
    def doctor(self) -> DaskDoctorApp:
        app: DaskDoctorApp = self.settings["jupyter_dask_doctor"]
        return app

    def answer(self, answer: object) -> None:
        self.finish(msgspec.json.encode(answer))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, Refusal):
            self.answer({"message": error.text, "reason": error.reason})
        else:
            super().write_error(status_code, **kwargs)

    @contextlib.contextmanager
    def faults_as_codes(self) -> Iterator[None]:
        """The one place that says which fault is whose."""
        try:
            yield
        except web.HTTPError:
            raise
        except (ValueError, msgspec.DecodeError) as error:
            raise Refusal(400, error) from error
        except asyncio.TimeoutError as error:
            raise Refusal(503, "This took too long; try again.") from error


class InfoHandler(DoctorHandler):
    """Versions, and the rules by name."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        with self.faults_as_codes():
            self.answer(await asyncio.to_thread(_info))


class ManualHandler(DoctorHandler):
    """A rule's page of the manual."""

    @web.authenticated
    @authorized
    async def get(self, rule_id: str) -> None:
        with self.faults_as_codes():
            self.answer(await asyncio.to_thread(_manual, rule_id))


class FigureHandler(DoctorHandler):
    """Draws a chart. A POST because of its body: it changes nothing, so reading suffices."""

    @web.authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        with self.faults_as_codes():
            if len(self.request.body) > MAX_CHART_NBYTES:
                raise Refusal(413, f"A chart may have {MAX_CHART_NBYTES // 1024} KiB.")
            draw = msgspec.json.decode(self.request.body, type=Draw)
            work = asyncio.get_running_loop().run_in_executor(self.doctor.painter, _item, draw)
            self.answer(await work)


class HistoryHandler(DoctorHandler):
    """What is remembered of a kernel."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        with self.faults_as_codes():
            kernel_id = self.get_query_argument("kernel_id")
            history: History = await asyncio.wait_for(
                asyncio.wrap_future(self.doctor.archive.read(kernel_id[:200])), HISTORY_SECONDS
            )
            self.answer(history)


class BokehHandler(DoctorHandler):
    """BokehJS of the very version that draws the figures, from the server's own package."""

    @web.authenticated
    @authorized
    async def get(self, version: str, name: str) -> None:
        with self.faults_as_codes():
            script, zipped = await asyncio.to_thread(_bokeh_file, version, name)
        # The version is in the address: what lies there never changes.
        self.set_header("Cache-Control", "private, max-age=31536000, immutable")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            script = zipped
        self.finish(script, set_content_type="text/javascript; charset=utf-8")


def _info() -> Info:
    import bokeh

    return Info(version=__version__, protocol=PROTOCOL, bokeh=bokeh.__version__, rules=_rules())


def _rules() -> tuple[RuleInfo, ...]:
    """All rules; none where the server's environment has no Dask, whose configuration the rules read."""
    try:
        from .. import runner
    except ImportError:
        return ()
    return tuple(RuleInfo(id=id, title=title) for id, title, *_ in runner.catalogue())


def _manual(rule_id: str) -> Manual:
    titles = {rule.id: rule.title for rule in _rules()}
    if not titles:
        raise Refusal(404, "The manual needs Dask beside the Jupyter server: run `pip install dask` there.")
    if rule_id not in titles:
        raise Refusal(404, f"There is no rule called {rule_id}.")
    from .. import runner

    return Manual(id=rule_id, title=titles[rule_id], text=runner.explain(rule_id))


def _item(draw: Draw) -> dict[str, object]:
    from .. import figures

    return figures.item(draw.chart, dark=draw.dark)


@lru_cache(maxsize=len(BOKEH_FILES))
def _bokeh_file(version: str, name: str) -> tuple[bytes, bytes]:
    """A script, plain and zipped. Raises Refusal."""
    import bokeh
    from bokeh.util.paths import bokehjs_path

    if version != bokeh.__version__:
        raise Refusal(404, f"The server has BokehJS {bokeh.__version__}, not {version}: reload the page.")
    if name not in BOKEH_FILES:
        raise Refusal(404, f"There is no {name}.")
    try:
        script = (Path(bokehjs_path()) / "js" / name).read_bytes()
    except FileNotFoundError as error:
        raise Refusal(404, f"This Bokeh has no {name}.") from error
    return script, gzip.compress(script, 6, mtime=0)


def handlers() -> list[tuple[str, type[web.RequestHandler]]]:
    return [
        (r"/dask-doctor/api/info", InfoHandler),
        (r"/dask-doctor/api/rules/([a-z0-9-]{1,80})", ManualHandler),
        (r"/dask-doctor/api/figure", FigureHandler),
        (r"/dask-doctor/api/history", HistoryHandler),
        (r"/dask-doctor/api/live", PanelSocket),
        (r"/dask-doctor/bokeh/([0-9A-Za-z.+-]{1,40})/js/([a-z.-]{1,40})", BokehHandler),
    ]
