"""Readers for values that contain others: sequences, maps and structs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from imageserver.errors import GobDecodeError
from imageserver.gob.byte_arrays import read_list
from imageserver.gob.cursor import Cursor
from imageserver.gob.declarations import struct_info
from imageserver.gob.primitives import read_uint
from imageserver.gob.reader import Reader, Steps, ranged_reader

Step: TypeAlias = tuple[int | None, Reader]
"""Where the value of a field goes, ``None`` for nowhere, and what reads it."""


def _read_length(cursor: Cursor, length: int | None) -> int:
    count = read_uint(cursor)
    if length is not None and count != length:
        raise GobDecodeError(f"{count} elements in an array of {length}")
    return count


def passing_reader(parts: Sequence[Reader], length: int | None) -> Reader:
    """The reader that passes over a slice, an array or a map, and keeps nothing.

    Args:
        parts: what reads the parts of an element: one, or a key and a value.
        length: how many elements there must be; ``None`` for any number.
    """

    def pass_over(cursor: Cursor) -> None:
        for _ in range(_read_length(cursor, length)):
            for part in parts:
                part.read(cursor)

    def resume_passing(cursor: Cursor) -> Steps:
        for _ in range(_read_length(cursor, length)):
            for part in parts:
                if part.resumable:
                    yield from part.read(cursor)
                else:
                    part.read(cursor)

    if any(part.resumable for part in parts):
        return Reader(resume_passing, resumable=True)
    return Reader(pass_over)


def passing_numbers_reader(length: int | None) -> Reader:
    """The reader that passes over a slice or an array of integers, like a hash."""

    def pass_over(cursor: Cursor) -> None:
        count = _read_length(cursor, length)
        data, position = cursor.data, cursor.position
        for _ in range(count):
            first = data[position]
            if 0x80 <= first < 0xF8:
                raise GobDecodeError("malformed integer")
            position += 1 if first < 0x80 else 0x101 - first
        if position > len(data):
            raise GobDecodeError("truncated integer")
        cursor.position = position

    return Reader(pass_over)


def sequence_reader(element: Reader, length: int | None) -> Reader:
    """The reader for slices, and for arrays (with ``length``), as tuples."""
    read = element.read

    def read_count(cursor: Cursor) -> int:
        count = _read_length(cursor, length)
        cursor.count(count)
        return count

    def read_sequence(cursor: Cursor) -> tuple[Any, ...]:
        count = read_count(cursor)
        if count > cursor.rest:
            raise GobDecodeError(f"{count} elements exceed the message")
        return tuple([read(cursor) for _ in range(count)])

    def resume_sequence(cursor: Cursor) -> Steps:
        items = []
        for _ in range(read_count(cursor)):
            items.append((yield from read(cursor)))
        return tuple(items)

    if element.resumable:
        return Reader(resume_sequence, resumable=True)
    return Reader(read_sequence)


def byte_array_reader(length: int) -> Reader:
    """The reader for arrays of bytes, which travel as unsigned integers."""
    usual_form = re.compile(rb"(?:[\x00-\x7f]|\xff[\x80-\xff]){%d}" % length)
    byte = ranged_reader(read_uint, 0, 0xFF)

    def read_byte_array(cursor: Cursor) -> bytes:
        _read_length(cursor, length)
        match = usual_form.match(cursor.data, cursor.position)
        if match is None:  # numbers with leading zeros, or an error
            return bytes([byte.read(cursor) for _ in range(length)])
        cursor.position = match.end()
        pieces = match.group().split(b"\xff\xff")
        return b"\xff".join([piece.translate(None, b"\xff") for piece in pieces])

    return Reader(read_byte_array)


def byte_array_list_reader(length: int, general: Reader) -> Reader:
    """The reader for slices of arrays of bytes, as tuples.

    Args:
        length: of the arrays.
        general: reads what is not in the usual form.
    """

    def read_list_of_arrays(cursor: Cursor) -> Any:
        start = cursor.position
        count = read_uint(cursor)
        found = None
        if count * (length + 1) <= cursor.rest:
            found = read_list(cursor.data, cursor.position, count, length)
        if found is None:
            cursor.position = start
            return general.read(cursor)
        cursor.count(count)
        arrays, cursor.position = found
        return tuple(arrays)

    return Reader(read_list_of_arrays) if length < 0x80 else general


def map_reader(key: Reader, value: Reader) -> Reader:
    """The reader for maps, as dicts."""

    def put(entries: dict[Any, Any], name: Any, item: Any) -> None:
        try:
            entries[name] = item
        except TypeError as error:  # without a declared type, structs are dicts
            raise GobDecodeError(f"not supported as key of a map: {error}") from error

    def read_count(cursor: Cursor) -> int:
        count = read_uint(cursor)
        cursor.count(count)
        return count

    def read_map(cursor: Cursor) -> dict[Any, Any]:
        entries: dict[Any, Any] = {}
        for _ in range(read_count(cursor)):
            name = key.read(cursor)
            put(entries, name, value.read(cursor))
        return entries

    def resume_map(cursor: Cursor) -> Steps:
        entries: dict[Any, Any] = {}
        for _ in range(read_count(cursor)):
            name = (yield from key.read(cursor)) if key.resumable else key.read(cursor)
            item = (
                (yield from value.read(cursor))
                if value.resumable
                else value.read(cursor)
            )
            put(entries, name, item)
        return entries

    if key.resumable or value.resumable:
        return Reader(resume_map, resumable=True)
    return Reader(read_map)


def struct_reader(cls: type, steps: list[Step]) -> Reader:
    """The reader for instances of a class that was declared as a struct."""
    zeros, empty = _zeros(cls)

    def finish(values: list[Any]) -> Any:
        return cls(*values)

    return _fields_reader(zeros, finish, lambda: empty, steps)


@lru_cache(maxsize=1024)
def _zeros(cls: type) -> tuple[list[Any], Any]:
    """The values of absent fields, and an instance of which all are absent.

    It is one for all: it takes a byte on the wire, but many here.
    """
    zeros = [field.type.zero for field in struct_info(cls).fields]
    return zeros, cls(*zeros)


def dict_reader(names: list[str], fields: list[Reader]) -> Reader:
    """The reader for structs as dicts of the fields that are there."""
    missing = object()

    def finish(values: list[Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in zip(names, values, strict=True)
            if value is not missing
        }

    return _fields_reader([missing] * len(names), finish, dict, list(enumerate(fields)))


def passing_struct_reader(fields: list[Reader]) -> Reader:
    """The reader that passes over a struct, and keeps nothing."""
    steps: list[Step] = [(None, field) for field in fields]
    return _fields_reader([], lambda _: None, lambda: None, steps)


def _fields_reader(
    zeros: list[Any],
    finish: Callable[[list[Any]], Any],
    make_empty: Callable[[], Any],
    steps: list[Step],
) -> Reader:
    """The fields that are there, put over zeros, made into a value; or none."""

    def step(number: int) -> Step:
        if number >= len(steps):
            raise GobDecodeError("malformed struct: no such field")
        return steps[number]

    def read_struct(cursor: Cursor) -> Any:
        values = zeros.copy()
        number = -1
        while delta := read_uint(cursor):
            number += delta
            slot, reader = step(number)
            value = reader.read(cursor)
            if slot is not None:
                values[slot] = value
        return finish(values) if number >= 0 else make_empty()

    def resume_struct(cursor: Cursor) -> Steps:
        values = zeros.copy()
        number = -1
        while delta := read_uint(cursor):
            number += delta
            slot, reader = step(number)
            value = (
                (yield from reader.read(cursor))
                if reader.resumable
                else reader.read(cursor)
            )
            if slot is not None:
                values[slot] = value
        return finish(values) if number >= 0 else make_empty()

    if any(reader.resumable for _, reader in steps):
        return Reader(resume_struct, resumable=True)
    return Reader(read_struct)
