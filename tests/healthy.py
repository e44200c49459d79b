"""Builders of healthy facts: a test changes one of them and says what must follow."""

import dataclasses
import statistics
import zlib

from jupyter_dask_doctor import source
from jupyter_dask_doctor.report import Edit
from jupyter_dask_doctor.snapshot import (
    Activity,
    BlockedTasks,
    Cell,
    Cluster,
    Collection,
    Column,
    Computation,
    Embedded,
    Held,
    Kernel,
    Layer,
    Load,
    Location,
    MemorySample,
    Operation,
    OwnCluster,
    PartitionSizes,
    Phase,
    Policy,
    Read,
    Rest,
    RunningTask,
    Scheduling,
    Sending,
    Size,
    Snapshot,
    TaskFailure,
    TaskGroup,
    TaskPrefix,
    Versions,
    Worker,
    WorkerChange,
    WorkerEnvironment,
    WorkerLoss,
)

MiB = 2**20
GiB = 2**30
#: The moment at which the notebook began.
T0 = 1_700_000_000.0
TOKEN = "0123456789abcdef0123456789abcdef"


def name(prefix, n=0):
    """A group's name as Dask makes it: a prefix and a token."""
    return f"{prefix}-{n:032x}"[: len(prefix) + 33].replace("0" * 16, TOKEN[:16], 1)


def cell(id="c1", text="df = load()", n=1, started=T0, stopped=T0 + 10, **more):
    return Cell(id=id, execution_count=n, source=text, started=started, stopped=stopped, **more)


def at(id="c1", n=1, line=None):
    return Location(cell_id=id, execution_count=n, line=line)


def cluster(**changes):
    facts = {
        "scheduler_id": "Scheduler-1",
        "address": "tcp://127.0.0.1:1",
        "client_id": "Client-1",
        "kind": "LocalCluster",
        "is_in_process": True,
        "nthreads": 8,
        "memory_limit": 16 * GiB,
        "python": (3, 12),
        "dask": "2026.8.0",
        "distributed": "2026.8.0",
    }
    return Cluster(**facts | changes)


def samples(*shares, limit=4 * GiB, start=T0, step=1.0, paused_from=0.8):
    return tuple(
        MemorySample(
            time=start + i * step, process=int(share * limit), managed=int(share * limit / 2), spilled=0,
            is_paused=share >= paused_from,
        )
        for i, share in enumerate(shares)
    )  # fmt: skip


def worker(n=0, **changes):
    facts = {
        "address": f"tcp://127.0.0.1:{4000 + n}",
        "name": str(n),
        "nthreads": 2,
        "memory_limit": 4 * GiB,
        "status": "running",
        "process": 300 * MiB,
        "managed": 100 * MiB,
        "spilled": 0,
        "unmanaged_old": 150 * MiB,
        "n_processing": 0,
        "n_executing": 0,
        "cpu": 5.0,
    }
    return Worker(**facts | changes)


def workers(n=4, **changes):
    return tuple(worker(i, **changes) for i in range(n))


def sizes(*values, largest_index=None):
    ordered = sorted(values)
    if largest_index is None:
        largest_index = str(values.index(max(values)))
    return PartitionSizes(
        n=len(values),
        total=sum(values),
        median=int(statistics.median(values)),
        p95=ordered[int(0.95 * (len(ordered) - 1))],
        largest=ordered[-1],
        largest_index=largest_index,
        values=tuple(values),
    )


def even(n=20, nbytes=80 * MiB):
    return sizes(*[nbytes + i for i in range(n)])


def skewed(n=20, nbytes=80 * MiB, at=17, largest=1900 * MiB):
    values = [nbytes + i for i in range(n)]
    values[at] = largest
    return sizes(*values)


def collection(**changes):
    """`df`: 20 partitions of about 80 MiB in memory, bound by the cell "c1"."""
    measured = changes.get("sizes", even())
    group = name("read-parquet")
    facts = {
        "name": "df",
        "kind": "dataframe",
        "npartitions": measured.n if measured else 20,
        "nbytes": Size(nbytes=measured.total, known="exact") if measured else None,
        "largest": Size(nbytes=measured.largest, known="exact") if measured else None,
        "is_persisted": True,
        "sizes": measured,
        "group": group,
        "names": (name("fromgraph"), group),
        "has_known_divisions": False,
        "at": at(),
    }
    return Collection(**facts | changes)


def lazy(**changes):
    """`df`: 20 partitions of about 80 MiB that are read from 20 parquet files when they are needed."""
    read = name("read_parquet")
    facts = {
        "sizes": None,
        "nbytes": Size(nbytes=20 * 80 * MiB, known="estimated"),
        "largest": Size(nbytes=82 * MiB, known="estimated"),
        "is_persisted": False,
        "group": None,
        "names": (read,),
        "n_rows": 20_000_000,
        "columns": (Column(name="user", dtype="int64"), Column(name="amount", dtype="float64")),
        "n_columns": 2,
        "n_tasks": 20,
        "fused_tasks": 20,
        "layers": (Layer(name=read, prefix="read_parquet", n_tasks=20),),
        "n_steps": 1,
        "depth": 1,
        "reads": (
            Read(
                format="parquet",
                path="sales",
                n_files=20,
                nbytes=20 * 50 * MiB,
                largest=52 * MiB,
                npartitions=20,
            ),
        ),
    }
    return collection(**facts | changes)


def operation(kind="merge", **changes):
    """Of 20 partitions each, on columns."""
    facts = {"kind": kind, "name": name(kind), "n_in": (20, 20), "n_out": 20, "columns": ("user",)}
    return Operation(**facts | changes)


def embedded(**changes):
    """A frame of 200 MiB that the variable `orders` holds."""
    facts = {
        "type": "pandas.DataFrame",
        "nbytes": 200 * MiB,
        "layer": name("frompandas"),
        "variable": "orders",
    }
    return Embedded(**facts | {"is_source": True} | changes)


def held(n=20, rows=1_000_000, **changes):
    """What workers told of `df`: partitions of a million rows."""
    columns = (Column(name="user", dtype="int64"), Column(name="amount", dtype="float64"))
    facts = {"n": n, "rows": (rows,) * n, "columns": columns, "type": "pandas.DataFrame"}
    return Held(**facts | changes)


def phase(kind="optimizing", start=T0 + 20.2, seconds=0.3, **changes):
    """Before the first graph of the cell "c2"."""
    facts = {"kind": kind, "start": start, "stop": start + seconds, "method": "compute", "at": at("c2", 2)}
    return Phase(**facts | changes)


def sending(**changes):
    facts = {"time": T0 + 20.45, "optimize_seconds": 0.1, "serialize_seconds": 0.01, "nbytes": 0}
    return Sending(**facts | changes)


def group(prefix="sum-chunk", **changes):
    facts = {
        "name": name(prefix),
        "prefix": prefix,
        "computation_id": "k1",
        "n_tasks": 20,
        "compute_seconds": 20.0,
        "transfer_seconds": 0.1,
        "start": T0 + 21,
        "stop": T0 + 29,
        "sizes": sizes(*[1_000] * 20),
    }
    return TaskGroup(**facts | changes)


def computation(**changes):
    """Took 8 s with 8 threads, sent by the cell "c2" that began 20 s after the notebook."""
    facts = {
        "id": "k1",
        "client_id": "Client-1",
        "submitted": T0 + 20.5,
        "n_tasks": 60,
        "schedule_seconds": 0.05,
        "start": T0 + 21,
        "stop": T0 + 28.5,
        "is_done": True,
        "thread_seconds": 40.0,
        "nthreads": 8,
        "layers": (("sum-chunk", 40), ("sum-aggregate", 20)),
        "method": "compute",
        "peak_memory": 2 * GiB,
        "peak_worker_memory": 600 * MiB,
        "activity": (
            Activity(context="execute", prefix="sum-chunk", label="thread-cpu", seconds=38.0),
            Activity(context="execute", prefix="sum-chunk", label="thread-noncpu", seconds=1.5),
            Activity(context="execute", prefix="sum-chunk", label="deserialize", seconds=0.1),
            Activity(context="gather-dep", prefix=None, label="network", seconds=0.1, nbytes=40_000),
        ),
        "at": at("c2", 2),
    }
    return Computation(**facts | changes)


def code(*sources):
    """Cells "c1", "c2", ... each 20 s after the one before, each 10 s long."""
    return tuple(
        cell(f"c{i}", source, i, T0 + 20 * (i - 1), T0 + 20 * (i - 1) + 10)
        for i, source in enumerate(sources, 1)
    )


def load(**changes):
    facts = {
        "time": T0 + 40,
        "n_workers": 4,
        "nthreads": 8,
        "memory_limit": 16 * GiB,
        "managed": 2 * GiB,
        "unmanaged": 600 * MiB,
        "spilled": 0,
        "process_min": 500 * MiB,
        "process_median": 600 * MiB,
        "process_max": 700 * MiB,
        "threads_busy": 0,
        "tasks_waiting": 0,
        "tasks_processing": 0,
        "tasks_memory": 20,
        "tasks_erred": 0,
    }
    return Load(**facts | changes)


def loss(**changes):
    facts = {
        "time": T0 + 25,
        "address": "tcp://127.0.0.1:4000",
        "reason": "memory",
        "process": int(3.9 * GiB),
        "memory_limit": 4 * GiB,
        "prefixes": ("merge",),
        "at": at("c2", 2),
    }
    return WorkerLoss(**facts | changes)


def failure(**changes):
    facts = {
        "time": T0 + 27,
        "prefix": "merge",
        "key": f"('{name('merge')}', 3)",
        "exception": "KilledWorker",
        "text": "",
        "at": at("c2", 2),
    }
    return TaskFailure(**facts | changes)


def prefix(name="sum-chunk", **changes):
    facts = {
        "name": name,
        "n_tasks": 40,
        "n_memory": 0,
        "n_erred": 0,
        "n_suspicious": 0,
        "nbytes": 40_000,
        "compute_seconds": 20.0,
        "n_done": 40,
        "n_processing": 0,
        "max_seconds": 0.7,
        "failed_seconds": 0.0,
    }
    return TaskPrefix(**facts | changes)


def rest(i=0, **changes):
    """The pause after the computation number `i + 1`, each 10 s after the one before."""
    facts = {
        "time": T0 + 30 + 10 * i,
        "n_computations": i + 1,
        "tasks_finished": 60 * (i + 1),
        "n_workers": 4,
        "process": 4 * 300 * MiB,
        "managed": 4 * 100 * MiB,
        "spilled": 0,
        "unmanaged": tuple((w.address, 150 * MiB) for w in workers()),
        "tasks_known": 20,
        "scheduler_memory": 200 * MiB,
    }
    return Rest(**facts | changes)


def added(n=0, **changes):
    facts = {
        "time": T0 + n,
        "kind": "added",
        "address": f"tcp://127.0.0.1:{4000 + n}",
        "name": str(n),
        "n_workers": n + 1,
    }
    return WorkerChange(**facts | changes)


def removed(n=0, **changes):
    """Worker `n` went unasked, with 10 results that took 5 s."""
    facts = {
        "kind": "removed",
        "time": T0 + 25,
        "n_workers": 3,
        "is_expected": False,
        "lifetime": 25.0,
        "n_lost": 10,
        "lost_seconds": 5.0,
        "prefixes": ("read-parquet",),
        "at": at("c2", 2),
    }
    return added(n, **facts | changes)


def running(prefix="sum-chunk", n=0, **changes):
    facts = {
        "key": f"('{name(prefix)}', {n})",
        "prefix": prefix,
        "group": name(prefix),
        "worker": "tcp://127.0.0.1:4000",
        "seconds": 0.4,
        "nbytes_in": 80 * MiB,
        "computation_id": "k1",
        "at": at("c2", 2),
    }
    return RunningTask(**facts | changes)


def blocked(prefix="train", **changes):
    facts = {
        "prefix": prefix,
        "n": 4,
        "seconds": 60.0,
        "resources": (("GPU", 1.0),),
        "computation_id": "k1",
        "at": at("c2", 2),
    }
    return BlockedTasks(**facts | changes)


def scheduling(**changes):
    facts = {"last_finished": T0 + 28.5, "n_running": 0}
    return Scheduling(**facts | changes)


def policy(**changes):
    facts = {
        "saturation": 1.1,
        "allowed_failures": 3,
        "worker_ttl": 300.0,
        "no_workers_timeout": None,
        "connect_timeout": 30.0,
        "tcp_timeout": 30.0,
        "comm_retries": 0,
        "listens": ("tcp://127.0.0.1:1",),
        "dashboard": ("127.0.0.1:8787",),
    }
    return Policy(**facts | changes)


PACKAGES = (
    ("python", "3.12.3.final.0"),
    ("dask", "2026.8.0"),
    ("distributed", "2026.8.0"),
    ("msgpack", "1.1.0"),
    ("cloudpickle", "3.1.1"),
    ("toolz", "1.0.0"),
    ("tornado", "6.5"),
    ("numpy", "2.3.1"),
    ("pandas", "2.3.0"),
    ("lz4", None),
)


def versions(role="worker", **changes):
    facts = {
        "role": role,
        "address": f"tcp://127.0.0.1:{4000 if role == 'worker' else 1}",
        "n": 4 if role == "worker" else 1,
        "packages": tuple(sorted((dict(PACKAGES) | changes.pop("packages", {})).items())),
    }
    return Versions(**facts | changes)


def environment(n=0, **changes):
    facts = {
        "address": f"tcp://127.0.0.1:{4000 + n}",
        "host": "127.0.0.1",
        "time": T0 + 5,
        "has_nanny": True,
        "n_cpus": 8,
        "host_memory": 32 * GiB,
        "memory_target": 0.6,
        "memory_spill": 0.7,
        "memory_pause": 0.8,
        "memory_terminate": 0.95,
        "max_spill": None,
        "local_directory": f"/tmp/dask-scratch-space/worker-{n}",
        "disk_free": 200 * GiB,
        "disk_total": 500 * GiB,
        "file_system": "ext4",
        "libc": "glibc",
        "variables": (
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
            ("MKL_NUM_THREADS", "1"),
            ("OMP_NUM_THREADS", "1"),
            ("OPENBLAS_NUM_THREADS", "1"),
        ),
        "pools": (("openblas", 1),),
    }
    return WorkerEnvironment(**facts | changes)


def own_cluster(**changes):
    facts = {
        "kind": "LocalCluster",
        "name": "a1b2c3",
        "variable": "cluster",
        "address": "tcp://127.0.0.1:1",
        "n_workers": 4,
        "nthreads": 8,
        "memory_limit": 16 * GiB,
        "has_client": True,
        "is_followed": True,
    }
    return OwnCluster(**facts | changes)


def kernel(**changes):
    facts = {
        "n_cpus": 8,
        "memory_total": 32 * GiB,
        "memory_available": 12 * GiB,
        "process": 300 * MiB,
        "clusters": (own_cluster(),),
    }
    return Kernel(**facts | changes)


def snapshot(**changes):
    """A notebook with one persisted frame and one computation on it, in which nothing is wrong."""
    facts = {
        "time": T0 + 40,
        "cluster": cluster(),
        "workers": workers(),
        "load": (load(),),
        "prefixes": (prefix(),),
        "groups": (group(dependencies=(collection().group,)),),
        "computations": (computation(reused=(collection().group,)),),
        "collections": (collection(),),
        "code": code("df = load().persist()", "df.x.sum().compute()"),
        "losses": (),
        "failures": (),
        "rests": (rest(),),
        "changes": tuple(added(n) for n in range(4)),
        "scheduling": scheduling(),
        "policy": policy(),
        "versions": (versions("client"), versions("scheduler"), versions("worker")),
        "environments": tuple(environment(n) for n in range(4)),
        "kernel": kernel(),
        "phases": (),
    }
    return Snapshot(**facts | changes)


def change(record, **changes):
    return dataclasses.replace(record, **changes)


def run(rule, snapshot, **limits):
    """The rule's findings on the sections that it names."""
    given = {name: getattr(snapshot, name) for name in rule.sections}
    if limits:
        given["limit"] = dataclasses.replace(rule.thresholds, **limits)
    return rule(**given)


def apply(fix, cells):
    """The sources of the notebook's cells after the fix, in order; as the panel does it."""
    sums = dict(fix.checksums)
    out = []
    for one in cells:
        text, below = one.source, []
        for edit in fix.edits:
            assert isinstance(edit, Edit)
            if edit.cell_id != one.id:
                continue
            assert sums[one.id] == zlib.crc32(one.source.encode())
            if edit.kind == "below":
                below.append(edit.new)
            else:
                text = _replaced(text, edit)
        out += [text, *below]
    for text in out:
        assert source.parse(text) is not None
    return out


def _replaced(text, edit):
    rows = text.split("\n")
    before = [*rows[: edit.line - 1], rows[edit.line - 1][: edit.column]]
    start = len("\n".join(before))
    end = len("\n".join([*rows[: edit.end_line - 1], rows[edit.end_line - 1][: edit.end_column]]))
    assert text[start:end] == edit.old
    return text[:start] + edit.new + text[end:]
