"""Half precision becomes float32 exactly, for every one of the 65,536 bit patterns."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.plans.halves import float32_of_bfloat16, float32_of_float16

EVERY = struct.pack("<65536H", *range(65536))
COMMON = struct.pack("<H", 0x3C01)


def test_every_float16_has_the_value_that_python_gives_it() -> None:
    found = struct.unpack("<65536f", float32_of_float16(EVERY))
    expected = struct.unpack("<65536e", EVERY)
    assert list(map(repr, found)) == list(map(repr, expected))


def test_rare_patterns_among_common_ones_take_the_other_way_to_the_same_bits() -> None:
    every = float32_of_float16(EVERY)
    spread = b"".join(EVERY[2 * place : 2 * place + 2] + 15 * COMMON for place in range(65536))
    found = float32_of_float16(spread)
    assert b"".join(found[64 * place : 64 * place + 4] for place in range(65536)) == every


@pytest.mark.torch
def test_every_bit_is_that_of_torch() -> None:
    import torch

    for dtype, widen in ((torch.float16, float32_of_float16), (torch.bfloat16, float32_of_bfloat16)):
        expected = torch.frombuffer(bytearray(EVERY), dtype=dtype).float().view(torch.int32)
        found = torch.frombuffer(bytearray(widen(EVERY)), dtype=torch.int32)
        assert torch.equal(found, expected)


@given(st.lists(st.floats(width=16, allow_nan=False)))
def test_going_back_gives_the_same_float16(values: list[float]) -> None:
    data = struct.pack(f"<{len(values)}e", *values)
    wide = struct.unpack(f"<{len(values)}f", float32_of_float16(data))
    assert struct.pack(f"<{len(values)}e", *wide) == data
