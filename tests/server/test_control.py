import msgspec
import pytest

from jupyter_dask_doctor.messages import PROTOCOL, Reply, Status
from jupyter_dask_doctor.server.control import read_reply
from jupyter_dask_doctor.server.troubles import Problem

GOOD = Reply(
    protocol=PROTOCOL, version="1", session="s", rev=1, time=1.0, status=Status(kind="no-client", message="")
)
BODY = msgspec.to_builtins(GOOD)


def test_a_reply_is_read():
    assert read_reply({"comms": {}, "dask_doctor": BODY}) == GOOD


def test_what_a_newer_side_adds_without_a_new_protocol_is_passed_over():
    assert read_reply({"dask_doctor": {**BODY, "added": 1}}) == GOOD


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"status": "ok", "comms": {}}, "no-doctor"),
        ({"dask_doctor": None}, "no-doctor"),
        (None, "bad-message"),
        ([], "bad-message"),
        ({"dask_doctor": []}, "bad-message"),
        ({"dask_doctor": {}}, "bad-message"),
        ({"dask_doctor": {"protocol": "1"}}, "bad-message"),
        ({"dask_doctor": {"protocol": PROTOCOL}}, "bad-message"),
        ({"dask_doctor": {**BODY, "rev": "1"}}, "bad-message"),
        ({"dask_doctor": {**BODY, "status": {"kind": "happy", "message": ""}}}, "bad-message"),
        ({"dask_doctor": {**BODY, "protocol": PROTOCOL - 1}}, "old-kernel-side"),
        ({"dask_doctor": {**BODY, "protocol": PROTOCOL + 1}}, "new-kernel-side"),
        ({"dask_doctor": {"protocol": PROTOCOL + 1}}, "new-kernel-side"),
    ],
)
def test_what_is_no_reply_has_its_word(content, kind):
    with pytest.raises(Problem) as caught:
        read_reply(content)
    assert caught.value.kind == kind
    assert caught.value.message.endswith(".")


def test_a_long_fault_is_cut():
    with pytest.raises(Problem) as caught:
        read_reply({"dask_doctor": {"error": "x" * 10_000}})
    assert len(caught.value.message) < 500
