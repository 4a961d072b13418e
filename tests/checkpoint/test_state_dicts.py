"""Whole modules, wrappers and trainers' files: the tensors of state_dict(), found without building anything."""

from __future__ import annotations

import collections
import warnings
from pathlib import Path
from typing import Any

import pytest

from support.assembly import lightning as lightning_file
from support.assembly import mapping, number, tensor, text, zipped
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.checkpoint.wrapper import layout_of, views_of
from viscy_compat.diagnosis.several import role_of
from viscy_compat.errors import UnreadableCheckpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
nn = torch.nn


def normed() -> Any:
    """Buffers, some of them not in the state dict, and a module without bias."""
    module = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.GELU(), nn.Linear(3, 2))
    module[0].register_buffer("hidden", torch.ones(5), persistent=False)
    module[0].register_buffer("shown", torch.arange(5))
    module[3].register_parameter("nothing", None)
    module[1].weight.requires_grad_(False)
    return module


def tied() -> Any:
    """One module in two places, and one parameter in two modules."""
    shared = nn.Linear(3, 3)
    module = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared, nn.Linear(3, 3))})
    module["b"][1].weight = shared.weight
    return module


def listed() -> Any:
    module = nn.Module()
    module.blocks = nn.ModuleList([nn.Linear(1, 1) for _ in range(12)])
    module.scales = nn.ParameterList([torch.zeros(index + 1) for index in range(3)])
    module.none = None
    return module


def half() -> Any:
    return nn.Linear(4, 4).to(torch.bfloat16).eval()


MODULES = [normed, tied, listed, half]
MODES = [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}, {"pickle_protocol": 5}]


def names_of(checkpoint: Checkpoint) -> list[str]:
    return list(layout_of(checkpoint, views_of(checkpoint)[0]))


def expect(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
    assert list(checkpoint.tensors) == list(state)
    with TensorReader(checkpoint) as reader:
        for key, tensor in checkpoint.tensors.items():
            assert tensor.spec.shape == tuple(state[key].shape)
            assert f"torch.{tensor.spec.dtype}" == str(state[key].dtype)
            flat = state[key].detach().contiguous().reshape(-1)
            assert b"".join(reader.chunks(tensor)) == flat.view(torch.uint8).numpy().tobytes()


def save(content: Any, path: Path, **options: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **options)
    return str(path)


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("make", MODULES)
def test_a_pickled_module_gives_the_tensors_of_its_state_dict(tmp_path: Path, make: Any, options: Any) -> None:
    module = make()
    checkpoint = open_checkpoint(save(module, tmp_path / "a.pt", **options))
    expect(checkpoint, module.state_dict())
    assert checkpoint.wrapper.kind == "module"
    assert checkpoint.module_class == f"{type(module).__module__}.{type(module).__qualname__}"
    parameters = dict(module.named_parameters(remove_duplicate=False))
    assert {key for key, tensor in checkpoint.tensors.items() if tensor.parameter} == set(parameters)
    assert all(checkpoint.tensors[key].requires_grad == parameters[key].requires_grad for key in parameters)


@pytest.mark.uncounted
def test_a_compiled_module_is_read_through_its_wrapper(tmp_path: Path) -> None:
    module = torch.compile(normed())
    checkpoint = open_checkpoint(save(module, tmp_path / "a.pt"))
    expect(checkpoint, module.state_dict())
    assert checkpoint.wrapper.prefix == "_orig_mod."
    assert names_of(checkpoint) == list(normed().state_dict())


def test_data_parallel_modules_are_read_below_their_prefix(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(nn.DataParallel(normed()), tmp_path / "a.pt"))
    assert checkpoint.wrapper.prefix == "module."
    assert names_of(checkpoint) == list(normed().state_dict())


def test_a_module_beside_other_entries_is_found(tmp_path: Path) -> None:
    module = normed()
    checkpoint = open_checkpoint(save({"epoch": 3, "model": module}, tmp_path / "a.pt"))
    expect(checkpoint, module.state_dict())
    assert checkpoint.site == "model"
    assert list(checkpoint.entries) == ["epoch"]


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "module", "ema", "net", "weights"])
def test_state_dicts_are_found_under_any_name(tmp_path: Path, name: str) -> None:
    state = normed().state_dict()
    top = {"epoch": 3, name: state, "optimizer": {"state": {0: {"m": torch.zeros(2)}}}, "best": torch.zeros(())}
    checkpoint = open_checkpoint(save(top, tmp_path / "a.pt"))
    expect(checkpoint, state)
    assert checkpoint.site == name
    assert [site.path for site in checkpoint.sites] == [name]


def test_one_of_several_state_dicts_is_chosen_by_its_path(tmp_path: Path) -> None:
    first, second = normed().state_dict(), half().state_dict()
    path = save({"gen": {"net": first}, "disc": second}, tmp_path / "a.pt")
    with pytest.raises(UnreadableCheckpoint, match=r"disc.*gen\.net") as caught:
        open_checkpoint(path)
    assert caught.value.code == "VC445"
    expect(open_checkpoint(path, state_dict="gen.net"), first)
    expect(open_checkpoint(path, state_dict="disc"), second)
    with pytest.raises(UnreadableCheckpoint, match="'nothing'") as caught:
        open_checkpoint(path, state_dict="nothing")
    assert caught.value.code == "VC446"


def test_the_usual_state_dict_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    state = normed().state_dict()
    checkpoint = open_checkpoint(save({"state_dict": state, "ema": dict(state)}, tmp_path / "a.pt"))
    assert checkpoint.site == "state_dict"
    (finding,) = checkpoint.findings
    assert (finding.code, finding.keys) == ("VC448", ("ema",))


PREFIXES = ["", "model.", "module.", "_orig_mod.", "model._orig_mod.", "module.model.", "model.module._orig_mod."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_one_of_the_views_is_without_every_wrapper(tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: tensor for key, tensor in normed().state_dict().items()}
    checkpoint = open_checkpoint(save({"state_dict": state, "pytorch-lightning_version": "2"}, tmp_path / "a.pt"))
    names = [list(view.keys) for view in views_of(checkpoint)]
    assert list(normed().state_dict()) in names
    assert list(state) in names


def test_wrappers_in_the_middle_are_taken_out(tmp_path: Path) -> None:
    names = [f"model.encoder._orig_mod.{key}" for key in normed().state_dict()] + ["model.head.weight"]
    state = dict.fromkeys(names, torch.zeros(2))
    (view, *_) = views_of(open_checkpoint(save(state, tmp_path / "a.pt")))
    assert view.inner == ("model.encoder._orig_mod.",)
    assert list(view.keys) == [name.replace("_orig_mod.", "") for name in names]


def test_a_child_called_module_among_others_is_no_wrapper(tmp_path: Path) -> None:
    names = ["encoder.module.weight", "encoder.other.weight"]
    (view, *_) = views_of(open_checkpoint(save(dict.fromkeys(names, torch.zeros(2)), tmp_path / "a.pt")))
    assert list(view.keys) == names


def test_what_lies_outside_of_the_prefix_is_told(tmp_path: Path) -> None:
    state = {"n_averaged": torch.tensor(3), **{f"module.{key}": value for key, value in normed().state_dict().items()}}
    checkpoint = open_checkpoint(save(state, tmp_path / "a.pt"))
    assert views_of(checkpoint)[0].prefix == "module."
    assert views_of(checkpoint)[0].outside == ("n_averaged",)


def test_extra_state_is_no_tensor(tmp_path: Path) -> None:
    state = collections.OrderedDict({"w": torch.zeros(2), "_extra_state": {"scale": 1}, "n": 3})
    checkpoint = open_checkpoint(save(state, tmp_path / "a.pt"))
    assert list(checkpoint.tensors) == ["w"]
    assert list(checkpoint.extras) == ["_extra_state", "n"]


def test_a_real_lightning_checkpoint_is_told_apart_from_a_plain_one(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Toy(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))

        def training_step(self, batch: Any, index: int) -> Any:
            return self.model(batch[0]).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.25)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 2)), batch_size=2)
    toy = Toy()
    trainer = lightning.Trainer(max_epochs=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(toy, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = open_checkpoint(str(tmp_path / "a.ckpt"))
    expect(checkpoint, toy.state_dict())
    assert (checkpoint.wrapper.kind, checkpoint.wrapper.prefix) == ("lightning", "model.")
    assert checkpoint.wrapper.version == lightning.__version__
    assert names_of(checkpoint)[0] == "0.weight"

    from viscy_compat.checkpoint.inspection import inspect_checkpoint

    told = inspect_checkpoint(checkpoint).to_dict()
    assert told["hyper_parameters"] == {"width": 3}
    (optimizer,) = told["optimizers"]
    assert (optimizer["parameters"], optimizer["slots"]) == (4, ("step", "exp_avg", "exp_avg_sq"))
    assert optimizer["groups"][0]["lr"] == 0.25
    assert told["entries"]["epoch"] == 1
    assert any(str(tmp_path) in path for path in told["absolute_paths"])
    assert not [use for use in told["globals"] if use["role"] == "call"]


AVERAGE = "callbacks.StochasticWeightAveraging.average_model_state"
SCORES = mapping({"best_k_models": mapping({"epoch=1.ckpt": tensor()}), "best_model_score": tensor()})


def test_the_average_of_a_callback_is_listed_and_scores_are_not(tmp_path: Path) -> None:
    """Lightning's StochasticWeightAveraging keeps it there, and the trained weights in state_dict."""
    states = {
        "Other": mapping({"note": text("-"), "average_model_state": text("none yet")}),
        "StochasticWeightAveraging": mapping(
            {"n_averaged": number(3), "average_model_state": mapping({"model.w": tensor()})}
        ),
        "ModelCheckpoint": SCORES,
    }
    (tmp_path / "a.ckpt").write_bytes(zipped(lightning_file(callbacks=mapping(states)), {"0": bytes(24)}))
    checkpoint = open_checkpoint(str(tmp_path / "a.ckpt"))
    assert [(site.path, site.tensors) for site in checkpoint.sites] == [("state_dict", 1), (AVERAGE, 1)]
    average = open_checkpoint(checkpoint.path, state_dict=AVERAGE)
    assert (role_of(checkpoint), role_of(average)) == ("", "averaged")
    assert checkpoint.site == "state_dict"


def test_a_state_dict_of_state_dicts_is_none_itself(tmp_path: Path) -> None:
    both = mapping({"g": mapping({"w": tensor()}), "d": mapping({"v": tensor()})})
    (tmp_path / "a.pt").write_bytes(zipped(mapping({"state_dict": both, "epoch": number(1)}), {"0": bytes(24)}))
    checkpoint = open_checkpoint(str(tmp_path / "a.pt"), state_dict="state_dict.d")
    assert [(site.path, site.tensors) for site in checkpoint.sites] == [("state_dict.g", 1), ("state_dict.d", 1)]
    assert list(checkpoint.tensors) == ["v"]
    # with numbers alone it is one, whose tensors are elsewhere
    flat = mapping({"state_dict": mapping({"epoch": number(1)}), "state_dict_ema": mapping({"w": tensor()})})
    (tmp_path / "b.pt").write_bytes(zipped(flat, {"0": bytes(24)}))
    with pytest.raises(UnreadableCheckpoint):
        open_checkpoint(str(tmp_path / "b.pt"))


@pytest.mark.parametrize(
    ("hub", "roles"), [({"message_hub": mapping({})}, ("averaged", "in training")), ({}, ("", ""))]
)
def test_mmengine_keeps_the_averages_where_others_keep_what_was_trained(
    tmp_path: Path, hub: dict[str, bytes], roles: tuple[str, str]
) -> None:
    """Its hook exchanges the two while it saves (findings/mmengine_calls_the_trained_weights_the_average.sh)."""
    trained = mapping({"steps": tensor(), "module.w": tensor()})
    top = mapping({"meta": mapping({}), **hub, "state_dict": mapping({"w": tensor()}), "ema_state_dict": trained})
    (tmp_path / "epoch_1.pth").write_bytes(zipped(top, {"0": bytes(24)}))
    checkpoint = open_checkpoint(str(tmp_path / "epoch_1.pth"))
    assert checkpoint.site == "state_dict"
    other = open_checkpoint(checkpoint.path, state_dict="ema_state_dict")
    assert (role_of(checkpoint), role_of(other)) == roles


def test_what_deepspeed_keeps_of_frozen_weights_is_no_second_model(tmp_path: Path) -> None:
    """Stage 2 of ZeRO repeats them in pieces beside the whole model (deepspeed 0.19.8)."""
    frozen = mapping({"encoder.w": tensor()})
    top = mapping({"module": mapping({"encoder.w": tensor(), "w": tensor()}), "frozen_param_fragments": frozen})
    (tmp_path / "mp_rank_00_model_states.pt").write_bytes(zipped(top, {"0": bytes(24)}))
    checkpoint = open_checkpoint(str(tmp_path / "mp_rank_00_model_states.pt"))
    assert ([site.path for site in checkpoint.sites], checkpoint.site) == (["module"], "module")
    assert [*checkpoint.tensors] == ["encoder.w", "w"]


def test_averages_of_other_callbacks_are_listed_under_the_names_that_these_give_them(tmp_path: Path) -> None:
    """A callback keeps the state dict in its own state, or returns it as that; scores and counters are none."""
    weights = {"model.a": tensor(), "model.b": tensor()}
    states = {
        "EMA": mapping({"decay": number(9), "ema_state_dict": mapping(weights)}),
        "Whole": mapping(weights),
        "ModelCheckpoint": SCORES,
        "Few": mapping({"seen": mapping({"x.y": tensor(), "a": number(1), "b": number(2), "c": number(3)})}),
        "Curves": mapping({"loss": mapping({"train": tensor()})}),
    }
    (tmp_path / "a.ckpt").write_bytes(zipped(lightning_file(callbacks=mapping(states)), {"0": bytes(24)}))
    checkpoint = open_checkpoint(str(tmp_path / "a.ckpt"))
    listed = [("state_dict", 1), ("callbacks.EMA.ema_state_dict", 2), ("callbacks.Whole", 2)]
    assert [(site.path, site.tensors) for site in checkpoint.sites] == listed
    assert checkpoint.site == "state_dict"
    for place, tensors in listed:
        assert len(open_checkpoint(checkpoint.path, state_dict=place).tensors) == tensors
