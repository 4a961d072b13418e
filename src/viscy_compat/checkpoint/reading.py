"""Which reader a file needs, by its first bytes: names and endings say nothing."""

from __future__ import annotations

import gc
import os

from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.facts import Checkpoint
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.errors import UnreadableCheckpoint

_HEAD = 512
_WHOLE = 64 << 10
"""Files up to this size are read at once."""


def read_checkpoint(path: str, limits: Limits, state_dict: str | None) -> Checkpoint:
    """Read a checkpoint of any format; see `viscy_compat.checkpoint.open_checkpoint`."""
    # A graph of a million small containers has the collector walk it again and again, for nothing: it is all in use.
    collecting = gc.isenabled()
    gc.disable()
    try:
        if os.path.isdir(path):
            from viscy_compat.checkpoint.folder import read_folder

            return read_folder(path, limits, state_dict)
        with ByteSource(path, access="scattered") as source:
            try:
                checkpoint = _read(source, limits, state_dict)
            except UnreadableCheckpoint as error:
                from viscy_compat.checkpoint.calls import name_calls

                name_calls(error, source)
                raise
            source.verify_unchanged()
    finally:
        if collecting:
            gc.enable()
    return checkpoint


def _read(source: ByteSource, limits: Limits, wanted: str | None) -> Checkpoint:
    source.keep(0, source.size if source.size <= _WHOLE else _HEAD)
    head = source.read(0, min(source.size, _HEAD))
    if _is_safetensors(head, source.size):
        from viscy_compat.checkpoint.safetensors_file import read_safetensors
        from viscy_compat.checkpoint.two_formats import refuse_tar_too, refuse_two_formats

        refuse_two_formats(source, head, limits)
        refuse_tar_too(source.path, head)
        return read_safetensors(source, limits, wanted)
    if head.startswith(b"PK\x03\x04"):
        if source.path.endswith(".distcp"):
            from viscy_compat.checkpoint.folder import refuse_part

            refuse_part(source.path)
        from viscy_compat.checkpoint.torch_file import read_torch_zip

        return read_torch_zip(source, limits, wanted)
    if _is_pickle(head) and _is_unpacked(source.path):
        from viscy_compat.checkpoint.unpacked import read_unpacked

        return read_unpacked(os.path.dirname(source.path) or ".", limits, wanted, path=source.path)
    if _is_pickle(head):
        from viscy_compat.checkpoint.legacy_file import read_torch_legacy
        from viscy_compat.checkpoint.two_formats import refuse_tar_too, refuse_zip_too

        refuse_tar_too(source.path, head)
        refuse_zip_too(source)
        return read_torch_legacy(source, limits, wanted)
    if head.lstrip(b" \t\r\n")[:1] == b"{" and source.path.endswith(".json"):
        from viscy_compat.checkpoint.sharded import read_sharded

        return read_sharded(source, limits, wanted)
    from viscy_compat.checkpoint.foreign import foreign

    tail = source.read(max(source.size - 8, 0), min(source.size, 8))
    raise foreign(head, source.path, source.size, tail)


def _is_unpacked(path: str) -> bool:
    """Say whether a file is the pickle of a torch file that was unpacked: its storages lie beside it."""
    folder, name = os.path.split(path)
    return name == "data.pkl" and os.path.isdir(os.path.join(folder, "data"))


def _is_pickle(head: bytes) -> bool:
    """Say whether a file begins like a pickle of protocol 2 to 5, or like torch's magic number in protocol 0 or 1."""
    return (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2) or head.startswith(
        (b"L119547037146038801333356L\n", b"I119547037146038801333356\n")
    )


def _is_safetensors(head: bytes, size: int) -> bool:
    """Say whether eight bytes of length stand before JSON, or could: the reader says what is wrong with it.

    A zip archive is one only where the length is true, too.
    """
    length, most = int.from_bytes(head[:8], "little"), size if head[:2] == b"PK" else max(size, 1 << 27)
    return len(head) > 8 and head[8:].lstrip()[:1] == b"{" and length <= most
