"""What computes is dropped only where ``--drop`` says so, and everything that is written says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrizations

from viscy_compat.cli import main
from viscy_compat.diagnosis import check_paths
from viscy_compat.diagnosis.result import CheckResult
from viscy_compat.errors import PlanRefused, UsageError
from viscy_compat.findings import Report
from viscy_compat.rewrite.remapping import RemapResult, remap
from viscy_models import BetaVaeMonai

pytestmark = pytest.mark.torch

CONV = "model.encode.encode_0.conv"
MAGNITUDE, DIRECTION = (f"{CONV}.parametrizations.weight.original{place}" for place in (0, 1))
CONFIG: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 16, 16),
    "out_channels": 1,
    "latent_size": 4,
    "channels": (4, 8),
    "strides": (2, 2),
}


def normed() -> BetaVaeMonai:
    """A model whose first weight has a magnitude of its own, as training leaves it."""
    torch.manual_seed(0)
    model = BetaVaeMonai(**CONFIG)
    conv: Any = model.model.get_submodule("encode.encode_0.conv")
    parametrizations.weight_norm(conv)
    with torch.no_grad():
        conv.parametrizations.weight.original0.mul_(3)
    return model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(normed().state_dict(), tmp_path / "old.pt")
    return tmp_path / "old.pt"


def codes(report: Report[Any] | CheckResult) -> set[str]:
    return {finding.code for finding in report.findings}


def checked(path: Path) -> CheckResult:
    (result,) = check_paths([str(path)])
    return result


def remapped(path: Path, out: Path | None = None, **options: Any) -> RemapResult:
    (result,) = remap(path, out, **options).results
    assert isinstance(result, RemapResult)
    return result


def test_check_names_class_kind_module_and_the_call_and_no_way_to_drop_in_passing(source: Path) -> None:
    result = checked(source)
    assert result.verdict == "incompatible"
    assert result.identity
    assert result.identity.class_name == "BetaVaeMonai"
    assert result.identity.config["channels"] == (4, 8)
    (finding,) = result.findings
    assert finding.code == "VC120"
    assert finding.message.startswith(f"weight_norm on 1 module ({CONV})")
    assert 'remove_parametrizations(model.model.encode.encode_0.conv, "weight")' in finding.fix
    assert "--hint" not in finding.fix


def test_what_the_call_bakes_is_compatible_and_the_same_function(source: Path, tmp_path: Path) -> None:
    model = normed().eval()
    call = checked(source).findings[0].fix.split(": ", 1)[1].split(", then")[0]
    inputs = torch.randn(1, 1, 16, 16)
    torch.manual_seed(1)
    before = model(inputs).recon_x
    exec(call, {"torch": torch, "model": model})
    torch.save(model.state_dict(), tmp_path / "baked.pt")
    assert checked(tmp_path / "baked.pt").verdict == "compatible"
    plain = BetaVaeMonai(**CONFIG).eval()
    plain.load_state_dict(torch.load(tmp_path / "baked.pt"), strict=True)
    torch.manual_seed(1)
    assert torch.allclose(plain(inputs).recon_x, before, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"hints": [f"{MAGNITUDE}="]}, {"hints": [f"{MAGNITUDE}=", f"{DIRECTION}={CONV}.weight"]}]
)
def test_neither_a_name_nor_a_hint_drops_it(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(PlanRefused, match=r"weight_norm.*remove_parametrizations") as caught:
        remap(source, tmp_path / "new.safetensors", class_name="BetaVaeMonai", **options)
    assert "OLD= drops" not in str(caught.value)
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize(
    "name", [MAGNITUDE, MAGNITUDE.replace(".encode_0.", ".encode_{i}."), MAGNITUDE.replace("conv", "*")]
)
def test_a_stated_drop_says_everywhere_that_predictions_change(source: Path, tmp_path: Path, name: str) -> None:
    out, plan = tmp_path / "new.safetensors", tmp_path / "plan.json"
    result = remapped(source, out, class_name="BetaVaeMonai", drop=[name], write_plan=plan, shim=tmp_path / "shim.py")
    (finding,) = (finding for finding in result.findings if finding.code == "VC124")
    assert finding.message.startswith("changes predictions")
    assert finding.keys == (MAGNITUDE,)
    assert result.loses == (f"changes predictions: tensors that compute are dropped ({MAGNITUDE})",)
    assert result.to_dict()["plan"]["changes_predictions"] == [MAGNITUDE]
    (row,) = (row for row in json.loads(plan.read_text())["operations"] if row["op"] == "drop")
    assert row["changes_predictions"] is True
    assert "changes predictions" in (tmp_path / "shim.py").read_text()
    after = checked(out)
    assert after.verdict == "compatible"
    (said,) = (finding for finding in after.findings if finding.code == "VC125")
    assert MAGNITUDE in said.keys
    assert torch.equal(load_file(out)[f"{CONV}.weight"], normed().state_dict()[DIRECTION])


@pytest.mark.parametrize("name", [MAGNITUDE, f"model.{MAGNITUDE}"])
def test_a_drop_in_a_lightning_file_is_said_in_the_torch_file_that_is_written(tmp_path: Path, name: str) -> None:
    state = {f"model.{key}": tensor for key, tensor in normed().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1, "pytorch-lightning_version": "2.4.0"}, tmp_path / "old.ckpt")
    result = remapped(tmp_path / "old.ckpt", tmp_path / "new.ckpt", class_name="BetaVaeMonai", drop=[name])
    assert "VC124" in {finding.code for finding in result.findings}
    assert torch.equal(
        torch.load(tmp_path / "new.ckpt")["state_dict"][f"model.{CONV}.weight"], state[f"model.{DIRECTION}"]
    )
    assert "VC125" in codes(checked(tmp_path / "new.ckpt"))


def test_what_is_said_stays_with_the_file_when_it_is_written_again(source: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    remap(source, first, class_name="BetaVaeMonai", drop=[MAGNITUDE])
    remap(first, again)
    assert "VC125" in codes(checked(again))


def test_a_plan_by_hand_cannot_hide_a_drop(source: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    remap(source, class_name="BetaVaeMonai", drop=[MAGNITUDE], write_plan=plan)
    told = json.loads(plan.read_text())
    for row in told["operations"]:
        if row.pop("changes_predictions", None):
            row["reason"] = "harmless, believe me"
    told["loses"] = []
    plan.write_text(json.dumps(told))
    result = remapped(source, tmp_path / "new.safetensors", plan=plan)
    assert "VC124" in {finding.code for finding in result.findings}
    assert "VC125" in codes(checked(tmp_path / "new.safetensors"))


def test_a_file_of_the_class_but_for_a_tensor_needs_no_more_than_its_drop(tmp_path: Path) -> None:
    state = BetaVaeMonai(**CONFIG).state_dict()
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in {**state, "gate.weight": torch.ones(3)}.items()}}, tmp_path / "a.pt"
    )
    assert remapped(tmp_path / "a.pt").plan is None
    result = remapped(tmp_path / "a.pt", tmp_path / "b.safetensors", drop=["gate"])
    assert "VC124" in {finding.code for finding in result.findings}
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_file(tmp_path / "b.safetensors").items())
    raw = remapped(tmp_path / "a.pt", drop=["model.gate.weight"])
    assert raw.plan == result.plan


def test_what_is_harmless_goes_without_a_flag_and_without_a_word(tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in BetaVaeMonai(**CONFIG, norm="batch").state_dict().items()}
    torch.save({**state, "n_averaged": torch.tensor(3)}, tmp_path / "swa.pt")
    result = remapped(tmp_path / "swa.pt", tmp_path / "new.safetensors")
    assert "VC124" not in {finding.code for finding in result.findings}
    assert not result.loses
    assert "VC125" not in codes(checked(tmp_path / "new.safetensors"))


def test_an_adapter_outside_the_model_is_not_left_out_in_silence(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in BetaVaeMonai(**CONFIG).state_dict().items()}
    adapter = {"adapter.encode.lora_A.weight": torch.randn(2, 4), "adapter.encode.lora_B.weight": torch.randn(8, 2)}
    torch.save({"state_dict": {**state, **adapter}, "pytorch-lightning_version": "2.4.0"}, tmp_path / "a.ckpt")
    result = checked(tmp_path / "a.ckpt")
    assert result.verdict == "incompatible"
    assert "VC121" in codes(result)
    assert remapped(tmp_path / "a.ckpt").plan is None
    assert remapped(tmp_path / "a.ckpt", tmp_path / "b.ckpt", drop=["adapter"]).written


def test_peft_around_the_whole_model_is_known(tmp_path: Path) -> None:
    state = BetaVaeMonai(**CONFIG).state_dict()
    names = {f"{CONV}.weight": f"{CONV}.base_layer.weight", f"{CONV}.bias": f"{CONV}.base_layer.bias"}
    peft = {f"base_model.model.{names.get(name, name)}": tensor.clone() for name, tensor in state.items()}
    peft[f"base_model.model.{CONV}.lora_A.default.weight"] = torch.randn(2, 1, 3, 3)
    peft[f"base_model.model.{CONV}.lora_B.default.weight"] = torch.randn(4, 2, 1, 1)
    save_file(peft, tmp_path / "peft.safetensors")
    result = checked(tmp_path / "peft.safetensors")
    assert result.identity
    (finding,) = (finding for finding in result.findings if finding.code == "VC121")
    assert "merge_and_unload()" in finding.fix


def test_slopes_that_the_class_has_no_argument_for_are_called_slopes(tmp_path: Path) -> None:
    state = {**BetaVaeMonai(**CONFIG).state_dict(), f"{CONV[:-5]}.prelu.weight": torch.tensor([0.25])}
    torch.save(state, tmp_path / "fork.pt")
    result = checked(tmp_path / "fork.pt")
    (finding,) = (finding for finding in result.findings if finding.code == "VC123")
    assert finding.keys == (f"{CONV[:-5]}.prelu.weight",)
    with pytest.raises(PlanRefused, match="--drop NAME leaves a tensor out, and changes predictions"):
        remap(tmp_path / "fork.pt", class_name="BetaVaeMonai")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"drop": ["nothing"]}, "no tensor or module of the file has this name"),
        ({"drop": ["encode_0"]}, "no tensor or module of the file has this name"),
        ({"drop": ["a"], "reverse": True}, "--drop is for plans that are made here"),
    ],
)
def test_a_drop_that_names_nothing_is_an_error(source: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        remap(source, **options)


def test_the_command_has_it(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "new.safetensors")
    assert main(["remap", str(source), "--as", "BetaVaeMonai", "--drop", MAGNITUDE, "-o", out]) == 0
    assert "changes predictions" in capsys.readouterr().out
    assert main(["check", out]) == 0
    assert "changes predictions" in capsys.readouterr().out
