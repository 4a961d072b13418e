"""What excludes each other is said in one line, and names the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.files import renaming_plan, torch_file
from viscy_compat.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--against", "b.ckpt", "--reverse"],
            "--against and --reverse exclude each other; give the files the other way",
        ),
        (["--plan", "plan.json", "--against", "b.ckpt"], "--plan and --against exclude each other; give one of them"),
        (["--plan", "plan.json", "--as", "UNeXt2"], "--plan and --as exclude each other; give one of them"),
        (["--against", "b.ckpt", "--as", "UNeXt2"], "--against and --as exclude each other; give one of them"),
        (["--plan", "plan.json", "--hint", "a=b"], "--hint is for renames that are inferred, and this plan is given"),
        (["--reverse", "--hint", "a=b"], "--hint is for renames that are inferred, and this plan is given"),
        (["--plan", "plan.json", "--drop", "t.0"], "--drop is for plans that are made here, and this plan is given"),
        (["--reverse", "--drop", "t.0"], "--drop is for plans that are made here, and this plan is given"),
        (["--hint", "t.0=u.0"], "--hint needs to know the target; say it: --as CLASS or --against FILE"),
    ],
)
def test_what_excludes_each_other_is_refused_with_the_flags(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ckpt", "b.ckpt"):
        torch_file(tmp_path / name, [3, 5])
    renaming_plan(tmp_path / "plan.json", [3, 5])
    before = sorted(tmp_path.iterdir())
    assert main(["remap", "a.ckpt", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
