"""The CRC-32 of bytes follows from those of its parts."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.rewrite.checksum import joined_crc


@given(st.lists(st.binary(max_size=3000)))
def test_the_crc_of_the_whole_is_that_of_zlib(parts: list[bytes]) -> None:
    assert joined_crc([(crc32(part), len(part)) for part in parts]) == crc32(b"".join(parts))


@given(st.integers(0, 1 << 32), st.binary(max_size=20))
def test_lengths_beyond_memory_are_as_those_within(zeros: int, end: bytes) -> None:
    """A length that is made of two parts gives the same as the sum of both."""
    halves = [(crc32(b"a"), 1), (0, zeros // 2), (0, zeros - zeros // 2), (crc32(end), len(end))]
    assert joined_crc(halves) == joined_crc([(crc32(b"a"), 1), (0, zeros), (crc32(end), len(end))])
