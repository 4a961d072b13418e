"""Torch zip files that somebody unpacked into a folder: ``data.pkl``, and one file for each storage below ``data``."""

from __future__ import annotations

import os
from contextlib import suppress

from viscy_compat.annotations import Final
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import ByteOrder, Checkpoint, Storage
from viscy_compat.checkpoint.folder import place_of_shard
from viscy_compat.checkpoint.graph import DecodedFile, checkpoint_of
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.rebuild import NotExact, storage_id
from viscy_compat.checkpoint.torch_zip import byte_order_of, decode_record, storages_of

PICKLE: Final = "data.pkl"
DATA: Final = "data"
_SMALL: Final = 4096
"""Bytes that are read of the file ``byteorder``, which has six."""


def read_unpacked(folder: str, limits: Limits, address: str | None, *, path: str) -> Checkpoint:
    """Read an unpacked torch file; see `viscy_compat.checkpoint.open_checkpoint`.

    Parameters
    ----------
    folder : str
        Where ``data.pkl`` is.
    limits : Limits
        Of the reader.
    address : str or None
        Which state dict.
    path : str
        What the user gave: the folder, the one above it, or the pickle.
    """
    with ByteSource(place_of_shard(folder, PICKLE, where=path)) as source:
        if source.size > limits.pickle_bytes:
            what = f"it has {source.size} bytes"
            raise beyond(limits, "pickle_bytes", source.size, what, where=source.path)
        pickle = decode_record(source.read(0, source.size), limits, source.path)
        source.verify_unchanged()
    keys = set()
    for node in pickle.persistents:
        # an id that is not torch's is said of the tensor that has it
        with suppress(NotExact):
            keys.add(storage_id(node)[0])
    if len(keys) > limits.entries:
        raise beyond(limits, "entries", len(keys), f"{len(keys)} storages", where=path)
    records = _storages_below(folder, sorted(keys))
    file = DecodedFile(
        source=source,
        format="unpacked-torch",
        pickle=pickle,
        storages=storages_of(pickle, records, f"{DATA}/"),
        records={},
        versions={},
        checked=(),
        path=path,
        files=(source.facts, *(storage.file for storage in records.values())),
    )
    return checkpoint_of(file, limits, address)


def _storages_below(folder: str, keys: list[str]) -> dict[str, Storage]:
    """Return the files of storages by their names; one that is missing is said of the tensors that need it."""
    order, storages = _byte_order(folder), {}
    for key in keys:
        name, place = f"{DATA}/{key}", os.path.join(folder, DATA, key)
        # a key is a stranger's word, and a link leads anywhere: neither may lead out of the folder
        if os.path.basename(key) == key and os.path.isfile(place) and not os.path.islink(place):
            with ByteSource(place) as source:
                size = source.size
                storages[name] = Storage(name, source.facts, start=0, size=size, byte_order=order)
    return storages


def _byte_order(folder: str) -> ByteOrder:
    place = os.path.join(folder, "byteorder")
    if not os.path.isfile(place):
        return "little"
    with ByteSource(place) as source:
        text = source.read(0, min(source.size, _SMALL))
    return byte_order_of(text, where=place, fix="unpack the file again")
