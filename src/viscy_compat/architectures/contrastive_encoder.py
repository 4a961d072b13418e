"""ContrastiveEncoder: a stem that turns depth into channels, a timm backbone, a projection head.

Generations: v0.2 (releases 0.2.0 and 0.2.1, which differ in the stem stride only) and v0.3 (unchanged since).
"""

from __future__ import annotations

from itertools import product

from viscy_compat.annotations import TYPE_CHECKING, Any, Iterator, cached_property
from viscy_compat.architectures import stems
from viscy_compat.architectures.anchors import anchor, first_size, parts
from viscy_compat.architectures.architecture import (
    OLD_PACKAGES,
    REQUIRED,
    AcceptedDifference,
    Ambiguity,
    Argument,
    Case,
    Choice,
    Config,
    Floats,
    Generation,
    Integers,
    Publication,
    Release,
    Signature,
    last_release,
    published_at,
)
from viscy_compat.architectures.backbones import BACKBONES_2D, backbone_2d, backbone_in, backbone_of
from viscy_compat.architectures.projections import ACTIVATION, CUSTOM, LAST_LAYERS, mlp_generations
from viscy_compat.architectures.vocabulary import PROJECTION_PLACES, Entries, convolution, linear, projection
from viscy_compat.checkpoint.pickle_nodes import Unread
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Fill, Operation, Rename

if TYPE_CHECKING:
    from viscy_compat.architectures.bags import Bag

_BATCH_NORM_EPS = 1e-5
"""What torch adds to a variance by default: under it these weights make the identity."""
_NEUTRAL = "a batch norm with these values is the identity"


class ContrastiveFootprint(NamedTuple):
    """What the layout shows of a configuration."""

    backbone: str
    in_channels: int
    kernel: tuple[int, int, int]
    stem: int
    embedding_dim: int
    projection_dim: int


def rows_from_v02(layout: Layout) -> tuple[Operation, ...]:
    """Return the rows from v0.2 to today: the second linear layer moves, two batch norms become the identity."""
    hidden = anchor(layout, "projection.0.bias", 1)[0]
    outputs = anchor(layout, "projection.2.bias", 1)[0]
    # today's head has a batch norm behind each linear layer, so that the second one stands a place further
    moved = [Rename(name, name.replace("projection.2.", "projection.3.")) for name in layout]
    return (*moved, *_neutral_batch_norm("projection.1", hidden), *_neutral_batch_norm("projection.4", outputs))


def _neutral_batch_norm(name: str, width: int) -> Iterator[Fill]:
    # the norm divides by the root of variance and eps, and a variance of 1 is what it is filled with
    weight = (1 + _BATCH_NORM_EPS) ** 0.5
    for part, value in (("weight", weight), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
        yield Fill(f"{name}.{part}", (width,), dtype="float32", value=value, reason=_NEUTRAL)
    yield Fill(f"{name}.num_batches_tracked", (), dtype="int64", value=0, reason="nothing was counted")


def _trunk(footprint: ContrastiveFootprint) -> Entries:
    yield from convolution("stem.conv", footprint.stem, footprint.in_channels, footprint.kernel)
    yield from backbone_2d(footprint.backbone, "encoder", features_only=False)


def _with_projection(footprint: ContrastiveFootprint, name: str, places: tuple[int, ...]) -> Entries:
    width = BACKBONES_2D[footprint.backbone].last
    yield from _trunk(footprint)
    yield from projection(name, width, footprint.embedding_dim, footprint.projection_dim, places)


def _configuration(backbone: str, stem: tuple[int, ...], hidden: int, outputs: int) -> dict[str, Any]:
    """Return a configuration for the shape of the stem's weight and the widths of the projection."""
    # the stem's slices are laid side by side as channels: together they are what the backbone begins with
    slices = max(1, BACKBONES_2D[backbone].first // max(1, stem[0]))
    kernel = stem[2:]
    return {
        "backbone": backbone,
        "in_channels": stem[1],
        "in_stack_depth": stems.depths(slices, kernel[0], max(1, kernel[0]))[0],
        "stem_kernel_size": kernel,
        "stem_stride": tuple(max(1, width) for width in kernel),
        "embedding_dim": hidden,
        "projection_dim": outputs,
    }


_FIRST = (*parts("projection.0"), *parts("projection.backbone.0"))
"""The first linear layer of the projection, as our class and as upstream's MLP call it."""

_LAST = (*(f"projection.{place}" for place in ("3.weight", "2.weight", "3.bias", "2.bias")), *LAST_LAYERS)
"""What has the width of the projection in any generation, today's name first."""


def _v02(config: Config) -> dict[str, Any]:
    # the hidden width was three times the output, and a stride that was given had no effect (see `constants`)
    kept = {name: config[name] for name in ("backbone", "in_channels", "in_stack_depth", "stem_kernel_size")}
    return {**kept, "embedding_len": config["projection_dim"]}


def _signature_v02(kernel: tuple[int, int, int], *more: tuple[str, Any]) -> Signature:
    first = (("backbone", "convnext_tiny"), ("in_channels", 2), ("in_stack_depth", 12), ("stem_kernel_size", kernel))
    return Signature((*first, ("embedding_len", 256), ("stem_stride", 2), ("predict", False), *more))


_STEMS = "viscy/unet/networks/unext2.py"
_LAST_STEMS = {_STEMS: "c2403fc9bd5a5517311bc19391c75eecc0c365d9"}
_FILE = "viscy/representation/contrastive.py"

_RELEASES_V02 = (
    Release(
        wheel="0.2.0",
        revision="0a72176412",
        sources={
            **OLD_PACKAGES,
            _STEMS: "fc8a19a256b7d2d1a9699f53972db3879359105b",
            _FILE: "1fdb8d45b3f7a05cdfa006dce0f9aa3cc3f31945",
        },
        signature=_signature_v02((5, 3, 3)),
        constants={"stem_stride": (2, 2, 2), "drop_path_rate": 0.2},
        old_config=_v02,
    ),
    Release(
        wheel="0.2.1",
        revision="224cc451aa",
        sources={**OLD_PACKAGES, **_LAST_STEMS, _FILE: "13be2b15b476384500d84ceafecca7be8dfa5540"},
        signature=_signature_v02((5, 4, 4), ("drop_path_rate", 0.2)),
        constants={"stem_stride": (5, 4, 4)},
        old_config=lambda config: {**_v02(config), "drop_path_rate": config["drop_path_rate"]},
    ),
)


def _old(backbone: str, *, length: int, stride: tuple[int, int, int] = (2, 2, 2), **more: Any) -> dict[str, Any]:
    """Return a configuration of v0.2, in arguments of the migrated class."""
    fixed = {"embedding_dim": 3 * length, "projection_dim": length, "stem_stride": stride, "drop_path_rate": 0.2}
    return {"backbone": backbone, "in_channels": 2, **fixed, **more}


_CASES_V02 = (
    Case(
        "v0.2.0-defaults",
        _old("convnext_tiny", length=256, in_stack_depth=12, stem_kernel_size=(5, 3, 3)),
        (2, 2, 12, 24, 24),
    ),
    Case(
        "v0.2.0-length-128",
        _old("convnext_tiny", length=128, in_stack_depth=9, stem_kernel_size=(5, 4, 4)),
        (2, 2, 9, 24, 24),
    ),
    Case(
        "v0.2.0-second-convnext",
        _old("convnextv2_tiny", length=128, in_stack_depth=10, stem_kernel_size=(5, 3, 3)),
        (2, 2, 10, 25, 21),
    ),
    Case(
        "v0.2.0-resnet50",
        _old("resnet50", length=128, in_stack_depth=12, stem_kernel_size=(5, 3, 3)),
        (2, 2, 12, 24, 24),
    ),
    Case(
        "v0.2.1-defaults",
        _old("convnext_tiny", length=256, stride=(5, 4, 4), in_stack_depth=12, stem_kernel_size=(5, 4, 4)),
        (2, 2, 12, 32, 32),
    ),
    Case(
        "v0.2.1-length-128",
        _old("convnext_tiny", length=128, stride=(5, 4, 4), in_stack_depth=15, stem_kernel_size=(5, 4, 4)),
        (2, 2, 15, 32, 32),
    ),
    Case(
        "v0.2.1-second-convnext",
        _old(
            "convnextv2_tiny",
            length=256,
            stride=(5, 4, 4),
            in_stack_depth=15,
            stem_kernel_size=(5, 4, 4),
            in_channels=1,
        ),
        (2, 1, 15, 32, 40),
    ),
    Case(
        "v0.2.1-resnet50",
        _old("resnet50", length=128, stride=(5, 4, 4), in_stack_depth=10, stem_kernel_size=(5, 4, 4)),
        (2, 2, 10, 32, 32),
    ),
)

# what the published checkpoints were trained with, by the files that `source` names below
_DENV = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 30, "projection_dim": 32}
_MICROGLIA = {
    "backbone": "convnext_tiny",
    "in_channels": 1,
    "in_stack_depth": 1,
    "stem_kernel_size": (1, 4, 4),
    "stem_stride": (1, 4, 4),
    "projection_dim": 32,
}
_RESNET = {"backbone": "resnet50", "in_channels": 2, "in_stack_depth": 10}


def _new(backbone: str, in_channels: int, in_stack_depth: int, **more: Any) -> dict[str, Any]:
    return {"backbone": backbone, "in_channels": in_channels, "in_stack_depth": in_stack_depth, **more}


_SECOND = _new("convnextv2_tiny", 2, 15, embedding_dim=64, projection_dim=8, drop_path_rate=0.5)

_MAP_START = {"backbone": "convnext_tiny", "in_channels": 2, "in_stack_depth": 15}


class ContrastiveEncoder(stems.StemmedArchitecture):
    """Everything that is known about ContrastiveEncoder."""

    name = "ContrastiveEncoder"
    target = "viscy_models.contrastive.ContrastiveEncoder"
    arguments = (
        Argument("backbone", REQUIRED, Choice(tuple(BACKBONES_2D))),
        Argument("in_channels", REQUIRED, Integers(1, 4)),
        Argument("in_stack_depth", REQUIRED, stems.DEPTH),
        Argument("stem_kernel_size", (5, 4, 4), stems.KERNEL),
        Argument("stem_stride", (5, 4, 4), stems.STRIDE, about=stems.ABOUT_STRIDE),
        Argument("embedding_dim", 768, Integers(8, 1024)),
        Argument("projection_dim", 128, Integers(2, 512)),
        Argument("drop_path_rate", 0.0, Floats(0.0, 0.9), "training"),
        Argument("pretrained", False, Choice((False, True)), "initial weights"),
    )
    outputs = ("embedding", "projection")
    # Few different backbones, and cases of one in a row: building one is most of what a case costs.
    cases = (
        Case("defaults", _new("convnext_tiny", 2, 15), (2, 2, 15, 32, 32)),
        Case("one-slice-left", _new("convnext_tiny", 1, 5), (2, 1, 5, 32, 32)),
        Case("batch-of-one", _new("convnext_tiny", 1, 5), (1, 1, 5, 32, 32)),
        Case("not-square", _new("convnext_tiny", 1, 5), (2, 1, 5, 32, 48)),
        Case("odd-sides", _new("convnext_tiny", 1, 5), (3, 1, 5, 37, 45)),
        Case("narrow-projection", _new("convnext_tiny", 1, 5, projection_dim=16), (3, 1, 5, 32, 32)),
        Case("slices-never-read", _new("convnext_tiny", 1, 19), (2, 1, 17, 32, 32)),
        Case(
            "overlapping-stem",
            _new("convnext_tiny", 2, 9, stem_kernel_size=(5, 3, 3), stem_stride=(2, 2, 2)),
            (2, 2, 9, 19, 24),
        ),
        Case("dynaclr-denv", _DENV, (2, 2, 30, 32, 32)),
        Case("dynaclr-microglia", _MICROGLIA, (2, 1, 1, 32, 32)),
        Case("second-convnext", _SECOND, (4, 2, 15, 32, 32)),
        Case(
            "gaps-in-the-stem",
            {**_SECOND, "in_stack_depth": 8, "stem_kernel_size": (2, 2, 2), "stem_stride": (3, 4, 4)},
            (2, 2, 8, 32, 34),
        ),
        Case("resnet50", _RESNET, (2, 2, 10, 32, 32)),
    )
    accepted_differences = (
        AcceptedDifference(
            id="contrastive-resnet50",
            side="old-refuses",
            error="AttributeError",
            stage="build",
            applies=lambda config: config["backbone"] == "resnet50",
            reason="v0.3 looks for head.fc, which timm's ResNet does not have; the migrated class finds the classifier.",
            example=Case("resnet50", _RESNET, (2, 2, 10, 32, 32)),
            generations=("v0.3",),
        ),
        AcceptedDifference(
            id="stem-without-slices",
            applies=stems.has_no_slices,
            reason="A stack thinner than the stem kernel divides by zero or asks for negative channels in the old class.",
            example=Case("thin-stack", _new("convnext_tiny", 1, 3), (2, 1, 3, 32, 32)),
        ),
    )
    publications = (
        Publication(
            "DynaCLR-DENV VS+Ph",
            "epoch=94-step=2375.ckpt",
            generation="v0.3",
            config=_DENV,
            source="dynaclr/examples/quickstart/quickstart.py",
            url=published_at("DynaCLR_models/DynaCLR-DENV/VS_n_Ph/epoch=94-step=2375.ckpt"),
        ),
        Publication(
            "DynaCLR microglia",
            "epoch=19-step=12960.ckpt",
            generation="v0.3",
            config=_MICROGLIA,
            source="examples/DynaCLR/examples_cli/dynaclr_microglia_onnx.yml at fe7a5da^",
        ),
    )
    ambiguities = (
        Ambiguity("stem_stride", "predictions", stems.WHY_STRIDE, stems.joint_strides, complete=False),
        Ambiguity("in_stack_depth", "nothing", stems.WHY_DEPTH, stems.remaining_depths),
    )
    anchors = (
        "stem.conv.weight",
        "encoder.stages.0.blocks.0.conv_dw.weight",
        "encoder.layer1.0.conv1.weight",
        "projection.0.weight",
        "projection.2.weight",
        "projection.3.weight",
        "projection.backbone.0.weight",
    )
    custom = CUSTOM
    caveats = (ACTIVATION,)
    map_axes = stems.DEPTH_AXES
    map_start = _MAP_START

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The two states of the projection."""
        module, sources = (
            "viscy.representation.contrastive",
            {**_LAST_STEMS, _FILE: "1b08e089a26cba3b2eaea9a4bb2768b43ae55c68"},
        )
        return (
            Generation(
                name="v0.2",
                module=module,
                qualname="ContrastiveEncoder",
                written_by="v0.2.0 to v0.2.1",
                releases=_RELEASES_V02,
                layout=self.layout_v02,
                to_today=rows_from_v02,
                loses=(
                    "v0.2 returns projections of length 1 (L2); today's class does not normalise them",
                    "in train mode the filled batch norms start to normalise, which v0.2 did not do",
                ),
                cases=_CASES_V02,
                unit_length=("projection",),
            ),
            # not last, although upstream wrote them later: the last one is what the migrated class builds
            *mlp_generations(self, lambda config, *head: _with_projection(self.footprint(config), *head)),
            Generation(
                name="v0.3",
                module=module,
                qualname="ContrastiveEncoder",
                written_by="v0.3.0 to v0.4.1",
                releases=(last_release(self.arguments, sources, lacking=("pretrained",)),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> ContrastiveFootprint:
        """Return what the layout shows; raises `Unbuildable` where the stem cannot be built."""
        return ContrastiveFootprint(
            backbone=config["backbone"],
            in_channels=config["in_channels"],
            kernel=config["stem_kernel_size"],
            stem=stems.stem_width(config, backbone_of(config).first),
            embedding_dim=config["embedding_dim"],
            projection_dim=config["projection_dim"],
        )

    def tensors(self, footprint: ContrastiveFootprint) -> Entries:
        """Yield stem, backbone and projection, as since v0.3."""
        yield from _with_projection(footprint, "projection", PROJECTION_PLACES)

    def layout_v02(self, config: Config) -> Layout:
        """Return the layout of v0.2, whose head is linear, ReLU, linear with a hidden width of three times the output."""
        footprint = self.footprint(config)
        hidden, outputs = footprint.embedding_dim, footprint.projection_dim
        # v0.2 had one length for both
        if hidden != 3 * outputs:
            raise Unbuildable(f"v0.2 has embedding_dim = 3 * projection_dim, not {hidden}")
        first = linear("projection.0", hidden, BACKBONES_2D[footprint.backbone].last)
        return dict([*_trunk(footprint), *first, *linear("projection.2", outputs, hidden)])

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show, with the stride like the kernel."""
        width = first_size(layout, "stem.conv.weight", "stem.conv.bias", default=32)
        stem = anchor(layout, "stem.conv.weight", 5) or (width, 1, 5, 4, 4)
        hidden = first_size(layout, *_FIRST, default=768)
        # where the last layer was lost: v0.2, which has no norm after the first, made that three times as wide
        outputs = first_size(layout, *_LAST, default=128 if "projection.1.weight" in layout else max(1, hidden // 3))
        yield _configuration(backbone_in(layout, "encoder.", "stages."), (width, *stem[1:]), hidden, outputs)

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose backbone is in a bag, with what is left of it as stem and projection."""
        from viscy_compat.architectures.bags import of_rank, two_layers, without

        for backbone, kind in BACKBONES_2D.items():
            rest = without(bag, backbone_2d(backbone, "encoder", features_only=False))
            if rest is not None:
                for stem, (hidden, outputs) in product(of_rank(rest, 5), two_layers(rest, kind.last)):
                    yield _configuration(backbone, stem, hidden, outputs)

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two with the depth of the configuration and the smallest map that both backbones take."""
        kernel, stride = config["stem_kernel_size"], config["stem_stride"]
        # 8 windows of the stem are what three halvings need; 32 is what the default stem makes of that
        sides = (max(32, kernel[axis] + 7 * stride[axis]) for axis in (1, 2))
        return (2, config["in_channels"], config["in_stack_depth"], *sides)

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: ConvNeXt halves the stem's map three times without padding."""
        why = super().refusal(config, shape)
        if why or config["backbone"] == "resnet50":
            return why
        _, rows, columns = stems.input_windows(config, shape)
        return (
            ""
            if min(rows, columns) >= 8
            else f"the stem gives a map of {rows} x {columns}, ConvNeXt needs at least 8 x 8"
        )

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return a vector of each kind for each stack."""
        width = BACKBONES_2D[config["backbone"]].last
        return {"embedding": (shape[0], width), "projection": (shape[0], config["projection_dim"])}

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that the projection's batch norms see one vector."""
        return "" if shape[0] > 1 else "batch norm needs a batch of at least 2 in train mode"

    def older(self, arguments: Config, generation: str) -> Config:
        """Return arguments of v0.2 in today's names: one length stood for both widths, and the stride was not used.

        Examples
        --------
        >>> ARCHITECTURE.older({"embedding_len": 256, "stem_stride": 2}, "")
        {'stem_stride': Unread(what='an argument that v0.2 took and did not use'), 'embedding_dim': 768, 'projection_dim': 256}
        """
        translated = dict(arguments)
        length = translated.pop("embedding_len", None)
        if "stem_stride" in translated and (length is not None or generation == "v0.2"):
            translated["stem_stride"] = Unread("an argument that v0.2 took and did not use")
        # what is no number (an interpolation, a reference) says nothing of either width
        if isinstance(length, int):
            translated.update(embedding_dim=3 * length, projection_dim=length)
        return translated


ARCHITECTURE = ContrastiveEncoder()
