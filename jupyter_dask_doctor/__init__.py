"""Says why a Dask computation is slow, dies, hangs or gives odd results, proves it, and offers the fix."""

__version__ = "0.1.0"
