"""What a user saved is read with what its metadata says; precisions have many names."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest

from support.files import torch_file_of
from support.scripted import SHAPE, saved
from viscy_compat.checkpoint.dtypes import ITEMSIZES, SAFETENSORS_DTYPES
from viscy_compat.errors import UsageError
from viscy_compat.layout import TensorSpec
from viscy_compat.outputs.user_file import STATEABLE, UserOutputs, read_precision, read_user_outputs, refuse_unfit


def test_metadata_says_how_outputs_were_made_and_the_user_outweighs_it(tmp_path: Path) -> None:
    metadata = {"precision": "bf16-mixed", "device": "cuda NVIDIA H100", "seed": "7", "torch": "2.11", "note": "mine"}
    path = str(saved(tmp_path, ["mean", "modules/encoder.stem"], metadata))
    found = read_user_outputs(path)
    assert (found.precision, found.device, found.seed) == ("bfloat16", "cuda NVIDIA H100", 7)
    assert dict(found.made) == {"device": "cuda NVIDIA H100", "seed": "7", "torch": "2.11"}
    assert (found.input_shape, found.inner) == (SHAPE, ("encoder.stem",))
    assert read_user_outputs(path, precision="tf32").precision == "tf32"


def test_without_metadata_nothing_is_stated(tmp_path: Path) -> None:
    found = read_user_outputs(str(saved(tmp_path, ["mean"])))
    assert (found.precision, found.device, found.seed, dict(found.made)) == ("", "", None, {})


@pytest.mark.parametrize("name", ["input", "mean"])
def test_what_holds_no_numbers_proves_nothing(tmp_path: Path, name: str) -> None:
    rows = {
        other: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for other in ("input", "mean") if other != name
    }
    header = json.dumps({**rows, name: {"dtype": "F32", "shape": [0, 2], "data_offsets": [8, 8]}}).encode()
    path = tmp_path / "io.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(UsageError, match=f"{name} holds no numbers"):
        read_user_outputs(str(path))


def written(folder: Path, dtypes: dict[str, str], shapes: dict[str, list[int]]) -> UserOutputs:
    """Read a file of hand-made tensors; those without a dtype or shape of their own are float32 of one sample."""
    rows, place = {}, 0
    for name in ("input", "mean", "modules/stem"):
        dtype, shape = dtypes.get(name, "F32"), shapes.get(name, [1, 2])
        end = place + prod(shape) * ITEMSIZES[SAFETENSORS_DTYPES[dtype]]
        rows[name], place = {"dtype": dtype, "shape": shape, "data_offsets": [place, end]}, end
    header = json.dumps(rows).encode()
    (folder / "io.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(place))
    return read_user_outputs(str(folder / "io.safetensors"))


@pytest.mark.parametrize("dtype", sorted(SAFETENSORS_DTYPES))
@pytest.mark.parametrize("name", ["input", "modules/stem"])
def test_an_input_is_of_real_numbers_that_torch_computes_with(tmp_path: Path, name: str, dtype: str) -> None:
    if dtype in ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"):
        written(tmp_path, {name: dtype}, {})
        return
    with pytest.raises(UsageError, match=f"{name} is {SAFETENSORS_DTYPES[dtype]}, and no model here takes or gives"):
        written(tmp_path, {name: dtype}, {})


@pytest.mark.parametrize("dtype", sorted(SAFETENSORS_DTYPES))
def test_an_output_is_of_floats(tmp_path: Path, dtype: str) -> None:
    found = written(tmp_path, {"mean": dtype}, {})
    if dtype in ("F64", "F32", "F16", "BF16"):
        refuse_unfit(found, ["mean"])
        return
    with pytest.raises(UsageError, match=f"mean is {SAFETENSORS_DTYPES[dtype]}; save what the model gave"):
        refuse_unfit(found, ["mean"])


@pytest.mark.parametrize(
    ("given", "shape", "said"),
    [
        ([1, 2], [], "mean is one number without axes"),
        ([], [], "mean is one number without axes"),
        ([2, 2], [3], "mean holds a batch of 3, and the input one of 2"),
        ([2, 2], [1, 1, 1, 1, 1, 1], "mean holds a batch of 1, and the input one of 2"),
    ],
)
def test_an_output_is_of_the_batch_of_the_input(tmp_path: Path, given: list[int], shape: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        refuse_unfit(written(tmp_path, {}, {"input": given, "mean": shape}), ["mean"])
    refuse_unfit(written(tmp_path, {}, {"input": given, "mean": given or [1]}), ["mean"])


def test_only_safetensors_hold_outputs(tmp_path: Path) -> None:
    torch_file_of(tmp_path / "io.pt", {"input": TensorSpec((1, 2)), "mean": TensorSpec((1, 2))})
    with pytest.raises(UsageError, match="is no safetensors file; save an input and outputs with save_file"):
        read_user_outputs(str(tmp_path / "io.pt"))


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", "9" * 19, "²"])
def test_a_seed_is_a_whole_number(tmp_path: Path, seed: str) -> None:
    with pytest.raises(UsageError, match="gives the seed"):
        read_user_outputs(str(saved(tmp_path, ["mean"], {"seed": seed})))


@pytest.mark.parametrize("name", STATEABLE)
def test_every_precision_can_be_stated_in_any_case(name: str) -> None:
    assert read_precision(f" {name.upper()} ", "") == name


def test_the_precision_of_bytes_cannot_be_stated() -> None:
    with pytest.raises(UsageError, match="no precision is called 'bytes'; one of float32"):
        read_precision("bytes", "")
