"""What is read of workers on the scheduler: by the heartbeat as it is, missing, or absurd."""

import asyncio
import math

import msgpack
import pytest

from jupyter_dask_doctor.gather import scheduler_view as view

from .invented import HEARTBEAT, MiB, clear, invent, make_scheduler, stop

NAN, INF = float("nan"), math.inf
HOSTILE = {
    "none": None,
    "negative": -1,
    "nan": NAN,
    "infinite": INF,
    "huge": 10**30,
    "text": "<b>1</b>",
    "list": [1],
    "true": {"disk": {}},
}


@pytest.fixture(scope="module")
def scheduler():
    loop = asyncio.new_event_loop()
    scheduler = loop.run_until_complete(make_scheduler())
    yield scheduler
    loop.run_until_complete(stop(scheduler))
    loop.close()


@pytest.fixture
def look(scheduler):
    """Sums, and rows by name, of a scheduler that has these workers."""

    def look(*workers, first_seen=None):
        clear(scheduler)
        for i, changes in enumerate(workers):
            invent(scheduler, i, **changes)
        seen = view.view_workers(scheduler, first_seen or {})
        rows = [dict(zip(view.WORKER_FIELDS, row, strict=True)) for row in seen.pop("shown")]
        return seen, rows

    return look


def assert_sound(sums, rows):
    msgpack.packb([sums, rows])  # it can be sent
    for facts in (*rows, sums):
        for name, value in facts.items():
            if isinstance(value, (int, float)):
                assert 0 <= value < 1e18, (name, value)
    for row in rows:
        assert row["managed"] <= row["process"]
        assert len(row["name"]) <= view.MAX_NAME


def test_a_heartbeat(look):
    metrics = HEARTBEAT | {
        "gil_contention": 0.3,
        "bandwidth": {"total": 5e8, "workers": {"x": (1, 2)}},
        "spilled_bytes": {"memory": 30 * MiB, "disk": 20 * MiB},
        "gpu_memory_used": 5,
        "gpu-memory-total": 8,
    }
    facts = {"metrics": metrics, "nbytes": 70 * MiB, "nanny": "tcp://10.0.0.1:99", "name": "älter"}
    sums, (row,) = look(facts, first_seen={"tcp://10.0.0.1:1234": 12.5})
    assert_sound(sums, [row])
    expected = {
        "name": "älter",
        "process": 100 * MiB,
        "managed": 40 * MiB,
        "spilled": 20 * MiB,
        "stored": 70 * MiB,
        "gil": 0.3,
        "event_loop_seconds": 0.02,
        "bandwidth": 5e8,
        "host_disk_read": 1_000.0,
        "host_disk_write": 2_000.0,
        "gpu_memory_used": 5,
        "gpu_memory": 8,
        "has_nanny": True,
        "host": "10.0.0.1",
        "first_seen": 12.5,
    }
    assert {name: row[name] for name in expected} == expected


def test_the_bandwidth_that_dask_assumes_is_none(look):
    assert look({})[1][0]["bandwidth"] is None


@pytest.mark.parametrize("metrics", [{}, {"memory": None}, {"cpu": 3.0}, {"spilled_bytes": None}])
def test_no_heartbeat_yet_or_one_of_an_older_version(look, metrics):
    sums, (row,) = look({"metrics": metrics, "nbytes": 50 * MiB})
    assert_sound(sums, [row])
    assert (row["process"], row["managed"], row["spilled"]) == (0, 0, 0)
    for name in view.METRICS:
        assert row[name] is None


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", [*HEARTBEAT, "gil_contention", "gpu_memory_used", "gpu-memory-total"])
def test_absurd_numbers(look, name, value):
    assert_sound(*look({"metrics": HEARTBEAT | {name: value}, "nbytes": 50 * MiB}))


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name, parts in HEARTBEAT.items() if isinstance(parts, dict) for part in parts],
)
def test_absurd_numbers_within(look, name, part, value):
    assert_sound(*look({"metrics": HEARTBEAT | {name: HEARTBEAT[name] | {part: value}}}))


def test_numbers_that_are_negative_on_the_scheduler(look):
    assert_sound(*look({"nbytes": -5 * MiB}))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\ud800", "a" * 10**6, "名前\x00\n", ("a", 1), b"\xff", None, -1.5]
)
def test_hostile_names(look, name):
    sums, rows = look({"name": name})
    assert_sound(sums, rows)
    assert isinstance(rows[0]["name"], str)
    rows[0]["name"].encode()


def test_no_workers(look):
    sums, rows = look()
    assert rows == []
    assert (sums["n"], sums["process"], sums["quantiles"], sums["memory_limit"]) == (0, 0, [0, 0, 0], None)


def test_a_worker_without_a_limit(look):
    sums, rows = look({}, {"memory_limit": 0})
    assert sums["memory_limit"] is None
    assert [row["memory_limit"] for row in rows] == [4 << 30, 0]


class TestManyWorkers:
    def many(self, look, n=1_000, **special):
        facts = [{"metrics": HEARTBEAT | {"memory": (100 + i % 7) * MiB}} for i in range(n)]
        for i, changes in special.items():
            facts[int(i[1:])] |= changes
        return look(*facts)

    def test_sums_are_over_all(self, look):
        sums, rows = self.many(look)
        assert_sound(sums, rows)
        assert sums["n"] == 1_000
        assert sums["nthreads"] == 2_000
        assert sums["process"] == sum((100 + i % 7) * MiB for i in range(1_000))
        assert sums["quantiles"] == [100 * MiB, 103 * MiB, 106 * MiB]

    def test_the_fullest_the_busiest_and_some_others_are_shown(self, look):
        full = {"metrics": HEARTBEAT | {"memory": 900 * MiB}}
        busy = {"processing": set(range(40))}
        _, rows = self.many(look, _611=full, _777=busy)
        assert len(rows) <= view.N_FULLEST + view.N_LOADED + view.N_SAMPLE
        assert len({row["address"] for row in rows}) == len(rows)
        names = {row["name"] for row in rows}
        assert {"611", "777"} <= names
        assert any(row["process"] == 100 * MiB for row in rows)  # not only full ones

    def test_all_are_shown_up_to_the_bound(self, look):
        assert len(self.many(look, view.MAX_WORKERS)[1]) == view.MAX_WORKERS
        assert len(self.many(look, view.MAX_WORKERS + 1)[1]) <= view.N_FULLEST + view.N_LOADED + view.N_SAMPLE

    def test_the_same_ones_are_shown_again(self, look):
        """Else nobody could follow one of them."""
        assert [row["name"] for row in self.many(look)[1]] == [row["name"] for row in self.many(look)[1]]
