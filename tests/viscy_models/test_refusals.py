"""What could never run is refused in the constructor, with the numbers and what would work."""

from __future__ import annotations

from typing import Any

import pytest
import timm

from viscy_models import BetaVae25D, BetaVaeMonai, ContrastiveEncoder, ResNet3dEncoder
from viscy_models.vae.beta_vae_25d import VaeDecoder, VaeEncoder, VaeUpStage

pytestmark = pytest.mark.torch

SMALL = {"backbone": "test_resnet", "in_channels": 1, "latent_dim": 4}
STAGE: dict[str, Any] = {"scale_factor": 2, "conv_blocks": 1, "norm_name": "batch", "upsample_pre_conv": None}


@pytest.mark.parametrize(
    ("backbone", "given", "width"), [("resnet10", 511, 512), ("resnet34", 2048, 512), ("resnet50", 512, 2048)]
)
def test_an_embedding_that_is_not_the_backbones(backbone: str, given: int, width: int) -> None:
    with pytest.raises(
        ValueError, match=f"embedding_dim={given}, but {backbone} .* {width}; use embedding_dim={width}"
    ):
        ResNet3dEncoder(backbone, embedding_dim=given)
    assert ResNet3dEncoder(backbone, embedding_dim=width).projection[0].in_features == width


def test_a_stem_that_cannot_share_out_the_channels_of_the_backbone() -> None:
    with pytest.raises(ValueError, match=r"in_stack_depth=15 .* 3 slices, .* 64 channels .* works is 10 or 20$"):
        ContrastiveEncoder("resnet50", 1, 15)
    with pytest.raises(ValueError, match=r"in_stack_depth=35 .* 7 slices, .* 96 channels .* works is 30 or 40$"):
        ContrastiveEncoder("convnext_tiny", 1, 35)
    with pytest.raises(ValueError, match=r"in_stack_depth=6 .* 3 slices, .* 64 channels .* works is 4 or 8$"):
        BetaVae25D(in_stack_depth=6)


@pytest.mark.parametrize(("size", "left"), [((63, 64), "0 x 1"), ((64, 63), "1 x 0"), ((3, 3), "0 x 0")])
def test_an_input_that_leaves_no_pixel(size: tuple[int, int], left: str) -> None:
    numbers = rf"input_spatial_size=\({size[0]}, {size[1]}\) leaves a feature map of {left} pixels"
    for model in (VaeEncoder, BetaVae25D):
        with pytest.raises(ValueError, match=numbers + r".* \(4, 4\) .* 16; .* at least \(64, 64\)"):
            model(input_spatial_size=size)


def test_the_smallest_input_that_is_named_builds() -> None:
    assert VaeEncoder("convnext_tiny", input_spatial_size=(32, 32)).encoder_spatial_size == 1
    with pytest.raises(ValueError, match=r"at least \(32, 32\)"):
        VaeEncoder("convnext_tiny", input_spatial_size=(31, 32))


@pytest.mark.parametrize(("latent", "side", "fits"), [(3, 2, 1), (8, 3, 2), (255, 16, 15)])
def test_a_latent_smaller_than_the_map(latent: int, side: int, fits: int) -> None:
    with pytest.raises(ValueError, match=f"latent_dim={latent} .* {side} x {side} .* {side**2}, .* at most {fits}$"):
        VaeDecoder(latent_dim=latent, encoder_spatial_size=side)
    assert VaeDecoder(latent_dim=side**2, encoder_spatial_size=side).spatial_channels == 1
    assert VaeDecoder(latent_dim=latent, encoder_spatial_size=fits).spatial_channels >= 1


def test_a_latent_smaller_than_the_map_that_the_input_leaves() -> None:
    with pytest.raises(ValueError, match=r"latent_dim=15 .* 4 x 4 .* at least 16.* input_spatial_size"):
        BetaVae25D("convnext_tiny", latent_dim=15, input_spatial_size=(128, 128))


def test_a_decoder_that_starts_from_nothing() -> None:
    with pytest.raises(ValueError, match=r"encoder_spatial_size=0 .* 1 or more"):
        VaeDecoder(encoder_spatial_size=0)


def test_strides_that_do_not_reach_for_all_stages() -> None:
    with pytest.raises(IndexError):
        VaeDecoder(decoder_channels=(64, 32, 16, 8), strides=(2, 2))


@pytest.mark.parametrize("model", [VaeEncoder, BetaVae25D])
def test_a_backbone_of_another_kind(model: Any) -> None:
    with pytest.raises(ValueError, match=r"backbone='vit_tiny_patch16_224' is neither .* use 'resnet50'"):
        model("vit_tiny_patch16_224")


def test_a_backbone_of_another_kind_in_the_contrastive_encoder() -> None:
    with pytest.raises(ValueError, match=r"backbone='vit_tiny_patch16_224' is neither .* use 'convnext_tiny'"):
        ContrastiveEncoder("vit_tiny_patch16_224", 1, 5)  # type: ignore[arg-type]


def test_an_unknown_way_to_upsample() -> None:
    with pytest.raises(ValueError, match=r"mode='nearest' .* 'deconv' or 'pixelshuffle'"):
        VaeUpStage(8, 4, mode="nearest", **STAGE)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["layer", ("batch", {"eps": 1e-3})])
def test_an_unknown_norm(norm: Any) -> None:
    with pytest.raises(ValueError, match="'batch' or 'instance'"):
        BetaVaeMonai(2, (1, 16, 16), 1, 4, (4,), (2,), norm=norm)


def test_every_named_backbone_is_one_that_timm_has() -> None:
    assert {"convnext_tiny", "convnextv2_tiny", "resnet50"} <= set(timm.list_models())
