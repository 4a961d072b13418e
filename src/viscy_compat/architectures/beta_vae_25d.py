"""BetaVae25D: the stem and a timm backbone down to a latent vector, and a decoder back to a stack.

The decoder knows one side only, that of the built map's height: what comes out is always square.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise, product
from math import isqrt
from typing import Any

from viscy_compat.architectures import stems
from viscy_compat.architectures.anchors import anchor, count, first_size
from viscy_compat.architectures.architecture import (
    AcceptedDifference,
    Ambiguity,
    Architecture,
    Argument,
    Case,
    Choice,
    Config,
    Defect,
    Floats,
    Generation,
    Integers,
    Items,
    Release,
    Signature,
)
from viscy_compat.architectures.backbones import BACKBONES_2D, SAME_AS_RESNET50, backbone_2d, backbone_of
from viscy_compat.architectures.bags import Bag, Shape, of_rank, taken, without
from viscy_compat.architectures.outcome import Loss, Outcome, refuses_to_build, refuses_to_run
from viscy_compat.architectures.unet_parts import HEAD_POOL
from viscy_compat.architectures.vocabulary import (
    Entries,
    Residual,
    Style,
    block,
    convolution,
    linear,
    residual_unit,
    transposed,
)
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple

_MOST_SIDES = 64
_MOST_STAGES = 32


class Footprint(NamedTuple):
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
    halved = (first // 2 ** (stage + 1) for stage in range(config["decoder_stages"] - 1))
    depth = config["out_stack_depth"] + 2
    return (first, *halved, depth * config["in_channels"] * 4 * config["head_expansion_ratio"])


def footprint(config: Config) -> Footprint:
    """Return what the layout shows; raises `Unbuildable` for what can never run."""
    backbone = backbone_of(config)
    if config["upsample_mode"] not in ("deconv", "pixelshuffle"):
        raise Unbuildable(f"upsample_mode={config['upsample_mode']!r} is neither 'deconv' nor 'pixelshuffle'")
    if config["decoder_stages"] > _MOST_STAGES:
        raise Unbuildable(f"decoder_stages={config['decoder_stages']} is beyond the {_MOST_STAGES} that are known here")
    stem = stems.stem_width(config, backbone.first)
    height, width = built_map(config)
    if min(height, width) < 1:
        raise Unbuildable(_no_map(config, backbone.reduction))
    if config["latent_dim"] < height**2:
        raise Unbuildable(
            f"latent_dim={config['latent_dim']} is less than {height} x {height}, the decoder's first map"
        )
    deconv = config["upsample_mode"] == "deconv"
    pre_conv = not deconv and config["upsample_pre_conv"] == "default"
    blocks = 1 if deconv else config["conv_blocks"]
    return Footprint(
        backbone=config["backbone"],
        in_channels=config["in_channels"],
        kernel=config["stem_kernel_size"],
        stem=stem,
        flat=backbone.last * height * width,
        side=height,
        latent_dim=config["latent_dim"],
        widths=_shown_widths(decoder_widths(config), blocks, pre_conv),
        scale=2 if config["decoder_stages"] or not blocks else 1,
        deconv=deconv,
        pre_conv=pre_conv,
        conv_blocks=blocks,
        batch=config["norm_name"] == "batch" and blocks > 0,
        expansion=config["head_expansion_ratio"],
    )


def _no_map(config: Config, reduction: int) -> str:
    height, width = config["input_spatial_size"]
    rows, columns = (stride * reduction for stride in config["stem_stride"][1:])
    return f"an input of {height} x {width} leaves no map: it needs at least {rows} x {columns}"


def _shown_widths(widths: tuple[int, ...], blocks: int, pre_conv: bool) -> tuple[int, ...]:
    """Return the widths that tensors show: without convolutions in the stages, the last one or all are hidden."""
    if blocks:
        return widths
    return widths[:-1] if pre_conv else ()


def layout(config: Config) -> Layout:
    """Return the layout of a complete configuration."""
    shown = footprint(config)
    found = dict(convolution("encoder.stem.conv", shown.stem, shown.in_channels, shown.kernel))
    found.update(backbone_2d(shown.backbone, "encoder.encoder", features_only=True))
    found.update(linear("encoder.fc", shown.latent_dim, shown.flat))
    found.update(linear("encoder.fc_mu", shown.latent_dim, shown.latent_dim))
    found.update(linear("encoder.fc_logvar", shown.latent_dim, shown.latent_dim))
    found.update(_decoder(shown))
    return found


def _decoder(shown: Footprint) -> Entries:
    channels = shown.latent_dim // shown.side**2
    yield from linear("decoder.latent_reshape", channels * shown.side**2, shown.latent_dim)
    yield from convolution("decoder.latent_proj", BACKBONES_2D[shown.backbone].last, channels, (1, 1))
    for index, inputs in enumerate(shown.widths[: None if not shown.conv_blocks else -1]):
        outputs = shown.widths[index + 1] if shown.conv_blocks else 0
        stage = f"decoder.decoder_stages.{index}"
        yield from _deconv(stage, outputs, inputs, shown) if shown.deconv else _shuffle(stage, outputs, inputs, shown)
    middle = 4 * shown.in_channels * shown.expansion
    kernel = (3, 3, 3)
    yield from block("decoder.head.conv.0", middle, middle // 4, kernel, Style(batch=False))
    yield from convolution("decoder.head.conv.1", 4 * shown.in_channels, middle, (1, 1, 1))


def _deconv(name: str, outputs: int, inputs: int, shown: Footprint) -> Entries:
    yield from transposed(f"{name}.upsample.conv", outputs, inputs, (shown.scale, shown.scale), bias=False)
    yield from residual_unit(f"{name}.conv.0", Residual(outputs, outputs, (3, 3)), Style(shown.batch))
    yield from convolution(f"{name}.conv.1", outputs, outputs, (1, 1))


def _shuffle(name: str, outputs: int, inputs: int, shown: Footprint) -> Entries:
    folded = shown.scale**2
    if shown.pre_conv:
        yield from convolution(f"{name}.upsample.pixelshuffle.conv_block", inputs // folded * folded, inputs, (3, 3))
    width = inputs // folded
    for index in range(shown.conv_blocks):
        yield from residual_unit(f"{name}.conv.{index}", Residual(outputs, width, (3, 3)), Style(shown.batch))
        width = outputs


def candidates(found: Layout) -> Iterator[dict[str, Any]]:
    """Yield the configuration that the anchors show, with the stride like the kernel and the smallest square input.

    The side of the decoder's first map is the root of ``latent_reshape`` out by ``latent_proj`` in; the width of the
    encoder's last map is ``fc`` in by channels by side; the head shows channels and expansion, and the last width of
    the decoder then shows the output depth.
    """
    backbone = _backbone(found)
    stem_width = first_size(found, "encoder.stem.conv.weight", "encoder.stem.conv.bias", default=8)
    stem = anchor(found, "encoder.stem.conv.weight", 5) or (stem_width, 2, 2, 4, 4)
    kernel = tuple(max(1, width) for width in stem[2:])
    slices = max(1, BACKBONES_2D[backbone].first // max(1, stem_width))
    in_channels = max(1, first_size(found, "decoder.head.conv.1.bias", "decoder.head.conv.1.weight", default=8) // 4)
    middle = first_size(found, "decoder.head.conv.0.conv.bias", "decoder.head.conv.0.conv.weight", default=16)
    expansion = max(1, middle // (4 * in_channels))
    height, width = _map(found, backbone)
    reduction = BACKBONES_2D[backbone].reduction
    yield {
        "backbone": backbone,
        "in_channels": stem[1],
        "in_stack_depth": stems.depths(slices, kernel[0], kernel[0])[0],
        "latent_dim": first_size(found, "encoder.fc.bias", "encoder.fc_mu.bias", default=1024),
        "input_spatial_size": (height * kernel[1] * reduction, width * kernel[2] * reduction),
        "stem_kernel_size": kernel,
        "stem_stride": kernel,
        "head_expansion_ratio": expansion,
        **_decoder_arguments(found, 4 * in_channels * expansion),
    }


def sketches(bag: Bag) -> Iterator[dict[str, Any]]:
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
            units = (rest[1,] - (4 if latent == 1 else 0) - 1) // 2
            decoders = _decoders(rest, units, kind.last, 4 * stem[1] * expansion)
            yield from ({**known, **decoder} for decoder in decoders)


def _ends(fives: list[Shape]) -> Iterator[tuple[Shape, Shape]]:
    """Yield the stem's weight and that of the head's last convolution, which share the input channels."""
    for stem, head in product(fives, fives):
        if head[0] == 4 * stem[1] and head[2:] == (1, 1, 1) and not head[1] % head[0]:
            yield stem, head


def _latents(rest: Bag, last: int) -> Iterator[tuple[int, int, int]]:
    """Yield the latent size with the height and width of the backbone's last map, from the four linear layers."""
    matrices = of_rank(rest, 2)
    for latent in (shape[0] for shape in matrices if shape[0] == shape[1]):
        linear = taken(rest, (latent, latent), (latent, latent))
        flats = [flat for size, flat in matrices if size == latent and not flat % last]
        for flat, channels in product(flats if linear else (), (shape[1] for shape in of_rank(rest, 4))):
            side = isqrt(latent // channels)
            for height in range(side, 0, -1):
                if latent // height**2 == channels and not flat % (last * height):
                    yield latent, height, flat // (last * height)


def _decoders(rest: Bag, units: int, first: int, slice_width: int) -> Iterator[dict[str, Any]]:
    """Yield the decoders with a number of residual units: two PReLU weights each, besides the one of the head."""
    ends = {shape[0] for shape in of_rank(rest, 4) if shape[2:] == (3, 3) and not shape[0] % slice_width}
    depths = sorted(end // slice_width - 2 for end in ends if end > 2 * slice_width) or [1]
    for stages, mode, norm in product(range(_MOST_STAGES + 1), ("pixelshuffle", "deconv"), ("batch", "instance")):
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


def _backbone(found: Layout) -> str:
    if "encoder.encoder.layer1.0.conv1.weight" in found or "encoder.encoder.bn1.weight" in found:
        return "resnet50"
    blocks = ("encoder.encoder.stages_0.blocks.0", "encoder.encoder.stages_0.blocks.1")
    return "convnextv2_tiny" if any(f"{block}.mlp.grn.weight" in found for block in blocks) else "convnext_tiny"


def _map(found: Layout, backbone: str) -> tuple[int, int]:
    """Return the height and width of the backbone's last map; a square one where the decoder does not show it."""
    flat = (anchor(found, "encoder.fc.weight", 2) or (1, 1))[1] // BACKBONES_2D[backbone].last
    area = first_size(found, "decoder.latent_reshape.bias", "decoder.latent_reshape.weight", default=0)
    channels = anchor(found, "decoder.latent_proj.weight", 4)
    height = isqrt(area // max(1, channels[1])) if channels and area else isqrt(flat)
    return max(1, height), max(1, flat // max(1, height))


def _decoder_arguments(found: Layout, slice_width: int) -> dict[str, Any]:
    unit, shuffle = "conv.{}.conv.unit0.conv", "upsample.pixelshuffle.conv_block"
    stage = "decoder.decoder_stages.{}."
    stages = count(found, f"{stage}conv.0.conv.unit0.conv.weight", f"{stage}conv.0.conv.unit0.conv.bias")
    pre_convs = count(found, f"{stage}{shuffle}.weight", f"{stage}{shuffle}.bias")
    first, last = stage.format(0), stage.format(max(stages, 1) - 1)
    ends = (f"{last}conv.0.conv.unit0.conv.{part}" for part in ("weight", "bias"))
    width = first_size(found, *ends, default=18 * slice_width)
    return {
        "out_stack_depth": max(1, width // slice_width - 2),
        "decoder_stages": _stages(found, stages or pre_convs),
        "upsample_mode": "deconv" if f"{first}upsample.conv.weight" in found else "pixelshuffle",
        "conv_blocks": count(found, f"{first}{unit}.weight", f"{first}{unit}.bias") if stages else 0,
        "norm_name": "batch" if f"{first}conv.0.conv.unit0.adn.N.weight" in found else "instance",
        "upsample_pre_conv": "default" if pre_convs else None,
    }


def _stages(found: Layout, stages: int) -> int:
    """Return the number of stages; a single one that does not enlarge is what ``decoder_stages=0`` builds."""
    if stages != 1:
        return stages or 4
    first = "decoder.decoder_stages.0."
    up = anchor(found, f"{first}upsample.conv.weight", 4)
    width = (anchor(found, "decoder.latent_proj.bias", 1) or (0,))[0]
    inputs = anchor(found, f"{first}conv.0.conv.unit0.conv.weight", 4)
    flat = up[2:] == (1, 1) if up else bool(inputs) and inputs[1] == width
    return 0 if flat else 1


def outcome(config: Config, fed: tuple[int, ...]) -> Outcome:
    """Say what comes out for a fed shape ``(B, C, D, H, W)``.

    The last map of the encoder must have the area that the constructor computed: ConvNeXt halves three times rounding
    down, ResNet four times rounding up. The reconstruction is square, ``side * 2 ** (decoder_stages + 2)``.
    """
    try:
        shown = footprint(config)
    except Unbuildable as error:
        return refuses_to_build(error.message)
    why = stems.refusal(config, fed) or _wrong_map(config, fed) or _wrong_width(config) or _one_pixel(config, shown)
    if why:
        return refuses_to_run(why)
    side = shown.side * 2 ** (config["decoder_stages"] + 2)
    latent = (fed[0], shown.latent_dim)
    recon = (fed[0], shown.in_channels, config["out_stack_depth"], side, side)
    outputs = {"recon_x": recon, "mean": latent, "logvar": latent, "z": latent}
    losses = (*stems.stem_losses(config, fed), *_shape_losses(fed, recon))
    why = _untrainable(config, shown, fed)
    return Outcome(builds=True, runs=True, outputs=outputs, losses=losses, why=why, trains=not why)


def fed_map(config: Config, fed: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of the backbone's last map for a fed shape."""
    reduction = BACKBONES_2D[config["backbone"]].reduction
    _, rows, columns = stems.fed_windows(config, fed)
    if config["backbone"] == "resnet50":
        return -(-rows // reduction), -(-columns // reduction)
    return rows // reduction, columns // reduction


def _wrong_map(config: Config, fed: tuple[int, ...]) -> str:
    built, given = built_map(config), fed_map(config, fed)
    if min(given) >= 1 and given[0] * given[1] == built[0] * built[1]:
        return ""
    size = " x ".join(map(str, config["input_spatial_size"]))
    return f"the backbone's map is {given[0]} x {given[1]}, input_spatial_size={size} asks for {built[0]} x {built[1]}"


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
            fits, actual = actual % folded == 0, actual // folded
        if not fits or (config["conv_blocks"] and actual != middle):
            return f"a decoder stage for {inputs} channels gets another number, or one that 4 does not divide"
        actual = outputs if config["conv_blocks"] else actual
    return _wrong_head(config, actual)


def _wrong_head(config: Config, actual: int) -> str:
    depth = config["out_stack_depth"] + 2
    needed = depth * config["in_channels"] * 4 * config["head_expansion_ratio"]
    return "" if actual == needed else f"the head needs {needed} channels, the decoder gives {actual}"


def _one_pixel(config: Config, shown: Footprint) -> str:
    """Say that an instance norm refuses a map of one pixel, in train and in eval mode."""
    refused = config["norm_name"] == "instance" and shown.conv_blocks and shown.side * shown.scale == 1
    return "the decoder's instance norms refuse a map of 1 x 1" if refused else ""


def _untrainable(config: Config, shown: Footprint, fed: tuple[int, ...]) -> str:
    """Say that a batch norm sees one value per channel in train mode."""
    encoder = config["backbone"] == "resnet50" and fed_map(config, fed) == (1, 1)
    decoder = shown.batch and shown.side * shown.scale == 1
    refused = fed[0] == 1 and (encoder or decoder)
    return "batch norm on a map of 1 x 1 needs a batch of at least 2 in train mode" if refused else ""


def _shape_losses(fed: tuple[int, ...], recon: tuple[int, ...]) -> Iterator[Loss]:
    if fed[3] != fed[4]:
        yield Loss("orientation", f"the input is {fed[3]} x {fed[4]}, the reconstruction is square")
    for axis, name in ((2, "depth"), (3, "height"), (4, "width")):
        if fed[axis] != recon[axis]:
            yield Loss("rounding", f"{name} {fed[axis]} comes back as {recon[axis]}", axis)


def input_shape(config: Config) -> tuple[int, ...]:
    """Return a batch of two of the size that the configuration states."""
    return (2, config["in_channels"], config["in_stack_depth"], *config["input_spatial_size"])


def idle(config: Config) -> tuple[str, ...]:
    """Return the arguments that ``upsample_mode="deconv"`` does not read."""
    return ("conv_blocks", "upsample_pre_conv") if config["upsample_mode"] == "deconv" else ()


def notes(config: Config) -> tuple[str, ...]:
    """Return what the evidence for resnet50 does not exclude."""
    if config["backbone"] != "resnet50":
        return ()
    return (f"{', '.join(SAME_AS_RESNET50)} have the same layout as resnet50 without its first convolution",)


def _joint_strides(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield stem strides with the depth and the input size that go with them."""
    height, width = built_map(config)
    reduction = BACKBONES_2D[config["backbone"]].reduction
    sides = (
        _sides_for((height, width), stated["input_spatial_size"], reduction) if "input_spatial_size" in stated else None
    )
    for joint in stems.joint_strides(config, stated, sides) if sides else stems.joint_strides(config, stated):
        _, rows, columns = joint["stem_stride"]
        size = (height * rows * reduction, width * columns * reduction)
        yield {**joint, "input_spatial_size": stated.get("input_spatial_size", size)}


def _sides_for(built: tuple[int, int], size: tuple[int, int], reduction: int) -> list[tuple[int, int]]:
    """Return the strides in xy that round a size down to the built map, equal ones first."""
    rows, columns = (
        range(side // ((count + 1) * reduction) + 1, side // (count * reduction) + 1)
        for side, count in zip(size, built, strict=True)
    )
    found = islice(product(rows, columns), _MOST_SIDES)
    return sorted(found, key=lambda side: abs(side[0] - side[1]))


def _sizes(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield the exact input size and the corners of the range that is rounded down to the same map."""
    if "input_spatial_size" in stated:
        yield {"input_spatial_size": stated["input_spatial_size"]}
        return
    reduction = BACKBONES_2D[config["backbone"]].reduction
    steps = [stride * reduction for stride in config["stem_stride"][1:]]
    low = [count * step for count, step in zip(built_map(config), steps, strict=True)]
    high = [start + step - 1 for start, step in zip(low, steps, strict=True)]
    for size in ((low[0], low[1]), (low[0], high[1]), (high[0], low[1]), (high[0], high[1])):
        yield {"input_spatial_size": size}


_ARGUMENTS = (
    Argument("backbone", "resnet50", Choice(("resnet50", "convnext_tiny", "convnextv2_tiny"))),
    Argument("in_channels", 2, Integers(1, 3)),
    Argument("in_stack_depth", 16, stems.DEPTH),
    Argument("out_stack_depth", 16, Integers(1, 24)),
    Argument("latent_dim", 1024, Integers(1, 512)),
    Argument("input_spatial_size", (256, 256), Items((Integers(16, 256), Integers(16, 256)))),
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

_RELEASE = Release(
    wheel="0.4.0",
    revision="fe7a5da^",
    sources={
        "viscy/__init__.py": "31573ed3c72e242128c263bfb29ed1e0a9c75729",
        "viscy/unet/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "viscy/unet/networks/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
        "viscy/representation/vae.py": "f34c2828d565814b93eb8c1d1296efa9ab88c98f",
    },
    signature=Signature(tuple((argument.name, argument.default) for argument in _ARGUMENTS[:-1])),
)

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

# Few different backbones, and cases of one in a row: building one is most of what a case costs.
_CASES = (
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


def _leaves_no_map(config: Config) -> bool:
    return min(built_map(config)) < 1


def _latent_too_small(config: Config) -> bool:
    return bool(config["latent_dim"] < built_map(config)[0] ** 2)


ARCHITECTURE = Architecture(
    name="BetaVae25D",
    target="viscy_models.vae.BetaVae25D",
    arguments=_ARGUMENTS,
    layout=layout,
    footprint=footprint,
    candidates=candidates,
    outcome=outcome,
    input_shape=input_shape,
    outputs=("recon_x", "mean", "logvar", "z"),
    generations=(
        Generation(
            name="v0.4",
            module="viscy.representation.vae",
            qualname="BetaVae25D",
            written_by="v0.4.0 to v0.4.1",
            releases=(_RELEASE,),
            layout=layout,
        ),
    ),
    cases=_CASES,
    accepted=(
        AcceptedDifference(
            id="vae-stem-without-slices",
            side="new-refuses",
            error="ValueError",
            stage="build",
            applies=stems.has_no_slices,
            reason="A stack thinner than the stem kernel divides by zero or asks for negative channels in the old class.",
            example=Case("thin-stack", {**_NEXT, "in_stack_depth": 1}, (2, 1, 1, 32, 32)),
        ),
        AcceptedDifference(
            id="vae-no-map",
            side="new-refuses",
            error="ValueError",
            stage="build",
            applies=_leaves_no_map,
            reason="An input that the strides round to nothing divides by zero (height) or never runs (width).",
            example=Case("too-small", {**_NEXT, "input_spatial_size": (31, 32)}, (2, 1, 4, 31, 32)),
        ),
        AcceptedDifference(
            id="vae-latent-too-small",
            side="new-refuses",
            error="ValueError",
            stage="build",
            applies=_latent_too_small,
            reason="A latent vector with less than one value for each place of the decoder's first map never ran.",
            example=Case("small-latent", {**_NEXT, "input_spatial_size": (96, 96), "latent_dim": 8}, (2, 1, 4, 96, 96)),
        ),
    ),
    defects=(
        Defect(
            "vae-size-changes",
            lambda config, fed: fed_map(config, fed)[0] * 2 ** (config["decoder_stages"] + 2) != fed[3],
            "the reconstruction is side * 2 ** (decoder_stages + 2) high, whatever the input; with ConvNeXt and the "
            "default of four stages it doubles",
        ),
        Defect(
            "vae-square-only",
            lambda config, fed: fed[3] != fed[4],
            "the decoder knows the height of the built map only, so that a reconstruction is always square",
        ),
    ),
    ambiguities=(
        Ambiguity("stem_stride", "predictions", stems.WHY_STRIDE, _joint_strides, complete=False),
        Ambiguity("in_stack_depth", "nothing", stems.WHY_DEPTH, stems.remaining_depths),
        Ambiguity(
            "input_spatial_size",
            "nothing",
            "sizes that the strides round down to the same map give the same model; the corners of the range are listed",
            _sizes,
            complete=False,
        ),
    ),
    idle=idle,
    anchors=(
        "encoder.stem.conv.weight",
        "encoder.encoder.stages_0.blocks.0.conv_dw.weight",
        "encoder.encoder.layer1.0.conv1.weight",
        "encoder.fc.weight",
        "decoder.latent_reshape.weight",
        "decoder.latent_proj.weight",
        "decoder.head.conv.0.conv.weight",
        "decoder.head.conv.1.bias",
    ),
    custom=(
        (
            ".upsample.pixelshuffle.conv_block",
            "upsample_pre_conv was a module of the user's own, whose code no file holds",
        ),
    ),
    notes=notes,
    sketches=sketches,
)
