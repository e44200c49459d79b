"""All of it but the browser: a real cluster, the real kernel side, the real server."""

from jupyter_dask_doctor.messages import Update

SETUP = """
%load_ext jupyter_dask_doctor
from distributed import Client, LocalCluster
cluster = LocalCluster(
    processes=False, protocol="tcp", n_workers=2, threads_per_worker=1, dashboard_address=":0"
)
client = Client(cluster)
"""
#: Half a minute for the machine to be slow in; the test itself ends when it has seen enough.
BLOCKED = """
import time
client.gather(client.map(lambda i: time.sleep(1), range(60)))
"""


async def test_memory_and_tasks_move_while_a_cell_blocks_the_kernel(kernels, watch):
    kernel = await kernels(SETUP)
    watching = watch(kernel)
    await watching.until(lambda told: isinstance(told, Update) and told.reply.status.kind == "live")
    n = len(watching.told)
    await kernel.start(BLOCKED)
    seen = await watching.until(
        lambda told: isinstance(told, Update) and told.reply.vitals and told.reply.vitals.threads_busy,
        after=n,
    )
    assert seen.reply.running is not None
    assert kernel.state == "busy"
    moved = await watching.until(
        lambda told: isinstance(told, Update) and told.reply.memory and told.reply.rev >= seen.reply.rev + 2,
        after=n,
    )
    assert moved.reply.memory[-1].time > seen.reply.time
    assert moved.reply.memory[-1].tasks_processing > 0
    assert kernel.state == "busy"
