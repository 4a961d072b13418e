"""Fully convolutional masked autoencoder of ConvNeXt V2 blocks, for stacks and for single slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks.upsample import UpSample
from timm.layers.drop import DropPath
from timm.layers.mlp import GlobalResponseNormMlp
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from viscy_models._components.decoder import UNeXt2Decoder, init_convnext_weights
from viscy_models._components.heads import PixelToVoxelHead


def generate_mask(target: Sequence[int], stride: int, mask_ratio: float, device: torch.device | str) -> Tensor:
    """Draw which patches are masked, for each sample as many as the ratio says (rounded down).

    Parameters
    ----------
    target : Sequence[int]
        Shape whose first number is the batch and whose last two are height and width in pixels.
    stride : int
        Side of a patch in pixels.
    mask_ratio : float
        Share of patches to mask, between 0 and 1.
    device : torch.device or str
        Where to draw.

    Returns
    -------
    Tensor
        True where masked, bool (B, 1, height // stride, width // stride).
    """
    batch, rows, columns = target[0], target[-2] // stride, target[-1] // stride
    patches = rows * columns
    order = torch.rand(batch, patches, device=device).argsort(dim=1)  # (B, patches)
    return (order < int(patches * mask_ratio)).view(batch, 1, rows, columns)


def upsample_mask(mask: Tensor, target: Sequence[int]) -> Tensor:
    """Repeat the pixels of a mask (B, 1, h, w) until it has the sides of a target shape (..., H, W).

    Raises
    ------
    ValueError
        If an axis of the target is no multiple of that of the mask.
    """
    if tuple(target[-2:]) == tuple(mask.shape[-2:]):
        return mask
    if any(wanted % have for wanted, have in zip(target, mask.shape, strict=False)):
        raise ValueError(
            f"a mask {tuple(mask.shape)} cannot be enlarged to {tuple(target)}: feed sides that are multiples of the "
            "model's total stride"
        )
    for axis in (-2, -1):
        mask = mask.repeat_interleave(target[axis] // mask.shape[axis], dim=axis)
    return mask


def masked_patchify(features: Tensor, unmasked: Tensor | None = None) -> Tensor:
    """List the pixels of a map (B, C, H, W) that are not masked: (B, pixels, C), all of them without a mask."""
    if unmasked is None:
        return features.flatten(2).transpose(1, 2)  # (B, H * W, C)
    kept = features.movedim(1, -1)[unmasked.squeeze(1)]  # (B * pixels, C)
    return kept.reshape(len(features), -1, features.shape[1])


def masked_unpatchify(features: Tensor, out_shape: Sequence[int], unmasked: Tensor | None = None) -> Tensor:
    """Put listed pixels (B, pixels, C) back into a map of a shape (B, C, H, W), with zeros where it is masked."""
    batch, channels, height, width = out_shape
    if unmasked is None:
        return features.transpose(1, 2).reshape(batch, channels, height, width)
    canvas = features.new_zeros(batch, height, width, channels)
    canvas[unmasked.squeeze(1)] = features.flatten(0, 1)
    return canvas.movedim(-1, 1)


class MaskedConvNeXtV2Block(nn.Module):
    """ConvNeXt V2 block that computes on unmasked pixels only: (B, channels, H, W) to the same.

    Parameters
    ----------
    channels : int
        Channels of the map.
    drop_path : float
        Probability with which the residual branch is skipped in training.
    """

    def __init__(self, channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels, bias=False)
        self.layernorm = nn.LayerNorm(channels)
        self.mlp = GlobalResponseNormMlp(channels, hidden_features=4 * channels, out_features=channels)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Refine a map; `unmasked` (B, 1, H, W) is True where it is to be seen. Masks `x` in place."""
        if unmasked is not None:
            x *= unmasked  # in place, since old callers may rely on it
        branch = self.dwconv(x)  # (B, C, H, W)
        if unmasked is not None:
            branch = branch * unmasked
        pixels = self.layernorm(masked_patchify(branch, unmasked))  # (B, L, C)
        pixels = self.mlp(pixels[:, None])[:, 0]  # the response norm wants two axes of pixels: (B, 1, L, C)
        residual: Tensor = self.drop_path(masked_unpatchify(pixels, branch.shape, unmasked))
        return residual + x


class MaskedConvNeXtV2Stage(nn.Module):
    """A strided convolution, then blocks: (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    stride : int
        Kernel and stride of the convolution. There is none where neither size nor width changes.
    num_blocks : int
        Blocks.
    drop_path_rate : float
        See `MaskedConvNeXtV2Block`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 2, num_blocks: int = 2, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            halve = nn.Conv2d(in_channels, out_channels, kernel_size=stride, stride=stride)
            self.downsample = nn.Sequential(LayerNorm2d(in_channels), halve)
        self.blocks = nn.ModuleList(MaskedConvNeXtV2Block(out_channels, drop_path_rate) for _ in range(num_blocks))

    def forward(self, x: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Refine a map; `unmasked` is a mask (B, 1, h, w) whose sides divide those of the result."""
        x = self.downsample(x)  # (B, out_channels, H / stride, W / stride)
        if unmasked is not None:
            unmasked = upsample_mask(unmasked, x.shape)  # (B, 1, H / stride, W / stride)
        for block in self.blocks:
            x = block(x, unmasked)
        return x


class MaskedAdaptiveProjection(nn.Module):
    """Stem that takes stacks and single slices alike: (B, in_channels, Z, Y, X) to (B, out_channels, Y / k, X / k).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the stack and of the map.
    kernel_size : Sequence[int]
        Kernel and stride, (Z, Y, X).
    in_stack_depth : int
        Slices of a stack. A single slice goes through a 2D convolution of its own.

    Raises
    ------
    ValueError
        If the stack is shallower than the kernel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sequence[int] = (5, 4, 4), in_stack_depth: int = 5
    ) -> None:
        super().__init__()
        depth, height, width = kernel_size
        slabs = in_stack_depth // depth
        if slabs == 0:
            raise ValueError(
                f"in_stack_depth={in_stack_depth} is less than the depth {depth} of the stem kernel; use {depth} or "
                "more, or a shallower stem_kernel_size"
            )
        self.conv3d = nn.Conv3d(in_channels, out_channels // slabs, (depth, height, width), (depth, height, width))
        self.conv2d = nn.Conv2d(in_channels, out_channels, (height, width), (height, width))
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor, unmasked: Tensor | None = None) -> Tensor:
        """Project stacks; patches do not overlap, so masking afterwards is as good as before."""
        if x.shape[2] == 1:
            x = self.conv2d(x.squeeze(2))  # (B, out_channels, Y / k, X / k)
        else:
            x = self.conv3d(x).flatten(1, 2)  # depth becomes channels
        if unmasked is not None:
            unmasked = upsample_mask(unmasked, x.shape)
        pixels = self.norm(masked_patchify(x, unmasked))  # (B, L, out_channels)
        return masked_unpatchify(pixels, x.shape, unmasked)


class MaskedMultiscaleEncoder(nn.Module):
    """A stem and stages, each of which halves the sides but for the first; returns the map of every stage.

    Parameters
    ----------
    in_channels : int
        Channels of the stack.
    stage_blocks, dims : Sequence[int]
        Blocks and channels of each stage; widths without blocks are left out, as they always were.
    drop_path_rate : float
        See `MaskedConvNeXtV2Block`; the same for all blocks.
    stem_kernel_size, in_stack_depth
        See `MaskedAdaptiveProjection`.

    Raises
    ------
    ValueError
        Where there are more stages than widths (an IndexError in the old class).
    """

    def __init__(
        self,
        in_channels: int,
        stage_blocks: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        drop_path_rate: float = 0.0,
        stem_kernel_size: Sequence[int] = (5, 4, 4),
        in_stack_depth: int = 5,
    ) -> None:
        super().__init__()
        if len(stage_blocks) > len(dims):
            raise ValueError(
                f"stage_blocks={tuple(stage_blocks)} has more stages than dims={tuple(dims)}; give a width for each"
            )
        self.stem = MaskedAdaptiveProjection(in_channels, dims[0], stem_kernel_size, in_stack_depth)
        widths = pairwise([dims[0], *dims])
        self.stages = nn.ModuleList(
            MaskedConvNeXtV2Stage(before, after, 2 if stage else 1, blocks, drop_path_rate)
            for stage, (blocks, (before, after)) in enumerate(zip(stage_blocks, widths, strict=False))
        )
        self.total_stride = stem_kernel_size[1] << (len(self.stages) - 1)
        self.apply(init_convnext_weights)

    def forward(self, x: Tensor, mask_ratio: float = 0.0) -> tuple[list[Tensor], Tensor | None]:
        """Encode stacks (B, in_channels, Z, Y, X), some patches masked.

        Returns
        -------
        tuple[list[Tensor], Tensor or None]
            Feature maps, finest first, and the mask (B, 1, Y, X), True where masked; None where nothing is masked.
        """
        mask = unmasked = None
        if mask_ratio > 0:
            coarse = generate_mask(x.shape, self.total_stride, mask_ratio, x.device)  # (B, 1, Y / 32, X / 32)
            mask, unmasked = upsample_mask(coarse, (len(x), 1, *x.shape[-2:])), ~coarse
        x = self.stem(x)  # (B, dims[0], Y / k, X / k)
        features = []
        for stage in self.stages:
            x = stage(x, unmasked=unmasked)  # (B, dims[i], Y / k / 2**i, X / k / 2**i)
            features.append(x)
        return features, mask


class PixelToVoxelShuffleHead(nn.Module):
    """Spread channels over depth and pixels, without weights: (B, C, H, W) to (B, out_channels, D, sH, sW).

    Parameters
    ----------
    in_channels : int
        Channels of the map: ``out_channels * out_stack_depth * xy_scaling**2``.
    out_channels, out_stack_depth : int
        Channels and slices D of the stack.
    xy_scaling : int
        Enlargement s of both sides.
    pool : bool
        Blur afterwards, against checkerboard patterns.
    """

    def __init__(
        self, in_channels: int, out_channels: int, out_stack_depth: int = 5, xy_scaling: int = 4, pool: bool = False
    ) -> None:
        super().__init__()
        self.out_channels, self.out_stack_depth = out_channels, out_stack_depth
        planes = out_stack_depth * out_channels
        self.upsample = UpSample(
            2, in_channels, planes, xy_scaling, mode="pixelshuffle", pre_conv=None, apply_pad_pool=pool
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, out_stack_depth, sH, sW)."""
        planes: Tensor = self.upsample(x)  # (B, out_channels * D, sH, sW)
        return planes.reshape(len(planes), self.out_channels, self.out_stack_depth, *planes.shape[2:])


class FullyConvolutionalMAE(nn.Module):
    """Reconstruct or translate stacks; for pretraining, some patches are masked.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the stack that goes in and of the one that comes out.
    encoder_blocks, dims : Sequence[int]
        Blocks and channels of each stage of the encoder; each width is twice the one before.
    encoder_drop_path_rate : float
        Probability with which a residual branch of the encoder is skipped in training.
    stem_kernel_size : Sequence[int]
        Kernel and stride of the stem, (Z, Y, X).
    in_stack_depth : int
        Slices that go in and come out. A single slice may be fed in any case, and comes out as `in_stack_depth`.
    decoder_conv_blocks : int
        ConvNeXt V2 blocks in each stage of the decoder.
    pretraining : bool
        Whether `forward` returns the mask as well.
    head_conv : bool
        End with convolutions in 3D, which enlarge four times, instead of a pixel shuffle alone.
    head_conv_expansion_ratio : int
        Hidden channels of those convolutions for each of the ``4 * out_channels`` that are shuffled at the end.
    head_conv_pool : bool
        Blur between them. It has no weights, and changes outputs. (The other head always blurs.)

    Raises
    ------
    ValueError
        If the stack is shallower than the stem kernel, there are not as many `encoder_blocks` as `dims`, a width is
        not twice the one before, the first width is odd, or the last decoder stage cannot feed a pixel shuffle
        (``out_channels * in_stack_depth * k**2`` is no multiple of 4, for an odd kernel k).

    Notes
    -----
    Kept from the old class: `forward` needs sides of which ``side // k`` is a multiple of ``2**(len(dims) - 1)``, and
    returns ``k * (side // k)``, or ``4 * (side // k)`` with `head_conv`. Slices beyond the last whole stem kernel are
    never read. With ``in_channels != out_channels``, the width before the convolutions of the head follows the former.

    References
    ----------
    Woo et al., "ConvNeXt V2: Co-designing and scaling ConvNets with masked autoencoders", arXiv 2301.00808.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        encoder_blocks: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        encoder_drop_path_rate: float = 0.0,
        stem_kernel_size: Sequence[int] = (5, 4, 4),
        in_stack_depth: int = 5,
        decoder_conv_blocks: int = 1,
        pretraining: bool = True,
        head_conv: bool = False,
        head_conv_expansion_ratio: int = 4,
        head_conv_pool: bool = True,
    ) -> None:
        super().__init__()
        _check_stages(encoder_blocks, dims)
        scale = stem_kernel_size[-1]
        self.out_stack_depth, self.pretraining = in_stack_depth, pretraining
        self.num_blocks = len(dims) * int(math.log2(scale))
        self.encoder = MaskedMultiscaleEncoder(
            in_channels, encoder_blocks, dims, encoder_drop_path_rate, stem_kernel_size, in_stack_depth
        )
        if head_conv:
            last = 4 * (in_stack_depth + 2) * in_channels * head_conv_expansion_ratio
        else:
            last = out_channels * in_stack_depth * scale**2
        self.decoder = UNeXt2Decoder(
            [*dims[:0:-1], last], "instance", "pixelshuffle", decoder_conv_blocks, [2] * len(dims), None
        )
        self.head: nn.Module
        if head_conv:
            self.head = PixelToVoxelHead(last, out_channels, in_stack_depth, head_conv_expansion_ratio, head_conv_pool)
        else:
            self.head = PixelToVoxelShuffleHead(last, out_channels, in_stack_depth, scale, pool=True)

    def forward(self, x: Tensor, mask_ratio: float = 0.0) -> Tensor | tuple[Tensor, Tensor | None]:
        """Reconstruct or translate a batch of stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth or 1, Y, X).
        mask_ratio : float
            Share of patches to mask.

        Returns
        -------
        Tensor or tuple[Tensor, Tensor or None]
            Stacks (B, out_channels, in_stack_depth, Y, X); for pretraining also the mask (B, 1, Y, X), True where
            masked, or None where nothing is.
        """
        maps, mask = self.encoder(x, mask_ratio)
        decoded = self.decoder(maps[::-1])  # (B, last, Y / k, X / k)
        result: Tensor = self.head(decoded)  # (B, out_channels, in_stack_depth, Y, X)
        return (result, mask) if self.pretraining else result


def _check_stages(blocks: Sequence[int], dims: Sequence[int]) -> None:
    if len(blocks) != len(dims) or not dims:
        raise ValueError(
            f"encoder_blocks={tuple(blocks)} and dims={tuple(dims)} are not equally many; give one of each for a stage"
        )
    doubled = tuple(dims[0] << stage for stage in range(len(dims)))
    if tuple(dims) != doubled or (len(dims) > 1 and dims[0] % 2):
        raise ValueError(
            f"dims={tuple(dims)} cannot be joined by the decoder, in which each width is twice the one before and the "
            f"first is even; use {tuple((dims[0] + dims[0] % 2) << stage for stage in range(len(dims)))}"
        )
