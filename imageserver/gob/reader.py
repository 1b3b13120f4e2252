"""Readers: what turns bytes into values of one kind."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.primitives import read_bytes, read_uint
from imageserver.gob.times import Time

Steps: TypeAlias = Generator[None, bytes, Any]


@attrs.frozen
class Reader:
    """How to read one kind of value.

    Attributes:
        read: from a cursor to the value; if ``resumable``, to a generator that
            returns the value, yields where a new message is needed and is sent it.
        resumable: see there.
    """

    read: Callable[[Cursor], Any]
    resumable: bool = False


@attrs.frozen
class Opaque:
    """A value that marshalled itself, read without a declared type.

    Attributes:
        type_name: the name of its type, for example ``Time``.
        data: what it marshalled itself into.
    """

    type_name: str
    data: bytes


def opaque_reader(type_name: str) -> Reader:
    """The reader for self-marshalled values, as they are."""

    def read_opaque(cursor: Cursor) -> Opaque:
        return Opaque(type_name, read_bytes(cursor))

    return Reader(read_opaque)


def read_time(cursor: Cursor) -> Time:
    """Read a time."""
    return Time.unmarshal(read_bytes(cursor))


def ranged_reader(read: Callable[[Cursor], int], lowest: int, highest: int) -> Reader:
    """The reader for numbers of fewer than 64 bits."""

    def read_ranged(cursor: Cursor) -> int:
        value = read(cursor)
        if not lowest <= value <= highest:
            raise GobDecodeError(f"value out of range: {value}")
        return value

    return Reader(read_ranged)


def behind_zero(reader: Reader) -> Reader:
    """Values other than structs stand behind a zero byte at the top level."""

    def read_behind_zero(cursor: Cursor) -> Any:
        if read_uint(cursor) != 0:
            raise GobDecodeError("malformed value: no zero in front")
        return reader.read(cursor)

    return Reader(read_behind_zero, reader.resumable)


def nested(reader: Reader) -> Reader:
    """Count how deep values nest."""

    def read_nested(cursor: Cursor) -> Any:
        cursor.enter()
        value = reader.read(cursor)
        cursor.leave()
        return value

    def resume_nested(cursor: Cursor) -> Steps:
        cursor.enter()
        value = yield from reader.read(cursor)
        cursor.leave()
        return value

    if reader.resumable:
        return Reader(resume_nested, resumable=True)
    return Reader(read_nested)
