"""The 8-bit floats of torch to float32, exactly, on packed bytes, without torch or numpy.

Formats: OCP 8-bit floating point (``e4m3fn``, ``e5m2``), OCP microscaling (``e8m0fnu``), and the two of Graphcore and AMD
(``fnuz``: no infinity, one NaN where others have -0). Not-a-numbers get the bits that torch 2.15 gives them.
"""

from __future__ import annotations

from viscy_compat.named import NamedTuple

_NAN = 0x7F800001
"""The bits that torch 2.15 gives to each of their not-a-numbers."""


class _Float8(NamedTuple):
    """Bits of the fraction, the exponent's bias, and which patterns are no numbers."""

    fraction: int
    bias: int
    special: str


_FLOAT8_FORMATS = {
    "float8_e4m3fn": _Float8(fraction=3, bias=7, special="the last"),
    "float8_e4m3fnuz": _Float8(fraction=3, bias=8, special="minus zero"),
    "float8_e5m2": _Float8(fraction=2, bias=15, special="the last exponent"),
    "float8_e5m2fnuz": _Float8(fraction=2, bias=16, special="minus zero"),
}

_PLANES: dict[str, tuple[bytes, ...]] = {}
"""Four tables of bytes for each format, once a file has needed them."""


def float32_of_float8(data: bytes, dtype: str) -> bytes:
    """Return float32 bytes, little-endian.

    Examples
    --------
    >>> import struct
    >>> struct.unpack("<3f", float32_of_float8(bytes.fromhex("38c47e"), "float8_e4m3fn"))
    (1.0, -3.0, 448.0)
    """
    if dtype not in _PLANES:
        # 256 values: a table of each byte of the result turns a file with four calls of translate
        words = [float8_bits(byte, dtype).to_bytes(4, "little") for byte in range(256)]
        _PLANES[dtype] = tuple(bytes(word[plane] for word in words) for plane in range(4))
    wide = bytearray(4 * len(data))
    for plane, table in enumerate(_PLANES[dtype]):
        wide[plane::4] = data.translate(table)
    return bytes(wide)


def float8_bits(byte: int, dtype: str) -> int:
    """Return the float32 bit pattern of an 8-bit one.

    Examples
    --------
    >>> hex(float8_bits(0x38, "float8_e4m3fn")), hex(float8_bits(0x80, "float8_e8m0fnu"))
    ('0x3f800000', '0x40000000')
    """
    if dtype == "float8_e8m0fnu":
        # only an exponent, of bias 127 like that of float32; 0 is 2^-127, which is subnormal there
        return _NAN if byte == 255 else byte << 23 or 1 << 22
    form = _FLOAT8_FORMATS[dtype]
    sign, rest = byte >> 7 << 31, byte & 127
    exponent, fraction = rest >> form.fraction, rest & (1 << form.fraction) - 1
    if form.special == "minus zero" and byte == 128:
        return _NAN
    if form.special == "the last" and rest == 127:
        return sign | 255 << 23 | fraction << 20
    if form.special == "the last exponent" and exponent == 31:
        return sign | 255 << 23 | fraction << 21 | (1 << 22 if fraction else 0)
    return sign | _finite(exponent, fraction, form)


def _finite(exponent: int, fraction: int, form: _Float8) -> int:
    """Return the bits of a number without its sign; subnormal ones become normal, as float32 reaches further down."""
    if not exponent:
        if not fraction:
            return 0
        shift = form.fraction + 1 - fraction.bit_length()
        exponent, fraction = 1 - shift, fraction << shift & (1 << form.fraction) - 1
    return exponent - form.bias + 127 << 23 | fraction << 23 - form.fraction
