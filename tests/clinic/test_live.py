"""A dozen notebooks of the clinic in real kernels. `make clinic` runs them all."""

import subprocess
import sys

import pytest

from .notebooks import EXAMPLES, ROOT

DOZEN = (
    "cluster/bypassed-client",
    "cluster/second-cluster",
    "memory/killed-worker",
    "memory/no-memory-limit",
    "memory/oversized-result",
    "partitions/partition-skew",
    "scheduling/failing-tasks",
    "scheduling/interrupted-workers",
    "scheduling/interrupted-workers-cured",
    "scheduling/masked-retries",
    "scheduling/stalled-computation",
    "scheduling/unrunnable-tasks",
)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("name", DOZEN)
def test_is_told_what_it_has(name):
    """In a process of its own, as by hand: it ends with 1 for a finding that is missed or a false alarm."""
    command = [sys.executable, "-m", "tests.clinic", str(EXAMPLES / f"{name}.ipynb")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=260, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"ok    {name} " in ran.stdout
