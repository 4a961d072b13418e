"""The published schema describes what the commands print: all of it, and nothing that they would not print."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hostile.generator import Hostile, execution, headers, tensors, two_formats, zips
from support.schema import SCHEMA, assert_described, closed
from viscy_compat import check
from viscy_compat.cli import main
from viscy_compat.commands import COMMANDS


def test_the_schema_is_one_and_describes_every_command() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    described = [row["if"]["properties"]["tool"]["properties"]["command"]["const"] for row in SCHEMA["allOf"]]
    missing = set(COMMANDS) - set(described)
    assert not missing, f"describe the results of {missing} in docs/schema/report.json"
    assert set(described) <= set(COMMANDS)


@pytest.mark.parametrize("group", [execution, tensors, zips, headers, two_formats])
def test_reports_on_hostile_files_and_their_twins_are_described(group: Any, tmp_path: Path) -> None:
    assert written(group(), tmp_path)
    report = check(tmp_path).to_dict()
    assert len(report["results"]) > 5
    assert_described(report)


def test_inspections_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "--format", "json", *written(tensors(), tmp_path)])
    assert_described(json.loads(capsys.readouterr().out))


def written(rows: Iterable[Hostile], folder: Path) -> list[str]:
    paths = []
    for number, row in enumerate(rows):
        for side, content in (("hostile", row.content), ("twin", row.twin)):
            paths.append(folder / f"{number}-{side}{row.ending}")
            paths[-1].write_bytes(content)
    return list(map(str, paths))


REPORT = check("nowhere.ckpt").to_dict()


def damaged(**changes: Any) -> dict[str, Any]:
    report = deepcopy(REPORT)
    report["results"][0].update(changes)
    return report


@pytest.mark.parametrize(
    "report",
    [
        damaged(verdict="fine"),
        damaged(findings=[{"code": "VC999999"}]),
        damaged(tensors="none"),
        {name: part for name, part in REPORT.items() if name != "results"},
    ],
    ids=["verdict", "code", "number", "no results"],
)
def test_what_no_command_prints_is_refused(report: dict[str, Any]) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(report)


def test_readers_allow_what_is_added_later_and_the_tests_do_not() -> None:
    later = damaged(mood="good")
    assert Draft202012Validator(SCHEMA).is_valid(later)
    assert not Draft202012Validator(closed(SCHEMA)).is_valid(later)
