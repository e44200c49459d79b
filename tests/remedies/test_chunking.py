"""Shapes of chunks: reckoned, and tried on real Dask arrays."""

import math

import dask
import pytest

from jupyter_dask_doctor.gather.data.arrays import cut
from jupyter_dask_doctor.remedies import chunking
from jupyter_dask_doctor.snapshot import Read, Size
from tests.healthy import MiB, apply, at, cell, lazy, operation

da = pytest.importorskip("dask.array")


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.mark.parametrize(
    ("shape", "size", "options"),
    [
        ((20_000, 20_000), 8, {}),
        ((1_000_000, 3), 8, {}),
        ((10, 10), 8, {}),
        ((365, 721, 1_440), 4, {}),
        ((365, 721, 1_440), 4, {"units": (1, 100, 100)}),
        ((8_000, 16_384), 8, {"whole": (1,)}),
        ((10**7,), 8, {}),
        ((1, 10**8), 1, {}),
    ],
)
@pytest.mark.parametrize("target", [4 * MiB, 100 * MiB])
def test_fits_and_is_not_much_smaller(shape, size, options, target):
    chunks = chunking.shape_near(shape, size, target, **options)
    assert len(chunks) == len(shape)
    assert all(1 <= k <= n for k, n in zip(chunks, shape, strict=True))
    nbytes = math.prod(chunks) * size
    assert nbytes <= target
    assert nbytes >= min(math.prod(shape) * size, target) / 4
    for d in options.get("whole", ()):
        assert chunks[d] == shape[d]
    for k, n, u in zip(chunks, shape, options.get("units", ()), strict=bool(options.get("units"))):
        assert k % u == 0 or k == n


@pytest.mark.parametrize(
    ("shape", "size", "options"),
    [
        ((), 8, {}),
        ((-1, 10), 8, {}),
        ((0, 10), 8, {}),
        ((10, 10), 0, {}),
        ((20_000, 20_000), 8, {"whole": (0, 1)}),
        ((20_000, 20_000), 8, {"units": (20_000, 20_000)}),
    ],
)
def test_none_where_it_cannot_be(shape, size, options):
    assert chunking.shape_near(shape, size, MiB, **options) is None


def described(name, x, **changes):
    """What the gatherer tells of a real array."""
    own = cut(x.chunks, x.dtype)
    facts = {
        "name": name, "kind": "array", "shape": x.shape, "chunks": own.shape, "npartitions": own.n,
        "dtype": str(x.dtype), "largest": Size(nbytes=own.largest, known="exact"), "at": at(), "reads": (),
    }  # fmt: skip
    return lazy(**facts | changes)


def run(code):
    names = {"da": da}
    exec(compile(code, "<cell>", "exec"), names)
    return names


def test_aligned_chunks_stay_few():
    begins = "x = da.ones((3000, 3000), chunks=(3000, 500))"
    x = run(begins)["x"]
    y = x + x.T
    cells = (cell("c1", begins, 1), cell("c2", "y = x + x.T", 2))
    c = described("y", y, at=at("c2", 2))
    (fix,) = chunking.aligned(c, [described("x", x)], 8 * MiB, cells)
    made = run("\n".join(apply(fix, cells)))
    assert y.npartitions == 36
    assert made["y"].npartitions == made["x"].npartitions == 9
    assert "36 → about 9 chunks" in fix.expect


def test_a_rechunk_is_made_to_fit():
    text = "x = da.ones((3000, 4000), chunks=(100, 4000))\ny = x.rechunk((3000, -1))"
    y = run(text)["y"]
    step = operation("rechunk", n_in=(30,), n_out=1, chunks_out=(3000, 4000))
    (fix,) = chunking.recut(described("y", y), step, 8 * MiB, (cell("c1", text, 1),))
    made = run(apply(fix, [cell("c1", text, 1)])[0])["y"]
    assert max(math.prod(c) * 8 for c in [made.chunksize]) <= 8 * MiB
    assert f"1 → {made.npartitions} chunks" in fix.expect


def test_a_reshape_merges_again():
    text = "y = da.ones((400, 200, 200), chunks=(40, 200, 20)).reshape(400, -1, merge_chunks=False)"
    y = run(text)["y"]
    step = operation("reshape", n_in=(100,), n_out=y.npartitions)
    (fix,) = chunking.reshaped(described("y", y), step, (cell("c1", text, 1),))
    assert run(apply(fix, [cell("c1", text, 1)])[0])["y"].npartitions <= 100 < y.npartitions


def test_chunks_of_a_store_are_kept_whole():
    text = 'x = da.from_zarr("x.zarr", chunks=(1, 4000))'
    x = described("x", da.ones((4000, 4000), chunks=(1, 4000)))
    read = Read(format="zarr", path="x.zarr", chunks=(500, 300))
    (fix,) = chunking.as_stored(x, read, (4000, 4000), 8, 32 * MiB, (cell("c1", text, 1),))
    (after,) = apply(fix, [cell("c1", text, 1)])
    a, b = (int(n) for n in after.split("chunks=(")[1].rstrip(")").split(", "))
    assert a % 500 == 0
    assert b % 300 == 0
    assert a * b * 8 <= 32 * MiB
