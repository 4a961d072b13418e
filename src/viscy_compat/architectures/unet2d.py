"""Unet2d: a U-Net of plain convolutions for single slices, fed and returned as stacks of one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Architecture,
    Argument,
    Case,
    Choice,
    Config,
    Defect,
    Domain,
    Floats,
    Generation,
    Integers,
    Items,
    Release,
    Signature,
)
from viscy_compat.architectures.bags import Bag, TooManyWays, count_of_rank, of_rank
from viscy_compat.architectures.outcome import Outcome, refuses_to_build, refuses_to_run
from viscy_compat.architectures.unet_parts import ABOUT_RESIDUAL, conv_block, level_widths
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple

MOST_LEVELS = 16
MOST_CHAINS = 256
"""How many levels, and ways to lay them out, are looked for in the shapes of a file."""


class Footprint(NamedTuple):
    """What the layout shows of a configuration."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    widths: tuple[int, ...]
    layers: int


def kernel_of(size: Any) -> tuple[int, int]:
    """Return a kernel as height and width.

    Examples
    --------
    >>> kernel_of(3), kernel_of((3, 5))
    ((3, 3), (3, 5))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def check_levels(config: Config) -> None:
    """Refuse what has no levels, or not a width for each.

    Raises
    ------
    Unbuildable
        As the constructors of both U-Nets do.
    """
    levels, given = config["num_blocks"] + 1, len(config["num_filters"])
    if levels < 2:
        raise Unbuildable(f"num_blocks={config['num_blocks']} leaves no level below the first")
    if given not in (0, levels):
        raise Unbuildable(f"num_filters has {given} widths for {levels} levels")


def check_kernel(kernel: tuple[int, int]) -> None:
    """Refuse even kernels, with which a map would not keep its size.

    Raises
    ------
    Unbuildable
        As the constructors of both U-Nets do.
    """
    if not all(side % 2 for side in kernel):
        raise Unbuildable(f"the kernel {kernel} has an even side")


def footprint(config: Config) -> Footprint:
    """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
    kernel = kernel_of(config["kernel_size"])
    check_levels(config)
    check_kernel(kernel)
    return Footprint(
        config["in_channels"], config["out_channels"], kernel, level_widths(config), config["num_block_layers"]
    )


def layout(config: Config) -> Layout:
    """Return the layout of a complete configuration."""
    shown = footprint(config)
    found: Layout = {}
    levels = (shown.in_channels, *shown.widths)
    for level, (inputs, outputs) in enumerate(pairwise(levels)):
        name = f"down_conv_block_{level}" if level < len(levels) - 2 else "bottom_transition_block"
        found.update(conv_block(name, outputs, inputs, shown.kernel, shown.layers, norms=True))
    for step, (deep, shallow) in enumerate(pairwise(shown.widths[::-1])):
        block = conv_block(f"up_conv_block_{step}", shallow, deep + shallow, shown.kernel, shown.layers, norms=True)
        found.update(block)
    found.update(conv_block("terminal_block", shown.out_channels, shown.widths[0], shown.kernel, 1, norms=False))
    return found


def candidates(found: Layout) -> Iterator[dict[str, Any]]:
    """Yield the configuration that the anchors show: widths, kernel, layers and channels stand in the convolutions."""
    blocks = count(found, *parts("down_conv_block_{}.Conv2d_0")) or 1
    first = anchor(found, "down_conv_block_0.Conv2d_0.weight", 4) or (16, 1, 3, 3)
    names = [*(f"down_conv_block_{level}" for level in range(blocks)), "bottom_transition_block"]
    yield {
        "in_channels": first[1],
        "out_channels": first_size(found, *parts("terminal_block.Conv2d_0"), default=1),
        "kernel_size": (anchor(found, "up_conv_block_0.Conv2d_0.weight", 4) or first)[2:],
        "num_blocks": blocks,
        "num_block_layers": count(found, *parts("down_conv_block_0.Conv2d_{}")),
        "num_filters": tuple(first_size(found, *parts(f"{name}.Conv2d_0"), default=16) for name in names),
    }


def sketches(bag: Bag) -> Iterator[dict[str, Any]]:
    """Yield the configurations whose levels follow from each other in the shapes of a bag.

    With n levels below the first there are 2 n + 1 blocks, each with its convolutions and one of size 1, and the last
    block with two.
    """
    total = count_of_rank(bag, 4)
    kernels = sorted({shape[2:] for shape in of_rank(bag, 4)}, reverse=True)
    for kernel, blocks in product(kernels, range(1, min(total, MOST_LEVELS))):
        layers, rest = divmod(total - 2, 2 * blocks + 1)
        for inputs, widths in () if rest or layers < 2 else _levels(bag, kernel, blocks):
            for outputs in (shape[0] for shape in of_rank(bag, 4) if shape[1:] == (widths[0], *kernel)):
                known = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel, "num_blocks": blocks}
                yield {**known, "num_block_layers": layers - 1, "num_filters": widths}


def _levels(bag: Bag, kernel: tuple[int, ...], blocks: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield input channels and widths for which the bag has the first convolution of each block, down and up."""
    firsts = [shape[:2] for shape in of_rank(bag, 4) if shape[2:] == kernel]
    chains: list[tuple[int, tuple[int, ...]]] = [(inputs, (width,)) for width, inputs in firsts]
    for _ in range(blocks):
        chains = [
            (inputs, (*widths, width))
            for inputs, widths in chains
            for width, before in firsts
            if before == widths[-1] and (before, before + width, *kernel) in bag
        ]
        if len(chains) > MOST_CHAINS:
            raise TooManyWays
    return iter(chains)


def outcome(config: Config, fed: tuple[int, ...]) -> Outcome:
    """Say what comes out for a fed shape ``(B, C, 1, H, W)``; sides must be multiples of ``2 ** num_blocks``."""
    try:
        footprint(config)
    except Unbuildable as error:
        return refuses_to_build(error.message)
    why = refusal(config, fed) or ("" if fed[2] == 1 else f"it takes single slices, not {fed[2]}")
    if why:
        return refuses_to_run(why)
    step = 1 << config["num_blocks"]
    pixels = fed[0] * (fed[3] // step) * (fed[4] // step)
    why = "" if pixels > 1 else "batch norm needs more than one pixel at the lowest level in train mode"
    outputs = {"output": (fed[0], config["out_channels"], *fed[2:])}
    return Outcome(builds=True, runs=True, outputs=outputs, why=why, trains=not why)


def refusal(config: Config, fed: tuple[int, ...]) -> str:
    """Say why a shape cannot be fed to either U-Net: its form, its channels or its sides; empty where it can.

    Examples
    --------
    >>> refusal({"in_channels": 1, "num_blocks": 4}, (1, 1, 1, 40, 32))
    'the sides 40 x 32 must be multiples of 16'
    """
    if len(fed) != 5 or min(fed) < 1:
        return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {fed}"
    if fed[1] != config["in_channels"]:
        return f"the input has {fed[1]} channels, in_channels is {config['in_channels']}"
    step = 1 << config["num_blocks"]
    return f"the sides {fed[3]} x {fed[4]} must be multiples of {step}" if fed[3] % step or fed[4] % step else ""


def input_shape(config: Config) -> tuple[int, ...]:
    """Return a batch of two slices of the smallest sides that train."""
    side = 1 << config["num_blocks"]
    return (2, config["in_channels"], 1, side, side)


def spelling(stated: Config, config: Config) -> dict[str, Any]:
    """Return stated arguments in the spelling of `candidates`: kernels as pairs, filters in full."""
    spelled = dict(stated)
    if isinstance(stated.get("kernel_size"), int):
        spelled["kernel_size"] = kernel_of(stated["kernel_size"])
    if stated.get("num_filters") == ():
        spelled["num_filters"] = level_widths({"num_blocks": config["num_blocks"], "num_filters": ()})
    return spelled


def filters_domain(config: Config) -> Domain:
    """Return widths for every level of either U-Net."""
    return Items((Integers(1, 32),) * (config["num_blocks"] + 1))


def with_listed_filters(config: Config) -> dict[str, Any]:
    """Return the arguments of the old constructors, which take the filters as a list only."""
    return {**config, "num_filters": {"list": list(config["num_filters"])}}


ODD_KERNEL = Items((Choice((1, 3, 5, 7)), Choice((1, 3, 5, 7))))
PACKAGES = {
    "viscy/__init__.py": "31573ed3c72e242128c263bfb29ed1e0a9c75729",
    "viscy/unet/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/layers/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
}
_ARGUMENTS = (
    Argument("in_channels", 1, Integers(1, 3)),
    Argument("out_channels", 1, Integers(1, 3)),
    Argument("kernel_size", (3, 3), ODD_KERNEL),
    Argument("residual", False, Choice((False, True)), about=ABOUT_RESIDUAL),
    Argument("dropout", 0.2, Floats(0.0, 0.5), "nothing"),
    Argument("num_blocks", 4, Integers(1, 4)),
    Argument("num_block_layers", 2, Integers(1, 3)),
    Argument("num_filters", (), filters_domain),
    Argument("task", "seg", Choice(("seg", "reg")), about="seg ends in a ReLU, reg without an activation"),
)
_RELEASE = Release(
    wheel="0.4.0",
    revision="fe7a5da^",
    sources={
        **PACKAGES,
        "viscy/unet/networks/Unet2D.py": "0edd95362f9e570ef1483efe487da42a613fb37c",
        "viscy/unet/networks/layers/ConvBlock2D.py": "114777a798977a953bac8bd50732a9e38b18c32e",
    },
    signature=Signature(tuple((argument.name, argument.default) for argument in _ARGUMENTS)),
    old_config=with_listed_filters,
)

_TWO = {"num_blocks": 2}
_CASES = (
    Case("defaults", {}, (2, 1, 1, 32, 48)),
    Case("regression", {**_TWO, "task": "reg"}, (2, 1, 1, 16, 16)),
    Case("residual", {**_TWO, "residual": True}, (2, 1, 1, 16, 16)),
    Case("residual-regression", {**_TWO, "residual": True, "task": "reg", "in_channels": 2}, (2, 2, 1, 16, 24)),
    Case("filters", {**_TWO, "num_filters": (24, 8, 40), "residual": True}, (2, 1, 1, 16, 16)),
    Case("narrowing", {**_TWO, "num_filters": (9, 6, 3), "residual": True, "in_channels": 3}, (2, 3, 1, 8, 8)),
    Case("channels", {**_TWO, "in_channels": 3, "out_channels": 4}, (2, 3, 1, 12, 8)),
    Case("one-layer", {**_TWO, "num_block_layers": 1}, (2, 1, 1, 16, 16)),
    Case("three-layers", {"num_blocks": 1, "num_block_layers": 3, "residual": True}, (2, 1, 1, 6, 10)),
    Case("kernel-of-five", {**_TWO, "kernel_size": 5}, (2, 1, 1, 16, 16)),
    Case("uneven-kernel", {**_TWO, "kernel_size": (1, 7)}, (2, 1, 1, 16, 16)),
    Case("no-dropout", {**_TWO, "dropout": 0.0}, (2, 1, 1, 16, 16)),
    Case("dropout-without-effect", {**_TWO, "dropout": 0.5}, (2, 1, 1, 16, 16)),
    Case("everything-dropped", {"num_blocks": 1, "dropout": 1.0}, (2, 1, 1, 8, 8)),
    Case("one-pixel-below", {**_TWO}, (1, 1, 1, 4, 4)),
)


def has_no_levels(config: Config) -> bool:
    """Whether the levels and their widths are refused, by both classes with errors of their own."""
    try:
        check_levels(config)
    except Unbuildable:
        return True
    return False


def _has_even_kernel(config: Config) -> bool:
    return not all(side % 2 for side in kernel_of(config["kernel_size"]))


ARCHITECTURE = Architecture(
    name="Unet2d",
    target="viscy_models.unet.Unet2d",
    arguments=_ARGUMENTS,
    layout=layout,
    footprint=footprint,
    candidates=candidates,
    outcome=outcome,
    input_shape=input_shape,
    outputs=("output",),
    generations=(
        Generation(
            name="v0.1",
            module="viscy.unet.networks.Unet2D",
            qualname="Unet2d",
            written_by="v0.1.0a0 to v0.4.1",
            releases=(_RELEASE,),
            layout=layout,
        ),
    ),
    cases=_CASES,
    accepted=(
        AcceptedDifference(
            id="unet2d-levels",
            side="new-refuses",
            error="ValueError",
            stage="build",
            applies=has_no_levels,
            reason="The old class refuses these with an AssertionError or an IndexError.",
            example=Case("two-widths-for-three", {**_TWO, "num_filters": (8, 16)}, (1, 1, 1, 8, 8)),
        ),
        AcceptedDifference(
            id="unet2d-even-kernel",
            side="new-refuses",
            error="ValueError",
            stage="build",
            applies=_has_even_kernel,
            reason="The old class refuses it with an AssertionError.",
            example=Case("even-kernel", {**_TWO, "kernel_size": (3, 4)}, (1, 1, 1, 8, 8)),
        ),
    ),
    defects=(
        Defect(
            "unet2d-dropout",
            lambda config, fed: 0 < config["dropout"] < 1,
            "the dropout is cut down to an integer, so that below 1 nothing is ever dropped",
        ),
    ),
    anchors=(
        "down_conv_block_0.Conv2d_0.weight",
        "bottom_transition_block.Conv2d_0.bias",
        "terminal_block.Conv2d_0.bias",
    ),
    spelling=spelling,
    sketches=sketches,
)
