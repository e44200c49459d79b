"""Large data inside the graph."""

import pytest

from jupyter_dask_doctor.rules.graph.embedded_data import embedded_data
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
    embedded,
    lazy,
    load,
    name,
    run,
    sending,
    snapshot,
)

SOURCES = (
    'import pandas as pd\nimport dask.dataframe as dd\norders = pd.read_csv("orders.csv")',
    "df = dd.from_pandas(orders, npartitions=20)",
    "df.amount.sum().compute()",
    "df.amount.mean().compute()",
)
FRAME = lazy(names=(name("frompandas"),), reads=(), embedded=(embedded(),), at=at("c2", 2))


ORDERS = (embedded(),)


def sent(i=1, seconds=2.0, items=ORDERS, **changes):
    """Computation `i` of the cell `i + 2`, that took so long to be sent, and 10 s in all."""
    begin = T0 + 20 * (i + 1)
    asked = collection(name="", is_persisted=False, sizes=None, embedded=items, group=None)
    facts = {
        "id": f"k{i}",
        "submitted": begin + seconds,
        "schedule_seconds": 0.5,
        "start": begin + seconds + 0.6,
        "stop": begin + 9,
        "asked": (asked,),
        "sending": sending(time=begin + 0.1, serialize_seconds=seconds / 2, nbytes=200 * MiB),
        "at": at(f"c{i + 2}", i + 2),
    }
    return computation(**facts | changes)


def sick(**changes):
    facts = {
        "collections": (FRAME,),
        "computations": (sent(1), sent(2)),
        "groups": (),
        "code": code(*SOURCES),
    }
    return snapshot(**facts | changes)


def unrun(*sources):
    return tuple(cell(f"n{i}", s, None, None, None) for i, s in enumerate(sources))


def test_tells_what_travels_and_what_it_costs():
    (finding,) = run(embedded_data, sick())
    assert finding.id == "embedded-data:orders"
    assert finding.severity == "warning"
    assert (
        finding.message
        == "`orders` (200 MiB) stands inside `frompandas` and was sent with 2 computations: 4.9 s."
    )
    assert finding.loss_seconds == pytest.approx(2 * (0.1 + 2.0 - 0.1 + 0.5 - 60 * 0.0005))
    assert finding.at.cell_id in ("c3", "c4")
    assert finding.charts[0].labels == ("optimizing", "serializing", "sending", "scheduling", "waiting")


def test_speaks_before_it_runs():
    cells = (*code(*SOURCES[:2]), *unrun("df.amount.sum().compute()", "dask.compute(df.amount.mean())"))
    (finding,) = run(embedded_data, sick(computations=(), code=cells))
    assert finding.id == "embedded-data:orders"
    assert finding.at.cell_id == "n0"
    assert finding.message == (
        "`orders` (200 MiB) stands inside `frompandas` and will be sent with 2 computations: ≈ 1.7 s."
    )
    assert all(e.is_estimated for e in finding.evidence if e.unit == "seconds")


def test_reckons_where_nobody_saw_it_being_sent():
    blind = tuple(change(c, sending=None) for c in (sent(1), sent(2)))
    (finding,) = run(embedded_data, sick(computations=blind))
    assert "≈ 1.7 s" in finding.message


def test_what_futures_bring_is_told_by_its_bytes():
    blind = tuple(change(sent(i), asked=(), layers=(("train", 40),)) for i in (1, 2))
    (finding,) = run(embedded_data, sick(collections=(), computations=blind, code=code(*SOURCES)))
    assert finding.subject == "train"


@pytest.mark.parametrize(
    "changes",
    [
        {"computations": (sent(1, 0.2),)},  # 0.7 s
        {"computations": (sent(1, 0.3, stop=T0 + 500), sent(2, 0.3, stop=T0 + 500))},  # under 5 %
        {"computations": tuple(sent(i, items=(embedded(nbytes=9_000_000),)) for i in (1, 2))},
        {"computations": tuple(sent(i, items=()) for i in (1, 2))},
        {"computations": ()},
        {"computations": (), "code": (*code(*SOURCES[:2]), *unrun("df = df.persist()", "df.sum().compute()"))},
        {"computations": (), "code": (*code(*SOURCES[:2]), *unrun("other.amount.sum().compute()"))},
        {"computations": (), "code": (*code(*SOURCES[:2]), *unrun("df.sum().compute("))},
        {"computations": (), "collections": (change(FRAME, embedded=(embedded(nbytes=9_999_999),)),)},
    ],
)  # fmt: skip
def test_is_quiet(changes):
    assert not run(embedded_data, sick(**changes))


def test_is_quiet_of_what_is_kept_on_the_workers_by_now():
    held = collection(name="df", at=at("c2", 2))
    assert not run(embedded_data, sick(collections=(held,)))


def test_is_quiet_when_the_cells_ran_again_without_it():
    cells = code(*SOURCES)
    later = tuple(change(c, started=T0 + 100, stopped=T0 + 110, execution_count=9) for c in cells)
    assert not run(embedded_data, sick(collections=(change(FRAME, embedded=()),), code=later))


def test_the_workers_read_what_the_kernel_read():
    facts = sick()
    (finding,) = run(embedded_data, facts)
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    after = apply(fix, facts.code)
    assert after[0].endswith('orders = dd.read_csv("orders.csv", blocksize=11_000_000)')
    assert after[1] == "df = orders"
    assert fix.rerun[:2] == ("c1", "c2")


def test_pandas_keeps_what_other_code_needs():
    facts = sick(code=code(*SOURCES, "orders.head()"))
    (finding,) = run(embedded_data, facts)
    after = apply(finding.fixes[0], facts.code)
    assert after[0] == SOURCES[0]
    assert after[1] == 'df = dd.read_csv("orders.csv", blocksize=11_000_000)'


@pytest.mark.parametrize(
    ("one_cell", "expected"),
    [
        (
            'import pandas as pd\nimport dask.dataframe as dd\no = pd.read_parquet(path, columns=["x"])\n'
            "df = dd.from_pandas(o, npartitions=4)\ndf.x.sum().compute()",
            'o = dd.read_parquet(path, columns=["x"])\ndf = o\ndf.x.sum().compute()',
        ),
        (
            'import pandas as pd\nimport dask.dataframe as dd\ndf = dd.from_pandas(pd.read_parquet("o"), 4)\n'
            "df.x.sum().compute()",
            'df = dd.read_parquet("o")\ndf.x.sum().compute()',
        ),
    ],
)
def test_edits_within_one_cell(one_cell, expected):
    item = embedded(variable="o" if "o =" in one_cell else None)
    cells = code(one_cell)
    done = tuple(sent(i, items=(item,), at=at("c1", 1)) for i in (1, 2))
    (finding,) = run(
        embedded_data, sick(code=cells, computations=done, collections=(change(FRAME, embedded=(item,)),))
    )
    assert apply(finding.fixes[0], cells)[0].endswith(expected)


@pytest.mark.parametrize(
    "read",
    [
        'pd.read_csv("o.csv", index_col=0)',
        'pd.read_csv("o.csv", nrows=100)',
        'pd.read_csv("o.csv", skipfooter=1)',
        "pd.read_csv(open(path))",
        'pd.read_excel("o.xlsx")',
        "make()",
    ],
)
def test_keeps_it_on_the_workers_where_dask_cannot_read_it(read):
    facts = sick(
        code=code(SOURCES[0].rsplit("\n", 1)[0] + f"\norders = {read}", *SOURCES[1:]),
    )
    (finding,) = run(embedded_data, facts)
    after = apply(finding.fixes[0], facts.code)
    assert after[2] == "df = df.persist()"
    assert finding.fixes[0].expect.startswith("200 MiB sent once instead of 2 times")


def test_shows_only_what_does_not_fit_or_is_far_away():
    far = cluster(is_in_process=False, kind=None)
    (finding,) = run(embedded_data, sick(cluster=far))
    assert [f.applicability for f in finding.fixes] == ["unsafe", "display-only"]
    assert "all workers must see the file" in finding.fixes[1].expect
    full = {
        "load": (load(managed=15 * GiB),),
        "code": code(*[s.replace("pd.read_csv", "make") for s in SOURCES]),
    }
    (finding,) = run(embedded_data, sick(**full))
    assert [f.applicability for f in finding.fixes] == ["display-only"]


LOOKUP = embedded(
    type="pandas.DataFrame", nbytes=32 * MiB, variable="names", n_times=20, is_source=False, layer=name("f")
)


def test_a_lookup_is_handed_over_once():
    cells = code(
        "import dask", "names = make()", "out = df.map_partitions(add, names, meta=m)", "out.sum().compute()"
    )
    done = sent(2, items=(LOOKUP,))
    (finding,) = run(embedded_data, sick(computations=(done,), collections=(), code=cells))
    assert finding.message.startswith("`names` (32 MiB) stands inside `f` in each of 20 tasks and was sent")
    after = apply(finding.fixes[0], cells)
    assert after[2] == "names_once = dask.delayed(names)\nout = df.map_partitions(add, names_once, meta=m)"


def test_a_small_lookup_is_nothing():
    cells = code(
        "import dask", "names = make()", "out = df.map_partitions(add, names, meta=m)", "out.sum().compute()"
    )
    small = change(LOOKUP, nbytes=12_000_000)
    done = sent(2, 0.1, items=(small,), schedule_seconds=0.1)
    assert not run(embedded_data, sick(computations=(done,), collections=(), code=cells))


def test_hostile_names_stay_words():
    evil = embedded(variable="<img src=x>`", layer="<b>-" + "0" * 32)
    (finding,) = run(embedded_data, sick(computations=(sent(1, items=(evil,)),), collections=()))
    assert "`<img src=x>'`" in finding.message
    assert not any(fix.edits for fix in finding.fixes)


def test_measures_the_sending():
    facts = sick()
    seconds, nbytes = embedded_data.measuring(
        "orders", at("c3", 3), computations=facts.computations, code=facts.code
    )
    assert seconds.value == pytest.approx(2.5)
    assert nbytes.value == 200 * MiB


def test_what_the_tasks_take_is_not_the_datas_fault():
    """20,000 tasks that bring a lookup of 12 MB once: the scheduler's 10 s are theirs."""
    slow = sent(1, items=(embedded(nbytes=12_000_000),), n_tasks=20_000, schedule_seconds=6.0)
    assert not run(embedded_data, sick(computations=(slow,), collections=()))
    # Nor is any other time without end
    slow = change(slow, n_tasks=60)
    assert not run(embedded_data, sick(computations=(slow,), collections=()))
