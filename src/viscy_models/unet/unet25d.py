"""U-Net in 2.5 dimensions: a stack goes in, fewer slices come out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from viscy_models._components.conv_blocks import ConvBlock3D
from viscy_models.unet.unet2d import filter_widths

_HALF = (1, 2, 2)


class Unet25d(nn.Module):
    """Translate or segment stacks, losing slices on the way from the encoder to the decoder.

    The encoder convolves in 3D. Each skip connection, and the lowest level, ends in a convolution along Z that leaves
    `out_stack_depth` slices; the decoder convolves each slice by itself.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels that go in and come out.
    in_stack_depth, out_stack_depth : int
        Slices that go in and come out. Only their difference makes the model: (7, 3) and (5, 1) are the same one.
    xy_kernel_size : tuple[int, int]
        Odd kernel of the blocks, (Y, X).
    residual : bool
        Residual blocks. The weights are the same ones either way, the outputs are not.
    dropout : float
        Probability with which a channel is dropped in training, at most 0.5.
    num_blocks : int
        Halvings.
    num_block_layers : int
        Convolutions in each block.
    num_filters : Sequence[int]
        Channels at each level, ``num_blocks + 1`` of them; 16, 32, ... by default.
    task : {"seg", "reg"}
        ``"reg"`` ends with a convolution; anything else adds a ReLU and a batch norm.

    Raises
    ------
    ValueError
        If more slices should come out than go in, there is no level, a width is missing, a kernel is even, or the
        dropout lies beyond its bounds.

    Notes
    -----
    Y and X must be multiples of ``2**num_blocks``.

    References
    ----------
    Guo et al., "Revealing architectural order with quantitative label-free imaging and deep learning", eLife 55502.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        in_stack_depth: int = 5,
        out_stack_depth: int = 1,
        xy_kernel_size: tuple[int, int] = (3, 3),
        residual: bool = False,
        dropout: float = 0.2,
        num_blocks: int = 4,
        num_block_layers: int = 2,
        num_filters: Sequence[int] = (),
        task: Literal["seg", "reg"] = "seg",
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 0.5:
            raise ValueError(f"dropout={dropout} is not between 0 and 0.5; use a value between them")
        self.in_channels, self.num_blocks, self.kernel_size = in_channels, num_blocks, xy_kernel_size
        self.residual, self.dropout, self.task = residual, dropout, task
        self.num_filters = filter_widths(num_blocks, num_filters)
        shrink = (_depth_kernel(in_stack_depth, out_stack_depth), 1, 1)

        def block(width: int, wanted: int, kernel_depth: int) -> ConvBlock3D:
            kernel = (kernel_depth, xy_kernel_size[0], xy_kernel_size[1])
            return ConvBlock3D(width, wanted, kernel, num_block_layers, dropout, residual)

        *widths, deepest = self.num_filters
        for level, (width, wanted) in enumerate(pairwise([in_channels, *widths])):
            self.add_module(f"down_conv_block_{level}", block(width, wanted, kernel_depth=3))
        self.bottom_transition_block = nn.Conv3d(widths[-1], deepest, shrink)
        for step, (deep, shallow) in enumerate(pairwise(self.num_filters[::-1])):
            self.add_module(f"up_conv_block_{step}", block(deep + shallow, shallow, kernel_depth=1))
        for level, width in enumerate(widths):
            self.add_module(f"skip_conv_layer_{level}", nn.Conv3d(width, width, shrink))
        self.terminal_block = _terminal_block(widths[0], out_channels, dropout, task)

    def forward(self, x: Tensor) -> Tensor:
        """Map stacks to stacks.

        Parameters
        ----------
        x : Tensor
            Stacks (B, in_channels, in_stack_depth, Y, X).

        Returns
        -------
        Tensor
            Stacks (B, out_channels, out_stack_depth, Y, X); another depth that goes in comes out as many slices less.
        """
        encoded = []
        for level in range(self.num_blocks):
            encoded.append(self.get_submodule(f"down_conv_block_{level}")(x))  # (B, filters[i], D, Y / 2**i, X / 2**i)
            x = functional.avg_pool3d(encoded[-1], _HALF)
        x = self.bottom_transition_block(x)  # (B, filters[-1], d, Y / 2**n, X / 2**n)
        skips = [self.get_submodule(f"skip_conv_layer_{level}")(skip) for level, skip in enumerate(encoded)]
        for step in range(self.num_blocks):
            x = functional.interpolate(x, scale_factor=_HALF_UP, mode="trilinear", align_corners=False)
            x = torch.cat((x, skips.pop()), dim=1)
            x = self.get_submodule(f"up_conv_block_{step}")(x)  # (B, filters[-2 - i], d, ...)
        x = self.terminal_block(x)  # (B, out_channels, d, Y, X)
        return x


_HALF_UP = (1.0, 2.0, 2.0)


def _depth_kernel(in_stack_depth: int, out_stack_depth: int) -> int:
    """Return the kernel along Z that leaves as many slices as asked for."""
    if out_stack_depth > in_stack_depth:
        raise ValueError(
            f"out_stack_depth={out_stack_depth} is more than in_stack_depth={in_stack_depth}, and the model can only "
            f"take slices away; use {in_stack_depth} or less"
        )
    return in_stack_depth - out_stack_depth + 1


def _terminal_block(width: int, out_channels: int, dropout: float, task: str) -> ConvBlock3D:
    kernel = (1, 3, 3)
    if task == "reg":
        return ConvBlock3D(width, out_channels, kernel, 1, residual=False, activation="linear", norm="none")
    return ConvBlock3D(width, out_channels, kernel, 1, dropout, residual=False)
