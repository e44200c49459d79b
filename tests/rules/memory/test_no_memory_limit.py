"""Workers without a limit, or with limits that the machine cannot give."""

import pytest

from jupyter_dask_doctor.rules.memory import no_memory_limit
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    GiB,
    apply,
    change,
    cluster,
    code,
    collection,
    environment,
    kernel,
    run,
    samples,
    snapshot,
    worker,
    workers,
)

MAKES = "cluster = LocalCluster(n_workers=4, memory_limit={})\nclient = Client(cluster)"
OURS = cluster(cluster_variable="cluster", client_variable="client")
LAZY = collection(
    name="archive", kind="array", sizes=None, is_persisted=False, group=None,
    nbytes=Size(nbytes=20 * GiB, known="exact"), largest=Size(nbytes=GiB // 8, known="exact"),
)  # fmt: skip


def sick(limit="0", **changes):
    """Four workers without a limit on a machine with 32 GiB, and an array of 20 GiB to work on."""
    facts = {
        "cluster": OURS,
        "workers": workers(memory_limit=None),
        "collections": (LAZY,),
        "code": code(MAKES.format(limit), "archive = load()"),
    }
    return snapshot(**facts | changes)


def too_high(gib=16, **changes):
    return sick(f'"{gib}GiB"', **{"workers": workers(memory_limit=gib * GiB)} | changes)


def test_says_what_can_be_used_up():
    (finding,) = run(no_memory_limit, sick())
    assert finding.id == "no-memory-limit:workers"
    assert finding.severity == "warning"
    assert finding.message == (
        "None of the 4 workers has a memory limit: nothing stops them before the 32 GiB of the machine are used up."
    )
    assert finding.at.cell_id == "c1"
    assert [e.label for e in finding.evidence][-1] == "size of `archive`"


def test_limits_that_add_up_to_more_than_there_is():
    (finding,) = run(no_memory_limit, too_high())
    assert finding.severity == "warning"
    assert finding.message == "The limits of 4 workers add up to 64 GiB: 2× what the machine has, 32 GiB."
    assert finding.loss_bytes == 32 * GiB


@pytest.mark.parametrize(
    ("some", "who"),
    [
        ((worker(memory_limit=None),), "The worker has no memory limit"),
        ((worker(memory_limit=None), worker(1)), "1 of 2 workers has no memory limit"),
        ((worker(memory_limit=None), worker(1, memory_limit=None), worker(2)), "2 of 3 workers have no memory limit"),
    ],
)  # fmt: skip
def test_counts_those_without(some, who):
    (finding,) = run(no_memory_limit, sick(workers=some))
    assert finding.message.startswith(who)


@pytest.mark.parametrize("facts", [sick, too_high])
def test_is_only_worth_knowing_while_nothing_is_at_stake(facts):
    (finding,) = run(no_memory_limit, facts(collections=(collection(),)))
    assert finding.severity == "info"
    just_below = change(LAZY, nbytes=Size(nbytes=16 * GiB - 1, known="exact"))
    (finding,) = run(no_memory_limit, facts(collections=(just_below,)))
    assert finding.severity == "info"


def test_what_was_used_is_a_stake_as_well():
    full = workers(memory_limit=None, samples=samples(1.1, 0.3, limit=4 * GiB))
    (finding,) = run(no_memory_limit, sick(workers=full, collections=()))
    assert finding.severity == "warning"
    assert finding.evidence[2].value == pytest.approx(4 * 4.4 * GiB, rel=1e-6)


def test_workers_for_gpus_are_left_without_on_purpose():
    (finding,) = run(no_memory_limit, sick(cluster=change(OURS, kind="LocalCUDACluster")))
    assert finding.severity == "info"


def test_unknown_memory_of_the_machine_tells_of_workers_without_a_limit_all_the_same():
    facts = sick(environments=(), kernel=kernel(memory_total=None))
    (finding,) = run(no_memory_limit, facts)
    assert finding.severity == "info"
    assert "before the machine's memory is used up" in finding.message
    assert not finding.fixes


def test_the_kernel_knows_its_own_machine():
    (finding,) = run(no_memory_limit, too_high(environments=()))
    assert "32 GiB" in finding.message
    with pytest.raises(NotChecked):
        run(no_memory_limit, too_high(environments=(), kernel=kernel(memory_total=None)))


@pytest.mark.parametrize(
    "facts",
    [
        snapshot(),
        too_high(8),  # Dask's default: the machine's memory by the number of workers
        too_high(9.5),
        # Of workers elsewhere each may have a container of its own
        too_high(cluster=change(OURS, is_in_process=False, kind="SLURMCluster")),
        too_high(environments=tuple(environment(n, host_memory=64 * GiB) for n in range(4))),
    ],
)
def test_is_quiet_of_limits_that_hold(facts):
    assert not run(no_memory_limit, facts)


def test_elsewhere_the_use_of_one_worker_counts():
    remote = change(OURS, is_in_process=False, kind="KubeCluster")
    busy = samples(3.5, 3.6, limit=4 * GiB)
    facts = sick(cluster=remote, workers=workers(memory_limit=None, samples=busy), collections=(), code=())
    (finding,) = run(no_memory_limit, facts)
    assert finding.severity == "info"
    assert finding.fixes[0].applicability == "display-only"
    assert "dask worker" in finding.fixes[0].code


@pytest.mark.parametrize("facts", [sick(), too_high()])
def test_fix_gives_limits_that_hold(facts):
    (finding,) = run(no_memory_limit, facts)
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[0] == MAKES.format('"6.4GiB"')
    assert "4 workers × 6.4 GiB, 26 GiB in all of 32 GiB" in fix.expect


def test_shows_the_fix_where_the_call_cannot_be_found():
    (finding,) = run(no_memory_limit, sick(code=code("client = start()")))
    assert finding.at is None
    assert finding.fixes[0].applicability == "display-only"
    assert finding.fixes[0].code.endswith('LocalCluster(n_workers=4, memory_limit="6.4GiB")')


def test_small_machines_get_small_limits_or_none():
    def offered(total):
        return run(no_memory_limit, sick(environments=(), kernel=kernel(memory_total=total)))[0].fixes

    assert '"819MiB"' in offered(4 * GiB)[0].code
    assert not offered(GiB // 4)


def test_measures_how_many_limits_do_not_hold():
    def value(facts):
        given = {name: getattr(facts, name) for name in no_memory_limit.sections}
        (measured,) = no_memory_limit.measuring("workers", None, **given)
        return measured.value

    assert value(sick()) == 4
    assert value(too_high()) == 4
    assert value(snapshot()) == 0
