"""Folders that torch itself writes, in one process and in two: checked, inspected, remapped and loaded like files."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import support.two_ranks as program
from viscy_compat import check, load_model, remap
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.inspection import inspect_checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.findings import Report
from viscy_compat.plans.optimizer import mapping_of_positions, optimizers_of
from viscy_compat.report import render
from viscy_compat.report.terminal import Style

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.torch

CONFIG: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 32, 32),
    "out_channels": 1,
    "latent_size": 8,
    "channels": (8, 16),
    "strides": (2, 2),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights (full.pt) and everything that torch makes of them."""
    import torch

    folder = tmp_path_factory.mktemp("distributed")
    torch.save(weights(), folder / "full.pt")
    words = [sys.executable, program.__file__]
    ranks = [subprocess.Popen([*words, str(rank), str(folder)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
    errors = [rank.communicate(timeout=1200)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    one_process(folder)
    return folder


def weights() -> dict[str, torch.Tensor]:
    import torch

    from viscy_models import BetaVaeMonai

    torch.manual_seed(0)
    return dict(BetaVaeMonai(**CONFIG).state_dict())


def one_process(folder: Path) -> None:
    """What a single process saves: a plain folder, Lightning's layout, and Hugging Face's."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    full = torch.load(folder / "full.pt")
    below = {f"model.{name}": tensor for name, tensor in full.items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"model": full}, checkpoint_id=folder / "plain")
        saved = {"state_dict": below, "optimizer_states": [optimizer, {**optimizer, "state": {}}]}
        dcp.save(saved, checkpoint_id=folder / "fsdp.ckpt")
        dcp.save(full, storage_writer=HuggingFaceStorageWriter(str(folder / "hub1"), save_distributed=True))
    record = {"epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.4.0", "hyper_parameters": dict(CONFIG)}
    torch.save(record, folder / "fsdp.ckpt" / "meta.pt")


FOLDERS = {
    "plain": ("distributed-torch", "model", ""),
    "fsdp.ckpt": ("distributed-torch", "state_dict", "model."),
    "two.ckpt": ("distributed-torch", "state_dict", "model."),
    "hub1": ("distributed-safetensors", "", ""),
    "hub": ("distributed-safetensors", "", ""),
}


@pytest.mark.uncounted
@pytest.mark.parametrize("name", FOLDERS)
def test_every_byte_is_that_of_torch(place: Path, name: str) -> None:
    import torch

    format, site, prefix = FOLDERS[name]
    full = torch.load(place / "full.pt")
    checkpoint = open_checkpoint(str(place / name))
    assert (checkpoint.format, checkpoint.site, len(checkpoint.tensors)) == (format, site, len(full))
    with TensorReader(checkpoint) as reader:
        for key, tensor in full.items():
            held = b"".join(reader.chunks(checkpoint.tensors[prefix + key]))
            assert held == tensor.numpy().tobytes(), key
    assert inspect_checkpoint(checkpoint, every_byte=True).exit_code == 0
    text = render(Report("inspect", [inspect_checkpoint(checkpoint)]), "text", Style())
    assert format in text


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_the_folder_is_checked_and_remapped_like_a_file(place: Path, tmp_path: Path, name: str, ending: str) -> None:
    import torch
    from safetensors.torch import load_file

    report = check(place / name)
    assert (report.verdict, len(report.results)) == ("compatible", 1)
    out = tmp_path / f"new{ending}"
    assert remap(place / name, out).exit_code == 0
    found = load_file(out) if ending == ".safetensors" else torch.load(out)
    full = torch.load(place / "full.pt")
    assert found.keys() == full.keys()
    assert all(torch.equal(found[key], full[key]) for key in full)
    assert check(out).verdict == "compatible"


def test_the_model_loads_from_what_two_ranks_saved(place: Path) -> None:
    import torch

    model = load_model(
        str(place / "two.ckpt"), config={"in_shape": (1, 32, 32), "strides": (2, 2), "use_sigmoid": False}
    )
    full = torch.load(place / "full.pt")
    assert all(torch.equal(tensor, full[name]) for name, tensor in model.state_dict().items())


def test_the_state_of_an_optimizer_is_counted_as_it_was_saved(place: Path) -> None:
    """The positions of the parameters are texts there, and an optimizer of torch uses no moment that it finds under a text."""
    checkpoint = open_checkpoint(str(place / "fsdp.ckpt"))
    first, second = optimizers_of(checkpoint)
    assert (mapping_of_positions(first["state"]) or {}).keys() == {0}
    assert mapping_of_positions(second["state"]) == {}
    assert type(checkpoint.entries["optimizer_states"]) is list


def test_what_lightning_says_beside_the_tensors_decides_what_weights_cannot_tell(place: Path) -> None:
    checkpoint = open_checkpoint(str(place / "fsdp.ckpt"))
    assert (checkpoint.wrapper.kind, checkpoint.wrapper.version) == ("lightning", "2.4.0")
    assert [site.path for site in checkpoint.sites] == ["state_dict"]
    (result,) = check(place / "fsdp.ckpt").results
    assert result.identity is not None
    open_arguments = {name for name, row in result.identity.undetermined.items() if row.changes_predictions}
    assert "strides" not in open_arguments


def test_a_part_that_is_missing_is_named(place: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(place / "two.ckpt", tmp_path / "two.ckpt")
    (tmp_path / "two.ckpt" / "__1_0.distcp").unlink()
    (finding,) = check(tmp_path / "two.ckpt").results[0].findings
    assert finding.code == "VC462"
    assert "__1_0.distcp" in finding.message
