"""Unet3d: upstream's FNet3D, a U-Net of plain blocks with batch norms that halves the slices too."""

from __future__ import annotations

from math import prod

from viscy_compat.annotations import Iterator, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    Architecture,
    Argument,
    Axis,
    Case,
    Choice,
    Config,
    Generation,
    Integers,
    Publication,
    freeze,
)
from viscy_compat.architectures.bags import Bag, of_rank
from viscy_compat.architectures.vocabulary import Entries, batch_norm, convolution, transposed
from viscy_compat.architectures.volume_unet import (
    DYNACELL_MARKERS,
    INSTALL,
    Levels,
    double_convolution,
    form_refusal,
    level_chains,
    volume_unet,
)
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout

_MOST_DEPTH = 16
"""Deeper, a side of the input would be a multiple of 65,536."""

_NO_WAY = (
    (
        "the first FNet3D convolved by 2 where today's convolves by 3, with norms that today's does not have: its files run "
        "with its own code only (mehta-lab/VisCy at 619f4d24)"
    ),
)


_SOURCE = "dynacell/configs/recipes/models/fnet3d.yml; biohub/dynacell-checkpoints on the hub, which is not public"


class Unet3d(Architecture):
    """Everything that is known about Unet3d."""

    name = "Unet3d"
    target = "viscy_models.unet.Unet3d"
    install = INSTALL.format("")
    arguments = (
        Argument("in_channels", 1, Integers(1, 3)),
        Argument("out_channels", 1, Integers(1, 3)),
        Argument("depth", 4, Integers(1, 3)),
        Argument("mult_chan", 32, Integers(1, 12)),
        Argument("in_stack_depth", None, Choice((None, 8, 16, 32)), "nothing", about="only upstream's engine reads it"),
    )
    outputs = ("output",)
    cases = (
        Case("defaults", {}, (1, 1, 16, 16, 32)),
        Case("fnet3d-recipe", {"depth": 4, "mult_chan": 32, "in_stack_depth": 32}, (1, 1, 32, 16, 16)),
        Case("small", {"depth": 2, "mult_chan": 4}, (2, 1, 4, 8, 8)),
        Case("one-level", {"depth": 1, "mult_chan": 3}, (2, 1, 2, 4, 6)),
        Case("no-level", {"depth": 0, "mult_chan": 5}, (2, 1, 3, 5, 7)),
        Case("three-levels", {"depth": 3, "mult_chan": 2}, (2, 1, 8, 8, 16)),
        Case("channels", {"depth": 2, "mult_chan": 4, "in_channels": 2, "out_channels": 3}, (2, 2, 4, 8, 8)),
        Case("three-channels", {"depth": 1, "mult_chan": 4, "in_channels": 3}, (2, 3, 2, 8, 8)),
        Case("two-out", {"depth": 1, "mult_chan": 6, "out_channels": 2}, (3, 1, 2, 6, 6)),
        Case("one-width", {"depth": 2, "mult_chan": 1}, (2, 1, 4, 8, 8)),
        Case("not-square", {"depth": 2, "mult_chan": 3}, (2, 1, 8, 4, 12)),
        Case("one-place-below", {"depth": 2, "mult_chan": 3}, (1, 1, 4, 4, 4)),
        Case("stack-depth-without-effect", {"depth": 1, "mult_chan": 2, "in_stack_depth": 8}, (2, 1, 4, 4, 4)),
    )
    publications = tuple(
        Publication(
            f"FNet3D {marker}",
            f"fnet3d_{marker.lower()}.ckpt",
            generation="v0.5",
            config={"in_stack_depth": 32},
            source=_SOURCE,
        )
        for marker in DYNACELL_MARKERS
    )
    anchors = (
        "inconv.weight",
        "net_recurse.sub_2conv_more.conv1.weight",
        "_downsamples.0.weight",
        "_encoder_blocks.0.0.block1.norm.running_mean",
        "outconv.bias",
    )
    map_axes = (
        Axis("input depth (slices)", tuple(range(1, 49)), "in_stack_depth"),
        Axis("levels", tuple(range(1, 6)), "depth"),
    )

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The first state, of a branch for ten days, and the one of every release."""
        first = freeze("v0.5a", self)._replace(
            written_by="development versions from 2026-03-20 (619f4d24) to 2026-03-30",
            layout=self.layout_v05a,
            to_today=lambda layout: (),
            loses=_NO_WAY,
            is_stranded=lambda config: True,
        )
        return first, freeze("v0.5", self)._replace(written_by="upstream's viscy-models from v0.5.0a1 on")

    def footprint(self, config: Config) -> Levels:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        depth, width = config["depth"], config["mult_chan"]
        if not 0 <= depth <= _MOST_DEPTH or width < 1:
            raise Unbuildable(
                f"depth={depth} and mult_chan={width}: no width is left, or more levels than are known here"
            )
        dims = tuple(width << level for level in range(depth + 1))
        return Levels(config["in_channels"], config["out_channels"], dims, (1,) * depth, batch=True, deep=True)

    def tensors(self, footprint: Levels) -> Entries:
        """Yield the levels around a block of convolutions."""
        deepest = footprint.dims[-1]
        yield from volume_unet(footprint, double_convolution("bottleneck.block", deepest, deepest, footprint))

    def layout_v05a(self, config: Config) -> Layout:
        """Return the layout of the first state, in which each level holds the next."""
        footprint = self.footprint(config)
        end = convolution("conv_out", footprint.out_channels, footprint.dims[0], (3, 3, 3))
        return dict([*_levels_below("net_recurse", footprint.in_channels, footprint.dims), *end])

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show, of either state."""
        if any(
            name in layout for name in ("conv_out.bias", "conv_out.weight", "net_recurse.sub_2conv_more.conv1.weight")
        ):
            # the first state, in which each level holds the next: its depth is how often one is within another
            name, depth = "net_recurse", 0
            while f"{name}.conv_down.weight" in layout or f"{name}.bn0.weight" in layout:
                name, depth = f"{name}.sub_u", depth + 1
            width = first_size(layout, *parts("net_recurse.sub_2conv_more.conv1"), default=32)
            first = anchor(layout, "net_recurse.sub_2conv_more.conv1.weight", 5) or (width, 1)
            outputs = first_size(layout, *parts("conv_out"), default=1)
            yield {"in_channels": first[1], "out_channels": outputs, "depth": depth, "mult_chan": width}
            return
        depth = count(layout, *parts("_downsamples.{}"))
        width = first_size(layout, *parts("inconv"), default=32)
        yield {
            "in_channels": (anchor(layout, "inconv.weight", 5) or (width, 1))[1],
            "out_channels": first_size(layout, *parts("outconv"), default=1),
            "depth": depth,
            "mult_chan": width,
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose levels follow from each other in the shapes of a bag."""
        kernel = (3, 3, 3)
        for dims, _ in level_chains(bag, kernel):
            for inputs in {shape[1] for shape in of_rank(bag, 5) if shape[0] == dims[0] and shape[2:] == kernel}:
                for outputs in {shape[0] for shape in of_rank(bag, 5) if shape[1] == dims[0] and shape[2:] == kernel}:
                    channels = {"in_channels": inputs, "out_channels": outputs}
                    yield {**channels, "depth": len(dims) - 1, "mult_chan": dims[0]}

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two of the stated depth, or the smallest that runs, and the smallest sides that train."""
        step = 1 << min(config["depth"], _MOST_DEPTH)
        return (2, config["in_channels"], config["in_stack_depth"] or step, step, step)

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: slices and sides are halved at every level."""
        why, step = form_refusal(config, shape), 1 << config["depth"]
        if why or not any(size % step for size in shape[2:]):
            return why
        return f"slices, rows and columns must be multiples of {step}, not {' x '.join(map(str, shape[2:]))}"

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the size of the input, with the output channels."""
        return {"output": (shape[0], config["out_channels"], *shape[2:])}

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that the batch norms at the bottom see one place."""
        places = shape[0] * prod(size >> config["depth"] for size in shape[2:])
        return "" if places > 1 else "batch norm needs more than one place at the lowest level in train mode"


def _levels_below(name: str, inputs: int, dims: tuple[int, ...]) -> Entries:
    width, *deeper = dims
    yield from _pair(f"{name}.sub_2conv_more", width, inputs)
    if not deeper:
        return
    yield from _pair(f"{name}.sub_2conv_less", width, 2 * width)
    yield from convolution(f"{name}.conv_down", width, width, (2, 2, 2))
    yield from batch_norm(f"{name}.bn0", width)
    yield from transposed(f"{name}.convt", width, 2 * width, (2, 2, 2))
    yield from batch_norm(f"{name}.bn1", width)
    yield from _levels_below(f"{name}.sub_u", width, tuple(deeper))


def _pair(name: str, outputs: int, inputs: int) -> Entries:
    for place, width in ((1, inputs), (2, outputs)):
        yield from convolution(f"{name}.conv{place}", outputs, width, (3, 3, 3))
        yield from batch_norm(f"{name}.bn{place}", outputs)


ARCHITECTURE = Unet3d()
