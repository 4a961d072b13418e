"""A torch file beyond 4 GiB that takes no room on the disc: its bytes are holes but for the last few."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from support.assembly import FLOATS, NUMBERS, mapping, pickled, storage, tensor

ELEMENTS = (1 << 30) + (1 << 20)


def zip64(path: Path) -> None:
    """A torch file with a storage of 4 GiB and 4 MiB, whose last six floats are not zero, and a record behind it."""
    big = tensor((ELEMENTS,), (1,), of=storage("0", FLOATS, ELEMENTS))
    last = tensor((2, 3), (3, 1), ELEMENTS - 6, of=storage("0", FLOATS, ELEMENTS))
    small = tensor(of=storage("1"))
    pickle = pickled(mapping({"big": big, "last": last, "small": small}))
    contents = [("a/data.pkl", len(pickle)), ("a/data/0", 4 * ELEMENTS), ("a/data/1", 24), ("a/version", 2)]
    tails = [pickle, NUMBERS, NUMBERS, b"3\n"]
    central = b""
    with path.open("wb") as file:
        for (name, size), tail in zip(contents, tails, strict=True):
            place = file.tell()
            file.write(
                struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), 0)
            )
            file.write(name.encode())
            file.seek(size - len(tail), os.SEEK_CUR)
            file.write(tail)
            extra = struct.pack("<HHQQQ", 1, 24, size, size, place)
            row = (20, 20, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
            central += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", *row) + name.encode() + extra
        start, count = file.tell(), len(contents)
        end64 = start + len(central)
        file.write(central)
        file.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(central), start))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end64, 1))
        file.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(central), 0xFFFFFFFF, 0))
