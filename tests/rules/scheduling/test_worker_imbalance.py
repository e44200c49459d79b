"""One worker with a queue while others have nothing to do."""

import pytest

from jupyter_dask_doctor.rules.scheduling import worker_imbalance
from jupyter_dask_doctor.snapshot import MemorySample
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    change,
    code,
    collection,
    computation,
    group,
    load,
    run,
    running,
    scheduling,
    skewed,
    snapshot,
    worker,
)

#: 60 tasks of 0.4 s, all on the first worker's two threads.
RAN = computation(start=T0 + 21, stop=T0 + 33, thread_seconds=24.0, n_tasks=60, layers=(("score", 60),))
SCORE = group("score", n_tasks=60, n_done=60, compute_seconds=24.0, stop=T0 + 33)
PINNED = "futures = client.map(score, stores, workers=[first])\nclient.gather(futures)"


def samples(*processing, nthreads=2):
    return tuple(
        MemorySample(
            time=T0 + 21.5 + 2 * i, process=300 * MiB, managed=0, spilled=0, n_processing=n,
            n_executing=min(n, nthreads),
        )
        for i, n in enumerate(processing)
    )  # fmt: skip


def cluster_of(first=(60, 48, 36, 24, 12, 3), others=(0, 0, 0, 0, 0, 0), n=4, **more):
    return (
        worker(0, samples=samples(*first), **more),
        *(worker(i, samples=samples(*others)) for i in range(1, n)),
    )


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (SCORE,),
        "workers": cluster_of(),
        "collections": (),
        "code": code("first = pick()", "client.gather(client.map(score, stores))"),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_the_worker_and_how_long():
    (finding,) = run(worker_imbalance, sick())
    assert finding.id == "worker-imbalance:score"
    assert finding.severity == "warning"
    assert finding.message == (
        "58 tasks `score` waited for worker `0` while 6 of 8 threads had nothing to do for 10 s: "
        "Dask did not move its tasks elsewhere."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_seconds == pytest.approx(6 * 10 / 8)
    assert finding.charts[0].highlight == 0


def test_a_pinned_map_is_let_go():
    facts = sick(code=code("first = pick()", PINNED))
    (finding,) = run(worker_imbalance, facts)
    assert finding.message.endswith("its tasks may run in one place only.")
    assert apply(finding.fixes[0], facts.code)[1] == (
        "futures = client.map(score, stores)\nclient.gather(futures)"
    )
    assert finding.fixes[0].applicability == "unsafe"


def test_a_wish_goes_with_its_place():
    text = "f = client.submit(\n    score,\n    x,\n    workers='a',\n    allow_other_workers=False,\n    retries=2,\n)"
    facts = sick(code=code("x = 1", text))
    assert (
        apply(run(worker_imbalance, facts)[0].fixes[0], facts.code)[1]
        == "f = client.submit(score, x, retries=2)"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"{PINNED}\nclient.submit(score, 1, workers=[first])",  # which of them?
        "client.map(\n    score,  # fast\n    stores,\n    workers=[first],\n)",  # a comment would be lost
    ],
)
def test_it_is_only_shown_where_the_edit_is_not_sure(text):
    (finding,) = run(worker_imbalance, sick(code=code("first = pick()", text)))
    assert finding.fixes[0].applicability == "display-only"


def test_restrictions_are_known_from_what_runs():
    tied = tuple(running("score", i, is_restricted=True) for i in range(2))
    (finding,) = run(worker_imbalance, sick(scheduling=scheduling(n_running=2, running=tied)))
    assert finding.message.endswith("its tasks may run in one place only.")


def holding(**changes):
    """The first worker holds all the data of `df`."""
    df = collection(at=at("c1", 1))
    full = cluster_of(stored=1 * GiB)
    facts = {
        "workers": full,
        "collections": (df,),
        "computations": (change(RAN, reused=(df.group,)),),
        "code": code("df = client.scatter(load())", "client.gather(client.map(score, df))"),
    }
    return sick(**facts | changes)


def test_data_on_one_worker_is_spread_at_rest():
    facts = holding()
    (finding,) = run(worker_imbalance, facts)
    assert finding.message.endswith("it holds 100 % of the data.")
    assert apply(finding.fixes[0], facts.code)[1] == "client.rebalance()"
    assert "about 768 MiB go from worker `0`" in finding.fixes[0].expect


@pytest.mark.parametrize(
    "fact",
    [
        {"load": (load(threads_busy=1),)},  # never while something runs
        {"workers": cluster_of(stored=20 * GiB)},  # the others have no room
    ],
)
def test_data_is_not_offered_to_be_spread(fact):
    (finding,) = run(worker_imbalance, holding(**fact))
    assert finding.fixes[0].applicability == "display-only"


@pytest.mark.parametrize(
    "fact",
    [
        {"workers": cluster_of(others=(2, 2, 2, 2, 2, 2))},  # all have work
        {"workers": cluster_of(first=(60, 48, 2, 2, 2, 2))},  # two samples
        {"workers": cluster_of(first=(5, 5, 5, 5, 5, 5))},  # 3 tasks wait
        {"workers": cluster_of(first=(2,) * 6)},  # the tail
        {"workers": cluster_of(n=1)},
        {"workers": ()},
        {"workers": cluster_of(status="paused")},
        {"workers": cluster_of(nthreads=0)},
        {"workers": tuple(change(w, samples=()) for w in cluster_of())},
        {"workers": cluster_of(first=(60, 48, 36, 24, 12, 8), others=(15, 12, 9, 6, 3, 2))},  # 4 times
        {"groups": (change(SCORE, compute_seconds=0.6),)},  # 10 ms each
        {"computations": ()},
        {"computations": (change(RAN, start=None),)},
        {"computations": (change(RAN, stop=T0 + 10),)},
    ],
)
def test_is_quiet(fact):
    assert not run(worker_imbalance, sick(**fact))


@pytest.mark.parametrize(
    "limits", [{"waiting": 59}, {"idle_share": 0.8}, {"samples": 6}, {"seconds": 10.5}, {"loss_seconds": 8.0}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(worker_imbalance, sick(), **limits)


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(worker_imbalance, sick(code=(first, later)))


def test_measures_the_time():
    facts = sick()
    (measured,) = worker_imbalance.measuring("score", RAN.at, computations=facts.computations)
    assert (measured.label, measured.value) == ("time of its tasks", 12.0)


def test_leaves_one_large_partition_to_its_own_rule_until_its_cost_is_known():
    frame = collection(sizes=skewed(20, largest=4 * GiB))
    running_now = change(RAN, is_done=False, reused=(frame.group,))
    assert not run(worker_imbalance, sick(computations=(running_now,), collections=(frame,)))
    assert run(worker_imbalance, sick(computations=(running_now,), collections=(collection(),)))
    assert run(
        worker_imbalance, sick(computations=(change(RAN, reused=(frame.group,)),), collections=(frame,))
    )
