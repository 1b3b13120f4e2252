"""What a sender may do, and what a receiver makes of types that differ from its own."""

from __future__ import annotations

import itertools

import pytest
from gob import wire
from gob.go_types import ANY, Inner, Maps, Outer, Point, Rec

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import INT, STRING, UINT

POINT = wire.struct(64, X=wire.INT, Y=wire.INT)
POINT_VALUE = wire.value(64, bytes.fromhex("01 2c 01 42 00"))
POINT_NAME = wire.string("main.Point")


@gob.struct("Receiver")
class Receiver:
    """What most of these tests receive."""

    number: int = gob.field("Number", INT)
    small: int = gob.field("Small", gob.INT32)
    byte: int = gob.field("Byte", gob.UINT8)
    text: str = gob.field("Text", STRING)
    map: dict[str, int] | None = gob.field("Map", gob.Map(STRING, INT))
    hash_: bytes = gob.field("Hash", gob.ByteArray(3))
    point: Point = gob.field("Point", gob.Struct(Point))


def receive(field: str, type_id: int, item: bytes, *definitions: bytes) -> Receiver:
    """Receive a struct with one field."""
    holder = wire.struct(64, **{field: type_id})
    last = wire.value(64, b"\1", item, b"\0")
    return gob.decode(wire.stream(holder, *definitions, last=last), Receiver).value


SKIPPED = {
    "bool": (wire.BOOL, b"\1"),
    "int": (wire.INT, b"\xfe\1\0"),
    "uint": (wire.UINT, b"\x7f"),
    "float": (wire.FLOAT, b"\xfe\x31\x40"),
    "bytes": (wire.BYTES, b"\2ab"),
    "string": (wire.STRING, b"\2ab"),
    "complex": (wire.COMPLEX, b"\1\xff\x80"),
    "nil interface": (wire.INTERFACE, b"\0"),
    "interface": (wire.INTERFACE, b"\3int\4\2\0\x0a"),
    "array": (80, b"\2\1\xff\x80"),
    "slice": (81, b"\2\1a\0"),
    "struct": (82, b"\1\5\0"),
    "map": (83, b"\1\1k\1\5\0"),
    "time": (84, b"\2xy"),
    "interfaces": (85, b"\2\0\3int\4\2\0\x0a"),
    "recursion": (86, b"\2\1\0\0"),
    "map of interfaces": (87, b"\1\1k\3int\4\2\0\x0a"),
    "numbers": (88, b"\3\1\xfe\1\0\7"),
}
SKIPPED_TYPES = (
    wire.array(80, wire.UINT, 2),
    wire.slice_(81, wire.STRING),
    wire.struct(82, V=wire.INT),
    wire.map_(83, wire.STRING, 82),
    wire.opaque(84),
    wire.slice_(85, wire.INTERFACE),
    wire.slice_(86, 86),
    wire.map_(87, wire.STRING, wire.INTERFACE),
    wire.slice_(88, wire.INT),
)


@pytest.mark.parametrize("name", SKIPPED)
def test_unknown_field_is_skipped(name) -> None:
    """A field that the receiver does not have is passed over, whatever it holds."""
    type_id, item = SKIPPED[name]
    holder = wire.struct(64, Number=wire.INT, Unknown=type_id, Text=wire.STRING)
    last = wire.value(64, b"\1\2\1", item, b"\1", wire.string("end"), b"\0")
    data = wire.stream(holder, *SKIPPED_TYPES, last=last)
    assert gob.decode(data, Receiver).value == Receiver(number=1, text="end")


def test_definitions_in_skipped_interfaces_are_recorded() -> None:
    """A type that was defined inside a skipped value can be used later."""
    decoder = gob.Decoder()
    holder = wire.struct(64, Unknown=wire.INTERFACE, Number=wire.INT)
    definition = wire.struct(70, X=wire.INT, Y=wire.INT)
    first = wire.sint(64) + b"\1" + POINT_NAME + definition
    second = wire.sint(70) + b"\3\1\2\0" + b"\1\x0a\0"
    assert decoder.feed(holder, Receiver) is gob.MORE
    assert decoder.feed(first, Receiver) is gob.MORE
    assert decoder.feed(second, Receiver) == Receiver(number=5)
    assert decoder.feed(wire.sint(70) + b"\1\2\0", Point) == Point(1)


@pytest.mark.parametrize("name", ["", "Time", "Other"])
def test_values_that_marshal_themselves(name) -> None:
    """Without a declared type they are what they marshalled, and the type's name."""
    data = wire.stream(wire.opaque(64, name=name), last=wire.value(64, b"\0\2ab"))
    assert gob.decode(data).value == gob.Opaque(name, b"ab")


def test_missing_fields_are_zero() -> None:
    """What the sender does not know has its zero value."""
    received = receive("Number", wire.INT, b"\2")
    assert received == Receiver(number=1)
    assert received.map is None
    assert received.hash_ == bytes(3)
    assert received.point == Point()


@pytest.mark.parametrize("type_", [Point, gob.Slice(gob.Struct(Point))], ids=str)
def test_no_field_in_common(type_) -> None:
    """Two structs with fields, but none in common, are a mistake."""
    other = wire.struct(64, A=wire.INT, x=wire.INT)
    data = wire.stream(other, wire.slice_(65, 64), last=wire.value(64, b"\0"))
    if isinstance(type_, gob.Slice):
        data = wire.stream(other, wire.slice_(65, 64), last=wire.value(65, b"\0\1\0"))
    with pytest.raises(GobDecodeError, match="type mismatch: no fields matched"):
        gob.decode(data, type_)


def test_no_fields_at_all() -> None:
    """A struct without fields agrees with any other, on either side."""

    @gob.struct("Nothing")
    class Nothing:
        """No fields."""

    data = wire.stream(wire.struct(64), last=wire.value(64, b"\0"))
    assert gob.decode(data, Receiver).value == Receiver()
    data = wire.stream(POINT, last=POINT_VALUE)
    assert gob.decode(data, Nothing).value == Nothing()


KINDS: dict[str, tuple[gob.Type, int, bytes]] = {
    "bool": (gob.BOOL, wire.BOOL, b"\1"),
    "int": (INT, wire.INT, b"\2"),
    "int32": (gob.INT32, wire.INT, b"\2"),
    "uint": (UINT, wire.UINT, b"\1"),
    "float": (gob.FLOAT, wire.FLOAT, b"\1"),
    "complex": (gob.COMPLEX, wire.COMPLEX, b"\1\1"),
    "string": (STRING, wire.STRING, b"\1a"),
    "byte string": (gob.BYTE_STRING, wire.STRING, b"\1a"),
    "bytes": (gob.BYTES, wire.BYTES, b"\1a"),
    "interface": (ANY, wire.INTERFACE, b"\3int\4\2\0\x0a"),
    "byte array": (gob.ByteArray(2), 80, b"\2\1\2"),
    "numbers": (gob.Array(UINT, 2), 80, b"\2\1\2"),
    "longer byte array": (gob.ByteArray(3), 81, b"\3\1\2\3"),
    "longer array": (gob.Array(INT, 3), 82, b"\3\1\2\3"),
    "slice": (gob.Slice(INT), 83, b"\1\2"),
    "slice of strings": (gob.Slice(STRING), 84, b"\1\1a"),
    "map": (gob.Map(STRING, INT), 85, b"\1\1a\2"),
    "other keys": (gob.Map(INT, INT), 86, b"\1\2\2"),
    "struct": (gob.Struct(Point), 87, b"\1\2\0"),
    "time": (gob.TIME, 88, wire.string(gob.Time(5).marshal())),
}
KIND_TYPES = (
    wire.array(80, wire.UINT, 2),
    wire.array(81, wire.UINT, 3),
    wire.array(82, wire.INT, 3),
    wire.slice_(83, wire.INT),
    wire.slice_(84, wire.STRING),
    wire.map_(85, wire.STRING, wire.INT),
    wire.map_(86, wire.INT, wire.INT),
    wire.struct(87, X=wire.INT, Y=wire.INT),
    wire.opaque(88),
)
COMPATIBLE = [
    {"int", "int32"},
    {"string", "byte string"},
    {"byte array", "numbers"},
]


@pytest.mark.parametrize("sent", KINDS)
def test_kinds(sent) -> None:
    """A kind is received as itself only; also behind pointers."""
    _, type_id, item = KINDS[sent]
    last = wire.value(64, b"\1", item, b"\0")
    data = wire.stream(wire.struct(64, Field=type_id), *KIND_TYPES, last=last)
    for wanted, (type_, _, _) in KINDS.items():

        @gob.struct("Holder")
        class Holder:
            """One field."""

            field: object = gob.field("Field", gob.Pointer(type_))

        if sent == wanted or {sent, wanted} in COMPATIBLE:
            assert isinstance(gob.decode(data, Holder).value, Holder)
        else:
            where = r"wrong type .* in field Holder\.Field"
            with pytest.raises(GobDecodeError, match=where):
                gob.decode(data, Holder)


@pytest.mark.parametrize(
    ("field", "type_id", "lowest", "highest", "number"),
    [
        ("Small", wire.INT, -(1 << 31), (1 << 31) - 1, wire.sint),
        ("Byte", wire.UINT, 0, 255, wire.uint),
        ("Number", wire.INT, -(1 << 63), (1 << 63) - 1, wire.sint),
    ],
)
def test_ranges(field, type_id, lowest, highest, number) -> None:
    """Numbers must fit the receiver's field."""
    attribute = field.lower()
    for good in (lowest, highest):
        received = receive(field, type_id, number(good))
        assert getattr(received, attribute) == good
    if field != "Number":
        for bad in {lowest - 1, highest + 1} - {-1}:
            with pytest.raises(GobDecodeError, match="value out of range"):
                receive(field, type_id, number(bad))


def test_numbers_need_not_be_minimal() -> None:
    """Leading zero bytes are accepted, also in arrays of bytes."""
    assert receive("Number", wire.INT, b"\xfd\0\0\2").number == 1
    three = wire.array(80, wire.UINT, 3)
    received = receive("Hash", 80, b"\3\xff\1\xfe\0\xff\xff\xff", three)
    assert received.hash_ == b"\1\xff\xff"


@pytest.mark.parametrize(
    "item",
    [b"\2\1\1", b"\4\1\1\1\1", b"\3\1\1\xfe\1\0", b"\3\1\1", b"\3\1\1\xff"],
    ids=bytes.hex,
)
def test_malformed_byte_array(item) -> None:
    """Arrays of bytes have their length, and elements up to 255."""
    with pytest.raises(GobDecodeError):
        receive("Hash", 80, item, wire.array(80, wire.UINT, 3))


@pytest.mark.parametrize("first", [0x80, 0xF0, 0xF7])
def test_counts_above_eight(first) -> None:
    """An integer has at most eight bytes."""
    with pytest.raises(GobDecodeError, match="malformed or truncated integer"):
        receive("Number", wire.INT, bytes([first]) + bytes(20))


def test_any_number_but_zero_is_true() -> None:
    """A truth value is a number."""
    assert gob.decode(wire.value(wire.BOOL, b"\0\5"), gob.BOOL).value is True


OMITTED = {
    "zero struct": (Point(), "00"),
    "one field": (Point(y=-1), "02 01 00"),
    "struct in struct": (Outer(), "01 00 02 00 07 03 00 00 00 01 04 00 00 00 00 00"),
    "empty map": (Maps(empty={}), "02 00 00"),
    "nil maps": (Maps(), "00"),
    "zero array": (Receiver(), "06 03 00 00 00 01 00 00"),
    "pointers": (Rec(next=Rec()), "02 00 00"),
    "minus zero": (Outer(f=-0.0), "01 00 02 00 07 03 00 00 00 01 04 00 00 00 00 00"),
}


@pytest.mark.parametrize("name", OMITTED)
def test_omission(name) -> None:
    """Zero fields are left out, but for arrays, structs and maps that are not nil."""
    value, expected = OMITTED[name]
    out = bytearray()
    encoder = gob.Encoder()
    encoder.write_value(out, value, type(value))
    assert out == bytes.fromhex(expected)
    stream = encoder.encode(value)
    assert gob.decode(stream, type(value)).value == value


@pytest.mark.parametrize(
    ("value", "target"),
    [(0, INT), ("", STRING), (False, gob.BOOL), ((), gob.Slice(INT)), (b"", gob.BYTES)],
    ids=str,
)
def test_pointer_to_zero(value, target) -> None:
    """A pointer to a zero scalar is received as nil."""

    @gob.struct("Holder")
    class Holder:
        """A pointer."""

        field: object = gob.field("Field", gob.Pointer(target))

    assert gob.decode(gob.Encoder().encode(Holder(value)), Holder).value == Holder()


@pytest.mark.parametrize("value", [None, {}, {1: 2}])
def test_pointer_to_map(value) -> None:
    """A pointer to a map is nil as the map is; an empty one is not."""

    @gob.struct("MapHolder")
    class MapHolder:
        """A pointer."""

        field: object = gob.field("Field", gob.Pointer(gob.Map(INT, INT)))

    data = gob.Encoder().encode(MapHolder(value))
    assert gob.decode(data, MapHolder).value == MapHolder(value)
    assert gob.decode(data).value == ({} if value is None else {"Field": value})


def test_zero_values_may_be_sent() -> None:
    """What senders should leave out is accepted all the same."""
    holder = wire.struct(
        64, Number=wire.INT, Text=wire.STRING, Map=80, Hash=81, Point=82
    )
    definitions = (
        wire.map_(80, wire.STRING, wire.INT),
        wire.array(81, wire.UINT, 3),
        wire.struct(82, X=wire.INT),
    )
    last = wire.value(64, b"\1\0\1\0\1\0\1\3\0\0\0\1\1\0\0\0")
    received = gob.decode(wire.stream(holder, *definitions, last=last), Receiver)
    assert received.value == Receiver(map={})


def test_order_of_definitions() -> None:
    """Definitions come in any order, and some are never used."""

    @gob.struct("Holder")
    class Holder:
        """A slice of structs."""

        inner: tuple[Inner, ...] = gob.field("L", gob.Slice(gob.Struct(Inner)))

    definitions = [
        wire.struct(64, L=65),
        wire.slice_(65, 66),
        wire.struct(66, A=wire.STRING, B=67),
        wire.slice_(67, wire.STRING),
        wire.map_(99, 100, 101),
    ]
    last = wire.value(64, b"\1\1\1\1a\1\1\1b\0\0")
    for order in itertools.permutations(definitions):
        data = wire.stream(*order, last=last)
        assert gob.decode(data, Holder).value == Holder((Inner("a", ("b",)),))


def test_recursive_types() -> None:
    """A type may contain itself, with declared types, without, and skipped."""
    tree = Rec(1, Rec(2, None, (Rec(3), Rec())), (Rec(4),))
    data = gob.Encoder().encode(tree)
    assert gob.decode(data, Rec).value == tree
    assert gob.decode(data).value == {
        "V": 1,
        "Next": {"V": 2, "Kids": ({"V": 3}, {})},
        "Kids": ({"V": 4},),
    }

    @gob.struct("Root")
    class Root:
        """Only the number."""

        v: int = gob.field("V", INT)

    assert gob.decode(data, Root).value == Root(1)


MALFORMED = {
    "EOF": [b"", b"\0", b"\0" + POINT_VALUE],
    "unexpected EOF": [
        wire.message(POINT),
        b"\5\6\0",
        b"\xff",
        wire.message(POINT) + POINT_VALUE[:-1],
        wire.message(POINT)[:-1],
    ],
    "invalid message length": [
        b"\xf7" + bytes(9),
        b"\x80",
        b"\xf8" + b"\xff" * 8,
        b"\xfc\x01\x00\x00\x01",
    ],
    "duplicate type received": [
        wire.stream(POINT, POINT, last=POINT_VALUE),
        wire.stream(wire.slice_(63, wire.INT), last=b""),
        wire.stream(wire.slice_(2, wire.INT), last=b""),
    ],
    "undefined type: 0": [wire.value(0, b"\0")],
    "undefined type: 9": [wire.value(9, b"\0")],
    "undefined type: 16": [wire.value(16, b"\0")],
    "undefined type: 70": [
        wire.value(70, b"\0"),
        wire.stream(wire.struct(64, A=70), last=wire.value(64, b"\0")),
        wire.stream(wire.slice_(64, 70), last=wire.value(64, b"\0\0")),
    ],
    "bytes behind the value": [
        wire.value(wire.INT, b"\0\2\0"),
        wire.message(POINT, b"\0"),
        wire.stream(POINT, last=wire.value(64, b"\0\0")),
    ],
    "no zero in front": [wire.value(wire.INT, b"\1\2")],
    "no such field": [
        wire.stream(POINT, last=wire.value(64, b"\3\2\0")),
        wire.stream(POINT, last=wire.value(64, b"\1\2" * 3 + b"\0")),
        wire.stream(POINT, last=wire.value(64, b"\xf8" + b"\xff" * 8)),
    ],
    "malformed type definition": [
        wire.message(wire.sint(-64), b"\0"),
        wire.message(wire.sint(-64), b"\x08\0\0"),
        wire.message(wire.sint(-64), b"\2\0\1\0\0"),
        wire.message(wire.sint(-64), b"\2\4\0\0"),
        wire.message(wire.definition(64, 2, b"\1\2" + b"\1\1X\1\4\0" * 2)),
    ],
    "exceeds the message": [wire.value(wire.STRING, b"\0\5abcd")],
    "exceed the message": [
        wire.stream(wire.slice_(64, wire.INT), last=wire.value(64, b"\0\3\2\2")),
    ],
    "3 elements in an array of 2": [
        wire.stream(wire.array(64, wire.INT, 2), last=wire.value(64, b"\0\3\0\0\0")),
    ],
    "unexpected end of a message": [
        wire.value(wire.INT, b"\0"),
        wire.value(wire.INT),
        wire.message(wire.sint(-64), b"\2"),
        wire.stream(POINT, last=wire.value(64, b"\1\2")),
    ],
    "of an interface's type is too long": [
        wire.stream(
            wire.slice_(64, wire.INTERFACE),
            last=wire.value(64, b"\0\1", wire.string("n" * 1025), b"\4\2\0\2"),
        )
    ],
}


@pytest.mark.parametrize(
    ("text", "data"),
    [(text, data) for text, cases in MALFORMED.items() for data in cases],
    ids=lambda case: case[:12].hex() if isinstance(case, bytes) else case,
)
def test_malformed(text, data) -> None:
    """Each fault of a stream is named."""
    with pytest.raises(GobDecodeError, match=f"{text}$"):
        gob.decode(data)


def test_end_behind_definitions() -> None:
    """The end of the stream is no normal end where a value is due."""
    with pytest.raises(GobDecodeError, match=r"^unexpected EOF$"):
        gob.decode(wire.message(POINT), Point)


@pytest.mark.parametrize("size", [0, 1, 2, 8])
def test_length_not_complete(size) -> None:
    """A length that has not arrived in full tells nothing yet."""
    length = b"\xf8" + bytes(6) + b"\1\0"
    assert gob.parse_message_length(length[:size], 1 << 20) is None
    assert gob.parse_message_length(length, 1 << 20) == (256, 9)


def test_after_an_error() -> None:
    """A stream that was malformed once is of no more use."""
    decoder = gob.Decoder()
    with pytest.raises(GobDecodeError, match="undefined type"):
        decoder.feed(wire.sint(70) + b"\0")
    with pytest.raises(GobDecodeError, match="given up"):
        decoder.feed(wire.sint(wire.INT) + b"\0\2")


def test_interface_of_unknown_name() -> None:
    """A receiver with declared types must know what the interface holds."""
    holder = wire.struct(64, A=wire.INTERFACE)
    last = wire.value(64, b"\1", wire.string("main.Other"), b"\4\2\0\x0a\0")
    data = wire.stream(holder, last=last)
    assert gob.decode(data).value == {"A": gob.InterfaceValue("main.Other", 5)}

    @gob.struct("Holder")
    class Holder:
        """An interface."""

        a: object = gob.field("A", ANY)

    with pytest.raises(GobDecodeError, match=r"name not registered .* 'main\.Other'"):
        gob.decode(data, Holder)


def test_interface_in_keys_and_values() -> None:
    """Maps may have interfaces for keys, for values, and for both."""
    both = wire.stream(
        wire.map_(64, wire.INTERFACE, wire.INTERFACE),
        last=wire.value(64, b"\0\1\3int\4\2\0\x0a\3int\4\2\0\x0c"),
    )
    five, six = gob.InterfaceValue("int", 5), gob.InterfaceValue("int", 6)
    assert gob.decode(both).value == {five: six}
    keys = wire.stream(
        wire.map_(64, wire.INTERFACE, wire.INT),
        last=wire.value(64, b"\0\1\3int\4\2\0\x0a\x0c"),
    )
    assert gob.decode(keys, gob.Map(ANY, INT)).value == {five: 6}


def test_message_may_end_behind_a_name() -> None:
    """An interface value may go on in the next message without any definition."""
    decoder = gob.Decoder()
    assert decoder.feed(wire.slice_(64, wire.INTERFACE)) is gob.MORE
    assert decoder.feed(wire.sint(64) + b"\0\1" + wire.string("int")) is gob.MORE
    assert decoder.feed(b"\4\2\0\x0a") == (gob.InterfaceValue("int", 5),)


@gob.struct("Holder")
class Holder:
    """An interface and a number."""

    a: object = gob.field("A", ANY)
    number: int = gob.field("Number", INT)


POINT_70 = wire.struct(70, X=wire.INT, Y=wire.INT)


def interface(length: int, field: str) -> bytes:
    """A stream with a point of three bytes in an interface, and a number."""
    holder = wire.struct(64, **{field: wire.INTERFACE, "Number": wire.INT})
    item = POINT_NAME + wire.sint(70) + wire.uint(length) + b"\1\2\0"
    return wire.stream(holder, POINT_70, last=wire.value(64, b"\1", item, b"\1\2\0"))


@pytest.mark.parametrize("field", ["A", "Unknown"])
def test_length_of_interface(field) -> None:
    """The length in front of an interface's value is right, even if nobody wants it."""
    assert gob.decode(interface(3, field), Holder).value.number == 1
    for length in (0, 2, 4, 127, 1 << 63):
        for type_ in (Holder, None):
            with pytest.raises(GobDecodeError, match="wrong length of an interface"):
                gob.decode(interface(length, field), type_)


@pytest.mark.parametrize("length", [0, 5, 127])
def test_lengths_of_pieces(length) -> None:
    """Where a value is cut, the length is that of a piece, and tells nothing."""
    decoder = gob.Decoder()
    assert decoder.feed(wire.struct(64, A=wire.INTERFACE, Number=wire.INT)) is gob.MORE
    first = wire.sint(64) + b"\1" + wire.string("main.Holder") + wire.sint(64)
    first += wire.uint(length) + b"\1" + POINT_NAME + POINT_70
    assert decoder.feed(first) is gob.MORE
    value = decoder.feed(wire.sint(70) + b"\3\1\2\0\1\2\0\1\4\0")
    inner = gob.InterfaceValue("main.Point", {"X": 1})
    outer = gob.InterfaceValue("main.Holder", {"A": inner, "Number": 1})
    assert value == {"A": outer, "Number": 2}


def test_more_has_a_name() -> None:
    """The sign for incomplete values can be told in a debugger."""
    assert repr(gob.MORE) == "MORE"
