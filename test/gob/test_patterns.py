"""Regular expressions that match what encoders write."""

from __future__ import annotations

import itertools
import re

import pytest
from gob import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver.gob import patterns
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import DEFAULT_LIMITS
from imageserver.gob.primitives import read_uint


def matches(pattern: bytes, data: bytes) -> bool:
    """Whether a pattern matches all of the data."""
    return re.fullmatch(pattern, data, re.DOTALL) is not None


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_number(bits) -> None:
    """Numbers of so many bits match, and are read; larger ones do not."""
    for power in range(65):
        for number in ((1 << power) - 1, 1 << power):
            if number < 1 << 64:
                data = wire.uint(number)
                assert matches(patterns.number(bits), data) == (0 < number < 1 << bits)
                assert patterns.read_number(data) == number


def test_zero() -> None:
    """Zero matches where it may be there."""
    assert not matches(patterns.number(), b"\0")
    assert matches(patterns.number(zero=True), b"\0")
    assert patterns.read_number(b"\0") == 0


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.binary(max_size=10))
def test_shortest_form(data) -> None:
    """Only the shortest form of a number matches."""
    if matches(patterns.number(zero=True), data):
        number = patterns.read_number(data)
        assert wire.uint(number) == data
        cursor = Cursor(data, DEFAULT_LIMITS)
        assert read_uint(cursor) == number
        assert cursor.exhausted


CHOICES = list(itertools.product([False, True], repeat=4))


@pytest.mark.parametrize("after", [-1, 4])
@pytest.mark.parametrize("there", CHOICES)
def test_fields(there, after) -> None:
    """Whichever fields are there: the values are found, other distances are not."""
    positions = [after + step for step in (1, 2, 5, 6)]
    data, expected, last = b"", [], after
    for position, is_there in zip(positions, there, strict=True):
        expected.append(b"%d" % position if is_there else None)
        if is_there:
            data += bytes([position - last]) + b"%d" % position
            last = position
    values = [b"%d" % position for position in positions]
    pattern = b"x" + patterns.fields(positions, values, after=after)
    found = re.fullmatch(pattern, b"x" + data, re.DOTALL)
    assert found is not None
    assert list(found.groups()) == expected
    for index, is_delta in enumerate(data):
        wrong = bytearray(data)
        wrong[index] ^= 1
        if is_delta < 0x20:  # the others are digits of the values
            assert re.fullmatch(pattern, b"x" + wrong, re.DOTALL) is None


@pytest.mark.parametrize("there", CHOICES)
def test_fields_up_to(there) -> None:
    """Whichever fields are in front of the last one: the value next to it is found."""
    data, last = b"", -1
    for position, is_there in enumerate(there):
        if is_there:
            data += bytes([position - last]) + b"%d" % position
            last = position
    data += bytes([4 - last]) + b"end"
    pattern = re.compile(patterns.fields_up_to([b"0", b"1", b"2", b"3"], b"end"))
    found = pattern.fullmatch(data)
    assert found is not None
    assert found[found.lastindex or 0] == (b"3" if there[3] else b"")
    assert len(set(found.groups()) - {None}) == 1
    for index, is_delta in enumerate(data):
        wrong = bytearray(data)
        wrong[index] ^= 1
        if is_delta < 0x20:
            assert pattern.fullmatch(wrong) is None
