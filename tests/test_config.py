"""Settings, right and wrong."""

import dask
import pytest

from jupyter_dask_doctor import config
from jupyter_dask_doctor.rules import RULES


def test_nothing_set():
    assert config.settings(None) == config.Settings()


def test_a_threshold_is_changed_and_the_others_stay():
    made = config.settings({"rules": {"partition-skew": {"ratio": 6, "npartitions": 10}}})
    limits = made.limits["partition-skew"]
    assert (limits.ratio, limits.npartitions) == (6.0, 10)
    assert limits.partition_nbytes == RULES["partition-skew"].thresholds.partition_nbytes
    assert not made.notes


def test_names_may_have_hyphens_or_underscores():
    made = config.settings({"rules": {"partition_skew": {"severe-ratio": 20, "loss_seconds": 2}}})
    assert made.limits["partition-skew"].severe_ratio == 20.0
    assert made.limits["partition-skew"].loss_seconds == 2.0
    assert not made.notes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("yes", "must hold names and values"),
        ({"rules": [1]}, "dask-doctor.rules must hold"),
        ({"rules": {"no-such": {}}}, "there is no such rule"),
        ({"rules": {"partition-skew": 4}}, "dask-doctor.rules.partition-skew must hold"),
        ({"rules": {"partition-skew": {"colour": 4}}}, "colour is not known"),
        (
            {"rules": {"partition-skew": {"ratio": "four"}}},
            "must be a number of at least 0, not four: 4.0 is used",
        ),
        ({"rules": {"partition-skew": {"ratio": True}}}, "must be a number"),
        ({"rules": {"partition-skew": {"ratio": -1}}}, "at least 0"),
        ({"rules": {"partition-skew": {"ratio": float("nan")}}}, "must be a number"),
        ({"rules": {"partition-skew": {"npartitions": 8.5}}}, "must be a whole number"),
        ({"rules": {"partition-skew": {"ratio": ["<b>" * 100]}}}, "…: 4.0 is used"),
        ({"ignore": 7}, "must be a list of rules"),
        ({"ignore": ["no-such", 3]}, "there is no rule no-such"),
        ({"colour": "red"}, "dask-doctor.colour is not known"),
        ({"deep": "yes"}, "dask-doctor.deep must be true or false, not yes"),
    ],
)
def test_what_is_wrong_is_told_and_the_default_holds(given, words):
    made = config.settings(given)
    assert any(words in note for note in made.notes), made.notes
    assert all(limits == RULES[id].thresholds for id, limits in made.limits.items())
    assert made.ignore == frozenset()


def test_one_mistake_does_not_undo_the_rest():
    made = config.settings(
        {"ignore": ["large-graph"], "rules": {"partition-skew": {"ratio": 6, "npartitions": "x"}}}
    )
    assert made.limits["partition-skew"].ratio == 6.0
    assert made.ignore == {"large-graph"}
    assert len(made.notes) == 1


def test_ignore_takes_a_single_name():
    assert config.settings({"ignore": "large_graph"}).ignore == {"large-graph"}


def test_read_takes_them_from_dask_config():
    with dask.config.set(
        {"dask-doctor.rules.partition-skew.ratio": 7, "dask-doctor.ignore": ["large-graph"]}
    ):
        made = config.read()
    assert made.limits["partition-skew"].ratio == 7.0
    assert made.ignore == {"large-graph"}
    assert config.read() == config.Settings()


def test_read_takes_them_from_the_environment():
    given = dask.config.collect_env({"DASK_DASK_DOCTOR__RULES__PARTITION_SKEW__RATIO": "7"})
    with dask.config.set(given):
        assert config.read().limits["partition-skew"].ratio == 7.0
