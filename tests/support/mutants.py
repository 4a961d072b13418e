"""Copies of the migrated package with a line or two changed, as a careless commit would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "viscy_models"


class Edit(NamedTuple):
    """A piece of text in a file of the package, and what it becomes."""

    file: str
    old: str
    new: str


def mutant(folder: Path, *edits: Edit) -> Path:
    """Copy the package into a folder, make the edits there, and return the folder for ``--candidate``.

    An edit whose text does not occur exactly once is an error: the mutant would prove nothing.
    """
    shutil.copytree(PACKAGE, folder / "viscy_models", ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = folder / "viscy_models" / edit.file
        text = path.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.old!r} occurs {text.count(edit.old)} times in {edit.file}"
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return folder
