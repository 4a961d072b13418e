"""What each kind of layer contributes to a layout: names, shapes and dtypes in the order of registration.

Each function yields ``(name, spec)`` pairs below a name, so that a class's layout reads like its constructor. Layers
without tensors (activations but PReLU, dropout, instance norms without affine) contribute nothing and are left out.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterator, Sequence
from viscy_compat.layout import TensorSpec
from viscy_compat.named import NamedTuple

Entries = Iterator[tuple[str, TensorSpec]]
"""Tensors in order; ``dict`` of them is a layout."""

_COUNTER = TensorSpec((), "int64")
"""The `num_batches_tracked` of a batch norm, which torch keeps as a tensor without axes."""


def convolution(name: str, outputs: int, inputs: int, kernel: Sequence[int], *, bias: bool = True) -> Entries:
    """Yield a convolution; ``inputs`` counts the channels that one filter reads (1 for a depthwise one).

    Examples
    --------
    >>> [f"{name} {spec.shape}" for name, spec in convolution("stem.conv", 32, 2, (5, 4, 4))]
    ['stem.conv.weight (32, 2, 5, 4, 4)', 'stem.conv.bias (32,)']
    """
    yield f"{name}.weight", TensorSpec((outputs, inputs, *kernel))
    if bias:
        yield f"{name}.bias", TensorSpec((outputs,))


def transposed(name: str, outputs: int, inputs: int, kernel: Sequence[int], *, bias: bool = True) -> Entries:
    """Yield a transposed convolution, whose weight has the input channels first.

    Examples
    --------
    >>> [spec.shape for _, spec in transposed("up", 4, 8, (2, 2), bias=False)]
    [(8, 4, 2, 2)]
    """
    yield f"{name}.weight", TensorSpec((inputs, outputs, *kernel))
    if bias:
        yield f"{name}.bias", TensorSpec((outputs,))


def linear(name: str, outputs: int, inputs: int) -> Entries:
    """Yield a linear layer with a bias.

    Examples
    --------
    >>> [spec.shape for _, spec in linear("fc", 3, 2)]
    [(3, 2), (3,)]
    """
    return convolution(name, outputs, inputs, ())


def norm(name: str, width: int) -> Entries:
    """Yield a norm with weight and bias and no statistics (layer norm, global response norm).

    Examples
    --------
    >>> [name for name, _ in norm("norm", 96)]
    ['norm.weight', 'norm.bias']
    """
    spec = TensorSpec((width,))
    yield f"{name}.weight", spec
    yield f"{name}.bias", spec


def batch_norm(name: str, width: int) -> Entries:
    """Yield a batch norm: weight, bias, running statistics, and the batch counter (int64, 0-d).

    Examples
    --------
    >>> [name for name, _ in batch_norm("bn1", 64)][2:]
    ['bn1.running_mean', 'bn1.running_var', 'bn1.num_batches_tracked']
    """
    yield from norm(name, width)
    spec = TensorSpec((width,))
    yield f"{name}.running_mean", spec
    yield f"{name}.running_var", spec
    yield f"{name}.num_batches_tracked", _COUNTER


class ConvolutionTraits(NamedTuple):
    """What MONAI's convolutions of one model have in common besides their widths.

    ``batch`` says whether the norm keeps tensors (batch norm) or not (instance norm), ``slopes`` how many weights the
    activation has (a PReLU: one, or one for each channel), ``bias`` whether convolutions have a bias.
    """

    batch: bool = True
    slopes: int = 1
    bias: bool = True


def norm_activation(name: str, width: int, traits: ConvolutionTraits) -> Entries:
    """Yield MONAI's norm and activation (``N``, then ``A``).

    Examples
    --------
    >>> [name for name, _ in norm_activation("adn", 4, ConvolutionTraits(batch=False))]
    ['adn.A.weight']
    """
    if traits.batch:
        yield from batch_norm(f"{name}.N", width)
    if traits.slopes:
        yield f"{name}.A.weight", TensorSpec((traits.slopes,))


def block(
    name: str, outputs: int, inputs: int, kernel: Sequence[int], traits: ConvolutionTraits, *, bare: bool = False
) -> Entries:
    """Yield MONAI's convolution block: a convolution, and unless it is bare a norm and an activation.

    Examples
    --------
    >>> [name for name, _ in block("unit0", 4, 2, (3, 3), ConvolutionTraits(batch=False))]
    ['unit0.conv.weight', 'unit0.conv.bias', 'unit0.adn.A.weight']
    """
    yield from convolution(f"{name}.conv", outputs, inputs, kernel, bias=traits.bias)
    if not bare:
        yield from norm_activation(f"{name}.adn", outputs, traits)


class Residual(NamedTuple):
    """The shape of a MONAI residual unit.

    ``strided`` says whether it changes the size of the map: then the shortcut has the kernel of the unit, otherwise
    one of size 1, and none at all where the width stays too. ``bare_end`` leaves norm and activation out of the last
    convolution.
    """

    outputs: int
    inputs: int
    kernel: tuple[int, ...]
    subunits: int = 2
    strided: bool = False
    bare_end: bool = False


def residual_unit(name: str, shape: Residual, traits: ConvolutionTraits) -> Entries:
    """Yield MONAI's residual unit: its convolutions, then the shortcut where it has one.

    Examples
    --------
    >>> unit = Residual(4, 2, (3, 3), subunits=1)
    >>> [f"{name} {spec.shape}" for name, spec in residual_unit("u", unit, ConvolutionTraits(False, 0, False))]
    ['u.conv.unit0.conv.weight (4, 2, 3, 3)', 'u.residual.weight (4, 2, 1, 1)']
    """
    inputs, last = shape.inputs, max(1, shape.subunits) - 1
    for index in range(last + 1):
        bare = shape.bare_end and index == last
        yield from block(f"{name}.conv.unit{index}", shape.outputs, inputs, shape.kernel, traits, bare=bare)
        inputs = shape.outputs
    if shape.strided or shape.inputs != shape.outputs:
        kernel = shape.kernel if shape.strided else (1,) * len(shape.kernel)
        yield from convolution(f"{name}.residual", shape.outputs, shape.inputs, kernel, bias=traits.bias)


PROJECTION_PLACES = (0, 1, 3, 4)
"""Where the layers of today's projection stand; the activation is at 2."""


def projection(
    name: str, inputs: int, hidden: int, outputs: int, places: tuple[int, ...] = PROJECTION_PLACES
) -> Entries:
    """Yield a projection head: linear, batch norm, (an activation), linear, batch norm, at some places of a sequence.

    Examples
    --------
    >>> sorted({name.split(".")[1] for name, _ in projection("projection", 8, 4, 2)})
    ['0', '1', '3', '4']
    """
    first, norm_of_first, second, norm_of_second = places
    yield from linear(f"{name}.{first}", hidden, inputs)
    yield from batch_norm(f"{name}.{norm_of_first}", hidden)
    yield from linear(f"{name}.{second}", outputs, hidden)
    yield from batch_norm(f"{name}.{norm_of_second}", outputs)
