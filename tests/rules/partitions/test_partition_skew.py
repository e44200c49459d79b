"""One partition against the others."""

import pytest

from jupyter_dask_doctor.remedies import fixes
from jupyter_dask_doctor.rules.partitions import partition_skew
from jupyter_dask_doctor.snapshot import HotKey, Size
from tests.healthy import (
    GiB,
    MiB,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    even,
    group,
    held,
    lazy,
    load,
    name,
    prefix,
    run,
    sizes,
    skewed,
    snapshot,
    workers,
)

ORDERS = collection(name="orders", sizes=skewed())


def sick(**changes):
    """`orders` has one partition of 1.9 GiB; a cell summed it in 8 s with 16 s of work."""
    facts = {
        "collections": (ORDERS,),
        "groups": (group(dependencies=(ORDERS.group,), compute_seconds=16.0),),
        "computations": (computation(reused=(ORDERS.group,), thread_seconds=16.0),),
        "code": code("orders = load().persist()", "orders.x.sum().compute()"),
    }
    return snapshot(**facts | changes)


def test_names_the_partition_and_how_many_times_it_is_larger():
    (finding,) = run(partition_skew, sick())
    assert finding.id == "partition-skew:orders"
    assert finding.severity == "warning"
    assert finding.message == "Partition 17 of `orders` holds 24× the median: 1.9 GiB, median 80 MiB."
    assert finding.at == at("c2", 2)
    assert finding.charts[0].highlight == 17


def test_loss_is_what_one_thread_did_beyond_an_even_share():
    (finding,) = run(partition_skew, sick())
    share = ORDERS.sizes.largest / ORDERS.sizes.total
    assert finding.loss_seconds == pytest.approx(min(8.0, 16 * share) - 16 / 8)
    assert finding.of_seconds == pytest.approx(8.0)


def test_without_a_loss_it_is_only_worth_knowing():
    (finding,) = run(partition_skew, sick(groups=(), computations=()))
    assert finding.severity == "info"
    assert finding.loss_seconds is None


@pytest.mark.parametrize(("peak", "severity"), [(3.3 * GiB, "critical"), (3.1 * GiB, "warning")])
def test_is_critical_when_a_worker_is_nearly_full(peak, severity):
    ran = computation(reused=(ORDERS.group,), thread_seconds=16.0, peak_worker_memory=int(peak))
    (finding,) = run(partition_skew, sick(computations=(ran,)))
    assert finding.severity == severity


@pytest.mark.parametrize(
    "measured",
    [
        even(),
        skewed(largest=300 * MiB),  # 3.75 times
        sizes(*[80 * MiB] * 6, 1900 * MiB),  # 7 partitions
        sizes(*[80 * MiB] * 20, 1 * MiB),  # a short last one
        skewed(nbytes=1 * MiB, largest=30 * MiB),  # small
        change(skewed(), largest_index=None),
        None,
    ],
)
def test_is_quiet_when_partitions_are_alike_few_small_or_unseen(measured):
    healthy = collection(name="orders", sizes=measured)
    assert not run(partition_skew, sick(collections=(healthy,)))


def test_a_tenth_of_a_small_worker_is_not_small():
    little = collection(name="orders", sizes=skewed(nbytes=1 * MiB, largest=30 * MiB))
    assert run(partition_skew, sick(collections=(little,), workers=workers(memory_limit=256 * MiB)))


@pytest.mark.parametrize(
    "prefix", ["sum-aggregate", "shuffle-barrier", "hash-join-transfer", "getitem", "finalize", "concatenate"]
)
def test_is_quiet_of_helper_tasks(prefix):
    uneven = group(prefix, sizes=skewed())
    assert not run(partition_skew, sick(collections=(), groups=(uneven,)))


def test_is_quiet_of_futures_where_unlike_calls_share_a_name():
    lumped = group("train", name="train", sizes=skewed())
    assert not run(partition_skew, sick(collections=(), groups=(lumped,)))


def test_speaks_of_tasks_when_no_variable_holds_them():
    merged = group("merge", sizes=skewed(), compute_seconds=16.0, dependencies=(name("read"),))
    summed = group("sum-chunk", dependencies=(merged.name,), compute_seconds=0.5)
    (finding,) = run(partition_skew, sick(collections=(), groups=(merged, summed)))
    assert finding.subject == "merge"
    assert finding.at == at("c2", 2)
    assert not finding.fixes


def test_is_quiet_of_tasks_that_cost_little_or_that_nothing_works_on():
    merged = group("merge", sizes=skewed(), compute_seconds=0.5, dependencies=(name("read"),))
    summed = group("sum-chunk", dependencies=(merged.name,), compute_seconds=0.5)
    quick = computation(thread_seconds=1.0)
    assert not run(partition_skew, sick(collections=(), groups=(merged, summed), computations=(quick,)))
    alone = group("merge", sizes=skewed(), compute_seconds=16.0, dependencies=(name("read"),))
    assert not run(partition_skew, sick(collections=(), groups=(alone,)))


def test_reading_is_not_counted_as_a_loss_that_a_cut_would_mend():
    read = group(
        "read-parquet", name=ORDERS.group, sizes=ORDERS.sizes, compute_seconds=40.0, computation_id="k0"
    )
    made = computation(id="k0", submitted=0.0, start=1.0, stop=30.0, at=at("c1", 1))
    (finding,) = run(partition_skew, sick(groups=(read,), computations=(made,), code=()))
    assert finding.severity == "info"


def test_steps_behind_a_layer_of_aliases_count():
    alias = group("alias", dependencies=(ORDERS.group,), compute_seconds=0.0)
    step = group("paid", dependencies=(alias.name,), compute_seconds=16.0)
    (finding,) = run(partition_skew, sick(groups=(alias, step)))
    assert finding.severity == "warning"


def test_one_finding_when_collection_and_tasks_are_the_same_data():
    made = group("read-parquet", name=ORDERS.group, sizes=ORDERS.sizes)
    made_from = group("assign", sizes=skewed(), dependencies=(ORDERS.group,))
    found = run(partition_skew, sick(groups=(made, made_from, *sick().groups)))
    assert [f.subject for f in found] == ["orders"]


def test_one_finding_for_two_names_and_for_what_is_made_from_it():
    alias = change(ORDERS, name="again")
    derived = collection(name="more", sizes=skewed(), group=name("more"),
                         names=(name("fromgraph", 1), name("more"), ORDERS.group))  # fmt: skip
    found = run(partition_skew, sick(collections=(derived, ORDERS, alias)))
    assert [f.subject for f in found] == ["orders"]


def test_an_earlier_run_of_the_cell_does_not_count():
    again = code("orders = load().persist()", "orders.x.sum().compute()")
    later = change(again[1], execution_count=3, started=again[1].started + 60, stopped=again[1].stopped + 60)
    (finding,) = run(partition_skew, sick(code=(again[0], later)))
    assert finding.severity == "info"


def test_fix_cuts_that_partition_alone_below_the_cell_that_bound_it():
    (finding,) = run(partition_skew, sick())
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    assert fix.rerun == ("c2",)
    sources = apply(fix, sick().code)
    assert sources[1] == (
        "import dask.dataframe as dd\n\n"
        "orders = dd.concat([\n"
        "    orders.partitions[:17],\n"
        "    orders.partitions[17].repartition(npartitions=24),  # by rows\n"
        "    orders.partitions[18:],\n"
        "]).persist()"
    )


def test_fix_forgets_divisions_where_they_would_keep_a_hot_value_whole():
    known = change(ORDERS, has_known_divisions=True)
    (finding,) = run(partition_skew, sick(collections=(known,)))
    assert "orders.partitions[17].clear_divisions().repartition(npartitions=24)" in finding.fixes[0].code


@pytest.mark.parametrize("position", [0, 19])
def test_fix_of_the_first_and_the_last_partition(position):
    edge = change(ORDERS, sizes=skewed(at=position))
    (finding,) = run(partition_skew, sick(collections=(edge,)))
    text = finding.fixes[0].code
    assert f"orders.partitions[{position}].repartition" in text
    assert ("orders.partitions[1:]" in text) == (position == 0)
    assert ("orders.partitions[:19]" in text) == (position == 19)
    assert "orders.partitions[0:" not in text
    assert "orders.partitions[20:" not in text


def test_fix_cuts_every_large_partition():
    values = list(skewed().values)
    values[3] = values[4] = 500 * MiB
    (finding,) = run(partition_skew, sick(collections=(change(ORDERS, sizes=sizes(*values)),)))
    assert finding.fixes[0].code.count("# by rows") == 3


def test_nothing_is_left_to_find_after_the_fix():
    cut = fixes.pieces(ORDERS.sizes, ratio=4.0)
    values = [v // cut.get(i, 1) for i, v in enumerate(ORDERS.sizes.values) for _ in range(cut.get(i, 1))]
    assert not run(partition_skew, sick(collections=(change(ORDERS, sizes=sizes(*values)),)))


def test_a_lazy_frame_is_kept_first_or_its_shuffle_would_run_for_each_slice():
    unheld = change(ORDERS, is_persisted=False)
    (finding,) = run(partition_skew, sick(collections=(unheld,)))
    assert "orders = orders.persist()\norders = dd.concat([" in finding.fixes[0].code
    assert not finding.fixes[0].code.endswith(".persist()")


def test_fix_goes_behind_the_binding_when_one_cell_does_both():
    both = code("orders = load().persist()\norders.x.sum().compute()")
    ran = change(sick().computations[0], submitted=both[0].started + 1, at=at("c1", 1))
    (finding,) = run(partition_skew, sick(code=both, computations=(ran,)))
    (text,) = apply(finding.fixes[0], both)
    assert text.startswith("orders = load().persist()\nimport dask.dataframe as dd\n")
    assert text.endswith("]).persist()\norders.x.sum().compute()")


def test_never_a_count_that_loses_rows_in_a_merge():
    # 104 partitions, one of them cut into 25: 128 in all
    many = sizes(*[80 * MiB] * 50, 2000 * MiB - 1, *[80 * MiB] * 53)
    orders = collection(name="orders", sizes=many)
    old = cluster(dask="2025.7.0", memory_limit=64 * GiB)
    (finding,) = run(partition_skew, sick(collections=(orders,), cluster=old))
    assert "npartitions=27" in finding.fixes[0].code  # 130 in all
    (finding,) = run(partition_skew, sick(collections=(orders,), cluster=cluster(memory_limit=64 * GiB)))
    assert "npartitions=25" in finding.fixes[0].code


def test_without_room_for_both_versions_the_fix_is_only_shown():
    full = load(managed=12 * GiB)
    (finding,) = run(partition_skew, sick(load=(full,)))
    assert finding.fixes[0].applicability == "display-only"
    assert not finding.fixes[0].edits


@pytest.mark.parametrize(
    "changes", [{"kind": "bag"}, {"is_eager": True}, {"npartitions": 40}, {"name": "a b"}]
)
def test_no_fix_that_would_not_fit(changes):
    (finding,) = run(partition_skew, sick(collections=(change(ORDERS, **changes),)))
    assert not finding.fixes


def test_array_gets_even_chunks():
    x = change(ORDERS, name="x", kind="array")
    (finding,) = run(partition_skew, sick(collections=(x,)))
    assert finding.fixes[0].code.startswith('x = x.rechunk("auto", block_size_limit=')


def test_measures_the_largest_partition():
    measured = partition_skew.measuring("orders", at("c2", 2), collections=(ORDERS,), groups=())
    assert [(m.label, m.value) for m in measured] == [("largest partition", 1900 * MiB)]


def many_rows(at=17, rows=100_000, largest=2_400_000, n=20):
    values = [rows] * n
    values[at] = largest
    return tuple(values)


def test_rows_stand_beside_the_bytes():
    counted = change(ORDERS, held=change(held(), rows=many_rows()))
    (finding,) = run(partition_skew, sick(collections=(counted,)))
    told = {e.label: e.value for e in finding.evidence}
    assert (told["its rows"], told["rows of the median"]) == (2_400_000, 100_000)
    assert [c.title for c in finding.charts] == [
        "Bytes per partition of `orders`",
        "Rows per partition of `orders`",
    ]
    assert "hardly more rows" not in finding.why


def test_large_rows_are_told_from_many_rows():
    wide = change(ORDERS, held=held(rows=100_000))
    (finding,) = run(partition_skew, sick(collections=(wide,)))
    assert finding.why.endswith("It has hardly more rows than the others: its rows are larger.")


def test_rows_of_some_partitions_only_are_not_told():
    some = change(ORDERS, held=change(held(n=19), rows=(1,) * 19))
    (finding,) = run(partition_skew, sick(collections=(some,)))
    assert "its rows" not in {e.label for e in finding.evidence}


#: Even in bytes, uneven in rows: short texts in one partition, long ones in the others.
SHORT = collection(name="orders", held=change(held(), rows=many_rows()))


def short(seconds=8.0, **changes):
    slow = (prefix("sum-chunk", max_seconds=seconds),)
    return sick(**{"collections": (SHORT,), "prefixes": slow} | changes)


def test_uneven_rows_in_even_bytes_are_told_where_they_were_seen_to_cost():
    (finding,) = run(partition_skew, short())
    assert finding.id == "partition-skew:orders"
    assert finding.message == (
        "Partition 17 of `orders` holds 24× the median: 2,400,000 rows, median 100,000."
    )
    assert finding.severity == "warning"
    assert "orders.partitions[17].repartition(npartitions=" in finding.fixes[0].code


@pytest.mark.parametrize(
    "facts",
    [
        {"seconds": 1.0},  # no task took long
        {"prefixes": ()},
        {"prefixes": (prefix("other", max_seconds=60.0),)},
        {"groups": (group(dependencies=(ORDERS.group,), compute_seconds=1.0),)},  # nothing was lost
        {"computations": (), "groups": ()},
        {"collections": (change(SHORT, held=held()),)},
        {"collections": (change(SHORT, held=change(held(), rows=many_rows()[:19])),)},
    ],
)
def test_uneven_rows_in_even_bytes_are_no_fault_by_themselves(facts):
    assert not run(partition_skew, short(**facts))


HOT = HotKey(column="shop", value="online", share=0.94, partition="17", n_rows=10_000)
JOIN = 'orders = sales.merge(shops, on="shop").persist()'


def joined(text=JOIN, hot=HOT, small=2 * MiB, **changes):
    """`orders` came out of a join of the lazy `sales` with `shops`."""
    orders = change(ORDERS, held=held(hot=hot))
    sales = lazy(name="sales", names=(name("read_parquet", 1),))
    shops = lazy(
        name="shops",
        npartitions=4,
        names=(name("read_parquet", 2),),
        nbytes=Size(nbytes=small, known="estimated") if small else None,
    )
    facts = {"collections": (orders, sales, shops), "code": code(text, "orders.x.sum().compute()")}
    return sick(**facts | changes)


def test_the_hot_key_is_named():
    (finding,) = run(partition_skew, joined())
    assert "94 % of its rows have `online` in `shop`" in finding.why
    assert {e.label: e.value for e in finding.evidence}["rows with one shop"] == 0.94
    assert finding.id == "partition-skew:orders"


def test_a_small_side_is_sent_whole():
    facts = joined()
    whole, cut = run(partition_skew, facts)[0].fixes
    assert apply(whole, facts.code)[0] == (
        'orders = sales.merge(shops.repartition(npartitions=1), on="shop").persist()'
    )
    assert whole.applicability == "unsafe"
    assert whole.rerun == ("c1", "c2")
    assert "≈ 2 MiB in one partition" in whole.expect
    assert "orders.partitions[17]" in cut.code


@pytest.mark.parametrize(
    ("text", "cured"),
    [
        ('orders = shops.merge(sales, on="shop").persist()', "shops.repartition(npartitions=1).merge(sales"),
        (
            'orders = dd.merge(sales, shops, on=["shop"])',
            "dd.merge(sales, shops.repartition(npartitions=1), on",
        ),
        ('orders = sales.merge(shops, on="shop", how="left")', "merge(shops.repartition(npartitions=1), on"),
    ],
)
def test_either_side_may_be_the_small_one(text, cured):
    facts = joined(text)
    assert cured in apply(run(partition_skew, facts)[0].fixes[0], facts.code)[0]


@pytest.mark.parametrize(
    "facts",
    [
        {"small": 250 * MiB},
        {"small": None},
        {"text": 'orders = sales.merge(shops, on="shop", how="right")'},
        {"text": 'orders = sales.merge(shops, on="shop", how="outer")'},
        {"text": 'orders = sales.merge(shops, on="shop", broadcast=True)'},
        {"text": "orders = sales.merge(shops, left_index=True, right_index=True)"},
        {"text": 'orders = sales.merge(load(), on="shop")'},
        {"text": "orders = sales.merge(shops, on=key)"},
        {"text": 'orders = sales.merge(shops, on="shop", **more)'},
        {"text": 'orders = a.merge(b, on="shop") if x else sales.merge(shops, on="shop")'},
        {"workers": workers(memory_limit=32 * MiB)},
    ],
)
def test_no_side_is_sent_whole_where_that_is_not_sure_to_fit_or_to_be_right(facts):
    for fix in run(partition_skew, joined(**facts))[0].fixes:
        assert "repartition(npartitions=1)" not in fix.code


def test_a_key_is_spread_where_both_sides_are_large():
    salt, cut = run(partition_skew, joined(small=250 * MiB))[0].fixes
    assert salt.applicability == "display-only"
    assert "n = 24  # as many partitions for one key" in salt.code
    assert 'shops.map_partitions(copied), on=["shop", "salt"]' in salt.code
    assert "250 MiB → 5.9 GiB" in salt.expect
    assert "# by rows" in cut.code


@pytest.mark.parametrize(
    "hot",
    [
        change(HOT, share=0.4),
        change(HOT, partition="3"),
        None,
    ],
)
def test_a_key_that_is_not_hot_or_not_there_is_not_named(hot):
    (finding,) = run(partition_skew, joined(hot=hot))
    assert "of its rows have" not in finding.why


def test_a_join_on_another_column_is_left_alone():
    facts = joined(hot=change(HOT, column="day"))
    (cut,) = run(partition_skew, facts)[0].fixes
    assert "# by rows" in cut.code


def test_tasks_of_a_join_without_a_variable_are_helped_in_their_cell():
    merged = group("hash-join-p2p", sizes=skewed(), compute_seconds=16.0, dependencies=(name("read"),))
    merged = change(merged, prefix="blockwisemerge", name=name("blockwisemerge"))
    summed = group("sum-chunk", dependencies=(merged.name,), compute_seconds=0.5)
    cells = code("sales, shops = load()", 'sales.merge(shops, on="shop").x.sum().compute()')
    facts = joined(groups=(merged, summed), code=cells)
    facts = change(facts, collections=facts.collections[1:])
    (finding,) = run(partition_skew, facts)
    assert finding.subject == "blockwisemerge"
    assert apply(finding.fixes[0], cells)[1] == (
        'sales.merge(shops.repartition(npartitions=1), on="shop").x.sum().compute()'
    )


def test_hostile_keys_stay_in_their_place():
    evil = change(HOT, column="shop", value="`<script>\n")
    (finding,) = run(partition_skew, joined(hot=evil))
    assert "have `'<script>` in `shop`" in finding.why
    quoted = joined(
        "orders = sales.merge(shops, on='sh\"op')", hot=change(HOT, column='sh"op'), small=250 * MiB
    )
    assert all("salt" not in fix.code for fix in run(partition_skew, quoted)[0].fixes)
