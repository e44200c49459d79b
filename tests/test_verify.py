"""What became of a finding when its cell ran again."""

import pytest

from jupyter_dask_doctor import runner
from jupyter_dask_doctor.snapshot import Gap
from jupyter_dask_doctor.verify import MAX_CASES, Ledger
from tests.healthy import (
    T0,
    MiB,
    at,
    cell,
    change,
    collection,
    computation,
    even,
    group,
    skewed,
    snapshot,
)

ORDERS = collection(name="orders", sizes=skewed())
FIX = "orders = cut(orders)"


def ran(id, n, start, seconds, orders=ORDERS, stopped=True):
    """A computation on `orders` that took so many seconds, in the cell "c2"."""
    return computation(
        id=id,
        submitted=start + 0.1,
        start=start + 0.2,
        stop=start + seconds if stopped else None,
        is_done=stopped,
        reused=(orders.group,),
        thread_seconds=16.0,
        peak_worker_memory=int(100 * seconds) * MiB,
        at=at("c2", n),
    )


def notebook(*, n=2, start=T0 + 20, seconds=10.0, orders=ORDERS, extra=(), source="orders.x.sum().compute()",
             stopped=True, is_done=True, earlier=(), load_source="orders = load().persist()"):  # fmt: skip
    """The cell "c1" binds `orders`, the cell "c2" ran as its `n`th for so many seconds."""
    ends = start + seconds if stopped else None
    cells = (cell("c1", load_source), cell("c2", source, n, start, ends), *extra)
    computations = (*earlier, ran(f"k{n}", n, start, seconds, orders, is_done))
    groups = tuple(
        group(name=f"sum-{c.id}", dependencies=(orders.group,), compute_seconds=16.0, computation_id=c.id)
        for c in computations
    )
    return snapshot(
        time=start + 15, collections=(orders,), computations=computations, groups=groups, code=cells
    )


def inserted(n=3, start=T0 + 40):
    return cell("c9", FIX, n, start, start + 2)


def cut(**more):
    """`orders` after the fix."""
    return change(ORDERS, sizes=even(40), group="concat-1", names=("concat-1",), at=at("c9", 3), **more)


def treat(ledger, *snapshots):
    for one in snapshots:
        report = runner.examine(one, ledger=ledger)
    return report.treated


def test_resolved_when_the_finding_is_gone_and_time_is_won():
    after = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),))
    (treated,) = treat(Ledger(), notebook(), after)
    assert treated.status == "resolved"
    assert treated.finding_id == "partition-skew:orders"
    assert treated.message.startswith("Partition 17 of `orders` holds 24×")
    assert treated.at == at("c2", 4)
    before = {m.label: m.value for m in treated.before}
    now = {m.label: m.value for m in treated.after}
    assert list(before) == list(now)
    assert (before["cell"], now["cell"]) == (10.0, 4.0)
    assert (before["largest partition"], now["largest partition"]) == (1900 * MiB, even(40).largest)
    assert (before["peak memory of a worker"], now["peak memory of a worker"]) == (1000 * MiB, 400 * MiB)
    assert treated.noise is None


@pytest.mark.parametrize(("seconds", "status"), [(9.5, "no-change"), (14.0, "worse"), (5.0, "resolved")])
def test_time_decides_where_time_was_lost(seconds, status):
    after = notebook(n=4, start=T0 + 60, seconds=seconds, orders=cut(), extra=(inserted(),))
    (treated,) = treat(Ledger(), notebook(), after)
    assert treated.status == status


def test_better_when_the_finding_is_still_there():
    half = change(cut(), sizes=skewed(largest=900 * MiB))
    after = notebook(n=4, start=T0 + 60, seconds=7.0, orders=half, extra=(inserted(),))
    (treated,) = treat(Ledger(), notebook(), after)
    assert treated.status == "better"


def test_a_change_of_the_cell_itself_counts_as_a_treatment():
    after = notebook(n=3, start=T0 + 60, seconds=9.9, source="orders.x.sum().optimize().compute()")
    (treated,) = treat(Ledger(), notebook(), after)
    assert treated.status == "no-change"


def test_noise_is_the_spread_of_earlier_runs():
    ledger = Ledger()
    treat(
        ledger,
        notebook(),
        notebook(n=3, start=T0 + 40, seconds=14.0),
        notebook(n=4, start=T0 + 60, seconds=10.0),
    )
    after = notebook(n=6, start=T0 + 100, seconds=8.0, orders=cut(), extra=(inserted(5, T0 + 90),))
    (treated,) = treat(ledger, after)
    assert treated.noise == pytest.approx(0.4)
    assert treated.status == "no-change"  # 20 % less, where 40 % is usual


def test_quiet_when_nothing_has_run_again():
    assert treat(Ledger(), notebook(), notebook()) == ()


def test_quiet_when_the_cell_ran_again_as_it_was():
    for seconds in (10.2, 6.0, 15.0):
        assert treat(Ledger(), notebook(), notebook(n=3, start=T0 + 40, seconds=seconds)) == ()


def test_quiet_while_the_cell_runs_and_what_was_before_stays():
    ledger = Ledger()
    busy = notebook(
        n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),), stopped=False, is_done=False
    )
    assert treat(ledger, notebook(), busy, busy) == ()
    # stopped, but what it sent still runs
    sent = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),), is_done=False)
    assert treat(ledger, sent) == ()
    done = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),))
    (treated,) = treat(ledger, done)
    assert treated.status == "resolved"


def test_an_outcome_waits_a_moment_for_what_the_scheduler_has_to_tell():
    done = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),))
    # The cell has ended just now, and nobody has heard of its computation yet.
    early = change(done, time=T0 + 64.5, computations=(), groups=())
    ledger = Ledger()
    assert treat(ledger, notebook(), early) == ()
    (treated,) = treat(ledger, change(done, time=T0 + 65))
    assert "peak memory of a worker" in {m.label for m in treated.after}
    # It is not waited for longer than that.
    (treated,) = treat(Ledger(), notebook(), change(early, time=T0 + 68))
    assert {m.label for m in treated.after} == {"largest partition", "cell"}


def test_quiet_when_nothing_was_changed_however_fast_it_was():
    quick = notebook(n=4, start=T0 + 60, seconds=2.0, orders=ORDERS)
    assert treat(Ledger(), notebook(), change(quick, collections=())) == ()


def test_the_finding_is_remembered_while_the_cell_runs_and_still_has_it():
    ledger = Ledger()
    first = ran("k2", 2, T0 + 20, 10.0)
    busy = notebook(
        n=4, start=T0 + 60, seconds=4.0, extra=(inserted(),), stopped=False, is_done=False, earlier=(first,)
    )
    treat(ledger, notebook(), busy)
    (treated,) = treat(ledger, notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),)))
    assert treated.before[1].value == 10.0


def test_another_cell_may_come_to_suffer_most():
    """First the cell that made the data is named, then the one that reads it."""
    ledger = Ledger()
    alone = change(notebook(), computations=(), groups=())
    treat(ledger, alone, notebook())
    after = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),))
    (treated,) = treat(ledger, after)
    assert (treated.status, treated.at) == ("resolved", at("c2", 4))


def test_a_cell_that_failed_tells_nothing():
    after = notebook(n=4, start=T0 + 60, seconds=1.0, orders=cut(), extra=(inserted(),))
    failed = change(after, code=(after.code[0], change(after.code[1], has_failed=True), *after.code[2:]))
    assert treat(Ledger(), notebook(), failed) == ()


def test_an_outcome_stays_and_a_later_one_takes_its_place():
    ledger = Ledger()
    after = notebook(n=4, start=T0 + 60, seconds=4.0, orders=cut(), extra=(inserted(),))
    assert [t.status for t in treat(ledger, notebook(), after, after)] == ["resolved"]
    again = change(ORDERS, at=at("c1", 5))
    back = notebook(n=6, start=T0 + 100, seconds=10.0, orders=again)
    treat(ledger, back)
    worse = notebook(
        n=8, start=T0 + 140, seconds=20.0, orders=again, extra=(cell("c8", "x = 1", 7, T0 + 130, T0 + 131),)
    )
    (treated,) = treat(ledger, worse)
    assert treated.status == "worse"


def test_without_the_notebook_nothing_is_compared():
    assert treat(Ledger(), notebook(), change(notebook(), code=Gap(reason="no notebook"))) == ()


def test_memory_is_bounded():
    ledger = Ledger()
    for i in range(MAX_CASES + 50):
        orders = change(ORDERS, name=f"df{i}", group=f"g-{i}", names=(f"g-{i}",))
        runner.examine(notebook(orders=orders), ledger=ledger)
    assert len(ledger._cases) == MAX_CASES


def test_a_fault_of_the_comparison_does_not_take_the_report_with_it(monkeypatch):
    ledger = Ledger()
    monkeypatch.setattr(Ledger, "observe", lambda *a: 1 / 0)
    report = runner.examine(notebook(), ledger=ledger)
    assert report.findings
    assert "comparison with earlier runs failed" in report.notes[-1]
