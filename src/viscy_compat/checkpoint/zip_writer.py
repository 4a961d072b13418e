"""A zip archive as torch writes it: stored entries, each aligned to 64 bytes, with a zip64 end record.

Format: PKWARE APPNOTE 4.5; torch's alignment is padding in the local header's extra field with the id ``FB``.
"""

from __future__ import annotations

import struct

from viscy_compat.annotations import Protocol
from viscy_compat.checkpoint.zip_archive import CENTRAL, COUNTLESS, END, END64, FULL, LOCAL, LOCATOR
from viscy_compat.named import NamedTuple

ALIGNMENT = 64
"""What torch aligns storages to, so that they can be mapped."""

_VERSION = 45
"""PKWARE's number of zip64, which every entry asks for, as those of torch do."""
_CRC_IN_HEADER = 14
"""Where a local header states the CRC-32 (APPNOTE 4.3.7)."""
_UTF8 = 0x0800
"""The flag of names that are not ASCII."""
_FIRST_DAY = 0x21
"""1980-01-01, so that the same tensors give the same bytes."""


class Sink(Protocol):
    """What an archive is written to: a file that grows, whose earlier bytes can be written over."""

    position: int

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def skip(self, count: int) -> None:
        """Leave room for bytes that somebody else puts there."""

    def write_at(self, position: int, data: bytes) -> None:
        """Write bytes to a place before the end."""


class _WrittenEntry(NamedTuple):
    name: bytes
    flags: int
    crc: int
    size: int
    header: int


class ZipWriter:
    """Writes what stands around the bytes of entries, one after the other; `finish` writes the directory.

    The bytes themselves are put into their places by whoever has them, before or after.
    """

    __slots__ = ("_entries", "_output")

    def __init__(self, output: Sink) -> None:
        self._output = output
        self._entries: list[_WrittenEntry] = []

    def reserve(self, name: str, size: int, *, crc: int | None) -> int:
        """Write the header of the next entry, leave room for its bytes, and return the place of the first one.

        Parameters
        ----------
        name : str
            Its name in the archive.
        size : int
            How many bytes it has.
        crc : int or None
            Their CRC-32; where it is not known yet, `state_crc` takes it later.
        """
        header = self._output.position
        flags = 0 if name.isascii() else _UTF8
        entry = _WrittenEntry(name.encode(), flags=flags, crc=crc or 0, size=size, header=header)
        wide = struct.pack("<HHQQ", 1, 16, size, size) if size >= FULL else b""
        # padded so that the header ends where the aligned bytes begin; the four bytes are id and length of the padding
        padding = -(header + LOCAL.size + len(entry.name) + len(wide) + 4) % ALIGNMENT
        extra = wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        self._output.write(LOCAL.pack(b"PK\x03\x04", *_shared_fields(entry, extra)) + entry.name + extra)
        self._entries.append(entry)
        self._output.skip(size)
        return self._output.position - size

    def state_crc(self, number: int, crc: int) -> None:
        """State the CRC-32 of an entry, by its number, that was not known when its header was written."""
        entry = self._entries[number]
        self._entries[number] = entry._replace(crc=crc)
        self._output.write_at(entry.header + _CRC_IN_HEADER, struct.pack("<I", crc))

    def finish(self) -> None:
        """Write the directory and the end records."""
        start, count = self._output.position, len(self._entries)
        for entry in self._entries:
            # what does not fit into 32 bits stands in the extra field, in the order of the fields that it is missing from
            wide = struct.pack("<QQ", entry.size, entry.size) if entry.size >= FULL else b""
            wide += struct.pack("<Q", entry.header) if entry.header >= FULL else b""
            extra = struct.pack("<HH", 1, len(wide)) + wide if wide else b""
            fields = (_VERSION, *_shared_fields(entry, extra), 0, 0, 0, 0, min(entry.header, FULL))
            self._output.write(CENTRAL.pack(b"PK\x01\x02", *fields) + entry.name + extra)
        stop = self._output.position
        size, few = stop - start, min(count, COUNTLESS)
        self._output.write(
            END64.pack(b"PK\x06\x06", END64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start)
            + LOCATOR.pack(b"PK\x06\x07", 0, stop, 1)
            + END.pack(b"PK\x05\x06", 0, 0, few, few, min(size, FULL), min(start, FULL), 0)
        )


def _shared_fields(entry: _WrittenEntry, extra: bytes) -> tuple[int, ...]:
    """Return what a local header and the directory say alike, from the version to the lengths."""
    size = min(entry.size, FULL)
    return _VERSION, entry.flags, 0, 0, _FIRST_DAY, entry.crc, size, size, len(entry.name), len(extra)
