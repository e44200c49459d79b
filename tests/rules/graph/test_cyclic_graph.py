"""Tasks wait for each other in a ring."""

import pytest

from jupyter_dask_doctor.rules.graph import cyclic_graph
from tests.healthy import T0, at, cell, code, lazy, run, snapshot

WRITES = 'graph = {\n    "load": (read, "clean"),\n    "clean": (tidy, "load"),\n}'
GETS = 'client.get(graph, "clean")'
TEXT = "Cycle detected between the following keys:\n  -> clean\n  -> load\n  -> clean\n"
RING = ("clean", "load", "clean")


def failed(text=TEXT, error="RuntimeError", source=GETS):
    return cell("c2", source, 2, T0 + 20, T0 + 21, has_failed=True, error=error, error_text=text)


def ringed(**changes):
    facts = {"name": "report", "kind": "delayed", "cycle": RING, "at": at("c1", 1)}
    return lazy(**facts | changes)


def facts(c=None, *cells):
    return snapshot(
        collections=(c,) if c is not None else (), computations=(), groups=(),
        code=cells or code(WRITES, "report.compute()"),
    )  # fmt: skip


def test_speaks_before_anything_runs():
    (finding,) = run(cyclic_graph, facts(ringed()))
    assert finding.id == "cyclic-graph:report"
    assert finding.severity == "critical"
    assert finding.at == at("c1", 1)
    assert finding.message == (
        "`report` has tasks that wait for each other in a ring (`clean` → `load` → `clean`): it can never run."
    )
    assert not cyclic_graph.has_stake


def test_tells_where_each_task_is_written():
    (finding,) = run(cyclic_graph, facts(ringed()))
    (detail,) = finding.details
    assert detail.text.splitlines() == [
        'clean needs load    [1] line 3: "clean": (tidy, "load"),',
        'load needs clean    [1] line 2: "load": (read, "clean"),',
    ]
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert all(line.startswith("# ") for line in fix.code.splitlines())


def test_the_cell_that_failed_is_named():
    (finding,) = run(cyclic_graph, facts(ringed(), code(WRITES)[0], failed(source="report.compute()")))
    assert finding.id == "cyclic-graph:report"
    assert finding.at == at("c1", 1)
    assert finding.message.endswith("it cannot run, and [2] failed.")


def test_a_misleading_error_is_told_by_the_graph():
    lost = failed(
        "clean cancelled for reason: lost dependencies.", "FutureCancelledError", "report.compute()"
    )
    (finding,) = run(cyclic_graph, facts(ringed(), code(WRITES)[0], lost))
    assert "in a ring" in finding.message
    assert ("ended in", "FutureCancelledError") in [(e.label, e.value) for e in finding.evidence]


def test_a_graph_that_no_collection_holds_is_told_from_the_error():
    (finding,) = run(cyclic_graph, facts(None, code(WRITES)[0], failed()))
    assert finding.id == "cyclic-graph:clean"
    assert finding.at == at("c2", 2)
    assert finding.message.startswith(
        "A graph has tasks that wait for each other in a ring (`clean` → `load`"
    )
    assert "[1] line 2" in finding.details[0].text


def test_a_long_ring_is_cut_in_the_sentence_and_whole_in_the_details():
    ring = tuple(f"step{i}" for i in range(40))
    (finding,) = run(cyclic_graph, facts(ringed(cycle=(*ring, ring[0]))))
    assert "`step4` → … → `step0`" in finding.message
    assert len(finding.details[0].text.splitlines()) == 40


def test_keys_that_are_tuples_are_found_in_the_text():
    text = 'graph = {("x", 0): (f, ("x", 1)), ("x", 1): (f, ("x", 0))}'
    c = ringed(cycle=("('x', 0)", "('x', 1)", "('x', 0)"))
    (finding,) = run(cyclic_graph, facts(c, *code(text)))
    assert "[1] line 1" in finding.details[0].text


def test_one_ring_is_told_once():
    other = ringed(name="again", cycle=("load", "clean", "load"))
    given = snapshot(
        collections=(ringed(), other), code=(code(WRITES)[0], failed()), computations=(), groups=()
    )
    (finding,) = run(cyclic_graph, given)
    assert finding.subject == "report"


@pytest.mark.parametrize(
    "one",
    [
        failed("other trouble"),
        failed(""),
        failed("-> a\n-> b\n"),
        cell("c2", GETS, 2, T0 + 20, T0 + 21, error_text=TEXT),  # it printed that, and went on
        cell("c2", GETS, 2, T0 + 20, None),
    ],
)
def test_is_quiet_of_other_errors(one):
    assert not run(cyclic_graph, facts(None, code(WRITES)[0], one))


def test_is_quiet_about_graphs_without_a_ring():
    assert not run(cyclic_graph, facts(lazy(kind="delayed")))
    assert not run(cyclic_graph, snapshot())


def test_a_failure_before_the_variable_was_bound_is_not_its_own():
    cells = (cell("c1", WRITES, 3, T0 + 60, T0 + 61), failed("KeyError", "KeyError", "report.compute()"))
    (finding,) = run(cyclic_graph, facts(ringed(at=at("c1", 3)), *cells))
    assert "failed" not in finding.message


def test_hostile_keys_stay_text():
    keys = ("<img src=x onerror=alert(1)>`", "b\n\n# " * 300)
    (finding,) = run(cyclic_graph, facts(ringed(cycle=(*keys, keys[0]))))
    assert "`<img src=x onerror=alert(1)>'`" in finding.message
    assert len(finding.message) < 500
    assert all(line.startswith("# ") for line in finding.fixes[0].code.splitlines())
