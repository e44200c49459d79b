"""Writes `schema.json` anew."""

from pathlib import Path

from . import schema

Path(__file__).parent.with_name("schema.json").write_text(schema(), encoding="utf-8")
