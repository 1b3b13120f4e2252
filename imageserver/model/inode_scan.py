"""The reader of inode tables: one pass, no objects.

In the usual form, an inode is passed over with one or two compiled expressions. The
first inode of each type comes with the definition of the type, which may cut the
message: it, and whatever else is unusual, is decoded like any other value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import Struct, patterns, uint_bytes
from imageserver.gob.byte_arrays import read_byte_arrays
from imageserver.gob.cursor import Cursor
from imageserver.gob.interfaces import read_content, read_name, read_type_id
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
    value_patterns,
)
from imageserver.model.inode_table import InodeTable

TABLE = gob.Map(gob.UINT, INODE, "InodeTable")

_AT_ONCE = 4_096
_NIL = b"\0"
_CLASSES = {name: cls for cls, name in INODES.by_class.items()}


def _pattern(
    classes: Iterable[type], length: bytes, content: bytes = b""
) -> re.Pattern[bytes]:
    """What matches the beginning of inodes in the usual form.

    Groups: 1 the number, 2 name and type id, 3 the length of the content.

    Args:
        classes: theirs.
        length: what matches the length.
        content: what matches the beginning of the content.
    """
    names = [INODES.by_class[cls].encode() for cls in classes]
    headers = b"(?:%s)%s" % (
        b"|".join([re.escape(uint_bytes(len(name)) + name) for name in names]),
        patterns.number(16),
    )
    number = patterns.number(zero=True)
    pattern = b"(%s)(%s)(%s)%s" % (number, headers, length, content)
    return re.compile(pattern, re.DOTALL)


# Compiled when they are needed: tools that do not look at images start sooner.


@cache
def any_inode() -> re.Pattern[bytes]:
    """What matches the beginning of inodes of all classes."""
    return _pattern(INODES.by_class, LENGTH)


@cache
def _regular_inode() -> re.Pattern[bytes]:
    """What matches regular ones up to the hash; the last group is the size."""
    *values, hash_ = value_patterns(RegularInode)
    content = patterns.fields_up_to(values, hash_)
    return _pattern([RegularInode], patterns.number(8), content)


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
        self.reader = readers.top_level(id_, self.type)
        self.is_usual = field_names(definition) == field_names(cls)
        self.layout: Layout | None = None
        if cls is DirectoryInode:
            self.layout = DirectoryLayout(table, definition, readers.types)
        elif cls is not RegularInode:
            self.layout = PlainLayout(table, cls, definition)


class Scan:
    """One pass over a table."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._table = InodeTable()
        self._piece = bytearray()  # the last of what is encoded
        self._kinds: dict[tuple[str, int], _Kind] = {}
        self._layouts: dict[bytes, tuple[Layout, bytes]] = {}
        self._regular_headers = b"", b""  # theirs and ours
        self._hashes: list[bytes] = []
        self._sizes: list[bytes] = []

    def run(self, cursor: Cursor) -> Steps:
        """Scan the table at the cursor."""
        count = read_uint(cursor)
        cursor.count(count)
        self._begin_piece()
        self._piece += uint_bytes(count)
        rest = count
        while rest:
            self._begin_piece()
            rest -= self._pass_usual(cursor, min(rest, _AT_ONCE))
            self._take_regular()
            if rest:
                yield from self._read_any(cursor)
                rest -= 1
        if len(self._table.numbers) != count:
            self._table.contradictions.append("an inode number is used twice")
        return self._table

    def _begin_piece(self) -> None:
        self._piece = bytearray()
        self._table.encoded.append(self._piece)

    def _pass_usual(self, cursor: Cursor, limit: int) -> int:
        """Pass over inodes as long as they are in the usual form.

        Returns:
            How many, up to the limit.
        """
        data, position, match = cursor.data, cursor.position, _regular_inode().match
        encoded, hashes, sizes = self._piece, self._hashes, self._sizes
        regular, our_header = self._regular_headers
        numbers: list[bytes] = []
        copied = position
        while len(numbers) < limit:
            found = match(data, position)
            if found is None or found[2] != regular:
                encoded += data[copied:position]
                copied = position
                other = self._pass_other(cursor, position)
                if other is None:
                    break
                number, position = other
                numbers.append(number)
                copied = position
                continue
            number, length, size = found.group(1, 3, found.lastindex or 0)
            header_end, start = found.span(3)
            end = start + length[-1]
            if data[end - 1]:
                break
            numbers.append(number)
            hashes.append(data[found.end() : end - 1])
            sizes.append(size or END)
            encoded += data[copied : found.end(1)]
            encoded += our_header
            copied, position = header_end, end
        encoded += data[copied:position]
        cursor.position = position
        self._table.numbers.update(numbers)
        return len(numbers)

    def _pass_other(self, cursor: Cursor, position: int) -> tuple[bytes, int] | None:
        """Pass over an inode that is not regular.

        Returns:
            Its number and the position behind it; ``None`` if it is unusual.
        """
        found = any_inode().match(cursor.data, position)
        taken = None if found is None else self._take_other(cursor, found)
        if found is None or taken is None:
            return None
        header, content, end = taken
        self._piece += found[1] + header + uint_bytes(len(content)) + content
        return found[1], end

    def _take_other(
        self, cursor: Cursor, found: re.Match[bytes]
    ) -> tuple[bytes, bytes, int] | None:
        """Take an inode that is not regular.

        Args:
            cursor: where it is.
            found: its beginning, as :func:`any_inode` matches it.

        Returns:
            Its header and content in our encoding, and the position behind it; ``None``
            if it is unusual.
        """
        if found[2] not in self._layouts:
            return None
        layout, our_header = self._layouts[found[2]]
        start = found.end()
        end = start + read_number(found[3])
        content = layout.take(found[1], cursor, start, end)
        return None if content is None else (our_header, content, end)

    def _take_regular(self) -> None:
        """Take what was collected of regular inodes."""
        hashes = read_byte_arrays(self._hashes, HASH_BYTES)
        self._table.add_regular(hashes, [read_number(size) for size in self._sizes])
        self._hashes.clear()
        self._sizes.clear()

    def _read_any(self, cursor: Cursor) -> Steps:
        """Read an inode as any other value; returns its number."""
        number = uint_bytes(read_uint(cursor))
        name = read_name(cursor)
        if not name:
            self._piece += number + _NIL
            self._table.add(number, None)
            return number
        id_ = yield from read_type_id(cursor, self._readers.types, self._readers.limits)
        kind = self._kind(name, id_)
        inode = yield from read_content(cursor, self._readers.types, kind.reader)
        self._table.add(number, inode)
        content = bytearray()
        _ENCODER.write_value(content, inode, kind.type)
        self._piece += number + kind.our_header + uint_bytes(len(content))
        self._piece += content
        return number

    def _kind(self, name: str, id_: int) -> _Kind:
        kind = self._kinds.get((name, id_))
        if kind is None:
            if name not in _CLASSES:
                raise GobDecodeError(f"name not registered for interface: {name!r}")
            kind = _Kind(name, id_, self._table, self._readers)
            self._kinds[name, id_] = kind
            if kind.layout is not None:
                self._layouts[kind.header] = kind.layout, kind.our_header
            elif kind.is_usual:
                self._regular_headers = kind.header, kind.our_header
        return kind


def _scanner(readers: Readers) -> Reader:
    def scan(cursor: Cursor) -> Steps:
        return (yield from Scan(readers).run(cursor))

    return Reader(scan, resumable=True)


SCANNED_TABLE = gob.Scanned(TABLE, _scanner)
"""A table that is read as an :class:`InodeTable`."""
