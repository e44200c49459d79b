"""This version of Dask loses rows here."""

import pytest

from jupyter_dask_doctor.rules.partitions import lossy_merge
from jupyter_dask_doctor.rules.registry import NotChecked
from tests.healthy import (
    apply,
    at,
    cell,
    cluster,
    code,
    collection,
    computation,
    group,
    lazy,
    name,
    operation,
    run,
    snapshot,
    versions,
)

OLD = "2025.7.0"
MERGES = 'joined = orders.merge(customers, on="user")'


def merged(n=129, kind="merge", **changes):
    return operation(kind, **{"n_in": (n, 64), "n_out": n, "how": "inner"} | changes)


def joined(step=None, **changes):
    facts = {"name": "joined", "operations": (step or merged(),), "npartitions": 129, "at": at("c2", 2)}
    return lazy(**facts | changes)


def facts(c=None, *, dask=OLD, text=MERGES, **changes):
    """A merge into 129 partitions that was not computed yet, on last year's Dask."""
    given = {
        "cluster": cluster(dask=dask),
        "versions": tuple(
            versions(role, packages={"dask": dask}) for role in ("client", "scheduler", "worker")
        ),
        "collections": (lazy(name="orders"), c or joined()),
        "computations": (),
        "groups": (),
        "code": code("orders = load()", text),
    }
    return snapshot(**given | changes)


def test_speaks_before_the_merge_runs():
    (finding,) = run(lossy_merge, facts())
    assert finding.id == "lossy-merge:joined"
    assert finding.severity == "critical"
    assert finding.at == at("c2", 2)
    assert finding.message == (
        "`joined` is merged on `user` into 129 partitions: with exactly this number dask 2025.7.0 leaves rows out, "
        "and no error tells of it."
    )
    assert not lossy_merge.has_stake


@pytest.mark.parametrize("n", [129, 32769])
def test_finds_the_counts_that_lose_rows(n):
    (finding,) = run(lossy_merge, facts(joined(merged(n))))
    assert finding.severity == "critical"
    (share,) = [e for e in finding.evidence if e.unit == "share"]
    assert share.value == pytest.approx(1 / n)


@pytest.mark.parametrize("n", [128, 32768])
def test_counts_that_upstream_names_are_worth_knowing(n):
    (finding,) = run(lossy_merge, facts(joined(merged(n))))
    assert finding.severity == "info"
    assert not run(lossy_merge, facts(joined(merged(n))), named_counts=0)


@pytest.mark.parametrize("kind", ["merge", "join", "shuffle", "groupby"])
def test_all_that_hashes_keys(kind):
    step = merged(kind=kind, n_in=(129,), how="")
    (finding,) = run(lossy_merge, facts(joined(step)))
    assert "into 129 partitions" in finding.message


@pytest.mark.parametrize("dask", ["2024.3.0", "2025.7.0", "2026.3.0", "2026.5.9"])
def test_versions_with_the_fault(dask):
    assert run(lossy_merge, facts(dask=dask))


@pytest.mark.parametrize("dask", ["2024.2.1", "2026.6.0", "2026.8.0", "unknown"])
def test_is_quiet_on_other_versions(dask):
    assert not run(lossy_merge, facts(dask=dask))


def test_the_workers_version_decides():
    mixed = (versions("client"), versions("worker", packages={"dask": OLD}))
    (finding,) = run(lossy_merge, facts(dask="2026.8.0", versions=mixed))
    assert "dask 2025.7.0" in finding.message
    assert "# in the environment of the workers" in finding.fixes[-1].code
    mixed = (versions("client", packages={"dask": OLD}), versions("worker"))
    assert not run(lossy_merge, facts(versions=mixed))


@pytest.mark.parametrize(
    "step",
    [
        merged(127),
        merged(130),
        merged(256),
        merged(n_in=(129, 1)),  # a broadcast join
        merged(n_in=(3, 129), how="left"),
        merged(is_on_index=True, known_divisions=(True, True)),
        operation("set_index", n_in=(129,), n_out=129),
        operation("sort_values", n_in=(129,), n_out=129),
        operation("repartition", n_in=(20,), n_out=129),
        operation("map_partitions", n_in=(129,), n_out=129),
    ],
)
def test_is_quiet(step):
    assert not run(lossy_merge, facts(joined(step)))


def test_an_outer_join_is_never_a_broadcast():
    assert run(lossy_merge, facts(joined(merged(n_in=(129, 3), how="outer"))))


def test_what_is_made_from_it_is_no_second_finding():
    more = joined(name="total", at=at("c3", 3))
    (finding,) = run(lossy_merge, facts(collections=(joined(), more)))
    assert finding.subject == "joined"


def test_a_number_that_nobody_knows_is_not_checked():
    with pytest.raises(NotChecked, match="number of partitions"):
        run(lossy_merge, facts(joined(merged(n_out=None))))


def test_what_no_variable_holds_is_told_from_what_was_asked():
    asked = computation(asked=(joined(name="", at=None),), at=at("c2", 2))
    (finding,) = run(lossy_merge, facts(collections=(), computations=(asked,)))
    assert finding.subject == "merge"
    assert finding.at == at("c2", 2)


def ran(prefix="hashjoinp2p", n=129, *others):
    return tuple(group(p, n_tasks=n) for p in (prefix, "hash-join-transfer", *others))


def test_tells_of_what_ran():
    (finding,) = run(lossy_merge, facts(collections=(), computations=(computation(),), groups=ran()))
    assert finding.severity == "critical"
    assert finding.id == "lossy-merge:joined"  # as it is called before, and once the variable is known
    assert finding.message.startswith("`joined` is shuffled into 129 partitions")
    given = facts(collections=(), computations=(computation(),), groups=ran(), text="len(a.merge(b))")
    (finding,) = run(lossy_merge, given)
    assert finding.id == "lossy-merge:shuffle"
    assert finding.message.startswith("[2] shuffles rows into 129 partitions")
    assert finding.at == at("c2", 2)


@pytest.mark.parametrize(
    "groups",
    [
        ran(n=128),
        ran(n=130),
        ran("sum-chunk"),
        ran("p2pshuffle", 129, "set_partitions_pre", "sort_index"),  # set_index
    ],
)
def test_is_quiet_of_what_ran_well(groups):
    assert not run(lossy_merge, facts(collections=(), computations=(computation(),), groups=groups))


def test_is_quiet_of_what_ran_before_the_cell_was_mended():
    again = facts(
        collections=(), computations=(computation(),), groups=ran(),
        code=(cell("c2", MERGES, 3, computation().submitted + 60, computation().submitted + 70),),
    )  # fmt: skip
    assert not run(lossy_merge, again)


def test_a_merge_that_ran_is_told_once_with_its_name():
    both = facts(computations=(computation(names=(name("merge"),)),), groups=ran())
    (finding,) = run(lossy_merge, both)
    assert finding.subject == "joined"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (MERGES, 'joined = orders.merge(customers, on="user", npartitions=130)'),
        (
            "joined = orders.merge(customers, npartitions=129)",
            "joined = orders.merge(customers, npartitions=130)",
        ),
        (
            'path = os.path.join("a", "b")\njoined = dd.merge(orders, customers)',
            'path = os.path.join("a", "b")\njoined = dd.merge(orders, customers, npartitions=130)',
        ),
    ],
)
def test_fix(before, after):
    (finding,) = run(lossy_merge, facts(text=before))
    assert apply(finding.fixes[0], facts(text=before).code)[1] == after
    assert finding.fixes[0].rerun == ("c2",)


def test_fix_of_a_grouping():
    before = 'joined = orders.groupby("user").amount.sum(split_out=129)'
    given = facts(joined(merged(kind="groupby", n_in=(129,))), text=before)
    (finding,) = run(lossy_merge, given)
    assert apply(finding.fixes[0], given.code)[1] == before.replace("129", "130")


@pytest.mark.parametrize(
    "text",
    [
        "joined = orders.merge(a, on='x').merge(b, on='y')",  # which of them?
        "joined = pd.merge(left, right)",
        "joined = orders.merge(customers, **options)",
        "joined = make(",
    ],
)
def test_the_fix_is_only_shown_where_the_call_is_not_sure(text):
    (finding,) = run(lossy_merge, facts(text=text))
    assert [f.applicability for f in finding.fixes] == ["display-only", "display-only"]
    assert "repartition(npartitions=130)" in finding.fixes[0].code
    assert '"dask>=2026.6.0"' in finding.fixes[1].code


def test_a_hostile_name_stays_a_name():
    c = joined(merged(columns=("<img src=x>`", "b" * 500)))
    (finding,) = run(lossy_merge, facts(c))
    assert "`<img src=x>'`" in finding.message
    assert len(finding.message) < 400


def test_a_healthy_notebook_is_quiet():
    assert not run(lossy_merge, snapshot())
    assert not run(lossy_merge, facts(collection()))
