"""docs/other-libraries.md and the folder findings/ name the same scripts, each with the version that it installs."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "other-libraries.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| `([\w.-]+\.sh)` \|", PAGE, re.MULTILINE)
SCRIPTS = {path.name: path for path in (ROOT / "findings").iterdir()}


def test_every_script_has_its_row() -> None:
    names = [name for _, _, name in ROWS]
    assert sorted(names) == sorted(SCRIPTS)


def test_the_version_of_a_row_is_that_which_its_script_installs() -> None:
    for library, _, name in ROWS:
        pinned = set(re.findall(r"==([\d.]*\d)", SCRIPTS[name].read_text()))
        versions = set(re.findall(r"\d+\.[\d.]*\d", library))
        assert versions, name
        assert versions <= pinned, name


def test_every_script_runs_without_our_code_and_cleans_up() -> None:
    for path in SCRIPTS.values():
        text = path.read_text()
        assert os.access(path, os.X_OK), path
        assert "mktemp -d" in text, path
        assert "trap 'rm -rf \"$place\"' EXIT" in text, path
        assert "viscy_compat" not in text, path
