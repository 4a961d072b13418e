"""BetaVae25D: the stem and a timm backbone down to a latent vector, and a decoder back to a stack.

The decoder knows one side only, that of the built map's height: what comes out is always square.
"""

from __future__ import annotations

from itertools import islice, pairwise, product
from math import isqrt

from viscy_compat.annotations import Any, Iterable, Iterator, Mapping, cached_property
from viscy_compat.architectures import stems
from viscy_compat.architectures.anchors import anchor, count, first_size
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Ambiguity,
    Argument,
    Axis,
    Case,
    Choice,
    Config,
    Defect,
    Floats,
    Generation,
    Integers,
    TupleOf,
    last_release,
)
from viscy_compat.architectures.backbones import BACKBONES_2D, backbone_2d, backbone_in, backbone_of
from viscy_compat.architectures.bags import Bag, Shape, of_rank, taken, without
from viscy_compat.architectures.convnext_unet import HEAD_POOL
from viscy_compat.architectures.outcome import Loss
from viscy_compat.architectures.vocabulary import (
    ConvolutionTraits,
    Entries,
    Residual,
    block,
    convolution,
    linear,
    residual_unit,
    transposed,
)
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple

_MOST_SIDES = 64
_MOST_STAGES = 32
"""Bounds on what is tried: the decoders of released files have three or four stages, and sides are pairs of small numbers."""


class VaeFootprint(NamedTuple):
    """What the layout shows of a configuration.

    ``flat`` is the number of features that reach the latent vector, ``side`` the height of the decoder's first map,
    ``widths`` those of the decoder as far as they show, ``scale`` the factor of each stage.
    """

    backbone: str
    in_channels: int
    kernel: tuple[int, int, int]
    stem: int
    flat: int
    side: int
    latent_dim: int
    widths: tuple[int, ...]
    scale: int
    deconv: bool
    pre_conv: bool
    conv_blocks: int
    batch: bool
    expansion: int


def built_map(config: Config) -> tuple[int, int]:
    """Return the height and width of the backbone's last map, as the constructor computes them."""
    reduction = BACKBONES_2D[config["backbone"]].reduction
    height, width = (
        size // stride // reduction
        for size, stride in zip(config["input_spatial_size"], config["stem_stride"][1:], strict=True)
    )
    return height, width


def decoder_widths(config: Config) -> tuple[int, ...]:
    """Return the widths of the decoder's maps: halved from stage to stage, then what the head needs."""
    first = BACKBONES_2D[config["backbone"]].last
    halves = (first // 2 ** (stage + 1) for stage in range(config["decoder_stages"] - 1))
    depth = config["out_stack_depth"] + 2
    return (first, *halves, depth * config["in_channels"] * 4 * config["head_expansion_ratio"])


def _stem_and_map(config: Config) -> tuple[int, int, int]:
    """Return the stem's width, and height and width of the last map; raises `Unbuildable` for what can never run."""
    backbone = backbone_of(config)
    if config["upsample_mode"] not in ("deconv", "pixelshuffle"):
        raise Unbuildable(f"upsample_mode={config['upsample_mode']!r} is neither 'deconv' nor 'pixelshuffle'")
    if config["decoder_stages"] > _MOST_STAGES:
        raise Unbuildable(f"decoder_stages={config['decoder_stages']} is beyond the {_MOST_STAGES} that are known here")
    stem = stems.stem_width(config, backbone.first)
    height, width = built_map(config)
    if min(height, width) < 1:
        size = " x ".join(map(str, config["input_spatial_size"]))
        least = " x ".join(str(stride * backbone.reduction) for stride in config["stem_stride"][1:])
        raise Unbuildable(f"an input of {size} leaves no map: it needs at least {least}")
    # the decoder gives each place of its first map a part of the latent vector, and takes the map for a square
    if config["latent_dim"] < height**2:
        raise Unbuildable(
            f"latent_dim={config['latent_dim']} is less than {height} x {height}, the decoder's first map"
        )
    return stem, height, width


def _decoder(footprint: VaeFootprint) -> Entries:
    channels = footprint.latent_dim // footprint.side**2
    yield from linear("decoder.latent_reshape", channels * footprint.side**2, footprint.latent_dim)
    yield from convolution("decoder.latent_proj", BACKBONES_2D[footprint.backbone].last, channels, (1, 1))
    for index, inputs in enumerate(footprint.widths[: None if not footprint.conv_blocks else -1]):
        outputs = footprint.widths[index + 1] if footprint.conv_blocks else 0
        yield from _decoder_stage(f"decoder.decoder_stages.{index}", outputs, inputs, footprint)
    middle = 4 * footprint.in_channels * footprint.expansion
    kernel = (3, 3, 3)
    yield from block("decoder.head.conv.0", middle, middle // 4, kernel, ConvolutionTraits(batch=False))
    yield from convolution("decoder.head.conv.1", 4 * footprint.in_channels, middle, (1, 1, 1))


def _decoder_stage(name: str, outputs: int, inputs: int, footprint: VaeFootprint) -> Entries:
    traits, scale = ConvolutionTraits(footprint.batch), footprint.scale
    if footprint.deconv:
        yield from transposed(f"{name}.upsample.conv", outputs, inputs, (scale, scale), bias=False)
        yield from residual_unit(f"{name}.conv.0", Residual(outputs, outputs, (3, 3)), traits)
        yield from convolution(f"{name}.conv.1", outputs, outputs, (1, 1))
        return
    # a pixel shuffle folds scale * scale channels into one
    width = inputs // scale**2
    if footprint.pre_conv:
        yield from convolution(f"{name}.upsample.pixelshuffle.conv_block", width * scale**2, inputs, (3, 3))
    for index in range(footprint.conv_blocks):
        yield from residual_unit(f"{name}.conv.{index}", Residual(outputs, width, (3, 3)), traits)
        width = outputs


def _ends(fives: list[Shape]) -> Iterator[tuple[Shape, Shape]]:
    """Yield the stem's weight and that of the head's last convolution, which share the input channels."""
    for stem, head in product(fives, fives):
        if head[0] == 4 * stem[1] > 0 == head[1] % head[0] and head[2:] == (1, 1, 1):
            yield stem, head


def _latents(rest: Bag, last: int) -> Iterator[tuple[int, int, int]]:
    """Yield the latent size with the height and width of the backbone's last map, from the four linear layers."""
    # `fc_mu` and `fc_logvar` are square and equal; `fc` leads to them, `latent_reshape` away from them
    matrices = of_rank(rest, 2)
    for latent in (shape[0] for shape in matrices if shape[0] == shape[1]):
        linear = taken(rest, (latent, latent), (latent, latent))
        flats = [flat for size, flat in matrices if size == latent and not flat % last]
        for flat, channels in product(flats if linear else (), (shape[1] for shape in of_rank(rest, 4))):
            side = isqrt(latent // channels)
            # the tallest map first; what else fits is tried behind it
            for height in range(side, 0, -1):
                if latent // height**2 == channels and not flat % (last * height):
                    yield latent, height, flat // (last * height)


def _decoders(rest: Bag, units: int, first: int, slice_width: int) -> Iterator[dict[str, Any]]:
    """Yield the decoders with a number of residual units: two PReLU weights each, besides the one of the head."""
    ends = {shape[0] for shape in of_rank(rest, 4) if shape[2:] == (3, 3) and not shape[0] % slice_width}
    depths = sorted(end // slice_width - 2 for end in ends if end > 2 * slice_width) or [1]
    for stages, mode, norm in product(range(_MOST_STAGES + 1), ("pixelshuffle", "deconv"), ("batch", "instance")):
        # every stage has as many residual units
        blocks, odd = divmod(units, max(1, stages))
        if odd or first >> max(0, stages - 1) == 0 or (mode == "deconv" and blocks != 1):
            continue
        for depth, pre_conv in product(depths, (None, "default") if mode == "pixelshuffle" else (None,)):
            yield {
                "out_stack_depth": depth,
                "decoder_stages": stages,
                "upsample_mode": mode,
                "conv_blocks": blocks,
                "norm_name": norm,
                "upsample_pre_conv": pre_conv,
            }


def _map(layout: Layout, backbone: str) -> tuple[int, int]:
    """Return the height and width of the backbone's last map; a square one where the decoder does not show it."""
    flat = (anchor(layout, "encoder.fc.weight", 2) or (1, 1))[1] // BACKBONES_2D[backbone].last
    area = first_size(layout, "decoder.latent_reshape.bias", "decoder.latent_reshape.weight", default=0)
    channels = anchor(layout, "decoder.latent_proj.weight", 4)
    height = isqrt(area // max(1, channels[1])) if channels and area else isqrt(flat)
    return max(1, height), max(1, flat // max(1, height))


def _decoder_arguments(layout: Layout, slice_width: int) -> dict[str, Any]:
    unit, shuffle = "conv.{}.conv.unit0.conv", "upsample.pixelshuffle.conv_block"
    stage = "decoder.decoder_stages.{}."
    stages = count(layout, f"{stage}conv.0.conv.unit0.conv.weight", f"{stage}conv.0.conv.unit0.conv.bias")
    pre_convs = count(layout, f"{stage}{shuffle}.weight", f"{stage}{shuffle}.bias")
    first, last = stage.format(0), stage.format(max(stages, 1) - 1)
    ends = (f"{last}conv.0.conv.unit0.conv.{part}" for part in ("weight", "bias"))
    width = first_size(layout, *ends, default=18 * slice_width)
    return {
        "out_stack_depth": max(1, width // slice_width - 2),
        "decoder_stages": _stages(layout, stages or pre_convs),
        "upsample_mode": "deconv" if f"{first}upsample.conv.weight" in layout else "pixelshuffle",
        # the stages are alike: where the first has lost its blocks, the last one shows how many there are
        "conv_blocks": max(count(layout, f"{one}{unit}.weight", f"{one}{unit}.bias") for one in (first, last)),
        "norm_name": "batch" if f"{first}conv.0.conv.unit0.adn.N.weight" in layout else "instance",
        "upsample_pre_conv": "default" if pre_convs else None,
    }


def _stages(layout: Layout, stages: int) -> int:
    """Return the number of stages; a single one that does not enlarge is what ``decoder_stages=0`` builds."""
    if stages != 1:
        return stages or 4
    first = "decoder.decoder_stages.0."
    up = anchor(layout, f"{first}upsample.conv.weight", 4)
    width = (anchor(layout, "decoder.latent_proj.bias", 1) or (0,))[0]
    inputs = anchor(layout, f"{first}conv.0.conv.unit0.conv.weight", 4)
    flat = up[2:] == (1, 1) if up else bool(inputs) and inputs[1] == width
    return 0 if flat else 1


def input_map(config: Config, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of the backbone's last map for an input of a shape."""
    reduction = BACKBONES_2D[config["backbone"]].reduction
    _, rows, columns = stems.input_windows(config, shape)
    if config["backbone"] == "resnet50":
        # its convolutions are padded, so that each halving rounds up, and all of them together; ConvNeXt rounds down
        return -(-rows // reduction), -(-columns // reduction)
    return rows // reduction, columns // reduction


def _wrong_width(config: Config) -> str:
    """Say where the channels of the decoder do not fit each other; they do unless there are too many stages."""
    if config["upsample_mode"] == "deconv":
        return ""
    widths = decoder_widths(config)
    folded = 4 if config["decoder_stages"] else 1
    actual = widths[0]
    for inputs, outputs in pairwise(widths):
        middle = inputs // folded
        if config["upsample_pre_conv"] == "default":
            fits, actual = actual == inputs, middle
        else:
            # a pixel shuffle by two takes four channels for one
            fits, actual = actual % folded == 0, actual // folded
        if not fits or (config["conv_blocks"] and actual != middle):
            return f"a decoder stage for {spell_count(inputs, 'channel')} gets another number, or one that 4 does not divide"
        actual = outputs if config["conv_blocks"] else actual
    depth = config["out_stack_depth"] + 2
    needed = depth * config["in_channels"] * 4 * config["head_expansion_ratio"]
    return "" if actual == needed else f"the head needs {needed} channels, the decoder gives {actual}"


def _joint_strides(config: Config, stated: Config) -> Iterator[Config]:
    """Yield stem strides with the depth and the input size that go with them."""
    height, width = built_map(config)
    reduction = BACKBONES_2D[config["backbone"]].reduction
    found: list[tuple[int, int]] = []
    if "input_spatial_size" in stated:
        # the strides in xy that round the stated size down to the built map, equal ones first
        rows_to_try, columns_to_try = (
            range(side // ((count + 1) * reduction) + 1, side // (count * reduction) + 1)
            for side, count in zip(stated["input_spatial_size"], (height, width), strict=True)
        )
        # cut before it is sorted: a large input has more pairs than anybody would look at
        found = list(islice(product(rows_to_try, columns_to_try), _MOST_SIDES))
        found.sort(key=lambda side: abs(side[0] - side[1]))
    for joint in stems.joint_strides(config, stated, found) if found else stems.joint_strides(config, stated):
        _, rows, columns = joint["stem_stride"]
        size = (height * rows * reduction, width * columns * reduction)
        yield {**joint, "input_spatial_size": stated.get("input_spatial_size", size)}


def _sizes(config: Config, stated: Config) -> Iterator[Config]:
    """Yield the exact input size and the corners of the range that is rounded down to the same map."""
    if "input_spatial_size" in stated:
        yield {"input_spatial_size": stated["input_spatial_size"]}
        return
    reduction = BACKBONES_2D[config["backbone"]].reduction
    steps = [stride * reduction for stride in config["stem_stride"][1:]]
    low = [count * step for count, step in zip(built_map(config), steps, strict=True)]
    high = [start + step - 1 for start, step in zip(low, steps, strict=True)]
    # the exact size first: it is taken where nothing is stated
    for size in ((low[0], low[1]), (low[0], high[1]), (high[0], low[1]), (high[0], high[1])):
        yield {"input_spatial_size": size}


_SMALL = {
    "in_channels": 1,
    "in_stack_depth": 4,
    "out_stack_depth": 4,
    "latent_dim": 32,
    "input_spatial_size": (64, 64),
    "head_expansion_ratio": 1,
}
_NEXT = {
    **_SMALL,
    "backbone": "convnext_tiny",
    "input_spatial_size": (32, 32),
    "decoder_stages": 3,
    "conv_blocks": 1,
}
_ROUNDED = {**_NEXT, "input_spatial_size": (64, 64), "latent_dim": 33}


class BetaVae25D(stems.StemmedArchitecture):
    """Everything that is known about BetaVae25D."""

    name = "BetaVae25D"
    target = "viscy_models.vae.BetaVae25D"
    arguments = (
        Argument("backbone", "resnet50", Choice(("resnet50", "convnext_tiny", "convnextv2_tiny"))),
        Argument("in_channels", 2, Integers(1, 3)),
        Argument("in_stack_depth", 16, stems.DEPTH),
        Argument("out_stack_depth", 16, Integers(1, 24)),
        Argument("latent_dim", 1024, Integers(1, 512)),
        Argument("input_spatial_size", (256, 256), TupleOf((Integers(16, 256), Integers(16, 256)))),
        Argument("stem_kernel_size", (2, 4, 4), stems.KERNEL),
        Argument("stem_stride", (2, 4, 4), stems.STRIDE, about=stems.ABOUT_STRIDE),
        Argument("drop_path_rate", 0.0, Floats(0.0, 0.9), "training"),
        Argument("decoder_stages", 4, Integers(1, 6)),
        Argument("head_expansion_ratio", 2, Integers(1, 4)),
        Argument("head_pool", False, Choice((False, True)), about=HEAD_POOL),
        Argument("upsample_mode", "pixelshuffle", Choice(("deconv", "pixelshuffle"))),
        Argument("conv_blocks", 2, Integers(1, 3)),
        Argument("norm_name", "batch", Choice(("batch", "instance"))),
        Argument("upsample_pre_conv", None, Choice((None, "default"))),
        Argument("pretrained", False, Choice((False, True)), "initial weights"),
    )
    outputs = ("recon_x", "mean", "logvar", "z")
    # Few different backbones, and cases of one in a row: building one is most of what a case costs.
    cases = (
        Case("resnet50", {**_SMALL, "conv_blocks": 1}, (2, 1, 4, 64, 64)),
        Case("convnext-exact", _NEXT, (2, 1, 4, 32, 32)),
        Case("convnext-doubles", {**_NEXT, "decoder_stages": 4, "conv_blocks": 2}, (2, 1, 4, 32, 32)),
        Case("deconv", {**_NEXT, "upsample_mode": "deconv"}, (2, 1, 4, 32, 32)),
        Case(
            "deconv-instance",
            {**_NEXT, "decoder_stages": 2, "upsample_mode": "deconv", "norm_name": "instance"},
            (2, 1, 4, 32, 32),
        ),
        Case(
            "pre-conv-pool-instance",
            {
                **_NEXT,
                "decoder_stages": 2,
                "upsample_pre_conv": "default",
                "head_pool": True,
                "norm_name": "instance",
            },
            (2, 1, 4, 32, 32),
        ),
        Case("three-conv-blocks", {**_NEXT, "conv_blocks": 3}, (2, 1, 4, 32, 32)),
        Case("not-square", {**_NEXT, "input_spatial_size": (32, 64)}, (2, 1, 4, 32, 64)),
        Case("odd-sides", {**_NEXT, "input_spatial_size": (39, 45)}, (2, 1, 5, 37, 41)),
        Case("latent-rounded", _ROUNDED, (2, 1, 4, 64, 64)),
        Case("fed-another-shape", _ROUNDED, (2, 1, 4, 32, 128)),
        Case(
            "two-channels-deep-head",
            {**_NEXT, "in_channels": 2, "out_stack_depth": 6, "head_expansion_ratio": 2},
            (2, 2, 4, 32, 32),
        ),
        Case(
            "second-convnext-and-drop-path",
            {**_NEXT, "backbone": "convnextv2_tiny", "drop_path_rate": 0.2},
            (4, 1, 4, 32, 32),
        ),
    )
    accepted_differences = (
        AcceptedDifference(
            id="vae-stem-without-slices",
            applies=stems.has_no_slices,
            reason="A stack thinner than the stem kernel divides by zero or asks for negative channels in the old class.",
            example=Case("thin-stack", {**_NEXT, "in_stack_depth": 1}, (2, 1, 1, 32, 32)),
        ),
        AcceptedDifference(
            id="vae-no-map",
            applies=lambda config: min(built_map(config)) < 1,
            reason="An input that the strides round to nothing divides by zero (height) or never runs (width).",
            example=Case("too-small", {**_NEXT, "input_spatial_size": (31, 32)}, (2, 1, 4, 31, 32)),
        ),
        AcceptedDifference(
            id="vae-latent-too-small",
            applies=lambda config: bool(config["latent_dim"] < built_map(config)[0] ** 2),
            reason="A latent vector with less than one value for each place of the decoder's first map never ran.",
            example=Case("small-latent", {**_NEXT, "input_spatial_size": (96, 96), "latent_dim": 8}, (2, 1, 4, 96, 96)),
        ),
    )
    defects = (
        Defect(
            "vae-size-changes",
            lambda config, shape: input_map(config, shape)[0] * 2 ** (config["decoder_stages"] + 2) != shape[3],
            "the reconstruction is side * 2 ** (decoder_stages + 2) high, whatever the input; with ConvNeXt and the "
            "default of four stages it doubles",
        ),
        Defect(
            "vae-square-only",
            lambda config, shape: shape[3] != shape[4],
            "the decoder knows the height of the built map only, so that a reconstruction is always square",
        ),
    )
    ambiguities = (
        Ambiguity("stem_stride", "predictions", stems.WHY_STRIDE, _joint_strides, complete=False),
        Ambiguity("in_stack_depth", "nothing", stems.WHY_DEPTH, stems.remaining_depths),
        Ambiguity(
            "input_spatial_size",
            "nothing",
            "sizes that the strides round down to the same map give the same model; the corners of the range are listed",
            _sizes,
            complete=False,
        ),
    )
    anchors = (
        "encoder.stem.conv.weight",
        "encoder.encoder.stages_0.blocks.0.conv_dw.weight",
        "encoder.encoder.layer1.0.conv1.weight",
        "encoder.fc.weight",
        "decoder.latent_reshape.weight",
        "decoder.latent_proj.weight",
        "decoder.head.conv.0.conv.weight",
        "decoder.head.conv.1.bias",
    )
    custom = (
        (
            ".upsample.pixelshuffle.conv_block",
            "upsample_pre_conv was a module of the user's own, whose code no file holds",
        ),
    )
    map_axes = (
        Axis("input side (pixels)", tuple(range(32, 321, 8)), "input_spatial_size", (0, 1)),
        Axis("stem stride in y and x", tuple(range(1, 9)), "stem_stride", (1, 2)),
    )

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """One state, the same in all releases."""
        sources = {
            "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
            "viscy/representation/vae.py": "f34c2828d565814b93eb8c1d1296efa9ab88c98f",
        }
        return (
            Generation(
                name="v0.4",
                module="viscy.representation.vae",
                qualname="BetaVae25D",
                written_by="v0.4.0 to v0.4.1",
                releases=(last_release(self.arguments, sources, lacking=("pretrained",)),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> VaeFootprint:
        """Return what the layout shows; raises `Unbuildable` for what can never run."""
        stem, height, width = _stem_and_map(config)
        deconv = config["upsample_mode"] == "deconv"
        pre_conv = not deconv and config["upsample_pre_conv"] == "default"
        # a stage that upsamples by a transposed convolution has one residual unit, whatever is stated
        blocks = 1 if deconv else config["conv_blocks"]
        # without convolutions in the stages no tensor has the last width, or any of them
        widths = decoder_widths(config)
        visible = widths if blocks else widths[:-1] if pre_conv else ()
        return VaeFootprint(
            backbone=config["backbone"],
            in_channels=config["in_channels"],
            kernel=config["stem_kernel_size"],
            stem=stem,
            flat=BACKBONES_2D[config["backbone"]].last * height * width,
            side=height,
            latent_dim=config["latent_dim"],
            widths=visible,
            scale=2 if config["decoder_stages"] or not blocks else 1,
            deconv=deconv,
            pre_conv=pre_conv,
            conv_blocks=blocks,
            batch=config["norm_name"] == "batch" and blocks > 0,
            expansion=config["head_expansion_ratio"],
        )

    def tensors(self, footprint: VaeFootprint) -> Entries:
        """Yield stem, backbone, latent layers and decoder."""
        latent = footprint.latent_dim
        yield from convolution("encoder.stem.conv", footprint.stem, footprint.in_channels, footprint.kernel)
        yield from backbone_2d(footprint.backbone, "encoder.encoder", features_only=True)
        yield from linear("encoder.fc", latent, footprint.flat)
        yield from linear("encoder.fc_mu", latent, latent)
        yield from linear("encoder.fc_logvar", latent, latent)
        yield from _decoder(footprint)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show, with the stride like the kernel and the smallest square input.

        The side of the decoder's first map is the root of ``latent_reshape`` out by ``latent_proj`` in; the width of the
        encoder's last map is ``fc`` in by channels by side; the head shows channels and expansion, and the last width of
        the decoder then shows the output depth.
        """
        backbone = backbone_in(layout, "encoder.encoder.", "stages_")
        stem_width = first_size(layout, "encoder.stem.conv.weight", "encoder.stem.conv.bias", default=8)
        stem = anchor(layout, "encoder.stem.conv.weight", 5) or (stem_width, 2, 2, 4, 4)
        kernel = tuple(max(1, width) for width in stem[2:])
        slices = max(1, BACKBONES_2D[backbone].first // max(1, stem_width))
        in_channels = max(
            1, first_size(layout, "decoder.head.conv.1.bias", "decoder.head.conv.1.weight", default=8) // 4
        )
        middle = first_size(layout, "decoder.head.conv.0.conv.bias", "decoder.head.conv.0.conv.weight", default=16)
        expansion = max(1, middle // (4 * in_channels))
        height, width = _map(layout, backbone)
        reduction = BACKBONES_2D[backbone].reduction
        yield {
            "backbone": backbone,
            "in_channels": stem[1],
            "in_stack_depth": stems.depths(slices, kernel[0], kernel[0])[0],
            "latent_dim": first_size(layout, "encoder.fc.bias", "encoder.fc_mu.bias", default=1024),
            "input_spatial_size": (height * kernel[1] * reduction, width * kernel[2] * reduction),
            "stem_kernel_size": kernel,
            "stem_stride": kernel,
            "head_expansion_ratio": expansion,
            **_decoder_arguments(layout, 4 * in_channels * expansion),
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose backbone is in a bag, with what is left of it as stem, latent layers and decoder."""
        for backbone, kind in BACKBONES_2D.items():
            rest = without(bag, backbone_2d(backbone, "encoder.encoder", features_only=True))
            if rest is None:
                continue
            fives = of_rank(rest, 5)
            for (stem, head), (latent, side, across) in product(_ends(fives), _latents(rest, kind.last)):
                slices, expansion = max(1, kind.first // stem[0]), head[1] // head[0]
                known = {
                    "backbone": backbone,
                    "in_channels": stem[1],
                    "in_stack_depth": stems.depths(slices, stem[2], stem[2])[0],
                    "latent_dim": latent,
                    "input_spatial_size": (side * stem[3] * kind.reduction, across * stem[4] * kind.reduction),
                    "stem_kernel_size": stem[2:],
                    "stem_stride": stem[2:],
                    "head_expansion_ratio": expansion,
                }
                # vectors of one number: two PReLU weights for each unit and one for the head; a
                # latent of 1 adds four biases
                units = (rest[1,] - (4 if latent == 1 else 0) - 1) // 2
                decoders = _decoders(rest, units, kind.last, 4 * stem[1] * expansion)
                yield from ({**known, **decoder} for decoder in decoders)

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two of the size that the configuration states."""
        return (2, config["in_channels"], config["in_stack_depth"], *config["input_spatial_size"])

    def arguments_of_input(self, shape: tuple[int, ...]) -> Config:
        """Return ``input_spatial_size``: what was trained on one size is nearly always fed that size."""
        return {"input_spatial_size": shape[3:]}

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: the encoder's last map must have the area that the constructor computed.

        ConvNeXt halves three times rounding down, ResNet four times rounding up.
        """
        if why := super().refusal(config, shape):
            return why
        built, given = built_map(config), input_map(config, shape)
        # the area, not the sides: what counts is how many features reach the latent layers
        if min(given) < 1 or given[0] * given[1] != built[0] * built[1]:
            size = " x ".join(map(str, config["input_spatial_size"]))
            asks = f"input_spatial_size={size} asks for {built[0]} x {built[1]}"
            return f"the backbone's map is {given[0]} x {given[1]}, {asks}"
        why, footprint = _wrong_width(config), self.footprint(config)
        instance = config["norm_name"] == "instance" and footprint.conv_blocks
        # in eval mode too: an instance norm has no running statistics to fall back on
        if not why and instance and footprint.side * footprint.scale == 1:
            return "the decoder's instance norms refuse a map of 1 x 1"
        return why

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return what comes out; the reconstruction is square, ``side * 2 ** (decoder_stages + 2)``."""
        side = built_map(config)[0] * 2 ** (config["decoder_stages"] + 2)
        latent = (shape[0], config["latent_dim"])
        recon = (shape[0], config["in_channels"], config["out_stack_depth"], side, side)
        return {"recon_x": recon, "mean": latent, "logvar": latent, "z": latent}

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Yield what the stem never reads, the aspect that is lost, and the sides that come back with another length."""
        yield from super().losses(config, shape, outputs)
        if shape[3] != shape[4]:
            yield Loss("orientation", f"the input is {shape[3]} x {shape[4]}, the reconstruction is square")
        for axis, name in ((2, "depth"), (3, "height"), (4, "width")):
            if shape[axis] != outputs["recon_x"][axis]:
                yield Loss("rounding", f"{name} {shape[axis]} comes back as {outputs['recon_x'][axis]}", axis)

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that a batch norm sees one value per channel in train mode."""
        footprint = self.footprint(config)
        encoder = config["backbone"] == "resnet50" and input_map(config, shape) == (1, 1)
        decoder = footprint.batch and footprint.side * footprint.scale == 1
        alone = shape[0] == 1 and (encoder or decoder)
        return "batch norm on a map of 1 x 1 needs a batch of at least 2 in train mode" if alone else ""

    def idle(self, config: Config) -> tuple[str, ...]:
        """Return the arguments that ``upsample_mode="deconv"`` does not read."""
        return ("conv_blocks", "upsample_pre_conv") if config["upsample_mode"] == "deconv" else ()


ARCHITECTURE = BetaVae25D()
