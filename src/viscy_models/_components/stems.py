"""Stems that turn a 3D stack into a 2D feature map by folding the depth into the channels."""

from __future__ import annotations

from torch import Tensor, nn


class UNeXt2Stem(nn.Module):
    """Stem of UNeXt2: a strided 3D convolution, then depth becomes channels.

    Stride and kernel are the same, so slices and pixels beyond the last whole kernel are never read.

    Parameters
    ----------
    in_channels : int
        Channels of the stack.
    out_channels : int
        Channels of the feature map. Only a multiple of ``in_stack_depth // kernel_size[0]`` is met exactly; another
        number is rounded down to one (as the old class does).
    kernel_size : tuple[int, int, int]
        Kernel and stride of the convolution, (Z, Y, X).
    in_stack_depth : int
        Slices of the stack.

    Raises
    ------
    ValueError
        If the stack is shallower than the kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        in_stack_depth: int,
    ) -> None:
        super().__init__()
        slabs = in_stack_depth // kernel_size[0]
        if slabs == 0:
            raise ValueError(
                f"in_stack_depth={in_stack_depth} is less than the depth {kernel_size[0]} of the stem kernel "
                f"{tuple(kernel_size)}; use an in_stack_depth of {kernel_size[0]} or more, or a shallower kernel"
            )
        self.conv = nn.Conv3d(in_channels, out_channels // slabs, kernel_size, stride=kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, Z, Y, X) to (B, out_channels, Y // kernel_y, X // kernel_x)."""
        x = self.conv(x)  # (B, out_channels / slabs, slabs, Y // kernel_y, X // kernel_x)
        return _depth_to_channels(x)


class StemDepthtoChannels(nn.Module):
    """Stem of ContrastiveEncoder and of the 2.5D VAE: a 3D convolution whose output depth becomes channels.

    The convolution returns ``(in_stack_depth - kernel_z) // stride_z + 1`` slices. The channels that the encoder
    expects are shared out among them, slice-minor: channel ``c`` of slice ``d`` becomes channel
    ``c * slices + d``. Slices beyond the last whole step are never read; nothing reports that.

    Parameters
    ----------
    in_channels : int
        Channels of the stack.
    in_stack_depth : int
        Slices of the stack.
    in_channels_encoder : int
        Channels of the feature map that the encoder expects.
    stem_kernel_size, stem_stride : tuple[int, int, int]
        Kernel and stride of the convolution, (Z, Y, X).

    Raises
    ------
    ValueError
        If the convolution would return no slice, or a number of slices that does not divide `in_channels_encoder`.
    """

    def __init__(
        self,
        in_channels: int,
        in_stack_depth: int,
        in_channels_encoder: int,
        stem_kernel_size: tuple[int, int, int] = (5, 4, 4),
        stem_stride: tuple[int, int, int] = (5, 4, 4),
    ) -> None:
        super().__init__()
        width = self.compute_stem_channels(in_stack_depth, stem_kernel_size, stem_stride[0], in_channels_encoder)
        self.conv = nn.Conv3d(in_channels, width, stem_kernel_size, stride=stem_stride)

    def compute_stem_channels(
        self,
        in_stack_depth: int,
        stem_kernel_size: tuple[int, int, int],
        stem_stride_depth: int,
        in_channels_encoder: int,
    ) -> int:
        """Return how many channels each output slice of the convolution gets.

        Parameters
        ----------
        in_stack_depth : int
            Slices of the stack.
        stem_kernel_size : tuple[int, int, int]
            Kernel of the convolution, (Z, Y, X).
        stem_stride_depth : int
            Stride of the convolution along Z.
        in_channels_encoder : int
            Channels to share out.

        Raises
        ------
        ValueError
            If there is no output slice, or their number does not divide `in_channels_encoder`.
        """
        kernel_depth = stem_kernel_size[0]
        slices = (in_stack_depth - kernel_depth) // stem_stride_depth + 1
        if slices > 0 and in_channels_encoder % slices == 0:
            return in_channels_encoder // slices
        steps = f"stem kernel depth {kernel_depth} and stride {stem_stride_depth}"
        works = " or ".join(
            str(kernel_depth + (count - 1) * stem_stride_depth)
            for count in _nearest_divisors(slices, in_channels_encoder)
        )
        raise ValueError(
            f"in_stack_depth={in_stack_depth} with {steps} makes {max(slices, 0)} slices, which cannot share the "
            f"{in_channels_encoder} channels of the encoder evenly: it has more channels than they fill; "
            f"the nearest in_stack_depth that works is {works}"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, Z, Y, X) to (B, in_channels_encoder, Y', X').

        A side Y becomes ``Y' = (Y - kernel_y) // stride_y + 1``. Feeding another depth than `in_stack_depth` gives
        another number of channels, unless the two make equally many slices.
        """
        x = self.conv(x)  # (B, in_channels_encoder / slices, slices, Y', X')
        return _depth_to_channels(x)


def _depth_to_channels(x: Tensor) -> Tensor:
    """Fold depth into channels: (B, C, Z, Y, X) to (B, C * Z, Y, X)."""
    return x.flatten(-4, -3)


def _nearest_divisors(number: int, total: int) -> list[int]:
    """Return the largest divisor of `total` below `number` and the smallest above it, where there are such."""
    divisors = [count for count in range(1, total + 1) if total % count == 0]
    below = [count for count in divisors if count < number]
    above = [count for count in divisors if count > number]
    return below[-1:] + above[:1]
