"""Real kernels on the real server, and somebody who watches them."""

import asyncio
import json
import sys
import time
from pathlib import Path

import msgspec
import pytest

import jupyter_dask_doctor
from jupyter_dask_doctor.messages import Trouble, Update
from jupyter_dask_doctor.server import puller as pulling

ROOT = Path(jupyter_dask_doctor.__file__).parents[1]

#: Stands in for the kernel's side alone: a handler on the real control channel of a real kernel, put there by
#: hand, so that a test decides what is answered. `body` replaces the answer whole.
STAND_IN = """
def _stand_in():
    import time, uuid
    kernel = get_ipython().kernel
    state = {"asked": [], "rev": 0, "session": uuid.uuid4().hex, "body": None, "signs": kernel.session}
    def point(rev):
        names = ("managed unmanaged spilled process_min process_median process_max threads_busy"
                 " tasks_processing n_workers")
        return {"rev": rev, "time": 1000.0 + rev, **dict.fromkeys(names.split(), rev)}
    async def handler(stream, ident, parent):
        asked = parent["content"]
        state["asked"].append(asked)
        state["rev"] += 1
        body = state["body"] or {
            "protocol": 1, "version": "0", "session": state["session"], "rev": state["rev"],
            "time": time.time(), "status": {"kind": "live", "message": ""},
            "clients": [{"id": "client", "scheduler_id": "scheduler", "address": None, "status": "running",
                         "is_default": True, "is_followed": True}],
            "memory": [point(rev) for rev in range(asked["since"] + 1, state["rev"] + 1)],
        }
        state["signs"].send(stream, "comm_info_reply", {"status": "ok", "comms": {}, "dask_doctor": body},
                            parent, ident)
    kernel.control_handlers["comm_info_request"] = handler
    return state
state = _stand_in()
"""


class Watching:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.told = []
        self.is_slow = False

    def tell(self, text):
        if self.is_slow:
            return False
        kind = {"update": Update, "trouble": Trouble}[json.loads(text)["type"]]
        self.told.append(msgspec.json.decode(text, type=kind))
        return True

    async def until(self, is_it, timeout=30, after=0):
        """The first thing told, from number `after` on, of which `is_it` is true."""
        end = time.monotonic() + timeout
        while True:
            for told in self.told[after:]:
                if is_it(told):
                    return told
            assert time.monotonic() < end, f"not told in {timeout} s; told: {self.told[after:][-5:]}"
            await asyncio.sleep(0.02)

    async def trouble(self, kind, **options):
        return await self.until(lambda told: isinstance(told, Trouble) and told.kind == kind, **options)

    async def update(self, **options):
        return await self.until(lambda told: isinstance(told, Update), **options)

    @property
    def revs(self):
        """Of all memory points told, in order."""
        return [point.rev for told in self.told if isinstance(told, Update) for point in told.reply.memory]


class Kernel:
    """A kernel of the server and somebody who runs cells in it."""

    def __init__(self, server, kernel_id):
        self.server = server
        self.id = kernel_id
        self._client = None

    @property
    def manager(self):
        return self.server.kernel_manager.get_kernel(self.id)

    @property
    def state(self):
        return self.server.kernel_manager.kernel_model(self.id)["execution_state"]

    async def connect(self):
        if self._client is None:
            self._client = self.manager.client()
            self._client.start_channels(stdin=False, hb=False)
            await self._client.wait_for_ready(timeout=60)
        return self._client

    async def start(self, code):
        """Begin to run a cell."""
        return (await self.connect()).execute(code)

    async def finish(self, msg_id):
        client = await self.connect()
        while True:
            reply = await client.get_shell_msg(timeout=60)
            if reply["parent_header"]["msg_id"] == msg_id:
                assert reply["content"]["status"] == "ok", reply["content"]
                return reply["content"]

    async def run(self, code):
        return await self.finish(await self.start(code))

    async def look(self, expression):
        """The value of an expression in the kernel, by way of its text."""
        client = await self.connect()
        content = await self.finish(client.execute("", user_expressions={"it": expression}))
        return eval(content["user_expressions"]["it"]["data"]["text/plain"])

    def close(self):
        if self._client is not None:
            self._client.stop_channels()


@pytest.fixture
def kernels(jp_serverapp, jp_kernel_dir, jp_asyncio_loop):
    """Starts kernels that know nothing of us, whatever is installed beside them."""
    spec = {
        "argv": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--InteractiveShellApp.extra_extensions=[]",
        ],
        "display_name": "Bare",
        "language": "python",
        "env": {"PYTHONPATH": str(ROOT)},
    }
    (jp_kernel_dir / "bare").mkdir()
    (jp_kernel_dir / "bare" / "kernel.json").write_text(json.dumps(spec))
    started = []

    async def start(code="", name="bare"):
        kernel = Kernel(jp_serverapp, await jp_serverapp.kernel_manager.start_kernel(kernel_name=name))
        started.append(kernel)
        if code:
            await kernel.run(code)
        return kernel

    yield start
    for kernel in started:
        kernel.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The same at a quicker pace, so that the tests take less time."""
    monkeypatch.setattr(pulling, "PACE", 0.2)
    monkeypatch.setattr(pulling, "SLOW_PACE", 0.2)


@pytest.fixture
def stand_in():
    """The cell that makes a kernel answer, and leaves what it knows in `state`."""
    return STAND_IN


@pytest.fixture
def doctor(jp_serverapp):
    """The extension."""
    return jp_serverapp.web_app.settings["jupyter_dask_doctor"]


@pytest.fixture
def watch(doctor):
    """Watches a kernel."""

    def begin(kernel_id):
        watching = Watching()
        watching.puller = doctor.watch.watch(getattr(kernel_id, "id", kernel_id), watching)
        return watching

    return begin
