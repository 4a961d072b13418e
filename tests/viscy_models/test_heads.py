"""The heads, and the start of sub-pixel convolutions as a nearest-neighbour upsampling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from viscy_models._components.blocks import icnr_init
from viscy_models._components.heads import PixelToVoxelHead, UnsqueezeHead

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("dims", "factor"), [(2, 2), (2, 3), (3, 2)])
def test_a_shuffle_after_an_icnr_start_gives_every_pixel_of_a_block_one_value(dims: int, factor: int) -> None:
    conv = nn.Conv2d(3, 2 * factor**dims, 3, padding=1, bias=False)
    icnr_init(conv, factor, upsample_dims=dims)
    groups = conv(torch.randn(1, 3, 5, 4)).unflatten(1, (2, factor**dims))
    assert torch.equal(groups, groups[:, :, :1].expand_as(groups))
    assert not torch.equal(groups[:, 0], groups[:, 1])


def test_icnr_draws_one_kernel_for_each_group_and_leaves_the_bias() -> None:
    conv = nn.Conv3d(5, 8, (1, 2, 3))
    assert conv.bias is not None
    bias = conv.bias.detach().clone()
    torch.manual_seed(3)
    icnr_init(conv, 2, 2)
    torch.manual_seed(3)
    drawn = nn.init.kaiming_normal_(torch.zeros(2, 5, 1, 2, 3))
    assert torch.equal(conv.weight[::4], drawn)
    assert torch.equal(conv.bias, bias)


def test_icnr_uses_the_initialisation_that_it_is_given() -> None:
    conv = nn.Conv2d(1, 4, 1)
    icnr_init(conv, 2, 2, nn.init.ones_)
    assert torch.equal(conv.weight, torch.ones(4, 1, 1, 1))


def test_the_head_enlarges_four_times_and_uses_up_one_slice_on_either_side() -> None:
    head = PixelToVoxelHead(4 * 7 * 2 * 3, out_channels=2, out_stack_depth=5, expansion_ratio=3, pool=False)
    assert head(torch.randn(2, 4 * 7 * 2 * 3, 3, 4)).shape == (2, 2, 5, 12, 16)


@pytest.mark.parametrize(("channels", "expansion"), [(2, 0), (0, 2)])
def test_a_head_without_hidden_channels_is_refused(channels: int, expansion: int) -> None:
    with pytest.raises(ValueError, match=f"out_channels={channels} and expansion_ratio={expansion} .* 1 or more"):
        PixelToVoxelHead(56, channels, 5, expansion, pool=False)


def test_the_pool_of_the_head_has_no_weights_and_changes_the_numbers() -> None:
    sharp, soft = (PixelToVoxelHead(56, 1, 5, 2, pool=pool).eval() for pool in (False, True))
    soft.load_state_dict(sharp.state_dict())
    x = torch.randn(1, 56, 3, 3)
    assert sharp(x).shape == soft(x).shape
    assert not torch.equal(sharp(x), soft(x))


def test_a_map_gets_a_depth_of_one() -> None:
    assert torch.equal(UnsqueezeHead()(torch.ones(2, 3, 4, 5)), torch.ones(2, 3, 1, 4, 5))
