"""`.compute()` where `.optimize().compute()` would send far less."""

import pytest

from jupyter_dask_doctor.rules.graph import unfused_compute
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import (
    T0,
    GiB,
    apply,
    at,
    cell,
    change,
    code,
    collection,
    computation,
    lazy,
    run,
    snapshot,
)

RAN = computation(n_tasks=4_500, fused_tasks=600, stop=T0 + 28.5)


def sick(source="df.x.sum().compute()", line=None, **changes):
    ran = change(RAN, at=at("c2", 2, line), **changes)
    return snapshot(computations=(ran,), code=code("df = load().persist()", source))


def fixed(source, line=None):
    facts = sick(source, line)
    (finding,) = run(unfused_compute, facts)
    (fix,) = finding.fixes
    return apply(fix, facts.code)[1] if fix.edits else None


def test_counts_both_ways():
    (finding,) = run(unfused_compute, sick())
    assert finding.id == "unfused-compute:df"
    assert finding.message == "`df` was computed with 4,500 tasks; fused it is 600."
    assert finding.loss_seconds == pytest.approx((8 - 40 / 8) * 3_900 / 4_500)
    assert finding.fixes[0].applicability == "unsafe"
    assert finding.fixes[0].rerun == ("c2",)


@pytest.mark.parametrize(
    "changes",
    [
        {"fused_tasks": None},
        {"method": "persist"},
        {"method": "submit"},
        {"n_tasks": 1_100},
        {"n_tasks": 480, "fused_tasks": 10},
        {"stop": None},
        {"stop": T0 + 200, "thread_seconds": 179 * 8.0},  # long tasks: threads were busy
        {"stop": T0 + 920.5, "thread_seconds": 0.0},  # 20 s of 900 s
        {"stop": T0 + 21.4},  # too short to lose a second
    ],
)
def test_is_quiet(changes):
    assert not run(unfused_compute, sick(**changes))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("df.x.sum().compute()", "df.x.sum().optimize().compute()"),
        ("(a + b).compute(retries=2)", "(a + b).optimize().compute(retries=2)"),
        ("y = (\n    df.x\n    .sum()\n).compute()", "y = (\n    df.x\n    .sum()\n).optimize().compute()"),
        ("print('🩺'); df.compute()", "print('🩺'); df.optimize().compute()"),
        ("%time df.compute()", "%time df.optimize().compute()"),
        ("%%time\ny = df.compute()", "%%time\ny = df.optimize().compute()"),
        (
            "import dask\nz = dask.compute(1)\ndf.compute()",
            "import dask\nz = dask.compute(1)\ndf.optimize().compute()",
        ),
        ("df.optimize().compute()\ng.compute()", "df.optimize().compute()\ng.optimize().compute()"),
    ],
)
def test_fix_edits_the_one_call(before, after):
    assert fixed(before) == after


def test_fix_takes_the_line_when_there_are_two_calls():
    two = "a = df.x.sum().compute()\nb = df.y.sum().compute()"
    assert fixed(two, line=2) == "a = df.x.sum().compute()\nb = df.y.sum().optimize().compute()"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a = df.x.sum().compute()\nb = df.y.sum().compute()", None),
        ("a = df.x.compute(), df.y.compute()", 1),
        ("len(df)", None),
        ("dask.compute(df.x.sum())", None),
        ("df.x.sum().optimize().compute()", None),
        ("df.compute(", None),
    ],
)
def test_shows_only_when_the_call_is_not_certain(source, line):
    (finding,) = run(unfused_compute, sick(source, line))
    assert finding.fixes[0].applicability == "display-only"


def test_an_array_in_the_same_cell_is_not_touched():
    facts = sick("x.sum().compute()\ndf.x.sum().compute()")
    facts = change(facts, collections=(*facts.collections, collection(name="x", kind="array")))
    (finding,) = run(unfused_compute, facts)
    assert finding.fixes[0].edits[0].line == 2


def test_loss_without_the_work_of_the_threads():
    (finding,) = run(unfused_compute, sick(thread_seconds=None))
    assert finding.loss_seconds == pytest.approx(3_900 * 0.0006)


def test_nothing_is_left_to_find_after_the_fix():
    assert not run(unfused_compute, sick("df.x.sum().optimize().compute()", n_tasks=600))


def test_measures_the_time_and_the_tasks():
    facts = sick()
    measured = unfused_compute.measuring("df", RAN.at, computations=facts.computations, code=facts.code)
    assert [(m.label, m.value) for m in measured] == [("computing", 8.0), ("tasks", 4_500)]


LAZY = lazy(n_tasks=4_500, fused_tasks=600, npartitions=300)


def planned(text="df.compute()", **changes):
    """`df` is about to be computed."""
    cells = (*code("df = load()"), cell("c2", text, None, None, None))
    return snapshot(**{"computations": (), "collections": (change(LAZY, **changes),), "code": cells})


def test_speaks_before_it_runs():
    facts = planned()
    (finding,) = run(unfused_compute, facts)
    assert finding.id == "unfused-compute:df"
    assert finding.severity == "warning"
    assert finding.message == "`df` would be computed with 4,500 tasks; fused it is 600."
    assert all(e.is_estimated for e in finding.evidence)
    assert apply(finding.fixes[0], facts.code)[1] == "df.optimize().compute()"


def test_is_worth_knowing_where_the_work_is_not_known():
    (finding,) = run(unfused_compute, planned(nbytes=None, reads=()))
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "df.persist()"},
        {"text": "df.x.sum().compute()"},  # what is sent is not known
        {"n_tasks": None},
        {"fused_tasks": None},
        {"fused_tasks": 2_300},
        {"n_tasks": 2_200},  # 0.96 s
        {"n_tasks": 480, "fused_tasks": 10},
        {"nbytes": Size(nbytes=200 * GiB, known="estimated")},
    ],
)
def test_is_quiet_before(changes):
    assert not run(unfused_compute, planned(**changes))
