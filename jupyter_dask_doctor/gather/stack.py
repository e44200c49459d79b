"""Read off a stack which frames are a cell's, which are Dask's, and where the cell stands."""

from __future__ import annotations

from types import FrameType


def module_of(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if type(name) is str else ""


def is_dasks(module: str) -> bool:
    return module.split(".", 1)[0] in ("dask", "distributed")


def is_cell(frame: FrameType) -> bool:
    """Whether this is a cell's own code, or that of a function which a cell defined."""
    filename = frame.f_code.co_filename
    return "ipykernel_" in filename or filename.startswith("<ipython-input")


def timed_line(frame: FrameType, line: int | None) -> int | None:
    """The line in a cell that starts with `%%time`, walking outwards with what was found so far. IPython compiles
    what is below that line by itself."""
    code = frame.f_code
    if code.co_filename in ("<timed exec>", "<timed eval>"):
        return frame.f_lineno + 1
    return None if code.co_name == "run_line_magic" else line


#: What decorators of Dask's call the function that they put in another's place.
_PACKING = frozenset(["wrapper", "wrapped", "inner", "_inner", "decorated"])


def function(frame: FrameType) -> str | None:
    """What the frame's function is called; of a class's `__init__` the class. None for one that only goes through
    to another one."""
    code = frame.f_code
    name = code.co_name
    if name in _PACKING:
        return None
    if name == "__init__":
        return str(getattr(code, "co_qualname", "init")).split(".", 1)[0][:100]
    if name == "read" and code.co_filename.endswith("csv.py"):
        return "read_csv"  # made by a function, for several formats
    return name.strip("_")[:100]
