"""Whatever stands beside the weights, a written torch file loads with torch's and Lightning's defaults.

`CORPUS` holds entries as people's files have them, each with what the new file has in its place: the same value, a
plainer one, or nothing. Every case goes through one process: real torch, real Lightning.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import types
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from viscy_compat.checkpoint.torch_names import ADMITTED
from viscy_compat.diagnosis import check_paths
from viscy_compat.errors import PlanRefused
from viscy_compat.rewrite.remapping import RemapResult, remap
from viscy_models import BetaVaeMonai

pytestmark = pytest.mark.torch

CONFIG: dict[str, Any] = {
    "spatial_dims": 2,
    "in_shape": (1, 16, 16),
    "out_channels": 1,
    "latent_size": 4,
    "channels": (4, 8),
    "strides": (2, 2),
}
GONE = object()
"""Stands for an entry that the new file does not have."""


class Stage(enum.Enum):
    FIT = "fit"


class Settings(dict[str, int]):
    """A dictionary of the user's own."""


class Case(NamedTuple):
    """An entry, and what the new file has in its place."""

    value: Any
    expected: Any


def same(value: Any) -> Case:
    return Case(value, value)


def gone(value: Any) -> Case:
    return Case(value, GONE)


CORPUS: Mapping[str, Callable[[], Case]] = {
    "text": lambda: same("a/b"),
    "none": lambda: same(None),
    "numbers": lambda: same([1, -3, 2.5, 1 << 70, True]),
    "tuple": lambda: same((1, (2, 3), ())),
    "long tuple": lambda: same((1, 2, 3, 4)),
    "nested": lambda: same({"a": {"b": [{"c": (1,)}]}}),
    "bytes": lambda: same(b"\x00\xff"),
    "bytearray": lambda: same(bytearray(b"\x01\xfe")),
    "set": lambda: same({1, 2}),
    "complex": lambda: same(1 + 2j),
    "counter": lambda: same(collections.Counter("aab")),
    "ordered": lambda: same(collections.OrderedDict(b=1, a=2)),
    "size": lambda: same(torch.Size((1, 2))),
    "device": lambda: same(torch.device("cpu")),
    "dtype": lambda: same(torch.bfloat16),
    "tensor": lambda: same(torch.arange(3.0)),
    "parameter": lambda: same(torch.nn.Parameter(torch.arange(3.0))),
    "path": lambda: Case(pathlib.PurePosixPath("/data/a b.zarr"), "/data/a b.zarr"),
    "real path": lambda: Case(pathlib.Path("runs/1"), "runs/1"),
    "root": lambda: Case(pathlib.Path("/"), "/"),
    "windows path": lambda: Case(pathlib.PureWindowsPath("C:\\a\\b"), "C:\\a\\b"),
    "share": lambda: Case(pathlib.PureWindowsPath("\\\\host\\share\\b"), "\\\\host\\share\\b"),
    "defaultdict": lambda: Case(collections.defaultdict(list, a=[1]), {"a": [1]}),
    "attributes": lambda: Case(AttributeDict(lr=0.1), {"lr": 0.1}),
    "version": lambda: Case(torch.__version__, str(torch.__version__)),
    "namespace": lambda: gone(types.SimpleNamespace(lr=0.1)),
    "arguments": lambda: gone(argparse.Namespace(lr=0.1)),
    "frozenset": lambda: gone(frozenset((1, 2))),
    "date": lambda: gone(datetime.date(2024, 1, 1)),
    "enum": lambda: gone(Stage.FIT),
    "uuid": lambda: gone(uuid.UUID(int=3)),
    "partial": lambda: gone(functools.partial(dict, a=1)),
    "class": lambda: gone(torch.optim.Adam),
    "function": lambda: gone(torch.nn.functional.relu),
    "module": lambda: gone(torch.nn.MSELoss()),
    "callback": lambda: gone(EarlyStopping("loss")),
    "own dictionary": lambda: gone(Settings(a=1)),
    "slice": lambda: gone(slice(1, 2)),
    "range": lambda: gone(range(3)),
    "layout": lambda: same(torch.strided),
    "array": lambda: Case(np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    "array of texts": lambda: gone(np.array(["a", "b"])),
    "array with an object": lambda: gone(np.array([types.SimpleNamespace(), 1], dtype=object)),
    "float": lambda: Case(np.float32(0.1), float(np.float32(0.1))),
    "integer": lambda: Case(np.int64(3), 3),
    "truth": lambda: Case(np.bool_(True), True),
    "numbers of numpy": lambda: Case({"lr": [np.float64(0.5)]}, {"lr": [0.5]}),
    "list with a class": lambda: gone([1, types.SimpleNamespace()]),
    "tuple with a class": lambda: gone((1, types.SimpleNamespace())),
    "dictionary with a class": lambda: Case({"a": 1, "b": types.SimpleNamespace()}, {"a": 1}),
    "a class as key": lambda: Case({EarlyStopping: {"patience": 3}, "b": 2}, {"b": 2}),
    "deep": lambda: Case({"a": [{"b": 1, "c": datetime.date(2024, 1, 1)}]}, {"a": [{"b": 1}]}),
    "list of paths": lambda: Case([pathlib.Path("a"), pathlib.Path("b/c")], ["a", "b/c"]),
}
PLACES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "hyper_parameters": lambda file: file["hyper_parameters"],
    "top": lambda file: file,
    "callbacks": lambda file: file["callbacks"].setdefault("Mine", {}),
    "loops": lambda file: file["loops"],
}
PROTOCOLS = (2, 3, 4, 5)


class Module(LightningModule):
    """What a user has: the model below ``model.``, and hyper-parameters."""

    def __init__(self, lr: float = 0.1, **more: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = BetaVaeMonai(**CONFIG)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.model(batch).recon_x.square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])


def saved(path: Path, protocol: int = 2) -> dict[str, Any]:
    """A Lightning file with an entry of every kind in every place."""
    file: dict[str, Any] = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in BetaVaeMonai(**CONFIG).state_dict().items()},
        "loops": {},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.25},
    }
    for find in PLACES.values():
        find(file).update({name: case().value for name, case in CORPUS.items()})
    torch.save(file, path, pickle_protocol=protocol)
    return file


def equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return type(found) is type(expected) and torch.equal(found, expected)
    return type(found) is type(expected) and bool(found == expected)


def remapped(tmp_path: Path, protocol: int = 2, **wishes: Any) -> tuple[RemapResult, Path]:
    saved(tmp_path / "old.ckpt", protocol)
    (result,) = remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", **wishes).results
    assert isinstance(result, RemapResult)
    return result, tmp_path / "new.ckpt"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_entry_is_as_it_was_or_plainer_or_gone(tmp_path: Path, protocol: int) -> None:
    new = remapped(tmp_path, protocol)[1]
    loaded = torch.load(new)
    wrong = [
        (place, name)
        for place, find in PLACES.items()
        for name, case in CORPUS.items()
        if not equal(find(loaded).get(name, GONE), case().expected)
    ]
    assert wrong == []


@pytest.mark.parametrize("weights_only", [False, True])
def test_lightning_loads_the_new_file_by_default(tmp_path: Path, weights_only: bool) -> None:
    _, new = remapped(tmp_path, weights_only=weights_only)
    module = Module.load_from_checkpoint(new, map_location="cpu")
    assert module.hparams["lr"] == 0.25
    assert module.hparams["path"] == "/data/a b.zarr"
    assert "namespace" not in module.hparams
    old = torch.load(tmp_path / "old.ckpt", weights_only=False)["state_dict"]
    assert all(torch.equal(tensor, old[name]) for name, tensor in module.state_dict().items())


def test_a_trainer_resumes_from_the_new_file_by_default(tmp_path: Path) -> None:
    def trainer(epochs: int) -> Trainer:
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(
            max_epochs=epochs, accelerator="cpu", default_root_dir=tmp_path, enable_checkpointing=False, **quiet
        )

    rows: Any = [torch.randn(1, 16, 16) for _ in range(2)]
    data: DataLoader[torch.Tensor] = DataLoader(rows, batch_size=2)
    first = trainer(1)
    first.fit(Module(lr=0.5, root=pathlib.Path("runs"), loss=types.SimpleNamespace()), data)
    first.save_checkpoint(tmp_path / "old.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "old.ckpt")
    remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt")
    again = trainer(2)
    again.fit(Module(lr=0.5), data, ckpt_path=tmp_path / "new.ckpt")
    assert (again.current_epoch, again.global_step) == (2, 2)


def test_what_is_left_out_and_what_is_plainer_is_named(tmp_path: Path) -> None:
    result, _ = remapped(tmp_path)
    left_out, plainer = (finding for finding in result.findings if finding.code in ("VC330", "VC331"))
    assert "hyper_parameters.namespace (types.SimpleNamespace)" in left_out.keys
    assert "callbacks.Mine.dictionary with a class.b (types.SimpleNamespace)" in left_out.keys
    assert "hyper_parameters.path: text of pathlib.PurePosixPath" in plainer.keys
    assert "hyper_parameters.namespace" in result.left_behind
    assert not any("hyper_parameters.set" in key for key in (*left_out.keys, *plainer.keys))


def test_kept_classes_come_back_whole_with_the_call_that_is_named(tmp_path: Path) -> None:
    result, new = remapped(tmp_path, keep_classes=True)
    (finding,) = (finding for finding in result.findings if finding.code == "VC332")
    assert f"torch.load({str(new)!r}, weights_only=False)" in finding.fix
    assert not {"VC330", "VC331"} & {finding.code for finding in result.findings}
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(new)
    loaded = torch.load(new, weights_only=False)
    assert loaded["hyper_parameters"]["namespace"] == types.SimpleNamespace(lr=0.1)
    assert loaded["hyper_parameters"]["path"] == pathlib.PurePosixPath("/data/a b.zarr")


def test_kept_classes_say_nothing_where_there_are_none(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in BetaVaeMonai(**CONFIG).state_dict().items()}}, tmp_path / "a.pt"
    )
    report = remap(tmp_path / "a.pt", tmp_path / "b.pt", keep_classes=True)
    assert not {"VC330", "VC331", "VC332"} & {finding.code for finding in report.findings}
    assert torch.load(tmp_path / "b.pt")


def test_a_file_that_would_run_something_is_never_kept_whole(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            import os

            return os.system, ("true",)

    file = saved(tmp_path / "old.ckpt")
    file["hyper_parameters"]["bad"] = Runs()
    torch.save(file, tmp_path / "old.ckpt")
    with pytest.raises(PlanRefused, match="would call"):
        remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", weights_only=True, keep_classes=True)
    remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt", weights_only=True)
    assert "bad" not in torch.load(tmp_path / "new.ckpt")["hyper_parameters"]


def test_a_tensor_keeps_its_values_where_its_attributes_go(tmp_path: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in BetaVaeMonai(**CONFIG).state_dict().items()}
    first, second, *_ = state
    state[first].note = types.SimpleNamespace()
    state[second] = torch.nn.Parameter(state[second])
    state[second].note = types.SimpleNamespace()
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.4.0"}, tmp_path / "old.ckpt")
    report = remap(tmp_path / "old.ckpt", tmp_path / "new.ckpt")
    loaded = torch.load(tmp_path / "new.ckpt")["state_dict"]
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    (left_out,) = (finding for finding in report.findings if finding.code == "VC330")
    assert left_out.keys == tuple(f"state_dict.{name}.note (types.SimpleNamespace)" for name in (first, second))


def test_check_says_that_torch_refuses_the_source_and_not_the_new_file(tmp_path: Path) -> None:
    remapped(tmp_path)
    old, new = check_paths([str(tmp_path / "old.ckpt"), str(tmp_path / "new.ckpt")])
    assert "VC333" in {finding.code for finding in old.findings}
    assert "VC333" not in {finding.code for finding in new.findings}


def test_the_table_of_names_is_that_of_the_installed_torch() -> None:
    from torch import _weights_only_unpickler

    theirs = set(_weights_only_unpickler._get_allowed_globals())
    assert theirs >= ADMITTED
    rare = {name for name in theirs - ADMITTED if not name.endswith("Tensor")}
    assert all(name.removeprefix("torch.").startswith(("bits", "int", "uint", "bcomplex")) for name in rare), rare
