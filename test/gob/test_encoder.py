"""What the encoder refuses, and what it does not forget."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gob import wire
from gob.go_types import ANY, HASH, TYPES, Inner, Point, Rec

from imageserver import gob
from imageserver.errors import GobTypeError
from imageserver.gob import INT, STRING

POINTERS = gob.Slice(gob.Pointer(INT))


@gob.struct("Message")
class Message:
    """A text."""

    text: str = gob.field("Text", STRING)


def deep(levels: int) -> Rec:
    """A value that contains values that contain values."""
    value = Rec()
    for _ in range(levels):
        value = Rec(next=value)
    return value


REFUSED = {
    "int too large": (1 << 63, INT),
    "int too small": (-(1 << 63) - 1, INT),
    "uint too large": (1 << 64, gob.UINT),
    "uint too small": (-1, gob.UINT),
    "int32 too large": (1 << 31, gob.INT32),
    "uint8 too large": (256, gob.UINT8),
    "no int": (1.5, INT),
    "text as int": ("1", INT),
    "text as float": ("1", gob.FLOAT),
    "float too large": (10**400, gob.FLOAT),
    "text as complex": ("1", gob.COMPLEX),
    "bytes as string": (b"a", STRING),
    "surrogates that stand for no byte": ("\ud800", STRING),
    "string as bytes": ("a", gob.BYTES),
    "string as byte string": ("a", gob.BYTE_STRING),
    "short byte array": (b"a", HASH),
    "short array": ((1,), gob.Array(INT, 2)),
    "number as slice": (1, gob.Slice(INT)),
    "nil in a slice": ((1, None), POINTERS),
    "nil at the top": (None, gob.Pointer(INT)),
    "list as map": ([1], gob.Map(INT, INT)),
    "other class": (Point(), gob.Struct(Inner)),
    "time of another library": (datetime.datetime.now(datetime.UTC), gob.TIME),
    "time in a wrong zone": (gob.Time(0, 0, -60), gob.TIME),
    "unregistered class": (Rec(), ANY),
    "unregistered name": (gob.InterfaceValue("main.Rec", Rec()), ANY),
    "wrong content of an interface": (gob.InterfaceValue("int", "1"), ANY),
    "deep value": (deep(5000), gob.Struct(Rec)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name) -> None:
    """A value that does not fit its type is a GobTypeError."""
    value, type_ = REFUSED[name]
    with pytest.raises(GobTypeError):
        gob.Encoder().encode(value, type_)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("int too large", f"{1 << 63} is out of range"),
        ("uint too small", "-1 is out of range"),
        ("short byte array", "1 bytes in an array of 64"),
        ("short array", "1 elements in an array of 2"),
        ("nil in a slice", "only fields can be nil"),
        ("unregistered class", f"type not registered for interface: {Rec}"),
        ("unregistered name", "name not registered for interface: 'main.Rec'"),
        ("time in a wrong zone", "this zone offset cannot be sent"),
        ("text as complex", "cannot encode str: .*"),
        ("wrong content of an interface", "cannot encode InterfaceValue: .*"),
    ],
)
def test_texts(name, text) -> None:
    """The error says what is wrong."""
    value, type_ = REFUSED[name]
    with pytest.raises(GobTypeError, match=f"^{text}$"):
        gob.Encoder().encode(value, type_)


@pytest.mark.parametrize("size", [1, 127, 128, 129, 255, 256, 65_535, 65_536])
def test_lengths(size) -> None:
    """Strings and bytes of lengths around the bounds of their encoding."""
    content = b"a" * size
    for value, type_ in (
        (content.decode(), STRING),
        (content, gob.BYTE_STRING),
        (content, gob.BYTES),
    ):
        stream = gob.Encoder().encode(value, type_)
        assert stream.endswith(b"\0" + wire.uint(size) + content)
        assert gob.decode(stream, type_).value == value


def test_undeclared_class() -> None:
    """Only instances of declared classes tell their own type."""
    with pytest.raises(GobTypeError, match="int was not declared as a struct"):
        gob.Encoder().encode(5)


def test_type_without_id() -> None:
    """Only types that were defined have an id; basic ones always have theirs."""
    assert gob.Encoder().type_id(INT) == 2
    with pytest.raises(GobTypeError, match="not defined on this stream"):
        gob.Encoder().type_id(Point)


def test_refused_value_loses_no_definitions() -> None:
    """After a refused value the stream goes on, with the definitions it needs."""
    encoder = gob.Encoder()
    with pytest.raises(GobTypeError):
        encoder.encode(Message(text=5))
    stream = encoder.encode(Message("later"))
    assert gob.decode(stream, Message).value == Message("later")


def test_registered_names_of_one_type() -> None:
    """Two names for one type stay apart on one stream."""
    registry = gob.Registry()
    registry.register("int", INT)
    registry.register("time.Duration", INT)
    values = (gob.InterfaceValue("int", 1), gob.InterfaceValue("time.Duration", 1))
    type_ = gob.Slice(gob.Interface(registry))
    assert gob.decode(gob.Encoder().encode(values, type_), type_).value == values


def test_pointer_in_registry() -> None:
    """A pointer to a struct is registered like the struct."""
    registry = gob.Registry()
    registry.register("*main.Point", gob.Pointer(gob.Struct(Point)))
    type_ = gob.Slice(gob.Interface(registry))
    values = (Point(1, 2), None)
    assert gob.decode(gob.Encoder().encode(values, type_), type_).value == values


def test_interfaces_as_keys() -> None:
    """Interfaces may be keys of a map, and values."""
    type_ = gob.Map(ANY, ANY)
    value = {gob.InterfaceValue("int", 1): Point(1, 2), Point(3, 4): None}
    assert gob.decode(gob.Encoder().encode(value, type_), type_).value == value


def test_type_without_elements() -> None:
    """Nil is written like an empty map where no field can be left out."""
    type_ = gob.Slice(gob.Map(STRING, INT))
    assert gob.decode(gob.Encoder().encode((None,), type_), type_).value == ({},)


def test_equal_types() -> None:
    """Types are equal if they mean the same, whatever their names."""
    assert gob.Struct(Point) == gob.Struct(lambda: Point)
    assert hash(gob.Struct(Point)) == hash(gob.Struct(lambda: Point))
    assert gob.Struct(Point) != gob.Struct(Inner)
    assert gob.Struct(Point) != INT
    assert gob.ByteArray(4, "a") == gob.ByteArray(4, "b")


def test_zeros() -> None:
    """Each declared type has the zero value that Go would have."""
    assert TYPES["main.Point"].zero == Point(0, 0)
    assert gob.Array(STRING, 2).zero == ("", "")
    assert gob.ByteArray(2).zero == b"\0\0"
    assert gob.Map(INT, INT).zero is gob.Pointer(INT).zero is ANY.zero is None


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_threads() -> None:
    """Threads may encode the same, new types at the same time."""
    names = [f"F{number}" for number in range(50)]

    def declare(_: int) -> type:
        fields = {name: gob.field(name, INT) for name in names}
        annotations = dict.fromkeys(names, int)
        return gob.struct("Wide")(
            type("Wide", (), {"__annotations__": annotations, **fields})
        )

    expected = tuple(range(1, 51))
    with ThreadPoolExecutor(8) as pool:
        for cls in map(declare, range(50)):
            value = cls(*expected)
            streams = set(pool.map(lambda v: gob.Encoder().encode(v), [value] * 8))
            assert len(streams) == 1
            assert gob.decode(streams.pop(), cls).value == value
