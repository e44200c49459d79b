from dataclasses import replace

from jupyter_dask_doctor.render.text import WIDTH, text
from jupyter_dask_doctor.report import (
    Check,
    Detail,
    Edit,
    Evidence,
    Finding,
    Fix,
    Measure,
    Report,
    Treated,
)
from jupyter_dask_doctor.snapshot import Location

FIX = Fix(
    title="Cut `orders` into even partitions",
    applicability="unsafe",
    edits=(Edit(kind="below", cell_id="c7", new="orders = orders.repartition(npartitions=40)"),),
    code="orders = orders.repartition(npartitions=40)",
    expect="largest partition 1.9 GiB → about 100 MiB, +18 tasks",
)
SKEW = Finding(
    id="partition-skew:orders",
    rule="partition-skew",
    title="Partitions differ widely in size",
    severity="warning",
    message="Partition 17 of `orders` holds 23× the median: 1.9 GiB, median 84 MiB",
    why="One thread works on it while the others wait.",
    subject="orders",
    evidence=(
        Evidence(label="largest / median", value=23.2, unit="ratio", limit=4.0),
        Evidence(label="largest partition", value=2040109465, unit="bytes", is_estimated=True),
    ),
    at=Location(cell_id="c7", execution_count=7, line=3),
    fixes=(FIX,),
    loss_seconds=31.0,
    of_seconds=52.0,
)
PASSED = Check(rule="large-graph", title="The graph is large", outcome="passed")
REPORT = Report(version="0.1.0", time=0.0, findings=(SKEW,), checks=(PASSED,))


def test_a_finding_says_what_was_measured_and_what_to_do() -> None:
    said = text(REPORT)
    assert said.startswith("Dask Doctor: 1 warning · ≈ 31 s of 52 s lost\n")
    assert "1. warning: Partition 17 of `orders` holds 23× the median: 1.9 GiB, median 84 MiB\n" in said
    assert "cell [7], line 3 · costs ≈ 31 s of 52 s · %dask_doctor explain partition-skew\n" in said
    assert "     largest / median   23×        limit 4×\n" in said
    assert "     largest partition  ≈ 1.9 GiB\n" in said
    assert "Fix: Cut `orders` into even partitions (needs review, a new cell below [7])\n" in said
    assert "        | orders = orders.repartition(npartitions=40)\n" in said


def test_findings_keep_the_order_of_the_report() -> None:
    worse = replace(SKEW, id="killed-worker:w", severity="critical", message="Worker w was killed")
    said = text(replace(REPORT, findings=(worse, SKEW)))
    assert said.startswith("Dask Doctor: 1 critical, 1 warning")
    assert said.index("1. critical: Worker w was killed") < said.index("2. warning: Partition 17")


def test_findings_of_one_cell_cost_no_more_than_it_took() -> None:
    twin = replace(SKEW, id="x:y", loss_seconds=40.0)
    other = replace(twin, id="x:z", at=Location(cell_id="c9", execution_count=9), of_seconds=100.0)
    assert "≈ 52 s of 52 s lost" in text(replace(REPORT, findings=(SKEW, twin)))
    assert "≈ 92 s of 2 min 32 s lost" in text(replace(REPORT, findings=(SKEW, twin, other)))


def test_healthy_work_is_said_to_be_healthy() -> None:
    said = text(replace(REPORT, findings=()))
    assert said == "Dask Doctor: nothing wrong, 1 check ran\n\n1 check: 1 passed\n"


def test_what_is_past_is_not_called_healthy() -> None:
    said = text(replace(REPORT, findings=(), is_past=True))
    assert said.startswith("Dask Doctor: seen last: nothing was found, 1 check had run\n")
    assert "nothing wrong" not in said
    assert text(replace(REPORT, is_past=True)).startswith("Dask Doctor: seen last: 1 warning")


def test_longer_texts_keep_their_lines() -> None:
    stack = Detail(title="Call stack of `work`", text='  File "a.py", line 7\n    sleep()\x1b[31m\n')
    said = text(replace(REPORT, findings=(replace(SKEW, details=(stack,)),)))
    assert '   Call stack of `work`\n     :   File "a.py", line 7\n     :     sleep() [31m\n' in said
    huge = Detail(title="x" * 10_000_000, text="y" * 10_000_000)
    assert len(text(replace(REPORT, findings=(replace(SKEW, details=(huge,) * 100),)))) < 50_000


def test_a_note_is_not_counted_in_the_verdict() -> None:
    note = replace(SKEW, severity="info")
    assert text(replace(REPORT, findings=(note,))).startswith(
        "Dask Doctor: nothing wrong, 1 check ran · 1 note\n"
    )


def test_nothing_examined_is_not_called_healthy() -> None:
    assert text(replace(REPORT, findings=(), checks=())) == "Dask Doctor: nothing to judge yet\n"
    gap = replace(PASSED, outcome="incomplete", reason="the scheduler refuses pickles")
    said = text(replace(REPORT, findings=(), checks=(gap,)))
    assert "nothing wrong" not in said
    assert "Not checked: large-graph: the scheduler refuses pickles\n" in said


def test_what_became_of_a_treated_finding() -> None:
    treated = Treated(
        finding_id=SKEW.id,
        rule=SKEW.rule,
        subject=SKEW.subject,
        message=SKEW.message,
        status="no-change",
        before=(Measure(label="run time", value=52, unit="seconds"),),
        after=(Measure(label="run time", value=51, unit="seconds"),),
        noise=0.04,
    )
    said = " ".join(text(replace(REPORT, findings=(), treated=(treated,))).split())
    assert "Ran again, no change: Partition 17" in said
    assert "run time 52 s → 51 s; earlier runs differed by 4 %" in said


def test_a_hostile_name_neither_moves_the_cursor_nor_breaks_the_layout() -> None:
    name = "x\x1b[2J\r\n\x07\u202egnp.exe\u2028" + "wide " * 1000
    evil = replace(
        SKEW,
        message=name,
        why=name,
        rule=name,
        evidence=(Evidence(label=name, value=name, unit="text"),),
        fixes=(replace(FIX, title=name, expect=name, code="a = 1\x1b[31m\n\tb = 2\u202e"),),
    )
    bad = replace(PASSED, outcome="error", rule=name, reason=name)
    said = text(replace(REPORT, findings=(evil,), checks=(bad,), notes=(name,)))
    assert not set(said) & set("\x1b\r\x07\u202e\u2028")
    assert "        | a = 1 [31m\n        | \tb = 2\n" in said
    assert max(map(len, said.splitlines())) <= WIDTH
    assert len(said) < 10_000


def test_ten_megabytes_are_cut() -> None:
    evil = replace(SKEW, message="x" * 10_000_000, fixes=(replace(FIX, code="y" * 10_000_000),))
    said = text(replace(REPORT, findings=(evil,)))
    assert len(said) < 30_000
    assert "9,980,000 more characters" in said
