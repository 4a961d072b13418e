"""The words of `remap`: what cannot be meant is refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from viscy_compat.cli import main
from viscy_compat.errors import UsageError
from viscy_compat.rewrite.remapping import remap


@pytest.mark.parametrize("flag", ["-o", "--plan", "--against", "--expect", "--write-plan", "--shim"])
def test_an_empty_file_name_is_no_file_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main(["remap", str(tmp_path / "absent.ckpt"), flag, ""]) == 2
    assert f"{flag} names no file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out", "plan", "against", "write_plan", "shim"])
def test_an_empty_path_is_no_path(name: str) -> None:
    with pytest.raises(UsageError, match="names no file"):
        remap("absent.ckpt", **{name: ""})  # type: ignore[arg-type]
