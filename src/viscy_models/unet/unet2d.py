"""U-Net in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from viscy_models._components.conv_blocks import ConvBlock2D


def filter_widths(num_blocks: int, num_filters: Sequence[int]) -> list[int]:
    """Return the channels at each level of a U-Net: those given, or 16 doubled at every level.

    Raises
    ------
    ValueError
        If there is no level to go down to, or another number of widths than of levels.
    """
    if num_blocks < 1:
        raise ValueError(f"num_blocks={num_blocks} leaves no level below the first; use 1 or more")
    if len(num_filters) not in (0, num_blocks + 1):
        raise ValueError(
            f"num_filters={list(num_filters)} are {len(num_filters)} widths for {num_blocks + 1} levels; "
            f"give {num_blocks + 1} of them, or none"
        )
    return list(num_filters) or [16 << level for level in range(num_blocks + 1)]


class Unet2d(nn.Module):
    """Translate or segment single slices: (B, in_channels, 1, H, W) to (B, out_channels, 1, H, W).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels that go in and come out.
    kernel_size : int or tuple[int, int]
        Odd kernel of all convolutions.
    residual : bool
        Residual blocks. The weights are the same ones either way, the outputs are not.
    dropout : float
        Kept for its place among the arguments: below 1 it does nothing, in the old class neither (it was cut down to an
        integer).
    num_blocks : int
        Halvings.
    num_block_layers : int
        Convolutions in each block.
    num_filters : Sequence[int]
        Channels at each level, ``num_blocks + 1`` of them; 16, 32, ... by default.
    task : {"seg", "reg"}
        ``"reg"`` ends with a convolution; anything else cuts its negative outputs off. No weight shows it.

    Raises
    ------
    ValueError
        If there is no level, a width is missing, or a kernel is even.

    Notes
    -----
    Sides must be multiples of ``2**num_blocks``. In train mode a single pixel at the lowest level fails with a batch of
    one.

    References
    ----------
    Ronneberger et al., "U-Net", arXiv 1505.04597; Zhang et al., "Deep Residual U-Net", arXiv 1711.10684.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        kernel_size: int | tuple[int, int] = (3, 3),
        residual: bool = False,
        dropout: float = 0.2,
        num_blocks: int = 4,
        num_block_layers: int = 2,
        num_filters: Sequence[int] = (),
        task: Literal["seg", "reg"] = "seg",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.num_blocks = in_channels, out_channels, num_blocks
        self.kernel_size, self.num_block_layers = kernel_size, num_block_layers
        self.residual, self.dropout, self.task = residual, dropout, task
        self.num_filters = filter_widths(num_blocks, num_filters)

        def block(width: int, wanted: int) -> ConvBlock2D:
            return ConvBlock2D(width, wanted, kernel_size, num_block_layers, dropout, residual)

        levels = [in_channels, *self.num_filters]
        *down, bottom = (block(*widths) for widths in pairwise(levels))
        for level, stage in enumerate(down):
            self.add_module(f"down_conv_block_{level}", stage)
        self.bottom_transition_block = bottom
        for step, (deep, shallow) in enumerate(pairwise(self.num_filters[::-1])):
            self.add_module(f"up_conv_block_{step}", block(deep + shallow, shallow))
        self.terminal_block = ConvBlock2D(
            levels[1], out_channels, kernel_size, 1, dropout, False, "linear" if task == "reg" else "relu", "none"
        )

    def forward(self, x: Tensor, validate_input: bool = False) -> Tensor:
        """Map slices to slices.

        Parameters
        ----------
        x : Tensor
            Slices (B, in_channels, 1, H, W).
        validate_input : bool
            Check first that the slices are square and have the right number of channels.

        Returns
        -------
        Tensor
            Slices (B, out_channels, 1, H, W).

        Raises
        ------
        ValueError
            If `validate_input` finds that they do not.
        """
        if validate_input:
            self._validate(x)
        x = x.squeeze(2)  # (B, in_channels, H, W)
        skips = []
        for level in range(self.num_blocks):
            skips.append(self.get_submodule(f"down_conv_block_{level}")(x))  # (B, filters[i], H / 2**i, W / 2**i)
            x = functional.avg_pool2d(skips[-1], 2)
        x = self.bottom_transition_block(x)  # (B, filters[-1], H / 2**n, W / 2**n)
        for step in range(self.num_blocks):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = torch.cat((x, skips.pop()), dim=1)
            x = self.get_submodule(f"up_conv_block_{step}")(x)  # (B, filters[-2 - i], ...)
        x = self.terminal_block(x)  # (B, out_channels, H, W)
        return x.unsqueeze(2)

    def _validate(self, x: Tensor) -> None:
        channels, height, width = x.shape[1], *x.shape[-2:]
        if height != width:
            raise ValueError(f"the input is {height} x {width}, and should be square")
        if channels != self.in_channels:
            count = "1 channel" if channels == 1 else f"{channels} channels"
            raise ValueError(f"the input has {count}, and the model takes {self.in_channels}")
