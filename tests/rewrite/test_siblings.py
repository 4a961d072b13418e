"""What is pasted, written, planned and loaded is about the set of weights that was meant, in every loader."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from viscy_compat import check, load_model, load_state_dict, remap
from viscy_compat.cli import main
from viscy_compat.errors import PlanRefused, UnreadableCheckpoint
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
STATED = {name: CONFIG[name] for name in ("in_shape", "strides")} | {"use_sigmoid": False}
KEY = "model.mu.weight"

State = dict[str, torch.Tensor]


def state(seed: int) -> State:
    torch.manual_seed(seed)
    return BetaVaeMonai(**CONFIG).state_dict()


PLAIN, AVERAGED = state(1), state(2)


def under(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def lightning(**entries: Any) -> dict[str, Any]:
    rest: dict[str, Any] = {"loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []}
    return {"epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.4.0", **rest, **entries}


def timm_file(path: Path) -> Path:
    """What timm's train.py saves with an average."""
    torch.save({"epoch": 3, "state_dict": PLAIN, "state_dict_ema": under("module.", AVERAGED)}, path)
    return path


def twins(path: Path) -> Path:
    torch.save(
        lightning(state_dict=under("model.", PLAIN) | under("ema.model.", AVERAGED) | {"loss.w": torch.ones(2)}), path
    )
    return path


def is_averaged(tensors: State, prefix: str = "") -> bool:
    assert torch.equal(tensors[prefix + KEY], PLAIN[KEY]) != torch.equal(tensors[prefix + KEY], AVERAGED[KEY])
    return torch.equal(tensors[prefix + KEY], AVERAGED[KEY])


@pytest.mark.parametrize(("make", "address"), [(timm_file, "state_dict_ema"), (twins, "state_dict:ema.model.")])
def test_what_is_printed_means_the_stated_set_when_it_is_pasted(
    make: Callable[[Path], Path], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(Path("a b.ckpt"))
    (result,) = check(path, state_dict=address, config=STATED).results
    program, *words = shlex.split(result.next)
    assert program == "viscy-compat"
    assert main(words) == 0
    assert is_averaged(load_file(words[words.index("-o") + 1]))
    space: dict[str, Any] = {}
    exec(f"import viscy_compat\n{result.python}", space)
    assert is_averaged(space["model"].state_dict())


def test_a_written_file_opens_as_the_set_that_was_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "ema.pth"
    (result,) = remap(timm_file(tmp_path / "a.pth.tar"), out, state_dict="state_dict_ema").results
    assert list(torch.load(out, weights_only=True)) == ["epoch", "state_dict"]
    assert is_averaged(load_state_dict(out))
    assert is_averaged(load_model(out, config=STATED).state_dict())
    assert [(fate.row.address, fate.outcome) for fate in result.fates] == [("state_dict", "left out")]


@pytest.mark.parametrize("address", ["model", "ema.shadow"])
def test_a_set_that_no_loader_takes_by_itself_opens_without_being_stated_again(address: str, tmp_path: Path) -> None:
    path, out = tmp_path / "a.pt", tmp_path / "new.pt"
    torch.save({"model": PLAIN, "ema": {"shadow": AVERAGED, "decay": 0.9}, "epoch": 3, "state_dict": None}, path)
    (result,) = remap(path, out, state_dict=address).results
    new = torch.load(out, weights_only=True)
    assert (new.pop("epoch"), new.pop("ema", {"decay": 0.9})) == (3, {"decay": 0.9})
    assert list(new) == ["state_dict"]
    assert is_averaged(new["state_dict"]) is (address != "model")
    assert is_averaged(load_state_dict(out)) is (address != "model")
    assert [fate.outcome for fate in result.fates] == ["left out"]


def test_a_set_beside_one_of_no_class_stays_in_its_place(tmp_path: Path) -> None:
    path, out = tmp_path / "a.pt", tmp_path / "new.pt"
    torch.save({"net": PLAIN, "critic": {"0.weight": torch.ones(2, 2)}}, path)
    remap(path, out, state_dict="net")
    assert list(torch.load(out, weights_only=True)) == ["net", "critic"]
    assert not is_averaged(load_state_dict(out))


@pytest.mark.parametrize("average", [False, True])
def test_the_loader_of_timm_takes_what_was_asked_for(average: bool, tmp_path: Path) -> None:
    from timm.models import load_state_dict as load_like_timm

    out = tmp_path / "new.pth"
    remap(timm_file(tmp_path / "a.pth.tar"), out, state_dict="state_dict_ema" if average else None)
    assert is_averaged(load_like_timm(str(out), use_ema=False)) is average
    assert is_averaged(load_like_timm(str(out), use_ema=True))


def test_sets_all_keeps_every_set_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "new.ckpt"
    remap(twins(tmp_path / "a.ckpt"), out, state_dict="ema", sets="all")
    new = torch.load(out, weights_only=True)["state_dict"]
    assert set(new) == set(under("model.", PLAIN)) | set(under("ema.model.", AVERAGED))
    assert (is_averaged(new, "model."), is_averaged(new, "ema.model.")) == (False, True)
    with pytest.raises(UnreadableCheckpoint, match="nothing says which one is meant"):
        load_state_dict(out)
    assert is_averaged(load_state_dict(out, state_dict="ema"))


def test_one_of_two_sets_in_a_state_dict_is_written_alone_and_the_rest_is_named(tmp_path: Path) -> None:
    out = tmp_path / "new.ckpt"
    (result,) = remap(twins(tmp_path / "a.ckpt"), out, state_dict="ema").results
    new = torch.load(out, weights_only=True)["state_dict"]
    assert set(new) == set(under("model.", PLAIN))
    assert is_averaged(new, "model.")
    assert "loss.w" in result.left_behind
    assert check(out).verdict == "compatible"


def test_nothing_is_written_or_loaded_where_nobody_can_know_which_set_is_meant(tmp_path: Path) -> None:
    path, out = twins(tmp_path / "a.ckpt"), tmp_path / "new.ckpt"
    report = remap(path, out)
    assert (report.exit_code, out.exists()) == (2, False)
    with pytest.raises(UnreadableCheckpoint) as caught:
        load_model(path)
    assert caught.value.code == "VC320"


def test_a_plan_is_applied_to_the_set_that_it_was_made_for(tmp_path: Path) -> None:
    path, plan, out = timm_file(tmp_path / "a.pth.tar"), tmp_path / "p.json", tmp_path / "x.safetensors"
    remap(path, state_dict="state_dict_ema", write_plan=plan)
    assert json.loads(plan.read_text())["source"]["state_dict"] == "state_dict_ema"
    remap(path, out, plan=plan)
    assert is_averaged(load_file(out))


def test_a_plan_is_refused_for_another_set_unless_that_is_stated(tmp_path: Path) -> None:
    path, plan, out = tmp_path / "one.pt", tmp_path / "p.json", tmp_path / "x.safetensors"
    remap(timm_file(tmp_path / "a.pth.tar"), state_dict="state_dict_ema", write_plan=plan)
    torch.save({"state_dict": PLAIN}, path)
    with pytest.raises(PlanRefused, match="made for the set of weights 'state_dict_ema'"):
        remap(path, out, plan=plan)
    remap(path, out, plan=plan, state_dict="state_dict")
    assert not is_averaged(load_file(out))


def test_the_metadata_of_a_safetensors_file_name_the_set(tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    remap(timm_file(tmp_path / "a.pth.tar"), out, state_dict="state_dict_ema")
    with safe_open(out, framework="pt") as file:
        assert file.metadata()["viscy_compat.state_dict"] == "state_dict_ema"


@pytest.mark.parametrize(
    ("address", "pick"),
    [
        ("state_dict_ema", lambda path: torch.load(path, weights_only=True)["state_dict_ema"]),
        ("state_dict:ema.model.", lambda path: torch.load(path, weights_only=True)["state_dict"]),
    ],
)
def test_a_shim_takes_the_set_that_it_was_made_for(address: str, pick: Callable[[Path], State], tmp_path: Path) -> None:
    path = (twins if ":" in address else timm_file)(tmp_path / "a.ckpt")
    remap(path, state_dict=address, shim=tmp_path / "shim.py")
    space: dict[str, Any] = {"__name__": "shim"}
    exec((tmp_path / "shim.py").read_text(), space)
    assert is_averaged(space["remap_state_dict"](pick(path)))


@pytest.mark.parametrize("prefix", ["net.", "_forward_module.model.", "0."])
def test_a_set_behind_another_prefix_is_written_without_it(prefix: str, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    torch.save({"state_dict": under(prefix, AVERAGED)}, tmp_path / "a.pt")
    remap(tmp_path / "a.pt", out)
    assert set(load_file(out)) == set(AVERAGED)
    assert is_averaged(load_file(out))
    assert is_averaged(load_state_dict(tmp_path / "a.pt"))


def test_a_file_of_equal_sets_needs_no_address(tmp_path: Path) -> None:
    torch.save(lightning(state_dict=under("model.", PLAIN) | under("net.", PLAIN)), tmp_path / "a.ckpt")
    (result,) = check(tmp_path / "a.ckpt").results
    assert (result.verdict, result.state_dict) == ("compatible", "state_dict:model.")
    assert [row.same_bytes for row in result.sets] == [None, True]


@pytest.mark.parametrize(("address", "averaged"), [("state_dict:model.", False), ("state_dict:", True)])
def test_a_copy_whose_names_would_be_those_of_the_chosen_set_is_left_out(
    address: str, averaged: bool, tmp_path: Path
) -> None:
    bare = {name.removeprefix("model."): tensor for name, tensor in AVERAGED.items()}
    torch.save({"state_dict": PLAIN | bare}, tmp_path / "a.pt")
    (result,) = remap(tmp_path / "a.pt", tmp_path / "b.pt", state_dict=address, sets="all").results
    assert [fate.outcome for fate in result.fates] == ["left out"]
    written = torch.load(tmp_path / "b.pt")["state_dict"]
    assert written.keys() == PLAIN.keys()
    assert is_averaged(written) is averaged
