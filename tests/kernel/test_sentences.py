"""Each state of the kernel's side has its words and one next step."""

from types import SimpleNamespace

import pytest

from jupyter_dask_doctor.kernel.discovery import Look
from jupyter_dask_doctor.kernel.words import sentence


def a_feed(state, reason=""):
    return SimpleNamespace(state=state, reason=reason)


@pytest.mark.parametrize(
    ("found", "feed", "had_client", "kind", "words"),
    [
        ("not-installed", None, False, "no-distributed", "%pip install"),
        ("not-imported", None, False, "no-distributed", "Client()"),
        ("too-old", None, False, "old-distributed", "2025.7"),
        ("too-new", None, False, "old-distributed", "jupyter-dask-doctor"),
        ("nothing", None, False, "no-client", "Client()"),
        ("nothing", None, True, "lost", "closed"),
        ("clients", a_feed("connecting"), True, "connecting", "Connecting"),
        ("clients", a_feed("live"), True, "live", "answers"),
        ("clients", a_feed("limited", "It refuses."), True, "limited", "refuses"),
        ("clients", a_feed("lost", "It is gone."), True, "lost", "gone"),
    ],
)
def test_sentences(found, feed, had_client, kind, words):
    status = sentence(Look(found=found, version="2024.2.0"), feed, had_client=had_client)
    assert status.kind == kind
    assert words in status.message
    assert status.message.endswith((".", "`."))


def test_a_hostile_version_is_cut():
    status = sentence(Look(found="too-old", version="1" * 10_000), None, had_client=False)
    assert len(status.message) < 300
