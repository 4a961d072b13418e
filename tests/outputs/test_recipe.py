"""The recipe of docs/expect.md, run as it stands there: what it saves is what `--expect` reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from viscy_compat.cli import main
from viscy_compat.outputs.user_file import read_user_outputs

pytestmark = pytest.mark.torch

PAGE = Path(__file__).parents[2] / "docs" / "expect.md"


def recipe() -> Any:
    (code, _) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["capture"]


def small_encoder(seed: int) -> Any:
    import torch

    import viscy_models

    torch.manual_seed(seed)
    return viscy_models.ResNet3dEncoder("resnet10", embedding_dim=512)


def test_what_the_recipe_saves_is_read_and_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import save_file

    model, other, path = small_encoder(1), small_encoder(1), tmp_path / "io.safetensors"
    with torch.no_grad():
        other.encoder.layer2[0].conv1.weight.neg_()
    names, inner = ("embedding", "projection"), ("encoder.layer1", "encoder.layer2", "encoder.layer3")
    recipe()(model, torch.randn(2, 1, 8, 16, 16), str(path), names=names, modules=inner, seed=4)
    user = read_user_outputs(str(path))
    assert (user.device, user.seed, user.precision, user.inner) == ("cpu", 4, "", inner)
    assert user.made["torch"] == torch.__version__
    for name, saved in (("right", model), ("wrong", other)):
        save_file(saved.state_dict(), tmp_path / f"{name}.safetensors")
    assert main(["check", str(tmp_path / "right.safetensors"), "--expect", str(path), "--format", "json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["expect"]["agrees"]
    assert set(result["expect"]["outputs"]) == {"embedding", "projection"}
    assert not result["expect"]["extra"]
    assert main(["check", str(tmp_path / "wrong.safetensors"), "--expect", str(path), "--format", "json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["verdict"], result["expect"]["begins"]) == ("compatible", "encoder.layer2")
    assert "VC350" in [finding["code"] for finding in result["findings"]]
