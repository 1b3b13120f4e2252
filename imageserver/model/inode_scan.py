"""The reader of inode tables: one pass, no objects.

In the usual form, an inode is passed over with one or two compiled expressions. The
first inode of each type comes with the definition of the type, which may cut the
message: it, and whatever else is unusual, is decoded like any other value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import Struct, patterns, uint_bytes
from imageserver.gob.byte_arrays import read_byte_arrays
from imageserver.gob.cursor import Cursor
from imageserver.gob.interfaces import read_name, read_type_id
from imageserver.gob.patterns import read_number
from imageserver.gob.primitives import read_uint, write_int, write_string
from imageserver.gob.reader import Reader, Steps
from imageserver.gob.readers import Readers
from imageserver.model.directory_layout import DirectoryLayout
from imageserver.model.hash import HASH_BYTES
from imageserver.model.inode import INODE, INODES, DirectoryInode, RegularInode
from imageserver.model.inode_layouts import (
    END,
    LENGTH,
    Layout,
    PlainLayout,
    field_names,
    struct_pattern,
)
from imageserver.model.inode_table import InodeTable

TABLE = gob.Map(gob.UINT, INODE, "InodeTable")

_AT_ONCE = 4_096
_NIL = b"\0"
_CLASSES = {name: cls for cls, name in INODES.by_class.items()}
_NAMES = b"|".join(
    re.escape(uint_bytes(len(name)) + name.encode()) for name in _CLASSES
)
_HEADER = b"(?:%s)%s" % (_NAMES, patterns.number(16))
_NEVER = b"(?!)"


@lru_cache(maxsize=64)
def _beginning(regular: bytes | None) -> re.Pattern[bytes]:
    """What matches the beginning of an inode in the usual form.

    Regular inodes are matched up to their hash, since there are so many. Groups: 1 the
    number; 2 and 3 header and length of regular inodes, 9 their size; 11 and 12 header
    and length of others.

    Args:
        regular: the header of regular inodes, once it is known.
    """
    header = _NEVER if regular is None else re.escape(regular)
    content = struct_pattern(RegularInode, first_group=4)
    return re.compile(
        b"(%s)(?:(%s)(%s)%s(?(10)|%s)|(%s)(%s))"
        % (
            patterns.number(zero=True),
            header,
            patterns.number(8),
            content,
            _NEVER,
            _HEADER,
            LENGTH,
        ),
        re.DOTALL,
    )


# Canonical image files define the types of the table first: their ids are these.
_ENCODER = gob.Encoder()
_ENCODER.define(TABLE)


class _Kind:
    """The inodes of one class in one stream.

    Attributes:
        header: name and type id as they are encoded there.
        our_header: the same in our encoding.
        type: their type.
        reader: reads those that are unusual.
        layout: takes the others; ``None`` if they are regular.
        is_usual: whether their type is defined as we declare it.
    """

    def __init__(
        self, name: str, id_: int, table: InodeTable, readers: Readers
    ) -> None:
        header = bytearray()
        write_string(header, name)
        write_int(header, id_)
        cls = _CLASSES[name]
        definition = readers.types.get(id_)
        self.header = bytes(header)
        self.type = Struct(cls)
        self.our_header = _ENCODER.interface_header(name, self.type)
        self.is_foreign = self.header != self.our_header
        self.reader = readers.top_level(id_, self.type)
        self.is_usual = field_names(definition) == field_names(cls)
        self.layout: Layout | None = None
        if cls is DirectoryInode:
            self.layout = DirectoryLayout(table, definition, readers.types)
        elif cls is not RegularInode:
            self.layout = PlainLayout(table, cls, definition)


class _Scan:
    """One pass over a table."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._table = InodeTable()
        self._kinds: dict[tuple[str, int], _Kind] = {}
        self._beginning = _beginning(None)
        self._hashes: list[bytes] = []
        self._sizes: list[bytes] = []

    def run(self, cursor: Cursor) -> Steps:
        """Scan the table at the cursor."""
        count = read_uint(cursor)
        cursor.count(count)
        self._table.encoded += uint_bytes(count)
        rest = count
        while rest:
            rest -= self._pass_usual(cursor, min(rest, _AT_ONCE))
            self._take_regular()
            if rest:
                yield from self._read_any(cursor)
                rest -= 1
        if len(self._table.numbers) != count:
            self._table.contradictions.append("an inode number is used twice")
        return self._table

    def _pass_usual(self, cursor: Cursor, limit: int) -> int:
        """Pass over inodes as long as they are in the usual form.

        Returns:
            How many, up to the limit.
        """
        data, position = cursor.data, cursor.position
        match, encoded = self._beginning.match, self._table.encoded
        kinds = {kind.header: kind for kind in self._kinds.values()}
        layouts = {header: kind.layout for header, kind in kinds.items()}
        hashes, sizes = self._hashes, self._sizes
        numbers = []
        copied = position
        for _ in range(limit):
            found = match(data, position)
            if found is None:
                break
            number, header, length, size, other = found.group(1, 2, 3, 9, 11)
            content: bytes | None = b""
            if other is None:
                kind, group = kinds[header], 2
                end = found.end(3) + length[-1]
                if data[end - 1]:
                    break
                hashes.append(data[found.end() : end - 1])
                sizes.append(size or END)
            else:
                layout = layouts.get(other)
                if layout is None:
                    break
                kind, group = kinds[other], 11
                end = found.end() + read_number(found[12])
                content = layout.take(number, data, found.end(), end)
                if content is None:
                    break
            numbers.append(number)
            position = end
            if content or kind.is_foreign:
                encoded += data[copied : found.start(group)]
                encoded += kind.our_header
                copied = found.end(group)
                if content:
                    encoded += uint_bytes(len(content)) + content
                    copied = end
        encoded += data[copied:position]
        cursor.position = position
        self._table.numbers.update(numbers)
        return len(numbers)

    def _take_regular(self) -> None:
        """Take what was collected of regular inodes."""
        hashes = read_byte_arrays(self._hashes, HASH_BYTES)
        self._table.add_regular(hashes, [read_number(size) for size in self._sizes])
        self._hashes.clear()
        self._sizes.clear()

    def _read_any(self, cursor: Cursor) -> Steps:
        """Read an inode as any other value."""
        number = uint_bytes(read_uint(cursor))
        name = read_name(cursor)
        if not name:
            self._table.encoded += number + _NIL
            self._table.add(number, None)
            return
        id_ = yield from read_type_id(cursor, self._readers.types, self._readers.limits)
        kind = self._kind(name, id_)
        read_uint(cursor)  # its length, which is not needed
        inode: Any = kind.reader.read(cursor)
        if kind.reader.resumable:
            inode = yield from inode
        self._table.add(number, inode)
        content = bytearray()
        _ENCODER.write_value(content, inode, kind.type)
        self._table.encoded += number + kind.our_header + uint_bytes(len(content))
        self._table.encoded += content

    def _kind(self, name: str, id_: int) -> _Kind:
        kind = self._kinds.get((name, id_))
        if kind is None:
            if name not in _CLASSES:
                raise GobDecodeError(f"name not registered for interface: {name!r}")
            kind = _Kind(name, id_, self._table, self._readers)
            self._kinds[name, id_] = kind
            if kind.layout is None and kind.is_usual:
                self._beginning = _beginning(kind.header)
        return kind


def _scanner(readers: Readers) -> Reader:
    def scan(cursor: Cursor) -> Steps:
        return (yield from _Scan(readers).run(cursor))

    return Reader(scan, resumable=True)


SCANNED_TABLE = gob.Scanned(TABLE, _scanner)
"""A table that is read as an :class:`InodeTable`."""
