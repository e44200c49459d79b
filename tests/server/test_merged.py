from dataclasses import replace

from jupyter_dask_doctor.messages import ClientInfo, MemoryPoint, Reply, Status
from jupyter_dask_doctor.report import Report
from jupyter_dask_doctor.server import merged as merging
from jupyter_dask_doctor.server.merged import Merged

NAMES = [name for name in MemoryPoint.__dataclass_fields__ if name not in ("rev", "time")]
REPORT = Report(version="0", time=1.0, findings=(), checks=())


def points(*revs):
    return tuple(MemoryPoint(rev=rev, time=float(rev), **dict.fromkeys(NAMES, 0)) for rev in revs)


def client(id="c", scheduler_id="s"):
    return ClientInfo(
        id=id, scheduler_id=scheduler_id, address=None, status="running", is_default=True, is_followed=True
    )


def reply(rev, *revs, **changes):
    facts = {
        "protocol": 1,
        "version": "0",
        "session": "one",
        "rev": rev,
        "time": float(rev),
        "status": Status(kind="live", message=""),
        "clients": (client(),),
        "memory": points(*revs),
    }
    return Reply(**facts | changes)


def merged(*replies):
    state = Merged()
    for one in replies:
        state.accept(one)
    return state


def revs(reply):
    return [point.rev for point in reply.memory]


def test_nothing_is_known_at_first():
    assert Merged().since(0) is None
    assert (Merged().rev, Merged().session) == (0, None)


def test_parts_become_the_whole():
    state = merged(reply(1, 1), reply(2, 2, report=REPORT), reply(3, 3))
    whole = state.since(0)
    assert revs(whole) == [1, 2, 3]
    assert whole.report == REPORT
    assert whole.rev == state.rev == 3


def test_one_who_knows_something_gets_the_rest():
    state = merged(reply(1, 1, report=REPORT), reply(2, 2), reply(3, 3))
    rest = state.since(1)
    assert revs(rest) == [2, 3]
    assert rest.report is None


def test_points_told_twice_are_kept_once():
    assert revs(merged(reply(1, 1), reply(2, 1, 2)).since(0)) == [1, 2]


def test_points_that_came_together_are_all_kept():
    assert revs(merged(reply(1, 1), reply(2, 2, 2, 2)).since(1)) == [2, 2, 2]


def test_another_client_begins_a_new_line():
    state = merged(reply(1, 1, report=REPORT), reply(2, 2, clients=(client(scheduler_id="new"),)))
    assert revs(state.since(0)) == [2]
    assert state.since(0).report is None


def test_no_more_points_than_five_minutes():
    state = merged(*(reply(rev, rev) for rev in range(1, merging.MAX_POINTS + 10)))
    assert len(state.since(0).memory) == merging.MAX_POINTS
    assert revs(state.since(0))[-1] == merging.MAX_POINTS + 9


def test_it_says_whether_there_is_news():
    state = merged(reply(1, 1))
    assert not state.accept(reply(2))  # only the number and the clock moved on
    assert state.accept(reply(3, 3))
    assert state.accept(reply(4, report=REPORT))
    assert state.accept(replace(reply(5), status=Status(kind="lost", message="gone")))
