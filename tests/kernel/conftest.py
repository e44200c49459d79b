"""Real kernels with the extension loaded, and a way to ask them as the server does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager

ROOT = Path(__file__).parents[2]
LOAD = "--InteractiveShellApp.extra_extensions=jupyter_dask_doctor"
#: Where the package is installed, IPython's own configuration loads it.
DO_NOT_LOAD = "--InteractiveShellApp.extra_extensions=[]"
#: Seconds. Bounds for a shared machine, no statement on speed.
PATIENCE = 60.0


@dataclass
class Ran:
    """What came of one cell."""

    msg_id: str
    reply: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    errors: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.reply["status"])


class Kernel:
    """One kernel process and one client of it."""

    #: Code that gives a cell `Client` and `cluster()`: a small cluster inside the kernel.
    CLUSTER = (
        "from distributed import Client, LocalCluster\n"
        "def cluster(**options):\n"
        "    return LocalCluster(**dict(n_workers=1, threads_per_worker=1, processes=False, protocol='tcp',\n"
        "                               dashboard_address='127.0.0.1:0') | options)\n"
    )

    @staticmethod
    def live(reply: dict[str, Any]) -> bool:
        return reply["status"]["kind"] == "live" and reply["vitals"] is not None

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.connect()

    def connect(self) -> None:
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def begin(self, code: str, *, cell_id: str | None = None, silent: bool = False) -> Ran:
        """Sends a cell and does not wait."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        self.client.shell_channel.send(message)
        return Ran(message["header"]["msg_id"])

    def finish(self, ran: Ran, timeout: float = PATIENCE) -> Ran:
        """Waits for the end of a cell and for all it had to say."""
        stop = time.monotonic() + timeout
        while not ran.reply:
            message = self.client.get_shell_msg(timeout=max(0.1, stop - time.monotonic()))
            if message["parent_header"].get("msg_id") == ran.msg_id:
                ran.reply = message["content"]
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, stop - time.monotonic()))
            if message["parent_header"].get("msg_id") != ran.msg_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                ran.text += content["text"]
            elif kind == "stream":
                ran.errors += content["text"]
            elif kind == "error":
                ran.errors += f"{content['ename']}: {content['evalue']}"
            elif kind in ("display_data", "execute_result"):
                ran.shown.append(content["data"])
            elif kind == "status" and content["execution_state"] == "idle":
                return ran

    def run(self, code: str, **options: Any) -> Ran:
        return self.finish(self.begin(code, **options))

    def value(self, expression: str) -> Any:
        """Evaluates an expression beside the notebook: no history, no cell."""
        content = {"code": "", "silent": True, "store_history": False, "user_expressions": {"x": expression}}
        message = self.client.session.msg("execute_request", {**content, "allow_stdin": False})
        self.client.shell_channel.send(message)
        ran = self.finish(Ran(message["header"]["msg_id"]))
        result = ran.reply["user_expressions"]["x"]
        assert result["status"] == "ok", result
        return eval(result["data"]["text/plain"])

    def request(self, content: dict[str, Any], timeout: float = 20.0) -> dict[str, Any]:
        """The content of the reply to a comm_info_request on control."""
        message = self.client.session.msg("comm_info_request", content)
        self.client.control_channel.send(message)
        stop = time.monotonic() + timeout
        while True:
            answer = self.client.get_control_msg(timeout=max(0.1, stop - time.monotonic()))
            if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return dict(answer["content"])

    def ask(self, **request: Any) -> dict[str, Any]:
        """The doctor's reply."""
        content = self.request({"target_name": "jupyter_dask_doctor", "protocol": 1, "since": 0, **request})
        return dict(content["dask_doctor"])

    def ask_until(self, met: Callable[[dict[str, Any]], Any], timeout: float = 20.0) -> dict[str, Any]:
        """Asks every fifth of a second until the reply is the one waited for."""
        stop = time.monotonic() + timeout
        while True:
            reply = self.ask()
            if met(reply):
                return reply
            if time.monotonic() > stop:
                raise AssertionError(f"not met in {timeout} s: {str(reply)[:1500]}")
            time.sleep(0.2)

    def statuses(self) -> list[tuple[str, str]]:
        """(type of the parent, state) of all status messages that came and were not read."""
        seen = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.3)
            except Empty:
                return seen
            if message["msg_type"] == "status":
                state = message["content"]["execution_state"]
                seen.append((message["parent_header"].get("msg_type", ""), state))


@pytest.fixture(scope="session")
def kernel_env(tmp_path_factory) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        # The user's own profile and history are none of a test's business.
        "IPYTHONDIR": str(tmp_path_factory.mktemp("ipython")),
        "DASK_DISTRIBUTED__DASHBOARD__LINK": "",
    }


@pytest.fixture
def start_kernel(kernel_env) -> Iterator[Callable[..., Kernel]]:
    started: list[Kernel] = []

    def start(*arguments: str, env: dict[str, str] | None = None, load: bool = True) -> Kernel:
        manager = KernelManager()
        extra = [LOAD if load else DO_NOT_LOAD, *arguments]
        manager.start_kernel(env={**kernel_env, **(env or {})}, extra_arguments=extra)
        kernel = Kernel(manager)
        started.append(kernel)
        return kernel

    yield start
    for kernel in started:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=False)
        kernel.manager.cleanup_resources()


@pytest.fixture
def kernel(start_kernel) -> Kernel:
    return start_kernel()
