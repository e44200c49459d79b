"""With somebody watching, a server treats its kernels exactly as it did before."""

import asyncio
import time

import pytest

from jupyter_dask_doctor.server import puller as pulling


@pytest.fixture
def jp_server_config(jp_server_config):
    jp_server_config.MappingKernelManager.cull_idle_timeout = 2
    jp_server_config.MappingKernelManager.cull_interval = 1
    return jp_server_config


async def test_an_idle_kernel_is_culled_and_one_that_runs_a_cell_is_not(kernels, watch, stand_in):
    # Nobody is connected by a browser, so nothing else protects them.
    idle, busy = await asyncio.gather(kernels(stand_in), kernels(stand_in))
    running = await busy.start("import time; time.sleep(7)")
    watching_idle, watching_busy = watch(idle), watch(busy)
    begin, states = time.monotonic(), set()
    while time.monotonic() - begin < 5:
        await asyncio.sleep(0.2)
        states.add(busy.state)
    assert idle.id not in idle.server.kernel_manager
    assert watching_idle.revs  # it was asked all the time, and culled all the same
    await watching_idle.trouble("no-kernel")
    assert states == {"busy"}
    assert len(watching_busy.revs) > 10
    await busy.finish(running)


async def test_asking_is_no_activity(kernels, watch, stand_in, jp_serverapp, monkeypatch):
    monkeypatch.setattr(pulling, "PACE", 0.1)
    kernel = await kernels(stand_in)
    await asyncio.sleep(0.3)  # what the cell itself leaves behind has arrived

    def activity():
        model = jp_serverapp.kernel_manager.kernel_model(kernel.id)
        return (
            model["last_activity"],
            model["execution_state"],
            jp_serverapp.kernel_manager.last_kernel_activity,
        )

    before = activity()
    watching = watch(kernel)
    await watching.until(lambda told: told.reply.rev >= 10)
    assert activity() == before
