"""What lives in the Jupyter server: it asks kernels, remembers, and hands on to the panel."""
