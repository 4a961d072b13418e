"""Which reader a file needs, by its first bytes: names and endings say nothing."""

from __future__ import annotations

import gc
import os

from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.locations import is_address, public_name
from viscy_compat.checkpoint.sources import open_source
from viscy_compat.errors import UnreadableCheckpoint

_HEAD = 512
"""First bytes of a file that say which format it is: the block of a tar archive is the longest."""
_WHOLE = 64 << 10
"""Files up to this size are read at once."""


def read_checkpoint(path: str, limits: Limits, address: str | None) -> Checkpoint:
    """Read a checkpoint of any format; see `viscy_compat.checkpoint.open_checkpoint`."""
    # A graph of a million small containers has the collector walk it again and again, for nothing: it is all in use.
    path, was_enabled = public_name(path), gc.isenabled()
    gc.disable()
    try:
        return _read_folder(path, limits, address) if os.path.isdir(path) else _read_file(path, limits, address)
    finally:
        if was_enabled:
            gc.enable()


def _read_file(path: str, limits: Limits, address: str | None) -> Checkpoint:
    with open_source(path, access="scattered") as source:
        try:
            checkpoint = read_open(source, limits, address)
        except UnreadableCheckpoint as error:
            if not is_address(path):
                from viscy_compat.checkpoint.calls import name_calls

                name_calls(error, source)
            raise
        source.verify_unchanged()
    return checkpoint


def read_open(source: ByteSource, limits: Limits, address: str | None) -> Checkpoint:
    """Read an open file of any format but a folder."""
    source.keep(0, source.size if source.size <= _WHOLE else _HEAD)
    head = source.read(0, min(source.size, _HEAD))
    # eight bytes of length before JSON, or bytes that could be: the reader says what is wrong with them. What begins
    # like a zip archive is one unless that length is true, too
    length, most = int.from_bytes(head[:8], "little"), source.size if head[:2] == b"PK" else max(source.size, 1 << 27)
    if len(head) > 8 and head[8:].lstrip()[:1] == b"{" and length <= most:
        return _read_safetensors(source, head, limits, address)
    if head.startswith(b"PK\x03\x04"):
        if source.path.endswith(".distcp"):
            from viscy_compat.checkpoint.folder import refuse_part

            refuse_part(source.path)
        from viscy_compat.checkpoint.torch_zip import read_torch_zip

        try:
            return read_torch_zip(source, limits, address)
        except UnreadableCheckpoint as error:
            # an archive has no directory at its end, or something follows it
            if error.code not in ("VC403", "VC410"):
                raise
            from viscy_compat.checkpoint.objects_in_front import read_behind_objects

            behind = read_behind_objects(source, limits)
            if behind is None:
                raise
            return _at(_if_whole(behind), address)
    # a pickle of protocol 2 to 5, or torch's magic number in protocol 0 or 1
    is_binary = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2
    if is_binary or head.startswith((b"L119547037146038801333356L\n", b"I119547037146038801333356\n")):
        return _read_pickle(source, head, limits, address)
    if head.lstrip(b" \t\r\n")[:1] == b"{" and source.path.endswith(".json"):
        from viscy_compat.checkpoint.sharded import read_sharded

        return _at(read_sharded(source, limits, lambda place: read_checkpoint(place, limits, None)), address)
    from viscy_compat.checkpoint.foreign import foreign

    tail = source.read(max(source.size - 8, 0), min(source.size, 8))
    raise foreign(head, source.path, source.size, tail)


def _read_safetensors(source: ByteSource, head: bytes, limits: Limits, address: str | None) -> Checkpoint:
    from viscy_compat.checkpoint.safetensors_reader import read_safetensors
    from viscy_compat.checkpoint.two_formats import refuse_tar_too, refuse_two_formats

    refuse_two_formats(source, head, limits)
    refuse_tar_too(source.path, head)
    return _at(_if_whole(read_safetensors(source, limits)), address)


def _if_whole(checkpoint: Checkpoint) -> Checkpoint:
    """Return a safetensors file that is no rank's part of a distributed checkpoint."""
    from viscy_compat.checkpoint.safetensors_reader import SHARDING_INFO

    if SHARDING_INFO in checkpoint.metadata:
        from viscy_compat.checkpoint.distributed_safetensors import refuse_lone_part

        refuse_lone_part(checkpoint.metadata, checkpoint.path)
    return checkpoint


def _read_pickle(source: ByteSource, head: bytes, limits: Limits, address: str | None) -> Checkpoint:
    folder, name = os.path.split(source.path)
    # the pickle of a torch file that was unpacked: its storages lie beside it
    if name == "data.pkl" and os.path.isdir(os.path.join(folder, "data")):
        from viscy_compat.checkpoint.unpacked import read_unpacked

        return read_unpacked(folder or ".", limits, address, path=source.path)
    from viscy_compat.checkpoint.torch_stream import read_torch_legacy
    from viscy_compat.checkpoint.two_formats import refuse_tar_too, refuse_zip_too

    refuse_tar_too(source.path, head)
    refuse_zip_too(source)
    return read_torch_legacy(source, limits, address)


def _read_folder(folder: str, limits: Limits, address: str | None) -> Checkpoint:
    """Read a folder that is one checkpoint.

    Raises
    ------
    UnreadableCheckpoint
        VC401 for a folder that is none, and what its readers raise.
    """
    from viscy_compat.checkpoint.folder import kind_of_folder, refuse_folder, unpacked_root

    kind = kind_of_folder(folder)
    if kind == "distributed":
        from viscy_compat.checkpoint.distributed_torch import read_distributed

        return read_distributed(folder, limits, address)
    if kind == "distributed-safetensors":
        from viscy_compat.checkpoint.distributed_safetensors import read_distributed_safetensors

        return _at(read_distributed_safetensors(folder, limits), address)
    if kind == "unpacked":
        from viscy_compat.checkpoint.unpacked import read_unpacked

        return read_unpacked(unpacked_root(folder), limits, address, path=folder)
    if kind == "deepspeed":
        from viscy_compat.checkpoint.deepspeed import deepspeed_folder, model_states

        file = model_states(deepspeed_folder(folder), path=folder)
        return _under_path(_read_file(file, limits, address), folder)
    refuse_folder(folder)


def _at(checkpoint: Checkpoint, address: str | None) -> Checkpoint:
    if address is None:
        return checkpoint
    from viscy_compat.checkpoint.address import select_set

    return select_set(checkpoint, address)


def _under_path(checkpoint: Checkpoint, path: str) -> Checkpoint:
    """Give the facts, at every address, the path of the folder that a file stands for."""
    select = checkpoint.select
    checkpoint.path = path
    checkpoint.select = None if select is None else lambda address: _under_path(select(address), path)
    return checkpoint
