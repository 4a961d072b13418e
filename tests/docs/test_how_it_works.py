"""The page about the house names rooms that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "pictures" / "three_trips.svg").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "viscy_compat"


def test_every_room_in_words_and_picture_is_there() -> None:
    rooms = {*re.findall(r"`(\w+)/`", PAGE), *re.findall(r">(\w+)/<", PICTURE)}
    assert len(rooms) > 10
    assert [room for room in rooms if not (PACKAGE / room).is_dir() and not (ROOT / room).is_dir()] == []


def test_every_name_in_the_list_of_layers_is_there() -> None:
    block = PAGE.split("```text\n")[1].split("```")[0]
    names = {name for line in block.splitlines() for name in re.findall(r"\w+", line[:36])}
    assert len(names) > 15
    assert [name for name in names if not (PACKAGE / name).is_dir() and not (PACKAGE / f"{name}.py").is_file()] == []
