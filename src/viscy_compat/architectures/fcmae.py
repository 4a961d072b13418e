"""FullyConvolutionalMAE: masked ConvNeXt V2 stages behind a stem for stacks and slices, with UNeXt2's decoder."""

from __future__ import annotations

from itertools import islice, pairwise, product

from viscy_compat.annotations import Any, Iterable, Iterator, Mapping, Sequence, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    OLD_PACKAGES,
    REQUIRED,
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
    Repeated,
    Signature,
    TupleOf,
    as_settled,
    last_release,
    published_at,
)
from viscy_compat.architectures.bags import Bag, of_rank
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
from viscy_compat.architectures.outcome import Loss
from viscy_compat.architectures.vocabulary import Entries, convolution, linear, norm
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple


class MaskedFootprint(NamedTuple):
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


def _without_head(footprint: MaskedFootprint) -> Entries:
    width = footprint.dims[0]
    # both are there whatever is fed: the second is for a single slice, the first for stacks
    yield from convolution("encoder.stem.conv3d", footprint.stem, footprint.in_channels, footprint.kernel)
    yield from convolution("encoder.stem.conv2d", width, footprint.in_channels, footprint.kernel[1:])
    yield from norm("encoder.stem.norm", width)
    for index, (blocks, dim) in enumerate(zip(footprint.blocks, footprint.dims, strict=True)):
        yield from _stage(f"encoder.stages.{index}", dim, width, blocks)
        width = dim
    widths = (*footprint.dims[:0:-1], footprint.last)
    yield from convnext_decoder("decoder", widths, footprint.decoder_blocks, pre_conv=False)


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


def _stems(layout: Layout, width: int) -> list[tuple[int, ...]]:
    """Return the shape of the stem's weight, or where it is missing what it could be: only its depth shows nowhere."""
    shown = anchor(layout, "encoder.stem.conv3d.weight", 5)
    if shown:
        return [shown]
    slabs = first_size(layout, "encoder.stem.conv3d.bias", default=width)
    flat = anchor(layout, "encoder.stem.conv2d.weight", 4) or (width, 1, 4, 4)
    # the default depth first; 7 is the deepest stem that was published
    return [(slabs, flat[1], depth, *flat[2:]) for depth in (5, 1, 2, 3, 4, 6, 7)]


def _arguments_with_head(head: tuple[int, int], stem: tuple[int, ...], last: int) -> dict[str, Any]:
    """Return the arguments for output channels and expansion of a head, and the width before it."""
    outputs, expansion = head
    depth = max(1, last // (4 * max(1, stem[1]) * expansion) - 2)
    known = {"out_channels": outputs, "in_stack_depth": depth, "head_conv_expansion_ratio": expansion}
    return {**known, "head_conv": True}


def _arguments_without_head(stem: tuple[int, ...], last: int, width: int) -> dict[str, Any]:
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
    listed = (count_of_slabs * max(1, kernel) + rest for count_of_slabs in slabs for rest in range(max(1, kernel)))
    # a kernel of a damaged file may be as deep as it likes
    depths = list(islice(listed, _MOST_DEPTHS))
    # a depth that the stem reads whole is likelier than one whose last slices it never reads
    return sorted(depths, key=lambda depth: (depth % max(1, kernel) > 0, depth))


_MOST_DEPTHS = 10_000
"""Depths that are tried: a stem of width 768 with a kernel of 15 slices, far beyond what was published, has fewer."""


def _joint_depths(config: Config, stated: Config) -> Iterator[Config]:
    """Yield depths with the output channels that go with them; with convolutions in the head both are shown."""
    if config["head_conv"]:
        yield {"in_stack_depth": config["in_stack_depth"], "out_channels": config["out_channels"]}
        return
    planes = config["out_channels"] * config["in_stack_depth"]
    kernel, width = config["stem_kernel_size"][0], config["dims"][0]
    for depth in _depths_for(width // (config["in_stack_depth"] // kernel), kernel, width):
        if planes % depth == 0:
            yield {"in_stack_depth": depth, "out_channels": planes // depth}


def _dims(config: Config) -> Domain:
    stages = range(len(config["encoder_blocks"]))
    return Choice(tuple(tuple(first << stage for stage in stages) for first in (8, 16, 24, 48, 96)))


_STACK = TupleOf((Integers(1, 5), Integers(1, 5), Integers(1, 5)))
_ABOUT_PRETRAINING = "true makes forward return a pair, the prediction and the mask, false the prediction alone"


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
    # by the constructor's own rule, so that the two cannot part
    try:
        _check_stages(tuple(config["encoder_blocks"]), tuple(config["dims"]))
    except Unbuildable:
        return True
    return False


_MAP_START = {"in_channels": 2, "out_channels": 1}


class FullyConvolutionalMAE(ConvnextUnet):
    """Everything that is known about FullyConvolutionalMAE."""

    name = "FullyConvolutionalMAE"
    target = "viscy_models.unet.FullyConvolutionalMAE"
    arguments = (
        Argument("in_channels", REQUIRED, Integers(1, 3)),
        Argument("out_channels", REQUIRED, Integers(1, 3)),
        Argument("encoder_blocks", (3, 3, 9, 3), Repeated(Integers(1, 3), 2, 4)),
        Argument("dims", (96, 192, 384, 768), _dims),
        Argument("encoder_drop_path_rate", 0.0, Floats(0.0, 0.9), "training"),
        Argument("stem_kernel_size", (5, 4, 4), _STACK),
        # each slab of slices has a channel of the stem at least
        Argument(
            "in_stack_depth",
            5,
            lambda config: Integers(
                config["stem_kernel_size"][0], min(24, config["stem_kernel_size"][0] * config["dims"][0])
            ),
        ),
        Argument("decoder_conv_blocks", 1, Integers(1, 3)),
        Argument("pretraining", True, Choice((True, False)), about=_ABOUT_PRETRAINING),
        Argument("head_conv", False, Choice((False, True))),
        Argument("head_conv_expansion_ratio", 4, Integers(1, 6)),
        Argument("head_conv_pool", True, Choice((True, False)), about=HEAD_POOL),
    )
    cases = (
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
    accepted_differences = (
        AcceptedDifference(
            id="mae-stages",
            applies=_stages_do_not_fit,
            reason="The decoder joins maps of which each has half the width of the next; others built and never ran.",
            example=Case("not-doubled", {**_small(), "dims": (8, 24)}, (1, 1, 5, 16, 16)),
        ),
        AcceptedDifference(
            id="mae-thin-stack",
            applies=lambda config: bool(config["in_stack_depth"] < config["stem_kernel_size"][0]),
            reason="A stack thinner than the stem kernel divided by zero in the old class.",
            example=Case("thin-stack", _small(in_stack_depth=3), (1, 1, 3, 16, 16)),
        ),
        AcceptedDifference(
            id="mae-odd-last-width",
            applies=lambda config: (
                not _stages_do_not_fit(config) and len(config["dims"]) > 1 and last_width(config) % 4 > 0
            ),
            reason="A width that 4 does not divide could not be started for the shuffle, with a RuntimeError about shapes.",
            example=Case("odd-last-width", _small(stem_kernel_size=(5, 3, 3)), (1, 1, 5, 18, 18)),
        ),
    )
    defects = (
        Defect(
            "mae-slices",
            lambda config, shape: bool(shape[2] > 1 and shape[2] % config["stem_kernel_size"][0]),
            "slices behind the last whole stem kernel are never read, and nothing says so",
        ),
        Defect(
            "mae-fixed-scale",
            lambda config, shape: config["head_conv"] and tuple(config["stem_kernel_size"][1:]) != (HEAD_SCALE,) * 2,
            "a head with convolutions enlarges four times whatever the stem takes away",
        ),
    )
    publications = (
        Publication(
            "VSCyto2D",
            "epoch=399-step=23200.ckpt",
            generation="v0.1",
            config=_VSCYTO2D,
            source="cytoland/examples/configs/vscyto2d/predict.yml",
            url=published_at("VS_models/VSCyto2D/VSCyto2D/epoch=399-step=23200.ckpt"),
        ),
        Publication(
            "VSCyto3D (2025)",
            "epoch=83-step=14532-loss=0.492.ckpt",
            generation="v0.1",
            config=_VSCYTO3D,
            source="cytoland/tests/test_inference_reproducibility.py",
            url=published_at("VS_models/VSCyto3D/epoch=83-step=14532-loss=0.492.ckpt"),
        ),
        Publication(
            "VSNeuromast",
            "epoch=64-step=24960.ckpt",
            generation="v0.1",
            config=_NEUROMAST,
            source="mehta-lab/VisCy issue 296, and scripts of the lab that load this file",
            url=published_at("VS_models/VSNeuromast/epoch=64-step=24960.ckpt"),
        ),
        Publication(
            "fluor2phase demo",
            "fluor2phase_step668.ckpt",
            generation="v0.1",
            config=_FLUOR2PHASE,
            source="cytoland/examples/dl-course-exercise/solution.py",
            url=published_at("VS_models/VSCyto2D/AIMBL_Demo/fluor2phase_step668.ckpt"),
        ),
    )
    ambiguities = (
        Ambiguity(
            "in_stack_depth",
            "predictions",
            "without convolutions in the head only the product of depth and output channels shows",
            _joint_depths,
        ),
        Ambiguity("out_channels", "predictions", "see in_stack_depth", as_settled("out_channels")),
    )
    anchors = (
        "encoder.stem.conv3d.weight",
        "encoder.stem.norm.bias",
        "encoder.stages.1.downsample.1.weight",
        "decoder.decoder_stages.2.conv.blocks.0.conv_dw.bias",
        "head.conv.0.conv.bias",
        "head.conv.1.bias",
    )
    map_start = _MAP_START

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The state before v0.1.0, whose head had convolutions, and the one since."""
        rows = tuple((row.name, row.default) for row in self.arguments)
        before = Release(
            wheel="",
            revision="d7d1200d5f",
            sources={
                **OLD_PACKAGES,
                "viscy/unet/networks/Unet22D.py": "a215ff0e8808077f0f562158e744f1664d0703fe",
                "viscy/unet/networks/fcmae.py": "5134590689394b086849f916970503fdf868b1df",
            },
            # the expansion stood sixth, and the three arguments about the head's convolutions did not exist
            signature=Signature((*rows[:5], ("head_expansion_ratio", 4), *rows[5:9])),
            constants={"head_conv": True, "head_conv_pool": True},
            # before v0.1.0 the head always had convolutions and a pool
            old_config=lambda config: {
                **{name: value for name, value in config.items() if not name.startswith("head_conv")},
                "head_expansion_ratio": config["head_conv_expansion_ratio"],
            },
        )
        sources = {
            "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
            "viscy/unet/networks/fcmae.py": "d63b65a7d22cd60598283e0479583b95e1af5528",
        }
        return (
            Generation(
                name="v0.1.0a",
                module="viscy.unet.networks.fcmae",
                qualname="FullyConvolutionalMAE",
                written_by="development versions between v0.1.0a1 and v0.1.0",
                releases=(before,),
                layout=self.layout_v010a,
                to_today=to_today,
                loses=("with a single slice there was no head, so that the old model returned a map of features",),
                cases=_CASES_V010A,
                is_stranded=lambda config: bool(config["in_stack_depth"] == 1),
            ),
            Generation(
                name="v0.1",
                module="viscy.unet.networks.fcmae",
                qualname="FullyConvolutionalMAE",
                written_by="v0.1.0 to v0.4.1",
                releases=(last_release(self.arguments, sources),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> MaskedFootprint:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        blocks, dims = tuple(config["encoder_blocks"]), tuple(config["dims"])
        kernel = tuple(config["stem_kernel_size"])
        _check_stages(blocks, dims)
        # slices behind the last whole kernel are never read, so that any depth builds that has one slab; a damaged file
        # may show a stem without depth
        slabs = config["in_stack_depth"] // kernel[0] if kernel[0] else 0
        if not slabs:
            raise Unbuildable(
                f"in_stack_depth={config['in_stack_depth']} is less than the depth {kernel[0]} of the stem"
            )
        last = last_width(config)
        # with a single stage there is no decoder, and nothing to shuffle
        if len(dims) > 1 and config["decoder_conv_blocks"] < 1:
            raise Unbuildable("decoder_conv_blocks=0 leaves no layer before the next pixel shuffle")
        if len(dims) > 1 and last % 4:
            raise Unbuildable(f"the {last} channels before the head cannot feed a pixel shuffle by 2")
        expansion = config["head_conv_expansion_ratio"]
        return MaskedFootprint(
            in_channels=config["in_channels"],
            blocks=blocks,
            dims=dims,
            kernel=kernel,
            stem=dims[0] // slabs,
            decoder_blocks=config["decoder_conv_blocks"] if len(dims) > 1 else 0,
            last=last if config["head_conv"] or len(dims) > 1 else 0,
            head=(config["out_channels"], expansion) if config["head_conv"] else (),
        )

    def tensors(self, footprint: MaskedFootprint) -> Entries:
        """Yield stem, stages and decoder, and the head where it has convolutions."""
        yield from _without_head(footprint)
        if footprint.head:
            outputs, expansion = footprint.head
            yield from voxel_head("head", outputs, footprint.in_channels * expansion, expansion)

    def layout_v010a(self, config: Config) -> Layout:
        """Return the layout before v0.1.0: convolutions in the head, but no head for a single slice."""
        if not config["head_conv"]:
            raise Unbuildable("before v0.1.0 the head had convolutions")
        whole = config["in_stack_depth"] > 1
        return self.layout(config) if whole else dict(_without_head(self.footprint(config)))

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show.

        Without convolutions in the head only the product of output channels and depth shows; the stem's slabs bound the
        depth, and the first fitting one is taken.
        """
        stages = count(layout, *parts("encoder.stages.{}.blocks.0.layernorm")) or 1
        width = first_size(layout, "encoder.stem.norm.bias", "encoder.stem.norm.weight", default=96)
        name = f"decoder.decoder_stages.{stages - 2}.conv.blocks.0.conv_dw"
        last, head = first_size(layout, *parts(name), default=width), shown_head(layout)
        for stem in _stems(layout, width):
            yield {
                "in_channels": stem[1],
                "encoder_blocks": tuple(
                    count(layout, *parts(f"encoder.stages.{stage}.blocks.{{}}.layernorm")) for stage in range(stages)
                ),
                "dims": tuple(width << stage for stage in range(stages)),
                "stem_kernel_size": stem[2:],
                "decoder_conv_blocks": count(layout, *parts("decoder.decoder_stages.0.conv.blocks.{}.conv_dw")) or 1,
                **(_arguments_with_head(head, stem, last) if head else _arguments_without_head(stem, last, width)),
            }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations that the shapes of a bag allow.

        The linear layers of the encoder are the only matrices: their shapes are the widths, and their number the blocks.
        """
        # a block widens four times and narrows again: the widening layers tell the widths
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
                # what is left of the depthwise convolutions is shared among the stages of the decoder
                "decoder_conv_blocks": max(1, (depthwise - sum(blocks)) // max(1, len(dims) - 1)),
                **(_arguments_with_head(head, stem, last) if head else _arguments_without_head(stem, last, dims[0])),
            }

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two with the depth of the configuration and the smallest sides that run."""
        step = 1 << (len(config["dims"]) - 1)
        sides = (max(2, step) * side for side in config["stem_kernel_size"][1:])
        return (2, config["in_channels"], config["in_stack_depth"], *sides)

    def halvings(self, config: Config) -> int:
        """The encoder halves once less than it has stages."""
        return len(config["dims"]) - 1

    def stem_width(self, config: Config) -> int:
        """Return the width of the first stage."""
        return int(config["dims"][0])

    def slab_refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why a stack does not fit; a single slice goes through a convolution of its own, whatever the depth."""
        why = "" if shape[2] == 1 else super().slab_refusal(config, shape)
        width, last = self.stem_width(config), last_width(config)
        if why or len(config["dims"]) > 1 or width == last:
            return why
        return f"without a decoder stage the head reads {spell_count(last, 'channel')}, and the encoder gives {width}"

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return what comes out: the head enlarges as the stem takes away, or four times with convolutions."""
        scale = HEAD_SCALE if config["head_conv"] else config["stem_kernel_size"][-1]
        sides = (scale * side for side in patches(config, shape))
        return {"output": (shape[0], config["out_channels"], config["in_stack_depth"], *sides)}

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Yield what the stem never reads, a single slice being read whole, and what comes back with another size."""
        depth = outputs["output"][2]
        if shape[2] not in (1, depth):
            yield Loss("rounding", f"depth {shape[2]} comes back as {depth}", 2)
        for loss in super().losses(config, shape, outputs):
            if loss.axis != 2 or shape[2] > 1:
                yield loss

    def idle(self, config: Config) -> tuple[str, ...]:
        """Return the arguments that nothing reads: of convolutions in the head, of a decoder without stages."""
        head = () if config["head_conv"] else ("head_conv_expansion_ratio", "head_conv_pool")
        return head if len(config["dims"]) > 1 else (*head, "decoder_conv_blocks")

    def notes(self, config: Config) -> tuple[str, ...]:
        """Say where a single slice could also come from the class before v0.1.0."""
        headless = not config["head_conv"] and config["in_stack_depth"] == 1
        if not headless or last_width(config) % (12 * config["in_channels"]):
            return ()
        return ("development versions before v0.1.0 gave a single slice no head, and these widths too",)


ARCHITECTURE = FullyConvolutionalMAE()
