"""UNeXt2: a timm ConvNeXt between a 3D stem and a 3D head, with a ConvNeXt V2 decoder."""

from __future__ import annotations

from itertools import product

from viscy_compat.annotations import Any, Iterator, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    OLD_PACKAGES,
    AcceptedDifference,
    Ambiguity,
    Argument,
    Case,
    Choice,
    Config,
    Defect,
    Domain,
    Floats,
    Generation,
    Integers,
    Publication,
    Release,
    Signature,
    TupleOf,
    last_release,
    published_at,
)
from viscy_compat.architectures.backbones import CONVNEXTS, ConvNext, backbone_2d
from viscy_compat.architectures.bags import Bag, of_rank, without
from viscy_compat.architectures.convnext_unet import (
    HEAD_POOL,
    HEAD_SCALE,
    ConvnextUnet,
    convnext_decoder,
    heads_in,
    patches,
    shown_head,
    slab_counts,
    to_today,
    voxel_head,
)
from viscy_compat.architectures.vocabulary import Entries, convolution
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple


class UNeXt2Footprint(NamedTuple):
    """What the layout shows of a configuration; ``last`` is the width before the head."""

    backbone: str
    in_channels: int
    kernel: tuple[int, int, int]
    stem: int
    blocks: int
    pre_conv: bool
    out_channels: int
    expansion: int
    last: int


def out_depth(config: Config) -> int:
    """Return the slices that come out; as many as go in where nothing else is said.

    Examples
    --------
    >>> out_depth({"in_stack_depth": 5, "out_stack_depth": None})
    5
    """
    depth: int | None = config["out_stack_depth"]
    return int(config["in_stack_depth"]) if depth is None else depth


def _kind(config: Config) -> ConvNext:
    if config["decoder_mode"] != "pixelshuffle":
        raise Unbuildable(f"decoder_mode={config['decoder_mode']!r} never ran; only 'pixelshuffle' does")
    if config["backbone"] not in CONVNEXTS:
        raise Unbuildable(f"backbone={config['backbone']!r} is none of {', '.join(CONVNEXTS)}")
    return CONVNEXTS[config["backbone"]]


def _blocks(config: Config) -> int:
    # a stage that neither widens before the shuffle nor convolves behind it has no tensor at all
    if config["decoder_conv_blocks"] < 1 and not config["decoder_upsample_pre_conv"]:
        raise Unbuildable("decoder_conv_blocks=0 leaves no layer before the next pixel shuffle")
    return int(config["decoder_conv_blocks"])


def _stem_channels(config: Config, width: int) -> int:
    depth, kernel = config["in_stack_depth"], config["stem_kernel_size"][0]
    # the stem strides by its own depth in z: each slab gives a part of the encoder's channels; a damaged file may show none
    slabs = depth // kernel if kernel else 0
    if not slabs or depth % kernel:
        raise Unbuildable(f"in_stack_depth={depth} is no multiple of the stem kernel's depth {kernel}")
    # rounded down: what several depths give alike (`_depths`)
    channels = width // slabs
    if not channels or width % channels:
        raise Unbuildable(f"{slabs} slabs cannot share out the {width} channels of the encoder")
    return int(channels)


def _without_head(footprint: UNeXt2Footprint) -> Entries:
    # from the deepest map up to the second, which is joined to the first; then what the head needs
    widths = (*CONVNEXTS[footprint.backbone].widths[:0:-1], footprint.last)
    yield from backbone_2d(footprint.backbone, "encoder_stages", features_only=True)
    yield from convolution("stem.conv", footprint.stem, footprint.in_channels, footprint.kernel)
    yield from convnext_decoder("decoder", widths, footprint.blocks, pre_conv=footprint.pre_conv)


def _backbone(layout: Layout) -> str:
    """Return the ConvNeXt with the width, blocks and version that the encoder shows."""
    block = "encoder_stages.stages_{}.blocks.0."
    width = first_size(layout, *parts(f"{block.format(0)}conv_dw"), default=96)
    stages = [block.format(stage) for stage in range(4)]
    # version 2 has a global response norm where version 1 has a layer scale; with neither, the default is meant
    second = _any(layout, *(f"{stage}mlp.grn.weight" for stage in stages)) or not _any(
        layout, *(f"{stage}gamma" for stage in stages)
    )
    blocks = tuple(count(layout, *parts(f"encoder_stages.stages_{stage}.blocks.{{}}.conv_dw")) for stage in range(4))
    same = [name for name, kind in CONVNEXTS.items() if (kind.width, kind.second) == (width, second)]
    exact = [name for name in same if CONVNEXTS[name].blocks == blocks]
    # a damaged file shows too few blocks: what has its width comes nearest, else the class's default
    return (exact or same or ["convnextv2_tiny"])[0]


def _any(layout: Layout, *names: str) -> bool:
    return any(name in layout for name in names)


def _head_arguments(head: tuple[int, int] | None, last: int) -> dict[str, int]:
    """Return the arguments for output channels and expansion of a head, None where there is none."""
    if head is None:
        # one channel and one slice, which the head pads to three: 4 * 3 * expansion
        return {"out_channels": 1, "head_expansion_ratio": max(1, last // 12), "out_stack_depth": 1}
    outputs, expansion = head
    # the inverse of `last` in `footprint`: the head pads its depth by one slice at both ends
    depth = max(1, last // (4 * outputs * expansion) - 2)
    return {"out_channels": outputs, "head_expansion_ratio": expansion, "out_stack_depth": depth}


def _depths(config: Config, stated: Config) -> Iterator[Config]:
    """Yield the depths whose slabs give the stem as many channels, the exact one first."""
    if "in_stack_depth" in stated:
        yield {"in_stack_depth": stated["in_stack_depth"]}
        return
    width = _kind(config).width
    for slabs in slab_counts(_stem_channels(config, width), width):
        yield {"in_stack_depth": slabs * config["stem_kernel_size"][0]}


def _kernels(config: Config) -> Domain:
    """Return stem kernels whose depth divides the stack and whose slabs can share out the encoder's channels."""
    depth, width = config["in_stack_depth"], CONVNEXTS[config["backbone"]].width
    # a damaged file may show any depth: the slabs are at most as many as the channels
    slabs = [count for count in range(min(width, depth), 0, -1) if depth % count == 0 and width % count == 0]
    deep = [depth // count for count in slabs]
    return TupleOf((Choice(tuple(deep)), Choice((1, 2, 3, 4, 8)), Choice((1, 2, 3, 4, 8))))


_ATTO = {"backbone": "convnextv2_atto"}
"""The smallest backbone of the kind: building it is most of what a case costs."""

_VSCYTO3D = {"out_channels": 2, "head_pool": True}
_NEUROMAST = {**_VSCYTO3D, "in_stack_depth": 21, "stem_kernel_size": (7, 4, 4)}

_CASES_V010A = (
    Case("unet21d", {}, (2, 1, 5, 32, 32)),
    Case("unet21d-vscyto3d", _VSCYTO3D, (2, 1, 5, 32, 32)),
    Case("unet21d-atto", {**_ATTO, "in_channels": 2, "decoder_upsample_pre_conv": True}, (2, 2, 5, 32, 32)),
)


def _cannot_share(config: Config) -> bool:
    # backbones and depths that are refused for another reason are not this row's business
    depth, kernel = config["in_stack_depth"], config["stem_kernel_size"][0]
    kind = CONVNEXTS.get(config["backbone"])
    if kind is None or depth % kernel or depth < kernel:
        return False
    channels = kind.width // (depth // kernel)
    return not channels or bool(kind.width % channels)


class UNeXt2(ConvnextUnet):
    """Everything that is known about UNeXt2."""

    name = "UNeXt2"
    target = "viscy_models.unet.UNeXt2"
    arguments = (
        Argument("in_channels", 1, Integers(1, 3)),
        Argument("out_channels", 1, Integers(1, 3)),
        Argument("in_stack_depth", 5, Integers(1, 24)),
        Argument("out_stack_depth", None, Integers(1, 16)),
        Argument("backbone", "convnextv2_tiny", Choice(("convnextv2_tiny", "convnext_tiny", "convnextv2_atto"))),
        Argument("pretrained", False, Choice((False, True)), "initial weights"),
        Argument("stem_kernel_size", (5, 4, 4), _kernels),
        Argument("decoder_mode", "pixelshuffle", Choice(("pixelshuffle",))),
        Argument("decoder_conv_blocks", 2, Integers(1, 3)),
        Argument("decoder_norm_layer", "instance", Choice(("instance", "batch")), "nothing"),
        Argument("decoder_upsample_pre_conv", False, Choice((False, True))),
        Argument("head_pool", False, Choice((False, True)), about=HEAD_POOL),
        Argument("head_expansion_ratio", 4, Integers(1, 6)),
        Argument("drop_path_rate", 0.0, Floats(0.0, 0.9), "training"),
    )
    cases = (
        Case("defaults", {}, (2, 1, 5, 32, 32)),
        Case("neuromast", _NEUROMAST, (2, 1, 21, 32, 32)),
        Case("first-convnext", {"backbone": "convnext_atto", "drop_path_rate": 0.3}, (3, 1, 5, 32, 32)),
        Case("atto", _ATTO, (2, 1, 5, 32, 64)),
        Case("one-slice-out", {**_ATTO, "out_stack_depth": 1}, (2, 1, 5, 32, 32)),
        Case("channels", {**_ATTO, "in_channels": 3, "out_channels": 2, "head_expansion_ratio": 1}, (2, 3, 5, 32, 32)),
        Case("pre-conv", {**_ATTO, "decoder_upsample_pre_conv": True}, (2, 1, 5, 32, 32)),
        Case(
            "pre-conv-without-blocks",
            {**_ATTO, "decoder_upsample_pre_conv": True, "decoder_conv_blocks": 0},
            (2, 1, 5, 32, 32),
        ),
        Case("three-blocks", {**_ATTO, "decoder_conv_blocks": 3, "head_pool": True}, (2, 1, 5, 32, 32)),
        Case("doubles", {**_ATTO, "stem_kernel_size": (5, 2, 2)}, (2, 1, 5, 16, 32)),
        Case("halves", {**_ATTO, "stem_kernel_size": (1, 8, 8), "in_stack_depth": 10}, (2, 1, 10, 64, 64)),
        Case("cut-sides", {**_ATTO, "in_stack_depth": 10, "out_stack_depth": 3}, (2, 1, 11, 34, 67)),
        Case("drop-path", {**_ATTO, "drop_path_rate": 0.5}, (4, 1, 5, 32, 32)),
        Case("norm-without-effect", {**_ATTO, "decoder_norm_layer": "batch"}, (1, 1, 5, 32, 32)),
        Case(
            "as-wide-as-joined",
            {**_ATTO, "in_stack_depth": 3, "stem_kernel_size": (3, 4, 4), "head_expansion_ratio": 3},
            (1, 1, 3, 32, 32),
        ),
    )
    accepted_differences = (
        AcceptedDifference(
            id="unext2-deconv",
            applies=lambda config: config["decoder_mode"] == "deconv",
            reason="The old class kept the transposed convolution in a tuple: it built, and forward raised TypeError.",
            example=Case("deconv", {**_ATTO, "decoder_mode": "deconv"}, (1, 1, 5, 32, 32)),
        ),
        AcceptedDifference(
            id="unext2-slabs",
            applies=_cannot_share,
            reason="With slabs that cannot share out the encoder's channels, the old class built and no stack ever ran.",
            example=Case("seven-slabs", {"in_stack_depth": 35}, (1, 1, 35, 32, 32)),
        ),
        AcceptedDifference(
            id="unext2-backbone",
            applies=lambda config: "resnet" in config["backbone"],
            reason="A ResNet keeps its own first convolution, so that the old class built and forward raised.",
            example=Case("resnet", {"backbone": "resnet18"}, (1, 1, 5, 32, 32)),
        ),
    )
    defects = (
        Defect(
            "unext2-fixed-scale",
            lambda config, shape: tuple(config["stem_kernel_size"][1:]) != (HEAD_SCALE, HEAD_SCALE),
            "the head enlarges four times whatever the stem takes away: a stem of 2 doubles the sides, one of 8 halves them",
        ),
        Defect(
            "unext2-cut-sides",
            lambda config, shape: any(shape[axis] % config["stem_kernel_size"][axis - 2] for axis in (3, 4)),
            "what is left of a side after the last whole stem kernel is cut off, so that the output is smaller",
        ),
    )
    publications = (
        Publication(
            "VSCyto3D (2024)",
            "epoch=48-step=18130.ckpt",
            generation="v0.1",
            config=_VSCYTO3D,
            source="cytoland/examples/configs/vscyto3d/predict.yml",
            url=published_at("VS_models/VSCyto3D/epoch=48-step=18130.ckpt"),
        ),
        Publication(
            "VSCyto3D (2024), no augmentations",
            "best_epoch=30-step=6076.ckpt",
            generation="v0.1",
            config=_VSCYTO3D,
            source="cytoland/examples/phase_contrast/solution.py",
            url=published_at("VS_models/VSCyto3D/no_augmentations/best_epoch=30-step=6076.ckpt"),
        ),
        Publication(
            "VSNeuromast",
            "epoch=44-step=1215.ckpt",
            generation="v0.1",
            config=_NEUROMAST,
            source="cytoland/examples/VS_model_inference/demo_vsneuromast.py",
        ),
        Publication(
            "VSNeuromast",
            "epoch=64-step=24960.ckpt",
            generation="v0.1",
            config=_NEUROMAST,
            source="cytoland/examples/configs/vsneuromast/predict.yml",
            url=published_at("VS_models/VSNeuromast/epoch=64-step=24960.ckpt"),
        ),
    )
    ambiguities = (
        Ambiguity(
            "in_stack_depth",
            "nothing",
            "the channels of the stem are rounded down, so that these depths give the same model",
            _depths,
        ),
    )
    anchors = (
        "stem.conv.weight",
        "encoder_stages.stages_0.blocks.0.conv_dw.bias",
        "encoder_stages.stages_0.blocks.0.mlp.grn.weight",
        "encoder_stages.stages_0.blocks.0.gamma",
        "decoder.decoder_stages.2.conv.blocks.0.conv_dw.bias",
        "head.conv.0.conv.bias",
        "head.conv.1.bias",
    )

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The state before v0.1.0, when the class was Unet21d, and the one since."""
        # Unet21d gave one slice where nothing was said, and had no default that follows the input
        rows = tuple((row.name, 1 if row.name == "out_stack_depth" else row.default) for row in self.arguments)
        unet21d = Release(
            wheel="",
            revision="v0.1.0a0",
            sources={**OLD_PACKAGES, "viscy/unet/networks/Unet21D.py": "7c32e34b8e118408c5e58ad6a99fcf63ba20d2bf"},
            signature=Signature(rows),
            old_config=lambda config: {**config, "out_stack_depth": out_depth(config)},
        )
        unext2 = {"viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9"}
        return (
            Generation(
                name="v0.1.0a",
                module="viscy.unet.networks.Unet21D",
                qualname="Unet21d",
                written_by="v0.1.0a0 to v0.1.0a1, as Unet21d",
                releases=(unet21d,),
                layout=self.layout_v010a,
                to_today=to_today,
                loses=("with one output slice there was no head, so that the old model returned a map of features",),
                cases=_CASES_V010A,
                is_stranded=lambda config: out_depth(config) == 1,
            ),
            Generation(
                name="v0.1",
                module="viscy.unet.networks.unext2",
                qualname="UNeXt2",
                written_by="v0.1.0 to v0.4.1",
                releases=(last_release(self.arguments, unext2),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> UNeXt2Footprint:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        outputs, expansion = config["out_channels"], config["head_expansion_ratio"]
        return UNeXt2Footprint(
            backbone=config["backbone"],
            in_channels=config["in_channels"],
            kernel=tuple(config["stem_kernel_size"]),
            stem=_stem_channels(config, _kind(config).width),
            blocks=_blocks(config),
            pre_conv=bool(config["decoder_upsample_pre_conv"]),
            out_channels=outputs,
            expansion=expansion,
            last=4 * (out_depth(config) + 2) * outputs * expansion,
        )

    def tensors(self, footprint: UNeXt2Footprint) -> Entries:
        """Yield encoder, stem, decoder and head."""
        yield from _without_head(footprint)
        yield from voxel_head(
            "head", footprint.out_channels, footprint.out_channels * footprint.expansion, footprint.expansion
        )

    def layout_v010a(self, config: Config) -> Layout:
        """Return the layout before v0.1.0, when a single output slice had no head."""
        return dict(_without_head(self.footprint(config))) if out_depth(config) == 1 else self.layout(config)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show.

        The stem shows the slabs and so the depth; the head shows the channels and its expansion, and with them the
        last width of the decoder shows the output depth.
        """
        backbone = _backbone(layout)
        width = first_size(layout, *parts("stem.conv"), default=CONVNEXTS[backbone].width)
        stem = anchor(layout, "stem.conv.weight", 5) or (width, 1, 5, 4, 4)
        slabs = (slab_counts(stem[0], CONVNEXTS[backbone].width) or [1])[0]
        stages = count(layout, *parts("decoder.decoder_stages.{}.conv.blocks.0.conv_dw"))
        last = f"decoder.decoder_stages.{max(stages, 1) - 1}.conv.blocks.0.conv_dw"
        first = "decoder.decoder_stages.0."
        yield {
            "backbone": backbone,
            "in_channels": stem[1],
            "in_stack_depth": slabs * stem[2],
            "stem_kernel_size": stem[2:],
            "decoder_conv_blocks": count(layout, *parts(first + "conv.blocks.{}.conv_dw")),
            "decoder_upsample_pre_conv": _any(layout, *parts(f"{first}upsample.pixelshuffle.conv_block")),
            **_head_arguments(shown_head(layout), first_size(layout, *parts(last), default=112)),
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose backbone is in a bag, with what is left of it as stem, decoder and head."""
        for backbone, kind in CONVNEXTS.items():
            rest = without(bag, backbone_2d(backbone, "encoder_stages", features_only=True))
            if rest is None:
                continue
            # depthwise convolutions of 7 x 7 stand in the decoder alone now, which has three stages
            blocks = sum(count for shape, count in rest.items() if shape[1:] == (1, 7, 7)) // 3
            lasts = sorted({shape[0] for shape in of_rank(rest, 4)})
            for stem, head, last in product(of_rank(rest, 5), heads_in(rest), lasts):
                for pre_conv, slabs in product((False, True), slab_counts(stem[0], kind.width)[:1]):
                    yield {
                        "backbone": backbone,
                        "in_channels": stem[1],
                        "in_stack_depth": slabs * stem[2],
                        "stem_kernel_size": stem[2:],
                        "decoder_conv_blocks": blocks,
                        "decoder_upsample_pre_conv": pre_conv,
                        **_head_arguments(head, last),
                    }

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two with the depth of the configuration and the smallest sides that run."""
        # the stem strides like its kernel, and what it leaves is halved three times
        sides = (8 * side for side in config["stem_kernel_size"][1:])
        return (2, config["in_channels"], config["in_stack_depth"], *sides)

    def halvings(self, config: Config) -> int:
        """The encoder halves three times, and the decoder doubles as often."""
        return 3

    def stem_width(self, config: Config) -> int:
        """Return the first width of the ConvNeXt."""
        return _kind(config).width

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what comes out: the head enlarges four times, whatever the kernel of the stem."""
        sides = (HEAD_SCALE * side for side in patches(config, shape))
        return {"output": (shape[0], config["out_channels"], out_depth(config), *sides)}

    def spelling(self, stated: Config, config: Config) -> Config:
        """Return an output depth of None as that of the input."""
        if stated.get("out_stack_depth", 0) is not None:
            return stated
        return {**stated, "out_stack_depth": stated.get("in_stack_depth", config["in_stack_depth"])}


ARCHITECTURE = UNeXt2()
