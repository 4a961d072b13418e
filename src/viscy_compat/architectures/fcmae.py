"""FullyConvolutionalMAE: masked ConvNeXt V2 stages behind a stem for stacks and slices, with UNeXt2's decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any

from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    REQUIRED,
    AcceptedDifference,
    Ambiguity,
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
    Published,
    Release,
    Repeated,
    Signature,
    published_at,
)
from viscy_compat.architectures.bags import Bag, of_rank
from viscy_compat.architectures.outcome import Loss, Outcome, refuses_to_build, refuses_to_run
from viscy_compat.architectures.unet_parts import (
    HEAD_POOL,
    HEAD_SCALE,
    convnext_decoder,
    heads_in,
    patch_losses,
    patches,
    refusal,
    size_losses,
    slab_counts,
    voxel_head,
    wrong_slabs,
)
from viscy_compat.architectures.vocabulary import Entries, convolution, linear, norm
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Operation, Rename


class Footprint(NamedTuple):
    """What the layout shows of a configuration.

    ``last`` is the width before the head; ``head`` has the head's output channels and expansion, and is empty where the
    head has no convolutions.
    """

    in_channels: int
    blocks: tuple[int, ...]
    dims: tuple[int, ...]
    kernel: tuple[int, ...]
    stem: int
    decoder_blocks: int
    last: int
    head: tuple[int, ...]


def footprint(config: Config) -> Footprint:
    """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
    blocks, dims = tuple(config["encoder_blocks"]), tuple(config["dims"])
    kernel = tuple(config["stem_kernel_size"])
    _check_stages(blocks, dims)
    slabs = config["in_stack_depth"] // kernel[0]
    if not slabs:
        raise Unbuildable(f"in_stack_depth={config['in_stack_depth']} is less than the depth {kernel[0]} of the stem")
    last = last_width(config)
    if len(dims) > 1:
        _check_decoder(config["decoder_conv_blocks"], last)
    expansion = config["head_conv_expansion_ratio"]
    return Footprint(
        in_channels=config["in_channels"],
        blocks=blocks,
        dims=dims,
        kernel=kernel,
        stem=dims[0] // slabs,
        decoder_blocks=config["decoder_conv_blocks"] if len(dims) > 1 else 0,
        last=last if config["head_conv"] or len(dims) > 1 else 0,
        head=(config["out_channels"], expansion) if config["head_conv"] else (),
    )


def last_width(config: Config) -> int:
    """Return the width before the head; with convolutions it follows the input channels.

    Examples
    --------
    >>> last_width({"head_conv": False, "out_channels": 2, "in_stack_depth": 15, "stem_kernel_size": (5, 4, 4)})
    480
    """
    if config["head_conv"]:
        width = 4 * (config["in_stack_depth"] + 2) * config["in_channels"] * config["head_conv_expansion_ratio"]
    else:
        width = config["out_channels"] * config["in_stack_depth"] * config["stem_kernel_size"][-1] ** 2
    return int(width)


def _check_stages(blocks: tuple[int, ...], dims: tuple[int, ...]) -> None:
    if len(blocks) != len(dims) or not dims:
        raise Unbuildable(f"encoder_blocks={blocks} and dims={dims} are not equally many")
    if any(after != 2 * before for before, after in pairwise(dims)) or (len(dims) > 1 and dims[0] % 2):
        raise Unbuildable(f"dims={dims}: each must be twice the one before, and the first even")


def _check_decoder(blocks: int, last: int) -> None:
    if blocks < 1:
        raise Unbuildable("decoder_conv_blocks=0 leaves no layer before the next pixel shuffle")
    if last % 4:
        raise Unbuildable(f"the {last} channels before the head cannot feed a pixel shuffle by 2")


def layout(config: Config) -> Layout:
    """Return today's layout."""
    shown = footprint(config)
    found = _without_head(shown)
    if shown.head:
        outputs, expansion = shown.head
        found.update(voxel_head("head", outputs, shown.in_channels * expansion, expansion))
    return found


def layout_v010a(config: Config) -> Layout:
    """Return the layout before v0.1.0: convolutions in the head, but no head for a single slice."""
    if not config["head_conv"]:
        raise Unbuildable("before v0.1.0 the head had convolutions")
    return _without_head(footprint(config)) if config["in_stack_depth"] == 1 else layout(config)


def _without_head(shown: Footprint) -> Layout:
    width = shown.dims[0]
    found = dict(convolution("encoder.stem.conv3d", shown.stem, shown.in_channels, shown.kernel))
    found.update(convolution("encoder.stem.conv2d", width, shown.in_channels, shown.kernel[1:]))
    found.update(norm("encoder.stem.norm", width))
    for index, (count_of_blocks, dim) in enumerate(zip(shown.blocks, shown.dims, strict=True)):
        found.update(_stage(f"encoder.stages.{index}", dim, width, count_of_blocks))
        width = dim
    widths = (*shown.dims[:0:-1], shown.last)
    found.update(convnext_decoder("decoder", widths, shown.decoder_blocks, pre_conv=False))
    return found


def _stage(name: str, width: int, inputs: int, blocks: int) -> Entries:
    if inputs != width:
        yield from norm(f"{name}.downsample.0", inputs)
        yield from convolution(f"{name}.downsample.1", width, inputs, (2, 2))
    for index in range(blocks):
        block = f"{name}.blocks.{index}"
        yield from convolution(f"{block}.dwconv", width, 1, (7, 7), bias=False)
        yield from norm(f"{block}.layernorm", width)
        yield from linear(f"{block}.mlp.fc1", 4 * width, width)
        yield from norm(f"{block}.mlp.grn", 4 * width)
        yield from linear(f"{block}.mlp.fc2", width, 4 * width)


def to_today(found: Layout) -> tuple[Operation, ...]:
    """Return the rows from v0.1.0a to today: nothing moves. Without a head, five tensors stay missing."""
    return tuple(Rename(name, name) for name in found)


def candidates(found: Layout) -> Iterator[dict[str, Any]]:
    """Yield the configuration that the anchors show.

    Without convolutions in the head only the product of output channels and depth shows; the stem's slabs bound the
    depth, and the first fitting one is taken.
    """
    stages = count(found, *parts("encoder.stages.{}.blocks.0.layernorm")) or 1
    width = first_size(found, "encoder.stem.norm.bias", "encoder.stem.norm.weight", default=96)
    name = f"decoder.decoder_stages.{stages - 2}.conv.blocks.0.conv_dw"
    last = first_size(found, *parts(name), default=width)
    for stem in _stems(found, width):
        yield {
            "in_channels": stem[1],
            "encoder_blocks": tuple(_blocks_of(found, stage) for stage in range(stages)),
            "dims": tuple(width << stage for stage in range(stages)),
            "stem_kernel_size": stem[2:],
            "decoder_conv_blocks": count(found, *parts("decoder.decoder_stages.0.conv.blocks.{}.conv_dw")) or 1,
            **_head_arguments(found, stem, last, width),
        }


def _stems(found: Layout, width: int) -> list[tuple[int, ...]]:
    """Return the shape of the stem's weight, or where it is missing what it could be: only its depth shows nowhere."""
    shown = anchor(found, "encoder.stem.conv3d.weight", 5)
    if shown:
        return [shown]
    slabs = first_size(found, "encoder.stem.conv3d.bias", default=width)
    flat = anchor(found, "encoder.stem.conv2d.weight", 4) or (width, 1, 4, 4)
    return [(slabs, flat[1], depth, *flat[2:]) for depth in (5, 1, 2, 3, 4, 6, 7)]


def _blocks_of(found: Layout, stage: int) -> int:
    return count(found, *parts(f"encoder.stages.{stage}.blocks.{{}}.layernorm"))


def sketches(bag: Bag) -> Iterator[dict[str, Any]]:
    """Yield the configurations that the shapes of a bag allow.

    The linear layers of the encoder are the only matrices: their shapes are the widths, and their number the blocks.
    """
    dims = tuple(width for wide, width in of_rank(bag, 2) if wide == 4 * width)
    blocks = tuple(bag[4 * width, width] for width in dims)
    depthwise = sum(count for shape, count in bag.items() if shape[1:] == (1, 7, 7))
    lasts = sorted({shape[0] for shape in of_rank(bag, 4)})
    for stem, head, last in product(of_rank(bag, 5) if dims else (), heads_in(bag), lasts):
        yield {
            "in_channels": stem[1],
            "encoder_blocks": blocks,
            "dims": dims,
            "stem_kernel_size": stem[2:],
            "decoder_conv_blocks": max(1, (depthwise - sum(blocks)) // max(1, len(dims) - 1)),
            **(_headed(head, stem, last) if head else _headless(stem, last, dims[0])),
        }


def _head_arguments(found: Layout, stem: tuple[int, ...], last: int, width: int) -> dict[str, Any]:
    """Return what the head and the width before it show."""
    if any(name in found for name in parts("head.conv.1")):
        outputs = max(1, first_size(found, *parts("head.conv.1"), default=4) // 4)
        expansion = max(1, first_size(found, *parts("head.conv.0.conv"), default=4) // (4 * outputs))
        return _headed((outputs, expansion), stem, last)
    return _headless(stem, last, width)


def _headed(head: tuple[int, int], stem: tuple[int, ...], last: int) -> dict[str, Any]:
    """Return the arguments for output channels and expansion of a head, and the width before it."""
    outputs, expansion = head
    depth = max(1, last // (4 * max(1, stem[1]) * expansion) - 2)
    known = {"out_channels": outputs, "in_stack_depth": depth, "head_conv_expansion_ratio": expansion}
    return {**known, "head_conv": True}


def _headless(stem: tuple[int, ...], last: int, width: int) -> dict[str, Any]:
    """Return the arguments for a width before a head without convolutions."""
    planes, rest = divmod(last, max(1, stem[-1] ** 2))
    for depth in _depths_for(stem[0], stem[2], width):
        if not rest and planes % depth == 0:
            return {"out_channels": planes // depth, "in_stack_depth": depth, "head_conv": False}
    # what v0.1.0a wrote for a single slice: no head, and three slices' worth of channels
    expansion = max(1, last // (12 * max(1, stem[1])))
    return {"out_channels": 1, "in_stack_depth": 1, "head_conv": True, "head_conv_expansion_ratio": expansion}


def _depths_for(channels: int, kernel: int, width: int) -> list[int]:
    """Return the depths whose slabs give the stem these channels; those without a remainder come first."""
    slabs = sorted(slab_counts(channels, width))
    depths = [count_of_slabs * max(1, kernel) + rest for count_of_slabs in slabs for rest in range(max(1, kernel))]
    return sorted(depths, key=lambda depth: (depth % max(1, kernel) > 0, depth))


def outcome(config: Config, fed: tuple[int, ...]) -> Outcome:
    """Say what comes out for a fed shape ``(B, C, D, H, W)``.

    A single slice goes through a convolution of its own, whatever the depth. The encoder halves once less than it has
    stages. The head enlarges as the stem takes away, or four times with convolutions.
    """
    try:
        shown = footprint(config)
    except Unbuildable as error:
        return refuses_to_build(error.message)
    width = shown.dims[0]
    why = refusal(config, fed, len(shown.dims) - 1) or _wrong_stack(config, fed, width) or _wrong_width(config)
    if why:
        return refuses_to_run(why)
    scale = HEAD_SCALE if config["head_conv"] else config["stem_kernel_size"][-1]
    rows, columns = patches(config, fed)
    shape = (fed[0], config["out_channels"], config["in_stack_depth"], scale * rows, scale * columns)
    losses = (*_stem_losses(config, fed), *_depth_losses(fed, shape[2]), *size_losses(fed, shape[3:]))
    return Outcome(builds=True, runs=True, outputs={"output": shape}, losses=losses)


def _wrong_stack(config: Config, fed: tuple[int, ...], width: int) -> str:
    return "" if fed[2] == 1 else wrong_slabs(config, fed, width)


def _wrong_width(config: Config) -> str:
    """Say where a single stage does not have the width that the head reads."""
    width, last = config["dims"][0], last_width(config)
    if len(config["dims"]) > 1 or width == last:
        return ""
    return f"without a decoder stage the head reads {last} channels, and the encoder gives {width}"


def _stem_losses(config: Config, fed: tuple[int, ...]) -> Iterator[Loss]:
    """Yield what the stem never reads; a single slice is read whole."""
    for loss in patch_losses(config, fed):
        if loss.axis != 2 or fed[2] > 1:
            yield loss


def _depth_losses(fed: tuple[int, ...], depth: int) -> Iterator[Loss]:
    if fed[2] not in (1, depth):
        yield Loss("rounding", f"depth {fed[2]} comes back as {depth}", 2)


def input_shape(config: Config) -> tuple[int, ...]:
    """Return a batch of two with the depth of the configuration and the smallest sides that run."""
    step = 1 << (len(config["dims"]) - 1)
    sides = (max(2, step) * side for side in config["stem_kernel_size"][1:])
    return (2, config["in_channels"], config["in_stack_depth"], *sides)


def idle(config: Config) -> tuple[str, ...]:
    """Return the arguments that nothing reads: of convolutions in the head, of a decoder without stages."""
    head = () if config["head_conv"] else ("head_conv_expansion_ratio", "head_conv_pool")
    return head if len(config["dims"]) > 1 else (*head, "decoder_conv_blocks")


def _joint_depths(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield depths with the output channels that go with them; with convolutions in the head both are shown."""
    if config["head_conv"]:
        yield {"in_stack_depth": config["in_stack_depth"], "out_channels": config["out_channels"]}
        return
    planes = config["out_channels"] * config["in_stack_depth"]
    kernel, width = config["stem_kernel_size"][0], config["dims"][0]
    for depth in _depths_for(width // (config["in_stack_depth"] // kernel), kernel, width):
        if planes % depth == 0:
            yield {"in_stack_depth": depth, "out_channels": planes // depth}


def _output_channels(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield the output channels that go with the depth that was settled."""
    yield {"out_channels": config["out_channels"]}


def notes(config: Config) -> tuple[str, ...]:
    """Say where a single slice could also come from the class before v0.1.0."""
    headless = not config["head_conv"] and config["in_stack_depth"] == 1
    if not headless or last_width(config) % (12 * config["in_channels"]):
        return ()
    return ("development versions before v0.1.0 gave a single slice no head, and these widths too",)


def _dims(config: Config) -> Domain:
    stages = range(len(config["encoder_blocks"]))
    return Choice(tuple(tuple(first << stage for stage in stages) for first in (8, 16, 24, 48, 96)))


def _depth_domain(config: Config) -> Domain:
    kernel = config["stem_kernel_size"][0]
    return Integers(kernel, min(24, kernel * config["dims"][0]))


_STACK = Items((Integers(1, 5), Integers(1, 5), Integers(1, 5)))
_ABOUT_PRETRAINING = "true makes forward return a pair, the prediction and the mask, false the prediction alone"
_ARGUMENTS = (
    Argument("in_channels", REQUIRED, Integers(1, 3)),
    Argument("out_channels", REQUIRED, Integers(1, 3)),
    Argument("encoder_blocks", (3, 3, 9, 3), Repeated(Integers(1, 3), 2, 4)),
    Argument("dims", (96, 192, 384, 768), _dims),
    Argument("encoder_drop_path_rate", 0.0, Floats(0.0, 0.9), "training"),
    Argument("stem_kernel_size", (5, 4, 4), _STACK),
    Argument("in_stack_depth", 5, _depth_domain),
    Argument("decoder_conv_blocks", 1, Integers(1, 3)),
    Argument("pretraining", True, Choice((True, False)), about=_ABOUT_PRETRAINING),
    Argument("head_conv", False, Choice((False, True))),
    Argument("head_conv_expansion_ratio", 4, Integers(1, 6)),
    Argument("head_conv_pool", True, Choice((True, False)), about=HEAD_POOL),
)
_DEFAULTS = tuple((argument.name, argument.default) for argument in _ARGUMENTS)

_PACKAGES = {
    "viscy/__init__.py": "31573ed3c72e242128c263bfb29ed1e0a9c75729",
    "viscy/unet/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "viscy/unet/networks/__init__.py": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
}
_RELEASE = Release(
    wheel="0.4.0",
    revision="fe7a5da^",
    sources={
        **_PACKAGES,
        "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
        "viscy/unet/networks/fcmae.py": "d63b65a7d22cd60598283e0479583b95e1af5528",
    },
    signature=Signature(_DEFAULTS),
)


def _with_plain_head(config: Config) -> dict[str, Any]:
    """Return the arguments of the class before v0.1.0, whose head always had convolutions and a pool."""
    kept = {name: value for name, value in config.items() if not name.startswith("head_conv")}
    return {**kept, "head_expansion_ratio": config["head_conv_expansion_ratio"]}


_SIGNATURE_V010A = Signature(
    (
        *((name, value) for name, value in _DEFAULTS[:5]),
        ("head_expansion_ratio", 4),
        *((name, value) for name, value in _DEFAULTS[5:9]),
    )
)
_RELEASE_V010A = Release(
    wheel="",
    revision="d7d1200d5f",
    sources={
        **_PACKAGES,
        "viscy/unet/networks/Unet22D.py": "a215ff0e8808077f0f562158e744f1664d0703fe",
        "viscy/unet/networks/fcmae.py": "5134590689394b086849f916970503fdf868b1df",
    },
    signature=_SIGNATURE_V010A,
    fixed={"head_conv": True, "head_conv_pool": True},
    old_config=_with_plain_head,
)

_FULL = {"in_channels": 1, "out_channels": 2, "decoder_conv_blocks": 2, "pretraining": False}
_VSCYTO2D = {**_FULL, "stem_kernel_size": (1, 2, 2), "in_stack_depth": 1}
_VSCYTO3D = {**_FULL, "in_stack_depth": 15}
_NEUROMAST = {
    **_FULL,
    "in_stack_depth": 21,
    "stem_kernel_size": (7, 4, 4),
    "head_conv": True,
    "head_conv_pool": False,
}
_FLUOR2PHASE = {
    "in_channels": 2,
    "out_channels": 1,
    "decoder_conv_blocks": 2,
    "stem_kernel_size": (1, 2, 2),
    "in_stack_depth": 1,
}


def _small(in_channels: int = 1, out_channels: int = 1, blocks: Sequence[int] = (1, 1), **more: Any) -> dict[str, Any]:
    dims = tuple(8 << stage for stage in range(len(blocks)))
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "encoder_blocks": tuple(blocks),
        "dims": dims,
        **more,
    }


_CASES = (
    Case("defaults", {"in_channels": 1, "out_channels": 1}, (2, 1, 5, 32, 32)),
    Case("vscyto2d", _VSCYTO2D, (2, 1, 1, 16, 16)),
    Case("vscyto3d", _VSCYTO3D, (2, 1, 15, 32, 32)),
    Case("small", _small(2, 3), (2, 2, 5, 16, 24)),
    Case("four-stages", _small(blocks=(1, 2, 1, 1), pretraining=False), (2, 1, 5, 32, 64)),
    Case("drop-path", _small(encoder_drop_path_rate=0.5, blocks=(2, 2)), (4, 1, 5, 16, 16)),
    Case("one-slice-fed", _small(out_channels=2), (2, 1, 1, 16, 16)),
    Case("slices-never-read", _small(in_stack_depth=12), (2, 1, 14, 16, 16)),
    Case("head-conv", _small(2, 1, head_conv=True, in_stack_depth=10), (2, 2, 10, 16, 16)),
    Case(
        "head-conv-sharp",
        _small(1, 2, head_conv=True, head_conv_pool=False, head_conv_expansion_ratio=2),
        (2, 1, 5, 24, 16),
    ),
    Case("head-conv-doubles", _small(head_conv=True, stem_kernel_size=(5, 2, 2)), (2, 1, 5, 16, 16)),
    Case("odd-kernel", _small(out_channels=4, stem_kernel_size=(1, 3, 3), in_stack_depth=1), (2, 1, 1, 18, 12)),
    Case("kernel-of-one", _small(stem_kernel_size=(1, 1, 1), in_stack_depth=4), (2, 1, 4, 6, 4)),
    Case("cut-sides", _small(decoder_conv_blocks=3), (2, 1, 5, 18, 35)),
    Case("two-channels-and-slices", _small(2, 2, stem_kernel_size=(1, 2, 2), in_stack_depth=1), (2, 2, 1, 8, 8)),
    Case("one-stage", {**_small(blocks=(2,)), "dims": (80,)}, (3, 1, 5, 24, 17)),
)
_CASES_V010A = (
    Case(
        "before-v0.1.0",
        {"in_channels": 1, "out_channels": 2, "decoder_conv_blocks": 2, "head_conv": True},
        (2, 1, 5, 32, 32),
    ),
    Case("before-v0.1.0-small", _small(2, 1, head_conv=True, head_conv_expansion_ratio=2), (2, 2, 5, 16, 24)),
    Case("before-v0.1.0-one-slice", _small(head_conv=True, in_stack_depth=7, pretraining=False), (2, 1, 1, 16, 16)),
)


def _stages_do_not_fit(config: Config) -> bool:
    try:
        _check_stages(tuple(config["encoder_blocks"]), tuple(config["dims"]))
    except Unbuildable:
        return True
    return False


def _is_thin(config: Config) -> bool:
    return bool(config["in_stack_depth"] < config["stem_kernel_size"][0])


def _cannot_shuffle(config: Config) -> bool:
    return not _stages_do_not_fit(config) and len(config["dims"]) > 1 and last_width(config) % 4 > 0


_ACCEPTED = (
    AcceptedDifference(
        id="mae-stages",
        side="new-refuses",
        error="ValueError",
        stage="build",
        applies=_stages_do_not_fit,
        reason="The decoder joins maps of which each has half the width of the next; others built and never ran.",
        example=Case("not-doubled", {**_small(), "dims": (8, 24)}, (1, 1, 5, 16, 16)),
    ),
    AcceptedDifference(
        id="mae-thin-stack",
        side="new-refuses",
        error="ValueError",
        stage="build",
        applies=_is_thin,
        reason="A stack thinner than the stem kernel divided by zero in the old class.",
        example=Case("thin-stack", _small(in_stack_depth=3), (1, 1, 3, 16, 16)),
    ),
    AcceptedDifference(
        id="mae-odd-last-width",
        side="new-refuses",
        error="ValueError",
        stage="build",
        applies=_cannot_shuffle,
        reason="A width that 4 does not divide could not be started for the shuffle, with a RuntimeError about shapes.",
        example=Case("odd-last-width", _small(stem_kernel_size=(5, 3, 3)), (1, 1, 5, 18, 18)),
    ),
)


def _drops_slices(config: Config, fed: tuple[int, ...]) -> bool:
    return bool(fed[2] > 1 and fed[2] % config["stem_kernel_size"][0])


ARCHITECTURE = Architecture(
    name="FullyConvolutionalMAE",
    target="viscy_models.unet.FullyConvolutionalMAE",
    arguments=_ARGUMENTS,
    layout=layout,
    footprint=footprint,
    candidates=candidates,
    outcome=outcome,
    input_shape=input_shape,
    outputs=("output",),
    generations=(
        Generation(
            name="v0.1.0a",
            module="viscy.unet.networks.fcmae",
            qualname="FullyConvolutionalMAE",
            written_by="development versions between v0.1.0a1 and v0.1.0",
            releases=(_RELEASE_V010A,),
            layout=layout_v010a,
            to_today=to_today,
            loses=("with a single slice there was no head, so that the old model returned a map of features",),
            cases=_CASES_V010A,
            lost=lambda config: bool(config["in_stack_depth"] == 1),
        ),
        Generation(
            name="v0.1",
            module="viscy.unet.networks.fcmae",
            qualname="FullyConvolutionalMAE",
            written_by="v0.1.0 to v0.4.1",
            releases=(_RELEASE,),
            layout=layout,
        ),
    ),
    cases=_CASES,
    accepted=_ACCEPTED,
    defects=(
        Defect(
            "mae-slices",
            _drops_slices,
            "slices behind the last whole stem kernel are never read, and nothing says so",
        ),
        Defect(
            "mae-fixed-scale",
            lambda config, fed: config["head_conv"] and tuple(config["stem_kernel_size"][1:]) != (HEAD_SCALE,) * 2,
            "a head with convolutions enlarges four times whatever the stem takes away",
        ),
    ),
    published=(
        Published(
            "VSCyto2D",
            "epoch=399-step=23200.ckpt",
            "v0.1",
            _VSCYTO2D,
            "cytoland/examples/configs/vscyto2d/predict.yml",
            published_at("VS_models/VSCyto2D/VSCyto2D/epoch=399-step=23200.ckpt"),
        ),
        Published(
            "VSCyto3D (2025)",
            "epoch=83-step=14532-loss=0.492.ckpt",
            "v0.1",
            _VSCYTO3D,
            "cytoland/tests/test_inference_reproducibility.py",
            published_at("VS_models/VSCyto3D/epoch=83-step=14532-loss=0.492.ckpt"),
        ),
        Published(
            "VSNeuromast",
            "epoch=64-step=24960.ckpt",
            "v0.1",
            _NEUROMAST,
            "mehta-lab/VisCy issue 296, and scripts of the lab that load this file",
            published_at("VS_models/VSNeuromast/epoch=64-step=24960.ckpt"),
        ),
        Published(
            "fluor2phase demo",
            "fluor2phase_step668.ckpt",
            "v0.1",
            _FLUOR2PHASE,
            "cytoland/examples/dl-course-exercise/solution.py",
            published_at("VS_models/VSCyto2D/AIMBL_Demo/fluor2phase_step668.ckpt"),
        ),
    ),
    ambiguities=(
        Ambiguity(
            "in_stack_depth",
            "predictions",
            "without convolutions in the head only the product of depth and output channels shows",
            _joint_depths,
        ),
        Ambiguity("out_channels", "predictions", "see in_stack_depth", _output_channels),
    ),
    idle=idle,
    notes=notes,
    anchors=(
        "encoder.stem.conv3d.weight",
        "encoder.stem.norm.bias",
        "encoder.stages.1.downsample.1.weight",
        "decoder.decoder_stages.2.conv.blocks.0.conv_dw.bias",
        "head.conv.0.conv.bias",
        "head.conv.1.bias",
    ),
    sketches=sketches,
)
