"""How directories lie in a stream: the entries first, then mode and owner."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imageserver.gob import patterns
from imageserver.gob.cursor import Cursor
from imageserver.gob.patterns import read_number
from imageserver.gob.wiretypes import Definition, SliceType, StructType, WireTypes
from imageserver.model.inode import DirectoryEntry, DirectoryInode
from imageserver.model.inode_layouts import END, LENGTH, field_names
from imageserver.model.inode_table import Entries, InodeTable

_OURS = [0, 1, 2, 3]
_AT_ONCE = 4_096
_NAME_LENGTH = patterns.number(8)
_ENTRY = b"\\x01(%s)([^\\0\\1/]+)\\x01(%s)\\0" % (_NAME_LENGTH, patterns.number())
_ENTRIES = re.compile(_ENTRY, re.DOTALL)
_RUN = re.compile(b"(?:%s){1,%d}+" % (_ENTRY, _AT_ONCE), re.DOTALL)
_NO_ENTRIES = Entries()


class DirectoryLayout:
    """Directories: their entries.

    Other programs define a field between the entries and the mode, which they leave
    empty: then mode and owner are numbered anew.
    """

    def __init__(
        self, table: InodeTable, definition: Definition | None, types: WireTypes
    ) -> None:
        self._table = table
        positions = _positions(definition, types)
        self._is_known = bool(positions)
        self._is_ours = field_names(definition) == field_names(DirectoryInode)
        first, *others = positions or _OURS
        values = [patterns.number(32)] * len(others)
        self._head = re.compile(b"\\x%02x(%s)" % (first + 1, LENGTH), re.DOTALL)
        self._tail = re.compile(patterns.fields(others, values, after=first), re.DOTALL)
        self._tail_alone = re.compile(patterns.fields(others, values), re.DOTALL)

    def take(self, number: bytes, cursor: Cursor, start: int, end: int) -> bytes | None:
        """See :class:`Layout`."""
        if not self._is_known:
            return None
        head = self._head.match(cursor.data, start, end)
        count = 0 if head is None else read_number(head[1])
        cursor.count(count)
        content = self._take(number, cursor.data, head, count, start, end)
        if content is None:
            cursor.count(-count)  # whoever reads it counts for himself
        return content

    def _take(
        self,
        number: bytes,
        data: bytes,
        head: re.Match[bytes] | None,
        count: int,
        start: int,
        end: int,
    ) -> bytes | None:
        entries, position, pattern = _NO_ENTRIES, start, self._tail_alone
        if head is not None:
            found = _read_entries(data, head.end(), end, count)
            if found is None:
                return None
            (entries, position), pattern = found, self._tail
        tail = pattern.match(data, position, end)
        if tail is None or data[tail.end() : end] != END:
            return None
        self._table.directories[number] = entries
        if self._is_ours:
            return data[start:end]
        if head is None:
            return _encode_fields(tail.groups(), first_delta=2)
        return b"\1" + data[head.start(1) : position] + _encode_fields(tail.groups(), 1)


_OUR_HEAD = re.compile(b"\\x01(%s)" % LENGTH, re.DOTALL)


def read_directory(data: bytes, start: int, end: int) -> tuple[Entries, bytes] | None:
    """The entries of a directory in our encoding, and what is encoded behind them.

    ``None`` if the entries are unusual.

    Args:
        data: where the directory is encoded.
        start: where its content begins.
        end: where that ends.
    """
    head = _OUR_HEAD.match(data, start, end)
    if head is None:
        return _NO_ENTRIES, data[start:end]
    found = _read_entries(data, head.end(), end, read_number(head[1]))
    if found is None:
        return None
    # With entries in front, fields are numbered from there: bring both to one form.
    entries, position = found
    first = data[position] and data[position] + 1
    return entries, bytes([first]) + data[position + 1 : end]


def _positions(definition: Definition | None, types: WireTypes) -> list[int]:
    """Where our fields are in a definition of directories.

    Empty if they are in another order, or the entries are not as usual.
    """
    names = field_names(definition)
    ours = field_names(DirectoryInode)
    if not isinstance(definition, StructType) or not set(ours) <= set(names):
        return []
    positions = [names.index(name) for name in ours]
    entries = types.get(definition.fields[positions[0]].id)
    if positions != sorted(positions) or not isinstance(entries, SliceType):
        return []
    usual = field_names(types.get(entries.element)) == field_names(DirectoryEntry)
    return positions if usual else []


def _read_entries(
    data: bytes, position: int, end: int, count: int
) -> tuple[Entries, int] | None:
    """Entries, and the position behind them; ``None`` if one is not as usual."""
    found: list[tuple[bytes, bytes, bytes]] = []
    while len(found) < count:
        run = _RUN.match(data, position, end)
        if run is None:
            return None
        found += _ENTRIES.findall(data, position, run.end())
        position = run.end()
    lengths, names, numbers = zip(*found, strict=True)
    if len(found) != count or [le[-1] for le in lengths] != list(map(len, names)):
        return None
    return Entries(names, numbers), position


def _encode_fields(values: Iterable[bytes | None], first_delta: int) -> bytes:
    """The last fields of a struct in our encoding, and its end."""
    encoded = b""
    delta = first_delta
    for value in values:
        if value is None:
            delta += 1
        else:
            encoded += bytes([delta]) + value
            delta = 1
    return encoded + END
