"""Why there is nothing from a kernel, each reason in the user's words and with one next step."""

from __future__ import annotations

from ..messages import TroubleKind

_NEXT = "Restart the kernel; if it comes again, upgrade jupyter-dask-doctor there and beside JupyterLab."


class Problem(Exception):
    """A word for the program and a sentence for the user."""

    def __init__(self, kind: TroubleKind, message: str) -> None:
        super().__init__(message)
        self.kind: TroubleKind = kind
        self.message = message


def gone() -> Problem:
    return Problem("no-kernel", "This notebook has no running kernel. Start one from the Kernel menu.")


def not_started() -> Problem:
    return Problem(
        "no-kernel", "The kernel could not be started. Look at the server's log, then restart the kernel."
    )


def other_language(language: str) -> Problem:
    return Problem(
        "not-python",
        f"This notebook's kernel speaks {language[:40]}. The doctor looks at Dask in Python: choose a Python"
        " kernel from the Kernel menu.",
    )


def no_doctor() -> Problem:
    return Problem(
        "no-doctor",
        "This kernel has no Dask Doctor. Run `%pip install jupyter-dask-doctor` in a cell and restart the"
        " kernel; where it is installed, run `%load_ext jupyter_dask_doctor`.",
    )


def starting() -> Problem:
    return Problem("not-answering", "The kernel is starting. It is asked again every second.")


def restarting() -> Problem:
    return Problem("restarting", "The kernel is restarting. It goes on by itself when the kernel is back.")


def busy() -> Problem:
    return Problem(
        "not-answering",
        "The kernel does not answer: it is busy in native code that holds Python's lock, or it hangs. It"
        " goes on by itself when the kernel is free; otherwise interrupt the kernel.",
    )


def left_alone() -> Problem:
    return Problem(
        "not-answering",
        "No notebook is connected to this kernel, so it is left alone: its messages would pile up in the"
        " server's memory. Open its notebook to go on.",
    )


def gateway() -> Problem:
    return Problem("gateway", "This kernel runs behind a gateway, where only the browser can ask it.")


def other_protocol(version: str, *, is_older: bool) -> Problem:
    theirs = f"The kernel's jupyter-dask-doctor ({version[:40]})"
    if is_older:
        return Problem(
            "old-kernel-side",
            f"{theirs} is older than the Jupyter server's. Run"
            " `%pip install --upgrade jupyter-dask-doctor` in a cell and restart the kernel.",
        )
    return Problem(
        "new-kernel-side",
        f"{theirs} is newer than the Jupyter server's. Upgrade jupyter-dask-doctor where JupyterLab is"
        " installed, and start JupyterLab again.",
    )


def too_long(nbytes: int, limit: int) -> Problem:
    return Problem(
        "bad-message",
        f"The kernel's answer is {nbytes // 1024:,} KiB long, more than the {limit // 1024} KiB that are"
        f" read. {_NEXT}",
    )


def unreadable(error: object) -> Problem:
    return Problem("bad-message", f"The kernel's answer could not be read ({str(error)[:200]}). {_NEXT}")


def failed(error: Exception) -> Problem:
    return Problem(
        "bad-message",
        f"The doctor's part in the Jupyter server failed ({str(error)[:200]}). It tries again; the server's"
        " log has the whole story.",
    )
