"""Dask arrays inside of xarray's objects, and what is known of the stores behind them."""

import dask.array as da
import numpy as np
import pytest

from jupyter_dask_doctor.gather.data import stores
from jupyter_dask_doctor.gather.data.collections import profile

xr = pytest.importorskip("xarray")


def look(**variables):
    return profile(variables, sizes=lambda group: None, bound_at=lambda name: None)


def ones():
    return da.ones((1000, 1000), chunks=(100, 100))


def dataset():
    return xr.Dataset(
        {"tas": (("y", "x"), ones()), "pr": (("y", "x"), np.ones((1000, 1000)))},
        coords={"lon": ("x", da.arange(1000, chunks=100)), "lat": ("y", np.arange(1000))},
    )


def test_each_lazy_variable_of_a_dataset_is_told():
    found = look(ds=dataset())
    assert [(c.name, c.wrapped_by, c.chunks) for c in found] == [
        ('ds["tas"]', "xarray.Dataset", (100, 100)),
        ('ds["lon"]', "xarray.Dataset", (100,)),
    ]
    # What a user could type
    ds = dataset()
    for one in found:
        assert eval(one.name, {"ds": ds}).chunks is not None


def test_a_data_array_is_told_by_its_variable():
    array, lon = look(tas=dataset().tas)
    assert (array.name, array.kind, array.wrapped_by, array.shape) == (
        "tas",
        "array",
        "xarray.DataArray",
        (1000, 1000),
    )
    assert (array.n_tasks, array.nbytes.nbytes) == (101, 8_000_000)
    assert lon.name == 'tas.coords["lon"]'
    assert look(v=dataset().tas.variable)[0].wrapped_by == "xarray.Variable"


def test_what_holds_no_dask_array_is_none_of_ours():
    assert look(ds=xr.Dataset({"pr": ("x", np.ones(3))}), da=xr.DataArray(np.ones(3))) == ()


def test_a_hostile_name_is_shown_as_text():
    (found,) = look(ds=xr.Dataset({'a"]; del ds["': ("x", da.ones(3, chunks=1)), 7: ("x", da.ones(3))}))
    assert eval(found.name, {"ds": {'a"]; del ds["': 1}}) == 1


def test_large_objects_in_it_are_found():
    big = np.random.default_rng(0).random((500, 1000))
    (found,) = look(x=xr.DataArray(big, dims=("a", "b")).chunk({"a": 100}), big=big)
    assert [(one.variable, one.nbytes) for one in found.embedded] == [("big", 4_000_000)]


class _Lazy(xr.backends.BackendArray):
    """An array in a file: it must not be read."""

    shape = (100, 100)
    dtype = np.dtype("f8")

    def __getitem__(self, key):
        raise AssertionError("read")


def test_nothing_is_loaded():
    variable = xr.Variable(("a", "b"), xr.core.indexing.LazilyIndexedArray(_Lazy()))
    lazy = xr.Dataset({"t": variable})
    assert look(lazy=lazy, part=lazy.t) == ()
    (chunked,) = look(x=lazy.chunk(10).t)
    assert (chunked.n_tasks, chunked.embedded) == (102, ())


def test_subclasses_and_broken_ones():
    class Mine(xr.DataArray):
        __slots__ = ()

        @property
        def data(self):
            raise AssertionError("asked")

        def __repr__(self):
            raise AssertionError("shown")

        def __len__(self):
            raise AssertionError("counted")

    assert look(x=Mine(ones()))[0].npartitions == 100
    broken = dataset()
    del broken._variables
    assert [c.name for c in look(broken=broken, ok=ones())] == ["ok"]


def test_what_a_variable_remembers_of_its_file():
    ds = dataset()
    ds.tas.encoding.update(
        source="s3://me:secret@bucket/t.nc", chunksizes=(10, 1000), original_shape=(1000, 1000)
    )
    (read,) = look(ds=ds)[0].reads
    assert (read.format, read.path, read.chunks) == ("netcdf", "s3://bucket/t.nc", (10, 1000))
    assert (read.npartitions, read.asked_chunks) == (100, (100, 100))
    assert look(tas=ds.tas.isel(x=slice(10)))[0].reads[0].asked_chunks == ()


def test_a_zarr_array_tells_its_chunks(tmp_path):
    zarr = pytest.importorskip("zarr")
    stored = zarr.open(str(tmp_path / "a.zarr"), mode="w", shape=(100, 100), chunks=(10, 100), dtype="f8")
    for x in (
        da.from_zarr(str(tmp_path / "a.zarr"), chunks=(50, 50)),
        da.from_array(stored, chunks=(50, 50)) + 1,
        da.from_array(stored, chunks=(50, 50), inline_array=True),
    ):
        (read,) = look(x=x)[0].reads
        assert (read.format, read.chunks, read.asked_chunks, read.npartitions) == (
            "zarr",
            (10, 100),
            (50, 50),
            4,
        )
        assert read.path.endswith("a.zarr")


def test_an_hdf5_file_tells_its_chunks(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("d", data=np.ones((100, 100)), chunks=(10, 100))
        (read,) = look(x=da.from_array(stored, chunks=(50, 50)).sum())[0].reads
        assert (read.format, read.chunks, read.asked_chunks) == ("hdf5", (10, 100), (50, 50))
        assert read.path.endswith("a.h5")
        x = da.from_array(stored, chunks=(25, 50))
    assert look(x=x)[0].reads == ()  # closed since


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/data/x.zarr", "/data/x.zarr"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("https://host/x?token=secret", "https://host/x"),
        ("http://[broken", ""),
        ("x" * 500, "x" * 200),
    ],
)
def test_addresses_are_shown_without_secrets(path, shown):
    assert stores.shown(path) == shown
