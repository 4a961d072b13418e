"""Random damage to files: flipped bits, cut and repeated parts, numbers at their edges, parts of other files."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


def mutated(content: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """A file with one to six things changed."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        if not data:
            return b""
        place = dice.randrange(len(data))
        change = dice.choice((_flip, _cut, _repeat, _number, _graft, _opcode))
        change(data, place, others, dice)
    return bytes(data)


def _flip(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    data[place] ^= 1 << dice.randrange(8)


def _cut(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    del data[place : place + dice.choice((1, 2, 4, 30, 10**6))]


def _repeat(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    part = data[place : place + dice.randint(1, 60)]
    data[place:place] = part * dice.choice((1, 2, 50))


def _number(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    size, code = dice.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q")))
    raw = struct.pack(code, dice.choice(EDGES) & ((1 << 8 * size) - 1))
    data[place : place + size] = raw


def _graft(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    other = dice.choice(others)
    start = dice.randrange(len(other)) if other else 0
    data[place : place + dice.randint(0, 20)] = other[start : start + dice.randint(1, 80)]


def _opcode(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    data[place] = dice.choice(b"()tRQhqrjKMJX}]ubeas.0123Nc\x85\x86\x87\x81\x88\x89\x8a\x8c\x93\x94")
