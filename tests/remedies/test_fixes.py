"""Edits as data."""

import zlib

import pytest

from jupyter_dask_doctor import source
from jupyter_dask_doctor.remedies import fixes
from tests.healthy import MiB, apply, at, cell, cluster, code, collection, load, sizes, skewed


def test_checksum_is_of_the_utf8_text():
    assert fixes.checksum("é🩺") == zlib.crc32("é🩺".encode())
    assert fixes.checksum("\ud83d")  # half of a pair, as a browser may send it


@pytest.mark.parametrize("name", ["a b", "class", "x;import os", "", "1a", "x\n"])
def test_only_variable_names_go_into_code(name):
    hostile = collection(name=name, sizes=skewed())
    assert fixes.persist(name) == ""
    assert fixes.split(hostile, {17: 4}, cluster=cluster()) == ""
    assert fixes.repartition(hostile, 4, cluster=cluster()) == ""
    assert fixes.rechunk(collection(name=name, kind="array"), 4) == ""


def test_a_name_in_another_script_is_a_name():
    assert fixes.persist("données") == "données = données.persist()"


def test_insert_below_leans_on_the_text_of_its_neighbour():
    fix = fixes.insert_below(cell(), "df = df.persist()", title="t", expect="e", rerun=at("c2", 2))
    assert fix.checksums == (("c1", fixes.checksum(cell().source)),)
    assert fix.edits[0].kind == "below"
    assert fix.rerun == ("c2",)


@pytest.mark.parametrize(("where", "text"), [(cell(id=None), "df = 1"), (cell(), "df = ("), (cell(), "")])
def test_what_cannot_be_inserted_is_shown(where, text):
    assert fixes.insert_below(where, text, title="t", expect="e", rerun=None).applicability == "display-only"


def test_replace_refuses_what_would_be_no_python():
    one = cell(text="a = b + c")
    where = source.Span(line=1, column=4, end_line=1, end_column=9)
    assert fixes.replace(one, where, "b +", title="t", expect="e") is None
    fix = fixes.replace(one, where, "d", title="t", expect="e")
    assert fix.edits[0].old == "b + c"
    assert apply(fix, (one,)) == ["a = d"]
    assert fix.code == "a = d"


def test_replace_shows_the_whole_lines():
    one = cell(text="x = 1\ny = f(\n    a,\n    b,\n)\nz = 3")
    where = source.Span(line=3, column=4, end_line=4, end_column=5)
    fix = fixes.replace(one, where, "c", title="t", expect="e")
    assert fix.code == "    c,"
    assert apply(fix, (one,)) == ["x = 1\ny = f(\n    c,\n)\nz = 3"]


@pytest.mark.parametrize(
    ("dask", "n", "counts"),
    [
        ("2026.8.0", 128, 128),
        ("2026.6.0", 129, 129),
        ("2026.5.1", 128, 130),
        ("2024.3.0", 129, 130),
        ("2024.2.1", 128, 128),
        ("2025.7.0", 32768, 32770),
        ("2025.7.0+4.gabc", 128, 130),
        ("2025.7.0", 0, 1),
    ],
)
def test_partition_count_avoids_what_loses_rows(dask, n, counts):
    assert fixes.partition_count(n, cluster(dask=dask)) == counts


def test_pieces_are_about_the_median_within_bounds():
    assert fixes.pieces(skewed(), ratio=4.0) == {17: 24}  # 1900 / 80
    assert fixes.pieces(skewed(nbytes=1 * MiB, largest=160 * MiB), ratio=4.0) == {17: 20}  # 8 MiB
    assert fixes.pieces(skewed(nbytes=400 * MiB, largest=2000 * MiB), ratio=4.0) == {17: 20}  # 100 MiB


def test_a_piece_is_at_most_half_of_what_a_thread_has_to_do():
    one = sizes(*[90 * MiB] * 19, 1000 * MiB)
    assert fixes.pieces(one, ratio=4.0, nthreads=1) == {19: 12}
    assert fixes.pieces(one, ratio=4.0, nthreads=64)[19] == 48  # 21 MiB


def test_pieces_of_many_partitions_are_known_of_the_largest_alone():
    quantiles = sizes(*[80 * MiB] * 199, 1900 * MiB, largest_index="311")
    many = fixes.pieces(
        type(quantiles)(**{k: getattr(quantiles, k) for k in quantiles.__slots__} | {"n": 400}), ratio=4
    )
    assert many == {311: 24}
    several = sizes(*[80 * MiB] * 190, *[1900 * MiB] * 10, largest_index="311")
    several = type(several)(**{k: getattr(several, k) for k in several.__slots__} | {"n": 400})
    assert fixes.pieces(several, ratio=4) == {}


def test_rebind_shows_only_what_has_no_place():
    both = code("orders, n = load()\norders.compute()", "for orders in many:\n    orders.compute()")
    made = fixes.rebind(
        "orders", "orders = orders.persist()", binding=both[0], ailing=at("c1"), title="t", expect="e"
    )
    assert apply(made, both)[0] == "orders, n = load()\norders = orders.persist()\norders.compute()"
    shown = fixes.rebind(
        "orders", "orders = orders.persist()", binding=both[1], ailing=at("c2"), title="t", expect="e"
    )
    assert shown.applicability == "display-only"
    lost = fixes.rebind(
        "orders", "orders = orders.persist()", binding=None, ailing=at("c2"), title="t", expect="e"
    )
    assert lost.applicability == "display-only"


def test_rebind_stands_between_two_statements_of_one_line():
    crowded = cell(text="orders = load(); orders.compute()")
    made = fixes.rebind("orders", "orders = 1", binding=crowded, ailing=at("c1"), title="t", expect="e")
    assert apply(made, (crowded,)) == ["orders = load()\norders = 1; orders.compute()"]


def test_room():
    assert fixes.has_room(1, cluster(memory_limit=None), ())
    assert fixes.has_room(1000 * MiB, cluster(), (load(managed=1),), share=0.5)
    assert not fixes.has_room(9000 * MiB, cluster(), (load(),), share=0.5)
