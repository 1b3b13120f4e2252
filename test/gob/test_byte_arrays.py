"""Arrays of bytes that are decoded many at once."""

from __future__ import annotations

import pytest
from gob import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver.errors import GobDecodeError
from imageserver.gob.byte_arrays import read_byte_arrays

BYTES = st.sampled_from([0, 5, 0x7F, 0x80, 0x85, 0xFE, 0xFF]) | st.integers(0, 0xFF)
ARRAYS = st.lists(st.lists(BYTES, min_size=3, max_size=3).map(bytes), max_size=5)


def encode(array: bytes) -> bytes:
    """An array as it travels, without its count."""
    return b"".join(map(wire.uint, array))


@settings(derandomize=True, deadline=None)
@given(ARRAYS)
def test_round_trip(arrays) -> None:
    """Any arrays come back."""
    assert read_byte_arrays([encode(array) for array in arrays], 3) == arrays


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(
    st.lists(
        st.lists(
            st.sampled_from([0, 1, 0x7F, 0x80, 0x85, 0xFC, 0xFE, 0xFF]), max_size=7
        ).map(bytes),
        max_size=4,
    )
)
def test_any_pieces(pieces) -> None:
    """Each piece is decoded as if it were alone, or all are refused."""
    expected = []
    for piece in pieces:
        try:
            expected += read_byte_arrays([piece], 3)
        except GobDecodeError:
            with pytest.raises(GobDecodeError):
                read_byte_arrays(pieces, 3)
            return
    assert read_byte_arrays(pieces, 3) == expected


@pytest.mark.parametrize(
    ("piece", "array"),
    [
        (b"\0\1\x7f", b"\0\1\x7f"),
        (b"\xff\x80\xff\xff\0", b"\x80\xff\0"),
        (b"\xff\xff\xff\xff\xff\xff", b"\xff\xff\xff"),
        (b"\xff\5\1\1", b"\5\1\1"),  # not in the shortest form
        (b"\xfe\0\x85\1\1", b"\x85\1\1"),
    ],
)
def test_one(piece, array) -> None:
    """One array, whatever the form of its numbers."""
    assert read_byte_arrays([piece], 3) == [array]


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"\1\1",
        b"\1\1\1\1",
        b"\xff\xff\xff\xff\xff",
        b"\xff\5\x85\1",
        b"\x85\xff\5\1",
        b"\1\1\xff",
        b"\1\1\xfe\1\0",
        b"\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_malformed(piece) -> None:
    """What is not an array of bytes of that length is refused, among others, too."""
    for pieces in ([piece], [b"\1\1\1", piece], [piece, b"\1\1\1", b"\xff\xff\1\1"]):
        with pytest.raises(GobDecodeError):
            read_byte_arrays(pieces, 3)
