"""Changes that are made by hand are about the code as it is now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from mutation import BY_HAND, ROOT, HandMutation


@pytest.mark.parametrize("mutation", BY_HAND, ids=lambda mutation: mutation.what)
def test_what_a_change_replaces_stands_in_its_module_once(mutation: HandMutation) -> None:
    assert (ROOT / "src" / "viscy_compat" / mutation.module).read_text(encoding="utf-8").count(mutation.before) == 1
    assert (ROOT / mutation.tests).is_file()
