"""Our codec and Go's own understand each other, both ways."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fuzz.targets import MESSAGES
from gob import go_types, wire
from gob.test_document import worked_example
from gob.test_properties import PROFILE, values_of, without_nil
from golang.gobpeer import GoError
from hypothesis import given, settings
from model.test_inode_scan import INODES as SOME_INODES
from model.test_inode_scan import ODD_NAMES
from model.test_inode_scan import check as check_scan

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter
from imageserver.model.image_messages import AddImageRequest
from imageserver.model.inode import (
    INODES,
    DirectoryEntry,
    DirectoryInode,
    SymlinkInode,
)
from imageserver.model.triggers import Trigger, Triggers

ZERO, FULL = 0, 1
SEEDS = range(60)
LIMITS = gob.Limits(depth=1000)


def message_types() -> dict[str, gob.Type]:
    """All messages, and what they are made of, by the names of their Go types."""
    classes = [cls for cls in MESSAGES if "Scanned" not in cls.__name__]
    classes += [FileSystem, Filter, Trigger, Triggers]
    classes += [DirectoryEntry, *INODES.by_class]
    names = {gob.struct_info(cls).name: gob.Struct(cls) for cls in classes}
    del names["ImageMetadata"]
    return {name[0].upper() + name[1:]: type_ for name, type_ in names.items()}


def basic_types() -> dict[str, gob.Type]:
    """Every kind of value, by the names of their Go types."""
    types = {
        name.replace("interface {}", "interface"): type_
        for name, type_ in go_types.TYPES.items()
    }
    for name in ("main.NamedStr", "main.NamedBytes", "main.StrMap", "time.Duration"):
        del types[name]
    del types["[]*main.Point"], types["[]uint64"]
    del types["struct { S main.Inner; T time.Time; N int }"]
    del types["float32"]  # we have no numbers that Go would not round
    types["Unnamed"] = gob.Struct(go_types.Unnamed)
    types["HashHolder"] = types.pop("main.hashHolder")
    types["Wrap"] = gob.Struct(go_types.Wrap)
    return {name.removeprefix("main."): type_ for name, type_ in types.items()}


MESSAGE_TYPES = message_types()
TYPES = MESSAGE_TYPES | basic_types()


def send(value: Any, type_: gob.Type) -> bytes:
    """A stream of ours."""
    return gob.Encoder().encode(value, type_)


def receive(data: bytes, type_: gob.Type | None) -> Any:
    """The value of a stream of Go's, all of it."""
    decoded = gob.decode(data, type_, LIMITS)
    assert decoded.end == len(data)
    return decoded.value


@pytest.mark.parametrize("name", TYPES)
def test_zero(peer, name) -> None:
    """Go understands a zero value, and sends it back."""
    zero = TYPES[name].zero
    zero = without_nil(zero, TYPES[name])
    assert receive(peer.echo(name, send(zero, TYPES[name])), TYPES[name]) == zero
    peer.check_same(name, ZERO, send(zero, TYPES[name]))
    assert receive(peer.make(name, ZERO), TYPES[name]) == zero


def zeros(value: Any, where: str) -> list[str]:
    """Where in a message something is zero."""
    if isinstance(value, tuple) and value:
        return [found for item in value for found in zeros(item, f"{where}[]")]
    if isinstance(value, dict) and value:
        return zeros((*value, *value.values()), where)
    if hasattr(value, "__gob__"):
        names = [field.attribute for field in gob.struct_info(type(value)).fields]
        return [
            found
            for name in names
            for found in zeros(getattr(value, name), f"{where}.{name}")
        ]
    return [] if value and value != Time.ZERO and any(value_bytes(value)) else [where]


def value_bytes(value: Any) -> Any:
    """What tells of a hash whether it is zero; of others something that is not."""
    return value if isinstance(value, bytes) else b"\1"


@pytest.mark.parametrize("name", MESSAGE_TYPES)
def test_populated(peer, name) -> None:
    """Messages in which no field is zero, all the way down, go both ways."""
    value = receive(peer.make(name, FULL), TYPES[name])
    assert zeros(value, name) == []
    peer.check_same(name, FULL, send(value, TYPES[name]))
    assert receive(peer.echo(name, send(value, TYPES[name])), TYPES[name]) == value


@pytest.mark.parametrize("name", TYPES)
def test_from_go(peer, name) -> None:
    """What Go sends is received, and Go understands it when it is sent back."""
    for seed in SEEDS:
        sent = peer.make(name, seed)
        value = receive(sent, TYPES[name])
        peer.check_same(name, seed, send(value, TYPES[name]))
        receive(sent, None)


@pytest.mark.parametrize("name", TYPES)
def test_to_go(peer, name) -> None:
    """Go understands any value of ours, and sends it back."""

    @settings(PROFILE, max_examples=25)
    @given(values_of(TYPES[name]))
    def check_value(value) -> None:
        value = without_nil(value, TYPES[name])
        if name == "Outer":
            value = gob.evolve(value, f32=-0.5)  # Go rounds
        sent = send(value, TYPES[name])
        assert receive(peer.echo(name, sent), TYPES[name]) == value

    check_value()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("int8", (-128, 127)),
        ("int64", (-(1 << 63), (1 << 63) - 1)),
        ("uint8", (255,)),
        ("uint64", ((1 << 64) - 1,)),
        ("float64", (float("inf"), -0.0, 5e-324, 1.7976931348623157e308)),
        ("complex128", (complex(-0.0, float("-inf")),)),
    ],
)
def test_bounds(peer, name, values) -> None:
    """The largest and the smallest numbers."""
    for value in values:
        received = receive(peer.echo(name, send(value, TYPES[name])), TYPES[name])
        assert repr(received) == repr(value)


def test_worked_example(peer) -> None:
    """Go reads the example of the document as we do."""
    type_ = gob.Struct(AddImageRequest)
    stream = worked_example()
    echoed = peer.echo("AddImageRequest", stream)
    assert receive(echoed, type_) == gob.decode(stream, type_).value


def test_not_a_number(peer) -> None:
    """What is not a number stays so."""
    received = receive(peer.echo("float64", send(float("nan"), gob.FLOAT)), gob.FLOAT)
    assert math.isnan(received)


@pytest.mark.parametrize(
    "time",
    [
        Time(),
        Time(0),
        Time(5, 999_999_999, 3600),
        Time(5, 1, -60 * 60 * 12),
        Time(-2_000_000_000, 0, -28_378),
        Time(1 << 40, 5, 0),
        Time(-62_135_596_800, 0, 7200),
        Time(1_700_000_000, 0, 59),
    ],
)
def test_times(peer, time) -> None:
    """Instants in zones of every kind."""
    received = receive(peer.echo("time.Time", send(time, gob.TIME)), gob.TIME)
    assert received.instant == time.instant
    assert (received.offset_s or 0) == (time.offset_s or 0)


MINUTES = {*range(-26 * 60, 26 * 60), *range(-32_768, 32_768, 97), 32_767} - {-1}
SECONDS = [s for s in range(-50_000, 50_000, 61) if not -120 < s <= -60]


def test_zones(peer) -> None:
    """Every zone that can be sent."""
    encoder, decoder = gob.Encoder(), gob.Decoder()
    offsets = [*(60 * minutes for minutes in MINUTES), *SECONDS]
    times = [Time(number, number, offset) for number, offset in enumerate(offsets)]
    sent = b"".join(encoder.encode(time, gob.TIME) for time in times)
    values = [
        decoder.feed(message, gob.TIME)
        for message in wire.messages(peer.echo("time.Time", sent))
    ]
    received = [value for value in values if value is not gob.MORE]
    assert [(t.instant, t.offset_s or 0) for t in received] == [
        (t.instant, t.offset_s) for t in times
    ]


@pytest.mark.parametrize("name", ["AddObjectResponse", "ImageUpdate", "Wrap"])
def test_streams(peer, name) -> None:
    """In a stream of several values types are defined once, on either side."""
    encoder, decoder = gob.Encoder(), gob.Decoder(LIMITS)
    values = [receive(peer.make(name, seed), TYPES[name]) for seed in range(20)]
    sent = b"".join(encoder.encode(value, TYPES[name]) for value in values)
    back, position, received = peer.echo(name, sent), 0, []
    while position < len(back):
        message, position = gob.next_message(back, position, LIMITS)
        value = decoder.feed(message, TYPES[name])
        if value is not gob.MORE:
            received.append(value)
    assert received == values


def test_bytes_in_strings(peer) -> None:
    """Strings need not be UTF-8."""
    text = b"a\xff\xfe\0b".decode("utf-8", "surrogateescape")
    assert receive(peer.echo("string", send(text, gob.STRING)), gob.STRING) == text


def deep_rec(levels: int) -> go_types.Rec:
    """Structs in structs."""
    value = go_types.Rec(1)
    for number in range(levels):
        value = go_types.Rec(number, value, (go_types.Rec(5),))
    return value


def deep_kids(levels: int) -> go_types.Rec:
    """Slices in slices."""
    value = go_types.Rec(1)
    for number in range(levels):
        value = go_types.Rec(number, None, (go_types.Rec(5), value))
    return value


def deep_wrap(levels: int) -> go_types.Wrap:
    """Interfaces in interfaces."""
    value = go_types.Wrap("x", None, 1)
    for number in range(levels):
        value = go_types.Wrap("y", value, number)
    return value


@pytest.mark.parametrize("make", [deep_rec, deep_kids, deep_wrap])
def test_deep(peer, make) -> None:
    """Values nest as deep as we take them, and Go takes them deeper."""
    name, levels = type(make(1)).__name__, 1
    try:
        while True:
            value = make(levels)
            sent = send(value, TYPES[name])
            assert gob.decode(sent, TYPES[name]).value == value
            back = peer.echo(name, sent)
            assert gob.decode(back, TYPES[name]).value == value
            levels += 1
    except GobDecodeError as error:
        assert "nest too deep" in str(error)
    assert levels > gob.DEFAULT_LIMITS.depth // 3
    back = peer.echo(name, send(make(2 * levels), TYPES[name]))
    assert receive(back, TYPES[name]) == make(2 * levels)


def test_every_inode(peer) -> None:
    """Inodes of every kind, with names of every kind, as objects and scanned."""
    names = [DirectoryEntry(name, 7) for name in (*ODD_NAMES, b"\xff\xfe", b"caf\xe9")]
    value = FileSystem(
        {
            **SOME_INODES,
            20: DirectoryInode(tuple(names), 0o40755),
            21: SymlinkInode(0, 0, b"../\xff\xfe"),
        },
        root=DirectoryInode(tuple(names), 0o40700, 1, 2),
    )
    assert {type(inode) for inode in value.inodes.values()} == set(INODES.by_class)
    back = peer.echo("FileSystem", send(value, TYPES["FileSystem"]))
    assert receive(back, TYPES["FileSystem"]) == value
    check_scan(back)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("int8", send(128, gob.INT)),
        ("uint8", send(256, gob.UINT)),
        ("int", send(1, gob.UINT)),
        ("CheckImageRequest", send(go_types.Point(1, 2), gob.Struct(go_types.Point))),
        ("string", b"\3\x0c\0\5"),
        ("string", b""),
    ],
)
def test_refused_by_both(peer, name, data) -> None:
    """What we refuse Go refuses, too."""
    with pytest.raises(GoError):
        peer.echo(name, data)
    with pytest.raises(GobDecodeError):
        receive(data, TYPES[name])
