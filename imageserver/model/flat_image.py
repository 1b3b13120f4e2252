"""Images as clients compare them: what is in the inodes is copied, not decoded.

As objects the inodes of a large image take seconds; to find out what is different in
two images takes their bytes only, and where each begins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

import attrs

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import STRING, UINT, patterns
from imageserver.gob.cursor import Cursor
from imageserver.gob.patterns import read_number
from imageserver.gob.primitives import read_uint
from imageserver.gob.reader import Reader, Steps
from imageserver.gob.readers import Readers
from imageserver.model import inode_scan
from imageserver.model.canonical_inodes import (
    CLASS_BY_HEADER,
    HEADER_BY_CLASS,
    InodeReader,
    encode_inode,
)
from imageserver.model.file_system import FileSystem
from imageserver.model.image import ImageMetadata
from imageserver.model.inode import DirectoryInode, Inode, RegularInode
from imageserver.model.inode_scan import TABLE
from imageserver.model.inode_table import Entries

ROOT = b""
"""Stands for the number of the root, which has none."""

_READER = InodeReader()


@attrs.define(eq=False)
class FlatTable:
    """Inodes by their numbers; both as they are encoded.

    Attributes:
        inodes: header (which tells the class) and content; of regular inodes, which
            are most, the content only.
        directories: what is in each of those that are directories.
    """

    inodes: dict[bytes, bytes] = attrs.Factory(dict)
    directories: dict[bytes, Entries] = attrs.Factory(dict)


@lru_cache(maxsize=64)
def _regular_inode(header: bytes) -> re.Pattern[bytes]:
    """What matches regular inodes up to their content, the length of which comes last.

    Args:
        header: their name and type id; empty: not known, then it matches nothing.
    """
    number = patterns.number(zero=True)
    known = re.escape(header) or b"(?!)"
    return re.compile(b"(%s)%s%s" % (number, known, patterns.number(8)), re.DOTALL)


class _Collect(inode_scan.Scan):
    """A pass that looks at no more of inodes than where they end."""

    def __init__(self, readers: Readers) -> None:
        super().__init__(readers)
        self._inodes: dict[bytes, bytes] = {}

    def run(self, cursor: Cursor) -> Steps:
        start = cursor.position
        count = read_uint(cursor)
        cursor.position = start
        table = yield from super().run(cursor)
        if len(self._inodes) != count:
            raise GobDecodeError("an inode table that contradicts itself")
        return FlatTable(self._inodes, table.directories)

    def _pass_usual(self, cursor: Cursor, limit: int) -> int:
        data, position, inodes = cursor.data, cursor.position, self._inodes
        regular = _regular_inode(self._regular_headers[0]).match
        other = inode_scan.any_inode().match
        for passed in range(limit):
            if found := regular(data, position):
                start = found.end()
                position = start + data[start - 1]
                inodes[found[1]] = data[start:position]
                continue
            found = other(data, position)
            taken = None if found is None else self._take_other(cursor, found)
            if found is None or taken is None:
                cursor.position = position
                return passed
            header, content, position = taken
            inodes[found[1]] = header + content
        cursor.position = position
        return limit

    def _read_any(self, cursor: Cursor) -> Steps:
        self._piece.clear()
        number = yield from super()._read_any(cursor)
        self._keep(number)
        return number

    def _keep(self, number: bytes) -> None:
        """Keep the inode that was encoded last."""
        found = inode_scan.any_inode().match(self._piece)
        if found is None:
            raise GobDecodeError("an inode is nil")
        is_regular = found[2] == HEADER_BY_CLASS[RegularInode]
        header = b"" if is_regular else found[2]
        self._inodes[number] = header + bytes(self._piece[found.end() :])


def _collector(readers: Readers) -> Reader:
    def collect(cursor: Cursor) -> Steps:
        return (yield from _Collect(readers).run(cursor))

    return Reader(collect, resumable=True)


@gob.struct("FileSystem")
class FlatFileSystem:
    """A file system with such a table."""

    table: FlatTable | None = gob.field("InodeTable", gob.Scanned(TABLE, _collector))
    regular_count: int = gob.field("NumRegularInodes", UINT)
    root: DirectoryInode = gob.field(
        "DirectoryInode", gob.Struct(DirectoryInode), embedded=True
    )


@gob.struct("Image")
class FlatImage(ImageMetadata):
    """An image with such a file system."""

    file_system: FlatFileSystem | None = gob.field(
        "FileSystem", gob.Pointer(gob.Struct(FlatFileSystem))
    )


@gob.struct("GetImageResponse")
class GetFlatImageResponse:
    """``None``: there is no such image."""

    image: FlatImage | None = gob.field("Image", gob.Pointer(gob.Struct(FlatImage)))
    information_database_url: str = gob.field("InformationDatabaseURL", STRING)


class FlatTree:
    """Looks into such a file system.

    Attributes:
        inodes: see :class:`FlatTable`.
        directories: likewise; the root is one of them.
        regular_count: how many inodes are files.
    """

    def __init__(self, file_system: FlatFileSystem) -> None:
        """Look into ``file_system``."""
        table = file_system.table or FlatTable()
        self.inodes = table.inodes
        self.regular_count = file_system.regular_count
        self._root = file_system.root
        self.directories = {**table.directories, ROOT: Entries.of(file_system.root)}

    @classmethod
    def of(cls, file_system: FileSystem) -> FlatTree:
        """A file system that was decoded, or scanned from a disk."""
        table = FlatTable()
        for number, inode in (file_system.inodes or {}).items():
            kind = type(inode)
            header = b"" if kind is RegularInode else HEADER_BY_CLASS[kind]
            encoded = gob.uint_bytes(number)
            table.inodes[encoded] = header + encode_inode(inode)
            if isinstance(inode, DirectoryInode):
                table.directories[encoded] = Entries.of(inode)
        flat = FlatFileSystem(table, file_system.regular_count, file_system.root)
        return cls(flat)

    def inode(self, number: bytes) -> Inode:
        """An inode.

        Raises:
            GobDecodeError: there is no such inode, or it is damaged.
        """
        if number == ROOT:
            return self._root
        raw = self.inodes.get(number)
        if raw is None:
            raise GobDecodeError(f"there is no inode {read_number(number)}")
        cls: type = RegularInode
        start = 0
        for header, kind in CLASS_BY_HEADER.items():
            if raw.startswith(header):
                cls, start = kind, len(header)
        return _READER.read(cls, raw[start:])

    def walk(
        self, path: bytes = b"", number: bytes = ROOT
    ) -> Iterator[tuple[bytes, bytes]]:
        """Paths and inode numbers of all that is below a directory, in some order."""
        unvisited = [(path, number)]
        seen = {number}
        while unvisited:
            path, number = unvisited.pop()
            entries = self.directories[number]
            for name, child in zip(entries.names, entries.numbers, strict=True):
                child_path = path + b"/" + name
                yield child_path, child
                if child in self.directories:
                    if child in seen:
                        raise GobDecodeError("a directory is reached twice")
                    seen.add(child)
                    unvisited.append((child_path, child))

    def shared(self) -> dict[bytes, frozenset[bytes]]:
        """The names of inodes that have several, by the path of each.

        Raises:
            GobDecodeError: there are names of inodes that are not there.
        """
        numbers = list(
            chain.from_iterable(e.numbers for e in self.directories.values())
        )
        distinct = set(numbers)
        if missing := distinct - self.inodes.keys():
            raise GobDecodeError(f"there is no inode {read_number(min(missing))}")
        if len(distinct) == len(numbers):  # which is quicker than to count
            return {}
        shared = {number for number, count in Counter(numbers).items() if count > 1}
        paths: dict[bytes, set[bytes]] = {number: set() for number in shared}
        for path, number in self.walk():
            if number in shared:
                paths[number].add(path)
        groups = [frozenset(group) for group in paths.values()]
        return {path: group for group in groups for path in group}
