"""ResNet3dEncoder: MONAI's 3D ResNet features and the projection head of ContrastiveEncoder."""

from __future__ import annotations

from viscy_compat.annotations import Iterator, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size
from viscy_compat.architectures.architecture import (
    REQUIRED,
    AcceptedDifference,
    Architecture,
    Argument,
    Case,
    Choice,
    Config,
    Generation,
    Integers,
    last_release,
)
from viscy_compat.architectures.backbones import RESNETS_3D, resnet_3d
from viscy_compat.architectures.bags import Bag, of_rank, two_layers, without
from viscy_compat.architectures.projections import ACTIVATION, CUSTOM, LAST_LAYERS, mlp_generations
from viscy_compat.architectures.vocabulary import PROJECTION_PLACES, Entries, projection
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple


class ResNet3dFootprint(NamedTuple):
    """What the layout shows of a configuration: all of it."""

    backbone: str
    in_channels: int
    embedding_dim: int
    projection_dim: int


def _backbone(layout: Layout) -> str:
    """Return the backbone whose kind of block and numbers of blocks are nearest."""
    bottleneck = "encoder.layer1.0.conv3.weight" in layout or "encoder.layer1.0.bn3.weight" in layout
    stages = (f"encoder.layer{stage}.{{}}" for stage in (1, 2, 3, 4))
    counts = [count(layout, f"{stage}.conv1.weight", f"{stage}.conv2.weight") for stage in stages]

    def distance(name: str) -> int:
        kind = RESNETS_3D[name]
        apart = sum(abs(mine - theirs) for mine, theirs in zip(counts, kind.blocks, strict=True))
        return apart + 1000 * (kind.bottleneck != bottleneck)

    return min(RESNETS_3D, key=distance)


def _with_projection(footprint: ResNet3dFootprint, name: str, places: tuple[int, ...]) -> Entries:
    width = footprint.embedding_dim
    yield from resnet_3d(footprint.backbone, "encoder", footprint.in_channels)
    yield from projection(name, width, width, footprint.projection_dim, places)


_LAST = ("projection.3.weight", "projection.3.bias", *LAST_LAYERS)
"""What has the width of the projection in any generation, today's name first."""


class ResNet3dEncoder(Architecture):
    """Everything that is known about ResNet3dEncoder."""

    name = "ResNet3dEncoder"
    target = "viscy_models.contrastive.ResNet3dEncoder"
    arguments = (
        Argument("backbone", REQUIRED, Choice(tuple(RESNETS_3D))),
        Argument("in_channels", 1, Integers(1, 4)),
        Argument("embedding_dim", 512, lambda config: Choice((RESNETS_3D[config["backbone"]].width,))),
        Argument("projection_dim", 128, Integers(2, 512)),
        Argument("pretrained", False, Choice((False, True)), "initial weights"),
    )
    outputs = ("embedding", "projection")
    # Few different backbones, and cases of one in a row: building one is most of what a case costs.
    cases = (
        Case("resnet18-defaults", {"backbone": "resnet18"}, (2, 1, 8, 16, 16)),
        Case("one-voxel", {"backbone": "resnet18"}, (2, 1, 1, 1, 1)),
        Case("flat-stack", {"backbone": "resnet18"}, (2, 1, 1, 24, 20)),
        Case("tall-stack", {"backbone": "resnet18"}, (2, 1, 24, 8, 12)),
        # oneDNN 3.13 (torch 2.15) writes out of bounds in the weight gradient of the first convolution at depths 5 to 7
        Case("odd-sizes", {"backbone": "resnet18"}, (2, 1, 9, 17, 23)),
        Case("batch-of-one", {"backbone": "resnet18"}, (1, 1, 8, 16, 16)),
        Case("narrow-projection", {"backbone": "resnet18", "projection_dim": 8}, (3, 1, 8, 16, 16)),
        Case("several-voxels-to-pool", {"backbone": "resnet18", "projection_dim": 8}, (2, 1, 8, 40, 36)),
        Case("resnet10", {"backbone": "resnet10", "in_channels": 2}, (2, 2, 8, 16, 16)),
        Case("one-voxel-resnet10", {"backbone": "resnet10", "in_channels": 2}, (2, 2, 1, 1, 1)),
        Case("resnet50", {"backbone": "resnet50", "embedding_dim": 2048}, (2, 1, 8, 16, 16)),
        Case("one-voxel-resnet50", {"backbone": "resnet50", "embedding_dim": 2048}, (2, 1, 1, 1, 1)),
    )
    accepted_differences = (
        AcceptedDifference(
            id="resnet3d-embedding-dim",
            applies=lambda config: (
                config["backbone"] in RESNETS_3D and config["embedding_dim"] != RESNETS_3D[config["backbone"]].width
            ),
            reason="The head is fed with the backbone's width; any other embedding_dim built and failed in forward.",
            example=Case("resnet50-default-embedding", {"backbone": "resnet50"}, (2, 1, 8, 16, 16)),
        ),
    )
    custom = CUSTOM
    caveats = (ACTIVATION,)
    anchors = ("encoder.conv1.weight", "encoder.layer1.0.conv1.weight", "projection.0.weight", "projection.3.weight")

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """One state in all releases, and upstream's MLP in the place of its projection."""
        sources = {
            "viscy/unet/networks/unext2.py": "c2403fc9bd5a5517311bc19391c75eecc0c365d9",
            "viscy/representation/contrastive.py": "1b08e089a26cba3b2eaea9a4bb2768b43ae55c68",
        }
        return (
            *mlp_generations(self, lambda config, *head: _with_projection(self.footprint(config), *head)),
            Generation(
                name="v0.4",
                module="viscy.representation.contrastive",
                qualname="ResNet3dEncoder",
                written_by="v0.4.0 to v0.4.1",
                releases=(last_release(self.arguments, sources, lacking=("pretrained",)),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> ResNet3dFootprint:
        """Return what the layout shows; raises `Unbuildable` where the head does not fit the backbone."""
        backbone, given = config["backbone"], config["embedding_dim"]
        if backbone not in RESNETS_3D:
            raise Unbuildable(f"backbone={backbone!r} is none of {', '.join(RESNETS_3D)}")
        width = RESNETS_3D[backbone].width
        if given != width:
            raise Unbuildable(
                f"embedding_dim={given}, but {backbone} gives {width} features: use embedding_dim={width}"
            )
        return ResNet3dFootprint(backbone, config["in_channels"], given, config["projection_dim"])

    def tensors(self, footprint: ResNet3dFootprint) -> Entries:
        """Yield the backbone and the projection."""
        yield from _with_projection(footprint, "projection", PROJECTION_PLACES)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show."""
        stem = anchor(layout, "encoder.conv1.weight", 5) or (64, 1)
        backbone = _backbone(layout)
        yield {
            "backbone": backbone,
            "in_channels": stem[1],
            "embedding_dim": RESNETS_3D[backbone].width,
            "projection_dim": first_size(layout, *_LAST, default=128),
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose backbone is in a bag, with what is left of it as projection."""
        for backbone, kind in RESNETS_3D.items():
            for stem in (shape for shape in of_rank(bag, 5) if shape[2:] == (7, 7, 7)):
                rest = without(bag, resnet_3d(backbone, "encoder", stem[1]))
                for hidden, outputs in two_layers(rest, kind.width) if rest is not None else ():
                    known = {"backbone": backbone, "in_channels": stem[1]}
                    yield {**known, "embedding_dim": hidden, "projection_dim": outputs}

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a small batch of two; the configuration fixes the channels only."""
        return (2, config["in_channels"], 16, 32, 32)

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: any size runs, since every layer pads."""
        if len(shape) != 5 or min(shape) < 1:
            return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {shape}"
        if shape[1] != config["in_channels"]:
            return f"the input has {spell_count(shape[1], 'channel')}, in_channels is {config['in_channels']}"
        return ""

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return a vector of each kind for each stack."""
        return {"embedding": (shape[0], config["embedding_dim"]), "projection": (shape[0], config["projection_dim"])}

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that the projection's batch norms see one vector."""
        return "" if shape[0] > 1 else "batch norm needs a batch of at least 2 in train mode"


ARCHITECTURE = ResNet3dEncoder()
