"""Tasks that are over before they are worth sending."""

import pytest

from jupyter_dask_doctor.rules.scheduling import tiny_tasks
from tests.healthy import apply, at, change, code, collection, computation, group, run, snapshot

RAN = computation(
    n_tasks=6_000, thread_seconds=6.0, layers=(("parse", 6_000),), start=21 + 1.7e9, submitted=20.5 + 1.7e9
)
TINY = group("parse", n_tasks=6_000, compute_seconds=6.0, sizes=None)
MAP = "lines = read()\nprint(len(client.gather(client.map(parse, lines))))  # all"


def sick(**changes):
    facts = {
        "computations": (RAN,),
        "groups": (TINY,),
        "code": code("df = load()", MAP),
        "collections": (),
    }
    return snapshot(**facts | changes)


def test_names_the_tasks_and_what_they_cost():
    (finding,) = run(tiny_tasks, sick())
    assert finding.id == "tiny-tasks:parse"
    assert finding.severity == "warning"
    assert finding.message == "6,000 tasks `parse` took 1 ms each: sending them cost about 6 s of 7.5 s."
    assert finding.loss_seconds == pytest.approx(6.0)
    assert finding.at == at("c2", 2)


def test_tasks_of_microseconds_are_not_told_as_nothing():
    (finding,) = run(tiny_tasks, sick(groups=(change(TINY, compute_seconds=0.3),)))
    assert "`parse` took less than 1 ms each" in finding.message


def test_loss_is_never_more_than_what_the_work_alone_leaves():
    (finding,) = run(tiny_tasks, sick(computations=(change(RAN, thread_seconds=24.0),)))
    assert finding.loss_seconds == pytest.approx(7.5 - 3.0)


def test_fix_sends_batches_and_puts_the_results_together():
    facts = sick()
    (fix,) = run(tiny_tasks, facts)[0].fixes
    _, text = apply(fix, facts.code)
    assert text == (
        "lines = read()\n"
        "from toolz import partition_all\n\n"
        "batches = list(partition_all(100, lines))\n"
        "print(len([\n"
        "    result\n"
        "    for batch in client.gather(client.map(lambda batch: [parse(x) for x in batch], batches))\n"
        "    for result in batch\n"
        "]))  # all"
    )
    assert fix.rerun == ("c2",)


def test_the_batched_code_gives_the_same_list():
    facts = sick()
    (fix,) = run(tiny_tasks, facts)[0].fixes

    class Client:
        def map(self, function, items):
            return [function(x) for x in items]

        def gather(self, futures):
            return futures

    made = fix.edits[0].new.removeprefix("from toolz import partition_all\n\n")
    seen = []
    scope = {
        "client": Client(),
        "parse": lambda x: x * 2,
        "lines": list(range(250)),
        "partition_all": lambda n, items: (items[i : i + n] for i in range(0, len(items), n)),
        "print": seen.append,
    }
    exec(made, scope)
    assert seen == [250]


def test_fix_of_a_collection_makes_fewer_partitions():
    many = collection(name="x", kind="bag", npartitions=6_000, sizes=None, is_persisted=False, group=None,
                      names=("bag-1",), nbytes=None, largest=None)  # fmt: skip
    facts = sick(collections=(many,), code=code("x = load()", "x.map(parse).sum().compute()"))
    (fix,) = run(tiny_tasks, facts)[0].fixes
    assert "x = x.repartition(npartitions=60)" in "\n".join(apply(fix, facts.code))


def test_advice_where_the_cell_is_not_known():
    (finding,) = run(tiny_tasks, sick(code=(), computations=(change(RAN, at=None),)))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert "partition_all(100, items)" in fix.code


@pytest.mark.parametrize(
    "fact",
    [
        {"groups": (change(TINY, n_tasks=999, compute_seconds=1.0),)},
        {"groups": (change(TINY, compute_seconds=60.0),)},  # 10 ms each
        {"groups": (change(TINY, compute_seconds=None),)},
        {"groups": (change(TINY, compute_seconds=-1.0),)},
        {"groups": (change(TINY, n_tasks=0),)},
        {"computations": (change(RAN, thread_seconds=30.0),)},  # half of the time: busy all the same
        {"computations": (change(RAN, thread_seconds=None),)},
        {"computations": (change(RAN, stop=None, is_done=False),)},
        {"computations": (change(RAN, nthreads=0),)},
        {"computations": (change(RAN, stop=RAN.start - 5),)},  # a clock that was set back
        {"computations": (RAN, computation(id="k2", at=at("c1", 1), start=RAN.start, stop=RAN.stop))},
        {"groups": ()},
    ],
)
def test_is_quiet(fact):
    assert not run(tiny_tasks, sick(**fact))


@pytest.mark.parametrize(
    "limits", [{"tasks": 6_001}, {"task_seconds": 0.001}, {"least_seconds": 6.1}, {"stake": 0.9}]
)
def test_is_quiet_just_below_each_gate(limits):
    assert not run(tiny_tasks, sick(), **limits)


def test_is_quiet_of_an_earlier_run_of_the_cell():
    first, second = sick().code
    later = change(second, execution_count=3, started=second.started + 60, stopped=second.stopped + 60)
    assert not run(tiny_tasks, sick(code=(first, later)))


def test_hostile_names_stay_names():
    name = "`<img src=x onerror=alert(1)>`" + "x" * 500
    (finding,) = run(tiny_tasks, sick(groups=(change(TINY, prefix=name),)))
    assert finding.message.count("`") == 2
    assert len(finding.message) < 250


def test_measures_the_time_and_the_tasks():
    facts = sick()
    measured = tiny_tasks.measuring(
        "parse",
        RAN.at,
        computations=facts.computations,
        groups=facts.groups,
        code=facts.code,
        load=facts.load,
    )
    assert [(m.label, m.value) for m in measured] == [("time of its tasks", 7.5), ("tasks", 6_000)]
