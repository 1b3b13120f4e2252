"""What people read when something is wrong; and the bounds where it begins to be."""

from __future__ import annotations

import random

import pytest
from gob import wire
from gob.go_types import Point
from gob.test_compatibility import Receiver, receive

from imageserver import gob
from imageserver.errors import GobDecodeError, GobTypeError
from imageserver.gob import Time
from imageserver.gob.byte_arrays import escape, read_byte_arrays, read_list

UNSENDABLE = {
    "time out of range: nanoseconds": Time(0, 10**9).marshal,
    "this zone offset cannot be sent": Time(0, 0, -60).marshal,
    "time out of range: .+": Time(1 << 70).marshal,
    "cannot encode Point: .+": lambda: gob.Encoder().encode(Point(x="a")),
}


@pytest.mark.parametrize("text", UNSENDABLE)
def test_unsendable(text) -> None:
    """The sender is told what cannot be sent."""
    with pytest.raises(GobTypeError, match=f"^{text}$"):
        UNSENDABLE[text]()


TIME = Time(0).marshal()
MALFORMED = {
    "malformed time": [
        lambda: Time.unmarshal(b""),
        lambda: Time.unmarshal(TIME[:-1]),
        lambda: Time.unmarshal(b"\3" + TIME[1:]),
    ],
    "malformed time: nanoseconds out of range": [
        lambda: Time.unmarshal(TIME[:9] + b"\xff" * 4 + TIME[13:])
    ],
    "malformed time: zone offset out of range": [
        lambda: Time.unmarshal(b"\2" + TIME[1:] + b"\1")
    ],
    "malformed array of bytes": [
        lambda: read_byte_arrays([b"\1"], 2),
        lambda: read_byte_arrays([b"\1\xfe\1\0"], 2),
    ],
    "malformed array of bytes: too long": [lambda: read_byte_arrays([b"\1\1\1"], 2)],
}


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed(text) -> None:
    """The receiver is told what is malformed."""
    for decode in MALFORMED[text]:
        with pytest.raises(GobDecodeError, match=f"^{text}$"):
            decode()


ARRAY = wire.array(80, wire.UINT, 2)


def skip(item: bytes, definition: bytes = ARRAY) -> Receiver:
    """Receive a struct with a field that the receiver does not know."""
    holder = wire.struct(64, Unknown=80, Number=wire.INT)
    last = wire.value(64, b"\1", item, b"\1\2\0")
    return gob.decode(wire.stream(holder, definition, last=last), Receiver).value


TEXTS = wire.array(80, wire.STRING, 2)
UNNAMED = wire.struct(81, V=wire.INT)
NAMED = wire.definition(82, 1, b"\1" + wire.sint(wire.INT), name="Name")
PAIR = wire.definition(83, 0, b"\1" + wire.sint(wire.INT) + b"\1\4", name="Pair")
REFUSED = {
    "wrong type (String) for received 'int'": ("Text", wire.INT, b"\2"),
    "wrong type (Int) for received 'string'": ("Number", wire.STRING, b"\1a"),
    "wrong type (Int) for received 'type 80'": ("Number", 80, b"\2\1\1", ARRAY),
    "wrong type (Map) for received 'type 81'": ("Map", 81, b"\0", UNNAMED),
    "wrong type (Map) for received 'Name'": ("Map", 82, b"\0", NAMED),
    "wrong type (Map) for received 'Pair'": ("Map", 83, b"\0", PAIR),
    "wrong type (Int) for received 'interface'": ("Number", wire.INTERFACE, b"\0"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_wrong_type(text) -> None:
    """The receiver is told what it wanted, what came, and where."""
    field = REFUSED[text][0]
    with pytest.raises(GobDecodeError) as caught:
        receive(*REFUSED[text])
    assert str(caught.value) == f"{text} in field Receiver.{field}"


def test_long_names() -> None:
    """Names that a peer chooses are cut where they would fill the log."""
    holder = wire.struct(64, **{"N" * 100: 99, "Number": wire.INT})
    data = wire.stream(holder, last=wire.value(64, b"\0"))
    expected = f"^undefined type: 99 in field Receiver.{'N' * 64}$"
    with pytest.raises(GobDecodeError, match=expected):
        gob.decode(data, Receiver)


@pytest.mark.parametrize(
    ("definition", "item"),
    [
        (ARRAY, b"\3\1\1\1"),
        (TEXTS, b"\1\1a"),
        (wire.array(80, wire.INTERFACE, 2), b"\1\0"),
    ],
)
def test_length_of_skipped_arrays(definition, item) -> None:
    """Arrays that nobody wants have to have their length all the same."""
    with pytest.raises(GobDecodeError, match="elements in an array of 2"):
        skip(item, definition)


def test_length_of_arrays() -> None:
    """So have those that are wanted."""
    with pytest.raises(GobDecodeError, match=r"^2 elements in an array of 3$"):
        receive("Hash", 80, b"\2\1\1", wire.array(80, wire.UINT, 3))
    for item in (b"\1\1a", b"\3\1a\1b\1c"):
        data = wire.stream(TEXTS, last=wire.value(80, b"\0", item))
        for type_ in (gob.Array(gob.STRING, 2), None):
            with pytest.raises(GobDecodeError, match=r"elements in an array of 2$"):
                gob.decode(data, type_)


@pytest.mark.parametrize("first", [0x80, 0x81, 0xF7])
def test_skipped_integer_is_malformed(first) -> None:
    """No integer has more than eight bytes."""
    with pytest.raises(GobDecodeError, match=r"^malformed integer$"):
        skip(bytes([2, first, 1]))


@pytest.mark.parametrize("size", [1, 8])
def test_skipped_integer(size) -> None:
    """Integers that nobody wants may have any length from one byte to eight."""
    item = bytes([2, 0x100 - size]) + b"\x81" * size + b"\x7f"
    assert skip(item) == Receiver(number=1)


def test_skipped_integer_is_truncated() -> None:
    """Integers that nobody wants have to be there."""
    holder = wire.struct(64, Number=wire.INT, Unknown=80)
    data = wire.stream(holder, ARRAY, last=wire.value(64, b"\2\2\1\xf8\1"))
    with pytest.raises(GobDecodeError, match=r"^truncated integer$"):
        gob.decode(data, Receiver)


def test_unusual_bytes() -> None:
    """Bytes of an array may be written longer than necessary, zero included."""
    item = b"\3\xff\0\xfe\0\x85\xff\xff"
    found = receive("Hash", 80, item, wire.array(80, wire.UINT, 3))
    assert found.hash_ == b"\0\x85\xff"


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 1300])
def test_lists_in_blocks(count) -> None:
    """Long lists are read block by block, and what is behind them is left."""
    numbers = random.Random(count)
    arrays = [numbers.randbytes(20) for _ in range(count)]
    data = b"".join([b"\x14" + escape(array) for array in arrays])
    found = read_list(b"front" + data + b"behind", 5, count, 20)
    assert found == (arrays, 5 + len(data))


@pytest.mark.parametrize("place", [0, 600, 1299])
def test_unusual_lists(place) -> None:
    """A list with an array of another length or form is not read in blocks."""
    usual = b"\2\1\1"
    for unusual in (b"\3\1\1", b"\2\xff\1\1", b"\2\x85\1", b"\2\1"):
        data = usual * place + unusual + usual * (1299 - place)
        assert read_list(data, 0, 1300, 2) is None
