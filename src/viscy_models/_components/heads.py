"""Heads that turn the last 2D feature map of a decoder into a 3D stack."""

from __future__ import annotations

from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import UpSample
from torch import Tensor, nn

from viscy_models._components.blocks import icnr_init


class PixelToVoxelHead(nn.Module):
    """Turn channels into depth and enlarge four times: (B, C, H, W) to (B, out_channels, out_stack_depth, 4H, 4W).

    Two pixel shuffles enlarge twice each. Between them the channels are read as a stack with one slice to spare on
    either side, which the 3x3x3 convolution, unpadded along Z, uses up.

    Parameters
    ----------
    in_channels : int
        Channels of the feature map. `forward` needs a multiple of ``4 * (out_stack_depth + 2)``; usually
        ``4 * (out_stack_depth + 2) * out_channels * expansion_ratio``.
    out_channels : int
        Channels of the stack.
    out_stack_depth : int
        Slices of the stack.
    expansion_ratio : int
        Hidden channels of the 3D convolutions for each of the ``4 * out_channels`` that are shuffled at the end.
    pool : bool
        Blur after the first shuffle (a padded 2 x 2 average), against checkerboard patterns.

    Raises
    ------
    ValueError
        If the 3D convolutions would have no hidden channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        out_stack_depth: int,
        expansion_ratio: int,
        pool: bool,
    ) -> None:
        super().__init__()
        shuffled, voxels = in_channels // 4, out_channels * 4
        hidden = voxels * expansion_ratio
        padded_depth = out_stack_depth + 2
        if hidden == 0:
            raise ValueError(
                f"out_channels={out_channels} and expansion_ratio={expansion_ratio} leave no channel between the two "
                f"convolutions of the head; use 1 or more of both"
            )
        self.upsample = UpSample(
            2, in_channels, shuffled, scale_factor=2, mode="pixelshuffle", pre_conv=None, apply_pad_pool=pool
        )
        mix = Convolution(3, shuffled // padded_depth, hidden, kernel_size=3, padding=(0, 1, 1))
        spread = nn.Conv3d(hidden, voxels, kernel_size=1)
        icnr_init(spread, upsample_factor=2, upsample_dims=2)
        self.conv = nn.Sequential(mix, spread)
        self.out = nn.PixelShuffle(2)
        self.out_stack_depth = out_stack_depth

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, out_stack_depth, 4H, 4W)."""
        x = self.upsample(x)  # (B, C / 4, 2H, 2W)
        depth = self.out_stack_depth + 2
        x = x.reshape(len(x), x.size(1) // depth, depth, *x.shape[2:])  # (B, C / 4 / depth, depth, 2H, 2W)
        x = self.conv(x)  # (B, 4 * out_channels, D, 2H, 2W)
        x = self.out(x.transpose(1, 2))  # (B, D, out_channels, 4H, 4W)
        return x.transpose(1, 2)  # (B, out_channels, D, 4H, 4W)


class UnsqueezeHead(nn.Module):
    """Give a 2D map a depth of one: (B, C, H, W) to (B, C, 1, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 1, H, W)."""
        return x.unsqueeze(2)
