"""Versions that do not go together."""

import pytest

from jupyter_dask_doctor.rules.cluster import version_mismatch
from tests.healthy import change, run, snapshot, versions

OLD = {"distributed": "2025.7.0", "dask": "2025.7.0"}


def others(**packages):
    """Two workers with these packages beside three healthy ones."""
    return versions(address="tcp://10.0.0.9:1", n=2, packages=packages)


def sick(*found):
    return snapshot(versions=(versions("client"), versions("scheduler"), versions("worker", n=3), *found))


def test_names_who_has_what():
    (finding,) = run(version_mismatch, sick(others(**OLD)))
    assert finding.id == "version-mismatch:worker"
    assert finding.severity == "warning"
    assert finding.message == (
        "2 of 5 workers have distributed 2025.7.0, this notebook 2026.8.0; dask differs as well."
    )
    assert finding.at is None
    told = {e.label: e.value for e in finding.evidence}
    assert told["processes with other versions"] == 2
    assert told["dask here"] == "2026.8.0"
    assert told["dask there"] == "2025.7.0"


def test_fix_pins_both_packages_to_what_the_notebook_has():
    (finding,) = run(version_mismatch, sick(others(distributed="2025.7.0")))
    (fix,) = finding.fixes
    assert fix.applicability == "display-only"
    assert fix.code == (
        '# in the environment of these workers\npip install "dask==2026.8.0" "distributed==2026.8.0"'
    )


def test_another_python_comes_first():
    (finding,) = run(version_mismatch, sick(others(python="3.11.7.final.0", **OLD)))
    assert "have Python 3.11.7, this notebook 3.12.3; distributed and dask differ" in finding.message
    assert "# an environment with Python 3.12" in finding.fixes[0].code


def test_the_scheduler_is_told_apart_from_workers():
    facts = snapshot(versions=(versions("client"), versions("scheduler", packages=OLD), versions("worker")))
    (finding,) = run(version_mismatch, facts)
    assert finding.subject == "scheduler"
    assert finding.message.startswith("The scheduler has distributed 2025.7.0, this notebook 2026.8.0")


def test_a_notebook_that_alone_is_different_is_what_must_change():
    facts = snapshot(
        versions=(versions("client"), versions("scheduler", packages=OLD), versions("worker", packages=OLD))
    )
    (finding,) = run(version_mismatch, facts)
    assert finding.subject == "client"
    assert finding.message.startswith(
        "This notebook has distributed 2026.8.0, the scheduler and 4 workers have 2025.7.0"
    )
    assert finding.fixes[0].code.startswith('%pip install "dask==2025.7.0" "distributed==2025.7.0"')


def test_without_the_notebooks_versions_the_scheduler_is_what_workers_are_held_against():
    facts = snapshot(versions=(versions("scheduler"), versions("worker", packages=OLD)))
    (finding,) = run(version_mismatch, facts)
    assert finding.message.startswith("4 of 4 workers have distributed 2025.7.0, the scheduler 2026.8.0")


@pytest.mark.parametrize(
    "packages",
    [
        {"python": "3.13.0.final.0"},
        {"distributed": "2026.7.1"},
        {"dask": "2025.8.0"},
        {"cloudpickle": "2.2.1"},
        {"msgpack": "0.6.2"},
        {"numpy": "1.26.4"},
        {"pandas": "3.0.0"},
    ],
)
def test_speaks_of(packages):
    (finding,) = run(version_mismatch, sick(others(**packages)))
    assert next(iter(packages)).replace("python", "Python") in finding.message


@pytest.mark.parametrize(
    "packages",
    [
        {},
        {"python": "3.12.9.final.0"},
        {"dask": "2026.8.1", "distributed": "2026.8.1+4.g12ab"},
        {"cloudpickle": "3.0.0"},
        {"msgpack": "1.2.4"},
        {"numpy": "2.0.0", "pandas": "2.0.3"},
        {"tornado": "6.1", "toolz": "0.12.0", "lz4": "4.3.2"},
        {"numpy": None, "pandas": None},
        {"distributed": None},
        {"distributed": "unknown", "dask": "<b>2020</b>", "python": ""},
        {"dask": "0+untagged.1.gabc"},
    ],
)
def test_is_quiet_of(packages):
    assert not run(version_mismatch, sick(others(**packages)))


def test_is_quiet_of_data_packages_on_the_scheduler():
    odd = versions("scheduler", packages={"numpy": "1.26.4", "pandas": None})
    assert not run(version_mismatch, snapshot(versions=(versions("client"), odd, versions("worker"))))


def test_is_quiet_without_anybody_to_compare_with():
    assert not run(version_mismatch, snapshot(versions=(versions("client"),)))
    assert not run(version_mismatch, snapshot(versions=(versions("worker"),)))
    assert not run(version_mismatch, snapshot(versions=()))


def test_how_many_numbers_must_agree_can_be_set():
    facts = sick(others(distributed="2026.8.1"))
    assert run(version_mismatch, facts, dask=3)
    assert not run(version_mismatch, sick(others(**OLD)), dask=0)


def test_a_version_with_markup_stays_out_of_the_texts():
    hostile = versions(packages={"distributed": "2025.7.0<script>", "dask": "2025.7.0\n`rm`" + "9" * 5000})
    (finding,) = run(version_mismatch, sick(change(hostile, address="tcp://<b>")))
    assert "script" not in str(finding)
    assert "rm" not in finding.fixes[0].code
    assert len(str(finding)) < 4_000
