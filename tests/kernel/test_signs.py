"""Vital signs and the facts of the Cluster section, from facts alone."""

import math
from dataclasses import replace

import msgspec
import pytest

from jupyter_dask_doctor.kernel.about import about
from jupyter_dask_doctor.kernel.signs import signs
from jupyter_dask_doctor.messages import ClusterInfo
from jupyter_dask_doctor.snapshot import Activity, Gap
from tests import healthy
from tests.healthy import T0, GiB, MiB

GAP = Gap(reason="Not to be had.")


def told(**sections):
    return {sign.kind: sign for sign in signs(healthy.snapshot(**sections))}


def out(**sections):
    return {kind for kind, sign in told(**sections).items() if sign.is_out}


SWIFT = healthy.computation(start=T0 + 20.6)


def test_healthy_work_is_in_range():
    found = told(computations=(SWIFT,))
    assert not any(sign.is_out for sign in found.values())
    values = {kind: sign.value for kind, sign in found.items()}
    assert values["success"] == 1
    assert values["failure-rate"] == 0
    assert values["memory-kills"] == values["workers-lost"] == values["waiting"] == 0
    assert values["worker-memory"] == pytest.approx(300 / 4096)
    assert values["start-delay"] == pytest.approx(0.05, abs=1e-3)
    assert values["cell-seconds"] == 10


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        ({"workers": (healthy.worker(process=3 * GiB),)}, "worker-memory"),
        ({"losses": (healthy.loss(),)}, "memory-kills"),
        ({"changes": (healthy.removed(),)}, "workers-lost"),
        ({"failures": (healthy.failure(computation_id="k1"),)}, "success"),
        ({"prefixes": (healthy.prefix(n_done=990, n_erred=10),)}, "failure-rate"),
        ({"computations": (healthy.computation(start=T0 + 22),)}, "start-delay"),
        (
            {"load": tuple(healthy.load(time=T0 + 36 + i, tasks_waiting=9) for i in range(5))},
            "waiting",
        ),
        (
            {
                "load": (healthy.load(scheduler_cpu=80.0),),
                "cluster": replace(healthy.cluster(), is_in_process=False),
            },
            "scheduler-cpu",
        ),
    ],
)
def test_each_level_colours_its_own_sign(sections, kind):
    assert out(**{"computations": (SWIFT,), **sections}) == {kind}


@pytest.mark.parametrize(
    "sections",
    [
        {"workers": (healthy.worker(memory_limit=None, process=90 * GiB),)},
        {"losses": (healthy.loss(reason="unexpected"),)},
        # Asked to go, or long ago.
        {"changes": (healthy.removed(is_expected=True), healthy.removed(time=T0 - 600))},
        # Of another notebook.
        {"failures": (healthy.failure(computation_id=None),)},
        {"prefixes": (healthy.prefix(n_done=9_999, n_erred=1),)},
        # Clocks that differ.
        {"computations": (healthy.computation(start=T0 - 300),)},
        # They wait while others run, and for a moment.
        {"load": tuple(healthy.load(time=T0 + i, tasks_waiting=9, threads_busy=8) for i in range(5))},
        {"load": (healthy.load(tasks_waiting=9),)},
        # In the kernel's process a cell's own work counts.
        {"load": (healthy.load(scheduler_cpu=99.0),)},
    ],
)
def test_healthy_look_alikes(sections):
    assert not out(**{"computations": (SWIFT,), **sections})


def test_bytes_that_moved_count_once():
    def moved(label, nbytes, context="gather-dep"):
        return Activity(context=context, prefix=None, label=label, nbytes=nbytes)

    activity = (
        moved("network", 70),
        moved("network", 30),
        moved("deserialize", 90),
        moved("network", 9, "get-data"),
    )
    found = told(computations=(healthy.computation(activity=activity), healthy.computation(activity=None)))
    assert (found["bytes-moved"].value, found["bytes-moved"].limit) == (100, None)


def test_what_is_not_known_is_none():
    sections = dict.fromkeys(
        ("workers", "load", "prefixes", "computations", "code", "losses", "failures", "changes"), GAP
    )
    found = told(**sections)
    assert len(found) == 10
    assert {sign.value for sign in found.values()} == {None}
    assert not any(sign.is_out for sign in found.values())


def test_absurd_numbers_are_not_known():
    found = told(computations=(healthy.computation(start=math.inf),))
    assert found["start-delay"].value is None


def test_the_facts_of_a_cluster():
    facts = about(healthy.snapshot(workers=(*healthy.workers(3), healthy.worker(3, nthreads=1))))
    assert [(one.n, one.nthreads, one.memory_limit) for one in facts.shapes] == [
        (3, 2, 4 * GiB),
        (1, 1, 4 * GiB),
    ]
    assert (facts.memory_target, facts.memory_terminate) == (0.6, 0.95)
    assert (facts.has_nanny, facts.is_adaptive, facts.has_mixed_versions) == (True, False, False)
    assert (facts.n_cpus, facts.host_memory, facts.file_system) == (8, 32 * GiB, "ext4")
    assert [change.name for change in facts.changes] == ["3", "2", "1", "0"]
    assert facts.gaps == ()


def test_the_fullest_disk_is_shown():
    environments = (healthy.environment(0), healthy.environment(1, disk_free=GiB, local_directory="/full"))
    facts = about(healthy.snapshot(environments=environments))
    assert (facts.local_directory, facts.disk_free) == ("/full", GiB)


def test_the_workers_own_levels_count_where_they_are_known():
    off = healthy.environment(memory_target=None, memory_terminate=None)
    facts = about(healthy.snapshot(environments=(off,)))
    assert (facts.memory_target, facts.memory_pause, facts.memory_terminate) == (None, 0.8, None)
    facts = about(
        healthy.snapshot(
            environments=GAP, cluster=replace(healthy.cluster(), memory_target=0.5, memory_spill=1.0)
        )
    )
    assert (facts.memory_target, facts.memory_spill) == (0.5, None)


def test_versions_that_differ():
    versions = (healthy.versions("client"), healthy.versions(packages={"numpy": "0.1"}))
    assert about(healthy.snapshot(versions=versions)).has_mixed_versions
    # A package that is missing somewhere is not another version of it.
    versions = (healthy.versions("client"), healthy.versions(packages={"numpy": None}))
    assert about(healthy.snapshot(versions=versions)).has_mixed_versions is False


def test_queuing_that_is_off():
    facts = about(healthy.snapshot(policy=healthy.policy(saturation=math.inf)))
    assert (facts.saturation, facts.has_queuing) == (None, False)


def rests(*unmanaged, n_workers=2):
    return tuple(
        healthy.rest(i, unmanaged=tuple((f"w{j}", nbytes) for j in range(n_workers)))
        for i, nbytes in enumerate(unmanaged)
    )


def test_the_slope_at_rest():
    found = about(healthy.snapshot(rests=rests(*(100 * MiB + i * 10 * MiB for i in range(6))))).rest
    # Of both workers.
    assert (round(found.slope / MiB), found.n) == (20, 6)
    assert found.low <= found.slope <= found.high


def test_no_slope_from_few_pauses_or_other_workers():
    assert about(healthy.snapshot(rests=rests(1, 2, 3))).rest is None
    others = (*rests(1, 2, 3, n_workers=3), *rests(4, 5, 6))
    assert about(healthy.snapshot(rests=others)).rest is None
    assert about(healthy.snapshot(rests=GAP)).rest is None


def test_what_is_not_known_of_a_cluster_is_said():
    gaps = dict.fromkeys(("workers", "policy", "versions", "environments", "changes", "load", "rests"), GAP)
    facts = about(healthy.snapshot(**gaps))
    assert facts.gaps == ("Not to be had.",)
    assert (facts.shapes, facts.n_cpus, facts.has_queuing, facts.has_mixed_versions) == ((), None, None, None)
    assert about(healthy.snapshot(cluster=GAP)) is None


def test_hostile_names_stay_short_and_are_sent():
    name = "<script>\ud800" * 10_000
    facts = about(
        healthy.snapshot(
            changes=(healthy.added(name=name),),
            environments=(healthy.environment(local_directory=name, file_system=name),),
            cluster=replace(healthy.cluster(), kind=name, address=name, cluster_variable=name, dask=name),
        )
    )
    from jupyter_dask_doctor.kernel.fitting import encode

    text = encode(facts)
    assert len(text) < 4_000
    assert msgspec.json.decode(text, type=ClusterInfo)
