"""Lists a file system like :mod:`imageserver.trees.listing`, without decoding it.

Most of a line depends on the bytes of the inode only: what was made of them is
remembered, also from one image to the next.
"""

from __future__ import annotations

import re
import time
from binascii import hexlify
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import tzinfo
from functools import partial
from itertools import chain
from typing import Protocol, TypeAlias

from imageserver.errors import GobDecodeError
from imageserver.gob import patterns
from imageserver.gob.patterns import read_number
from imageserver.model.canonical_inodes import HEADER_BY_CLASS
from imageserver.model.flat_image import ROOT, FlatTree
from imageserver.model.inode import DirectoryInode, Inode, RegularInode, SymlinkInode
from imageserver.model.inode_layouts import value_patterns
from imageserver.model.inode_table import Entries
from imageserver.trees.listing import columns_of, data_of

_REGULAR = re.compile(
    patterns.fields(range(7), value_patterns(RegularInode)), re.DOTALL
)
"""A regular inode up to its hash."""
_SYMLINK = re.compile(
    re.escape(HEADER_BY_CLASS[SymlinkInode])
    + patterns.fields(range(3), value_patterns(SymlinkInode)),
    re.DOTALL,
)
"""A symbolic link, with its class in front, up to its target."""
_ZERO = b"\0"
_FF = b"\xff"
_ESCAPED_FF = _FF * 2
_ALL_COLUMNS = frozenset("mlugstnd")
# Twice the number, as signed numbers are encoded that are not negative.
_ORDINARY_SECONDS = range(2, 1 << 36, 2)
_ORDINARY_NANOSECONDS = range(0, 2_000_000_000, 2)
_BARE_DIRECTORY = partial(DirectoryInode, ())
_Parts: TypeAlias = tuple[bytes, bytes, bytes]
"""What stands in front of the links, behind these, and behind the name."""


class PathMatcher(Protocol):
    """Says which paths to leave out."""

    def matches(self, path: bytes) -> bool:
        """Whether to leave out an absolute path, and all below it."""


class FlatLister:
    """Lists file systems."""

    def __init__(self, time_zone: tzinfo | None = None, skip_fields: str = "") -> None:
        """List in a time zone, but for some columns; see ``list_image``."""
        self._zone = time_zone
        self._shown = _ALL_COLUMNS - frozenset(skip_fields)
        self._parts: dict[bytes, _Parts] = {}
        self._beginnings: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        self._times: dict[bytes, bytes] = {}

    def lines(
        self, tree: FlatTree, matcher: PathMatcher | None = None
    ) -> Iterator[bytes]:
        """List a file system, depth first in the order of the directory entries.

        Args:
            tree: what to list.
            matcher: matches the paths to leave out, each with all that is below it.

        Yields:
            Lines without their ends.

        Raises:
            GobDecodeError: the tree contradicts itself.
        """
        inodes, known = tree.inodes, self._parts
        has_names = "n" in self._shown
        columns = self._link_columns(tree)
        one_link = self._link_column(1)
        for path, number, is_directory in _walk(tree, matcher):
            if is_directory:
                mode, middle, data = self._directory(tree.directories[number])
            else:
                raw = inodes.get(number, b"")
                mode, middle, data = known.get(raw) or self._make(tree, number, raw)
            links = columns.get(number, one_link)
            name = path if has_names else b""
            yield b"".join((mode, links, middle, name, data))

    def _link_columns(self, tree: FlatTree) -> dict[bytes, bytes]:
        """The column of links, for inodes that have several."""
        numbers = chain.from_iterable(e.numbers for e in tree.directories.values())
        counts = Counter(numbers).items()
        return {number: self._link_column(n) for number, n in counts if n > 1}

    def _link_column(self, count: int) -> bytes:
        return b"%3d " % count if "l" in self._shown else b""

    def _make(self, tree: FlatTree, number: bytes, raw: bytes) -> _Parts:
        """The parts of a line that depend on the inode, remembered."""
        parts = self._regular(raw) or self._symlink(raw)
        if parts is None:
            parts = self._render(tree.inode(number))
        self._parts[raw] = parts
        return parts

    def _regular(self, raw: bytes) -> _Parts | None:
        """The parts for an ordinary regular inode; ``None`` if it is none."""
        found = _REGULAR.match(raw)
        if found is None or not found[7]:
            return None
        mode, uid, gid, nanoseconds, seconds, size, _ = found.groups(_ZERO)
        moment = self._times.get(seconds) or self._moment(seconds)
        if moment is None or read_number(nanoseconds) not in _ORDINARY_NANOSECONDS:
            return None
        first, middle = self._beginning(RegularInode, "ug", mode, uid, gid)
        size_bytes = read_number(size)
        if "s" in self._shown:
            middle += b"%10d " % size_bytes
        if "t" in self._shown:
            middle += moment
        has_data = size_bytes and "d" in self._shown
        data = b" " + _hash_column(raw[found.end() : -1]) if has_data else b""
        return first, middle, data

    def _symlink(self, raw: bytes) -> _Parts | None:
        """The parts for a symbolic link; ``None`` if it is none."""
        found = _SYMLINK.match(raw)
        if found is None or not found[3]:
            return None
        uid, gid, _ = found.groups(_ZERO)
        mode, middle = self._beginning(SymlinkInode, "ugst", uid, gid)
        target = b" -> " + raw[found.end() : -1]
        return mode, middle, target if "d" in self._shown else b""

    def _directory(self, directory: Entries) -> _Parts:
        begin = self._beginning(_BARE_DIRECTORY, "ugst", *directory.attributes)
        return *begin, b""

    def _beginning(
        self, cls: Callable[..., Inode], letters: str, *encoded: bytes
    ) -> tuple[bytes, bytes]:
        """What stands in front of the links, and some columns behind these.

        It is remembered, since there are few different ones.

        Args:
            cls: what makes an inode of its first fields.
            letters: which columns.
            encoded: these fields.
        """
        key = cls, encoded
        found = self._beginnings.get(key)
        if found is None:
            columns = columns_of(cls(*map(read_number, encoded)), self._zone)
            found = self._join(columns, "m"), self._join(columns, letters)
            self._beginnings[key] = found
        return found

    def _render(self, inode: Inode) -> _Parts:
        columns = columns_of(inode, self._zone)
        data = data_of(inode) if "d" in self._shown else b""
        mode, middle = self._join(columns, "m"), self._join(columns, "ugst")
        return mode, middle, b" " + data if data else b""

    def _join(self, columns: Mapping[str, str], letters: str) -> bytes:
        shown = [f"{columns[letter]} " for letter in letters if letter in self._shown]
        return "".join(shown).encode()

    def _moment(self, encoded_s: bytes) -> bytes | None:
        """The column of a time on this machine; ``None``: it is no ordinary one."""
        seconds = read_number(encoded_s)
        if self._zone is not None or seconds not in _ORDINARY_SECONDS:
            return None
        there = time.localtime(seconds >> 1)
        text = time.strftime("%d %b %Y %H:%M:%S %Z", there)
        column = self._times[encoded_s] = b"%24b " % text.encode()
        return column


def _hash_column(encoded: bytes) -> bytes:
    """A hash in hexadecimal; encoded, bytes with the highest bit have one in front."""
    pieces = encoded.split(_ESCAPED_FF)
    if len(pieces) == 1:  # mostly
        return hexlify(encoded.translate(None, _FF))
    return hexlify(_FF.join([piece.translate(None, _FF) for piece in pieces]))


def _walk(
    tree: FlatTree, matcher: PathMatcher | None
) -> Iterator[tuple[bytes, bytes, bool]]:
    """Paths, inode numbers and whether these are directories, but for what matches."""
    yield b"/", ROOT, True
    directories = tree.directories
    is_left_out = None if matcher is None else matcher.matches
    unvisited = [(b"/", _pairs(tree, ROOT))]
    seen = {ROOT}
    while unvisited:
        prefix, entries = unvisited[-1]
        for name, number in entries:
            path = prefix + name
            if is_left_out is not None and is_left_out(path):
                continue
            is_directory = number in directories
            yield path, number, is_directory
            if is_directory:
                if number in seen:
                    raise GobDecodeError("a directory is reached twice")
                seen.add(number)
                unvisited.append((path + b"/", _pairs(tree, number)))
                break
        else:
            unvisited.pop()


def _pairs(tree: FlatTree, number: bytes) -> Iterator[tuple[bytes, bytes]]:
    entries = tree.directories[number]
    return iter(zip(entries.names, entries.numbers, strict=True))
