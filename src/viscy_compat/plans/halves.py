"""float16 and bfloat16 to float32, exactly, on packed little-endian bytes, without torch or numpy.

Bit patterns: IEEE 754. A NaN keeps its payload and becomes quiet, as processors and torch have it.
"""

from __future__ import annotations

from array import array
from sys import byteorder


def float32_of_bfloat16(data: bytes) -> bytes:
    """Return float32 bytes: those of a bfloat16 are their upper half.

    Examples
    --------
    >>> import struct
    >>> struct.unpack("<2f", float32_of_bfloat16(bytes.fromhex("803f20c0")))
    (1.0, -2.5)
    """
    wide = bytearray(2 * len(data))
    wide[2::4] = data[0::2]
    wide[3::4] = data[1::2]
    return bytes(wide)


def float32_of_float16(data: bytes) -> bytes:
    """Return float32 bytes.

    Examples
    --------
    >>> import struct
    >>> struct.unpack("<3f", float32_of_float16(struct.pack("<3e", 1.0, -2.5, 6e-8)))
    (1.0, -2.5, 5.960464477539063e-08)
    """
    low, high = data[0::2], data[1::2]
    # whole files as one integer: an `or` of two numbers of megabytes costs less than a loop over their bytes
    third = int.from_bytes(low.translate(_LOW_THIRD), "little") | int.from_bytes(high.translate(_HIGH_THIRD), "little")
    wide = bytearray(2 * len(data))
    wide[1::4] = low.translate(_SECOND)
    wide[2::4] = third.to_bytes(len(low), "little")
    wide[3::4] = high.translate(_FOURTH)
    _mend(wide, low, high)
    return bytes(wide)


def _mend(wide: bytearray, low: bytes, high: bytes) -> None:
    """Write the elements that the byte tables cannot tell: subnormals, zeros, infinities and NaNs."""
    kinds = high.translate(_KINDS)
    special = len(kinds) - kinds.count(0)
    if special > len(kinds) // 8:
        # 65,536 entries, made when a file with many special values first needs them
        if not _TABLES:
            _TABLES.append(array("I", map(_bits, range(1 << 16))))
        halves = bytearray(2 * len(low))
        # array("H") has the byte order of the machine
        halves[0::2], halves[1::2] = (low, high) if byteorder == "little" else (high, low)
        elements = array("I", map(_TABLES[0].__getitem__, array("H", bytes(halves))))
        if byteorder == "big":
            elements.byteswap()
        wide[:] = elements.tobytes()
        return
    place = kinds.find(1)
    while place >= 0:
        wide[4 * place : 4 * place + 4] = _bits(low[place] | high[place] << 8).to_bytes(4, "little")
        place = kinds.find(1, place + 1)


def _bits(half: int) -> int:
    """Return the float32 bit pattern of a float16 bit pattern."""
    sign, exponent, fraction = half >> 15 << 31, half >> 10 & 31, half & 1023
    if exponent == 31:
        return sign | 255 << 23 | fraction << 13 | (1 << 22 if fraction else 0)
    if exponent:
        return sign | exponent + 112 << 23 | fraction << 13
    if not fraction:
        return sign
    # a subnormal half is a normal float32: its highest bit becomes the implied one
    shift = 11 - fraction.bit_length()
    return sign | 113 - shift << 23 | (fraction << shift & 1023) << 13


_TABLES: list[array[int]] = []
"""The float32 of every float16, once a file has needed it."""


# A float32 of a normal float16: byte 1 holds the lowest 3 bits of the fraction, byte 2 the other 7 and the lowest bit
# of the exponent, byte 3 the sign and the rest of the exponent.
_SECOND = bytes((low & 7) << 5 for low in range(256))
_LOW_THIRD = bytes(low >> 3 for low in range(256))
_HIGH_THIRD = bytes(((high >> 2 & 31) + 112 & 1) << 7 | (high & 3) << 5 for high in range(256))
_FOURTH = bytes((high & 128) | ((high >> 2 & 31) + 112) >> 1 for high in range(256))
_KINDS = bytes((high >> 2 & 31) in (0, 31) for high in range(256))
"""1 where the exponent is all zeros or all ones: no normal number."""
