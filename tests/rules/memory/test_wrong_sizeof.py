"""Objects whose size Dask gets wrong."""

import pytest

from jupyter_dask_doctor.rules.memory import wrong_sizeof
from jupyter_dask_doctor.rules.registry import NotChecked
from jupyter_dask_doctor.runner import examine
from tests.healthy import (
    T0,
    GiB,
    MiB,
    apply,
    at,
    cell,
    change,
    cluster,
    code,
    computation,
    group,
    load,
    run,
    sizes,
    snapshot,
    worker,
)

CLASS = """\
import numpy as np


class Model:
    def __init__(self, seed):
        self.weights = np.ones(10_000_000)


def fit(seed):
    return Model(seed)"""
CODE = code("client = Client()", CLASS, "models = client.map(fit, range(30))")
RAN = computation(at=at("c3", 3), submitted=T0 + 40.5, start=T0 + 41, stop=T0 + 49)


def made(**changes):
    facts = {
        "n_tasks": 30,
        "n_memory": 30,
        "n_done": 30,
        "types": ("__main__.Model",),
        "sizes": sizes(*[56] * 30),
        "start": T0 + 41,
        "stop": T0 + 49,
    }
    return group("fit", **facts | changes)


def loads(each=80 * MiB, steps=10, base=600 * MiB, last=None, n=30):
    rows = [
        load(
            time=T0 + 40 + i,
            tasks_memory=round(n * i / (steps - 1)),
            unmanaged=base + round(each * n * i / (steps - 1)) + (i % 3) * MiB,
            managed=0,
        )
        for i in range(steps)
    ]
    if last is not None:
        rows.append(load(time=T0 + 60, tasks_memory=n, unmanaged=last))
    return tuple(rows)


def sick(**changes):
    facts = {
        "groups": (made(),),
        "load": loads(),
        "computations": (RAN,),
        "code": CODE,
        "cluster": cluster(client_variable="client", cluster_variable=None),
    }
    return snapshot(**facts | changes)


def test_names_the_class_and_both_numbers():
    (finding,) = run(wrong_sizeof, sick())
    assert finding.id == "wrong-sizeof:__main__.Model"
    assert finding.severity == "warning"
    assert finding.message == (
        "Dask counts 56 B for each of the 30 `Model` objects that `fit` made, while the workers' memory rose by "
        "about 80 MiB with each: 2.3 GiB that it does not know of."
    )
    assert finding.at == at("c3", 3)
    assert finding.loss_bytes == pytest.approx(30 * 80 * MiB, rel=0.02)


def test_worth_knowing_only_when_it_is_little_of_the_memory():
    (finding,) = run(wrong_sizeof, sick(load=loads(each=20 * MiB)))
    assert finding.severity == "info"
    (finding,) = run(wrong_sizeof, sick(cluster=cluster(memory_limit=None)))
    assert finding.severity == "info"


@pytest.mark.parametrize(
    "group",
    [
        {"types": ("numpy.ndarray",)},
        {"types": ("pandas.DataFrame",)},
        {"types": ("float",)},
        {"types": ()},
        {"sizes": sizes(*[80 * MiB] * 30)},  # it tells its size
        {"sizes": None},
        {"n_memory": 4},
        {"start": None},
    ],
)
def test_is_quiet_of_what_dask_measures_or_nobody_holds(group):
    assert not run(wrong_sizeof, sick(groups=(made(**group),)))


@pytest.mark.parametrize(
    "seen",
    [
        loads(each=0),  # small objects are small
        loads(each=3 * MiB),  # 90 MiB
        loads(each=-10 * MiB, base=6 * GiB),
        loads(last=620 * MiB),  # it came back
        tuple(change(s, unmanaged=600 * MiB + (s.time > T0 + 44) * 900 * MiB) for s in loads()),  # imports
        (),
    ],
)
def test_is_quiet_of_healthy_memory(seen):
    assert not run(wrong_sizeof, sick(load=seen))


def test_is_quiet_of_an_earlier_run():
    first, second, third = CODE
    again = change(third, execution_count=4, started=T0 + 60, stopped=T0 + 70)
    assert not run(wrong_sizeof, sick(code=(first, second, again)))


def test_incomplete_when_memory_was_not_watched():
    with pytest.raises(NotChecked):
        run(wrong_sizeof, sick(load=loads()[-2:]))
    calm = tuple(change(s, unmanaged=500 * MiB) for s in loads()[-2:])
    assert not run(wrong_sizeof, sick(load=calm))


def test_hostile_names():
    bad = "evil.<b>`x`</b>" * 30
    (finding,) = run(wrong_sizeof, sick(groups=(made(types=(bad,)),)))
    assert finding.message.count("`") == 4
    assert finding.fixes == ()


def test_fix_adds_the_method_to_the_class():
    (finding,) = run(wrong_sizeof, sick())
    (fix,) = finding.fixes
    assert fix.applicability == "unsafe"
    changed = apply(fix, CODE)[1]
    namespace = {}
    exec(changed, namespace)
    import dask.sizeof

    assert dask.sizeof.sizeof(namespace["Model"](0)) > 80_000_000
    assert changed.endswith("\n\n\ndef fit(seed):\n    return Model(seed)")


@pytest.mark.parametrize(
    "source",
    [
        "class Model:\n    __slots__ = ('weights',)\n",
        "class Model: pass",
        "class Model:\n    def __sizeof__(self):\n        return 56",
        "class Other:\n    pass",
        "this is no Python",
    ],
)
def test_no_fix_where_it_cannot_be_sure(source):
    (finding,) = run(wrong_sizeof, sick(code=(CODE[0], cell("c2", source, 2), CODE[2])))
    assert finding.fixes == ()


def test_fix_registers_a_class_of_a_library():
    foreign = made(types=("collections.OrderedDict",))
    (finding,) = run(wrong_sizeof, sick(groups=(foreign,)))
    (fix,) = finding.fixes
    assert "from collections import OrderedDict" in apply(fix, CODE)[1]
    assert "client.run(tell_size)" in fix.code
    (finding,) = run(wrong_sizeof, sick(groups=(foreign,), cluster=cluster()))
    assert finding.fixes[0].applicability == "display-only"


def test_it_speaks_for_growth_and_pressure():
    from jupyter_dask_doctor.rules import RULES

    assert RULES["unmanaged-memory-growth"].yields_to["wrong-sizeof"] == "cell"
    assert RULES["worker-memory-pressure"].yields_to["wrong-sizeof"] == "cell"
    report = examine(sick())
    assert [f.rule for f in report.findings if f.severity != "info"] == ["wrong-sizeof"]


def test_measures_what_dask_does_not_know():
    (measured,) = wrong_sizeof.measuring(
        "x", None, workers=(worker(process=900 * MiB, managed=200 * MiB), worker(1, process=1, managed=9))
    )
    assert measured.value == 700 * MiB
