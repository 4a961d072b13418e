"""What UNeXt2 and FullyConvolutionalMAE share: a stem that shares out its slabs, the ConvNeXt decoder, and the head."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

from viscy_compat.annotations import Iterable, Mapping, Sequence
from viscy_compat.architectures import stems
from viscy_compat.architectures.anchors import first_size, parts
from viscy_compat.architectures.architecture import Architecture, Axis, Config
from viscy_compat.architectures.backbones import convnext_block
from viscy_compat.architectures.bags import Bag, of_rank
from viscy_compat.architectures.outcome import Loss
from viscy_compat.architectures.vocabulary import ConvolutionTraits, Entries, block, convolution, norm
from viscy_compat.layout import Layout, spell_count
from viscy_compat.operations import Operation, Rename

HEAD_SCALE = 4
"""The convolutions of the head enlarge four times, whatever the stem took away."""

HEAD_POOL = "true blurs the map in the head with a 2 x 2 average, false does not"


class ConvnextUnet(Architecture):
    """What is the same for both: the head, what the stem's slabs and the decoder's doublings ask of an input."""

    outputs = ("output",)
    map_axes = (
        Axis("input depth (slices)", tuple(range(1, 49)), "in_stack_depth"),
        Axis("stem kernel and stride in z", tuple(range(1, 13)), "stem_kernel_size", (0,)),
    )

    @abstractmethod
    def halvings(self, config: Config) -> int:
        """Return how often the encoder halves the stem's map."""

    @abstractmethod
    def stem_width(self, config: Config) -> int:
        """Return the channels that the slabs of the stem share out."""

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say where the form, the channels, the sides or the slabs of an input do not fit."""
        if len(shape) != 5 or min(shape) < 1:
            return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {shape}"
        if shape[1] != config["in_channels"]:
            return f"the input has {spell_count(shape[1], 'channel')}, in_channels is {config['in_channels']}"
        rows, columns = patches(config, shape)
        step = 1 << self.halvings(config)
        if min(rows, columns) < 1 or rows % step or columns % step:
            return f"the stem gives a map of {rows} x {columns}, whose sides must be multiples of {step}"
        return self.slab_refusal(config, shape)

    def slab_refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why a stack of another depth does not give the width that the encoder needs; empty where it does."""
        kernel, width = config["stem_kernel_size"][0], self.stem_width(config)
        channels = width // (config["in_stack_depth"] // kernel)
        slabs = shape[2] // kernel
        if channels * slabs == width:
            return ""
        given = f"{spell_count(slabs, 'slab')} of {spell_count(channels, 'channel')}"
        return f"{spell_count(shape[2], 'slice', 'gives', 'give')} {given}, and the encoder needs {width}"

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Yield what a stem whose stride is its kernel never reads, and the sides that come back with another length."""
        yield from stems.stem_losses({**config, "stem_stride": config["stem_kernel_size"]}, shape)
        for axis, name in ((3, "height"), (4, "width")):
            if shape[axis] != outputs["output"][axis]:
                yield Loss("rounding", f"{name} {shape[axis]} comes back as {outputs['output'][axis]}", axis)


def to_today(layout: Layout) -> tuple[Operation, ...]:
    """Return the rows from v0.1.0a to today: nothing moves. Without a head, five tensors stay missing."""
    return tuple(Rename(name, name) for name in layout)


def convnext_decoder(name: str, widths: Sequence[int], blocks: int, *, pre_conv: bool) -> Entries:
    """Yield the stages between the widths of a decoder, coarsest first.

    Each shuffles its input to twice the sides, joins a skip connection of half its width, and refines both.

    Examples
    --------
    >>> layout = dict(convnext_decoder("decoder", (16, 8), 1, pre_conv=False))
    >>> layout["decoder.decoder_stages.0.conv.downsample.1.weight"].shape
    (8, 12, 1, 1)
    """
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        stage, shuffled = f"{name}.decoder_stages.{index}", inputs // 4
        if pre_conv:
            yield from convolution(f"{stage}.upsample.pixelshuffle.conv_block", 4 * shuffled, inputs, (3, 3))
        joined = shuffled + inputs // 2
        if joined != outputs:
            yield from norm(f"{stage}.conv.downsample.0", joined)
            yield from convolution(f"{stage}.conv.downsample.1", outputs, joined, (1, 1))
        for place in range(blocks):
            yield from convnext_block(f"{stage}.conv.blocks.{place}", outputs, second=True, pointwise=True)


def voxel_head(name: str, outputs: int, inputs: int, expansion: int) -> Entries:
    """Yield the two 3D convolutions of the head; ``inputs`` is its width for one slice.

    Examples
    --------
    >>> [spec.shape for _, spec in voxel_head("head", 2, 8, 4)][0]
    (32, 8, 3, 3, 3)
    """
    hidden = 4 * outputs * expansion
    yield from block(f"{name}.conv.0", hidden, inputs, (3, 3, 3), ConvolutionTraits(batch=False))
    yield from convolution(f"{name}.conv.1", 4 * outputs, hidden, (1, 1, 1))


def heads_in(bag: Bag) -> list[tuple[int, int] | None]:
    """Return output channels and expansion of the heads whose two convolutions are in a bag; None for no head.

    Examples
    --------
    >>> from collections import Counter
    >>> heads_in(Counter({(32, 8, 3, 3, 3): 1, (8, 32, 1, 1, 1): 1}))
    [(2, 4), None]
    """
    heads: list[tuple[int, int] | None] = []
    wide = {shape[0] for shape in of_rank(bag, 5) if shape[2:] == (3, 3, 3)}
    for folded, hidden in (shape[:2] for shape in of_rank(bag, 5) if shape[2:] == (1, 1, 1)):
        if folded and not folded % 4 and not hidden % folded and hidden in wide:
            heads.append((folded // 4, hidden // folded))
    return [*heads, None]


def slab_counts(channels: int, width: int) -> list[int]:
    """Return into how many slabs a width can have been shared out, so that each has these channels (rounded down).

    The number that gives the width exactly comes first.

    Examples
    --------
    >>> slab_counts(32, 96), slab_counts(8, 96), slab_counts(97, 96)
    ([3], [12, 11], [])
    >>> slab_counts(1, 10**18)[:2]
    [1000000000000000000, 500000000000000001]
    """
    if not channels:
        return []
    # the sizes of a damaged file may be anything: what shares them out is computed, and never listed by the million
    fewest, most = width // (channels + 1) + 1, width // channels
    rounded = range(fewest, min(most + 1, fewest + _MOST_SLABS))
    exact = [most] if most and most * channels == width else []
    return [*exact, *(slabs for slabs in rounded if slabs not in exact)]


_MOST_SLABS = 4096
"""Slabs that a stack may be read as: more than any stem of known width, 1,536 at the most, can share out."""


def patches(config: Config, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns after a stem whose stride is its kernel."""
    return shape[3] // config["stem_kernel_size"][1], shape[4] // config["stem_kernel_size"][2]


def shown_head(layout: Layout) -> tuple[int, int] | None:
    """Return the output channels and the expansion that a head shows; None where there is no head."""
    if not any(name in layout for name in parts("head.conv.1")):
        return None
    outputs = max(1, first_size(layout, *parts("head.conv.1"), default=4) // 4)
    return outputs, max(1, first_size(layout, *parts("head.conv.0.conv"), default=4) // (4 * outputs))
