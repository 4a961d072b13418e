"""The class path in hyper-parameters is replaced where it stands, and nothing else of the file changes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from viscy_compat.cli import main
from viscy_compat.diagnosis import check_paths
from viscy_compat.errors import UsageError
from viscy_compat.rewrite.remapping import remap
from viscy_models import FullyConvolutionalMAE

pytestmark = pytest.mark.torch

OLD, NEW = "viscy.translation.engine.FcmaeUNet", "cytoland.engine.FcmaeUNet"
CONFIG: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 2,
    "encoder_blocks": [1, 1],
    "dims": [8, 16],
    "pretraining": False,
}
TOLD: dict[str, Any] = {
    "fit_mask_ratio": 0.5,
    "model_config": CONFIG,
    "_instantiator": "lightning.pytorch.cli.instantiate_module",
    "_class_path": OLD,
}


def saved(path: Path, hyper_parameters: dict[str, Any] | None) -> dict[str, Any]:
    state = {f"model.{name}": tensor for name, tensor in FullyConvolutionalMAE(**CONFIG).state_dict().items()}
    file: dict[str, Any] = {"epoch": 3, "global_step": 7, "pytorch-lightning_version": "2.5.0", "state_dict": state}
    if hyper_parameters is not None:
        file.update(hparams_name="kwargs", hyper_parameters=hyper_parameters)
    file.update(callbacks={}, loops={"fit_loop": {"note": OLD}})
    torch.save(file, path)
    return file


def test_only_the_class_path_changes(tmp_path: Path) -> None:
    before = saved(tmp_path / "old.ckpt", TOLD)
    assert remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", class_path=NEW)
    after = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert after["hyper_parameters"] == {**TOLD, "_class_path": NEW}
    assert list(after["hyper_parameters"]) == list(TOLD)
    assert list(after) == list(before)
    assert after["loops"] == before["loops"]
    assert all(torch.equal(after["state_dict"][name], tensor) for name, tensor in before["state_dict"].items())


def test_weights_only_keeps_the_new_class_path(tmp_path: Path) -> None:
    saved(tmp_path / "old.ckpt", TOLD)
    remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", class_path=NEW, weights_only=True)
    after = torch.load(tmp_path / "new.ckpt", weights_only=True)
    assert after["hyper_parameters"]["_class_path"] == NEW
    assert "loops" not in after


def test_check_names_the_path_that_replaces_the_old_one_and_is_silent_afterwards(tmp_path: Path) -> None:
    saved(tmp_path / "old.ckpt", TOLD)
    remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", class_path=NEW)
    old, new = check_paths([str(tmp_path / "old.ckpt"), str(tmp_path / "new.ckpt")])
    (finding,) = (finding for finding in old.findings if finding.code == "VC306")
    assert f"name {OLD}, which the monorepo does not have (it has {NEW})" in finding.message
    assert f"--class-path {NEW}" in finding.fix
    assert "VC306" not in {finding.code for finding in new.findings}
    assert new.identity
    assert new.identity.config["pretraining"] is False


@pytest.mark.parametrize(
    ("told", "out", "path", "says"),
    [
        (None, "new.ckpt", NEW, "name no class path to replace"),
        ({"lr": 0.1}, "new.ckpt", NEW, "name no class path to replace"),
        (TOLD, "new.safetensors", NEW, "which the output does not hold"),
        (TOLD, "new.ckpt", "FcmaeUNet", "is no import path"),
        (TOLD, "new.ckpt", "a b.C", "is no import path"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    tmp_path: Path, told: dict[str, Any] | None, out: str, path: str, says: str
) -> None:
    saved(tmp_path / "old.ckpt", told)
    with pytest.raises(UsageError, match=says):
        remap(tmp_path / "old.ckpt", tmp_path / out, class_path=path)
    assert [file.name for file in tmp_path.iterdir()] == ["old.ckpt"]


def test_the_command_has_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "old.ckpt", TOLD)
    source = str(tmp_path / "old.ckpt")
    assert main(["remap", source, "--class-path", NEW]) == 2
    assert "nothing is written" in capsys.readouterr().err
    assert main(["remap", source, "-o", str(tmp_path / "new.ckpt"), "--class-path", NEW]) == 0
    assert torch.load(tmp_path / "new.ckpt", weights_only=True)["hyper_parameters"]["_class_path"] == NEW


def test_next_writes_the_file_that_lightning_loads_and_the_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch import LightningModule, cli

    class FcmaeUNet(LightningModule):
        """The module where the monorepo has it."""

        def __init__(self, fit_mask_ratio: float, model_config: dict[str, Any]) -> None:
            super().__init__()
            self.model, self.ratio = FullyConvolutionalMAE(**model_config), fit_mask_ratio

    engine = ModuleType("cytoland.engine")
    engine.FcmaeUNet = FcmaeUNet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cytoland.engine", engine)
    # Lightning's own needs jsonargparse, which is not installed here; what it builds is the class and its arguments.
    monkeypatch.setattr(cli, "instantiate_module", lambda kind, told: kind(**{k: told[k] for k in told if k[0] != "_"}))
    saved(tmp_path / "old.ckpt", TOLD)
    with pytest.raises(ValueError, match="does not resolve to an already imported"):
        FcmaeUNet.load_from_checkpoint(tmp_path / "old.ckpt", map_location="cpu")
    (result,) = check_paths([str(tmp_path / "old.ckpt")])
    assert main(shlex.split(result.next)[1:]) == 0
    loaded = FcmaeUNet.load_from_checkpoint(tmp_path / "old.remapped.ckpt", map_location="cpu")
    assert loaded.ratio == TOLD["fit_mask_ratio"]


def test_a_path_that_nobody_knows_is_a_warning_with_a_place_for_the_new_one(tmp_path: Path) -> None:
    saved(tmp_path / "old.ckpt", {**TOLD, "_class_path": "viscy.mine.Own"})
    (result,) = check_paths([str(tmp_path / "old.ckpt")])
    (finding,) = (finding for finding in result.findings if finding.code == "VC306")
    assert finding.severity == "warning"
    assert finding.fix.endswith("old.remapped.ckpt --class-path PACKAGE.MODULE.CLASS")
    assert "--class-path" not in result.next
