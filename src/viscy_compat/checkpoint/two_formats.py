"""Files that are two formats at once: one reader would take other tensors from them, or run something, than another.

A safetensors file begins with the length of its header, and those eight bytes say nothing about pickles: ``80 02`` is a
header of 640 bytes as well as the start of protocol 2. What the whole content does decides: it is a pickle too where an
unpickler (``torch.load`` tries one on every file that is no zip archive) would import a name or find torch's magic
number, and a zip archive too where it begins or ends like one.
"""

from __future__ import annotations

from viscy_compat.annotations import Final, NoReturn
from viscy_compat.checkpoint.byte_source import ByteSource
from viscy_compat.checkpoint.limits import Limits
from viscy_compat.checkpoint.pickle_machine import begins_to_act
from viscy_compat.errors import UnreadableCheckpoint

_END: Final = b"PK\x05\x06"
_END_SIZE: Final = 22
_COMMENT: Final = 65_535
_LOOK: Final = Limits(opcodes=100_000, string=1 << 64, integer=4_096, pickle_bytes=1 << 64)
"""Lengths are compared with what the file holds; no honest header goes on for so many steps."""


def refuse_two_formats(source: ByteSource, head: bytes, limits: Limits) -> None:
    """Refuse a safetensors file that other readers would take for something else.

    Parameters
    ----------
    source : ByteSource
        A file that begins like safetensors.
    head : bytes
        Its first bytes.
    limits : Limits
        ``pickle_bytes`` bounds how much is looked at.

    Raises
    ------
    UnreadableCheckpoint
        VC464.
    """
    if head.startswith(b"PK\x03\x04") or ends_like_a_zip(source):
        _refuse_both(source.path, "a zip archive")
    window, acts = head, begins_to_act(head, _LOOK)
    # None: what was looked at is the beginning of a pickle, and what it does lies further on
    while acts is None and len(window) < min(source.size, limits.pickle_bytes):
        window += source.read(len(window), min(3 * len(window), source.size - len(window)))
        acts = begins_to_act(window, _LOOK)
    if acts:
        _refuse_both(source.path, "a pickle")


def refuse_zip_too(source: ByteSource) -> None:
    """Refuse a stream of pickles behind which a zip archive lies: Python's zipfile finds that one.

    Raises
    ------
    UnreadableCheckpoint
        VC464.
    """
    if ends_like_a_zip(source):
        _refuse_both(source.path, "a zip archive", first="a stream of pickles")


def refuse_tar_too(path: str, head: bytes) -> None:
    """Refuse a file that torch's own reader takes for a tar archive before it looks for anything else.

    ``torch.load`` tries ``tarfile`` first on everything that is no zip archive, and tarfile asks for nothing but a
    first block whose sum is the one that it states.

    Raises
    ------
    UnreadableCheckpoint
        VC464.
    """
    block = head[:_BLOCK]
    if len(block) < _BLOCK:
        return
    field = block[_SUM].partition(b"\0")[0].strip()
    try:
        # octal digits; where the first bit is set, a number as it is (GNU's way for large ones)
        sum_on_file = int(field or b"0", 8) if block[148] < 0x80 else int.from_bytes(block[149:156], "big")
    except ValueError:
        return
    # some programs add the bytes up as signed ones, and tarfile takes either sum
    rest = block[:148] + b" " * 8 + block[156:]
    if sum_on_file in (sum(rest), sum(rest) - sum(256 for byte in rest if byte > 127)):
        raise UnreadableCheckpoint(
            "by its first block this is a tar archive too, and torch.load takes it for one",
            where=path,
            fix="do not use this file: fetch it from its source again",
            code="VC464",
        )


_BLOCK: Final = 512
"""Bytes of a header in a tar archive."""
_SUM: Final = slice(148, 156)
"""The field with the sum of a tar header's bytes; for the sum it counts as eight spaces."""


def ends_like_a_zip(source: ByteSource) -> bool:
    """Say whether an end record of a zip archive, and its comment, are the last bytes of a file."""
    length = min(source.size, _END_SIZE + _COMMENT)
    tail = source.read(source.size - length, length)
    place = tail.rfind(_END)
    if place < 0 or place + _END_SIZE > length:
        return False
    return place + _END_SIZE + int.from_bytes(tail[place + 20 : place + 22], "little") == length


def _refuse_both(path: str, other: str, *, first: str = "a safetensors file") -> NoReturn:
    raise UnreadableCheckpoint(
        f"this is {first} and {other} at once, and readers differ in which one they take",
        where=path,
        fix="do not use this file: fetch it from its source again",
        code="VC464",
    )
