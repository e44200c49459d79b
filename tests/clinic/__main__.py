"""Runs notebooks of the clinic: `python -m tests.clinic [--record] [notebook ...]`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

from . import recorded, table
from .notebooks import all_notebooks, read
from .run import Outcome, visit


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clinic", description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of examples/")
    parser.add_argument("--record", action="store_true", help="keep the snapshots and write docs/clinic.md")
    options = parser.parse_args()
    given = [read(path.resolve()) for path in options.notebooks] or list(all_notebooks())
    wrong = 0
    for notebook in given:
        if notebook.needs and not can(notebook.needs):
            print(f"--    {notebook.name}: not run, needs {notebook.needs}", flush=True)
            continue
        began = time.monotonic()
        outcome = visit(notebook)
        if not outcome.is_right and not options.notebooks:
            # In the complete run one more chance: other work on the machine is no fault of the rule.
            print(describe(outcome, time.monotonic() - began) + "\n      once more:", flush=True)
            outcome = visit(notebook)
        print(describe(outcome, time.monotonic() - began), flush=True)
        wrong += not outcome.is_right
        if options.record:
            table.keep(outcome)
            if outcome.is_right and outcome.snapshot is not None:
                recorded.write(notebook.name, outcome.snapshot)
    print(f"{len(given)} notebooks, {wrong} wrong")
    return 1 if wrong else 0


def can(needs: str) -> bool:
    """Is there what a notebook needs?"""
    if needs in ("old-distributed", "old-kernel"):
        return Path(os.environ.get("DASK_DOCTOR_OLD_PYTHON", "")).is_file()
    if needs == "a GPU":
        return Path("/proc/driver/nvidia/gpus").is_dir()
    if needs in ("joblib", "xarray"):
        return importlib.util.find_spec(needs) is not None
    raise ValueError(f"nobody knows how to see whether there is {needs}")


def describe(outcome: Outcome, took: float) -> str:
    lines = [f"{'ok   ' if outcome.is_right else 'WRONG'} {outcome.notebook.name} ({took:.0f} s)"]
    expected = outcome.notebook.expected
    if outcome.found_after is not None:
        end = outcome.found_after_end
        when = "" if end is None else f", {abs(end):.1f} s {'before' if end < 0 else 'after'} its end"
        lines[0] += f": found {outcome.found_after:.1f} s after the cell began{when}"
    elif expected is not None:
        lines.append(f"  not found: {expected}; the rule's outcome: {outcome.checks.get(expected.rule)}")
    lines += [f"  said instead: {told}" for told in outcome.near_misses.values()] if expected else []
    lines += [f"  false alarm: {told}" for told in outcome.false_alarms.values()]
    lines += [f"  fault: {rule}: {reason}" for rule, reason in outcome.faults.items()]
    if outcome.trouble:
        lines.append(f"  trouble: {outcome.trouble}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
