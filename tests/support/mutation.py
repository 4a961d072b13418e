"""Random damage to files: flipped bits, insertions and deletions, numbers at their edges, parts of other files."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


def mutated(content: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """A file with one to six things changed."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        if not data:
            return b""
        place = dice.randrange(len(data))
        change = dice.choice((_flip, _cut, _insert, _repeat, _number, _graft, _opcode))
        change(data, place, others, dice)
    return bytes(data)


def _flip(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    data[place] ^= 1 << dice.randrange(8)


def _cut(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    del data[place : place + dice.choice((1, 2, 4, 30, 10**6))]


def _insert(data: bytearray, place: int, others: Sequence[bytes], dice: random.Random) -> None:
    data[place:place] = dice.randbytes(dice.choice((1, 2, 3, 8, 30)))


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


VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    10**4000,
    float("inf"),
    "",
    "x",
    "../x",
    "\x1b[2J",
    "\ud800",
    [],
    {},
    [None],
)
"""What may stand in a document in place of anything."""


def mutated_json(text: bytes, dice: random.Random) -> bytes:
    """A document with one to four of its values replaced, removed, repeated or moved; one that is none stays."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for _ in range(dice.randint(1, 4)):
        holder, key = _place_in(document, dice)
        if holder is None:
            return json.dumps(_value(dice)).encode()
        _change_in(holder, key, document, dice)
    return json.dumps(document).encode()


def _place_in(document: Any, dice: random.Random) -> tuple[Any, Any]:
    """A container somewhere in a document, and one of its keys; None where it is no container or an empty one."""
    holder, key, node = None, None, document
    while isinstance(node, dict | list) and node and (holder is None or dice.random() < 0.8):
        holder, key = node, dice.choice(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
        node = holder[key]
    return holder, key


def _change_in(holder: Any, key: Any, document: Any, dice: random.Random) -> None:
    change = dice.randrange(4)
    if change == 0:
        holder[key] = _value(dice)
    elif change == 1:
        del holder[key]
    elif change == 2:
        other, place = _place_in(document, dice)
        holder[key] = json.loads(json.dumps(other[place] if other is not None else None))
    elif isinstance(holder, dict):
        holder[dice.choice(("", "a", "op", "tensors", str(key) + " ", "\ud800"))] = deepcopy(holder[key])
    else:
        holder.insert(key, deepcopy(holder[key]))


def _value(dice: random.Random) -> Any:
    """A value of its own: a list that stood in two places could come to hold itself."""
    return deepcopy(dice.choice(VALUES))
