"""Unet2d: a U-Net of plain convolutions for single slices, which go in and come out as stacks of one."""

from __future__ import annotations

from itertools import pairwise, product

from viscy_compat.annotations import Any, Iterator
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Argument,
    Case,
    Choice,
    Config,
    Defect,
    Floats,
    Integers,
)
from viscy_compat.architectures.bags import Bag, count_of_rank, of_rank
from viscy_compat.architectures.plain_unet import (
    ABOUT_RESIDUAL,
    MOST_BLOCKS,
    MOST_LEVELS,
    ODD_KERNEL,
    TWO,
    PlainUnet,
    chains,
    conv_block,
    filters_domain,
    has_even_side,
    has_no_levels,
    level_widths,
)
from viscy_compat.architectures.vocabulary import Entries
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple


class Unet2dFootprint(NamedTuple):
    """What the layout shows of a configuration."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    widths: tuple[int, ...]
    layers: int


_OLD_FILES = {
    # the id of an empty file
    "viscy/unet/networks/layers/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/Unet2D.py": "0edd95362f9e570ef1483efe487da42a613fb37c",
    "viscy/unet/networks/layers/ConvBlock2D.py": "114777a798977a953bac8bd50732a9e38b18c32e",
}


class Unet2d(PlainUnet):
    """Everything that is known about Unet2d."""

    name = "Unet2d"
    target = "viscy_models.unet.Unet2d"
    kernel_argument = "kernel_size"
    old_module = "viscy.unet.networks.Unet2D"
    old_files = _OLD_FILES
    arguments = (
        Argument("in_channels", 1, Integers(1, 3)),
        Argument("out_channels", 1, Integers(1, 3)),
        Argument("kernel_size", (3, 3), ODD_KERNEL),
        Argument("residual", False, Choice((False, True)), about=ABOUT_RESIDUAL),
        # the constructor cuts it down to an integer: below 1 nothing is ever dropped, in train mode neither
        Argument("dropout", 0.2, Floats(0.0, 0.5), "nothing"),
        Argument("num_blocks", 4, Integers(1, 4)),
        Argument("num_block_layers", 2, Integers(1, 3)),
        Argument("num_filters", (), filters_domain),
        Argument("task", "seg", Choice(("seg", "reg")), about="seg ends in a ReLU, reg without an activation"),
    )
    cases = (
        Case("defaults", {}, (2, 1, 1, 32, 48)),
        Case("regression", {**TWO, "task": "reg"}, (2, 1, 1, 16, 16)),
        Case("residual", {**TWO, "residual": True}, (2, 1, 1, 16, 16)),
        Case("residual-regression", {**TWO, "residual": True, "task": "reg", "in_channels": 2}, (2, 2, 1, 16, 24)),
        Case("filters", {**TWO, "num_filters": (24, 8, 40), "residual": True}, (2, 1, 1, 16, 16)),
        Case("narrowing", {**TWO, "num_filters": (9, 6, 3), "residual": True, "in_channels": 3}, (2, 3, 1, 8, 8)),
        Case("channels", {**TWO, "in_channels": 3, "out_channels": 4}, (2, 3, 1, 12, 8)),
        Case("one-layer", {**TWO, "num_block_layers": 1}, (2, 1, 1, 16, 16)),
        Case("three-layers", {"num_blocks": 1, "num_block_layers": 3, "residual": True}, (2, 1, 1, 6, 10)),
        Case("kernel-of-five", {**TWO, "kernel_size": 5}, (2, 1, 1, 16, 16)),
        Case("uneven-kernel", {**TWO, "kernel_size": (1, 7)}, (2, 1, 1, 16, 16)),
        Case("no-dropout", {**TWO, "dropout": 0.0}, (2, 1, 1, 16, 16)),
        Case("dropout-without-effect", {**TWO, "dropout": 0.5}, (2, 1, 1, 16, 16)),
        Case("everything-dropped", {"num_blocks": 1, "dropout": 1.0}, (2, 1, 1, 8, 8)),
        Case("one-pixel-below", {**TWO}, (1, 1, 1, 4, 4)),
    )
    accepted_differences = (
        AcceptedDifference(
            "unet2d-levels",
            has_no_levels,
            "The old class refuses these with an AssertionError or an IndexError.",
            Case("two-widths-for-three", {**TWO, "num_filters": (8, 16)}, (1, 1, 1, 8, 8)),
        ),
        AcceptedDifference(
            "unet2d-even-kernel",
            lambda config: has_even_side(config["kernel_size"]),
            "The old class refuses it with an AssertionError.",
            Case("even-kernel", {**TWO, "kernel_size": (3, 4)}, (1, 1, 1, 8, 8)),
        ),
    )
    defects = (
        Defect(
            "unet2d-dropout",
            lambda config, shape: 0 < config["dropout"] < 1,
            "the dropout is cut down to an integer, so that below 1 nothing is ever dropped",
        ),
    )
    anchors = (
        "down_conv_block_0.Conv2d_0.weight",
        "bottom_transition_block.Conv2d_0.bias",
        "terminal_block.Conv2d_0.bias",
    )

    def footprint(self, config: Config) -> Unet2dFootprint:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        return Unet2dFootprint(
            in_channels=config["in_channels"],
            out_channels=config["out_channels"],
            kernel=self.check(config),
            widths=level_widths(config),
            layers=config["num_block_layers"],
        )

    def tensors(self, footprint: Unet2dFootprint) -> Entries:
        """Yield the blocks down, the one at the bottom, the blocks up, and the end."""
        kernel, layers, widths = footprint.kernel, footprint.layers, footprint.widths
        levels = (footprint.in_channels, *widths)
        for level, (inputs, outputs) in enumerate(pairwise(levels)):
            # the bottom is a block like the others, and has a name of its own
            name = f"down_conv_block_{level}" if level < len(levels) - 2 else "bottom_transition_block"
            yield from conv_block(name, outputs, inputs, kernel, layers, norms=True)
        # each takes what comes from below and, beside it, what the block down of its level gave
        for step, (deep, shallow) in enumerate(pairwise(widths[::-1])):
            yield from conv_block(f"up_conv_block_{step}", shallow, deep + shallow, kernel, layers, norms=True)
        yield from conv_block("terminal_block", footprint.out_channels, widths[0], kernel, 1, norms=False)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the convolutions show: widths, kernel, layers and channels."""
        blocks = count(layout, *parts("down_conv_block_{}.Conv2d_0")) or 1
        first = anchor(layout, "down_conv_block_0.Conv2d_0.weight", 4) or (16, 1, 3, 3)
        names = [f"down_conv_block_{level}.Conv2d_0" for level in range(blocks)]
        down = [first_size(layout, *parts(name), default=16) for name in names]
        # what goes up first takes the bottom and the last skip together
        up = (anchor(layout, "up_conv_block_0.Conv2d_0.weight", 4) or (1, 3 * down[-1]))[1] - down[-1]
        bottom = first_size(layout, *parts("bottom_transition_block.Conv2d_0"), default=max(1, up))
        yield {
            "in_channels": first[1],
            "out_channels": first_size(layout, *parts("terminal_block.Conv2d_0"), default=1),
            "kernel_size": (anchor(layout, "up_conv_block_0.Conv2d_0.weight", 4) or first)[2:],
            "num_blocks": blocks,
            # every block has as many: where the first was lost, the last one tells
            "num_block_layers": max(
                count(layout, *parts(f"{block}.Conv2d_{{}}"))
                for block in ("down_conv_block_0", "bottom_transition_block")
            ),
            "num_filters": (*down, bottom),
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose levels follow from each other in the shapes of a bag.

        With n levels below the first there are 2 n + 1 blocks, each with its convolutions and one of size 1, and the
        last block with two.
        """
        total = count_of_rank(bag, 4)
        kernels = sorted({shape[2:] for shape in of_rank(bag, 4)}, reverse=True)
        for kernel, blocks in product(kernels, range(1, min(total, MOST_LEVELS))):
            layers, rest = divmod(total - 2, 2 * blocks + 1)
            ways = () if rest or layers < 2 else chains(bag, blocks, down=kernel, up=kernel, bottom=kernel)
            for inputs, widths in ways:
                for outputs in (shape[0] for shape in of_rank(bag, 4) if shape[1:] == (widths[0], *kernel)):
                    found = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel}
                    yield {**found, "num_blocks": blocks, "num_block_layers": layers - 1, "num_filters": widths}

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two slices of the smallest sides that train."""
        side = 1 << min(config["num_blocks"], MOST_BLOCKS)
        return (2, config["in_channels"], 1, side, side)

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: only single slices are, with sides of multiples of ``2 ** num_blocks``."""
        return super().refusal(config, shape) or ("" if shape[2] == 1 else f"it takes single slices, not {shape[2]}")

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the shape of the input, with the output channels."""
        return {"output": (shape[0], config["out_channels"], *shape[2:])}

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that the batch norms at the bottom see one pixel."""
        step = 1 << config["num_blocks"]
        pixels = shape[0] * (shape[3] // step) * (shape[4] // step)
        return "" if pixels > 1 else "batch norm needs more than one pixel at the lowest level in train mode"


ARCHITECTURE = Unet2d()
