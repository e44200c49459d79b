"""Versions with known holes."""

import pytest

from jupyter_dask_doctor.rules.cluster import vulnerable_version
from jupyter_dask_doctor.rules.cluster.vulnerable_version import ADVISORIES
from tests.healthy import policy, run, snapshot, versions


def sick(role="scheduler", version="2025.12.0", package="distributed", **changes):
    found = tuple(
        versions(each, packages={package: version} if each == role else {})
        for each in ("client", "scheduler", "worker")
    )
    return snapshot(**{"versions": found} | changes)


def test_names_the_hole_and_where_it_is_repaired():
    (finding,) = run(vulnerable_version, sick())
    assert finding.id == "vulnerable-version:CVE-2026-23528"
    assert finding.severity == "warning"
    assert finding.message == (
        "The scheduler runs distributed 2025.12.0, which has a known hole (CVE-2026-23528), repaired in 2026.1.0."
    )
    assert "GHSA-c336-7962-wfj2" in finding.why


def test_fix_is_a_line_for_the_environment_of_the_scheduler():
    (finding,) = run(vulnerable_version, sick())
    assert finding.fixes[0].code == (
        '# in the environment of the scheduler\npip install --upgrade "dask>=2026.1.0" "distributed>=2026.1.0"'
    )


def test_fix_is_a_line_for_the_kernel_when_it_has_the_same():
    same = {"distributed": "2025.7.0"}
    facts = snapshot(versions=(versions("client", packages=same), versions("scheduler", packages=same)))
    (finding,) = run(vulnerable_version, facts)
    assert finding.fixes[0].code.startswith("%pip install --upgrade")


@pytest.mark.parametrize(
    ("role", "package", "version", "advisory"),
    [
        ("scheduler", "distributed", "2025.12.0", "CVE-2026-23528"),
        ("scheduler", "distributed", "2.30.1", "CVE-2026-23528"),
        ("worker", "distributed", "2021.9.1", "CVE-2021-42343"),
        ("client", "jupyter-server-proxy", "4.1.2", "CVE-2024-35225"),
        ("client", "jupyter-server-proxy", "3.2.3", "CVE-2024-35225"),
        ("client", "jupyter-server-proxy", "1.6.0", "CVE-2024-28179"),
    ],
)
def test_speaks_of(role, package, version, advisory):
    (finding,) = run(vulnerable_version, sick(role, version, package))
    assert finding.subject == advisory
    assert finding.message.count(version) == 1


def test_two_holes_in_one_version():
    found = run(vulnerable_version, sick("client", "4.0.0", "jupyter-server-proxy"))
    assert {f.subject for f in found} == {"CVE-2024-35225", "CVE-2024-28179"}
    assert {f.evidence[1].value for f in found} == {"4.2.0", "4.1.1"}


@pytest.mark.parametrize(
    ("role", "package", "version"),
    [
        ("scheduler", "distributed", "2026.1.0"),
        ("scheduler", "distributed", "2026.8.0+3.gabc"),
        ("scheduler", "distributed", "2025.12.0+distro1"),  # may hold the repair
        ("scheduler", "distributed", "0+unknown"),
        ("scheduler", "distributed", "<b>1</b>"),
        ("scheduler", "distributed", None),
        ("scheduler", "distributed", "9" * 400),
        ("worker", "distributed", "2025.12.0"),  # no dashboard there
        ("worker", "distributed", "2021.10.0"),
        ("client", "distributed", "2025.12.0"),
        ("client", "jupyter-server-proxy", "4.2.0"),
        ("client", "jupyter-server-proxy", "3.2.4"),
        ("client", "jupyter-server-proxy", "4.4.0"),
        ("worker", "jupyter-server-proxy", "4.0.0"),
    ],
)
def test_is_quiet_of(role, package, version):
    assert not run(vulnerable_version, sick(role, version, package))


def test_is_quiet_of_the_dashboard_where_there_is_none():
    assert not run(vulnerable_version, sick(policy=policy(dashboard=())))


def test_the_policy_need_not_be_known():
    facts = sick()
    assert vulnerable_version(versions=facts.versions)


def test_is_quiet_of_healthy_facts_and_of_none():
    assert not run(vulnerable_version, snapshot())
    assert not run(vulnerable_version, snapshot(versions=()))


def test_advisories_can_be_left_out_by_year():
    assert not run(vulnerable_version, sick("worker", "2021.9.1"), since_year=2022)


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda a: a.id)
def test_the_table_is_told_in_the_manual(advisory):
    manual = vulnerable_version.manual
    assert advisory.id in manual
    assert advisory.reference in manual
    assert all(".".join(map(str, end)) in manual for _, end in advisory.affected)
    assert all(first < end for first, end in advisory.affected)
