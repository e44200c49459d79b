"""Asking real kernels on a real server. Where the kernel's side is a stand-in, the test uses `stand_in`."""

import asyncio
import os
import signal

import pytest

from jupyter_dask_doctor.messages import CellText, Trouble
from jupyter_dask_doctor.server import puller as pulling
from jupyter_dask_doctor.server.puller import bounded


def cell(source, id="a"):
    return CellText(id=id, source=source)


async def test_a_kernel_without_us_says_so(kernels, watch):
    kernel = await kernels()
    trouble = await watch(kernel).trouble("no-doctor")
    assert "%pip install jupyter-dask-doctor" in trouble.message
    assert trouble.kernel_id == kernel.id


async def test_the_kernels_side_answers(kernels, watch):
    kernel = await kernels("%load_ext jupyter_dask_doctor")
    update = await watch(kernel).update()
    assert update.kernel_id == kernel.id
    assert update.reply.session
    assert update.reply.status.kind in ("no-distributed", "no-client")


async def test_everything_is_told_once_and_in_order(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.until(lambda told: told.reply.rev >= 4)
    assert watching.revs == sorted(set(watching.revs))
    assert watching.revs[0] == 1
    # The kernel is asked for what is new, not for all again.
    asked = await kernel.look("[a['since'] for a in state['asked']]")
    assert asked == list(range(len(asked)))


async def test_a_second_tab_gets_everything_at_once_and_the_kernel_is_not_asked_twice(
    kernels, watch, stand_in
):
    kernel = await kernels(stand_in)
    first = watch(kernel)
    await first.until(lambda told: told.reply.rev >= 3)
    second = watch(kernel)
    assert second.revs == first.revs
    await second.until(lambda told: told.reply.rev >= 5)
    await first.until(lambda told: told.reply.rev >= 5)
    assert second.revs == first.revs
    assert await kernel.look("len(state['asked'])") <= max(first.revs) + 1


async def test_a_slow_tab_gets_later_what_it_missed_and_holds_nobody_up(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    fast, slow = watch(kernel), watch(kernel)
    await slow.update()
    slow.is_slow = True
    await fast.until(lambda told: told.reply.rev >= 4)
    slow.is_slow = False
    await slow.until(lambda told: told.reply.rev >= 5)
    assert slow.revs == list(range(1, slow.revs[-1] + 1))


async def test_nobody_is_asked_when_nobody_watches(kernels, watch, doctor, stand_in):
    kernel = await kernels(stand_in)
    first, second = watch(kernel), watch(kernel)
    await first.update()
    doctor.watch.unwatch(first.puller, first)
    assert doctor.watch.watched == (kernel.id,)
    doctor.watch.unwatch(second.puller, second)
    assert doctor.watch.watched == ()
    asked = await kernel.look("len(state['asked'])")
    await asyncio.sleep(2 * pulling.PACE)
    assert await kernel.look("len(state['asked'])") == asked


async def test_cells_travel_once_and_again_when_they_change(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.update()
    watching.puller.send_cells((cell("df = 1"),))
    await watching.until(lambda told: told.reply.rev >= 4)
    watching.puller.send_cells((cell("df = 2"),))
    await watching.until(lambda told: told.reply.rev >= 7)
    sent = await kernel.look("[a['cells'] for a in state['asked'] if a['cells'] is not None]")
    assert sent == [[{"id": "a", "source": "df = 1"}], [{"id": "a", "source": "df = 2"}]]


COUNTING = """
executed = []
get_ipython().events.register("pre_execute", lambda: executed.append("before"))
get_ipython().events.register("post_execute", lambda: executed.append("after"))
"""


async def test_a_kernel_that_runs_a_cell_goes_on_answering_and_stays_busy(kernels, watch, stand_in):
    kernel = await kernels(stand_in + COUNTING)
    watching = watch(kernel)
    await watching.update()
    running = await kernel.start("import time; time.sleep(4); during = list(executed)")
    await asyncio.sleep(0.5)
    n, states = len(watching.told), set()
    for _ in range(25):
        states.add(kernel.state)
        await asyncio.sleep(0.1)
    assert len(watching.told) - n >= 4
    assert states == {"busy"}
    reply = await kernel.finish(running)
    assert reply["execution_count"] == 2  # only the two cells count
    assert await kernel.look("len(list(get_ipython().history_manager.get_range()))") == 2
    # What runs after a cell takes half-built figures away: it must not run because of us.
    assert await kernel.look("during") == ["after", "before"]


async def test_a_kernel_that_hangs_is_said_to_hang_and_comes_back(kernels, watch, stand_in, monkeypatch):
    monkeypatch.setattr(pulling, "ANSWER_SECONDS", 0.3)
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.update()
    pid = kernel.manager.provisioner.pid
    os.kill(pid, signal.SIGSTOP)  # as native code would that never lets go of the lock
    try:
        trouble = await watching.trouble("not-answering")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "native code" in trouble.message
    await watching.update(after=len(watching.told))
    # Nothing is missing and nothing comes twice.
    assert watching.revs == list(range(1, watching.revs[-1] + 1))


async def test_a_restart_begins_a_new_series(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    watching.puller.send_cells((cell("df = 1"),))
    old = (await watching.until(lambda told: told.reply.rev >= 3)).reply.session
    kernel.close()
    kernel._client = None
    await kernel.server.kernel_manager.restart_kernel(kernel.id)
    await watching.trouble("restarting")
    await watching.trouble("no-doctor")  # the new process has no stand-in yet
    n = len(watching.told)
    await kernel.run(stand_in)
    update = await watching.update(after=n)
    assert update.reply.session != old
    assert update.reply.memory[0].rev == 1
    await watching.until(lambda told: told.reply.rev >= 2, after=n + 1)
    assert await kernel.look("[a['cells'] is not None for a in state['asked']][:2]") == [True, False]


async def test_a_kernel_killed_with_a_question_open_is_asked_again(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.update()
    pid = kernel.manager.provisioner.pid
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(3 * pulling.PACE)  # the next question is on its way
    os.kill(pid, signal.SIGKILL)
    await watching.trouble("restarting")
    await watching.trouble("no-doctor")


async def test_a_new_life_of_the_kernels_side_in_the_same_process_is_told_whole(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.until(lambda told: told.reply.rev >= 4)
    n = len(watching.told)
    await kernel.run(stand_in + "\nstate['rev'] = 10")  # its numbers are ahead of those we know
    update = await watching.until(lambda told: told.reply.rev > 10, after=n)
    assert update.reply.memory[0].rev == 1


async def test_a_kernel_that_is_shut_down_is_gone(kernels, watch):
    kernel = await kernels()
    watching = watch(kernel)
    await watching.trouble("no-doctor")
    kernel.close()
    await kernel.server.kernel_manager.shutdown_kernel(kernel.id, now=True)
    assert "Kernel menu" in (await watching.trouble("no-kernel")).message


async def test_an_unknown_kernel_is_no_kernel(jp_serverapp, watch):
    await watch("00000000-0000-0000-0000-000000000000").trouble("no-kernel")


async def test_another_language_is_told_by_its_name(kernels, watch, echo_kernel_spec):
    kernel = await kernels(name="echo")
    assert "speaks echo" in (await watch(kernel).trouble("not-python")).message


async def test_what_a_kernel_says_wrong_is_told_in_words(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.update()
    for body, kind, words in [
        ({"protocol": 0, "version": "0.0.1"}, "old-kernel-side", "0.0.1"),
        ({"protocol": 99, "version": "9.9"}, "new-kernel-side", "9.9"),
        ({"error": "KeyError('x')"}, "bad-message", "KeyError('x')"),
        ({"protocol": 1, "version": "0"}, "bad-message", "session"),
        ("half a mess", "bad-message", "no protocol"),
        ({"protocol": 1, "version": "0" * 300_000}, "bad-message", "more than the 256 KiB"),
    ]:
        n = len(watching.told)
        await kernel.run(f"state['body'] = {body!r}")
        trouble = await watching.trouble(kind, after=n)
        assert words in trouble.message
    n = len(watching.told)
    await kernel.run("state['body'] = None")
    await watching.update(after=n)
    assert watching.revs == sorted(set(watching.revs))


async def test_a_message_that_is_not_signed_by_the_kernel_is_not_believed(kernels, watch, stand_in):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.update()
    n = len(watching.told)
    await kernel.run(
        "from jupyter_client.session import Session\nstate['signs'] = Session(key=b'another kernel')"
    )
    assert "Invalid Signature" in (await watching.trouble("bad-message", after=n)).message


async def test_a_kernel_that_no_notebook_is_connected_to_is_left_alone(kernels, watch, stand_in, jp_ws_fetch):
    kernel = await kernels(stand_in)
    path = ("api", "kernels", kernel.id, "channels")
    browser = await jp_ws_fetch(*path, params={"session_id": "one"})
    watching = watch(kernel)
    await watching.update()
    browser.close()  # from now on the server keeps all that the kernel says
    assert "No notebook is connected" in (await watching.trouble("not-answering")).message
    asked = await kernel.look("len(state['asked'])")
    await asyncio.sleep(2 * pulling.PACE)
    assert await kernel.look("len(state['asked'])") == asked
    n = len(watching.told)
    browser = await jp_ws_fetch(*path, params={"session_id": "one"})
    await watching.update(after=n)
    browser.close()


async def test_what_cannot_be_kept_does_not_stop_the_asking(kernels, watch, stand_in, doctor):
    kernel = await kernels(stand_in)
    doctor.archive._path.parent.mkdir(parents=True)
    doctor.archive._path.mkdir()  # no file can be there
    watching = watch(kernel)
    await watching.until(lambda told: told.reply.rev >= 3)
    assert not any(isinstance(told, Trouble) for told in watching.told)


async def test_what_was_told_is_remembered(kernels, watch, stand_in, doctor):
    kernel = await kernels(stand_in)
    watching = watch(kernel)
    await watching.until(lambda told: told.reply.rev >= 3)
    history = await asyncio.wrap_future(doctor.archive.read(kernel.id))
    (series,) = history.series
    assert [point.rev for point in series.memory][:3] == [1, 2, 3]


class TestPendingKernels:
    @pytest.fixture
    def jp_server_config(self, jp_server_config):
        jp_server_config.AsyncMappingKernelManager.use_pending_kernels = True
        return jp_server_config

    async def test_a_kernel_is_not_asked_before_it_can_be_reached(self, kernels, watch):
        kernel = await kernels()
        assert not kernel.manager.ready.done()
        watching = watch(kernel)
        await watching.trouble("no-doctor")
        assert {told.kind for told in watching.told} <= {"not-answering", "no-doctor"}


class TestGateway:
    async def test_the_browser_has_to_ask(self, jp_serverapp, doctor):
        from jupyter_server.gateway.managers import GatewayMappingKernelManager

        from .conftest import Watching

        manager = GatewayMappingKernelManager(parent=jp_serverapp)
        watching = Watching()
        puller = pulling.Puller("any", manager, doctor.log, doctor.archive.add)
        puller.watch(watching)
        try:
            await watching.trouble("gateway")
        finally:
            await puller.close()


@pytest.mark.parametrize(
    ("sources", "kept"),
    [
        ([], []),
        (["a = 1", "b = 2"], [0, 1]),
        (["x" * 300_000, "b = 2"], [1]),
        (["x" * 200_000, "y" * 100_000, "z"], [0, 2]),
        (["é" * 140_000], []),  # bytes, not characters
        (["\ud800"], [0]),  # half a character, as JavaScript may send
    ],
)
def test_cells_are_passed_on_as_far_as_they_fit(sources, kept):
    cells = tuple(cell(source, id=str(i)) for i, source in enumerate(sources))
    assert [int(one.id) for one in bounded(cells)] == kept
