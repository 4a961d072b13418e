"""The stems: what they refuse, what they advise, and how depth is folded into channels."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viscy_models._components.stems import StemDepthtoChannels, UNeXt2Stem

pytestmark = pytest.mark.torch

DEPTHS, KERNELS, STRIDES, WIDTHS = st.integers(1, 40), st.integers(1, 7), st.integers(1, 6), st.integers(1, 24)


def build(depth: int, kernel: int, stride: int, width: int) -> StemDepthtoChannels:
    return StemDepthtoChannels(1, depth, width, (kernel, 1, 1), (stride, 1, 1))


@given(depth=DEPTHS, kernel=KERNELS, stride=STRIDES, width=WIDTHS)
def test_it_makes_exactly_the_channels_asked_for_or_names_depths_that_would(
    depth: int, kernel: int, stride: int, width: int
) -> None:
    slices = (depth - kernel) // stride + 1
    if slices > 0 and width % slices == 0:
        assert build(depth, kernel, stride, width)(torch.zeros(1, 1, depth, 1, 1)).shape == (1, width, 1, 1)
        return
    with pytest.raises(ValueError, match=f"in_stack_depth={depth} with .* {kernel} and stride {stride} ") as caught:
        build(depth, kernel, stride, width)
    advised = [int(number) for number in re.findall(r"\d+", str(caught.value).rpartition("works is")[2])]
    assert advised
    for better in advised:
        assert build(better, kernel, stride, width)(torch.zeros(1, 1, better, 1, 1)).shape == (1, width, 1, 1)


def test_the_message_names_the_numbers_and_the_nearest_depths_that_work() -> None:
    with pytest.raises(ValueError, match="makes 3 slices, which cannot share the 64 channels") as caught:
        StemDepthtoChannels(1, 15, 64)
    assert str(caught.value).endswith("the nearest in_stack_depth that works is 10 or 20")


def test_a_stack_shallower_than_the_kernel_is_told_how_deep_it_must_be() -> None:
    with pytest.raises(ValueError, match=r"makes 0 slices.* works is 5$"):
        StemDepthtoChannels(1, 3, 96)
    with pytest.raises(ValueError, match=r"in_stack_depth=3 is less than the depth 5 .* 5 or more"):
        UNeXt2Stem(1, 96, (5, 4, 4), in_stack_depth=3)


@pytest.mark.parametrize(
    "stem",
    [StemDepthtoChannels(2, 6, 12, (2, 1, 1), (2, 1, 1)), UNeXt2Stem(2, 12, (2, 1, 1), 6)],
    ids=["vae", "unext2"],
)
def test_slices_are_the_minor_index_of_the_folded_channels(stem: Any) -> None:
    x = torch.randn(1, 2, 6, 3, 5)
    assert torch.equal(stem(x)[:, 4 * 1 - 1], stem.conv(x)[:, 1, 0])
    assert torch.equal(stem(x), torch.cat([stem.conv(x)[:, c, d][None] for c in range(4) for d in range(3)], dim=1))


def test_slices_beyond_the_last_step_are_never_read() -> None:
    x = torch.randn(1, 1, 17, 8, 8)
    stem = StemDepthtoChannels(1, 17, 96)
    y = x.clone()
    y[:, :, 15:] = 100.0
    assert torch.equal(stem(x), stem(y))
