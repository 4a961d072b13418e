"""Streams of bytes are the same where their bytes are, whatever the pieces; what plans make of tensors is in test_write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viscy_compat.plans.streams import Pieces, same_bytes


@given(st.lists(st.binary(max_size=4)), st.lists(st.binary(max_size=4)))
def test_streams_are_equal_where_their_bytes_are_whatever_the_pieces(mine: list[bytes], theirs: list[bytes]) -> None:
    assert same_bytes(iter(mine), iter(theirs)) is (b"".join(mine) == b"".join(theirs))
    whole = b"".join(mine)
    assert same_bytes(iter(mine), (whole[place : place + 1] for place in range(len(whole))))


def test_an_empty_piece_is_not_the_end() -> None:
    assert not same_bytes(iter([b"", b"ab"]), iter([b"", b"cd"]))
    assert same_bytes(iter([b"ab", b"", b"c"]), iter([b"", b"abc"]))


def test_streams_are_the_same_however_they_are_cut() -> None:
    whole = [b"abcdef"]
    for other in ([b"a", b"bcde", b"f"], [b"abc", b"def"], [b"abcdef"]):
        assert same_bytes(iter(whole), iter(other))
        assert same_bytes(iter(other), iter(whole))
    for other in ([b"abc", b"deg"], [b"abcde"], [b"abcdef", b"g"], []):
        assert not same_bytes(iter(whole), iter(other))
        assert not same_bytes(iter(other), iter(whole))
    assert same_bytes(iter(()), iter(()))


def test_pieces_are_taken_in_lengths_of_the_takers_choice() -> None:
    stream = Pieces(iter([b"abc", b"de"]))
    assert [b"".join(stream.take(length)) for length in (2, 0, 3)] == [b"ab", b"", b"cde"]
    with pytest.raises(RuntimeError):
        list(stream.take(1))
