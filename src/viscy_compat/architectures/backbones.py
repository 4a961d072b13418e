"""Layouts of the backbones that timm and MONAI bring, without the first convolution where our classes take it out.

Measured with timm 1.0.31 and MONAI 1.6.1; the same from timm 0.9.5 and MONAI 1.4.0 on.
"""

from __future__ import annotations

from viscy_compat.architectures.architecture import Config
from viscy_compat.architectures.vocabulary import Entries, batch_norm, convolution, norm
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.named import NamedTuple

RESNET_PLANES = (64, 128, 256, 512)
"""Channels within the blocks of the four stages; a bottleneck gives four times as many."""


class Backbone2d(NamedTuple):
    """A timm backbone: the width that the stem has to deliver, that of its last map, and how often it halves."""

    first: int
    last: int
    reduction: int


CONVNEXT = Backbone2d(96, 768, 8)
RESNET = Backbone2d(64, 2048, 16)
BACKBONES_2D = {"convnext_tiny": CONVNEXT, "convnextv2_tiny": CONVNEXT, "resnet50": RESNET}
SAME_AS_RESNET50 = ("resnetaa50", "resnetblur50", "resnet50c")
"""timm backbones that have resnet50's layout once their first convolution is gone."""


def backbone_of(config: Config) -> Backbone2d:
    """Return the timm backbone of a configuration.

    Raises
    ------
    Unbuildable
        For a backbone whose layout is not known here.

    Examples
    --------
    >>> backbone_of({"backbone": "convnext_tiny"}).reduction
    8
    """
    found = BACKBONES_2D.get(config["backbone"])
    if found is None:
        raise Unbuildable(f"backbone={config['backbone']!r} is none of {', '.join(BACKBONES_2D)}")
    return found


def backbone_in(layout: Layout, name: str, stages: str) -> str:
    """Return the timm backbone that a layout shows below a name.

    Parameters
    ----------
    layout : Layout
        The tensors of a file.
    name, stages : str
        What stands in front of the backbone's names, and of the number of a ConvNeXt stage.

    Examples
    --------
    >>> backbone_in({"encoder.bn1.weight": TensorSpec((64,))}, "encoder.", "stages.")
    'resnet50'
    """
    if f"{name}layer1.0.conv1.weight" in layout or f"{name}bn1.weight" in layout:
        return "resnet50"
    norms = (f"{name}{stages}0.blocks.{block}.mlp.grn.weight" for block in (0, 1))
    return "convnextv2_tiny" if any(norm in layout for norm in norms) else "convnext_tiny"


class ConvNext(NamedTuple):
    """A ConvNeXt of timm: the width of its first map, doubled at every stage, and the blocks of each stage.

    ``second`` says whether it is a ConvNeXt V2, ``pointwise`` whether its linear layers are 1 x 1 convolutions.
    """

    width: int
    blocks: tuple[int, int, int, int]
    second: bool = False
    pointwise: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the maps, finest first."""
        return tuple(self.width << stage for stage in range(len(self.blocks)))


_SIZES = {
    "atto": ConvNext(40, (2, 2, 6, 2), pointwise=True),
    "femto": ConvNext(48, (2, 2, 6, 2), pointwise=True),
    "pico": ConvNext(64, (2, 2, 6, 2), pointwise=True),
    "nano": ConvNext(80, (2, 2, 8, 2), pointwise=True),
    "tiny": ConvNext(96, (3, 3, 9, 3)),
    "small": ConvNext(96, (3, 3, 27, 3)),
    "base": ConvNext(128, (3, 3, 27, 3)),
    "large": ConvNext(192, (3, 3, 27, 3)),
}
"""By the word for the size in timm's names, of both versions of ConvNeXt."""

CONVNEXTS = {
    **{f"convnextv2_{size}": kind._replace(second=True) for size, kind in _SIZES.items()},
    **{f"convnext_{size}": kind for size, kind in _SIZES.items()},
}


class Resnet3d(NamedTuple):
    """A MONAI 3D ResNet: blocks a stage, their kind, and whether shortcuts are convolutions (type B)."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    projects: bool

    @property
    def width(self) -> int:
        """The width of the last map."""
        return 2048 if self.bottleneck else 512


RESNETS_3D = {
    "resnet10": Resnet3d((1, 1, 1, 1), False, True),
    "resnet18": Resnet3d((2, 2, 2, 2), False, False),
    "resnet34": Resnet3d((3, 4, 6, 3), False, False),
    "resnet50": Resnet3d((3, 4, 6, 3), True, True),
    "resnet101": Resnet3d((3, 4, 23, 3), True, True),
    "resnet152": Resnet3d((3, 8, 36, 3), True, True),
    "resnet200": Resnet3d((3, 24, 36, 3), True, True),
}
"""By the names of MONAI, which builds them."""


def backbone_2d(backbone: str, name: str, *, features_only: bool) -> Entries:
    """Yield the layout of a timm backbone whose first convolution is gone and whose classifier is the identity.

    Parameters
    ----------
    backbone : str
        A name of `BACKBONES_2D` or `CONVNEXTS`.
    name : str
        The attribute that holds it.
    features_only : bool
        Whether timm made it as a list of feature maps: ConvNeXt stages are then named ``stages_0``, without a head.

    Examples
    --------
    >>> layout = dict(backbone_2d("convnext_tiny", "encoder", features_only=False))
    >>> len(layout), layout["encoder.head.norm.weight"].shape
    (178, (768,))
    >>> len(dict(backbone_2d("resnet50", "encoder", features_only=True)))
    317
    """
    if backbone == "resnet50":
        yield from _resnet50(name)
    else:
        kind = CONVNEXTS[backbone]
        joint = "_" if features_only else "."
        yield from norm(f"{name}.stem{joint}1", kind.width)
        inputs = kind.width
        for stage, (width, depth) in enumerate(zip(kind.widths, kind.blocks, strict=True)):
            here = f"{name}.stages{joint}{stage}"
            if stage > 0:
                yield from norm(f"{here}.downsample.0", inputs)
                yield from convolution(f"{here}.downsample.1", width, inputs, (2, 2))
            for index in range(depth):
                yield from convnext_block(f"{here}.blocks.{index}", width, kind.second, kind.pointwise)
            inputs = width
        if not features_only:
            yield from norm(f"{name}.head.norm", kind.widths[-1])


def resnet_3d(backbone: str, name: str, in_channels: int) -> Entries:
    """Yield the layout of MONAI's ``ResNetFeatures`` in three dimensions, without a classifier.

    Examples
    --------
    >>> len(dict(resnet_3d("resnet18", "encoder", 1)))
    102
    """
    kind = RESNETS_3D[backbone]
    yield from convolution(f"{name}.conv1", 64, in_channels, (7, 7, 7), bias=False)
    yield from batch_norm(f"{name}.bn1", 64)
    inputs, expansion = 64, 4 if kind.bottleneck else 1
    for stage, (planes, count) in enumerate(zip(RESNET_PLANES, kind.blocks, strict=True)):
        for index in range(count):
            block = f"{name}.layer{stage + 1}.{index}"
            outputs = planes * expansion
            if kind.bottleneck:
                yield from _bottleneck(block, planes, inputs, 3)
            # the basic block of the shallow ones: two convolutions of one width
            for place, width in () if kind.bottleneck else ((1, inputs), (2, planes)):
                yield from convolution(f"{block}.conv{place}", planes, width, (3, 3, 3), bias=False)
                yield from batch_norm(f"{block}.bn{place}", planes)
            if index == 0 and kind.projects and (stage > 0 or inputs != outputs):
                yield from _shortcut(f"{block}.downsample", outputs, inputs, 3)
            inputs = outputs


def convnext_block(name: str, width: int, second: bool, pointwise: bool) -> Entries:
    """Yield one block; the second version has a global response norm in place of the layer scale.

    Examples
    --------
    >>> block = dict(convnext_block("b", 8, second=True, pointwise=True))
    >>> block["b.mlp.fc1.weight"].shape, "b.gamma" in block
    ((32, 8, 1, 1), False)
    """
    kernel = (1, 1) if pointwise else ()
    if not second:
        yield f"{name}.gamma", TensorSpec((width,))
    yield from convolution(f"{name}.conv_dw", width, 1, (7, 7))
    yield from norm(f"{name}.norm", width)
    yield from convolution(f"{name}.mlp.fc1", 4 * width, width, kernel)
    if second:
        yield from norm(f"{name}.mlp.grn", 4 * width)
    yield from convolution(f"{name}.mlp.fc2", width, 4 * width, kernel)


def _resnet50(name: str) -> Entries:
    yield from batch_norm(f"{name}.bn1", 64)
    inputs = 64
    for stage, (planes, count) in enumerate(zip(RESNET_PLANES, (3, 4, 6, 3), strict=True)):
        for index in range(count):
            block = f"{name}.layer{stage + 1}.{index}"
            yield from _bottleneck(block, planes, inputs, 2)
            if index == 0:
                yield from _shortcut(f"{block}.downsample", 4 * planes, inputs, 2)
            inputs = 4 * planes


def _bottleneck(name: str, planes: int, inputs: int, dims: int) -> Entries:
    yield from convolution(f"{name}.conv1", planes, inputs, (1,) * dims, bias=False)
    yield from batch_norm(f"{name}.bn1", planes)
    yield from convolution(f"{name}.conv2", planes, planes, (3,) * dims, bias=False)
    yield from batch_norm(f"{name}.bn2", planes)
    yield from convolution(f"{name}.conv3", 4 * planes, planes, (1,) * dims, bias=False)
    yield from batch_norm(f"{name}.bn3", 4 * planes)


def _shortcut(name: str, outputs: int, inputs: int, dims: int) -> Entries:
    yield from convolution(f"{name}.0", outputs, inputs, (1,) * dims, bias=False)
    yield from batch_norm(f"{name}.1", outputs)
