"""`partition_size=` on a Python and a cluster that hang with it."""

import pytest

from jupyter_dask_doctor.rules.partitions import partition_size_deadlock
from jupyter_dask_doctor.snapshot import Size
from tests.healthy import MiB, apply, cell, change, cluster, code, collection, run, snapshot

HANGS = cluster(python=(3, 11))
SOURCE = 'df = df.repartition(partition_size="100MB")'


def sick(*sources, known=True, **changes):
    frame = collection(nbytes=Size(nbytes=2_300_000_000, known="exact"))
    facts = {
        "cluster": HANGS,
        "collections": (frame,) if known else (),
        "code": code(*sources or (SOURCE,)),
    }
    return snapshot(**facts | changes)


def test_speaks_before_the_cell_has_run():
    waiting = cell("c1", SOURCE, None, None, None)
    (finding,) = run(partition_size_deadlock, sick(code=(waiting,)))
    assert finding.id == "partition-size-deadlock:df"
    assert finding.severity == "critical"
    assert "running this hangs for ever on Python 3.11 with a LocalCluster" in finding.message
    assert finding.at.line == 1


def test_fix_counts_from_the_bytes():
    (finding,) = run(partition_size_deadlock, sick())
    (fix,) = finding.fixes
    assert apply(fix, sick().code) == ["df = df.repartition(npartitions=23)"]
    assert not run(partition_size_deadlock, sick("df = df.repartition(npartitions=23)"))


@pytest.mark.parametrize(
    ("size", "n"),
    [('"100 MB"', 23), ('"64MiB"', 35), ("100_000_000", 23), ('"1e8"', 24), ("size", 24), ('"0.1GB"', 23)],
)
def test_fix_reads_sizes_as_dask_does(size, n):
    (finding,) = run(partition_size_deadlock, sick(f"df.repartition(partition_size={size}).compute()"))
    assert f"npartitions={n})" in finding.fixes[0].code


def test_fix_keeps_the_other_arguments_and_stands_right_beside_emoji():
    text = 'x = "🩺é"; df = df.repartition(  # "🩺"\n    force=False,\n    partition_size="100MB",\n)'
    (finding,) = run(partition_size_deadlock, sick(text))
    (after,) = apply(finding.fixes[0], sick(text).code)
    assert after == text.replace('partition_size="100MB"', "npartitions=23")
    one_line = 'print("🩺é"); df.repartition(partition_size="100MB")'
    (finding,) = run(partition_size_deadlock, sick(one_line))
    assert finding.fixes[0].edits[0].column == len('print("🩺é"); df.repartition(')


@pytest.mark.parametrize(
    "source",
    [
        "import dask.dataframe as dd\nx = dd.read_parquet('s3://b').repartition(partition_size='1GB')",
        "from dask import dataframe\nx = dataframe.from_pandas(p)\nx[x.a > 1].repartition(partition_size=5e7)",
        "import dask\nx = dask.datasets.timeseries()\nx.assign(a=1).repartition(partition_size='1GB')",
        "%%time\nimport dask.dataframe as dd\nx = dd.read_csv('a').repartition(partition_size='1GB')",
        "import dask.dataframe as dd\n%time x = dd.read_csv('a').repartition(partition_size='1GB')",
    ],
)
def test_recognises_frames_by_the_text_alone(source):
    (finding,) = run(partition_size_deadlock, sick(source, known=False))
    assert finding.severity == "critical"
    assert "npartitions=24" in finding.fixes[0].code  # 3 × 8 threads


def test_recognises_a_frame_bound_in_another_cell():
    sources = (
        "import dask.dataframe as dd",
        "x = dd.read_csv('a')",
        "y = x.repartition(partition_size='1GB')",
    )
    (finding,) = run(partition_size_deadlock, sick(*sources, known=False))
    assert finding.at.cell_id == "c3"


def test_speaks_of_a_collection_made_out_of_sight():
    hidden = collection(name="table", has_partition_size=True, is_eager=True, npartitions=None)
    (finding,) = run(partition_size_deadlock, sick("table = mine.load()", collections=(hidden,)))
    assert finding.subject == "table"
    assert not finding.fixes


def test_one_finding_for_the_cell_and_the_collection_that_it_made():
    made = collection(has_partition_size=True, npartitions=None, nbytes=None)
    (finding,) = run(partition_size_deadlock, sick(collections=(made,)))
    assert finding.fixes[0].code == "df = df.repartition(npartitions=24)"


@pytest.mark.parametrize(
    "changes",
    [{"python": (3, 12)}, {"python": (3, 14)}, {"is_in_process": False}],
)
def test_is_quiet_where_it_does_not_hang(changes):
    assert not run(partition_size_deadlock, sick(cluster=change(HANGS, **changes)))


@pytest.mark.parametrize(
    "source",
    [
        "# df.repartition(partition_size='100MB')",
        "text = \"df.repartition(partition_size='100MB')\"",
        "df.repartition(npartitions=4)",
        "df.repartition(partition_size=None, npartitions=4)",
        "df.shuffle(partition_size='1MB')",
        "spark_df.repartition(partition_size='100MB')",
        "df.compute().repartition(partition_size='100MB')",
        "repartition(df, partition_size='100MB')",
        "%%bash\ndf.repartition(partition_size='100MB')",
        "df = df.repartition(partition_size=",
        "%%writefile a.py\ndf = df.repartition(partition_size='1MB')",
        "mine.repartition(partition_size='100MB')",
    ],
)
def test_is_quiet_of_other_code(source):
    assert not run(partition_size_deadlock, sick(source))


def test_is_quiet_of_an_array_of_that_name():
    array = collection(kind="array", nbytes=Size(nbytes=MiB, known="exact"))
    assert not run(partition_size_deadlock, sick(collections=(array,)))


def test_never_a_count_that_loses_rows_in_a_merge():
    exact = collection(nbytes=Size(nbytes=128 * 10**8, known="exact"))
    old = change(HANGS, dask="2025.7.0")
    (finding,) = run(partition_size_deadlock, sick(collections=(exact,), cluster=old))
    assert "npartitions=130" in finding.fixes[0].code
