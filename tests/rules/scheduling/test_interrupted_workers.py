"""An interrupt of the kernel that reached the workers."""

import pytest

from jupyter_dask_doctor.rules.memory import killed_worker
from jupyter_dask_doctor.rules.scheduling.interrupted_workers import interrupted_workers
from tests.healthy import (
    T0,
    added,
    apply,
    at,
    change,
    cluster,
    code,
    load,
    loss,
    removed,
    run,
    snapshot,
    worker,
    workers,
)

CREATE = "cluster = LocalCluster(n_workers=2)\nclient = Client(cluster)"
HERE = cluster(cluster_variable="cluster", client_variable="client", n_wanted=2)
#: Both workers went half a second after the cell "c2" was interrupted.
GONE = (
    removed(0, time=T0 + 30.4, n_workers=1, is_expected=True),  # it closed in good order
    removed(1, time=T0 + 30.6, n_workers=0),
)
CAME = (added(0), added(1))


def interrupted(*more):
    first, second = code(CREATE, "work()")
    return (first, change(second, has_failed=True, error="KeyboardInterrupt"), *more)


def sick(**changes):
    facts = {
        "cluster": HERE,
        "workers": (),
        "changes": CAME + GONE,
        "code": interrupted(),
        "load": (load(time=T0 + 32, n_workers=0),),
    }
    return snapshot(**facts | changes)


def test_says_what_the_interrupt_did():
    (finding,) = run(interrupted_workers, sick())
    assert finding.id == "interrupted-workers:workers"
    assert finding.severity == "critical"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "Interrupting the kernel ended the 2 workers of `cluster`, and none has come back."
    )
    assert "20 results that they held went with them" in finding.why
    assert finding.loss_seconds == 10


def test_the_fix_starts_as_many_anew_and_keeps_them():
    (finding,) = run(interrupted_workers, sick())
    anew, keep = finding.fixes
    text = apply(anew, interrupted())[1]
    assert text.index("cluster.scale(0)") < text.index("cluster.workers") < text.index("cluster.scale(2)")
    assert text.endswith("client.wait_for_workers(2, timeout=60)")
    assert anew.rerun == ("c2",)
    assert apply(keep, interrupted())[0].splitlines()[0] == (
        'cluster = LocalCluster(n_workers=2, preload="import signal; '
        'signal.signal(signal.SIGINT, signal.SIG_IGN)")'
    )


def test_a_preload_that_is_there_is_left_alone():
    made = CREATE.replace("n_workers=2", 'n_workers=2, preload="mine"')
    cells = (change(interrupted()[0], source=made), interrupted()[1])
    (finding,) = run(interrupted_workers, sick(code=cells))
    assert len(finding.fixes) == 1


def test_without_variables_it_speaks_through_the_client_or_not_at_all():
    (finding,) = run(interrupted_workers, sick(cluster=cluster(client_variable="c", n_wanted=2)))
    assert "c.cluster.scale(0)" in finding.fixes[0].code
    assert "of the cluster" in finding.message
    (finding,) = run(interrupted_workers, sick(cluster=cluster(n_wanted=2), code=interrupted()[1:]))
    assert not finding.fixes


def test_one_worker():
    gone = (removed(0, time=T0 + 30.5, n_workers=0),)
    (finding,) = run(interrupted_workers, sick(changes=CAME[:1] + gone))
    assert finding.message.startswith("Interrupting the kernel ended the only worker of `cluster`")


@pytest.mark.parametrize(
    "cells",
    [
        code(CREATE, "work()"),  # the kernel had nothing to do
        (*code(CREATE), change(interrupted()[1], started=T0 + 31, stopped=None, error=None)),  # it runs again
        (),
    ],
)
def test_where_no_cell_tells_of_it_the_silence_does(cells):
    facts = sick(code=cells, load=(load(time=T0 + 43, n_workers=0),))
    (finding,) = run(interrupted_workers, facts)
    assert finding.message == (
        "The 2 workers of `cluster` ended together, as they do when the kernel is interrupted."
    )
    assert not run(interrupted_workers, sick(code=cells, load=(load(time=T0 + 42, n_workers=0),)))


@pytest.mark.parametrize(
    "facts",
    [
        sick(changes=CAME),
        sick(changes=()),
        sick(workers=workers(1)),
        sick(changes=(*CAME, *GONE, added(5, time=T0 + 40))),  # it was cured
        sick(changes=CAME + GONE[:1]),  # one is left
        sick(cluster=change(HERE, n_wanted=0)),  # cluster.scale(0)
        sick(changes=(*CAME, change(GONE[0], time=T0 + 20), change(GONE[1], n_workers=1))),
        sick(cluster=change(HERE, is_in_process=False)),  # its processes are not the kernel's
        sick(cluster=change(HERE, n_wanted=None)),
        sick(losses=(loss(address=GONE[0].address),)),  # killed for memory: it comes back
        sick(code=(interrupted()[0], change(interrupted()[1], error="ValueError"))),
        sick(code=(interrupted()[0], change(interrupted()[1], stopped=T0 + 60))),  # interrupted much later
        sick(code=(interrupted()[0], change(interrupted()[1], stopped=None))),
    ],
)
def test_is_quiet(facts):
    assert not run(interrupted_workers, facts)


def test_the_second_interrupt_after_a_cure():
    again = tuple(change(c, time=c.time + 60) for c in GONE)
    cells = (interrupted()[0], change(interrupted()[1], started=T0 + 80, stopped=T0 + 90))
    facts = sick(changes=(*CAME, *GONE, *(added(n, time=T0 + 50) for n in (0, 1)), *again), code=cells)
    (finding,) = run(interrupted_workers, facts)
    assert finding.evidence[0].value == 2


def test_a_smaller_notion_of_together():
    assert not run(interrupted_workers, change(sick(), code=code(CREATE)))
    far = (change(GONE[0], time=T0 + 28), GONE[1])
    (finding,) = run(interrupted_workers, sick(changes=CAME + far), together_seconds=1.0)
    assert finding.evidence[0].value == 1


def test_measures_the_missing_workers():
    facts = sick()
    (measure,) = interrupted_workers.measuring("workers", None, changes=facts.changes, workers=())
    assert measure.value == 2
    (measure,) = interrupted_workers.measuring("workers", None, changes=facts.changes, workers=(worker(),))
    assert measure.value == 0


LOST = tuple(
    loss(
        reason="unexpected", process=None, address=c.address, time=c.time, prefixes=("work",), at=at("c2", 2)
    )
    for c in GONE
)


def test_a_killed_worker_is_another_thing():
    assert not run(killed_worker, sick(losses=LOST))
    # Still not when they have come back, and not when the cell that was interrupted runs again
    back = sick(losses=LOST, changes=(*CAME, *GONE, added(0, time=T0 + 60)), workers=workers(1))
    assert not run(killed_worker, back)
    again = (interrupted()[0], change(interrupted()[1], stopped=None, error=None))
    assert not run(killed_worker, sick(losses=LOST, code=again))


@pytest.mark.parametrize(
    "facts",
    [
        sick(losses=tuple(change(x, reason="memory", process=1, memory_limit=2) for x in LOST)),
        # No interrupt, and their nannies had others soon
        sick(losses=LOST, code=code(CREATE, "work()"), changes=(*CAME, *GONE, added(0, time=T0 + 33))),
        sick(losses=LOST, cluster=cluster(is_in_process=False)),
        sick(losses=tuple(change(x, time=T0 + 21) for x in LOST), changes=()),
    ],
)
def test_workers_that_died_of_something_else_are_told_of(facts):
    if facts.losses[0].time == T0 + 21:  # nine seconds before the interrupt: within what one can bring
        facts = change(facts, code=(facts.code[0], change(facts.code[1], stopped=T0 + 40)))
    assert run(killed_worker, facts)
