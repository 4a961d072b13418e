"""What upstream's three U-Nets for whole volumes share: Unet3d (FNet3D), UNetViT3D, CELLDiffNet.

They are classes of upstream's ``viscy-models`` since v0.5.0a1, wrappers of one base: blocks of two convolutions on the
way down and up, a bottleneck between. Nothing has to be migrated: files of v0.5 load there as they are.
"""

from __future__ import annotations

from itertools import pairwise, product
from math import prod

from viscy_compat.annotations import Any, Iterator, Sequence, cached_property
from viscy_compat.architectures.anchors import anchor, count, first_size, parts
from viscy_compat.architectures.architecture import (
    Ambiguity,
    Architecture,
    Argument,
    Axis,
    Case,
    Choice,
    Config,
    Floats,
    Generation,
    Integers,
    Repeated,
    TupleOf,
    as_settled,
    freeze,
    name_after,
)
from viscy_compat.architectures.bags import Bag, Shape, TooManyWays, of_rank
from viscy_compat.architectures.vocabulary import Entries, batch_norm, convolution, linear, norm, transposed
from viscy_compat.errors import Unbuildable
from viscy_compat.layout import Layout, TensorSpec, spell_count
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Operation, Rename

INSTALL = "pip install 'viscy-models{} @ git+https://github.com/mehta-lab/VisCy#subdirectory=packages/viscy-models'"
"""No index has the package: upstream's README installs it from the repository."""

DYNACELL_MARKERS = ("CAAX", "H2B", "SEC61B", "TOMM20")
"""What the four files of each model predict (applications/dynacell/examples/hf_demo in upstream's main at 4b62365c)."""

_KERNEL = (3, 3, 3)
_GROUPS = 8
"""Every group norm has 8 groups, whatever the width."""

_FREQUENCIES = 128
"""Half of the 256 that the timestep embedding is made of: a sine and a cosine of each."""

_MOST_LEVELS = 6
_MOST_CHAINS = 256
"""How many levels, and ways to lay them out, are looked at in the shapes of a file; each costs a layout."""


class Levels(NamedTuple):
    """The convolutional part of a volume U-Net.

    ``blocks`` counts those of each level; ``time`` is the width of the timestep embedding, 0 without one; ``deep`` says
    whether the levels halve the slices too.
    """

    in_channels: int
    out_channels: int
    dims: tuple[int, ...]
    blocks: tuple[int, ...]
    time: int = 0
    batch: bool = False
    deep: bool = False

    @property
    def residual(self) -> bool:
        """Whether blocks have a shortcut: those with group norms do."""
        return not self.batch


def double_convolution(name: str, outputs: int, inputs: int, levels: Levels) -> Entries:
    """Yield a block: what the timestep sets, two convolutions with norms, and the shortcut where the width changes.

    Examples
    --------
    >>> flat = Levels(1, 1, (8,), ())
    >>> [key for key, _ in double_convolution("b", 8, 16, flat)][-2:]
    ['b.res_conv.weight', 'b.res_conv.bias']
    """
    if levels.time:
        yield from linear(f"{name}.mlp.1", 2 * outputs, levels.time)
    for place, width in ((1, inputs), (2, outputs)):
        yield from convolution(f"{name}.block{place}.proj", outputs, width, _KERNEL)
        yield from (batch_norm if levels.batch else norm)(f"{name}.block{place}.norm", outputs)
    if levels.residual and inputs != outputs:
        yield from convolution(f"{name}.res_conv", outputs, inputs, (1, 1, 1))


def volume_unet(levels: Levels, bottleneck: Entries) -> Entries:
    """Yield the layout of the base around the tensors of a bottleneck."""
    dims, time = levels.dims, levels.time
    if time:
        yield from timestep_embedding("_time_embedder", time)
    yield from convolution("inconv", dims[0], levels.in_channels, _KERNEL)
    if time:
        yield from convolution("_cond_inconv", dims[0], 1, _KERNEL)
    for level, blocks in enumerate(levels.blocks):
        for index in range(blocks):
            yield from double_convolution(f"_encoder_blocks.{level}.{index}", dims[level], dims[level], levels)
    for level, (before, after) in enumerate(pairwise(dims)):
        yield from convolution(f"_downsamples.{level}", after, before, _KERNEL)
    yield from bottleneck
    for step, (after, before) in enumerate(pairwise(dims[::-1])):
        yield from transposed(f"_upsamples.{step}", before, after, up_kernel(levels))
    for step, blocks in enumerate(levels.blocks[::-1]):
        width = dims[-2 - step]
        for index in range(blocks):
            yield from double_convolution(f"_decoder_blocks.{step}.{index}", width, 2 * width, levels)
    yield from convolution("outconv", levels.out_channels, dims[0], _KERNEL)


def up_kernel(levels: Levels) -> Shape:
    """Return the kernel of the transposed convolutions."""
    return _KERNEL if levels.deep else (1, 3, 3)


def timestep_embedding(name: str, width: int) -> Entries:
    """Yield the embedding of a timestep: its frequencies, a buffer, and two linear layers."""
    yield f"{name}.freqs", TensorSpec((_FREQUENCIES,))
    yield from linear(f"{name}.mlp.0", width, 2 * _FREQUENCIES)
    yield from linear(f"{name}.mlp.2", width, width)


def check_levels(dims: Sequence[int], blocks: Sequence[int], *, groups: int) -> None:
    """Refuse levels that the constructor refuses.

    Raises
    ------
    Unbuildable
        Where there is not one width more than levels, or a norm's groups do not divide a width.
    """
    if len(dims) != len(blocks) + 1:
        raise Unbuildable(
            f"dims={tuple(dims)} and num_res_block={tuple(blocks)}: there must be one width more than levels"
        )
    if min((*dims, *blocks), default=0) < 0 or min(dims) < 1:
        raise Unbuildable(f"dims={tuple(dims)} and num_res_block={tuple(blocks)} must be positive")
    for width, repeats in zip(dims[:-1], blocks, strict=True):
        if repeats and width % groups:
            raise Unbuildable(
                f"dims={tuple(dims)}: {width} channels cannot be shared out among {groups} groups of a norm"
            )


def form_refusal(config: Config, shape: tuple[int, ...]) -> str:
    """Say where the form or the channels of an input do not fit."""
    if len(shape) != 5 or min(shape) < 1:
        return f"the input must be (B, C, D, H, W) with sizes of at least 1, not {shape}"
    if shape[1] != config["in_channels"]:
        return f"the input has {spell_count(shape[1], 'channel')}, in_channels is {config['in_channels']}"
    return ""


class VitFootprint(NamedTuple):
    """What the layout of a U-Net with a transformer shows: ``inner`` is the width of all its heads together."""

    levels: Levels
    tokens: int
    hidden: int
    inner: int
    layers: int
    patch: int


class VitUnet(Architecture):
    """What UNetViT3D and CELLDiffNet share: the transformer between the levels, and what its weights leave open."""

    outputs = ("output",)
    lists = ("input_spatial_size", "dims", "num_res_block")
    timesteps: bool
    """Whether forward takes a condition and timesteps too."""

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The state of a branch for three days, whose levels had other names, and the one of every release."""
        first = freeze("v0.5a", self)._replace(
            written_by="development versions from 2026-03-27 (ff9910cc) to 2026-03-30",
            layout=lambda config: layout_before(self, config),
            to_today=to_today,
        )
        return first, freeze("v0.5", self)._replace(written_by="upstream's viscy-models from v0.5.0a1 on")

    def levels(self, config: Config) -> Levels:
        """Return the convolutional part of a configuration."""
        outputs = config["in_channels"] if self.timesteps else config["out_channels"]
        time = config["hidden_size"] if self.timesteps else 0
        return Levels(config["in_channels"], outputs, dims=config["dims"], blocks=config["num_res_block"], time=time)

    def footprint(self, config: Config) -> VitFootprint:
        """Return what the layout shows; raises `Unbuildable` for what the constructor refuses."""
        levels, hidden = self.levels(config), config["hidden_size"]
        check_levels(levels.dims, levels.blocks, groups=_GROUPS)
        if hidden < 1 or hidden % 16:
            raise Unbuildable(f"hidden_size={hidden} is no multiple of 16, which the positions in three axes need")
        return VitFootprint(
            levels=levels,
            tokens=prod(token_grid(config)),
            hidden=hidden,
            inner=config["num_heads"] * config["dim_head"],
            layers=config["num_hidden_layers"],
            patch=config["patch_size"],
        )

    def tensors(self, footprint: VitFootprint) -> Entries:
        """Yield the levels around the transformer."""
        yield from volume_unet(footprint.levels, _transformer("bottleneck", footprint))

    def candidates(self, layout: Layout) -> Iterator[Config]:
        """Yield the configurations that the anchors show.

        The number of places shows, not how they lie: eight slices, upstream's own, are tried first, then the others.
        """
        if "img_pos_embed" in layout or "downs.down0.weight" in layout:
            levels = count(layout, *parts("downs.down{}"))
            layout = {
                _name_today(name, levels): spec
                for name, spec in layout.items()
                if name.partition(".")[0] in _FIRST_NAMES
            }
        dims = _dims(layout)
        hidden, size = _patch(layout, dims[-1])
        # a damaged file may show no token, and no width of a head
        tokens = max(1, (anchor(layout, "bottleneck.img_pos_embed", 3) or (1, 1, hidden))[1])
        inner = first_size(
            layout, "bottleneck.blocks.0.attn.to_q.weight", "bottleneck.blocks.0.attn.to_k.weight", default=512
        )
        heads, dim_head = _heads(max(1, inner))[0]
        levels = len(dims) - 1
        known = {
            "in_channels": (anchor(layout, "inconv.weight", 5) or (dims[0], 1))[1],
            "dims": dims,
            "num_res_block": tuple(_blocks(layout, level) for level in range(levels)),
            "hidden_size": hidden,
            "num_heads": heads,
            "dim_head": dim_head,
            "num_hidden_layers": count(
                layout, "bottleneck.blocks.{}.attn.to_q.weight", "bottleneck.blocks.{}.ff.net.2.bias"
            ),
            "patch_size": size,
            **({} if self.timesteps else {"out_channels": first_size(layout, *parts("outconv"), default=1)}),
        }
        yield {**known, "input_spatial_size": _sizes(tokens, size, levels)[0]}

    def sketches(self, bag: Bag) -> Iterator[Config]:
        """Yield the configurations whose levels follow from each other in the shapes of a bag."""
        for _, tokens, hidden in (shape for shape in of_rank(bag, 3) if shape[0] == 1):
            inners = {shape[0] for shape in of_rank(bag, 2) if shape[1] == hidden and (hidden, shape[0]) in bag}
            patches = [s for s in of_rank(bag, 5) if s[0] == hidden and s[2] == s[3] == s[4]]
            # only the first layer of a feed-forward is 8 times as wide (GEGLU: half of it is the gate):
            # one for each layer
            layers = bag[8 * hidden, hidden]
            for patch in patches:
                for config in self._level_sketches(bag, patch[1]):
                    size = _sizes(tokens, patch[2], len(config["dims"]) - 1)[0]
                    for inner in sorted(inners):
                        heads, dim_head = _heads(inner)[0]
                        vit = {"num_heads": heads, "dim_head": dim_head, "num_hidden_layers": layers}
                        yield {
                            **config,
                            **vit,
                            "hidden_size": hidden,
                            "patch_size": patch[2],
                            "input_spatial_size": size,
                        }

    def _level_sketches(self, bag: Bag, deepest: int) -> Iterator[dict[str, Any]]:
        for dims, blocks in level_chains(bag, (1, 3, 3)):
            if dims[-1] == deepest:
                for inputs in {s[1] for s in of_rank(bag, 5) if s[0] == dims[0] and s[2:] == _KERNEL}:
                    for outputs in {s[0] for s in of_rank(bag, 5) if s[1] == dims[0] and s[2:] == _KERNEL}:
                        out = {} if self.timesteps else {"out_channels": outputs}
                        # a class that takes timesteps gives back as many channels as it gets
                        if not self.timesteps or inputs == outputs:
                            yield {"in_channels": inputs, "dims": dims, "num_res_block": blocks, **out}

    def input_shape(self, config: Config) -> tuple[int, ...]:
        """Return a batch of two of the size that the configuration states, which is the only one that runs."""
        return (2, config["in_channels"], *config["input_spatial_size"])

    def refusal(self, config: Config, shape: tuple[int, ...]) -> str:
        """Say why an input is not taken: its size must be that of the configuration."""
        why = form_refusal(config, shape)
        if why or shape[2:] == tuple(config["input_spatial_size"]):
            return why
        return f"the input is {_size(shape[2:])}, input_spatial_size asks for {_size(config['input_spatial_size'])}"

    def output_shapes(self, config: Config, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the size of the input, with the output channels."""
        return {"output": (shape[0], self.levels(config).out_channels, *shape[2:])}

    def spelling(self, stated: Config, config: Config) -> Config:
        """Return the defaults that None stands for."""
        rows = {row.name: row.default for row in self.arguments}
        return {name: rows[name] if value is None and name in rows else value for name, value in stated.items()}


def vit_arguments(*between: Argument) -> tuple[Argument, ...]:
    """Return the arguments of a U-Net with a transformer, with those of the class behind the input channels."""
    return (
        Argument(
            "input_spatial_size",
            (8, 512, 512),
            lambda config: TupleOf((Choice((4, 8, 12)), Choice((16, 24, 32, 48)), Choice((16, 24, 32, 48)))),
            about=ABOUT_SIZE,
        ),
        Argument("in_channels", 1, Integers(1, 3)),
        *between,
        Argument("dims", (32, 64, 128), Repeated(Choice((8, 16, 24)), 2, 3)),
        Argument("num_res_block", (2, 2), lambda config: TupleOf((Integers(1, 3),) * (len(config["dims"]) - 1))),
        Argument("hidden_size", 512, Choice((16, 32, 48, 64))),
        Argument("num_heads", 8, Integers(1, 4), about=ABOUT_HEADS),
        Argument("dim_head", 64, Integers(1, 16), about=ABOUT_HEADS),
        Argument("dropout", 0.0, Floats(0.0, 0.9), "training"),
        Argument("final_dropout", 0.0, Floats(0.0, 0.9), "training"),
        Argument("num_hidden_layers", 2, Integers(1, 3)),
        Argument("patch_size", 4, Integers(1, 4)),
    )


ABOUT_SIZE = "it is the only size of an input that runs, and says how the places of the transformer lie"
ABOUT_HEADS = "the same weights are shared out among so many heads, each of which attends for itself"


def token_grid(config: Config) -> tuple[int, int, int]:
    """Return how many patches of the last map lie along each axis.

    Raises
    ------
    Unbuildable
        Where the levels do not halve the sides evenly, or patches do not divide the last map.

    Examples
    --------
    >>> token_grid({"input_spatial_size": (8, 512, 512), "num_res_block": (2, 2), "patch_size": 4})
    (2, 32, 32)
    """
    size, patch, factor = tuple(config["input_spatial_size"]), config["patch_size"], 1 << len(config["num_res_block"])
    if len(size) != 3 or patch < 1 or min(size) < 1:
        raise Unbuildable(f"input_spatial_size={size} and patch_size={patch} must be slices, rows, columns, and a size")
    if size[1] % factor or size[2] % factor:
        raise Unbuildable(f"the sides {size[1]} x {size[2]} must be multiples of {factor}")
    depth, rows, columns = size[0], size[1] // factor, size[2] // factor
    if depth % patch or rows % patch or columns % patch:
        raise Unbuildable(f"patches of {patch} do not divide the last map, {_size((depth, rows, columns))}")
    return depth // patch, rows // patch, columns // patch


def _transformer(name: str, footprint: VitFootprint) -> Entries:
    hidden, inner, patch = footprint.hidden, footprint.inner, footprint.patch
    width, time = footprint.levels.dims[-1], footprint.levels.time
    yield f"{name}.img_pos_embed", TensorSpec((1, footprint.tokens, hidden))
    yield from convolution(f"{name}.img_embedding.proj", hidden, width, (patch,) * 3)
    for index in range(footprint.layers):
        block = f"{name}.blocks.{index}"
        for part in ("q", "k", "v"):
            yield f"{block}.attn.to_{part}.weight", TensorSpec((inner, hidden))
        yield from linear(f"{block}.attn.to_out.0", hidden, inner)
        yield from linear(f"{block}.ff.net.0.proj", 8 * hidden, hidden)
        yield from linear(f"{block}.ff.net.2", hidden, 4 * hidden)
        if time:
            yield from linear(f"{block}.adaLN.1", 6 * hidden, time)
    yield from linear(f"{name}.proj_out.linear", patch**3 * width, hidden)
    if time:
        yield from linear(f"{name}.proj_out.adaLN.1", 2 * hidden, time)


def _patch(layout: Layout, width: int) -> tuple[int, int]:
    """Return the width of the transformer and the side of a patch, which the last layer shows too."""
    embedding = anchor(layout, "bottleneck.img_embedding.proj.weight", 5)
    if embedding:
        return embedding[0], max(1, embedding[2])
    hidden = first_size(layout, "bottleneck.img_embedding.proj.bias", "bottleneck.blocks.0.ff.net.2.bias", default=512)
    voxels = first_size(layout, *parts("bottleneck.proj_out.linear"), default=64 * width) // max(1, width)
    # a patch is a cube; rounded, since a third root of 64 is 3.9999999999999996
    return hidden, max(1, round(voxels ** (1 / 3)))


def _dims(layout: Layout) -> tuple[int, ...]:
    """Return the widths of the levels, then that of the bottleneck."""
    levels = count(layout, *parts("_downsamples.{}"))
    first = first_size(layout, *parts("inconv"), default=8)
    return (first, *(first_size(layout, *parts(f"_downsamples.{level}"), default=8) for level in range(levels)))


def _blocks(layout: Layout, level: int) -> int:
    # no level is without a block: where none is there, the first was lost
    return count(layout, *parts(f"_encoder_blocks.{level}.{{}}.block1.proj")) or 1


def level_chains(bag: Bag, up: Shape) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield widths and numbers of blocks for which a bag has the way up, a transposed convolution for each level.

    Raises
    ------
    TooManyWays
        Where there are more than can be looked at.
    """
    ups = [shape[:2] for shape in of_rank(bag, 5) if shape[2:] == up and (shape[1], shape[0], *_KERNEL) in bag]
    waiting: list[tuple[int, ...]] = [(width, deep) for deep, width in ups]
    while waiting:
        if len(waiting) > _MOST_CHAINS:
            raise TooManyWays
        dims = waiting.pop()
        yield from ((dims, blocks) for blocks in _block_counts(bag, dims))
        if len(dims) <= _MOST_LEVELS:
            waiting += [(*dims, deep) for deep, width in ups if width == dims[-1]]


def _block_counts(bag: Bag, dims: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of blocks of each level that the first convolutions of the way up allow, one at least."""
    from collections import Counter

    downs = Counter(pairwise(dims))
    total = {width: bag[width, 2 * width, *_KERNEL] - downs[2 * width, width] for width in dims[:-1]}
    for blocks in product(*(range(1, total[width] + 1) for width in dims[:-1])):
        sums = Counter[int]()
        for width, repeats in zip(dims[:-1], blocks, strict=True):
            sums[width] += repeats
        if sums == total:
            yield blocks


def _heads(inner: int) -> list[tuple[int, int]]:
    """Return the numbers of heads, each with its width, that make a width together; heads of 64 first, upstream's own."""
    if inner > _MOST_DIVIDED:
        return [(1, inner)]
    pairs = [(inner // width, width) for width in range(1, inner + 1) if inner % width == 0]
    return sorted(pairs, key=lambda pair: (pair[1] != 64, pair[0] != 8, abs(pair[1] - 64)))


def _sizes(tokens: int, patch: int, levels: int) -> list[tuple[int, int, int]]:
    """Return the sizes of inputs with so many patches, eight slices and square ones first."""
    factor = patch << levels
    if tokens > _MOST_DIVIDED:
        return [(patch, factor, tokens * factor)]
    found = []
    for depth in range(1, min(tokens, 256) + 1):
        if tokens % depth == 0:
            area = tokens // depth
            rows = [row for row in range(1, min(area, 1024) + 1) if area % row == 0]
            found += [(depth * patch, row * factor, area // row * factor) for row in rows]
    return sorted(found, key=lambda size: (max(size[1:]) / min(size[1:]), size[0] != 8, size))[:_MOST_SIZES]


_MOST_DIVIDED = 1 << 16
"""A width of heads or a number of patches beyond it is that of a damaged file, and is not divided: that could take for ever."""

_MOST_SIZES = 64
"""Bounds how many sizes are offered: a longer list is not read to its end."""


def _size_candidates(config: Config, stated: Config) -> Iterator[Config]:
    """Yield the sizes of inputs with as many patches, that of the configuration first."""
    if "input_spatial_size" in stated:
        yield {"input_spatial_size": stated["input_spatial_size"]}
        return
    yield {"input_spatial_size": config["input_spatial_size"]}
    for size in _sizes(prod(token_grid(config)), config["patch_size"], len(config["num_res_block"])):
        if size != config["input_spatial_size"]:
            yield {"input_spatial_size": size}


VIT_AMBIGUITIES = (
    Ambiguity(
        "input_spatial_size",
        "predictions",
        "the weights show how many patches there are, not how they lie",
        _size_candidates,
        complete=False,
        certain=lambda config: prod(token_grid(config)) == 1,
    ),
    Ambiguity(
        "num_heads",
        "predictions",
        "the weights show the width of all heads together",
        # any two numbers whose product is that width
        lambda config, stated: (
            {"num_heads": heads, "dim_head": width}
            for heads, width in _heads(config["num_heads"] * config["dim_head"])
            if stated.get("num_heads", heads) == heads and stated.get("dim_head", width) == width
        ),
    ),
    Ambiguity("dim_head", "predictions", "see num_heads", as_settled("dim_head")),
)
VIT_ANCHORS = (
    "inconv.weight",
    "_cond_inconv.weight",
    "_downsamples.0.weight",
    "bottleneck.img_pos_embed",
    "bottleneck.img_embedding.proj.weight",
    "bottleneck.blocks.0.attn.to_q.weight",
    "outconv.bias",
)


def _size(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


# --- the state of the branch that had the transformers first -------------------------------------------------------

_FIRST_NAMES = (
    "img_pos_embed",
    "inconv",
    "cond_inconv",
    "t_embedding",
    "downs",
    "img_embedding",
    "mids",
    "img_proj_out",
    "ups",
    "outconv",
)
"""What the attributes were called, in the order of ``state_dict()``: a parameter of the model itself comes first."""

_MOVES = {
    "_time_embedder": "t_embedding",
    "_cond_inconv": "cond_inconv",
    "bottleneck.img_pos_embed": "img_pos_embed",
    "bottleneck.img_embedding": "img_embedding",
    "bottleneck.blocks": "mids",
    "bottleneck.proj_out": "img_proj_out",
}
"""What was not in a level, by today's names."""


def layout_before(architecture: VitUnet, config: Config) -> Layout:
    """Return the layout of the first state, which held the modules of all levels in one dictionary each way.

    Raises
    ------
    Unbuildable
        As today; with ten levels or more the dictionaries' keys would not tell levels from blocks.
    """
    today, levels = architecture.layout(config), len(config["num_res_block"])
    if levels > 9:
        raise Unbuildable(f"{levels} levels are more than the names of the first state tell apart")
    rows = [(_name_before(name, levels), spec) for name, spec in today.items()]
    return dict(sorted(rows, key=lambda row: _place_before(row[0])))


def to_today(layout: Layout) -> tuple[Operation, ...]:
    """Return the rows from the first state to today's: nothing but names changed."""
    levels = count(layout, *parts("downs.down{}"))
    return tuple(Rename(name, _name_today(name, levels)) for name in layout)


def _name_before(name: str, levels: int) -> str:
    elsewhere = name_after(name, _MOVES)
    if elsewhere != name:
        return elsewhere
    first, _, rest = name.partition(".")
    number, _, inner = rest.partition(".")
    if first == "_downsamples":
        return f"downs.down{rest}"
    if first == "_upsamples":
        return f"ups.up{levels - 1 - int(number)}.{inner}"
    if first == "_encoder_blocks":
        return f"downs.{number}{inner}"
    return f"ups.{levels - 1 - int(number)}{inner}" if first == "_decoder_blocks" else name


def _name_today(name: str, levels: int) -> str:
    elsewhere = name_after(name, {before: now for now, before in _MOVES.items()})
    if elsewhere != name:
        return elsewhere
    first, _, rest = name.partition(".")
    key, _, inner = rest.partition(".")
    if first == "downs":
        return (
            f"_downsamples.{key[4:]}.{inner}"
            if key.startswith("down")
            else f"_encoder_blocks.{key[0]}.{key[1:]}.{inner}"
        )
    if first != "ups":
        return name
    if key.startswith("up"):
        return f"_upsamples.{levels - 1 - int(key[2:])}.{inner}"
    return f"_decoder_blocks.{levels - 1 - int(key[0])}.{key[1:]}.{inner}"


def _place_before(name: str) -> tuple[int, int, bool]:
    first, _, rest = name.partition(".")
    place, key = _FIRST_NAMES.index(first), rest.partition(".")[0]
    if first == "downs":
        return place, int(key.removeprefix("down")[0]), key.startswith("down")
    if first == "ups":
        return place, -int(key.removeprefix("up")[0]), not key.startswith("up")
    return place, 0, False


# --- cases ------------------------------------------------------------------------------------------------------

_SMALL = {
    "input_spatial_size": (4, 16, 16),
    "dims": (8, 16),
    "num_res_block": (1,),
    "hidden_size": 16,
    "num_heads": 2,
    "dim_head": 8,
    "num_hidden_layers": 1,
}


def vit_cases() -> tuple[Case, ...]:
    """Return the cases of a U-Net with a transformer: small ones, since upstream's own sizes take minutes."""
    rows: dict[str, dict[str, Any]] = {
        "small": {},
        "two-levels": {"input_spatial_size": (4, 32, 32), "dims": (8, 16, 24), "num_res_block": (1, 2)},
        "recipe-in-small": {"input_spatial_size": (8, 32, 32), "dims": (8, 16, 32), "num_res_block": (2, 2)},
        "channels": {"in_channels": 2},
        "deep-stack": {"input_spatial_size": (8, 16, 16)},
        "not-square": {"input_spatial_size": (4, 16, 32)},
        "patches-of-two": {"patch_size": 2, "input_spatial_size": (2, 8, 12)},
        "patches-of-one": {"patch_size": 1, "input_spatial_size": (3, 4, 6)},
        "many-heads": {"num_heads": 8, "dim_head": 2},
        "wide-heads": {"num_heads": 1, "dim_head": 64},
        "three-layers": {"num_hidden_layers": 3, "hidden_size": 32},
        "dropout": {"dropout": 0.3, "final_dropout": 0.2},
        "odd-bottleneck": {"dims": (16, 5), "hidden_size": 48},
    }
    whole = {name: {**_SMALL, **row} for name, row in rows.items()}
    inputs = {name: (2, row.get("in_channels", 1), *row["input_spatial_size"]) for name, row in whole.items()}
    return tuple(Case(name, row, inputs[name]) for name, row in whole.items())


VIT_AXES = (
    Axis("input side (pixels)", tuple(range(16, 529, 16)), "input_spatial_size", (1, 2)),
    Axis("patch size", tuple(range(1, 9)), "patch_size"),
)
