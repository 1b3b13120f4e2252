"""How inodes of each type lie in a stream, and what the table takes from them.

Only the usual form is known here: the fields of our declarations in their order,
numbers in their shortest form. Inodes of any other form are left to the ordinary
readers of gob, and what is to be taken then comes from objects.
"""

from __future__ import annotations

import re
from typing import Protocol

from imageserver.gob import (
    BYTE_STRING,
    STRING,
    ByteArray,
    Int,
    Type,
    Uint,
    patterns,
    struct_info,
    uint_bytes,
)
from imageserver.gob.cursor import Cursor
from imageserver.gob.patterns import read_number
from imageserver.gob.wiretypes import Definition, StructType
from imageserver.model.inode import Inode
from imageserver.model.inode_table import InodeTable

END = b"\0"
LENGTH = patterns.number(32)


def field_names(definition: Definition | type | None) -> list[str]:
    """The names of a struct's fields as it is defined on the wire, or declared."""
    if isinstance(definition, type):
        return [field.name for field in struct_info(definition).fields]
    if isinstance(definition, StructType):
        return [field.name for field in definition.fields]
    return []


class Layout(Protocol):
    """Takes from the inodes of one type what the table needs."""

    def take(self, number: bytes, cursor: Cursor, start: int, end: int) -> bytes | None:
        """Take an inode from ``cursor.data[start:end]``.

        Returns:
            The inode in our encoding; or ``None`` if it is not in the usual form, and
            nothing was taken.

        Raises:
            GobDecodeError: there are too many elements.
        """


class PlainLayout:
    """Inodes of which nothing counts but their number and type.

    Their last field may be a string.
    """

    def __init__(
        self, table: InodeTable, cls: type[Inode], definition: Definition | None
    ) -> None:
        self._table = table
        self._inode = cls()
        self._is_usual = field_names(definition) == field_names(cls)
        values = value_patterns(cls)
        self._pattern = re.compile(
            patterns.fields(range(len(values)), values), re.DOTALL
        )
        self._ends_in_string = _field_types(cls)[-1] in (STRING, BYTE_STRING)

    def take(self, number: bytes, cursor: Cursor, start: int, end: int) -> bytes | None:
        """See :class:`Layout`."""
        data = cursor.data
        found = self._pattern.match(data, start, end)
        if found is None or not self._is_usual:
            return None
        position = found.end()
        if self._ends_in_string:
            position += read_number(found[found.re.groups] or END)
        if data[position:end] != END:
            return None
        self._table.add(number, self._inode)
        return data[start:end]


def value_patterns(cls: type) -> list[bytes]:
    """What matches the fields of inodes; of strings and hashes the length only."""
    return [_value_pattern(type_) for type_ in _field_types(cls)]


def _field_types(cls: type) -> list[Type]:
    return [field.type for field in struct_info(cls).fields]


def _value_pattern(type_: Type) -> bytes:
    if isinstance(type_, Uint | Int):
        return patterns.number(type_.bits)
    if isinstance(type_, ByteArray):
        return re.escape(uint_bytes(type_.length))
    return LENGTH
