"""A real trainer that averages weights resumes from a remapped file of v0.2, with both sets as they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from support.old_checkpoints import make
from viscy_compat import check, load_state_dict, remap
from viscy_models import ContrastiveEncoder

pytestmark = [pytest.mark.torch, pytest.mark.index]

OLD = {"backbone": "convnext_tiny", "in_channels": 1, "in_stack_depth": 5, "stem_kernel_size": [5, 4, 4]}
CONFIG: dict[str, Any] = {
    "backbone": "convnext_tiny",
    "in_channels": 1,
    "in_stack_depth": 5,
    "stem_kernel_size": (5, 4, 4),
    "stem_stride": (5, 4, 4),
    "embedding_dim": 768,
    "projection_dim": 256,
}

State = Mapping[str, torch.Tensor]


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = ContrastiveEncoder(**CONFIG)

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.stack([parameter.square().mean() for parameter in self.model.parameters()]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)


class Witness(Callback):
    """What a run starts from: the weights in training, and their averages."""

    def __init__(self, averaging: EMAWeightAveraging) -> None:
        self.averaging = averaging
        self.training: dict[str, torch.Tensor] = {}
        self.averages: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model = self.averaging._average_model
        assert model is not None
        self.training = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
        self.averages = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("averaged") / "old.ckpt"
    job = {"class": "ContrastiveEncoder", "config": OLD, "out": str(path), "seed": 2, "averaged": True}
    make("0.2.1", [job])
    yield path
    path.unlink()


def resumed(path: Path, folder: Path) -> Witness:
    """Train one more step from a file, and return what the run started from."""
    averaging = EMAWeightAveraging(decay=0.5)
    witness = Witness(averaging)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = Trainer(max_steps=4, accelerator="cpu", default_root_dir=folder, callbacks=[averaging, witness], **quiet)  # type: ignore[arg-type]
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.zeros(4, 1)), ckpt_path=path)  # type: ignore[arg-type]
    assert trainer.global_step == 4
    return witness


def digests(state: State) -> set[str]:
    """What the tensors hold, whatever their names are; those of single numbers say nothing."""
    return {hashlib.sha256(each.numpy().tobytes()).hexdigest() for each in state.values() if each.ndim > 1}


def equal(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_goes_on_from_both_sets_of_a_remapped_old_file(averaged: Path, tmp_path: Path) -> None:
    old = torch.load(averaged, weights_only=True)
    assert digests(old["state_dict"]).isdisjoint(digests(old["current_model_state"]))
    report = remap(averaged, tmp_path / "new.ckpt")
    (result,) = report.results
    assert [(fate.row.address, fate.outcome) for fate in result.fates] == [("current_model_state", "migrated")]
    new = torch.load(tmp_path / "new.ckpt", weights_only=True)
    started = resumed(tmp_path / "new.ckpt", tmp_path)
    for name, held in (("state_dict", started.averages), ("current_model_state", started.training)):
        assert digests(held) >= digests(old[name])
        assert equal(held, new[name])
        assert set(new[name]) == {f"model.{each}" for each in ContrastiveEncoder(**CONFIG).state_dict()}
    assert check(tmp_path / "new.ckpt").verdict == "compatible"


def test_the_weights_in_training_alone_are_what_every_loader_takes(averaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "current.ckpt"
    remap(averaged, out, state_dict="current_model_state")
    old, new = torch.load(averaged, weights_only=True), torch.load(out, weights_only=True)
    assert digests(new["state_dict"]) >= digests(old["current_model_state"])
    assert not {"current_model_state", "averaging_state"} & set(new)
    assert digests(load_state_dict(out)) == digests(new["state_dict"])
    started = resumed(out, tmp_path)
    assert equal(started.training, new["state_dict"])
    assert equal(started.averages, new["state_dict"])


def test_check_says_which_set_is_the_average(averaged: Path) -> None:
    (result,) = check(averaged).results
    sets = [(row.address, row.role, row.class_name, row.generation) for row in result.sets]
    assert sets == [
        ("state_dict", "averaged", "ContrastiveEncoder", "v0.2"),
        ("current_model_state", "in training", "ContrastiveEncoder", "v0.2"),
    ]
    (judged, other) = result.sets
    assert (judged.chosen, judged.why) == (True, "Lightning loads this one")
    assert (other.same_layout, other.same_bytes) == (True, False)
