"""The file system of a stored image, looked into without decoding all of it.

One pass finds out where each inode begins; what somebody wants to see is decoded then.
An image of 137,000 inodes takes a quarter of a second and, beside its bytes, 2 MB.
Only for the canonical encoding: ``docs/formats.md``, "Canonical image files".
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import patterns
from imageserver.gob.byte_arrays import read_byte_arrays
from imageserver.gob.cursor import Cursor
from imageserver.gob.patterns import read_number
from imageserver.gob.primitives import read_uint
from imageserver.model.canonical_inodes import (
    CLASS_BY_HEADER,
    HEADER_BY_CLASS,
    InodeReader,
)
from imageserver.model.directory_layout import read_directory
from imageserver.model.hash import HASH_BYTES
from imageserver.model.inode import DirectoryInode, Inode, RegularInode
from imageserver.model.inode_layouts import LENGTH, value_patterns
from imageserver.model.inode_table import Entries

ROOT = 0
"""Stands for the number of the root, which has none."""

_LIMITS = gob.Limits(message_bytes=1 << 30)
_TABLE, _REGULAR_COUNT, _DATA_BYTES, _DIRECTORY_COUNT, _ROOT = range(5)

_HEADERS = b"|".join(map(re.escape, CLASS_BY_HEADER))
_INODE = re.compile(
    b"(%s)(%s)(%s)" % (patterns.number(zero=True), _HEADERS, LENGTH), re.DOTALL
)
*_values, _hash = value_patterns(RegularInode)
_REGULAR = re.compile(patterns.fields_up_to(_values, _hash), re.DOTALL)
"""The content of a regular inode up to its hash; the last group is the size."""
_DIRECTORY_HEADER = HEADER_BY_CLASS[DirectoryInode]
_HEADER_AND_LENGTH = re.compile(b"(%s)(%s)" % (_HEADERS, LENGTH), re.DOTALL)


@attrs.frozen
class Place:
    """An entry of a directory.

    Attributes:
        name: its name.
        number: the number of its inode.
    """

    name: bytes
    number: int


class StoredTree:
    """Looks into a file system.

    Attributes:
        data: the file system as it is encoded.
        inode_count: inodes, without the root.
        byte_count: about how much memory this takes.
    """

    def __init__(self, data: bytes) -> None:
        """Look where the inodes are.

        Args:
            data: the value of a file system, in canonical encoding; more may follow.

        Raises:
            GobDecodeError: it is not what it should be.
        """
        self.data = data
        self._reader = InodeReader()
        cursor = Cursor(data, _LIMITS)
        numbers: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        try:
            field = read_uint(cursor) - 1
            if field == _TABLE:
                self._find_inodes(cursor, numbers, starts, ends)
                field += read_uint(cursor)
            while field in (_REGULAR_COUNT, _DATA_BYTES, _DIRECTORY_COUNT):
                read_uint(cursor)
                field += read_uint(cursor)
        except IndexError as error:
            raise GobDecodeError("unexpected end of a file system") from error
        if field != _ROOT:
            raise GobDecodeError("a file system without a root")
        self._root_start = cursor.position
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        self._numbers = array("Q", [numbers[n] for n in order])
        self._starts = array("L", [starts[n] for n in order])
        self._ends = array("L", [ends[n] for n in order])
        self.inode_count = len(order)
        self.byte_count = len(data) + 24 * self.inode_count

    def _find_inodes(
        self,
        cursor: Cursor,
        numbers: list[int],
        starts: list[int],
        ends: list[int],
    ) -> None:
        """Note each number, and from where to where the inode behind it is."""
        data, match = cursor.data, _INODE.match
        count = read_uint(cursor)
        position = cursor.position
        for _ in range(count):
            found = match(data, position)
            if found is None:
                raise GobDecodeError("an inode is not in canonical encoding")
            numbers.append(read_number(found[1]))
            starts.append(found.start(2))
            position = found.end() + read_number(found[3])
            ends.append(position)
        cursor.position = position

    def _index(self, number: int) -> int:
        index = bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            raise GobDecodeError(f"there is no inode {number}")
        return index

    def _content(self, number: int) -> tuple[type, int, int]:
        """The class of an inode, and where its content begins and ends."""
        if number == ROOT:
            return DirectoryInode, self._root_start, len(self.data)
        index = self._index(number)
        start = self._starts[index]
        header = _HEADER_AND_LENGTH.match(self.data, start)
        assert header is not None  # noqa: S101 - it matched before
        return CLASS_BY_HEADER[header[1]], header.end(), self._ends[index]

    def inode(self, number: int) -> Inode:
        """An inode.

        Raises:
            GobDecodeError: there is no such inode, or it is damaged.
        """
        cls, start, end = self._content(number)
        return self._reader.read(cls, self.data[start:end])

    def attributes(self, number: int) -> Inode:
        """An inode; of a directory without its entries, of which there may be many.

        Raises:
            GobDecodeError: there is no such inode, or it is damaged.
        """
        cls, start, end = self._content(number)
        if cls is DirectoryInode:
            found = read_directory(self.data, start, end)
            if found is not None:
                return found.without_entries()
        return self._reader.read(cls, self.data[start:end])

    def span(self, number: int) -> tuple[int, int]:
        """Where an inode below the root begins, with its type, and ends.

        Raises:
            GobDecodeError: there is no such inode.
        """
        index = self._index(number)
        return self._starts[index], self._ends[index]

    def begins_directory(self, start: int) -> bool:
        """Whether the inode that begins there is a directory."""
        return self.data.startswith(_DIRECTORY_HEADER, start)

    def entries(self, number: int) -> list[Place]:
        """What is in a directory.

        Raises:
            GobDecodeError: there is no such directory.
        """
        found = self.directory(number)
        numbers = map(read_number, found.numbers)
        return [Place(*pair) for pair in zip(found.names, numbers, strict=True)]

    def directory(self, number: int) -> Entries:
        """A directory, with numbers as they are encoded.

        Raises:
            GobDecodeError: there is no such directory.
        """
        cls, start, end = self._content(number)
        if cls is not DirectoryInode:
            raise GobDecodeError(f"inode {number} is not a directory")
        found = read_directory(self.data, start, end)
        if found is None:  # there are names of a kind that is rare
            inode = self.inode(number)
            assert isinstance(inode, DirectoryInode)  # noqa: S101 - see above
            found = Entries.of(inode)
        return found

    def is_directory(self, number: int) -> bool:
        """Whether an inode is a directory."""
        if number == ROOT:
            return True
        return self.begins_directory(self._starts[self._index(number)])

    def find(self, path: Sequence[bytes]) -> int | None:
        """The number of the inode at a path, whose names are given."""
        number = ROOT
        for name in path:
            if not self.is_directory(number):
                return None
            entries = self.directory(number)
            if name not in entries.names:
                return None
            number = read_number(entries.numbers[entries.names.index(name)])
        return number

    def walk(self) -> Iterator[tuple[bytes, int]]:
        """Absolute path and inode number of everything below the root, in order."""
        unvisited = [(b"/", iter(self.entries(ROOT)))]
        while unvisited:
            prefix, places = unvisited[-1]
            place = next(places, None)
            if place is None:
                unvisited.pop()
                continue
            path = prefix + place.name
            yield path, place.number
            if self.is_directory(place.number):
                unvisited.append((path + b"/", iter(self.entries(place.number))))

    def contents(self) -> Iterator[tuple[int, bytes, int]]:
        """Inode number, hash and size of all files that have content.

        Raises:
            GobDecodeError: an inode is not what it should be.
        """
        numbers: list[int] = []
        hashes: list[bytes] = []
        sizes: list[int] = []
        for number in self.numbers_of(RegularInode):
            _, start, end = self._content(number)
            found = _REGULAR.match(self.data, start, end)
            if found is None:
                raise GobDecodeError("an inode is not in canonical encoding")
            if size := found[found.lastindex or 0]:
                numbers.append(number)
                hashes.append(self.data[found.end() : end - 1])
                sizes.append(read_number(size))
        yield from zip(
            numbers, read_byte_arrays(hashes, HASH_BYTES), sizes, strict=True
        )

    def numbers_of(self, cls: type) -> list[int]:
        """The numbers of all inodes of a class."""
        header = HEADER_BY_CLASS[cls]
        return [
            number
            for number, start in zip(self._numbers, self._starts, strict=True)
            if self.data.startswith(header, start)
        ]

    def link_counts(self) -> Counter[int]:
        """How many names each inode has."""
        counts: Counter[bytes] = Counter()
        for number in (ROOT, *self.numbers_of(DirectoryInode)):
            counts.update(self.directory(number).numbers)
        return Counter({read_number(number): n for number, n in counts.items()})
