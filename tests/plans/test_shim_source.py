"""A shim runs on the very file that it was written for, whatever else that file holds; a hostile name stays a name."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import viscy_compat
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import Drop, Rename
from viscy_compat.plans.plan import PlanEnd, plan_of
from viscy_compat.plans.shim_source import shim_source


def unet() -> Any:
    from viscy_models.unet import Unet2d

    return Unet2d(in_channels=1, out_channels=2, num_blocks=1, num_block_layers=1, num_filters=(2, 3))


def loaded(shim: Path) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "shim"}
    exec(compile(shim.read_text(), str(shim), "exec"), space)
    return space


def written(tmp_path: Path, content: object, **options: Any) -> dict[str, Any]:
    import torch

    torch.save(content, tmp_path / "a.ckpt")
    (tmp_path / "shim.py").unlink(missing_ok=True)
    viscy_compat.remap(tmp_path / "a.ckpt", shim=tmp_path / "shim.py", **options)
    return loaded(tmp_path / "shim.py")


def around(names: dict[str, Any], what: str) -> dict[str, Any]:
    """A state dict with something around its names, or among its tensors."""
    import torch

    prefix = {"a loss buffer": "model.", "a foreign prefix": "net.core."}.get(what, "")
    state = {prefix + name: tensor for name, tensor in names.items()}
    if what == "a loss buffer":
        state["loss_function.window"] = torch.ones(3)
    if what == "an epoch":
        state["epoch"] = 3
    if what == "a compiled block":
        inner = "terminal_block."
        state = {name.replace(inner, f"{inner}_orig_mod."): tensor for name, tensor in state.items()}
    if what == "no counters":
        state = {name: tensor for name, tensor in state.items() if not name.endswith("tracked")}
    if what == "counters as floats":
        state = {name: tensor.float() for name, tensor in state.items()}
    return state


@pytest.mark.torch
@pytest.mark.parametrize(
    "what",
    ["a loss buffer", "an epoch", "a compiled block", "no counters", "a foreign prefix", "counters as floats"],
)
def test_the_shim_takes_the_file_that_it_was_written_for(tmp_path: Path, what: str) -> None:
    import torch

    old = unet().state_dict()
    state = around(old, what)
    space = written(tmp_path, {"state_dict": state})

    new = space["remap_state_dict"](torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"])

    assert list(new) == list(old)
    assert all(new[name].dtype == tensor.dtype and torch.equal(new[name], tensor) for name, tensor in old.items())
    unet().load_state_dict(new, strict=True)
    assert all(torch.equal(tensor, new[name]) for name, tensor in space["remap_state_dict"](new).items())


@pytest.mark.torch
@pytest.mark.parametrize("count", [2.5, float("inf"), float("nan")])
def test_a_counter_that_is_not_whole_is_cast_by_nobody(tmp_path: Path, count: float) -> None:
    import torch

    state = {name: tensor.float() for name, tensor in unet().state_dict().items()}
    shim = written(tmp_path, state)["remap_state_dict"]
    name = next(name for name in state if name.endswith("tracked"))
    torch.save({**state, name: torch.tensor(count)}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="which is no whole number"):
        shim(torch.load(tmp_path / "a.ckpt"))
    with pytest.raises(PlanRefused, match=f"{name}: {count} is no whole number"):
        viscy_compat.remap(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    with pytest.raises(PlanRefused, match="is no whole number"):
        viscy_compat.load_state_dict(tmp_path / "a.ckpt")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "uint8"])
def test_a_counter_of_any_other_dtype_is_the_integer_that_torch_makes_of_it(tmp_path: Path, dtype: str) -> None:
    import torch

    count = 96 if dtype in ("int8", "uint8") else 384
    old = {name: tensor + count if "tracked" in name else tensor for name, tensor in unet().state_dict().items()}
    floats = {name: tensor.to(getattr(torch, dtype)) if "tracked" in name else tensor for name, tensor in old.items()}
    torch.save(floats, tmp_path / "a.ckpt")
    viscy_compat.remap(tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    for new in (torch.load(tmp_path / "b.ckpt"), viscy_compat.load_state_dict(tmp_path / "a.ckpt")):
        assert {name: tensor.dtype for name, tensor in new.items()} == {
            name: tensor.dtype for name, tensor in old.items()
        }
        assert all(torch.equal(new[name], tensor) for name, tensor in old.items())


@pytest.mark.torch
def test_of_several_sets_the_shim_takes_the_one_that_was_meant(tmp_path: Path) -> None:
    import torch

    first, second = unet().state_dict(), unet().state_dict()
    state = {f"student.{name}": tensor for name, tensor in first.items()}
    state |= {f"teacher.{name}": tensor for name, tensor in second.items()}
    space = written(tmp_path, state, state_dict=":teacher.")

    new = space["remap_state_dict"](state)

    assert all(torch.equal(new[name], tensor) for name, tensor in second.items())


@pytest.mark.torch
def test_two_tensors_that_would_get_one_name_are_refused(tmp_path: Path) -> None:
    import torch

    old = unet().state_dict()
    space = written(tmp_path, {"state_dict": around(old, "a loss buffer")})
    state = {f"model.{name}": tensor for name, tensor in old.items()}

    with pytest.raises(ValueError, match="two tensors are called"):
        space["remap_state_dict"]({**state, next(iter(old)): torch.ones(1)}, "model.")


@pytest.mark.parametrize(
    ("site", "safetensors", "line"),
    [
        ("state_dict", False, 'weights_only=True)["state_dict"]'),
        ("ema.state", False, 'weights_only=True)["ema"]["state"]'),
        ("", False, "weights_only=True)\n"),
        ("", True, 'state_dict = load_file("old.safetensors")'),
    ],
)
def test_the_example_reads_the_place_where_the_weights_are(site: str, safetensors: bool, line: str) -> None:
    side = PlanEnd({"w": TensorSpec((2,))})

    text = shim_source(plan_of(side, side, [Rename("w", "w")]), site=site, safetensors=safetensors)

    assert line in ast.get_docstring(ast.parse(text), clean=False)  # type: ignore[operator]


def test_a_hostile_name_ends_neither_the_docstring_nor_a_string() -> None:
    evil = 'x"""\nraise SystemExit  # \\'
    source = PlanEnd({"w": TensorSpec((2,)), evil: TensorSpec((2,))}, prefix=evil, lacks=evil, inner=(evil,))

    text = shim_source(
        plan_of(source, PlanEnd({"w": TensorSpec((2,))}), [Rename("w", "w"), Drop(evil, evil)]), site=evil
    )

    tree = ast.parse(text)
    assert not [node for node in tree.body if isinstance(node, ast.Raise)]
    (prefix,) = (
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PREFIX"
    )
    assert ast.literal_eval(prefix.value) == evil
