"""Times, in memory and on the wire."""

from __future__ import annotations

import attrs
import pytest
from gob import wire

from imageserver import gob
from imageserver.errors import GobDecodeError, GobTypeError
from imageserver.gob import Time


def times(*zones: str) -> list[bytes]:
    """The bytes of the zero time with these last bytes, versions in front."""
    found = []
    for zone in zones:
        version, _, offset = zone.partition(" ")
        found.append(bytes.fromhex(version) + bytes(12) + bytes.fromhex(offset))
    return found


@pytest.mark.parametrize(
    ("offset_s", "zone"),
    [
        (None, "01 ffff"),
        (0, "01 0000"),
        (3600, "01 003c"),
        (-12600, "01 ff2e"),
        (-28378, "02 fe28c6"),
        (28378, "02 01d83a"),
        (-59, "02 0000c5"),
        (59, "02 00003b"),
        (32767 * 60 + 59, "02 7fff3b"),
    ],
)
def test_zones(offset_s, zone) -> None:
    """Zone offsets are whole minutes, with seconds only if they need them."""
    (data,) = times(zone)
    time = attrs.evolve(Time.ZERO, offset_s=offset_s)
    assert time.marshal() == data
    assert Time.unmarshal(data) == time


def test_version_2_may_be_whole_minutes() -> None:
    """Seconds of zero say nothing, for UTC and other zones."""
    utc, east = times("02 ffff00", "02 000100")
    assert Time.unmarshal(utc).offset_s is None
    assert Time.unmarshal(east).offset_s == 60


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        *times("00 ffff", "03 ffff", "01 ffff00", "01 ff", "02 ffff", "02 ffff0000"),
        *times("02 ffffc5", "02 fffe01", "02 0001ff", "02 00003c", "02 0000c4"),
        b"\1" + bytes(8) + (10**9).to_bytes(4) + b"\xff\xff",
    ],
    ids=bytes.hex,
)
def test_malformed(data) -> None:
    """Other versions, lengths, nanoseconds and offsets are refused."""
    with pytest.raises(GobDecodeError, match="malformed time"):
        Time.unmarshal(data)


@pytest.mark.parametrize(
    "time",
    [
        Time(0, 0, -60),
        Time(0, 0, -119),
        Time(0, 0, 1 << 21),
        Time(0, 10**9),
        Time(0, -1),
        Time(1 << 63),
    ],
    ids=repr,
)
def test_not_sendable(time) -> None:
    """What Go refuses, and what has no room, cannot be sent."""
    with pytest.raises(GobTypeError):
        time.marshal()


def test_zero() -> None:
    """Year 1 means "not set", wherever somebody was when not setting it."""
    assert Time.ZERO.is_zero
    assert Time.unmarshal(Time.ZERO.marshal()) == Time.ZERO
    assert attrs.evolve(Time.ZERO, offset_s=60).is_zero
    assert not Time(0).is_zero
    assert not attrs.evolve(Time.ZERO, nanosecond=1).is_zero


def test_instants() -> None:
    """Instants are compared without their zones."""
    east, west = Time(5, 7, 3600), Time(5, 7, -3600)
    assert east != west
    assert east.instant == west.instant == (5, 7)


@pytest.mark.parametrize("unix_ns", [0, 1, -1, 1_709_210_096_000_000_789])
def test_nanoseconds(unix_ns) -> None:
    """Nanoseconds since 1970 survive, also negative ones."""
    assert Time.from_nanoseconds(unix_ns).to_nanoseconds() == unix_ns


@pytest.mark.parametrize(
    ("kind", "accepted"), [(4, True), (5, False), (6, False)], ids=["gob", "bin", "txt"]
)
def test_method_of_marshalling(kind, accepted) -> None:
    """A time is what marshals itself for gob; other methods are other types."""
    data = wire.stream(
        wire.opaque(64, kind),
        last=wire.value(64, b"\0", wire.string(Time(1).marshal())),
    )
    assert gob.decode(data).value == gob.Opaque("Time", Time(1).marshal())
    if accepted:
        assert gob.decode(data, gob.TIME).value == Time(1)
    else:
        with pytest.raises(GobDecodeError, match="wrong type"):
            gob.decode(data, gob.TIME)
