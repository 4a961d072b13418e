"""What was known when a file was remapped is in the new file, and `check` and `load_model` need nothing stated again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest

from support.layouts import hollow, layout_of
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.cli import main
from viscy_compat.diagnosis import CheckResult, diagnose
from viscy_compat.errors import UsageError
from viscy_compat.rewrite.remapping import remap

UNEXT2 = {"in_channels": 1, "out_channels": 2, "in_stack_depth": 5, "stem_kernel_size": (5, 4, 4), "head_pool": True}
MONAI: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 32, 32),
    "out_channels": 1,
    "latent_size": 8,
    "channels": (8, 16),
    "strides": (2, 2),
    "use_sigmoid": True,
}
OPEN = ("in_shape", "strides", "use_sigmoid")


def source(folder: Path, prefix: str = "module.") -> Path:
    layout = layout_of("BetaVaeMonai", **MONAI)
    return hollow(folder / "old.safetensors", {prefix + name: spec for name, spec in layout.items()})


def recorded(path: Path) -> dict[str, Any]:
    """The arguments that a file's record has."""
    found: dict[str, Any] = json.loads(open_checkpoint(str(path)).metadata["viscy_compat.config"])
    return found


def judged(path: Path, **options: Any) -> CheckResult:
    return diagnose(str(path), **options).result


@pytest.mark.parametrize("ending", ["safetensors", "ckpt", "pth"])
def test_what_is_stated_once_is_known_ever_after(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"new.{ending}"
    stated = {name: MONAI[name] for name in OPEN}
    assert remap(source(tmp_path), out, config=stated)
    result = judged(out)
    assert result.identity
    assert {name: result.identity.config[name] for name in OPEN} == stated
    assert not result.uncertain
    assert "..." not in result.python
    assert {result.identity.sources[name] for name in OPEN} == {"the record that remap left in the file"}
    again = tmp_path / f"again.{ending}"
    assert remap(out, again)
    assert recorded(again) == recorded(out)


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_what_is_assumed_is_not_recorded_as_known(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"new.{ending}"
    assert remap(source(tmp_path), out, config={"use_sigmoid": True})
    assert not {"in_shape", "strides", "dropout"} & recorded(out).keys()
    assert (recorded(out)["use_sigmoid"], recorded(out)["latent_size"]) == (True, 8)
    result = judged(out)
    assert "'use_sigmoid': True" in result.python
    assert "'strides': ..." in result.python


def test_a_plan_that_is_applied_records_no_guess_of_the_one_who_made_it(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "new.safetensors"
    assert remap(source(tmp_path), write_plan=plan)
    assert remap(source(tmp_path), out, plan=plan)
    assert not set(OPEN) & recorded(out).keys()
    assert remap(source(tmp_path), out, plan=plan, force=True, config={"strides": [2, 2]})
    assert recorded(out)["strides"] == [2, 2]


def test_what_is_stated_now_outweighs_the_record_and_that_is_said(tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    hollow(tmp_path / "old.safetensors", {f"module.{k}": v for k, v in layout_of("UNeXt2", **UNEXT2).items()})
    assert remap(tmp_path / "old.safetensors", out, config={"head_pool": True})
    assert main(["check", str(out), "--set", "head_pool=false"]) == 0
    assert main(["check", "--strict", str(out), "--set", "head_pool=false"]) == 1
    assert main(["check", "--strict", str(out)]) == 0


@pytest.mark.parametrize("record", [b"{", b"[1]", b'{"viscy_compat.config": "[["}', b"\xff", b"{}" + b" " * 70_000])
def test_a_record_that_says_nothing_readable_is_none(tmp_path: Path, record: bytes) -> None:
    out = tmp_path / "new.ckpt"
    assert remap(source(tmp_path), out, config={name: MONAI[name] for name in OPEN})
    damaged = tmp_path / "damaged.ckpt"
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(damaged, "w") as new:
        for entry in old.infolist():
            ours = entry.filename.endswith("viscy_compat.json")
            new.writestr(entry.filename, record if ours else old.read(entry))
    result = judged(damaged)
    assert result.verdict == "compatible"
    assert result.uncertain


def test_one_record_stands_in_a_torch_file_however_often_it_is_remapped(tmp_path: Path) -> None:
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    assert remap(source(tmp_path), first)
    assert remap(first, second, weights_only=True)
    names = zipfile.ZipFile(second).namelist()
    assert [name for name in names if name.endswith("viscy_compat.json")] == ["archive/viscy_compat.json"]


@pytest.mark.torch
def test_torch_reads_the_new_file_as_ever_and_the_model_is_built_as_recorded(tmp_path: Path) -> None:
    import torch

    import viscy_compat
    from viscy_models import BetaVaeMonai

    torch.manual_seed(0)
    model = BetaVaeMonai(**MONAI).eval()
    state = {"model." + name: value for name, value in model.state_dict().items()}
    hyper_parameters = {name: MONAI[name] for name in OPEN}
    held = {"state_dict": state, "pytorch-lightning_version": "2.4.0", "hyper_parameters": hyper_parameters}
    torch.save(held, tmp_path / "old.ckpt")
    for out in (tmp_path / "new.ckpt", tmp_path / "lean.ckpt", tmp_path / "new.safetensors"):
        assert remap(tmp_path / "old.ckpt", out, weights_only=out.stem == "lean")
        loaded = viscy_compat.load_model(out)
        assert cast("Any", loaded).use_sigmoid is True
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.load(tmp_path / "new.ckpt")["hyper_parameters"] == hyper_parameters
    del held["hyper_parameters"]
    torch.save(held, tmp_path / "bare.ckpt")
    with pytest.raises(UsageError) as refused:
        viscy_compat.load_model(tmp_path / "bare.ckpt", config={"use_sigmoid": ..., "in_shape": (1, 32, 32)})
    said = str(refused.value)
    assert "the weights do not tell strides and use_sigmoid" in said
    assert "use_sigmoid=false, or use_sigmoid=true" in said
    assert "true puts a sigmoid behind the reconstruction" in said
