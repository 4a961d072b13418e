"""A zip archive as torch writes it: stored entries, each aligned to 64 bytes, with a zip64 end record.

Format: PKWARE APPNOTE 4.5; torch's alignment is padding in the local header's extra field with the id ``FB``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from viscy_compat.named import NamedTuple
from viscy_compat.rewrite.output import Output

ALIGNMENT = 64

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_FULL, _COUNTLESS = 0xFFFFFFFF, 0xFFFF
_VERSION, _UTF8, _FIRST_DAY = 45, 0x0800, 0x21


class _Entry(NamedTuple):
    name: bytes
    flags: int
    crc: int
    size: int
    header: int


class ZipWriter:
    """Writes entries one after the other; `finish` writes the directory."""

    __slots__ = ("_entries", "_output")

    def __init__(self, output: Output) -> None:
        self._output = output
        self._entries: list[_Entry] = []

    def add(self, name: str, size: int, chunks: Iterable[bytes], *, crc: int | None = None) -> None:
        """Write one entry of exactly `size` bytes.

        Parameters
        ----------
        name : str
            Its name in the archive.
        size : int
            Bytes that the chunks have together.
        chunks : Iterable[bytes]
            The bytes.
        crc : int, optional
            Their CRC-32, where it is known, and verified by whoever yields the chunks; else it is computed.
        """
        header = self._output.position
        entry = _Entry(name.encode(), 0 if name.isascii() else _UTF8, crc or 0, size, header)
        self._output.write(_local(entry))
        self._entries.append(entry._replace(crc=self._copy(chunks, crc)))
        if crc is None:
            self._output.patch(header + 14, struct.pack("<I", self._entries[-1].crc))

    def finish(self) -> None:
        """Write the directory and the end records."""
        start, count = self._output.position, len(self._entries)
        self._output.write(b"".join(map(_central, self._entries)))
        stop = self._output.position
        size, few = stop - start, min(count, _COUNTLESS)
        self._output.write(
            _END64.pack(b"PK\x06\x06", _END64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, start)
            + _LOCATOR.pack(b"PK\x06\x07", 0, stop, 1)
            + _END.pack(b"PK\x05\x06", 0, 0, few, few, min(size, _FULL), min(start, _FULL), 0)
        )

    def _copy(self, chunks: Iterable[bytes], crc: int | None) -> int:
        write = self._output.write
        if crc is not None:
            for chunk in chunks:
                write(chunk)
            return crc
        crc = 0
        for chunk in chunks:
            crc = zlib.crc32(chunk, crc)
            write(chunk)
        return crc


def _local(entry: _Entry) -> bytes:
    """Return a local header that ends where the aligned bytes begin."""
    wide = struct.pack("<HHQQ", 1, 16, entry.size, entry.size) if entry.size >= _FULL else b""
    start = entry.header + _LOCAL.size + len(entry.name) + len(wide) + 4
    padding = -start % ALIGNMENT
    extra = wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding
    size = min(entry.size, _FULL)
    return (
        _LOCAL.pack(
            b"PK\x03\x04",
            _VERSION,
            entry.flags,
            0,
            0,
            _FIRST_DAY,
            entry.crc,
            size,
            size,
            len(entry.name),
            len(extra),
        )
        + entry.name
        + extra
    )


def _central(entry: _Entry) -> bytes:
    sizes = struct.pack("<QQ", entry.size, entry.size) if entry.size >= _FULL else b""
    place = struct.pack("<Q", entry.header) if entry.header >= _FULL else b""
    extra = struct.pack("<HH", 1, len(sizes + place)) + sizes + place if sizes or place else b""
    size = min(entry.size, _FULL)
    return (
        _CENTRAL.pack(
            b"PK\x01\x02",
            _VERSION,
            _VERSION,
            entry.flags,
            0,
            0,
            _FIRST_DAY,
            entry.crc,
            size,
            size,
            len(entry.name),
            len(extra),
            0,
            0,
            0,
            0,
            min(entry.header, _FULL),
        )
        + entry.name
        + extra
    )
