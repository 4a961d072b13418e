"""What could never run is refused by the U-Nets' constructors, and what ran is not, however odd it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from viscy_models import FullyConvolutionalMAE, Unet2d, Unet25d, UNeXt2
from viscy_models._components.conv_blocks import ConvBlock2D
from viscy_models._components.decoder import UNeXt2UpStage
from viscy_models.unet.fcmae import MaskedMultiscaleEncoder

pytestmark = pytest.mark.torch

ATTO: dict[str, Any] = {"backbone": "convnextv2_atto"}
MAE: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "encoder_blocks": (1, 1), "dims": (8, 16)}
STAGE: dict[str, Any] = {"in_channels": 16, "skip_channels": 8, "scale_factor": 2, "norm_name": "instance"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"in_stack_depth": 7}, r"in_stack_depth=7 .* depth 5; use 5 or 10, or another stem_kernel_size$"),
        ({"in_stack_depth": 3}, r"in_stack_depth=3 .* depth 5; use 5, or another"),
        ({"in_stack_depth": 15}, r"makes 3 slabs, among which the 40 channels .* lower depths that work: 5, 10$"),
        ({"backbone": "test_resnet"}, r"backbone='test_resnet' .* a ConvNeXt, such as 'convnextv2_tiny'"),
        ({"decoder_mode": "deconv"}, r"mode='deconv' never ran: .* TypeError .* use 'pixelshuffle'"),
        ({"decoder_mode": "nearest"}, r"mode='nearest' is no way to upsample; use 'pixelshuffle'"),
        ({"decoder_conv_blocks": 0}, r"conv_blocks=0 .* use 1 or more"),
    ],
)
def test_unext2_says_which_numbers_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        UNeXt2(**{**ATTO, **given})


def test_a_stem_that_only_another_depth_can_feed_is_not_refused() -> None:
    model = UNeXt2(**ATTO, in_stack_depth=9, stem_kernel_size=(1, 4, 4)).eval()
    assert model.stem.conv.out_channels == 4
    assert model(torch.zeros(1, 1, 10, 32, 32)).shape == (1, 1, 9, 32, 32)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dims": (8, 24)}, r"dims=\(8, 24\) .* twice the one before .* use \(8, 16\)$"),
        ({"dims": (7, 14)}, r"dims=\(7, 14\) .* the first is even; use \(8, 16\)$"),
        ({"dims": (8, 16, 32)}, r"encoder_blocks=\(1, 1\) and dims=\(8, 16, 32\) are not equally many"),
        ({"encoder_blocks": (), "dims": ()}, r"not equally many; give one of each"),
        ({"in_stack_depth": 4}, r"in_stack_depth=4 is less than the depth 5 .* use 5 or more"),
        ({"stem_kernel_size": (5, 3, 3)}, r"out_channels=45 cannot feed a pixel shuffle by 2; use a multiple of 4"),
    ],
)
def test_the_masked_autoencoder_says_which_numbers_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FullyConvolutionalMAE(**{**MAE, **given})


def test_an_encoder_never_builds_fewer_stages_than_it_was_told() -> None:
    with pytest.raises(ValueError, match=r"stage_blocks=\(1, 1, 1\) has more stages than dims=\(8, 16\); give a width"):
        MaskedMultiscaleEncoder(1, (1, 1, 1), (8, 16))
    # widths that no stage takes are left out, as in the old class
    assert len(MaskedMultiscaleEncoder(1, (1,), (8, 16)).stages) == 1
    assert len(MaskedMultiscaleEncoder(1, (1, 1), (8, 16)).stages) == 2


@pytest.mark.parametrize("model", [Unet2d, Unet25d])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"num_blocks": 0}, r"num_blocks=0 .* use 1 or more"),
        ({"num_blocks": 2, "num_filters": (8, 16)}, r"\[8, 16\] are 2 widths for 3 levels; give 3 of them, or none"),
    ],
)
def test_the_unets_say_which_levels_cannot_be(model: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model(**given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"out_stack_depth": 6}, r"out_stack_depth=6 is more than in_stack_depth=5, .* use 5 or less"),
        ({"dropout": 0.6}, r"dropout=0.6 is not between 0 and 0.5"),
        ({"xy_kernel_size": (3, 4)}, r"kernel_size=\(3, 3, 4\) has an even side"),
    ],
)
def test_unet25d_says_which_numbers_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Unet25d(**given)


@pytest.mark.parametrize("kernel", [4, (3, 2)])
def test_an_even_kernel_is_refused_in_2d(kernel: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has an even side; use odd ones"):
        Unet2d(kernel_size=kernel)


def test_a_checked_input_must_be_square_and_have_the_channels_of_the_model() -> None:
    model = Unet2d(in_channels=2, num_blocks=1)
    with pytest.raises(ValueError, match="8 x 4, and should be square"):
        model(torch.zeros(1, 2, 1, 8, 4), validate_input=True)
    with pytest.raises(ValueError, match="has 1 channel, and the model takes 2"):
        model(torch.zeros(1, 1, 1, 8, 8), validate_input=True)
    assert model(torch.zeros(1, 2, 1, 8, 8), validate_input=True).shape == (1, 1, 1, 8, 8)


def test_without_a_convolution_before_the_shuffle_the_last_block_starts_smooth() -> None:
    stage: Any = UNeXt2UpStage(**STAGE, out_channels=8, mode="pixelshuffle", conv_blocks=1, upsample_pre_conv=None)
    groups = stage.conv.blocks[-1].mlp.fc2.weight.unflatten(0, (2, 4))
    assert torch.equal(groups, groups[:, :1].expand_as(groups))
    other = UNeXt2UpStage(**STAGE, out_channels=6, mode="pixelshuffle", conv_blocks=0, upsample_pre_conv="default")
    assert other(torch.zeros(1, 16, 2, 2), torch.zeros(1, 8, 4, 4)).shape == (1, 6, 4, 4)


def test_a_widening_residual_block_adds_zeros_in_front_of_the_channels() -> None:
    block = ConvBlock2D(2, 3, norm="none", num_repeats=1).eval()
    x = torch.rand(1, 2, 4, 4)
    added = block(x) - torch.relu(block.get_submodule("Conv2d_0")(x))
    assert torch.allclose(added[:, 1:], x, atol=1e-6)
    assert not added[:, 0].any()
