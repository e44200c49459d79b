import subprocess
import sys

LOOK = """
import sys
from jupyter_dask_doctor.server import app, routes
from jupyter_dask_doctor import figures
assert routes._rules()
ours = ("jupyter_dask_doctor.gather", "jupyter_dask_doctor.kernel", "jupyter_dask_doctor.doctor")
print([name for name in sys.modules if name == "distributed" or name.startswith(ours)])
"""


def test_the_server_never_imports_what_belongs_to_the_kernel():
    # Importing distributed would cost every Jupyter server a second and 30 MB.
    out = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
