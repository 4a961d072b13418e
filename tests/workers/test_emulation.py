"""Precisions emulated on the CPU, beside what an H100 gave: the same size, and in part the same pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.gpu_outputs import CASES, MODES, recorded, seeded_input, seeded_model

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", params=CASES)
def compared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A class, and inner products of what the H100 gave and what is emulated, less what the CPU gives."""
    from safetensors.torch import save_file

    from viscy_compat.workers.program.digests import tensors_in
    from viscy_compat.workers.program.emulation import Gallery
    from viscy_compat.workers.program.values import set_seed

    name, folder = request.param, tmp_path_factory.mktemp("gpu")
    model = seeded_model(name)
    save_file(model.state_dict(), folder / "weights.safetensors")
    save_file({"input": seeded_input(name)}, folder / "input.safetensors")
    gallery = Gallery(tensors_in, set_seed)
    files = {"weights": str(folder / "weights.safetensors"), "inputs": str(folder / "input.safetensors")}
    outputs = list(recorded(name, "fp32"))
    for precision in ("", *MODES.values()):
        answer = gallery.run(model, {**files, "label": precision, "precision": precision, "names": outputs})
    assert not answer["draws"]

    def compare(mode: str) -> list[list[float]]:
        expected = recorded(name, mode)
        path = folder / "expected.safetensors"
        save_file(expected, path)
        told = gallery.compare({"expected": str(path), "names": list(expected), "labels": ["", MODES[mode]]})
        pieces = [piece for row in told["outputs"].values() for piece in row["pieces"]]
        return [[sum(piece[i][j] for piece in pieces) for j in range(2)] for i in range(2)]

    return compare


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fp32"])
def test_the_noise_of_a_precision_has_the_size_and_part_of_the_pattern_of_the_emulated_one(
    compared: Any, mode: str
) -> None:
    (actual, common), (_, emulated) = compared(mode)
    assert 0.5 < (actual / emulated) ** 0.5 < 1.2
    assert common / (actual * emulated) ** 0.5 > 0.4


def test_float32_of_a_gpu_is_within_a_few_roundings(compared: Any) -> None:
    (actual, _), (_, emulated) = compared("fp32")
    assert actual**0.5 < 2e-6
    assert emulated**0.5 < 2e-6


def test_tf32_keeps_ten_bits_and_rounds_ties_to_even() -> None:
    import torch

    from viscy_compat.workers.program.emulation import _to_tf32

    step = 2.0**-10
    given = torch.tensor([1.0, 1 + step, 1 + 0.49 * step, 1 + 0.5 * step, 1 + 1.5 * step, -1 - 0.51 * step])
    assert _to_tf32(given).tolist() == [1.0, 1 + step, 1.0, 1.0, 1 + 2 * step, -1 - step]
    wide = given.double()
    assert _to_tf32(wide) is wide
    assert torch.equal(_to_tf32(torch.arange(3)), torch.arange(3))


def test_a_change_is_made_for_one_pass_and_undone(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from viscy_compat.workers.program.digests import tensors_in
    from viscy_compat.workers.program.emulation import Gallery, alterations
    from viscy_compat.workers.program.values import set_seed

    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 1), nn.LayerNorm(3, eps=1e-6), nn.GELU(), nn.Linear(3, 3), nn.Linear(3, 3))
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    save_file({"input": torch.randn(2, 2, 3, 3)}, tmp_path / "x.safetensors")
    files = {"weights": str(tmp_path / "w.safetensors"), "inputs": str(tmp_path / "x.safetensors")}
    gallery = Gallery(tensors_in, set_seed)
    first = gallery.run(model, {**files, "label": "ours", "list": True})
    changes = first["alterations"]
    assert changes == list(alterations(model, 2))
    assert [change["kind"] for change in changes] == [
        "eps",
        "gelu",
        *["bias"] * 3,
        "swap",
        *["channels"] * 3,
        "input",
    ]
    assert changes[0] == {"kind": "eps", "type": "LayerNorm", "from": 1e-6, "to": 1e-5, "modules": 1}
    save_file({"output": gallery.held["ours"]["output"]}, tmp_path / "e.safetensors")
    for change in changes:
        gallery.run(model, {**files, "label": "other", "alteration": change})
        gallery.run(model, {**files, "label": "again"})
        labels = ["ours", "other", "again"]
        asked = {"expected": str(tmp_path / "e.safetensors"), "names": ["output"], "labels": labels}
        told = gallery.compare(asked)["outputs"]["output"]
        assert told["equal"]
        assert sum(piece[1][1] for piece in told["pieces"]) > 0
        assert sum(piece[2][2] for piece in told["pieces"]) == 0


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_model_of_halves_is_emulated_on_a_copy_as_torch_computes_it(tmp_path: Path, name: str) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from viscy_compat.workers.program.digests import tensors_in
    from viscy_compat.workers.program.emulation import Gallery
    from viscy_compat.workers.program.values import set_seed

    torch.manual_seed(1)
    # torch has no pool of halves in three dimensions on the CPU, and a batch norm has a buffer that is a whole number
    layers = [nn.Conv3d(2, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Flatten(2), nn.Linear(216, 8)]
    model: Any = nn.Sequential(*layers).eval()
    pooled: Any = nn.Sequential(nn.Conv3d(2, 8, 3), nn.AvgPool3d(2))
    model.register_buffer("unsaved", torch.tensor([1.1]), persistent=False)
    x = torch.randn(1, 2, 8, 8, 8)
    save_file({"input": x}, tmp_path / "x.safetensors")
    for one in (model, pooled):
        save_file(one.state_dict(), tmp_path / "w.safetensors")
        files = {"weights": str(tmp_path / "w.safetensors"), "inputs": str(tmp_path / "x.safetensors")}
        gallery = Gallery(tensors_in, set_seed)
        for label in ("", f"{name}-model"):
            gallery.run(one, {**files, "label": label, "precision": label, "modules": ["0"]})
        halves, ours = gallery.held[f"{name}-model"], gallery.held[""]
        half = getattr(torch, name)
        with torch.no_grad():
            # the first layer alone: torch computes it in halves, and the emulation rounds its sum once
            weight, bias = (tensor.to(half).float() for tensor in (one[0].weight, one[0].bias))
            sums = torch.nn.functional.conv3d(x.to(half).float(), weight, bias).to(half).float()
        assert torch.equal(halves["modules/0"], sums)
        assert halves["output"].dtype == torch.float32
        assert torch.equal(halves["output"], halves["output"].to(half).float())
        assert not torch.equal(halves["output"], ours["output"])
        assert one[0].weight.dtype == torch.float32
    assert float(model.unsaved) == float(torch.tensor(1.1))
