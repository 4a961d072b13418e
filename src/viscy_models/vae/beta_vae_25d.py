"""Variational autoencoder with a 2D backbone between a 3D stem and a 3D head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal

import timm
import torch
from monai.networks.blocks.convolutions import ResidualUnit
from monai.networks.blocks.dynunet_block import get_conv_layer
from monai.networks.blocks.upsample import UpSample
from torch import Tensor, nn

from viscy_models._components.heads import PixelToVoxelHead
from viscy_models._components.stems import StemDepthtoChannels

PreConv = Literal["default"] | nn.Module | None


class VaeUpStage(nn.Module):
    """Enlarge a 2D feature map and refine it: (B, in_channels, H, W) to (B, out_channels, sH, sW).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    scale_factor : int
        Enlargement s of both sides.
    mode : {"deconv", "pixelshuffle"}
        A transposed convolution, or a rearrangement of ``in_channels // s**2 * s**2`` channels.
    conv_blocks : int
        Residual units after a pixel shuffle. A transposed convolution is always followed by one, and by a 1 x 1
        convolution.
    norm_name : {"batch", "instance"}
        Normalisation in the residual units.
    upsample_pre_conv : {"default"} or nn.Module or None
        Module before a pixel shuffle; ``"default"`` is MONAI's 3 x 3 convolution.

    Raises
    ------
    ValueError
        If the mode is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale_factor: int,
        mode: Literal["deconv", "pixelshuffle"],
        conv_blocks: int,
        norm_name: Literal["batch", "instance"],
        upsample_pre_conv: PreConv,
    ) -> None:
        super().__init__()

        def refine(width: int) -> nn.Module:
            return ResidualUnit(2, width, out_channels, norm=norm_name)

        if mode == "deconv":
            self.upsample = get_conv_layer(
                2, in_channels, out_channels, kernel_size=scale_factor, stride=scale_factor, is_transposed=True
            )
            self.conv = nn.Sequential(refine(out_channels), nn.Conv2d(out_channels, out_channels, kernel_size=1))
        elif mode == "pixelshuffle":
            shuffled = in_channels // scale_factor**2
            self.upsample = UpSample(
                2, in_channels, shuffled, scale_factor, mode=mode, pre_conv=upsample_pre_conv, apply_pad_pool=False
            )
            widths = [shuffled, *[out_channels] * (conv_blocks - 1)] if conv_blocks > 0 else []
            self.conv = nn.Sequential(*map(refine, widths))
        else:
            raise ValueError(f"mode={mode!r} is no way to upsample; use 'deconv' or 'pixelshuffle'")

    def forward(self, inp: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, sH, sW)."""
        inp = self.upsample(inp)  # (B, out_channels or in_channels // s**2, sH, sW)
        inp = self.conv(inp)  # (B, out_channels, sH, sW)
        return inp


class VaeEncoder(nn.Module):
    """Encode a stack as a normal distribution over latent codes, and draw one.

    Parameters
    ----------
    backbone : {"resnet50", "convnext_tiny"}
        Name of a ResNet or ConvNeXt model of timm, used for its last feature map: 2048 channels at 1/16 of the
        stem's output for resnet50, 768 at 1/8 for convnext_tiny and convnextv2_tiny.
    in_channels, in_stack_depth : int
        Channels and slices of the stack.
    latent_dim : int
        Width of the latent code.
    input_spatial_size : tuple[int, int]
        Height and width of the stack in pixels. The first linear layer is made for the feature map that follows
        from them.
    stem_kernel_size, stem_stride : tuple[int, int, int]
        Kernel and stride of the stem, (Z, Y, X).
    drop_path_rate : float
        Probability with which a residual branch is skipped in training.
    pretrained : bool
        Start the backbone from timm's ImageNet weights (downloaded by timm).

    Raises
    ------
    ValueError
        If the backbone is neither a ResNet nor a ConvNeXt, the stem cannot share out its channels, or the feature
        map would have no pixels.

    Notes
    -----
    Kept from the old class: the size of the feature map is computed by rounding down twice,
    ``side // stride // 16`` (or 8), while a ResNet rounds up as it goes. A resnet50 made for a side that 64 does not
    divide builds, and fails in `forward` unless both roundings agree. `encoder_spatial_size` is the height only.
    """

    def __init__(
        self,
        backbone: Literal["resnet50", "convnext_tiny"] = "resnet50",
        in_channels: int = 2,
        in_stack_depth: int = 16,
        latent_dim: int = 1024,
        input_spatial_size: tuple[int, int] = (256, 256),
        stem_kernel_size: tuple[int, int, int] = (2, 4, 4),
        stem_stride: tuple[int, int, int] = (2, 4, 4),
        drop_path_rate: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.latent_dim = backbone, latent_dim
        encoder = _feature_pyramid(backbone, drop_path_rate, pretrained)
        self.num_channels: list[int] = encoder.feature_info.channels()
        self.in_channels_encoder, self.out_channels_encoder = self.num_channels[0], self.num_channels[-1]
        height, width = _feature_map_size(input_spatial_size, stem_stride, 2 ** (len(self.num_channels) - 1))
        self.encoder_spatial_size = height

        self.stem = StemDepthtoChannels(
            in_channels, in_stack_depth, self.in_channels_encoder, stem_kernel_size, stem_stride
        )
        self.encoder = encoder
        self.fc = nn.Linear(self.out_channels_encoder * height * width, latent_dim)
        self.fc_mu = nn.Linear(latent_dim, latent_dim)
        self.fc_logvar = nn.Linear(latent_dim, latent_dim)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Draw from the normal distribution with this mean and log-variance, both (B, latent_dim)."""
        deviation = torch.exp(logvar / 2)
        return mu + torch.randn_like(deviation) * deviation

    def forward(self, x: Tensor) -> SimpleNamespace:
        """Encode a batch of stacks; draws in eval mode too.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth, Y, X).

        Returns
        -------
        SimpleNamespace
            ``mean``, ``log_covariance`` and ``z``, each (B, latent_dim).
        """
        x = self.stem(x)  # (B, 64 or 96, Y / 4, X / 4)
        x = self.encoder(x)[-1]  # (B, 2048 or 768, height, width)
        x = self.fc(x.flatten(1))  # (B, latent_dim)
        mean, log_covariance = self.fc_mu(x), self.fc_logvar(x)  # (B, latent_dim) each
        z = self.reparameterize(mean, log_covariance)  # (B, latent_dim)
        return SimpleNamespace(mean=mean, log_covariance=log_covariance, z=z)


class VaeDecoder(nn.Module):
    """Decode a latent code into a stack.

    Parameters
    ----------
    decoder_channels : Sequence[int]
        Channels of the feature map at the start and after each stage.
    latent_dim : int
        Width of the latent code.
    out_channels, out_stack_depth : int
        Channels and slices of the stack.
    head_expansion_ratio : int
        See `PixelToVoxelHead`, which also says what the last of `decoder_channels` must be.
    strides : Sequence[int]
        Enlargement in each stage; what is beyond the number of stages is not used.
    encoder_spatial_size : int
        Side of the square feature map at the start.
    head_pool : bool
        See `PixelToVoxelHead`.
    upsample_mode, conv_blocks, norm_name, upsample_pre_conv
        See `VaeUpStage`.

    Raises
    ------
    ValueError
        If the map at the start has no pixels, or more of them than the latent code has numbers.

    Notes
    -----
    The latent code is first mapped to the largest multiple of ``encoder_spatial_size**2`` that it holds, so that 250
    for a map of 2 x 2 becomes 248. The defaults build, but `forward` needs a last width divisible by
    ``4 * (out_stack_depth + 2)``, which 128 is not at depth 16.
    """

    def __init__(
        self,
        decoder_channels: Sequence[int] = (1024, 512, 256, 128),
        latent_dim: int = 1024,
        out_channels: int = 2,
        out_stack_depth: int = 16,
        head_expansion_ratio: int = 2,
        strides: Sequence[int] = (2, 2, 2, 1),
        encoder_spatial_size: int = 16,
        head_pool: bool = False,
        upsample_mode: Literal["deconv", "pixelshuffle"] = "pixelshuffle",
        conv_blocks: int = 2,
        norm_name: Literal["batch", "instance"] = "batch",
        upsample_pre_conv: PreConv = None,
    ) -> None:
        super().__init__()
        self.decoder_channels, self.latent_dim = decoder_channels, latent_dim
        self.out_channels, self.out_stack_depth = out_channels, out_stack_depth
        self.spatial_size = encoder_spatial_size
        self.spatial_channels = _latent_map_channels(latent_dim, encoder_spatial_size)

        first, last = decoder_channels[0], decoder_channels[-1]
        self.latent_reshape = nn.Linear(latent_dim, self.spatial_channels * encoder_spatial_size**2)
        self.latent_proj = nn.Conv2d(self.spatial_channels, first, kernel_size=1)
        self.decoder_stages = nn.ModuleList(
            VaeUpStage(before, after, strides[stage], upsample_mode, conv_blocks, norm_name, upsample_pre_conv)
            for stage, (before, after) in enumerate(pairwise(decoder_channels))
        )
        self.head = PixelToVoxelHead(last, out_channels, out_stack_depth, head_expansion_ratio, pool=head_pool)

    def forward(self, z: Tensor) -> Tensor:
        """Decode a batch of latent codes.

        Parameters
        ----------
        z : Tensor
            Latent codes (B, latent_dim).

        Returns
        -------
        Tensor
            Stacks (B, out_channels, out_stack_depth, side, side), where side is 4 * encoder_spatial_size times the
            strides of all stages.
        """
        side = self.spatial_size
        x: Tensor = self.latent_reshape(z)  # (B, spatial_channels * side * side)
        x = x.view(len(z), self.spatial_channels, side, side)  # (B, spatial_channels, side, side)
        x = self.latent_proj(x)  # (B, decoder_channels[0], side, side)
        for stage in self.decoder_stages:
            x = stage(x)  # (B, decoder_channels[i + 1], side * 2**(i + 1), side * 2**(i + 1))
        x = self.head(x)  # (B, out_channels, out_stack_depth, 4 * side', 4 * side')
        return x


class BetaVae25D(nn.Module):
    """Variational autoencoder of stacks that computes in 2D: `VaeEncoder`, then `VaeDecoder`.

    Parameters
    ----------
    backbone, in_channels, in_stack_depth, latent_dim, input_spatial_size, stem_kernel_size, stem_stride
        See `VaeEncoder`.
    out_stack_depth : int
        Slices of the reconstruction.
    drop_path_rate : float
        See `VaeEncoder`.
    decoder_stages : int
        Stages of the decoder, each of which doubles the sides.
    head_expansion_ratio, head_pool, upsample_mode, conv_blocks, norm_name, upsample_pre_conv
        See `VaeDecoder`.
    pretrained : bool
        See `VaeEncoder`.

    Raises
    ------
    ValueError
        As `VaeEncoder` and `VaeDecoder` do.

    Notes
    -----
    Let R be 16 for resnet50 and 8 for ConvNeXt, s the stride of the stem, and
    ``ss = input_spatial_size[0] // s // R``. The reconstruction is always a square of side
    ``ss * 2**(decoder_stages + 2)``, whatever was fed. These defects of the old class are kept, because mending them
    would move outputs under old weights:

    - it has the size of the input only if ``s * R == 2**(decoder_stages + 2)``: at stride 4, four stages with
      resnet50 and three with ConvNeXt. With the default of four, a ConvNeXt model doubles the sides; with three, a
      resnet50 model halves them (128 x 128 becomes 64 x 64).
    - the decoder looks at the height only: a model made for 128 x 256 returns 128 x 128.
    - sides that ``s * R`` does not divide are rounded down, and a model accepts every input whose feature map has
      the declared area: one made for 128 x 128 also takes 64 x 256, and returns 128 x 128.
    - slices beyond the last whole step of the stem are never read.

    Codes are drawn in eval mode too: seed before a forward pass to repeat it. A batch of one fails in train mode
    where a batch norm sees a single pixel (resnet50 at 64 x 64).
    """

    def __init__(
        self,
        backbone: Literal["resnet50", "convnext_tiny"] = "resnet50",
        in_channels: int = 2,
        in_stack_depth: int = 16,
        out_stack_depth: int = 16,
        latent_dim: int = 1024,
        input_spatial_size: tuple[int, int] = (256, 256),
        stem_kernel_size: tuple[int, int, int] = (2, 4, 4),
        stem_stride: tuple[int, int, int] = (2, 4, 4),
        drop_path_rate: float = 0.0,
        decoder_stages: int = 4,
        head_expansion_ratio: int = 2,
        head_pool: bool = False,
        upsample_mode: Literal["deconv", "pixelshuffle"] = "pixelshuffle",
        conv_blocks: int = 2,
        norm_name: Literal["batch", "instance"] = "batch",
        upsample_pre_conv: PreConv = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = VaeEncoder(
            backbone,
            in_channels,
            in_stack_depth,
            latent_dim,
            input_spatial_size,
            stem_kernel_size,
            stem_stride,
            drop_path_rate,
            pretrained,
        )
        deepest = self.encoder.out_channels_encoder
        halved = [deepest // 2**stage for stage in range(1, decoder_stages)]
        voxel_width = 4 * (out_stack_depth + 2) * in_channels * head_expansion_ratio
        self.decoder = VaeDecoder(
            [deepest, *halved, voxel_width],
            latent_dim,
            out_channels=in_channels,
            out_stack_depth=out_stack_depth,
            head_expansion_ratio=head_expansion_ratio,
            # one more than there are stages (and the only one where no stage is asked for)
            strides=[2] * decoder_stages + [1],
            encoder_spatial_size=self.encoder.encoder_spatial_size,
            head_pool=head_pool,
            upsample_mode=upsample_mode,
            conv_blocks=conv_blocks,
            norm_name=norm_name,
            upsample_pre_conv=upsample_pre_conv,
        )

    def forward(self, x: Tensor) -> SimpleNamespace:
        """Encode, draw and reconstruct a batch of stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth, Y, X).

        Returns
        -------
        SimpleNamespace
            ``recon_x`` (B, in_channels, out_stack_depth, side, side); ``mean``, ``logvar`` and ``z`` (B, latent_dim).
        """
        code = self.encoder(x)  # three times (B, latent_dim)
        recon_x = self.decoder(code.z)  # (B, in_channels, out_stack_depth, side, side)
        return SimpleNamespace(recon_x=recon_x, mean=code.mean, logvar=code.log_covariance, z=code.z)


def _feature_pyramid(backbone: str, drop_path_rate: float, pretrained: bool) -> Any:
    """Build a timm model that returns its feature maps, without the convolution made for RGB images."""
    if "convnext" in backbone:
        first_convolution = "stem_0"
    elif "resnet" in backbone:
        first_convolution = "conv1"
    else:
        raise ValueError(f"backbone={backbone!r} is neither a ConvNeXt nor a ResNet; use 'resnet50' or 'convnext_tiny'")
    encoder: Any = timm.create_model(backbone, pretrained=pretrained, features_only=True, drop_path_rate=drop_path_rate)
    setattr(encoder, first_convolution, nn.Identity())
    return encoder


def _feature_map_size(
    input_spatial_size: tuple[int, int], stem_stride: tuple[int, int, int], reduction: int
) -> tuple[int, int]:
    """Return height and width of the last feature map, rounded down at the stem and again at the backbone."""
    height = input_spatial_size[0] // stem_stride[1] // reduction
    width = input_spatial_size[1] // stem_stride[2] // reduction
    if 0 in (height, width):
        needed = (stem_stride[1] * reduction, stem_stride[2] * reduction)
        raise ValueError(
            f"input_spatial_size={tuple(input_spatial_size)} leaves a feature map of {height} x {width} pixels after "
            f"the stem's stride {tuple(stem_stride[1:])} and the backbone's {reduction}; "
            f"use an input_spatial_size of at least {needed}"
        )
    return height, width


def _latent_map_channels(latent_dim: int, side: int) -> int:
    """Return how many channels of a square map a latent code can fill."""
    if side == 0:
        raise ValueError("encoder_spatial_size=0 leaves no pixel to decode from; use 1 or more")
    if latent_dim < side**2:
        raise ValueError(
            f"latent_dim={latent_dim} cannot fill the {side} x {side} feature map that the decoder starts from; use a "
            f"latent_dim of at least {side**2}, or an encoder_spatial_size (in BetaVae25D: an input_spatial_size that "
            f"leaves a map of) at most {math.isqrt(latent_dim)}"
        )
    return latent_dim // side**2
