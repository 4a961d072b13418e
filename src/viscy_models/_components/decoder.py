"""The decoder of UNeXt2 and of the masked autoencoder: pixel shuffles, skip connections and ConvNeXt stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from monai.networks.blocks.upsample import UpSample
from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.layers.weight_init import trunc_normal_
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

from viscy_models._components.blocks import icnr_init

PreConv = Literal["default"] | nn.Module | None


def init_convnext_weights(module: nn.Module) -> None:
    """Start one layer as ConvNeXt does: 2D convolutions and linear layers narrow (std 0.02), with zero biases."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    trunc_normal_(module.weight, std=0.02)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class UNeXt2UpStage(nn.Module):
    """Enlarge a feature map, join it with a skip connection, and refine both by ConvNeXt V2 blocks.

    Parameters
    ----------
    in_channels : int
        Channels of the coarse map, a multiple of ``scale_factor**2``.
    skip_channels : int
        Channels of the fine map that comes from the encoder.
    out_channels : int
        Channels of the result; without `upsample_pre_conv` a multiple of ``scale_factor**2``.
    scale_factor : int
        Enlargement of both sides.
    mode : {"pixelshuffle"}
        How to enlarge. The old class also named ``"deconv"``, which never ran: it kept the transposed convolution in
        a tuple, unregistered, and its `forward` raised TypeError. No weights of it can exist, so it is refused.
    conv_blocks : int
        ConvNeXt V2 blocks.
    norm_name : str
        Not used; it belonged to the other mode.
    upsample_pre_conv : {"default"} or nn.Module or None
        Module before the pixel shuffle; ``"default"`` is MONAI's 3 x 3 convolution. Without one, the last block starts
        so that the next shuffle draws no checkerboard.

    Raises
    ------
    ValueError
        If the mode is another one, or the last block cannot be started that way.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        scale_factor: int,
        mode: Literal["pixelshuffle"],
        conv_blocks: int,
        norm_name: str,
        upsample_pre_conv: PreConv,
    ) -> None:
        super().__init__()
        _check_mode(mode)
        shuffled = in_channels // scale_factor**2
        self.upsample = UpSample(
            2, in_channels, shuffled, scale_factor, mode=mode, pre_conv=upsample_pre_conv, apply_pad_pool=False
        )
        self.conv = _convnext_v2_stage(shuffled + skip_channels, out_channels, conv_blocks)
        if not upsample_pre_conv:
            _start_smooth(self.conv, out_channels, scale_factor)

    def forward(self, inp: Tensor, skip: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) and (B, skip_channels, sH, sW) to (B, out_channels, sH, sW)."""
        fine = self.upsample(inp)  # (B, in_channels / s**2, sH, sW)
        joined = torch.cat((fine, skip), dim=1)  # (B, in_channels / s**2 + skip_channels, sH, sW)
        refined: Tensor = self.conv(joined)  # (B, out_channels, sH, sW)
        return refined


class UNeXt2Decoder(nn.Module):
    """Climb from the coarsest feature map to the finest, one `UNeXt2UpStage` for each step.

    Parameters
    ----------
    num_channels : Sequence[int]
        Channels of the coarsest map and after each stage. A skip connection is taken to have half the channels of the
        map that it joins.
    norm_name, mode, conv_blocks, upsample_pre_conv
        See `UNeXt2UpStage`.
    strides : Sequence[int]
        Enlargement in each stage; what is beyond the number of stages is not used.
    """

    def __init__(
        self,
        num_channels: Sequence[int],
        norm_name: str,
        mode: Literal["pixelshuffle"],
        conv_blocks: int,
        strides: Sequence[int],
        upsample_pre_conv: PreConv,
    ) -> None:
        super().__init__()
        steps = zip(num_channels, num_channels[1:], strides, strict=False)
        self.decoder_stages = nn.ModuleList(
            UNeXt2UpStage(coarse, coarse // 2, fine, stride, mode, conv_blocks, norm_name, upsample_pre_conv)
            for coarse, fine, stride in steps
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map feature maps, coarsest first, to the finest decoded one (B, num_channels[-1], H, W)."""
        decoded, *skips = features
        for stage, skip in zip(self.decoder_stages, skips, strict=False):
            decoded = stage(decoded, skip)  # (B, num_channels[i + 1], s**(i + 1) * h, s**(i + 1) * w)
        return decoded


def _check_mode(mode: str) -> None:
    if mode == "deconv":
        raise ValueError(
            "mode='deconv' never ran: the old class raised TypeError in forward, so no weights of it exist; "
            "use 'pixelshuffle'"
        )
    if mode != "pixelshuffle":
        raise ValueError(f"mode={mode!r} is no way to upsample; use 'pixelshuffle'")


def _convnext_v2_stage(in_channels: int, out_channels: int, blocks: int) -> ConvNeXtStage:
    """Build timm's stage without a stride, its layers as convolutions, started as timm starts whole models."""
    norms: dict[str, Any] = {"norm_layer": LayerNorm2d, "norm_layer_cl": LayerNorm}
    # version two of ConvNeXt has a global response norm where version one scales its layers
    version_two: dict[str, Any] = {"use_grn": True, "ls_init_value": None, "conv_mlp": True}
    stage = ConvNeXtStage(in_channels, out_channels, stride=1, depth=blocks, **version_two, **norms)
    stage.apply(init_convnext_weights)
    return stage


def _start_smooth(stage: ConvNeXtStage, out_channels: int, scale_factor: int) -> None:
    """Let the last layer of a stage start as a nearest-neighbour upsampling for the shuffle that follows."""
    if len(stage.blocks) == 0:
        raise ValueError("conv_blocks=0 leaves no layer before the next pixel shuffle; use 1 or more")
    if out_channels % scale_factor**2:
        raise ValueError(
            f"out_channels={out_channels} cannot feed a pixel shuffle by {scale_factor}; "
            f"use a multiple of {scale_factor**2}"
        )
    last: Any = stage.blocks[-1]
    icnr_init(last.mlp.fc2, scale_factor, upsample_dims=2)
