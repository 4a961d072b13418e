"""`--expect` on the command line: what cannot be meant is one line, before anything is started."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from support.layouts import hollow, layout_of
from support.scripted import saved
from viscy_compat.cli import main
from viscy_compat.errors import OutputsOfAnother


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


class OfAnother:
    """Outputs that no model of the class can have given."""

    def __init__(self, path: str, **_: Any) -> None:
        self.user = SimpleNamespace(path=path)

    def __enter__(self) -> OfAnother:
        return self

    def __exit__(self, *_: object) -> None: ...

    def settles(self, _: object) -> bool:
        return False

    def judge(self, _: object) -> NoReturn:
        raise OutputsOfAnother("the input must be flat", where=self.user.path, fix="save another")


def test_outputs_that_cannot_be_of_one_file_leave_the_others_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("viscy_compat.outputs.expectation.Expectation", OfAnother)
    for name in ("a", "b"):
        hollow(tmp_path / f"{name}.safetensors", layout_of("ResNet3dEncoder", backbone="resnet10"))
    for words in (["a.safetensors", "b.safetensors"], ["."]):
        assert main(["check", *words, "--expect", "io", "--format", "json"]) == 1
        results = json.loads(capsys.readouterr().out)["results"]
        assert [result["verdict"] for result in results] == ["compatible", "compatible"]
        said = [[row["message"] for row in result["findings"] if row["code"] == "VC350"] for result in results]
        assert said == [["outputs of another model: the input must be flat"]] * 2
    assert main(["check", "a.safetensors", "--expect", "io"]) == 2
    assert capsys.readouterr().err == "viscy-compat: io: the input must be flat; save another\n"
