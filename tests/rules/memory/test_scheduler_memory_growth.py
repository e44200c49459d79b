"""A scheduler that grows from run to run."""

import pytest

from jupyter_dask_doctor.rules.memory import scheduler_memory_growth
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.snapshot import Size
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
    kernel,
    load,
    rest,
    run,
    snapshot,
)

CODE = code("client = Client()", "futures += client.map(check, hour)")
GROWING = (0, 4_000, 8_000, 12_000, 16_000, 20_000)
REMOTE = cluster(kind=None, is_in_process=False)


def pauses(*tasks, each=4_000, base=150 * MiB, **more):
    return tuple(
        rest(i, **{"tasks_known": n, "scheduler_memory": base + n * each} | more) for i, n in enumerate(tasks)
    )


def held(**changes):
    facts = {
        "name": "futures",
        "kind": "futures",
        "npartitions": 20_000,
        "nbytes": Size(nbytes=560_000, known="exact"),
        "sizes": None,
        "group": "check",
        "names": (),
        "at": at("c2", 2),
    }
    return collection(**facts | changes)


def sick(*tasks, **changes):
    facts = {
        "rests": pauses(*(tasks or GROWING)),
        "cluster": cluster(client_variable="client"),
        "collections": (held(),),
        "code": CODE,
        "computations": (computation(),),
    }
    return snapshot(**facts | changes)


def test_names_the_variable_and_how_long_the_memory_lasts():
    (finding,) = run(scheduler_memory_growth, sick())
    assert finding.id == "scheduler-memory-growth:futures"
    assert finding.severity == "warning"
    assert finding.message == (
        "The scheduler holds 20,000 tasks of finished runs for `futures`, in about 76 MiB, and more with each of "
        "the last 5 runs; at this pace the machine's free memory lasts 2 h 14 min."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_bytes == 80_000_000


def test_worth_knowing_only_when_the_end_is_far():
    slow = tuple(change(r, time=T0 + 600 * i) for i, r in enumerate(pauses(*GROWING)))
    (finding,) = run(scheduler_memory_growth, sick(rests=slow))
    assert finding.severity == "info"
    million = pauses(*[60 * n for n in GROWING])
    slow = tuple(change(r, time=T0 + 60_000 * i) for i, r in enumerate(million))
    (finding,) = run(scheduler_memory_growth, sick(rests=slow))
    assert finding.severity == "warning"


def test_without_the_variable_it_is_the_scheduler():
    for others in ((), (held(npartitions=500),), (held(npartitions=None),), (collection(),)):
        (finding,) = run(scheduler_memory_growth, sick(collections=others))
        assert finding.subject == "scheduler"
        assert finding.fixes == ()


def test_a_scheduler_of_its_own_that_grows_without_tasks():
    bare = tuple(
        change(r, tasks_known=100, scheduler_memory=(200 + 50 * i) * MiB)
        for i, r in enumerate(pauses(*GROWING))
    )
    (finding,) = run(scheduler_memory_growth, sick(rests=bare, cluster=REMOTE))
    assert finding.subject == "scheduler"
    assert finding.severity == "info"
    assert "rose by 250 MiB in 5 runs, and the number of tasks it holds did not" in finding.message
    assert not run(scheduler_memory_growth, sick(rests=bare))  # the kernel's own data


@pytest.mark.parametrize(
    "tasks",
    [
        (0, 4_000, 8_000),  # too few runs
        (0, 8_000, 16_000, 20_000, 20_500, 20_600),  # a plateau
        (0, 5_000, 10_000, 15_000, 20_000, 100),  # let go
        (20_000,) * 6,
        (0, 0, 0, 20_000, 20_000, 20_000),  # one large persist
        (0, 2_000, 4_000, 6_000, 8_000, 9_900),
        (0, 9_000, 2_000, 12_000, 3_000, 20_000),
    ],
)
def test_is_quiet_of_healthy_schedulers(tasks):
    assert not run(scheduler_memory_growth, sick(*tasks))


def test_is_quiet_when_it_is_not_the_tasks_that_need_memory():
    big = pauses(*GROWING, each=100_000)
    assert not run(scheduler_memory_growth, sick(rests=big))
    flat = tuple(change(r, scheduler_memory=200 * MiB) for r in pauses(*GROWING))
    assert not run(scheduler_memory_growth, sick(rests=flat))
    little = pauses(*GROWING, each=1_000)
    assert not run(scheduler_memory_growth, sick(rests=little))


def test_is_quiet_of_absurd_facts():
    assert not run(scheduler_memory_growth, sick(rests=()))
    assert not run(scheduler_memory_growth, sick(rests=tuple(change(r, time=T0) for r in pauses(*GROWING))))


def test_incomplete_when_its_memory_is_not_told():
    silent = tuple(change(r, scheduler_memory=None) for r in pauses(*GROWING))
    with pytest.raises(NotChecked):
        run(scheduler_memory_growth, sick(rests=silent))
    few = tuple(change(r, tasks_known=100) for r in silent)
    assert not run(scheduler_memory_growth, sick(rests=few))


def test_works_without_the_kernel():
    facts = sick()
    found = scheduler_memory_growth(rests=facts.rests, cluster=facts.cluster)
    assert found[0].severity == "info"
    (finding,) = run(scheduler_memory_growth, sick(kernel=kernel(memory_available=None)))
    assert "at this pace" not in finding.message


def test_hostile_names():
    (finding,) = run(scheduler_memory_growth, sick(collections=(held(name="x`; <b>" * 40),)))
    assert finding.fixes == ()
    assert finding.message.count("`") == 2


def test_fix_fetches_small_results_and_releases_large_ones():
    (finding,) = run(scheduler_memory_growth, sick())
    (fetch,) = finding.fixes
    assert fetch.applicability == "unsafe"
    assert apply(fetch, CODE)[2] == "futures = client.gather(futures)"
    large = held(nbytes=Size(nbytes=4 * GiB, known="exact"))
    (finding,) = run(scheduler_memory_growth, sick(collections=(large,)))
    assert apply(finding.fixes[0], CODE)[2] == "del futures"
    (finding,) = run(scheduler_memory_growth, sick(code=()))
    assert finding.fixes[0].applicability == "display-only"


def test_measures_the_tasks_held():
    (measured,) = scheduler_memory_growth.measuring("futures", None, load=(load(tasks_known=7),))
    assert measured.value == 7
