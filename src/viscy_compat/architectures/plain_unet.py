"""What Unet2d and Unet25d share: levels of plain convolution blocks, their widths, and how shapes show them."""

from __future__ import annotations

from viscy_compat.annotations import Any, Iterator, Mapping, Sequence, cached_property
from viscy_compat.architectures.architecture import (
    Architecture,
    Choice,
    Config,
    Domain,
    Generation,
    Integers,
    TupleOf,
    last_release,
)
from viscy_compat.architectures.bags import Bag, Shape, TooManyWays, of_rank
from viscy_compat.architectures.vocabulary import Entries, batch_norm, convolution
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import spell_count

ABOUT_RESIDUAL = "true adds what goes into a block to what comes out, false does not"
ODD_KERNEL = TupleOf((Choice((1, 3, 5, 7)), Choice((1, 3, 5, 7))))
"""An even kernel cannot be padded alike at both ends, and so changes the size of the map."""

TWO = {"num_blocks": 2}
MOST_LEVELS = 16
MOST_BLOCKS = 58
"""Blocks beyond which the widths, 16 doubled at every level, do not fit into the 63 bits of a size."""

_MOST_CHAINS = 256
"""How many levels, and ways to lay them out, are looked for in the shapes of a file: no file has been seen with more
than five levels, and each way costs a layout."""


class PlainUnet(Architecture):
    """What is the same for both: levels, widths, sides, and the cases that each class has with inputs of its own."""

    outputs = ("output",)
    kernel_argument: str
    """The argument that has the kernel in height and width."""
    old_module: str
    """Where the old class was."""
    old_files: Mapping[str, str]
    """The files of the old class, with their git blob ids."""

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """One state, the same in all releases."""
        return (
            Generation(
                name="v0.1",
                module=self.old_module,
                qualname=self.name,
                written_by="v0.1.0a0 to v0.4.1",
                releases=(last_release(self.arguments, self.old_files, old_config=with_listed_filters),),
                layout=self.layout,
            ),
        )

    def check(self, config: Config) -> tuple[int, int]:
        """Refuse what has no levels, not a width for each, or an even kernel; return the kernel.

        Raises
        ------
        Unbuildable
            As the constructors do.
        """
        if config["num_blocks"] < 1:
            raise Unbuildable(f"num_blocks={config['num_blocks']} leaves no level below the first")
        if config["num_blocks"] > MOST_BLOCKS:
            raise Unbuildable(f"num_blocks={config['num_blocks']} is beyond the {MOST_BLOCKS} that are known here")
        if has_no_levels(config):
            raise Unbuildable(
                f"num_filters has {spell_count(len(config['num_filters']), 'width')} for {config['num_blocks'] + 1} levels"
            )
        kernel = kernel_of(config[self.kernel_argument])
        if has_even_side(kernel):
            raise Unbuildable(f"the kernel {kernel} has an even side")
        return kernel

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say where the form, the channels or the sides of an input are not what the levels need."""
        if len(shape) != 5 or min(shape) < 1:
            return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {shape}"
        if shape[1] != config["in_channels"]:
            return f"the input has {spell_count(shape[1], 'channel')}, in_channels is {config['in_channels']}"
        step = 1 << config["num_blocks"]
        uneven = shape[3] % step or shape[4] % step
        return f"the sides {shape[3]} x {shape[4]} must be multiples of {step}" if uneven else ""

    def spelling(self, stated: Config, config: Config) -> Config:
        """Return kernels as pairs and filters in full."""
        kernel, filters = stated.get(self.kernel_argument), stated.get("num_filters")
        pair = {self.kernel_argument: kernel_of(kernel)} if isinstance(kernel, int) else {}
        every = {"num_filters": level_widths({**config, "num_filters": ()})} if filters == () else {}
        return {**stated, **pair, **every}


def kernel_of(size: Any) -> tuple[int, int]:
    """Return a kernel as height and width.

    Examples
    --------
    >>> kernel_of(3), kernel_of((3, 5))
    ((3, 3), (3, 5))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def level_widths(config: Config) -> tuple[int, ...]:
    """Return the channels at each level: those given, or 16 doubled at every level.

    Examples
    --------
    >>> level_widths({"num_blocks": 2, "num_filters": ()})
    (16, 32, 64)
    """
    return tuple(config["num_filters"]) or tuple(16 << level for level in range(config["num_blocks"] + 1))


def filters_domain(config: Config) -> Domain:
    """Return widths for every level."""
    return TupleOf((Integers(1, 32),) * (config["num_blocks"] + 1))


def with_listed_filters(config: Config) -> dict[str, Any]:
    """Return the arguments of the old constructors, which take the filters as a list only."""
    return {**config, "num_filters": {"list": list(config["num_filters"])}}


def has_no_levels(config: Config) -> bool:
    """Whether there is no level below the first, or not a width for each."""
    return config["num_blocks"] < 1 or len(config["num_filters"]) not in (0, config["num_blocks"] + 1)


def has_even_side(kernel: Any) -> bool:
    """Whether a kernel has an even side, with which a map would not keep its size."""
    return not all(side % 2 for side in kernel_of(kernel))


def conv_block(name: str, outputs: int, inputs: int, kernel: Sequence[int], repeats: int, *, norms: bool) -> Entries:
    """Yield a block: batch norms, convolutions, and the 1 x 1 convolution of the residual path.

    Examples
    --------
    >>> [key for key, _ in conv_block("b", 8, 4, (3, 3), 1, norms=False)][2:]
    ['b.resid_conv.weight', 'b.resid_conv.bias']
    """
    for index in range(repeats if norms else 0):
        yield from batch_norm(f"{name}.batch_norm_{index}", outputs)
    width = inputs
    for index in range(repeats):
        yield from convolution(f"{name}.Conv{len(kernel)}d_{index}", outputs, width, kernel)
        width = outputs
    yield from convolution(f"{name}.resid_conv", outputs, inputs, (1,) * len(kernel))


Chain = tuple[int, tuple[int, ...]]
"""Input channels, and the widths of the levels."""


def chains(bag: Bag, blocks: int, *, down: Shape, up: Shape, bottom: Shape) -> Iterator[Chain]:
    """Yield input channels and widths for which a bag has the first convolution of each block, down and up.

    Parameters
    ----------
    bag : Bag
        The shapes of a file.
    blocks : int
        The levels below the first.
    down, up, bottom : Shape
        The kernels of the convolutions on the way down, on the way up, and at the lowest level.

    Raises
    ------
    TooManyWays
        Where there are more than can be looked at.
    """
    shapes = of_rank(bag, 2 + len(down))
    firsts, lasts = ([shape[:2] for shape in shapes if shape[2:] == kernel] for kernel in (down, bottom))
    ways: list[Chain] = [(inputs, (width,)) for width, inputs in firsts]
    for level in range(blocks):
        ways = [
            (inputs, (*widths, width))
            for inputs, widths in ways
            for width, before in (firsts if level < blocks - 1 else lasts)
            if before == widths[-1] and (before, before + width, *up) in bag
        ]
        if len(ways) > _MOST_CHAINS:
            raise TooManyWays
    return iter(ways)
