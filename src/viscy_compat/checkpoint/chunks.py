"""Tensors that lie in several pieces, as distributed training saves them: what belongs together, and its bytes in order.

A chunk is a block of the tensor: its offsets, one for each axis, and a tensor of its own. Chunks must cover the tensor
without a hole and without an overlap.
"""

from __future__ import annotations

from itertools import combinations, pairwise, product

from viscy_compat.annotations import Callable, Final, Iterator
from viscy_compat.checkpoint.dtypes import ITEMSIZES
from viscy_compat.checkpoint.facts import FileFacts, Storage, StoredTensor
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.layout import TensorSpec
from viscy_compat.named import NamedTuple

_PAIRS: Final = 4_000_000
"""Pairs of chunks that are compared at most: a file that states more for one tensor is refused as overlapping."""

_Sizes = tuple[int, ...]
ReadTensor = Callable[[StoredTensor], Iterator[bytes]]


class Chunk(NamedTuple):
    """One block of a tensor, and where in the tensor it begins."""

    offsets: _Sizes
    tensor: StoredTensor

    def overlaps(self, other: Chunk) -> bool:
        """Say whether two blocks have an element in common."""
        rows = zip(self.offsets, self.tensor.spec.shape, other.offsets, other.tensor.spec.shape, strict=True)
        return all(start < begin + length and begin < start + size for start, size, begin, length in rows)


class ChunkedStorage(Storage):
    """The bytes of a tensor in row-major order, which no file holds in one piece.

    Attributes
    ----------
    shape : tuple[int, ...]
        Of the whole tensor.
    dtype : str
        Of its elements.
    chunks : tuple[Chunk, ...]
        Its blocks.
    """

    __slots__ = ("chunks", "dtype", "shape")

    def __init__(self, name: str, file: FileFacts, spec: TensorSpec, chunks: tuple[Chunk, ...]) -> None:
        size = spec.elements * ITEMSIZES[spec.dtype]
        super().__init__(name, file, start=0, size=size)
        self.shape, self.dtype, self.chunks = spec.shape, spec.dtype, chunks
        # Like packed bytes, they can only be had from the first to the last.
        self.compressed = True

    def pieces(self, read: ReadTensor) -> Iterator[bytes]:
        """Yield the bytes in order.

        Parameters
        ----------
        read : Callable[[StoredTensor], Iterator[bytes]]
            Gives the packed elements of a tensor.
        """
        # what FSDP and DDP save is split along the first axis alone: whole runs, in order
        if all(_is_slab(chunk, self.shape) for chunk in self.chunks):
            for chunk in sorted(self.chunks, key=lambda chunk: chunk.offsets):
                yield from read(chunk.tensor)
            return
        for row in range(self.shape[0]):
            yield self._row(row, read)

    def _row(self, row: int, read: ReadTensor) -> bytes:
        """Return the elements of one index of the first axis, put together out of the chunks that reach over it."""
        inner, unit = self.shape[1:], ITEMSIZES[self.dtype]
        whole = bytearray(unit * _product(inner))
        for offsets, tensor in self.chunks:
            place = row - offsets[0]
            if 0 <= place < tensor.spec.shape[0]:
                spec = TensorSpec(tensor.spec.shape[1:], tensor.spec.dtype)
                offset = tensor.offset + place * tensor.stride[0]
                at_row = StoredTensor(tensor.key, spec, tensor.storage, stride=tensor.stride[1:], offset=offset)
                part = b"".join(read(at_row))
                _place(part, whole, shape=inner, size=tensor.spec.shape[1:], offsets=offsets[1:], unit=unit)
        return bytes(whole)


def refuse_gaps(spec: TensorSpec, chunks: tuple[Chunk, ...], *, where: str, key: str) -> None:
    """Refuse chunks that do not cover a tensor exactly once.

    Raises
    ------
    UnreadableCheckpoint
        VC471.
    """
    elements = 0
    for offsets, tensor in chunks:
        shape = tensor.spec.shape
        inside = len(offsets) == len(shape) == len(spec.shape) and all(
            start >= 0 and start + size <= whole for start, size, whole in zip(offsets, shape, spec.shape, strict=True)
        )
        if not inside or tensor.spec.dtype != spec.dtype:
            raise gap(where, f"{key[:80]!a}: a part {tensor.spec} at {offsets} does not lie in {spec}")
        elements += tensor.spec.elements
    if elements != spec.elements or _overlap(spec.shape, [chunk for chunk in chunks if chunk.tensor.spec.elements]):
        raise gap(where, f"{key[:80]!a}: {len(chunks)} parts with {elements} elements do not make up {spec}")


def _overlap(shape: _Sizes, chunks: list[Chunk]) -> bool:
    if all(_is_slab(chunk, shape) for chunk in chunks):
        slabs = sorted(chunks, key=lambda chunk: chunk.offsets)
        return any(
            before.offsets[0] + before.tensor.spec.shape[0] > after.offsets[0] for before, after in pairwise(slabs)
        )
    # nobody shards a tensor so finely in two directions: refused, not looked at for minutes
    if len(chunks) ** 2 > _PAIRS:
        return True
    return any(first.overlaps(second) for first, second in combinations(chunks, 2))


def gap(where: str, what: str) -> UnreadableCheckpoint:
    """Return the error for parts of a folder that do not make up what was saved."""
    fix = "copy the whole folder again: every rank writes a part of it"
    return UnreadableCheckpoint(f"the parts do not fit together: {what}", where=where, fix=fix, code="VC471")


def _is_slab(chunk: Chunk, shape: _Sizes) -> bool:
    """Say whether a block reaches over every axis but the first, so that its bytes lie in one run."""
    return len(shape) < 2 or chunk.tensor.spec.shape[1:] == shape[1:]


def _place(part: bytes, whole: bytearray, *, shape: _Sizes, size: _Sizes, offsets: _Sizes, unit: int) -> None:
    """Copy a packed block into a packed array, one run of the last axis after the other."""
    run = size[-1] * unit
    steps = [unit * _product(shape[axis + 1 :]) for axis in range(len(shape))]
    start = sum(step * offset for step, offset in zip(steps, offsets, strict=True))
    for number, index in enumerate(product(*map(range, size[:-1]))):
        place = start + sum(step * at for step, at in zip(steps[:-1], index, strict=True))
        whole[place : place + run] = part[number * run : (number + 1) * run]


def _product(sizes: _Sizes) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
