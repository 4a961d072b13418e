"""`--expect` on the command line: what cannot be meant is one line, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.layouts import hollow, layout_of
from support.scripted import saved
from viscy_compat.cli import main


@pytest.mark.parametrize("command", ["check", "remap"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--expect", ""), "--expect names no file"),
        (("--expect-precision", "tf32"), "give them: --expect IO.safetensors"),
        (("--expect", "nothing.safetensors"), "nothing.safetensors"),
        (("--expect", "io.safetensors", "--expect-precision", "fp8"), "no precision is called 'fp8'"),
        (("--expect", "seedless.safetensors"), "gives the seed 'x'"),
        (("--expect", "model.safetensors"), "needs the tensor 'input' and an output"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    command: str,
    flags: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    hollow(tmp_path / "model.safetensors", layout_of("ResNet3dEncoder", backbone="resnet10"))
    saved(tmp_path, ["embedding"], {"seed": "x"}).rename(tmp_path / "seedless.safetensors")
    saved(tmp_path, ["embedding"])
    assert main([command, "model.safetensors", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
