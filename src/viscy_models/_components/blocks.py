"""Initialisation of the convolutions that feed a pixel shuffle."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def icnr_init(
    conv: nn.Conv2d | nn.Conv3d,
    upsample_factor: int,
    upsample_dims: int,
    init: Callable[[Tensor], Tensor] = nn.init.kaiming_normal_,
) -> None:
    """Start a sub-pixel convolution as a nearest-neighbour upsampling, so that it draws no checkerboard (ICNR).

    One kernel is drawn for each group of output channels that a pixel shuffle spreads over one output pixel, and
    every channel of the group starts with it. The bias stays as it is.

    Parameters
    ----------
    conv : nn.Conv2d or nn.Conv3d
        The convolution before the shuffle, weight (C_out, C_in, *kernel); changed in place.
    upsample_factor : int
        Factor of the shuffle along one axis.
    upsample_dims : int
        Number of axes that the shuffle enlarges; may be less than those of the kernel. A group has
        ``upsample_factor ** upsample_dims`` channels.
    init : Callable[[Tensor], Tensor]
        Fills a zero tensor (C_out / group, C_in, *kernel) in place and returns it.

    Raises
    ------
    RuntimeError
        If the group does not divide C_out.

    References
    ----------
    Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv 1707.02937.
    """
    group = upsample_factor**upsample_dims
    c_out, *rest = conv.weight.shape
    drawn = init(torch.zeros(c_out // group, *rest))  # (C_out / group, C_in, *kernel)
    with torch.no_grad():
        conv.weight.copy_(drawn.repeat_interleave(group, dim=0))  # (C_out, C_in, *kernel)
