"""Results that nothing uses any more."""

import gc

import pytest

from jupyter_dask_doctor.rules.memory import held_results
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    cluster,
    code,
    collection,
    computation,
    group,
    kernel,
    load,
    name,
    run,
    snapshot,
)

RAW = name("raw")
CELLS = code("raw = load().persist()", "clean = raw[raw.ok].persist()", "a()", "b()", "c()")
FULL = (load(time=T0 + 60, managed=8 * GiB, unmanaged=2 * GiB),)


def raw(nbytes=6 * GiB, **changes):
    facts = {
        "name": "raw", "group": RAW, "names": (RAW,), "nbytes": Size(nbytes=nbytes, known="exact"), "sizes": None,
        "at": at("c1"),
    }  # fmt: skip
    return collection(**facts | changes)


def ran(i, **changes):
    """What the cell number `i` computed."""
    start = T0 + 20 * (i - 1) + 1
    facts = {"id": f"k{i}", "submitted": start, "start": start, "stop": start + 5, "at": at(f"c{i}", i)}
    return computation(**facts | changes)


def facts(*held, **changes):
    """6 of 16 GiB are kept by `raw`, which the cells 3, 4 and 5 did not use; 10 of 16 GiB are in use."""
    given = {
        "collections": held or (raw(),),
        "code": CELLS,
        "computations": (ran(1), ran(2, reused=(RAW,)), ran(3), ran(4), ran(5)),
        "groups": (group("raw", name=RAW, computation_id="k1"),),
        "load": FULL,
    }
    return snapshot(**given | changes)


def test_names_the_variable_and_how_long_it_was_not_used():
    (finding,) = run(held_results, facts())
    assert finding.id == "held-results:raw"
    assert finding.severity == "warning"
    assert finding.message == (
        "`raw` keeps 6 GiB on the workers, 38 % of their memory, and the last 3 cells that computed something "
        "did not use it."
    )
    assert finding.at == at("c1")
    assert finding.loss_bytes == 6 * GiB


def test_is_worth_knowing_while_there_is_room():
    (finding,) = run(held_results, facts(load=(load(time=T0 + 60, managed=7 * GiB, unmanaged=GiB),)))
    assert finding.severity == "info"
    before = change(FULL[0], time=T0 + 20)  # it was still needed then
    (finding,) = run(held_results, facts(load=(before,)))
    assert finding.severity == "info"


def test_writing_to_disk_tells_that_room_is_wanted():
    (finding,) = run(held_results, facts(load=(load(time=T0 + 60, spilled=GiB),)))
    assert finding.severity == "warning"
    assert {e.label: e.value for e in finding.evidence}["written to disk"] == GiB


def test_several_are_told_of_together():
    some = (raw(3 * GiB), raw(2 * GiB, name="old", group="old", names=("old",)))
    (finding,) = run(held_results, facts(*some))
    assert finding.message.startswith("`raw` (with 1 other) keeps 5 GiB on the workers, 31 % of their memory")
    assert finding.fixes[0].code == "del raw, old"


def reads(i):
    return tuple(ran(n, reused=(RAW,)) if n == i else ran(n) for n in range(1, 6))


@pytest.mark.parametrize(
    "given",
    [
        snapshot(),
        facts(raw(int(4.7 * GiB))),  # under 30 %
        facts(raw(50 * MiB), cluster=cluster(memory_limit=100 * MiB)),
        facts(computations=(ran(1), ran(2), ran(3), ran(4))),  # two cells
        facts(computations=(ran(1), ran(2), *[ran(3, id=f"k{i}") for i in range(9)])),  # one cell, many times
        facts(computations=reads(4)),
        facts(computations=reads(5)),
        facts(computations=(ran(1), ran(2), ran(3), ran(4, names=(RAW,)), ran(5))),
        facts(groups=(group(name="x", computation_id="k5", dependencies=(RAW,)),)),
        facts(code=(*CELLS, cell("c6", "raw.sum().compute()", None, None, None))),  # about to be used
        facts(code=(*CELLS[:3], change(CELLS[3], source="len(raw)"), CELLS[4])),
        facts(raw(held_by=("view",)), code=(*CELLS[:4], change(CELLS[4], source="view.compute()"))),
        facts(code=(*CELLS[:4], change(CELLS[4], source="raw.sum()", stopped=None))),
        facts(raw(is_persisted=False)),
        facts(raw(nbytes=-6 * GiB)),
        facts(change(raw(), nbytes=None)),
        facts(cluster=cluster(memory_limit=0), load=()),
        facts(cluster=cluster(memory_limit=None, is_in_process=False), load=()),
        facts(code=(), groups=(), computations=(ran(3), ran(4), ran(5))),  # nobody knows where it comes from
    ],
)
def test_is_quiet(given):
    assert not run(held_results, given)


def test_the_machine_is_the_limit_where_workers_have_none():
    given = facts(raw(12 * GiB), cluster=cluster(memory_limit=None), kernel=kernel(memory_total=32 * GiB))
    assert run(held_results, given)


def test_outputs_keep_results_too():
    shown = raw(name="Out[2]", held_by=("_",), at=at("c2", 2))
    cells = code("raw = load()", "raw.persist()", "a()", "b()", "c()")
    (finding,) = run(held_results, facts(shown, code=cells))
    assert finding.subject == "Out[2]"
    (fix,) = finding.fixes
    assert apply(fix, cells)[2] == "%xdel _2"
    using = (*cells[:4], change(cells[4], source="Out[2].sum().compute()"))
    assert not run(held_results, facts(shown, code=using))
    assert not run(held_results, facts(shown, code=(*cells[:4], change(cells[4], source="_2.sum()"))))


def test_what_else_keeps_it_is_named_and_let_go():
    (finding,) = run(held_results, facts(raw(held_by=("view", "Out[1]", "_"))))
    assert finding.evidence[-1].value == "`view`, `Out[1]`, `_`"
    assert finding.fixes[0].code == "%xdel raw\n%xdel view\n%xdel _1"
    assert finding.fixes[0].applicability == "unsafe"


def test_fix_goes_below_the_last_cell_that_names_it():
    given = facts()
    (fix,) = run(held_results, given)[0].fixes
    assert apply(fix, given.code)[2] == "del raw"
    assert fix.expect == "6 GiB free on the workers"
    # It still speaks while the new cell waits to be run
    waiting = (*given.code[:2], cell("new", "del raw", None, None, None), *given.code[2:])
    assert run(held_results, facts(code=waiting))


def test_hostile_names_are_not_written_into_code():
    (finding,) = run(held_results, facts(raw(name="<b>`x`")))
    assert "`<b>'x'`" in finding.message
    assert not finding.fixes


def test_measures_what_is_kept():
    (measured,) = held_results.measuring("raw", at("c1"), collections=(raw(),))
    assert measured.value == 6 * GiB
    (measured,) = held_results.measuring("raw", at("c1"), collections=())
    assert measured.value == 0


def test_a_worker_that_is_restarted_counts_on():
    assert not run(held_results, facts(raw(4 * GiB), cluster=cluster(memory_limit=8 * GiB)))


def test_the_fix_lets_go_of_everything_in_a_real_shell():
    """`del x` alone leaves `Out[n]`, `_` and the like."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactiveshell.InteractiveShell()
    try:
        for source in (
            "import weakref\nclass Held: pass\nraw = Held()\nalive = weakref.ref(raw)",
            "raw",
            "None",
            "3",
        ):
            shell.run_cell(source, store_history=True)
        (finding,) = run(held_results, facts(raw(held_by=("Out[2]", "__"))))
        shell.run_cell(finding.fixes[0].code, store_history=True)
        gc.collect()
        assert shell.user_ns["alive"]() is None
    finally:
        shell.history_manager.end_session()
