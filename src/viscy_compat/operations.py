"""The rows that plans are made of: what happens to one tensor, or to a few, on the way to the target layout.

Each operation is plain data. What it does to a layout is in `viscy_compat.plans.plan`, what it does to bytes in
`viscy_compat.plans.streams`.
"""

from __future__ import annotations

from viscy_compat.named import NamedTuple


class Rename(NamedTuple):
    """The same bytes under another name (or under the same one: a plan names every tensor)."""

    source: str
    target: str


class Drop(NamedTuple):
    """A source tensor that the target has no place for.

    Where `holding` is given, the drop is allowed only while every element of the tensor has that value: then nothing
    is lost, and the drop is the inverse of a `Fill`. `changes_predictions` says that the tensor computes something.
    """

    source: str
    reason: str
    holding: float | None = None
    changes_predictions: bool = False


class Fill(NamedTuple):
    """A target tensor that the old generation lacks; every element has one value, which is neutral for a reason."""

    target: str
    shape: tuple[int, ...]
    dtype: str
    value: float
    reason: str


NARROW_FLOATS = (
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
"""The only dtypes that are cast to float32, which holds each of their values exactly."""

_COUNTER_DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "uint8")
"""What a batch counter becomes where a program casts a whole state dict, or keeps no integers of 64 bits (JAX); each whole
number of theirs is cast back."""


def casts_exactly(found: str, needed: str, shape: tuple[int, ...]) -> bool:
    """Say whether a tensor is cast from one dtype to another, with every value kept.

    Examples
    --------
    >>> casts_exactly("float16", "float32", (3,)), casts_exactly("float64", "float32", (3,))
    (True, False)
    >>> casts_exactly("float32", "int64", ()), casts_exactly("float32", "int64", (3,))
    (True, False)
    """
    if needed == "float32":
        return found in NARROW_FLOATS
    # a single integer of a class is a counter; that it is whole is seen when it is read
    return needed == "int64" and shape == () and found in _COUNTER_DTYPES


class Cast(NamedTuple):
    """A float of 16 or 8 bits to float32, or a counter to int64, under a new name or the same one."""

    source: str
    target: str
    dtype: str = "float32"


class Reshape(NamedTuple):
    """The same elements in the same order, in another shape."""

    source: str
    target: str
    shape: tuple[int, ...]


class Transpose(NamedTuple):
    """The axes permuted: target axis ``i`` is source axis ``axes[i]``."""

    source: str
    target: str
    axes: tuple[int, ...]


class Split(NamedTuple):
    """One tensor cut along an axis into several."""

    source: str
    targets: tuple[str, ...]
    axis: int
    sizes: tuple[int, ...]


class Concat(NamedTuple):
    """Several tensors joined along an axis into one."""

    sources: tuple[str, ...]
    target: str
    axis: int


Operation = Rename | Drop | Fill | Cast | Reshape | Transpose | Split | Concat


def sources_of(operation: Operation) -> tuple[str, ...]:
    """Return the names that an operation takes from the source.

    Examples
    --------
    >>> sources_of(Concat(("q", "k"), "qk", 0)), sources_of(Fill("w", (2,), "float32", 0.0, "why"))
    (('q', 'k'), ())
    """
    if isinstance(operation, Concat):
        return operation.sources
    return () if isinstance(operation, Fill) else (operation.source,)


def targets_of(operation: Operation) -> tuple[str, ...]:
    """Return the names that an operation gives to the target.

    Examples
    --------
    >>> targets_of(Split("qk", ("q", "k"), 0, (1, 1))), targets_of(Drop("w", "why"))
    (('q', 'k'), ())
    """
    if isinstance(operation, Split):
        return operation.targets
    return () if isinstance(operation, Drop) else (operation.target,)
