"""The words of `remap`: what cannot be meant is refused before anything is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.cli import main
from viscy_compat.errors import UsageError
from viscy_compat.plans.plan import PlanEnd, identity_rows, plan_of
from viscy_compat.plans.plan_file import dumps
from viscy_compat.rewrite.remapping import remap


@pytest.mark.parametrize("flag", ["-o", "--plan", "--against", "--expect", "--write-plan", "--shim"])
def test_an_empty_file_name_is_no_file_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main(["remap", str(tmp_path / "absent.ckpt"), flag, ""]) == 2
    assert f"{flag} names no file" in capsys.readouterr().err


def _plan(**changes: object) -> bytes:
    layout = layout_of("ResNet3dEncoder", backbone="resnet10")
    plan = json.loads(dumps(plan_of(PlanEnd(layout), PlanEnd(layout), identity_rows(layout))))
    return json.dumps({**plan, **changes}).encode()


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 2, "this is not JSON"),
        (b"{}", 2, "the plan has no field 'schema'; remap --write-plan writes one"),
        (b"[1]", 2, "the plan is no object"),
        (_plan(schema=2), 2, "the plan has schema 2; this version reads 1"),
        (b"\x00\xff", 2, "this is not UTF-8 text"),
        (b"\x10" + bytes(7) + b"{}", 2, "this is not JSON"),
        (None, 2, "plan.json"),
        (_plan(operations=[]), 1, "no total plan"),
        (_plan(), 1, "the plan was made for another layout"),
    ],
    ids=["empty", "no field", "list", "schema", "bytes", "safetensors", "absent", "not total", "another layout"],
)
def test_what_is_no_plan_is_bad_input_and_a_plan_that_does_not_fit_is_a_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, code: int, said: str
) -> None:
    file = hollow(tmp_path / "model.safetensors", layout_of("Unet2d"))
    path, new = tmp_path / "plan.json", tmp_path / "new.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert main(["remap", str(file), "--plan", str(path), "-o", str(new)]) == code
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0]
    assert len(lines) == 1 or code == 1
    assert not new.exists()


@pytest.mark.parametrize("name", ["out", "plan", "against", "write_plan", "shim"])
def test_an_empty_path_is_no_path(name: str) -> None:
    with pytest.raises(UsageError, match="names no file"):
        remap("absent.ckpt", **{name: ""})  # type: ignore[arg-type]
