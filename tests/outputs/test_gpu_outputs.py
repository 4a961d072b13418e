"""What an H100 gave, held against right models and wrong ones: right ones agree in all five modes, wrong ones never do
without a word about it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import altered
from support.gpu_outputs import CASES, MODES, recorded, seeded_input, seeded_model
from viscy_compat.agreement import Agreement
from viscy_compat.architectures import find
from viscy_compat.architectures.architecture import complete
from viscy_compat.architectures.inference import infer
from viscy_compat.diagnosis import Identity
from viscy_compat.outputs.bench import Bench, Build
from viscy_compat.outputs.inquiry import Inquiry
from viscy_compat.outputs.user_file import read_user_outputs

pytestmark = pytest.mark.torch


class Scene:
    """A class with its seeded weights, to be held against every mode."""

    def __init__(self, name: str, folder: Path) -> None:
        from safetensors.torch import save_file

        from support.bench import InProcess

        self.name, self.folder, self.worker = name, folder, InProcess()
        self.state: dict[str, Any] = seeded_model(name).state_dict()
        for mode in MODES:
            save_file({"input": seeded_input(name), **recorded(name, mode)}, folder / f"{mode}.safetensors")

    def judge(self, mode: str, state: Any = None, **options: Any) -> Agreement:
        return self._inquiry(mode, state, **options).judge(lambda line: None)

    def _inquiry(
        self, mode: str, state: Any, target: str = "", identity: Any = None, config: Any = None, title: str = "right"
    ) -> Inquiry:
        from safetensors.torch import save_file

        weights = self.folder / f"{title}.weights.safetensors"
        if not weights.exists():
            save_file(self.state if state is None else state, weights)
        architecture = find(self.name)
        module, _, name = architecture.target.rpartition(".")
        build = Build(target or f"{module}:{name}", {**CASES[self.name][0], **(config or {})}, str(weights))
        worker: Any = self.worker
        return Inquiry(
            Bench(worker, read_user_outputs(str(self.folder / f"{mode}.safetensors"))), architecture, build, identity
        )

    @property
    def identity(self) -> Identity:
        """What the weights tell."""
        architecture = find(self.name)
        found = infer(architecture, architecture.layout(complete(architecture, CASES[self.name][0])))
        assert found is not None
        rows = {row.name: row for row in found.undetermined}
        return Identity(self.name, architecture.target, "", "", found.config, rows, ())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    return {name: Scene(name, tmp_path_factory.mktemp(name)) for name in CASES}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_right_outputs_agree_in_the_mode_in_which_they_were_made(scenes: Any, name: str, mode: str) -> None:
    scene = scenes[name]
    found = scene.judge(mode, identity=scene.identity, config=scene.identity.config)
    assert not found.refusal
    # a network without linear layers does the same in both TF32 modes
    alike = {"tf32", "tf32-all"} if name == "Unet25d" and mode in ("default", "high") else {MODES[mode]}
    assert found.precision.name in alike
    assert not found.left_open
    for argument, value in found.settled.items():
        assert value == complete(find(name), CASES[name][0])[argument]
    assert not [row.what for row in found.alterations if row.answer == "fits"]
    assert any(row.answer == "excluded" for row in found.alterations)


def exchange(state: Any, one: str, other: str) -> Any:
    """Exchange the state of two modules."""
    swapped = dict(state)
    for key in state:
        if key.startswith(f"{one}."):
            twin = other + key.removeprefix(one)
            swapped[key], swapped[twin] = state[twin].clone(), state[key].clone()
    return swapped


def exchange_channels(state: Any, layer: str) -> Any:
    """Exchange two output channels of a layer that no sample is likely to try."""
    import torch

    swapped = dict(state)
    order = torch.arange(len(state[f"{layer}.weight"]))
    order[[2, 3]] = order[[3, 2]]
    for part in ("weight", "bias"):
        if f"{layer}.{part}" in state:
            swapped[f"{layer}.{part}"] = state[f"{layer}.{part}"][order].contiguous()
    return swapped


WRONG: dict[str, tuple[str, Any, str]] = {
    "eps of layer norms": ("ContrastiveEncoder", "contrastive_layer_norm", "LayerNorm:"),
    "GELU by tanh": ("ContrastiveEncoder", "contrastive_tanh", "GELU"),
    "a stride": ("ContrastiveEncoder", {"stem_stride": (4, 4, 4)}, ""),
    "two blocks": (
        "ContrastiveEncoder",
        lambda state: exchange(state, "encoder.stages.2.blocks.3", "encoder.stages.2.blocks.7"),
        "exchanged",
    ),
    "two depthwise channels": (
        "ContrastiveEncoder",
        lambda state: exchange_channels(state, "encoder.stages.0.blocks.1.conv_dw"),
        "two channels",
    ),
    "eps of batch norms": ("ResNet3dEncoder", "resnet_batch_norm", "BatchNorm3d:"),
    "two norms": (
        "ResNet3dEncoder",
        lambda state: exchange(state, "encoder.layer2.1.bn1", "encoder.layer2.1.bn2"),
        "exchanged",
    ),
    "residual paths": ("Unet25d", {"residual": True}, ""),
    "two channels at the bottom": (
        "Unet25d",
        lambda state: exchange_channels(state, "down_conv_block_3.Conv3d_1"),
        "two channels",
    ),
}
"""An error of a migration: the class, what is wrong (a builder, arguments, or other weights), what names it."""


@pytest.mark.uncounted
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", WRONG)
def test_wrong_models_are_refused_or_named_as_not_excluded(scenes: Any, error: str, mode: str) -> None:
    name, wrong, word = WRONG[error]
    scene, options = scenes[name], {"title": error}
    if isinstance(wrong, str):
        assert hasattr(altered, wrong)
        found = scene.judge(mode, target=f"support.altered:{wrong}", **options)
    elif isinstance(wrong, dict):
        found = scene.judge(mode, config=wrong, **options)
    else:
        found = scene.judge(mode, wrong(scene.state), **options)
    if found.refusal:
        assert found.code in ("VC350", "VC351")
    else:
        assert word
        assert any(word in row.what for row in found.undecided)
    if error in ("a stride", "two blocks", "residual paths") or (
        error.startswith("eps of layer") and mode != "bf16-mixed"
    ):
        assert found.refusal
