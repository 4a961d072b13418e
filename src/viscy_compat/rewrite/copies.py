"""Parts of an output whose places are known beforehand: two threads copy them, and take the CRC of what they copy.

A block is read, its CRC taken, and written by one thread while it is in the cache of that thread's core; handing blocks
from a reading thread to a writing one cost twice the time of the writing.
"""

from __future__ import annotations

from zlib import crc32

from viscy_compat.annotations import Callable, Iterator, Sequence
from viscy_compat.checkpoint.facts import Checkpoint, Storage, StoredTensor
from viscy_compat.checkpoint.locations import is_address
from viscy_compat.checkpoint.tensor_bytes import TensorReader, damaged_storage
from viscy_compat.named import NamedTuple
from viscy_compat.rewrite.checksum import joined_crc
from viscy_compat.rewrite.output import Output
from viscy_compat.rewrite.shared_work import SharedWork

BLOCK = 1 << 18
"""Bytes that are read and written at a time: they stay in the cache of a core."""

_PAGE = 1 << 12
"""Blocks end where pages of the output do: a page that is written in two pieces costs twice."""

SLICE = 8 << 20
"""Bytes of an extent that one thread copies or compares at a time, so that two can share a large one."""


class Extent(NamedTuple):
    """Bytes of a storage, from `first` on, that lie in one piece of a file of this machine, in the order wanted."""

    storage: Storage
    first: int
    nbytes: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all bytes of the storage, so that its CRC is theirs."""
        return self.first == 0 and self.nbytes == self.storage.nbytes

    def slices(self) -> list[Extent]:
        """Return it in slices, each of at most `SLICE` bytes."""
        return [
            Extent(self.storage, first=self.first + start, nbytes=min(SLICE, self.nbytes - start))
            for start in range(0, self.nbytes, SLICE)
        ]


def extent_of_storage(storage: Storage) -> Extent | None:
    """Return where a whole storage lies; None where its bytes are not those of a file of this machine."""
    if storage.compressed or is_address(storage.file.path):
        return None
    return Extent(storage, first=0, nbytes=storage.nbytes)


def extent_of_tensor(tensor: StoredTensor) -> Extent | None:
    """Return where the packed elements of a tensor lie; None where they must be put together, unpacked or turned."""
    turned = tensor.storage.byte_order == "big" and tensor.itemsize > 1
    if turned or not tensor.contiguous or extent_of_storage(tensor.storage) is None:
        return None
    return Extent(tensor.storage, first=tensor.offset * tensor.itemsize, nbytes=tensor.nbytes)


class Portion:
    """A portion of the output: its place, and its bytes.

    Parameters
    ----------
    position : int
        Of its first byte in the output.
    nbytes : int
        How many there are.
    chunks : Callable[[TensorReader], Iterator[bytes]]
        Its bytes, where there is no extent.
    extent : Extent or None
        Where the source has them as they are.
    needs_crc : bool
        Whether the output states a CRC that is not known yet.
    """

    __slots__ = ("_extent", "chunks", "stretches", "takes_crc")

    def __init__(
        self,
        position: int,
        nbytes: int,
        chunks: Callable[[TensorReader], Iterator[bytes]],
        *,
        extent: Extent | None,
        needs_crc: bool,
    ) -> None:
        self.chunks, self._extent = chunks, extent
        self.takes_crc = needs_crc or (extent is not None and extent.is_whole and extent.storage.crc is not None)
        self.stretches: list[_Stretch] = []
        for one in (None,) if extent is None else extent.slices():
            self.stretches.append(_Stretch(self, position, nbytes if one is None else one.nbytes, one))
            position += nbytes if one is None else one.nbytes

    def settle(self) -> int:
        """Return the CRC of what was copied; it must be that of the storage, where that has one.

        Raises
        ------
        UnreadableCheckpoint
            VC414.
        """
        if not self.takes_crc:
            return 0
        crc = joined_crc([(stretch.crc, stretch.nbytes) for stretch in self.stretches])
        if self._extent is not None and self._extent.is_whole and self._extent.storage.crc not in (None, crc):
            raise damaged_storage(self._extent.storage)
        return crc


class _Stretch:
    """What one thread copies at a time: a slice of an extent, or a portion that comes in chunks; `crc` is what it found."""

    __slots__ = ("crc", "extent", "nbytes", "portion", "position")

    def __init__(self, portion: Portion, position: int, nbytes: int, extent: Extent | None) -> None:
        self.portion, self.position, self.nbytes, self.extent, self.crc = portion, position, nbytes, extent, 0


def copy_portions(portions: Sequence[Portion], output: Output, checkpoint: Checkpoint, *, threads: int) -> list[int]:
    """Write the portions to their places, and verify every storage that is copied as a whole.

    Parameters
    ----------
    portions : Sequence[Portion]
        The portions, in the order of their places.
    output : Output
        Where they go.
    checkpoint : Checkpoint
        Where they come from.
    threads : int
        How many share the work; one does it without any.

    Returns
    -------
    list[int]
        Their CRCs; 0 where none was taken.

    Raises
    ------
    UnreadableCheckpoint
        VC414 for the first portion whose bytes are not those that were written.
    """
    stretches = [stretch for portion in portions for stretch in portion.stretches]
    SharedWork(stretches).run(lambda work: _copy_all(work, output, checkpoint), threads=threads)
    return [portion.settle() for portion in portions]


def _copy_all(work: SharedWork[_Stretch], output: Output, checkpoint: Checkpoint) -> None:
    memory = memoryview(bytearray(BLOCK))
    with TensorReader(checkpoint) as reader:
        for stretch in work.take():
            if stretch.extent is None:
                _write_chunks(stretch, stretch.portion.chunks(reader), output)
            else:
                _copy_extent(stretch, stretch.extent, reader, output, memory)


def _write_chunks(stretch: _Stretch, chunks: Iterator[bytes], output: Output) -> None:
    position, takes_crc = stretch.position, stretch.portion.takes_crc
    for chunk in chunks:
        if takes_crc:
            stretch.crc = crc32(chunk, stretch.crc)
        output.write_at(position, chunk)
        position += len(chunk)
    if position != stretch.position + stretch.nbytes:
        raise AssertionError(f"{position - stretch.position} bytes came, where {stretch.nbytes} have their place")


def _copy_extent(stretch: _Stretch, extent: Extent, reader: TensorReader, output: Output, memory: memoryview) -> None:
    """Copy a slice in blocks, each of which is read, summed and written before the next."""
    takes_crc, start = stretch.portion.takes_crc, 0
    while start < extent.nbytes:
        position = stretch.position + start
        block = memory[: min(BLOCK - position % _PAGE, extent.nbytes - start)]
        reader.read_into(block, extent.storage, extent.first + start)
        if takes_crc:
            stretch.crc = crc32(block, stretch.crc)
        output.write_at(position, block)
        start += len(block)
