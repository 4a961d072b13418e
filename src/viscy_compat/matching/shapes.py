"""Which tensors of two layouts may be the same one, by shape and kind of numbers alone.

Every tensor gets a *shape key*; only tensors of equal keys are ever paired. The key is the exact shape wherever the
file and the target have equally many of it. It is looser only where the counts force it: axes of length one are
ignored where that balances them (a linear layer that became a 1 x 1 convolution), and the two axes of a matrix are
unordered where a transposition is possible at all. What is looser is said by the pair (`Rename`, `Reshape` or
`Transpose`), never guessed: where names and modules do not settle the orientation, nothing is paired.
"""

from __future__ import annotations

from viscy_compat.annotations import Hashable, Iterable, Literal
from viscy_compat.layout import Layout, TensorSpec
from viscy_compat.named import NamedTuple

_NEUTRAL = {"num_batches_tracked": "counts the training batches of a batch norm; read only where momentum is None"}
_COMPUTED = frozenset(
    ("relative_position_index", "position_ids", "attn_mask", "relative_coords_table", "rel_pos_index", "masked_bias")
)
"""Buffers that libraries compute from the configuration when a model is built, whatever the file has."""


Change = Literal["none", "reshape", "transpose"]


class ShapeKeys(NamedTuple):
    """The shape key of each tensor, as small integers that both sides share.

    ``exact`` says whether some matrix of the two layouts proves that matrices are not transposed, and none the
    contrary.
    """

    source: dict[str, int]
    target: dict[str, int]
    exact: bool


def neutral_reason(name: str, spec: TensorSpec) -> str:
    """Say why a tensor carries no weights of its own, or return an empty string.

    Such a tensor never takes part in the search: it goes where the layer that it belongs to goes.

    Examples
    --------
    >>> bool(neutral_reason("bn.num_batches_tracked", TensorSpec((), "int64")))
    True
    >>> neutral_reason("bn.weight", TensorSpec((8,)))
    ''
    """
    return _NEUTRAL.get(name.rpartition(".")[2], "") if spec.dtype.startswith("int") and not spec.shape else ""


def computed_reason(name: str, spec: TensorSpec) -> str:
    """Say why a source tensor that the target lacks may be dropped without losing weights, or return nothing.

    Examples
    --------
    >>> computed_reason("attn.relative_position_index", TensorSpec((49, 49), "int64"))
    'is an index table that the constructor computes'
    """
    computes = name.rpartition(".")[2] in _COMPUTED and spec.dtype.startswith(("int", "uint"))
    return "is an index table that the constructor computes" if computes else ""


def harmless_reason(name: str, spec: TensorSpec) -> str:
    """Say why no prediction depends on a tensor; return an empty text where that is not known.

    Examples
    --------
    >>> harmless_reason("n_averaged", TensorSpec((), "int64"))
    'counts what was averaged'
    >>> harmless_reason("conv.weight_g", TensorSpec((8, 1, 1)))
    ''
    """
    if name.rpartition(".")[2] == "n_averaged" and not spec.shape and spec.dtype.startswith("int"):
        return "counts what was averaged"
    return neutral_reason(name, spec) or computed_reason(name, spec)


def shape_keys(source: Layout, target: Layout) -> ShapeKeys:
    """Give each tensor its shape key.

    Examples
    --------
    >>> wide, tall = TensorSpec((4, 2)), TensorSpec((2, 4))
    >>> keys = shape_keys({"a": wide, "n": TensorSpec((3, 1))}, {"b": tall, "m": TensorSpec((3,))})
    >>> keys.source["a"] == keys.target["b"], keys.source["n"] == keys.target["m"], keys.exact
    (True, True, False)
    """
    here, there = _count(source.values()), _count(target.values())
    loose, exact = _matrices(here, there)
    loose.update(_squeeze_families(here, there, loose))
    numbers: dict[Hashable, int] = {}

    def number(spec: TensorSpec) -> int:
        key = _exact(spec)
        return numbers.setdefault(loose.get(key, key), len(numbers))

    return ShapeKeys(
        {name: number(spec) for name, spec in source.items()},
        {name: number(spec) for name, spec in target.items()},
        exact,
    )


def change_between(spec: TensorSpec, target: TensorSpec) -> Change | None:
    """Say how a shape becomes another one without a guess, or None where it does not.

    Examples
    --------
    >>> change_between(TensorSpec((4, 2)), TensorSpec((2, 4))), change_between(TensorSpec((4, 1)), TensorSpec((4,)))
    ('transpose', 'reshape')
    >>> change_between(TensorSpec((4,)), TensorSpec((5,))) is None
    True
    """
    if _number_kind(spec.dtype) != _number_kind(target.dtype):
        return None
    if spec.shape == target.shape:
        return "none"
    if _squeeze(spec.shape) == _squeeze(target.shape):
        return "reshape"
    return "transpose" if len(spec.shape) == 2 and spec.shape == target.shape[::-1] else None


Exact = tuple[str, tuple[int, ...]]


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _exact(spec: TensorSpec) -> Exact:
    return _number_kind(spec.dtype), spec.shape


def _number_kind(dtype: str) -> str:
    if "float" in dtype:
        return "float"
    return "integer" if dtype.startswith(("int", "uint")) else dtype


def _count(specs: Iterable[TensorSpec]) -> dict[Exact, int]:
    counts: dict[Exact, int] = {}
    for spec in specs:
        key = _exact(spec)
        counts[key] = counts.get(key, 0) + 1
    return counts


def _matrices(here: dict[Exact, int], there: dict[Exact, int]) -> tuple[dict[Exact, Hashable], bool]:
    """Find the matrices that could be transposed, and whether others prove that matrices are not."""
    loose: dict[Exact, Hashable] = {}
    straight = transposed = False
    for kind, shape in {*here, *there}:
        # each pair of shapes once, by its wide one; convolutions are never stored turned, and a square shows
        # nothing
        if len(shape) != 2 or shape[0] >= shape[1] or kind != "float":
            continue
        wide, tall = (kind, shape), (kind, shape[::-1])
        old, new = (here.get(wide, 0), here.get(tall, 0)), (there.get(wide, 0), there.get(tall, 0))
        straight |= old == new and old[0] != old[1]
        transposed |= old != new and old == new[::-1]
        # equal counts on both sides but for the turn; as many wide as tall ones may have been turned unseen
        if sum(old) == sum(new) and (old != new or old[0] == old[1]):
            loose[wide] = loose[tall] = ("matrix", *shape)
    return loose, straight and not transposed


def _squeeze_families(
    here: dict[Exact, int], there: dict[Exact, int], loose: dict[Exact, Hashable]
) -> dict[Exact, Hashable]:
    """Ignore axes of length one where the exact shapes do not balance and the squeezed ones do."""
    families: dict[Exact, list[Exact]] = {}
    for key in {*here, *there}:
        if key not in loose and here.get(key, 0) != there.get(key, 0):
            kind, shape = key
            families.setdefault((kind, _squeeze(shape)), []).append(key)
    return {
        member: ("squeezed", *family)
        for family, members in families.items()
        if sum(here.get(key, 0) for key in members) == sum(there.get(key, 0) for key in members)
        for member in members
    }
