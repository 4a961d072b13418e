"""The published schema of reports, and the same without tolerance: what it does not name may not be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

PATH = Path(__file__).resolve().parents[2] / "docs" / "schema" / "report.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The schema in which every object that lists its properties has no others; readers get the open one."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: part if name in ("if", "then") else closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        made.setdefault("additionalProperties", False)
    return made


_CLOSED = Draft202012Validator(closed(SCHEMA))


def assert_described(report: Any) -> None:
    """Assert that the schema names everything in a report, and that everything is as it says."""
    errors = [f"{error.json_path}: {error.message[:300]}" for error in _CLOSED.iter_errors(report)]
    assert not errors, f"docs/schema/report.json does not describe this: {errors[:5]}"
