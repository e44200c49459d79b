"""Workers and GPUs."""

import pytest

from jupyter_dask_doctor.rules.cluster import gpu_workers
from tests.healthy import GiB, change, cluster, code, environment, group, run, snapshot, worker, workers

MADE = "cluster = LocalCluster()"
ON_GPU = group("read-parquet", types=("cudf.core.dataframe.DataFrame",))


def asked(*visible, n_gpus=4):
    return tuple(
        environment(n, n_gpus=n_gpus, cuda_visible_devices=devices) for n, devices in enumerate(visible)
    )


def sick(*visible, n_gpus=4, **changes):
    visible = visible or (None, None, None, None)
    facts = {
        "environments": asked(*visible, n_gpus=n_gpus),
        "workers": workers(len(visible)),
        "groups": (ON_GPU,),
        "cluster": cluster(cluster_variable="cluster"),
        "code": code(MADE, "df.x.sum().compute()"),
    }
    return snapshot(**facts | changes)


def test_workers_that_all_use_the_first_gpu():
    (finding,) = run(gpu_workers, sick())
    assert finding.id == "gpu-workers:shared GPU"
    assert finding.severity == "warning"
    assert finding.message == ("4 workers of `127.0.0.1` use the same GPU (`0`), and 3 others are idle.")
    assert finding.at.cell_id == "c1"
    assert finding.fixes[0].applicability == "display-only"
    assert "LocalCUDACluster()" in finding.fixes[0].code


def test_a_gpu_without_a_worker():
    (finding,) = run(gpu_workers, sick("0,1,2", "1,2,0", n_gpus=3))
    assert finding.id == "gpu-workers:idle GPU"
    assert finding.message == "2 of 3 GPUs of `127.0.0.1` have a worker."


def test_a_resource_tells_that_gpus_are_meant():
    facts = sick(groups=(), workers=workers(4, resources=(("GPU", 1.0),)))
    assert run(gpu_workers, facts)


def test_a_gpu_that_is_nearly_full():
    full = worker(gpu_memory=16 * GiB, gpu_memory_used=15 * GiB)
    (finding,) = run(gpu_workers, sick("0", n_gpus=1, workers=(full,)))
    assert finding.id == "gpu-workers:memory"
    assert finding.message == "The GPU of 1 worker is nearly full after `read-parquet`: 15 GiB of 16 GiB."
    assert "device_memory_limit" in finding.fixes[0].code


@pytest.mark.parametrize(
    "facts",
    [
        sick("0,1", "1,0", n_gpus=2),
        sick("MIG-1", "MIG-2", n_gpus=1),
        sick(n_gpus=0),
        sick(groups=()),
        sick(groups=(change(ON_GPU, types=("pandas.DataFrame", "torch.Tensor")),)),
        sick(groups=(change(ON_GPU, compute_seconds=4.9),)),
        sick(groups=(change(ON_GPU, compute_seconds=None),)),
        sick(groups=(change(ON_GPU, computation_id="an earlier one"),)),
        sick(environments=()),
        sick(workers=()),
        sick("0", n_gpus=1, workers=(worker(gpu_memory=16 * GiB, gpu_memory_used=14 * GiB),)),
        sick("0", n_gpus=1, workers=(worker(gpu_memory=0, gpu_memory_used=1),)),
        sick("0", n_gpus=1, workers=(worker(gpu_memory=16 * GiB),)),
        sick("0", n_gpus=-3),
        snapshot(),
    ],
)
def test_is_quiet(facts):
    assert not run(gpu_workers, facts)


def test_a_host_with_markup_stays_a_name():
    facts = sick()
    hostile = tuple(change(e, host="<b>\n`x`") for e in facts.environments)
    (finding,) = run(gpu_workers, change(facts, environments=hostile))
    assert "\n" not in finding.message
