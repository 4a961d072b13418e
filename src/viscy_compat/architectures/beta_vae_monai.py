"""BetaVaeMonai: MONAI's VarAutoEncoder under the attribute ``model``, with our return type."""

from __future__ import annotations

from itertools import islice, pairwise, product
from math import prod

from viscy_compat.annotations import Any, Iterable, Iterator, Mapping, Sequence, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    REQUIRED,
    Ambiguity,
    Architecture,
    Argument,
    Axis,
    Case,
    Choice,
    Config,
    Defect,
    Domain,
    Generation,
    Integers,
    Repeated,
    TupleOf,
    last_release,
)
from viscy_compat.architectures.bags import Bag, Shape, of_rank, spend, taken
from viscy_compat.architectures.outcome import Loss
from viscy_compat.architectures.vocabulary import (
    ConvolutionTraits,
    Entries,
    Residual,
    block,
    linear,
    norm_activation,
    residual_unit,
    transposed,
)
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, spell_count
from viscy_compat.named import NamedTuple

_LARGEST_SIDE = 4096
_MOST_ALTERNATIVES = 64
_MOST_UNITS = 256
_MOST_SKETCHED = 9
_MOST_WAYS = 1 << 14
"""Bounds on what is tried, far beyond what was ever trained: a hostile layout must not make the search long."""


class MonaiFootprint(NamedTuple):
    """What the layout shows of a configuration.

    ``strided`` tells for each encoder layer whether its shortcut is a strided convolution, where there is one to see;
    ``inter`` is empty without intermediate blocks, and so is then ``inter_units``; ``area`` counts the places of the
    last map.
    """

    in_channels: int
    out_channels: int
    latent_size: int
    channels: tuple[int, ...]
    kernel: tuple[int, ...]
    up_kernel: tuple[int, ...]
    res_units: int
    strided: tuple[bool, ...]
    inter: tuple[int, ...]
    inter_units: int
    area: int
    traits: ConvolutionTraits

    @property
    def encoded(self) -> int:
        """The width of the last map."""
        return (*self.channels, *self.inter)[-1]


def _hides_stride(units: int, kernel: tuple[int, ...], widths: tuple[int, ...]) -> tuple[bool, ...]:
    """Tell for each encoder layer whether nothing shows its stride.

    A shortcut of size 1 that also changes the width would be there with and without a stride.
    """
    return tuple(not units or (prod(kernel) == 1 and inputs != outputs) for inputs, outputs in pairwise(widths))


def activation(config: Config) -> str:
    """Return the name of the activation in MONAI's spelling; empty where there is none."""
    act = config["act"]
    name = act[0] if isinstance(act, tuple) else act
    return str(name).upper() if name else ""


def slopes(config: Config) -> int:
    """Return how many weights the activation has: a PReLU's slopes, else none.

    Examples
    --------
    >>> slopes({"act": "PRELU"}), slopes({"act": ("prelu", {"num_parameters": 8})}), slopes({"act": "RELU"})
    (1, 8, 0)
    """
    act = config["act"]
    if activation(config) != "PRELU":
        return 0
    return int(act[1].get("num_parameters", 1)) if isinstance(act, tuple) else 1


def layer_strides(config: Config) -> tuple[tuple[int, ...], ...]:
    """Return the stride of each encoder layer along each axis."""
    return tuple(_axes(stride, config["spatial_dims"]) for stride in config["strides"])


def final_size(sides: Sequence[int], strides: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the last map's sides: every layer divides them by its stride, rounding up.

    Examples
    --------
    >>> final_size((63, 65), ((2, 2), (2, 2)))
    (16, 17)
    """
    for stride in strides:
        sides = tuple(-(-side // step) for side, step in zip(sides, stride, strict=True))
    return tuple(sides)


def _axes(value: Any, dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def _refuse_contradictions(config: Config) -> None:
    """Refuse what does not belong together; everything after may count on it."""
    dims, channels, strides = config["spatial_dims"], config["channels"], config["strides"]
    if dims not in (1, 2, 3):
        raise Unbuildable(f"spatial_dims={dims}: MONAI has layers of one, two and three dimensions")
    if len(channels) != len(strides):
        raise Unbuildable(f"channels={channels} need as many strides, not {len(strides)}")
    if len(config["in_shape"]) != dims + 1:
        raise Unbuildable(f"in_shape={config['in_shape']} needs the channels and {dims} sides")
    if any(len(_axes(stride, dims)) != dims for stride in strides):
        raise Unbuildable(f"strides={strides} need one number for each of {dims} axes")
    if config["norm"] not in ("batch", "instance"):
        raise Unbuildable(f"norm={config['norm']!r} is neither 'batch' nor 'instance'")
    for kernel in (_axes(config["kernel_size"], dims), _axes(config["up_kernel_size"], dims)):
        if len(kernel) != dims or any(size % 2 == 0 for size in kernel):
            raise Unbuildable(f"kernel sizes must be odd, one for each of {dims} axes")
    if max(config["num_res_units"], config["num_inter_units"]) > _MOST_UNITS:
        raise Unbuildable(f"more than {_MOST_UNITS} residual units are beyond what is known here")


def _intermediate(footprint: MonaiFootprint) -> Entries:
    inputs = footprint.channels[-1]
    for index, outputs in enumerate(footprint.inter):
        name = f"model.intermediate.inter_{index}"
        if footprint.inter_units:
            yield from residual_unit(
                name, Residual(outputs, inputs, footprint.kernel, footprint.inter_units), footprint.traits
            )
        else:
            yield from block(name, outputs, inputs, footprint.kernel, footprint.traits)
        inputs = outputs


def _decoder(footprint: MonaiFootprint) -> Entries:
    inputs, traits = footprint.encoded, footprint.traits
    widths = (*footprint.channels[-2::-1], footprint.out_channels)
    for index, outputs in enumerate(widths):
        name = f"model.decode.decode_{index}"
        last = index == len(widths) - 1
        yield from transposed(f"{name}.conv.conv", outputs, inputs, footprint.up_kernel, bias=traits.bias)
        if footprint.res_units or not last:
            yield from norm_activation(f"{name}.conv.adn", outputs, traits)
        if footprint.res_units:
            unit = Residual(outputs, outputs, footprint.kernel, subunits=1, bare_end=last)
            yield from residual_unit(f"{name}.resunit", unit, traits)
        inputs = outputs


class _Layers(NamedTuple):
    """A way through the convolutions of a bag: channels in and out, widths, which shortcuts stride, and blocks between."""

    inputs: int
    outputs: int
    channels: tuple[int, ...]
    strided: tuple[bool, ...]
    inter: tuple[int, ...] = ()
    inter_units: int = 0

    @property
    def encoded(self) -> int:
        """The width of the last map."""
        return (*self.channels, *self.inter)[-1]


def _config_of_layers(layers: _Layers, kernel: Shape, up: Shape, last: tuple[int, ...]) -> dict[str, Any]:
    strides = [(2 if strided else 1,) * len(kernel) for strided in layers.strided]
    return {
        "spatial_dims": len(kernel),
        "in_shape": (layers.inputs, *_sides_before(last, strides)),
        "out_channels": layers.outputs,
        "channels": layers.channels,
        "strides": tuple(stride[0] for stride in strides),
        "kernel_size": _one_or_each(kernel),
        "up_kernel_size": _one_or_each(up),
        "inter_channels": layers.inter or None,
        **({"num_inter_units": layers.inter_units} if layers.inter else {}),
    }


def _layers(bag: Bag, kernel: Shape, up: Shape, units: int, ways: Iterator[int]) -> Iterator[_Layers]:
    """Yield the ways through the convolutions of a bag: down by one kernel, up by the other.

    Each step takes one of ``ways``; raises `TooManyWays` where there are no more.
    """
    from collections import Counter

    convolutions: Bag = Counter({shape: count for shape, count in bag.items() if len(shape) > 2})
    for inputs, channels, strided, rest in _downward(convolutions, kernel, up, units, ways):
        squares = [(width, width, *kernel) for width in channels[:-1]] if units else []
        left = taken(rest, *squares)
        for inter, inter_units, last in _between(left, channels[-1], kernel, ways) if left is not None else ():
            encoded = (*channels, *inter)[-1]
            for outputs in sorted({shape[1] for shape in last if shape[2:] == up}):
                upward = [(encoded, channels[-2], *up)] if len(channels) > 1 else []
                ending = [(outputs, outputs, *kernel)] if units else []
                first = channels[0] if len(channels) > 1 else encoded
                if taken(last, (first, outputs, *up), *upward, *ending) == Counter():
                    yield _Layers(
                        inputs, outputs, channels=channels, strided=strided, inter=inter, inter_units=inter_units
                    )


_Way = tuple[int, tuple[int, ...], tuple[bool, ...], Bag]


def _downward(bag: Bag, kernel: Shape, up: Shape, units: int, ways: Iterator[int]) -> Iterator[_Way]:
    """Yield every way down: channels in, widths, which shortcuts stride, and what is left of the bag.

    A layer goes with the one that comes up to its width, but for the deepest, which comes from the blocks between.
    """
    firsts = [shape[:2] for shape in bag if shape[2:] == kernel]
    waiting: list[_Way] = [(inputs, (), (), bag) for inputs in sorted({inputs for _, inputs in firsts})]
    while waiting:
        spend(ways)
        inputs, widths, strided, rest = waiting.pop()
        if widths:
            yield inputs, widths, strided, rest
        before = (inputs, *widths)[-1]
        # the layer that comes up to the width before: (last, the one before it), as transposed convolutions
        # have it
        upward = [(*widths[:-3:-1], *up)] if len(widths) > 1 else []
        for width, strides in product((outputs for outputs, given in firsts if given == before), (True, False)):
            left = taken(rest, *_unit(width, before, kernel, units, strides), *upward) if strides or units else None
            if left is not None:
                waiting.append((inputs, (*widths, width), (*strided, strides), left))


def _unit(width: int, inputs: int, kernel: Shape, units: int, strides: bool) -> list[Shape]:
    """Return the weights of a residual unit, or of a plain block where it has no subunits."""
    shapes = [(width, inputs, *kernel), *[(width, width, *kernel)] * (units - 1)]
    # a shortcut needs a convolution of its own only where the map or its width changes
    if units and (strides or width != inputs):
        shapes.append((width, inputs, *(kernel if strides else (1,) * len(kernel))))
    return shapes


def _between(bag: Bag, first: int, kernel: Shape, ways: Iterator[int]) -> Iterator[tuple[tuple[int, ...], int, Bag]]:
    """Yield widths and subunits of the blocks between, and what is left: none, or as many as the bag has."""
    yield (), 0, bag
    waiting: list[tuple[tuple[int, ...], int, Bag]] = [((), units, bag) for units in range(_MOST_SKETCHED)]
    while waiting:
        spend(ways)
        widths, units, rest = waiting.pop()
        before = (first, *widths)[-1]
        for width in sorted({shape[0] for shape in rest if shape[1] == before and shape[2:] == kernel}):
            left = taken(rest, *_unit(width, before, kernel, units, strides=False))
            if left is not None:
                waiting.append(((*widths, width), units, left))
                yield (*widths, width), units, left


def _widths(layout: Layout, pattern: str) -> tuple[int, ...]:
    """Return the output widths of numbered convolutions, from 0 on."""
    numbers = range(count(layout, *_parts(pattern)))
    return tuple(first_size(layout, *_parts(pattern.format(number)), default=1) for number in numbers)


def _parts(block: str) -> tuple[str, ...]:
    """Return the names of a block's tensors that have its width as first size."""
    return (*parts(f"{block}conv"), f"{block}adn.N.weight")


def _kernel_of(layout: Layout, pattern: str, layers: int, ranks: tuple[int, ...] = (3, 4, 5)) -> tuple[int, ...]:
    """Return the shape of the first of some convolutions that has a possible rank: one to three spatial axes."""
    shapes = (layout[pattern.format(layer)].shape for layer in range(layers) if pattern.format(layer) in layout)
    return next((shape for shape in shapes if len(shape) in ranks), ())


def _shown_sides(
    layout: Layout, layers: int, encoded: int, kernel: tuple[int, ...], units: int
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the sides of an input and strides of layers that a layout allows: 2 unless a shortcut shows that there is none."""
    shortcuts = (
        anchor(layout, f"model.encode.encode_{index}.residual.weight", len(kernel) + 2) for index in range(layers)
    )
    strides = [(2 if not units or shortcut[2:] == kernel else 1,) * len(kernel) for shortcut in shortcuts]
    flat = first_size(layout, "model.decodeL.bias", "model.decodeL.weight", default=1)
    aspect = _most_cubic(max(1, flat // max(1, encoded)), len(kernel))
    sides = _sides_before(aspect, strides)
    if max(sides) >= 1 << 63:
        # so many layers cannot all halve: no size counts the places of such an image
        return aspect, [(1,) * len(kernel)] * layers
    return sides, strides


def _one_or_each(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return sizes as a user would state them: one number where all axes have the same."""
    return sizes[0] if len(set(sizes)) == 1 else sizes


def _sides_before(sides: Sequence[int], strides: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the input's sides that the strides divide into a last map without rounding."""
    return tuple(side * prod(stride[axis] for stride in strides) for axis, side in enumerate(sides))


def _most_cubic(area: int, dims: int) -> tuple[int, ...]:
    root = round(area ** (1 / dims))
    return (root,) * dims if root**dims == area else aspects(area, dims)[0]


def aspects(area: int, dims: int) -> list[tuple[int, ...]]:
    """Return the sides that a last map of an area can have, the most cubic first; the longest alone if too many.

    Examples
    --------
    >>> aspects(6, 2)
    [(2, 3), (3, 2), (1, 6), (6, 1)]
    """
    # no image has such a map, and its divisors are looked for side by side
    if area > _LARGEST_SIDE**2:
        return [(area,) + (1,) * (dims - 1)]
    divisors = [side for side in range(1, min(area, _LARGEST_SIDE) + 1) if area % side == 0]
    rests = ((*sides, area // prod(sides)) for sides in product(divisors, repeat=dims - 1) if area % prod(sides) == 0)
    return sorted(rests, key=lambda sides: (max(sides) / min(sides), sides))


def _placements(config: Config, stated: Config) -> Iterator[Config]:
    """Yield strides, each with the input shape that gives the same last map."""
    footprint = ARCHITECTURE.footprint(config)
    last = final_size(config["in_shape"][1:], layer_strides(config))
    for strides in _strides_to_try(config, stated, footprint):
        sides = _sides_before(last, [_axes(stride, len(last)) for stride in strides])
        yield {"strides": strides, "in_shape": stated.get("in_shape", (footprint.in_channels, *sides))}


def _strides_to_try(config: Config, stated: Config, footprint: MonaiFootprint) -> Iterator[tuple[Any, ...]]:
    if "strides" in stated:
        yield tuple(stated["strides"])
        return
    yield tuple(config["strides"])
    hidden = _hides_stride(footprint.res_units, footprint.kernel, (footprint.in_channels, *footprint.channels))
    steps: list[tuple[Any, ...]] = []
    for strided, unseen in zip(footprint.strided, hidden, strict=True):
        # alike along all axes; what strides visibly may stride by any number, and halving is the usual one
        alike = (2, 1) if unseen else (2, 3, 4) if strided else (1,)
        per_axis = "in_shape" in stated and (unseen or strided)
        each = product((2, 1), repeat=len(footprint.kernel)) if per_axis else ()
        steps.append((*alike, *(step for step in each if len(set(step)) > 1)))
    # a stated shape excludes nearly all of them, so that more may be tried
    most = _MOST_ALTERNATIVES**2 if "in_shape" in stated else _MOST_ALTERNATIVES
    yield from (strides for strides in islice(product(*steps), most) if strides != config["strides"])
    if "in_shape" in stated:
        yield from _strides_between(stated["in_shape"][1:], footprint, hidden)


def _strides_between(
    sides: tuple[int, ...], footprint: MonaiFootprint, hidden: tuple[bool, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yield strides that lead from an input's sides to a last map of the area that is shown, one layer taking most of it.

    Whatever strides a model had, one of these has the same last map: without them a true input could seem impossible.
    """
    free = [layer for layer, unseen in enumerate(hidden) if unseen or footprint.strided[layer]]
    least = [2 if strided and not unseen else 1 for strided, unseen in zip(footprint.strided, hidden, strict=True)]
    for last in aspects(footprint.area, len(sides))[:_MOST_ALTERNATIVES]:
        for layer in free:
            others = prod(least) // least[layer]
            smaller = tuple(-(-side // others) for side in sides)
            # a stride rounds up, so that the least one that is enough is taken
            step = tuple(-(-side // end) for side, end in zip(smaller, last, strict=True))
            yield tuple(_one_or_each(step) if place == layer else fixed for place, fixed in enumerate(least))


def _shows_strides(config: Config) -> bool:
    """Whether every layer shows that it does not stride."""
    footprint = ARCHITECTURE.footprint(config)
    hidden = _hides_stride(footprint.res_units, footprint.kernel, (footprint.in_channels, *footprint.channels))
    return not any(hidden) and not any(footprint.strided)


def _shapes(config: Config, stated: Config) -> Iterator[Config]:
    """Yield input shapes of another aspect whose last map has the same area."""
    if "in_shape" in stated:
        yield {"in_shape": stated["in_shape"]}
        return
    footprint, strides = ARCHITECTURE.footprint(config), layer_strides(config)
    yield {"in_shape": config["in_shape"]}
    for sides in aspects(footprint.area, len(footprint.kernel))[:_MOST_ALTERNATIVES]:
        shape = (footprint.in_channels, *_sides_before(sides, strides))
        if shape != config["in_shape"]:
            yield {"in_shape": shape}


def _ends_of_range(config: Config, stated: Config) -> Iterator[Config]:
    """Yield the two ends of the input sizes that are rounded up to the same last map."""
    if "in_shape" in stated:
        yield {"in_shape": stated["in_shape"]}
        return
    strides = layer_strides(config)
    last = final_size(config["in_shape"][1:], strides)
    largest = _sides_before(last, strides)
    # one pixel less would be rounded up to a smaller map
    smallest = tuple(side - prod(step[axis] for step in strides) + 1 for axis, side in enumerate(largest))
    for sides in (largest, smallest):
        yield {"in_shape": (config["in_shape"][0], *sides)}


def _refusal(config: Config, footprint: MonaiFootprint, shape: tuple[int, ...]) -> str:
    dims = config["spatial_dims"]
    if len(shape) != dims + 2 or min(shape) < 1:
        return f"the input must be (B, C) and {dims} sides, with sizes of at least 1, not {shape}"
    if shape[1] != footprint.in_channels:
        return f"the input has {spell_count(shape[1], 'channel')}, in_shape says {footprint.in_channels}"
    if footprint.encoded != footprint.channels[-1]:
        encoded = spell_count(footprint.encoded, "channel")
        return f"the intermediate blocks end with {encoded}, the decoder expects {footprint.channels[-1]}"
    area = prod(final_size(shape[2:], layer_strides(config)))
    if area != footprint.area:
        return f"the last map has {area} places, in_shape={config['in_shape']} asks for {footprint.area}"
    if not footprint.traits.batch and area == 1:
        return "instance norm refuses a map of one element"
    # a PReLU with a weight for each channel refuses maps of another width
    count = footprint.traits.slopes
    widths = {*footprint.channels, *footprint.inter, *((footprint.out_channels,) if footprint.res_units else ())}
    others = sorted(widths - {count})
    return f"a PReLU with {count} weights refuses a map of {others[0]} channels" if count > 1 and others else ""


def unread(size: int, footprint: MonaiFootprint, strides: Sequence[int], axis: int) -> tuple[int, ...]:
    """Return the places along one axis that no layer reads, from the last layer back to the input.

    An instance norm takes every place into its statistics, so that with it only the first layer can leave some out.
    """
    sizes = [size]
    for stride in strides:
        # MONAI pads by half a kernel, so that a stride rounds up
        sizes.append(-(-sizes[-1] // stride))
    needed = set(range(sizes[-1]))
    for index in reversed(range(len(strides))):
        if not footprint.traits.batch:
            needed = set(range(sizes[index + 1]))
        # the first convolution of a layer strides; those of its further units reach half a kernel to either side
        half, stride = footprint.kernel[axis] // 2, strides[index]
        spread = half * max(0, footprint.res_units - 1)
        wide = {place + step for place in needed for step in range(-spread, spread + 1)} & set(range(sizes[index + 1]))
        needed = {place * stride + step for place in wide for step in range(-half, half + 1)} & set(range(sizes[index]))
    return tuple(place for place in range(size) if place not in needed)


_MIXED_STRIDES = {2: ((1, 2), (2, 1)), 3: ((1, 2, 2), (2, 1, 1))}
"""Strides that differ along the axes, as for stacks that have fewer slices than rows."""


def _kernels(config: Config) -> Domain:
    return Choice((1, 3, 5, (3, 5) if config["spatial_dims"] == 2 else (1, 3, 3)))


_ABOUT_SIGMOID = "true puts a sigmoid behind the reconstruction, false returns it as it is"
_ACTIVATIONS = ("PRELU", "RELU", "LEAKYRELU", "ELU", "GELU", "TANH", None, ("LEAKYRELU", {"negative_slope": 0.3}))

_FLAT = {
    "spatial_dims": 2,
    "in_shape": (1, 16, 16),
    "out_channels": 1,
    "latent_size": 8,
    "channels": (4, 8),
    "strides": (2, 2),
}
_DEEP = {**_FLAT, "spatial_dims": 3, "in_shape": (1, 8, 16, 16), "channels": (4, 6, 8), "strides": (1, 2, 2)}

_MAP_START = {
    "spatial_dims": 2,
    "in_shape": (1, 64, 64),
    "out_channels": 1,
    "latent_size": 64,
    "channels": (32, 64),
    "strides": (2, 2),
}


class BetaVaeMonai(Architecture):
    """Everything that is known about BetaVaeMonai."""

    name = "BetaVaeMonai"
    target = "viscy_models.vae.BetaVaeMonai"
    arguments = (
        Argument("spatial_dims", REQUIRED, Choice((2, 3))),
        Argument(
            "in_shape",
            REQUIRED,
            lambda config: TupleOf((Integers(1, 3), *(Integers(4, 24),) * config["spatial_dims"])),
            about="it is the channels and the sides of the images that go in",
        ),
        Argument("out_channels", REQUIRED, Integers(1, 3)),
        Argument("latent_size", REQUIRED, Integers(1, 32)),
        Argument("channels", REQUIRED, Repeated(Integers(2, 12), 1, 4)),
        Argument(
            "strides",
            REQUIRED,
            lambda config: TupleOf(
                (Choice((1, 2, 3, *_MIXED_STRIDES.get(config["spatial_dims"], ()))),) * len(config["channels"])
            ),
            about="they say in which layers the image is halved",
        ),
        Argument("kernel_size", 3, _kernels),
        Argument("up_kernel_size", 3, _kernels),
        Argument("num_res_units", 0, Integers(0, 3)),
        Argument("use_sigmoid", False, Choice((False, True)), about=_ABOUT_SIGMOID),
        Argument("norm", "instance", Choice(("batch", "instance"))),
        Argument(
            "inter_channels",
            None,
            # the last one does not run: the decoder expects the width of the encoder's last map
            lambda config: Choice(
                (None, *(tuple(config["channels"][-1] + more for more in each) for each in ((0,), (2, 0), (1,))))
            ),
            keyword=True,
        ),
        Argument(
            "inter_dilations",
            None,
            # one for each block between; without such blocks nothing reads them
            lambda config: Choice(
                (None, *((step,) * len(config["inter_channels"]) for step in (1, 2) if config["inter_channels"]))
            ),
            keyword=True,
        ),
        Argument("num_inter_units", 2, Integers(0, 3), keyword=True),
        Argument("act", "PRELU", Choice(_ACTIVATIONS), keyword=True),
        Argument("dropout", None, Choice((None, 0.1, 0.5)), "training", keyword=True),
        Argument("bias", True, Choice((True, False)), keyword=True),
    )
    outputs = ("recon_x", "mean", "logvar", "z")
    cases = (
        Case("flat", _FLAT, (2, 1, 16, 16)),
        Case("deep", _DEEP, (2, 1, 8, 16, 16)),
        Case("sigmoid", {**_FLAT, "use_sigmoid": True}, (2, 1, 16, 16)),
        Case("batch-norm", {**_FLAT, "norm": "batch"}, (2, 1, 16, 16)),
        Case("residual-units", {**_FLAT, "num_res_units": 2, "norm": "batch"}, (2, 1, 16, 16)),
        Case("deep-residual-units", {**_DEEP, "num_res_units": 1}, (2, 1, 8, 16, 16)),
        Case("deep-residual-batch", {**_DEEP, "num_res_units": 2, "norm": "batch"}, (2, 1, 8, 16, 16)),
        Case(
            "stride-for-each-axis",
            {**_DEEP, "strides": ((1, 2, 2), (1, 2, 2), (2, 2, 2)), "num_res_units": 2},
            (2, 1, 8, 16, 16),
        ),
        Case("kernel-for-each-axis", {**_FLAT, "kernel_size": (3, 5), "up_kernel_size": (5, 3)}, (2, 1, 16, 16)),
        Case("rounded-up", {**_FLAT, "in_shape": (1, 15, 17)}, (2, 1, 15, 17)),
        Case("fed-another-aspect", _FLAT, (2, 1, 8, 32)),
        Case("relu", {**_FLAT, "act": "RELU"}, (2, 1, 16, 16)),
        Case(
            "leaky-relu-with-arguments",
            {**_FLAT, "act": ("LEAKYRELU", {"negative_slope": 0.3}), "norm": "batch"},
            (2, 1, 16, 16),
        ),
        Case("no-bias", {**_FLAT, "bias": False, "norm": "batch", "num_res_units": 2}, (2, 1, 16, 16)),
        Case("dropout", {**_FLAT, "dropout": 0.2}, (4, 1, 16, 16)),
        Case(
            "intermediate-units",
            {**_FLAT, "inter_channels": (6, 8), "inter_dilations": (1, 2), "num_inter_units": 1, "norm": "batch"},
            (2, 1, 16, 16),
        ),
        Case("intermediate-blocks", {**_DEEP, "inter_channels": (8,), "num_inter_units": 0}, (2, 1, 8, 16, 16)),
        Case("channels-in-and-out", {**_FLAT, "in_shape": (3, 16, 16), "out_channels": 2}, (1, 3, 16, 16)),
    )
    defects = (
        Defect(
            "monai-rounds-up",
            lambda config, shape: any(
                side % prod(stride[axis] for stride in layer_strides(config)) for axis, side in enumerate(shape[2:])
            ),
            "a side that the product of the strides does not divide comes back rounded up",
        ),
        Defect(
            "monai-fixed-aspect",
            lambda config, shape: shape[2:] != tuple(config["in_shape"][1:]),
            "the decoder starts from the last map of in_shape, so that another shape with the same area comes back in "
            "the shape of in_shape",
        ),
    )
    keywords = True
    ambiguities = (
        Ambiguity(
            "strides",
            "predictions",
            "strides are not in the weights, only the area of the last map is",
            _placements,
            complete=False,
            certain=_shows_strides,
        ),
        Ambiguity(
            "in_shape",
            "predictions",
            "the last map shows its area, not its aspect",
            _shapes,
            complete=False,
            # a last map of one pixel has one aspect
            certain=lambda config: prod(final_size(config["in_shape"][1:], layer_strides(config))) == 1,
        ),
        Ambiguity(
            "in_shape",
            "nothing",
            "sides are rounded up; both ends of the range are listed",
            _ends_of_range,
            complete=False,
        ),
    )
    anchors = (
        "model.encode.encode_0.conv.weight",
        "model.encode.encode_1.conv.weight",
        "model.encode.encode_0.conv.unit0.conv.weight",
        "model.encode.encode_1.conv.unit0.conv.weight",
        "model.decode.decode_0.conv.conv.weight",
        "model.mu.weight",
        "model.decodeL.weight",
    )
    custom = ((".adn.A.", "act was an activation with weights of its own, which this version does not know"),)
    map_axes = (
        Axis("input height (pixels)", tuple(range(16, 97)), "in_shape", (1,)),
        Axis("input width (pixels)", tuple(range(16, 97)), "in_shape", (2,)),
    )
    map_start = _MAP_START

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
                qualname="BetaVaeMonai",
                written_by="v0.4.0 to v0.4.1",
                releases=(last_release(self.arguments, sources, keywords=True),),
                layout=self.layout,
            ),
        )

    def footprint(self, config: Config) -> MonaiFootprint:
        """Return what the layout shows; raises `Unbuildable` for what MONAI refuses to build."""
        _refuse_contradictions(config)
        dims, channels, strides = config["spatial_dims"], tuple(config["channels"]), layer_strides(config)
        kernel, up_kernel = _axes(config["kernel_size"], dims), _axes(config["up_kernel_size"], dims)
        units = max(0, config["num_res_units"])
        inter = tuple(config["inter_channels"] or ())
        # MONAI zips the widths of the blocks between with their dilations: there are no more of them than of these
        inter = inter[: len(config["inter_dilations"] or inter)]
        return MonaiFootprint(
            in_channels=config["in_shape"][0],
            out_channels=config["out_channels"],
            latent_size=config["latent_size"],
            channels=channels,
            kernel=kernel,
            up_kernel=up_kernel,
            res_units=units,
            strided=tuple(
                prod(stride) > 1 and not hidden
                for stride, hidden in zip(
                    strides, _hides_stride(units, kernel, (config["in_shape"][0], *channels)), strict=True
                )
            ),
            inter=inter,
            inter_units=max(0, config["num_inter_units"]) if inter else 0,
            area=prod(final_size(config["in_shape"][1:], strides)),
            traits=ConvolutionTraits(config["norm"] == "batch", slopes(config), config["bias"]),
        )

    def tensors(self, footprint: MonaiFootprint) -> Entries:
        """Yield the layers down, those between, the layers up, and the latent layers."""
        flat = footprint.encoded * footprint.area
        inputs = footprint.in_channels
        for index, (outputs, strided) in enumerate(zip(footprint.channels, footprint.strided, strict=True)):
            name = f"model.encode.encode_{index}"
            unit = Residual(outputs, inputs, kernel=footprint.kernel, subunits=footprint.res_units, strided=strided)
            if footprint.res_units:
                yield from residual_unit(name, unit, footprint.traits)
            else:
                yield from block(name, outputs, inputs, footprint.kernel, footprint.traits)
            inputs = outputs
        yield from _intermediate(footprint)
        yield from _decoder(footprint)
        yield from linear("model.mu", footprint.latent_size, flat)
        yield from linear("model.logvar", footprint.latent_size, flat)
        yield from linear("model.decodeL", flat, footprint.latent_size)

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configuration that the anchors show, with a last map as cubic as its area allows.

        Strides show only in the shortcuts of residual units; where they do not, each layer is assumed to halve.
        """
        units = count(layout, *_parts("model.encode.encode_0.conv.unit{}."))
        unit, ended = ("conv.unit0.conv", "conv.unit0.adn") if units else ("conv", "adn")
        channels = _widths(layout, f"model.encode.encode_{{}}.{unit[:-4]}")
        shape = _kernel_of(layout, f"model.encode.encode_{{}}.{unit}.weight", len(channels))
        if not shape:
            return
        kernel, rank = shape[2:], len(shape)
        # blocks between without residual units are plain ones
        inter_units = count(layout, *_parts("model.intermediate.inter_0.conv.unit{}."))
        inter = _widths(layout, f"model.intermediate.inter_{{}}.{'conv.unit0.' if inter_units else ''}")
        sides, strides = _shown_sides(layout, len(channels), (*channels, *inter)[-1], kernel, units)
        slopes_shown = first_size(layout, f"model.encode.encode_0.{ended}.A.weight", default=0)
        # of the activations a PReLU alone has weights; which one of the others a model has, no tensor says
        act = "PRELU" if slopes_shown == 1 else ("PRELU", {"num_parameters": slopes_shown}) if slopes_shown else "RELU"
        up = _kernel_of(layout, "model.decode.decode_{}.conv.conv.weight", len(channels), (rank,)) or shape
        last, first = f"model.decode.decode_{len(channels) - 1}.conv.conv", "model.encode.encode_0"
        inputs = anchor(layout, f"{first}.{unit}.weight", rank) or (1, 1)
        outputs = anchor(layout, f"{last}.weight", rank)
        yield {
            "spatial_dims": len(kernel),
            "in_shape": (inputs[1], *sides),
            "out_channels": outputs[1] if outputs else first_size(layout, f"{last}.bias", default=1),
            "latent_size": first_size(layout, "model.mu.bias", "model.mu.weight", default=1),
            "channels": channels,
            "strides": tuple(stride[0] for stride in strides),
            "kernel_size": _one_or_each(kernel),
            "up_kernel_size": _one_or_each(up[2:]),
            "num_res_units": units,
            "norm": "batch" if f"{first}.{ended}.N.weight" in layout else "instance",
            "act": act,
            "bias": f"{first}.{unit}.bias" in layout or "model.decode.decode_0.conv.conv.bias" in layout,
            "inter_channels": inter or None,
            **({"num_inter_units": inter_units} if inter else {}),
        }

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose layers follow from each other in the shapes of a bag."""
        matrices = [
            (latent, flat) for latent, flat in of_rank(bag, 2) if (flat, latent) in bag and bag[latent, flat] > 1
        ]
        ranks = [rank for rank in (3, 4, 5) if of_rank(bag, rank)]
        if not matrices or len(ranks) != 1:
            return
        kernels = sorted({shape[2:] for shape in of_rank(bag, ranks[0])}, reverse=True)
        styles = list(product(("batch", "instance"), ("PRELU", "RELU") if bag[1,] else ("RELU",), (True, False)))
        ways = iter(range(_MOST_WAYS))
        for (latent, flat), kernel, up, units in product(matrices, kernels, kernels, range(_MOST_SKETCHED)):
            for layers in _layers(bag, kernel, up, units, ways):
                area, odd = divmod(flat, layers.encoded)
                for norm, act, bias in () if odd else styles:
                    known = {"latent_size": latent, "num_res_units": units, "norm": norm, "act": act, "bias": bias}
                    yield {**known, **_config_of_layers(layers, kernel, up, _most_cubic(area, len(kernel)))}

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two of the shape that the configuration states."""
        return (2, *config["in_shape"])

    def arguments_of_input(self, shape: tuple[int, ...]) -> Config:
        """Return ``in_shape``: what was trained on one shape is nearly always fed that shape."""
        return {"in_shape": shape[1:]}

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: it needs a last map of the area that ``in_shape`` gives.

        Each encoder layer divides the sides by its stride, rounding up; the decoder multiplies them again.
        """
        return _refusal(config, self.footprint(config), shape)

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return what comes out: the reconstruction has the sides of ``in_shape``, rounded up."""
        strides, latent = layer_strides(config), (shape[0], config["latent_size"])
        sides = _sides_before(final_size(config["in_shape"][1:], strides), strides)
        return {"recon_x": (shape[0], config["out_channels"], *sides), "mean": latent, "logvar": latent, "z": latent}

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Yield the places that no layer reads, and the sides that come back with another length."""
        footprint, strides = self.footprint(config), layer_strides(config)
        for axis, size in enumerate(shape[2:]):
            lost = unread(size, footprint, [stride[axis] for stride in strides], axis)
            if lost:
                detail = f"{len(lost)} of {size} places along side {axis + 1} are never read"
                yield Loss("pixels", detail, axis + 2, lost)
        for axis, (side, after) in enumerate(zip(shape, outputs["recon_x"], strict=True)):
            if axis > 1 and side != after:
                yield Loss("rounding", f"side {axis - 1} of {side} comes back as {after}", axis)

    def untrainable(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say that a batch norm sees one element in train mode."""
        footprint = self.footprint(config)
        alone = footprint.traits.batch and shape[0] * footprint.area == 1
        return "batch norm on a map of one element needs a batch of at least 2 in train mode" if alone else ""

    def idle(self, config: Config) -> tuple[str, ...]:
        """Return the arguments that a model without intermediate blocks does not read."""
        return () if config["inter_channels"] else ("inter_dilations", "num_inter_units")


ARCHITECTURE = BetaVaeMonai()
