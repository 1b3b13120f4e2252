"""Hostile input: limits hold, and small inputs ask for little memory and time."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import pytest
from gob import wire
from gob.go_types import ANY, HASH, TYPES, Outer, Point

from imageserver import gob
from imageserver.errors import GobDecodeError

HUGE = (1 << 40, 1 << 63, (1 << 64) - 1)
POINT = wire.struct(64, X=wire.INT, Y=wire.INT)


def strings(count: int) -> bytes:
    """A stream with a slice of one-letter strings."""
    last = wire.value(64, b"\0", wire.uint(count), b"\1a" * count)
    return wire.stream(wire.slice_(64, wire.STRING), last=last)


def nested_slices(levels: int) -> bytes:
    """A value of type 70 = slice of 70, so many slices in each other."""
    last = wire.value(70, b"\0", b"\1" * (levels - 1), b"\0")
    return wire.stream(wire.slice_(70, 70), last=last)


def nested_interfaces(levels: int) -> bytes:
    """An interface in an interface in an interface."""
    item = b"\0"
    for _ in range(levels):
        content = b"\0\1" + item
        item = wire.string("any") + wire.sint(64) + wire.uint(len(content)) + content
    last = wire.value(64, b"\0\1", item)
    return wire.stream(wire.slice_(64, wire.INTERFACE), last=last)


def chain(types: int) -> bytes:
    """A slice of slices of slices, each a type of its own, which is empty."""
    definitions = [wire.slice_(100 + n, 101 + n) for n in range(types - 1)]
    definitions.append(wire.slice_(99 + types, wire.INT))
    return wire.stream(*definitions, last=wire.value(100, b"\0\0"))


def many_types(count: int) -> bytes:
    """A number after definitions that nobody uses."""
    definitions = [wire.slice_(64 + n, wire.INT) for n in range(count)]
    return wire.stream(*definitions, last=wire.value(wire.INT, b"\0\2"))


def many_fields(count: int) -> bytes:
    """An empty value of a struct type with so many fields."""
    type_ = wire.struct(64, **{f"F{n}": wire.INT for n in range(count)})
    return wire.stream(type_, last=wire.value(64, b"\0"))


def map_of(count: int) -> bytes:
    """A map from numbers to truth values."""
    entries = b"".join(wire.uint(n) + b"\1" for n in range(count))
    last = wire.value(64, b"\0", wire.uint(count), entries)
    return wire.stream(wire.map_(64, wire.UINT, wire.BOOL), last=last)


LIMITS = [
    ({"message_bytes": 104}, strings(50), strings(51), "invalid message length"),
    ({"elements": 50}, strings(50), strings(51), "too many elements"),
    ({"elements": 50}, map_of(50), map_of(51), "too many elements"),
    ({"types": 50}, many_types(50), many_types(51), "too many types"),
    ({"fields": 50}, many_fields(50), many_fields(51), "too many fields"),
    ({"depth": 50}, nested_slices(50), nested_slices(51), "values nest too deep"),
    ({"depth": 50}, chain(50), chain(51), "types nest too deep"),
    ({"depth": 50}, nested_interfaces(24), nested_interfaces(25), "nest too deep"),
]


@pytest.mark.parametrize(
    ("limit", "good", "bad", "text"), LIMITS, ids=lambda part: str(part)[:24]
)
def test_limit(limit, good, bad, text) -> None:
    """What a limit allows is accepted, one more is not."""
    limits = gob.Limits(**limit)
    gob.decode(good, None, limits)
    with pytest.raises(GobDecodeError, match=text):
        gob.decode(bad, None, limits)


def test_elements_are_counted_together() -> None:
    """The limit is for all slices and maps of a value; the next one starts anew."""
    limits = gob.Limits(elements=5)
    decoder = gob.Decoder(limits)
    decoder.feed(wire.slice_(64, 65))
    decoder.feed(wire.slice_(65, wire.BOOL))
    five = wire.sint(64) + b"\0\2\1\1\2\1\1"
    assert decoder.feed(five) == ((True,), (True, True))
    assert decoder.feed(five) == ((True,), (True, True))
    with pytest.raises(GobDecodeError, match="too many elements"):
        decoder.feed(wire.sint(64) + b"\0\2\2\1\1\2\1\1")


def test_bytes_and_skipped_elements_are_not_counted() -> None:
    """What takes no more memory than it has bytes is no matter of that limit."""
    limits = gob.Limits(elements=0)
    hash_ = bytes(range(64))
    stream = gob.Encoder().encode(hash_, HASH)
    assert gob.decode(stream, HASH, limits).value == hash_
    holder = wire.struct(64, Unknown=65, X=wire.INT)
    last = wire.value(64, b"\1\3\1a\1b\1c\1\2\0")
    stream = wire.stream(holder, wire.slice_(65, wire.STRING), last=last)
    assert gob.decode(stream, Point, limits).value == Point(1)
    last = wire.value(64, b"\1\2\1\1a\2\0\1b\1\2\0")
    inner = wire.slice_(65, 66), wire.slice_(66, wire.STRING)
    assert gob.decode(wire.stream(holder, *inner, last=last), Point, limits).value == (
        Point(1)
    )


def test_message_that_was_not_measured() -> None:
    """The decoder itself refuses messages that are too long."""
    decoder = gob.Decoder(gob.Limits(message_bytes=3))
    with pytest.raises(GobDecodeError, match="too long"):
        decoder.feed(wire.sint(wire.INT) + b"\0\xff\x80")


def test_messages_of_one_value() -> None:
    """A value cannot go on for ever in messages that are each short enough."""
    decoder = gob.Decoder(gob.Limits(message_bytes=1000))
    decoder.feed(wire.slice_(64, wire.INTERFACE))
    decoder.feed(wire.sint(64) + b"\0" + wire.uint(1 << 20) + b"\3int")
    for _ in range(123):
        assert decoder.feed(b"\4\2\0\x0a\3int") is gob.MORE
    with pytest.raises(GobDecodeError, match="the messages of a value are too long"):
        decoder.feed(b"\4\2\0\x0a\3int")


def test_long_definition() -> None:
    """A definition, which stays in memory, is not long."""
    for size, accepted in ((65_000, True), (66_000, False)):
        body = wire.struct(64, **{"N" * size: wire.INT})
        decoder = gob.Decoder()
        if accepted:
            assert decoder.feed(body) is gob.MORE
        else:
            with pytest.raises(GobDecodeError, match="definition is too long"):
                decoder.feed(body)


def test_high_limit_of_depth() -> None:
    """Where the limit does not help, the end of the stack is an error like others."""
    with pytest.raises(GobDecodeError, match="values nest too deep"):
        gob.decode(nested_slices(1 << 16), None, gob.Limits(depth=1 << 20))


ANNOUNCED = {
    "strings": (wire.slice_(64, wire.STRING), gob.Slice(gob.STRING)),
    "numbers": (wire.slice_(64, wire.INT), gob.Slice(gob.INT)),
    "truth values": (wire.slice_(64, wire.BOOL), gob.Slice(gob.BOOL)),
    "structs": (wire.slice_(64, 65), gob.Slice(gob.Struct(Point))),
    "interfaces": (wire.slice_(64, wire.INTERFACE), gob.Slice(ANY)),
    "map": (wire.map_(64, wire.INT, 65), gob.Map(gob.INT, gob.Struct(Point))),
    "map of interfaces": (
        wire.map_(64, wire.INT, wire.INTERFACE),
        gob.Map(gob.INT, ANY),
    ),
}


@gob.struct("Root")
class Root:
    """A receiver that knows only one field."""

    known: int = gob.field("Known", gob.INT)


def peak_of_refusal(data: bytes, type_: Any) -> int:
    """The memory that decoding takes until it is refused, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(GobDecodeError):
            gob.decode(data, type_)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_bounded(data: bytes, type_: Any) -> None:
    """Decoding must be refused at the cost of little memory."""
    assert peak_of_refusal(data, type_) < (8 << 20) + 2 * len(data)


@pytest.mark.parametrize("name", ANNOUNCED)
@pytest.mark.parametrize("count", HUGE, ids=hex)
def test_announced_elements(name, count) -> None:
    """A count says nothing until the elements are there: read, as is, and skipped."""
    definition, type_ = ANNOUNCED[name]
    point = wire.struct(65, X=wire.INT, Y=wire.INT)
    rest = wire.uint(count) + bytes(64)
    stream = wire.stream(definition, point, last=wire.value(64, b"\0", rest))
    assert_bounded(stream, type_)
    assert_bounded(stream, None)
    holder = wire.struct(66, Known=wire.INT, Unknown=64)
    last = wire.value(66, b"\2", rest)
    assert_bounded(wire.stream(definition, point, holder, last=last), Root)


@pytest.mark.parametrize("length", [*HUGE, -1], ids=hex)
@pytest.mark.parametrize("element", [wire.UINT, wire.STRING, 64])
def test_announced_array(length, element) -> None:
    """The length of an array type says as little."""
    length = min(length, (1 << 63) - 1)
    count = wire.uint(length) if length > 0 else b"\0"
    last = wire.value(64, b"\0", count, bytes(64))
    stream = wire.stream(wire.array(64, element, length), last=last)
    for type_ in (None, HASH, gob.Array(gob.STRING, 2)):
        assert_bounded(stream, type_)
    holder = wire.struct(66, Known=wire.INT, Unknown=64)
    last = wire.value(66, b"\2", count, bytes(64))
    assert_bounded(
        wire.stream(wire.array(64, element, length), holder, last=last), Root
    )


@pytest.mark.parametrize("size", HUGE, ids=hex)
def test_announced_bytes(size) -> None:
    """The length of a string says nothing until the bytes are there."""
    item = wire.uint(size) + b"abc"
    for id_ in (wire.STRING, wire.BYTES):
        assert_bounded(wire.value(id_, b"\0", item), None)
    assert_bounded(
        wire.stream(wire.opaque(64), last=wire.value(64, b"\0", item)), gob.TIME
    )
    named = wire.value(64, b"\0\1", item)
    assert_bounded(wire.stream(wire.slice_(64, wire.INTERFACE), last=named), None)


@pytest.mark.parametrize("count", HUGE, ids=hex)
def test_announced_fields(count) -> None:
    """The number of fields in a definition says nothing either."""
    body = wire.definition(64, 2, b"\1" + wire.uint(count) + bytes(64))
    assert_bounded(wire.message(body), None)


@pytest.mark.parametrize(
    "data",
    [nested_slices(1 << 20), nested_interfaces(1 << 10), chain(256)],
    ids=["slices", "interfaces", "types"],
)
def test_deep_nesting(data) -> None:
    """Deep nesting is refused, whether anybody wants the value or not."""
    assert_bounded(data, None)
    assert_bounded(data, TYPES["main.Rec"])


@pytest.mark.parametrize("first", [0, 96, 192, 255])
def test_memory_of_hashes(first) -> None:
    """Lists of hashes, the longest messages but images, take little memory."""
    count, hash_ = 100_000, bytes(min(first + n, 255) for n in range(64))
    *definitions, message = wire.messages(
        gob.Encoder().encode((hash_,) * count, gob.Slice(HASH))
    )
    decoder = gob.Decoder()
    for definition in definitions:
        decoder.feed(definition)
    tracemalloc.start()
    try:
        assert len(decoder.feed(message, gob.Slice(HASH))) == count
        assert tracemalloc.get_traced_memory()[1] < (8 << 20) + 2 * len(message)
    finally:
        tracemalloc.stop()


def test_skipped_elements_take_no_memory() -> None:
    """What nobody wants is not put together."""
    count = 1 << 18
    holder = wire.struct(64, Unknown=65, Known=wire.INT)
    definitions = (holder, wire.slice_(65, 66), wire.struct(66, A=wire.INT))
    last = wire.value(64, b"\1", wire.uint(count), bytes(count), b"\1\2")
    assert_bounded(wire.stream(*definitions, last=last), Root)


@pytest.mark.parametrize("first", [b"\x80", b"\xf7", b"\xf8", b"\xff"], ids=bytes.hex)
def test_malformed_numbers_are_not_skipped(first) -> None:
    """Integers in skipped slices have at most eight bytes, which are there."""
    holder = wire.struct(64, Unknown=65, Known=wire.INT)
    last = wire.value(64, b"\1\1", first)
    data = wire.stream(holder, wire.slice_(65, wire.UINT), last=last)
    with pytest.raises(GobDecodeError, match=r"malformed integer|truncated integer"):
        gob.decode(data, Root)


def web_of_types(types: int, fields: int) -> bytes:
    """Struct types with fields of all these types, and an empty value."""
    definitions = [
        wire.struct(
            100 + n, Known=wire.INT, **{f"F{m}": 100 + m % types for m in range(fields)}
        )
        for n in range(types)
    ]
    return wire.stream(*definitions, last=wire.value(100, b"\0"))


def seconds(data: bytes, type_: Any, limits: gob.Limits) -> float:
    """The processor time that decoding takes, at best, without looking for garbage."""
    times = []
    gc.disable()
    try:
        for _ in range(3):
            before = time.process_time()
            gob.decode(data, type_, limits)
            times.append(time.process_time() - before)
    finally:
        gc.enable()
    return min(times)


def cut_often(count: int) -> bytes:
    """A slice of interfaces, each with a message and a definition of its own."""
    head = wire.message(wire.slice_(64, wire.INTERFACE))
    start = wire.sint(64) + b"\0" + wire.uint(count)
    messages = []
    for n in range(count):
        messages.append(
            wire.message(start, wire.string("a"), wire.slice_(100 + n, wire.INT))
        )
        start = wire.sint(100 + n) + b"\2\0\0"
    return head + b"".join(messages) + wire.message(start)


def cut_without_definitions(count: int) -> bytes:
    """The same without definitions."""
    head = wire.message(wire.slice_(64, wire.INTERFACE))
    start = wire.sint(64) + b"\0" + wire.uint(count) + wire.string("a")
    middle = wire.message(b"\4\2\0\x0a", wire.string("a")) * (count - 1)
    return head + wire.message(start) + middle + wire.message(b"\4\2\0\x0a")


GROWING = {
    "strings": strings,
    "map": map_of,
    "cuts": cut_often,
    "cuts without definitions": cut_without_definitions,
}
ROOMY = gob.Limits(message_bytes=1 << 30, types=1 << 20)


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_with_input(name) -> None:
    """Eight times the input takes about eight times as long, not the square of it."""
    make = GROWING[name]
    small, large = make(1_000), make(8_000)
    once = max(seconds(small, None, ROOMY), 0.005)
    assert seconds(large, None, ROOMY) < 30 * once


@pytest.mark.parametrize("type_", [None, Root], ids=["as it is", "skipped"])
def test_types_that_use_each_other(type_) -> None:
    """Each type is looked at once, however often others use it."""
    assert seconds(web_of_types(60, 255), type_, gob.DEFAULT_LIMITS) < 1


UNHASHABLE = {
    "struct": (65, b"\0"),
    "slice of structs": (66, b"\1\0"),
    "map": (67, b"\0"),
    "interface": (wire.INTERFACE, b"\1a" + wire.sint(65) + b"\1\0"),
}


@pytest.mark.parametrize("name", UNHASHABLE)
def test_keys_that_cannot_be_keys(name) -> None:
    """Python has no dict for some maps of Go, which is an error like others."""
    key, item = UNHASHABLE[name]
    definitions = (
        wire.map_(64, key, wire.INT),
        wire.struct(65, A=wire.INT),
        wire.slice_(66, 65),
        wire.map_(67, wire.INT, wire.INT),
    )
    last = wire.value(64, b"\0\1", item, b"\2")
    with pytest.raises(GobDecodeError, match="not supported as key of a map"):
        gob.decode(wire.stream(*definitions, last=last))


def test_error_texts_are_short() -> None:
    """Names from the wire do not fill the log."""
    holder = wire.struct(64, **{"P": 65})
    body = wire.definition(65, 1, b"\1" + wire.sint(wire.INT), name="N" * 50_000)
    data = wire.stream(holder, body, last=wire.value(64, b"\0"))
    with pytest.raises(GobDecodeError) as caught:
        gob.decode(data, Outer)
    assert len(str(caught.value)) < 200
