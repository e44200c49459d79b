"""Too many steps one upon the other."""

import pytest

from jupyter_dask_doctor.rules.graph import deep_expression
from tests.healthy import (
    T0,
    GiB,
    apply,
    at,
    cell,
    change,
    cluster,
    code,
    lazy,
    load,
    name,
    phase,
    run,
    snapshot,
)

LOOP = 'for lag in lags:\n    prices[f"lag_{lag}"] = prices["price"] - lag'


def deep(n=301, **changes):
    """A hundred columns added one upon the other."""
    facts = {
        "name": "prices", "n_steps": n, "depth": n, "nbytes": None, "largest": None, "names": (name("assign"),),
        "at": at("c1", 1),
    }  # fmt: skip
    return lazy(**facts | changes)


def facts(c=None, text=LOOP, **changes):
    given = {
        "collections": (c or deep(),),
        "computations": (),
        "groups": (),
        "code": code(text, "prices.mean().compute()"),
        "phases": (),
    }
    return snapshot(**given | changes)


def optimizing(seconds, **changes):
    return phase("optimizing", T0 + 20.5, seconds, **changes)


def test_speaks_before_anything_runs():
    (finding,) = run(deep_expression, facts())
    assert finding.id == "deep-expression:prices"
    assert finding.severity == "warning"
    assert finding.at == at("c1", 1)
    assert finding.message == (
        "`prices` has 301 steps, one upon the other: optimizing them takes ≈ 4.1 s each time that it is computed."
    )
    assert finding.loss_seconds == pytest.approx(45e-6 * 301**2)
    assert any(e.is_estimated for e in finding.evidence)


def test_after_the_run_it_is_told_from_what_was_seen():
    (finding,) = run(deep_expression, facts(phases=(optimizing(3.0), optimizing(2.5))))
    assert finding.id == "deep-expression:prices"
    assert finding.message.endswith("optimizing them took 5.5 s.")
    assert finding.loss_seconds == 5.5


def test_what_was_seen_counts_also_where_less_was_expected():
    assert not run(deep_expression, facts(deep(150)))
    (finding,) = run(deep_expression, facts(deep(150), phases=(optimizing(2.4),)))
    assert finding.loss_seconds == pytest.approx(2.4)


def test_a_recursion_error_is_critical():
    failed = change(code(LOOP, "prices.mean().compute()")[1], has_failed=True, error="RecursionError")
    (finding,) = run(deep_expression, facts(deep(101), code=(facts().code[0], failed)))
    assert finding.severity == "critical"
    assert finding.message == "`prices` has 101 steps, one upon the other: [2] ended in a RecursionError."
    assert finding.at == at("c1", 1)
    assert not deep_expression.has_stake


def test_the_schedulers_recursion_error_comes_as_another():
    text = "RecursionError('maximum recursion depth exceeded')"
    failed = change(
        code(LOOP, "prices.mean().compute()")[1], has_failed=True, error="Exception", error_text=text
    )
    (finding,) = run(deep_expression, facts(deep(101), code=(facts().code[0], failed)))
    assert finding.severity == "critical"


def chain(*kinds, n):
    """`n` of each kind, one upon the other."""
    names = tuple(name(kind, i) for i in range(n) for kind in kinds)
    return deep(len(names), names=names[:200])


@pytest.mark.parametrize("c", [chain("mappartitions", n=200), chain("filter", "gt", "getitem", n=150)])
def test_a_long_chain_is_warned_of_the_recursion_error(c):
    (finding,) = run(deep_expression, facts(c, text="prices = make()"))
    assert finding.severity == "warning"
    assert finding.message.endswith("one upon the other: computing it may end in a RecursionError.")


@pytest.mark.parametrize("c", [chain("mappartitions", n=100), chain("assign", "add", n=100)])
def test_a_chain_that_ends_well_is_quiet(c):
    assert not run(deep_expression, facts(c))


@pytest.mark.parametrize(
    "c",
    [
        deep(61),  # 20 assigns: half a second
        deep(200),  # 1.8 s expected
        deep(None),
        deep(403, depth=3),  # one assign of 200 columns
        deep(301, is_persisted=True),
        deep(1_000, kind="array"),
        deep(0),
    ],
)
def test_is_quiet(c):
    assert not run(deep_expression, facts(c))


def test_an_array_of_thousands_of_layers_is_not():
    (finding,) = run(deep_expression, facts(deep(2_000, kind="array")))
    assert "2,000 steps" in finding.message


@pytest.mark.parametrize(
    "phases",
    [
        (optimizing(1.9),),
        (optimizing(9.0, at=None),),
        (phase("building", T0 + 20.5, 9.0),),
        (phase("optimizing", T0 - 20, 9.0),),  # before the cell ran again
    ],
)
def test_is_quiet_when_little_was_seen(phases):
    assert not run(deep_expression, facts(deep(150), phases=phases))


def test_is_quiet_after_an_error_of_another_kind():
    failed = change(code(LOOP, "prices.mean().compute()")[1], has_failed=True, error="KeyError")
    assert not run(deep_expression, facts(deep(101), code=(facts().code[0], failed)))


def test_is_quiet_of_a_recursion_error_before_the_cure():
    cells = (
        cell("c1", LOOP, 3, T0 + 60, T0 + 61),
        cell("c2", "prices.mean().compute()", 2, T0 + 20, T0 + 30, has_failed=True, error="RecursionError"),
    )
    c = deep(101, at=at("c1", 3))
    assert not run(deep_expression, facts(c, code=cells))


def test_what_is_made_from_it_is_no_second_finding():
    more = deep(305, name="daily", names=(name("mean"), name("assign")), at=at("c2", 2))
    (finding,) = run(deep_expression, facts(collections=(more, deep())))
    assert finding.subject == "prices"


def test_each_of_two_chains_is_told():
    other = deep(400, name="volumes", names=(name("assign", 2),), at=at("c3", 3))
    found = run(deep_expression, facts(collections=(deep(), other)))
    assert {f.subject for f in found} == {"prices", "volumes"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LOOP, 'prices = prices.assign(**{f"lag_{lag}": prices["price"] - lag for lag in lags})'),
        (
            'for c in columns:\n    prices[c + "_log"] = np.log(prices[c])',
            'prices = prices.assign(**{c + "_log": np.log(prices[c]) for c in columns})',
        ),
        (
            "for c in columns:\n    prices[c] = prices[c].fillna(0)",
            "prices = prices.assign(**{c: prices[c].fillna(0) for c in columns})",
        ),
        (
            'for i, c in enumerate(columns):\n    prices = prices.assign(**{f"x{i}": prices.price * i})',
            'prices = prices.assign(**{f"x{i}": prices.price * i for i, c in enumerate(columns)})',
        ),
    ],
)
def test_a_loop_of_columns_becomes_one_assign(before, after):
    given = facts(text=f"import x\n{before}\nprices")
    (finding,) = run(deep_expression, given)
    fix = finding.fixes[0]
    assert apply(fix, given.code)[0] == f"import x\n{after}\nprices"
    assert fix.applicability == "unsafe"
    assert fix.rerun == ("c1",)


@pytest.mark.parametrize(
    "loop",
    [
        'for i in n:\n    prices[f"x{i}"] = prices[f"x{i - 1}"] + 1',  # each from the one before
        'for i in n:\n    prices[f"x{i}"] = prices.price + i\n    prices[f"y{i}"] = prices.price - i',
        "for i in n:\n    prices = prices[prices.price > i]",
    ],
)
def test_any_other_loop_is_done_on_each_partition(loop):
    given = facts(text=loop)
    (finding,) = run(deep_expression, given)
    (after, _) = apply(finding.fixes[0], given.code)
    body = "\n".join(f"    {line}" for line in loop.split("\n"))
    assert after == (
        f"def prices_steps(prices):\n{body}\n    return prices\n\n\nprices = prices.map_partitions(prices_steps)"
    )
    assert "one row at a time" in finding.fixes[0].expect


@pytest.mark.parametrize(
    "loop",
    [
        "for i in n:\n    prices = prices.merge(other)",
        "for i in n:\n    prices = own_function(prices)",
        'for i in n:\n    prices["total"] = prices.total.cumsum()',
    ],
)
def test_steps_that_may_look_at_neighbours_are_only_shown(loop):
    (finding,) = run(deep_expression, facts(text=loop))
    assert [f.applicability for f in finding.fixes] == ["display-only"]


def test_the_cell_of_the_loop_is_the_ailing_one():
    cells = code("prices = load()", LOOP, "prices.mean().compute()")
    (finding,) = run(deep_expression, facts(code=cells))
    assert finding.at == at("c2", 2)
    assert apply(finding.fixes[0], cells)[1].startswith("prices = prices.assign(")


def test_functions_that_were_mapped_one_by_one_are_called_one_by_one():
    given = facts(text="for step in steps:\n    prices = prices.map_partitions(step, 3)")
    (finding,) = run(deep_expression, given)
    assert (
        "    for step in steps:\n        prices = step(prices, 3)\n" in apply(finding.fixes[0], given.code)[0]
    )


def test_what_a_partition_has_not_is_not_done_on_one():
    (finding,) = run(
        deep_expression, facts(text="for i in n:\n    prices = prices.repartition(npartitions=i)")
    )
    assert not finding.fixes


@pytest.mark.parametrize("text", ["prices = make()", "for i in n:\n    total += i", "for i in", ""])
def test_no_fix_where_no_loop_is_found(text):
    (finding,) = run(deep_expression, facts(text=text))
    assert not finding.fixes


def test_persist_is_shown_where_there_is_room():
    c = deep(nbytes=lazy().nbytes)
    (finding,) = run(deep_expression, facts(c, text="prices = make()"))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert fix.code.startswith("prices = prices.persist()")
    full = (load(managed=15 * GiB),)
    (finding,) = run(deep_expression, facts(c, text="prices = make()", load=full, cluster=cluster()))
    assert not finding.fixes


def test_a_hostile_name_gets_no_code():
    (finding,) = run(deep_expression, facts(deep(name="Out[7]`<b>")))
    assert "`Out[7]'<b>`" in finding.message
    assert not finding.fixes


def test_a_healthy_notebook_is_quiet():
    assert not run(deep_expression, snapshot())
