"""How directories lie in a stream: the entries first, then mode and owner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

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
# Not possessive: until Python 3.11.4 that goes wrong for groups.
_RUN = re.compile(b"(?:%s){1,%d}" % (_ENTRY, _AT_ONCE), re.DOTALL)
_ZERO = b"\0"
_Columns: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...]]
_NO_ENTRIES: _Columns = (), ()


class _Form:
    """How directories are encoded whose fields have certain positions."""

    def __init__(self, positions: Sequence[int]) -> None:
        first, *others = positions
        values = [patterns.number(32)] * len(others)
        self._head = re.compile(b"\\x%02x(%s)" % (first + 1, LENGTH), re.DOTALL)
        self._tail = re.compile(patterns.fields(others, values, after=first), re.DOTALL)
        self._tail_alone = re.compile(patterns.fields(others, values), re.DOTALL)

    def head(self, data: bytes, start: int, end: int) -> re.Match[bytes] | None:
        """What stands in front of entries, with their number; ``None``: there are none.

        Args:
            data: where the directory is encoded.
            start: where its content begins.
            end: where that ends, or something behind it.
        """
        return self._head.match(data, start, end)

    def read(
        self, data: bytes, head: re.Match[bytes] | None, start: int, end: int
    ) -> tuple[Entries, int, int] | None:
        """A directory; where its attributes begin, and where they end.

        ``None`` if it is not as usual.

        Args:
            data: see :meth:`head`.
            head: what was found there.
            start: likewise.
            end: likewise.
        """
        columns, position, pattern = _NO_ENTRIES, start, self._tail_alone
        if head is not None:
            found = _read_entries(data, head.end(), end, read_number(head[1]))
            if found is None:
                return None
            (columns, position), pattern = found, self._tail
        tail = pattern.match(data, position, end)
        if tail is None or not data.startswith(END, tail.end()):
            return None
        attributes = _one_for_all(tail.groups(_ZERO))
        return Entries(*columns, attributes), position, tail.end()


@lru_cache(maxsize=1024)
def _one_for_all(attributes: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """An equal tuple: most directories have the same mode and owner."""
    return attributes


class DirectoryLayout:
    """Directories: their entries, mode and owner.

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
        self._form = _Form(positions or _OURS)

    def take(self, number: bytes, cursor: Cursor, start: int, end: int) -> bytes | None:
        """See :class:`Layout`."""
        if not self._is_known:
            return None
        head = self._form.head(cursor.data, start, end)
        count = 0 if head is None else read_number(head[1])
        cursor.count(count)
        content = self._take(number, cursor.data, head, start, end)
        if content is None:
            cursor.count(-count)  # whoever reads it counts for himself
        return content

    def _take(
        self,
        number: bytes,
        data: bytes,
        head: re.Match[bytes] | None,
        start: int,
        end: int,
    ) -> bytes | None:
        found = self._form.read(data, head, start, end)
        if found is None:
            return None
        directory, position, tail_end = found
        if tail_end + len(END) != end:
            return None
        self._table.directories[number] = directory
        if self._is_ours:
            return data[start:end]
        if head is None:
            return _encode_fields(directory.attributes, first_delta=2)
        entries = b"\1" + data[head.start(1) : position]
        return entries + _encode_fields(directory.attributes, first_delta=1)


_OUR_FORM = _Form(_OURS)


def read_directory(data: bytes, start: int, end: int) -> Entries | None:
    """A directory in our encoding; ``None`` if it is unusual.

    Args:
        data: where the directory is encoded.
        start: where its content begins.
        end: where that ends, or something behind it.
    """
    found = _OUR_FORM.read(data, _OUR_FORM.head(data, start, end), start, end)
    return None if found is None else found[0]


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
) -> tuple[_Columns, int] | None:
    """Names, numbers, and the position behind them; ``None`` if one is not as usual."""
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
    return (names, numbers), position


def _encode_fields(values: Iterable[bytes], first_delta: int) -> bytes:
    """The last fields of a struct in our encoding, and its end."""
    encoded = b""
    delta = first_delta
    for value in values:
        if value == _ZERO:
            delta += 1
        else:
            encoded += bytes([delta]) + value
            delta = 1
    return encoded + END
