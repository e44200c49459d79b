"""Workers that died."""

import pytest

from jupyter_dask_doctor.rules.memory import killed_worker
from tests.healthy import (
    GiB,
    MiB,
    apply,
    change,
    code,
    collection,
    computation,
    failure,
    group,
    load,
    loss,
    run,
    sizes,
    skewed,
    snapshot,
    workers,
)


def sick(**changes):
    return snapshot(**{"losses": (loss(),)} | changes)


def test_names_what_ran_and_how_full_it_was():
    (finding,) = run(killed_worker, sick())
    assert finding.id == "killed-worker:merge"
    assert finding.severity == "critical"
    assert finding.message == "1 worker was killed while it ran `merge`: out of memory, 3.9 GiB of 4 GiB."


def test_tells_of_the_failure_and_the_size_of_the_output():
    merged = group("merge", sizes=sizes(*[1500 * MiB] * 3))
    losses = (loss(), loss(time=loss().time + 1, address="b"))
    (finding,) = run(killed_worker, sick(losses=losses, failures=(failure(),), groups=(merged,)))
    assert finding.message.startswith("2 workers were killed while they ran `merge`: out of memory")
    assert finding.message.endswith("; the computation failed with KilledWorker.")
    assert "up to 1.5 GiB" in finding.why


def test_the_prefix_that_most_of_them_ran():
    losses = (loss(prefixes=("read", "merge")), loss(address="b", prefixes=("merge", "sum")))
    (finding,) = run(killed_worker, sick(losses=losses))
    assert finding.subject == "merge"
    assert finding.evidence[0].value == 2


@pytest.mark.parametrize(
    ("losses", "failures", "severity"),
    [
        ((loss(reason="unexpected", process=None),), (), "warning"),
        ((loss(reason="unexpected"), loss(reason="unexpected", address="b")), (), "critical"),
        ((loss(reason="unexpected"),), (failure(),), "critical"),
        ((), (failure(),), "critical"),
        ((loss(prefixes=()),), (), "critical"),
    ],
)
def test_severity(losses, failures, severity):
    (finding,) = run(killed_worker, sick(losses=losses, failures=failures))
    assert finding.severity == severity


@pytest.mark.parametrize(
    ("losses", "failures"),
    [
        ((), ()),
        ((loss(reason="unexpected", prefixes=()),), ()),  # it had nothing to do
        ((), (failure(exception="ValueError", text="bad row"),)),
        ((loss(time=loss().time - 60),), ()),  # an earlier run of the cell
        ((), (failure(time=failure().time - 60),)),
    ],
)
def test_is_quiet(losses, failures):
    assert not run(killed_worker, sick(losses=losses, failures=failures))


def test_stays_while_the_cell_runs_once_more():
    first, second = code("df = load().persist()", "df.merge(df).compute()")
    again = change(second, execution_count=3, started=second.started + 60, stopped=None)
    assert run(killed_worker, sick(code=(first, again)))
    assert not run(killed_worker, sick(code=(first, change(again, stopped=again.started + 9))))


def test_fix_cuts_what_the_cell_reads():
    big = collection(sizes=sizes(*[600 * MiB] * 10))
    ran = computation(reused=(big.group,))
    facts = sick(collections=(big,), computations=(ran,))
    (finding,) = run(killed_worker, facts)
    insert, advice = finding.fixes
    assert apply(insert, facts.code)[1] == "df = df.repartition(npartitions=60).persist()"
    assert insert.rerun == ("c2",)
    assert advice.applicability == "display-only"
    assert "threads_per_worker=1" in advice.code


def test_fix_cuts_only_the_large_partition_of_a_skewed_frame():
    uneven = collection(sizes=skewed())
    (finding,) = run(
        killed_worker, sick(collections=(uneven,), computations=(computation(reused=(uneven.group,)),))
    )
    assert "df.partitions[17].repartition(" in finding.fixes[0].code


def test_fix_of_a_lazy_frame_whose_size_nobody_knows():
    lazy = collection(sizes=None, is_persisted=False, group=None)
    facts = sick(collections=(lazy,), code=code("df = load()", "df.merge(df).compute()"))
    (finding,) = run(killed_worker, facts)
    assert apply(finding.fixes[0], facts.code)[1] == "df = df.repartition(npartitions=80)"
    assert "size is not known" in finding.fixes[0].expect


def test_a_frame_that_was_cut_already_is_not_cut_blindly_once_more():
    cut = collection(sizes=None, is_persisted=False, group=None, names=("repartition-1", "frommap-2"))
    facts = sick(collections=(cut,), code=code("df = load()", "df.merge(df).compute()"))
    (finding,) = run(killed_worker, facts)
    assert [fix.applicability for fix in finding.fixes] == ["display-only"]


def test_advice_counts_the_workers_that_were_there():
    (finding,) = run(killed_worker, sick(collections=(), workers=workers(1), load=(load(n_workers=4),)))
    assert "n_workers=4" in finding.fixes[0].code


def test_without_a_collection_there_is_advice_on_the_cluster_alone():
    (finding,) = run(killed_worker, sick(collections=(), workers=workers(nthreads=1)))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert 'memory_limit="8.00GiB"' in fix.code


def test_measures_the_losses_of_the_last_run():
    facts = sick(losses=(loss(), loss(time=loss().time - 60)))
    (measure,) = killed_worker.measuring("merge", loss().at, losses=facts.losses, code=facts.code)
    assert measure.value == 1


def test_a_name_with_markup_stays_a_name():
    (finding,) = run(killed_worker, sick(losses=(loss(prefixes=("<script>`x`\n",), process=4 * GiB),)))
    assert "`<script>'x'`" in finding.message
