"""Values that have a reader of their own."""

from __future__ import annotations

import pytest
from gob.go_types import ANY, Point

from imageserver import gob
from imageserver.errors import GobDecodeError, GobTypeError
from imageserver.gob import INT, STRING
from imageserver.gob.primitives import read_int, read_uint
from imageserver.gob.reader import Reader

NUMBERS = gob.Slice(INT)


def summing(_) -> Reader:
    """Reads the sum of a list of numbers."""
    return Reader(
        lambda cursor: sum(read_int(cursor) for _ in range(read_uint(cursor)))
    )


SUM = gob.Scanned(NUMBERS, summing)


@gob.struct("Holder")
class Holder:
    """Numbers between two others."""

    before: int = gob.field("Before", INT)
    numbers: tuple[int, ...] = gob.field("Numbers", NUMBERS)
    after: object = gob.field("After", ANY)


@gob.struct("Holder")
class Summed:
    """The same with their sum."""

    before: int = gob.field("Before", INT)
    numbers: int | None = gob.field("Numbers", SUM)
    after: object = gob.field("After", ANY)


def test_read() -> None:
    """The reader is used in place of the ordinary one, and the rest is as ever."""
    data = gob.Encoder().encode(Holder(1, (5, 6, 7), Point(2, 3)))
    assert gob.decode(data, Summed).value == Summed(1, 18, Point(2, 3))
    data = gob.Encoder().encode(Holder(1, (), None))
    assert gob.decode(data, Summed).value == Summed(1, None, None)


def test_other_type() -> None:
    """What is sent must be of the type that the reader is for."""

    @gob.struct("Other")
    class Other:
        """A string in place of the numbers."""

        numbers: str = gob.field("Numbers", STRING)

    with pytest.raises(GobDecodeError, match="wrong type"):
        gob.decode(gob.Encoder().encode(Other("x")), Summed)


def test_write() -> None:
    """Only values of the type can be sent, not what the reader makes of them."""
    sent = gob.Encoder().encode(Summed(1, (5, 6), None))
    assert gob.decode(sent, Holder).value == Holder(1, (5, 6), None)
    with pytest.raises(GobTypeError):
        gob.Encoder().encode(Summed(1, 11, None))


def test_several() -> None:
    """Values of different types have different readers and writers."""
    other = gob.Scanned(gob.Map(INT, INT), summing)
    assert other != SUM
    assert gob.Encoder().encode({1: 2}, other).endswith(b"\1\2\4")
    assert gob.Encoder().encode((5, 6), SUM).endswith(b"\2\x0a\x0c")
