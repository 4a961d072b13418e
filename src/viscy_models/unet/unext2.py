"""UNeXt2: a ConvNeXt encoder and decoder in 2D between a 3D stem and a 3D head."""

from __future__ import annotations

from typing import Any, Literal

import timm
from torch import Tensor, nn

from viscy_models._components.decoder import UNeXt2Decoder
from viscy_models._components.heads import PixelToVoxelHead
from viscy_models._components.stems import UNeXt2Stem


class UNeXt2(nn.Module):
    """Translate a stack into another one, computing in 2D.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the stack that goes in and of the one that comes out.
    in_stack_depth : int
        Slices that go in, a multiple of the stem kernel's depth. The number of slabs should divide the width of the
        encoder's first map (96 for the tiny models).
    out_stack_depth : int, optional
        Slices that come out; as many as go in by default.
    backbone : str
        Name of a ConvNeXt model of timm (``"convnextv2_tiny"``).
    pretrained : bool
        Start the encoder from timm's ImageNet weights (downloaded by timm).
    stem_kernel_size : tuple[int, int, int]
        Kernel and stride of the stem, (Z, Y, X).
    decoder_mode : {"pixelshuffle"}
        See `viscy_models._components.decoder.UNeXt2UpStage`: the other mode of the old class never ran, and is
        refused.
    decoder_conv_blocks : int
        ConvNeXt V2 blocks in each stage of the decoder.
    decoder_norm_layer : str
        Not used (it belonged to the other decoder mode).
    decoder_upsample_pre_conv : bool
        Convolve before each pixel shuffle of the decoder.
    head_pool : bool
        Blur in the head, against checkerboard patterns. It has no weights, and changes outputs.
    head_expansion_ratio : int
        Hidden channels of the head for each of the ``4 * out_channels`` that are shuffled at its end.
    drop_path_rate : float
        Probability with which a residual branch of the encoder is skipped in training.

    Raises
    ------
    ValueError
        If `in_stack_depth` is no multiple of the kernel's depth; if no stack could give the encoder the width of its
        first map; if the backbone has no convolution that the stem can replace (ResNets), or `decoder_mode` is not
        known. All but the first built in the old class and failed in its `forward`.

    Notes
    -----
    With a stem kernel of k in xy, `forward` needs sides of which ``side // k`` is a multiple of 8, and returns sides of
    ``4 * (side // k)`` whatever k is. The old class did so too, and a change would move outputs under old weights:
    k = 2 doubles the sides, k = 8 halves them, and a remainder of ``side / k`` is cut off (34 becomes 32 at k = 4).
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        in_stack_depth: int = 5,
        out_stack_depth: int | None = None,
        backbone: str = "convnextv2_tiny",
        pretrained: bool = False,
        stem_kernel_size: tuple[int, int, int] = (5, 4, 4),
        decoder_mode: Literal["deconv", "pixelshuffle"] = "pixelshuffle",
        decoder_conv_blocks: int = 2,
        decoder_norm_layer: str = "instance",
        decoder_upsample_pre_conv: bool = False,
        head_pool: bool = False,
        head_expansion_ratio: int = 4,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        _check_depth(in_stack_depth, stem_kernel_size[0])
        self.out_stack_depth = in_stack_depth if out_stack_depth is None else out_stack_depth
        self.encoder_stages = _feature_maps(backbone, pretrained, drop_path_rate)
        widths: list[int] = self.encoder_stages.feature_info.channels()
        _check_slabs(in_stack_depth, stem_kernel_size[0], widths[0])
        self.stem = UNeXt2Stem(in_channels, widths[0], stem_kernel_size, in_stack_depth)

        last = 4 * (self.out_stack_depth + 2) * out_channels * head_expansion_ratio
        self.decoder = UNeXt2Decoder(
            [*widths[:0:-1], last],
            decoder_norm_layer,
            decoder_mode,  # type: ignore[arg-type]  # the stage says why the other mode is refused
            decoder_conv_blocks,
            strides=[2] * (len(widths) - 1),
            upsample_pre_conv="default" if decoder_upsample_pre_conv else None,
        )
        self.head = PixelToVoxelHead(last, out_channels, self.out_stack_depth, head_expansion_ratio, pool=head_pool)

    @property
    def num_blocks(self) -> int:
        """Halvings that prediction pads for: inputs are padded to multiples of 64, though 32 would do at k = 4."""
        return 6

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch of stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth, Y, X).

        Returns
        -------
        Tensor
            Stacks (B, out_channels, out_stack_depth, 4 * (Y // k), 4 * (X // k)).
        """
        flat = self.stem(x)  # (B, 96, Y / k, X / k)
        maps = self.encoder_stages(flat)  # (B, 96, Y / k, X / k), ..., (B, 768, Y / 8k, X / 8k)
        decoded = self.decoder(maps[::-1])  # (B, last, Y / k, X / k)
        translated: Tensor = self.head(decoded)  # (B, out_channels, out_stack_depth, 4Y / k, 4X / k)
        return translated


def _feature_maps(backbone: str, pretrained: bool, drop_path_rate: float) -> Any:
    """Build a timm model that returns its feature maps, without the convolution made for RGB images."""
    encoder: Any = timm.create_model(backbone, features_only=True, drop_path_rate=drop_path_rate, pretrained=pretrained)
    if not hasattr(encoder, "stem_0"):
        raise ValueError(
            f"backbone={backbone!r} has no convolution that the stem can replace, so that it would be fed twice; "
            "use a ConvNeXt, such as 'convnextv2_tiny'"
        )
    encoder.stem_0 = nn.Identity()
    return encoder


def _check_depth(depth: int, kernel: int) -> None:
    if depth % kernel:
        below = depth // kernel * kernel
        near = f"{below} or {below + kernel}" if below else f"{kernel}"
        raise ValueError(
            f"in_stack_depth={depth} is not divisible by the stem kernel's depth {kernel}; use {near}, "
            f"or another stem_kernel_size"
        )


def _check_slabs(depth: int, kernel: int, width: int) -> None:
    """Refuse stems from which no stack whatever gives the width that the encoder needs."""
    slabs = depth // kernel
    channels = width // slabs if slabs else width
    if channels == 0 or width % channels:
        works = ", ".join(str(count * kernel) for count in range(1, slabs) if width % count == 0)
        raise ValueError(
            f"in_stack_depth={depth} with a stem kernel of depth {kernel} makes {slabs} slabs, among which the {width} "
            f"channels of the encoder cannot be shared out; lower depths that work: {works}"
        )
