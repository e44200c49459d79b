"""Makes syntax trees, beside other threads that make some, and without the warnings that a text may give."""

from __future__ import annotations

import ast
import gc
import re
import sys
import threading
import time
import warnings
from types import FrameType

#: What stands for a file's name where the text is no file.
NAME = "<dask-doctor>"
#: Of these versions of Python the making of a syntax tree fails in one thread (SystemError: "AST constructor
#: recursion depth mismatch") when the collector stops it and another thread makes one meanwhile
#: (python/cpython#106905).
IS_FRAGILE = (3, 11) <= sys.version_info < (3, 12)
#: How long to wait for the other thread, in steps of a millisecond, and frames of a thread that are looked at:
#: those of a collector's callback stand above the one that parses.
_STEPS, _FRAMES = 100, 40
#: Functions that make a tree, besides `ast.parse`: IPython's and the standard library's.
_PARSERS = frozenset({"ast_parse", "compile_command", "_maybe_compile"})
_OURS = re.compile(re.escape(NAME))


class Later(Exception):
    """Another thread makes a syntax tree and does not come to an end."""


def tree(text: str) -> ast.Module:
    """As `ast.parse`, whose errors it raises; `Later` when another thread does not let it."""
    _keep_quiet()
    if not IS_FRAGILE:
        return ast.parse(text, NAME)
    for _ in range(_STEPS):
        if not _is_parsing_elsewhere():
            break
        time.sleep(0.001)
    else:
        raise Later
    # Nothing of Python's own may run while the tree is made, or the user's thread could begin one.
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text, NAME)
    finally:
        if collects:
            gc.enable()


def _is_parsing_elsewhere() -> bool:
    own = threading.get_ident()
    return any(_is_parsing(frame) for thread, frame in sys._current_frames().items() if thread != own)


def _is_parsing(frame: FrameType | None) -> bool:
    for _ in range(_FRAMES):
        if frame is None:
            break
        if frame.f_code is ast.parse.__code__ or frame.f_code.co_name in _PARSERS:
            return True
        frame = frame.f_back
    return False


def _keep_quiet() -> None:
    """The text's own warnings ("invalid escape sequence") are told to the user by the cell that runs, once."""
    if not any(action == "ignore" and module == _OURS for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", category=Warning, module=_OURS.pattern)
