"""Cells as Python."""

import ast
import gc
import threading
import time

import pytest

from jupyter_dask_doctor import source


@pytest.mark.parametrize(
    "text",
    [
        "%matplotlib inline\nx = 1",
        "!ls -l\nx = 1",
        "x = !ls\ny = %env HOME",
        "%%time\nx = 1",
        "%%capture out\nx = 1",
        "%time x = 1",
        "if True:\n    %timeit f(1)",
        "f?",
        "?f",
        "df.head??",
    ],
)
def test_magics_are_put_aside(text):
    assert source.parse(text) is not None


@pytest.mark.parametrize(
    "text", ["%%bash\nx = 1", "%%html\n<b>", "x = (", "", "%%", "x = 1\n" * 20_000, "\0"]
)
def test_what_is_not_python_has_no_tree(text):
    assert source.parse(text) is None or not source.parse(text).body


def test_columns_stay_behind_a_magic():
    text = "%time x.compute()"
    (call,) = [n for n in ast.walk(source.parse(text)) if isinstance(n, ast.Call)]
    assert source.text(text, source.span(text, call)) == "x.compute()"


@pytest.mark.parametrize(
    "text", ["'🩺é'; f(1)", "x = '\\u2028'; f(1)", "a = 1\r\nf(1)", "'e\u0301\U0001f468\u200d'; f(1)"]
)
def test_columns_are_characters(text):
    (call,) = [n for n in ast.walk(source.parse(text)) if isinstance(n, ast.Call)]
    where = source.span(text, call)
    assert source.text(text, where) == "f(1)"
    assert where.end_column - where.column == 4


def test_text_over_lines():
    text = "x = f(\n  1,\n)"
    (call,) = [n for n in ast.walk(source.parse(text)) if isinstance(n, ast.Call)]
    assert source.text(text, source.span(text, call)) == "f(\n  1,\n)"


@pytest.mark.parametrize(
    ("text", "name"), [("x.a[1].b()", "x"), ("f()", None), ("(a + b).c", None), ("x", "x")]
)
def test_root(text, name):
    found = source.root(ast.parse(text, mode="eval").body)
    assert (found.id if found else None) == name


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("x = 1", True),
        ("x, y = f()", True),
        ("x: int = 1", True),
        ("x: int", False),
        ("y = x", False),
        ("x.a = 1", False),
    ],
)
def test_binds(text, answer):
    assert source.binds(ast.parse(text).body[0], "x") is answer


def test_the_users_thread_may_parse_at_the_same_time():
    # On Python 3.11 it failed with a SystemError where the collector ran Python code in between.
    texts = ("\n".join(f"x{i} = f({i}, [{n} for a in range({i})])" for i in range(300)) for n in range(10**6))
    stop = time.monotonic() + 2.0
    callback = lambda *_: sum(range(200))  # noqa: E731
    parsed = []

    def look():
        while time.monotonic() < stop:
            parsed.append(source.parse(next(texts)) is not None)

    thread = threading.Thread(target=look)
    gc.callbacks.append(callback)
    try:
        thread.start()
        mine = "\n".join(f"x{i} = f({i}, [a for a in range({i})])" for i in range(300))
        while time.monotonic() < stop:
            ast.parse(mine)
    finally:
        gc.callbacks.remove(callback)
        thread.join()
    assert any(parsed)
    assert gc.isenabled()


def test_is_silent_of_what_the_text_does_wrong(recwarn):
    assert source.parse("x = '\\d'; y = 1 is 1") is not None
    assert not recwarn.list
