"""Arrays of bytes that are decoded many at once."""

from __future__ import annotations

import pytest
from gob import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import byte_arrays
from imageserver.gob.byte_arrays import escape, read_byte_arrays, read_list

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
        b"\1\1\1\0\x80\1\1\1",  # as if there were two
    ],
)
def test_malformed(piece) -> None:
    """What is not an array of bytes of that length is refused, among others, too."""
    for pieces in ([piece], [b"\1\1\1", piece], [piece, b"\1\1\1", b"\xff\xff\1\1"]):
        with pytest.raises(GobDecodeError):
            read_byte_arrays(pieces, 3)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=300) | st.permutations(range(256)).map(bytes))
def test_escape(array) -> None:
    """Any array is encoded as its numbers are, one by one."""
    assert escape(array) == encode(array)


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_at_once(monkeypatch, count) -> None:
    """Arrays in the usual form are not decoded number by number."""
    arrays = [bytes((n & 0xFF, 0xFF, n >> 8)) for n in range(count)]
    monkeypatch.delattr(byte_arrays, "read_uint")
    assert read_byte_arrays([encode(array) for array in arrays], 3) == arrays


HASHES = gob.Slice(gob.ByteArray(3))


def list_of(*arrays: bytes, count: int | None = None) -> bytes:
    """A stream with a list of arrays of three bytes, which are given encoded."""
    definitions = wire.slice_(64, 65), wire.array(65, wire.UINT, 3)
    number = len(arrays) if count is None else count
    elements = b"".join(b"\3" + array for array in arrays)
    last = wire.value(64, b"\0", wire.uint(number), elements)
    return wire.stream(*definitions, last=last)


@settings(derandomize=True, deadline=None)
@given(ARRAYS)
def test_lists(arrays) -> None:
    """A list of arrays is received as it was sent."""
    data = list_of(*map(encode, arrays))
    assert gob.decode(data, HASHES).value == tuple(arrays)


def test_long_list() -> None:
    """A list may be longer than what is looked at in one go."""
    arrays = [bytes((n & 0xFF, n >> 8, 0xFF)) for n in range(10_000)]
    data = list_of(*map(encode, arrays))
    assert gob.decode(data, HASHES).value == tuple(arrays)


@pytest.mark.parametrize("behind", [b"", b"\0", b"\3\1\1\1", b"\3\xff\xff\1\1"])
@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 5000])
def test_list_at_once(count, behind) -> None:
    """Lists in the usual form are not decoded array by array."""
    arrays = [bytes((n & 0xFF, 0xFF, n >> 8)) for n in range(count)]
    data = b"in front" + b"".join(b"\3" + encode(array) for array in arrays) + behind
    start, end = len(b"in front"), len(data) - len(behind)
    assert read_list(data, start, count, 3) == (arrays, end)
    assert read_list(data[: end - 1], start, count, 3) is None or not count


@gob.struct("Holder")
class Holder:
    """A list of arrays, and other numbers behind it."""

    hashes: tuple[bytes, ...] = gob.field("Hashes", HASHES)
    numbers: tuple[int, ...] = gob.field("Numbers", gob.Slice(gob.UINT))


@pytest.mark.parametrize("count", [1, 511, 512, 513])
def test_end_of_list(count) -> None:
    """What follows a list is not taken for more of it, though it may look so."""
    arrays = [bytes((n & 0x7F, 0x80 + n % 0x80, 0xFF)) for n in range(count)]
    type_ = wire.struct(64, Hashes=65, X=wire.INT, Y=wire.INT, Numbers=67)
    inner = (
        wire.slice_(65, 66),
        wire.array(66, wire.UINT, 3),
        wire.slice_(67, wire.UINT),
    )
    hashes = b"".join(b"\3" + encode(array) for array in arrays)
    behind = b"\3\3\1\2\3\0"
    last = wire.value(64, b"\1", wire.uint(count), hashes, behind)
    received = gob.decode(wire.stream(type_, *inner, last=last), Holder).value
    assert received == Holder(tuple(arrays), (1, 2, 3))


def test_unusual_list() -> None:
    """Numbers in a list need not be in their shortest form."""
    data = list_of(b"\1\2\3", b"\xff\5\xfe\0\x85\xff\xff")
    assert gob.decode(data, HASHES).value == (b"\1\2\3", b"\5\x85\xff")


def test_long_arrays() -> None:
    """Arrays may be so long that their length takes more than a byte."""
    type_ = gob.Slice(gob.ByteArray(200))
    arrays = (bytes(200), b"\xff" * 200)
    assert gob.decode(gob.Encoder().encode(arrays, type_), type_).value == arrays


@pytest.mark.parametrize(
    "data",
    [
        list_of(b"\1\2\3", count=2),
        list_of(b"\1\2\3", b"\1\2"),
        list_of(b"\1\2\3\4"),
        list_of(b"\xff\5\x85\1\1"),
        list_of(b"\1\2\xff", count=1),
        list_of(count=1 << 40),
    ],
)
def test_malformed_list(data) -> None:
    """What is not a list of arrays is refused."""
    with pytest.raises(GobDecodeError):
        gob.decode(data, HASHES)


def test_cut_list() -> None:
    """A list that ends too early is refused, wherever that is."""
    whole = wire.uint(2) + b"".join(b"\3" + encode(a) for a in (b"\x81" * 3, bytes(3)))
    definitions = wire.slice_(64, 65), wire.array(65, wire.UINT, 3)
    for end in range(1, len(whole)):
        data = wire.stream(*definitions, last=wire.value(64, b"\0", whole[:end]))
        with pytest.raises(GobDecodeError):
            gob.decode(data, HASHES)


def test_too_long_list() -> None:
    """The limit of elements holds for lists of arrays."""
    data = list_of(*[b"\1\2\3"] * 5)
    assert len(gob.decode(data, HASHES, gob.Limits(elements=5)).value) == 5
    with pytest.raises(GobDecodeError, match="too many elements"):
        gob.decode(data, HASHES, gob.Limits(elements=4))
