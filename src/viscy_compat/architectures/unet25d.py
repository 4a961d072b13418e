"""Unet25d: a U-Net that encodes stacks in 3D and takes slices away on the way to its decoder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Ambiguity,
    Architecture,
    Argument,
    Case,
    Choice,
    Config,
    Domain,
    Floats,
    Generation,
    Integers,
    Release,
    Signature,
)
from viscy_compat.architectures.bags import Bag, TooManyWays, count_of_rank, of_rank
from viscy_compat.architectures.outcome import Outcome, refuses_to_build, refuses_to_run
from viscy_compat.architectures.unet2d import (
    MOST_CHAINS,
    MOST_LEVELS,
    ODD_KERNEL,
    PACKAGES,
    check_kernel,
    check_levels,
    filters_domain,
    has_no_levels,
    refusal,
    with_listed_filters,
)
from viscy_compat.architectures.unet_parts import ABOUT_RESIDUAL, conv_block, level_widths
from viscy_compat.architectures.vocabulary import convolution
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple

_TERMINAL_KERNEL = (1, 3, 3)
_MOST_DROPOUT = 0.5


class Footprint(NamedTuple):
    """What the layout shows of a configuration; ``lost`` are the slices that go in and do not come out."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    widths: tuple[int, ...]
    layers: int
    lost: int
    norm_at_the_end: bool


def footprint(config: Config) -> Footprint:
    """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
    height, width = config["xy_kernel_size"]
    lost = config["in_stack_depth"] - config["out_stack_depth"]
    check_levels(config)
    check_kernel((height, width))
    if lost < 0:
        raise Unbuildable(f"{config['out_stack_depth']} slices cannot come out of {config['in_stack_depth']}")
    if not 0 <= config["dropout"] <= _MOST_DROPOUT:
        raise Unbuildable(f"dropout={config['dropout']} is not between 0 and {_MOST_DROPOUT}")
    return Footprint(
        config["in_channels"],
        config["out_channels"],
        (height, width),
        level_widths(config),
        config["num_block_layers"],
        lost,
        config["task"] != "reg",
    )


def layout(config: Config) -> Layout:
    """Return the layout of a complete configuration."""
    shown = footprint(config)
    found: Layout = {}
    *widths, deepest = shown.widths
    through = (shown.lost + 1, 1, 1)
    for level, (inputs, outputs) in enumerate(pairwise((shown.in_channels, *widths))):
        kernel = (3, *shown.kernel)
        found.update(conv_block(f"down_conv_block_{level}", outputs, inputs, kernel, shown.layers, norms=True))
    found.update(convolution("bottom_transition_block", deepest, widths[-1], through))
    for step, (deep, shallow) in enumerate(pairwise(shown.widths[::-1])):
        kernel = (1, *shown.kernel)
        found.update(conv_block(f"up_conv_block_{step}", shallow, deep + shallow, kernel, shown.layers, norms=True))
    for level, width in enumerate(widths):
        found.update(convolution(f"skip_conv_layer_{level}", width, width, through))
    end = conv_block("terminal_block", shown.out_channels, widths[0], _TERMINAL_KERNEL, 1, norms=shown.norm_at_the_end)
    found.update(end)
    return found


def candidates(found: Layout) -> Iterator[dict[str, Any]]:
    """Yield the configuration that the anchors show; of the depths only the difference does, and one comes out."""
    blocks = count(found, *parts("down_conv_block_{}.Conv3d_0")) or 1
    first = anchor(found, "down_conv_block_0.Conv3d_0.weight", 5) or (16, 1, 3, 3, 3)
    names = [*(f"down_conv_block_{level}.Conv3d_0" for level in range(blocks)), "bottom_transition_block"]
    yield {
        "in_channels": first[1],
        "out_channels": first_size(found, *parts("terminal_block.Conv3d_0"), default=1),
        "in_stack_depth": (anchor(found, "bottom_transition_block.weight", 5) or (1, 1, 5))[2],
        "out_stack_depth": 1,
        "xy_kernel_size": (anchor(found, "up_conv_block_0.Conv3d_0.weight", 5) or first)[3:],
        "num_blocks": blocks,
        "num_block_layers": count(found, *parts("down_conv_block_0.Conv3d_{}")),
        "num_filters": tuple(first_size(found, *parts(name), default=16) for name in names),
        "task": "seg" if "terminal_block.batch_norm_0.weight" in found else "reg",
    }


def sketches(bag: Bag) -> Iterator[dict[str, Any]]:
    """Yield the configurations whose levels follow from each other in the shapes of a bag.

    With n levels below the first there are n blocks down and as many up, each with its convolutions and one of size 1;
    n skip connections, the way through the bottom, and two convolutions at the end.
    """
    shapes = of_rank(bag, 5)
    total = count_of_rank(bag, 5)
    kernels = sorted({shape[3:] for shape in shapes if shape[2] == 3}, reverse=True)
    depths = sorted({shape[2] for shape in shapes if shape[3:] == (1, 1)})
    for kernel, depth, blocks in product(kernels, depths, range(1, min(total, MOST_LEVELS))):
        layers, rest = divmod(total - 3 - 3 * blocks, 2 * blocks)
        for inputs, widths in () if rest or layers < 1 else _levels(bag, kernel, depth, blocks):
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


def _levels(bag: Bag, kernel: tuple[int, ...], depth: int, blocks: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield input channels and widths for which the bag has the first convolution of each block, down and up."""
    down, through = (3, *kernel), (depth, 1, 1)
    firsts = [shape[:2] for shape in of_rank(bag, 5) if shape[2:] == down]
    chains: list[tuple[int, tuple[int, ...]]] = [(inputs, (width,)) for width, inputs in firsts]
    for level in range(blocks):
        steps = firsts if level < blocks - 1 else [shape[:2] for shape in of_rank(bag, 5) if shape[2:] == through]
        chains = [
            (inputs, (*widths, width))
            for inputs, widths in chains
            for width, before in steps
            if before == widths[-1] and (before, before + width, 1, *kernel) in bag
        ]
        if len(chains) > MOST_CHAINS:
            raise TooManyWays
    return iter(chains)


def outcome(config: Config, fed: tuple[int, ...]) -> Outcome:
    """Say what comes out for a fed shape ``(B, C, D, H, W)``.

    Any depth runs that leaves a slice; sides must be multiples of ``2 ** num_blocks``.
    """
    try:
        shown = footprint(config)
    except Unbuildable as error:
        return refuses_to_build(error.message)
    depth = fed[2] - shown.lost if len(fed) == 5 else 0
    why = refusal(config, fed) or ("" if depth > 0 else f"{fed[2]} slices are no more than the {shown.lost} taken away")
    if why:
        return refuses_to_run(why)
    outputs = {"output": (fed[0], shown.out_channels, depth, *fed[3:])}
    return Outcome(builds=True, runs=True, outputs=outputs)


def input_shape(config: Config) -> tuple[int, ...]:
    """Return a batch of two stacks of the depth of the configuration and the smallest sides that run."""
    side = 1 << config["num_blocks"]
    return (2, config["in_channels"], config["in_stack_depth"], side, side)


def spelling(stated: Config, config: Config) -> dict[str, Any]:
    """Return stated arguments in the spelling of `candidates`: filters in full."""
    if stated.get("num_filters") != ():
        return dict(stated)
    return {**stated, "num_filters": level_widths({"num_blocks": config["num_blocks"], "num_filters": ()})}


_SHOWN_DEPTHS = 4


def _depths(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield depths with the same difference."""
    lost = config["in_stack_depth"] - config["out_stack_depth"]
    if "in_stack_depth" in stated:
        outputs = [stated["in_stack_depth"] - lost]
    else:
        outputs = [stated["out_stack_depth"]] if "out_stack_depth" in stated else list(range(1, _SHOWN_DEPTHS + 1))
    for depth in outputs:
        yield {"in_stack_depth": depth + lost, "out_stack_depth": depth}


def _out_depth(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield the output depth that goes with the input depth that was settled."""
    yield {"out_stack_depth": config["out_stack_depth"]}


def _out_domain(config: Config) -> Domain:
    return Integers(1, config["in_stack_depth"])


_ARGUMENTS = (
    Argument("in_channels", 1, Integers(1, 3)),
    Argument("out_channels", 1, Integers(1, 3)),
    Argument("in_stack_depth", 5, Integers(1, 9)),
    Argument("out_stack_depth", 1, _out_domain),
    Argument("xy_kernel_size", (3, 3), ODD_KERNEL),
    Argument("residual", False, Choice((False, True)), about=ABOUT_RESIDUAL),
    Argument("dropout", 0.2, Floats(0.0, _MOST_DROPOUT), "training"),
    Argument("num_blocks", 4, Integers(1, 4)),
    Argument("num_block_layers", 2, Integers(1, 3)),
    Argument("num_filters", (), filters_domain),
    Argument("task", "seg", Choice(("seg", "reg"))),
)
_RELEASE = Release(
    wheel="0.4.0",
    revision="fe7a5da^",
    sources={
        **PACKAGES,
        "viscy/unet/networks/Unet25D.py": "8a34042d75d9978fcc848d44e7a4b4f068f74b31",
        "viscy/unet/networks/layers/ConvBlock3D.py": "893c612efee8aae92c70c353bc274f522de81478",
    },
    signature=Signature(tuple((argument.name, argument.default) for argument in _ARGUMENTS)),
    old_config=with_listed_filters,
)

_TWO = {"num_blocks": 2}
_CASES = (
    Case("defaults", {}, (2, 1, 5, 32, 48)),
    Case("regression", {**_TWO, "task": "reg"}, (2, 1, 5, 16, 16)),
    Case("residual", {**_TWO, "residual": True}, (2, 1, 5, 16, 16)),
    Case("residual-regression", {**_TWO, "residual": True, "task": "reg", "in_channels": 2}, (2, 2, 5, 8, 12)),
    Case("filters", {**_TWO, "num_filters": (24, 8, 40), "residual": True}, (2, 1, 5, 16, 8)),
    Case("narrowing", {**_TWO, "num_filters": (9, 6, 3), "residual": True, "in_channels": 3}, (2, 3, 5, 8, 8)),
    Case("channels", {**_TWO, "in_channels": 3, "out_channels": 4}, (2, 3, 5, 8, 8)),
    Case("all-slices-come-out", {**_TWO, "in_stack_depth": 3, "out_stack_depth": 3}, (2, 1, 3, 8, 8)),
    Case("seven-to-three", {**_TWO, "in_stack_depth": 7, "out_stack_depth": 3}, (2, 1, 7, 8, 8)),
    Case("fed-another-depth", {**_TWO, "in_stack_depth": 3}, (2, 1, 6, 8, 8)),
    Case("one-layer", {**_TWO, "num_block_layers": 1}, (2, 1, 5, 8, 8)),
    Case("three-layers", {"num_blocks": 1, "num_block_layers": 3, "residual": True}, (2, 1, 5, 6, 10)),
    Case("uneven-kernel", {**_TWO, "xy_kernel_size": (1, 5)}, (2, 1, 5, 8, 8)),
    Case("no-dropout", {**_TWO, "dropout": 0.0}, (2, 1, 5, 8, 8)),
    Case("most-dropout", {**_TWO, "dropout": 0.5, "residual": True}, (4, 1, 5, 8, 8)),
)


def _adds_slices(config: Config) -> bool:
    return bool(config["out_stack_depth"] > config["in_stack_depth"])


def _has_even_kernel(config: Config) -> bool:
    return not all(side % 2 for side in config["xy_kernel_size"])


def _drops_too_much(config: Config) -> bool:
    return not 0 <= config["dropout"] <= _MOST_DROPOUT


def _refused(name: str, applies: Any, reason: str, **config: Any) -> AcceptedDifference:
    example = Case(name, {**_TWO, **config}, (1, 1, 5, 8, 8))
    return AcceptedDifference(f"unet25d-{name}", "new-refuses", "ValueError", "build", applies, reason, example)


ARCHITECTURE = Architecture(
    name="Unet25d",
    target="viscy_models.unet.Unet25d",
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
            module="viscy.unet.networks.Unet25D",
            qualname="Unet25d",
            written_by="v0.1.0a0 to v0.4.1",
            releases=(_RELEASE,),
            layout=layout,
        ),
    ),
    cases=_CASES,
    accepted=(
        _refused(
            "levels",
            has_no_levels,
            "The old class refuses these with an AssertionError or an IndexError.",
            num_filters=(8, 16),
        ),
        _refused(
            "even-kernel",
            _has_even_kernel,
            "The old class refuses it with an AssertionError.",
            xy_kernel_size=(4, 3),
        ),
        _refused(
            "dropout",
            _drops_too_much,
            "The old class refuses it with an AssertionError.",
            dropout=0.6,
        ),
        _refused(
            "more-slices",
            _adds_slices,
            "The old class asked for a kernel without a size, which torch refuses in its own words.",
            out_stack_depth=7,
        ),
    ),
    ambiguities=(
        Ambiguity(
            "in_stack_depth",
            "nothing",
            "only the difference of the two depths makes the model",
            _depths,
            complete=False,
        ),
        Ambiguity("out_stack_depth", "nothing", "see in_stack_depth", _out_depth),
    ),
    anchors=(
        "down_conv_block_0.Conv3d_0.weight",
        "bottom_transition_block.weight",
        "terminal_block.Conv3d_0.bias",
        "terminal_block.batch_norm_0.weight",
    ),
    spelling=spelling,
    sketches=sketches,
)
