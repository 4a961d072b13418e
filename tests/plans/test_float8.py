"""Every 8-bit float becomes the float32 that torch makes of it, to the last bit."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from viscy_compat import check, remap
from viscy_compat.checkpoint.dtypes import SAFETENSORS_DTYPES
from viscy_compat.checkpoint.safetensors_writer import header_of
from viscy_compat.layout import TensorSpec
from viscy_compat.operations import NARROW_FLOATS
from viscy_compat.plans.float8 import float32_of_float8

EVERY = bytes(range(256))
DTYPES = [dtype for dtype in NARROW_FLOATS if dtype.startswith("float8")]


def values(dtype: str) -> tuple[float, ...]:
    return struct.unpack("<256f", float32_of_float8(EVERY, dtype))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_is_that_of_torch(dtype: str) -> None:
    import torch

    expected = torch.frombuffer(bytearray(EVERY), dtype=torch.uint8).view(getattr(torch, dtype)).float()
    found = torch.frombuffer(bytearray(float32_of_float8(EVERY, dtype)), dtype=torch.int32)
    assert torch.equal(found, expected.view(torch.int32))


def test_the_largest_and_the_smallest_are_those_of_the_formats() -> None:
    expected = {
        "float8_e4m3fn": (448.0, 2.0**-9),
        "float8_e4m3fnuz": (240.0, 2.0**-10),
        "float8_e5m2": (57344.0, 2.0**-16),
        "float8_e5m2fnuz": (57344.0, 2.0**-17),
        "float8_e8m0fnu": (2.0**127, 2.0**-127),
    }
    for dtype, (largest, smallest) in expected.items():
        finite = [value for value in values(dtype) if math.isfinite(value) and value > 0]
        assert (max(finite), min(finite)) == (largest, smallest)
    assert list(expected) == DTYPES


def test_they_are_told_apart_by_their_special_values() -> None:
    nan = {dtype: [place for place, value in enumerate(values(dtype)) if math.isnan(value)] for dtype in DTYPES}
    assert nan == {
        "float8_e4m3fn": [0x7F, 0xFF],
        "float8_e4m3fnuz": [0x80],
        "float8_e5m2": [0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF],
        "float8_e5m2fnuz": [0x80],
        "float8_e8m0fnu": [0xFF],
    }
    assert [values("float8_e5m2")[place] for place in (0x7C, 0xFC)] == [math.inf, -math.inf]


def test_every_dtype_that_is_read_from_safetensors_is_written_to_it() -> None:
    for name, dtype in SAFETENSORS_DTYPES.items():
        assert f'"dtype":"{name}"'.encode() in header_of({"w": TensorSpec((2,), dtype)}, {}, where="a.safetensors")


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"])
def test_a_model_of_8_bit_floats_is_remapped_to_the_values_that_torch_gives(tmp_path: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from viscy_models import BetaVaeMonai

    torch.manual_seed(0)
    model = BetaVaeMonai(2, (1, 32, 32), 1, latent_size=8, channels=(8, 16), strides=(2, 2))
    small = {name: tensor.to(getattr(torch, dtype)) for name, tensor in model.state_dict().items()}
    save_file(small, tmp_path / "small.safetensors")
    report = check(tmp_path / "small.safetensors")
    assert report.verdict == "remappable"
    assert "VC202" in {finding.code for finding in report.findings}
    assert remap(tmp_path / "small.safetensors", tmp_path / "new.safetensors").exit_code == 0
    found = load_file(tmp_path / "new.safetensors")
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in small.items())
