"""What operations do to bytes: each target tensor as a stream of its elements, packed, row-major, little-endian.

Only casts look at numbers; everything else is a matter of ranges and strides.
"""

from __future__ import annotations

import struct

from viscy_compat.annotations import Callable, Iterator, Mapping
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.checkpoint.facts import StoredTensor
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import PlanRefused
from viscy_compat.layout import TensorSpec
from viscy_compat.named import NamedTuple
from viscy_compat.operations import Cast, Concat, Drop, Fill, Rename, Reshape, Split, Transpose
from viscy_compat.plans.halves import float32_of_bfloat16, float32_of_float16
from viscy_compat.plans.plan import Plan, list_leftovers

PIECE = 1 << 17
"""Bytes of one piece at most: it stays in the processor's cache, and malloc reuses its memory (256 KiB cost page
faults)."""


class TargetTensor(NamedTuple):
    """One tensor of the output: its name and spec, the source tensors that it is made of, and its bytes.

    ``same_as`` is the source tensor where the bytes are the very same ones, so that its storage can be kept as it is.
    """

    name: str
    spec: TensorSpec
    parts: tuple[StoredTensor, ...]
    chunks: Callable[[TensorReader], Iterator[bytes]]
    same_as: StoredTensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, packed."""
        return self.spec.elements * ITEMSIZES[self.spec.dtype]


def target_tensors(plan: Plan, stored: Mapping[str, StoredTensor]) -> list[TargetTensor]:
    """Return the tensors of a plan's target, in the order of its layout.

    Parameters
    ----------
    plan : Plan
        A plan that fits the file.
    stored : Mapping[str, StoredTensor]
        The tensors of the file under the names that the plan has for them.
    """
    tensors: dict[str, TargetTensor] = {}
    for row in plan.operations:
        if isinstance(row, Split):
            whole = stored[row.source]
            offset = whole.offset
            for name, size in zip(row.targets, row.sizes, strict=True):
                spec = plan.target.layout[name]
                tensors[name] = _seen_as(name, spec, whole, _other_view(whole, spec, whole.stride, offset))
                # offsets and strides count elements, not bytes
                offset += size * whole.stride[row.axis]
        elif not isinstance(row, Drop):
            tensors[row.target] = _tensor_of_row(row, plan.target.layout[row.target], stored)
    return [tensors[name] for name in plan.target.layout]


def _tensor_of_row(
    row: Rename | Cast | Reshape | Transpose | Fill | Concat, spec: TensorSpec, stored: Mapping[str, StoredTensor]
) -> TargetTensor:
    """Return the one tensor that a row makes; nothing is read before its chunks are taken."""
    if isinstance(row, Fill):
        return TargetTensor(row.target, spec=spec, parts=(), chunks=lambda reader: repeat(row.value, spec))
    if isinstance(row, Concat):
        parts = tuple(stored[name] for name in row.sources)
        return TargetTensor(
            row.target, spec=spec, parts=parts, chunks=lambda reader: _interleave(reader, parts, row.axis)
        )
    whole = stored[row.source]
    if isinstance(row, Cast):
        widen = _widener(whole.spec.dtype) if row.dtype == "float32" else _counter(whole)
        return TargetTensor(
            row.target, spec=spec, parts=(whole,), chunks=lambda reader: map(widen, reader.chunks(whole, size=PIECE))
        )
    if isinstance(row, Transpose):
        # nothing is moved in memory: the same storage is read in the order of the other strides
        other = _other_view(whole, spec, tuple(whole.stride[axis] for axis in row.axes), whole.offset)
        return _seen_as(row.target, spec, whole, other)
    # a rename alone leaves storage and strides as they are: for another shape the elements are packed
    same = _seen_as(row.target, spec, whole, whole)
    return same._replace(same_as=whole) if isinstance(row, Rename) else same


def _seen_as(name: str, spec: TensorSpec, whole: StoredTensor, view: StoredTensor) -> TargetTensor:
    """Return a tensor whose bytes are those of a view of a stored one."""
    return TargetTensor(name, spec=spec, parts=(whole,), chunks=lambda reader: reader.chunks(view, size=PIECE))


def _other_view(whole: StoredTensor, spec: TensorSpec, stride: tuple[int, ...], offset: int) -> StoredTensor:
    """Return another view of the same storage."""
    return StoredTensor(whole.key, spec, whole.storage, stride=stride, offset=offset)


def _widener(dtype: str) -> Callable[[bytes], bytes]:
    if dtype.startswith("float8"):
        from viscy_compat.plans.float8 import float32_of_float8

        return lambda data: float32_of_float8(data, dtype)
    return float32_of_float16 if dtype == "float16" else float32_of_bfloat16


def _counter(tensor: StoredTensor) -> Callable[[bytes], bytes]:
    """Return what makes the integer of a counter that is stored as a float, or in fewer bits.

    Raises
    ------
    PlanRefused
        By what is returned, where the number is not whole, or is none.
    """
    codes = {"float16": "<e", "float32": "<f", "float64": "<d", "bfloat16": "<f"}
    codes |= {"int8": "<b", "int16": "<h", "int32": "<i", "uint8": "<B"}

    def count(data: bytes) -> bytes:
        wide = float32_of_bfloat16(data) if tensor.spec.dtype == "bfloat16" else data
        (number,) = struct.unpack(codes[tensor.spec.dtype], wide)
        # 2**53: from there on a float64 is not each integer, and no training has as many batches
        if not (float(number).is_integer() and abs(number) < 2**53):
            raise PlanRefused(
                f"{number} is no whole number, and the class counts batches in int64",
                where=tensor.key,
                fix="save it again with a counter of integers",
                code="VC203",
            )
        return struct.pack("<q", int(number))

    return count


# little-endian, like the bytes that they are written among and compared with
_CODES = {"float32": "<f", "int64": "<q", "int32": "<i", "uint8": "<B", "bool": "<?"}


def element_bytes(value: float, dtype: str) -> bytes:
    """Return the bytes of one element of a fill.

    Examples
    --------
    >>> element_bytes(1.0, "float32"), element_bytes(3.0, "int64")
    (b'\\x00\\x00\\x80?', b'\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00')
    """
    return struct.pack(_CODES[dtype], value if dtype == "float32" else int(value))


def repeat(value: float, spec: TensorSpec) -> Iterator[bytes]:
    """Yield the bytes of a tensor whose elements all have one value.

    Examples
    --------
    >>> b"".join(repeat(0.0, TensorSpec((3,)))) == bytes(12)
    True
    """
    element = element_bytes(value, spec.dtype)
    most = PIECE // len(element)
    for start in range(0, spec.elements, most):
        yield element * min(most, spec.elements - start)


def holds(reader: TensorReader, tensor: StoredTensor, value: float) -> bool:
    """Say whether every element of a tensor still has the value of a fill, to the last bit."""
    if tensor.spec.dtype not in _CODES:
        return False
    return all(
        # bytes and not values: -0.0 equals 0.0, and a NaN not even itself
        piece == element_bytes(value, tensor.spec.dtype) * (len(piece) // tensor.itemsize)
        for piece in reader.chunks(tensor, size=PIECE)
    )


def refuse_changed_fills(plan: Plan, stored: Mapping[str, StoredTensor], reader: TensorReader) -> None:
    """Refuse a plan that drops what was filled in once, where the tensor no longer holds that value.

    Raises
    ------
    PlanRefused
        Listing the tensors that were trained since.
    """
    lost_fills = tuple(
        (row.source, "no longer holds the value filled in")
        for row in plan.operations
        if isinstance(row, Drop) and row.holding is not None and not holds(reader, stored[row.source], row.holding)
    )
    if lost_fills:
        raise PlanRefused(
            f"the plan cannot be reversed: {list_leftovers(lost_fills)}",
            where=reader.checkpoint.path,
            fix="the model was trained since; there is no way back without losing that",
            leftovers=lost_fills,
        )


def _interleave(reader: TensorReader, parts: tuple[StoredTensor, ...], axis: int) -> Iterator[bytes]:
    """Yield what lies below the joined axis of each part in turn, for every place above that axis."""
    rows = 1
    for size in parts[0].spec.shape[:axis]:
        rows *= size
    streams = [Pieces(reader.chunks(part, size=PIECE)) for part in parts]
    for _ in range(rows):
        for part, stream in zip(parts, streams, strict=True):
            yield from stream.take(part.nbytes // rows)


def same_bytes(first: Iterator[bytes], second: Iterator[bytes]) -> bool:
    """Say whether two streams hold the same bytes, however they are cut into pieces.

    Examples
    --------
    >>> same_bytes(iter((b"ab", b"c")), iter((b"a", b"bc"))), same_bytes(iter((b"ab",)), iter((b"a",)))
    (True, False)
    """
    return all(left == right for left, right in in_step(first, second))


def in_step(first: Iterator[bytes], second: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pieces of two streams so that both sides of a pair are as long; where one ends early, its side is shorter.

    Examples
    --------
    >>> list(in_step(iter((b"ab", b"c")), iter((b"a", b"bc"))))
    [(b'a', b'a'), (b'b', b'b'), (b'c', b'c')]
    """
    # an empty piece would be read as the end
    sides = [filter(None, first), filter(None, second)]
    mine = theirs = b""
    while True:
        mine, theirs = mine or next(sides[0], b""), theirs or next(sides[1], b"")
        size = min(len(mine), len(theirs))
        if not size:
            if mine or theirs:
                yield mine, theirs
            return
        # nearly all pieces are as long: Python copies no bytes for a slice that is all of them
        yield mine[:size], theirs[:size]
        mine, theirs = mine[size:], theirs[size:]


class Pieces:
    """A stream of bytes in pieces, taken in lengths of the taker's choice; nothing is copied but at the cuts."""

    __slots__ = ("_held", "_pieces", "_place")

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held, self._place = pieces, b"", 0

    def take(self, length: int) -> Iterator[bytes]:
        """Yield the next `length` bytes; StopIteration where there are fewer."""
        while length:
            if self._place == len(self._held):
                self._held, self._place = next(self._pieces), 0
            piece = self._held[self._place : self._place + length]
            self._place += len(piece)
            length -= len(piece)
            yield piece
