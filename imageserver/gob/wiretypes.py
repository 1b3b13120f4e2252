"""Type definitions on the wire: ``docs/gob.md``, "Definitions".

A stream defines its types by ids of its own. Ids below 64 are fixed: the basic
types, and the types of the definitions themselves. The names of types are for
people: types that differ in nothing else are equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob.cursor import Cursor
from imageserver.gob.limits import Limits
from imageserver.gob.primitives import (
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
BY_GOB, BY_BINARY, BY_TEXT = range(3)
FIRST_DEFINABLE_ID = 64
FIRST_OWN_ID = 65  # some releases of Go refuse 64 from others
_DEFINITION_BYTES = 1 << 16
_DESCRIPTION_CHARACTERS = 64


@attrs.frozen
class ArrayType:
    """An array: id of the elements' type and their number."""

    name: str = attrs.field(default="", eq=False)
    element: int = 0
    length: int = 0

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [self.element]


@attrs.frozen
class SliceType:
    """A slice: id of the elements' type."""

    name: str = attrs.field(default="", eq=False)
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

    name: str = attrs.field(default="", eq=False)
    fields: tuple[FieldType, ...] = ()

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [field.id for field in self.fields]


@attrs.frozen
class MapType:
    """A map: ids of the types of keys and values."""

    name: str = attrs.field(default="", eq=False)
    key: int = 0
    value: int = 0

    def inner_ids(self) -> list[int]:
        """Ids of the types inside."""
        return [self.key, self.value]


@attrs.frozen
class OpaqueType:
    """A type that marshals itself into bytes, like a time.

    Attributes:
        name: its name, which alone tells what the bytes mean.
        method: how it marshals itself: for gob, in binary, or as text.
    """

    name: str = ""
    method: int = BY_GOB

    def inner_ids(self) -> list[int]:
        """Ids of the types inside: none."""
        return []


Definition: TypeAlias = ArrayType | SliceType | StructType | MapType | OpaqueType


class WireTypes:
    """The types that one stream has defined so far."""

    def __init__(self, limit: int = sys.maxsize) -> None:
        """Begin with no types.

        Args:
            limit: how many may be defined.
        """
        self._definitions: dict[int, Definition] = {}
        self._limit = limit

    def __len__(self) -> int:
        return len(self._definitions)

    def get(self, id_: int) -> Definition | None:
        """The definition of type ``id_``, if there is one."""
        return self._definitions.get(id_)

    def add(self, id_: int, definition: Definition) -> None:
        """Define type ``id_``.

        Raises:
            GobDecodeError: the id is taken or reserved, or there are too many types.
        """
        if id_ in self._definitions or id_ < FIRST_DEFINABLE_ID:
            raise GobDecodeError("duplicate type received")
        if len(self._definitions) >= self._limit:
            raise GobDecodeError("too many types")
        self._definitions[id_] = definition

    def describe(self, id_: int) -> str:
        """A name for the type ``id_``, for error messages."""
        definition = self._definitions.get(id_)
        if definition is not None and definition.name:
            return definition.name[:_DESCRIPTION_CHARACTERS]
        return BASIC_NAMES.get(id_, f"type {id_}")


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


def _read_struct(cursor: Cursor, limit: int) -> StructType:
    def read_field_list(cursor: Cursor) -> tuple[FieldType, ...]:
        count = read_uint(cursor)
        if count > limit:
            raise GobDecodeError("too many fields")
        fields = tuple([_read_field(cursor) for _ in range(count)])
        if len({field.name for field in fields}) < count:
            raise GobDecodeError("malformed type definition")
        return fields

    name, fields = _read_fields(cursor, _read_name, read_field_list)
    return StructType(name or "", fields or ())


def _read_map(cursor: Cursor) -> MapType:
    name, key, value = _read_fields(cursor, _read_name, read_int, read_int)
    return MapType(name or "", key or 0, value or 0)


def _read_opaque(cursor: Cursor, method: int) -> OpaqueType:
    (name,) = _read_fields(cursor, _read_name)
    return OpaqueType(name or "", method)


_READ_OPAQUE = [
    partial(_read_opaque, method=method) for method in (BY_GOB, BY_BINARY, BY_TEXT)
]


def read_definition(cursor: Cursor, limits: Limits) -> Definition:
    """Read the body of a definition, behind the id.

    Raises:
        GobDecodeError: the definition is malformed or too large.
    """
    start = cursor.position
    kinds = _read_fields(
        cursor,
        _read_array,
        _read_slice,
        partial(_read_struct, limit=limits.fields),
        _read_map,
        *_READ_OPAQUE,
    )
    found: list[Definition] = [kind for kind in kinds if kind is not None]
    if len(found) != 1:
        raise GobDecodeError("malformed type definition")
    if cursor.position - start > _DEFINITION_BYTES:
        raise GobDecodeError("a type definition is too long")
    return found[0]


_KINDS = (ArrayType, SliceType, StructType, MapType, OpaqueType)


def write_definition(out: bytearray, id_: int, definition: Definition) -> None:
    """Append the body of the message that defines ``id_``."""
    write_int(out, -id_)
    kind = _KINDS.index(type(definition))
    if isinstance(definition, OpaqueType):
        kind += definition.method
    write_uint(out, kind + 1)
    out.append(1)
    _write_name(out, definition.name, id_)
    if isinstance(definition, StructType):
        if definition.fields:
            out.append(1)
            write_uint(out, len(definition.fields))
            for field in definition.fields:
                _write_name(out, field.name, field.id)
    elif not isinstance(definition, OpaqueType):
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
