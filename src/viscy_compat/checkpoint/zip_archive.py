"""One strict parse of a zip archive's central directory, used for the pickle and the storages alike.

Readers disagree about zips that lie: torch takes the first of two entries of one name, Python's zipfile the last; torch
ignores CRC-32, local names and local sizes. What two readers could understand differently is refused here.

Facts about torch's archives (measured on 1.6 to 2.15): entries are stored and not compressed; local headers have
zero sizes and a data descriptor, so the central directory is what counts; storages are aligned by padding in the local
header's extra field; a zip64 end record is always written.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

from viscy_compat.annotations import Mapping, NoReturn, Sequence
from viscy_compat.checkpoint.byte_source import ByteSource, ByteWindow
from viscy_compat.checkpoint.facts import ZipEntry
from viscy_compat.checkpoint.limits import Limits, beyond
from viscy_compat.checkpoint.record_names import two_alike
from viscy_compat.errors import UnreadableCheckpoint
from viscy_compat.named import records_of

LOCAL = struct.Struct("<4sHHHHHIIIHH")
"""signature, version, flags, method, time, date, CRC-32, size, unpacked size, lengths of name and extra field"""
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
"""signature, two versions, then as `LOCAL`; length of the comment, disk, two attributes, offset of the local header"""
END64 = struct.Struct("<4sQHHIIQQQQ")
"""signature, its own size, two versions, two disks, entries here and in all, size and offset of the directory"""
LOCATOR = struct.Struct("<4sIQI")
"""signature, disk, offset of the zip64 end record, disks"""
END = struct.Struct("<4sHHHHIIH")
"""signature, two disks, entries here and in all, size and offset of the directory, length of the comment"""
FULL = 0xFFFFFFFF
"""What stands in a field of 32 bits whose value is in the zip64 record."""
COUNTLESS = 0xFFFF
"""The same for a field of 16 bits."""

_TAIL = END64.size + LOCATOR.size + END.size
"""The records at the end of a zip64 archive without a comment."""

_END_WINDOW = 64 << 10
"""Bytes of one read at the end: the end records, and the directory of about a thousand entries before them."""
_NEAR, _PADDING = 16 << 10, 128
"""Records are read at once where fewer bytes lie between them; torch pads what it aligns by less than 128 bytes."""
# APPNOTE 4.4.4 and 4.4.5; the flags are those of encryption (three kinds) and of patched data
_DEFLATED, _DESCRIPTOR, _UNSUPPORTED_FLAGS = 8, 0x08, 0x01 | 0x20 | 0x40 | 0x2000


class ZipArchive:
    """The entries of a zip file by name, in the order of the central directory.

    Parameters
    ----------
    source : ByteSource or ByteWindow
        The open file; it starts with a local header.
    limits : Limits
        For the number of entries and the size of the directory.

    Raises
    ------
    UnreadableCheckpoint
        VC403 no directory (cut); VC404 beyond a limit; VC410 directory or header that lies; VC411 a name twice;
        VC412 overlapping entries; VC413 encrypted, packed by an unknown method, or a bomb.
    """

    __slots__ = ("entries", "source")

    def __init__(self, source: ByteSource | ByteWindow, limits: Limits) -> None:
        self.source = source
        window = min(source.size, _END_WINDOW)
        source.keep(source.size - window, window)
        start, count, size = _locate_directory(source)
        _within(source.path, limits, count, size)
        self.entries = _read_directory(source, start, count, size)

    @property
    def has_crcs(self) -> bool:
        """Whether CRCs were written: torch can be told to leave them out, and then writes 0 everywhere."""
        return any(entry.crc for entry in self.entries.values())

    def keep(self, most: Mapping[str, int]) -> None:
        """Read records in as few reads as they lie close together; each only where it is no larger than is stated."""
        asked = [(self.entries[name], size) for name, size in most.items() if name in self.entries]
        spans = [_span(entry) for entry, size in asked if entry.size <= size]
        near: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if near and start - near[-1][1] <= _NEAR:
                near[-1] = near[-1][0], max(end, near[-1][1])
            else:
                near.append((start, end))
        for start, end in near:
            self.source.keep(start, end - start)

    def verify_headers(self) -> None:
        """Compare the local headers that were read along with the directory: the others when their records are read.

        A verdict needs none of a tensor's: a trained file has 750, each a read of its own. `TensorReader.locate` looks
        at each before it reads a tensor.
        """
        for first, end in self.source.kept_ranges():
            # a name has at most four bytes a letter
            for entry in [row for row in self.entries.values() if first <= row.header < end]:
                if entry.header + LOCAL.size + 4 * len(entry.name) <= end:
                    start_of(self.source, entry)

    def pickle(self, name: str, limits: Limits) -> bytes:
        """Return the bytes of an entry that holds a pickle; as `read`."""
        nbytes = self.entries[name].nbytes
        if nbytes > limits.pickle_bytes:
            what = f"{printable_name(name)} has {nbytes} bytes"
            raise beyond(limits, "pickle_bytes", nbytes, what, where=self.source.path)
        return self.read(name, nbytes)

    def read(self, name: str, most: int) -> bytes:
        """Return the unpacked bytes of an entry, CRC verified.

        Raises
        ------
        UnreadableCheckpoint
            VC404 where they are more than any writer gives such an entry; VC414 damaged.
        """
        entry = self.entries[name]
        if entry.nbytes > most:
            raise UnreadableCheckpoint(
                f"{printable_name(name)} has {entry.nbytes} bytes, and no writer gives it more than {most}",
                where=self.source.path,
                fix="fetch the file again",
                code="VC404",
            )
        data = self.source.read(start_of(self.source, entry), entry.size)
        if entry.deflated:
            data = _inflate(data, entry, self.source.path)
        if self.has_crcs and zlib.crc32(data) != entry.crc:
            raise _damaged_record(self.source.path, name)
        return data


def start_of(source: ByteSource | ByteWindow, entry: ZipEntry) -> int:
    """Return the offset of an entry's first byte, from its local header, which must agree with the directory.

    Raises
    ------
    UnreadableCheckpoint
        VC410 where they disagree; VC412 where the bytes reach into what follows.
    """
    name = entry.name.encode()
    header = source.read(entry.header, LOCAL.size + len(name))
    signature, _, flags, method, _, _, crc, size, nbytes, name_size, extra_size = LOCAL.unpack_from(header)
    # sizes beyond 32 bits stand in the extra field; with a data descriptor behind the bytes, all three may be zero
    sizes_agree = crc == entry.crc and size in (entry.size, FULL) and nbytes in (entry.nbytes, FULL)
    is_deferred = flags & _DESCRIPTOR and (crc, size, nbytes) == (0, 0, 0)
    agrees = (
        signature == b"PK\x03\x04"
        and flags == entry.flags
        and method == (_DEFLATED if entry.deflated else 0)
        and header[LOCAL.size :] == name
        and name_size == len(name)
        and (sizes_agree or is_deferred)
    )
    start: int = entry.header + LOCAL.size + name_size + extra_size
    if not agrees:
        _refuse_archive(source.path, f"the directory and the local header of {entry.name!a} disagree")
    if start + entry.size > entry.limit:
        _refuse_overlap(source.path, entry.name)
    return start


def _span(entry: ZipEntry) -> tuple[int, int]:
    """Return where a record and its header lie, with as much padding as torch uses."""
    return entry.header, min(entry.header + LOCAL.size + 4 * len(entry.name) + _PADDING + entry.size, entry.limit)


def printable_name(name: str) -> str:
    """Return an entry's name in ASCII, control characters escaped.

    Examples
    --------
    >>> printable_name("a/data.pkl")
    'a/data.pkl'
    """
    return ascii(name)[1:-1]


def _locate_directory(source: ByteSource | ByteWindow) -> tuple[int, int, int]:
    """Return start, number of entries and size of the central directory."""
    tail = source.read(max(source.size - _TAIL, 0), min(_TAIL, source.size))
    place = len(tail) - END.size
    if tail[place : place + 4] != b"PK\x05\x06":
        tail = source.read(max(source.size - _TAIL - 65535, 0), min(_TAIL + 65535, source.size))
        place = tail.rfind(b"PK\x05\x06")
        if place < 0 or place + END.size > len(tail):
            raise UnreadableCheckpoint(
                "this archive has no directory at its end: the file was cut",
                where=source.path,
                fix="fetch the file again and compare its size with the original",
                code="VC403",
            )
    end = END.unpack_from(tail, place)
    if place + END.size + end[7] != len(tail):
        _refuse_archive(source.path, "bytes follow the end of the archive")
    before = place - LOCATOR.size
    stop = source.size - len(tail) + place
    if before >= 0 and tail[before : before + 4] == b"PK\x06\x07":
        return _directory64(source, end, tail[max(before - END64.size, 0) : before + LOCATOR.size], stop)
    _, disk, first_disk, here, count, size, start, _ = end
    if disk or first_disk or here != count or start + size != stop:
        _refuse_archive(source.path, "the end record does not describe the directory before it")
    return start, count, size


def _directory64(
    source: ByteSource | ByteWindow, end: tuple[int, ...], records: bytes, stop: int
) -> tuple[int, int, int]:
    """Return the same from a zip64 end record, which must agree with the classic one wherever that says anything."""
    stop -= _TAIL - END.size
    if len(records) != END64.size + LOCATOR.size:
        _refuse_archive(source.path, "the zip64 end record is missing")
    _, first_disk, place, disks = LOCATOR.unpack_from(records, END64.size)
    signature, length, _, _, disk, other_disk, here, count, size, start = END64.unpack_from(records)
    _, old_disk, old_first, old_here, old_count, old_size, old_start, _ = end
    # classic field, zip64 field, and the value of the classic field that refers to zip64
    fields = (
        (old_disk, 0, COUNTLESS),
        (old_first, 0, COUNTLESS),
        (old_here, count, COUNTLESS),
        (old_count, count, COUNTLESS),
        (old_size, size, FULL),
        (old_start, start, FULL),
    )
    agrees = all(old in (new, cap) for old, new, cap in fields)
    sound = signature == b"PK\x06\x06" and length == END64.size - 12 and place == stop and here == count
    if not agrees or not sound or first_disk or disk or other_disk or disks > 1 or start + size != stop:
        _refuse_archive(source.path, "the zip64 end record does not describe the directory before it")
    return start, count, size


def _within(path: str, limits: Limits, count: int, size: int) -> None:
    for name, value, limit in (("entries", count, limits.entries), ("directory_bytes", size, limits.directory_bytes)):
        if value > limit:
            what = f"the archive's directory has {value} {'entries' if name == 'entries' else 'bytes'}"
            raise beyond(limits, name, value, what, where=path)
    if count * CENTRAL.size > size:
        _refuse_archive(path, f"{count} entries do not fit into a directory of {size} bytes")


def _read_directory(source: ByteSource | ByteWindow, start: int, count: int, size: int) -> dict[str, ZipEntry]:
    directory = source.read(start, size)
    rows = _plain_rows(directory)
    if rows is None or len(rows) != count:
        rows, place = [], 0
        for _ in range(count):
            if place + CENTRAL.size > size:
                _refuse_archive(source.path, "the directory is shorter than its entries")
            row, place = _central_entry(source.path, directory, place)
            rows.append(row)
        if place != size:
            _refuse_archive(source.path, "the directory is longer than its entries")
    if not rows:
        return {}
    columns = tuple(zip(*rows, strict=True))
    names, headers, sizes = columns[:3]
    _refuse_ambiguous_names(source.path, names)
    limits = _limits_of(source.path, names, headers, sizes, start)
    return dict(zip(names, records_of(ZipEntry, *columns, limits), strict=True))


def _limits_of(
    path: str, names: Sequence[str], headers: Sequence[int], sizes: Sequence[int], end: int
) -> Sequence[int]:
    """Return where each entry must have ended: at the local header of the next one, and the last one at the directory."""
    in_order, least = sorted(headers), LOCAL.size
    limits = [*in_order[1:], end]
    # as in torch's own archives, the directory lists entries as they lie
    if in_order != [*headers]:
        # from the last to the first, which stays: of two entries at one place, the next one is at that place, too
        limit_at = dict(zip(reversed(in_order), reversed(limits), strict=True))
        limits = [limit_at[header] for header in headers]
    overlaps = [
        (header, name)
        for name, header, size, limit in zip(names, headers, sizes, limits, strict=True)
        if header + least + len(name) + size > limit
    ]
    if overlaps:
        _refuse_overlap(path, min(overlaps, key=lambda each: each[0])[1])
    return limits


_PLAIN = "<4s4xHH4xIIIHIH6xI"
"""As `CENTRAL` without versions, time and attributes; the lengths of extra field and comment are one number, and that of the
name stands at byte 28."""


def _plain_rows(directory: bytes) -> list[_EntryRow] | None:
    """Return the rows of a directory as torch writes it; None where a field of any entry needs a second look.

    The names of storages differ in a number: those of equal length make entries of equal size, unpacked in one go.
    """
    rows: list[_EntryRow] = []
    place, end, whole = 0, len(directory), memoryview(directory)
    while place + CENTRAL.size < end:
        length, before = int.from_bytes(directory[place + 28 : place + 30], "little"), len(rows)
        entry = struct.Struct(f"{_PLAIN}{length}s")
        run = whole[place : end - (end - place) % entry.size]
        for signature, flags, method, crc, size, nbytes, name_size, more, disk, header, name in entry.iter_unpack(run):
            if signature != b"PK\x01\x02" or name_size != length:
                break
            if more or disk or method or size != nbytes or flags & _UNSUPPORTED_FLAGS or not name.isascii():
                return None
            rows.append((str(name, "ascii"), header, size, nbytes, crc, False, flags))
        if len(rows) == before:
            return None
        place += entry.size * (len(rows) - before)
    names = "/".join(["", *[row[0] for row in rows], ""])
    return None if place != end or any(part in names for part in _NOT_PLAIN) else rows


_NOT_PLAIN = ("\0", "\\", "//", "/./", "/../")
"""What names that `_decode_name` refuses hold, with a slash before and after each; that of a folder may hold it, too."""


def _refuse_ambiguous_names(path: str, names: Sequence[str]) -> None:
    """Refuse two entries of one name, or of names that some reader takes for one."""
    twice = None
    if len(set(names)) != len(names):
        twice = next(after for before, after in pairwise(sorted(names)) if before == after)
    pair = two_alike(names) if twice is None else None
    if twice is not None:
        what = (
            f"two entries of the archive are called {printable_name(twice)}, and readers differ in which one they take"
        )
    elif pair is not None:
        one, other = map(printable_name, pair)
        what = f"the entries {one} and {other} are one name to torch or to a file system"
    else:
        return
    raise UnreadableCheckpoint(what, where=path, fix=_DO_NOT_USE, code="VC411")


_DO_NOT_USE = "do not use this file: fetch it from its source again"

_NO_NAMES = {"", ".", ".."}
"""Parts of a path that are none: two slashes in a row, and what a file system takes for a folder."""

_EntryRow = tuple[str, int, int, int, int, bool, int]


def _central_entry(path: str, directory: bytes, place: int) -> tuple[_EntryRow, int]:
    row = CENTRAL.unpack_from(directory, place)
    signature, _, _, flags, method, _, _, crc, size, nbytes, name_size, extra_size, comment_size, disk, _, _, header = (
        row
    )
    place += CENTRAL.size
    end = place + name_size + extra_size + comment_size
    if signature != b"PK\x01\x02" or end > len(directory) or disk:
        _refuse_archive(path, "the directory is broken")
    name = _decode_name(path, directory[place : place + name_size])
    if extra_size and (FULL in (size, nbytes, header)):
        extra = directory[place + name_size : place + name_size + extra_size]
        nbytes, size, header = _zip64_values(path, extra, [nbytes, size, header])
    if flags & _UNSUPPORTED_FLAGS or method not in (0, _DEFLATED) or (method == 0 and size != nbytes):
        _refuse_entry(path, name, flags, method)
    # deflate makes of a byte 1032 at most: what states more is a bomb, or lies
    if method and nbytes > 1100 * size + 1024:
        _refuse_entry(path, name, flags, method)
    return (name, header, size, nbytes, crc, method == _DEFLATED, flags), end


def _decode_name(path: str, raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse_archive(path, f"an entry's name is not UTF-8: {raw[:60]!r}")
    if (
        not name
        or "\0" in name
        or "\\" in name
        or name[0] == "/"
        # nearly all names have no place where a part could be none: that is looked for first
        or (
            (name[0] == "." or "//" in name or "/." in name)
            and not _NO_NAMES.isdisjoint(name.removesuffix("/").split("/"))
        )
    ):
        _refuse_archive(path, f"an entry's name is no plain relative path: {name[:60]!a}")
    return name


def _zip64_values(path: str, extra: bytes, values: list[int]) -> list[int]:
    """Replace each value that is at its cap by the next one of the zip64 extra field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1 and place + 4 + length <= len(extra):
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, place + 4))
            return [next(wide, FULL) if value == FULL else value for value in values]
        place += 4 + length
    return values


def _inflate(data: bytes, entry: ZipEntry, path: str) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(data, entry.nbytes + 1)
    except zlib.error as error:
        raise _damaged_record(path, entry.name) from error
    if len(data) != entry.nbytes or not unpacker.eof:
        raise _damaged_record(path, entry.name)
    return data


def _damaged_record(path: str, name: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"{printable_name(name)} is damaged: its bytes do not have the CRC-32 that the file states",
        where=path,
        fix="fetch or copy the file again; the original is the only cure",
        code="VC414",
    )


def _refuse_archive(path: str, what: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"broken zip archive: {what}",
        where=path,
        fix="fetch the file again; no writer of checkpoints makes such a file",
        code="VC410",
    )


def _refuse_overlap(path: str, name: str) -> NoReturn:
    raise UnreadableCheckpoint(
        f"{printable_name(name)} overlaps with another part of the archive",
        where=path,
        fix=_DO_NOT_USE,
        code="VC412",
    )


def _refuse_entry(path: str, name: str, flags: int, method: int) -> NoReturn:
    why = "is encrypted" if flags & _UNSUPPORTED_FLAGS else f"has sizes that packing method {method} cannot have"
    raise UnreadableCheckpoint(
        f"{printable_name(name)} {why}",
        where=path,
        fix="unpack it with the tool that made it, or fetch the checkpoint from its source again",
        code="VC413",
    )
