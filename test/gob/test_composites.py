"""Recorded structs, slices, arrays, maps, pointers, interfaces and times."""

from __future__ import annotations

from typing import Any

import pytest
import recorded
from gob import wire
from gob.go_types import TYPES

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.primitives import read_int
from imageserver.gob.wiretypes import (
    ArrayType,
    FieldType,
    MapType,
    OpaqueType,
    SliceType,
    StructType,
    read_definition,
    write_definition,
)

VECTORS = recorded.load("gob-composites")


def received(value: Any, type_: gob.Type) -> Any:
    """What a receiver sees of a recorded value."""
    expected = recorded.from_notation(value, type_)
    return {} if expected is None and isinstance(type_, gob.Map) else expected


def sent(field: gob.Type, value: Any) -> bool:
    """Whether a field with that value is on the wire."""
    if isinstance(field, gob.Array | gob.ByteArray | gob.Struct):
        return True
    if isinstance(field, gob.Map | gob.Pointer | gob.Interface):
        return value is not None
    return value != field.zero


def untyped(value: Any, type_: gob.Type) -> Any:
    """What a receiver without declared types sees of a value."""
    seen = value
    match type_:
        case gob.Pointer(target=target):
            seen = untyped(value, target)
        case gob.Struct(cls=cls):
            fields = gob.struct_info(cls).fields
            values = [(field, getattr(value, field.attribute)) for field in fields]
            seen = {f.name: untyped(v, f.type) for f, v in values if sent(f.type, v)}
        case gob.Slice(element=element) | gob.Array(element=element):
            seen = tuple(untyped(item, element) for item in value)
        case gob.ByteArray():
            seen = tuple(value)
        case gob.Map(key=key, value=item):
            seen = {untyped(k, key): untyped(v, item) for k, v in value.items()}
        case gob.Interface(registry=registry) if value is not None:
            name = registry.by_class.get(type(value)) or value.name
            content = value.value if isinstance(value, gob.InterfaceValue) else value
            seen = gob.InterfaceValue(name, untyped(content, registry.by_name[name]))
        case gob.TIME:
            seen = gob.Opaque("Time", value.marshal())
    return seen


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_composite(vector, encode_all) -> None:
    """Recorded values decode to what they are; so do ours, with and without types."""
    type_ = TYPES[vector["go_type"]]
    expected = [received(value, type_) for value in vector["values"]]
    data = bytes.fromhex(vector["hex"])
    written = encode_all(expected, type_)
    for stream in (data, written):
        assert recorded.decode_all(stream, type_) == expected
        assert recorded.decode_all(stream) == [untyped(v, type_) for v in expected]


def value_bodies(stream: bytes) -> list[bytes]:
    """What follows the type id in each message that is not a definition."""
    found = []
    for body in wire.messages(stream):
        size = 1 if body[0] < 0x80 else 0x101 - body[0]
        folded = body[0] if size == 1 else int.from_bytes(body[1:size])
        if not folded & 1:
            found.append(body[size:])
    return found


COMPARABLE = [
    vector
    for vector in VECTORS
    # maps have no order, and interface values name ids of types
    if not vector["name"].startswith(("iface-", "slice-iface", "map-uint64-iface"))
    and vector["name"] not in ("map-3", "map-string-slice", "outer-full")
]


@pytest.mark.parametrize("vector", COMPARABLE, ids=lambda vector: vector["name"])
def test_same_bytes(vector, encode_all) -> None:
    """Values without interfaces are written as Go does, but for the type's id."""
    type_ = TYPES[vector["go_type"]]
    data = bytes.fromhex(vector["hex"])
    values = recorded.decode_all(data, type_)
    assert value_bodies(encode_all(values, type_)) == value_bodies(data)


def test_definition_of_struct() -> None:
    """The definition of a struct is Go's, with an id that all releases accept."""
    point = TYPES["main.Point"]
    recorded_bytes = "1f ff81 03 0101 05506f696e74 01ff82 00 0102 010158 0104 00"
    expected = bytes.fromhex(recorded_bytes + "010159 0104 00 00 00")
    assert gob.Encoder().define(point) == expected


@pytest.mark.parametrize(
    ("go_type", "expected"),
    [
        ("[]string", "0c ff81 02 01 02 ff82 00 01 0c 00 00"),
        ("[4]uint8", "0e ff81 01 01 02 ff82 00 01 06 01 08 00 00"),
        ("hash.Hash", "15 ff81 01 01 01 04 48617368 01 ff82 00 01 06 01 ff80 00 00"),
        ("map[string]int", "0e ff81 04 01 02 ff82 00 01 0c 01 04 00 00"),
        ("time.Time", "10 ff81 05 01 01 04 54696d65 01 ff82 00 00 00"),
        ("main.Empty", "11 ff81 03 01 01 05 456d707479 01 ff82 00 00 00"),
    ],
)
def test_definition(go_type, expected) -> None:
    """Each kind of type is defined as Go does it."""
    assert gob.Encoder().define(TYPES[go_type]) == bytes.fromhex(expected)


NAMES = ("", "Name")
DEFINITIONS = [
    *[ArrayType(name, 2, length) for name in NAMES for length in (0, 1, 1 << 40)],
    *[SliceType(name, id_) for name in NAMES for id_ in (1, 65, 1 << 20)],
    *[MapType(name, 6, 80) for name in NAMES],
    *[OpaqueType(name, method) for name in NAMES for method in range(3)],
    *[StructType(name, ()) for name in NAMES],
    StructType("Name", (FieldType("A", 1), FieldType("", 99), FieldType("\xe9", 2))),
]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=str)
def test_definition_again(definition) -> None:
    """What we write of a definition is read as it was, the name included."""
    out = bytearray()
    write_definition(out, 70, definition)
    cursor = Cursor(bytes(out), gob.DEFAULT_LIMITS)
    assert read_int(cursor) == -70
    found = read_definition(cursor, gob.DEFAULT_LIMITS)
    assert (found, found.name) == (definition, definition.name)
    assert cursor.exhausted


def test_zeros_in_definitions() -> None:
    """What a definition leaves out is zero."""
    empty = wire.definition(64, 0, b"\1" + wire.sint(wire.INT))
    data = wire.stream(empty, last=wire.value(64, b"\0\0"))
    assert gob.decode(data).value == gob.decode(data, gob.Array(gob.INT, 0)).value == ()
    for kind in (0, 1, 3):
        data = wire.stream(wire.definition(64, kind), last=wire.value(64, b"\0\0"))
        with pytest.raises(GobDecodeError, match=r"^undefined type: 0$"):
            gob.decode(data)


def test_several_types() -> None:
    """Values of several types may share a stream."""
    encoder, decoder = gob.Encoder(), gob.Decoder()
    for name in ("main.Point", "main.Empty", "[]string", "main.Point", "main.Maps"):
        type_ = TYPES[name]
        *definitions, value = wire.messages(encoder.encode(type_.zero, type_))
        for message in definitions:
            assert decoder.feed(message, type_) is gob.MORE
        assert decoder.feed(value, type_) == type_.zero


def test_definitions_are_sent_once() -> None:
    """A second value of a type is sent without definitions."""
    encoder = gob.Encoder()
    point = TYPES["main.Point"].zero
    first, second = encoder.encode(point), encoder.encode(point)
    assert first.endswith(second)
    assert second == bytes.fromhex("03 ff82 00")
