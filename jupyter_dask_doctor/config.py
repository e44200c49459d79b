"""Thresholds and ignores as the user set them: `dask.config`, key `dask-doctor`, Dask's own convention."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .rules import RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What differs from the rules' defaults. Plain data: rules and runner never see `dask.config`."""

    #: The limits in force, by rule; a rule that is missing has its defaults.
    limits: Mapping[str, Any] = field(default_factory=dict)
    #: Ids of rules that are not to be checked.
    ignore: frozenset[str] = frozenset()
    #: What could not be understood, in sentences for the user; the default holds there.
    notes: tuple[str, ...] = ()


def settings(given: object) -> Settings:
    """Settings of `{"ignore": [...], "rules": {"partition-skew": {"ratio": 6}}}`. Never raises."""
    notes: list[str] = []
    top = _mapping(given, "dask-doctor", notes)
    for name in top:
        if name not in ("deep", "ignore", "rules"):
            notes.append(f"Setting dask-doctor.{_shown(name)} is not known: it has no effect.")
    if not isinstance(top.get("deep", False), bool):
        notes.append(f"Setting dask-doctor.deep must be true or false, not {_shown(top['deep'])}: it is off.")
    limits = {}
    for rule_id, values in _mapping(top.get("rules"), "dask-doctor.rules", notes).items():
        if rule_id not in RULES:
            notes.append(f"Setting dask-doctor.rules.{_shown(rule_id)}: there is no such rule.")
            continue
        limits[rule_id] = _limits(rule_id, values, notes)
    return Settings(limits=limits, ignore=_ignored(top.get("ignore"), notes), notes=tuple(notes))


def read() -> Settings:
    """Settings of `dask.config` now; the defaults where Dask is missing."""
    try:
        import dask.config
    except ImportError:
        return Settings()
    return settings(dask.config.get("dask-doctor", None))


def _limits(rule_id: str, values: object, notes: list[str]) -> Any:
    defaults = RULES[rule_id].thresholds
    fields = {f.name: f for f in dataclasses.fields(defaults)}
    changed = {}
    for key, value in _mapping(values, f"dask-doctor.rules.{rule_id}", notes).items():
        name = key.replace("-", "_")
        where = f"dask-doctor.rules.{rule_id}.{_shown(key)}"
        if name not in fields:
            notes.append(f"Setting {where} is not known: it has no effect.")
            continue
        default = getattr(defaults, name)
        fit = _fit(value, default)
        if fit is None:
            kind = "a whole number" if isinstance(default, int) else "a number"
            notes.append(
                f"Setting {where} must be {kind} of at least 0, not {_shown(value)}: {default} is used."
            )
            continue
        changed[name] = fit
    return dataclasses.replace(defaults, **changed)


def _fit(value: object, default: int | float) -> int | float | None:
    """The value in the default's type, or None. True is no number here."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) or value < 0:
        return None
    if isinstance(default, int):
        return int(value) if value == int(value) else None
    return float(value)


def _ignored(given: object, notes: list[str]) -> frozenset[str]:
    if given is None:
        return frozenset()
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, (list, tuple, set, frozenset)):
        notes.append(
            f"Setting dask-doctor.ignore must be a list of rules, not {_shown(given)}: nothing is ignored."
        )
        return frozenset()
    ignored = set()
    for item in items:
        name = item.replace("_", "-") if isinstance(item, str) else item
        if isinstance(name, str) and name in RULES:
            ignored.add(name)
        else:
            notes.append(f"Setting dask-doctor.ignore: there is no rule {_shown(item)}.")
    return frozenset(ignored)


def _mapping(given: object, where: str, notes: list[str]) -> dict[str, object]:
    """Names with hyphens, as rule ids have them: an environment variable can only spell underscores."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        notes.append(
            f"Setting {where} must hold names and values, not {_shown(given)}: the defaults are used."
        )
        return {}
    return {str(key).replace("_", "-"): value for key, value in given.items()}


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else value
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"
