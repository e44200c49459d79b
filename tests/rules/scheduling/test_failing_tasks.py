"""Tasks that end in an error."""

import pytest

from jupyter_dask_doctor.rules.scheduling.failing_tasks import failing_tasks
from tests.healthy import (
    T0,
    apply,
    at,
    change,
    cluster,
    code,
    collection,
    computation,
    failure,
    prefix,
    run,
    snapshot,
)

HERE = cluster(client_variable="client")
CODE = code("files = names()", "fs = client.map(parse, files)\nclient.gather(fs)")
SENT = computation(layers=(("parse", 40),))


def failed(n=0, exception="ValueError", text="ValueError('bad row')", **changes):
    facts = {
        "prefix": "parse",
        "key": f"parse-{n}",
        "exception": exception,
        "text": text,
        "time": T0 + 25 + n,
    }
    return failure(**facts | changes)


def sick(*failures, **changes):
    failures = failures or tuple(failed(n) for n in range(4))
    facts = {"failures": failures, "code": CODE, "computations": (SENT,), "cluster": HERE, "prefixes": ()}
    return snapshot(**facts | changes)


def test_how_many_and_the_first_of_them():
    (finding,) = run(failing_tasks, sick())
    assert finding.id == "failing-tasks:parse"
    assert finding.severity == "critical"
    assert finding.at == at("c2", 2)
    assert finding.message == "4 of 40 tasks of `parse` failed, with `ValueError`: `bad row`."
    assert {e.label: e.value for e in finding.evidence}["first failed task"] == "parse-0"


def test_the_only_task():
    (finding,) = run(failing_tasks, sick(failed(), computations=(computation(layers=(("parse", 1),)),)))
    assert finding.message.startswith("The only task of `parse` failed")


def test_the_first_of_each_class_is_shown_folded():
    failures = (
        failed(1, "KeyError", "KeyError('x')"),
        failed(0, trace='  File "nb.py", line 3, in parse\n    raise ValueError\n'),
        failed(2),
    )
    (finding,) = run(failing_tasks, sick(*failures))
    assert "with `ValueError` and 1 other error" in finding.message
    assert "`ValueError` 2×, `KeyError` 1×" in finding.why
    first, second = finding.details
    assert first.title == "First exception, in `parse-0`"
    assert first.text.startswith('  File "nb.py", line 3, in parse')
    assert first.text.endswith("ValueError('bad row')")
    assert second.text == "KeyError('x')"


@pytest.mark.parametrize(
    ("failures", "total", "severity"),
    [
        (1, 40, "warning"),  # 2.5 %
        (1, 20, "warning"),  # 5 %, but the cell went on
        (2, 40, "critical"),
        (3, 61, "warning"),  # less than 5 %
    ],
)
def test_how_bad_it_is(failures, total, severity):
    facts = sick(
        *(failed(n) for n in range(failures)), computations=(computation(layers=(("parse", total),)),)
    )
    (finding,) = run(failing_tasks, facts)
    assert finding.severity == severity


def test_one_failure_of_few_that_ended_the_cell():
    cells = (CODE[0], change(CODE[1], has_failed=True))
    (finding,) = run(
        failing_tasks, sick(failed(), code=cells, computations=(computation(layers=(("parse", 20),)),))
    )
    assert finding.severity == "critical"


def test_without_the_graph_the_prefix_tells_how_many_there_were():
    (finding,) = run(failing_tasks, sick(computations=(), prefixes=(prefix("parse", n_done=96, n_erred=4),)))
    assert "4 of 100 tasks" in finding.message
    (finding,) = run(failing_tasks, sick(computations=(), prefixes=(prefix("parse", n_done=-5),)))
    assert "4 of 4 tasks" in finding.message


def test_there_may_have_been_more_than_are_remembered():
    (finding,) = run(failing_tasks, sick(*(failed(n) for n in range(100)), computations=()))
    assert finding.message.startswith("At least 100 of 100 tasks")


@pytest.mark.parametrize(
    "facts",
    [
        sick(failures=()),
        sick(failed(exception="KilledWorker", text="")),  # told by another rule
        sick(*(failed(n, time=T0 + 5) for n in range(4))),  # an earlier run of the cell
        sick(failed(), computations=(computation(layers=(("parse", 1_001),)),)),  # less than 0.1 %
        sick(failed(), computations=(), prefixes=(prefix("parse", n_done=5_000),)),
    ],
)
def test_is_quiet(facts):
    assert not run(failing_tasks, facts)


def test_shares_can_be_set():
    assert not run(failing_tasks, sick(), share=0.2)
    (finding,) = run(failing_tasks, sick(), critical_share=0.2)
    assert finding.severity == "warning"


def test_raises_the_error_of_a_future_that_is_held():
    held = collection(name="fs", kind="futures", group="parse-abc", sizes=None, at=at("c2", 2))
    (finding,) = run(failing_tasks, sick(collections=(held,)))
    (fix,) = finding.fixes
    assert apply(fix, CODE)[2].splitlines() == [
        'failed = [f for f in fs if f.status == "error"]',
        "client.recreate_error_locally(failed[0])",
    ]


def test_without_futures_a_part_of_it_runs_here():
    cells = code("df = load()", "df.x.map(parse).sum().compute()")
    (finding,) = run(failing_tasks, sick(code=cells))
    (fix,) = finding.fixes
    assert 'scheduler="synchronous"' in apply(fix, cells)[2]


@pytest.mark.parametrize(
    ("exception", "text", "part"),
    [
        ("ModuleNotFoundError", "ModuleNotFoundError(\"No module named 'shapely.geometry'\")", "find_spec('shapely')"),
        (
            "FileNotFoundError",
            "FileNotFoundError(2, \"No such file or directory: '/data/a.csv'\")",
            "os.path.exists, '/data/a.csv'",
        ),
    ],
)  # fmt: skip
def test_what_the_exception_asks_for(exception, text, part):
    (finding,) = run(failing_tasks, sick(failed(0, exception, text)))
    assert part in apply(finding.fixes[0], CODE)[2]
    assert finding.fixes[0].applicability == "safe"


def test_networks_get_another_try():
    cells = code("files = names()", "fs = client.map(parse, files)")
    facts = sick(failed(0, "ConnectionError", "ConnectionError('reset')"), code=cells)
    (finding,) = run(failing_tasks, facts)
    assert apply(finding.fixes[0], cells)[1] == "fs = client.map(parse, files, retries=3)"
    mixed = sick(failed(0, "ConnectionError", "x"), failed(1), code=cells)
    assert all("retries" not in fix.code for fix in run(failing_tasks, mixed)[0].fixes)
    tried = code("files = names()", "fs = client.map(parse, files, retries=9)")
    again = sick(failed(0, "ConnectionError", "x"), code=tried)
    assert all("retries=3" not in fix.code for fix in run(failing_tasks, again)[0].fixes)


def test_no_client_no_cell_no_fix():
    (finding,) = run(failing_tasks, sick(failed(at=None), cluster=cluster()))
    assert (finding.at, finding.fixes) == (None, ())


def test_measures_the_failures_of_the_last_run():
    failures = (failed(), failed(1, prefix="other"), failed(2, time=T0 + 5))
    (measure,) = failing_tasks.measuring("parse", at("c2", 2), failures=failures, code=CODE)
    assert measure.value == 1


def test_hostile_names_stay_text():
    odd = failed(0, "<img>`", "<img>`(\n'x')", prefix="<b>`")
    (finding,) = run(failing_tasks, sick(odd, computations=()))
    assert finding.message == "The only task of `<b>'` failed, with `<img>'`: `x`."
