"""What `check` leaves to `remap`: each record's own header, and the CRC-32 of every byte.

A verdict needs names, shapes and dtypes, which the pickle and the directory of the archive tell.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable
from viscy_compat.checkpoint.chunks import ChunkedStorage
from viscy_compat.checkpoint.facts import Checkpoint, Storage
from viscy_compat.checkpoint.tensor_bytes import TensorReader
from viscy_compat.errors import UnreadableCheckpoint


def damaged_records(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Read every byte that a file keeps a CRC-32 of, and return the names of the records that are damaged.

    Raises
    ------
    UnreadableCheckpoint
        VC410, VC412 where a record's header disagrees with the directory; VC402 where the file changes meanwhile.
    """
    names = []
    storages: Iterable[Storage] = (checkpoint.records or checkpoint.storages).values()
    with TensorReader(checkpoint) as reader:
        for storage in storages:
            if not isinstance(storage, ChunkedStorage):
                reader.locate(storage)
            try:
                reader.verify(storage)
            except UnreadableCheckpoint as error:
                if error.code != "VC414":
                    raise
                names.append(storage.name)
    return tuple(names)


def refuse_damage(checkpoint: Checkpoint) -> None:
    """Raise VC414 where `damaged_records` finds one; what it raises otherwise."""
    names = damaged_records(checkpoint)
    if names:
        more, whose = (f" and {len(names) - 1} more records are", "their") if len(names) > 1 else (" is", "its")
        raise UnreadableCheckpoint(
            f"{names[0][:80]!a}{more} damaged: {whose} bytes do not have the CRC-32 that the file states",
            where=checkpoint.path,
            fix="fetch or copy the file again; the original is the only cure",
            code="VC414",
        )
