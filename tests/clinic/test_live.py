"""A dozen notebooks of the clinic in real kernels. `make clinic` runs them all."""

import pytest

from .notebooks import EXAMPLES, read
from .run import visit

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


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", DOZEN)
def test_is_told_what_it_has(name):
    outcome = visit(read(EXAMPLES / f"{name}.ipynb"))
    assert not outcome.trouble
    if outcome.notebook.expected is not None:
        assert outcome.found_after is not None, (outcome.near_misses, outcome.checks)
    assert not outcome.false_alarms
    assert not outcome.faults
