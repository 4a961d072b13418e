"""The bytes of tensors, in pieces, without decoding them; CRCs are verified on the way.

A reader holds one descriptor a file, and refuses a file that is no longer the one that `open_checkpoint` read.
"""

from __future__ import annotations

import zlib

from viscy_compat.annotations import Callable, Iterator, Literal
from viscy_compat.checkpoint.byte_source import CHUNK, Access, ByteSource
from viscy_compat.checkpoint.chunks import ChunkedStorage
from viscy_compat.checkpoint.facts import Checkpoint, FileFacts, Storage, StoredTensor
from viscy_compat.checkpoint.sources import open_source
from viscy_compat.checkpoint.zip_archive import start_of
from viscy_compat.errors import UnreadableCheckpoint


class TensorReader:
    """Reads the bytes of a checkpoint's tensors and storages; a context manager.

    Leaving the context verifies once more that no file has changed.

    Parameters
    ----------
    checkpoint : Checkpoint
        What was read of the file.
    crcs : {"verify", "ignore"}, optional
        ``ignore`` for a second reading of bytes whose CRCs were verified at the first.
    access : {"running", "scattered"}, optional
        ``scattered`` where a few bytes of some tensors are looked at.

    Examples
    --------
    ``with TensorReader(checkpoint) as reader: digest = reader.digest(checkpoint.tensors[key])``
    """

    __slots__ = ("_access", "_inflated", "_sources", "_unpacked_storages", "_verifies", "checkpoint")

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        crcs: Literal["verify", "ignore"] = "verify",
        access: Access = "running",
    ) -> None:
        self._access: Access = access
        self.checkpoint = checkpoint
        self._verifies = crcs == "verify"
        self._sources: dict[FileFacts, ByteSource] = {}
        self._unpacked_storages: dict[Storage, ByteSource] = {}
        self._inflated: set[Storage] = set()

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.verify_unchanged()
        finally:
            self.close()

    def close(self) -> None:
        """Close every descriptor."""
        for source in (*self._sources.values(), *self._unpacked_storages.values()):
            source.close()
        self._sources.clear()
        self._unpacked_storages.clear()

    def verify_unchanged(self) -> None:
        """Raise VC402 where a file is no longer what it was when it was parsed."""
        for source in self._sources.values():
            source.verify_unchanged()

    def source(self, file: FileFacts) -> ByteSource:
        """Return the open file; for callers that copy ranges themselves."""
        if file not in self._sources:
            if len(self._sources) >= _OPEN:
                # The system allows a process about a thousand descriptors; the oldest goes.
                oldest = self._sources.pop(next(iter(self._sources)))
                oldest.verify_unchanged()
                oldest.close()
            self._sources[file] = open_source(file.path, same_as=file, access=self._access)
        return self._sources[file]

    def locate(self, storage: Storage) -> int:
        """Return the offset of a storage's first byte in its file.

        Raises
        ------
        UnreadableCheckpoint
            VC410, VC412 where the record's own header disagrees with the archive's directory.
        """
        if storage.start < 0 and storage.entry is not None:
            storage.start = start_of(self.source(storage.file), storage.entry)
        return storage.start

    def read_into(self, memory: memoryview, storage: Storage, first: int) -> None:
        """Fill memory with the bytes of a storage from `first` on, as they are in the file; no CRC is looked at."""
        self.source(storage.file).read_into(memory, self.locate(storage) + first)

    def storage_chunks(self, storage: Storage, *, size: int = CHUNK) -> Iterator[bytes]:
        """Yield all bytes of a storage, unpacked; its CRC is verified when the last piece has been taken.

        Raises
        ------
        UnreadableCheckpoint
            VC414 where the CRC-32 differs from the stored one; VC402, VC403 as `ByteSource.read`.
        """
        if isinstance(storage, ChunkedStorage):
            # rows of chunks tell nothing about their CRCs, so those are verified first
            for chunk in storage.chunks if self._verifies else ():
                self.verify(chunk.tensor.storage)
            yield from storage.pieces(self.chunks)
            return
        pieces = self.source(storage.file).chunks(self.locate(storage), storage.size, size)
        crc_on_file = storage.crc if self._verifies else None
        total, crc = 0, 0
        for piece in _inflate(pieces, storage) if storage.compressed else pieces:
            crc = zlib.crc32(piece, crc) if crc_on_file is not None else 0
            total += len(piece)
            yield piece
        if total != storage.nbytes or (crc_on_file is not None and crc != crc_on_file):
            raise damaged_storage(storage)

    def verify(self, storage: Storage) -> None:
        """Read a storage and verify its CRC; without a stored CRC nothing is read."""
        if storage.crc is not None:
            for _ in self.storage_chunks(storage):
                pass

    def chunks(self, tensor: StoredTensor, *, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the elements of a tensor, packed in row-major order, little-endian, in pieces.

        The CRC of the storage is not looked at unless the tensor is the whole of it: call `verify` for tensors that
        look into a larger storage.
        """
        pieces = self._packed_bytes(tensor, size)
        if tensor.storage.byte_order == "big" and _unit(tensor) > 1:
            return (_swap(piece, _unit(tensor)) for piece in pieces)
        return pieces

    def digest(self, tensor: StoredTensor) -> str:
        """Return the SHA-256 of what `chunks` yields, in hexadecimal: equal values have equal digests."""
        import hashlib

        state = hashlib.sha256()
        for piece in self.chunks(tensor):
            state.update(piece)
        return state.hexdigest()

    def _packed_bytes(self, tensor: StoredTensor, size: int) -> Iterator[bytes]:
        storage, first = tensor.storage, tensor.offset * tensor.itemsize
        # no element is cut in two: the largest, complex128, has 16 bytes
        size = max(size - size % 16, 16)
        if not tensor.nbytes:
            return iter(())
        # a second tensor that is the whole of a compressed storage takes what is on the disc from then on
        if tensor.contiguous and (first, tensor.nbytes) == (0, storage.nbytes) and storage not in self._inflated:
            self._inflated.update((storage,) if storage.compressed else ())
            return self.storage_chunks(storage, size=size)
        source, start = self._place_of(storage)
        if tensor.contiguous:
            return source.chunks(start + first, tensor.nbytes, size)
        return _strided_bytes(lambda begin, length: source.read(start + begin, length), tensor, size)

    def _place_of(self, storage: Storage) -> tuple[ByteSource, int]:
        """Return a file with the bytes of a storage, and where in it they start.

        A compressed storage is unpacked once, however many tensors look into it, and to the disc: it may be larger
        than the memory.
        """
        if not storage.compressed:
            return self.source(storage.file), self.locate(storage)
        if storage not in self._unpacked_storages:
            if len(self._unpacked_storages) >= _UNPACKED:
                # tensors mostly look into one storage after the other
                self._unpacked_storages.pop(next(iter(self._unpacked_storages))).close()
            self._unpacked_storages[storage] = self._inflate_to_disc(storage)
        return self._unpacked_storages[storage], 0

    def _inflate_to_disc(self, storage: Storage) -> ByteSource:
        import tempfile

        try:
            with tempfile.NamedTemporaryFile(prefix="viscy-compat-", delete=True) as file:
                for piece in self.storage_chunks(storage):
                    file.write(piece)
                file.flush()
                return ByteSource(file.name)
        except OSError as error:
            raise UnreadableCheckpoint(
                f"{storage.name} is compressed, and its {storage.nbytes} bytes cannot be unpacked ({error.strerror})",
                where=storage.file.path,
                fix=f"make room in {tempfile.gettempdir()}, or name another folder in TMPDIR",
                code="VC402",
            ) from error


def damaged_storage(storage: Storage) -> UnreadableCheckpoint:
    """Return the error for a storage whose bytes are not those that were written."""
    return UnreadableCheckpoint(
        f"{storage.name} is damaged: its bytes do not have the CRC-32 that the file states",
        where=storage.file.path,
        fix="fetch or copy the file again; the original is the only cure",
        code="VC414",
    )


_HELD = 64 << 20
"""Bytes of a strided tensor that are held at once: those of the models here have a few, and a hostile one any number."""
_OPEN = 400
"""Files that are open at once: Linux allows a process 1024 descriptors, and others need some."""
_UNPACKED = 200
"""Storages that are on the disc unpacked at once: with `_OPEN`, well below what a process may have open."""
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Unsigned, by size: the order of bytes is turned round without reading a number, so that a NaN stays what it is."""

_ReadElements = Callable[[int, int], bytes]
"""First byte within the storage and length to bytes."""


def _inflate(pieces: Iterator[bytes], storage: Storage) -> Iterator[bytes]:
    """Unpack a deflated record, and stop where it grows beyond what the directory states."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = storage.nbytes
    try:
        for piece in pieces:
            while piece and rest >= 0:
                # a piece at most: a few bytes can unpack to gigabytes
                output = unpacker.decompress(piece, CHUNK)
                rest -= len(output)
                piece = unpacker.unconsumed_tail
                yield output
    except zlib.error as error:
        raise damaged_storage(storage) from error
    if rest < 0:
        raise damaged_storage(storage)


def _strided_bytes(read: _ReadElements, tensor: StoredTensor, size: int) -> Iterator[bytes]:
    """Yield the elements of a strided tensor in row-major order, in pieces of about `size` bytes."""
    shape, stride, unit = tensor.spec.shape, tensor.stride, tensor.itemsize
    first = tensor.offset
    if unit == 16:
        # memoryview knows no 16-byte element: a complex number is a row of two.
        shape, stride, unit, first = (*shape, 2), (*(2 * step for step in stride), 1), 8, 2 * first
    rows: list[bytes] = []
    size_so_far = 0
    for row in _bytes_of_rows(read, first, shape=shape, stride=stride, unit=unit):
        rows.append(row)
        size_so_far += len(row)
        if size_so_far >= size:
            yield b"".join(rows)
            rows, size_so_far = [], 0
    if rows:
        yield b"".join(rows)


def _bytes_of_rows(
    read: _ReadElements, first: int, *, shape: tuple[int, ...], stride: tuple[int, ...], unit: int
) -> Iterator[bytes]:
    """Yield rows of the innermost axis; whole spans are held while they are small, else axes are peeled off."""
    span = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if span * unit <= _HELD:
        elements = memoryview(read(first * unit, span * unit)).cast(_FORMATS[unit])
        yield from _gather(elements, 0, shape, stride)
    elif len(shape) > 1:
        for index in range(shape[0]):
            yield from _bytes_of_rows(read, first + index * stride[0], shape=shape[1:], stride=stride[1:], unit=unit)
    else:
        # the innermost axis alone is too wide: a part of its rows at a time
        step = max(_HELD // (unit * stride[0]), 1)
        for index in range(0, shape[0], step):
            count = min(step, shape[0] - index)
            yield from _bytes_of_rows(read, first + index * stride[0], shape=(count,), stride=stride, unit=unit)


def _gather(elements: memoryview[int], first: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[bytes]:
    if not shape:
        yield elements[first : first + 1].tobytes()
    # an expanded axis: the one element again and again, which no slice with a step of 0 gives
    elif len(shape) == 1 and stride[0] == 0:
        yield elements[first : first + 1].tobytes() * shape[0]
    elif len(shape) == 1:
        yield elements[first : first + (shape[0] - 1) * stride[0] + 1 : stride[0]].tobytes()
    else:
        for index in range(shape[0]):
            yield from _gather(elements, first + index * stride[0], shape[1:], stride[1:])


def _unit(tensor: StoredTensor) -> int:
    """Bytes that swap together: half an element of a complex tensor, else an element."""
    return tensor.itemsize // 2 if tensor.spec.dtype.startswith("complex") else tensor.itemsize


def _swap(piece: bytes, unit: int) -> bytes:
    reversed_bytes = bytearray(len(piece))
    for index in range(unit):
        reversed_bytes[index::unit] = piece[unit - 1 - index :: unit]
    return bytes(reversed_bytes)
