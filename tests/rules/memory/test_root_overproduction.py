"""Data that are loaded far ahead of their use."""

import math

import pytest

from jupyter_dask_doctor.rules.memory import root_overproduction
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.runner import examine
from jupyter_dask_doctor.snapshot import Gap
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    group,
    load,
    policy,
    run,
    sizes,
    snapshot,
)

MAKING = 'import dask\n\ndask.config.set({"distributed.scheduler.worker-saturation": "inf"})\ncluster = LocalCluster()'
CODE = code(MAKING, "total.compute()")
OFF = policy(saturation=math.inf)
ROOT = group("load", name="load-1", n_tasks=200, sizes=sizes(*[50 * MiB] * 200), n_memory=0)
USER = group(
    "score", name="score-1", n_tasks=200, sizes=sizes(*[24] * 200), dependencies=("load-1",), n_memory=0
)


def loads(*managed, spilled=0):
    return tuple(
        load(time=T0 + 20 + i, managed=m * MiB, spilled=spilled * MiB if i else 0, n_workers=4)
        for i, m in enumerate(managed or (0, 3_000, 7_000, 9_000, 6_000, 2_000, 0))
    )


def sick(**changes):
    facts = {
        "groups": (ROOT, USER),
        "policy": OFF,
        "computations": (computation(peak_worker_memory=3 * GiB),),
        "collections": (),
        "load": loads(),
        "code": CODE,
        "cluster": cluster(cluster_variable="cluster"),
    }
    return snapshot(**facts | changes)


def test_says_how_many_lay_in_memory_and_why():
    (finding,) = run(root_overproduction, sick())
    assert finding.id == "root-overproduction:load"
    assert finding.severity == "warning"
    assert finding.message == (
        "About 180 of 200 results of `load` were in memory at once, 8.8 GiB, waiting for `score` on 8 threads: "
        "`worker-saturation` is inf."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_bytes == (9_000 - 400) * MiB


def test_worth_knowing_only_when_there_was_room():
    calm = (computation(peak_worker_memory=2 * GiB),)
    (finding,) = run(root_overproduction, sick(computations=calm))
    assert finding.severity == "info"
    (finding,) = run(root_overproduction, sick(computations=calm, load=loads(0, 5_000, 5_000, spilled=2_000)))
    assert finding.severity == "warning"


def test_a_large_number_is_as_good_as_none():
    (finding,) = run(root_overproduction, sick(policy=policy(saturation=50.0)))
    assert "`worker-saturation` is 50." in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": policy()},
        {"policy": policy(saturation=2.0)},
        {"load": loads(0, 500, 900, 900, 500)},  # little is held
        {"load": loads(9_000, 9_000, 9_000, 9_000)},  # it was there before
        {"load": ()},
        {"groups": (change(ROOT, n_tasks=16), USER)},
        {"groups": (change(ROOT, sizes=sizes(*[1 * MiB] * 200)), USER)},
        {"groups": (ROOT, change(USER, sizes=sizes(*[30 * MiB] * 200)))},  # a shuffle needs them all
        {"groups": (ROOT, change(USER, sizes=None))},
        {"groups": (ROOT,)},
        {"groups": (change(ROOT, dependencies=("seed-1",)), USER)},
        {"collections": (collection(group="load-1"),)},  # a variable holds them
        {"computations": ()},
        {"computations": (computation(start=None),)},
    ],
)
def test_is_quiet_of_healthy_work(changes):
    assert not run(root_overproduction, sick(**changes))


def test_is_quiet_once_the_cell_ran_again_without_it():
    first, second = CODE
    again = change(second, execution_count=3, started=T0 + 60, stopped=T0 + 70)
    clean = computation(id="k2", submitted=T0 + 61, start=T0 + 61, stop=T0 + 68, at=at("c2", 3))
    facts = sick(code=(first, again))
    assert not run(root_overproduction, change(facts, computations=(*facts.computations, clean)))


def test_incomplete_without_sizes_or_the_setting():
    with pytest.raises(NotChecked):
        run(root_overproduction, sick(groups=(change(ROOT, sizes=None), USER)))
    report = examine(sick(policy=Gap(reason="No answer.")))
    assert next(c for c in report.checks if c.rule == "root-overproduction").outcome == "incomplete"


def test_hostile_names():
    (finding,) = run(root_overproduction, sick(groups=(change(ROOT, prefix="<b>`x`" * 99), USER)))
    assert finding.message.count("`") == 6


def test_fix_changes_the_setting_where_it_stands():
    (finding,) = run(root_overproduction, sick())
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    assert '"distributed.scheduler.worker-saturation": 1.1' in apply(fix, CODE)[0]


def test_fix_sets_it_ahead_of_the_cluster_or_shows_it():
    plain = code("cluster = LocalCluster()", "total.compute()")
    (finding,) = run(root_overproduction, sick(code=plain))
    changed = apply(finding.fixes[0], plain)[0]
    assert changed.index("worker-saturation") < changed.index("LocalCluster")
    (finding,) = run(root_overproduction, sick(code=code("x = 1", "total.compute()")))
    assert finding.fixes[0].applicability == "display-only"


def test_measures_what_was_held_at_the_peak():
    facts = sick()
    (measured,) = root_overproduction.measuring(
        "load", at("c2", 2), computations=facts.computations, load=facts.load, code=CODE
    )
    assert measured.value == 9_000 * MiB
