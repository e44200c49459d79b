"""Outcomes, order, one voice per cause."""

import dataclasses

import pytest

from jupyter_dask_doctor import runner
from jupyter_dask_doctor.config import Settings
from jupyter_dask_doctor.report import Fix, Report
from jupyter_dask_doctor.rules import RULES
from jupyter_dask_doctor.snapshot import Gap, Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    failure,
    group,
    load,
    loss,
    samples,
    sizes,
    skewed,
    snapshot,
    worker,
    workers,
)

ORDERS = collection(name="orders", sizes=skewed())
RAN = computation(reused=(ORDERS.group,), thread_seconds=16.0)
SKEWED = {
    "collections": (ORDERS,),
    "groups": (group(dependencies=(ORDERS.group,), compute_seconds=16.0),),
    "computations": (RAN,),
    "code": code("orders = load().persist()", "orders.x.sum().compute()"),
}


def outcomes(report):
    return {check.rule: check.outcome for check in report.checks}


def test_healthy_work_has_no_finding():
    report = runner.examine(snapshot())
    assert isinstance(report, Report)
    assert report.findings == ()
    assert set(outcomes(report)) == set(RULES)
    assert set(outcomes(report).values()) == {"passed", "inapplicable"}
    assert outcomes(report)["partition-skew"] == "passed"
    assert outcomes(report)["killed-worker"] == "inapplicable"


def test_a_gap_is_incomplete_with_its_reason_for_the_rules_that_need_it():
    report = runner.examine(snapshot(groups=Gap(reason="The cluster refuses our plugin.")))
    checks = {c.rule: c for c in report.checks}
    assert checks["partition-skew"].outcome == "incomplete"
    assert checks["partition-skew"].reason == "The cluster refuses our plugin."
    assert checks["oversized-partitions"].outcome == "passed"


def test_a_gap_in_what_a_rule_can_do_without_leaves_only_the_fix_out():
    report = runner.examine(snapshot(**SKEWED | {"code": Gap(reason="no notebook")}))
    (finding,) = [f for f in report.findings if f.rule == "partition-skew"]
    assert all(fix.applicability == "display-only" for fix in finding.fixes)


def test_all_gaps():
    gap = Gap(reason="lost")
    names = [f.name for f in dataclasses.fields(snapshot()) if f.name not in ("time", "notes")]
    report = runner.examine(snapshot(**dict.fromkeys(names, gap)))
    assert set(outcomes(report).values()) == {"incomplete"}


@pytest.mark.filterwarnings("ignore")
def test_a_fault_of_a_rule_is_its_outcome_and_the_others_go_on(monkeypatch):
    def broken(**given):
        raise ZeroDivisionError("a fault")
        yield

    monkeypatch.setitem(RULES, "large-graph", dataclasses.replace(RULES["large-graph"], judge=broken))
    report = runner.examine(snapshot(**SKEWED))
    checks = {c.rule: c for c in report.checks}
    assert checks["large-graph"].outcome == "error"
    assert checks["large-graph"].reason == "ZeroDivisionError: a fault"
    assert checks["partition-skew"].outcome == "found"


def test_ignored_rules_are_not_checked():
    report = runner.examine(snapshot(**SKEWED), settings=Settings(ignore=frozenset({"partition-skew"})))
    assert "partition-skew" not in outcomes(report)
    assert not report.findings


def test_limits_of_the_settings_hold():
    limits = {"partition-skew": dataclasses.replace(RULES["partition-skew"].thresholds, ratio=50.0)}
    assert not runner.examine(snapshot(**SKEWED), settings=Settings(limits=limits)).findings


def test_notes_of_gathering_and_settings_are_passed_on():
    report = runner.examine(snapshot(notes=("cut",)), settings=Settings(notes=("wrong",)))
    assert report.notes == ("cut", "wrong")


def test_worst_first():
    lost = loss(at=at("c9", 9), time=T0 + 1)
    report = runner.examine(snapshot(**SKEWED | {"losses": (lost,)}))
    assert [f.rule for f in report.findings] == ["killed-worker", "partition-skew"]


def test_findings_carry_measures_with_the_rules_own_first():
    report = runner.examine(snapshot(**SKEWED))
    assert [m.label for m in report.findings[0].measures] == [
        "largest partition",
        "cell",
        "peak memory",
        "peak memory of a worker",
    ]


def test_one_cause_one_finding_memory_pressure_by_skew():
    strained = worker(samples=samples(*[0.85] * 5, start=RAN.start), prefixes_at_peak=("sum-chunk",))
    report = runner.examine(snapshot(**SKEWED | {"workers": (strained, *workers(3))}))
    (finding,) = report.findings
    assert finding.rule == "partition-skew"
    labels = [e.label for e in finding.evidence]
    assert "paused, all workers" in labels
    assert len(labels) == len(set(labels))
    assert "1 of 4 workers came to 85 %" in finding.why
    assert len(finding.charts) == 2
    assert outcomes(report)["worker-memory-pressure"] == "found"


def test_one_cause_one_finding_a_worker_killed_by_skew():
    report = runner.examine(snapshot(**SKEWED | {"losses": (loss(),), "failures": (failure(),)}))
    (finding,) = report.findings
    assert finding.rule == "killed-worker"
    assert "largest partition" in [e.label for e in finding.evidence]
    assert "Partition 17 of `orders`" in finding.why
    assert [f.applicability for f in finding.fixes] == ["unsafe", "display-only"]


def test_oversized_yields_to_skew_of_the_same_variable_only():
    big = collection(name="big", sizes=sizes(*[1500 * MiB] * 4), group="big-group", names=("big-group",))
    report = runner.examine(snapshot(**SKEWED | {"collections": (ORDERS, big)}))
    assert {(f.rule, f.subject) for f in report.findings} == {
        ("partition-skew", "orders"),
        ("oversized-partitions", "big"),
    }


def test_different_cells_are_different_causes():
    elsewhere = loss(at=at("c1", 1), time=T0 + 5)
    report = runner.examine(snapshot(**SKEWED | {"losses": (elsewhere,)}))
    assert {f.rule for f in report.findings} == {"killed-worker", "partition-skew"}


def tiny(**changes):
    """40 MB in all, on workers of 64 MiB, in a second."""
    quick = {"submitted": T0 + 20.5, "start": T0 + 20.5, "peak_memory": 700 * MiB}
    little = sizes(*[1 * MiB] * 10, 20 * MiB)
    small = collection(
        name="orders", sizes=little, nbytes=Size(nbytes=30 * MiB, known="exact"),
        largest=Size(nbytes=20 * MiB, known="exact"),
    )  # fmt: skip
    facts = {
        "collections": (small,),
        "groups": (),
        "computations": (computation(**quick, stop=T0 + 21.5),),
        "workers": workers(memory_limit=64 * MiB),
        "load": (load(managed=30 * MiB),),
    }
    return snapshot(**facts | changes)


def test_a_teaching_example_gets_at_most_info():
    report = runner.examine(tiny())
    assert report.findings
    assert {f.severity for f in report.findings} == {"info"}
    longer = change(tiny().computations[0], stop=T0 + 24.5)
    assert {f.severity for f in runner.examine(tiny(computations=(longer,))).findings} > {"info"}


def test_a_hang_is_no_matter_of_size():
    sick = tiny(cluster=cluster(python=(3, 11)), code=code("orders.repartition(partition_size='1MB')"))
    worst = runner.examine(sick).findings[0]
    assert (worst.rule, worst.severity) == ("partition-size-deadlock", "critical")


def test_at_most_64_findings():
    many = tuple(
        collection(name=f"df{i:03}", sizes=skewed(), group=f"g-{i}", names=(f"g-{i}",)) for i in range(100)
    )
    report = runner.examine(snapshot(collections=many))
    assert len(report.findings) == 64
    assert "lesser findings were left out" in report.notes[-1]


def test_ids_hold_no_measured_value():
    first = runner.examine(snapshot(**SKEWED)).findings
    other = change(ORDERS, sizes=skewed(at=3, largest=3 * GiB))
    second = runner.examine(snapshot(**SKEWED | {"collections": (other,)})).findings
    assert [f.id for f in first] == [f.id for f in second] == ["partition-skew:orders"]


def test_explain_gives_the_manual():
    assert runner.explain("partition-skew").startswith("# partition-skew\n")
    with pytest.raises(KeyError):
        runner.explain("no-such-rule")


def test_catalogue_lists_every_rule():
    assert [row[0] for row in runner.catalogue()] == list(RULES)


def test_what_a_symptom_offers_does_not_travel_to_its_cause():
    advice = Fix(title="t", applicability="display-only", edits=(), code="x", expect="e")

    def said(rule):
        return RULES[rule].finding(
            severity="warning",
            subject="s",
            message="m.",
            why="w.",
            evidence=(),
            at=at("c2", 2),
            fixes=(advice,),
        )

    def joined(rule):
        cause = change(said("partition-skew"), fixes=())
        (one,) = runner._one_voice_per_cause([said(rule), cause])
        return one.fixes

    assert RULES["idle-workers"].yields_to["partition-skew"] == "cell"
    assert joined("idle-workers") == ()
    assert joined("worker-memory-pressure") == (advice,)
