"""The reader for interface values: ``docs/gob.md``, "Interfaces".

Definitions of types that are not known yet may stand in the middle of such a value,
and cut its message there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imageserver.errors import GobDecodeError
from imageserver.gob import schema
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import Limits
from imageserver.gob.primitives import read_bytes, read_int, read_uint
from imageserver.gob.reader import Reader, Steps
from imageserver.gob.schema import InterfaceValue, Type
from imageserver.gob.wiretypes import WireTypes, read_definition

_NAME_BYTES = 1024


def interface_reader(
    content_reader: Callable[[int, Type | None], Reader],
    types: WireTypes,
    limits: Limits,
    type_: Type | None,
) -> Reader:
    """The reader for interface values.

    Args:
        content_reader: from a type on the wire and the type asked for to the reader
            of such a top-level value.
        types: the types of the stream; those met on the way are added.
        limits: for these.
        type_: the declared interface, or what is asked for whatever it holds.
    """

    def read_interface(cursor: Cursor) -> Steps:
        name = read_name(cursor)
        if not name:
            return None
        id_ = yield from read_type_id(cursor, types, limits)
        content_type = _content_type(name, type_)
        reader = content_reader(id_, content_type)
        value = yield from read_content(cursor, types, reader)
        if isinstance(content_type, schema.Struct):
            return value
        return InterfaceValue(name, value)

    return Reader(read_interface, resumable=True)


def read_content(cursor: Cursor, types: WireTypes, reader: Reader) -> Steps:
    """Read the length of an interface value's content, and the content.

    Raises:
        GobDecodeError: as ``reader``, or the length is wrong. Where definitions cut in,
            it is the length of a piece, and tells nothing.
    """
    length = read_uint(cursor)
    data, end, type_count = cursor.data, cursor.position + length, len(types)
    value: Any = reader.read(cursor)
    if reader.resumable:
        value = yield from value
    is_whole = cursor.data is data and len(types) == type_count
    if is_whole and cursor.position != end:
        raise GobDecodeError("wrong length of an interface's value")
    return value


def read_name(cursor: Cursor) -> str:
    """Read the name of an interface value's type; empty: the value is nil."""
    raw_name = read_bytes(cursor)
    if len(raw_name) > _NAME_BYTES:
        raise GobDecodeError("name of an interface's type is too long")
    return raw_name.decode("utf-8", "surrogateescape")


def _content_type(name: str, type_: Type | None) -> Type | None:
    """The type to ask for inside an interface that holds a type of that name."""
    if not isinstance(type_, schema.Interface):
        return type_
    content_type = type_.registry.by_name.get(name)
    if content_type is None:
        raise GobDecodeError(f"name not registered for interface: {name!r}")
    return content_type


def read_type_id(cursor: Cursor, types: WireTypes, limits: Limits) -> Steps:
    """Read the id of an interface value's type, behind definitions that may cut in."""
    while True:
        if cursor.exhausted:
            cursor.go_on_with((yield))
        id_ = read_int(cursor)
        if id_ >= 0:
            return id_
        types.add(-id_, read_definition(cursor, limits))
        if not cursor.exhausted:
            read_uint(cursor)  # length of the next piece, which is not needed
