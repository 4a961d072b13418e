"""What a user saved is read with what its metadata says; precisions have many names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.scripted import SHAPE, saved
from viscy_compat.errors import UsageError
from viscy_compat.outputs.user_file import STATEABLE, read_precision, read_user_outputs


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
