"""Thousands of partitions for little work."""

import pytest

from jupyter_dask_doctor import runner
from jupyter_dask_doctor.rules.partitions import too_many_partitions
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
    lazy,
    name,
    run,
    sizes,
    snapshot,
)

#: 5,000 partitions of a bag, of a size that nobody knows.
PAIRS = lazy(
    name="pairs",
    kind="bag",
    npartitions=5_000,
    nbytes=None,
    largest=None,
    names=(name("from_sequence"),),
    n_tasks=5_000,
    fused_tasks=None,
    reads=(),
    columns=(),
)
READ = "pairs = db.from_sequence(range(200_000), npartitions=5_000)"
WORK = "pairs.map(score).mean().compute()"
#: 8 s with 8 threads that worked for 10 s in all.
RAN = computation(
    n_tasks=5_700,
    layers=(("lambda", 5_000), ("mean-aggregate", 700)),
    thread_seconds=10.0,
    start=T0 + 21,
    stop=T0 + 29,
)


def sick(**changes):
    facts = {"collections": (PAIRS,), "groups": (), "computations": (RAN,), "code": code(READ, WORK)}
    return snapshot(**facts | changes)


def test_says_how_many_would_do_and_what_the_others_cost():
    (finding,) = run(too_many_partitions, sick())
    assert finding.id == "too-many-partitions:pairs"
    assert finding.severity == "warning"
    assert finding.message == (
        "`pairs` has 5,000 partitions where about 24 would do: handling them cost about 5.9 s of 8 s."
    )
    assert finding.at == at("c2", 2)
    assert finding.loss_seconds == pytest.approx((8 - 10 / 8) * 5_000 * (1 - 24 / 5_000) / 5_700)


def test_long_work_asks_for_more_partitions():
    busy = change(RAN, thread_seconds=200.0, stop=T0 + 21 + 80)
    (finding,) = run(too_many_partitions, sick(computations=(busy,)))
    assert "about 200 would do" in finding.message


def test_bytes_ask_for_more_partitions():
    held = change(PAIRS, nbytes=Size(nbytes=5_000 * 11 * MiB, known="estimated"))
    (finding,) = run(too_many_partitions, sick(collections=(held,)))
    assert "about 550 would do" in finding.message  # 55,000 MiB
    full = change(PAIRS, nbytes=Size(nbytes=5_000 * 30 * MiB, known="estimated"))
    assert not run(too_many_partitions, sick(collections=(full,)))  # 1,500


@pytest.mark.parametrize(
    "pairs",
    [
        change(PAIRS, npartitions=999),
        change(PAIRS, npartitions=None),
        change(PAIRS, kind="delayed"),
        change(PAIRS, kind="futures"),
        change(PAIRS, nbytes=Size(nbytes=5_000 * MiB, known="exact")),  # tiny-partitions speaks
        change(PAIRS, names=(name("mean-aggregate"), *PAIRS.names)),
        collection(name="pairs", kind="bag", npartitions=5_000, sizes=sizes(*[80_000] * 5_000)),
    ],
)
def test_is_quiet(pairs):
    assert not run(too_many_partitions, sick(collections=(pairs,)))


@pytest.mark.parametrize(
    "ran",
    [
        change(RAN, thread_seconds=33.0),  # threads were busy
        change(RAN, stop=T0 + 21 + 300),  # 25 s of 300
        change(RAN, thread_seconds=None),
        change(RAN, is_done=False, stop=None),
        change(RAN, layers=(("lambda", 800),), n_tasks=800),  # it did not go through all of them
        change(RAN, fused_tasks=800, n_tasks=5_700),
    ],
)
def test_is_quiet_when_a_run_lost_little_by_it(ran):
    assert not run(too_many_partitions, sick(computations=(ran,)))


def test_is_quiet_before_anything_ran():
    assert not run(too_many_partitions, sick(computations=()))


def test_is_quiet_where_all_threads_need_them():
    assert not run(too_many_partitions, sick(cluster=cluster(nthreads=500)))


def test_is_quiet_of_what_was_put_together_again():
    together = change(PAIRS, name="few", npartitions=24, names=(name("repartition"), *PAIRS.names))
    assert not run(too_many_partitions, sick(collections=(PAIRS, together)))


def test_is_quiet_after_the_cell_ran_again_on_fewer():
    cells = (code(READ)[0], cell("c2", WORK, 5, T0 + 60, T0 + 64))
    again = change(RAN, id="k2", submitted=T0 + 60.1, start=T0 + 60.2, stop=T0 + 63, layers=(("lambda", 24),),
                   n_tasks=28, at=at("c2", 5))  # fmt: skip
    few = change(PAIRS, npartitions=24)
    assert not run(too_many_partitions, sick(collections=(few,), computations=(RAN, again), code=cells))


def test_fix_asks_for_fewer_where_they_are_made():
    facts = sick()
    (fix,) = run(too_many_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[0] == "pairs = db.from_sequence(range(200_000), npartitions=24)"
    assert fix.expect == "5,000 → 24 partitions"
    assert fix.rerun == ("c1", "c2")


def test_fix_joins_them_behind_a_call_that_cannot_be_edited():
    facts = sick(code=code("pairs = load()", WORK))
    (fix,) = run(too_many_partitions, facts)[0].fixes
    assert apply(fix, facts.code)[1] == "pairs = pairs.repartition(npartitions=24)"
    held = change(PAIRS, is_persisted=True, group=name("load"), nbytes=Size(nbytes=60 * GiB, known="exact"))
    facts = sick(
        collections=(held,), code=code("pairs = load().persist()", WORK), cluster=cluster(nthreads=2)
    )
    (fix,) = run(too_many_partitions, facts)[0].fixes
    assert fix.applicability == "display-only"  # both do not fit


def test_one_voice_with_tiny_tasks():
    tiny = (group("lambda", n_tasks=5_000, compute_seconds=2.0, sizes=None),)
    report = runner.examine(sick(groups=tiny))
    assert [f.rule for f in report.findings if f.severity != "info"] == ["too-many-partitions"]


def test_one_finding_for_two_names():
    (finding,) = run(too_many_partitions, sick(collections=(PAIRS, change(PAIRS, name="same"))))
    assert finding.subject == "pairs"


def test_hostile_names_stay_in_their_place():
    evil = change(PAIRS, name="`<b>\n`")
    cells = (code("x = 1")[0], cell("c2", WORK, 2, T0 + 20, T0 + 30))
    ran = change(RAN, names=PAIRS.names)
    (finding,) = run(too_many_partitions, sick(collections=(evil,), code=cells, computations=(ran,)))
    assert finding.message.startswith("`'<b> '` has 5,000")
    assert not finding.fixes


@pytest.mark.parametrize("n", [0, -5, 10**15])
def test_absurd_numbers_do_no_harm(n):
    odd = change(PAIRS, npartitions=n, n_tasks=n, nbytes=Size(nbytes=n, known="estimated"))
    run(too_many_partitions, sick(collections=(odd,)))


def test_measures_the_time_and_the_partitions():
    (finding,) = run(too_many_partitions, sick())
    found = {m.label: m.value for m in runner.measure(finding, sick())}
    assert found["time of its tasks"] == pytest.approx(8.0)
    assert found["partitions"] == 5_000
