"""Persisted for nothing."""

import pytest

from jupyter_dask_doctor.rules.graph.unused_persist import unused_persist
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    code,
    collection,
    computation,
    even,
    group,
    lazy,
    load,
    name,
    run,
    snapshot,
)

KEPT = name("fromgraph", 7)
SOURCES = (
    "raw = load().persist()",
    "raw.x.sum().compute()",
    "a.sum().compute()",
    "b.sum().compute()",
    "d.sum().compute()",
)
RAW = collection(name="raw", group=KEPT, names=(KEPT,), at=at("c1", 1))


def work(i, **changes):
    """The computation of the cell `i`."""
    begin = T0 + 20 * (i - 1)
    facts = {
        "id": f"k{i}",
        "submitted": begin + 1,
        "start": begin + 1,
        "stop": begin + 9,
        "at": at(f"c{i}", i),
    }
    return computation(**facts | changes)


MADE = work(1, method="persist", names=(name("load", 1),), thread_seconds=30.0)
USE, OTHER, MORE, LAST = work(2, reused=(KEPT,)), work(3), work(4), work(5)
GROUPS = (group("load", name=KEPT, computation_id="k1"), group(computation_id="k2", dependencies=(KEPT,)))


def sick(*, is_used=True, **changes):
    """`raw` was used by the cell "c2" at most, and three cells have computed something else since."""
    facts = {
        "collections": (RAW,),
        "computations": (MADE, USE if is_used else change(USE, reused=()), OTHER, MORE, LAST),
        "groups": GROUPS if is_used else GROUPS[:1],
        "code": code(*SOURCES) if is_used else code(SOURCES[0], "c.sum().compute()", *SOURCES[2:]),
        "load": (load(time=T0 + 95),),
    }
    return snapshot(**facts | changes)


def test_never_used_was_made_for_nothing():
    (finding,) = run(unused_persist, sick(is_used=False))
    assert finding.id == "unused-persist:raw"
    assert finding.severity == "warning"
    assert finding.message == (
        "`raw` was persisted (1.6 GiB on the workers, 30 s of work) and nothing has used it since."
    )
    assert finding.at == RAW.at
    assert (finding.loss_seconds, finding.of_seconds) == (30.0, 190.0)


def test_used_once_is_worth_knowing():
    (finding,) = run(unused_persist, sick())
    assert finding.severity == "info"
    assert finding.message == (
        "`raw` was persisted (1.6 GiB on the workers) and used only once by [2]: keeping it saved nothing."
    )
    assert finding.loss_seconds is None


@pytest.mark.parametrize("short", [{"managed": 12 * GiB}, {"spilled": 100 * MiB}])
def test_used_once_is_a_warning_where_memory_was_short(short):
    (finding,) = run(unused_persist, sick(load=(load(time=T0 + 45, **short), load(time=T0 + 95))))
    assert finding.severity == "warning"


def test_never_used_but_cheap_is_worth_knowing():
    cheap = sick(is_used=False)
    cheap = change(cheap, computations=(change(MADE, thread_seconds=0.9), *cheap.computations[1:]))
    (finding,) = run(unused_persist, cheap)
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "changes",
    [
        {
            "computations": (MADE, USE, change(OTHER, reused=(KEPT,)), MORE, LAST, work(6), work(7))
        },  # used well
        {"computations": (MADE, USE, OTHER, MORE)},  # just made
        {"computations": (change(MADE, names=(name("shuffle", 1),)), USE, OTHER, MORE, LAST)},
        {"computations": (change(MADE, layers=(("rechunk-p2p", 20),)), USE, OTHER, MORE, LAST)},
        {"code": (*code(*SOURCES), cell("c6", "raw.y.sum().compute()", None, None, None))},
        {"code": code(*SOURCES[:4], "raw")},  # the last one that ran speaks of it
        {
            "code": code(SOURCES[0], SOURCES[1], "client.gather(raw)", *SOURCES[2:]),
            "computations": (MADE, USE, OTHER, MORE, LAST, work(6)),
        },
        {"code": code("def f():\n    raw = load().persist()\n    return raw", *SOURCES[1:])},
        {"code": code("for i in range(3):\n    raw = step(raw).persist()", *SOURCES[1:])},
        {"code": code("raw = client.get_dataset('raw')", *SOURCES[1:])},
        {"collections": (change(RAW, sizes=even(2, 30 * MiB), nbytes=None),)},
        {"collections": (change(RAW, sizes=even(8, 100 * MiB), nbytes=None),)},  # under 5 %
        {"collections": (change(RAW, sizes=None, nbytes=None),)},
        {"collections": (change(RAW, group=None),)},
        {"collections": (change(RAW, kind="futures"),)},
        {"collections": (lazy(name="raw"),)},
        {"collections": (change(RAW, at=None),)},
    ],
)
def test_is_quiet(changes):
    assert not run(unused_persist, sick(**changes))


def test_is_quiet_while_something_made_from_it_waits_to_be_computed():
    clean = lazy(name="clean", names=(KEPT, name("drop", 1)))
    cells = (*code(*SOURCES), cell("c6", "clean.x.sum().compute()", None, None, None))
    assert not run(unused_persist, sick(collections=(RAW, clean), code=cells))


def test_a_shuffle_that_nothing_uses_was_for_nothing_as_well():
    facts = sick(is_used=False)
    shuffled = change(MADE, names=(name("shuffle", 1),))
    assert run(unused_persist, change(facts, computations=(shuffled, *facts.computations[1:])))


def test_naming_it_once_more_without_a_use_changes_nothing():
    """The twin of `client.gather(raw)` among the quiet ones."""
    cells = code(SOURCES[0], SOURCES[1], "print(raw)", *SOURCES[2:])
    assert run(unused_persist, sick(code=cells, computations=(MADE, USE, OTHER, MORE, LAST, work(6))))


def test_waiting_for_it_is_no_use():
    cells = code("raw = load().persist()\nwait(raw)", "wait(raw)", *SOURCES[2:])
    (finding,) = run(unused_persist, change(sick(is_used=False), code=cells))
    assert "nothing has used it" in finding.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("raw = load().persist()", "raw = load()"),
        ("raw = (\n    load()\n    .persist()\n)", "raw = (\n    load()\n)"),
        ("raw = (a + b).persist()", "raw = (a + b)"),
        ("lazy = load()\nraw = client.persist(lazy)", "lazy = load()\nraw = lazy"),
    ],
)
def test_the_call_goes(before, after):
    facts = sick(code=code(before, *SOURCES[1:]))
    (finding,) = run(unused_persist, facts)
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[0] == after
    assert fix.applicability == "unsafe"
    assert fix.rerun == ("c1",)


def test_is_safe_where_nothing_names_it():
    (finding,) = run(unused_persist, sick(is_used=False))
    assert finding.fixes[0].applicability == "safe"
    assert finding.fixes[0].expect == "1.6 GiB less in memory; it is made when something uses it"


@pytest.mark.parametrize("text", ["raw = load().persist(optimize_graph=False)", "raw, = dask.persist(a, b)"])
def test_offers_nothing_it_cannot_be_sure_of(text):
    found = run(unused_persist, sick(code=code(text, *SOURCES[1:])))
    assert all(not f.fixes for f in found)


def test_estimates_count_as_well():
    rough = change(RAW, sizes=None, nbytes=Size(nbytes=2 * GiB, known="estimated"))
    (finding,) = run(unused_persist, sick(collections=(rough,)))
    assert finding.loss_bytes == 2 * GiB


def test_measures_what_is_kept():
    facts = sick()
    (measure,) = unused_persist.measuring("raw", RAW.at, collections=facts.collections)
    assert measure.value == even().total
    (measure,) = unused_persist.measuring("raw", RAW.at, collections=())
    assert measure.value == 0
