"""docs/gate.md is true: its stages are those that there are, its waiver is a waiver, its inputs are the action's."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import yaml

from viscy_compat.architectures import migrated_names
from viscy_compat.gating.interface import PROMISED
from viscy_compat.gating.stages import STAGES
from viscy_compat.report import FORMATS
from viscy_compat.waivers import read_configuration, read_waivers

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")


def block(language: str, place: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[place])


def test_the_page_lists_every_stage_in_order() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [stage.name for stage in STAGES]


def test_the_page_names_every_format_of_the_gate() -> None:
    assert [format for format in FORMATS if f"`{format}`" not in PAGE and format != "jsonl"] == []


def test_the_waiver_of_the_page_is_one(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(block("toml", 2))
    (row,) = read_waivers(path, today=date(2026, 12, 1))
    assert (row.id, row.class_name, row.about, row.expired) == ("new-eps", "BetaVae25D", "VC501", False)


def test_five_lines_adopt_it_and_give_inputs_that_the_action_has() -> None:
    lines = block("yaml")
    assert len(lines.strip().splitlines()) == 5
    steps = yaml.safe_load(lines)
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    assert set(steps[0]["with"]) <= set(inputs)


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(block("toml"))
    found = read_configuration(path)
    assert set(found.classes) <= set(migrated_names())
    assert found.names is not None
    assert set(found.names) & set(PROMISED)


def test_the_page_names_every_promise_besides_the_classes() -> None:
    assert [name for name in PROMISED if f"`{name.partition(':')[2]}`" not in PAGE] == []


def test_the_hook_of_the_page_is_one_of_ours() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    named = yaml.safe_load(block("yaml", 3))[0]["hooks"]
    assert {hook["id"] for hook in named} <= {hook["id"] for hook in hooks}
