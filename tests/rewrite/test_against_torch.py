"""What torch makes of odd files is what remap writes: strided, shared, expanded, empty, every dtype, every operation."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.files import layout_in
from viscy_compat import remap
from viscy_compat.checkpoint import open_checkpoint
from viscy_compat.errors import OutputRefused, PlanRefused
from viscy_compat.layout import Layout
from viscy_compat.operations import Cast, Concat, Drop, Fill, Operation, Rename, Reshape, Split, Transpose
from viscy_compat.plans.plan import PlanEnd, identity_rows, plan_of
from viscy_compat.plans.plan_file import dumps

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.torch


def odd_tensors() -> dict[str, torch.Tensor]:
    """Tensors that share, stride, expand, start late, or hold nothing."""
    import torch

    torch.manual_seed(0)
    base = torch.randn(6, 8)
    big = torch.randn(1000)
    return {
        "whole": base,
        "tied": base,
        "turned": base.t(),
        "row": base[2],
        "column": base[:, 3],
        "steps": base[::2, 1::3],
        "expanded": torch.randn(1, 4).expand(3, 4),
        "late": big[100:110],
        "scalar": torch.tensor(3.5),
        "nothing": torch.empty(0, 5),
        "no rows": base[:0],
        "counter": torch.tensor(7),
        "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }


DTYPES = [
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "uint16",
    "uint32",
    "uint64",
    "float8_e4m3fn",
    "float8_e5m2",
]


def typed_tensors() -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.arange(6).to(getattr(torch, name)).reshape(2, 3) for name in DTYPES}


def identity_plan(folder: Path, source: Path) -> Path:
    layout = layout_in(source)
    return written_plan(folder, layout, layout, identity_rows(layout))


def written_plan(folder: Path, here: Layout, there: Layout, rows: Any) -> Path:
    path = folder / "plan.json"
    path.write_text(dumps(plan_of(PlanEnd(here), PlanEnd(there), rows)))
    return path


def load(path: Path) -> dict[str, torch.Tensor]:
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True, mmap=True)
    return loaded


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    import torch

    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    bits = torch.uint8
    return torch.equal(first.contiguous().view(-1).view(bits), second.contiguous().view(-1).view(bits))


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("flavour", ["zip", "legacy"])
def test_odd_tensors_come_out_as_torch_has_them(tmp_path: Path, flavour: str, ending: str) -> None:
    import torch

    source, out = tmp_path / "odd.pt", tmp_path / f"out{ending}"
    tensors = odd_tensors()
    torch.save(OrderedDict(tensors), source, _use_new_zipfile_serialization=flavour == "zip")
    remap(source, out, plan=identity_plan(tmp_path, source))
    found = load(out)
    assert found.keys() == tensors.keys()
    assert [name for name in tensors if not same(found[name], tensors[name])] == []


def test_a_torch_file_keeps_sharing_and_strides(tmp_path: Path) -> None:
    import torch

    source, out = tmp_path / "odd.pt", tmp_path / "out.ckpt"
    tensors = odd_tensors()
    torch.save(tensors, source)
    remap(source, out, plan=identity_plan(tmp_path, source))
    found: dict[str, torch.Tensor] = torch.load(out, weights_only=True)
    shared = {name: tensor for name, tensor in found.items() if name in ("whole", "tied", "turned", "row", "column")}
    assert len({tensor.untyped_storage().data_ptr() for tensor in shared.values()}) == 1
    assert all(found[name].stride() == tensor.stride() for name, tensor in tensors.items())
    assert out.stat().st_size < 1.2 * source.stat().st_size


def test_safetensors_names_what_was_tied(tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open

    source, out = tmp_path / "odd.pt", tmp_path / "out.safetensors"
    torch.save(odd_tensors(), source)
    report = remap(source, out, plan=identity_plan(tmp_path, source))
    with safe_open(out, framework="pt") as file:
        assert json.loads(file.metadata()["viscy_compat.tied"]) == {"tied": "whole"}
    assert report.results[0].written is not None
    assert report.results[0].written.tied == {"tied": "whole"}


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_every_dtype_comes_out(tmp_path: Path, ending: str) -> None:
    import torch

    source, out = tmp_path / "typed.pt", tmp_path / f"out{ending}"
    tensors = typed_tensors()
    torch.save(tensors, source)
    remap(source, out, plan=identity_plan(tmp_path, source))
    found = load(out)
    assert [name for name in tensors if not same(found[name], tensors[name])] == []


def test_a_dtype_that_safetensors_lacks_is_said(tmp_path: Path) -> None:
    import torch

    source = tmp_path / "complex.pt"
    torch.save({"w": torch.zeros(2, dtype=torch.complex128)}, source)
    plan = identity_plan(tmp_path, source)
    with pytest.raises(OutputRefused, match=r"safetensors cannot hold 'w' \(complex128\); write a \.ckpt"):
        remap(source, tmp_path / "out.safetensors", plan=plan)
    remap(source, tmp_path / "out.ckpt", plan=plan)
    assert load(tmp_path / "out.ckpt")["w"].dtype == torch.complex128


ROWS: tuple[Operation, ...] = (
    Rename("a", "A"),
    Transpose("t", "T", (2, 0, 1)),
    Reshape("r", "R", (4, 6)),
    Split("s", ("S1", "S2"), 1, (1, 4)),
    Concat(("c1", "c2"), "C", 1),
    Cast("h", "H"),
    Cast("b", "B"),
    Drop("d", "nobody reads it"),
    Fill("F", (2, 3), "float32", 0.1, "neutral"),
    Fill("N", (), "int64", 3, "counted"),
)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_every_operation_does_what_torch_does(tmp_path: Path, ending: str, strided: bool) -> None:
    import torch

    torch.manual_seed(1)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape[::-1]).permute(*reversed(range(len(shape)))) if strided else torch.randn(*shape)

    old = {"a": drawn(3, 4), "t": drawn(2, 3, 4), "r": drawn(2, 3, 4), "s": drawn(3, 5, 2), "c1": drawn(3, 2, 4)}
    old |= {"c2": drawn(3, 1, 4), "h": drawn(2, 3).half(), "b": drawn(2, 3).bfloat16(), "d": drawn(2)}
    first, second = old["s"].split([1, 4], 1)
    new = {
        "T": old["t"].permute(2, 0, 1),
        "A": old["a"],
        "R": old["r"].reshape(4, 6),
        "S2": second,
        "S1": first,
        "C": torch.cat([old["c1"], old["c2"]], 1),
        "H": old["h"].float(),
        "B": old["b"].float(),
        "F": torch.full((2, 3), 0.1),
        "N": torch.tensor(3),
    }
    source, out = tmp_path / "old.pt", tmp_path / f"out{ending}"
    wanted = tmp_path / "wanted.pt"
    torch.save(old, source)
    torch.save(new, wanted)
    here, there = (layout_in(path) for path in (source, wanted))
    plan = written_plan(tmp_path, here, there, ROWS)
    remap(source, out, plan=plan, shim=tmp_path / "shim.py")
    found = load(out)
    assert list(open_checkpoint(str(out)).tensors) == list(new)
    assert [name for name in new if not same(found[name], new[name])] == []
    space: dict[str, Any] = {"__name__": "shim"}
    exec((tmp_path / "shim.py").read_text(), space)
    shimmed = space["remap_state_dict"](old)
    assert [name for name in new if not same(shimmed[name], new[name])] == []
    with pytest.raises(PlanRefused, match="cannot be reversed"):
        remap(out, tmp_path / "back.ckpt", plan=plan, reverse=True)


def test_reversible_operations_come_back_and_a_trained_fill_does_not(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(2)
    old = {"a": torch.randn(2, 3), "s": torch.randn(5, 2)}
    rows = (
        Transpose("a", "A", (1, 0)),
        Split("s", ("S1", "S2"), 0, (2, 3)),
        Fill("F", (2,), "float32", 0.1, "neutral"),
    )
    source, out, back = tmp_path / "old.pt", tmp_path / "out.pt", tmp_path / "back.pt"
    torch.save(old, source)
    here = layout_in(source)
    there = {"A": here["a"]._replace(shape=(3, 2)), "S1": here["s"]._replace(shape=(2, 2))}
    there |= {"S2": here["s"]._replace(shape=(3, 2)), "F": here["s"]._replace(shape=(2,))}
    plan = written_plan(tmp_path, here, there, rows)
    remap(source, out, plan=plan)
    remap(out, back, plan=plan, reverse=True)
    assert all(same(load(back)[name], tensor) for name, tensor in old.items())
    trained = load(out)
    trained["F"][1] += 1e-6
    torch.save({name: tensor.clone() for name, tensor in trained.items()}, out)
    with pytest.raises(PlanRefused, match="F: no longer holds the value filled in"):
        remap(out, tmp_path / "again.pt", plan=plan, reverse=True)
    assert not (tmp_path / "again.pt").exists()


@pytest.mark.parametrize("options", [{}, {"weights_only": True}])
def test_weights_only_true_loads_the_output_even_where_it_refused_the_source(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    import pickle

    import torch

    state = {"model.w": torch.randn(3)}
    honest = {"state_dict": state, "epoch": 1, "pytorch-lightning_version": "2.5.0"}
    classy = {**honest, "callbacks": {"path": tmp_path}}
    for place, content in enumerate((state, honest, classy)):
        source, out = tmp_path / f"{place}.ckpt", tmp_path / f"{place}.new.ckpt"
        torch.save(content, source)
        remap(source, out, plan=identity_plan(tmp_path, source), **options)
        if place == 2:
            with pytest.raises(pickle.UnpicklingError):
                torch.load(source, weights_only=True)
        loaded = torch.load(out, weights_only=True)
        assert place < 2 or options or loaded["callbacks"]["path"] == str(tmp_path)
        assert same(loaded.get("state_dict", loaded)["model.w"], state["model.w"])


def test_every_record_but_the_pickle_is_byte_for_byte_that_of_the_source(tmp_path: Path) -> None:
    import zipfile

    import torch

    optimizer = {"state": {0: {"exp_avg": torch.randn(3)}}, "param_groups": [{"params": [0]}]}
    content = {
        "state_dict": {"model.w": torch.randn(3)},
        "pytorch-lightning_version": "2",
        "optimizer_states": [optimizer],
    }
    source, out = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    torch.save(content, source)
    remap(source, out, plan=identity_plan(tmp_path, source))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out) as new:
        ours = old.namelist()[0].partition("/")[0] + "/viscy_compat.json"
        assert [*old.namelist(), ours] == new.namelist()
        names = [name for name in old.namelist() if not name.endswith("data.pkl")]
        assert all(old.read(name) == new.read(name) for name in names)
        assert new.testzip() is None


def test_the_pickle_decodes_to_the_same_graph_but_for_the_names(tmp_path: Path) -> None:
    import torch

    from support.graphs import same_graph

    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    content: dict[str, Any] = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    source, out = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    torch.save(content, source)
    remap(source, out, plan=identity_plan(tmp_path, source))
    assert same_graph(open_checkpoint(str(source)).root, open_checkpoint(str(out)).root)
    layout = layout_in(source)
    there = {f"net.{name}": spec for name, spec in layout.items()}
    plan = written_plan(tmp_path, layout, there, map(Rename, layout, there))
    remap(source, out, plan=plan, force=True)
    renamed = torch.load(out, weights_only=True)
    assert list(renamed["model"]) == list(there)
    assert renamed["model"]._metadata["net.2"] == {"version": 2}
    assert list(renamed["optimizer"]["state"]) == list(content["optimizer"]["state"])
