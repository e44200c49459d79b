"""The same work twice."""

import pytest

from jupyter_dask_doctor.rules.graph import repeated_compute
from jupyter_dask_doctor.snapshot import Column, Size
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    group,
    load,
    name,
    run,
    sizes,
    snapshot,
)

READ, CLEAN = name("readparquet", 1), name("dropna", 2)
SOURCES = ("clean = load().dropna()", "clean.x.sum().compute()", "clean.x.mean().compute()")
LAZY = collection(
    name="clean",
    is_persisted=False,
    group=None,
    sizes=None,
    nbytes=Size(nbytes=1 * GiB, known="estimated"),
    largest=None,
    names=(READ, CLEAN),
)
FIRST = computation(id="k1", submitted=T0 + 21, names=(READ, CLEAN, name("sum", 3)), thread_seconds=20.0)
AGAIN = computation(
    id="k2", submitted=T0 + 41, start=T0 + 41, stop=T0 + 49, at=at("c3", 3),
    names=(READ, CLEAN, name("mean", 4)), thread_seconds=21.0,
)  # fmt: skip
GROUPS = tuple(
    group(prefix, name=n, computation_id=k, compute_seconds=s, sizes=None)
    for k in ("k1", "k2")
    for prefix, n, s in (("readparquet", READ, 12.0), ("dropna", CLEAN, 4.0))
)


def sick(**changes):
    facts = {
        "collections": (LAZY,),
        "computations": (FIRST, AGAIN),
        "groups": GROUPS,
        "code": code(*SOURCES),
    }
    return snapshot(**facts | changes)


def test_tells_who_did_it_twice_and_what_it_cost():
    (finding,) = run(repeated_compute, sick())
    assert finding.id == "repeated-compute:clean"
    assert finding.severity == "warning"
    assert finding.message == "`clean` was computed 2 times by [2] and again by [3]: 16 s of work done again."
    assert finding.at == AGAIN.at
    assert finding.of_seconds == 41.0


def test_fused_groups_show_only_the_share_of_names():
    (finding,) = run(repeated_compute, sick(groups=()))
    assert "≈ 13 s of work done again" in finding.message
    assert finding.evidence[1].is_estimated


def test_three_times():
    third = change(AGAIN, id="k3", submitted=T0 + 61, at=at("c4", 4))
    more = tuple(change(g, computation_id="k3") for g in GROUPS[:2])
    facts = sick(
        computations=(FIRST, AGAIN, third), groups=(*GROUPS, *more), code=code(*SOURCES, SOURCES[-1])
    )
    (finding,) = run(repeated_compute, facts)
    assert finding.message.startswith("`clean` was computed 3 times")
    assert finding.loss_seconds == 32.0


@pytest.mark.parametrize(
    "again",
    [
        change(AGAIN, reused=(READ, CLEAN)),  # it was in memory
        change(AGAIN, method="persist"),
        change(AGAIN, names=(name("readparquet", 9), name("dropna", 9))),  # other data
    ],
)
def test_is_quiet_when_nothing_was_done_again(again):
    other = tuple(g for g in GROUPS if g.computation_id == "k1")
    assert not run(repeated_compute, sick(computations=(FIRST, again), groups=other))


def test_hidden_jobs_are_another_rules():
    hidden = change(AGAIN, is_hidden=True)
    assert not run(repeated_compute, sick(computations=(FIRST, hidden)))
    assert run(repeated_compute, sick(computations=(FIRST, change(hidden, method="len"))))


def test_is_quiet_of_names_without_a_token():
    first, again = (change(c, names=("train",)) for c in (FIRST, AGAIN))
    lumped = tuple(group("train", name="train", computation_id=k, compute_seconds=20.0) for k in ("k1", "k2"))
    assert not run(repeated_compute, sick(computations=(first, again), groups=lumped))


def test_is_quiet_of_little_work():
    short = tuple(change(g, compute_seconds=0.3) for g in GROUPS)
    assert not run(repeated_compute, sick(groups=short))
    # 4 s of 41 s are less than a fifth
    some = tuple(change(g, compute_seconds=2.0) for g in GROUPS)
    assert not run(repeated_compute, sick(groups=some))


def test_is_quiet_when_the_same_cell_was_run_once_more():
    first, second, _ = code(*SOURCES)
    later = change(second, execution_count=3, started=T0 + 40, stopped=T0 + 50)
    rerun = change(AGAIN, at=at("c2", 3))
    assert not run(repeated_compute, sick(computations=(FIRST, rerun), code=(first, later)))


def test_fix_keeps_the_variable_below_the_cell_that_binds_it():
    facts = sick()
    (finding,) = run(repeated_compute, facts)
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[1] == "clean = clean.persist()"
    assert fix.rerun == ("c3",)
    assert fix.expect == "computed once; 1 GiB stay in memory as long as `clean` lives"


def test_nothing_is_left_to_find_after_the_fix():
    kept = computation(id="k3", submitted=T0 + 60, names=(READ, CLEAN), method="persist", at=at("c9", 4))
    after = change(AGAIN, id="k4", submitted=T0 + 70, reused=(CLEAN,), names=(CLEAN, name("mean", 4)))
    first, second, third = code(*SOURCES)
    new = change(first, id="c9", execution_count=4, started=T0 + 59, stopped=T0 + 65)
    third = change(third, execution_count=5, started=T0 + 69, stopped=T0 + 75)
    facts = sick(
        computations=(FIRST, AGAIN, kept, change(after, at=at("c3", 5))),
        groups=(*GROUPS, *(change(g, computation_id="k3") for g in GROUPS[:2])),
        code=(first, second, third, new),
    )
    assert not run(repeated_compute, facts)


def test_the_widest_variable_is_kept():
    raw = change(LAZY, name="raw", names=(READ,))
    (finding,) = run(repeated_compute, sick(collections=(raw, LAZY)))
    assert finding.subject == "clean"


def test_renamed_steps_are_found_by_the_text_of_the_cells():
    """The optimizer renames a dataframe's steps: the variable's own names never reach the scheduler."""
    renamed = change(LAZY, names=(name("readparquet", 7), name("dropna", 8)))
    other = change(LAZY, name="other", names=(name("readparquet", 5), name("dropna", 6), name("x", 1)))
    (finding,) = run(repeated_compute, sick(collections=(renamed, other)))
    assert finding.subject == "clean"
    assert finding.fixes[0].edits


def test_a_variable_of_a_loop_is_another_one_each_time():
    loop = code("df = load()", "for q in qs:\n    part = df[df.x > q]\n    part.sum().compute()")
    names = {"df": (READ,), "part": (READ, CLEAN, name("gt", 5))}
    found = [change(LAZY, name=n, names=tuple(f"{x[:-1]}f" for x in own)) for n, own in names.items()]
    both = (FIRST, change(AGAIN, submitted=T0 + 22, at=at("c2", 2)))
    (finding,) = run(repeated_compute, sick(collections=tuple(found), computations=both, code=loop))
    assert finding.subject == "df"


@pytest.mark.parametrize(
    "changes",
    [
        {"collections": (change(LAZY, nbytes=Size(nbytes=9 * GiB, known="exact")),)},
        {"load": (load(managed=15 * GiB),)},
        {"cluster": cluster(memory_limit=1 * GiB)},
        {"collections": (change(LAZY, nbytes=None),)},
        {"collections": ()},
    ],
)
def test_shows_only_what_does_not_fit_or_is_not_known(changes):
    (finding,) = run(repeated_compute, sick(**changes))
    assert finding.fixes[0].applicability == "display-only"


def test_size_of_what_was_seen_is_taken_when_the_collection_does_not_know():
    seen = tuple(change(g, sizes=sizes(*[100 * MiB] * 20)) for g in GROUPS)
    facts = sick(collections=(change(LAZY, nbytes=None),), groups=seen)
    (finding,) = run(repeated_compute, facts)
    assert finding.fixes[0].expect.startswith("computed once; ≈ 2 GiB stay")


def test_measures_the_work_of_the_cell():
    facts = sick()
    (measure,) = repeated_compute.measuring(
        "clean", AGAIN.at, computations=facts.computations, code=facts.code
    )
    assert measure.value == 21.0


def test_is_quiet_of_pieces_of_what_is_held_handed_to_delayed_functions():
    """Each round of an iterative algorithm: `delayed(step)(block, centers) for block in points.to_delayed()`."""
    held = name("normal", 5)
    steps = [
        computation(
            id=f"k{i}",
            submitted=T0 + 21 + i,
            names=(f"delayed-{held}", *(f"assign-{i}{j:07}-05d2-465c-8e47-32ad26156176" for j in range(12))),
            reused=(held,),
            thread_seconds=20.0,
        )
        for i in range(1, 4)
    ]
    facts = sick(computations=tuple(steps), groups=(), collections=())
    assert not run(repeated_compute, facts)
    lazy = tuple(change(c, reused=()) for c in steps)
    assert run(repeated_compute, change(facts, computations=lazy))


def test_is_quiet_of_other_columns_of_the_same_files():
    """Parquet gives each column for itself: what was really read has other names."""
    read = name("read_parquet", 1)
    first, again = (change(c, names=(read, name("sum", i))) for i, c in enumerate((FIRST, AGAIN)))
    groups = tuple(
        group("read_parquet", name=name("read_parquet-fused", 10 + i), computation_id=k, compute_seconds=12.0)
        for i, k in enumerate(("k1", "k2"))
    )
    facts = sick(computations=(first, again), groups=groups)
    assert not run(repeated_compute, facts)
    same = tuple(change(g, name=groups[0].name) for g in groups)
    both = tuple(change(c, names=(*c.names, groups[0].name)) for c in (first, again))
    assert run(repeated_compute, change(facts, groups=same, computations=both))


def test_keeps_only_the_columns_that_the_cells_use():
    wide = change(
        LAZY,
        columns=tuple(
            Column(name=n, dtype="float64", nbytes=Size(nbytes=256 * MiB, known="estimated")) for n in "xyzw"
        ),
        n_columns=4,
    )
    facts = sick(collections=(wide,))
    (finding,) = run(repeated_compute, facts)
    (fix,) = finding.fixes
    assert apply(fix, facts.code)[1] == 'clean = clean[["x"]].persist()'
    assert fix.expect == (
        "computed once; 1 GiB → 256 MiB stay in memory as long as `clean` lives, "
        "with the 1 column of 4 that the cells use"
    )
    unknown = change(wide, columns=tuple(change(c, nbytes=None) for c in wide.columns))
    (finding,) = run(repeated_compute, sick(collections=(unknown,)))
    assert finding.fixes[0].code == "clean = clean.persist()"


def test_less_fits_where_all_of_it_does_not():
    huge = tuple(
        Column(name=n, dtype="float64", nbytes=Size(nbytes=4 * GiB, known="estimated")) for n in "xyz"
    )
    wide = change(LAZY, nbytes=Size(nbytes=12 * GiB, known="estimated"), columns=huge, n_columns=3)
    (finding,) = run(repeated_compute, sick(collections=(wide,)))
    assert finding.fixes[0].edits


def test_neighbours_are_asked_together_where_it_does_not_fit():
    (finding,) = run(repeated_compute, sick(collections=(change(LAZY, nbytes=None),)))
    assert [f.code for f in finding.fixes] == [
        "clean = clean.persist()",
        "a, b = dask.compute(clean.x.sum(), clean.x.mean())",
    ]
