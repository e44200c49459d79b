"""A scheduler that cannot keep the threads busy."""

import pytest

from jupyter_dask_doctor.rules.scheduling.busy_scheduler import busy_scheduler
from tests.healthy import (
    T0,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    load,
    run,
    snapshot,
)

HERE = cluster(client_variable="client")
CODE = code("sensors = range(8000)", "client.gather(client.map(poll, sensors))")


def loads(n=8, **changes):
    facts = {"tasks_processing": 70, "tasks_queued": 900, "tasks_waiting": 900, "scheduler_tick": 0.03}
    return tuple(load(time=T0 + 21 + i, **facts | {"scheduler_cpu": 90.0} | changes) for i in range(n))


def ran(**changes):
    """8,000 tasks of 20 ms in 8 s on 64 threads: 1,000 a second, and the threads are idle for 69 %."""
    facts = {
        "n_tasks": 8_000,
        "start": T0 + 21,
        "stop": T0 + 29,
        "thread_seconds": 160.0,
        "nthreads": 64,
        "layers": (("poll", 8_000),),
    }
    return computation(**facts | changes)


def sick(*computations, **changes):
    facts = {
        "computations": computations or (ran(),),
        "load": loads(),
        "code": CODE,
        "cluster": HERE,
        "collections": (),
    }
    return snapshot(**facts | changes)


def test_how_fast_it_was_and_what_the_threads_did():
    (finding,) = run(busy_scheduler, sick())
    assert finding.id == "busy-scheduler:poll"
    assert finding.severity == "warning"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "The scheduler handed out 1,000 tasks a second, such as `poll`, and could not keep 64 threads busy: "
        "they were idle for 69 % of 8 s."
    )
    assert "64 threads could do 3,200 a second" in finding.why
    assert (finding.loss_seconds, finding.of_seconds) == (5.5, 8)
    told = {e.label: e.value for e in finding.evidence}
    assert told["CPU of the kernel and the scheduler in it"] == 0.9


def test_slow_turns_of_its_loop_tell_it_as_well():
    facts = sick(load=loads(tasks_queued=0, scheduler_tick=0.4))
    assert run(busy_scheduler, facts)
    assert not run(busy_scheduler, change(facts, load=loads(tasks_queued=0, scheduler_tick=0.09)))
    assert not run(busy_scheduler, change(facts, load=loads(tasks_queued=0, scheduler_tick=None)))


@pytest.mark.parametrize(
    "facts",
    [
        sick(ran(n_tasks=999)),
        sick(ran(n_tasks=2_300)),  # 288 a second
        sick(ran(thread_seconds=64 * 8 * 0.75)),  # the threads are busy
        sick(ran(thread_seconds=None)),
        sick(ran(start=None)),
        sick(ran(stop=None, is_done=False)),
        sick(ran(stop=T0 + 21)),
        sick(ran(stop=T0 + 10)),  # a clock was set back
        sick(ran(nthreads=0)),
        sick(ran(n_tasks=1_900, stop=T0 + 22.9)),
        sick(ran(submitted=T0 + 5)),  # an earlier run of the cell
        sick(load=()),
        sick(load=loads(1)),
        sick(load=loads(tasks_processing=0)),
        sick(load=loads(tasks_queued=0)),  # nothing was ready: tasks waited for others
        sick(computations=()),
    ],
)
def test_is_quiet(facts):
    assert not run(busy_scheduler, facts)


def test_limits_can_be_set():
    for limits in (
        {"rate": 1_001.0},
        {"idle": 0.7},
        {"samples": 9},
        {"tasks": 8_001},
        {"seconds": 9.0},
        {"stake": 6.0},
    ):
        assert not run(busy_scheduler, sick(), **limits)


def test_sends_them_in_batches():
    (finding,) = run(busy_scheduler, sick())
    (fix,) = finding.fixes
    made = apply(fix, CODE)[2]
    # Half a second each, and three for each thread
    assert "client.map(poll_all, list(partition_all(25, sensors)))" in made
    assert "8,000 → about 320 tasks" in fix.expect
    seen = {"poll": lambda x: -x, "sensors": range(60), "client": Client()}
    lines = made.splitlines()
    exec("\n".join([*lines[:-1], f"result = {lines[-1]}"]), seen)
    assert seen["result"] == [-x for x in range(60)]


class Client:
    def map(self, function, xs):
        return [function(x) for x in xs]

    def gather(self, futures):
        return futures


def test_a_collection_is_cut_less_finely():
    bag = collection(
        name="b", kind="bag", npartitions=8_000, sizes=None, nbytes=None, largest=None, is_persisted=False
    )
    cells = code("b = load()", "b.map(poll).compute()")
    (finding,) = run(busy_scheduler, sick(collections=(bag,), code=cells))
    (fix,) = finding.fixes
    assert apply(fix, cells)[1] == "b = b.repartition(npartitions=320)"


@pytest.mark.parametrize(
    "text",
    [
        "client.gather(client.map(poll, sensors, retries=2))",
        "client.gather(client.map(poll, sensors, more))",
        "client.gather(client.map(lambda x: x, sensors))",
        "other.map(poll, sensors)",
        "work()",
    ],
)
def test_what_is_not_understood_is_left_alone(text):
    (finding,) = run(busy_scheduler, sick(code=code("x = 1", text)))
    assert finding.fixes == ()


def test_the_scheduler_elsewhere_has_a_cpu_of_its_own():
    (finding,) = run(busy_scheduler, sick(cluster=cluster(is_in_process=False)))
    assert any(e.label == "CPU of the scheduler" for e in finding.evidence)


def test_measures_what_the_threads_lost():
    facts = sick()
    (measure,) = busy_scheduler.measuring(
        "poll", at("c2", 2), computations=facts.computations, load=facts.load, code=facts.code
    )
    assert measure.value == 5.5
    assert busy_scheduler.measuring("poll", at("c2", 2), computations=(ran(stop=None),), load=()) == ()


def test_tasks_that_took_no_time_at_all():
    (finding,) = run(busy_scheduler, sick(ran(thread_seconds=0.0, layers=())))
    assert finding.subject == "scheduler"
