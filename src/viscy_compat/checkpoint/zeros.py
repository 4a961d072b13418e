"""Whether the weights of a file were ever written: files of the right size and layout that hold zeros and nothing else."""

from __future__ import annotations

from zlib import crc32

from viscy_compat.annotations import Final, Iterable, Iterator, Literal
from viscy_compat.checkpoint.facts import Checkpoint, StoredTensor

_PIECE: Final = 4096
_MOST: Final = 2 << 20
"""Bytes looked at before a file is taken for zeros. Less than 4 MB are read of any file, however large; five hundred
pieces are some of every tensor of the classes here."""
_MOST_UNPACKED: Final = 64 << 20
_MOST_SUMMED: Final = 1 << 20
"""Bytes of zeros whose CRC-32 is computed: it costs less than opening the file once more."""
_MOST_LOOKS: Final = 512
"""Tensors that are looked at although the file states the CRC-32 of zeros for them, so that a lie is noticed: with pieces
of 4096 bytes they are the 2 MB above."""

WeightsAbsence = Literal["none", "skipped", "zeros"]
"""``skipped``: torch was told not to write them (``torch.serialization.skip_data``), and nobody has since."""


def absence_of_weights(checkpoint: Checkpoint) -> WeightsAbsence:
    """Say whether every weight is zero; 2 MB are looked at, some of each tensor before more of any.

    An honest file costs one small read. Vectors do not count: biases and running means begin as zeros.

    Raises
    ------
    UnreadableCheckpoint
        Where the file changes meanwhile, or its records lie about where their bytes are.
    """
    # empty storages are all that an empty tensor can have here: what it holds is asked first, which is quick
    floats = [
        tensor for tensor in checkpoint.tensors.values() if "float" in tensor.spec.dtype and 0 not in tensor.spec.shape
    ]
    weights = [tensor for tensor in floats if len(tensor.spec.shape) > 1] or floats
    # any that is not all zero is enough, and nearly always the first one is
    if not _left_by_sums(weights[:1]):
        return "none"
    # where there are no sums, a piece of the tensor that comes first below: an honest file needs no walk through all
    if not weights[0].storage.crc:
        smallest = min(weights, key=lambda tensor: tensor.nbytes)
        if not smallest.storage.crc and not _all_zero(checkpoint, [smallest], budget=_PIECE):
            return "none"
    doubtful = _left_by_sums(sorted(weights, key=lambda tensor: tensor.nbytes))
    if not doubtful or not _all_zero(checkpoint, doubtful):
        return "none"
    return "skipped" if lacks_its_sums(checkpoint) else "zeros"


def lacks_its_sums(checkpoint: Checkpoint) -> bool:
    """Say whether the pickle of a torch file has a CRC-32 and none of its storages has: they were left out."""
    # one sum is enough; where a file states them, the first tensor has its own, and nothing else is looked at
    if any(tensor.storage.crc and tensor.storage.nbytes for tensor in checkpoint.tensors.values()):
        return False
    pickle = checkpoint.records.get(checkpoint.pickle_name)
    sums = [storage.crc for storage in checkpoint.storages.values() if storage.nbytes]
    return pickle is not None and pickle.crc is not None and bool(sums) and not any(sums)


def _left_by_sums(weights: list[StoredTensor]) -> list[StoredTensor]:
    """Return the weights to look at: none where a stated CRC-32 shows one that is not all zero.

    Of those whose CRC-32 is that of zeros, the first are enough.
    """
    looked_at: list[StoredTensor] = []
    vouched, sums = 0, {}
    for tensor in weights:
        storage = tensor.storage
        size = storage.nbytes
        if storage.crc and tensor.nbytes == size <= _MOST_SUMMED:
            if size not in sums:
                sums[size] = crc32(bytes(size))
            if storage.crc != sums[size]:
                return []
            vouched += 1
            if vouched > _MOST_LOOKS:
                continue
        looked_at.append(tensor)
    return looked_at


def _all_zero(checkpoint: Checkpoint, weights: list[StoredTensor], *, budget: int = _MOST) -> bool:
    from viscy_compat.checkpoint.tensor_bytes import TensorReader

    # a compressed storage is unpacked as a whole before any part of it can be looked at
    compressed = {id(each.storage): each.storage.nbytes for each in weights if each.storage.compressed}
    if sum(compressed.values()) > _MOST_UNPACKED:
        return False
    with TensorReader(checkpoint, access="scattered") as reader:
        for piece in _in_turns(reader.chunks(each, size=min(_PIECE, each.storage.nbytes)) for each in weights):
            budget -= len(piece)
            if piece.count(0) != len(piece):
                return False
            if budget <= 0:
                return True
    return True


def _in_turns(rows: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    """Yield a piece of each row, then another of each; no row is begun, and no piece read, before it is asked for."""
    while rows:
        left = []
        for row in rows:
            piece = next(row, None)
            if piece is not None:
                left.append(row)
                yield piece
        rows = left
