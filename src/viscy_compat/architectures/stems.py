"""The stem that turns depth into channels: which sizes it takes, what it never reads, what its weights show.

With kernel depth k and stride s in z, a stack of D slices gives ``od = (D - k) // s + 1`` output slices, which become
channels; so ``od`` must divide the width that the backbone expects. Measured: 0 disagreements in 4,096 combinations.
"""

from __future__ import annotations

from viscy_compat.annotations import Any, Iterable, Iterator, Mapping
from viscy_compat.architectures.architecture import Architecture, Axis, Config, Integers, TupleOf
from viscy_compat.architectures.backbones import SAME_AS_RESNET50
from viscy_compat.architectures.outcome import Loss
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import spell_count

KERNEL = TupleOf((Integers(1, 7), Integers(1, 7), Integers(1, 7)))
STRIDE = TupleOf((Integers(1, 8), Integers(1, 8), Integers(1, 8)))
DEPTH = Integers(1, 48)
WHY_STRIDE = "the kernel is in the weights, the stride is not: any stride with a depth that gives as many slices fits"
ABOUT_STRIDE = "it is the step of the stem's window along slices, rows and columns, so it sets which pixels are read"
WHY_DEPTH = "slices behind the last stem window are never read, so these depths give the same model"
DEPTH_AXES = (
    Axis("input depth (slices)", tuple(range(1, 49)), "in_stack_depth"),
    Axis(
        "stem kernel and stride in z",
        tuple(range(1, 13)),
        argument="stem_kernel_size",
        places=(0,),
        with_it=("stem_stride",),
    ),
)
_COMMON_SIDES = ((1, 1), (2, 2), (4, 4), (8, 8))
_AXES = {2: "slices", 3: "rows", 4: "columns"}


def windows(size: int, kernel: int, stride: int) -> int:
    """Return how many windows of a kernel fit into a size; zero or less where none does.

    Examples
    --------
    >>> windows(15, 5, 5), windows(4, 5, 5)
    (3, 0)
    """
    return (size - kernel) // stride + 1


def stem_width(config: Config, first: int) -> int:
    """Return the channels of the stem convolution.

    Raises
    ------
    Unbuildable
        Where no slice comes out, or their number does not divide the ``first`` width of the backbone.

    Examples
    --------
    >>> stem_width({"in_stack_depth": 15, "stem_kernel_size": (5, 4, 4), "stem_stride": (5, 4, 4)}, 96)
    32
    """
    depth, kernel, stride = config["in_stack_depth"], config["stem_kernel_size"][0], config["stem_stride"][0]
    slices = windows(depth, kernel, stride)
    if slices <= 0:
        raise Unbuildable(f"in_stack_depth={depth} is less than the depth {kernel} of the stem kernel")
    if first % slices:
        raise Unbuildable(
            f"in_stack_depth={depth}, kernel depth {kernel} and stride {stride} give {slices} slices, "
            f"which do not divide the {first} channels of the backbone"
        )
    return first // slices


def has_no_slices(config: Config) -> bool:
    """Whether a stack is thinner than the stem kernel, so that no slice comes out."""
    return windows(config["in_stack_depth"], config["stem_kernel_size"][0], config["stem_stride"][0]) <= 0


def input_windows(config: Config, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the size of the stem's output (slices, rows, columns) for an input of shape ``(B, C, D, H, W)``."""
    kernel, stride = config["stem_kernel_size"], config["stem_stride"]
    depth, rows, columns = (windows(size, kernel[axis], stride[axis]) for axis, size in enumerate(shape[2:]))
    return depth, rows, columns


class StemmedArchitecture(Architecture):
    """What the classes behind this stem share: what it asks of an input, what it never reads, what resnet50 hides."""

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why the stem does not take an input; empty where it does."""
        if len(shape) != 5 or min(shape) < 1:
            return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {shape}"
        if shape[1] != config["in_channels"]:
            return f"the input has {spell_count(shape[1], 'channel')}, in_channels is {config['in_channels']}"
        kernel = config["stem_kernel_size"]
        if any(size < width for size, width in zip(shape[2:], kernel, strict=True)):
            return f"{_sizes(shape[2:])} is smaller than the stem kernel {_sizes(kernel)}"
        needed = windows(config["in_stack_depth"], kernel[0], config["stem_stride"][0])
        slices, depth = input_windows(config, shape)[0], config["in_stack_depth"]
        if needed == slices:
            return ""
        return f"{spell_count(shape[2], 'slice', 'gives', 'give')} {slices} after the stem, in_stack_depth={depth} gives {needed}"

    def losses(self, config: Config, shape: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]]) -> Iterable[Loss]:
        """Yield what the stem never reads."""
        return stem_losses(config, shape)

    def notes(self, config: Config) -> tuple[str, ...]:
        """Return what the evidence for resnet50 does not exclude."""
        same = f"{', '.join(SAME_AS_RESNET50)} have the same layout as resnet50 without its first convolution"
        return (same,) if config["backbone"] == "resnet50" else ()


def unread(size: int, kernel: int, stride: int) -> tuple[int, ...]:
    """Return the indices that no window covers: gaps between windows, and the rest behind the last one.

    Examples
    --------
    >>> unread(17, 5, 5), unread(8, 1, 3)
    ((15, 16), (1, 2, 4, 5, 7))
    """
    count = windows(size, kernel, stride)
    covered = {start * stride + offset for start in range(count) for offset in range(kernel)}
    return tuple(index for index in range(size) if index not in covered)


def stem_losses(config: Config, shape: tuple[int, ...]) -> Iterator[Loss]:
    """Yield what the stem never reads of an input, an entry for each axis."""
    for axis, size in enumerate(shape[2:], start=2):
        kernel, stride = config["stem_kernel_size"][axis - 2], config["stem_stride"][axis - 2]
        lost = unread(size, kernel, stride)
        if lost:
            detail = f"{len(lost)} of {size} {_AXES[axis]} are never read (kernel {kernel}, stride {stride})"
            yield Loss("slices" if axis == 2 else "pixels", detail, axis, lost)


def depths(slices: int, kernel: int, stride: int) -> range:
    """Return the stack depths that give a number of slices after the stem, the one that reads everything first.

    Examples
    --------
    >>> depths(3, 5, 5), depths(3, 5, 2)
    (range(15, 20), range(9, 11))
    """
    exact = kernel + (slices - 1) * stride
    return range(exact, exact + stride)


def strides_for(windows_wanted: int, size: int, kernel: int) -> range:
    """Return the strides with which a kernel has a number of windows in a size, as far as they are not endless.

    Examples
    --------
    >>> strides_for(3, 15, 5), strides_for(1, 7, 5), strides_for(4, 5, 5)
    (range(4, 6), range(3, 4), range(1, 1))
    """
    room = size - kernel
    # from here on any stride has one window: the least of them stands for all
    if windows_wanted < 2:
        return range(max(1, room + 1), max(1, room + 1) + (room >= 0))
    return range(max(1, room // windows_wanted + 1), max(1, room // (windows_wanted - 1) + 1))


def joint_strides(
    config: Config, stated: Config, sides: Iterable[tuple[int, int]] = _COMMON_SIDES
) -> Iterator[dict[str, Any]]:
    """Yield stem strides, each with stack depths that go with it: all for a stated stride, else the exact one.

    Parameters
    ----------
    config, stated
        A configuration that fits, and the arguments that are known.
    sides : Iterable[tuple[int, int]], optional
        Strides in xy to try after those of the kernel.
    """
    kernel: tuple[int, int, int] = config["stem_kernel_size"]
    slices = windows(config["in_stack_depth"], kernel[0], config["stem_stride"][0])
    given: Any = stated.get("in_stack_depth")
    # a stride like the kernel reads every pixel once, and is what the published models have; a stated depth may need one
    # that nobody would try
    deep = [kernel[0], *range(1, 9), *(strides_for(slices, given, kernel[0]) if "in_stack_depth" in stated else ())]
    tried = [(depth, *side) for side in (kernel[1:], *sides) for depth in deep]
    for stride in [stated["stem_stride"]] if "stem_stride" in stated else dict.fromkeys(tried):
        fitting = depths(slices, kernel[0], stride[0])
        # with the stride open, one depth for each keeps the list short: that which reads every slice
        chosen = [given] if "in_stack_depth" in stated else fitting if "stem_stride" in stated else fitting[:1]
        yield from ({"stem_stride": stride, "in_stack_depth": depth} for depth in chosen)


def remaining_depths(config: Config, stated: Config) -> Iterator[dict[str, Any]]:
    """Yield the stack depths that differ only in slices that the stem never reads."""
    kernel, stride = config["stem_kernel_size"][0], config["stem_stride"][0]
    slices = windows(config["in_stack_depth"], kernel, stride)
    given = stated.get("in_stack_depth")
    yield from ({"in_stack_depth": depth} for depth in ((given,) if given else depths(slices, kernel, stride)))


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
