"""Computations that left the cluster out."""

import pytest

from jupyter_dask_doctor.rules.cluster import bypassed_client
from jupyter_dask_doctor.snapshot import LocalRun
from tests.healthy import T0, apply, at, change, cluster, code, kernel, load, run, snapshot

#: In the cell "c2", which ran from 20 s to 30 s after the beginning.
RUN = LocalRun(time=T0 + 21, seconds=8.0, n_tasks=40, at=at("c2", 2))
SYNC = 'total = df.x.sum().compute(scheduler="sync")'
OURS = cluster(nthreads=8)


def cpu(percent, n=6):
    return tuple(load(time=T0 + 22 + i, scheduler_cpu=percent) for i in range(n))


def sick(text=SYNC, *found, **changes):
    facts = {
        "kernel": kernel(local_runs=found or (RUN,)),
        "cluster": OURS,
        "code": code("df = load()", text),
        "load": cpu(100.0),
    }
    return snapshot(**facts | changes)


def test_names_what_ran_and_how_it_was_asked_for():
    (finding,) = run(bypassed_client, sick())
    assert finding.id == "bypassed-client:sync"
    assert finding.severity == "warning"
    assert finding.message == (
        "1 computation of 40 tasks ran in this kernel (`scheduler='sync'`) for 8 s, "
        "not on the cluster with its 8 threads."
    )
    assert finding.at == RUN.at


def test_loss_is_what_the_threads_of_the_cluster_would_have_spared():
    (finding,) = run(bypassed_client, sick())
    assert finding.loss_seconds == pytest.approx(8 * 7 / 8)
    assert finding.of_seconds == 10
    (finding,) = run(bypassed_client, sick(SYNC, change(RUN, n_tasks=4)))
    assert finding.loss_seconds == pytest.approx(8 * 3 / 4)
    (finding,) = run(bypassed_client, sick(kernel=kernel(local_runs=(RUN,), n_cpus=2)))
    assert finding.loss_seconds == pytest.approx(8 / 2)


def test_fix_drops_the_keyword_and_the_cell_runs_again():
    facts = sick()
    (finding,) = run(bypassed_client, facts)
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    assert apply(fix, facts.code)[1] == "total = df.x.sum().compute()"
    assert fix.rerun == ("c2",)


def test_fix_of_a_setting_made_in_another_cell():
    facts = sick("total = df.x.sum().compute()")
    facts = change(facts, code=code('dask.config.set(scheduler="synchronous")', "df.x.sum().compute()"))
    (finding,) = run(bypassed_client, facts)
    assert finding.subject == "sync"
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[0] == "dask.config.set(scheduler=None)"
    assert fix.rerun == ("c1", "c2")


def test_threads_that_python_lets_run_one_at_a_time():
    threads = SYNC.replace("sync", "threads")
    (finding,) = run(bypassed_client, sick(threads, load=cpu(104.0)))
    assert finding.severity == "warning"
    assert finding.loss_seconds == pytest.approx(8 * (1 - 1.04 / 8))


@pytest.mark.parametrize("percent", [15.0, 160.0, 790.0, None])
def test_threads_that_may_do_as_well_as_the_cluster_are_only_worth_knowing(percent):
    (finding,) = run(bypassed_client, sick(SYNC.replace("sync", "threads"), load=cpu(percent)))
    assert finding.severity == "info"
    assert finding.loss_seconds is None


def test_threads_against_a_cluster_of_many_machines():
    remote = cluster(kind=None, is_in_process=False, nthreads=64)
    run_64 = change(RUN, n_tasks=400)
    (finding,) = run(bypassed_client, sick(SYNC.replace("sync", "threads"), run_64, cluster=remote))
    assert finding.severity == "warning"
    assert finding.loss_seconds == pytest.approx(8 * (1 - 8 / 64))


def test_a_library_that_decides_by_itself_is_only_worth_knowing():
    (finding,) = run(bypassed_client, sick("model.fit(df)"))
    assert finding.id == "bypassed-client:local"
    assert finding.severity == "info"
    assert not finding.fixes


def test_one_that_runs_still():
    facts = sick(SYNC, change(RUN, seconds=None))
    first, second = facts.code
    (finding,) = run(bypassed_client, change(facts, code=(first, change(second, stopped=None))))
    assert finding.severity == "warning"
    assert finding.evidence[0].value == pytest.approx(6.0)


def test_many_runs_of_one_cell_are_summed():
    (finding,) = run(bypassed_client, sick(SYNC, *[change(RUN, seconds=0.5, n_tasks=8)] * 10))
    assert finding.message.startswith("10 computations of 80 tasks ran in this kernel")


@pytest.mark.parametrize(
    "found",
    [
        change(RUN, seconds=1.9),
        change(RUN, n_tasks=3),
        change(RUN, seconds=-5.0),
        change(RUN, time=T0 - 30),  # an earlier run of the cell
        change(RUN, seconds=None, time=T0 + 26),
    ],
)
def test_is_quiet(found):
    assert not run(bypassed_client, sick(SYNC, found))


def test_is_quiet_without_local_runs():
    assert not run(bypassed_client, snapshot())


def test_is_only_info_where_one_thread_is_all_there_is():
    (finding,) = run(bypassed_client, sick(cluster=cluster(nthreads=1)))
    assert finding.severity == "info"


def test_measures_the_seconds_of_the_last_run():
    facts = sick()
    (measure,) = bypassed_client.measuring("sync", RUN.at, kernel=facts.kernel, code=facts.code)
    assert measure.value == 8.0
    first, second = facts.code
    again = (first, change(second, execution_count=3, started=T0 + 60, stopped=T0 + 63))
    (measure,) = bypassed_client.measuring("sync", RUN.at, kernel=facts.kernel, code=again)
    assert measure.value == 0.0
