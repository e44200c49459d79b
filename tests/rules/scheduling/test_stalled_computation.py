"""Nothing gets finished any more, and why; long work that is none of that."""

import pytest

from jupyter_dask_doctor.rules.scheduling.stalled_computation import stalled_computation
from jupyter_dask_doctor.snapshot import CallStack
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
    prefix,
    run,
    running,
    samples,
    scheduling,
    snapshot,
    worker,
    workers,
)

NESTED = (
    'File "/somewhere/nb.py", line 9, in outer return get_client().submit(inner, x).result()',
    'File "/opt/site-packages/distributed/client.py", line 410, in result return self.client.sync(self._result)',
    'File "/opt/site-packages/distributed/utils.py", line 439, in sync wait(10)',
    'File "/usr/lib/python3.11/threading.py", line 327, in wait gotit = waiter.acquire(True, timeout)',
)
LOCK = (
    'File "/somewhere/nb.py", line 4, in update with Lock("table"):',
    'File "C:\\site-packages\\distributed\\lock.py", line 140, in acquire return self.client.sync(self._acquire)',
    'File "/usr/lib/python3.11/threading.py", line 327, in wait gotit = waiter.acquire(True, timeout)',
)
PLAIN_LOCK = ('File "/somewhere/nb.py", line 4, in update with table_lock:',)
READS = ('File "/usr/lib/python3.11/ssl.py", line 1166, in read return self._sslobj.read(len, buffer)',)

BUSY = workers(2, nthreads=1, n_executing=1, n_processing=4, cpu=3.0)
NOW = load(time=T0 + 60, tasks_processing=8, tasks_waiting=2, threads_busy=2)


def stacks(*frames):
    return tuple(
        CallStack(key=running("outer", n).key, worker=f"tcp://127.0.0.1:{4000 + n}", frames=f)
        for n, f in enumerate(frames)
    )


def tasks(n=2, seconds=25.0, name="outer"):
    return tuple(running(name, i, seconds=seconds) for i in range(n))


def sick(*frames, n=2, seconds=25.0, **changes):
    """Two threads run `outer` for 25 s, and wait for `inner`."""
    frames = frames or (NESTED, NESTED)
    facts = {
        "scheduling": scheduling(
            last_finished=T0 + 34, n_running=n, running=tasks(n, seconds), stacks=stacks(*frames)
        ),
        "workers": BUSY,
        "load": (NOW,),
        "prefixes": (prefix("outer", n_done=0, max_seconds=None),),
        "computations": (computation(is_done=False, stop=None, layers=(("outer", 10),)),),
        "code": code("cluster = LocalCluster()", "client.gather(client.map(outer, range(10)))"),
        "cluster": cluster(client_variable="client"),
    }
    return snapshot(**facts | changes)


def idle(**changes):
    """The CPU is idle and the stacks tell of no wait."""
    return sick(READS, READS, **changes)


def known(longest=0.5, n=20):
    return (prefix("outer", n_done=n, max_seconds=longest),)


def held(**changes):
    """Nothing runs although tasks were handed out."""
    facts = {"scheduling": scheduling(last_finished=T0 - 300, n_running=0)}
    return sick(**facts | changes)


def test_a_deadlock_of_tasks_that_wait_for_tasks():
    (finding,) = run(stalled_computation, sick())
    assert finding.id == "stalled-computation:outer"
    assert finding.severity == "critical"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "Nothing has finished for 25 s: both running tasks, `outer`, wait for other tasks, "
        "for which no thread is left."
    )
    assert finding.loss_seconds == 25
    # Both stand at the same place: once is enough
    (detail,) = finding.details
    assert "in outer return get_client()" in detail.text
    advice = next(fix for fix in finding.fixes if "worker_client" in fix.code)
    assert "def outer(x):" in advice.code
    assert advice.applicability == "display-only"


@pytest.mark.parametrize("frames", [LOCK, PLAIN_LOCK])
def test_all_wait_for_a_lock(frames):
    (finding,) = run(stalled_computation, sick(frames, frames))
    assert "wait for a lock or an event, and nobody works" in finding.message


def test_one_waits_for_another_and_that_one_for_a_lock():
    (finding,) = run(stalled_computation, sick(NESTED, LOCK))
    assert "wait for other tasks" in finding.message


def test_the_last_task_alone():
    facts = sick(LOCK, n=1, load=(load(time=T0 + 60, tasks_processing=1),))
    (finding,) = run(stalled_computation, facts)
    assert "the task of `outer` that runs waits for a lock" in finding.message


def test_paused_workers():
    facts = held(workers=workers(2, status="paused", n_processing=4))
    (finding,) = run(stalled_computation, facts)
    assert finding.subject == "outer"
    assert finding.message == (
        "Nothing has finished for 40 s: the workers that have the tasks are paused for memory."
    )


def test_workers_that_were_not_heard_of():
    gone = tuple(change(w, last_seen=T0 - 5) for w in BUSY)
    facts = sick(READS, READS, seconds=70.0, workers=gone)
    facts = change(facts, scheduling=change(facts.scheduling, last_finished=T0 - 10))
    (finding,) = run(stalled_computation, facts)
    assert "the 2 workers that have the tasks were not heard of" in finding.message
    (finding,) = run(stalled_computation, change(facts, workers=gone[:1]))
    assert "the worker that has the tasks was not heard of" in finding.message


def test_handed_out_and_not_run():
    facts = held(load=(change(NOW, time=T0 + 150),), workers=workers(2, n_processing=4, last_seen=T0 + 149))
    (finding,) = run(stalled_computation, facts)
    assert finding.message == (
        "Nothing has finished for 2 min 10 s: workers have tasks of `outer`, and no thread runs one."
    )


def test_much_longer_than_ever_before_with_an_idle_cpu():
    facts = idle(seconds=61.0, prefixes=known())
    facts = change(facts, scheduling=change(facts.scheduling, last_finished=T0 - 10))
    (finding,) = run(stalled_computation, facts)
    assert finding.message == "Nothing has finished for 61 s: 2 tasks such as `outer` run and use no CPU."
    assert "Before, the longest took 500 ms." in finding.why


@pytest.mark.parametrize(
    "facts",
    [
        # Something ended a moment ago, or work has just begun after a long rest
        sick(scheduling=change(sick().scheduling, last_finished=T0 + 45)),
        sick(seconds=19.0),
        sick(scheduling=scheduling(last_finished=T0 + 10, n_running=0), load=(load(time=T0 + 60),)),
        # One of them works, or nobody knows what the other does
        sick(NESTED, READS),
        sick(n=8, load=(change(NOW, tasks_processing=20),)),
        sick(scheduling=change(sick().scheduling, stacks=None)),
        sick(scheduling=change(sick().scheduling, stacks=())),
        sick((), ()),
        # ... or the stacks are of tasks that do not run any more
        sick(scheduling=change(sick().scheduling, running=tasks(name="other"))),
        # The CPU is busy: long work
        sick(workers=(BUSY[0], change(BUSY[1], cpu=99.0))),
        idle(seconds=500.0, workers=(BUSY[0], change(BUSY[1], cpu=99.0)), prefixes=known()),
        # Another task has left its thread and may do the work
        sick(workers=(BUSY[0], change(BUSY[1], n_long_running=1))),
        held(
            load=(change(NOW, time=T0 + 400),),
            workers=workers(2, n_processing=4, n_long_running=1, last_seen=T0 + 399),
        ),
        # A first download of ten minutes
        idle(seconds=25.0),
        # A prefix whose tasks take long, and one of which too little is known
        idle(seconds=70.0, prefixes=known(longest=4.0)),
        idle(seconds=70.0, prefixes=known(n=4)),
        idle(seconds=70.0, prefixes=()),
        # Paused, but one still runs; or only for a moment
        held(workers=(worker(status="paused", n_processing=4), worker(1, n_processing=1))),
        held(workers=workers(2, status="paused", n_processing=4), load=(change(NOW, time=T0 + 30),)),
        held(workers=workers(2, n_processing=4)),
        # Nothing in hand
        sick(load=()),
        sick(load=(load(time=T0 + 60, tasks_processing=0, tasks_waiting=9),)),
        held(computations=()),
        # Absurd values
        sick(seconds=-10.0),
        sick(scheduling=change(sick().scheduling, last_finished=T0 + 10_000)),
    ],
)
def test_is_quiet(facts):
    assert not run(stalled_computation, facts)


def test_busy_for_an_hour_is_told():
    hot = tuple(change(w, cpu=100.0) for w in BUSY)
    facts = idle(seconds=3_700.0, workers=hot)
    facts = change(facts, scheduling=change(facts.scheduling, last_finished=None))
    (finding,) = run(stalled_computation, facts)
    assert "run and use the CPU" in finding.message
    assert not run(stalled_computation, facts, busy_seconds=4_000.0)


def test_cpu_is_that_of_the_last_samples():
    past = tuple(change(s, cpu=90.0) for s in samples(*[0.1] * 10))
    assert not run(stalled_computation, sick(workers=(change(BUSY[0], samples=past), BUSY[1])))


def test_waits_as_long_as_it_is_told_to():
    assert not run(stalled_computation, sick(), waiting_seconds=26.0)
    assert run(stalled_computation, sick(seconds=6.0), waiting_seconds=5.0)


def test_cells_to_look_at_it():
    lazy = collection(name="df", npartitions=20)
    cells = code("df = load()", "df.x.sum().compute()")
    (finding,) = run(stalled_computation, sick(LOCK, LOCK, code=cells, collections=(lazy,)))
    stacks, here = finding.fixes
    assert "client.call_stack()" in apply(stacks, cells)[2]
    assert stacks.applicability == "safe"
    assert apply(here, cells)[2].endswith("df.x.sum().compute()")
    cells = code("df = load()", "df.compute()")
    (finding,) = run(stalled_computation, sick(LOCK, LOCK, code=cells, collections=(lazy,)))
    assert finding.fixes[1].code.splitlines()[-1].strip() == "df.partitions[:2].compute()"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("fs = client.map(outer, names, sizes)", "outer(next(iter(names)), next(iter(sizes)))"),
        ("f = client.submit(outer, 10, n)", "outer(10, n)"),
    ],
)
def test_one_task_of_futures(before, after):
    cells = code("cluster = LocalCluster()", before)
    (finding,) = run(stalled_computation, sick(LOCK, LOCK, code=cells))
    assert finding.fixes[1].code.splitlines()[-1] == after


def test_while_the_cell_holds_the_kernel_no_cell_for_it_is_offered():
    facts = sick()
    busy = (facts.code[0], change(facts.code[1], stopped=None))
    (finding,) = run(stalled_computation, change(facts, code=busy))
    assert all("call_stack" not in fix.code for fix in finding.fixes)


def test_what_was_sent_before_the_doctor_was_there_is_what_the_running_cell_waits_for():
    facts = sick(computations=())
    lost = change(facts.scheduling, running=tuple(change(t, at=None) for t in facts.scheduling.running))
    busy = (facts.code[0], change(facts.code[1], started=T0 + 33, stopped=None))
    (finding,) = run(stalled_computation, change(facts, scheduling=lost, code=busy))
    assert finding.at == at("c2", 2)
    late = (facts.code[0], change(facts.code[1], started=T0 + 50, stopped=None))
    (finding,) = run(stalled_computation, change(facts, scheduling=lost, code=late))
    assert finding.at is None


def test_measures_the_silence():
    facts = sick()
    (measure,) = stalled_computation.measuring(
        "outer", None, scheduling=facts.scheduling, load=facts.load, computations=facts.computations
    )
    assert (measure.value, measure.unit) == (25.0, "seconds")


def test_names_stay_names():
    facts = sick(LOCK, LOCK)
    odd = tuple(change(t, prefix="<b>`x`\n</b>") for t in facts.scheduling.running)
    (finding,) = run(stalled_computation, change(facts, scheduling=change(facts.scheduling, running=odd)))
    assert "`<b>'x' </b>`" in finding.message
