"""The control channel on a real kernel: what is ours is answered, all else is passed on, nothing is left."""

import time

import pytest

from jupyter_dask_doctor import messages
from jupyter_dask_doctor.kernel import channel


def test_speaks_of_the_same_target():
    assert channel.TARGET == messages.TARGET


def test_answers_before_anything_happened(kernel):
    reply = kernel.ask()
    assert reply["protocol"] == messages.PROTOCOL
    assert reply["status"]["message"]
    assert reply["report"] is None
    reply = kernel.ask_until(lambda reply: "Client()" in reply["status"]["message"])
    assert reply["status"]["kind"] == "no-distributed"


def test_a_kernel_without_us_gives_a_plain_reply(start_kernel):
    kernel = start_kernel(load=False)
    assert kernel.request({"target_name": "jupyter_dask_doctor"}) == {"status": "ok", "comms": {}}


def test_other_targets_are_passed_on(kernel):
    assert kernel.run("from comm import create_comm; c = create_comm('else')").status == "ok"
    content = kernel.request({"target_name": "else"})
    assert [one["target_name"] for one in content["comms"].values()] == ["else"]
    assert "dask_doctor" not in content
    assert kernel.request({})["comms"] == content["comms"]


def test_unloading_gives_the_handler_back(kernel):
    assert "dask_doctor" in kernel.request({"target_name": "jupyter_dask_doctor"})
    assert kernel.run("%unload_ext jupyter_dask_doctor").status == "ok"
    assert "dask_doctor" not in kernel.request({"target_name": "jupyter_dask_doctor"})
    assert "dask_doctor" not in kernel.run("%dask_doctor").text
    assert "not found" in kernel.run("%dask_doctor").errors
    assert not kernel.value("[t.name for t in __import__('threading').enumerate() if 'doctor' in t.name]")
    kernel.run("%load_ext jupyter_dask_doctor")
    assert "dask_doctor" in kernel.request({"target_name": "jupyter_dask_doctor"})


def test_answers_while_a_cell_blocks_and_never_flips_the_state(kernel):
    kernel.run("1")
    kernel.statuses()
    ran = kernel.begin("import time; time.sleep(8)", cell_id="cell-1")
    kernel.ask_until(lambda reply: reply["running"] and reply["running"]["cell_id"] == "cell-1", timeout=7)
    for _ in range(5):
        kernel.ask()
    seen = kernel.statuses()
    assert ("execute_request", "busy") in seen
    assert ("execute_request", "idle") not in seen, "the cell was over before the test was"
    # A server takes the state from messages that are not requests for information: none may say idle.
    assert {kind for kind, state in seen if state == "idle"} <= {"comm_info_request", "kernel_info_request"}
    assert kernel.finish(ran).status == "ok"


def test_leaves_no_trace_in_history_and_count(kernel):
    kernel.run("a = 1")
    for _ in range(5):
        kernel.ask(cells=[{"id": "x", "source": "a = 2"}])
    ran = kernel.run("a")
    assert ran.reply["execution_count"] == 2
    assert ran.shown[0]["text/plain"] == "1"
    assert kernel.value("[c for _, _, c in get_ipython().history_manager.get_range()]") == ["a = 1", "a"]


def test_fires_no_hook_that_would_take_a_half_built_figure(kernel):
    # matplotlib's inline backend shows and closes all figures in post_execute.
    kernel.run(
        "fired = []\n"
        "for name in ('pre_execute', 'post_execute', 'pre_run_cell', 'post_run_cell'):\n"
        "    get_ipython().events.register(name, lambda *a, name=name: fired.append(name))\n"
    )
    ran = kernel.begin("del fired[:]\nimport time\ntime.sleep(2)\nseen = list(fired)")
    time.sleep(0.5)
    for _ in range(5):
        kernel.ask()
    assert kernel.finish(ran).status == "ok"
    assert kernel.value("seen") == []


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"protocol": 1, "since": "three"}, "could not be read"),
        ({"protocol": 1, "cells": 7}, "could not be read"),
        ({"protocol": 1, "cells": [{"id": 1}]}, "could not be read"),
        ({"protocol": None}, "could not be read"),
        ({}, "could not be read"),
        ({"protocol": 99}, "newer"),
        ({"protocol": 0}, "older"),
        ({"protocol": 1, "cells": [{"id": "a", "source": "#" * 70_000}]}, "too long"),
        ({"protocol": 1, "cells": [{"id": str(i), "source": ""} for i in range(501)]}, "too many"),
    ],
)
def test_a_bad_request_gets_a_whole_reply_that_says_so(content, word):
    asked = channel.understand({"target_name": messages.TARGET, **content})
    assert word in " ".join(asked.notes)
    assert asked.since == 0


def test_a_bad_request_over_the_wire(kernel):
    for content in ({"protocol": 99, "since": 5}, {"protocol": "x" * 100_000}, {"since": [], "cells": {}}):
        body = kernel.request({"target_name": "jupyter_dask_doctor", **content})["dask_doctor"]
        assert body["protocol"] == messages.PROTOCOL
        assert body["left_out"]
        assert body["status"]["kind"]
    assert kernel.ask()["left_out"] == []


def test_a_fault_while_answering_is_a_reply_too(kernel):
    kernel.run(
        "from jupyter_dask_doctor.kernel import extension\nextension.monitor()._reply = lambda asked: 1 / 0\n"
    )
    reply = kernel.ask()
    assert reply["status"]["kind"] == "off"
    assert "ZeroDivisionError" in reply["status"]["message"]
    assert "ZeroDivisionError" in kernel.run("%dask_doctor status").text


def test_ipykernels_own_wrap_of_ours_survives_unloading(kernel):
    # Somebody who wrapped the handler after us must not be thrown out.
    kernel.run(
        "k = get_ipython().kernel\n"
        "ours = k.control_handlers['comm_info_request']\n"
        "calls = []\n"
        "async def theirs(*a):\n"
        "    calls.append(1)\n"
        "    return await ours(*a)\n"
        "k.control_handlers['comm_info_request'] = theirs\n"
    )
    kernel.run("%unload_ext jupyter_dask_doctor")
    assert kernel.request({"target_name": "jupyter_dask_doctor"}) == {"status": "ok", "comms": {}}
    assert kernel.value("len(calls)") == 1
