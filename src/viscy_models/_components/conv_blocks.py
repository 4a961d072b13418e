"""The convolutional blocks of the 2D and 2.5D U-Nets."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "linear"]
Norm = Literal["batch", "none"]


class _ConvBlock(nn.Module):
    """Repeat convolution, dropout, activation and norm; add the input at the end if the block is residual.

    The 1 x 1 convolution of the residual path is there in any case, since its weights are in every state dict; it is
    used where a residual block has fewer channels out than in. Where it has more, the input gets channels of zeros in
    front.
    """

    convolution: type[Any]
    batch_norm: type[nn.BatchNorm2d | nn.BatchNorm3d]
    spatial_dims: int

    def __init__(
        self,
        in_filters: int,
        out_filters: int,
        kernel_size: int | tuple[int, ...],
        padding: str | int,
        num_repeats: int,
        residual: bool,
        activation: Activation,
        norm: Norm,
    ) -> None:
        super().__init__()
        _check_odd(kernel_size)
        self.in_filters, self.out_filters = in_filters, out_filters
        self.kernel_size, self.num_repeats = kernel_size, num_repeats
        self.residual, self.activation, self.norm = residual, activation, norm
        # the norms come first: the order of the state dict and of random draws
        for step in range(num_repeats if norm == "batch" else 0):
            self.add_module(f"batch_norm_{step}", self.batch_norm(out_filters))
        width = in_filters
        for step in range(num_repeats):
            self.add_module(self._name(step), self.convolution(width, out_filters, kernel_size, padding=padding))
            width = out_filters
        self.resid_conv = self.convolution(in_filters, out_filters, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_filters, ...) to (B, out_filters, ...), the sides unchanged."""
        result = x
        for step in range(self.num_repeats):
            result = self._drop(step, self._convolve(step, result))  # (B, out_filters, ...)
            if self.activation == "relu":
                result = torch.relu(result)
            if self.norm == "batch":
                result = self.get_submodule(f"batch_norm_{step}")(result)
        return self._matched(x) + result if self.residual else result

    def _name(self, step: int) -> str:
        return f"{self.convolution.__name__}_{step}"

    def _convolve(self, step: int, x: Tensor) -> Tensor:
        result: Tensor = self.get_submodule(self._name(step))(x)
        return result

    def _drop(self, step: int, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _matched(self, x: Tensor) -> Tensor:
        """Give the input as many channels as the result has."""
        added = self.out_filters - self.in_filters
        if added < 0:
            narrowed: Tensor = self.resid_conv(x)  # (B, out_filters, ...)
            return narrowed
        # pad counts from the last axis, two numbers an axis
        return functional.pad(x, (0, 0) * self.spatial_dims + (added, 0)) if added else x


class ConvBlock2D(_ConvBlock):
    """Block of `Unet2d`: (B, in_filters, H, W) to (B, out_filters, H, W).

    Parameters
    ----------
    in_filters, out_filters : int
        Channels before and after.
    kernel_size : int or tuple[int, int]
        Odd kernel of the convolutions.
    num_repeats : int
        Convolutions.
    dropout : float
        Kept from the old class, which cuts it down to an integer: below 1 nothing is dropped, and from 1 on every
        channel is, in eval mode too.
    residual : bool
        Add the input to the result.
    activation : {"relu", "linear"}
        After each convolution.
    norm : {"batch", "none"}
        After each activation.

    Raises
    ------
    ValueError
        If a side of the kernel is even.
    """

    convolution, batch_norm, spatial_dims = nn.Conv2d, nn.BatchNorm2d, 2

    def __init__(
        self,
        in_filters: int,
        out_filters: int,
        kernel_size: int | tuple[int, int] = 3,
        num_repeats: int = 3,
        dropout: float = 0.0,
        residual: bool = True,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__(in_filters, out_filters, kernel_size, "same", num_repeats, residual, activation, norm)
        self.dropout = dropout

    def _drop(self, step: int, x: Tensor) -> Tensor:
        return functional.dropout2d(x, float(int(self.dropout)))


class ConvBlock3D(_ConvBlock):
    """Block of `Unet25d`: (B, in_filters, Z, Y, X) to (B, out_filters, Z, Y, X).

    Parameters
    ----------
    in_filters, out_filters : int
        Channels before and after.
    kernel_size : tuple[int, int, int]
        Odd kernel of the convolutions, (Z, Y, X).
    num_repeats : int
        Convolutions.
    dropout : float
        Probability with which a channel is dropped in training, after each convolution.
    residual : bool
        Add the input to the result.
    activation : {"relu", "linear"}
        After each convolution.
    norm : {"batch", "none"}
        After each activation.

    Raises
    ------
    ValueError
        If a side of the kernel is even.
    """

    convolution, batch_norm, spatial_dims = nn.Conv3d, nn.BatchNorm3d, 3

    def __init__(
        self,
        in_filters: int,
        out_filters: int,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        num_repeats: int = 3,
        dropout: float = 0.0,
        residual: bool = True,
        activation: Activation = "relu",
        norm: Norm = "batch",
    ) -> None:
        super().__init__(in_filters, out_filters, kernel_size, 0, num_repeats, residual, activation, norm)
        self.dropout = dropout
        self.margins = [side // 2 for side in reversed(kernel_size) for _ in range(2)]  # X, X, Y, Y, Z, Z

    def _convolve(self, step: int, x: Tensor) -> Tensor:
        # padded beforehand, as the old block did: a padding convolution may round differently
        return super()._convolve(step, functional.pad(x, self.margins))

    def _drop(self, step: int, x: Tensor) -> Tensor:
        return functional.dropout3d(x, self.dropout, self.training) if self.dropout else x


def _check_odd(kernel_size: int | tuple[int, ...]) -> None:
    sides = (kernel_size,) if isinstance(kernel_size, int) else kernel_size
    if any(side % 2 == 0 for side in sides):
        raise ValueError(f"kernel_size={kernel_size} has an even side; use odd ones, so that the map keeps its size")
