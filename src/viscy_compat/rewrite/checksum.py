"""CRC-32 of bytes that were read in parts: those of the parts give that of the whole, without reading again.

A CRC is a polynomial over GF(2), modulo that of ISO 3309 (as zlib has it, the lowest bit for the highest power):
appending bytes multiplies it by a power of x, and adds.
"""

from __future__ import annotations

from viscy_compat.annotations import Iterable

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_BYTE = _ONE >> 8
"""The eighth power of x: what one more byte multiplies by."""


def joined_crc(parts: Iterable[tuple[int, int]]) -> int:
    """Return the CRC-32 of bytes, given that of each part and its length, in order.

    Examples
    --------
    >>> from zlib import crc32
    >>> joined_crc([(crc32(b"ab"), 2), (crc32(b"c"), 1)]) == crc32(b"abc")
    True
    """
    whole, shift, shifted_by = 0, _ONE, 0
    for crc, length in parts:
        if whole and length != shifted_by:  # nearly all parts have the same length
            shift, shifted_by = _power(_BYTE, length), length
        whole = _product(shift, whole) ^ crc if whole else crc
    return whole


def _power(base: int, exponent: int) -> int:
    result = _ONE
    while exponent:
        if exponent & 1:
            result = _product(base, result)
        base = _product(base, base)
        exponent >>= 1
    return result


def _product(first: int, second: int) -> int:
    """Multiply two polynomials, modulo that of the CRC."""
    result = 0
    while first:
        if first & _ONE:
            result ^= second
        first = (first << 1) & 0xFFFFFFFF
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return result
