"""Numbers in words, and that the panel says them in the same words."""

import json
import math
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from jupyter_dask_doctor import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (84 * 2**20, "84 MiB"),
        (2040109465, "1.9 GiB"),
        (2**30, "1 GiB"),
        (5_000 * 2**50, "5,000 PiB"),
        (-3 * 2**30, "-3 GiB"),
        (math.nan, "–"),
        (1e300, f"{int(1e300 / 1024**5):,} PiB"),
    ],
)
def test_nbytes(value: float, said: str) -> None:
    assert words.nbytes(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 ms"),
        (0.0312, "31 ms"),
        (0.9996, "1 s"),
        (3.14, "3.1 s"),
        (52.4, "52 s"),
        (185, "3 min 5 s"),
        (180, "3 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (-52, "-52 s"),
        (math.inf, "–"),
    ],
)
def test_seconds(value: float, said: str) -> None:
    assert words.seconds(value) == said


def test_value_says_its_unit() -> None:
    assert words.value(0.45, "share") == "45 %"
    assert words.value(23.4, "ratio") == "23×"
    assert words.value(12345, "count") == "12,345"
    assert words.value(0.25, "ratio") == "0.25×"
    assert words.value("tcp://10.0.0.1", "text") == "tcp://10.0.0.1"


def test_count_says_its_noun() -> None:
    assert words.count(1, "warning") == "1 warning"
    assert words.count(0, "warning") == "0 warnings"
    assert words.count(1200, "query", "queries") == "1,200 queries"


def test_code_keeps_a_hostile_name_within_its_backticks() -> None:
    assert words.code("orders") == "`orders`"
    assert words.code("a`b\nc") == "`a'b c`"
    assert len(words.code("x" * 10_000_000)) == words.MAX_NAME + 2


ROOT = Path(__file__).parents[1]
#: Runs src/format.ts as it stands over [function, value, unit] triples.
FORMAT = """
const ts = require('typescript'), fs = require('fs');
const source = fs.readFileSync('src/format.ts', 'utf8');
const module_ = { exports: {} };
const options = { compilerOptions: { module: 'commonjs', target: 'es2022' } };
new Function('exports', 'require', ts.transpileModule(source, options).outputText)(module_.exports, require);
const values = JSON.parse(fs.readFileSync(0, 'utf8'));
console.log(JSON.stringify(values.map(([value, unit]) => module_.exports.quantity(value, unit))));
"""


@pytest.mark.skipif(not (ROOT / "node_modules").exists(), reason="node_modules is not installed")
def test_the_panel_says_it_in_the_same_words() -> None:
    chance = random.Random(0)
    values = [0, 1, 12.5, 2.5, 0.125, 99.5, 99.96, 119.5, 119.49, 0.9995, 7199.6, 3599.5, 1000, 1023.5]
    values += [10 ** chance.uniform(-3, 14) for _ in range(300)]
    asked = [
        (value, unit) for value in values for unit in ("bytes", "seconds", "count", "ratio", "share", "text")
    ]
    node = [shutil.which("node") or "node", "-e", FORMAT]
    run = subprocess.run(node, input=json.dumps(asked), capture_output=True, text=True, cwd=ROOT, check=True)
    ours = [words.value(value, unit) for value, unit in asked]
    different = [(a, o, t) for a, o, t in zip(asked, ours, json.loads(run.stdout), strict=True) if o != t]
    assert different == []
