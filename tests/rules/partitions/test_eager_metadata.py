"""Jobs that Dask starts by itself: by looks, and anew for each computation."""

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

from jupyter_dask_doctor.rules.partitions import eager_metadata
from jupyter_dask_doctor.snapshot import Read, Size
from jupyter_dask_doctor.verify import measures
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
    computation,
    lazy,
    name,
    operation,
    run,
    snapshot,
)

READ, SORT = name("read_parquet"), name("set_index")
SOURCES = (
    'events = dd.read_parquet("events")',
    'users = events.set_index("user")',
    "users",
    "users.spent.sum().compute()\nusers.visits.max().compute()",
)


def frames():
    events = lazy(name="events", names=(READ,), at=at("c1"))
    users = lazy(
        name="users",
        names=(READ, SORT),
        npartitions=None,
        nbytes=None,
        is_eager=True,
        operations=(operation("set_index", name=SORT, n_in=(20,)),),
        at=at("c2", 2),
    )
    return events, users


def job(
    n, cell_id, start, seconds, *, hidden=True, method="compute", asked=None, layers=(("re-quantiles", 20),)
):
    asked = (frames()[1],) if asked is None else asked
    return computation(
        id=f"k{n}",
        submitted=T0 + start,
        start=T0 + start,
        stop=T0 + start + seconds,
        is_hidden=hidden,
        method=method,
        asked=asked,
        layers=layers,
        at=at(f"c{cell_id}", cell_id),
    )


SUM = lazy(name="", names=(READ, SORT, name("getitem"), name("sum")), is_eager=True)
SHUFFLE = (("shuffle-transfer", 20), ("sum", 1))


def look(seconds=3.0, method="repr_html"):
    return job(1, 3, 41, seconds, method=method)


def computes(seconds=3.0, layers=SHUFFLE):
    return (
        job(2, 4, 61, seconds, asked=(SUM,)),
        job(3, 4, 65, 4.0, hidden=False, asked=(SUM,), layers=layers),
        job(4, 4, 70, seconds, asked=(SUM,)),
        job(5, 4, 74, 4.0, hidden=False, asked=(SUM,), layers=layers),
    )


def sick(*computations, **changes):
    facts = {
        "collections": frames(),
        "computations": computations or (look(), *computes()),
        "code": code(*SOURCES),
    }
    return snapshot(**facts | changes)


def test_a_job_for_each_look_and_each_computation():
    (finding,) = run(eager_metadata, sick())
    assert finding.id == "eager-metadata:users"
    assert finding.severity == "warning"
    assert finding.message == (
        "Dask looked through all of `users` 3 times to find its divisions: 9 s of hidden jobs, by `compute` 2×, "
        "its display."
    )
    assert finding.loss_seconds == 6.0  # one of them is needed
    assert finding.of_seconds == 17.0
    assert finding.at.cell_id == "c4"


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("repr_html", "Showing `users`"),
        ("repr", "Showing `users`"),
        ("npartitions", "`.npartitions` of `users`"),
    ],
)
def test_a_look_at_what_is_never_computed(method, said):
    (finding,) = run(eager_metadata, sick(look(method=method)))
    assert finding.message == f"{said} ran a hidden job over all of its data: 3 s."
    assert finding.loss_seconds == 3.0
    assert finding.at.cell_id == "c3"


def test_a_frame_made_from_it_is_told_by_the_name_of_the_first():
    events, users = frames()
    more = change(users, name="more", names=(*users.names, name("assign")), at=at("c2", 2))
    (finding,) = run(eager_metadata, sick(collections=(more, users, events)))
    assert finding.subject == "users"


def test_without_a_look_at_what_was_asked_for_the_text_tells():
    unseen = [change(k, asked=()) for k in (look(), *computes())]
    (finding,) = run(eager_metadata, sick(*unseen))
    assert finding.subject == "users"
    assert finding.loss_seconds == 6.0


def test_fix_finds_divisions_once():
    (finding,) = run(eager_metadata, sick())
    by_divisions, by_persist, by_dtypes = finding.fixes
    after = apply(by_divisions, sick().code)
    assert after[1] == 'users = events.set_index("user", divisions=list(events.set_index("user").divisions))'
    assert "3 hidden jobs → 1" in by_divisions.expect
    assert by_divisions.rerun == ("c2", "c4")
    assert apply(by_persist, sick().code)[2] == "users = users.persist()"
    assert "≈ 1.6 GiB stay in memory" in by_persist.expect
    assert apply(by_dtypes, sick().code)[2] == "users.dtypes"
    assert by_dtypes.applicability == "safe"


def test_fix_for_data_in_order():
    (finding,) = run(eager_metadata, sick(look(), *computes(layers=(("sum", 20),))))
    after = apply(finding.fixes[0], sick().code)
    assert after[1] == 'users = events.set_index("user", sorted=True)'


def test_fixes_keep_the_result_on_real_dask():
    table = pd.DataFrame({"user": [5, 3, 9, 1, 7, 2, 8, 6] * 50, "spent": range(400)})
    namespace = {"events": dd.from_pandas(table, npartitions=4, sort=False)}
    plain = namespace["events"].set_index("user")
    (finding,) = run(eager_metadata, sick())
    with dask.config.set(scheduler="sync"):
        exec(apply(finding.fixes[0], sick().code)[1], namespace)
        users = namespace["users"]
        assert users.npartitions == plain.npartitions
        mine, theirs = users.compute().sort_values("spent"), plain.compute().sort_values("spent")
        pd.testing.assert_frame_equal(mine, theirs)
        ordered = dd.from_pandas(pd.DataFrame({"user": range(400), "spent": 1.0}), npartitions=4)
        (finding,) = run(eager_metadata, sick(look(), *computes(layers=(("sum", 20),))))
        namespace["events"] = ordered
        exec(apply(finding.fixes[0], sick().code)[1], namespace)
        assert namespace["users"].known_divisions
        assert len(namespace["users"].compute()) == 400


def test_persist_is_not_inserted_where_it_does_not_fit():
    (finding,) = run(eager_metadata, sick(cluster=cluster(memory_limit=1 * GiB)))
    persist = finding.fixes[1]
    assert persist.applicability == "display-only"
    assert "There is no room" in persist.expect
    joined = [change(f, operations=(operation("merge"), *f.operations)) for f in frames()]
    (finding,) = run(eager_metadata, sick(collections=tuple(joined)))
    assert "its size is not known" in finding.fixes[1].expect


@pytest.mark.parametrize(
    "source",
    [
        'users = dd.read_parquet("events").set_index("user")',  # twice in the text: read twice
        'users = events.set_index("user", npartitions=10)',
        "users = events.set_index(column, **more)",
        "users = load()",
        'users = events.set_index("user")\nusers = users.set_index("visit")',
    ],
)
def test_divisions_are_not_edited_into_other_calls(source):
    facts = sick(code=code(SOURCES[0], source, *SOURCES[2:]))
    (finding,) = run(eager_metadata, facts)
    assert not any("divisions" in fix.code for fix in finding.fixes)


def test_a_cut_by_size_gets_a_count():
    events, users = frames()
    cut = change(users, has_partition_size=True, operations=())
    source = 'users = events.repartition(partition_size="100MB")'
    facts = sick(look(), collections=(events, cut), code=code(SOURCES[0], source, *SOURCES[2:]))
    (finding,) = run(eager_metadata, facts)
    assert apply(finding.fixes[0], facts.code)[1] == "users = events.repartition(npartitions=16)"


def test_a_look_to_come_is_foreseen_from_the_files():
    events, users = frames()
    large = change(users, reads=(Read(format="csv", path="s3://events", nbytes=40 * GiB),))
    waiting = cell("c3", "users", None, None, None)
    facts = sick(collections=(events, large), computations=(), code=(*code(*SOURCES[:2]), waiting))
    (finding,) = run(eager_metadata, facts)
    assert finding.message == "Showing `users` will run a hidden job over all of its data: ≈ 54 s."
    assert finding.at.cell_id == "c3"
    assert apply(finding.fixes[0], facts.code)[2] == "users.dtypes"
    counted = change(facts, code=(*facts.code[:2], cell("c3", "print(users.npartitions)", None, None, None)))
    (finding,) = run(eager_metadata, counted)
    assert finding.message.startswith("`.npartitions` of `users` will run")
    for text in ("users.dtypes", "users = load()\nusers", "other", "users.head()", "x = ="):
        assert not run(
            eager_metadata, change(facts, code=(*facts.code[:2], cell("c3", text, None, None, None)))
        )
    assert not run(eager_metadata, change(facts, collections=frames()))


def test_is_quiet_of_the_one_job_that_is_needed():
    hidden, work, *_ = computes(60.0)
    assert not run(eager_metadata, sick(hidden, work))


def test_is_quiet_of_quick_ones():
    assert not run(eager_metadata, sick(look(0.5), *computes(0.5)))
    long = job(6, 4, 75, 400.0, hidden=False, asked=(SUM,))
    assert not run(eager_metadata, sick(look(), *computes(), long))


@pytest.mark.parametrize(
    "changes",
    [
        {"is_hidden": False},
        {"is_hidden": None},
        {"method": "len"},
        {"stop": None, "is_done": False},
        {"asked": (lazy(name="other", names=(name("read_csv"),)),)},
    ],
)
def test_is_quiet_of_other_jobs(changes):
    assert not run(eager_metadata, sick(*[change(k, **changes) for k in (look(9.0), look(9.0))]))


def test_is_quiet_when_it_is_cured():
    events, users = frames()
    kept = change(users, is_eager=False, is_persisted=True)
    assert not run(eager_metadata, sick(collections=(events, kept)))


def test_what_ran_before_the_cell_ran_again_is_over():
    facts = sick(look(9.0))
    again = change(facts.code[2], started=T0 + 100, stopped=T0 + 110, execution_count=9)
    assert not run(eager_metadata, change(facts, code=(*facts.code[:2], again)))


def test_absurd_times_and_names_do_no_harm():
    events, users = frames()
    odd = change(users, name='<img src=x onerror="x">`')
    backwards = change(look(9.0), stop=T0, asked=(odd,))
    assert not run(eager_metadata, sick(backwards, collections=(events, odd)))
    run(eager_metadata, sick(change(look(9.0), asked=(odd,), method=None), collections=(events, odd)))
    assert not run(
        eager_metadata,
        sick(look(), collections=(change(users, nbytes=Size(nbytes=MiB, known="exact"), is_eager=False),)),
    )


def test_what_is_compared_when_the_cell_runs_again():
    assert measures("eager-metadata", "users", at("c4", 4), sick())[0].value == 6.0
    assert measures("eager-metadata", "users", at("c4", 4), sick(computes()[1]))[0].value == 0.0
