"""Unet25d: a U-Net that encodes stacks in 3D and takes slices away on the way to its decoder."""

from __future__ import annotations

from itertools import pairwise, product

from viscy_compat.annotations import Any, Iterator
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Ambiguity,
    Argument,
    Case,
    Choice,
    Config,
    Floats,
    Integers,
    as_settled,
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
from viscy_compat.architectures.vocabulary import Entries, convolution
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple

_TERMINAL_KERNEL = (1, 3, 3)
_MOST_DROPOUT = 0.5  # the old class asserts it
_DEPTHS_OFFERED = 4
"""The weights do not tell how many slices come out: so many are listed."""


class Unet25dFootprint(NamedTuple):
    """What the layout shows of a configuration; ``fewer`` are the slices that go in and do not come out."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    widths: tuple[int, ...]
    layers: int
    fewer: int
    norm_at_the_end: bool


def _depths(config: Config, stated: Config) -> Iterator[Config]:
    """Yield depths with the same difference."""
    fewer = config["in_stack_depth"] - config["out_stack_depth"]
    if "in_stack_depth" in stated:
        outputs = [stated["in_stack_depth"] - fewer]
    else:
        outputs = [stated["out_stack_depth"]] if "out_stack_depth" in stated else list(range(1, _DEPTHS_OFFERED + 1))
    for depth in outputs:
        yield {"in_stack_depth": depth + fewer, "out_stack_depth": depth}


_OLD_FILES = {
    # the id of an empty file
    "viscy/unet/networks/layers/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/Unet25D.py": "8a34042d75d9978fcc848d44e7a4b4f068f74b31",
    "viscy/unet/networks/layers/ConvBlock3D.py": "893c612efee8aae92c70c353bc274f522de81478",
}


class Unet25d(PlainUnet):
    """Everything that is known about Unet25d."""

    name = "Unet25d"
    target = "viscy_models.unet.Unet25d"
    kernel_argument = "xy_kernel_size"
    old_module = "viscy.unet.networks.Unet25D"
    old_files = _OLD_FILES
    arguments = (
        Argument("in_channels", 1, Integers(1, 3)),
        Argument("out_channels", 1, Integers(1, 3)),
        Argument("in_stack_depth", 5, Integers(1, 9)),
        Argument("out_stack_depth", 1, lambda config: Integers(1, config["in_stack_depth"])),
        Argument("xy_kernel_size", (3, 3), ODD_KERNEL),
        Argument("residual", False, Choice((False, True)), about=ABOUT_RESIDUAL),
        Argument("dropout", 0.2, Floats(0.0, _MOST_DROPOUT), "training"),
        Argument("num_blocks", 4, Integers(1, 4)),
        Argument("num_block_layers", 2, Integers(1, 3)),
        Argument("num_filters", (), filters_domain),
        Argument("task", "seg", Choice(("seg", "reg"))),
    )
    cases = (
        Case("defaults", {}, (2, 1, 5, 32, 48)),
        Case("regression", {**TWO, "task": "reg"}, (2, 1, 5, 16, 16)),
        Case("residual", {**TWO, "residual": True}, (2, 1, 5, 16, 16)),
        Case("residual-regression", {**TWO, "residual": True, "task": "reg", "in_channels": 2}, (2, 2, 5, 8, 12)),
        Case("filters", {**TWO, "num_filters": (24, 8, 40), "residual": True}, (2, 1, 5, 16, 8)),
        Case("narrowing", {**TWO, "num_filters": (9, 6, 3), "residual": True, "in_channels": 3}, (2, 3, 5, 8, 8)),
        Case("channels", {**TWO, "in_channels": 3, "out_channels": 4}, (2, 3, 5, 8, 8)),
        Case("all-slices-come-out", {**TWO, "in_stack_depth": 3, "out_stack_depth": 3}, (2, 1, 3, 8, 8)),
        Case("seven-to-three", {**TWO, "in_stack_depth": 7, "out_stack_depth": 3}, (2, 1, 7, 8, 8)),
        Case("fed-another-depth", {**TWO, "in_stack_depth": 3}, (2, 1, 6, 8, 8)),
        Case("one-layer", {**TWO, "num_block_layers": 1}, (2, 1, 5, 8, 8)),
        Case("three-layers", {"num_blocks": 1, "num_block_layers": 3, "residual": True}, (2, 1, 5, 6, 10)),
        Case("uneven-kernel", {**TWO, "xy_kernel_size": (1, 5)}, (2, 1, 5, 8, 8)),
        Case("no-dropout", {**TWO, "dropout": 0.0}, (2, 1, 5, 8, 8)),
        Case("most-dropout", {**TWO, "dropout": 0.5, "residual": True}, (4, 1, 5, 8, 8)),
    )
    accepted_differences = (
        AcceptedDifference(
            "unet25d-levels",
            has_no_levels,
            "The old class refuses these with an AssertionError or an IndexError.",
            Case("levels", {**TWO, "num_filters": (8, 16)}, (1, 1, 5, 8, 8)),
        ),
        AcceptedDifference(
            "unet25d-even-kernel",
            lambda config: has_even_side(config["xy_kernel_size"]),
            "The old class refuses it with an AssertionError.",
            Case("even-kernel", {**TWO, "xy_kernel_size": (4, 3)}, (1, 1, 5, 8, 8)),
        ),
        AcceptedDifference(
            "unet25d-dropout",
            lambda config: not 0 <= config["dropout"] <= _MOST_DROPOUT,
            "The old class refuses it with an AssertionError.",
            Case("dropout", {**TWO, "dropout": 0.6}, (1, 1, 5, 8, 8)),
        ),
        AcceptedDifference(
            "unet25d-more-slices",
            lambda config: bool(config["out_stack_depth"] > config["in_stack_depth"]),
            "The old class asked for a kernel without a size, which torch refuses in its own words.",
            Case("more-slices", {**TWO, "out_stack_depth": 7}, (1, 1, 5, 8, 8)),
        ),
    )
    ambiguities = (
        Ambiguity(
            "in_stack_depth",
            "nothing",
            "only the difference of the two depths makes the model",
            _depths,
            complete=False,
        ),
        Ambiguity("out_stack_depth", "nothing", "see in_stack_depth", as_settled("out_stack_depth")),
    )
    anchors = (
        "down_conv_block_0.Conv3d_0.weight",
        "bottom_transition_block.weight",
        "terminal_block.Conv3d_0.bias",
        "terminal_block.batch_norm_0.weight",
    )

    def footprint(self, config: Config) -> Unet25dFootprint:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        kernel, fewer = self.check(config), config["in_stack_depth"] - config["out_stack_depth"]
        if fewer < 0:
            raise Unbuildable(f"{config['out_stack_depth']} slices cannot come out of {config['in_stack_depth']}")
        if not 0 <= config["dropout"] <= _MOST_DROPOUT:
            raise Unbuildable(f"dropout={config['dropout']} is not between 0 and {_MOST_DROPOUT}")
        return Unet25dFootprint(
            in_channels=config["in_channels"],
            out_channels=config["out_channels"],
            kernel=kernel,
            widths=level_widths(config),
            layers=config["num_block_layers"],
            fewer=fewer,
            norm_at_the_end=config["task"] != "reg",
        )

    def tensors(self, footprint: Unet25dFootprint) -> Entries:
        """Yield the blocks down, the way through the bottom, the blocks up, the skip connections, and the end."""
        *widths, deepest = footprint.widths
        # one kernel over all slices that go, at the bottom and in every skip connection
        through, layers = (footprint.fewer + 1, 1, 1), footprint.layers
        for level, (inputs, outputs) in enumerate(pairwise((footprint.in_channels, *widths))):
            yield from conv_block(
                f"down_conv_block_{level}", outputs, inputs, (3, *footprint.kernel), layers, norms=True
            )
        yield from convolution("bottom_transition_block", deepest, widths[-1], through)
        for step, (deep, shallow) in enumerate(pairwise(footprint.widths[::-1])):
            # slice by slice on the way up: the slices were mixed on the way down
            kernel = (1, *footprint.kernel)
            yield from conv_block(f"up_conv_block_{step}", shallow, deep + shallow, kernel, layers, norms=True)
        for level, width in enumerate(widths):
            yield from convolution(f"skip_conv_layer_{level}", width, width, through)
        outputs, norms = footprint.out_channels, footprint.norm_at_the_end
        yield from conv_block("terminal_block", outputs, widths[0], _TERMINAL_KERNEL, 1, norms=norms)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show; of the depths only the difference does, and one comes out."""
        blocks = count(layout, *parts("down_conv_block_{}.Conv3d_0")) or 1
        first = anchor(layout, "down_conv_block_0.Conv3d_0.weight", 5) or (16, 1, 3, 3, 3)
        names = [f"down_conv_block_{level}.Conv3d_0" for level in range(blocks)]
        down = [first_size(layout, *parts(name), default=16) for name in names]
        # what goes up first takes the bottom and the last skip together
        up = (anchor(layout, "up_conv_block_0.Conv3d_0.weight", 5) or (1, 3 * down[-1]))[1] - down[-1]
        bottom = first_size(layout, *parts("bottom_transition_block"), default=max(1, up))
        yield {
            "in_channels": first[1],
            "out_channels": first_size(layout, *parts("terminal_block.Conv3d_0"), default=1),
            # the kernel that takes slices away is as deep as those that go, and one
            "in_stack_depth": (anchor(layout, "bottom_transition_block.weight", 5) or (1, 1, 5))[2],
            "out_stack_depth": 1,
            "xy_kernel_size": (anchor(layout, "up_conv_block_0.Conv3d_0.weight", 5) or first)[3:],
            "num_blocks": blocks,
            # every block has as many: where the first was lost, one on the way up tells
            "num_block_layers": max(
                count(layout, *parts(f"{block}.Conv3d_{{}}")) for block in ("down_conv_block_0", "up_conv_block_0")
            ),
            "num_filters": (*down, bottom),
            "task": "seg" if "terminal_block.batch_norm_0.weight" in layout else "reg",
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose levels follow from each other in the shapes of a bag.

        With n levels below the first there are n blocks down and as many up, each with its convolutions and one of
        size 1; n skip connections, the way through the bottom, and two convolutions at the end.
        """
        shapes = of_rank(bag, 5)
        total = count_of_rank(bag, 5)
        kernels = sorted({shape[3:] for shape in shapes if shape[2] == 3}, reverse=True)
        depths = sorted({shape[2] for shape in shapes if shape[3:] == (1, 1)})
        for kernel, depth, blocks in product(kernels, depths, range(1, min(total, MOST_LEVELS))):
            # 3: through the bottom, and two at the end; 3 for each block: two of size 1, and its skip connection
            layers, rest = divmod(total - 3 - 3 * blocks, 2 * blocks)
            if rest or layers < 1:
                continue
            for inputs, widths in chains(bag, blocks, down=(3, *kernel), up=(1, *kernel), bottom=(depth, 1, 1)):
                ends = [shape[0] for shape in shapes if shape[1:] == (widths[0], *_TERMINAL_KERNEL)]
                for outputs, task in product(ends, ("seg", "reg")):
                    yield {
                        "in_channels": inputs,
                        "out_channels": outputs,
                        "in_stack_depth": depth,
                        "out_stack_depth": 1,
                        "xy_kernel_size": kernel,
                        "num_blocks": blocks,
                        "num_block_layers": layers,
                        "num_filters": widths,
                        "task": task,
                    }

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two stacks of the depth of the configuration and the smallest sides that run."""
        side = 1 << min(config["num_blocks"], MOST_BLOCKS)
        return (2, config["in_channels"], config["in_stack_depth"], side, side)

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: sides are multiples of ``2 ** num_blocks``, and a slice must be left."""
        fewer = self.footprint(config).fewer
        # any depth runs of which a slice is left: the depths of the constructor count by their difference alone
        why = super().refusal(config, shape)
        if why or shape[2] > fewer:
            return why
        return f"{spell_count(shape[2], 'slice', 'is', 'are')} no more than the {fewer} taken away"

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the shape of the input, with the output channels and without the slices that are taken away."""
        return {"output": (shape[0], config["out_channels"], shape[2] - self.footprint(config).fewer, *shape[3:])}


ARCHITECTURE = Unet25d()
