"""Type definitions on the wire: ``docs/protocol.md``, "Type definitions".

A stream defines its types by ids of its own. Ids below 64 are fixed: the basic
types, and the types of the definitions themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob.limits import DEFAULT_LIMITS, Limits
from imageserver.gob.primitives import (
    Cursor,
    read_int,
    read_string,
    read_uint,
    write_int,
    write_string,
    write_uint,
)

BOOL, INT, UINT, FLOAT, BYTES, STRING, COMPLEX, INTERFACE = range(1, 9)
BASIC_NAMES = {
    BOOL: "bool",
    INT: "int",
    UINT: "uint",
    FLOAT: "float",
    BYTES: "bytes",
    STRING: "string",
    COMPLEX: "complex",
    INTERFACE: "interface",
}
FIRST_DEFINABLE_ID = 64
FIRST_OWN_ID = 65  # some releases of Go refuse 64 from others


@attrs.frozen
class ArrayType:
    """An array: id of the elements' type and their number."""

    name: str = ""
    element: int = 0
    length: int = 0

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [self.element]


@attrs.frozen
class SliceType:
    """A slice: id of the elements' type."""

    name: str = ""
    element: int = 0

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [self.element]


@attrs.frozen
class FieldType:
    """A field of a struct: its name and the id of its type."""

    name: str = ""
    id: int = 0


@attrs.frozen
class StructType:
    """A struct: its fields in order."""

    name: str = ""
    fields: tuple[FieldType, ...] = ()

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [field.id for field in self.fields]


@attrs.frozen
class MapType:
    """A map: ids of the types of keys and values."""

    name: str = ""
    key: int = 0
    value: int = 0

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [self.key, self.value]


@attrs.frozen
class OpaqueType:
    """A type that marshals itself into bytes, like a time."""

    name: str = ""

    def inner_ids(self) -> list[int]:
        """Ids of the types inside: none."""
        return []


Definition: TypeAlias = ArrayType | SliceType | StructType | MapType | OpaqueType


class WireTypes:
    """The types that one stream has defined so far."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._definitions: dict[int, Definition] = {}
        self._limits = limits

    def __getitem__(self, id_: int) -> Definition:
        try:
            return self._definitions[id_]
        except KeyError:
            raise GobDecodeError(f"undefined type: {id_}") from None

    def add(self, id_: int, definition: Definition) -> None:
        """Define type ``id_``.

        Raises:
            GobDecodeError: the id is taken or reserved, or there are too many types.
        """
        if id_ in self._definitions or id_ < FIRST_DEFINABLE_ID:
            raise GobDecodeError("duplicate type received")
        if len(self._definitions) >= self._limits.types:
            raise GobDecodeError("too many types")
        self._definitions[id_] = definition

    def copy(self) -> WireTypes:
        """A table with the same types, to which others can be added."""
        table = WireTypes(self._limits)
        table._definitions = self._definitions.copy()
        return table

    def describe(self, id_: int) -> str:
        """A name for the type ``id_``, for error messages."""
        definition = self._definitions.get(id_)
        return (definition and definition.name) or BASIC_NAMES.get(id_, f"type {id_}")


def _read_fields(cursor: Cursor, *readers: Callable[[Cursor], Any]) -> list[Any]:
    """Read a struct whose fields are known; absent ones are ``None``."""
    values: list[Any] = [None] * len(readers)
    number = -1
    while delta := read_uint(cursor):
        number += delta
        if number >= len(readers):
            raise GobDecodeError("malformed type definition")
        values[number] = readers[number](cursor)
    return values


def _read_name(cursor: Cursor) -> str:
    """Read a CommonType: a name, and an id which repeats what is known."""
    name, _ = _read_fields(cursor, read_string, read_int)
    return name or ""


def _read_array(cursor: Cursor) -> ArrayType:
    name, element, length = _read_fields(cursor, _read_name, read_int, read_int)
    return ArrayType(name or "", element or 0, length or 0)


def _read_slice(cursor: Cursor) -> SliceType:
    name, element = _read_fields(cursor, _read_name, read_int)
    return SliceType(name or "", element or 0)


def _read_field(cursor: Cursor) -> FieldType:
    name, id_ = _read_fields(cursor, read_string, read_int)
    return FieldType(name or "", id_ or 0)


def _read_field_list(cursor: Cursor) -> tuple[FieldType, ...]:
    count = read_uint(cursor)
    if count > cursor.limits.fields:
        raise GobDecodeError("too many fields")
    return tuple(_read_field(cursor) for _ in range(count))


def _read_struct(cursor: Cursor) -> StructType:
    name, fields = _read_fields(cursor, _read_name, _read_field_list)
    return StructType(name or "", fields or ())


def _read_map(cursor: Cursor) -> MapType:
    name, key, value = _read_fields(cursor, _read_name, read_int, read_int)
    return MapType(name or "", key or 0, value or 0)


def _read_opaque(cursor: Cursor) -> OpaqueType:
    (name,) = _read_fields(cursor, _read_name)
    return OpaqueType(name or "")


_READERS = (
    _read_array,
    _read_slice,
    _read_struct,
    _read_map,
    _read_opaque,  # marshals itself for gob,
    _read_opaque,  # in binary,
    _read_opaque,  # or as text
)
_TIME_NUMBER = 4  # a time marshals itself for gob


def read_definition(cursor: Cursor) -> Definition:
    """Read the body of a definition, behind the id.

    Raises:
        GobDecodeError: the definition is malformed or too large.
    """
    found = [kind for kind in _read_fields(cursor, *_READERS) if kind is not None]
    if len(found) != 1:
        raise GobDecodeError("malformed type definition")
    definition: Definition = found[0]
    return definition


def write_definition(out: bytearray, id_: int, definition: Definition) -> None:
    """Append the body of the message that defines ``id_``."""
    write_int(out, -id_)
    if isinstance(definition, OpaqueType):
        number = _TIME_NUMBER
    else:
        number = (ArrayType, SliceType, StructType, MapType).index(type(definition))
    write_uint(out, number + 1)
    out.append(1)
    _write_name(out, definition.name, id_)
    if isinstance(definition, StructType):
        if definition.fields:
            out.append(1)
            write_uint(out, len(definition.fields))
            for field in definition.fields:
                _write_name(out, field.name, field.id)
    else:
        for value in attrs.astuple(definition)[1:]:
            out.append(1)
            write_int(out, value)
    out += b"\0\0"


def _write_name(out: bytearray, name: str, id_: int) -> None:
    """Append a struct of a string and an id: a CommonType or a field."""
    delta = 2
    if name:
        out.append(1)
        write_string(out, name)
        delta = 1
    out.append(delta)
    write_int(out, id_)
    out.append(0)
