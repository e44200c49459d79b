"""Who may ask what, and what the answers look like, against a real server."""

import asyncio
import gzip
import json

import bokeh
import msgspec
import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from jupyter_dask_doctor import __version__, runner
from jupyter_dask_doctor.messages import PROTOCOL, History, Info, Manual
from jupyter_dask_doctor.report import Chart, Series

BOKEH = ("dask-doctor", "bokeh", bokeh.__version__, "js", "bokeh.min.js")
CHART = Chart(
    kind="bars", title="t", unit="bytes", series=(Series(name="a", values=(1, 2)),), labels=("x", "y")
)
DRAW = msgspec.json.encode({"chart": CHART, "dark": True})

GETS = [
    ("dask-doctor", "api", "info"),
    ("dask-doctor", "api", "rules", "partition-skew"),
    ("dask-doctor", "api", "history"),
    BOKEH,
]


async def refused(awaitable, code):
    """The message of the refusal."""
    with pytest.raises(HTTPClientError) as caught:
        await awaitable
    assert caught.value.code == code
    response = caught.value.response
    if response is None or not response.headers.get("Content-Type", "").startswith("application/json"):
        return ""
    return json.loads(response.body)["message"]


async def follow(socket, kernel_id="nobody", protocol=PROTOCOL):
    await socket.write_message(
        json.dumps({"type": "subscribe", "protocol": protocol, "kernel_id": kernel_id})
    )


async def heard(socket):
    return json.loads(await asyncio.wait_for(socket.read_message(), 20))


async def nobody_is_asked(doctor):
    for _ in range(500):
        if not doctor.watch.watched:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still asked: {doctor.watch.watched}")


# Who is there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GETS, ids="/".join)
async def test_nobody_reads_without_a_token(jp_fetch, path):
    await refused(jp_fetch(*path, headers={"Authorization": ""}), 403)


async def test_nobody_draws_without_a_token(jp_fetch):
    await refused(
        jp_fetch("dask-doctor", "api", "figure", method="POST", body=DRAW, headers={"Authorization": ""}), 403
    )


async def test_nobody_listens_without_a_token(jp_ws_fetch):
    await refused(jp_ws_fetch("dask-doctor", "api", "live", headers={"Authorization": ""}), 403)


@pytest.fixture
def log_in(jp_fetch, jp_serverapp):
    """The XSRF token and the headers of a browser that opened a page with the token in its address."""

    async def begin():
        token = jp_serverapp.identity_provider.token
        options = {"follow_redirects": False, "raise_error": False}
        response = await jp_fetch("login", headers={"Authorization": ""}, params={"token": token}, **options)
        cookies = set_cookies(response)
        # Any page of HTML brings the XSRF token.
        page = await jp_fetch(
            "no", "page", headers={"Authorization": "", "Cookie": as_header(cookies)}, **options
        )
        xsrf = set_cookies(page)["_xsrf"]
        return xsrf, {"Authorization": "", "Cookie": as_header({**cookies, "_xsrf": xsrf})}

    return begin


def set_cookies(response):
    return dict(header.split(";")[0].split("=", 1) for header in response.headers.get_list("Set-Cookie"))


def as_header(cookies):
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def test_another_site_cannot_draw_with_the_users_cookie(jp_fetch, log_in):
    xsrf, headers = await log_in()
    path = ("dask-doctor", "api", "figure")
    await refused(jp_fetch(*path, method="POST", body=DRAW, headers=dict(headers)), 403)
    response = await jp_fetch(*path, method="POST", body=DRAW, headers={**headers, "X-XSRFToken": xsrf})
    assert response.code == 200


async def test_another_site_cannot_listen_with_the_users_cookie(log_in, jp_http_port, jp_base_url):
    _, headers = await log_in()
    host = f"127.0.0.1:{jp_http_port}"  # the cookie's name has the host in it

    def listen(origin):
        url = f"ws://{host}{jp_base_url}dask-doctor/api/live"
        return websocket_connect(HTTPRequest(url, headers={"Cookie": headers["Cookie"], "Origin": origin}))

    await refused(listen("http://evil.example"), 403)
    socket = await listen(f"http://{host}")
    socket.close()


class Denying(Authorizer):
    """Denies what a test names, and writes down what was asked for."""

    denied: tuple[tuple[str, str], ...] = ()
    asked: list[tuple[str, str]]

    def is_authorized(self, handler, user, action, resource):
        self.asked.append((action, resource))
        return (action, resource) not in self.denied


class TestRights:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config.ServerApp.authorizer_class = Denying
        return jp_server_config

    @pytest.fixture
    def rights(self, jp_serverapp):
        jp_serverapp.authorizer.asked = []
        return jp_serverapp.authorizer

    @pytest.mark.parametrize("path", GETS, ids="/".join)
    async def test_reading_needs_read(self, jp_fetch, rights, path):
        rights.denied = (("read", "dask_doctor"),)
        await refused(jp_fetch(*path), 403)
        assert rights.asked == [("read", "dask_doctor")]

    async def test_drawing_needs_only_read(self, jp_fetch, rights):
        rights.denied = (("write", "dask_doctor"), ("execute", "dask_doctor"))
        await jp_fetch("dask-doctor", "api", "figure", method="POST", body=DRAW)
        rights.denied = (("read", "dask_doctor"),)
        await refused(jp_fetch("dask-doctor", "api", "figure", method="POST", body=DRAW), 403)

    @pytest.mark.parametrize("resource", ["dask_doctor", "kernels"])
    async def test_listening_needs_read_on_both(self, jp_ws_fetch, rights, resource):
        rights.denied = (("read", resource),)
        await refused(jp_ws_fetch("dask-doctor", "api", "live"), 403)

    async def test_sending_cells_needs_write(self, jp_ws_fetch, rights, doctor, stand_in, kernels):
        kernel = await kernels(stand_in)
        rights.denied = (("write", "dask_doctor"),)
        socket = await jp_ws_fetch("dask-doctor", "api", "live")
        await follow(socket, kernel.id)
        await heard(socket)
        cells = [{"id": "a", "source": "df = 1"}]
        await socket.write_message(json.dumps({"type": "cells", "kernel_id": kernel.id, "cells": cells}))
        for _ in range(2):
            assert (await heard(socket))["type"] == "update"
        assert await kernel.look("[a['cells'] for a in state['asked'] if a['cells']]") == []
        socket.close()


# What they answer -----------------------------------------------------------------------------------------


async def test_info(jp_fetch):
    info = msgspec.json.decode((await jp_fetch("dask-doctor", "api", "info")).body, type=Info)
    assert (info.version, info.protocol, info.bokeh) == (__version__, PROTOCOL, bokeh.__version__)
    assert {rule.id for rule in info.rules} == {id for id, *_ in runner.catalogue()}


async def test_every_rule_has_its_page(jp_fetch):
    for id, title, *_ in runner.catalogue():
        response = await jp_fetch("dask-doctor", "api", "rules", id)
        manual = msgspec.json.decode(response.body, type=Manual)
        assert (manual.id, manual.title, manual.text) == (id, title, runner.explain(id))


async def test_an_unknown_rule_is_said_to_be_unknown(jp_fetch):
    message = await refused(jp_fetch("dask-doctor", "api", "rules", "no-such-rule"), 404)
    assert message == "There is no rule called no-such-rule."


async def test_a_figure(jp_fetch):
    response = await jp_fetch("dask-doctor", "api", "figure", method="POST", body=DRAW)
    item = json.loads(response.body)
    assert item["version"] == bokeh.__version__
    assert response.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"{", 400, "truncated"),
        (b"[]", 400, "Expected `object`"),
        (b'{"chart": {"kind": "pie"}}', 400, "pie"),
        (DRAW.replace(b'"x","y"', b'"x","y","z"'), 400, "2 values for 3 labels"),
        (b" " * (256 * 1024 + 1), 413, "256 KiB"),
    ],
)
async def test_a_chart_that_cannot_be_drawn(jp_fetch, body, code, told):
    assert told in await refused(jp_fetch("dask-doctor", "api", "figure", method="POST", body=body), code)


async def test_a_percent_sign_in_a_message_is_no_format(jp_fetch):
    body = b'{"chart": {"kind": "100%s"}}'
    assert "100%s" in await refused(jp_fetch("dask-doctor", "api", "figure", method="POST", body=body), 400)


async def test_history_of_a_kernel_that_nobody_knows_is_empty(jp_fetch):
    response = await jp_fetch("dask-doctor", "api", "history", params={"kernel_id": "x"})
    assert msgspec.json.decode(response.body, type=History) == History(kernel_id="x", series=())


async def test_history_wants_a_kernel(jp_fetch):
    assert "kernel_id" in await refused(jp_fetch("dask-doctor", "api", "history"), 400)


async def test_bokehjs_is_the_one_that_draws(jp_fetch):
    response = await jp_fetch(*BOKEH)
    assert response.headers["Content-Type"].startswith("text/javascript")
    assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert bokeh.__version__.encode() in response.body


async def test_bokehjs_comes_zipped_to_who_can_unzip(jp_fetch):
    plain = await jp_fetch(*BOKEH)
    zipped = await jp_fetch(*BOKEH, headers={"Accept-Encoding": "gzip"}, decompress_response=False)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert len(zipped.body) < len(plain.body) / 2
    assert gzip.decompress(zipped.body) == plain.body


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.0.1", "bokeh.min.js"),
        (bokeh.__version__, "compiler.js"),
        (bokeh.__version__, "..js"),
        (bokeh.__version__, "../bokeh.min.js"),
        (bokeh.__version__, "%2e%2e%2f__init__.py"),
    ],
)
async def test_nothing_else_is_served(jp_fetch, version, name):
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch("dask-doctor", "bokeh", version, "js", name)
    assert caught.value.code == 404


async def test_asking_is_no_activity_of_the_user(jp_fetch, jp_web_app):
    before = jp_web_app.settings.get("api_last_activity")
    await jp_fetch("dask-doctor", "api", "info")
    await jp_fetch("dask-doctor", "api", "history", params={"kernel_id": "x"})
    await jp_fetch("dask-doctor", "api", "figure", method="POST", body=DRAW)
    assert jp_web_app.settings.get("api_last_activity") == before
    await jp_fetch("api", "kernelspecs")  # as other requests are
    assert jp_web_app.settings.get("api_last_activity") != before


# The socket -----------------------------------------------------------------------------------------------


async def test_the_socket_follows_one_kernel_at_a_time(jp_ws_fetch, doctor, kernels, stand_in):
    kernel = await kernels(stand_in)
    socket = await jp_ws_fetch("dask-doctor", "api", "live")
    await follow(socket, "nobody")
    assert (await heard(socket))["kind"] == "no-kernel"
    await follow(socket, kernel.id)
    told = await heard(socket)
    assert (told["type"], told["kernel_id"]) == ("update", kernel.id)
    assert doctor.watch.watched == (kernel.id,)
    cells = [{"id": "a", "source": "df = 1"}]
    await socket.write_message(json.dumps({"type": "cells", "kernel_id": kernel.id, "cells": cells}))
    for _ in range(2):
        await heard(socket)
    assert await kernel.look("[a['cells'] for a in state['asked'] if a['cells']]") == [cells]
    await socket.write_message(json.dumps({"type": "unsubscribe"}))
    await nobody_is_asked(doctor)
    socket.close()


async def test_a_closed_tab_asks_no_more(jp_ws_fetch, doctor):
    socket = await jp_ws_fetch("dask-doctor", "api", "live")
    await follow(socket)
    await heard(socket)
    assert doctor.watch.watched == ("nobody",)
    socket.close()
    await nobody_is_asked(doctor)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"type": "run"}', '{"type": "subscribe"}', '{"type": "cells", "cells": 1}', b"\xff"],
)
async def test_what_the_socket_does_not_understand_it_says_and_goes_on(jp_ws_fetch, text):
    socket = await jp_ws_fetch("dask-doctor", "api", "live")
    await socket.write_message(text, binary=isinstance(text, bytes))
    told = await heard(socket)
    assert (told["type"], told["kind"]) == ("trouble", "bad-message")
    await follow(socket)
    assert (await heard(socket))["kind"] == "no-kernel"
    socket.close()


async def test_a_page_of_another_version_is_told_to_reload(jp_ws_fetch, doctor):
    socket = await jp_ws_fetch("dask-doctor", "api", "live")
    await follow(socket, protocol=PROTOCOL + 1)
    assert "Reload the page" in (await heard(socket))["message"]
    assert doctor.watch.watched == ()
    socket.close()
