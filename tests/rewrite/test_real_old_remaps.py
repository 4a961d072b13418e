"""Files of the real old classes: remapped, they load strictly with plain torch and plain safetensors, and the migrated
class gives what the old one gave."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rewrite.conftest import Saved
from viscy_compat import check, load_model, load_state_dict, remap

if TYPE_CHECKING:
    import torch

pytestmark = [pytest.mark.torch, pytest.mark.index]

LIGHTNING = ("lightning", "compiled")


def model_of(saved: Saved) -> torch.nn.Module:
    from importlib import import_module

    from viscy_compat.architectures import find

    module, _, name = find(saved.class_name).target.rpartition(".")
    model: torch.nn.Module = getattr(import_module(module), name)(**saved.config).eval()
    return model


def outputs_of(model: torch.nn.Module, saved: Saved) -> dict[str, torch.Tensor]:
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode():
        answer = model(load_file(saved.io)["input"])
    return dict(zip(("embedding", "projection"), answer, strict=True)) if isinstance(answer, tuple) else vars(answer)


def expected_of(saved: Saved) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {name: tensor for name, tensor in load_file(saved.io).items() if name != "input"}


def weights_in(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """The state dict as people load it: safetensors, or torch with both of its safe ways."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    stored = torch.load(path, weights_only=True, mmap=True)
    for place in ("state_dict", "model_state_dict"):
        stored = stored.get(place, stored)
    return {name.removeprefix(prefix): tensor for name, tensor in stored.items()}


def equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    import torch

    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.uncounted
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_todays_files_load_strictly_and_give_the_same_bytes(todays: list[Saved], ending: str, tmp_path: Path) -> None:
    for saved in todays:
        out = tmp_path / f"new{ending}"
        assert remap(saved.path, out), saved.job
        model = model_of(saved)
        prefix = "model." if saved.job["flavour"] == "lightning" else ""
        model.load_state_dict(weights_in(out, prefix), strict=True)
        assert equal(outputs_of(model, saved), expected_of(saved)), saved.job
        assert check(out).verdict == "compatible"
        out.unlink()


def test_load_model_gives_the_same_bytes(todays: list[Saved]) -> None:
    for saved in todays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model = load_model(saved.path, config=saved.config)
        assert not model.training
        assert equal(outputs_of(model, saved), expected_of(saved)), saved.job


@pytest.fixture(params=["0.2.0", "0.2.1"])
def some_v02(v02: list[Saved], request: pytest.FixtureRequest) -> list[Saved]:
    return [saved for saved in v02 if saved.job["wheel"] == request.param]


@pytest.mark.uncounted
def test_v02_embeddings_are_equal_and_projections_once_normalised(some_v02: list[Saved], tmp_path: Path) -> None:
    import torch

    for saved in some_v02:
        assert check(saved.path).verdict == "remappable"
        out = tmp_path / "new.safetensors"
        report = remap(saved.path, out)
        assert len(report.results[0].loses) == 2
        model = model_of(saved)
        model.load_state_dict(weights_in(out), strict=True)
        found, expected = outputs_of(model, saved), expected_of(saved)
        assert torch.equal(found["embedding"], expected["embedding"]), saved.job
        normalised = torch.nn.functional.normalize(found["projection"], dim=-1)
        assert float((normalised - expected["projection"]).abs().max()) <= 1e-6
        out.unlink()


def test_v02_reversed_is_the_original_state_dict(some_v02: list[Saved], tmp_path: Path) -> None:
    import torch

    for saved in some_v02[::2]:
        there, back = tmp_path / "there.ckpt", tmp_path / "back.ckpt"
        remap(saved.path, there)
        remap(there, back, reverse=True)
        original, again = (torch.load(path, weights_only=True) for path in (saved.path, back))
        original, again = original.get("state_dict", original), again.get("state_dict", again)
        assert list(again) == list(original)
        assert equal(again, original)
        there.unlink()
        back.unlink()


def test_v02_optimizer_state_follows_its_parameters(v02: list[Saved], tmp_path: Path) -> None:
    import torch

    trained = [saved for saved in v02 if saved.job["optimizer"]]
    assert trained
    for saved in trained:
        out = tmp_path / "new.ckpt"
        remap(saved.path, out)
        old, new = (torch.load(path, weights_only=True) for path in (saved.path, out))
        before = moments(old)
        after = moments(new)
        filled = {f"model.projection.{place}.{part}" for place in (1, 4) for part in ("weight", "bias")}
        assert after.keys() == {name.replace("projection.2", "projection.3") for name in before}
        assert filled.isdisjoint(after)
        for name, state in before.items():
            moved = after[name.replace("projection.2", "projection.3")]
            assert all(torch.equal(state[key], moved[key]) for key in state)
        goes_on(saved, new)
        out.unlink()


def moments(stored: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Optimizer state by the name of its parameter."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = [name for name in stored["state_dict"] if not name.endswith(buffers)]
    optimizer = stored["optimizer_states"][0]
    assert optimizer["param_groups"][0]["params"] == list(range(len(parameters)))
    return {parameters[place]: state for place, state in optimizer["state"].items()}


def goes_on(saved: Saved, stored: Any) -> None:
    """Training goes on: the optimizer takes its state, and a step."""
    import torch

    model = model_of(saved)
    model.load_state_dict({name.removeprefix("model."): value for name, value in stored["state_dict"].items()})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    optimizer.load_state_dict(stored["optimizer_states"][0])
    torch.stack([parameter.square().sum() for parameter in model.parameters()]).sum().backward()
    optimizer.step()
    assert optimizer.state[next(model.parameters())]["step"] == 2


def test_what_people_do_today_loads_v02_in_silence_with_a_random_projection(v02: list[Saved]) -> None:
    import torch

    saved = next(saved for saved in v02 if saved.config["projection_dim"] == 256 and saved.job["flavour"] == "plain")
    model = model_of(saved)
    drawn = model.get_parameter("projection.3.weight").clone()
    told = model.load_state_dict(torch.load(saved.path, weights_only=True), strict=False)
    assert told.unexpected_keys == ["projection.2.weight", "projection.2.bias"]
    assert torch.equal(model.get_parameter("projection.3.weight"), drawn)
    assert equal(load_state_dict(saved.path), load_state_dict(saved.path))
    assert not torch.equal(load_state_dict(saved.path)["projection.3.weight"], drawn)


def test_lightning_loads_the_remapped_file(todays: list[Saved], v02: list[Saved], tmp_path: Path) -> None:
    from lightning.pytorch import LightningModule

    files = [saved for saved in (*todays, *v02) if saved.job.get("flavour") == "lightning"]
    assert len(files) >= 3
    for saved in files:

        class Module(LightningModule):
            def __init__(self, saved: Saved = saved) -> None:
                super().__init__()
                self.model = model_of(saved)

        for weights_only in (False, True):
            out = tmp_path / f"{weights_only}.ckpt"
            remap(saved.path, out, weights_only=weights_only)
            module = Module.load_from_checkpoint(out, map_location="cpu", weights_only=True).eval()
            assert equal(module.model.state_dict(), load_state_dict(saved.path))
            out.unlink()


def test_half_precision_is_cast_exactly(v02: list[Saved], tmp_path: Path) -> None:
    import torch

    saved = next(saved for saved in v02 if saved.job["flavour"] == "plain" and "resnet50" in saved.path.name)
    stored = torch.load(saved.path, weights_only=True)
    for dtype in (torch.float16, torch.bfloat16):
        path, out = tmp_path / "half.pt", tmp_path / "whole.safetensors"
        halved = {name: value.to(dtype) if value.is_floating_point() else value for name, value in stored.items()}
        torch.save(halved, path)
        assert remap(path, out)
        found = weights_in(out)
        for name, value in halved.items():
            mine = found[name.replace("projection.2", "projection.3")]
            assert torch.equal(mine, value.to(mine.dtype))
            assert mine.dtype in (torch.float32, torch.int64)
        out.unlink()


def test_the_shim_gives_what_remap_writes(v02: list[Saved], tmp_path: Path) -> None:
    import torch

    for saved in v02[4:6]:
        out, shim = tmp_path / "new.safetensors", tmp_path / "shim.py"
        remap(saved.path, out, shim=shim)
        space: dict[str, Any] = {"__name__": "shim"}
        exec(compile(shim.read_text(), str(shim), "exec"), space)
        stored = torch.load(saved.path, weights_only=True)
        stored = stored.get("state_dict", stored)
        expected = weights_in(out)
        assert equal(space["remap_state_dict"](stored), expected)
        assert equal(space["remap_state_dict"](expected), expected)
        model = model_of(saved)
        undo = space["accept_older_layout"](model)
        model.load_state_dict({name.removeprefix("model."): value for name, value in stored.items()}, strict=True)
        assert equal(model.state_dict(), expected)
        model.load_state_dict(expected, strict=True)
        short = {name: value for name, value in expected.items() if name != "stem.conv.bias"}
        with pytest.raises(ValueError, match=r"stem\.conv\.bias is missing"):
            model.load_state_dict(short)
        undo.remove()
        out.unlink()
        shim.unlink()
