"""What the U-Nets share: the ConvNeXt decoder, the stem that shares out its slabs, the head, and the conv blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from viscy_compat.architectures import stems
from viscy_compat.architectures.architecture import Config
from viscy_compat.architectures.backbones import convnext_block
from viscy_compat.architectures.bags import Bag, of_rank
from viscy_compat.architectures.outcome import Loss
from viscy_compat.architectures.vocabulary import Entries, Style, batch_norm, block, convolution, norm

HEAD_SCALE = 4
"""The convolutions of the head enlarge four times, whatever the stem took away."""


HEAD_POOL = "true blurs the map in the head with a 2 x 2 average, false does not"
ABOUT_RESIDUAL = "true adds what goes into a block to what comes out, false does not"


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
    yield from block(f"{name}.conv.0", hidden, inputs, (3, 3, 3), Style(batch=False))
    yield from convolution(f"{name}.conv.1", 4 * outputs, hidden, (1, 1, 1))


def heads_in(bag: Bag) -> list[tuple[int, int] | None]:
    """Return output channels and expansion of the heads whose two convolutions are in a bag; None for no head.

    Examples
    --------
    >>> from collections import Counter
    >>> heads_in(Counter({(32, 8, 3, 3, 3): 1, (8, 32, 1, 1, 1): 1}))
    [(2, 4), None]
    """
    found: list[tuple[int, int] | None] = []
    wide = {shape[0] for shape in of_rank(bag, 5) if shape[2:] == (3, 3, 3)}
    for folded, hidden in (shape[:2] for shape in of_rank(bag, 5) if shape[2:] == (1, 1, 1)):
        if folded and not folded % 4 and not hidden % folded and hidden in wide:
            found.append((folded // 4, hidden // folded))
    return [*found, None]


def conv_block(name: str, outputs: int, inputs: int, kernel: Sequence[int], repeats: int, *, norms: bool) -> Entries:
    """Yield a block of Unet2d or Unet25d: batch norms, convolutions, and the 1 x 1 convolution of the residual path.

    Examples
    --------
    >>> [key for key, _ in conv_block("b", 8, 4, (3, 3), 1, norms=False)][2:]
    ['b.resid_conv.weight', 'b.resid_conv.bias']
    """
    for index in range(repeats if norms else 0):
        yield from batch_norm(f"{name}.batch_norm_{index}", outputs)
    width = inputs
    for index in range(repeats):
        yield from convolution(f"{name}.Conv{len(kernel)}d_{index}", outputs, width, kernel)
        width = outputs
    yield from convolution(f"{name}.resid_conv", outputs, inputs, (1,) * len(kernel))


def slab_counts(channels: int, width: int) -> list[int]:
    """Return into how many slabs a width can have been shared out, so that each has these channels (rounded down).

    The number that gives the width exactly comes first.

    Examples
    --------
    >>> slab_counts(32, 96), slab_counts(8, 96), slab_counts(97, 96)
    ([3], [12, 11], [])
    """
    counts = [slabs for slabs in range(1, width + 1) if width // slabs == channels]
    return sorted(counts, key=lambda slabs: (slabs * channels != width, slabs))


def level_widths(config: Config) -> tuple[int, ...]:
    """Return the channels at each level of Unet2d and Unet25d: those given, or 16 doubled at every level.

    Examples
    --------
    >>> level_widths({"num_blocks": 2, "num_filters": ()})
    (16, 32, 64)
    """
    given = tuple(config["num_filters"])
    return given or tuple(16 << level for level in range(config["num_blocks"] + 1))


def size_losses(fed: tuple[int, ...], sides: tuple[int, int]) -> Iterator[Loss]:
    """Yield the sides that come back with another length."""
    for axis, name, side in ((3, "height", sides[0]), (4, "width", sides[1])):
        if fed[axis] != side:
            yield Loss("rounding", f"{name} {fed[axis]} comes back as {side}", axis)


def patch_losses(config: Config, fed: tuple[int, ...]) -> Iterator[Loss]:
    """Yield what a stem whose stride is its kernel never reads."""
    yield from stems.stem_losses({**config, "stem_stride": config["stem_kernel_size"]}, fed)


def patches(config: Config, fed: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns after a stem whose stride is its kernel."""
    return fed[3] // config["stem_kernel_size"][1], fed[4] // config["stem_kernel_size"][2]


def refusal(config: Config, fed: tuple[int, ...], halvings: int) -> str:
    """Say why a shape (B, C, D, H, W) cannot be fed: its form, its channels, or sides that the decoder cannot match.

    Examples
    --------
    >>> refusal({"in_channels": 1, "stem_kernel_size": (5, 4, 4)}, (1, 1, 5, 36, 32), 3)
    'the stem gives a map of 9 x 8, whose sides must be multiples of 8'
    """
    if len(fed) != 5 or min(fed) < 1:
        return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {fed}"
    if fed[1] != config["in_channels"]:
        return f"the input has {fed[1]} channels, in_channels is {config['in_channels']}"
    rows, columns = patches(config, fed)
    step = 1 << halvings
    if min(rows, columns) < 1 or rows % step or columns % step:
        return f"the stem gives a map of {rows} x {columns}, whose sides must be multiples of {step}"
    return ""


def wrong_slabs(config: Config, fed: tuple[int, ...], width: int) -> str:
    """Say why a stack of another depth does not give the width that the encoder needs; empty where it does."""
    kernel = config["stem_kernel_size"][0]
    channels = width // (config["in_stack_depth"] // kernel)
    given = fed[2] // kernel
    if channels * given == width:
        return ""
    return f"{fed[2]} slices give {given} slabs of {channels} channels, and the encoder needs {width}"
